//! Lanes, and how each of them stands.

use pairwise_plugin_api::Millis;
use serde::Serialize;

use super::transaction::{Answer, Fault, Tx, statements};
use super::{Db, lease, runs};
use crate::model::{Holder, LaneKey, LaneReport, Store, StoreResult};

statements! {
    KEY = "SELECT profile, user, stream FROM lane WHERE id = ?1";
    ALL = "SELECT id FROM lane ORDER BY profile, user, stream";
    STATE = "SELECT holder, serial, live_links FROM lane WHERE id = ?1";
    LINKS = "SELECT count(*) FROM link WHERE lane = ?1";
    WAITING = "SELECT count(*) FROM inbox WHERE lane = ?1 AND hold IS NULL";
    HELD = "SELECT count(*) FROM hold JOIN inbox ON inbox.hold = hold.id WHERE hold.lane = ?1";
    CONFLICTS = "SELECT count(*) FROM conflict WHERE lane = ?1 AND decision IS NULL";
    QUARANTINED = "SELECT count(*) FROM aside WHERE lane = ?1 AND kind = 0";
    ASIDE = "SELECT count(*) FROM aside WHERE lane = ?1";
    INTENTS = "SELECT count(*) FROM intent WHERE lane = ?1";
    FORGET_INTENTS = "DELETE FROM intent WHERE lane = ?1";
    FORGET_LINKS = "DELETE FROM link WHERE lane = ?1";
    FORGET_BODIES = "DELETE FROM body WHERE inbox IN (SELECT id FROM inbox WHERE lane = ?1)";
    FORGET_INBOX = "DELETE FROM inbox WHERE lane = ?1";
    FORGET_HOLDS = "DELETE FROM hold WHERE lane = ?1";
    FORGET_ASIDE = "DELETE FROM aside WHERE lane = ?1";
    FORGET_REVISITS = "DELETE FROM revisit WHERE lane = ?1";
    FORGET_SIDES = "DELETE FROM lane_side WHERE lane = ?1";
    FORGET_MAP = "UPDATE lane SET map = NULL, live_links = 0 WHERE id = ?1";
}

/// How a lane stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneStatus {
    /// Which.
    #[serde(flatten)]
    pub lane: LaneKey,
    /// Who runs it at this moment, or did when it was killed.
    pub holder: Option<Holder>,
    /// Links, sleeping ones included.
    pub links: u64,
    /// Links that take part.
    pub live: u64,
    /// Announcements that the next run settles.
    pub waiting: u64,
    /// Announcements that wait for a person.
    pub held: u64,
    /// Fields that wait for a person.
    pub conflicts: u64,
    /// Records that are quarantined.
    pub quarantined: u64,
    /// Records that a filter, a right or a person keeps out.
    pub refused: u64,
    /// Writes whose outcome is open.
    pub open_intents: u64,
    /// The last run's number, when it began, and what became of the lane.
    pub last: Option<LastRun>,
}

/// The last run of a lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastRun {
    /// Its id.
    pub run: String,
    /// When it began.
    pub started: Millis,
    /// What became of the lane.
    pub report: LaneReport,
}

/// Where the state stands: changes with every change of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Mark {
    /// Drawn when the database was made.
    pub lineage: String,
    /// How often it was restored from a backup.
    pub restored: i64,
    /// Transactions so far.
    pub serial: i64,
}

/// The lane of a row number.
pub(super) fn key(tx: &Tx<'_>, lane: i64) -> Answer<LaneKey> {
    tx.one(KEY, [lane], |row| Ok(LaneKey { profile: row.get(0)?, user: row.get(1)?, stream: row.get(2)? }))?
        .ok_or_else(|| Fault::Misused(format!("there is no lane {lane}")))
}

