//! Entries become records.

use std::borrow::Cow;
use std::collections::HashMap;

use pairwise_http::{Json, abreast};
use pairwise_plugin_api::{Context, FieldType, Fields, Millis, Name, Record, RecordRef, Result, Value};

use crate::entity::{ACCOUNT_NAME, Kind, RELATIONS, STREET, address_fields, extra};
use crate::leads::{EMAIL, LEADS};
use crate::login::Login;
use crate::query::{fitting, url, width, within};
use crate::server::Server;
use crate::settings::Config;
use crate::wire::{Entry, etag, key, millis, related, text, value};

/// What a condition and its address take beside the keys in it and what is selected.
const AROUND: usize = 80;

/// Entries by their keys; those that are not told are gone, or cannot be seen.
pub(crate) fn by_keys(
    server: &Server,
    cx: &Context,
    login: &Login,
    kind: &'static Kind,
    fields: &[Name],
    keys: &[String],
) -> Result<HashMap<String, Entry>> {
    selected_by_keys(server, cx, login, kind.entity, &select(kind, &server.config, fields), keys)
}

/// What is asked for of each record so that it tells these fields, as far as it has them; none means all.
pub(crate) fn select<'k>(kind: &'static Kind, config: &Config, fields: &[Name]) -> Cow<'k, str> {
    let whole = kind.select(config);
    if fields.is_empty() {
        return whole;
    }
    let mut members = vec!["CreateDate", "ModifyDate"];
    let known = |field: &str| {
        let shown = kind.shows_account() && field == ACCOUNT_NAME;
        let own = kind.column(field).is_some() || kind.reference(field).is_some();
        own || shown || extra(config, kind).any(|extra| extra == field)
    };
    if kind.entity == LEADS {
        members.push(EMAIL);
    }
    for field in fields.iter().filter(|field| known(field)) {
        members.push(field);
    }
    // A related entry is told by its key only where one of its properties is asked for.
    let related = |part: &&str| match part.split_once('/') {
        Some((relation, _)) if RELATIONS.contains(&relation) => true,
        Some((relation, property)) => fields.iter().any(|field| **field == *relation || **field == *property),
        None => false,
    };
    members.extend(whole.split(',').filter(related));
    members.sort_unstable();
    members.dedup();
    Cow::Owned(members.join(","))
}

/// The same with a choice of what is told.
pub(crate) fn selected_by_keys(
    server: &Server,
    cx: &Context,
    login: &Login,
    feed: &str,
    select: &str,
    keys: &[String],
) -> Result<HashMap<String, Entry>> {
    made_by_keys(server, cx, login, feed, select, keys, |entry| Some((key(&entry)?.to_owned(), entry)))
}

/// The same, with what is made of the entries of one answer while another one is awaited.
pub(crate) fn made_by_keys<T: Send>(
    server: &Server,
    cx: &Context,
    login: &Login,
    feed: &str,
    select: &str,
    keys: &[String],
    make: impl Fn(Entry) -> Option<(String, T)> + Sync,
) -> Result<HashMap<String, T>> {
    let mut found = HashMap::with_capacity(keys.len());
    let place = server.place.dynamic(feed);
    let doing = format!("reading {feed}");
    let lists = fitting(&server.config, keys, place.len() + width(select) + AROUND, 1);
    let made: Vec<Result<Vec<(String, T)>>> = abreast(&lists, server.config.parallel as usize, |list| {
        let wanted = within("Id", list.iter().map(String::as_str));
        let count = list.len().to_string();
        let page = url(&place, &[("select", select), ("where", &wanted), ("count", &count)]);
        let feed = server.feed(cx, login, &page, &doing)?;
        cx.progress(list.len() as u64, keys.len() as u64);
        Ok(feed.entries.into_iter().filter_map(&make).collect())
    });
    for made in made {
        found.extend(made?);
    }
    Ok(found)
}

/// How entries of a kind become records: which fields these tell, in the order of their names. Each name is one text for all
/// of them.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    kind: &'static Kind,
    config: &'a Config,
    fields: Vec<(Name, Source)>,
}

/// What a field is made of.
#[derive(Debug)]
enum Source {
    Column(FieldType),
    Reference,
    AccountName,
    /// A property of the address that this one of the relations carries.
    Address(usize, &'static str),
    Street(usize),
}

impl<'a> Reading<'a> {
    /// Only fields that are wanted are told; none means all.
    pub(crate) fn of(kind: &'static Kind, config: &'a Config, wanted: &[Name]) -> Reading<'a> {
        let columns = kind.columns.iter().map(|column| (column.name.into(), Source::Column(column.kind)));
        let extra = extra(config, kind).map(|name| (name.into(), Source::Column(FieldType::default())));
        let references = kind.references.iter().map(|reference| (reference.name.into(), Source::Reference));
        let account = kind.shows_account().then(|| (ACCOUNT_NAME.into(), Source::AccountName));
        let address = address_fields(kind, config).map(|field| {
            let street = Source::Street(field.relation);
            let source = field.property.map_or(street, |property| Source::Address(field.relation, property));
            (field.name.into(), source)
        });
        let all = columns.chain(extra).chain(references).chain(account).chain(address);
        let mut fields: Vec<(Name, Source)> =
            all.filter(|(name, _)| wanted.is_empty() || wanted.contains(name)).collect();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        Reading { kind, config, fields }
    }

