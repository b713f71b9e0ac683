"""Judges the simulator of Microsoft Graph by two clients that know nothing of it: MSAL for logins, O365 for mailboxes.

Called with the simulator's address, the mailbox, the client's id and secret, and the address of the control API.
"""

import base64
import datetime as dt
import json
import sys
import urllib.request

import msal
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from O365 import Account, MSGraphProtocol
from O365.category import CategoryColor
from O365.utils.token import MemoryTokenBackend

base, mailbox, client, secret, control = sys.argv[1:]


def command(name, **arguments):
    """Something that only a tester can do."""
    request = urllib.request.Request(
        f"{control}/control/outlook/commands/{name}",
        json.dumps(arguments).encode(),
        {"Content-Type": "application/json"},
    )
    return json.load(urllib.request.urlopen(request))


class Plain(requests.adapters.HTTPAdapter):
    """MSAL insists on https; the simulator listens on loopback without it."""

    def send(self, request, **options):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **options)


http = requests.Session()
http.trust_env = False
http.mount("https://", Plain())
authority = base.replace("http://", "https://", 1) + "/example.com"

# The application signs in as itself.
app = msal.ConfidentialClientApplication(
    client, client_credential=secret, authority=authority, instance_discovery=False, http_client=http
)
granted = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
assert granted["token_type"] == "Bearer" and granted["expires_in"] > 3000, granted
wrong = msal.ConfidentialClientApplication(
    client, client_credential="wrong", authority=authority, instance_discovery=False, http_client=http
)
denied = wrong.acquire_token_for_client(["https://graph.microsoft.com/.default"])
assert denied["error"] == "invalid_client" and "AADSTS7000215" in denied["error_description"], denied

# It may have a certificate instead: MSAL signs with its key, and the simulator looks.
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "judge")])
now = dt.datetime.now(dt.timezone.utc)
certificate = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
certificate = certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
certified = msal.ConfidentialClientApplication(
    client, client_credential={"private_key": private.decode(), "public_certificate": certificate}, authority=authority,
    instance_discovery=False, http_client=http,
)
denied = certified.acquire_token_for_client(["https://graph.microsoft.com/.default"])
assert denied["error"] == "invalid_client" and "AADSTS700027" in denied["error_description"], denied
command("certificate", pem=certificate)
certain = certified.acquire_token_for_client(["https://graph.microsoft.com/.default"])
assert certain.get("token_type") == "Bearer", certain

# What the server wants tokens to say, MSAL passes on.
claims = json.dumps({"access_token": {"nbf": {"essential": True, "value": "1604106651"}}})
command("demand_claims", claims=claims)
at = f"{base}/v1.0/users/{mailbox}/contacts?$top=1"
headers = {"Authorization": "Bearer " + granted["access_token"]}
challenge = requests.get(at, headers=headers)
told = dict(requests.utils.parse_dict_header(challenge.headers["WWW-Authenticate"].removeprefix("Bearer ")))
assert challenge.status_code == 401 and told["error"] == "insufficient_claims", told
told = base64.b64decode(told["claims"]).decode()
more = app.acquire_token_for_client(["https://graph.microsoft.com/.default"], claims_challenge=told)
assert requests.get(at, headers={"Authorization": "Bearer " + more["access_token"]}).status_code == 200
command("demand_claims", claims="")

# A person signs in on another device, and is remembered.
public = msal.PublicClientApplication(client, authority=authority, instance_discovery=False, http_client=http)
flow = public.initiate_device_flow(["Contacts.ReadWrite"])
assert flow["user_code"] in flow["message"], flow
pending = public.acquire_token_by_device_flow(flow, exit_condition=lambda flow: True)
assert pending["error"] == "authorization_pending", pending
command("approve_device", user=mailbox, user_code=flow["user_code"])
person = public.acquire_token_by_device_flow(flow)
assert person.get("access_token"), person
again = public.acquire_token_by_refresh_token(person["refresh_token"], ["Contacts.ReadWrite"])
assert again["access_token"] != person["access_token"] and again.get("refresh_token"), again


