"""Judges the simulator of Microsoft Graph by the vendor's own SDK: what O365 does not do, and mailbox connectors live by.

Delta queries, conditional writes, extended properties, batches, subscriptions, back-off. The SDK's models are generated from the
vendor's metadata, so each answer that it reads is held against them.

Called with the simulator's address, the mailbox, the client's id and secret, and the address of the control API.
"""

import asyncio
import datetime as dt
import http.server
import json
import queue
import sys
import threading
import urllib.parse
import urllib.request

from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import AllowedHostsValidator
from kiota_abstractions.authentication.access_token_provider import AccessTokenProvider
from kiota_abstractions.authentication.base_bearer_token_authentication_provider import BaseBearerTokenAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.attendee import Attendee
from msgraph.generated.models.contact import Contact
from msgraph.generated.models.contact_folder import ContactFolder
from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
from msgraph.generated.models.email_address import EmailAddress
from msgraph.generated.models.event import Event
from msgraph.generated.models.single_value_legacy_extended_property import SingleValueLegacyExtendedProperty
from msgraph.generated.models.subscription import Subscription
from msgraph.generated.users.item.contacts.contacts_request_builder import ContactsRequestBuilder
from msgraph.generated.users.item.contacts.delta.delta_request_builder import DeltaRequestBuilder
from msgraph.generated.users.item.contacts.item.contact_item_request_builder import ContactItemRequestBuilder
from msgraph_core.requests.batch_request_builder import BatchRequestBuilder
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

base, mailbox, client_id, secret, CONTROL = sys.argv[1:]
KEY = "String {5b1c4f5e-0d35-4a9c-8f0e-9a0a3b2f7c11} Name JudgeKey"


def posted(url, body, kind):
    request = urllib.request.Request(url, body.encode(), {"Content-Type": kind})
    return json.load(urllib.request.urlopen(request))


def control(path, **arguments):
    """Something that only a tester can do."""
    return posted(f"{CONTROL}/control/outlook/{path}", json.dumps(arguments), "application/json")


