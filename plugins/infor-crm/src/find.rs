//! Records by the values of their fields, many values in one request.

use std::collections::{BTreeSet, HashMap};

use pairwise_http::abreast;
use pairwise_plugin_api::ops::FindRequest;
use pairwise_plugin_api::{Class, Context, Failure, Fields, Name, Principal, Record, Result};

use crate::entity::{ACCOUNT_NAME, Kind, RELATIONS, address_field, extra};
use crate::groups;
use crate::login::Login;
use crate::query::{fitting, literal, url, width, within};
use crate::records::{Reading, by_keys, key_of_uid};
use crate::server::Server;
use crate::wire::key;

/// The name by which the host looks for records that a copy elsewhere knows.
const UID: &str = "uid";
/// What a search takes beside its values, its properties, and what is selected.
const AROUND: usize = 340;

/// One list for each value, in order.
pub(crate) fn find(server: &Server, cx: &Context, request: &FindRequest) -> Result<Vec<Vec<Record>>> {
    let login = server.login(&request.principal)?;
    let kind = Kind::of(&request.entity)?;
    if request.by.is_empty() {
        return Err(Failure::new(Class::Refused, "Infor CRM keeps no keys of creations: name fields to look for"));
    }
    let scope = match groups::selected(&request.scope)? {
        Some(name) => {
            let group = groups::recent(server, cx, &login, kind, &name)?;
            Some(group.ok_or_else(|| groups::missing(&login, &name))?.members)
        }
        None => None,
    };
    if request.by.iter().any(|name| &**name == UID) {
        return by_uid(server, cx, &login, kind, request, scope.as_ref());
    }
    let properties = request.by.iter().map(|name| property(server, kind, name)).collect::<Result<Vec<_>>>()?;
    let fold = |text: &str| if request.case_sensitive { text.to_owned() } else { text.to_lowercase() };
    let mut wanted: Vec<String> = request.values.iter().filter(|value| !value.is_empty()).cloned().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let place = server.place.dynamic(kind.entity);
    // A list of the fields would take more room in the address than it saves.
    let select = kind.select(&server.config);
    let mut found: Vec<Record> = Vec::new();
    // A condition over a relation leaves out whoever has none, so that these go alone.
    let (related, own): (Vec<&String>, Vec<&String>) = properties.iter().partition(|property| property.contains('.'));
    let groups = std::iter::once(own).chain(related.into_iter().map(|property| vec![property]));
    let mut searches: Vec<String> = Vec::new();
    for properties in groups.filter(|properties| !properties.is_empty()) {
        let around = place.len()
            + AROUND
            + width(&select)
            + properties.iter().map(|property| property.len() + 24).sum::<usize>();
        for values in fitting(&server.config, &wanted, around, properties.len()) {
            let conditions: Vec<String> = properties
                .iter()
                .map(|property| match request.case_sensitive {
                    true => within(property, values.iter().map(String::as_str)),
                    false => {
                        let upper: Vec<String> = values.iter().map(|value| value.to_uppercase()).collect();
                        within(&format!("upper({property})"), upper.iter().map(String::as_str))
                    }
                })
                .collect();
            searches.push(conditions.join(" or "));
        }
    }
    // What is compared must be read, too.
    let mut read = request.fields.clone();
    if !read.is_empty() {
        read.extend(request.by.iter().cloned());
    }
    let search =
        Search { server, cx, login: &login, kind, select: &select, reading: Reading::of(kind, &server.config, &read) };
    let answers = abreast(&searches, server.config.parallel as usize, |condition| search.all(condition));
    for records in answers {
        found.extend(records?);
    }
    found.retain(|record| scope.as_ref().is_none_or(|members| members.contains(&record.at.id)));
    found.sort_by(|a, b| a.at.cmp(&b.at));
    found.dedup_by(|a, b| a.at == b.at);
    // By what they hold, each record once for each of its values.
    let mut holders: HashMap<String, Vec<usize>> = HashMap::with_capacity(found.len());
    for (place, record) in found.iter().enumerate() {
        for held in request.by.iter().filter_map(|name| record.fields.get(name)) {
            let holders = holders.entry(fold(&held.to_string())).or_default();
            if holders.last() != Some(&place) {
                holders.push(place);
            }
        }
    }
    let chosen = |place: &usize| {
        let mut record = found[*place].clone();
        if !request.fields.is_empty() {
            record.fields = record.fields.into_iter().filter(|(name, _)| request.fields.contains(name)).collect();
        }
        record
    };
    let matches = |value: &String| {
        let holders = holders.get(&fold(value)).filter(|_| !value.is_empty());
        holders.into_iter().flatten().map(chosen).collect()
    };
    Ok(request.values.iter().map(matches).collect())
}

