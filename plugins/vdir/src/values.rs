//! Values of lines, read by `calcard`.
//!
//! Each line is handed over under the name of a property whose values have the wanted shape, so that one strict reader
//! decides about escapes, separators and dates for all properties alike, `X-` ones included.

use std::borrow::Cow;

use calcard::common::PartialDateTime;
use calcard::vcard::{VCardEntry, VCardValue};
use calcard::{Entry, Parser};

/// What the value of a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// One text.
    Text,
    /// Texts between commas.
    List,
    /// Components between semicolons; commas mean nothing.
    Components,
    /// Components between semicolons, each a list.
    Lists,
    /// A date, perhaps with a time.
    Date,
}

impl Reading {
    fn property(self) -> &'static str {
        match self {
            Reading::Text => "NOTE",
            Reading::List => "CATEGORIES",
            Reading::Components => "ORG",
            Reading::Lists => "ADR",
            Reading::Date => "BDAY",
        }
    }
}

/// Collects lines and reads them all at once.
#[derive(Debug)]
pub(crate) struct Reader {
    text: String,
    count: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let mut text = String::with_capacity(1024);
        text.push_str("BEGIN:VCARD\nVERSION:4.0\n");
        Reader { text, count: 0 }
    }

    pub(crate) fn add(&mut self, reading: Reading, value: &str) {
        let (reading, value) = match reading {
            Reading::Date => basic_date(value).map_or((Reading::Text, Cow::Borrowed(value)), |date| (reading, date)),
            _ => (reading, Cow::Borrowed(value)),
        };
        self.text.push_str(reading.property());
        self.text.push(':');
        self.text.extend(value.chars().filter(|char| !matches!(char, '\r' | '\n')));
        self.text.push('\n');
        self.count += 1;
    }

    /// The values of each line, in order; `None` if the lines are not read as the lines that they are.
    pub(crate) fn read(mut self) -> Option<Vec<Values>> {
        self.text.push_str("END:VCARD\n");
        let Entry::VCard(card) = Parser::new(&self.text).strict().entry() else { return None };
        let mut entries = card.entries.into_iter();
        entries.next()?;
        let values: Vec<Values> = entries.map(Values).collect();
        (values.len() == self.count).then_some(values)
    }
}

/// A date in the basic spelling of vCard 4, the only one that `calcard` reads in full; `None` for what is no date.
fn basic_date(value: &str) -> Option<Cow<'_, str>> {
    let value = value.trim();
    let (date, time) = value.split_at(value.find('T').unwrap_or(value.len()));
    let date = match date.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] => Cow::Owned(date.replace('-', "")),
        [b'-', b'-', _, _, b'-', _, _] => Cow::Owned(format!("--{}{}", &date[2..4], &date[5..])),
        _ => Cow::Borrowed(date),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = match date.len() {
        4 | 8 => is_digits(&date),
        6 => date.strip_prefix("--").is_some_and(is_digits),
        7 => date.split_once('-').is_some_and(|(year, month)| year.len() == 4 && is_digits(year) && is_digits(month)),
        _ => false,
    };
    if !is_date {
        return None;
    }
    Some(if time.is_empty() { date } else { Cow::Owned(format!("{date}{}", time.replace(':', ""))) })
}

/// The values of one line.
#[derive(Debug)]
pub(crate) struct Values(VCardEntry);

impl Values {
    /// The text of a component or list item; empty where there is none.
    pub(crate) fn text(&mut self, index: usize) -> String {
        match self.0.values.get_mut(index) {
            Some(VCardValue::Text(text)) => std::mem::take(text),
            Some(VCardValue::Component(list)) => list.join(","),
            _ => String::new(),
        }
    }

    pub(crate) fn texts(mut self) -> Vec<String> {
        (0..self.0.values.len()).map(|index| self.text(index)).filter(|text| !text.is_empty()).collect()
    }

    /// The date, if it is one.
    pub(crate) fn date(&self) -> Option<&PartialDateTime> {
        self.0.values.first().and_then(VCardValue::as_partial_date_time)
    }
}

/// `2026-03-01`, `--03-01`, `2026-03`, `2026`; `None` for anything else.
pub(crate) fn print_date(date: &PartialDateTime) -> Option<String> {
    if date.month.is_some_and(|month| !(1..=12).contains(&month))
        || date.day.is_some_and(|day| !(1..=31).contains(&day))
    {
        return None;
    }
    match (date.year, date.month, date.day) {
        (Some(year), Some(month), Some(day)) => Some(format!("{year:04}-{month:02}-{day:02}")),
        (None, Some(month), Some(day)) => Some(format!("--{month:02}-{day:02}")),
        (Some(year), Some(month), None) => Some(format!("{year:04}-{month:02}")),
        (Some(year), None, None) => Some(format!("{year:04}")),
        _ => None,
    }
}

/// `20260301T093000Z` in seconds since 1970.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let mut date = PartialDateTime::default();
    let is_whole = date.parse_timestamp(&mut text.as_bytes().iter().peekable(), true);
    date.to_timestamp().filter(|_| is_whole)
}

/// True if a time of day stands beside the date, and it is not midnight.
pub(crate) fn has_time(date: &PartialDateTime) -> bool {
    [date.hour, date.minute, date.second].into_iter().flatten().any(|part| part != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests {
    use super::*;

    #[test]
    fn texts_components_and_lists() {
        let mut reader = Reader::new();
        reader.add(Reading::Text, r"a\, b\;c\nd;e,f\\ http\://x");
        reader.add(Reading::List, r"Work, Friends\, old,");
        reader.add(Reading::Components, r"A, B\;C;D");
        reader.add(Reading::Lists, r";;Main\, 1,Apt 3;Town");
        reader.add(Reading::Text, "");
        let mut values = reader.read().unwrap();
        assert_eq!(values[0].text(0), "a, b;c\nd;e,f\\ http://x");
        assert_eq!((values[2].text(0), values[2].text(1)), ("A, B;C".into(), "D".into()));
        assert_eq!(
            (values[3].text(2), values[3].text(3), values[3].text(6)),
            ("Main, 1,Apt 3".into(), "Town".into(), String::new())
        );
        assert_eq!(values[4].text(0), "");
        assert_eq!(values.remove(1).texts(), ["Work", "Friends, old"]);
    }

    #[test]
    fn dates_of_all_versions() {
        for (value, want) in [
            ("1970-03-10", Some("1970-03-10")),
            ("19700310", Some("1970-03-10")),
            ("1970-03-10T00:00:00Z", Some("1970-03-10")),
            ("19531015T231000Z", Some("1953-10-15")),
            ("--0310", Some("--03-10")),
            ("--03-10", Some("--03-10")),
            ("1970-03", Some("1970-03")),
            ("1970", Some("1970")),
            ("10.03.1970 ", None),
            ("circa 1800", None),
            ("", None),
        ] {
            let mut reader = Reader::new();
            reader.add(Reading::Date, value);
            let mut values = reader.read().unwrap();
            assert_eq!(values[0].date().and_then(print_date).as_deref(), want, "{value}");
            if want.is_none() {
                assert_eq!(values[0].text(0), value);
            }
        }
    }
}
