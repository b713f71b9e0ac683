//! What a mailbox lists under `/outlook`: its categories with their colours, and the time zones that the server knows.

use serde_json::{Value, json};
use strum::IntoEnumIterator;
use windows_timezones::WindowsTimezone;

use super::Graph;
use super::call::{Answer, Call, Reply};

/// Colours are `none` and these.
const COLOURS: u32 = 25;

/// A category of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Category {
    id: String,
    name: String,
    colour: String,
}

impl Category {
    /// What every mailbox begins with.
    pub(super) fn first() -> Vec<Category> {
        vec![Category { id: "c1".to_owned(), name: "Business".to_owned(), colour: "preset0".to_owned() }]
    }

    fn show(&self) -> Value {
        json!({ "id": self.id, "displayName": self.name, "color": self.colour })
    }
}

fn colour(call: &Call) -> Result<Option<String>, Reply> {
    let Some(colour) = call.body["color"].as_str() else { return Ok(None) };
    let number = colour.strip_prefix("preset").and_then(|number| number.parse::<u32>().ok());
    if colour == "none" || number.is_some_and(|number| number < COLOURS) {
        return Ok(Some(colour.to_owned()));
    }
    Err(Reply::error(400, "RequestBodyRead", "The value of color is not one of categoryColor."))
}

impl Graph {
    pub(super) fn categories(&self, call: &Call, user: &str, id: Option<&str>) -> Answer {
        let mut state = self.state();
        let mailbox = state.mailboxes.iter_mut().find(|mailbox| mailbox.user == user);
        let all = &mut mailbox.ok_or_else(Reply::not_found)?.categories;
        let place =
            id.map(|id| all.iter().position(|known| known.id.eq_ignore_ascii_case(id)).ok_or_else(Reply::not_found));
        match (call.method.as_str(), place.transpose()?) {
            ("GET", None) => Ok(Reply::ok(json!({ "value": all.iter().map(Category::show).collect::<Vec<_>>() }))),
            ("POST", None) => {
                let name = call.body["displayName"].as_str().unwrap_or_default().trim().to_owned();
                if name.is_empty() {
                    return Err(Reply::bad("displayName is missing."));
                }
                // Assumption: how a name that is taken is refused.
                if all.iter().any(|known| known.name.eq_ignore_ascii_case(&name)) {
                    return Err(Reply::error(409, "ErrorItemAlreadyExists", "A category of this name exists."));
                }
                let next = all.iter().filter_map(|known| known.id.get(1..)?.parse::<u32>().ok()).max().unwrap_or(0) + 1;
                let colour = colour(call)?.unwrap_or_else(|| "none".to_owned());
                let made = Category { id: format!("c{next}"), name, colour };
                let shown = made.show();
                all.push(made);
                Ok(Reply::json(201, shown))
            }
            ("GET", Some(place)) => Ok(Reply::ok(all[place].show())),
            // A category keeps its name.
            ("PATCH", Some(place)) => {
                all[place].colour = colour(call)?.unwrap_or_else(|| "none".to_owned());
                Ok(Reply::ok(all[place].show()))
            }
            ("DELETE", Some(place)) => {
                all.remove(place);
                Ok(Reply::empty(204))
            }
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }
}

/// `supportedTimeZones`, with the names of Windows, or of IANA where these are asked for.
pub(super) fn time_zones(word: &str) -> Answer {
    let missing = || Reply::error(404, "ResourceNotFound", "Resource not found for the segment.");
    let rest = word.strip_prefix("supportedtimezones").ok_or_else(missing)?;
    let kind = rest.trim_matches(['(', ')']).strip_prefix("timezonestandard=microsoft.graph.timezonestandard");
    let iana = match (rest, kind.map(|kind| kind.trim_matches('\''))) {
        ("" | "()", _) | (_, Some("windows")) => false,
        (_, Some("iana")) => true,
        _ => return Err(Reply::error(400, "BadRequest", "The time zone standard is not known.")),
    };
    let zone = |zone: WindowsTimezone| {
        let alias = if iana { zone.tzdb_id() } else { zone.name() };
        json!({ "alias": alias, "displayName": zone.description() })
    };
    Ok(Reply::ok(json!({ "value": WindowsTimezone::iter().map(zone).collect::<Vec<_>>() })))
}
