//! Judges what happened, from what people typed and saw. Of the host's own state it looks at history, inbox and intents only.
//!
//! Each value that a person types is typed once, so that it can be followed. `seen` marks a value that a person has replaced or
//! deleted while it stood before him: it may go. Everything else must stand somewhere, or be in history.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pairwise_host::model::{Direction, Item, Per, Removal, Repair, Side, Sides, Winner};
use pairwise_plugin_api::{Action, Fields, Record};

use super::script::Setting;
use super::system::{Effect, FIELDS, Human, is_private, owner, plain, whose};

/// Two times that are further apart than this are told apart by systems that tell whole seconds.
const APART_MS: i64 = 3_000;

/// What is broken: the property's name, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// For instance `P1`.
    pub property: &'static str,
    /// What was found.
    pub found: String,
}

/// A value that somebody typed.
#[derive(Debug, Clone)]
struct Typed {
    who: Human,
    field: usize,
    side: Side,
    /// When, by a clock that is always right.
    at: i64,
    /// Into a new record.
    first: bool,
    seen: bool,
    /// Typed into a record that a filter keeps out, and that has not come back since.
    hidden: bool,
    /// It stood, or was typed, where the other side's record was deleted by somebody who had not seen it.
    beats: bool,
}

/// How far judgement goes: what the profile says, and what was done to the state.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Whose values travel, where only one side's do.
    pub source: Option<Side>,
    /// A target of a one-way stream is put right in each run.
    pub repairs: bool,
    /// A side wins whole records.
    pub whole_records: bool,
    /// Fields whose values do not travel both ways.
    pub one_way: BTreeSet<usize>,
    /// Who wins each field, and a first match.
    pub winners: Vec<Winner>,
    /// See `winners`.
    pub first: Option<Winner>,
    /// All clocks go right, and records are stamped by people and hosts only.
    pub true_times: bool,
    /// What a deletion on a side does to the other side.
    pub removals: Sides<Option<Removal>>,
    /// Humans of whom a record is not kept in step now.
    pub apart: BTreeSet<Human>,
    /// Records that stand outside of the folder that is kept in step.
    pub outside: Sides<BTreeSet<String>>,
    /// What leaves a side without being deleted is deleted on the other side.
    pub parts_for_good: bool,
    /// A deletion also wins over an edit that nobody has seen.
    pub beats_edit: bool,
    /// Fields that are out of the map, or were for a while.
    pub remapped: BTreeSet<usize>,
    /// Sides on which a deletion does nothing to the other side.
    pub keeps: Sides<bool>,
    /// Sides that cannot say for certain that a record is gone.
    pub doubtful: Sides<bool>,
    /// An older state was put back.
    pub restored: bool,
    /// A system does not always tell in time that a record is gone.
    pub silent: bool,
}

impl Scope {
    /// What a setting says.
    #[must_use]
    pub fn of(setting: &Setting) -> Scope {
        let rows = setting.rows.iter().filter(|row| row.direction != Direction::Both);
        Scope {
            source: match setting.direction {
                Direction::LeftToRight => Some(Side::Left),
                Direction::RightToLeft => Some(Side::Right),
                _ => None,
            },
            repairs: setting.repair == Repair::EveryRun,
            whole_records: setting.per == Per::Record,
            one_way: rows.map(|row| row.field).collect(),
            winners: (0..FIELDS.len()).map(|field| setting.winner_of(field)).collect(),
            first: Some(setting.matching.unwrap_or(setting.winner)),
            true_times: setting.skew.iter().all(|(_, ahead)| *ahead == 0),
            removals: Sides { left: Some(setting.deleted.0), right: Some(setting.deleted.1) },
            beats_edit: setting.beats_edit,
            parts_for_good: setting.parted != (Removal::Keep, Removal::Keep),
            remapped: setting.rows.iter().filter(|row| row.direction == Direction::None).map(|row| row.field).collect(),
            keeps: Sides { left: setting.deleted.0 == Removal::Keep, right: setting.deleted.1 == Removal::Keep },
            doubtful: Sides::from_fn(|side| !setting.abilities[side].authoritative_get),
            silent: setting.abilities.iter().any(|(_, abilities)| !abilities.tombstones),
            ..Scope::default()
        }
    }
}

