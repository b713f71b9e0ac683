//! Turns the outcomes of a case into its settlement: link, shadows, intents and announcements change together or not at all.

use pairwise_plugin_api::{Action, Fields, Name, Outcome, Reason, Record, Status, Value};

use super::decide::Case;
use super::existing::{Whose, bears_our_key};
use super::pull::{announce, gone};
use super::reconcile::{Fate, Told};
use super::recover::source;
use super::{Lane, Stop};
use crate::model::value::same;
use crate::model::{Aside, End, Guard, Intent, Link, LinkChange, News, Settlement, Side, Sides, Staged};

/// What an outcome means for its case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Done; the link knows.
    Done,
    /// Certainly not done, or to be decided again: the announcements stay.
    Again,
    /// Never to be done: the record is set aside.
    Refused,
    /// Nobody knows: the intent stays open.
    Open,
}

impl Lane<'_> {
    /// The settlement of a case whose writes were answered.
    pub(super) fn commit(&mut self, mut case: Case, parts: Vec<(Intent, Outcome)>) -> Result<Settlement, Stop> {
        let mut settlement = Settlement::default();
        let mut link = case.judgement.link.take();
        let mut worst = if case.untranslatable.is_empty() { Part::Done } else { Part::Refused };
        settlement.aside.append(&mut case.untranslatable);
        let wrote = !parts.is_empty();
        let halves = parts.len() > 1 || worst != Part::Done;
        let mut overwritten = Vec::new();
        for (mut intent, outcome) in parts {
            // A new link got its row number when the intent was written down.
            link.id = intent.link.id;
            let side = intent.side;
            if outcome.status == Status::Applied
                && halves
                && let Told::Here(seen) = &case.looked.told[side]
            {
                let record = self.after_write(&seen.record, &intent, &outcome);
                overwritten.push(announce(self, side, record, false, false));
            }
            let part = self.absorb(&mut intent, outcome, &mut link, &mut settlement)?;
            if part == Part::Again && link.ends[side].is_none() && case.looked.rows[side.other()].is_none() {
                // The removal that it answered belongs to no link any more, and nothing else tells that it is to be made.
                settlement.revisit.extend(source(&intent));
            }
            if part == Part::Open {
                self.report.side(intent.side).failed += 1;
                self.open.insert(intent.id);
            } else {
                settlement.closed.push(intent.id);
            }
            if part == Part::Done {
                self.count(&intent, case.judgement.fate);
                let (told, rest): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut case.items).into_iter().partition(|item| item.side == intent.side);
                case.items = rest;
                told.into_iter().for_each(|item| self.tell(item));
            }
            worst = match (worst, part) {
                (Part::Open, _) | (_, Part::Open) => Part::Open,
                (Part::Refused, _) | (_, Part::Refused) => Part::Refused,
                (Part::Again, _) | (_, Part::Again) => Part::Again,
                _ => Part::Done,
            };
        }
        if !wrote {
            self.count_unlinked(&case);
            std::mem::take(&mut case.items).into_iter().for_each(|item| self.tell(item));
        }
        if worst == Part::Open {
            self.blocked.insert(link.id);
        }
        if worst != Part::Done {
            self.expect_as_before(&case, &mut link);
        }
        let new = case.looked.link.is_none();
        settlement.link = match worst {
            Part::Done if case.judgement.fate == Fate::Ends => LinkChange::Retire(link.id),
            Part::Again | Part::Refused if new && link.ends[link.born.other()].is_none() => LinkChange::Retire(link.id),
            Part::Again | Part::Refused | Part::Open if case.judgement.fate == Fate::Ends => LinkChange::Keep,
            _ => LinkChange::Put(Box::new(link)),
        };
        if settlement.link == LinkChange::Retire(0) {
            settlement.link = LinkChange::Keep;
        }
        match worst {
            Part::Done => settlement.settled = case.looked.ids(),
            Part::Refused => {
                if !self.guards(Guard::OneRecord) {
                    return Err(self.contract(Side::Left, "a record was refused".to_owned()));
                }
                let first = settlement.aside.first();
                let (code, text) = first.map(|aside| (aside.code.clone(), aside.text.clone())).unwrap_or_default();
                self.give_up(&case, &code, &text, &mut settlement);
            }
            Part::Again | Part::Open => {
                self.again = true;
                let may_give_up = worst == Part::Again && settlement.link != LinkChange::Keep;
                self.defer(&case, may_give_up, &mut settlement);
                if settlement.aside.is_empty() && !overwritten.is_empty() && self.guards(Guard::ToldAgain) {
                    // What a side told of itself was before what we wrote to it.
                    settlement.announce.append(&mut overwritten);
                }
            }
        }
        if !settlement.aside.is_empty() {
            date(&case, &overwritten, &mut settlement.aside);
        }
        if worst == Part::Done {
            self.note_conflicts(&case, &mut settlement);
            self.announce_reuse(&case, &mut settlement);
        }
        Ok(settlement)
    }

    /// A record that had told something itself, as it is after a write of ours: the time of its change stays that of the person.
    /// Not every answer tells the record; what was asked for stands there then.
    fn after_write(&self, record: &Record, intent: &Intent, outcome: &Outcome) -> Record {
        let mut record = record.clone();
        let written = self.map.translate_out(intent.side, &intent.asked, false).unwrap_or_default();
        let taken = written.iter().filter(|(name, _)| !outcome.refused_fields.contains(name));
        for (name, value) in taken.chain(outcome.record.iter().flat_map(|stored| stored.fields.iter())) {
            record.fields.set(name.clone(), value.clone());
        }
        let version = outcome.record.as_ref().and_then(|stored| stored.version.clone());
        Record { version: version.or(record.version), ..record }
    }

    /// Takes one outcome into the link.
    fn absorb(
        &mut self,
        intent: &mut Intent,
        outcome: Outcome,
        link: &mut Link,
        settlement: &mut Settlement,
    ) -> Result<Part, Stop> {
        let side = intent.side;
        let action = intent.write.action;
        if !matches!(outcome.status, Status::NotSent | Status::Throttled | Status::Auth) {
            self.done_after_all(side, &intent.inbox);
        }
        Ok(match (outcome.status, action) {
            (Status::Applied, Action::Create | Action::Update) => {
                for field in &outcome.refused_fields {
                    *self.unwritable.entry((side, field.clone())).or_default() += 1;
                }
                self.settle_told(intent, outcome, link, settlement);
                Part::Done
            }
            (Status::Applied, _) | (Status::Gone, Action::Delete | Action::Trash | Action::Exclude) => Part::Done,
            (Status::Exists, _) => {
                let ours = bears_our_key(&intent.write, &outcome);
                // What stood there before is gone, and is made again: whoever bears its UID now is another record, as
                // everywhere else where one goes and another comes.
                let whose = Whose::of(ours, intent.again);
                return self.settle_existing(intent, (outcome, whose), link, settlement);
            }
            (Status::Gone, _) => {
                settlement.announce.push(gone(side, intent.write.at.clone(), Reason::Deleted));
                self.again = true;
                Part::Again
            }
            (Status::Conflict, _) => {
                if let Some(current) = outcome.record {
                    let current = self.unless_edited(intent, current);
                    settlement.announce.push(announce(self, side, current, false, false));
                }
                Part::Again
            }
            (Status::Refused, _) => {
                self.set_aside(intent, &outcome.code, outcome.text, settlement);
                Part::Refused
            }
            (Status::NotSent | Status::Throttled | Status::Auth, _) => {
                self.not_done(side, &intent.inbox, outcome.text);
                Part::Again
            }
            (Status::Unknown, _) => Part::Open,
        })
    }

    /// The remote confirms the write and tells what it holds now. What of it the other side does not know yet is announced; so is
    /// what somebody has typed beside it: the link expects this version from now on, and nobody else would tell.
    pub(super) fn settle_told(
        &mut self,
        intent: &mut Intent,
        outcome: Outcome,
        link: &mut Link,
        settlement: &mut Settlement,
    ) {
        let was_there = outcome.record.as_ref().filter(|_| outcome.status == Status::Exists);
        let edited = was_there.is_some_and(|record| self.holds_more(intent, record));
        let told =
            outcome.record.clone().map(|record| if edited { record } else { self.unless_edited(intent, record) });
        self.settle_write(intent, &outcome, link);
        if let Some(record) = told.filter(|record| edited || self.tells_more(intent.side, record, link)) {
            settlement.announce.push(announce(self, intent.side, record, false, false));
            self.again = true;
        }
    }

    /// A record that a write of ours met or left. If each of its values is the one before or the one that we asked for, nobody
    /// else has edited it, and it must not win as the latest over what we mean to write to it. Nor has anybody edited one that
    /// we have just made: it is no later than the record that it was made of.
    pub(super) fn unless_edited(&self, intent: &Intent, record: Record) -> Record {
        let Some((modified, before)) = &intent.before else { return record };
        if intent.write.action == Action::Create {
            return Record { modified: *modified, ..record };
        }
        let Ok(now) = self.map.translate_in(intent.side, &record) else { return record };
        let known = |path: &Name, now: &Value| {
            let same = |value: &Value| self.map.row(path).is_none_or(|row| same(row.compare, now, value));
            [before, &intent.asked].into_iter().any(|values| values.get(path).is_some_and(same))
        };
        let is_edited = !now.iter().all(|(path, now)| known(path, now));
        Record {
            modified: if is_edited || !self.guards(Guard::OwnWrite) { record.modified } else { *modified },
            ..record
        }
    }

    /// The remote confirms the write. The shadow of each row is the remote's spelling where it equals what we asked for, else
    /// what we asked for: then the difference shows as a change of that side, and nothing is lost.
    pub(super) fn settle_write(&self, intent: &mut Intent, outcome: &Outcome, link: &mut Link) {
        let (side, other) = (intent.side, intent.side.other());
        let stored =
            outcome.record.as_ref().and_then(|record| self.map.translate_in(side, record).ok()).unwrap_or_default();
        let asked = std::mem::take(&mut intent.asked);
        let as_asked = stored.is_empty() && outcome.refused_fields.is_empty();
        let mut kept = if as_asked { asked.clone() } else { Fields::within(asked.outline()) };
        for (path, asked) in asked.iter().filter(|_| !as_asked) {
            let stored = stored.get(path);
            if self.is_refused(side, path, outcome) {
                // It stands there as it stood: that is no edit of that side, and is not tried again.
                let stands = stored.or_else(|| link.shadows[side].get(path)).cloned().unwrap_or_default();
                kept.put(path, stands);
                continue;
            }
            let same_value = |stored: &&Value| self.map.row(path).is_some_and(|row| same(row.compare, stored, asked));
            kept.put(path, stored.filter(same_value).unwrap_or(asked).clone());
        }
        link.shadows[side].extend(kept);
        link.shadows[other].extend(asked);
        if let Some(record) = &outcome.record {
            let before = link.ends[side].take();
            link.ends[side] = Some(merged_end(before, record));
        }
        if intent.write.action == Action::Create
            && let Some((end, unsent)) = intent.source.take()
        {
            link.ends[other] = Some(end);
            self.note_unsent(link, side, unsent);
        }
    }

    fn is_refused(&self, side: Side, path: &str, outcome: &Outcome) -> bool {
        let native = || self.map.native(side, path);
        !outcome.refused_fields.is_empty() && native().is_some_and(|name| outcome.refused_fields.contains(&name))
    }

    /// Whether a record that we wrote holds what the other side is to hear of: values that only its own side sets, as the name
    /// of the account that it was given, and what its server made of ours.
    fn tells_more(&self, side: Side, record: &Record, link: &Link) -> bool {
        let other = side.other();
        // What a record does not carry of an open family counts as empty, so that it must be whole.
        if !self.spec.update[other] || self.map.rows().iter().any(super::translate::Row::is_family) {
            return false;
        }
        let Ok(values) = self.map.translate_in(side, record) else { return false };
        values.iter().any(|(path, value)| {
            self.map.row(path).filter(|row| row.reaches(other, false)).is_some_and(|row| {
                if row.direction.reaches(side) {
                    // What was never settled waits for a decision, and is no news.
                    return link.shadows[side].get(path).is_some_and(|known| !same(row.compare, value, known));
                }
                !same(row.compare, value, link.shadows[other].get(path).unwrap_or(&Value::Null))
            })
        })
    }

    /// After a create, a row that did not travel is known on the source and stands empty on the new side.
    fn note_unsent(&self, link: &mut Link, side: Side, unsent: Fields) {
        let writable = |path: &Name| self.map.row(path).is_some_and(|row| row.writable[side]);
        let mut empty = Fields::within(unsent.outline());
        for (path, _) in unsent.iter().filter(|(path, _)| writable(path)) {
            empty.put(path, Value::Null);
        }
        link.shadows[side].extend(empty);
        link.shadows[side.other()].extend(unsent);
    }

    pub(super) fn set_aside(&mut self, intent: &Intent, code: &str, text: String, settlement: &mut Settlement) {
        let side = intent.side.other();
        let end = intent.source.as_ref().map(|(end, _)| end.clone()).unwrap_or_default();
        // A removal has no source any more: the record that could not be removed is set aside.
        let (side, end) = match intent.write.action {
            Action::Delete | Action::Trash | Action::Exclude => {
                (intent.side, intent.link.ends[intent.side].clone().unwrap_or_default())
            }
            _ => (side, end),
        };
        let text = format!("the {} refused it: {text}", intent.side);
        let aside = Aside::of(side, end.at, end.version, code, text);
        self.tell_aside(&aside);
        settlement.aside.push(aside);
    }

    /// The announcements stay; records that fail again and again are set aside in the end.
    fn defer(&mut self, case: &Case, may_give_up: bool, settlement: &mut Settlement) {
        let rows = &case.looked.rows;
        let attempts = rows.iter().filter_map(|(_, row)| Some(row.as_ref()?.attempts + 1)).max().unwrap_or_default();
        if attempts < self.spec.attempts || !may_give_up || !self.guards(Guard::Attempts) {
            settlement.deferred = case.looked.ids();
            return;
        }
        let text = format!("{attempts} attempts failed; `pairwise quarantine retry` tries again");
        self.give_up(case, "keeps_failing", &text, settlement);
    }

    /// The link goes on expecting the versions of its records that it knew before: what they have told since, by themselves or
    /// because they were asked, was not carried over, and must not be overwritten as if it had been. One that slept sleeps on:
    /// what was edited meanwhile is asked for when it wakes. One that was to fall asleep is awake.
    fn expect_as_before(&self, case: &Case, link: &mut Link) {
        let Some(before) = &case.looked.link else { return };
        let at = |link: &Link| Sides::from_fn(|side| link.ends[side].as_ref().map(|end| end.at.clone()));
        if at(before) == at(link) {
            link.state = before.state;
        }
        for side in Side::BOTH {
            let is_told = matches!(case.looked.told[side], Told::Here(_));
            if let (Some(end), Some(before)) = (&mut link.ends[side], &before.ends[side])
                && before.at == end.at
                && (is_told || end.version.is_none())
                && self.guards(Guard::OldVersion)
            {
                end.version.clone_from(&before.version);
            }
        }
    }

    /// Sets the records of a case aside. Both sides' together: of a pair, one side's news without the other's would be decided
    /// otherwise.
    fn give_up(&mut self, case: &Case, code: &str, text: &str, settlement: &mut Settlement) {
        for side in Side::BOTH {
            let Some(row) = &case.looked.rows[side] else { continue };
            let Told::Here(seen) = &case.looked.told[side] else {
                settlement.settled.push(row.id);
                continue;
            };
            if settlement.aside.iter().any(|aside| aside.side == side && aside.at == row.at) {
                continue;
            }
            let aside = Aside {
                label: case.label.clone(),
                ..Aside::of(side, row.at.clone(), seen.record.version.clone(), code, text)
            };
            self.tell_aside(&aside);
            settlement.aside.push(aside);
        }
    }

    fn note_conflicts(&mut self, case: &Case, settlement: &mut Settlement) {
        let conflicts = &case.judgement.conflicts;
        if conflicts.is_empty() && case.looked.conflicts.is_empty() {
            return;
        }
        self.report.conflicts += conflicts.len() as u64;
        for conflict in conflicts {
            self.tell(super::report::conflict_item(case, conflict));
        }
        settlement.conflicts = Some(conflicts.clone());
    }

    /// The id of a link's record is another record's now: that one is announced as a newcomer.
    fn announce_reuse(&mut self, case: &Case, settlement: &mut Settlement) {
        for side in Side::BOTH.into_iter().filter(|side| case.reused[*side]) {
            if let Told::Here(seen) = &case.looked.told[side] {
                settlement.announce.push(announce(self, side, seen.record.clone(), true, false));
                self.again = true;
            }
        }
    }

    fn count(&mut self, intent: &Intent, fate: Fate) {
        self.wrote[intent.side] = true;
        let counts = self.report.side(intent.side);
        match intent.write.action {
            Action::Create => counts.created += 1,
            // A link that ends with an update: its record was moved away.
            Action::Update if fate == Fate::Stays => counts.updated += 1,
            _ => counts.deleted += 1,
        }
    }

    fn count_unlinked(&mut self, case: &Case) {
        if case.judgement.fate == Fate::Ends && case.looked.link.is_some() {
            for side in Side::BOTH {
                if !matches!(case.looked.told[side], Told::Gone(_)) {
                    self.report.side(side).unlinked += 1;
                }
            }
        }
    }
}

/// When what is set aside was changed last, as it was told: a read of it would take a write of ours for an edit. What a write of
/// ours was done to is set aside as that write has left it.
fn date(case: &Case, overwritten: &[Staged], asides: &mut [Aside]) {
    for aside in asides {
        let left = overwritten.iter().find(|told| (told.side, &told.at) == (aside.side, &aside.at));
        let record = match (left.map(|told| &told.news), &case.looked.told[aside.side]) {
            (Some(News::Here(record)), _) => record,
            (_, Told::Here(seen)) if seen.record.at == aside.at => &seen.record,
            _ => continue,
        };
        aside.version.clone_from(&record.version);
        aside.modified = record.modified;
    }
}

/// The end after a write: what the answer does not tell stays as it was.
fn merged_end(before: Option<End>, record: &Record) -> End {
    let now = End::of(record);
    match before {
        Some(before) if before.at == now.at => End {
            incarnation: now.incarnation.or(before.incarnation),
            container: now.container.or(before.container),
            ..now
        },
        _ => now,
    }
}
