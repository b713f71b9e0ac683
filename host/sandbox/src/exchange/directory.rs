//! What concerns no mailbox: names, zones, ids.

use std::str::FromStr;

use windows_timezones::WindowsTimezone;

use super::call::{Body, Call, Part, child, inside, text};
use super::mailbox::{FOLDER, folder};
use super::properties::{mailbox, shown};
use super::xml::{Out, Problem, answer};

/// Zones that are told where none is asked for by name.
const COMMON: &[&str] = &[
    "UTC",
    "GMT Standard Time",
    "W. Europe Standard Time",
    "Romance Standard Time",
    "Central European Standard Time",
    "E. Europe Standard Time",
    "Eastern Standard Time",
    "Central Standard Time",
    "Pacific Standard Time",
    "Tokyo Standard Time",
    "AUS Eastern Standard Time",
];

impl Call<'_> {
    pub(super) fn resolve_names(&self) -> Body {
        let wanted = text(self.request, "UnresolvedEntry")
            .trim_start_matches("smtp:")
            .trim_start_matches("SMTP:")
            .to_lowercase();
        let full = self.request.attribute("ReturnFullContactData") == Some("true");
        let found: Vec<(String, String)> = self
            .exchange
            .users()
            .into_iter()
            .filter(|(name, address)| {
                name.to_lowercase().contains(&wanted)
                    || address.starts_with(&wanted)
                    || address.split('@').next().is_some_and(|local| wanted.ends_with(&format!("/cn={local}")))
            })
            .collect();
        let result: Part = if wanted.is_empty() || found.is_empty() {
            Err(Problem::new("ErrorNameResolutionNoResults", "No results were found."))
        } else {
            let mut out = Out::new();
            let count = found.len().to_string();
            out.start_with("m:ResolutionSet", &[("TotalItemsInView", &count), ("IncludesLastItemInRange", "true")]);
            for (name, address) in &found {
                out.start("t:Resolution");
                mailbox(&mut out, name, address);
                if full {
                    out.start("t:Contact").leaf("t:DisplayName", name).leaf("t:ContactSource", "ActiveDirectory").end();
                }
                out.end();
            }
            Ok(out.done())
        };
        Ok(answer("ResolveNames", &[result], ""))
    }

    pub(super) fn get_server_time_zones(&self) -> Body {
        let asked: Vec<&str> = inside(self.request, "Ids").into_iter().filter_map(|node| node.text()).collect();
        let names = if asked.is_empty() { COMMON } else { &asked };
        let mut out = Out::new();
        out.start("m:TimeZoneDefinitions");
        for name in names {
            if let Ok(zone) = WindowsTimezone::from_str(name) {
                out.empty("t:TimeZoneDefinition", &[("Id", name), ("Name", zone.description())]);
            }
        }
        Ok(answer("GetServerTimeZones", &[Ok(out.done())], ""))
    }

    /// Ids of all forms are one here; an answer tells whose mailbox it is.
    pub(super) fn convert_id(&self) -> Body {
        let format = self.request.attribute("DestinationFormat").unwrap_or("EwsId");
        let results: Vec<Part> = child(self.request, "SourceIds")
            .into_iter()
            .flat_map(|ids| ids.children())
            .filter(|id| id.is_element())
            .map(|id| {
                let (source, given) =
                    (id.attribute("Id").unwrap_or_default(), id.attribute("Format").unwrap_or_default());
                let known = self.exchange.core.read(|store| {
                    let root = folder(store, &self.mailbox, "root").map(|root| root.id == source);
                    store.get(source).is_some_and(|item| item.owner == self.mailbox) || root == Some(true)
                });
                if !known {
                    return Err(Problem::new("ErrorInvalidIdMalformed", format!("Id is malformed ({given}).")));
                }
                let mut out = Out::new();
                out.empty(
                    "m:AlternateId",
                    &[
                        ("xsi:type", "t:AlternateIdType"),
                        ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
                        ("Format", format),
                        ("Id", source),
                        ("Mailbox", &self.mailbox),
                    ],
                );
                Ok(out.done())
            })
            .collect();
        Ok(answer("ConvertId", &results, ""))
    }
}

impl super::Exchange {
    /// Everybody with a mailbox: name and address.
    pub(super) fn users(&self) -> Vec<(String, String)> {
        self.core.read(|store| {
            let roots = store.all().filter(|item| item.entity == FOLDER && item.fields.get("OwnerName").is_some());
            roots
                .map(|root| (root.fields.get("OwnerName").map(shown).unwrap_or_default(), root.owner.clone()))
                .collect()
        })
    }
}