impl Scope {
    /// Whether a removal on this side may be doubted for ever: of a system that cannot say for certain that a record is gone,
    /// the last one is never believed to be. Of a target that is not read, only the records that are kept in step are known.
    #[must_use]
    pub fn doubts_the_last(&self, side: Side, records: &Sides<Vec<Record>>) -> bool {
        let is_read = self.source.is_none_or(|source| source == side);
        let others: Vec<_> = records[side.other()].iter().map(|record| owner(&record.fields)).collect();
        let inside = records[side].iter().filter(|record| !self.outside[side].contains(&record.at.id));
        let known = inside.filter(|record| is_read || others.contains(&owner(&record.fields)));
        self.doubtful[side] && known.count() < 2
    }
}

/// What people did, and what is wrong so far.
#[derive(Debug, Default)]
pub struct Oracle {
    typed: HashMap<String, Typed>,
    serial: u32,
    /// Humans whose record somebody deleted, on either side.
    deleted: BTreeSet<Human>,
    /// On which sides.
    deletions: BTreeMap<Human, Vec<Side>>,
    /// Humans of whom a record has left without being deleted, or has come back.
    parted: BTreeSet<Human>,
    /// When a person touched a human's record on a side last.
    touched: BTreeMap<(Human, Side), i64>,
    /// Humans who stay on one side, because a person said so.
    kept: BTreeSet<Human>,
    /// Humans and fields that somebody emptied, or about which a person decided.
    unjudged: BTreeSet<(Human, usize)>,
    /// Humans and fields that a host wrote without learning or keeping what became of it, while nobody knows which of two
    /// values came first.
    doubtful: BTreeSet<(Human, usize)>,
    /// Humans of whom a host made a record without learning so: whoever deletes it before that deletes what is made again.
    unlearnt: BTreeSet<Human>,
    /// Those of them in whose system, on this side, only what a record holds tells that it is ours: one that was edited since may
    /// be tied like at a first match, by whose policy what was typed there may lose.
    guessed: BTreeSet<(Human, Side)>,
    /// What is wrong.
    pub broken: Vec<Broken>,
}

impl Oracle {
    /// A new value for a field of somebody: never typed before.
    pub fn value(
        &mut self,
        (side, who, field): (Side, Human, usize),
        (at, first): (i64, bool),
        spaced: bool,
    ) -> String {
        self.serial += 1;
        let text = if field == super::system::ADDRESS {
            format!("h{who}.n{}@example.org", self.serial)
        } else {
            format!("h{who} n{}{}", self.serial, if spaced { " " } else { "" })
        };
        let beats = self.deletions.get(&who).is_some_and(|sides| sides.contains(&side.other()));
        self.typed.insert(plain(&text), Typed { who, field, side, at, first, seen: false, hidden: false, beats });
        self.touched.insert((who, side), at);
        text
    }

    /// A person replaces what stands in a field.
    pub fn replaced(&mut self, record: &Record, field: usize) {
        if let Some(text) = record.fields.text(FIELDS[field]) {
            self.see(text);
        }
    }

    /// The same, of a record that nobody has sent yet.
    pub fn replaced_in(&mut self, fields: &Fields, field: usize) {
        if let Some(text) = fields.text(FIELDS[field]) {
            self.see(text);
        }
    }

    /// A value was typed into a record that a filter keeps out.
    pub fn hide(&mut self, value: &str) {
        if let Some(typed) = self.typed.get_mut(&plain(value)) {
            typed.hidden = true;
        }
    }

