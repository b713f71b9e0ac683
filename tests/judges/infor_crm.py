"""Judges the simulated Infor CRM by Digest and Basic of `requests`: URL of the SData root, user, password."""

import sys

import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

root, user, password = sys.argv[1:4]


def check(condition, message):
    if not condition:
        sys.exit(message)


def contacts(auth, **query):
    query = {"format": "json", **query}
    # A plus is no blank on this server.
    text = "&".join(f"{name}={requests.utils.quote(str(value), safe='')}" for name, value in query.items())
    return requests.get(f"{root}/slx/dynamic/-/contacts?{text}", auth=auth, timeout=30)


digest = HTTPDigestAuth(user, password)
with requests.Session() as session:
    session.auth = digest
    for _ in range(3):
        answer = session.get(f"{root}/slx/dynamic/-/contacts?format=json&count=2&where=LastName%20ne%20'x'", timeout=30)
        check(answer.status_code == 200, f"Digest: {answer.status_code} {answer.text}")
        check(len(answer.json()["$resources"]) == 2, "two contacts")
    first = answer.json()["$resources"][0]
    entry = f"{root}/slx/dynamic/-/contacts('{first['$key']}')?format=json"
    put = session.put(entry, json={"Title": "Judge"}, headers={"If-Match": first["$etag"]}, timeout=30)
    check(put.status_code == 200 and put.json()["Title"] == "Judge", f"PUT: {put.status_code} {put.text}")
    check(put.headers["ETag"] == put.json()["$etag"] != first["$etag"], "the etag moves")
    late = session.put(entry, json={"Title": "Late"}, headers={"If-Match": first["$etag"]}, timeout=30)
    check(late.status_code == 412 and late.json()["$etag"] == put.json()["$etag"], f"412: {late.text}")
    none = session.get(entry, headers={"If-None-Match": put.headers["ETag"]}, timeout=30)
    check(none.status_code == 304, f"304: {none.status_code}")
    who = session.post(f"{root}/slx/system/-/$service/getCurrentUser?format=json", json={}, timeout=30).json()["response"]
    check(who["userName"] == user and who["userId"].strip(), f"who: {who}")

check(contacts(HTTPBasicAuth(user, password), count=1).status_code == 200, "Basic")
check(contacts(HTTPDigestAuth(user, "wrong")).status_code == 401, "a wrong password with Digest")
check(contacts(HTTPBasicAuth(user, "wrong")).status_code == 401, "a wrong password with Basic")
check(contacts(None).headers["WWW-Authenticate"].startswith("Digest "), "a challenge")
wrong = contacts(digest, where="Colour eq 'red'")
check(wrong.status_code == 400 and wrong.json()[0]["severity"] == "Error", f"an array of diagnoses: {wrong.text}")
print("satisfied")
