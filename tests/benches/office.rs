//! First runs between a simulated CRM and a simulated mail system, beside a bare loop that sends the same requests with the same
//! HTTP library to an equal simulator in the same process: what remains is what we cost. The requests are all those of the run,
//! as the journal has them, in its order and one after the other: pages that are read, searches, writes and what is read back
//! after them. What is made on the way bears other keys the second time, because two writes of the run may meet in any order;
//! the loop learns them from the answers, so that each request has the effect that it had in the run, which is asserted. Only
//! the time between a request and the end of its answer counts for the loop. It starts no program, loads no plugins and logs
//! in only once: how much of our time passes before the first of these requests is sent and after the last one is told beside
//! it. Each round of ours is followed by its loop, and their share is taken round by round: a machine that others use, too, is
//! twice as fast in one minute as in the next.
//!
//! `cargo bench -p pairwise-tests --bench office`; `PAIRWISE_CONTACTS` changes their number (5,000), `PAIRWISE_ROUNDS` how often
//! each is measured (3; told are the medians, and of the shares the least and the largest, too), `PAIRWISE_CASES` picks some of
//! `outlook`, `exchange`, `many` (many people) and `book` (one person with ten times as many contacts, for the memory that it
//! takes); with `only` nothing but the last two.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use pairwise_sandbox::journal::Entry;
use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::{Options, Sandbox, SystemInfo};
use pairwise_tests::office::Office;
use pairwise_tests::processes::peak_memory;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

const CRM: &str = "infor-crm";

fn main() {
    let number = |name: &str, usual| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual);
    let (contacts, rounds) = (number("PAIRWISE_CONTACTS", 5_000), number("PAIRWISE_ROUNDS", 3).max(1) as usize);
    let cases = std::env::var("PAIRWISE_CASES").unwrap_or_else(|_| "outlook exchange many".to_owned());
    let mails: Vec<&str> = ["outlook", "exchange"].into_iter().filter(|mail| cases.contains(mail)).collect();
    let rates = !cases.contains("only");
    println!(
        "{contacts} contacts                  ours  of it around      loop  share (of rounds)     requests for 100: CRM, mail"
    );
    for mail in mails.iter().filter(|_| rates) {
        for (spread, what) in [(Spread::Crm, "to the mailbox"), (Spread::Mailbox, "to the CRM")] {
            let mut figures: Vec<Figures> = (0..rounds).map(|_| measure(mail, contacts, spread)).collect();
            let mut median = |of: fn(&Figures) -> f64| {
                figures.sort_by(|one, two| of(one).total_cmp(&of(two)));
                of(&figures[rounds / 2])
            };
            let (ours, around, bare) = (median(|it| it.ours), median(|it| it.around), median(|it| it.bare));
            let share = median(Figures::share);
            let (least, largest) = (figures[0].share(), figures[rounds - 1].share());
            let [crm, mailbox] = figures[0].per_hundred;
            println!(
                "{mail:<10} {what:<16} {ours:>6.2} s {around:>11.2} s {bare:>7.2} s {share:>6.2} ({least:.2} to {largest:.2}) \
                 {crm:>12.1} {mailbox:>8.1}"
            );
        }
    }
    for mail in mails.iter().filter(|_| cases.contains("many")) {
        // Where contacts are on both sides, most of the time goes into the simulated CRM's searches through those of everybody.
        many(mail, 50, contacts / 5, Spread::Crm);
    }
    for mail in mails.iter().filter(|_| cases.contains("book")) {
        many(mail, 1, contacts * 10, Spread::Crm);
        many(mail, 1, contacts * 10, Spread::Mailbox);
    }
}

/// Seconds, and requests for a hundred contacts.
struct Figures {
    ours: f64,
    around: f64,
    bare: f64,
    per_hundred: [f64; 2],
}

impl Figures {
    fn share(&self) -> f64 {
        self.bare / self.ours
    }
}

