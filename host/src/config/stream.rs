//! A stream as meant: every key checked and given its default.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use pairwise_plugin_api::{Name, Principal, Value};

use super::document::Node;
use super::preset;
use super::problem::{Problem, Problems};
use super::raw::{self, OneOrMany, PerSide, Scalar};
use super::units;
use crate::model::{
    ConflictPolicy, Direction, FieldRow, GuardPolicy, LaneKey, LaneSpec, Lookup, MapChange, MapSpec, MatchPolicy,
    Matching, OnCondition, Per, Pick, Predicate, Reference, Removal, RemovalPolicy, Repair, Scan, Several, Side, Sides,
    Template, Test, Transform, TrashPolicy, When, Winner, Within, nearest,
};

/// Runs between two whole listings of a side with a feed.
const SWEEP_EVERY: u32 = 20;
/// Passing failures before a record is set aside.
const ATTEMPTS: u32 = 5;
/// Records in a page.
const BATCH: u32 = 200;
/// A server's clock may be off by this much without a warning.
const MAX_SKEW: Duration = Duration::from_secs(300);
/// Removals above both are held.
const REMOVALS_SHARE: f64 = 0.25;
/// The key of a scope that is no selector.
const JOIN: &str = "join";
/// The code of a record that its system cannot tell.
const UNREADABLE: &str = "unreadable";
/// See [`REMOVALS_SHARE`].
const REMOVALS_ABOVE: u64 = 5;

/// What streams take from their surroundings.
pub(super) struct Around<'a> {
    /// The profile's name.
    pub(super) profile: &'a str,
    /// The profile's tree, preset included.
    pub(super) root: &'a Node,
    /// The connections' names.
    pub(super) connections: &'a Sides<String>,
    /// The host's own guard settings.
    pub(super) guard: &'a raw::Guard,
}

/// The lane that a stream is without users.
pub(super) fn lane(around: &Around<'_>, name: &str, raw: &raw::Stream, problems: &mut Problems) -> LaneSpec {
    let mut stream = StreamReader { root: around.root, at: super::document::pointer(["streams", name]), raw, problems };
    let direction = raw.direction.unwrap_or(Direction::Both);
    let references: Vec<Reference> = raw.references.iter().map(|(field, raw)| stream.reference(field, raw)).collect();
    let mut map = stream.map(direction);
    map.reads = references.iter().flat_map(|it| &it.value).flat_map(Template::paths).cloned().collect();
    LaneSpec {
        key: LaneKey { profile: around.profile.into(), user: String::new(), stream: name.into() },
        connections: around.connections.clone(),
        principals: Sides::from_fn(|_| Principal::connection()),
        entities: Sides::from_fn(|side| stream.entities(side)),
        scope: Sides::from_fn(|side| scope(&raw.scope, side)),
        join: Sides::from_fn(|side| stream.join(side)),
        direction,
        scan: Sides::from_fn(|side| raw.scan.as_ref().and_then(|scan| scan.get(side)).copied().unwrap_or(Scan::Feed)),
        sweep_every: raw.sweep_every.unwrap_or(SWEEP_EVERY),
        admit: Sides::from_fn(|side| stream.predicates("admit", &raw.admit, side)),
        follow: Sides::from_fn(|side| stream.predicates("follow", &raw.follow, side)),
        matching: stream.matching(),
        create: Sides::from_fn(|side| {
            stream.right(
                direction,
                side,
                raw.create.get(side).and_then(|create| create.allow),
                &["create", side.name(), "allow"],
            )
        }),
        update: Sides::from_fn(|side| {
            stream.right(direction, side, raw.update.get(side).copied(), &["update", side.name()])
        }),
        repair: raw.repair.unwrap_or(Repair::OnChange),
        conflict: stream.conflict(),
        removed: Sides::from_fn(|side| removal(&raw.removed, side)),
        trash: TrashPolicy { fallback: raw.trash.fallback.clone(), none: raw.trash.none.unwrap_or_default() },
        guard: guard(&raw.guard, around.guard),
        map,
        references,
        map_change: raw.map_change.unwrap_or(MapChange::Ask),
        conditions: stream.conditions(),
        attempts: raw.attempts.unwrap_or(ATTEMPTS),
        batch: raw.batch.unwrap_or(BATCH),
    }
}

