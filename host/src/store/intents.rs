//! Writes whose outcome is not known: stored before the call, closed when it is settled.

use std::borrow::Cow;

use pairwise_plugin_api::{Action, Fields, Millis, Write};
use rusqlite::Params;
use serde::{Deserialize, Serialize};

use super::births;
use super::history;
use super::links;
use super::transaction::{Answer, Fault, Tx, statements};
use crate::model::{End, InboxId, Intent, IntentId, LinkId, Lost, Side};

statements! {
    ADD = "INSERT INTO intent (lane, link, side, call, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    OPEN = "SELECT id, link, side, call, body FROM intent WHERE lane = ?1 AND side = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
    OF_LINK = "SELECT id, link, side, call, body FROM intent WHERE lane = ?1 AND link = ?2 ORDER BY id";
    CLOSE = "DELETE FROM intent WHERE id = ?1 AND lane = ?2";
}

/// What stands in the column `body`.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    write: Cow<'a, Write>,
    #[serde(default)]
    asked: Cow<'a, Fields>,
    source: Option<Cow<'a, (End, Fields)>>,
    #[serde(default)]
    before: Option<Cow<'a, (Option<Millis>, Fields)>>,
    #[serde(default)]
    again: bool,
    inbox: Cow<'a, [InboxId]>,
}

/// Stores intents, links that are new or that lose an end to a create, and history.
pub(super) fn intend(tx: &Tx<'_>, run: &str, intents: &mut [Intent], lost: &[Lost]) -> Answer<()> {
    for intent in intents {
        if intent.link.id == 0 || intent.write.action == Action::Create {
            intent.link.id = births::put(tx, run, &intent.link, Some(intent.side))?;
        }
        let body = Body {
            write: Cow::Borrowed(&intent.write),
            asked: Cow::Borrowed(&intent.asked),
            source: intent.source.as_ref().map(Cow::Borrowed),
            before: intent.before.as_ref().map(Cow::Borrowed),
            again: intent.again,
            inbox: Cow::Borrowed(&intent.inbox),
        };
        intent.id = tx.insert(ADD, (tx.lane(), intent.link.id, intent.side, &intent.call, tx.pack(&body)?))?;
    }
    for lost in lost {
        history::add(tx, run, lost)?;
    }
    Ok(())
}

/// Open intents towards a side, above `after`, with their links as they are stored.
pub(super) fn open(tx: &Tx<'_>, side: Side, after: IntentId, limit: usize) -> Answer<Vec<Intent>> {
    read(tx, OPEN, (tx.lane(), side, after, limit))
}

/// The open intents of a link.
pub(super) fn of_link(tx: &Tx<'_>, link: LinkId) -> Answer<Vec<Intent>> {
    read(tx, OF_LINK, (tx.lane(), link))
}

fn read(tx: &Tx<'_>, sql: &'static str, params: impl Params) -> Answer<Vec<Intent>> {
    type Row = (IntentId, LinkId, Side, String, Body<'static>);
    let rows: Vec<Row> =
        tx.all(sql, params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, tx.unpack(row, 4)?)))?;
    rows.into_iter()
        .map(|(id, link, side, call, body)| {
            Ok(Intent {
                id,
                call,
                link: links::get(tx, link)?.ok_or_else(|| Fault::Misused(format!("intent {id} has lost its link")))?,
                side,
                write: body.write.into_owned(),
                asked: body.asked.into_owned(),
                source: body.source.map(Cow::into_owned),
                before: body.before.map(Cow::into_owned),
                again: body.again,
                inbox: body.inbox.into_owned(),
            })
        })
        .collect()
}

