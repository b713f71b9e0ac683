//! Fields that point at records of another entity, and how such a record is found or made.

use pairwise_plugin_api::{Fields, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Side;

/// A field of new records on one side that points at a record of another entity. It is filled when a record is made and
/// never touched afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Native name.
    pub field: Name,
    /// Whose field it is.
    pub side: Side,
    /// What the other record is called: the first that is not empty.
    pub value: Vec<Template>,
    /// Where it is looked for, in this order. What is missing is made as the first one.
    pub tries: Vec<Lookup>,
    /// If it is nowhere.
    pub missing: Missing,
    /// What a new one is given beside its name, by native name. `$self` in a field that refers to users is the login's own
    /// id: the connector fills it in.
    pub set: Fields,
}

/// One place where a referenced record is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Which entity.
    pub entity: String,
    /// The field that holds what it is called.
    pub by: Name,
    /// Whether case counts.
    pub case_sensitive: bool,
    /// If several are called so.
    pub pick: Referent,
}

/// Which of several records that are called the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Referent {
    /// The one that was created first, then the smallest id.
    #[default]
    Oldest,
    /// The one that was created last.
    Newest,
    /// None: the record that refers to it is set aside.
    Skip,
}

/// What happens if the record that is referred to does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It is made first, once for all that refer to it.
    Create,
    /// The field stays empty.
    #[default]
    Drop,
    /// The record that refers to it is set aside.
    Skip,
}

/// Text with values in it: `{name/surname}, {name/given}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(Name),
}

impl Template {
    /// Reads a template. `None` if a brace has no partner or nothing stands between two.
    #[must_use]
    pub fn parse(text: &str) -> Option<Template> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (path, behind) = after.split_once('}')?;
            if path.trim().is_empty() || path.contains('{') || before.contains('}') {
                return None;
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Path(Name::from(path.trim())));
            rest = behind;
        }
        if rest.contains('}') {
            return None;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Some(Template(parts))
    }

    /// The canonical paths in it.
    pub fn paths(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().filter_map(|part| if let Part::Path(path) = part { Some(path) } else { None })
    }

    /// The text with these values, without white space at its ends. A text between two values stands only where both are
    /// there; without any value it is empty.
    #[must_use]
    pub fn fill(&self, values: &Fields) -> String {
        let mut filled = String::new();
        let mut between = String::new();
        let (mut any, mut asked) = (false, false);
        for part in &self.0 {
            match part {
                Part::Text(text) => between.push_str(text),
                Part::Path(path) => {
                    let value = values.get(path).map(ToString::to_string).unwrap_or_default();
                    if !value.trim().is_empty() {
                        if any || !asked {
                            filled.push_str(&between);
                        }
                        filled.push_str(value.trim());
                        (any, between) = (true, String::new());
                    } else if !any {
                        // What leads up to a value that is not there goes with it.
                        between.clear();
                    }
                    asked = true;
                }
            }
        }
        let closes = matches!(self.0.last(), Some(Part::Text(_))) && any;
        if !asked || closes {
            filled.push_str(&between);
        }
        filled.trim().to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_what_is_there() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let cases: &[Case<'_>] = &[
            ("{a}, {b}", &[("a", "Lovelace"), ("b", "Ada")], "Lovelace, Ada"),
            ("{a}, {b}", &[("a", "Lovelace")], "Lovelace"),
            ("{a}, {b}", &[("b", " Ada ")], "Ada"),
            ("{a}, {b}", &[("a", " ")], ""),
            ("{a}", &[("a", "  Acme ")], "Acme"),
            ("{a} {b} {c}", &[("a", "x"), ("c", "z")], "x  z"),
            ("Dr. {a}", &[("a", "Who")], "Dr. Who"),
            ("Dr. {a}", &[], ""),
            ("Unknown", &[], "Unknown"),
        ];
        for (template, values, expected) in cases {
            let values: Fields = values.iter().copied().collect();
            assert_eq!(Template::parse(template).unwrap().fill(&values), *expected, "{template} {values:?}");
        }
    }

    #[test]
    fn braces_come_in_pairs() {
        for wrong in ["{a", "a}", "{}", "{a{b}}", "}{"] {
            assert_eq!(Template::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Template::parse("{a}/{ b }").unwrap().paths().map(|path| &**path).collect::<Vec<_>>(), ["a", "b"]);
    }
}
