//! Values, entries and feeds as SData's JSON spells them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use pairwise_http::{Json, Object};
use pairwise_plugin_api::{FieldType, Millis, Value};

/// The members of an entry.
pub(crate) type Entry = Object;

/// The moment that a date stands for: `/Date(ms)/`, with or without an offset, or ISO 8601.
pub(crate) fn millis(json: &Json) -> Option<Millis> {
    let text = json.as_str()?.trim();
    let Some(inside) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) else {
        let zoned = text.parse::<Timestamp>().ok();
        let local = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
        return zoned.or_else(|| local().map(|zoned| zoned.timestamp())).map(Timestamp::as_millisecond);
    };
    // The offset only says how to show the moment.
    let sign = inside.find(|c: char| c.is_ascii_digit())?;
    let end = inside[sign..].find(['+', '-']).map_or(inside.len(), |at| sign + at);
    inside[..end].parse().ok()
}

/// A moment as the server reads it.
pub(crate) fn date(millis: Millis) -> Json {
    Json::from(format!("/Date({millis})/"))
}

/// A value as the host sees it. The empty text is an empty value.
pub(crate) fn value(json: &Json, kind: FieldType) -> Value {
    match (kind, json) {
        (_, Json::Null) => Value::Null,
        (FieldType::DateTime, json) => moment(json).map_or(Value::Null, |at| Value::from(at.to_string())),
        // A day is kept as its midnight, by the clock of Greenwich.
        (FieldType::Date, json) => {
            moment(json).map_or(Value::Null, |at| Value::from(at.to_zoned(TimeZone::UTC).date().to_string()))
        }
        (FieldType::Bool, Json::Text(text)) => Value::Bool(["t", "true"].contains(&text.to_lowercase().as_str())),
        (FieldType::Bool, json) => json.as_bool().map_or(Value::Null, Value::Bool),
        (_, Json::Bool(value)) => Value::Bool(*value),
        (_, Json::Number(number)) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => number.as_f64().map_or(Value::Null, Value::Float),
        },
        (_, Json::Text(text)) if text.is_empty() => Value::Null,
        (_, Json::Text(text)) if text.contains('\r') => Value::from(text.replace("\r\n", "\n").replace('\r', "\n")),
        (_, Json::Text(text)) => Value::from(text.clone()),
        (_, Json::List(_) | Json::Object(_)) => Value::Null,
    }
}

fn moment(json: &Json) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis(json)?).ok()
}

/// A value as the server reads it; `None` for a date that it has no form for, such as a birthday without a year.
pub(crate) fn json(value: &Value, kind: FieldType) -> Option<Json> {
    Some(match (kind, value) {
        (_, Value::Null) => Json::Null,
        (FieldType::Date, Value::Text(text)) => {
            let day: Date = text.get(..10).unwrap_or(text).parse().ok()?;
            date(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
        }
        (FieldType::DateTime, Value::Text(text)) => date(millis(&Json::from(text.as_str()))?),
        (_, Value::Text(text)) => Json::from(text.as_str()),
        (_, Value::Bool(value)) => Json::from(*value),
        (_, Value::Int(value)) => Json::from(*value),
        (_, Value::Float(value)) => Json::from(*value),
        (_, Value::List(_)) => Json::from(value.to_string()),
    })
}

/// A text member that is not empty, without the blanks that fixed columns bring along.
pub(crate) fn text<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// The key of an entry, or of one that is referred to.
pub(crate) fn key(entry: &Entry) -> Option<&str> {
    text(entry, "$key")
}

/// The entity tag of an entry, without quotes.
pub(crate) fn etag(entry: &Entry) -> Option<&str> {
    text(entry, "$etag").map(unquoted)
}

/// Entity tags travel without quotes here; some servers put them in.
pub(crate) fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    // A tag without quotes may begin with these characters itself.
    let strong = etag.strip_prefix("W/").filter(|rest| rest.starts_with('"')).unwrap_or(etag);
    strong.trim_matches('"')
}

/// A related entry.
pub(crate) fn related<'a>(entry: &'a Entry, name: &str) -> Option<&'a Entry> {
    entry.get(name)?.as_object()
}

/// A page of entries.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// How many there are in all.
    pub(crate) total: Option<u64>,
    pub(crate) entries: Vec<Entry>,
}

