//! Settings of a lane, as a test starts from them.

use pairwise_host::config::Config;
use pairwise_host::model::{
    ConflictPolicy, Direction, GuardPolicy, LaneKey, LaneSpec, MapChange, MapSpec, MatchPolicy, Matching, NoTrash, Per,
    Pick, Removal, RemovalPolicy, Repair, Scan, Several, Side, Sides, TrashPolicy, Winner,
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
        join: Sides::default(),
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
            within: Sides::default(),
            several: Sides::from_fn(|_| Several::all(Pick::Hold)),
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
        trash: TrashPolicy { fallback: None, none: NoTrash::Delete },
        guard: GuardPolicy { removals_share: 0.25, removals_above: 5, removals_count: None, identity: Vec::new() },
        map: MapSpec { join: true, ..MapSpec::default() },
        references: Vec::new(),
        map_change: MapChange::Ask,
        conditions: Default::default(),
        attempts: 5,
        batch: 20,
    }
}

/// The lanes that a profile means, read as the program reads it: over its preset, with these connections.
///
/// # Panics
/// With what is wrong with it.
#[must_use]
pub fn of_profile(plugins: [&str; 2], profile: &str) -> Vec<LaneSpec> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [left, right] = plugins;
    let host = format!("[connections.one]\nplugin = \"{left}\"\n[connections.two]\nplugin = \"{right}\"\n");
    let profile = format!("left = \"one\"\nright = \"two\"\n{profile}");
    std::fs::create_dir(folder.path().join("profiles")).expect("a folder");
    std::fs::write(folder.path().join("pairwise.toml"), host).expect("a file");
    std::fs::write(folder.path().join("profiles/test.toml"), profile).expect("a file");
    let config = Config::load(folder.path()).unwrap_or_else(|problems| panic!("{problems}"));
    config.profiles.iter().flat_map(|profile| profile.lanes().iter().cloned()).collect()
}

/// The lane that the preset `infor-crm-outlook` means for one person, with more keys of the profile.
#[must_use]
pub fn infor_crm_outlook(more: &str) -> LaneSpec {
    let profile = format!(
        "preset = \"infor-crm-outlook\"\n{more}\n[[users]]\nleft = \"lee\"\nright = \"lee@example.com\"\n\
         grants = [\"contact_sync\"]\nsecrets.left.password.env = \"CRM_LEE\"\n\
         streams.contacts.scope.left.group = \"Contact Sync\"\n"
    );
    of_profile(["infor-crm", "outlook"], &profile).remove(0)
}
