//! Writing: batches of creates, changes, moves and deletions, and what became of each.

use std::collections::HashMap;

use pairwise_plugin_api::ops::WriteRequest;
use pairwise_plugin_api::{
    Action, Certainty, Class, Failure, Name, Outcome, Record, RecordRef, Result, Status, Write, overrides,
};

use crate::change::{Change, field_of};
use crate::desk::{Answered, Desk, Folder};
use crate::event::{self, Times};
use crate::folders::Place;
use crate::item::{Read, as_asked, id_of};
use crate::kind::Kind;
use crate::read::{Result2, is_gone};
use crate::soap::Trouble;
use crate::xml::{Node, Writer};

/// What became of each write of a batch, as far as it is known.
pub(crate) struct Batch<'a> {
    pub(crate) writes: &'a [Write],
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// Items that were made or changed: where they are, and with which version.
    pub(crate) done: Vec<(usize, Kind, String, Option<String>)>,
    /// What items held that were read before they were changed. With other times the server forgets all occurrences of a
    /// series that differ.
    pub(crate) before: HashMap<usize, Read>,
    /// Something was sent; from then on a failure is told write by write.
    sent: bool,
}

impl Batch<'_> {
    fn open(&self, place: usize) -> bool {
        self.outcomes[place].is_none()
    }

    pub(crate) fn settle(&mut self, place: usize, outcome: Outcome) {
        self.outcomes[place] = Some(outcome);
    }
}

/// Writes of one kind that go into one request.
type Group = Vec<(usize, Change)>;