fn measure(mail: &str, contacts: u32, spread: Spread) -> Figures {
    let systems = vec![CRM.to_owned(), mail.to_owned()];
    let options = Options { systems, users: 1, contacts, spread, ..Options::default() };
    let office = Office::start(options.clone());
    office.pair(
        "infor-crm-outlook",
        CRM,
        mail,
        &["contact_sync"],
        "[streams.contacts]\nscope.left.group = \"Contact Sync\"",
    );
    let began = Instant::now();
    let (ran, report) = office.world.json(["sync"]);
    let ours = began.elapsed().as_secs_f64();
    let side = if spread == Spread::Crm { "right" } else { "left" };
    // The CRM's accounts are made beside its contacts.
    let created = report["runs"][0][side]["created"].as_u64();
    assert!(ran.code == Some(0) && created >= Some(u64::from(contacts)), "{ran:?}");

    let requests = [CRM, mail].map(|system| sent(&office.sandbox, system));
    let times = || requests.iter().flatten().map(|request| request.time);
    let between = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
    let around = ours - Duration::from_millis(between.unsigned_abs()).as_secs_f64();
    let count = |requests: &[Entry]| requests.len() as f64 * 100.0 / f64::from(contacts);
    let per_hundred = [count(&requests[0]), count(&requests[1])];
    let other = Sandbox::start(options).unwrap();
    let bare = again(&office.sandbox, &other, mail, &requests).as_secs_f64();
    Figures { ours, around, bare, per_hundred }
}

/// Many people, or one with many contacts, all of them on one side: the first run fills the other one, the second has nothing to
/// do, and the third lists everything.
fn many(mail: &str, users: u32, contacts: u32, spread: Spread) {
    let systems = vec![CRM.to_owned(), mail.to_owned()];
    let office = Office::start(Options { systems, users, contacts, spread, ..Options::default() });
    office.pair(
        "infor-crm-outlook",
        CRM,
        mail,
        &["contact_sync"],
        "[streams.contacts]\nscope.left.group = \"Contact Sync\"",
    );
    println!("\n{mail}: {users} users with {contacts} contacts each, {spread:?}");
    for (what, args) in [("first", ["sync"].as_slice()), ("quiet", &["sync"]), ("full", &["sync", "--full"])] {
        let before = [CRM, mail].map(|system| office.sandbox.core(system).journal().last());
        let began = Instant::now();
        let (code, memory) = peak_memory(office.world.start(args));
        let took = began.elapsed().as_secs_f64();
        let [crm, mailboxes] = [(CRM, before[0]), (mail, before[1])].map(|(system, before)| {
            let mut requests = office.sandbox.requests(system, before);
            requests.retain(|request| request.part_of.is_none());
            let busiest = requests.iter().map(|request| request.in_flight).max().unwrap_or_default();
            (requests.len() as f64 / f64::from(users), busiest)
        });
        println!(
            "{what}: exit {code:?}, {took:.1} s, {} MiB; requests a lane: CRM {:.1}, mail {:.1}; at a time for one user: {}, {}",
            memory >> 20,
            crm.0,
            mailboxes.0,
            crm.1,
            mailboxes.1,
        );
    }
}

/// The requests that went over the wire and were let in.
fn sent(sandbox: &Sandbox, system: &str) -> Vec<Entry> {
    let mut requests = sandbox.requests(system, 0);
    requests.retain(|request| request.part_of.is_none() && request.status != Some(401));
    requests.retain(|request| !request.path.contains("/oauth2/"));
    requests
}

/// Sends them to an equal sandbox, one after the other as they were sent, and takes the time.
fn again(first: &Sandbox, second: &Sandbox, mail: &str, requests: &[Vec<Entry>; 2]) -> Duration {
    let to = [CRM, mail].map(|system| {
        let (old, new) = (first.info(system).base_url, second.info(system));
        (old, login(&new), new.base_url)
    });
    let mut all: Vec<_> = to.iter().zip(requests).flat_map(|(to, of)| of.iter().map(move |it| (to, it))).collect();
    all.sort_by_key(|(_, request)| request.time);
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut learnt = Learnt::about(first);
    let mut took = Duration::ZERO;
    for ((old, login, base), request) in all {
        took += send(&agent, request, old, base, login, &mut learnt);
    }
    for system in [CRM, mail] {
        assert_eq!(came_of(first, system), came_of(second, system), "{system}: the loop did something else");
    }
    took
}

