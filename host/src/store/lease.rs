//! Who may write a lane: holder, epoch, expiry.
//!
//! Every transaction that writes a lane's state first compares the epoch. A host that slept through its lease and wakes
//! after another one took it therefore changes nothing.

use jiff::Timestamp;
use pairwise_plugin_api::Millis;

use super::transaction::{Answer, Fault, Tx, statements};
use super::{Liveness, cursors};
use crate::model::{Holder, LaneKey, Lease};

/// A lease that was not renewed for so long is over.
pub const LEASE_MS: Millis = 60_000;

statements! {
    FIND = "SELECT id FROM lane WHERE profile = ?1 AND user = ?2 AND stream = ?3";
    ADD = "INSERT INTO lane (profile, user, stream) VALUES (?1, ?2, ?3)";
    HELD = "SELECT epoch, holder, renewed FROM lane WHERE id = ?1";
    TAKE = "UPDATE lane SET epoch = ?2, holder = ?3, renewed = ?4 WHERE id = ?1";
    RENEW = "UPDATE lane SET renewed = ?2 WHERE id = ?1";
    RELEASE = "UPDATE lane SET holder = NULL WHERE id = ?1";
}

/// The row of a lane, if it has ever run.
pub(super) fn find(tx: &Tx<'_>, key: &LaneKey) -> Answer<Option<i64>> {
    tx.one(FIND, (&key.profile, &key.user, &key.stream), |row| row.get(0))
}

/// The row of a lane.
pub(super) fn lane(tx: &Tx<'_>, key: &LaneKey) -> Answer<i64> {
    match find(tx, key)? {
        Some(id) => Ok(id),
        None => tx.insert(ADD, (&key.profile, &key.user, &key.stream)),
    }
}

struct Held {
    epoch: i64,
    holder: Option<Holder>,
    renewed: Millis,
}

