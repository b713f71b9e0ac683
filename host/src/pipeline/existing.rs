//! What a create means that has met a record: ours, made by an earlier attempt, or somebody else's.

use pairwise_plugin_api::{Action, Fields, Name, Outcome, Record, Value, Write};

use super::commit::Part;
use super::pull::{announce, set_aside};
use super::{Lane, Stop};
use crate::model::value::same;
use crate::model::{Aside, AsideKind, End, Guard, InboxId, Intent, Link, LinkId, Matching, Settlement, Side, Sides};

/// How a value that a write asked for stands in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// As we asked.
    AsAsked,
    /// It is empty, or not there.
    Empty,
    /// Something else is in its place.
    Otherwise,
}

/// Whose record a create has met that holds something else than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// It bears our key.
    Ours,
    /// It is certain that this create did not make it.
    Another,
    Unknown,
}

impl Whose {
    pub(super) fn of(ours: bool, is_another: bool) -> Self {
        match (ours, is_another) {
            (true, _) => Whose::Ours,
            (_, true) => Whose::Another,
            _ => Whose::Unknown,
        }
    }
}

impl Lane<'_> {
    /// A create whose key or UID is there already. Where the record holds just what we asked for, it is ours. If it bears our key
    /// and holds something else, somebody has edited it since; what is missing is filled. Otherwise it may be somebody
    /// else's: it is tied like a first match, so that nothing is overwritten unseen.
    pub(super) fn settle_existing(
        &mut self,
        intent: &mut Intent,
        (outcome, whose): (Outcome, Whose),
        link: &mut Link,
        settlement: &mut Settlement,
    ) -> Result<Part, Stop> {
        let side = intent.side;
        let Some(record) = outcome.record.clone() else {
            return Err(self.contract(side, "`exists` was answered without the record".to_owned()));
        };
        let known = self.store.known(&self.lease, side, std::slice::from_ref(&record.at))?.pop().unwrap_or_default();
        let other = known.link.as_ref().map(|(other, _)| *other).filter(|other| *other != link.id);
        if let (Some(other), Some((row, _))) = (other, &known.inbox)
            && self.met(intent, other, *row)?
        {
            return Ok(Part::Again);
        }
        let as_asked = self.holds_what_we_asked(intent, &record);
        let is_another = whose == Whose::Another && !as_asked;
        let tied = (side, record.at.clone());
        let is_taken = other.is_some() || is_another || self.tied.contains(&tied);
        if is_taken && self.guards(Guard::Taken) {
            let text = format!(
                "`{}` on the {side} bears the same UID and is linked to another record; give one of them another UID",
                record.at.id
            );
            self.set_aside(intent, "uid_taken", text, settlement);
            return Ok(Part::Refused);
        }
        if self.is_unreadable(side, &record) {
            // What it holds shows when it can be read again; until then the create is asked about.
            return Ok(Part::Open);
        }
        if !as_asked && whose == Whose::Unknown && self.unsure[side] && self.guards(Guard::Unsure) {
            // It may be what another create has made whose answer was lost.
            return Ok(Part::Open);
        }
        self.tied.insert(tied);
        if as_asked || !self.guards(Guard::NotOurs) {
            self.settle_told(intent, outcome, link, settlement);
            return Ok(Part::Done);
        }
        if whose == Whose::Ours {
            let standing = self.standing(intent, &record).unwrap_or_default().into_iter();
            let missing = standing.filter(|(_, stands)| *stands == Stands::Empty).map(|(path, _)| path.clone());
            let missing: Vec<Name> = missing.collect();
            self.settle_write(intent, &outcome, link);
            // What is empty may have been emptied, or never written: it is filled like at a first match.
            for path in missing {
                link.shadows.left.remove(&path);
                link.shadows.right.remove(&path);
            }
            settlement.announce.push(announce(self, side, record, false, false));
            self.again = true;
            return Ok(Part::Done);
        }
        let standing = self.standing(intent, &record).unwrap_or_default();
        let is_part = !standing.is_empty() && standing.iter().all(|(_, stands)| *stands != Stands::Otherwise);
        if self.spec.matching == Matching::Never && !is_part {
            let text = format!(
                "`{}` on the {side} bears the same UID and holds something else, and this stream matches no records; give one \
                 of them another UID, or let the stream match by UID",
                record.at.id
            );
            self.set_aside(intent, "uid_taken", text, settlement);
            return Ok(Part::Refused);
        }
        link.ends[side] = Some(End::of(&record));
        link.shadows = self.settled_as_asked(intent, &record, &standing);
        settlement.announce.push(announce(self, side, record, false, false));
        Ok(Part::Again)
    }

    /// Whoever made a record that is tied: rows in which it holds what we asked for were the same on both sides, so that what is
    /// edited there since is an edit. What is not there of an open family would count as settled, too.
    fn settled_as_asked(&self, intent: &Intent, record: &Record, standing: &[(&Name, Stands)]) -> Sides<Fields> {
        let mut shadows = Sides::<Fields>::default();
        let now = self.map.translate_in(intent.side, record).unwrap_or_default();
        let has_families = self.map.rows().iter().any(super::translate::Row::is_family);
        for (path, _) in standing.iter().filter(|(_, stands)| *stands == Stands::AsAsked && !has_families) {
            for (side, values) in [(intent.side, &now), (intent.side.other(), &intent.asked)] {
                shadows[side].set((*path).clone(), values.get(path).cloned().unwrap_or_default());
            }
        }
        shadows
    }

    /// Whether nobody can tell at present what a record holds.
    fn is_unreadable(&self, side: Side, record: &Record) -> bool {
        let quarantined = |aside: Aside| aside.kind == AsideKind::Quarantined;
        set_aside(self.spec, side, record).is_some_and(quarantined) && self.guards(Guard::Unreadable)
    }

    /// Two new records with one UID have met each other: each was to be made where the other one is. They become a pair. One
    /// that had a counterpart before, and is made again, is not new: whoever bears its UID is another record.
    fn met(&mut self, intent: &Intent, other: LinkId, row: InboxId) -> Result<bool, Stop> {
        let side = intent.side;
        let (false, Matching::Keys(_), [own]) = (intent.again, &self.spec.matching, intent.inbox.as_slice()) else {
            return Ok(false);
        };
        let is_new = |open: &Intent| {
            let creates = (open.write.action, open.side) == (Action::Create, side.other());
            creates && !open.again
        };
        if !self.store.open_intents_of(&self.lease, other)?.iter().any(is_new) {
            return Ok(false);
        }
        self.pairs.push(if side == Side::Right { (*own, row) } else { (row, *own) });
        Ok(true)
    }

    /// How what a write asked for stands in a record of the written side; `None` if that cannot be read.
    pub(super) fn standing<'i>(&self, intent: &'i Intent, record: &Record) -> Option<Vec<(&'i Name, Stands)>> {
        let values = self.map.translate_in(intent.side, record).ok()?;
        let stands = |path: &Name, asked: &Value| match (self.map.row(path), values.get(path)) {
            (Some(row), Some(value)) if same(row.compare, value, asked) => Stands::AsAsked,
            (_, None) if asked.is_empty() => Stands::AsAsked,
            (_, value) if value.is_none_or(Value::is_empty) => Stands::Empty,
            _ => Stands::Otherwise,
        };
        // What has left the map since is not read.
        let asked = intent.asked.iter().filter(|(path, _)| self.map.row(path).is_some());
        Some(asked.map(|(path, asked)| (path, stands(path, asked))).collect())
    }

    /// Whether a record of the written side holds everything that a write asked for.
    pub(super) fn holds_what_we_asked(&self, intent: &Intent, record: &Record) -> bool {
        self.standing(intent, record).is_some_and(|all| all.iter().all(|(_, stands)| *stands == Stands::AsAsked))
    }

    /// Whether a record that a create has met holds what the create did not ask for: somebody has edited it.
    pub(super) fn holds_more(&self, intent: &Intent, record: &Record) -> bool {
        let values = self.map.translate_in(intent.side, record).unwrap_or_default();
        values
            .iter()
            .any(|(path, value)| self.map.row(path).is_some() && !value.is_empty() && intent.asked.get(path).is_none())
    }
}

/// Whether a record that was there already certainly bears the key of a create: without a UID it is only by the key that the
/// remote can know it.
pub(super) fn bears_our_key(write: &Write, outcome: &Outcome) -> bool {
    write.uid.is_none() || outcome.code == Outcome::BY_KEY
}
