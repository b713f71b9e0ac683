//! Writes that are whole or not there, and stay after a power cut.
//!
//! A batch goes through four steps: every new content into a temporary file; one `syncfs`; renames, each after a look whether
//! the file is still the one that was read; `fsync` of the folders. A process that is killed leaves temporary files at most,
//! hidden, under a name that the next batch recognises and removes. A batch holds a lock on the folder, so that no other
//! process takes its files for left-overs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use pairwise_plugin_api::{Action, Context, Failure, Outcome, Record, RecordRef, Status, Write};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, fsync, renameat, statat, syncfs, unlinkat};
use rustix::io::Errno;

use crate::content::{self, Kind, digest};
use crate::durable::{
    create_file, date_back, lock, make_folder, open_trash, rename_new, rename_to_free_name, sweep, take_over_rights,
    temporary_name, unlock, write_all,
};
use crate::folder::{Place, ReadError, Root, Stamp, decode_name, failed, is_safe};
use crate::property::Format;
use crate::records::{Shelf, Shelved, record};
use crate::rewrite::{Done, Fate, Order, Refused, rewrite};

/// The longest file name that is made of a UID, in bytes.
const LONGEST_NAME: usize = 120;

/// What all batches of a connection share.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) root: &'a Root,
    pub(crate) trash: Option<&'a Path>,
    /// The version of vCards that do not come from another card.
    pub(crate) version: Format,
}

/// Writes a batch. `swept` holds the folders in which this process has already looked for left-overs. `home` is where a
/// create without a container goes.
pub(crate) fn write(
    rules: &Rules<'_>,
    writes: &[Write],
    home: &str,
    swept: &mut HashSet<String>,
    cx: &Context,
) -> Result<Vec<Outcome>, Failure> {
    lock(rules.root, cx)?;
    let mut batch = Batch {
        rules,
        writes,
        swept,
        folders: HashMap::new(),
        jobs: Vec::new(),
        outcomes: vec![Outcome::of(Status::NotSent); writes.len()],
        planned: HashSet::new(),
        temporaries: 0,
    };
    let result = batch.run(home, cx);
    batch.clean_up();
    unlock(rules.root);
    result.map(|()| batch.outcomes)
}

struct Batch<'a> {
    rules: &'a Rules<'a>,
    writes: &'a [Write],
    swept: &'a mut HashSet<String>,
    folders: HashMap<String, OwnedFd>,
    jobs: Vec<Job>,
    outcomes: Vec<Outcome>,
    /// Files that this batch makes.
    planned: HashSet<String>,
    /// Temporary files so far.
    temporaries: usize,
}

/// What is to happen to one file.
#[derive(Debug)]
struct Job {
    kind: Kind,
    folder: String,
    name: Vec<u8>,
    step: Step,
    /// The file as it was read; `None` if it must not be there.
    before: Option<Stamp>,
    /// The new content, waiting under a temporary name.
    temporary: Option<(String, Stamp)>,
    /// Removed records of a file that goes on, waiting in the trash folder under a temporary name.
    discarded: Vec<String>,
    /// The writes that it fulfils.
    done: Vec<Done>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Put,
    /// Into another folder; then, if there is new content, as `Put`.
    Move(String),
    Remove,
    Trash,
}

/// A problem that concerns one write, or the writes to one file.
type Refusal = Box<Outcome>;

