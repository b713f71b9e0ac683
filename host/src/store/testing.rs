//! Small worlds for the tests of this module.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg_attr(fuzzing, allow(dead_code, reason = "the fuzz targets use a part of it"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use pairwise_plugin_api::{Fields, Millis, Reason, Record, RecordRef};

use super::{Db, Environment};
use crate::chance::Chance;
use crate::model::{
    End, Holder, InboxId, LaneKey, Lease, Link, LinkChange, LinkId, LinkState, News, Select, Settlement, Side, Sides,
    Staged, Store, Work,
};

/// A clock that stands until it is moved.
pub(super) struct Clock(AtomicI64);

impl Clock {
    pub(super) fn new() -> Arc<Clock> {
        Arc::new(Clock(AtomicI64::new(1_700_000_000_000)))
    }

    pub(super) fn advance(&self, by: Millis) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Chance for Clock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        4
    }

    fn pause(&self, milliseconds: u64) {
        self.advance(i64::try_from(milliseconds).unwrap());
    }
}

/// All processes live but that with id 13.
pub(super) fn environment(clock: &Arc<Clock>) -> Environment {
    Environment { chance: clock.clone(), is_alive: Arc::new(|holder| holder.pid != 13) }
}

pub(super) fn key() -> LaneKey {
    LaneKey { profile: "sales".into(), user: "lee".into(), stream: "contacts".into() }
}

pub(super) fn holder(pid: u32) -> Holder {
    Holder { boot: "b".into(), pid, started: 1, since: 1_700_000_000_000 }
}

/// A database in memory and the lease of its one lane.
pub(super) fn world() -> (Db, Lease) {
    let clock = Clock::new();
    let mut db = Db::in_memory_with(environment(&clock)).unwrap();
    let lease = db.take(&key(), &holder(1), clock.now()).unwrap();
    (db, lease)
}

pub(super) fn at(id: &str) -> RecordRef {
    RecordRef::new("contact", id)
}

pub(super) fn record(id: &str, version: &str) -> Record {
    Record {
        at: at(id),
        version: Some(version.into()),
        fields: [("name/full", id)].into_iter().collect(),
        ..Record::default()
    }
}

pub(super) fn here(side: Side, id: &str, version: &str) -> Staged {
    Staged {
        side,
        at: at(id),
        version: Some(version.into()),
        news: News::Here(Box::new(record(id, version))),
        keys: Vec::new(),
        candidate: false,
    }
}

pub(super) fn keyed(side: Side, id: &str, keys: &[(u8, u64)]) -> Staged {
    Staged { keys: keys.to_vec(), ..here(side, id, "1") }
}

pub(super) fn gone(side: Side, id: &str) -> Staged {
    Staged { news: News::Gone(Reason::Deleted), version: None, ..here(side, id, "") }
}

pub(super) fn end(id: &str, version: &str) -> End {
    End { at: at(id), version: Some(version.into()), incarnation: None, container: None }
}

/// A link that is not stored yet; both ends at version 1.
pub(super) fn link(left: &str, right: &str) -> Link {
    let fields: Fields = [("name/full", left)].into_iter().collect();
    Link {
        id: 0,
        ends: Sides { left: Some(end(left, "1")), right: Some(end(right, "1")) },
        shadows: Sides { left: fields.clone(), right: fields },
        born: Side::Left,
        state: LinkState::Live,
    }
}

/// Stores a link; answers it with its number.
pub(super) fn linked(db: &mut Db, lease: &Lease, left: &str, right: &str) -> Link {
    settle(db, lease, Settlement { link: LinkChange::Put(Box::new(link(left, right))), ..Settlement::default() });
    db.links(lease, 0, 1000).unwrap().pop().unwrap()
}

/// Puts a stored link to sleep.
pub(super) fn asleep(db: &mut Db, lease: &Lease, id: LinkId) {
    let link = db.links(lease, id - 1, 1).unwrap().remove(0);
    let link = Link { state: LinkState::Dormant, ..link };
    settle(db, lease, Settlement { link: LinkChange::Put(Box::new(link)), ..Settlement::default() });
}

pub(super) fn settle(db: &mut Db, lease: &Lease, settlement: Settlement) {
    db.settle(lease, "run", &[settlement]).unwrap();
}

pub(super) fn stage(db: &mut Db, lease: &Lease, staged: &[Staged]) {
    db.stage(lease, staged, None).unwrap();
}

pub(super) fn all_work(db: &mut Db, lease: &Lease) -> Vec<Work> {
    db.work(lease, Select::All, 0, 1000).unwrap()
}

/// The row of a record that is announced.
pub(super) fn row(db: &mut Db, lease: &Lease, side: Side, id: &str) -> Option<InboxId> {
    db.known(lease, side, &[at(id)]).unwrap()[0].inbox.as_ref().map(|(row, _)| *row)
}

/// Works as text: left news, right news, link, each `-` if there is none.
pub(super) fn sketch(works: &[Work]) -> Vec<String> {
    works
        .iter()
        .map(|work| {
            let news = |side: Side| match &work.news[side] {
                Some(told) => format!("{}{}", if matches!(told.news, News::Gone(_)) { "!" } else { "" }, told.at.id),
                None => "-".into(),
            };
            let link = work.link.as_ref().map_or_else(|| "-".into(), |link| link.id.to_string());
            format!("{} {} {link}", news(Side::Left), news(Side::Right))
        })
        .collect()
}