fn held(tx: &Tx<'_>, lane: i64) -> Answer<Option<Held>> {
    let row: Option<(i64, Option<String>, Millis)> =
        tx.one(HELD, [lane], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // A holder that cannot be read is no holder that could be asked: its lease runs out by time.
    Ok(row.map(|(epoch, holder, renewed)| Held { epoch, holder: holder.map(|text| read_holder(&text)), renewed }))
}

pub(super) fn read_holder(text: &str) -> Holder {
    serde_json::from_str(text).unwrap_or(Holder { boot: String::new(), pid: 0, started: 0, since: 0 })
}

pub(super) fn take(tx: &Tx<'_>, key: &LaneKey, holder: &Holder, now: Millis, is_alive: &Liveness) -> Answer<Lease> {
    let lane = lane(tx, key)?;
    tx.lane.set(lane);
    let held = held(tx, lane)?.unwrap_or(Held { epoch: 0, holder: None, renewed: 0 });
    if let Some(other) = &held.holder {
        // A clock that was set back must not make a lease last for ever, hence the distance in either direction.
        let over = now.abs_diff(held.renewed) >= LEASE_MS.unsigned_abs();
        if !over && is_alive(other) {
            return Err(Fault::Busy { lane: key.clone(), holder: describe(other) });
        }
    }
    let text = serde_json::to_string(holder).map_err(|error| Fault::Misused(error.to_string()))?;
    let epoch = held.epoch + 1;
    tx.run(TAKE, (lane, epoch, text, now))?;
    cursors::run_begins(tx)?;
    Ok(Lease { key: key.clone(), lane, epoch })
}

/// Process and since when, for people.
pub(super) fn describe(holder: &Holder) -> String {
    let since = Timestamp::from_millisecond(holder.since).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    format!("process {}, since {since}", holder.pid)
}

/// The first thing in every transaction that writes a lane's state.
pub(super) fn check(tx: &Tx<'_>, lease: &Lease) -> Answer<()> {
    match held(tx, lease.lane)? {
        Some(Held { epoch, holder: Some(_), .. }) if epoch == lease.epoch => Ok(()),
        _ => Err(Fault::LeaseLost(lease.key.clone())),
    }
}

pub(super) fn renew(tx: &Tx<'_>, lease: &Lease, now: Millis) -> Answer<()> {
    tx.run(RENEW, (lease.lane, now))?;
    Ok(())
}

pub(super) fn release(tx: &Tx<'_>, lease: &Lease) -> Answer<()> {
    tx.run(RELEASE, [lease.lane])?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::chance::Chance;
    use crate::model::{Store, StoreError};
    use crate::store::Db;

    fn refused<T: std::fmt::Debug>(result: crate::model::StoreResult<T>) -> bool {
        matches!(result.unwrap_err(), StoreError::LeaseLost { .. })
    }

    #[test]
    fn a_living_holder_is_named() {
        let (mut db, lease) = world();
        let now = db.environment.chance.now();
        let error = db.take(&key(), &holder(2), now).unwrap_err();
        assert_eq!(
            error.to_string(),
            "another run is active on sales/lee/contacts: process 1, since 2023-11-14T22:13:20Z; wait for it, or stop it"
        );
        db.release(&lease).unwrap();
        assert_eq!(db.take(&key(), &holder(2), now).unwrap().epoch, lease.epoch + 1);
    }

    #[test]
    fn a_dead_holders_lease_is_taken_at_once_and_a_silent_ones_after_its_time() {
        let (mut db, lease) = world();
        let now = db.environment.chance.now();
        db.release(&lease).unwrap();
        db.take(&key(), &holder(13), now).unwrap();
        db.take(&key(), &holder(1), now).unwrap();
        assert!(matches!(db.take(&key(), &holder(2), now + LEASE_MS - 1), Err(StoreError::Busy { .. })));
        let silent = db.take(&key(), &holder(2), now + LEASE_MS).unwrap();
        db.renew(&silent, now + 2 * LEASE_MS).unwrap();
        assert!(matches!(db.take(&key(), &holder(1), now + 2 * LEASE_MS), Err(StoreError::Busy { .. })));
        assert!(db.take(&key(), &holder(1), now - LEASE_MS).is_ok(), "the clock was set back");
    }

    #[test]
    fn lanes_are_leased_one_by_one() {
        let (mut db, _) = world();
        let other = LaneKey { user: "kim".into(), ..key() };
        assert!(db.take(&other, &holder(2), 0).is_ok());
    }

    /// A host that slept through its lease, and wakes.
    #[test]
    fn a_zombie_changes_nothing() {
        use crate::model::{Hold, HoldKind, Seen, Settlement, Side, Staged};
        let (mut db, zombie) = world();
        let link = linked(&mut db, &zombie, "ada", "ada.vcf");
        stage(&mut db, &zombie, &[here(Side::Left, "bob", "1"), here(Side::Right, "bob.vcf", "1")]);
        let rows =
            [row(&mut db, &zombie, Side::Left, "bob").unwrap(), row(&mut db, &zombie, Side::Right, "bob.vcf").unwrap()];
        let now = db.environment.chance.now();
        let lease = db.take(&key(), &holder(2), now + LEASE_MS).unwrap();
        let before = (db.mark().unwrap(), all_work(&mut db, &lease));

        let staged: &[Staged] = &[gone(Side::Left, "ada")];
        assert!(refused(db.stage(&zombie, staged, None)));
        assert!(refused(db.settle(&zombie, "run", &[Settlement::default()])));
        assert!(refused(db.intend(&zombie, "run", &mut [], &[])));
        assert!(refused(db.pair(&zombie, &[(rows[0], rows[1])])));
        let hold =
            Hold { kind: HoldKind::Match, side: None, summary: String::new(), rows: vec![(rows[0], String::new())] };
        assert!(refused(db.hold(&zombie, &[hold], "run")));
        assert!(refused(db.doubt(&zombie, Side::Left, "run", &[link.id])));
        assert!(refused(db.swept(&zombie, Side::Left, &Seen::default(), None)));
        assert!(refused(db.forget_unseen(&zombie, Side::Left, (&Seen::default(), 9), (&Seen::default(), 9))));
        assert!(refused(db.drop_candidates(&zombie)));
        assert!(refused(db.visited(&zombie, &[])));
        assert!(refused(db.remember_map(&zombie, "map")));
        assert!(refused(db.renew(&zombie, now)));
        assert!(refused(db.release(&zombie)));
        assert_eq!((db.mark().unwrap(), all_work(&mut db, &lease)), before);
    }

    #[test]
    fn a_lease_that_was_given_back_writes_no_more() {
        let (mut db, lease) = world();
        db.release(&lease).unwrap();
        assert!(refused(db.stage(&lease, &[], None)));
    }

    #[test]
    fn two_processes_on_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairwise.db");
        let clock = Clock::new();
        let mut one = Db::open_with(&path, environment(&clock)).unwrap();
        let mut two = Db::open_with(&path, environment(&clock)).unwrap();
        let lease = one.take(&key(), &holder(1), clock.now()).unwrap();
        assert!(matches!(two.take(&key(), &holder(2), clock.now()), Err(StoreError::Busy { .. })));
        clock.advance(LEASE_MS);
        let second = two.take(&key(), &holder(2), clock.now()).unwrap();
        assert!(refused(one.stage(&lease, &[here(crate::model::Side::Left, "ada", "1")], None)));
        stage(&mut two, &second, &[here(crate::model::Side::Left, "bob", "1")]);
        assert_eq!(sketch(&all_work(&mut one, &lease)), ["bob - -"]);
    }
}
