// Judges the simulated Infor CRM by the calls of the npm package `sdata-client`: URL of the SData root, user, password. The
// client sends no If-Match, so the server must not require it.
"use strict";

const assert = require("node:assert");
const SData = require("sdata-client");

const [root, user, password] = process.argv.slice(2);
const sdata = SData(`${root}/slx/dynamic/-/`, user, password);

function all(stream) {
  return new Promise((resolve, reject) => {
    const records = [];
    stream.on("data", (record) => records.push(record));
    stream.on("end", () => resolve(records));
    stream.on("error", reject);
  });
}

async function main() {
  const made = await sdata.create("accounts", { AccountName: "Judge & Söhne", Type: "Prospect" });
  assert.match(made.$key, /^A.{11}$/);
  const contact = await sdata.create("contacts", { LastName: "O'Hara", FirstName: "Zoë", Account: { $key: made.$key } });
  assert.strictEqual(contact.AccountName, "Judge & Söhne");

  const read = await sdata.read("contacts", "LastName eq 'O''Hara' and Account.AccountName like 'Judge %'", {
    select: "LastName,Account/AccountName",
  });
  assert.strictEqual(read.$resources.length, 1);
  assert.strictEqual(read.$resources[0].Account.AccountName, "Judge & Söhne");
  const one = await sdata.get("contacts", contact.$key, { include: "Account" });
  assert.strictEqual(one.FirstName, "Zoë");

  const updated = await sdata.update("contacts", { $key: contact.$key, Title: "Judge", FirstName: null });
  assert.strictEqual(updated.Title, "Judge");
  assert.strictEqual(updated.FirstName, null);
  assert.strictEqual(updated.LastName, "O'Hara");
  await sdata.upsert("contacts", { $key: contact.$key, Title: "Chair" }, (error) => assert.ifError(error));

  const whole = await sdata.read("contacts", null, { count: 0 });
  const paged = await all(sdata.readPaged("contacts", null, { count: 7, orderBy: "LastName,Id", select: "LastName" }));
  assert.strictEqual(paged.length, whole.$totalResults);
  assert.strictEqual(new Set(paged.map((record) => record.$key)).size, paged.length);
  const some = await all(sdata.readPaged("contacts", "LastName ne 'x'", { count: 2 }, 5));
  assert.strictEqual(some.length, 5);

  await assert.rejects(sdata.read("contacts", "Colour eq 'red'"), /could not resolve property: Colour/);
  await assert.rejects(sdata.get("contacts", "CDEMOA999999"), /was not found/);
  await assert.rejects(sdata.create("contacts", { LastName: "Nobody" }), /Account is required/);
  await assert.rejects(SData(`${root}/slx/dynamic/-/`, user, "wrong").read("contacts"), /refused/);

  const system = SData(`${root}/slx/system/`, user, password);
  const who = await system.callBusinessRule("-", "getCurrentUser", null);
  assert.strictEqual(who.userName, user);

  await sdata.delete("contacts", contact.$key);
  await sdata.delete("accounts", made.$key);
  await assert.rejects(sdata.get("contacts", contact.$key), /was not found/);
  console.log("satisfied");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
