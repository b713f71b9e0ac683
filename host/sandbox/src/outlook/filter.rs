//! `$filter`, as far as Outlook's resources know it.

use serde_json::Value;

use super::call::Reply;
use super::item::{PROPERTIES, same_property};
use crate::store::Item;

/// More terms than this are refused.
const TERMS: usize = 20;

/// Terms of which one must hold; each is a list of terms that must all hold.
#[derive(Debug)]
pub(super) struct Filter(Vec<Vec<Term>>);

#[derive(Debug)]
enum Term {
    Property { id: String, value: String },
    Mail(String),
    Equal { member: String, value: String },
    Starts { member: String, value: String },
    Since { member: String, value: String },
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, Reply> {
        let alternatives: Vec<Vec<&str>> =
            split(text, " or ").into_iter().map(|alternative| split(alternative, " and ")).collect();
        if alternatives.iter().map(Vec::len).sum::<usize>() > TERMS {
            return Err(Reply::error(400, "ErrorRestrictionTooComplex", "The restriction is too complex."));
        }
        let term = |text: &&str| {
            Term::parse(text).ok_or_else(|| Reply::error(400, "BadRequest", &format!("Invalid filter clause: {text}")))
        };
        let parsed = alternatives.iter().map(|terms| terms.iter().map(term).collect::<Result<Vec<_>, _>>());
        Ok(Filter(parsed.collect::<Result<_, _>>()?))
    }

    /// Whether an item fits; `shown` is the item as it is shown.
    pub(super) fn fits(&self, item: &Item, shown: &Value) -> bool {
        self.0.iter().any(|terms| terms.iter().all(|term| term.fits(item, shown)))
    }
}

/// Cuts at a word that stands outside of quotes and brackets.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0_i32, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ' ' if !quoted && depth == 0 && at >= start && text[at..].to_ascii_lowercase().starts_with(word) => {
                parts.push(text[start..at].trim());
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

impl Term {
    fn parse(text: &str) -> Option<Term> {
        let text = text.trim();
        let text = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("singlevalueextendedproperties/any(") {
            let inner = &text["singleValueExtendedProperties/any(".len()..text.len() - 1];
            let tests = split(inner.split_once(':')?.1, " and ");
            let of = |member: &str| tests.iter().find(|test| test.contains(member)).and_then(|test| literal(test));
            return Some(Term::Property { id: of("/id ")?, value: of("/value ")? });
        }
        if lower.starts_with("emailaddresses/any(") {
            return Some(Term::Mail(literal(text)?));
        }
        if lower.starts_with("startswith(") {
            let inner = text["startswith(".len()..].strip_suffix(')')?;
            let (member, _) = inner.split_once(',')?;
            return Some(Term::Starts { member: member.trim().to_owned(), value: literal(inner)? });
        }
        let mut words = text.splitn(3, ' ');
        let (member, operator, value) = (words.next()?, words.next()?, words.next()?);
        match operator {
            "eq" => Some(Term::Equal {
                member: member.to_owned(),
                value: literal(value).unwrap_or_else(|| value.to_owned()),
            }),
            "ge" | "gt" => Some(Term::Since { member: member.to_owned(), value: value.trim_matches('\'').to_owned() }),
            _ => None,
        }
    }

    fn fits(&self, item: &Item, shown: &Value) -> bool {
        let text = |member: &str| shown.pointer(&format!("/{member}")).and_then(Value::as_str).unwrap_or_default();
        match self {
            Term::Property { id, value } => {
                let held = item.fields.get(PROPERTIES).and_then(Value::as_array);
                held.into_iter().flatten().any(|property| {
                    property["id"].as_str().is_some_and(|held| same_property(held, id))
                        && property["value"].as_str().is_some_and(|held| held.eq_ignore_ascii_case(value))
                })
            }
            Term::Mail(mail) => {
                let mails = shown["emailAddresses"].as_array();
                mails.into_iter().flatten().any(|entry| {
                    entry["address"].as_str().is_some_and(|held| held.to_lowercase() == mail.to_lowercase())
                })
            }
            Term::Equal { member, value } => text(member).to_lowercase() == value.to_lowercase(),
            Term::Starts { member, value } => text(member).to_lowercase().starts_with(&value.to_lowercase()),
            Term::Since { member, value } => text(member) >= value.as_str(),
        }
    }
}

/// What stands between the quotes; two of them are one.
fn literal(text: &str) -> Option<String> {
    let inner = &text[text.find('\'')? + 1..text.rfind('\'')?];
    Some(inner.replace("''", "'"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_within_quotes_do_not_cut() {
        assert_eq!(split("a eq 'x or y' or b eq 'z'", " or "), ["a eq 'x or y'", "b eq 'z'"]);
        let filter =
            Filter::parse("singleValueExtendedProperties/any(ep: ep/id eq 'String {g} Name N' and ep/value eq 'o''k')");
        assert!(
            matches!(&filter.unwrap().0[0][0], Term::Property { id, value } if id == "String {g} Name N" && value == "o'k")
        );
        assert!(Filter::parse("a lt 5").is_err());
    }
}