impl Feed {
    pub(crate) fn of(json: Json) -> Option<Feed> {
        let Json::Object(mut members) = json else { return None };
        let Some(Json::List(resources)) = members.remove("$resources") else { return None };
        let entries = resources.into_iter().filter_map(|entry| match entry {
            Json::Object(entry) => Some(entry),
            _ => None,
        });
        Some(Feed { total: members.get("$totalResults").and_then(Json::as_u64), entries: entries.collect() })
    }
}

/// What the server says about a refusal: an array, one object, or an object with `$diagnoses`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) path: Option<String>,
    /// Only looked at, never shown.
    pub(crate) trace: String,
}

impl Diagnosis {
    pub(crate) fn of(body: &[u8]) -> Option<Diagnosis> {
        Diagnosis::in_json(&serde_json::from_slice(body).ok()?)
    }

    pub(crate) fn in_json(json: &Json) -> Option<Diagnosis> {
        let list = json.as_array().or_else(|| json.get("$diagnoses")?.as_array());
        let entry = list.map_or(Some(json), |list| list.first())?.as_object()?;
        let member = |name: &str| text(entry, name).unwrap_or_default().to_owned();
        let found = Diagnosis {
            severity: member("severity"),
            code: member("sdataCode"),
            message: member("message"),
            path: text(entry, "payloadPath").map(str::to_owned),
            trace: member("stackTrace"),
        };
        (!found.code.is_empty() || !found.message.is_empty()).then_some(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_http::json;

    use super::*;

    #[test]
    fn dates_are_read_in_every_form() {
        let forms =
            ["/Date(1384992000000)/", "/Date(1384992000000+0200)/", "2013-11-21T00:00:00Z", "2013-11-21T00:00:00"];
        for form in forms {
            assert_eq!(millis(&json!(form)), Some(1_384_992_000_000), "{form}");
        }
        assert_eq!(millis(&json!("/Date(-3600000-0500)/")), Some(-3_600_000));
        assert_eq!(millis(&json!("/Date()/")), None);
        assert_eq!(millis(&json!("yesterday")), None);
    }

    #[test]
    fn values_go_and_come_back() {
        let birthday = json!("/Date(1384992005000)/");
        assert_eq!(value(&birthday, FieldType::Date), Value::from("2013-11-21"));
        assert_eq!(super::json(&Value::from("2013-11-21"), FieldType::Date), Some(json!("/Date(1384992000000)/")));
        assert_eq!(super::json(&Value::from("--11-21"), FieldType::Date), None);
        assert_eq!(value(&json!("T"), FieldType::Bool), Value::Bool(true));
        assert_eq!(value(&json!(""), FieldType::Text), Value::Null);
        assert_eq!(value(&json!("a\r\nb"), FieldType::Text), Value::from("a\nb"));
        assert_eq!(value(&json!("/Date(1384992000000)/"), FieldType::DateTime), Value::from("2013-11-21T00:00:00Z"));
    }

    #[test]
    fn tags_lose_their_quotes_alone() {
        for (told, tag) in [("W/vLNtFhPCk=", "W/vLNtFhPCk="), ("\"gJaG=\"", "gJaG="), ("W/\"gJaG=\"", "gJaG=")] {
            assert_eq!(unquoted(told), tag);
        }
    }

    #[test]
    fn diagnoses_are_read_in_every_form() {
        let one = json!({ "severity": "Error", "sdataCode": "BadWhereSyntax", "message": "no" });
        for form in [json!([one]), one.clone(), json!({ "$diagnoses": [one] })] {
            let found = Diagnosis::of(form.to_string().as_bytes()).unwrap();
            assert_eq!((found.code.as_str(), found.message.as_str()), ("BadWhereSyntax", "no"));
        }
        assert_eq!(Diagnosis::of(b"<html>"), None);
        assert_eq!(Diagnosis::of(br#"{"$key":"C1","$etag":"x"}"#), None);
    }

    #[test]
    fn the_sheets_feed_is_read() {
        let feed = json!({ "$totalResults": 137, "$startIndex": 1, "$itemsPerPage": 100, "$resources": [
            { "$key": "CDEMOA000001", "$etag": "gJaGtgHyuAw=", "Account": { "$key": "ADEMOA000001 " } } ] });
        let feed = Feed::of(feed).unwrap();
        let entry = &feed.entries[0];
        assert_eq!((feed.total, key(entry), etag(entry)), (Some(137), Some("CDEMOA000001"), Some("gJaGtgHyuAw=")));
        assert_eq!(key(related(entry, "Account").unwrap()), Some("ADEMOA000001"));
    }
}
