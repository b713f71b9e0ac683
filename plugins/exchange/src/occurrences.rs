//! Single occurrences of series on the wire: those that differ are read with their series, and written after it.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, ToSpan};
use pairwise_plugin_api::{Action, Failure, Fields, Name, Outcome, RecordRef, Result, Status, Write, overrides};

use crate::change::Change;
use crate::desk::{Desk, Folder};
use crate::event::Times;
use crate::item::{self, Read, Telling};
use crate::kind::Kind;
use crate::read::Result2;
use crate::series::field_of;
use crate::soap::Trouble;
use crate::write::{Batch, lost, sends};
use crate::xml::{Node, Writer};

/// An occurrence that is to be changed.
#[derive(Debug)]
struct Step {
    /// The write that asks for it.
    place: usize,
    /// Its original start, as overrides name it.
    key: String,
    /// The id of the occurrence.
    id: String,
    /// What it is to hold otherwise; `None` if it is not to take place.
    change: Option<Change>,
}

impl Desk<'_> {
    /// Reads the occurrences that differ from the series among these items, and adds them there.
    pub(crate) fn add_exceptions(&self, items: &mut [Result2]) -> Result<()> {
        let series = items.iter().enumerate().filter_map(|(at, read)| Some((at, read.as_ref().ok()?.as_ref()?)));
        let wanted: Vec<(usize, Timestamp, String)> = series
            .flat_map(|(at, read)| {
                let exceptions = read.series.iter().flat_map(|series| &series.exceptions);
                exceptions.map(move |(original, id)| (at, *original, id.clone()))
            })
            .collect();
        let telling = Telling::of(Kind::Event, &self.exchange.config.extended, &[]);
        for chunk in wanted.chunks(self.exchange.batch()) {
            let ids: Vec<&str> = chunk.iter().map(|(.., id)| id.as_str()).collect();
            let answer = self.read(&self.get_body(Kind::Event, &ids, &[]))?;
            for ((at, original, _), message) in chunk.iter().zip(answer.messages()) {
                let Some(Ok(Some(read))) = items.get_mut(*at) else { continue };
                let occurrence = match message.fine() {
                    Ok(message) => message.child("Items").and_then(Node::first),
                    // It went meanwhile: the series is told again.
                    Err(trouble) if trouble.is("ErrorItemNotFound") => None,
                    Err(trouble) => return Err(self.fail(&trouble)),
                };
                let told = occurrence.and_then(|node| Some((node, item::read(&telling, node, self.name())?)));
                if let Some(((node, told), series)) = told.zip(read.series.clone()) {
                    series.add(&mut read.record, *original, &told.record.fields, node);
                }
            }
        }
        Ok(())
    }

    /// Writes what the writes of a batch want of single occurrences.
    pub(crate) fn write_occurrences(&self, batch: &mut Batch<'_>) {
        let before = std::mem::take(&mut batch.before);
        let differs = |fields: &Fields| !overrides::of(fields).is_empty();
        let wanted: Vec<(usize, String)> = batch
            .done
            .iter()
            .filter(|(place, kind, ..)| {
                let known = before.get(place).is_some_and(|read| differs(&read.record.fields));
                *kind == Kind::Event && (known || differs(&batch.writes[*place].fields))
            })
            .map(|(place, _, id, _)| (*place, id.clone()))
            .collect();
        if wanted.is_empty() {
            return;
        }
        if let Err(failure) = self.occurrences(batch, &wanted, &before) {
            // The series itself is written: what became of the rest is found out by reading it again.
            for (place, _) in wanted {
                if batch.applied(place) {
                    batch.settle(place, Outcome { status: Status::Unknown, ..lost(&failure, true) });
                }
            }
        }
    }

    fn occurrences(
        &self,
        batch: &mut Batch<'_>,
        wanted: &[(usize, String)],
        before: &HashMap<usize, Read>,
    ) -> Result<()> {
        let ids: Vec<&str> = wanted.iter().map(|(_, id)| id.as_str()).collect();
        let mut steps = Vec::new();
        for ((place, _), read) in wanted.iter().zip(self.items(Kind::Event, &ids, &[])?) {
            let Ok(Some(now)) = read else {
                batch.settle(*place, Outcome::of(Status::Unknown));
                continue;
            };
            let write = &batch.writes[*place];
            // A write of occurrences alone was not compared by the server.
            let untouched = batch.done.iter().any(|(of, _, _, version)| of == place && *version == write.expect);
            if write.action == Action::Update
                && untouched
                && write.expect.is_some()
                && now.record.version != write.expect
            {
                batch.settle(*place, Outcome { record: Some(now.record), ..Outcome::of(Status::Conflict) });
                continue;
            }
            let known = before.get(place).map_or(&now.record.fields, |read| &read.record.fields);
            steps.extend(self.steps(batch, *place, &now, overrides::of(known))?);
        }
        for invite in [false, true] {
            let of = |step: &&Step| batch.writes[step.place].invite == invite;
            let (gaps, changes): (Vec<&Step>, Vec<&Step>) =
                steps.iter().filter(of).partition(|step| step.change.is_none());
            self.send_steps(batch, &gaps, |steps| gaps_body(steps, invite))?;
            self.send_steps(batch, &changes, |steps| changes_body(steps, invite))?;
        }
        Ok(())
    }

    /// What is to be done for one series, which holds `now`. `known` is where its occurrences stood when the write was decided.
    fn steps(
        &self,
        batch: &mut Batch<'_>,
        place: usize,
        now: &Read,
        known: BTreeMap<String, Fields>,
    ) -> Result<Vec<Step>> {
        let wish = &batch.writes[place];
        let mut wanted = known;
        for (key, members) in overrides::of(&wish.fields) {
            let one = wanted.entry(key).or_default();
            for (path, value) in members {
                if value.is_empty() { drop(one.remove(&path)) } else { drop(one.set(path, value)) }
            }
        }
        let held = overrides::of(&now.record.fields);
        let none = Fields::new();
        let mut steps = Vec::new();
        let mut refused = Vec::new();
        for (key, wanted) in &wanted {
            let held = held.get(key).unwrap_or(&none);
            if wanted == held || (overrides::is_excluded(wanted) && overrides::is_excluded(held)) {
                continue;
            }
            let found = match &now.series {
                // What was taken out of a series cannot be put back.
                Some(series) if !overrides::is_excluded(held) => series.original(key).zip(Some(series)),
                _ => None,
            };
            let Some((original, series)) = found else {
                refused.push(key.clone());
                continue;
            };
            let exception = series.exceptions.iter().find(|(at, _)| *at == original).map(|(_, id)| id.clone());
            let id = match exception {
                Some(id) => Some(id),
                None => self.occurrence_at(now, original)?,
            };
            let change = (!overrides::is_excluded(wanted)).then(|| {
                let plain = series.plain(&now.record.fields, original);
                self.change_of_occurrence(wanted, held, plain)
            });
            match (id, change.transpose()) {
                (Some(id), Ok(change)) => steps.push(Step { place, key: key.clone(), id, change }),
                // Whatever does not take place need not be taken out.
                (None, _) if overrides::is_excluded(wanted) => {}
                _ => refused.push(key.clone()),
            }
        }
        batch.refuse_overrides(place, &refused);
        Ok(steps)
    }

    /// What makes an occurrence of what it holds what it is to hold; `None` if that cannot be written.
    fn change_of_occurrence(
        &self,
        wanted: &Fields,
        held: &Fields,
        plain: Fields,
    ) -> std::result::Result<Change, crate::change::Refused> {
        let (fields, whole) = overrides::change(wanted, held, &plain, |path| field_of(path).map(|spec| spec.name));
        let write = Write { action: Action::Update, at: RecordRef::new("event", ""), fields, ..Write::default() };
        let times = Times { current: whole, home: self.exchange.config.time_zone.clone() };
        Change::of(Kind::Event, &write, &[], &times)
    }

    /// The id of the occurrence of a series that starts at this moment.
    fn occurrence_at(&self, series: &Read, original: Timestamp) -> Result<Option<String>> {
        let written = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let until = original.checked_add(1.minute()).unwrap_or(original);
        let mut out = Writer::new();
        out.start_with("m:FindItem", &[("Traversal", "Shallow")]);
        out.start("m:ItemShape").leaf("t:BaseShape", "IdOnly").start("t:AdditionalProperties");
        for uri in ["calendar:UID", "calendar:Start"] {
            out.empty("t:FieldURI", &[("FieldURI", uri)]);
        }
        out.end().end();
        out.empty("m:CalendarView", &[("StartDate", &written(original)), ("EndDate", &written(until))]);
        out.start("m:ParentFolderIds");
        let folder = series.folder.clone().map_or(Folder::Known(Kind::Event.home()), Folder::Id);
        self.write_folder(&mut out, &folder);
        let answer = self.read(&out.done())?;
        let message = answer.one().map_err(|trouble| self.fail(&trouble))?;
        let mut items = message.at(&["RootFolder", "Items"]).into_iter().flat_map(Node::children);
        let uid = series.record.fields.text("UID");
        let found = items.find(|item| {
            item.text_of("UID") == uid && item.text_of("Start").and_then(crate::times::moment) == Some(original)
        });
        Ok(found.and_then(item::id_of).map(|(id, _)| id))
    }

    fn send_steps(&self, batch: &mut Batch<'_>, steps: &[&Step], body: impl Fn(&[&Step]) -> String) -> Result<()> {
        for chunk in steps.chunks(self.exchange.batch()) {
            let answer = self.write(&body(chunk)).map_err(Failure::unknown_outcome)?;
            for (step, message) in chunk.iter().zip(answer.messages()) {
                if let Err(trouble) = message.fine() {
                    batch.refuse_occurrence(step, &trouble);
                }
            }
        }
        Ok(())
    }
}

