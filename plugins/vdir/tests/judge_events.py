"""Reads calendars with icalendar and vobject, before and after something was written, and compares what they say.

    python3 judge_events.py FOLDER

FOLDER holds `events.json`, {case: {"uid", "changed": {PROPERTY: value or null}}}, and for each case `CASE.before.ics` and
`CASE.after.ics`. What `changed` does not name must be the same in both, as the libraries understand it: the same moments in
whatever zone, the same recurrences, exceptions, alarms, people, unknown properties. A case without a file before is a new event, of
which only `changed` is looked at. Needs `icalendar` and `vobject` from PyPI. Exit code 1 if anything differs.
"""

import datetime
import itertools
import json
import pathlib
import sys

import icalendar
import vobject

# Occurrences of a series that are compared.
OCCURRENCES = 60


def moment(value):
    """A moment in UTC; a day or a time without zone as it is."""
    if isinstance(value, tuple):
        return [moment(part) for part in value]
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).isoformat()
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)


def meaning(value):
    """What a property says, however it is spelt."""
    if isinstance(value, list):
        return [meaning(one) for one in value]
    if hasattr(value, "dts"):
        said = sorted(str(moment(one.dt)) for one in value.dts)
    elif hasattr(value, "dt"):
        said = moment(value.dt)
    elif isinstance(value, icalendar.vRecur):
        said = {key: sorted(str(moment(part)) for part in parts) for key, parts in value.items()}
    elif isinstance(value, icalendar.prop.vCategory):
        said = [str(one) for one in value.cats]
    else:
        said = value if isinstance(value, str) else value.to_ical()
        said = said.decode() if isinstance(said, bytes) else str(said)
    # How a moment is written is no matter, nor what goes without saying; who somebody is, is.
    silent = (("RELATED", "START"),)
    params = getattr(value, "params", {}).items()
    rest = {key: str(one) for key, one in params if key not in ("TZID", "VALUE") and (key, str(one)) not in silent}
    return (said, rest) if rest else said


def end(event):
    start = event["DTSTART"].dt
    if "DTEND" in event:
        return event["DTEND"].dt
    if "DURATION" in event:
        return start + event["DURATION"].dt
    return start if isinstance(start, datetime.datetime) else start + datetime.timedelta(days=1)


def plain(fact):
    """Without parameters, for comparing with what was meant."""
    if isinstance(fact, tuple):
        return plain(fact[0])
    if isinstance(fact, dict):
        return {name: plain(one) for name, one in fact.items()}
    return [plain(one) for one in fact] if isinstance(fact, list) else fact


def facts(component):
    """All that a component says."""
    found = {name: said for name, value in component.items() if (said := meaning(value)) and plain(said)}
    if component.name == "VEVENT":
        # An end, a duration and a day that goes without saying are three ways to say the same.
        found.pop("DURATION", None)
        found["DTEND"] = moment(end(component))
    for inner in component.subcomponents:
        found.setdefault(f"BEGIN:{inner.name}", []).append(facts(inner))
    return found


def events(text, uid):
    """The event of this UID and its exceptions, by the occurrence that they stand for."""
    calendar = icalendar.Calendar.from_ical(text)
    found = {}
    for event in calendar.walk("VEVENT"):
        if event.errors:
            raise ValueError(f"icalendar: {event.errors}")
        if uid is None or str(event.get("UID")) == uid:
            key = moment(event["RECURRENCE-ID"].dt) if "RECURRENCE-ID" in event else ""
            found[key] = facts(event)
    return found


def occurrences(text, uid):
    """When a series takes place, as the other library understands it."""
    calendar = vobject.readOne(text)
    for event in calendar.vevent_list:
        if (uid is None or event.uid.value == uid) and not hasattr(event, "recurrence_id"):
            dates = event.getrruleset(addRDate=True)
            return [str(moment(date)) for date in itertools.islice(dates or [], OCCURRENCES)]
    return []


def differences(before, after, meant):
    changed = meant["changed"]
    if before is not None and before.keys() != after.keys():
        yield f"exceptions {sorted(before)} became {sorted(after)}"
    # The event itself; of an exception that came alone, that one.
    main = "" if "" in after else min(after, default="")
    for key, found in after.items():
        if before is not None:
            known = before.get(key, {})
            for name in sorted(known.keys() | found.keys()):
                # Exceptions travel without what says when their text was made.
                made = key and name in ("CREATED", "DTSTAMP", "LAST-MODIFIED")
                if not made and (key != main or name not in changed) and known.get(name) != found.get(name):
                    yield f"{key} {name} was {known.get(name)!r}, is {found.get(name)!r}"
        if key == main:
            for name, value in changed.items():
                if plain(found.get(name)) != value:
                    yield f"{name} is {found.get(name)!r}, meant was {value!r}"
    if not after:
        yield "there is no such event"


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = json.loads((folder / "events.json").read_text())
    wrong = 0
    for name, meant in sorted(cases.items()):
        after = (folder / f"{name}.after.ics").read_bytes().decode()
        file = folder / f"{name}.before.ics"
        before = file.read_bytes().decode() if file.exists() else None
        uid = meant.get("uid")
        told = list(differences(before and events(before, uid), events(after, uid), meant))
        if before and not {"DTSTART", "RRULE", "EXDATE"} & meant["changed"].keys():
            then, now = occurrences(before, uid), occurrences(after, uid)
            if then != now:
                told.append(f"took place {then[:5]}…, takes place {now[:5]}…")
        else:
            vobject.readOne(after)
        wrong += len(told)
        for line in told:
            print(f"{name}: {line}")
    print(f"{len(cases)} cases, {wrong} differences")
    sys.exit(1 if wrong else 0)


main()