class Local(MSGraphProtocol):
    """The client adds the version itself."""

    _protocol_url = base + "/"


def account(token, name):
    """An account that holds this token already."""
    tokens = MemoryTokenBackend()
    tokens.add(
        {
            "client_id": client,
            "scope": ["x"],
            "token_endpoint": "https://login.microsoftonline.com/t/oauth2/v2.0/token",
            "response": {"access_token": token, "expires_in": 3600, "token_type": "Bearer"},
        }
    )
    return Account(
        (client, secret),
        protocol=Local(default_resource=name, timezone="Europe/Berlin"),
        auth_flow_type="credentials",
        tenant_id="example.com",
        token_backend=tokens,
        main_resource=name,
    )


office = account(granted["access_token"], mailbox)

# Contacts.
book = office.address_book()
assert len(list(book.get_contacts(limit=5))) == 5
everybody = list(book.get_contacts(limit=None, batch=7))
assert len(everybody) == 30 and len({contact.object_id for contact in everybody}) == 30
contact = book.new_contact()
contact.name, contact.surname, contact.job_title = "Ada", "Lovelace", "Analyst"
contact.emails.add("ada@example.org")
contact.business_phones.append("+44 20 1")
contact.categories = ["Friends"]
assert contact.save() and contact.object_id
contact.job_title = "Countess"
assert contact.save()
called = book.q().equals("display_name", "Ada Lovelace")
found = next(iter(book.get_contacts(query=called)))
assert found.object_id == contact.object_id and found.job_title == "Countess", found
assert found.display_name == "Ada Lovelace" and found.main_email == "ada@example.org"
picture = b"\xff\xd8\xff\xe0 a picture"
assert contact.get_profile_photo() is None
assert contact.update_profile_photo(picture) and contact.get_profile_photo() == picture
folder = book.create_child_folder("CRM")
assert [one.name for one in book.get_folders()] == ["CRM"]
assert folder.get_contacts(limit=1) is not None
assert contact.delete()
assert not list(book.get_contacts(query=called))

# Categories.
categories = office.outlook_categories()
assert [one.name for one in categories.get_categories()] == ["Business"]
friends = categories.create_category("Friends", color=CategoryColor.RED)
assert friends.color == CategoryColor.RED and friends.update_color(CategoryColor.BLUE)
assert categories.get_category(friends.object_id).color == CategoryColor.BLUE
assert friends.delete() and len(categories.get_categories()) == 1

# Time zones, by both kinds of names; ids of other kinds.
zones = lambda standard: {
    one["alias"] for one in office.connection.get(f"{base}/v1.0/users/{mailbox}/outlook/supportedTimeZones{standard}").json()["value"]
}
assert "W. Europe Standard Time" in zones("")
assert "Europe/Berlin" in zones("(TimeZoneStandard=microsoft.graph.timeZoneStandard'Iana')")
rest = everybody[2].object_id


def translate(one, source, target):
    body = {"inputIds": [one], "sourceIdType": source, "targetIdType": target}
    return office.connection.post(f"{base}/v1.0/users/{mailbox}/translateExchangeIds", data=body).json()["value"][0]


lasting = translate(rest, "restId", "restImmutableEntryId")["targetId"]
prefer = {"Prefer": 'IdType="ImmutableId"'}
assert office.connection.get(f"{base}/v1.0/users/{mailbox}/contacts/{lasting}", headers=prefer).json()["id"] == lasting
entry = translate(lasting, "restImmutableEntryId", "immutableEntryId")["targetId"]
assert entry != lasting and translate(entry, "immutableEntryId", "restId")["targetId"] == rest
assert translate(translate(rest, "restId", "ewsId")["targetId"], "ewsId", "restId")["targetId"] == rest
assert "errorDetails" in translate("nonsense", "restId", "ewsId")

