//! Writing: creates, updates and removals in batches, each part with its own outcome.

use std::collections::HashMap;
use std::sync::Arc;

use pairwise_http::{Json, Method, Object, Refusal, json};
use pairwise_plugin_api::ops::WriteRequest;
use pairwise_plugin_api::{
    Action, Certainty, Class, Context, Failure, Name, Outcome, Record, RecordRef, Result, Status, Write,
};

use crate::batch::{LARGEST, Part, Reply};
use crate::connector::Outlook;
use crate::folders::{Folder, Tree, named};
use crate::graph::{PREFER, segment};
use crate::kind::Kind;
use crate::property::{self, KEY, UID};
use crate::record::{self, etag};

/// A write on its way.
pub(crate) struct Job<'a> {
    pub(crate) write: &'a Write,
    pub(crate) kind: Kind,
    /// The item as it is now, where the write needs to know.
    pub(crate) present: Option<Json>,
    refused: Vec<Name>,
}

/// What is to be done for a write.
enum Next {
    /// This request belongs to the batch.
    Send(Part),
    /// Nothing any more.
    Done(Box<Outcome>),
}

impl Next {
    fn done(outcome: Outcome) -> Self {
        Next::Done(Box::new(outcome))
    }
}

/// The folders of each kind, as far as they are known.
type Trees = HashMap<Kind, Arc<Tree>>;

/// What all writes of a call share.
pub(crate) struct Writer<'a> {
    pub(crate) outlook: &'a Outlook,
    pub(crate) cx: &'a Context,
    pub(crate) request: &'a WriteRequest,
}

impl Outlook {
    pub(crate) fn write_all(&self, cx: &Context, request: &WriteRequest) -> Result<Vec<Outcome>> {
        Writer { outlook: self, cx, request }.all()
    }
}

/// What a failed call means for each of its writes.
pub(crate) fn outcome_of(failure: &Failure) -> Outcome {
    let status = match (failure.certainty, failure.class) {
        (Certainty::Unknown, _) => Status::Unknown,
        (_, Class::Auth) => Status::Auth,
        (_, Class::Throttled) => Status::Throttled,
        _ => Status::NotSent,
    };
    Outcome { text: failure.text.clone(), retry_after_ms: failure.retry_after_ms, ..Outcome::of(status) }
}

