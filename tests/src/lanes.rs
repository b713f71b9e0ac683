//! Settings of a lane, as a test starts from them.

use pairwise_host::model::{
    ConflictPolicy, Direction, GuardPolicy, LaneKey, LaneSpec, MapChange, MapSpec, MatchPolicy, Matching, Per, Removal,
    RemovalPolicy, Repair, Scan, Several, Side, Sides, Winner,
};
use pairwise_plugin_api::{Name, Principal};

use crate::memory::ENTITY;

/// What the preset `mirror` means.
#[must_use]
pub fn mirror() -> LaneSpec {
    let path = |path: &str| Name::from(path);
    LaneSpec {
        key: LaneKey { profile: "test".into(), user: String::new(), stream: "contacts".into() },
        connections: Sides { left: "one".into(), right: "two".into() },
        principals: Sides { left: Principal::connection(), right: Principal::connection() },
        entities: Sides { left: vec![ENTITY.into()], right: vec![ENTITY.into()] },
        scope: Sides::default(),
        direction: Direction::Both,
        scan: Sides { left: Scan::Feed, right: Scan::Feed },
        sweep_every: 20,
        admit: Sides::default(),
        follow: Sides::default(),
        matching: Matching::Keys(MatchPolicy {
            keys: vec![
                vec![path("uid")],
                vec![path("emails/*/address")],
                vec![path("name/full"), path("phones/*/number")],
            ],
            case_sensitive: false,
            several: Sides { left: Several::Hold, right: Several::Hold },
            differ: Winner::Hold,
        }),
        create: Sides { left: true, right: true },
        update: Sides { left: true, right: true },
        repair: Repair::EveryRun,
        conflict: ConflictPolicy { winner: Winner::Latest, per: Per::Field, tie: Side::Left, max_skew_ms: 300_000 },
        removed: Sides::from_fn(|_| RemovalPolicy {
            deleted: Removal::Trash,
            left_scope: Removal::Keep,
            beats_edit: false,
        }),
        guard: GuardPolicy { removals_share: 0.25, removals_above: 5, identity: Vec::new() },
        map: MapSpec { join: true, ..MapSpec::default() },
        map_change: MapChange::Ask,
        attempts: 5,
        batch: 20,
    }
}