impl Batch<'_> {
    fn applied(&self, place: usize) -> bool {
        self.outcomes[place].as_ref().is_some_and(|outcome| outcome.status == Status::Applied)
    }

    /// The occurrence that a write wants to change cannot be changed: the rest of the write stands.
    fn refuse_overrides(&mut self, place: usize, keys: &[String]) {
        let of = |name: &&Name| overrides::parts(name).is_some_and(|(key, _)| keys.iter().any(|known| known == key));
        let names: Vec<Name> = self.writes[place].fields.iter().map(|(name, _)| name).filter(of).cloned().collect();
        if let Some(outcome) = self.outcomes[place].as_mut() {
            outcome.refused_fields.extend(names);
        }
    }

    fn refuse_occurrence(&mut self, step: &Step, trouble: &Trouble) {
        match trouble.outcome().status {
            Status::Refused => self.refuse_overrides(step.place, std::slice::from_ref(&step.key)),
            // Gone, changed or not done: reading it again tells.
            _ => self.settle(step.place, Outcome::of(Status::Unknown)),
        }
    }
}

fn gaps_body(steps: &[&Step], invite: bool) -> String {
    let mut out = Writer::new();
    out.start_with(
        "m:DeleteItem",
        &[("DeleteType", "MoveToDeletedItems"), ("SendMeetingCancellations", sends(invite))],
    );
    out.start("m:ItemIds");
    for step in steps {
        out.empty("t:ItemId", &[("Id", &step.id)]);
    }
    out.done()
}

fn changes_body(steps: &[&Step], invite: bool) -> String {
    let mut out = Writer::new();
    out.start_with(
        "m:UpdateItem",
        &[
            ("ConflictResolution", "AlwaysOverwrite"),
            ("MessageDisposition", "SaveOnly"),
            ("SendMeetingInvitationsOrCancellations", sends(invite)),
        ],
    );
    out.start("m:ItemChanges");
    for step in steps {
        let Some(change) = &step.change else { continue };
        out.start("t:ItemChange").empty("t:ItemId", &[("Id", &step.id)]);
        change.write_updates(Kind::Event, &mut out);
        out.end();
    }
    out.done()
}