impl Batch<'_> {
    fn run(&mut self, home: &str, cx: &Context) -> Result<(), Failure> {
        let mut order: Vec<Place> = Vec::new();
        let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, write) in self.writes.iter().enumerate() {
            crate::stop_if_cancelled(cx)?;
            let kind = Kind::of_entity(&write.at.entity);
            match (write.action, kind) {
                (_, None) => self.outcomes[index] = unknown_entity(&write.at.entity),
                (Action::Create, Some(kind)) => {
                    if let Err(refusal) = self.create(index, kind, home)? {
                        self.outcomes[index] = *refusal;
                    }
                }
                (Action::Update | Action::Delete | Action::Trash, Some(kind)) => match Place::of(kind, &write.at.id) {
                    None => self.outcomes[index] = Outcome::of(Status::Gone),
                    Some(place) => {
                        let group = groups.entry(place.path.clone()).or_default();
                        if group.is_empty() {
                            order.push(place);
                        }
                        group.push(index);
                    }
                },
                _ => self.outcomes[index] = Outcome::refused("unknown_action", "a folder of files has no such action"),
            }
            cx.progress(index as u64, self.writes.len() as u64);
        }
        for place in order {
            crate::stop_if_cancelled(cx)?;
            let indices = &groups[&place.path];
            if let Err(refusal) = self.change(&place, indices)? {
                for index in indices {
                    self.outcomes[*index] = (*refusal).clone();
                }
            }
        }
        self.commit()
    }

    // Step 1: temporary files.

    fn create(&mut self, index: usize, kind: Kind, home: &str) -> Result<Result<(), Refusal>, Failure> {
        let write = &self.writes[index];
        let folder = write.container.as_deref().unwrap_or(home).to_owned();
        if let Err(refusal) = self.open(&folder) {
            return Ok(Err(refusal));
        }
        let names = file_names(write, kind);
        let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        // A create that is repeated finds the file of its first time, under the name that was free then.
        let mut free = None;
        for name in names.iter().rev() {
            let path = path(name);
            match statat(&self.folders[&folder], name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) if !self.planned.contains(&path) => free = Some((name, path)),
                Err(Errno::NOENT) => {}
                _ => {
                    if let Some(record) = self.same_record(kind, &path, write)? {
                        let exists = Outcome { status: Status::Exists, record: Some(record), ..Outcome::default() };
                        self.outcomes[index] = exists;
                        return Ok(Ok(()));
                    }
                }
            }
        }
        let Some((name, path)) = free else {
            let text = format!("{} is there already and holds another record", self.rules.root.show(&path(&names[0])));
            return Ok(Err(Box::new(Outcome::refused("name_taken", text))));
        };
        let edited = content::create(kind, write, self.rules.version);
        self.outcomes[index].refused_fields = edited.refused;
        let temporary = match self.put_temporary(&folder, &edited.bytes, &write.key, None) {
            Ok(temporary) => temporary,
            Err(error) => return Ok(Err(self.not_done("write", &path, error))),
        };
        self.planned.insert(path);
        let name = name.clone().into_bytes();
        self.jobs.push(Job {
            kind,
            folder,
            name,
            step: Step::Put,
            before: None,
            temporary: Some(temporary),
            discarded: Vec::new(),
            done: vec![Done {
                index,
                part: None,
                uid: content::uid_of_new(kind, write).map(str::to_owned),
                gone: false,
            }],
        });
        Ok(Ok(()))
    }

    /// The record at a path, if it is the one that this create makes.
    fn same_record(&self, kind: Kind, path: &str, write: &Write) -> Result<Option<Record>, Failure> {
        let place = Place { kind, path: path.to_owned(), key: None };
        let mut shelf = Shelf::default();
        let Some(loaded) = shelf.load(self.rules.root, &place)?.here() else { return Ok(None) };
        let record = record(self.rules.root, &place, &loaded, &[]);
        Ok((record.uid.as_deref() == content::uid_of_new(kind, write)).then_some(record))
    }

    /// Applies the writes to one file, one after the other.
    fn change(&mut self, place: &Place, indices: &[usize]) -> Result<Result<(), Refusal>, Failure> {
        let root = self.rules.root;
        let (folder, name) = place.split();
        let mut original = Vec::new();
        let stamp = match root.read_into(&place.path, &mut original) {
            Ok(stamp) => stamp,
            Err(ReadError::Io(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                return Ok(Err(Box::new(Outcome::of(Status::Gone))));
            }
            Err(ReadError::Io(error)) => return Ok(Err(self.not_done("read", &place.path, error))),
            Err(ReadError::TooLarge(size, _)) => {
                let text = format!("{}: {size} bytes", root.show(&place.path));
                return Ok(Err(Box::new(Outcome::refused("too_large", text))));
            }
        };
        if let Err(refusal) = self.open(folder) {
            return Ok(Err(refusal));
        }
        let order = Order {
            kind: place.kind,
            bytes: &original,
            stamp,
            digest: digest([original.as_slice()]),
            writes: indices.iter().map(|index| (*index, &self.writes[*index])).collect(),
            trash: self.rules.trash.is_some(),
        };
        let rewritten = rewrite(&order);
        for (index, refused) in rewritten.refused {
            self.outcomes[index] = match refused {
                Refused::Gone => Outcome::of(Status::Gone),
                Refused::Conflict(place) => self.conflict(&place),
                Refused::Broken(broken) => {
                    let text = format!("{}: {broken}; correct or delete it", root.show(&place.path));
                    Outcome::refused("unreadable", text)
                }
            };
        }
        for (index, fields) in rewritten.refused_fields {
            self.outcomes[index].refused_fields = fields;
        }
        let Some(first) = rewritten.done.first() else { return Ok(Ok(())) };
        let key = &self.writes[first.index].key;
        let step = match (rewritten.fate, rewritten.container.filter(|to| to != folder)) {
            (Fate::Removed, _) => Step::Remove,
            (Fate::Trashed, _) => Step::Trash,
            (Fate::Kept, None) => Step::Put,
            (Fate::Kept, Some(to)) => {
                if let Err(refusal) = self.open(&to) {
                    return Ok(Err(refusal));
                }
                Step::Move(to)
            }
        };
        let mut discarded = Vec::new();
        if let Some(trash) = self.rules.trash {
            for bytes in &rewritten.discarded {
                match self.put_discarded(trash, bytes, key) {
                    Ok(temporary) => discarded.push(temporary),
                    Err(error) => return Ok(Err(self.not_done("write", &trash.display().to_string(), error))),
                }
            }
        }
        let temporary = if rewritten.fate == Fate::Kept && rewritten.bytes != original {
            match self.put_temporary(folder, &rewritten.bytes, key, Some(&place.path)) {
                Ok(temporary) => Some(temporary),
                Err(error) => return Ok(Err(self.not_done("write", &place.path, error))),
            }
        } else {
            None
        };
        self.jobs.push(Job {
            kind: place.kind,
            folder: folder.to_owned(),
            name: decode_name(name).into_owned(),
            step,
            before: Some(stamp),
            temporary,
            discarded,
            done: rewritten.done,
        });
        Ok(Ok(()))
    }

    fn put_temporary(
        &mut self,
        folder: &str,
        bytes: &[u8],
        key: &str,
        like: Option<&str>,
    ) -> Result<(String, Stamp), Errno> {
        self.temporaries += 1;
        let name = temporary_name(key, self.temporaries);
        let opened = &self.folders[folder];
        let file = create_file(opened, &name)?;
        if let Some(path) = like {
            take_over_rights(self.rules.root, path, &file)?;
        }
        match write_all(&file, bytes).and_then(|()| date_back(&file)) {
            Ok(stamp) => Ok((name, stamp)),
            Err(error) => {
                let _ = unlinkat(opened, name.as_str(), AtFlags::empty());
                Err(error)
            }
        }
    }

    fn put_discarded(&mut self, trash: &Path, bytes: &[u8], key: &str) -> Result<String, Errno> {
        let opened = open_trash(trash)?;
        if self.swept.insert(format!("\0{}", trash.display())) {
            sweep(&opened);
        }
        self.temporaries += 1;
        let name = temporary_name(key, self.temporaries);
        let file = create_file(&opened, &name)?;
        write_all(&file, bytes)?;
        rustix::fs::fdatasync(&file)?;
        Ok(name)
    }

    /// Opens a folder, makes it if it is not there, and removes what a killed process left in it.
    fn open(&mut self, folder: &str) -> Result<(), Refusal> {
        if self.folders.contains_key(folder) {
            return Ok(());
        }
        if !folder.is_empty() && !is_safe(folder) {
            let text = format!("`{folder}` is no subfolder: it must be relative, without `..` and hidden parts");
            return Err(Box::new(Outcome::refused("bad_container", text)));
        }
        let opened = make_folder(self.rules.root, folder).map_err(|error| self.not_done("open", folder, error))?;
        if self.swept.insert(folder.to_owned()) {
            sweep(&opened);
        }
        self.folders.insert(folder.to_owned(), opened);
        Ok(())
    }

    // Steps 2 to 4.

    fn commit(&mut self) -> Result<(), Failure> {
        let root = self.rules.root;
        if self.jobs.is_empty() {
            return Ok(());
        }
        if self.jobs.iter().any(|job| job.temporary.is_some()) {
            syncfs(&root.fd).map_err(|error| failed("make the files durable in", &root.show(""), error))?;
        }
        let mut touched: BTreeSet<String> = BTreeSet::new();
        for index in 0..self.jobs.len() {
            let job = &self.jobs[index];
            match self.finish(job) {
                Ok(()) => {
                    touched.insert(job.folder.clone());
                    if let Step::Move(to) = &job.step {
                        touched.insert(to.clone());
                    }
                }
                Err(refusal) => {
                    self.discard(job);
                    for done in std::mem::take(&mut self.jobs[index].done) {
                        self.outcomes[done.index] = (*refusal).clone();
                    }
                }
            }
        }
        for folder in &touched {
            fsync(&self.folders[folder])
                .map_err(|error| failed("make the names durable in", &root.show(folder), error).unknown_outcome())?;
        }
        if let Some(trash) = self.rules.trash.filter(|_| self.jobs.iter().any(Job::uses_trash)) {
            open_trash(trash).and_then(fsync).map_err(|error| {
                failed("make the names durable in", &trash.display().to_string(), error).unknown_outcome()
            })?;
        }
        let jobs = std::mem::take(&mut self.jobs);
        for job in &jobs {
            self.report(job);
        }
        Ok(())
    }

    /// Brings one file to its new state.
    fn finish(&self, job: &Job) -> Result<(), Refusal> {
        let opened = &self.folders[&job.folder];
        let path = job.path();
        if let Some(before) = &job.before {
            match statat(opened, &*job.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if Stamp::of(&stat) == *before => {}
                Ok(_) => return Err(Box::new(self.conflict(&Place { kind: job.kind, path, key: None }))),
                Err(Errno::NOENT) => return Err(Box::new(Outcome::of(Status::Gone))),
                Err(error) => return Err(self.not_done("look at", &path, error)),
            }
        }
        let not_done = |verb: &str, error: Errno| self.not_done(verb, &path, error);
        if let (Some(trash), false) = (self.rules.trash, job.discarded.is_empty()) {
            let into = open_trash(trash).map_err(|error| not_done("open the trash folder for", error))?;
            for temporary in &job.discarded {
                rename_to_free_name(&into, temporary.as_bytes(), &into, &job.name)
                    .map_err(|error| not_done("move to the trash folder a card of", error))?;
            }
        }
        match &job.step {
            Step::Remove => {
                return unlinkat(opened, &*job.name, AtFlags::empty()).map_err(|error| not_done("delete", error));
            }
            Step::Trash => {
                let Some(trash) = self.rules.trash else { return Ok(()) };
                let into = open_trash(trash).map_err(|error| not_done("open the trash folder for", error))?;
                return rename_to_free_name(opened, &job.name, &into, &job.name).map_err(|error| match error {
                    Errno::XDEV => Box::new(Outcome::refused(
                        "trash_other_file_system",
                        format!(
                            "{} is on another file system than {path}: choose a trash folder on the same one",
                            trash.display()
                        ),
                    )),
                    error => not_done("move to the trash folder", error),
                });
            }
            Step::Move(to) => {
                rename_new(opened, &job.name, &self.folders[to], &job.name).map_err(|error| not_done("move", error))?
            }
            Step::Put => {}
        }
        let Some((temporary, _)) = &job.temporary else { return Ok(()) };
        let into = &self.folders[job.home()];
        if job.before.is_some() {
            renameat(opened, temporary.as_str(), into, &*job.name).map_err(|error| not_done("replace", error))
        } else {
            rename_new(opened, temporary.as_bytes(), into, &job.name).map_err(|error| match error {
                Errno::EXIST => Box::new(Outcome {
                    text: format!("{} appeared in this moment", self.rules.root.show(&path)),
                    ..Outcome::of(Status::NotSent)
                }),
                error => not_done("name", error),
            })
        }
    }

    /// Tells what became of the writes that a file's job fulfilled.
    fn report(&mut self, job: &Job) {
        if job.done.is_empty() {
            return;
        }
        let home = job.home();
        let path = job.path_in(home);
        let keeps_file = matches!(job.step, Step::Put | Step::Move(_));
        let stamp = if keeps_file {
            statat(&self.folders[home], &*job.name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| Stamp::of(&stat))
        } else {
            None
        };
        let version = match (stamp, &job.temporary) {
            // Somebody was faster than this look: a version that no listing tells has the record read again.
            (Some(stamp), Some((_, ours))) if !stamp.same_content(ours) => Some(ours.version()),
            (Some(stamp), None) => Some(self.rules.root.version(&stamp, || None)),
            (stamp, _) => stamp.map(|stamp| stamp.version()),
        };
        for done in &job.done {
            let outcome = &mut self.outcomes[done.index];
            outcome.status = Status::Applied;
            if done.gone {
                continue;
            }
            let (id, version) = match &done.part {
                Some((key, version)) => (format!("{path}#{key}"), Some(version.clone())),
                None => (path.clone(), version.clone()),
            };
            outcome.record = Some(Record {
                at: RecordRef::new(job.kind.entity(), id),
                version,
                incarnation: done.uid.clone(),
                uid: done.uid.clone(),
                container: Some(home.to_owned()),
                ..Record::default()
            });
        }
    }

    /// Leaves no temporary file behind, however the batch ended.
    fn clean_up(&mut self) {
        self.jobs.iter().for_each(|job| self.discard(job));
    }

    fn discard(&self, job: &Job) {
        if let (Some((temporary, _)), Some(opened)) = (&job.temporary, self.folders.get(&job.folder)) {
            let _ = unlinkat(opened, temporary.as_str(), AtFlags::empty());
        }
        if let Some(Ok(trash)) = self.rules.trash.filter(|_| !job.discarded.is_empty()).map(open_trash) {
            for temporary in &job.discarded {
                let _ = unlinkat(&trash, temporary.as_str(), AtFlags::empty());
            }
        }
    }

    fn conflict(&self, place: &Place) -> Outcome {
        let mut shelf = Shelf::default();
        match shelf.load(self.rules.root, place) {
            Ok(Shelved::Here(loaded)) => {
                let record = record(self.rules.root, place, &loaded, &[]);
                Outcome { record: Some(record), ..Outcome::of(Status::Conflict) }
            }
            Ok(Shelved::Gone) if place.key.is_none() => Outcome::of(Status::Gone),
            Ok(_) => Outcome::of(Status::Conflict),
            Err(failure) => Outcome { text: failure.text, ..Outcome::of(Status::NotSent) },
        }
    }

    fn not_done(&self, verb: &str, path: &str, error: Errno) -> Refusal {
        let text = failed(verb, &self.rules.root.show(path), error).text;
        Box::new(Outcome { text, ..Outcome::of(Status::NotSent) })
    }
}