    /// A person empties a field.
    pub fn emptied(&mut self, (side, who, field): (Side, Human, usize), at: i64) {
        self.touched.insert((who, side), at);
        self.unjudge(who, field);
    }

    /// A person takes a record out of what is kept in step, or puts it back.
    pub fn parts(&mut self, side: Side, who: Human, at: i64) {
        self.touched.insert((who, side), at);
        self.parted.insert(who);
        let all = self.typed.values_mut().filter(|typed| (typed.who, typed.side) == (who, side));
        all.for_each(|typed| typed.hidden = false);
    }

    /// A person decides about a field.
    pub fn unjudge(&mut self, who: Human, field: usize) {
        self.unjudged.insert((who, field));
    }

    /// A person says that what is gone on one side stays on the other.
    pub fn keep(&mut self, people: impl Iterator<Item = Human>) {
        self.kept.extend(people);
    }

    /// What became of a write to these fields was never learnt.
    pub fn doubt(&mut self, effect: &Effect) {
        let fields = FIELDS.iter().enumerate().filter(|(_, name)| effect.asked.get(name).is_some());
        self.doubtful.extend(fields.filter_map(|(field, _)| Some((effect.who?, field))));
    }

    /// That a record was made was never learnt.
    pub fn never_learnt(&mut self, effect: &Effect) {
        self.unlearnt.extend(effect.who);
    }

    /// Whether that was so at any time.
    #[must_use]
    pub fn was_unlearnt(&self, who: Human) -> bool {
        self.unlearnt.contains(&who)
    }

    /// The same, where nothing but what the record holds tells that it is ours.
    pub fn guessed(&mut self, side: Side, effect: &Effect) {
        self.guessed.extend(effect.who.map(|who| (who, side)));
    }

    /// A person deletes a record. `others` are the records of the same human on the other side.
    pub fn deleted(&mut self, side: Side, record: &Record, others: &[Record]) {
        for text in texts(&record.fields) {
            self.see(text);
        }
        for text in others.iter().flat_map(|other| texts(&other.fields)) {
            if let Some(typed) = self.typed.get_mut(&plain(text)) {
                typed.beats |= !typed.seen;
            }
        }
        if let Some(who) = owner(&record.fields) {
            self.deleted.insert(who);
            self.deletions.entry(who).or_default().push(side);
        }
    }

    /// Whether anybody deleted a record of this human.
    #[must_use]
    pub fn was_deleted(&self, who: Human) -> bool {
        self.deleted.contains(&who)
    }

    /// Whether records of this person are to go elsewhere, too: deleted, or outside of what is kept in step where that removes them.
    pub fn is_to_go(&self, who: Human, scope: &Scope) -> bool {
        self.was_deleted(who) || scope.parts_for_good && self.parted.contains(&who)
    }

    fn see(&mut self, text: &str) {
        if let Some(typed) = self.typed.get_mut(&plain(text)) {
            typed.seen = true;
        }
    }

    fn fail(&mut self, property: &'static str, found: String) {
        self.broken.push(Broken { property, found });
    }

