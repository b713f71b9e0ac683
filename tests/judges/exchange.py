"""Judges the Exchange simulator by exchangelib, a client that nobody here wrote.

    exchange.py URL CONTROL ADDRESS OTHER LOGIN PASSWORD

ADDRESS is a mailbox with contacts and OTHER a second one; LOGIN may impersonate both. Every step prints its name when it held.
"""

import datetime
import json
import sys
import os
import threading
import urllib.parse
import urllib.request

import exchangelib
from exchangelib import (
    BASIC, DELEGATE, IMPERSONATION, NTLM, OAUTH2, Account, Attendee, CalendarItem, Configuration, Contact, Credentials,
    EWSDateTime, EWSTimeZone, ExtendedProperty, FaultTolerance, Mailbox, OAuth2AuthorizationCodeCredentials, Version,
)
from exchangelib import errors
from exchangelib.account import Identity
from exchangelib.folders import Contacts, Calendar
from exchangelib.indexed_properties import EmailAddress, PhoneNumber, PhysicalAddress
from exchangelib.items import NEVER_OVERWRITE, SEND_TO_NONE, SEND_TO_ALL_AND_SAVE_COPY
from exchangelib.properties import DistinguishedFolderId
from exchangelib.recurrence import Recurrence, WeeklyPattern
from exchangelib.version import EXCHANGE_2019

URL, CONTROL, ADDRESS, OTHER, LOGIN, PASSWORD = sys.argv[1:]
# Tokens travel without TLS on loopback.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
BERLIN = EWSTimeZone("Europe/Berlin")


class PairwiseKey(ExtendedProperty):
    property_set_id = "c11ff724-aa03-4555-9952-8fa248a11c3e"
    property_name = "PairwiseKey"
    property_type = "String"


class Prefix(ExtendedProperty):
    property_tag = 0x3A45
    property_type = "String"


class GivenNameByTag(ExtendedProperty):
    property_tag = 0x3A06
    property_type = "String"


class PostOfficeBox(ExtendedProperty):
    distinguished_property_set_id = "Address"
    property_id = 0x804A
    property_type = "String"


Contact.register("po_box", PostOfficeBox)
Contact.register("crm_key", PairwiseKey)
Contact.register("prefix", Prefix)
Contact.register("given_by_tag", GivenNameByTag)
CalendarItem.register("crm_key", PairwiseKey)


def account(address=ADDRESS, login=LOGIN, password=PASSWORD, auth=BASIC, access=IMPERSONATION, patience=30):
    policy = FaultTolerance(max_wait=patience) if patience else None
    # The library keeps one connection pool for each spelling of a login, with the policy of the first.
    login = login if patience else "EXAMPLE\\" + login.removeprefix("EXAMPLE\\")
    config = Configuration(
        service_endpoint=URL, credentials=Credentials(login, password), auth_type=auth, version=Version(EXCHANGE_2019),
        retry_policy=policy, max_connections=4,
    )
    return Account(address, config=config, autodiscover=False, access_type=access, default_timezone=BERLIN)


