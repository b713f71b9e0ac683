//! Decides what is to be done about a case, and says it in lines of a plan. Nothing is sent here.

use pairwise_plugin_api::{Fields, Reason};

use super::look::{Looked, Row};
use super::pull::quarantined;
use super::reconcile::{Fate, Judgement, Seen, Told, creation, judge};
use super::translate::label;
use super::{Lane, filter};
use crate::model::value::same;
use crate::model::{
    Aside, AsideKind, End, Guard, Hold, HoldKind, Item, Link, LinkState, Matching, Op, Settlement, Side, Sides,
};

/// A case whose writes are to be sent.
pub(super) struct Case {
    pub(super) looked: Looked,
    pub(super) judgement: Judgement,
    pub(super) label: String,
    /// The sides on which another record bears the linked id now.
    pub(super) reused: Sides<bool>,
    /// Fields of a new record that point at others, by native name.
    pub(super) references: Fields,
    /// The case as lines of a plan, where somebody wants them.
    pub(super) items: Vec<Item>,
    /// Places of its intents in the page's list.
    pub(super) intents: Vec<usize>,
    /// Records of which a value cannot be carried by the other side.
    pub(super) untranslatable: Vec<Aside>,
}

/// Decides one case: it either needs no more than a settlement, or becomes a case whose writes are to be sent.
pub(super) fn decide(
    lane: &mut Lane<'_>,
    looked: Looked,
    cases: &mut Vec<Case>,
    settlements: &mut Vec<Settlement>,
    holds: &mut Vec<Hold>,
) {
    let waits = match &looked.link {
        Some(link) => lane.blocked.contains(&link.id) && lane.guards(Guard::Blocked),
        None => Side::BOTH.into_iter().any(|side| {
            let partial = || {
                let maybe_there = lane.partial[side.other()] && lane.spec.matching != Matching::Never;
                maybe_there && lane.guards(Guard::Partial)
            };
            let here = matches!(looked.told[side], Told::Here(_));
            here && (lane.unsure[side] && lane.guards(Guard::Unsure) || partial())
        }),
    };
    if waits {
        return;
    }
    // The guard has not seen these removals, and reused ids, yet.
    let uncounted = |(side, row): (Side, &Option<Row>)| {
        let is_new = row.as_ref().is_some_and(|row| row.id > lane.counted);
        is_new && looked.is_gone(side)
    };
    if looked.rows.iter().any(uncounted) {
        lane.again = true;
        return;
    }
    if let Some(hold) = suspicious(lane, &looked) {
        lane.report.held += 1;
        lane.report.notes.push(hold.summary.clone());
        holds.push(hold);
        return;
    }
    let reused = Sides::from_fn(|side| looked.is_displaced(side) && lane.guards(Guard::Reused));
    let judged = match &looked.link {
        Some(link) if reused.left || reused.right => Ok(judge_reused(lane, link, &looked, reused)),
        Some(link) => Ok(judge(lane.rules(), link, &looked.told, &looked.conflicts)),
        None => newcomer(lane, &looked.told),
    };
    let judgement = match judged {
        Ok(judgement) => judgement,
        Err(aside) => {
            let mut settlement = Settlement { settled: looked.ids(), ..Settlement::default() };
            if let Some(aside) = aside {
                lane.tell_aside(&aside);
                settlement.aside.push(*aside);
            }
            settlements.push(settlement);
            return;
        }
    };
    let label = name(&judgement, &looked);
    let mut case = Case {
        looked,
        judgement,
        label,
        reused,
        references: Fields::new(),
        items: Vec::new(),
        intents: Vec::new(),
        untranslatable: Vec::new(),
    };
    if lane.explains() {
        case.items = items(&mut case);
    }
    if let Some(allowed) = &lane.options.only
        && !case.items.iter().all(|item| allowed.iter().any(|planned| planned.same_as(item)))
    {
        lane.unplanned += 1;
        return;
    }
    cases.push(case);
}

/// All fields that identify a person changed at once: it may be another person under the same id.
fn suspicious(lane: &Lane<'_>, looked: &Looked) -> Option<Hold> {
    let link = looked.link.as_ref()?;
    let fields = &lane.spec.guard.identity;
    let changed = |side: Side, seen: &Seen| {
        fields.iter().all(|path| {
            let row = lane.map.row(path);
            match (row, link.shadows[side].get(path), seen.values.get(path)) {
                (Some(row), Some(then), Some(now)) => {
                    !then.is_empty() && !now.is_empty() && !same(row.compare, then, now)
                }
                _ => false,
            }
        })
    };
    let (side, row, seen) = Side::BOTH.into_iter().find_map(|side| match (&looked.told[side], &looked.rows[side]) {
        (Told::Here(seen), Some(row)) if !fields.is_empty() && !row.released && changed(side, seen) => {
            Some((side, row, seen))
        }
        _ => None,
    })?;
    let (then, now) = (label(&link.shadows[side], &row.at.id), label(&seen.values, &row.at.id));
    let summary = format!(
        "`{}` on the {side} was {then} and is now {now}: all of {} changed at once. It waits; `pairwise holds release ID` \
         carries the change over",
        row.at.id,
        fields.iter().map(|path| &**path).collect::<Vec<_>>().join(", ")
    );
    Some(Hold { kind: HoldKind::Identity, side: Some(side.other()), summary, rows: vec![(row.id, now)] })
}