    /// A host has written. `others` are the records of the same human on the other side, `twins` on this side, as they are.
    pub fn written(&mut self, side: Side, effect: &Effect, others: &[Record], twins: &[Record]) {
        let Effect { action, id, who, before, asked } = effect;
        for text in asked.iter().filter_map(|(_, value)| value.as_text()) {
            if let (Some(written), Some(who)) = (whose(text), who)
                && written != *who
            {
                self.fail("P12", format!("`{text}` was written to {id}, which is the record of h{who}"));
            }
            let hidden = self.typed.get(&plain(text)).is_some_and(|typed| typed.hidden && typed.side != side);
            if hidden && others.iter().any(is_private) {
                self.fail("P21", format!("`{text}` was written to {id}, and its filter keeps it out"));
            }
        }
        match action {
            Action::Update => {
                for (name, value) in asked.iter() {
                    let stood = before.as_ref().and_then(|fields| fields.text(name)).unwrap_or_default();
                    let new = value.as_text().unwrap_or_default();
                    if let Some(typed) = self.typed.get_mut(&plain(stood)) {
                        // It lost against another value, and not against a deletion.
                        typed.beats = false;
                    }
                    if stood != new && plain(stood) == plain(new) {
                        self.fail(
                            "P4",
                            format!("{name} of {id} on the {side} stood as {stood:?}, {new:?} was written"),
                        );
                    }
                }
            }
            // Whom somebody has deleted may stand under another id for a moment.
            Action::Delete | Action::Trash
                if twins.is_empty() && who.is_none_or(|who| !self.was_deleted(who) && !self.parted.contains(&who)) =>
            {
                for other in others.iter().map(|other| &other.at.id) {
                    self.fail("P11", format!("{id} on the {side} was deleted, but {other} on the other side lives"));
                }
            }
            _ => {}
        }
    }

    /// A plan, and what the run behind it did.
    pub fn judge_plan(&mut self, planned: &[Item], done: &[Item]) {
        let more = |some: &[Item], others: &[Item]| -> Vec<Item> {
            let mut others: Vec<&Item> = others.iter().collect();
            let is_missing = |item: &&Item| match others.iter().position(|other| other.same_as(item)) {
                Some(place) => {
                    others.swap_remove(place);
                    false
                }
                None => true,
            };
            some.iter().filter(is_missing).cloned().collect()
        };
        let told = |item: &Item| {
            let fields: Vec<_> = item.fields.iter().map(|field| format!("{}={:?}", field.path, field.new)).collect();
            format!(
                "{:?} on the {} of {:?} for {:?} ({})",
                item.op,
                item.side,
                item.id,
                item.other_id,
                fields.join(" ")
            )
        };
        for item in more(planned, done) {
            self.fail("P20", format!("planned and not done: {}", told(&item)));
        }
        for item in more(done, planned) {
            self.fail("P20", format!("done and not planned: {}", told(&item)));
        }
    }

    /// The end: `records` is what stands, `history` all values that lost.
    pub fn judge_values(&mut self, records: &Sides<Vec<Record>>, history: &BTreeSet<String>, scope: &Scope) {
        let mut standing: BTreeMap<String, Sides<bool>> = BTreeMap::new();
        for side in Side::BOTH {
            for text in records[side].iter().flat_map(|record| texts(&record.fields)) {
                standing.entry(plain(text)).or_default()[side] = true;
            }
        }
        let last = Side::BOTH.into_iter().any(|side| scope.doubts_the_last(side, records));
        let mut wrong = Vec::new();
        let mut unseen: BTreeMap<(Human, usize), Vec<(&String, &Typed)>> = BTreeMap::new();
        for (value, typed) in &self.typed {
            if typed.seen {
                continue;
            }
            unseen.entry((typed.who, typed.field)).or_default().push((value, typed));
            // What a map leaves out goes with its record.
            let unmapped = scope.remapped.contains(&typed.field) && self.is_to_go(typed.who, scope);
            if !standing.contains_key(value) && !history.contains(value) && !unmapped {
                let Typed { who, field, side, .. } = typed;
                wrong
                    .push(("P1", format!("`{value}`, typed into {} of h{who} on the {side}, is gone", FIELDS[*field])));
            }
        }
        for ((who, field), values) in unseen {
            let whole = scope.whole_records || scope.restored || scope.source.is_some();
            let field_is_judged = !scope.one_way.contains(&field) && !scope.remapped.contains(&field);
            let parted = scope.apart.contains(&who) || scope.parts_for_good && self.parted.contains(&who);
            let judged = !whole
                && !parted
                && !last
                && field_is_judged
                && !self.deleted.contains(&who)
                && !self.unjudged.contains(&(who, field))
                && !self.doubtful.contains(&(who, field));
            if let ([(value, typed)], true) = (values.as_slice(), judged)
                && !self.guessed.contains(&(who, typed.side))
                && standing.get(*value).is_none_or(|sides| !(sides.left && sides.right))
            {
                let text = format!(
                    "`{value}`, typed into {} of h{who} on the {}, was contradicted by nobody, and stands on {:?}",
                    FIELDS[field],
                    typed.side,
                    standing.get(*value)
                );
                wrong.push(("P7", text));
            }
            if let ([one, other], true) = (values.as_slice(), judged)
                && let Some((value, typed)) = self.winner(scope, one, other)
                && standing.get(value).is_none_or(|sides| !(sides.left && sides.right))
            {
                let text = format!(
                    "`{value}`, typed into {} of h{who} on the {}, wins by the policy, and stands on {:?}",
                    FIELDS[field],
                    typed.side,
                    standing.get(value)
                );
                wrong.push(("P7", text));
            }
        }
        wrong.extend(self.judge_deletions(records, scope));
        wrong.sort();
        wrong.into_iter().for_each(|(property, found)| self.fail(property, found));
    }

