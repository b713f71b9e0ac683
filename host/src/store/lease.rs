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
