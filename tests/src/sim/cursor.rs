//! Cursors of a simulated system.

use pairwise_plugin_api::Cursor;

/// What a cursor means here: in a listing (`l`) or among the events (`e`).
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) kind: char,
    pub(super) generation: u32,
    pub(super) at: usize,
    pub(super) after: String,
}

impl Place {
    pub(super) fn cursor(&self) -> Cursor {
        Cursor(format!("{}:{}:{}:{}", self.kind, self.generation, self.at, self.after).into_bytes())
    }

    pub(super) fn parse(cursor: &Cursor) -> Option<Place> {
        let text = std::str::from_utf8(&cursor.0).ok()?;
        let mut parts = text.splitn(4, ':');
        Some(Place {
            kind: parts.next()?.chars().next()?,
            generation: parts.next()?.parse().ok()?,
            at: parts.next()?.parse().ok()?,
            after: parts.next()?.to_owned(),
        })
    }
}