    /// An entry as the host sees it; `None` for one without a key.
    pub(crate) fn record(&self, entry: &Entry) -> Option<Record> {
        let key = key(entry)?;
        let addresses = RELATIONS.map(|relation| address(entry, relation));
        let mut fields = Fields::with_capacity(self.fields.len());
        for (name, source) in &self.fields {
            if let Some(value) = source.value(name, entry, &addresses) {
                fields.set(name.clone(), value);
            }
        }
        Some(Record {
            at: RecordRef::new(self.kind.entity, key),
            uid: Some(uid(self.config, key)),
            version: Version::of(entry).map(|version| version.to_string()),
            created: entry.get("CreateDate").and_then(millis),
            modified: modified(entry),
            fields,
            ..Record::default()
        })
    }
}

impl Source {
    /// A property that is not told is one that this login may not see: it is not told on, either.
    fn value(&self, name: &str, entry: &Entry, addresses: &[Shown<'_>; 2]) -> Option<Value> {
        match self {
            Source::Column(kind) => entry.get(name).map(|json| value(json, *kind)),
            Source::Reference => {
                entry.get(name).map(|json| json.as_object().and_then(key).map_or(Value::Null, Value::from))
            }
            Source::AccountName => {
                let own = || text(entry, ACCOUNT_NAME);
                let shown = related(entry, "Account").and_then(|account| text(account, ACCOUNT_NAME)).or_else(own);
                shown.map(Value::from).or_else(|| entry.contains_key(ACCOUNT_NAME).then_some(Value::Null))
            }
            Source::Address(relation, property) => match addresses[*relation] {
                Shown::Told(address) => address.get(property).map(|json| value(json, FieldType::default())),
                Shown::None => Some(Value::Null),
                Shown::Unknown => None,
            },
            Source::Street(relation) => match addresses[*relation] {
                Shown::Told(address) => Some(street(address)),
                Shown::None => Some(Value::Null),
                Shown::Unknown => None,
            },
        }
    }
}

/// What a copy of a record elsewhere knows it by: `CDEMOA000001@crm.example.com`. Copies of a database share their keys, so that
/// the site is a part of it.
fn uid(config: &Config, key: &str) -> String {
    format!("{key}@{}", site(config))
}

/// The key in a UID of this site.
pub(crate) fn key_of_uid<'a>(config: &Config, uid: &'a str) -> Option<&'a str> {
    uid.rsplit_once('@').filter(|(_, site_of)| *site_of == site(config)).map(|(key, _)| key)
}

fn site(config: &Config) -> String {
    let (_, rest) = config.url.split_once("://").unwrap_or(("", &config.url));
    rest.split(['/', ':']).next().unwrap_or_default().trim().to_lowercase()
}

/// A record changes with its addresses.
fn modified(entry: &Entry) -> Option<Millis> {
    let own = entry.get("ModifyDate").and_then(millis);
    let address = |relation| related(entry, relation)?.get("ModifyDate").and_then(millis);
    RELATIONS.into_iter().map(address).fold(own, Option::max)
}

/// What an entry tells of its address.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// There is none.
    None,
    Told(&'a Entry),
    /// At most where it is.
    Unknown,
}

fn address<'a>(entry: &'a Entry, relation: &str) -> Shown<'a> {
    match entry.get(relation) {
        Some(Json::Null) => Shown::None,
        Some(Json::Object(address)) if is_told(address) => Shown::Told(address),
        _ => Shown::Unknown,
    }
}

/// Whether a related entry is there with its properties, and not only by its key.
fn is_told(entry: &Entry) -> bool {
    entry.keys().any(|name| !name.starts_with('$'))
}

/// The lines of a street, without empty ones at the end.
fn street(address: &Entry) -> Value {
    let lines: Vec<&str> = STREET.iter().map(|line| text(address, line).unwrap_or_default()).collect();
    let street = lines.join("\n");
    let street = street.trim_end_matches('\n');
    if street.is_empty() { Value::Null } else { Value::from(street) }
}

/// Whether an answer tells a record whole, so that it need not be read again.
pub(crate) fn is_whole(kind: &Kind, config: &Config, entry: &Entry) -> bool {
    let is_told = |relation: &&str| !matches!(address(entry, relation), Shown::Unknown);
    etag(entry).is_some() && entry.contains_key("ModifyDate") && kind.relations(config).iter().all(is_told)
}

