//! What goes wrong, and when: a fault selects calls, counts them, and strikes.

use std::time::Duration;

use pairwise_plugin_api::{Action, Class, Context, Failure, Outcome, RecordRef, Result, Status, Write};
use rustix::process::{Signal, getpid, kill_process};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::journal::Entry;
use crate::settings::{exact, exact_option, known_operation};

/// How long `hang` hangs: longer than any deadline.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);
/// What `leak` takes where the fault does not say.
const LEAK_MIB: usize = 64;

/// One thing that goes wrong.
///
/// Without `nth`, `every` and `times` it strikes at each call that it selects. `nth = 3` strikes at the third one,
/// `nth = 3, times = 2` at the third and fourth, `every = 5` at each fifth, `times = 2` at the first two.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// How the journal names it; `fault 1`, `fault 2`, … if not set.
    pub name: Option<String>,
    /// Selects calls of this operation.
    pub operation: Option<String>,
    /// Selects calls with a write of this action.
    #[serde(default, deserialize_with = "exact_option")]
    #[schemars(with = "Option<String>")]
    pub action: Option<Action>,
    /// Selects calls that name this record by its id; for `omit`, the record that is left out.
    pub record: Option<String>,
    /// Selects calls that write a text with this in it.
    pub text: Option<String>,
    /// Strikes from this selected call on, the first being 1.
    pub nth: Option<u64>,
    /// Strikes at every so many-th selected call.
    pub every: Option<u64>,
    /// Strikes so often, then never again; with `nth`, once if not set.
    pub times: Option<u64>,
    /// Before the call had its effect, after it, or, of a batch of writes, in its middle.
    #[serde(default)]
    pub when: When,
    /// What happens.
    pub does: Effect,
    /// `fail`: `auth config transient throttled not_found refused cursor_expired protocol other`; `transient` if not set.
    pub class: Option<FailureClass>,
    /// `outcome`: `refused not_sent throttled auth unknown conflict gone exists`; `refused` if not set.
    #[serde(default = "refused", deserialize_with = "exact")]
    #[schemars(with = "String")]
    pub status: Status,
    /// `outcome`: the code of the refusal.
    #[serde(default)]
    pub code: String,
    /// `outcome`: the field that is to blame.
    pub field: Option<String>,
    /// `fail` and `outcome`: the sentence for people.
    pub message: Option<String>,
    /// `fail` and `outcome`: what the system asks to wait.
    pub retry_after_ms: Option<u64>,
    /// `slow`: how long.
    #[serde(default)]
    pub ms: u64,
    /// `exit`: the process's code.
    #[serde(default)]
    pub exit_code: i32,
    /// `leak`: how much; 64 if not set.
    pub mebibytes: Option<usize>,
    /// `omit` without `record`: the share of records that is left out, always the same ones.
    pub share: Option<f64>,
    /// `empty`, `half`: the page claims to be the end of all there is. True if not set: the system lies.
    pub complete: Option<bool>,
    /// `omit`, `empty`: `get` says that the records are gone, not that they are hidden.
    #[serde(default)]
    pub gone: bool,
}

fn refused() -> Status {
    Status::Refused
}

/// When, within a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing was done yet.
    #[default]
    Before,
    /// Half of the writes of the batch are done.
    Midway,
    /// Everything was done; the answer is lost.
    After,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The call fails.
    Fail,
    /// The selected writes of the call have this outcome.
    Outcome,
    /// The call takes longer.
    Slow,
    /// The call does not end until it is cancelled.
    Hang,
    /// The call never ends and looks at nothing.
    Loop,
    /// A panic.
    Panic,
    /// The process ends by `abort`.
    Abort,
    /// The stack overflows.
    Overflow,
    /// The process dies of a segmentation fault.
    Segfault,
    /// The process ends as if all were well.
    Exit,
    /// Memory that is never given back.
    Leak,
    /// Feeds, listings and `get` do not know some records.
    Omit,
    /// The feed or listing ends without a record; `get` knows none.
    Empty,
    /// The feed or listing ends after half of this page.
    Half,
    /// The listing says that its store is not the one of the listing before.
    OtherStore,
}

/// Classes of failures that a system can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are those of the plugin API")]
pub enum FailureClass {
    Auth,
    Config,
    Transient,
    Throttled,
    NotFound,
    Refused,
    CursorExpired,
    Protocol,
    Other,
}

