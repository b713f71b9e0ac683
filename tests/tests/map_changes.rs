//! What becomes of pairs when the field map changes: a changed map is no edit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pairwise_host::model::{Direction, FieldRow, MapChange, Winner};
use pairwise_tests::rules::{fine, written};
use pairwise_tests::twins::World;

#[test]
fn a_new_row_in_the_map_is_no_edit() {
    let mut world = World::default();
    world.spec.map.without = vec!["notes/1".into(), "titles/1/name".into()];
    world.left.put(
        "a",
        &[("name/full", "Ada"), ("emails/1/address", "ada@example.org"), ("notes/1", "left"), ("titles/1/name", "T")],
    );
    fine(&world.run());
    let there = world.right.ids().remove(0);
    world.right.edit(&there, "notes/1", "right");
    fine(&world.run());
    world.spec.map.without.clear();
    let report = world.run();
    assert_eq!(report.conflicts, 1, "{report:#?}");
    assert_eq!(world.left.field("a", "notes/1"), "left");
    assert_eq!(world.right.field(&there, "notes/1"), "right");
    assert_eq!(world.right.field(&there, "titles/1/name"), "T", "an empty value is filled");
}

/// What was typed while its row was out of the map is not what its shadow says, and the new map cannot read it.
#[test]
fn what_a_changed_map_cannot_read_is_set_aside_and_not_overwritten() {
    let mut world = World::default();
    world.left.put("a", &[("name/full", "Ada"), ("emails/1/address", "ada@example.org"), ("notes/1", "1")]);
    fine(&world.run());
    world.spec.map.without = vec!["notes/1".into()];
    fine(&world.run());
    world.left.edit("a", "notes/1", "likes engines");
    fine(&world.run());
    world.spec.map.without.clear();
    world.right.count_in(&["notes/1"]);
    let there = world.right.ids().remove(0);
    world.right.edit(&there, "notes/1", "2");
    let report = world.run();
    assert_eq!((report.quarantined, report.left.updated), (1, 0), "{report:#?}");
    world.run();
    assert_eq!(world.left.field("a", "notes/1"), "likes engines");
    world.left.edit("a", "notes/1", "3");
    fine(&world.run());
    assert_eq!(world.left.field("a", "notes/1"), world.right.field(&there, "notes/1"));
}

/// Both sides have a note of their own when the row comes into the map.
fn met_with_notes(map_change: MapChange) -> (World, String) {
    let mut world = World::default();
    world.spec.map_change = map_change;
    world.spec.map.without = vec!["notes/1".into()];
    world.left.put("a", &[("name/full", "Ada"), ("emails/1/address", "ada@example.org"), ("notes/1", "left")]);
    fine(&world.run());
    let there = world.right.ids().remove(0);
    world.right.at(1_700_000_100_000);
    world.right.edit(&there, "notes/1", "right");
    fine(&world.run());
    world.spec.map.without.clear();
    (world, there)
}

#[test]
fn a_new_row_is_sent_from_the_side_that_wins_where_the_stream_says_so() {
    for (policy, winner) in [(Winner::Left, "left"), (Winner::Right, "right"), (Winner::Latest, "right")] {
        let (mut world, there) = met_with_notes(MapChange::Resend);
        world.spec.conflict.winner = policy;
        let report = world.run();
        assert_eq!((report.conflicts, written(&report)), (0, 1), "{report:#?}");
        let fields = &report.items.as_ref().unwrap()[0].fields;
        assert_eq!((&*fields[0].path, fields[0].new.to_string()), ("notes/1", winner.to_owned()));
        assert_eq!(world.left.field("a", "notes/1"), winner);
        assert_eq!(world.right.field(&there, "notes/1"), winner);
        let lost = if winner == "left" { "right" } else { "left" };
        assert!(format!("{:?}", world.db.history_of_record("a").unwrap()).contains(lost), "the loser is in history");
        assert_eq!(written(&world.run()), 0);
    }
    let (mut world, _) = met_with_notes(MapChange::Resend);
    world.spec.conflict.winner = Winner::Hold;
    let report = world.run();
    assert_eq!((report.conflicts, written(&report)), (1, 0), "{report:#?}");
}

/// Nobody has touched either note since they were settled, each side with its own.
#[test]
fn a_row_that_goes_one_way_from_now_on_is_sent_where_the_stream_says_so() {
    for (map_change, sent) in [(MapChange::Ask, false), (MapChange::Resend, true)] {
        let (mut world, there) = met_with_notes(map_change);
        let row = |direction| FieldRow {
            left: vec!["notes/1".into()],
            right: vec!["notes/1".into()],
            direction,
            on_create: Direction::LeftToRight,
            winner: None,
            repair: None,
            transform: Vec::new(),
        };
        world.spec.map.rows = vec![row(Direction::None)];
        fine(&world.run());
        assert_eq!(world.right.field(&there, "notes/1"), "right");
        world.spec.map.rows = vec![row(Direction::LeftToRight)];
        let report = world.run();
        fine(&report);
        assert_eq!(world.right.field(&there, "notes/1"), if sent { "left" } else { "right" });
        assert_eq!((report.right.updated, report.left.updated), (u64::from(sent), 0), "{report:#?}");
        assert_eq!(written(&world.run()), 0);
    }
}
