//! Addresses of requests: conditions, their literals, and what of it must be encoded.

use jiff::Timestamp;
use pairwise_plugin_api::Millis;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::settings::Config;

/// What stays as it is in a query: the server's literals need it, and no `+`, which is not a blank here.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b'@')
    .remove(b':')
    .remove(b'*')
    .remove(b'/')
    .remove(b'$');

/// What stays as it is in a key within a path.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text literal: quotes are doubled, and so is the backslash, which the server takes for an escape.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A moment, cut to the second: the server knows no finer ones for certain.
pub(crate) fn at(millis: Millis) -> String {
    let moment = Timestamp::from_second(millis.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("@{moment}@")
}

/// `property in ('a','b')`.
pub(crate) fn within<'a>(property: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(literal).collect();
    format!("{property} in ({})", values.join(","))
}

/// The address of one record in a feed.
pub(crate) fn entry(feed: &str, key: &str) -> String {
    format!("{feed}('{}')", utf8_percent_encode(key, KEY))
}

/// The address of a feed with its parameters, JSON asked for.
pub(crate) fn url(feed: &str, parameters: &[(&str, &str)]) -> String {
    let mut url = format!("{feed}?format=json");
    for (name, value) in parameters {
        url.push('&');
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, PLAIN));
    }
    url
}

/// How many bytes a text takes in a query.
pub(crate) fn width(text: &str) -> usize {
    utf8_percent_encode(text, PLAIN).map(str::len).sum()
}

/// Cuts values into lists that each fit an address of this configuration, and a page; `around` is what the rest of it takes,
/// `times` how often each value stands in it.
pub(crate) fn fitting<'v>(config: &Config, values: &'v [String], around: usize, times: usize) -> Vec<&'v [String]> {
    let (room, most) = ((config.longest_url as usize).saturating_sub(around), config.page as usize);
    let mut lists = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (index, value) in values.iter().enumerate() {
        let takes = times * (width(&literal(value)) + 1);
        if index > start && (used + takes > room || index - start >= most) {
            lists.push(&values[start..index]);
            (start, used) = (index, 0);
        }
        used += takes;
    }
    if start < values.len() {
        lists.push(&values[start..]);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::config;

    #[test]
    fn literals_are_quoted() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\b"), r"'a\\b'");
        assert_eq!(at(1_384_992_000_999), "@2013-11-21T00:00:00Z@");
        assert_eq!(within("Id", ["C1", "C2"]), "Id in ('C1','C2')");
    }

    #[test]
    fn queries_are_encoded() {
        let url = url("http://crm/contacts", &[("where", "Email eq 'a+b@x.de' and LastName eq 'Grün & Söhne'")]);
        assert_eq!(
            url,
            "http://crm/contacts?format=json&where=Email%20eq%20'a%2Bb@x.de'%20and%20LastName%20eq%20'Gr%C3%BCn%20%26%20S%C3%B6hne'"
        );
        assert_eq!(entry("http://crm/contacts", "C'1 "), "http://crm/contacts('C%271%20')");
    }

    #[test]
    fn lists_fit_an_address() {
        let ids: Vec<String> = (0..250).map(|number| format!("CDEMOA{number:06}")).collect();
        let config = |page, longest_url| Config { page, longest_url, ..config("http://crm.example.com") };
        for longest in [1_000, 1_950, 4_000] {
            let config = config(500, longest);
            let lists = fitting(&config, &ids, 220, 1);
            assert_eq!(lists.iter().map(|list| list.len()).sum::<usize>(), 250);
            let fits =
                |list: &&[String]| 200 + width(&within("Id", list.iter().map(String::as_str))) <= longest as usize;
            assert!(lists.iter().all(fits), "{longest}");
        }
        assert_eq!(fitting(&config(2, 1_950), &ids[..3], 200, 1).len(), 2);
        let long = vec!["x".repeat(5_000)];
        assert_eq!(fitting(&config(5, 1_950), &long, 0, 1).len(), 1, "a value that never fits is tried alone");
    }
}