impl From<FailureClass> for Class {
    fn from(class: FailureClass) -> Class {
        match class {
            FailureClass::Auth => Class::Auth,
            FailureClass::Config => Class::Config,
            FailureClass::Transient => Class::Transient,
            FailureClass::Throttled => Class::Throttled,
            FailureClass::NotFound => Class::NotFound,
            FailureClass::Refused => Class::Refused,
            FailureClass::CursorExpired => Class::CursorExpired,
            FailureClass::Protocol => Class::Protocol,
            FailureClass::Other => Class::Other,
        }
    }
}

impl Fault {
    /// Refuses what can never strike.
    pub fn check(&self, index: usize) -> Result<()> {
        let setting = format!("faults[{index}]");
        let problem = |text: &str| Err(Failure::config(&setting, format!("{setting}: {text}")));
        if let Some(operation) = &self.operation {
            known_operation(&format!("{setting}.operation"), operation)?;
        }
        if self.nth == Some(0) || self.every == Some(0) || self.times == Some(0) {
            return problem("`nth`, `every` and `times` count from 1");
        }
        if self.nth.is_some() && self.every.is_some() {
            return problem("`nth` and `every` exclude each other");
        }
        let writes = self.operation.as_deref().is_none_or(|operation| operation == "write");
        if !writes && (self.does == Effect::Outcome || self.when == When::Midway) {
            return problem("`outcome` and `midway` belong to the operation `write`");
        }
        if matches!(self.does, Effect::Omit | Effect::Empty | Effect::Half | Effect::OtherStore)
            && self.when != When::Before
        {
            return problem("what a feed or listing tells has no `when`");
        }
        Ok(())
    }

    /// Whether the call is one of those that the fault speaks of.
    fn selects(&self, call: &Entry) -> bool {
        if self.operation.as_ref().is_some_and(|operation| *operation != call.operation) {
            return false;
        }
        // A listing names no records: what it is to leave out is no selector.
        let names = self.record.as_ref().filter(|_| self.does != Effect::Omit);
        if self.action.is_none() && self.text.is_none() {
            return names
                .is_none_or(|id| call.at.iter().any(|at| at.id == *id) || call.writes.iter().any(|w| w.id == *id));
        }
        call.writes.iter().any(|write| {
            self.action.is_none_or(|action| action == write.action)
                && names.is_none_or(|id| write.id == *id)
                && self.text.as_ref().is_none_or(|part| write.has(part))
        })
    }

    fn selects_write(&self, write: &Write) -> bool {
        let has = |part: &String| write.fields.iter().any(|(_, value)| value.to_string().contains(part.as_str()));
        self.action.is_none_or(|action| action == write.action)
            && self.record.as_ref().is_none_or(|id| write.at.id == *id)
            && self.text.as_ref().is_none_or(has)
    }

    fn omits(&self, at: &RecordRef) -> bool {
        match (&self.record, self.share) {
            (Some(id), _) => at.id == *id,
            (None, Some(share)) => (crate::world::digest(at.id.as_bytes()) % 1000) as f64 / 1000.0 < share,
            (None, None) => true,
        }
    }

    fn strike(&self, cx: &Context) -> Result<()> {
        match self.does {
            Effect::Fail => return Err(self.failure()),
            Effect::Slow => wait(cx, Duration::from_millis(self.ms)).map_err(|failure| self.certain(failure))?,
            Effect::Hang => wait(cx, FOR_EVER).map_err(|failure| self.certain(failure))?,
            Effect::Loop => loop {
                std::hint::spin_loop();
            },
            Effect::Panic => panic!("the mock was told to panic"),
            Effect::Abort => std::process::abort(),
            Effect::Overflow => {
                overflow(0);
            }
            Effect::Segfault => segfault(),
            Effect::Exit => std::process::exit(self.exit_code),
            Effect::Leak => {
                let mebibytes = self.mebibytes.unwrap_or(LEAK_MIB);
                // Written to, so that the memory is really taken.
                Vec::leak(vec![1_u8; mebibytes << 20]);
            }
            Effect::Outcome | Effect::Omit | Effect::Empty | Effect::Half | Effect::OtherStore => {}
        }
        Ok(())
    }

    fn failure(&self) -> Failure {
        let class = self.class.unwrap_or(FailureClass::Transient).into();
        let text = self.message.clone().unwrap_or_else(|| format!("the mock was told to fail: {}", Class::name(class)));
        let mut failure = Failure::new(class, text);
        failure.retry_after_ms = self.retry_after_ms;
        self.certain(failure)
    }

