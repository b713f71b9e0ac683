//! `translateExchangeIds`: the same item under its ids of other kinds.
//!
//! *Assumption*: `entryId` and `ewsId` are made of the ids that Graph shows in a way of our own, because their real form is opaque.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use super::Graph;
use super::call::{Answer, Call, Reply};
use super::item;

/// The most ids in one request.
const MOST: usize = 1_000;

/// A kind of id: how it is written, and whether it stays when the item moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    form: Form,
    immutable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As Graph shows it.
    Rest,
    /// As EWS shows it.
    Ews,
    /// As MAPI has it, in base64.
    Entry,
}

impl Kind {
    fn of(name: &Value) -> Option<Kind> {
        let (form, immutable) = match name.as_str()? {
            "restId" => (Form::Rest, false),
            "restImmutableEntryId" => (Form::Rest, true),
            "ewsId" => (Form::Ews, false),
            "entryId" => (Form::Entry, false),
            "immutableEntryId" => (Form::Entry, true),
            _ => return None,
        };
        Some(Kind { form, immutable })
    }

    fn write(self, rest: &str) -> String {
        match self.form {
            Form::Rest => rest.to_owned(),
            Form::Ews => rest.replace('-', "/").replace('_', "+"),
            Form::Entry => URL_SAFE.encode(rest),
        }
    }

    fn read(self, id: &str) -> Option<String> {
        match self.form {
            Form::Rest => Some(id.to_owned()),
            Form::Ews => Some(id.replace('/', "-").replace('+', "_")),
            Form::Entry => String::from_utf8(URL_SAFE.decode(id).ok()?).ok(),
        }
    }
}

impl Graph {
    pub(super) fn translate_ids(&self, call: &Call, user: &str) -> Answer {
        let ids = call.body["inputIds"].as_array().filter(|ids| !ids.is_empty());
        let ids = ids.ok_or_else(|| Reply::bad("inputIds is missing."))?;
        if ids.len() > MOST {
            return Err(Reply::bad("At most 1000 ids can be translated at once."));
        }
        let kind = |name: &str| Kind::of(&call.body[name]).ok_or_else(|| Reply::bad(&format!("{name} is not known.")));
        let (source, target) = (kind("sourceIdType")?, kind("targetIdType")?);
        let prefer = if target.immutable { "IdType=\"ImmutableId\"".to_owned() } else { String::new() };
        let shown = Call { prefer, ..Call::default() };
        let translated: Vec<Value> = self.core.read(|store| {
            let one = |id: &Value| {
                let rest = id.as_str().and_then(|id| source.read(id));
                let found = rest.as_deref().and_then(|rest| store.get(&item::stored_id(rest)));
                let found = found.filter(|item| {
                    let fits = source.immutable || rest.as_deref().is_some_and(|rest| item::is_current(rest, item));
                    item.owner == user && fits
                });
                match found {
                    Some(item) => json!({ "sourceId": id, "targetId": target.write(&item::shown_id(item, &shown)) }),
                    None => json!({ "sourceId": id, "errorDetails": {
                        "code": "ErrorInvalidIdMalformed", "message": "The id cannot be converted.",
                    } }),
                }
            };
            ids.iter().map(one).collect()
        });
        Ok(Reply::ok(json!({ "value": translated })))
    }
}
