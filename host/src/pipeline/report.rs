//! What happened, in counts and sentences.

use super::decide::Case;
use super::translate::label;
use super::{Lane, Stop};
use crate::model::{Aside, AsideKind, Conflict, FieldChange, InboxId, Item, LaneReport, LaneState, News, Op, Side};

/// The last lines of a report.
pub(super) fn close(report: &mut LaneReport, ended: Result<(), Stop>, took: i64, guarded: bool) {
    report.duration_ms = u64::try_from(took).unwrap_or(0);
    match ended {
        Err(stop) => {
            let (state, text) = stop.explain();
            report.state = state;
            report.error = Some(text);
            if let Stop::Map(problem) = &stop {
                let (side, word) = problem.culprit();
                report.culprit = Some((side, word.to_owned()));
            }
        }
        Ok(()) => {
            let waiting =
                report.quarantined + report.held + report.conflicts + report.left.failed + report.right.failed;
            report.state = if guarded && report.left.written() + report.right.written() == 0 {
                LaneState::Guarded
            } else if waiting > 0 {
                LaneState::Partial
            } else {
                LaneState::Done
            };
        }
    }
}

impl Lane<'_> {
    /// A write was not done. It is tried again in this run, too: so it counts once, and not any more once it is done.
    pub(super) fn not_done(&mut self, side: Side, rows: &[InboxId], why: String) {
        if rows.first().is_none_or(|row| self.undone.insert((side, *row))) {
            self.report.side(side).failed += 1;
        }
        if !why.is_empty() {
            self.why_undone[side].get_or_insert(why);
        }
    }

    /// It was done, or came to some other end.
    pub(super) fn done_after_all(&mut self, side: Side, rows: &[InboxId]) {
        if rows.first().is_some_and(|row| self.undone.remove(&(side, *row))) {
            let counts = self.report.side(side);
            counts.failed = counts.failed.saturating_sub(1);
        }
    }

    /// Says why writes were not done that are not done yet.
    pub(super) fn tell_undone(&mut self) {
        for side in Side::BOTH {
            let left = self.undone.iter().filter(|(of, _)| *of == side).count();
            let Some(why) = self.why_undone[side].take().filter(|_| left > 0) else { continue };
            let whose = format!("connection `{}` ({side}): ", self.spec.connections[side]);
            let why = why.strip_prefix(&whose).unwrap_or(&why);
            self.report.notes.push(format!("{whose}{left} write(s) were not done and wait for the next run: {why}"));
        }
    }

    /// Lists an operation, up to the limit.
    pub(super) fn tell(&mut self, item: Item) {
        if let Some(items) = self.report.items.as_mut().filter(|items| items.len() < self.options.list_items) {
            items.push(item);
        }
    }

    /// Counts and lists a record that is set aside.
    pub(super) fn tell_aside(&mut self, aside: &Aside) {
        if aside.kind == AsideKind::Refused {
            self.report.refused += 1;
            return;
        }
        self.report.quarantined += 1;
        tracing::warn!(lane = %self.spec.key, side = %aside.side, record = aside.at.id, code = aside.code, "{}", aside.text);
        self.tell(Item {
            op: Op::Quarantine,
            side: aside.side,
            entity: aside.at.entity.clone(),
            id: aside.at.id.clone(),
            other_id: String::new(),
            label: aside.label.clone(),
            reason: format!("{}: {}", aside.code, aside.text),
            held: false,
            fields: Vec::new(),
        });
    }

    /// What people call the records of announcements.
    pub(super) fn labels(&mut self, rows: &[InboxId]) -> Result<Vec<(InboxId, String)>, Stop> {
        let mut labels = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.batch()) {
            for announced in self.store.announced(&self.lease, chunk)? {
                let name = match &announced.news {
                    News::Here(record) => self
                        .map
                        .translate_in(announced.side, record)
                        .map_or_else(|_| announced.at.id.clone(), |values| label(&values, &announced.at.id)),
                    News::Gone(_) => announced.at.id.clone(),
                };
                labels.push((announced.id, name));
            }
        }
        Ok(labels)
    }
}

/// A field that waits for a person, as a line of a plan.
pub(super) fn conflict_item(case: &Case, conflict: &Conflict) -> Item {
    let ends = case.looked.link.as_ref().map(|link| &link.ends);
    let id = |side: Side| ends.and_then(|ends| ends[side].as_ref()).map(|end| end.at.clone()).unwrap_or_default();
    let (left, right) = (id(Side::Left), id(Side::Right));
    Item {
        op: Op::Conflict,
        side: Side::Right,
        entity: right.entity,
        id: right.id,
        other_id: left.id,
        label: case.label.clone(),
        reason: "both_sides_differ".to_owned(),
        held: true,
        fields: vec![FieldChange {
            path: conflict.path.as_str().into(),
            old: conflict.values.right.clone(),
            new: conflict.values.left.clone(),
            from: Side::Left,
        }],
    }
}