impl Desk<'_> {
    pub(crate) fn write_all(&self, request: &WriteRequest) -> Result<Vec<Outcome>> {
        let mut batch = Batch {
            writes: &request.writes,
            outcomes: vec![None; request.writes.len()],
            done: Vec::new(),
            before: HashMap::new(),
            sent: false,
        };
        let worked = self.work(request, &mut batch);
        self.write_occurrences(&mut batch);
        if let Err(failure) = worked {
            if !batch.sent {
                return Err(failure);
            }
            // What was not reached was certainly not done.
            for outcome in batch.outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
                *outcome = Some(lost(&failure, false));
            }
        }
        self.tell(&mut batch, &request.fields);
        Ok(batch.outcomes.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn work(&self, request: &WriteRequest, batch: &mut Batch<'_>) -> Result<()> {
        for kind in Kind::ALL {
            let of = |action: &[Action]| -> Vec<usize> {
                let fits = |write: &Write| write.at.entity == kind.entity() && action.contains(&write.action);
                (0..request.writes.len()).filter(|place| fits(&request.writes[*place])).collect()
            };
            let removals = of(&[Action::Trash, Action::Delete]);
            let updates = of(&[Action::Update]);
            let current = self.look_before(kind, batch, &removals, &updates)?;
            self.create(kind, batch, of(&[Action::Create]), request)?;
            self.update(kind, batch, updates, &current, request)?;
            batch.before.extend(current);
            self.remove(kind, batch, removals)?;
        }
        for place in 0..request.writes.len() {
            if batch.open(place) {
                let write = &request.writes[place];
                let text = format!("a mailbox cannot do `{:?}` with `{}`", write.action, write.at.entity);
                batch.settle(place, Outcome::refused("not_possible", text));
            }
        }
        Ok(())
    }

    /// Reads what has to be known first: versions before removals, which the server does not compare itself, and the times of
    /// events whose times change.
    fn look_before(
        &self,
        kind: Kind,
        batch: &mut Batch<'_>,
        removals: &[usize],
        updates: &[usize],
    ) -> Result<HashMap<usize, Read>> {
        let guarded = removals.iter().filter(|place| batch.writes[**place].expect.is_some());
        let timed = updates.iter().filter(|place| kind == Kind::Event && event::needs_current(&batch.writes[**place]));
        let wanted: Vec<usize> = guarded.chain(timed).copied().collect();
        let ids: Vec<&str> = wanted.iter().map(|place| batch.writes[*place].at.id.as_str()).collect();
        let mut current = HashMap::new();
        for (place, read) in wanted.iter().zip(self.items(kind, &ids, &[])?) {
            let write = &batch.writes[*place];
            match read {
                Ok(Some(read)) if write.action != Action::Update && read.record.version != write.expect => {
                    batch.settle(*place, Outcome { record: Some(read.record), ..Outcome::of(Status::Conflict) });
                }
                Ok(Some(read)) => drop(current.insert(*place, read)),
                Ok(None) => batch.settle(*place, Outcome::of(Status::Gone)),
                Err(trouble) if is_gone(&trouble) => batch.settle(*place, Outcome::of(Status::Gone)),
                Err(trouble) => batch.settle(*place, Outcome { text: trouble.text, ..Outcome::of(Status::NotSent) }),
            }
        }
        Ok(current)
    }

    fn create(&self, kind: Kind, batch: &mut Batch<'_>, places: Vec<usize>, request: &WriteRequest) -> Result<()> {
        let scope = if places.is_empty() { Vec::new() } else { self.places(kind, &request.scope)? };
        let mut groups: Vec<((Place, bool), Group)> = Vec::new();
        for place in places {
            let write = &batch.writes[place];
            let folder = match &write.container {
                // A folder of the other side is one of ours only if the scope has it.
                Some(path) => scope.iter().find(|folder| folder.path.eq_ignore_ascii_case(path)).or(scope.first()),
                None => scope.first(),
            };
            let Some(folder) = folder.cloned() else { continue };
            match self.change_of(kind, write, None) {
                Ok(mut change) => {
                    change.mark(kind, write);
                    let group = (folder, write.invite);
                    match groups.iter_mut().find(|(known, _)| *known == group) {
                        Some((_, members)) => members.push((place, change)),
                        None => groups.push((group, vec![(place, change)])),
                    }
                }
                Err(outcome) => batch.settle(place, *outcome),
            }
        }
        for ((folder, invite), members) in groups {
            let open = |out: &mut Writer| {
                out.start_with(
                    "m:CreateItem",
                    &[("MessageDisposition", "SaveOnly"), ("SendMeetingInvitations", sends(invite))],
                );
                out.start("m:SavedItemFolderId");
                self.write_folder(out, &folder.folder);
                out.end().start("m:Items");
            };
            self.send(kind, batch, members, open, |out, _, change| change.write_item(kind, out))?;
        }
        Ok(())
    }

    fn update(
        &self,
        kind: Kind,
        batch: &mut Batch<'_>,
        places: Vec<usize>,
        current: &HashMap<usize, Read>,
        request: &WriteRequest,
    ) -> Result<()> {
        for invite in [false, true] {
            let mut members = Group::new();
            for place in places.iter().copied().filter(|place| batch.writes[*place].invite == invite) {
                if !batch.open(place) {
                    continue;
                }
                let write = &batch.writes[place];
                match self.change_of(kind, write, current.get(&place)) {
                    Ok(change) if change.pieces.is_empty() => {
                        let (at, version) = (write.at.clone(), write.expect.clone());
                        if !overrides::of(&write.fields).is_empty() {
                            batch.done.push((place, kind, at.id.clone(), version.clone()));
                        }
                        let record = Record { at, version, ..Record::default() };
                        batch.settle(place, Outcome { refused_fields: change.refused, ..Outcome::applied(record) });
                    }
                    Ok(change) => members.push((place, change)),
                    Err(outcome) => batch.settle(place, *outcome),
                }
            }
            let writes = batch.writes;
            // Without an expected version the last one wins, as it is asked for.
            for (resolution, guarded) in [("NeverOverwrite", true), ("AlwaysOverwrite", false)] {
                let members: Group =
                    members.iter().filter(|(place, _)| writes[*place].expect.is_some() == guarded).cloned().collect();
                let open = |out: &mut Writer| {
                    out.start_with(
                        "m:UpdateItem",
                        &[
                            ("ConflictResolution", resolution),
                            ("MessageDisposition", "SaveOnly"),
                            ("SendMeetingInvitationsOrCancellations", sends(invite)),
                        ],
                    );
                    out.start("m:ItemChanges");
                };
                let one = |out: &mut Writer, place: usize, change: &Change| {
                    out.start("t:ItemChange");
                    let key = writes[place].expect.as_deref().unwrap_or_default();
                    let mut id = vec![("Id", writes[place].at.id.as_str())];
                    if !key.is_empty() {
                        id.push(("ChangeKey", key));
                    }
                    out.empty("t:ItemId", &id);
                    change.write_updates(kind, out);
                    out.end();
                };
                self.send(kind, batch, members, open, one)?;
            }
        }
        self.relocate(kind, batch, &places, request)
    }

    /// Updates that name another folder move the item as well.
    fn relocate(&self, kind: Kind, batch: &mut Batch<'_>, places: &[usize], request: &WriteRequest) -> Result<()> {
        let moves = |place: &&usize| batch.writes[**place].container.is_some();
        if !places.iter().any(|place| moves(&place)) {
            return Ok(());
        }
        let scope = self.places(kind, &request.scope)?;
        for place in places.iter().filter(moves).copied().collect::<Vec<_>>() {
            let to = scope.iter().find(|folder| Some(&folder.path) == batch.writes[place].container.as_ref());
            let Some((to, at)) = to.zip(batch.done.iter().position(|(done, ..)| *done == place)) else { continue };
            let id = batch.done[at].2.clone();
            let answer = self.write(&self.move_body(&[&id], &to.folder))?;
            if let Ok(message) = answer.one()
                && let Some((id, version)) = moved(message)
            {
                (batch.done[at].2, batch.done[at].3) = (id, version);
            }
        }
        Ok(())
    }

    fn remove(&self, kind: Kind, batch: &mut Batch<'_>, places: Vec<usize>) -> Result<()> {
        for action in [Action::Trash, Action::Delete] {
            for invite in [false, true] {
                let fits = |place: &&usize| {
                    let write = &batch.writes[**place];
                    batch.open(**place) && write.action == action && write.invite == invite
                };
                let chosen: Vec<usize> = places.iter().filter(fits).copied().collect();
                for chunk in chosen.chunks(self.exchange.batch()) {
                    let ids: Vec<&str> = chunk.iter().map(|place| batch.writes[*place].at.id.as_str()).collect();
                    // A meeting that is cancelled has to be deleted: a move tells nobody.
                    let body = if action == Action::Trash && !(invite && kind == Kind::Event) {
                        self.move_body(&ids, &Folder::Known("deleteditems"))
                    } else {
                        delete_body(&ids, action, invite)
                    };
                    let answer = self.sent(batch, chunk, &body)?;
                    for (place, message) in chunk.iter().zip(answer.messages()) {
                        let outcome = match message.fine() {
                            Ok(_) => {
                                let at = batch.writes[*place].at.clone();
                                Outcome::applied(Record { at, ..Record::default() })
                            }
                            Err(trouble) => trouble.outcome(),
                        };
                        batch.settle(*place, outcome);
                    }
                }
            }
        }
        Ok(())
    }

    fn move_body(&self, ids: &[&str], to: &Folder) -> String {
        let mut out = Writer::new();
        out.start("m:MoveItem").start("m:ToFolderId");
        self.write_folder(&mut out, to);
        out.end().start("m:ItemIds");
        for id in ids {
            out.empty("t:ItemId", &[("Id", id)]);
        }
        out.end().leaf("m:ReturnNewItemIds", "true");
        out.done()
    }

    fn change_of(
        &self,
        kind: Kind,
        write: &Write,
        current: Option<&Read>,
    ) -> std::result::Result<Change, crate::change::Refused> {
        let times = Times {
            current: current.map(|read| read.record.fields.clone()).unwrap_or_default(),
            home: self.exchange.config.time_zone.clone(),
        };
        Change::of(kind, write, &self.exchange.config.extended, &times)
    }

    /// Sends a group in as many requests as it needs, and notes what became of each write.
    fn send(
        &self,
        kind: Kind,
        batch: &mut Batch<'_>,
        members: Group,
        open: impl Fn(&mut Writer),
        one: impl Fn(&mut Writer, usize, &Change),
    ) -> Result<()> {
        for chunk in members.chunks(self.exchange.batch()) {
            let mut out = Writer::new();
            open(&mut out);
            chunk.iter().for_each(|(place, change)| one(&mut out, *place, change));
            let places: Vec<usize> = chunk.iter().map(|(place, _)| *place).collect();
            let answer = self.sent(batch, &places, &out.done())?;
            for ((place, change), message) in chunk.iter().zip(answer.messages()) {
                let outcome = match message.fine() {
                    Ok(message) => {
                        let item = message.child("Items").and_then(Node::first);
                        let (id, version) = item.and_then(id_of).unwrap_or((batch.writes[*place].at.id.clone(), None));
                        batch.done.push((*place, kind, id.clone(), version.clone()));
                        let at = RecordRef::new(kind.entity(), id);
                        let record = Record { at, version, ..Record::default() };
                        Outcome { refused_fields: change.refused.clone(), ..Outcome::applied(record) }
                    }
                    Err(trouble) => refusal(kind, &trouble),
                };
                batch.settle(*place, outcome);
            }
            self.cx.progress(batch.done.len() as u64, batch.writes.len() as u64);
        }
        Ok(())
    }

    /// Sends a request that writes. Where it fails after others went through, its writes are told one by one.
    fn sent(&self, batch: &mut Batch<'_>, places: &[usize], body: &str) -> Result<Answered> {
        let answer = self.write(body).and_then(|answer| {
            let count = answer.messages().len();
            if count == places.len() {
                return Ok(answer);
            }
            let text = format!("{} writes were answered with {count} messages", places.len());
            Err(Failure::new(Class::Protocol, text).unknown_outcome())
        });
        match answer {
            Ok(answer) => {
                batch.sent = true;
                Ok(answer)
            }
            Err(failure) => {
                if batch.sent {
                    for place in places {
                        batch.settle(*place, lost(&failure, true));
                    }
                }
                Err(failure)
            }
        }
    }

    /// Reads back what was written: the server respells some of it, and its form is the one to compare with later. Conflicts are
    /// told with the record as it stands now.
    fn tell(&self, batch: &mut Batch<'_>, fields: &[Name]) {
        for kind in Kind::ALL {
            let mut wanted: Vec<(usize, String)> = Vec::new();
            wanted.extend(
                batch.done.iter().filter(|(_, of, ..)| *of == kind).map(|(place, _, id, _)| (*place, id.clone())),
            );
            for (place, outcome) in batch.outcomes.iter().enumerate() {
                let write = &batch.writes[place];
                let conflict = outcome
                    .as_ref()
                    .is_some_and(|outcome| outcome.status == Status::Conflict && outcome.record.is_none());
                if conflict && write.at.entity == kind.entity() {
                    wanted.push((place, write.at.id.clone()));
                }
            }
            let ids: Vec<&str> = wanted.iter().map(|(_, id)| id.as_str()).collect();
            // What cannot be read now is read in the next run.
            let read: Vec<Result2> = self.items(kind, &ids, fields).unwrap_or_default();
            for ((place, _), read) in wanted.iter().zip(read) {
                let Some(outcome) = batch.outcomes[*place].as_mut() else { continue };
                match (outcome.status, read) {
                    (status, Ok(Some(read))) => {
                        if let (Status::Applied, Some(version)) = (status, &read.record.version) {
                            self.exchange.written.note(&self.mailbox, &read.record.at.id, version);
                        }
                        let container = self.path_of(read.folder.as_deref());
                        outcome.record = Some(as_asked(kind, Record { container, ..read.record }, fields));
                    }
                    (Status::Conflict, Err(trouble)) if is_gone(&trouble) => *outcome = Outcome::of(Status::Gone),
                    _ => {}
                }
            }
        }
    }
}