    fn certain(&self, failure: Failure) -> Failure {
        if self.when == When::Before { failure } else { failure.unknown_outcome() }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            status: self.status,
            code: self.code.clone(),
            field: self.field.as_deref().map(Into::into),
            text: self.message.clone().unwrap_or_else(|| "the mock was told to answer so".into()),
            retry_after_ms: self.retry_after_ms,
            ..Outcome::default()
        }
    }
}

/// A fault with its counts.
#[derive(Debug)]
pub struct Armed {
    /// How the journal names it.
    pub name: String,
    fault: Fault,
    /// How many calls it has selected.
    pub seen: u64,
    /// How often it struck.
    pub struck: u64,
}

impl Armed {
    /// All faults, not yet counted.
    pub fn all(faults: &[Fault]) -> Vec<Armed> {
        let name = |(index, fault): (usize, &Fault)| Armed {
            name: fault.name.clone().unwrap_or_else(|| format!("fault {}", index + 1)),
            fault: fault.clone(),
            seen: 0,
            struck: 0,
        };
        faults.iter().enumerate().map(name).collect()
    }

    /// Counts a call; true if the fault strikes at it.
    fn due(&mut self) -> bool {
        self.seen += 1;
        let fault = &self.fault;
        let times = fault.times.unwrap_or(if fault.nth.is_some() { 1 } else { u64::MAX });
        let now = match fault.every {
            Some(every) => self.seen.is_multiple_of(every),
            None => self.seen >= fault.nth.unwrap_or(1),
        };
        let due = now && self.struck < times;
        self.struck += u64::from(due);
        due
    }
}

/// The faults that strike at one call.
#[derive(Debug, Default)]
pub struct Strikes(Vec<Fault>);

impl Strikes {
    /// Counts the call at each fault, and notes in it which have seen it and which strike.
    pub fn at(call: &mut Entry, faults: &mut [Armed]) -> Strikes {
        let mut strikes = Vec::new();
        for armed in faults {
            if !armed.fault.selects(call) {
                continue;
            }
            call.selected.push(armed.name.clone());
            if armed.due() {
                call.struck.push(armed.name.clone());
                strikes.push(armed.fault.clone());
            }
        }
        Strikes(strikes)
    }

    /// Lets those happen whose moment it is.
    pub fn hit(&self, when: When, cx: &Context) -> Result<()> {
        self.0.iter().filter(|fault| fault.when == when).try_for_each(|fault| fault.strike(cx))
    }

    /// The outcome that a fault dictates for a write, and whether the write is done all the same.
    pub fn outcome(&self, write: &Write) -> Option<(Outcome, bool)> {
        let mut dictating = self.0.iter().filter(|fault| fault.does == Effect::Outcome);
        let fault = dictating.find(|fault| fault.selects_write(write))?;
        Some((fault.outcome(), fault.when != When::Before))
    }

    /// Whether feeds, listings and `find` leave a record out.
    pub fn omits(&self, at: &RecordRef) -> bool {
        self.0.iter().any(|fault| fault.does == Effect::Omit && fault.omits(at))
    }

    /// Whether `get` does not know a record; true in it: and says that it is gone.
    pub fn blinds(&self, at: &RecordRef) -> Option<bool> {
        let blinds = |fault: &&Fault| fault.does == Effect::Empty || (fault.does == Effect::Omit && fault.omits(at));
        self.0.iter().find(blinds).map(|fault| fault.gone)
    }

    /// How much of this page is told, of `whole` lines, and whether it claims to be the end of everything.
    pub fn cut(&self, whole: usize) -> Option<(usize, bool)> {
        self.0.iter().find_map(|fault| {
            let left = match fault.does {
                Effect::Empty => 0,
                Effect::Half => whole / 2,
                _ => return None,
            };
            Some((left, fault.complete.unwrap_or(true)))
        })
    }

    /// Whether a listing speaks of another store.
    pub fn other_store(&self) -> bool {
        self.0.iter().any(|fault| fault.does == Effect::OtherStore)
    }
}

/// Waits, unless the call is cancelled meanwhile.
pub fn wait(cx: &Context, time: Duration) -> Result<()> {
    if cx.wait(time) { Err(Failure::new(Class::Cancelled, "cancelled while waiting")) } else { Ok(()) }
}

fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1).wrapping_add(frame[0]) }
}

/// Dies of SIGSEGV. The signal is sent, since safe code cannot cause one: the handler that Rust installs for stack
/// overflows gives the first one up and restores the default action, so that the second is deadly.
fn segfault() -> ! {
    loop {
        let _ = kill_process(getpid(), Signal::SEGV);
        std::thread::yield_now();
    }
}