/// What stands for a state of a record: its own tag, and those of its addresses, which change by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Version {
    pub(crate) etag: String,
    /// In the order of the relations.
    pub(crate) addresses: [Option<Address>; 2],
}

/// Where a record's address is, and in what state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Address {
    pub(crate) key: String,
    /// Empty where the server does not tell it within the record.
    pub(crate) etag: String,
    pub(crate) modified: Millis,
}

impl Version {
    pub(crate) fn of(entry: &Entry) -> Option<Version> {
        let address = |relation| {
            let address = related(entry, relation)?;
            Some(Address {
                key: key(address)?.to_owned(),
                etag: etag(address).unwrap_or_default().to_owned(),
                modified: address.get("ModifyDate").and_then(millis).unwrap_or_default(),
            })
        };
        Some(Version { etag: etag(entry)?.to_owned(), addresses: RELATIONS.map(address) })
    }

    /// The key of one of its addresses.
    pub(crate) fn key(&self, at: usize) -> Option<&str> {
        self.addresses[at].as_ref().map(|address| address.key.as_str())
    }

    pub(crate) fn parse(text: &str) -> Version {
        let mut parts = text.split('|').map(opened);
        let etag = parts.next().unwrap_or_default();
        let addresses = RELATIONS.map(|_| {
            let (key, etag, modified) = (parts.next()?, parts.next(), parts.next());
            let modified = modified.and_then(|text| text.parse().ok()).unwrap_or_default();
            (!key.is_empty()).then(|| Address { key, etag: etag.unwrap_or_default(), modified })
        });
        Version { etag, addresses }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&closed(&self.etag))?;
        let count = self.addresses.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        for address in &self.addresses[..count] {
            let Address { key, etag, modified } = address.clone().unwrap_or_default();
            write!(f, "|{}|{}|{modified}", closed(&key), closed(&etag))?;
        }
        Ok(())
    }
}

/// What a server names, without the sign that stands between the parts of a version.
fn closed(part: &str) -> String {
    part.replace('%', "%25").replace('|', "%7C")
}

fn opened(part: &str) -> String {
    part.replace("%7C", "|").replace("%25", "%")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_http::json;

    use super::*;
    use crate::tests::config;

    #[test]
    fn the_sheets_entry_becomes_a_record() {
        let entry = json!({
            "$key": "CDEMOA000001", "$etag": "gJaGtgHyuAw=", "FirstName": "John", "LastName": "Abbott",
            "Email": "john@example.com", "Birthday": null, "DoNotEmail": false, "Region": "north",
            "ModifyDate": "/Date(1384992000000)/", "CreateDate": "/Date(1384990000000)/",
            "Account": { "$key": "ADEMOA000001", "AccountName": "Abbott Ltd." }, "AccountManager": null,
            "Address": { "$key": "aDEMOA000001", "City": "Phoenix", "Address1": "1 Road", "Address2": "", "Address3": "Rear",
                         "ModifyDate": "/Date(1384992001000)/" },
        });
        let mut config = config("http://crm.example.com");
        config.extra_fields.insert("contacts".into(), vec!["Region".into()]);
        let kind = Kind::of("contacts").unwrap();
        let record = Reading::of(kind, &config, &[]).record(entry.as_object().unwrap()).unwrap();
        assert_eq!(record.at, RecordRef::new("contacts", "CDEMOA000001"));
        let uid = record.uid.as_deref().unwrap();
        assert_eq!((uid, key_of_uid(&config, uid)), ("CDEMOA000001@crm.example.com", Some("CDEMOA000001")));
        assert_eq!(key_of_uid(&config, "CDEMOA000001@test.example.com"), None);
        assert_eq!(record.modified, Some(1_384_992_001_000), "the address changed later");
        assert_eq!(record.created, Some(1_384_990_000_000));
        let field = |name: &str| record.fields.get(name).cloned();
        assert_eq!(field("Account"), Some("ADEMOA000001".into()));
        assert_eq!(field("AccountName"), Some("Abbott Ltd.".into()));
        assert_eq!(field("AccountManager"), Some(Value::Null));
        assert_eq!(field("Address/Street"), Some("1 Road\n\nRear".into()));
        assert_eq!(field("Address/City"), Some("Phoenix".into()));
        assert_eq!(field("Birthday"), Some(Value::Null));
        assert_eq!(field("Region"), Some("north".into()));
        assert_eq!(field("Title"), None, "what is not told is not known");
        let version = Version::parse(record.version.as_deref().unwrap());
        assert_eq!(version.addresses[0].as_ref().unwrap().key, "aDEMOA000001");
    }

    #[test]
    fn versions_go_and_come_back() {
        let address = Address { key: "a1".into(), etag: "x=".into(), modified: 5 };
        let some = || Some(address.clone());
        for addresses in [[None, None], [some(), None], [None, some()], [some(), some()]] {
            let version = Version { etag: "g=".into(), addresses };
            assert_eq!(Version::parse(&version.to_string()), version);
        }
    }
}