/// A lane's holder and the serial of its state.
pub(super) fn state(tx: &Tx<'_>, lane: i64) -> Answer<(Option<Holder>, i64, u64)> {
    let row: Option<(Option<String>, i64, u64)> =
        tx.one(STATE, [lane], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(row.map_or((None, 0, 0), |(holder, serial, live)| (holder.map(|text| lease::read_holder(&text)), serial, live)))
}

pub(super) fn all(tx: &Tx<'_>) -> Answer<Vec<i64>> {
    tx.all(ALL, [], |row| row.get(0))
}

impl Db {
    /// All lanes that ever ran, by name.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn lanes(&mut self) -> StoreResult<Vec<LaneKey>> {
        self.read(0, |tx| all(tx)?.into_iter().map(|lane| key(tx, lane)).collect())
    }

    /// Forgets what a lane knows: its links, how far its sides were read, whatever waits. History stays, and no record is
    /// touched. Answers how many links there were.
    ///
    /// # Errors
    /// If somebody runs the lane at this moment, or the database cannot be written.
    pub fn forget_lane(&mut self, lane: &LaneKey, holder: &Holder, now: Millis) -> StoreResult<u64> {
        let lease = self.take(lane, holder, now)?;
        let forgotten = self.write(&lease, |tx| {
            let links = tx.one(LINKS, [tx.lane()], |row| row.get(0))?.unwrap_or(0);
            for sql in [
                FORGET_INTENTS,
                FORGET_LINKS,
                FORGET_BODIES,
                FORGET_INBOX,
                FORGET_HOLDS,
                FORGET_ASIDE,
                FORGET_REVISITS,
                FORGET_SIDES,
                FORGET_MAP,
            ] {
                tx.run(sql, [tx.lane()])?;
            }
            Ok(links)
        });
        self.release(&lease)?;
        forgotten
    }

    /// How all lanes stand, by name.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn status(&mut self) -> StoreResult<Vec<LaneStatus>> {
        self.read(0, |tx| all(tx)?.into_iter().map(|lane| status(tx, lane)).collect())
    }
}

fn status(tx: &Tx<'_>, lane: i64) -> Answer<LaneStatus> {
    let count = |sql: &'static str| -> Answer<u64> { Ok(tx.one(sql, [lane], |row| row.get(0))?.unwrap_or(0)) };
    let (holder, _, live) = state(tx, lane)?;
    let quarantined = count(QUARANTINED)?;
    Ok(LaneStatus {
        lane: key(tx, lane)?,
        holder,
        links: count(LINKS)?,
        live,
        waiting: count(WAITING)?,
        held: count(HELD)?,
        conflicts: count(CONFLICTS)?,
        quarantined,
        refused: count(ASIDE)?.saturating_sub(quarantined),
        open_intents: count(INTENTS)?,
        last: runs::last_of_lane(tx, lane)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use crate::model::{Side, Store};

    #[test]
    fn status_counts_what_a_lane_has() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "a", "a.vcf");
        linked(&mut db, &lease, "b", "b.vcf");
        asleep(&mut db, &lease, link.id);
        stage(&mut db, &lease, &[here(Side::Left, "c", "1")]);
        let status = db.status().unwrap().remove(0);
        assert_eq!((status.links, status.live, status.waiting, status.held), (2, 1, 1, 0));
        assert_eq!(status.holder.unwrap().pid, 1);
        let json = serde_json::to_value(db.status().unwrap()).unwrap();
        assert_eq!(json[0]["profile"], "sales");
        db.release(&lease).unwrap();
        assert_eq!(db.status().unwrap()[0].holder, None);
    }

    #[test]
    fn a_lane_that_is_forgotten_knows_nothing_and_the_others_all() {
        let (mut db, lease) = world();
        let other = crate::model::LaneKey { stream: "other".into(), ..key() };
        let elsewhere = db.take(&other, &holder(1), 0).unwrap();
        for lease in [&lease, &elsewhere] {
            linked(&mut db, lease, "a", "a.vcf");
            stage(&mut db, lease, &[here(Side::Left, "c", "1")]);
            db.release(lease).unwrap();
        }
        assert_eq!(db.forget_lane(&key(), &holder(1), 0).unwrap(), 1);
        let status = db.status().unwrap();
        let of = |stream: &str| status.iter().find(|status| status.lane.stream == stream).unwrap();
        let (forgotten, kept) = (of(&key().stream), of("other"));
        assert_eq!((forgotten.links, forgotten.live, forgotten.waiting), (0, 0, 0));
        assert_eq!((kept.links, kept.live, kept.waiting), (1, 1, 1));
        assert_eq!(forgotten.holder, None);
    }

    #[test]
    fn marks_move_with_the_state_and_with_nothing_else() {
        let (mut db, lease) = world();
        let other = crate::model::LaneKey { stream: "other".into(), ..key() };
        let elsewhere = db.take(&other, &holder(1), 0).unwrap();
        let before = (db.lane_mark(&key()).unwrap(), db.mark().unwrap());
        stage(&mut db, &elsewhere, &[here(Side::Left, "x", "1")]);
        db.renew(&lease, 5).unwrap();
        db.release(&lease).unwrap();
        let lease = db.take(&key(), &holder(1), 0).unwrap();
        all_work(&mut db, &lease);
        db.drop_candidates(&lease).unwrap();
        assert_eq!(db.lane_mark(&key()).unwrap(), before.0, "nothing was dropped");
        assert!(db.mark().unwrap().serial > before.1.serial);
        stage(&mut db, &lease, &[here(Side::Left, "x", "1")]);
        assert_ne!(db.lane_mark(&key()).unwrap(), before.0);
    }
}
