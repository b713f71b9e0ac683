"""Reads cards and calendars with vobject and compares them with what was meant.

    python3 judge.py FOLDER

FOLDER holds `expected.json`: {file: {"fn", "family", "given", "emails", "phones", "note", "org", "street"}} for cards and
{file: {"summary", "description", "start", "end"}} for calendars. Needs `vobject` from PyPI. Exit code 1 if anything differs.
"""

import json
import pathlib
import sys

import vobject


def card(text):
    """The values of a card that every program shows."""
    card = vobject.readOne(text, allowQP="VERSION:2.1" in text)
    # Version 2.1 demands no FN; version 4 is read by the rules of 3.
    if card.version.value == "3.0":
        card.validate(raiseException=True)
    values = lambda name: [line.value for line in card.contents.get(name, [])]
    name = values("n")[0]
    found = {
        "fn": values("fn")[0],
        "family": name.family,
        "given": name.given,
        "emails": values("email"),
        "phones": values("tel"),
        "note": (values("note") or [""])[0].replace("\r\n", "\n"),
        "org": (values("org") or [[""]])[0],
        "street": values("adr")[0].street if values("adr") else "",
    }
    return {key: ["".join(part) for part in value] if key == "org" else value for key, value in found.items()}


def calendar(text):
    """The values of the first event."""
    calendar = vobject.readOne(text)
    calendar.validate(raiseException=True)
    event = calendar.vevent
    return {
        "summary": event.summary.value,
        "description": event.description.value,
        "start": event.dtstart.value.isoformat(),
        "end": event.dtend.value.isoformat(),
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    wrong = 0
    expected = json.loads((folder / "expected.json").read_text())
    for name, meant in sorted(expected.items()):
        text = (folder / name).read_bytes().decode()
        found = calendar(text) if name.endswith(".ics") else card(text)
        for key, value in meant.items():
            if found[key] != value:
                wrong += 1
                print(f"{name}: {key} is {found[key]!r}, meant was {value!r}")
    print(f"{len(expected)} files, {wrong} differences")
    sys.exit(1 if wrong else 0)


main()