impl Writer<'_> {
    fn all(&self) -> Result<Vec<Outcome>> {
        let writes = &self.request.writes;
        let mut outcomes: Vec<Option<Outcome>> = vec![None; writes.len()];
        let mut jobs: Vec<Option<Job<'_>>> = Vec::with_capacity(writes.len());
        for (write, outcome) in writes.iter().zip(&mut outcomes) {
            match Kind::of(&write.at.entity) {
                Ok(kind) => jobs.push(Some(Job { write, kind, present: None, refused: Vec::new() })),
                Err(failure) => {
                    *outcome = Some(Outcome::refused("unknown_entity", failure.text));
                    jobs.push(None);
                }
            }
        }
        self.look(&mut jobs, &mut outcomes)?;
        let mut parts = Vec::new();
        let mut sent = Vec::new();
        for (place, job) in jobs.iter_mut().enumerate() {
            let Some(job) = job.as_mut().filter(|_| outcomes[place].is_none()) else { continue };
            // What was done for one write must be told, whatever keeps another one from being sent.
            match self.part(job).unwrap_or_else(|failure| Next::done(outcome_of(&failure))) {
                Next::Send(part) => {
                    parts.push(part);
                    sent.push(place);
                }
                Next::Done(outcome) => outcomes[place] = Some(*outcome),
            }
        }
        let rest = match self.send(&jobs, &parts, &sent, &mut outcomes) {
            Ok(rest) => rest,
            Err(failure) if outcomes.iter().any(Option::is_some) => outcome_of(&failure),
            Err(failure) => return Err(failure),
        };
        self.write_occurrences(&jobs, &mut outcomes);
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| rest.clone())).collect())
    }

    /// Sends the requests of the writes at these places. Answers what became of those that were not sent any more.
    ///
    /// # Errors
    /// If nothing is known of any write of the call.
    fn send(
        &self,
        jobs: &[Option<Job<'_>>],
        parts: &[Part],
        sent: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<Outcome> {
        let mut rest = Outcome::of(Status::NotSent);
        if parts.is_empty() {
            return Ok(rest);
        }
        let mut trees = self.trees(jobs)?;
        let (mut answered, mut replies) = (Vec::new(), Vec::new());
        let told = self.outlook.graph.batches(self.cx, &self.request.principal, parts, "writing");
        for (places, told) in sent.chunks(LARGEST).zip(told) {
            match told {
                Ok(told) => {
                    answered.extend_from_slice(places);
                    replies.extend(told);
                }
                Err(failure) if outcomes.iter().all(Option::is_none) && answered.is_empty() => return Err(failure),
                // What came before is done and must be told.
                Err(failure) => {
                    places.iter().for_each(|place| outcomes[*place] = Some(outcome_of(&failure)));
                    if matches!(failure.class, Class::Auth | Class::Throttled) {
                        rest = outcome_of(&Failure { certainty: Certainty::NotSent, ..failure });
                    }
                }
            }
        }
        // From here on nothing may fail as a whole: the writes are done.
        self.look_for_new_folders(&mut trees, jobs, &answered, &replies);
        let mut doubtful = Vec::new();
        for (place, reply) in answered.into_iter().zip(replies) {
            let Some(job) = &jobs[place] else { continue };
            match self.outcome(job, &reply, &trees) {
                Some(outcome) => outcomes[place] = Some(outcome),
                None => doubtful.push(place),
            }
        }
        self.settle(jobs, &doubtful, &trees, outcomes);
        Ok(rest)
    }

    /// Reads the items whose writes need to know what is there: lists are written whole, and a move makes the item anew.
    fn look(&self, jobs: &mut [Option<Job<'_>>], outcomes: &mut [Option<Outcome>]) -> Result<()> {
        let needs = |job: &Job<'_>| {
            job.write.action == Action::Update
                && (job.write.container.is_some() || self.outlook.needs_present(job.kind, &job.write.fields))
        };
        let places: Vec<usize> = (0..jobs.len()).filter(|at| jobs[*at].as_ref().is_some_and(needs)).collect();
        for kind in Kind::ALL {
            let of_kind = |at: &&usize| jobs[**at].as_ref().is_some_and(|job| job.kind == kind);
            let places: Vec<usize> = places.iter().filter(of_kind).copied().collect();
            if places.is_empty() {
                continue;
            }
            let ids: Vec<&str> =
                places.iter().filter_map(|at| Some(jobs[*at].as_ref()?.write.at.id.as_str())).collect();
            let items = self.outlook.items(self.cx, &self.request.principal, kind, &ids, &[])?;
            for (place, item) in places.into_iter().zip(items) {
                let Some(job) = &mut jobs[place] else { continue };
                match item {
                    None => outcomes[place] = Some(Outcome::of(Status::Gone)),
                    Some(item) => {
                        let stale = job.write.expect.is_some() && job.write.expect != record::version(&item);
                        if stale {
                            outcomes[place] = Some(self.conflict(kind, &item)?);
                        }
                        job.present = Some(item);
                    }
                }
            }
        }
        Ok(())
    }

    /// Somebody else was here: the item as it stands now, or gone if it was deleted.
    fn conflict(&self, kind: Kind, item: &Json) -> Result<Outcome> {
        let tree = self.outlook.tree_of(self.cx, &self.request.principal, kind, [item].into_iter())?;
        Ok(match item["parentFolderId"].as_str() {
            Some(parent) if tree.by_id(parent).is_none() => Outcome::of(Status::Gone),
            _ => {
                let record = self.outlook.record(kind, item, Some(&tree), &[]);
                Outcome { record: Some(record), ..Outcome::of(Status::Conflict) }
            }
        })
    }

    /// The request of a write, or the outcome of one that need not be sent.
    fn part(&self, job: &mut Job<'_>) -> Result<Next> {
        let Write { action, at, expect, .. } = job.write;
        let mailbox = self.outlook.graph.mailbox(&self.request.principal);
        let item = format!("{mailbox}/{}/{}", job.kind.collection(), segment(&at.id));
        let if_match = expect.as_deref().map(etag);
        Ok(Next::Send(match action {
            Action::Create => {
                let folder = self.target(job)?;
                let (mut body, refused) = self.outlook.body(job.kind, job.write, &Json::Null);
                job.refused = refused;
                add_property(&mut body, KEY, &job.write.key);
                if let Some(uid) = &job.write.uid {
                    add_property(&mut body, UID, uid);
                }
                let at = self.outlook.folder_path(&self.request.principal, job.kind, &folder);
                Part { body: Some(Json::Object(body)), ..Part::new(Method::Post, at) }
            }
            Action::Update if self.moves(job)? => return self.relocate(job).map(Next::done),
            Action::Update => {
                let present = job.present.clone().unwrap_or_default();
                let (body, refused) = self.outlook.body(job.kind, job.write, &present);
                job.refused = refused;
                if body.is_empty() && !present.is_null() {
                    // Only occurrences are to change.
                    let record = self.outlook.record(job.kind, &present, None, &[]);
                    let outcome = Outcome { refused_fields: job.refused.clone(), ..Outcome::applied(record) };
                    return Ok(Next::done(outcome));
                }
                Part { body: Some(Json::Object(body)), if_match, ..Part::new(Method::Patch, item) }
            }
            Action::Trash => Part { if_match, ..Part::new(Method::Delete, item) },
            Action::Delete => Part { if_match, ..Part::new(Method::Post, format!("{item}/permanentDelete")) },
            _ => return Ok(Next::done(Outcome::refused("unknown_action", "a mailbox cannot do this"))),
        }))
    }

    /// The folder of a new item: as the write says, else the one folder of the scope, else the default one.
    fn target(&self, job: &Job<'_>) -> Result<Folder> {
        let Outlook { graph, trees, .. } = self.outlook;
        let principal = &self.request.principal;
        let tree = trees.get(graph, self.cx, principal, job.kind)?;
        if let Some(path) = &job.write.container {
            if let Some(folder) = tree.by_path(path) {
                return Ok(folder.clone());
            }
            return trees.ensure(graph, self.cx, principal, job.kind, path);
        }
        let scope = match named(&self.request.scope)? {
            Some(_) => tree.scope(job.kind, &self.request.scope)?,
            None => Vec::new(),
        };
        let folder = scope.first().copied().or(tree.folders.first());
        folder.cloned().ok_or_else(|| Failure::new(Class::Other, "the mailbox tells of no folder for new items"))
    }

    fn moves(&self, job: &Job<'_>) -> Result<bool> {
        let (Some(path), Some(present)) = (&job.write.container, &job.present) else { return Ok(false) };
        let tree = self.outlook.tree_of(self.cx, &self.request.principal, job.kind, [present].into_iter())?;
        let here = present["parentFolderId"].as_str().and_then(|id| tree.by_id(id));
        Ok(here.is_some_and(|folder| folder.path != path.trim_matches('/')))
    }

    /// Graph moves no contacts: the item is made anew in the other folder, with its key, and then the old one is removed.
    fn relocate(&self, job: &mut Job<'_>) -> Result<Outcome> {
        if job.kind == Kind::Event {
            return Ok(Outcome::refused("cannot_move", "Graph cannot move an event to another calendar"));
        }
        let Some(present) = job.present.clone() else { return Ok(Outcome::of(Status::Gone)) };
        let folder = self.target(job)?;
        let old = self.outlook.record(job.kind, &present, None, &[]);
        let mut whole = old.fields.clone();
        for (name, value) in job.write.fields.iter() {
            whole.set(name.clone(), value.clone());
        }
        let whole = Write { fields: whole, ..job.write.clone() };
        let (mut body, refused) = self.outlook.body(job.kind, &whole, &Json::Null);
        let key = record::own(&present, KEY).unwrap_or_else(|| job.write.key.clone());
        add_property(&mut body, KEY, &key);
        if let Some(uid) = &old.uid {
            add_property(&mut body, UID, uid);
        }
        let principal = &self.request.principal;
        let at = self.outlook.folder_path(principal, job.kind, &folder);
        let make = Part { body: Some(Json::Object(body)), ..Part::new(Method::Post, at) };
        let item = format!(
            "{}/{}/{}",
            self.outlook.graph.mailbox(principal),
            job.kind.collection(),
            segment(record::id(&present))
        );
        let graph = &self.outlook.graph;
        let key = property::filter(KEY, &key);
        let (there, _) = graph.get(
            self.cx,
            principal,
            &self.outlook.listing(principal, job.kind, &folder, &key, &[]),
            PREFER,
            "moving",
        )?;
        // An earlier attempt may have come so far.
        let made = match there["value"].get(0) {
            Some(made) => made.clone(),
            None => match graph.batch(self.cx, principal, &[make], "moving a contact")?.pop() {
                Some(reply) if reply.is_success() => reply.body,
                reply => {
                    let text = reply.map(|reply| reply.problem().said()).unwrap_or_default();
                    return Ok(Outcome { text, ..Outcome::of(Status::Unknown) });
                }
            },
        };
        let remove = Part::new(Method::Post, format!("{item}/permanentDelete"));
        let removed = graph.batch(self.cx, principal, &[remove], "moving a contact");
        let removed =
            removed.is_ok_and(|replies| replies.iter().all(|reply| reply.is_success() || reply.status == 404));
        // The new item has a search key of its own, which its link must know.
        let whole = self.outlook.items(self.cx, principal, job.kind, &[record::id(&made)], &[]);
        let (true, Ok([Some(whole)])) = (removed, whole.as_deref()) else { return Ok(Outcome::of(Status::Unknown)) };
        let tree = self.outlook.tree_of(self.cx, principal, job.kind, [whole].into_iter());
        let record = self.outlook.record(job.kind, whole, tree.ok().as_deref(), &[]);
        Ok(Outcome { refused_fields: refused, ..Outcome::applied(record) })
    }

    /// The folders of the kinds that are written.
    fn trees(&self, jobs: &[Option<Job<'_>>]) -> Result<Trees> {
        let kinds = Kind::ALL.into_iter().filter(|kind| jobs.iter().flatten().any(|job| job.kind == *kind));
        let Outlook { graph, trees, .. } = self.outlook;
        kinds.map(|kind| Ok((kind, trees.get(graph, self.cx, &self.request.principal, kind)?))).collect()
    }

    /// An item that lies in no known folder lies in a new one, or in the deleted items. Where that cannot be told, its tree is
    /// taken away.
    fn look_for_new_folders(&self, trees: &mut Trees, jobs: &[Option<Job<'_>>], sent: &[usize], replies: &[Reply]) {
        for kind in Kind::ALL {
            let of_kind = |place: &usize| jobs[*place].as_ref().is_some_and(|job| job.kind == kind);
            let items = sent.iter().zip(replies).filter(|(place, reply)| of_kind(place) && reply.is_success());
            let items = items.map(|(_, reply)| &reply.body);
            match self.outlook.tree_of(self.cx, &self.request.principal, kind, items) {
                Ok(tree) if trees.contains_key(&kind) => drop(trees.insert(kind, tree)),
                Ok(_) => {}
                Err(_) => drop(trees.remove(&kind)),
            }
        }
    }

    /// What a reply means; `None` where the item must be read to tell.
    fn outcome(&self, job: &Job<'_>, reply: &Reply, trees: &Trees) -> Option<Outcome> {
        let problem = reply.problem();
        let text = problem.said();
        let removal = matches!(job.write.action, Action::Trash | Action::Delete);
        let outcome = |status| Outcome { text: text.clone(), retry_after_ms: millis(reply), ..Outcome::of(status) };
        if reply.is_success() {
            if removal {
                return Some(Outcome::applied(Record { at: job.write.at.clone(), ..Record::default() }));
            }
            let Some(tree) = trees.get(&job.kind) else { return Some(Outcome::of(Status::Unknown)) };
            let trashed = reply.body["parentFolderId"].as_str().is_some_and(|id| tree.by_id(id).is_none());
            if trashed && job.write.action == Action::Update {
                // Items in the deleted items can be changed, which nobody sees.
                return Some(Outcome::of(Status::Gone));
            }
            let record = self.stored(job.kind, &reply.body, tree);
            if let (Action::Update, Some(version)) = (job.write.action, &record.version) {
                self.outlook.written.note(&self.request.principal.0, &record.at.id, version);
            }
            return Some(Outcome { refused_fields: job.refused.clone(), ..Outcome::applied(record) });
        }
        Some(match Refusal::of(reply.status) {
            Refusal::Missing => outcome(Status::Gone),
            Refusal::Conflict if job.write.action == Action::Create => outcome(Status::Unknown),
            Refusal::Conflict => return None,
            Refusal::Throttled => outcome(Status::Throttled),
            Refusal::Login => outcome(Status::Auth),
            Refusal::Passing if reply.status == 424 => outcome(Status::NotSent),
            Refusal::Passing => outcome(Status::Unknown),
            Refusal::Forbidden => Outcome::refused("forbidden", text),
            _ if problem.code == "ErrorIrresolvableConflict" => return None,
            _ => Outcome::refused(code(&problem.code), text),
        })
    }

    /// Writes that met another version: the items as they are now. A server may move a version by itself, some seconds after
    /// a write; whether anything but the version is different, the host sees from the fields.
    fn settle(&self, jobs: &[Option<Job<'_>>], doubtful: &[usize], trees: &Trees, outcomes: &mut [Option<Outcome>]) {
        for kind in Kind::ALL {
            let of_kind = |at: &&usize| jobs[**at].as_ref().is_some_and(|job| job.kind == kind);
            let places: Vec<usize> = doubtful.iter().filter(of_kind).copied().collect();
            let at: Vec<&RecordRef> = places.iter().filter_map(|at| Some(&jobs[*at].as_ref()?.write.at)).collect();
            let ids: Vec<&str> = at.iter().map(|at| at.id.as_str()).collect();
            let (Some(tree), false) = (trees.get(&kind), ids.is_empty()) else { continue };
            let items = match self.outlook.items(self.cx, &self.request.principal, kind, &ids, &[]) {
                Ok(items) => items,
                Err(failure) => {
                    // The write was refused, so that it may be tried again.
                    places.iter().for_each(|at| {
                        outcomes[*at] = Some(Outcome { text: failure.text.clone(), ..Outcome::of(Status::NotSent) })
                    });
                    continue;
                }
            };
            for (place, item) in places.into_iter().zip(items) {
                let here =
                    item.filter(|item| item["parentFolderId"].as_str().is_none_or(|id| tree.by_id(id).is_some()));
                outcomes[place] = Some(match here {
                    None => Outcome::of(Status::Gone),
                    Some(item) => {
                        let record = self.outlook.record(kind, &item, Some(tree), &[]);
                        Outcome { record: Some(record), ..Outcome::of(Status::Conflict) }
                    }
                });
            }
        }
    }

    /// What the server says that it stored. It does not tell extended properties.
    fn stored(&self, kind: Kind, item: &Json, tree: &Tree) -> Record {
        let mut record = record::bare(kind, item, Some(tree));
        match kind {
            Kind::Contact => record.fields = self.outlook.contacts.read(item, false, &self.request.fields),
            Kind::Event => self.outlook.events.fill(item, false, &mut record),
        }
        record
    }
}

fn millis(reply: &Reply) -> Option<u64> {
    reply.retry_after.and_then(|pause| u64::try_from(pause.as_millis()).ok())
}

/// Codes of Graph in the words of the host.
fn code(code: &str) -> String {
    match code {
        "ErrorPropertyValidationFailure" | "ErrorInvalidRequest" | "RequestBodyRead" => "invalid".to_owned(),
        "ErrorMessageSizeExceeded" => "too_long".to_owned(),
        "ErrorQuotaExceeded" => "full".to_owned(),
        "" => "refused".to_owned(),
        other => other.to_owned(),
    }
}

fn add_property(body: &mut Object, id: &str, value: &str) {
    let list = body.or_insert(property::MEMBER, || json!([]));
    if let Json::List(list) = list {
        list.push(property::value(id, value));
    }
}