/// The record that a creation clashes with: the only one that bears its address and its names, or an account's name.
pub(crate) fn standing(
    server: &Server,
    cx: &Context,
    principal: &Principal,
    kind: &'static Kind,
    fields: &Fields,
) -> Result<Option<Record>> {
    let (by, names): (&str, &[&str]) =
        if kind.entity == "accounts" { ("AccountName", &[]) } else { ("Email", &["LastName", "FirstName"]) };
    let Some(value) = fields.text(by).filter(|_| kind.column(by).is_some()) else { return Ok(None) };
    let request = FindRequest {
        principal: principal.clone(),
        entity: kind.entity.to_owned(),
        by: vec![by.into()],
        values: vec![value.to_owned()],
        case_sensitive: true,
        ..FindRequest::default()
    };
    let mut found = find(server, cx, &request)?.pop().unwrap_or_default();
    found.retain(|record| names.iter().all(|name| record.fields.text(name) == fields.text(name)));
    Ok(found.pop().filter(|_| found.is_empty()))
}

/// Records by what their copies know them by: the keys of this site.
fn by_uid(
    server: &Server,
    cx: &Context,
    login: &Login,
    kind: &'static Kind,
    request: &FindRequest,
    scope: Option<&BTreeSet<String>>,
) -> Result<Vec<Vec<Record>>> {
    let key = |uid: &String| key_of_uid(&server.config, uid).map(str::to_owned);
    let keys: Vec<String> =
        request.values.iter().filter_map(key).filter(|key| scope.is_none_or(|members| members.contains(key))).collect();
    let found = by_keys(server, cx, login, kind, &request.fields, &keys)?;
    let reading = Reading::of(kind, &server.config, &request.fields);
    let known = |uid: &String| {
        let entry = key(uid).and_then(|key| found.get(&key));
        entry.and_then(|entry| reading.record(entry)).into_iter().collect()
    };
    Ok(request.values.iter().map(known).collect())
}

/// A search for records of a kind, of which this is told.
struct Search<'a> {
    server: &'a Server,
    cx: &'a Context,
    login: &'a Login,
    kind: &'static Kind,
    select: &'a str,
    reading: Reading<'a>,
}

impl Search<'_> {
    /// All records that satisfy a condition.
    fn all(&self, condition: &str) -> Result<Vec<Record>> {
        let Search { server, kind, .. } = self;
        let place = server.place.dynamic(kind.entity);
        let count = server.config.page.to_string();
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let behind = after.map(|after| format!("({condition}) and Id gt {}", literal(&after)));
            let wanted = behind.as_deref().unwrap_or(condition);
            let page = url(&place, &[("select", self.select), ("where", wanted), ("orderBy", "Id"), ("count", &count)]);
            let feed = server.feed(self.cx, self.login, &page, &format!("looking for {}", kind.entity))?;
            let told = feed.entries.len() as u64;
            let rest = feed.total.is_some_and(|total| total > told);
            after = feed.entries.last().and_then(key).map(str::to_owned);
            found.extend(feed.entries.iter().filter_map(|entry| self.reading.record(entry)));
            if !rest || after.is_none() {
                return Ok(found);
            }
        }
    }
}

/// The property that a field is compared by.
fn property(server: &Server, kind: &'static Kind, name: &Name) -> Result<String> {
    let plain = kind.column(name).is_some() || extra(&server.config, kind).any(|extra| extra == &**name);
    if plain || (**name == *ACCOUNT_NAME && kind.shows_account()) {
        return Ok(name.to_string());
    }
    if kind.reference(name).is_some() {
        return Ok(format!("{name}.Id"));
    }
    let address = address_field(kind, &server.config, name);
    match address.and_then(|field| Some((RELATIONS[field.relation], field.property?))) {
        Some((relation, property)) => Ok(format!("{relation}.{property}")),
        None => {
            let text = format!("`{}` cannot be looked up by `{name}`", kind.entity);
            Err(Failure::new(Class::NotFound, text))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::tests::config;

    #[test]
    fn fields_are_looked_up_by_their_properties() {
        let server = Server::new(config("http://crm.example.com")).unwrap();
        let kind = Kind::of("contacts").unwrap();
        let property = |name: &str| property(&server, kind, &name.into()).ok();
        assert_eq!(property("Email").as_deref(), Some("Email"));
        assert_eq!(property("Account").as_deref(), Some("Account.Id"));
        assert_eq!(property("Address/City").as_deref(), Some("Address.City"));
        assert_eq!(property("Address/Street"), None);
        assert_eq!(property("Shoe"), None);
    }
}