def control(path, body):
    request = urllib.request.Request(CONTROL + "/control/exchange/" + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def raises(error, work):
    try:
        work()
    except error as caught:
        return caught
    raise AssertionError(f"{error.__name__} was not raised")


def person(folder, given, surname):
    return Contact(folder=folder, given_name=given, surname=surname, display_name=f"{given} {surname}")


def contacts(acc):
    before = acc.contacts.all().count()
    contact = Contact(
        folder=acc.contacts, given_name="Ada", surname="Lovelace", display_name="Ada Lovelace", company_name="Engines & Söhne <Ltd>",
        email_addresses=[EmailAddress(email="ada@example.org", label="EmailAddress1"), EmailAddress(email="a2@example.org", label="EmailAddress2")],
        phone_numbers=[PhoneNumber(label="BusinessPhone", phone_number="+44 1"), PhoneNumber(label="MobilePhone", phone_number="+44 2")],
        physical_addresses=[PhysicalAddress(label="Business", street="S 1", city="London", zipcode="W1", country="UK")],
        categories=["Key", "VIP"], children=["Byron", "Anne"], companies=["Babbage & Co"], po_box="PO 1", birthday=exchangelib.EWSDate(1815, 12, 10), job_title="Countess", body="first\nsecond", crm_key="crm-1", prefix="Lady",
    )
    contact.save()
    assert contact.id and contact.changekey
    got = acc.contacts.get(id=contact.id)
    assert (got.given_name, got.surname, got.company_name) == ("Ada", "Lovelace", "Engines & Söhne <Ltd>"), got
    assert {e.label: e.email for e in got.email_addresses} == {"EmailAddress1": "ada@example.org", "EmailAddress2": "a2@example.org"}
    assert {p.label: p.phone_number for p in got.phone_numbers if p.phone_number} == {"BusinessPhone": "+44 1", "MobilePhone": "+44 2"}
    address = next(a for a in got.physical_addresses if a.label == "Business")
    assert (address.street, address.city, address.zipcode, address.country) == ("S 1", "London", "W1", "UK")
    assert (got.children, got.companies, got.po_box) == (["Byron", "Anne"], ["Babbage & Co"], "PO 1"), got
    assert sorted(got.categories) == ["Key", "VIP"] and got.crm_key == "crm-1" and got.prefix == "Lady"
    assert got.given_by_tag == "Ada", "MAPI property and element are one"
    assert got.birthday == exchangelib.EWSDate(1815, 12, 10), got.birthday
    assert got.complete_name.title == "Lady" and got.body == "first\nsecond", (got.complete_name, got.body)
    assert acc.contacts.all().count() == before + 1
    assert [c.surname for c in acc.contacts.filter(crm_key="crm-1")] == ["Lovelace"]
    assert acc.contacts.filter(crm_key="crm-2").count() == 0
    assert acc.contacts.filter(surname__icontains="LOVE").count() == 1
    old = got.changekey
    got.company_name, got.job_title = "Analytical", None
    got.email_addresses = [EmailAddress(email="ada2@example.org", label="EmailAddress1")]
    got.save(update_fields=["company_name", "job_title", "email_addresses"])
    assert got.changekey != old
    again = acc.contacts.get(id=contact.id)
    assert (again.company_name, again.job_title) == ("Analytical", None)
    assert [e.email for e in again.email_addresses if e.email] == ["ada2@example.org"], again.email_addresses
    assert again.phone_numbers and again.crm_key == "crm-1", "what was not named stays"
    stale = Contact(account=acc, id=got.id, changekey=old, given_name="X", folder=acc.contacts)
    raises(errors.ErrorIrresolvableConflict, lambda: stale.save(update_fields=["given_name"], conflict_resolution=NEVER_OVERWRITE))
    again.given_by_tag = "Augusta"
    again.save(update_fields=["given_by_tag"])
    assert acc.contacts.get(id=contact.id).given_name == "Augusta"
    moved = acc.contacts.get(id=contact.id)
    moved.move_to_trash()
    assert isinstance(list(acc.fetch([(contact.id, None)]))[0], errors.ErrorItemNotFound)
    assert acc.contacts.all().count() == before
    in_trash = [c for c in acc.trash.all() if isinstance(c, Contact) and c.surname == "Lovelace"]
    assert len(in_trash) == 1 and in_trash[0].id != contact.id, "a move changes the id"
    in_trash[0].delete()
    assert not [c for c in acc.trash.all() if isinstance(c, Contact) and c.surname == "Lovelace"]


def batches(acc):
    made = acc.bulk_create(acc.contacts, [Contact(given_name=f"G{n}", surname="Batch", display_name=f"G{n} Batch") for n in range(120)])
    assert len(made) == 120
    found = list(acc.contacts.filter(surname="Batch").only("given_name", "changekey"))
    assert len(found) == 120 and len({c.id for c in found}) == 120
    acc.bulk_delete([(c.id, c.changekey) for c in found])
    assert acc.contacts.filter(surname="Batch").count() == 0


def folders(acc):
    folder = Contacts(parent=acc.contacts, name="CRM")
    folder.save()
    raises(errors.ErrorFolderExists, lambda: Contacts(parent=acc.contacts, name="CRM").save())
    acc.root.clear_cache()
    found = acc.contacts / "CRM"
    assert found.folder_class == "IPF.Contact"
    one = person(found, "In", "Folder")
    one.save()
    old = one.id
    one.move(to_folder=acc.contacts)
    assert one.id != old
    assert found.all().count() == 0 and acc.contacts.filter(surname="Folder").count() == 1
    acc.contacts.filter(surname="Folder").delete()
    hierarchy = list(acc.root.sync_hierarchy())
    assert any(change == "create" and f.name == "CRM" for change, f in hierarchy)
    found.delete()
    changes = list(acc.root.sync_hierarchy(sync_state=acc.root.folder_sync_state))
    assert [change for change, _ in changes] == ["delete"], changes


def sync(acc):
    first = list(acc.contacts.sync_items())
    assert first and all(change == "create" for change, _ in first)
    state = acc.contacts.item_sync_state
    assert list(acc.contacts.sync_items(sync_state=state)) == []
    one = person(acc.contacts, "Sync", "Me")
    one.save()
    brief = person(acc.contacts, "Brief", "Life")
    brief.save()
    brief.delete()
    changes = list(acc.contacts.sync_items(sync_state=state))
    assert [(change, item.surname) for change, item in changes] == [("create", "Me")], changes
    state = acc.contacts.item_sync_state
    one.surname = "You"
    one.save(update_fields=["surname"])
    assert [(change, item.surname) for change, item in acc.contacts.sync_items(sync_state=state)] == [("update", "You")]
    state = acc.contacts.item_sync_state
    one.delete()
    changes = list(acc.contacts.sync_items(sync_state=state))
    assert [change for change, _ in changes] == ["delete"]
    raises(errors.ErrorInvalidSyncStateData, lambda: list(acc.contacts.sync_items(sync_state="bm9uc2Vuc2U=")))
    state = acc.contacts.item_sync_state
    control("commands/drop_sync_states", {})
    raises(errors.ErrorInvalidSyncStateData, lambda: list(acc.contacts.sync_items(sync_state=state)))


def calendar(acc, other):
    start = EWSDateTime(2026, 12, 1, 10, tzinfo=BERLIN)
    hour = datetime.timedelta(hours=1)
    quiet = CalendarItem(
        folder=acc.calendar, subject="Quiet", start=start, end=start + hour, location="R1", body="b", crm_key="e-1", importance="High",
        required_attendees=[Attendee(mailbox=Mailbox(email_address=OTHER), response_type="Unknown")],
    )
    quiet.save(send_meeting_invitations=SEND_TO_NONE)
    assert control("commands/mails", {"user": ADDRESS}) == [], "nobody is told unless asked for"
    got = acc.calendar.get(id=quiet.id)
    assert got.start == start and got.end == start + hour and got.is_meeting and got.organizer.email_address == ADDRESS
    assert got._start_timezone == BERLIN or got._start_timezone.ms_id == "W. Europe Standard Time", got._start_timezone
    assert got.importance == "High"
    assert got.crm_key == "e-1" and got.uid and not got.is_recurring and got.type == "Single"
    assert [a.mailbox.email_address for a in got.required_attendees] == [OTHER]
    loud = CalendarItem(folder=acc.calendar, subject="Loud", start=start + 2 * hour, end=start + 3 * hour, required_attendees=[OTHER])
    loud.save(send_meeting_invitations=SEND_TO_ALL_AND_SAVE_COPY)
    mails = control("commands/mails", {"user": ADDRESS})
    assert [mail["To"] for mail in mails] == [OTHER], mails
    copy = other.calendar.get(subject="Loud")
    assert copy.uid == acc.calendar.get(id=loud.id).uid and copy.my_response_type == "NoResponseReceived" and copy.organizer.email_address == ADDRESS
    copy.accept()
    answered = acc.calendar.get(id=loud.id).required_attendees[0].response_type
    assert answered == "Accept", answered
    day = exchangelib.EWSDate(2026, 12, 5)
    whole = CalendarItem(folder=acc.calendar, subject="Whole", start=day, end=day, is_all_day=True)
    whole.save(send_meeting_invitations=SEND_TO_NONE)
    got = acc.calendar.get(id=whole.id)
    assert got.is_all_day and got.start == day and got.end == day, (got.start, got.end)
    series = CalendarItem(
        folder=acc.calendar, subject="Weekly", start=EWSDateTime(2027, 3, 22, 9, tzinfo=BERLIN), end=EWSDateTime(2027, 3, 22, 10, tzinfo=BERLIN),
        recurrence=Recurrence(pattern=WeeklyPattern(interval=1, weekdays=["Monday"]), start=exchangelib.EWSDate(2027, 3, 22), number=4),
    )
    series.save(send_meeting_invitations=SEND_TO_NONE)
    window = dict(start=EWSDateTime(2027, 3, 1, tzinfo=BERLIN), end=EWSDateTime(2027, 5, 1, tzinfo=BERLIN))
    seen = [item for item in acc.calendar.view(**window) if item.subject == "Weekly"]
    assert [item.start.astimezone(BERLIN).hour for item in seen] == [9, 9, 9, 9] and seen[0].type == "Occurrence", seen
    second = series.occurrence(2)
    second.refresh()
    second.subject = "Changed"
    second.save(update_fields=["subject"], send_meeting_invitations=SEND_TO_NONE)
    series.occurrence(3).delete(send_meeting_cancellations=SEND_TO_NONE)
    master = acc.calendar.get(id=series.id)
    assert master.type == "RecurringMaster" and len(master.modified_occurrences) == 1 and len(master.deleted_occurrences) == 1
    assert master.recurrence.pattern.weekdays, master.recurrence
    # Numbers of occurrences are those of the rule, whatever was taken out of it.
    raises(errors.ErrorCalendarOccurrenceIsDeletedFromRecurrence, series.occurrence(3).refresh)
    fourth = series.occurrence(4)
    fourth.refresh()
    assert fourth.start.astimezone(BERLIN).day == 12, fourth.start
    seen = [(item.subject, item.type) for item in acc.calendar.view(**window)]
    assert seen == [("Weekly", "Occurrence"), ("Changed", "Exception"), ("Weekly", "Occurrence")], seen
    assert [c for c, _ in acc.calendar.sync_items()].count("create") == 4, "a series is one item"
    # With another time the exceptions are forgotten.
    master.end = EWSDateTime(2027, 3, 22, 11, tzinfo=BERLIN)
    master.save(update_fields=["end"], send_meeting_invitations=SEND_TO_NONE)
    master = acc.calendar.get(id=series.id)
    assert not master.modified_occurrences and not master.deleted_occurrences
    for item in (quiet, loud, whole, series):
        item.delete(send_meeting_cancellations=SEND_TO_NONE)


def notifications(acc):
    with acc.contacts.streaming_subscription() as subscription:
        seen = []

        def listen():
            for notification in acc.contacts.get_streaming_events(subscription, connection_timeout=1, max_notifications_returned=1):
                seen.extend(type(event).__name__ for event in notification.events)

        listener = threading.Thread(target=listen)
        listener.start()
        person(acc.contacts, "N", "Noted").save()
        listener.join(30)
        assert not listener.is_alive() and "CreatedEvent" in seen, seen
    with acc.contacts.pull_subscription() as (subscription, watermark):
        one = acc.contacts.get(surname="Noted")
        one.surname = "Noted2"
        one.save(update_fields=["surname"])
        one.move_to_trash()
        events = [type(event).__name__ for n in acc.contacts.get_events(subscription, watermark) for event in n.events]
        assert events == ["ModifiedEvent", "MovedEvent"], events


def tokens():
    control("commands/auth", {"basic": False, "ntlm": False, "oauth": True})
    site = URL.rsplit("/EWS", 1)[0]
    form = {"grant_type": "client_credentials", "client_id": "0f0c8a52-6a1e-4c86-9d2b-5a1c9a3b7e44", "client_secret": "app-secret", "scope": site + "/.default"}
    with urllib.request.urlopen(site + "/adfs/oauth2/token", urllib.parse.urlencode(form).encode()) as answer:
        token = json.load(answer)
    config = Configuration(
        service_endpoint=URL, credentials=OAuth2AuthorizationCodeCredentials(access_token=token), auth_type=OAUTH2,
        version=Version(EXCHANGE_2019), max_connections=1,
    )
    acc = Account(OTHER, config=config, autodiscover=False, access_type=IMPERSONATION, default_timezone=BERLIN)
    person(acc.contacts, "T", "Token").save()
    assert acc.contacts.filter(surname="Token").count() == 1
    acc.contacts.filter(surname="Token").delete()
    control("commands/auth", {})


def troubles(acc):
    control("faults", {"match": {"operation": "GetItem"}, "code": "ErrorServerBusy", "retry_after": 1})
    assert acc.contacts.all().only("surname", "notes").count() >= 0
    person(acc.contacts, "B", "Busy").save()
    assert [c.surname for c in acc.contacts.filter(surname="Busy")] == ["Busy"], "it waits and asks again"
    acc.contacts.filter(surname="Busy").delete()
    control("faults", {"match": {"operation": "FindItem"}, "code": "ErrorServerBusy", "retry_after": 3})
    busy = raises(errors.ErrorServerBusy, lambda: list(account(patience=None).contacts.filter(surname="x")))
    assert busy.back_off == 3, busy.back_off
    control("commands/impersonation", {"user": OTHER, "allowed": False})
    raises(errors.ErrorImpersonateUserDenied, lambda: account(OTHER, patience=None).contacts)
    control("commands/impersonation", {"user": OTHER, "allowed": True})
    raises(errors.ErrorNonExistentMailbox, lambda: account("nobody@example.com", patience=None).contacts)
    raises(errors.UnauthorizedError, lambda: account(password="wrong", patience=None).contacts)
    long = person(acc.contacts, "L", "Long")
    long.phone_numbers = [PhoneNumber(label="BusinessPhone", phone_number="1" * 300)]
    raises(errors.EWSError, long.save)


def logins(acc):
    upn = LOGIN + "@" + ADDRESS.split("@")[1]
    control("commands/auth", {"basic": False, "ntlm": True})
    assert account(auth=NTLM, login=upn).contacts.all().count() == count_before
    raises(errors.UnauthorizedError, lambda: account(auth=NTLM, login=upn, password="wrong", patience=None).contacts)
    raises(errors.UnauthorizedError, lambda: account(login=upn, patience=None).contacts)
    control("commands/auth", {"basic": True, "ntlm": True})
    # Left to itself the library asks which logins are taken, and which version this is.
    guessing = Configuration(service_endpoint=URL, credentials=Credentials(upn.upper(), PASSWORD), max_connections=2)
    acc = Account(ADDRESS, config=guessing, autodiscover=False, access_type=IMPERSONATION)
    assert acc.contacts.all().count() == count_before and acc.version.build.major_version == 15


me, other = account(), account(OTHER)
count_before = me.contacts.all().count()
steps = [
    (contacts, (me,)), (batches, (me,)), (folders, (me,)), (sync, (me,)), (calendar, (me, other)), (notifications, (me,)),
    (troubles, (me,)), (logins, (me,)),
]
names = [("resolve", lambda: me.protocol.resolve_names([OTHER])), ("zones", lambda: list(me.protocol.get_timezones())), ("tokens", lambda: tokens() or True)]
for step, args in steps:
    step(*args)
    print("held:", step.__name__, flush=True)
for name, work in names:
    assert work(), name
    print("held:", name, flush=True)
print("satisfied")