# Events.
schedule = office.schedule()
calendar = schedule.get_default_calendar()
assert calendar.name == "Calendar" and calendar.calendar_id
start = dt.datetime.now().replace(hour=9, minute=0, second=0, microsecond=0) + dt.timedelta(days=1)
event = calendar.new_event("Review")
event.start, event.end = start, start + dt.timedelta(hours=1)
event.location, event.body, event.remind_before_minutes = "Room 1", "Bring figures", 15
event.attendees.add("kim@example.com")
event.transaction_id = "judge-1"
assert event.save() and event.object_id
series = calendar.new_event("Daily")
series.start, series.end = start, start + dt.timedelta(minutes=15)
series.recurrence.set_daily(1, start=start.date(), end=(start + dt.timedelta(days=4)).date())
assert series.save()
shown = list(
    calendar.get_events(
        limit=50, include_recurring=True, start_recurring=start - dt.timedelta(days=1), end_recurring=start + dt.timedelta(days=9)
    )
)
daily = sorted(one.start for one in shown if one.subject == "Daily")
assert len(daily) == 5 and all(one.hour == 9 for one in daily), daily
masters = list(calendar.get_events(limit=50, include_recurring=False))
assert sorted(one.subject for one in masters) == ["Daily", "Review"], masters
review = next(one for one in masters if one.subject == "Review")
assert (review.start.hour, review.location["displayName"], review.remind_before_minutes) == (9, "Room 1", 15)
assert "Bring figures" in review.body and [one.address for one in review.attendees] == ["kim@example.com"]
review.subject = "Second review"
assert review.save()
assert calendar.get_event(review.object_id).subject == "Second review"
# Single occurrences of a series.
weekly = calendar.get_event(series.object_id)
span = (start - dt.timedelta(days=1), start + dt.timedelta(days=9))
occurrences = sorted(weekly.get_occurrences(*span), key=lambda one: one.start)
assert [one.event_type.value for one in occurrences] == ["occurrence"] * 5, occurrences
occurrences[1].subject = "Daily, longer"
occurrences[1].end = occurrences[1].start + dt.timedelta(hours=1)
assert occurrences[1].save() and occurrences[3].delete()
occurrences = sorted(weekly.get_occurrences(*span), key=lambda one: one.start)
assert [one.event_type.value for one in occurrences] == ["occurrence", "exception", "occurrence", "occurrence"], occurrences
assert [one.subject for one in occurrences] == ["Daily", "Daily, longer", "Daily", "Daily"]
whole = f"{base}/v1.0/users/{mailbox}/events/{series.object_id}?$select=subject,cancelledOccurrences&$expand=exceptionOccurrences"
whole = office.connection.get(whole).json()
assert [one["subject"] for one in whole["exceptionOccurrences"]] == ["Daily, longer"], whole
fourth = (start + dt.timedelta(days=3)).date()
assert [one.rsplit(".", 1)[1] for one in whole["cancelledOccurrences"]] == [str(fourth)], whole
assert review.delete() and series.delete()

# Changes, as the client pages through whatever it is given.
at = f"{base}/v1.0/users/{mailbox}/contacts/delta"
prefer = {"Prefer": 'odata.maxpagesize=20, IdType="ImmutableId"'}
seen, links = [], 0
while True:
    page = office.connection.get(at, headers=prefer).json()
    seen += page["value"]
    if "@odata.deltaLink" in page:
        assert "@odata.nextLink" not in page
        break
    at, links = page["@odata.nextLink"], links + 1
assert len(seen) == 30 and links == 1, (len(seen), links)
assert all(one["@odata.etag"] == f'W/"{one["changeKey"]}"' for one in seen)
changed = everybody[0]
changed.job_title = "Zed"
assert changed.save() and everybody[1].delete()
page = office.connection.get(page["@odata.deltaLink"], headers=prefer).json()
assert sorted("@removed" in one for one in page["value"]) == [False, True], page
command("drop_tokens")
try:
    office.connection.get(page["@odata.deltaLink"], headers=prefer)
    raise AssertionError("a dropped token was taken")
except requests.HTTPError as error:
    assert error.response.status_code == 410 and error.response.headers["Location"], error

print("satisfied")
