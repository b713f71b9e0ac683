//! The merge table: every combination of what two fields can have gone through, under every policy, against an oracle that
//! knows only the promises. And the table of removals.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_host::model::{Direction, End, LaneSpec, Link, LinkState, Op, Per, Removal, Side, Sides, Winner};
use pairwise_host::pipeline::reconcile::{Fate, Judgement, Rules, Seen, Told, judge};
use pairwise_host::pipeline::translate::FieldMap;
use pairwise_plugin_api::{Catalogue, Entity, Field, FieldType, Fields, Reason, Record, RecordRef, Value};
use pairwise_tests::lanes::mirror;
use pairwise_tests::memory::ENTITY;

const TWO: [&str; 2] = ["name/full", "notes/1"];

fn map(spec: &LaneSpec) -> FieldMap {
    let fields = TWO.iter().map(|path| Field::new(*path, FieldType::Text).path(*path)).collect();
    let catalogue = Catalogue { entities: vec![Entity { name: ENTITY.into(), fields, ..Entity::default() }] };
    FieldMap::compile(&spec.map, spec.direction, &spec.entities, &Sides { left: catalogue.clone(), right: catalogue })
        .unwrap()
}

fn end(id: &str) -> Option<End> {
    Some(End { at: RecordRef::new(ENTITY, id), version: Some("1".into()), ..End::default() })
}

/// A link that was settled with these values on both sides.
fn link(values: [&str; 2]) -> Link {
    let shadow: Fields = TWO.into_iter().zip(values).collect();
    Link {
        id: 1,
        ends: Sides { left: end("l"), right: end("r") },
        shadows: Sides { left: shadow.clone(), right: shadow },
        born: Side::Left,
        state: LinkState::Live,
    }
}

fn here(id: &str, modified: i64, values: [&str; 2]) -> Told {
    let values: Fields = TWO.into_iter().zip(values).collect();
    let record = Record {
        at: RecordRef::new(ENTITY, id),
        version: Some("2".into()),
        modified: Some(modified * 1_000),
        ..Record::default()
    };
    Told::Here(Box::new(Seen { record, values }))
}

/// What one field went through on one side.
const DONE: [Option<&str>; 3] = [None, Some("new"), Some("")];

/// All ways two fields can have changed on one side, and whether the side tells at all.
fn sides(mark: &str) -> Vec<(bool, [String; 2])> {
    let mut all = vec![(false, ["s0".to_owned(), "s1".to_owned()])];
    for first in DONE {
        for second in DONE {
            let value = |done: Option<&str>, n: usize| match done {
                None => format!("s{n}"),
                Some("") => String::new(),
                Some(new) => format!("{mark}-{new}-{n}"),
            };
            all.push((true, [value(first, 0), value(second, 1)]));
        }
    }
    all
}

fn texts(values: &[String; 2]) -> [&str; 2] {
    [values[0].as_str(), values[1].as_str()]
}

/// What a field holds on a side once the writes of a judgement are done.
fn outcome(judgement: &Judgement, side: Side, field: &str, now: &str) -> String {
    let written = judgement.writes[side].as_ref().and_then(|planned| planned.asked.get(field));
    written.map_or_else(|| now.to_owned(), ToString::to_string)
}