pub(super) fn close(tx: &Tx<'_>, id: IntentId) -> Answer<()> {
    tx.run(CLOSE, (id, tx.lane()))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Lease, Link, LinkChange, LinkState, Settlement, Sides, Store};
    use crate::store::Db;
    use pairwise_plugin_api::Value;

    fn update(link: &Link, side: Side) -> Intent {
        Intent {
            id: 0,
            call: "call".into(),
            link: link.clone(),
            side,
            write: Write { action: Action::Update, key: "k".into(), ..Write::default() },
            asked: [("title", "Dr.")].into_iter().collect(),
            source: None,
            before: Some((Some(7), [("title", "Prof.")].into_iter().collect())),
            again: true,
            inbox: vec![3, 4],
        }
    }

    fn lost(link: LinkId, id: &str) -> Lost {
        Lost {
            link,
            side: Side::Left,
            at: at(id),
            label: "Ada".into(),
            op: "update".into(),
            reason: "changed".into(),
            values: vec![("title".into(), "Prof.".into(), Value::Null)],
        }
    }

    fn open(db: &mut Db, lease: &Lease) -> Vec<Intent> {
        Side::BOTH.into_iter().flat_map(|side| db.open_intents(lease, side, 0, 10).unwrap()).collect()
    }

    #[test]
    fn an_update_leaves_its_link_as_it_is_stored() {
        let (mut db, lease) = world();
        let stored = linked(&mut db, &lease, "a", "a.vcf");
        let mut judged = stored.clone();
        judged.shadows.left.set("title", "Dr.");
        let mut intents = [update(&judged, Side::Left), update(&judged, Side::Right)];
        db.intend(&lease, "run", &mut intents, &[lost(stored.id, "a")]).unwrap();
        let open = open(&mut db, &lease);
        assert_eq!(open[0], Intent { link: stored.clone(), ..intents[0].clone() });
        assert_eq!(open[1].side, Side::Right);
        assert_eq!(db.history_of_link(stored.id).unwrap()[0].values[0].old, "Prof.".into());
    }

    #[test]
    fn making_a_record_again_takes_the_old_end_off() {
        let (mut db, lease) = world();
        let mut link = linked(&mut db, &lease, "a", "a.vcf");
        link.ends.right = None;
        let mut again = update(&link, Side::Right);
        again.write.action = Action::Create;
        db.intend(&lease, "run", &mut [again], &[]).unwrap();
        assert_eq!(db.links(&lease, 0, 10).unwrap(), [link]);
    }

    #[test]
    fn a_second_write_waits_for_the_outcome_of_the_first() {
        let (mut db, lease) = world();
        let link = linked(&mut db, &lease, "a", "a.vcf");
        db.intend(&lease, "run", &mut [update(&link, Side::Left)], &[]).unwrap();
        assert!(db.intend(&lease, "run", &mut [update(&link, Side::Left)], &[]).is_err());
        let id = open(&mut db, &lease)[0].id;
        let retire = Settlement { link: LinkChange::Retire(link.id), ..Settlement::default() };
        assert!(db.settle(&lease, "run", std::slice::from_ref(&retire)).is_err(), "a link with an open write stays");
        settle(&mut db, &lease, Settlement { closed: vec![id], ..retire });
        assert!(open(&mut db, &lease).is_empty());
    }

    #[test]
    fn open_intents_come_in_pages_by_side() {
        let (mut db, lease) = world();
        let links = ["a", "b", "c"].map(|id| linked(&mut db, &lease, id, &format!("{id}.vcf")));
        let mut intents: Vec<Intent> = links.iter().map(|link| update(link, Side::Right)).collect();
        intents.push(update(&links[1], Side::Left));
        db.intend(&lease, "run", &mut intents, &[]).unwrap();
        let mut ids = |side, after, limit| -> Vec<IntentId> {
            db.open_intents(&lease, side, after, limit).unwrap().iter().map(|intent| intent.id).collect()
        };
        assert_eq!(ids(Side::Right, 0, 2), [intents[0].id, intents[1].id]);
        assert_eq!(ids(Side::Right, intents[1].id, 2), [intents[2].id]);
        assert_eq!(ids(Side::Left, 0, 2), [intents[3].id]);
        let of_link = db.open_intents_of(&lease, links[1].id).unwrap();
        assert_eq!(of_link.iter().map(|intent| intent.id).collect::<Vec<_>>(), [intents[1].id, intents[3].id]);
    }

    #[test]
    fn what_is_lost_by_a_new_link_is_found_under_its_number() {
        let (mut db, lease) = world();
        let mut new = link("a", "-");
        new.ends.right = None;
        new.state = LinkState::Live;
        new.shadows = Sides::default();
        let mut intents = [update(&new, Side::Right)];
        db.intend(&lease, "run", &mut intents, &[lost(0, "a")]).unwrap();
        assert_ne!(intents[0].link.id, 0);
        assert_eq!(db.history_of_link(intents[0].link.id).unwrap().len(), 1);
        assert_eq!(db.history_of_record("a").unwrap().len(), 1, "it has not been made yet");
    }
}