impl Job {
    fn home(&self) -> &str {
        if let Step::Move(to) = &self.step { to } else { &self.folder }
    }

    fn path(&self) -> String {
        self.path_in(&self.folder)
    }

    fn path_in(&self, folder: &str) -> String {
        let mut path = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        crate::folder::encode_name(&self.name, &mut path);
        path
    }

    fn uses_trash(&self) -> bool {
        self.step == Step::Trash || !self.discarded.is_empty()
    }
}

fn unknown_entity(entity: &str) -> Outcome {
    Outcome::refused(
        "unknown_entity",
        format!("a folder of files has no entity `{entity}`; it has `contact` and `event`"),
    )
}

/// The names that a new file may get, best first: after the UID, or where another record bears that name, with the key.
fn file_names(write: &Write, kind: Kind) -> Vec<String> {
    let key: String = write.key.chars().filter(char::is_ascii_alphanumeric).take(LONGEST_NAME).collect();
    let key = if key.is_empty() { "record".to_owned() } else { key };
    let end = kind.extension();
    match write.uid.as_deref().map(safe_name) {
        Some(name) => vec![format!("{name}{end}"), format!("{name}-{key}{end}")],
        None => vec![format!("{key}{end}")],
    }
}

/// A UID as a file name on any system: letters, digits and `-_.@+`. What had to be changed is told apart by a digest.
fn safe_name(uid: &str) -> String {
    let is_safe = |char: char| char.is_ascii_alphanumeric() || "-_.@+".contains(char);
    let mut name: String = uid.chars().map(|char| if is_safe(char) { char } else { '_' }).collect();
    let is_changed = name != uid || name.len() > LONGEST_NAME || name.starts_with(['.', '-']) || name.is_empty();
    if is_changed {
        name.truncate(LONGEST_NAME);
        let start = name.trim_start_matches(['.', '-']);
        name = format!("{start}-{:08x}", digest([uid.as_bytes()]) >> 32).trim_start_matches('-').to_owned();
    }
    name
}
