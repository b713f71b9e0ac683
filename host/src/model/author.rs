//! Who has written a cursor, and who can read it.

use std::fmt;
use std::str::FromStr;

use pairwise_plugin_api::Cursor;
use semver::{Comparator, Op, Version};

/// A plugin in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Its id.
    pub plugin: String,
    /// Its version.
    pub version: Version,
}

/// What a connector knows of how far it has read, and in which version it wrote that.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Who wrote it.
    pub by: Author,
    /// How far.
    pub cursor: Cursor,
}

impl Author {
    /// Whether this is the same plugin in the same or a later version than the one that wrote something. What a later version
    /// has written is never given to an earlier one.
    #[must_use]
    pub fn follows(&self, other: &Author) -> bool {
        self.plugin == other.plugin && self.version >= other.version
    }

    /// Whether semantic versioning promises that nothing has changed in between which others rely on.
    #[must_use]
    pub fn is_compatible_with(&self, other: &Author) -> bool {
        let Version { major, minor, patch, pre, .. } = other.version.clone();
        let same = Comparator { op: Op::Caret, major, minor: Some(minor), patch: Some(patch), pre };
        self.plugin == other.plugin && same.matches(&self.version)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.plugin, self.version)
    }
}

impl FromStr for Author {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (plugin, version) = text.split_once(' ').ok_or_else(|| format!("`{text}` names no version"))?;
        let version = version.parse().map_err(|error| format!("`{text}`: {error}"))?;
        Ok(Author { plugin: plugin.to_owned(), version })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn later_versions_follow_and_compatible_ones_read_the_same() {
        let author = |text: &str| text.parse::<Author>().unwrap();
        for (now, then, follows, compatible) in [
            ("crm 1.2.0", "crm 1.2.0", true, true),
            ("crm 1.3.0", "crm 1.2.0", true, true),
            ("crm 2.0.0", "crm 1.2.0", true, false),
            ("crm 0.2.0", "crm 0.1.9", true, false),
            ("crm 0.1.9", "crm 0.1.2", true, true),
            ("crm 1.1.0", "crm 1.2.0", false, false),
            ("mail 1.3.0", "crm 1.2.0", false, false),
        ] {
            let (now, then) = (author(now), author(then));
            assert_eq!((now.follows(&then), now.is_compatible_with(&then)), (follows, compatible), "{then} → {now}");
            assert_eq!(author(&now.to_string()), now);
        }
        assert!("crm".parse::<Author>().is_err());
    }
}