class Token(AccessTokenProvider):
    """A token as the application gets it."""

    def __init__(self):
        form = {"client_id": client_id, "client_secret": secret, "grant_type": "client_credentials"}
        form["scope"] = "https://graph.microsoft.com/.default"
        at = f"{base}/example.com/oauth2/v2.0/token"
        self.token = posted(at, urllib.parse.urlencode(form), "application/x-www-form-urlencoded")["access_token"]

    async def get_authorization_token(self, uri, additional_authentication_context={}):
        return self.token

    def get_allowed_hosts_validator(self):
        return AllowedHostsValidator([])


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes notifications, once it has said that it wants them."""

    said = queue.Queue()

    def do_POST(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = query.get("validationToken", [""])[0].encode()
        if not answer:
            self.said.put(json.loads(body))
        self.send_response(200 if answer else 202)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def asking(builder, headers=None, **query):
    """Query parameters and headers of one request."""
    kind = next((value for name, value in vars(builder).items() if name.endswith("QueryParameters")), None)
    asked = RequestConfiguration(query_parameters=kind(**query) if query else None)
    for name, value in (headers or {}).items():
        asked.headers.add(name, value)
    return asked


async def refused(attempt, status, code):
    """The SDK raises an error that says why."""
    try:
        await attempt
    except APIError as error:
        assert (error.response_status_code, error.error.code) == (status, code), error.error
        return
    raise AssertionError(f"nobody refused with {status}")


async def contacts(user):
    """Conditional writes, extended properties, folders."""
    drawn = Contact(given_name="Ada", surname="Lovelace", birthday=dt.datetime(1915, 12, 10, 11, 59, tzinfo=dt.timezone.utc))
    drawn.email_addresses = [EmailAddress(name="Ada", address="ada@example.org")]
    drawn.single_value_extended_properties = [SingleValueLegacyExtendedProperty(id=KEY, value="k-1")]
    made = await user.contacts.post(drawn)
    assert made.id and made.display_name == "Ada Lovelace" and made.created_date_time.tzinfo, made
    known = made.additional_data["@odata.etag"]
    one = user.contacts.by_contact_id(made.id)

    expand = [f"singleValueExtendedProperties($filter=id eq '{KEY}')"]
    shown = await one.get(asking(ContactItemRequestBuilder, select=["id", "surname"], expand=expand))
    assert [(held.id, held.value) for held in shown.single_value_extended_properties] == [(KEY, "k-1")], shown
    assert shown.given_name is None and shown.surname == "Lovelace"
    where = f"singleValueExtendedProperties/any(ep: ep/id eq '{KEY}' and ep/value eq 'k-1')"
    found = await user.contacts.get(asking(ContactsRequestBuilder, filter=where))
    assert [contact.id for contact in found.value] == [made.id], found

    changed = await one.patch(Contact(job_title="Analyst"), asking(ContactItemRequestBuilder, {"If-Match": known}))
    assert changed.job_title == "Analyst" and changed.additional_data["@odata.etag"] != known
    stale = one.patch(Contact(job_title="Countess"), asking(ContactItemRequestBuilder, {"If-Match": known}))
    await refused(stale, 412, "ErrorIrresolvableConflict")
    assert (await one.get()).job_title == "Analyst"

    folder = await user.contact_folders.post(ContactFolder(display_name="CRM"))
    inside = user.contact_folders.by_contact_folder_id(folder.id).contacts
    await inside.post(Contact(given_name="Grace"))
    assert [contact.given_name for contact in (await inside.get()).value] == ["Grace"]
    await one.delete()
    await refused(one.get(), 404, "ErrorItemNotFound")


async def changes(user):
    """Every contact once, then what changed, until the token is dropped."""
    prefer = {"Prefer": 'odata.maxpagesize=20, IdType="ImmutableId"'}
    page = await user.contacts.delta.get(asking(DeltaRequestBuilder, prefer, select=["displayName", "jobTitle"]))
    listed, pages = list(page.value), 1
    while page.odata_next_link:
        assert not page.odata_delta_link
        page = await user.contacts.delta.with_url(page.odata_next_link).get(asking(DeltaRequestBuilder, prefer))
        listed, pages = listed + page.value, pages + 1
    assert len({contact.id for contact in listed}) == len(listed) == 30 and pages == 2, (len(listed), pages)
    link = page.odata_delta_link
    quiet = await user.contacts.delta.with_url(link).get(asking(DeltaRequestBuilder, prefer))
    assert quiet.value == [] and quiet.odata_delta_link, quiet

    lasting = {"Prefer": 'IdType="ImmutableId"'}
    first, second = listed[0].id, listed[1].id
    await user.contacts.by_contact_id(first).patch(Contact(job_title="Zed"), asking(ContactItemRequestBuilder, lasting))
    await user.contacts.by_contact_id(second).delete(asking(ContactItemRequestBuilder, lasting))
    page = await user.contacts.delta.with_url(link).get(asking(DeltaRequestBuilder, prefer))
    told = {contact.id: contact for contact in page.value}
    assert set(told) == {first, second} and told[first].job_title == "Zed", told
    # It lies in the deleted items: that is no more than a change.
    assert told[second].additional_data["@removed"] == {"reason": "changed"}, told[second].additional_data
    control("commands/drop_tokens")
    late = user.contacts.delta.with_url(page.odata_delta_link).get(asking(DeltaRequestBuilder, prefer))
    await refused(late, 410, "syncStateNotFound")


async def batches(adapter, user):
    """Twenty at once, each with an answer of its own."""
    batch = BatchRequestContent()
    for number in range(18):
        person = user.contacts.to_post_request_information(Contact(given_name=f"Batch {number}"))
        batch.add_request(f"new-{number}", BatchRequestItem(person, f"new-{number}"))
    nobody = user.contacts.by_contact_id("nobody").to_get_request_information()
    batch.add_request("nobody", BatchRequestItem(nobody, "nobody"))
    several = user.contacts.to_get_request_information(asking(ContactsRequestBuilder, top=3))
    batch.add_request("several", BatchRequestItem(several, "several"))
    answer = await BatchRequestBuilder(adapter).post(batch)
    statuses = answer.get_response_status_codes()
    assert statuses == {f"new-{number}": 201 for number in range(18)} | {"nobody": 400, "several": 200}, statuses
    # This version of the SDK gives no body away that is JSON.
    assert answer.get_response_by_id("new-7").content_type.startswith("application/json")
    found = await user.contacts.get(asking(ContactsRequestBuilder, filter="givenName eq 'Batch 7'"))
    assert len(found.value) == 1, found


async def events(user):
    """A meeting that is sent twice is there once; zones are kept."""
    def at(hour):
        return DateTimeTimeZone(date_time=f"2027-03-01T{hour:02}:00:00", time_zone="W. Europe Standard Time")

    drawn = Event(subject="Review", start=at(9), end=at(10), transaction_id="judge-sdk-1")
    drawn.attendees = [Attendee(email_address=EmailAddress(address="kim@example.com"))]
    made = await user.events.post(drawn)
    assert made.id and made.original_start_time_zone == "W. Europe Standard Time", made.original_start_time_zone
    assert made.type.value == "singleInstance" and "<body>" in made.body.content, made.body
    kim = made.attendees[0]
    assert (kim.email_address.name, kim.type.value, kim.status.response.value) == ("kim@example.com", "required", "none"), kim
    assert (await user.events.post(drawn)).id == made.id
    await user.events.by_event_id(made.id).delete()


async def notices(user, client):
    """A subscription is validated, told of what happens, renewed and taken back."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    until = dt.datetime.now(dt.timezone.utc) + dt.timedelta(hours=2)
    wanted = Subscription(change_type="created,updated,deleted", resource=f"users/{mailbox}/contacts", client_state="judge")
    wanted.notification_url, wanted.expiration_date_time = f"http://127.0.0.1:{server.server_port}/told", until
    made = await client.subscriptions.post(wanted)
    assert made.id and made.resource == wanted.resource and made.client_state in (None, "judge")
    person = await user.contacts.post(Contact(given_name="Told"))
    notice = Receiver.said.get(timeout=20)["value"][0]
    assert (notice["subscriptionId"], notice["changeType"], notice["clientState"]) == (made.id, "created", "judge"), notice
    assert notice["resourceData"]["id"] == person.id, notice
    one = client.subscriptions.by_subscription_id(made.id)
    later = until + dt.timedelta(days=1)
    renewed = await one.patch(Subscription(expiration_date_time=later))
    assert abs(renewed.expiration_date_time - later) < dt.timedelta(seconds=2), renewed
    await one.delete()
    await refused(one.get(), 404, "ResourceNotFound")


async def patience(user):
    """The SDK waits as long as it is told to, and asks again."""
    control("faults", match={"method": "GET", "path": "/contacts"}, status=429, retry_after=1)
    assert len((await user.contacts.get(asking(ContactsRequestBuilder, top=2))).value) == 2


async def all_of_it():
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(Token()))
    adapter.base_url = f"{base}/v1.0"
    client = GraphServiceClient(request_adapter=adapter)
    user = client.users.by_user_id(mailbox)
    await changes(user)
    await contacts(user)
    await batches(adapter, user)
    await events(user)
    await notices(user, client)
    await patience(user)


asyncio.run(all_of_it())
print("satisfied")