/// A record without a link: it is created on the other side, or it is kept out for a reason. `Err(None)` is no problem.
fn newcomer(lane: &Lane<'_>, told: &Sides<Told>) -> Result<Judgement, Option<Box<Aside>>> {
    let (side, seen) = match (&told.left, &told.right) {
        (Told::Here(seen), Told::Nothing) => (Side::Left, seen),
        (Told::Nothing, Told::Here(seen)) => (Side::Right, seen),
        _ => return Err(None),
    };
    let target = side.other();
    let refused = |code: &str, text: String| {
        Err(Some(Box::new(Aside {
            label: label(&seen.values, &seen.record.at.id),
            kind: AsideKind::Refused,
            ..quarantined(side, &seen.record, code, &text)
        })))
    };
    if let Some(predicate) = filter::refuses(&lane.filters.admit[side], &seen.record, &seen.values, lane.started) {
        return refused(&predicate.reason, format!("the stream's filter keeps it out: {}", predicate.reason));
    }
    if !lane.spec.writes_to(target) || !lane.spec.create[target] {
        return refused("no_right_to_create", format!("the stream makes no new records on the {target}"));
    }
    let mut judgement = Judgement {
        link: Link { id: 0, ends: Sides::default(), shadows: Sides::default(), born: side, state: LinkState::Live },
        writes: Sides::default(),
        fate: Fate::Stays,
        conflicts: Vec::new(),
        lost: Sides::default(),
    };
    judgement.link.ends[side] = Some(End::of(&seen.record));
    judgement.writes[target] = Some(creation(lane.rules(), target, &seen.values, Op::Create, "new_on_other_side"));
    Ok(judgement)
}

/// A reused id is another record: the linked one is gone, and the new one is announced as a newcomer once the link is.
fn judge_reused(lane: &Lane<'_>, link: &Link, looked: &Looked, reused: Sides<bool>) -> Judgement {
    let told = |side: Side| if reused[side] { Told::Gone(Reason::Deleted) } else { looked.told[side].clone() };
    let mut judgement = judge(lane.rules(), link, &Sides::from_fn(told), &looked.conflicts);
    if Side::BOTH.into_iter().all(|side| !reused[side] || judgement.writes[side].is_none()) {
        // Whatever the policy keeps, this id belongs to somebody else now.
        judgement.fate = Fate::Ends;
    }
    judgement
}

/// What a person calls the record.
fn name(judgement: &Judgement, looked: &Looked) -> String {
    let id = looked.rows.iter().find_map(|(_, row)| row.as_ref().map(|row| row.at.id.as_str())).unwrap_or_default();
    for side in Side::BOTH {
        if let Told::Here(seen) = &looked.told[side] {
            return label(&seen.values, id);
        }
    }
    label(&judgement.link.shadows.left, id)
}

/// The case as lines of a plan.
fn items(case: &mut Case) -> Vec<Item> {
    let id_of = |side: Side| {
        let known = case.judgement.link.ends[side].as_ref().map(|end| end.at.clone());
        let linked = || case.looked.link.as_ref().and_then(|link| link.ends[side].as_ref()).map(|end| end.at.clone());
        known.or_else(linked).unwrap_or_default()
    };
    let ids = Sides::from_fn(id_of);
    let mut items: Vec<Item> = Side::BOTH
        .into_iter()
        .filter_map(|side| {
            let planned = case.judgement.writes[side].as_mut()?;
            let (at, other) = (ids[side].clone(), ids[side.other()].clone());
            Some(Item {
                op: planned.op,
                side,
                entity: if at.entity.is_empty() { other.entity.clone() } else { at.entity },
                id: at.id,
                other_id: other.id,
                label: case.label.clone(),
                reason: planned.reason.to_owned(),
                held: false,
                fields: std::mem::take(&mut planned.changes),
            })
        })
        .collect();
    if items.is_empty() && case.judgement.fate == Fate::Ends && case.looked.link.is_some() {
        let Sides { left, right } = ids;
        items.push(Item {
            op: Op::Unlink,
            side: Side::Right,
            entity: right.entity,
            id: right.id,
            other_id: left.id,
            label: case.label.clone(),
            reason: "gone_on_both_sides".to_owned(),
            held: false,
            fields: Vec::new(),
        });
    }
    items
}

impl Lane<'_> {
    /// Whether anybody wants to see operations field by field.
    pub(super) fn explains(&self) -> bool {
        let room = self.report.items.as_ref().is_some_and(|items| items.len() < self.options.list_items);
        room || self.options.only.is_some()
    }
}