    /// Which of two values that nobody has seen wins, where the policy says so without a person.
    fn winner<'t>(
        &self,
        scope: &Scope,
        one: &(&'t String, &'t Typed),
        other: &(&'t String, &'t Typed),
    ) -> Option<(&'t String, &'t Typed)> {
        let (left, right) = match (one.1.side, other.1.side) {
            (Side::Left, Side::Right) => (*one, *other),
            (Side::Right, Side::Left) => (*other, *one),
            _ => return None,
        };
        let made = |side: Side| {
            self.typed.values().any(|typed| (typed.who, typed.side, typed.first) == (one.1.who, side, true))
        };
        let policy = scope.winners[left.1.field];
        // Of somebody who was made on both sides, it is not known which values met at the first match.
        let guessed = Side::BOTH.into_iter().any(|side| self.guessed.contains(&(one.1.who, side)));
        let met = made(Side::Left) && made(Side::Right) || guessed;
        if met && (scope.first != Some(policy) || !scope.remapped.is_empty()) {
            return None;
        }
        // A record has one time for all its fields.
        let newest = |typed: &Typed| self.touched.get(&(typed.who, typed.side)) == Some(&typed.at);
        let timely = scope.true_times && newest(left.1) && newest(right.1);
        match policy {
            Winner::Left => Some(left),
            Winner::Right => Some(right),
            Winner::Latest if timely && left.1.at - right.1.at > APART_MS => Some(left),
            Winner::Latest if timely && right.1.at - left.1.at > APART_MS => Some(right),
            _ => None,
        }
    }

    /// A deletion that nobody contradicted stays, and an edit that nobody had seen beats it.
    fn judge_deletions(&self, records: &Sides<Vec<Record>>, scope: &Scope) -> Vec<(&'static str, String)> {
        let held = scope.first == Some(Winner::Hold) || scope.winners.contains(&Winner::Hold);
        if held || scope.restored || scope.silent || scope.source.is_some() || scope.beats_edit {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        for (who, sides) in &self.deletions {
            let [side] = sides.as_slice() else { continue };
            let travels =
                |typed: &Typed| !scope.one_way.contains(&typed.field) && !scope.remapped.contains(&typed.field);
            let unseen: Vec<_> = self.typed.iter().filter(|(_, typed)| typed.who == *who && !typed.seen).collect();
            let doubtful = self.doubtful.iter().any(|(human, _)| human == who)
                || self.unjudged.iter().any(|(human, _)| human == who)
                || self.kept.contains(who)
                || self.parted.contains(who)
                || self.unlearnt.contains(who)
                || Side::BOTH.into_iter().any(|side| scope.doubts_the_last(side, records));
            if doubtful || !matches!(scope.removals[*side], Some(Removal::Delete | Removal::Trash)) {
                continue;
            }
            let stands = Sides::from_fn(|side| records[side].iter().any(|record| owner(&record.fields) == Some(*who)));
            let edit = unseen.iter().find(|(_, typed)| typed.beats && travels(typed));
            match edit {
                Some((value, _)) if !(stands.left && stands.right) => wrong.push((
                    "P6",
                    format!("h{who} was deleted on the {side}, and `{value}`, unseen, did not beat that: {stands:?}"),
                )),
                None if unseen.is_empty() && (stands.left || stands.right) => wrong.push((
                    "P6",
                    format!("h{who} was deleted on the {side}, contradicted by nobody, and stands: {stands:?}"),
                )),
                _ => {}
            }
        }
        wrong
    }

    /// The end, or a moment at which all but some humans must have come to rest: both sides hold the same people and the same
    /// values.
    pub fn judge_convergence(&mut self, records: &Sides<Vec<Record>>, scope: &Scope, but: &[Human]) -> Vec<Broken> {
        let mut people: BTreeMap<Human, Sides<Vec<&Record>>> = BTreeMap::new();
        for side in Side::BOTH {
            for record in &records[side] {
                if let Some(who) = owner(&record.fields).filter(|who| !but.contains(who)) {
                    people.entry(who).or_default()[side].push(record);
                }
            }
        }
        let mut broken = Vec::new();
        for (who, sides) in people {
            // One that is deleted before anybody has heard of it, unseen, is made once more.
            let unseen = scope.silent && self.deleted.contains(&who);
            for (side, records) in sides.iter().filter(|(_, records)| records.len() > 1 && !unseen) {
                let ids: Vec<&str> = records.iter().map(|record| record.at.id.as_str()).collect();
                let found = format!("h{who} is on the {side} as {}", ids.join(", "));
                broken.push(Broken { property: "P2", found });
            }
            // Of one that was made once more nobody knows which of its records belong together.
            let twice = unseen && sides.iter().any(|(_, records)| records.len() > 1);
            if scope.apart.contains(&who) || twice {
                continue;
            }
            if let (Some(left), Some(right)) = (sides.left.first(), sides.right.first()) {
                broken.extend(differences(who, left, right, scope));
                continue;
            }
            let missing = if sides.left.is_empty() { Side::Left } else { Side::Right };
            let deleted = self.deleted.contains(&who);
            let left = deleted && self.parted.contains(&who);
            let kept = deleted && scope.keeps[missing] || left || self.kept.contains(&who);
            // Records of a target alone are nobody's business; what is deleted there comes back when its source changes.
            let alone = scope.source.is_some_and(|source| source == missing || deleted);
            if !kept && !alone && !scope.doubts_the_last(missing, records) {
                broken.push(Broken { property: "P3", found: format!("h{who} is missing on the {missing}") });
            }
        }
        broken
    }

    /// A property that is judged elsewhere is broken.
    pub fn complain(&mut self, property: &'static str, found: String) {
        self.fail(property, found);
    }
}

fn texts(fields: &Fields) -> impl Iterator<Item = &str> {
    fields.iter().filter_map(|(_, value)| value.as_text()).filter(|text| !text.trim().is_empty())
}

fn differences(who: Human, left: &Record, right: &Record, scope: &Scope) -> Vec<Broken> {
    if scope.source.is_some() && !scope.repairs {
        return Vec::new();
    }
    let fields = FIELDS.iter().enumerate().filter(|(field, _)| !scope.one_way.contains(field));
    fields
        .filter_map(|(_, name)| {
            let text = |record: &Record| record.fields.text(name).unwrap_or_default().to_owned();
            let (a, b) = (text(left), text(right));
            let found = format!("{name} of h{who} is {a:?} on the left and {b:?} on the right");
            (plain(&a) != plain(&b)).then_some(Broken { property: "P3", found })
        })
        .collect()
}
