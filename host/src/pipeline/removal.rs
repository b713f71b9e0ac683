//! Decides, without any I/O, what becomes of a link whose record is gone, has left, or returns.

use pairwise_plugin_api::{Fields, Reason, Value};

use super::reconcile::{Judgement, Planned, Rules, Told, changed_rows, creation, merge, refresh_ends};
use crate::model::value::same;
use crate::model::{Conflict, End, Link, LinkState, Op, Removal, Side, Sides};

/// That a record left the scope is no news where we took it out ourselves, or knew it before.
pub(super) fn is_echo(link: &Link, side: Side, told: &Told) -> bool {
    *told == Told::Gone(Reason::LeftScope) && link.state == LinkState::Dormant && has_left(link, side)
}

/// Of a dormant link: whether it was this side that left.
fn has_left(link: &Link, side: Side) -> bool {
    link.ends[side].as_ref().is_some_and(|end| end.version.is_none())
}

/// A dormant link wakes when the side that left returns; that side's end has no version. An edit on the side that stayed
/// wakes nothing, nor does the return of one of two that left, unless the other one is joined again.
pub(super) fn asleep(rules: Rules<'_>, link: &Link, told: &Sides<Told>, conflicts: &[Conflict]) -> Judgement {
    let returned = |side: Side| {
        matches!(told[side], Told::Here(_)) && link.ends[side].as_ref().is_none_or(|end| end.version.is_none())
    };
    let joined = |side: Side| rules.lane.join[side] && rules.lane.writes_to(side);
    let is_away = |side: Side| has_left(link, side) && !matches!(told[side], Told::Here(_)) && !joined(side);
    if Side::BOTH.into_iter().any(returned) && !Side::BOTH.into_iter().any(is_away) {
        let awake = Link { state: LinkState::Live, ..link.clone() };
        return merge(rules, &awake, told, conflicts);
    }
    let mut link = link.clone();
    refresh_ends(&mut link, told);
    Judgement::stays(link)
}

/// A side's record is gone; the other side tells something or nothing.
pub(super) fn removed(
    rules: Rules<'_>,
    link: &Link,
    gone: Side,
    reason: Reason,
    other: &Told,
    conflicts: &[Conflict],
) -> Judgement {
    let lane = rules.lane;
    let target = gone.other();
    let policy = &lane.removed[gone];
    let action = if reason == Reason::LeftScope { policy.left_scope } else { policy.deleted };
    let asleep = link.state == LinkState::Dormant;

    let unseen_edit = match other {
        // A value that waits in a conflict is known, and no edit.
        Told::Here(seen) => changed_rows(rules, link, target, seen).any(|path| {
            let waiting = conflicts.iter().find(|conflict| *conflict.path == **path);
            let row = rules.map.row(path);
            !waiting
                .zip(row)
                .zip(seen.values.get(path))
                .is_some_and(|((conflict, row), now)| same(row.compare, now, &conflict.values[target]))
        }),
        _ => false,
    };
    let action = match action {
        Removal::Trash | Removal::Delete | Removal::Exclude if asleep && reason == Reason::LeftScope => {
            return sleep(link, gone);
        }
        // Whoever left before will not return: the other side's record stays, and passes for no new one.
        Removal::Trash | Removal::Delete | Removal::Exclude if asleep && has_left(link, gone) => {
            return left_alone(link, gone);
        }
        Removal::Trash | Removal::Delete | Removal::Exclude if asleep => return Judgement::ends(link),
        // Whoever left is still there, and is not made again.
        Removal::Trash | Removal::Delete | Removal::Exclude
            if reason == Reason::LeftScope && (unseen_edit && !policy.beats_edit || !lane.writes_to(target)) =>
        {
            return sleep(link, gone);
        }
        Removal::Trash | Removal::Delete | Removal::Exclude if unseen_edit && !policy.beats_edit => {
            return restore(rules, link, gone, other, "edit_beats_deletion");
        }
        // What cannot be carried over leaves the other record as it is, and it passes for no new one: when it tells something
        // again, it is made again.
        Removal::Trash | Removal::Delete | Removal::Exclude if !lane.writes_to(target) => {
            return left_alone(link, gone);
        }
        Removal::Trash if rules.keeps[target] => return sleep(link, gone),
        // What is out of what is kept in step is carried nowhere: it is made again when it returns, as if it were new.
        Removal::Restore
            if reason != Reason::LeftScope && has_left(link, target) && asleep && !matches!(other, Told::Here(_)) =>
        {
            return Judgement::ends(link);
        }
        Removal::Restore if reason != Reason::LeftScope => return restore(rules, link, gone, other, "restored"),
        Removal::Keep | Removal::Restore => return sleep(link, gone),
        action => action,
    };
    // The counterpart cannot be addressed, so there is nothing to delete.
    if link.ends[target].is_none() {
        return Judgement::ends(link);
    }
    let mut judgement = Judgement::ends(link);
    if action == Removal::Exclude && reason == Reason::LeftScope {
        // It may return, and its counterpart with it.
        judgement = sleep(link, gone);
    }
    let values = match other {
        Told::Here(seen) => &seen.values,
        _ => &link.shadows[target],
    };
    if action != Removal::Exclude {
        judgement.lost[target] =
            values.iter().map(|(path, value)| (path.to_string(), value.clone(), Value::Null)).collect();
    }
    if let (Told::Here(seen), Some(end)) = (other, judgement.link.ends[target].as_mut()) {
        *end = End::of(&seen.record);
    }
    if action == Removal::Exclude
        && let Some(end) = judgement.link.ends[target].as_mut()
    {
        end.version = None;
    }
    judgement.writes[target] = Some(Planned {
        op: if action == Removal::Exclude { Op::Exclude } else { Op::Delete },
        removal: Some(action),
        asked: Fields::new(),
        unsent: Fields::new(),
        changes: Vec::new(),
        reason: if reason == Reason::LeftScope { "left_scope" } else { "deleted_on_other_side" },
    });
    judgement
}

/// Makes a record again on the side where it went missing.
pub(super) fn restore(rules: Rules<'_>, link: &Link, gone: Side, other: &Told, reason: &'static str) -> Judgement {
    let source = gone.other();
    if !rules.lane.writes_to(gone) || !rules.lane.create[gone] {
        return sleep(link, gone);
    }
    let values = match other {
        Told::Here(seen) => seen.values.clone(),
        _ => link.shadows[source].clone(),
    };
    let mut link = link.clone();
    if let Told::Here(seen) = other {
        link.ends[source] = Some(End::of(&seen.record));
    }
    link.ends[gone] = None;
    link.shadows = Sides::default();
    link.state = LinkState::Live;
    let mut judgement = Judgement::stays(link);
    judgement.writes[gone] = Some(creation(rules, gone, &values, Op::Recreate, reason));
    judgement
}

/// The other side's record stays, linked to none.
fn left_alone(link: &Link, gone: Side) -> Judgement {
    let mut link = link.clone();
    link.ends[gone] = None;
    Judgement::stays(link)
}

/// The link sleeps: the end of the side that left loses its version, which tells which side that was.
pub(super) fn sleep(link: &Link, gone: Side) -> Judgement {
    let mut link = link.clone();
    link.state = LinkState::Dormant;
    if let Some(end) = link.ends[gone].as_mut() {
        end.version = None;
    }
    Judgement::stays(link)
}
