//! Match keys: what two records must share to be taken for one.
//!
//! A key is a list of canonical paths that must all be equal; `*` in a path stands for any index. Each combination of the
//! record's values gives one digest, so that finding partners is looking up equal numbers.

use std::borrow::Cow;

use pairwise_plugin_api::Fields;

use crate::model::MatchPolicy;
use crate::model::value::{canonical_text, digest_of};

/// More keys than this are not made for one record: a card with dozens of addresses must not fill the table.
const MOST_KEYS: usize = 32;

/// Telephone numbers are compared by as many of their last digits: country codes and trunk prefixes are written or not, and
/// seven digits tell subscribers apart well enough, as a number alone is never a key of a preset.
const SIGNIFICANT_DIGITS: usize = 7;

/// The record's keys: rank in the policy, and a digest. A key with an empty part gives none.
#[must_use]
pub fn match_keys(policy: &MatchPolicy, values: &Fields, uid: Option<&str>) -> Vec<(u8, u64)> {
    let mut keys = Vec::new();
    for (rank, paths) in (0u8..).zip(&policy.keys) {
        // The cross product of the parts, grown part by part.
        let mut products: Vec<Vec<u8>> = vec![Vec::new()];
        for path in paths {
            let parts = parts(path, values, uid, policy.case_sensitive);
            products = products
                .iter()
                .flat_map(|start| parts.iter().map(move |part| [start, part.as_bytes(), b"\0"].concat()))
                .take(MOST_KEYS)
                .collect();
        }
        for product in products.iter().filter(|product| !product.is_empty()) {
            let key = (rank, digest_of(product));
            if keys.len() < MOST_KEYS && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// The values that a path stands for, in the form in which they are compared, none of them empty.
fn parts<'a>(path: &'a str, values: &'a Fields, uid: Option<&'a str>, case_sensitive: bool) -> Vec<Cow<'a, str>> {
    if path == "uid" {
        return uid
            .or_else(|| values.text("uid"))
            .map(str::trim)
            .filter(|uid| !uid.is_empty())
            .map(Cow::Borrowed)
            .into_iter()
            .collect();
    }
    let texts: Vec<&str> = match path.split_once('*') {
        Some((stem, _)) => values
            .with_prefix(stem)
            .filter(|(name, _)| fits(path, name))
            .filter_map(|(_, value)| value.as_text())
            .collect(),
        None => values.text(path).into_iter().collect(),
    };
    texts
        .into_iter()
        .map(|text| if path.starts_with("phones/") { digits(text) } else { canonical_text(text, !case_sensitive) })
        .filter(|text| !text.is_empty())
        .collect()
}

/// Whether a path is what a key's part stands for, `*` being any index.
pub(super) fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        Some((stem, end)) => path
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|index| !index.is_empty() && !index.contains('/')),
        None => pattern == path,
    }
}

/// The last digits of a telephone number, without its extension.
fn digits(text: &str) -> Cow<'_, str> {
    let first = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[first..].split([';', ',', 'x', 'X', '#']).next().unwrap_or_default();
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    Cow::Owned(digits[digits.len().saturating_sub(SIGNIFICANT_DIGITS)..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Pick, Several, Sides, Winner};

    fn policy(keys: &[&[&str]]) -> MatchPolicy {
        MatchPolicy {
            keys: keys.iter().map(|key| key.iter().map(|path| (*path).into()).collect()).collect(),
            case_sensitive: false,
            within: Sides::default(),
            several: Sides::from_fn(|_| Several::all(Pick::Hold)),
            differ: Winner::Hold,
        }
    }

    fn keys(policy: &MatchPolicy, fields: &[(&str, &str)], uid: Option<&str>) -> Vec<(u8, u64)> {
        match_keys(policy, &fields.iter().copied().collect(), uid)
    }

    #[test]
    fn any_index_and_case_and_phones_written_differently() {
        let policy = policy(&[&["uid"], &["emails/*/address"], &["name/full", "phones/*/number"]]);
        let a = keys(
            &policy,
            &[
                ("emails/1/address", "Ada@Example.com"),
                ("emails/2/address", "x@example.com"),
                ("name/full", "Ada Lovelace"),
                ("phones/work/number", "+49 (0)30 123-4567 ext. 9"),
            ],
            Some("u1"),
        );
        let b = keys(
            &policy,
            &[
                ("emails/3/address", "ada@example.com "),
                ("name/full", "ADA LOVELACE"),
                ("phones/home/number", "030/1234567"),
            ],
            Some("u2"),
        );
        assert_eq!(a.iter().map(|(rank, _)| *rank).collect::<Vec<_>>(), [0, 1, 1, 2]);
        let shared: Vec<u8> = a.iter().filter(|key| b.contains(key)).map(|(rank, _)| *rank).collect();
        assert_eq!(shared, [1, 2]);
    }

    #[test]
    fn an_empty_part_gives_no_key() {
        let policy = policy(&[&["uid"], &["name/full", "phones/*/number"]]);
        assert!(keys(&policy, &[("name/full", "Ada")], Some(" ")).is_empty());
        assert!(keys(&policy, &[("name/full", "Ada"), ("phones/work/number", "none")], None).is_empty());
    }

    #[test]
    fn a_record_with_many_addresses_stays_bounded() {
        let policy = policy(&[&["emails/*/address", "phones/*/number"]]);
        let fields: Vec<(String, String)> = (0..50)
            .flat_map(|n| {
                [
                    (format!("emails/{n}/address"), format!("{n}@x")),
                    (format!("phones/{n}/number"), format!("55500{n:02}")),
                ]
            })
            .collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(keys(&policy, &fields, None).len(), MOST_KEYS);
    }

    #[test]
    fn a_doubled_value_gives_one_key_and_case_may_count() {
        let mut policy = policy(&[&["emails/*/address"]]);
        let fields = [("emails/1/address", "a@x"), ("emails/2/address", "A@x")];
        assert_eq!(keys(&policy, &fields, None).len(), 1);
        policy.case_sensitive = true;
        assert_eq!(keys(&policy, &fields, None).len(), 2);
    }
}
