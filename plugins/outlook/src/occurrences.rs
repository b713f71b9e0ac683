//! Single occurrences of series, written after their series.

use std::collections::BTreeMap;

use jiff::ToSpan;
use pairwise_http::{Json, Method, Refusal};
use pairwise_plugin_api::{Action, Fields, Name, Outcome, Result, Status, Write, overrides};

use crate::batch::{LARGEST, Part, Reply};
use crate::graph::{query, segment};
use crate::kind::Kind;
use crate::record;
use crate::series;
use crate::write::{Job, Writer, outcome_of};

/// An occurrence that is to be changed.
#[derive(Debug)]
struct Step {
    /// The write that asks for it.
    place: usize,
    /// Its original start, as overrides name it.
    key: String,
    /// The item of its series.
    master: String,
    /// Its id, if the series told it.
    id: Option<String>,
    /// What it is to hold otherwise, as JSON; `None` if it is not to take place.
    change: Option<Json>,
    /// Around when it would have been.
    window: (String, String),
}

impl Writer<'_> {
    /// Writes what the writes of a call want of single occurrences, where their series were written. With other times the
    /// server forgets all occurrences that differ: they are written anew.
    pub(crate) fn write_occurrences(&self, jobs: &[Option<Job<'_>>], outcomes: &mut [Option<Outcome>]) {
        let places: Vec<usize> = (0..jobs.len())
            .filter(|place| {
                let applied = outcomes[*place].as_ref().is_some_and(|outcome| outcome.status == Status::Applied);
                applied && jobs[*place].as_ref().is_some_and(|job| self.concerns_occurrences(job))
            })
            .collect();
        if places.is_empty() {
            return;
        }
        if let Err(failure) = self.occurrences(jobs, &places, outcomes) {
            // The series are written: what became of the rest is found out by reading them again.
            for place in places {
                outcomes[place] = Some(Outcome { status: Status::Unknown, ..outcome_of(&failure) });
            }
        }
    }

    fn concerns_occurrences(&self, job: &Job<'_>) -> bool {
        let writes = matches!(job.write.action, Action::Create | Action::Update) && job.kind == Kind::Event;
        writes && (!overrides::of(&job.write.fields).is_empty() || !self.known(job).is_empty())
    }

    /// The occurrences that differed when the write was decided, as far as that was read.
    fn known(&self, job: &Job<'_>) -> BTreeMap<String, Fields> {
        let fields = job.present.as_ref().map(|item| self.fields(item));
        fields.map(|fields| overrides::of(&fields)).unwrap_or_default()
    }

    fn fields(&self, item: &Json) -> Fields {
        self.outlook.record(Kind::Event, item, None, &[]).fields
    }

    fn occurrences(&self, jobs: &[Option<Job<'_>>], places: &[usize], outcomes: &mut [Option<Outcome>]) -> Result<()> {
        let id = |place: usize| {
            let record = outcomes[place].as_ref().and_then(|outcome| outcome.record.as_ref());
            record.map(|record| record.at.id.clone()).unwrap_or_default()
        };
        let ids: Vec<String> = places.iter().map(|place| id(*place)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let principal = &self.request.principal;
        let mut steps = Vec::new();
        for (place, item) in places.iter().zip(self.outlook.items(self.cx, principal, Kind::Event, &ids, &[])?) {
            match (&jobs[*place], item) {
                (Some(job), Some(item)) => steps.extend(self.steps(*place, job, &item, &mut outcomes[*place])),
                _ => outcomes[*place] = Some(Outcome::of(Status::Unknown)),
            }
        }
        self.look_up(&mut steps)?;
        for chunk in steps.chunks(LARGEST) {
            let (parts, chunk): (Vec<Part>, Vec<&Step>) =
                chunk.iter().filter_map(|step| Some((step.part()?, step))).unzip();
            if parts.is_empty() {
                continue;
            }
            let replies = self.outlook.graph.batch(self.cx, principal, &parts, "writing occurrences")?;
            for (step, reply) in chunk.into_iter().zip(replies) {
                step.settle(&reply, jobs, &mut outcomes[step.place]);
            }
        }
        for step in steps.iter().filter(|step| step.id.is_none() && step.change.is_some()) {
            // Where the rule puts none there is none to be changed.
            refuse(jobs, step.place, std::slice::from_ref(&step.key), &mut outcomes[step.place]);
        }
        // The series as it stands now, with another version.
        let items = self.outlook.items(self.cx, principal, Kind::Event, &ids, &[])?;
        let tree = self.outlook.trees.get(&self.outlook.graph, self.cx, principal, Kind::Event)?;
        for (place, item) in places.iter().zip(items) {
            if let (Some(outcome), Some(item)) = (outcomes[*place].as_mut(), item) {
                outcome.record = Some(self.outlook.record(Kind::Event, &item, Some(&tree), &[]));
            }
        }
        Ok(())
    }

    /// What is to be done for one series, which is `item` now.
    fn steps(&self, place: usize, job: &Job<'_>, item: &Json, outcome: &mut Option<Outcome>) -> Vec<Step> {
        let now = self.fields(item);
        let held = overrides::of(&now);
        let mut wanted = if job.present.is_some() { self.known(job) } else { held.clone() };
        for (key, members) in overrides::of(&job.write.fields) {
            let one = wanted.entry(key).or_default();
            for (path, value) in members {
                if value.is_empty() { drop(one.remove(&path)) } else { drop(one.set(path, value)) }
            }
        }
        let mailbox = self.outlook.graph.mailbox(&self.request.principal);
        let master = format!("{mailbox}/events/{}", segment(record::id(item)));
        let none = Fields::new();
        let (mut steps, mut refused) = (Vec::new(), Vec::new());
        for (key, wanted) in wanted {
            let held = held.get(&key).unwrap_or(&none);
            if wanted == *held || (overrides::is_excluded(&wanted) && overrides::is_excluded(held)) {
                continue;
            }
            // What was taken out of a series cannot be put back.
            let plain = if overrides::is_excluded(held) { None } else { series::plain(&now, &key) };
            let Some((plain, original)) = plain.zip(series::moment(&now, &key)) else {
                refused.push(key);
                continue;
            };
            let change = (!overrides::is_excluded(&wanted)).then(|| {
                let (fields, whole) = overrides::change(&wanted, held, &plain, series::field_of);
                let write = Write { action: Action::Update, fields, ..Write::default() };
                Json::Object(self.outlook.events.write_occurrence(&write, whole))
            });
            let day = key.get(..10).unwrap_or_default();
            let exceptions = item[series::EXCEPTIONS].as_array().into_iter().flatten();
            let known =
                exceptions.into_iter().find(|one| series::day(one) == Some(day)).map(|one| record::id(one).to_owned());
            // Whole days begin at another moment in each zone.
            let around = |hours: i64| {
                let time = original.checked_add(hours.hours()).unwrap_or(original);
                time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
            };
            let window = (around(-26), around(26));
            steps.push(Step { place, key, master: master.clone(), id: known, change, window });
        }
        refuse_in(job, &refused, outcome);
        steps
    }

    /// The ids of occurrences that do not differ yet.
    fn look_up(&self, steps: &mut [Step]) -> Result<()> {
        let open: Vec<usize> = (0..steps.len()).filter(|at| steps[*at].id.is_none()).collect();
        let part = |at: &usize| {
            let Step { master, window: (from, until), .. } = &steps[*at];
            let query =
                query(&[("startDateTime", from), ("endDateTime", until), ("$select", "id,occurrenceId,start,type")]);
            Part::get(format!("{master}/instances{query}"))
        };
        let parts: Vec<Part> = open.iter().map(part).collect();
        let replies =
            self.outlook.graph.read_all(self.cx, &self.request.principal, &parts, "looking for occurrences")?;
        for (at, reply) in open.into_iter().zip(replies) {
            let step = &mut steps[at];
            let mut found = reply.body["value"].as_array().into_iter().flatten();
            let same = |one: &&Json| series::day(one) == step.key.get(..10);
            step.id = found.find(same).map(|one| record::id(one).to_owned());
        }
        Ok(())
    }
}

impl Step {
    /// `None` where there is no such occurrence: then it need not be taken out, either.
    fn part(&self) -> Option<Part> {
        let (mailbox, _) = self.master.rsplit_once('/')?;
        let url = format!("{mailbox}/{}", segment(self.id.as_ref()?));
        Some(match &self.change {
            Some(body) => Part { body: Some(body.clone()), ..Part::new(Method::Patch, url) },
            None => Part::new(Method::Delete, url),
        })
    }

    fn settle(&self, reply: &Reply, jobs: &[Option<Job<'_>>], outcome: &mut Option<Outcome>) {
        let gone = self.change.is_none() && reply.status == 404;
        match Refusal::of(reply.status) {
            _ if reply.is_success() || gone => {}
            Refusal::Final | Refusal::Forbidden => {
                refuse(jobs, self.place, std::slice::from_ref(&self.key), outcome);
            }
            // Reading the series again tells.
            _ => *outcome = Some(Outcome { text: reply.problem().said(), ..Outcome::of(Status::Unknown) }),
        }
    }
}

fn refuse(jobs: &[Option<Job<'_>>], place: usize, keys: &[String], outcome: &mut Option<Outcome>) {
    if let Some(job) = &jobs[place] {
        refuse_in(job, keys, outcome);
    }
}

/// These occurrences cannot be changed: the rest of the write stands.
fn refuse_in(job: &Job<'_>, keys: &[String], outcome: &mut Option<Outcome>) {
    let of = |name: &&Name| overrides::parts(name).is_some_and(|(key, _)| keys.iter().any(|known| known == key));
    let names = job.write.fields.iter().map(|(name, _)| name).filter(of).cloned();
    if let Some(outcome) = outcome {
        outcome.refused_fields.extend(names);
    }
}