struct StreamReader<'a> {
    root: &'a Node,
    at: String,
    raw: &'a raw::Stream,
    problems: &'a mut Problems,
}

impl StreamReader<'_> {
    /// Notes a mistake in the value at a path below the stream.
    fn wrong(&mut self, path: &[&str], message: impl Into<String>, expected: impl Into<String>) {
        let pointer = format!("{}{}", self.at, super::document::pointer(path.iter().copied()));
        let mark = match self.root.at(&pointer) {
            Some(node) if node.table().is_none() => &node.mark,
            _ => self.root.place(&pointer),
        };
        self.problems.push(Problem::at(mark, message, expected));
    }

    /// What cannot be read must not pass for something that was emptied.
    fn conditions(&mut self) -> BTreeMap<String, OnCondition> {
        let passes = |on: &OnCondition| matches!(on, OnCondition::Allow | OnCondition::Report);
        if self.raw.conditions.get(UNREADABLE).is_some_and(passes) {
            let message = "a record that cannot be read cannot take part";
            self.wrong(&["conditions", UNREADABLE], message, "expected `skip` or `fail`");
        }
        self.raw.conditions.clone()
    }

    fn entities(&mut self, side: Side) -> Vec<String> {
        let entities = self.raw.entities.get(side).cloned().unwrap_or_default();
        if entities.is_empty() {
            let message = format!("the stream does not say what takes part on the {side}");
            let expected = format!("expected `entities.{side}`, for instance entities.{side} = [\"contact\"]");
            self.wrong(&["entities", side.name()], message, expected);
        }
        entities
    }

    /// Whether linked records join the scope. New ones always do: out of it they would be lost sight of.
    fn join(&mut self, side: Side) -> bool {
        let Some(join) = self.raw.scope.get(side).and_then(|scope| scope.get(JOIN)) else { return false };
        let text = |word: &Scalar| if let Scalar::Text(text) = word { text.clone() } else { String::new() };
        let words: Vec<String> = join.list().iter().map(text).collect();
        if !words.iter().any(|word| word == "created") || words.iter().any(|word| word != "created" && word != "linked")
        {
            let expected = "expected [\"created\"] or [\"created\", \"linked\"]: who is made there and does not join is lost sight of";
            self.wrong(&["scope", side.name(), JOIN], "this does not say who joins", expected);
        }
        words.iter().any(|word| word == "linked")
    }

    /// A right to write, which the direction must grant, too.
    fn right(&mut self, direction: Direction, side: Side, said: Option<bool>, path: &[&str]) -> bool {
        let reaches = direction.reaches(side);
        if said == Some(true) && !reaches {
            self.wrong(
                path,
                format!("this stream never writes to the {side}"),
                "expected false, or another `direction`",
            );
        }
        said.unwrap_or(reaches) && reaches
    }

    fn predicates(&mut self, key: &str, raw: &PerSide<Vec<raw::Predicate>>, side: Side) -> Vec<Predicate> {
        let list = raw.get(side).map(Vec::as_slice).unwrap_or_default();
        let mut predicates = Vec::new();
        for (index, raw) in list.iter().enumerate() {
            let index = index.to_string();
            let path = [key, side.name(), &index];
            if let Some(test) = self.test(raw, &path) {
                let reason = raw.reason.clone().unwrap_or_else(|| "filtered".into());
                predicates.push(Predicate { test, reason });
            }
        }
        predicates
    }

    fn test(&mut self, raw: &raw::Predicate, path: &[&str]) -> Option<Test> {
        let name = Name::from(raw.field.clone().unwrap_or_default());
        let values = |list: &[Scalar]| list.iter().cloned().map(Value::from).collect::<Vec<_>>();
        let mut tests = Vec::new();
        tests.extend(
            raw.is
                .as_ref()
                .or(raw.has.as_ref())
                .map(|value| Test::In(name.clone(), values(std::slice::from_ref(value)))),
        );
        tests.extend(raw.is_not.as_ref().map(|value| Test::NotIn(name.clone(), values(std::slice::from_ref(value)))));
        tests.extend(raw.one_of.as_ref().map(|list| Test::In(name.clone(), values(list))));
        tests.extend(raw.not_in.as_ref().map(|list| Test::NotIn(name.clone(), values(list))));
        tests.extend(
            raw.present.map(|present| if present { Test::Present(name.clone()) } else { Test::Absent(name.clone()) }),
        );
        for (key, text) in [("before", &raw.before), ("after", &raw.after)] {
            let Some(text) = text else { continue };
            let when = self.when(text, &[path, &[key]].concat())?;
            tests.push(if key == "before" {
                Test::Before(name.clone(), when)
            } else {
                Test::After(name.clone(), when)
            });
        }
        if let Some(any) = &raw.any {
            let indexes: Vec<String> = (0..any.len()).map(|index| index.to_string()).collect();
            let inner = any.iter().zip(&indexes).map(|(raw, index)| self.test(raw, &[path, &["any", index]].concat()));
            tests.push(Test::Any(inner.collect::<Option<Vec<_>>>()?));
        }
        let both_is_and_has = raw.is.is_some() && raw.has.is_some();
        match (tests.len(), raw.field.is_some() == raw.any.is_none()) {
            (1, true) if !both_is_and_has => tests.pop(),
            _ => {
                let expected = "expected `field` with one of `is`, `is_not`, `in`, `not_in`, `has`, `present`, `before`, `after`; or `any`";
                self.wrong(path, "this condition does not have exactly one test", expected);
                None
            }
        }
    }

    fn when(&mut self, text: &str, path: &[&str]) -> Option<When> {
        if text == "now" {
            return Some(When::Now);
        }
        if crate::model::value::parse_time(text).is_some() {
            return Some(When::At(text.into()));
        }
        self.wrong(
            path,
            format!("`{text}` is not a point in time"),
            "expected `now`, `2026-03-01` or `2026-03-01T09:30:00Z`",
        );
        None
    }

    fn matching(&mut self) -> Matching {
        let raw = match &self.raw.matching {
            None | Some(raw::Match::Word(raw::Never::Never)) => return Matching::Never,
            Some(raw::Match::Keys(raw)) => raw,
        };
        let mut keys = Vec::new();
        for (index, key) in raw.keys.iter().enumerate() {
            let paths: Vec<Name> = key.list().iter().map(|path| Name::from(path.as_str())).collect();
            if paths.is_empty() || paths.iter().any(|path| path.is_empty() || path.matches('*').count() > 1) {
                let expected = "expected canonical paths such as `emails/*/address`, each with at most one `*`";
                self.wrong(&["match", "keys", &index.to_string()], "this is no match key", expected);
            }
            keys.push(paths);
        }
        if keys.is_empty() {
            self.wrong(&["match"], "no match keys", "expected `keys = […]`, or `match = \"never\"`");
        }
        let several = |side| match raw.several.as_ref().and_then(|several| several.get(side)) {
            None => Several::all(Pick::Hold),
            Some(raw::Several::Word(pick)) => Several::all(*pick),
            Some(raw::Several::Table(table)) => Several {
                equal: table.equal.iter().map(|path| Name::from(path.as_str())).collect(),
                pick: table.pick.unwrap_or(Pick::Hold),
                none: table.none.unwrap_or(Pick::Hold),
            },
        };
        let within = |side| raw.within.as_ref().and_then(|within| within.get(side)).copied().unwrap_or(Within::Scope);
        Matching::Keys(MatchPolicy {
            keys,
            case_sensitive: raw.case == Some(raw::Case::Exact),
            within: Sides::from_fn(within),
            several: Sides::from_fn(several),
            differ: raw.differ.unwrap_or(Winner::Hold),
        })
    }

    fn conflict(&mut self) -> ConflictPolicy {
        let raw = &self.raw.conflict;
        let skew = raw.max_skew.as_deref().map_or(Some(MAX_SKEW), units::duration);
        if skew.is_none() {
            self.wrong(
                &["conflict", "max_skew"],
                "this is not a duration",
                "expected for instance `300 s` or `5 minutes`",
            );
        }
        ConflictPolicy {
            winner: raw.winner.unwrap_or(Winner::Latest),
            per: raw.per.unwrap_or(Per::Field),
            tie: raw.tie.unwrap_or(Side::Left),
            max_skew_ms: i64::try_from(skew.unwrap_or(MAX_SKEW).as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn reference(&mut self, field: &str, raw: &raw::Reference) -> Reference {
        let mut value = Vec::new();
        for text in raw.value.list() {
            match Template::parse(text) {
                Some(template) => value.push(template),
                None => {
                    let expected = "expected canonical paths in braces, for instance `{name/surname}, {name/given}`";
                    self.wrong(&["references", field, "value"], format!("`{text}` cannot be filled in"), expected);
                }
            }
        }
        let lookup = |lookup: &raw::Lookup| Lookup {
            entity: lookup.entity.clone(),
            by: Name::from(lookup.by.as_str()),
            case_sensitive: lookup.case != Some(raw::Case::Ignore),
            pick: lookup.pick,
        };
        Reference {
            field: Name::from(field),
            side: raw.side,
            value,
            tries: raw.tries.iter().map(lookup).collect(),
            missing: raw.missing,
            set: raw.set.iter().map(|(name, value)| (name.as_str(), Value::from(value.clone()))).collect(),
        }
    }

    fn map(&mut self, direction: Direction) -> MapSpec {
        let join = self.raw.map != Some(raw::MapKind::Listed);
        let mut rows = Vec::new();
        for (index, row) in self.raw.fields.iter().enumerate() {
            rows.extend(self.row(direction, row, &["fields", &index.to_string()]));
        }
        if !join && rows.is_empty() && self.raw.enabled != Some(false) {
            self.wrong(&["map"], "the field map is empty", "expected rows in `fields`, or `map = \"join\"`");
        }
        let without = self.raw.without.iter().map(|name| Name::from(name.as_str())).collect();
        MapSpec { join, rows, without, reads: Vec::new() }
    }

    fn row(&mut self, stream: Direction, raw: &raw::Field, path: &[&str]) -> Option<FieldRow> {
        let names = |names: &Option<OneOrMany<String>>| -> Vec<Name> {
            names.iter().flat_map(|names| names.list()).map(|name| Name::from(name.as_str())).collect()
        };
        let row = FieldRow {
            left: names(&raw.left),
            right: names(&raw.right),
            direction: raw.direction.unwrap_or(stream),
            on_create: raw.on_create.or(raw.direction).unwrap_or(stream),
            winner: raw.winner,
            repair: raw.repair,
            transform: self.transform(raw.transform.as_ref(), path)?,
        };
        let constant = row.transform.iter().any(|step| matches!(step, Transform::Constant(_)));
        let taken_out = row.direction == Direction::None && row.on_create == Direction::None;
        for side in Side::BOTH {
            let missing = if side == Side::Left { row.left.is_empty() } else { row.right.is_empty() };
            // A constant comes from nowhere, and a row that is taken out may be named by either side.
            let dispensable =
                constant && side == Side::Left || taken_out && !(row.left.is_empty() && row.right.is_empty());
            if missing && !dispensable {
                self.wrong(
                    path,
                    format!("this row does not name a field on the {side}"),
                    format!("expected `{side} = \"…\"`"),
                );
                return None;
            }
        }
        let reached = |side| row.direction.reaches(side) || row.on_create.reaches(side);
        let against =
            stream != Direction::None && !Side::BOTH.into_iter().any(|side| reached(side) && stream.reaches(side));
        let written = self.root.at(&format!("{}{}", self.at, super::document::pointer(path.iter().copied())));
        if against && written.is_some_and(|node| preset::wrote(&node.mark)) {
            // A profile that turns a preset's stream need not take its rows out one by one.
            return Some(FieldRow { direction: Direction::None, on_create: Direction::None, ..row });
        }
        if !taken_out && against {
            self.wrong(
                &[path, &["direction"]].concat(),
                "this row goes against the direction of its stream",
                "expected the stream's direction, or `none`",
            );
        }
        if let Some(why) =
            row.transform.iter().find_map(one_way).filter(|_| reached(Side::Left) && stream.reaches(Side::Left))
        {
            let expected = format!("{why}; expected `direction = \"left_to_right\"` beside it");
            self.wrong(
                &[path, &["transform"]].concat(),
                "this transform cannot be undone on the way back to the left",
                expected,
            );
        }
        Some(row)
    }

    fn transform(&mut self, steps: Option<&OneOrMany<raw::Step>>, path: &[&str]) -> Option<Vec<Transform>> {
        let mut transform = Vec::new();
        let mut sound = true;
        for step in steps.into_iter().flat_map(OneOrMany::list) {
            transform.push(match step {
                raw::Step::Trim => Transform::Trim,
                raw::Step::Upper => Transform::Upper,
                raw::Step::Lower => Transform::Lower,
                raw::Step::Date => Transform::Date,
                raw::Step::Split(text) => Transform::Split(text.clone()),
                raw::Step::Join(text) => Transform::Join(text.clone()),
                raw::Step::Constant(value) => Transform::Constant(value.clone().into()),
                raw::Step::Lookup(table) => Transform::Lookup(table.clone()),
                raw::Step::Phone(country) => {
                    if country.parse::<phonenumber::country::Id>().is_err() {
                        sound = false;
                        let expected = "expected two capitals, for instance `DE`";
                        self.wrong(&[path, &["transform"]].concat(), format!("`{country}` is not a country"), expected);
                    }
                    Transform::Phone(country.clone())
                }
                raw::Step::Zone(zone) => {
                    if let Err(expected) = zone_exists(zone) {
                        sound = false;
                        self.wrong(
                            &[path, &["transform"]].concat(),
                            format!("there is no time zone `{zone}`"),
                            expected,
                        );
                    }
                    Transform::Zone(zone.clone())
                }
            });
        }
        sound.then_some(transform)
    }
}

/// Why a step has no way back.
fn one_way(step: &Transform) -> Option<&'static str> {
    match step {
        Transform::Constant(_) => Some("a constant comes from nowhere"),
        Transform::Date => Some("a date does not tell the time"),
        Transform::Lookup(table) => {
            let mut values: Vec<&String> = table.values().collect();
            values.sort();
            values
                .windows(2)
                .any(|pair| pair[0] == pair[1])
                .then_some("two entries of the table lead to the same value")
        }
        _ => None,
    }
}

/// What was expected instead of a zone that does not exist.
pub(super) fn zone_exists(zone: &str) -> Result<(), String> {
    if TimeZone::get(zone).is_ok() {
        return Ok(());
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    Err(match nearest(zone, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "expected an IANA name such as `Europe/Berlin`".into(),
    })
}

fn scope(
    raw: &PerSide<std::collections::BTreeMap<String, OneOrMany<Scalar>>>,
    side: Side,
) -> pairwise_plugin_api::ops::Scope {
    let value = |value: &OneOrMany<Scalar>| match value {
        OneOrMany::One(value) => Value::from(value.clone()),
        OneOrMany::Many(list) => Value::List(list.iter().cloned().map(Value::from).collect()),
    };
    let selectors = raw.get(side).into_iter().flatten().filter(|(selector, _)| *selector != JOIN);
    selectors.map(|(selector, raw)| (selector.clone(), value(raw))).collect()
}

fn removal(raw: &PerSide<raw::Removed>, side: Side) -> RemovalPolicy {
    let raw = raw.get(side).cloned().unwrap_or_default();
    RemovalPolicy {
        deleted: raw.deleted.unwrap_or(Removal::Keep),
        left_scope: raw.left_scope.unwrap_or(Removal::Keep),
        beats_edit: raw.beats_edit.unwrap_or(false),
    }
}

fn guard(raw: &raw::Guard, host: &raw::Guard) -> GuardPolicy {
    let identity = if raw.identity.fields.is_empty() { &host.identity.fields } else { &raw.identity.fields };
    GuardPolicy {
        removals_share: raw.removals.share.or(host.removals.share).unwrap_or(REMOVALS_SHARE),
        removals_above: raw.removals.above.or(host.removals.above).unwrap_or(REMOVALS_ABOVE),
        removals_count: raw.removals.count.or(host.removals.count),
        identity: identity.iter().map(|name| Name::from(name.as_str())).collect(),
    }
}