/// How often each status was answered, to whole requests and to parts of them.
fn came_of(sandbox: &Sandbox, system: &str) -> BTreeMap<Option<u16>, usize> {
    let mut statuses = BTreeMap::new();
    for request in
        sandbox.requests(system, 0).iter().filter(|it| it.status != Some(401) && !it.path.contains("/oauth2/"))
    {
        *statuses.entry(request.status).or_default() += 1;
    }
    statuses
}

/// What the second CRM calls otherwise than the first one did.
struct Learnt {
    /// The accounts of the first one: keys by names.
    accounts: HashMap<String, String>,
    /// Keys of the second one by those of the first.
    keys: HashMap<String, String>,
    /// States of groups, by their paths.
    tags: HashMap<String, String>,
}

impl Learnt {
    fn about(first: &Sandbox) -> Self {
        let accounts = first.core(CRM).read(|store| {
            let name = |item: &Item| Some((item.fields.get("AccountName")?.as_str()?.to_owned(), item.id.clone()));
            store.items("", "accounts").filter_map(name).collect()
        });
        Learnt { accounts, keys: HashMap::new(), tags: HashMap::new() }
    }

    /// Looks at an answer.
    fn hear(&mut self, path: &str, body: &[u8]) {
        let is_group = path.contains("/groups");
        if !is_group && !path.contains("/accounts") {
            return;
        }
        let answer: Value = serde_json::from_slice(body).unwrap();
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let entries = answer["$resources"].as_array().cloned().unwrap_or_else(|| vec![answer]);
        for entry in entries {
            if is_group {
                self.tags.insert(text(&entry, "$key"), text(&entry, "$etag"));
            } else if let Some(old) = self.accounts.get(&text(&entry, "AccountName")) {
                self.keys.insert(old.clone(), text(&entry, "$key"));
            }
        }
    }

    /// A body with the keys that the second one knows.
    fn spell(&self, body: &str) -> String {
        const BEFORE: &str = "\"Account\":{\"$key\":\"";
        let mut parts = body.split(BEFORE);
        let mut spelt = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (key, rest) = part.split_once('"').unwrap_or((part, ""));
            spelt.extend([BEFORE, self.keys.get(key).map_or(key, String::as_str), "\"", rest]);
        }
        spelt
    }
}

/// The time that it takes.
fn send(agent: &Agent, entry: &Entry, old: &str, base: &str, login: &str, learnt: &mut Learnt) -> Duration {
    let path = entry.path.replace(old, base);
    let mut request = Request::builder().method(entry.method.as_str()).uri(format!("{base}{path}"));
    for (name, value) in &entry.headers {
        if !["host", "content-length", "accept-encoding", "if-match"].contains(&name.as_str()) {
            request = request.header(name, value);
        }
    }
    if let Some(told) = entry.headers.get("if-match") {
        let group = path.split('\'').nth(1).and_then(|key| learnt.tags.get(key));
        request = request.header("If-Match", group.unwrap_or(told));
    }
    let request = request.header("Authorization", login).body(learnt.spell(&entry.body.replace(old, base))).unwrap();
    let began = Instant::now();
    let mut answer = agent.run(request).unwrap();
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    let took = began.elapsed();
    learnt.hear(&path, &body);
    took
}

/// What stands in `Authorization`: Basic, or a token of the login server.
fn login(system: &SystemInfo) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let of = |whole: bool| system.logins.iter().find(|login| login.user.is_empty() == whole).unwrap();
    if system.name == "outlook" {
        let login = of(true);
        let (tenant, client) = (text(login.settings.get("tenant")), text(login.settings.get("client_id")));
        let secret = text(login.secrets.get("client_secret"));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client),
            ("client_secret", &secret),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let mut answer = ureq::post(format!("{}/{tenant}/oauth2/v2.0/token", system.base_url)).send_form(form).unwrap();
        let token: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        return format!("Bearer {}", text(token.get("access_token")));
    }
    // The CRM is read as each person, mailboxes by a service account.
    let login = of(system.name != CRM);
    let (user, password) = (text(login.settings.get("username")), text(login.secrets.get("password")));
    format!(
        "Basic {}",
        base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:{password}"))
    )
}