fn moved(message: Node<'_>) -> Option<(String, Option<String>)> {
    id_of(message.child("Items")?.first()?)
}

fn delete_body(ids: &[&str], action: Action, invite: bool) -> String {
    let how = if action == Action::Trash { "MoveToDeletedItems" } else { "HardDelete" };
    let mut out = Writer::new();
    out.start_with("m:DeleteItem", &[("DeleteType", how), ("SendMeetingCancellations", sends(invite))]);
    out.start("m:ItemIds");
    for id in ids {
        out.empty("t:ItemId", &[("Id", id)]);
    }
    out.done()
}

/// Mail leaves only where the write asks for it.
pub(crate) fn sends(invite: bool) -> &'static str {
    if invite { "SendToAllAndSaveCopy" } else { "SendToNone" }
}

fn refusal(kind: Kind, trouble: &Trouble) -> Outcome {
    let field = trouble.field.as_deref().and_then(|property| field_of(kind, property));
    Outcome { field, ..trouble.outcome() }
}

/// What a failed request means for one of its writes.
pub(crate) fn lost(failure: &Failure, was_sent: bool) -> Outcome {
    let status = match (failure.certainty, failure.class) {
        (Certainty::Unknown, _) if was_sent => Status::Unknown,
        (_, Class::Auth) => Status::Auth,
        (_, Class::Throttled) => Status::Throttled,
        _ => Status::NotSent,
    };
    Outcome { text: failure.text.clone(), retry_after_ms: failure.retry_after_ms, ..Outcome::of(status) }
}