#[test]
fn winner_table() {
    let mut cases = 0;
    let policies = [Winner::Left, Winner::Right, Winner::Latest, Winner::Hold];
    for (winner, per) in policies.into_iter().flat_map(|winner| [(winner, Per::Field), (winner, Per::Record)]) {
        for times in [(1, 2), (2, 1), (1, 1)] {
            let mut spec = mirror();
            spec.conflict.winner = winner;
            spec.conflict.per = per;
            let map = map(&spec);
            let rules = Rules {
                lane: &spec,
                map: &map,
                prefer: None,
                map_changed: false,
                explain: true,
                skew: Sides::default(),
                keeps: Sides::default(),
            };
            for (left_tells, left) in sides("L") {
                for (right_tells, right) in sides("R") {
                    let told = Sides {
                        left: if left_tells { here("l", times.0, texts(&left)) } else { Told::Nothing },
                        right: if right_tells { here("r", times.1, texts(&right)) } else { Told::Nothing },
                    };
                    let judgement = judge(rules, &link(["s0", "s1"]), &told, &[]);
                    check(winner, per, times, &left, &right, &judgement);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 8 * 3 * 100);
}

/// The promises: an edit of one side reaches the other; of two edits the policy's winner is on both sides and the loser is in
/// history; what nobody edited stays; what a person must decide stays as it is on both sides.
fn check(winner: Winner, per: Per, times: (i64, i64), left: &[String; 2], right: &[String; 2], judgement: &Judgement) {
    assert_eq!(judgement.fate, Fate::Stays);
    let winning = match winner {
        Winner::Latest if times.1 > times.0 => Winner::Right,
        Winner::Latest => Winner::Left,
        winner => winner,
    };
    let edited = |values: &[String; 2], n: usize| values[n] != format!("s{n}");
    let clash = (0..2).any(|n| edited(left, n)) && (0..2).any(|n| edited(right, n));
    for n in 0..2 {
        let field = TWO[n];
        let ended =
            (outcome(judgement, Side::Left, field, &left[n]), outcome(judgement, Side::Right, field, &right[n]));
        let case = format!("{winner:?} {per:?} {times:?} {left:?} {right:?} field {n}: {ended:?}");
        let conflict = judgement.conflicts.iter().any(|conflict| conflict.path == field);
        let both = |value: &String| (value.clone(), value.clone());
        let by_record = per == Per::Record && clash && (edited(left, n) || edited(right, n));
        let expected = match (edited(left, n), edited(right, n)) {
            _ if left[n] == right[n] => both(&left[n]),
            (_, _) if by_record || (edited(left, n) && edited(right, n)) => match winning {
                Winner::Left => both(&left[n]),
                Winner::Right => both(&right[n]),
                _ => {
                    assert!(conflict, "waits for a person: {case}");
                    (left[n].clone(), right[n].clone())
                }
            },
            (true, _) => both(&left[n]),
            _ => both(&right[n]),
        };
        assert_eq!(ended, expected, "{case}");
        for (side, before, after) in [(Side::Left, &left[n], &ended.0), (Side::Right, &right[n], &ended.1)] {
            let kept = judgement.lost[side].iter().any(|(path, lost, _)| path == field && lost.to_string() == *before);
            assert!(before == after || before.is_empty() || kept, "an overwritten value is in history: {case}");
        }
    }
}

#[test]
fn what_equals_its_shadow_is_never_written() {
    let spec = mirror();
    let map = map(&spec);
    let rules = Rules {
        lane: &spec,
        map: &map,
        prefer: None,
        map_changed: false,
        explain: false,
        skew: Sides::default(),
        keeps: Sides::default(),
    };
    let mut respelt = link(["Ada", "x"]);
    respelt.shadows.right = TWO.into_iter().zip(["ADA LOVELACE", "x"]).collect();
    let told = Sides { left: here("l", 1, ["Ada", "x"]), right: here("r", 2, ["ADA LOVELACE", "x"]) };
    let judgement = judge(rules, &respelt, &told, &[]);
    assert_eq!(judgement.writes, Sides::default());
    assert!(judgement.conflicts.is_empty());
}

#[test]
fn one_way_rows_go_one_way() {
    for (direction, source) in [(Direction::LeftToRight, Side::Left), (Direction::RightToLeft, Side::Right)] {
        let mut spec = mirror();
        spec.direction = direction;
        let map = map(&spec);
        let rules = Rules {
            lane: &spec,
            map: &map,
            prefer: None,
            map_changed: false,
            explain: false,
            skew: Sides::default(),
            keeps: Sides::default(),
        };
        for (_, left) in sides("L") {
            for (_, right) in sides("R") {
                let told = Sides { left: here("l", 1, texts(&left)), right: here("r", 2, texts(&right)) };
                let judgement = judge(rules, &link(["s0", "s1"]), &told, &[]);
                assert!(judgement.writes[source].is_none(), "the source is never written");
                let wanted = if source == Side::Left { &left } else { &right };
                let target = source.other();
                let now = if source == Side::Left { &right } else { &left };
                for n in 0..2 {
                    assert_eq!(&outcome(&judgement, target, TWO[n], &now[n]), &wanted[n]);
                }
            }
        }
    }
}

#[test]
fn delete_table() {
    let actions = [Removal::Keep, Removal::Trash, Removal::Delete, Removal::Restore];
    for gone in Side::BOTH {
        for action in actions {
            for beats_edit in [false, true] {
                for other in ["nothing", "unchanged", "edited", "gone"] {
                    let mut spec = mirror();
                    spec.removed[gone].deleted = action;
                    spec.removed[gone].beats_edit = beats_edit;
                    let map = map(&spec);
                    let rules = Rules {
                        lane: &spec,
                        map: &map,
                        prefer: None,
                        map_changed: false,
                        explain: false,
                        skew: Sides::default(),
                        keeps: Sides::default(),
                    };
                    let stays = gone.other();
                    let mut told = Sides::from_fn(|_| Told::Gone(Reason::Deleted));
                    told[stays] = match other {
                        "nothing" => Told::Nothing,
                        "unchanged" => here("x", 1, ["s0", "s1"]),
                        "edited" => here("x", 1, ["s0", "edited"]),
                        _ => Told::Gone(Reason::Deleted),
                    };
                    let judgement = judge(rules, &link(["s0", "s1"]), &told, &[]);
                    let case =
                        format!("{gone} gone, {action:?}, beats_edit {beats_edit}, other {other}: {judgement:#?}");
                    let op = |side: Side| judgement.writes[side].as_ref().map(|planned| planned.op);
                    match (action, other) {
                        (_, "gone") => {
                            assert_eq!((judgement.fate, op(gone), op(stays)), (Fate::Ends, None, None), "{case}")
                        }
                        (Removal::Keep, _) => {
                            assert_eq!((judgement.fate, op(gone), op(stays)), (Fate::Stays, None, None), "{case}");
                            assert_eq!(judgement.link.state, LinkState::Dormant, "{case}");
                        }
                        (Removal::Restore, _) => {
                            assert_eq!((op(gone), op(stays)), (Some(Op::Recreate), None), "{case}")
                        }
                        (_, "edited") if !beats_edit => {
                            assert_eq!(
                                (judgement.fate, op(gone), op(stays)),
                                (Fate::Stays, Some(Op::Recreate), None),
                                "{case}"
                            );
                        }
                        _ => {
                            assert_eq!(
                                (judgement.fate, op(gone), op(stays)),
                                (Fate::Ends, None, Some(Op::Delete)),
                                "{case}"
                            );
                            let lost = |value: &str| {
                                judgement.lost[stays].iter().any(|(_, lost, _)| *lost == Value::from(value))
                            };
                            assert!(lost("s0") && (other != "edited" || lost("edited")), "{case}");
                        }
                    }
                }
            }
        }
    }
}
