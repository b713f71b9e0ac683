//! Writes whose outcome is not known: stored before the call, closed when it is settled.

use std::borrow::Cow;

use pairwise_plugin_api::{Action, Fields, Write};
use serde::{Deserialize, Serialize};

use super::codes::Packed;
use super::history;
use super::links;
use super::transaction::{Answer, Fault, Tx, statements};
use crate::model::{End, InboxId, Intent, IntentId, LinkId, Lost, Side};

statements! {
    ADD = "INSERT INTO intent (lane, link, side, call, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    OPEN = "SELECT id, link, side, call, body FROM intent WHERE lane = ?1 ORDER BY id";
    CLOSE = "DELETE FROM intent WHERE id = ?1 AND lane = ?2";
}

/// What stands in the column `body`.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    write: Cow<'a, Write>,
    asked: Cow<'a, Fields>,
    source: Option<Cow<'a, (End, Fields)>>,
    inbox: Cow<'a, [InboxId]>,
}

/// Stores intents, links that are new or that lose an end to a create, and history.
pub(super) fn intend(tx: &Tx<'_>, run: &str, intents: &mut [Intent], lost: &[Lost]) -> Answer<()> {
    for intent in intents {
        if intent.link.id == 0 || intent.write.action == Action::Create {
            intent.link.id = links::put(tx, &intent.link)?;
        }
        let body = Body {
            write: Cow::Borrowed(&intent.write),
            asked: Cow::Borrowed(&intent.asked),
            source: intent.source.as_ref().map(Cow::Borrowed),
            inbox: Cow::Borrowed(&intent.inbox),
        };
        intent.id = tx.insert(ADD, (tx.lane(), intent.link.id, intent.side, &intent.call, Packed(body)))?;
    }
    for lost in lost {
        history::add(tx, run, lost, 0)?;
    }
    Ok(())
}

/// All open intents with their links as they are stored.
pub(super) fn open(tx: &Tx<'_>) -> Answer<Vec<Intent>> {
    type Row = (IntentId, LinkId, Side, String, Packed<Body<'static>>);
    let rows: Vec<Row> =
        tx.all(OPEN, [tx.lane()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?;
    rows.into_iter()
        .map(|(id, link, side, call, Packed(body))| {
            Ok(Intent {
                id,
                call,
                link: links::get(tx, link)?.ok_or_else(|| Fault::Misused(format!("intent {id} has lost its link")))?,
                side,
                write: body.write.into_owned(),
                asked: body.asked.into_owned(),
                source: body.source.map(Cow::into_owned),
                inbox: body.inbox.into_owned(),
            })
        })
        .collect()
}

pub(super) fn close(tx: &Tx<'_>, id: IntentId) -> Answer<()> {
    tx.run(CLOSE, (id, tx.lane()))?;
    Ok(())
}
