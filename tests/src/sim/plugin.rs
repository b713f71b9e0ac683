//! The plugin between a host and a simulated system: its version, and the cursors that it writes. What another version has
//! written is another language to it, unless semantic versioning promises that it is not.

use pairwise_host::model::Author;
use pairwise_plugin_api::ops::{MigrateStateRequest, MigrateStateResponse};
use pairwise_plugin_api::{Cursor, Failure, Page};
use semver::Version;

use super::script::{Carries, Upgrade};

/// A plugin in one of its versions.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    version: Version,
    carries: Carries,
    /// Earlier ones, the last one last.
    former: Vec<(Version, Carries)>,
}

impl Default for Plugin {
    fn default() -> Self {
        Plugin { version: Version::new(1, 0, 0), carries: Carries::default(), former: Vec::new() }
    }
}

impl Plugin {
    /// Another version takes over.
    pub(super) fn upgrade(&mut self, upgrade: Upgrade) {
        let Version { major, minor, .. } = self.version;
        let (version, carries) = match upgrade {
            Upgrade::Minor(carries) => (Version::new(major, minor + 1, 0), carries),
            Upgrade::Major(carries) => (Version::new(major + 1, 0, 0), carries),
            Upgrade::Back => {
                if let Some((version, carries)) = self.former.pop() {
                    (self.version, self.carries) = (version, carries);
                }
                return;
            }
        };
        self.former.push((std::mem::replace(&mut self.version, version), self.carries));
        self.carries = carries;
    }

    pub(super) fn version(&self) -> Version {
        self.version.clone()
    }

    /// A page with its cursor in this version's language.
    pub(super) fn signed(&self, page: Page) -> Page {
        Page { next: page.next.map(|next| self.sign(&next.0)), ..page }
    }

    fn sign(&self, place: &[u8]) -> Cursor {
        Cursor([self.version.to_string().as_bytes(), b" ", place].concat())
    }

    /// What the system means by a cursor. An error if this version could not read it.
    pub(super) fn read(&self, cursor: &Cursor) -> Result<Cursor, String> {
        let (by, place) = split(cursor).ok_or("a cursor that no version has written")?;
        let author = |version: &Version| Author { plugin: String::new(), version: version.clone() };
        let promised = self.carries == Carries::Unasked && author(&self.version).is_compatible_with(&author(&by));
        if by == self.version || promised {
            Ok(place)
        } else {
            Err(format!("version {} was given a cursor of version {by}", self.version))
        }
    }

    /// What becomes of a cursor that an earlier version has written.
    pub(super) fn migrate(&self, request: &MigrateStateRequest) -> Result<MigrateStateResponse, Failure> {
        let place = split(&request.state).filter(|(by, _)| by.to_string() == request.from).map(|(_, place)| place);
        match self.carries {
            Carries::Unasked => Err(Failure::unimplemented("migrate_state")),
            Carries::Whole => Ok(MigrateStateResponse { state: place.map(|place| self.sign(&place.0)) }),
            Carries::Nothing => Ok(MigrateStateResponse { state: None }),
        }
    }
}

/// Who wrote a cursor, and what the system means by it.
fn split(cursor: &Cursor) -> Option<(Version, Cursor)> {
    let at = cursor.0.iter().position(|byte| *byte == b' ')?;
    let by = std::str::from_utf8(&cursor.0[..at]).ok()?.parse().ok()?;
    Some((by, Cursor(cursor.0[at + 1..].to_vec())))
}
