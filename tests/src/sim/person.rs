//! The person who looks at what waits: holds, conflicts and the quarantine.

use pairwise_host::model::{HoldKind, Side, Winner};
use pairwise_host::store::{Chosen, HeldRow, HoldRow};
use pairwise_plugin_api::{Fields, Value};

use pairwise_host::chance::Chance;

use super::system::{FIELDS, Human, owner, whose};
use super::world::World;

impl World {
    /// A person looks at everything that waits, but for the records of some. Answers whether there was anything.
    pub(super) fn attend(&self, but: &[Human]) -> bool {
        let key = self.spec().key;
        let mut any = false;
        let (holds, conflicts, quarantined) = {
            let mut db = self.db();
            let holds = db.holds(0, 1_000).unwrap_or_default();
            let conflicts = db.conflicts(&key, 0, 1_000).unwrap_or_default();
            (holds, conflicts, db.quarantine(&key, 0, 1_000).unwrap_or_default())
        };
        for hold in holds {
            any = true;
            self.answer(&hold);
        }
        for conflict in conflicts.iter().filter(|conflict| conflict.decision.is_none()) {
            any = true;
            let text = |side: Side| conflict.values[side].as_text().unwrap_or_default().to_owned();
            let fields: Fields = Side::BOTH.iter().map(|side| (side.name(), Value::from(text(*side)))).collect();
            if let (Some(who), Some(field)) = (owner(&fields), FIELDS.iter().position(|name| *name == conflict.path)) {
                self.oracle().unjudge(who, field);
            }
            let winner = self.dice().pick(&[Winner::Left, Winner::Right]);
            let _ = self.db().decide_conflicts(&Chosen::One(conflict.id), winner);
        }
        for row in quarantined {
            if row.code == "uid_taken" {
                self.systems[row.side].reidentify(&row.record, self.time.now());
            }
            let mut records = self.systems[row.side].truth().into_iter();
            let record = records.find(|record| record.at.id == row.record);
            if record.and_then(|record| owner(&record.fields)).is_some_and(|who| but.contains(&who)) {
                continue;
            }
            any |= self.db().retry_quarantined(row.id).unwrap_or_default();
        }
        any
    }

    /// Records of one human are one; everything else may go its way.
    fn answer(&self, hold: &HoldRow) {
        let rows = self.db().held(hold.id).ok().flatten().map(|(_, rows)| rows).unwrap_or_default();
        if hold.kind == HoldKind::Match {
            let records = self.records();
            let who = |row: &HeldRow| {
                let found = records[row.side].iter().find(|record| record.at.id == row.record);
                found.and_then(|record| owner(&record.fields))
            };
            for left in rows.iter().filter(|row| row.side == Side::Left) {
                let twin = rows.iter().find(|row| row.side == Side::Right && who(row) == who(left));
                if let Some(right) = twin {
                    let _ = self.db().pair_held(hold.id, &left.record, &right.record);
                }
            }
        } else if hold.kind != HoldKind::Identity
            && rows.iter().all(|row| whose(&row.label).is_some())
            && self.dice().percent(25)
        {
            // A person takes it for a mistake: what was to be removed stays.
            self.mark("dropped hold");
            self.oracle().keep(rows.iter().filter_map(|row| whose(&row.label)));
            let _ = self.db().drop_hold(hold.id);
            return;
        } else {
            self.releases(rows.len());
        }
        let _ = self.db().release_hold(hold.id);
    }
}
