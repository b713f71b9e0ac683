//! A running sandbox.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::core::Core;
use crate::faults::Fault;
use crate::journal::Entry;
use crate::population::{Options, Population};
use crate::store::Item;
use crate::system::{Complaint, Edit, Login, System};
use crate::systems::{Entry as SystemEntry, SYSTEMS};
use crate::{connection, control, wire};

/// How long requests that are under way may take when the sandbox stops.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Each connection has a thread: more than these wait.
const MOST_CONNECTIONS: usize = 2_000;

/// Simulators that run until this is dropped.
pub struct Sandbox {
    world: Arc<World>,
    control_url: String,
    runtime: Option<Runtime>,
    /// Connections are open until it tells something.
    open: watch::Sender<()>,
}

/// What runs: the clock and the systems.
pub(crate) struct World {
    pub(crate) clock: Arc<Clock>,
    pub(crate) systems: Vec<Running>,
}

/// A system that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) name: &'static str,
    pub(crate) core: Core,
    pub(crate) system: Arc<dyn System>,
}

/// What one needs to know to connect to a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// That of its connector.
    pub name: String,
    /// Where its paths begin.
    pub base_url: String,
    /// What goes into a connection's settings.
    pub url: String,
    /// Logins that work.
    pub logins: Vec<Login>,
}

/// Why a sandbox does not start.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error("there is no system `{name}`; there are: {known}")]
    NoSuchSystem { name: String, known: String },
    #[error("cannot listen on {address}: {reason}; choose another port, or 0 for one that is free")]
    Port { address: SocketAddr, reason: io::Error },
    #[error("cannot start the sandbox's threads: {0}")]
    Threads(io::Error),
}

impl Sandbox {
    /// Starts the servers and fills the systems with people.
    ///
    /// # Errors
    /// If a system is not known, or a port is taken.
    pub fn start(options: Options) -> Result<Sandbox, StartError> {
        Sandbox::start_with(options, SYSTEMS)
    }

    /// The same, with other systems than ours: how the tests of the core bring one of their own.
    ///
    /// # Errors
    /// If a system is not known, or a port is taken.
    pub fn start_with(options: Options, systems: &[SystemEntry]) -> Result<Sandbox, StartError> {
        let wanted = choose(&options.systems, systems)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(MOST_CONNECTIONS)
            .thread_name("sandbox")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let people = Population::new(&options);
        let clock = Arc::new(Clock::new(options.clock));
        let control = bind(&runtime, options.port)?;
        let open = watch::Sender::new(());
        // Simulators send notifications from here.
        let home = runtime.enter();
        let mut systems = Vec::new();
        for (index, (name, build)) in (1..).zip(wanted) {
            let port = if options.port == 0 { 0 } else { options.port.saturating_add(index) };
            let (listener, base_url) = bind(&runtime, port)?;
            let core = Core::new(base_url, Arc::clone(&clock), options.seed);
            let running = Running { name, core: core.clone(), system: build(core) };
            running.system.populate(&people);
            running.serve(&runtime, listener, open.subscribe());
            systems.push(running);
        }
        let world = Arc::new(World { clock, systems });
        let (listener, control_url) = control;
        let router = control::router(Arc::clone(&world));
        runtime.spawn(async move { axum::serve(listener, router).await });
        drop(home);
        Ok(Sandbox { world, control_url, runtime: Some(runtime), open })
    }

    /// Where the control API is: `http://127.0.0.1:PORT`, its paths begin with `/control`.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// All systems that run.
    #[must_use]
    pub fn systems(&self) -> Vec<SystemInfo> {
        self.world.infos()
    }

    /// One of them.
    ///
    /// # Panics
    /// If it was not started.
    #[must_use]
    pub fn info(&self, system: &str) -> SystemInfo {
        self.running(system).info()
    }

    /// The ground that a system stands on: its store, journal, faults and time.
    ///
    /// # Panics
    /// If it was not started.
    #[must_use]
    pub fn core(&self, system: &str) -> &Core {
        &self.running(system).core
    }

    /// What a system holds, of one entity and user where they are given.
    ///
    /// # Panics
    /// If it was not started.
    #[must_use]
    pub fn records(&self, system: &str, entity: Option<&str>, user: Option<&str>) -> Vec<Item> {
        self.running(system).records(entity, user)
    }

    /// A person's edit; the answer is the record's id.
    ///
    /// # Errors
    /// If it makes no sense.
    ///
    /// # Panics
    /// If the system was not started.
    pub fn edit(&self, system: &str, edit: Edit) -> Result<String, Complaint> {
        self.running(system).system.edit(edit)
    }

    /// A person deletes a record.
    ///
    /// # Errors
    /// If there is no such record.
    ///
    /// # Panics
    /// If the system was not started.
    pub fn delete(&self, system: &str, user: &str, id: &str) -> Result<(), Complaint> {
        self.running(system).system.delete(user, id)
    }

    /// A command that only this system has.
    ///
    /// # Errors
    /// If there is none of that name, or its arguments make no sense.
    ///
    /// # Panics
    /// If the system was not started.
    pub fn command(&self, system: &str, name: &str, arguments: &Value) -> Result<Value, Complaint> {
        self.running(system).system.command(name, arguments)
    }

    /// The next matching requests go wrong.
    ///
    /// # Panics
    /// If the system was not started.
    pub fn fault(&self, system: &str, fault: Fault) {
        self.core(system).faults().add(fault);
    }

    /// The requests to a system after this number.
    ///
    /// # Panics
    /// If the system was not started.
    #[must_use]
    pub fn requests(&self, system: &str, since: u64) -> Vec<Entry> {
        self.core(system).journal().since(since)
    }

    /// Moves the clock of all systems.
    pub fn advance(&self, by: Duration) {
        self.world.advance(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    #[allow(clippy::panic, reason = "a test that asks for a system that it did not start is wrong")]
    fn running(&self, system: &str) -> &Running {
        self.world.system(system).unwrap_or_else(|| panic!("the sandbox does not run `{system}`"))
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("control_url", &self.control_url).finish_non_exhaustive()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.open.send_replace(());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LAST_WORDS);
        }
    }
}

impl World {
    pub(crate) fn system(&self, name: &str) -> Option<&Running> {
        self.systems.iter().find(|system| system.name == name)
    }

    pub(crate) fn infos(&self) -> Vec<SystemInfo> {
        self.systems.iter().map(Running::info).collect()
    }

    pub(crate) fn advance(&self, milliseconds: i64) {
        self.clock.advance(milliseconds);
        for running in &self.systems {
            running.system.clock_moved();
        }
    }
}

impl Running {
    fn serve(&self, runtime: &Runtime, listener: TcpListener, open: watch::Receiver<()>) {
        let router =
            Arc::clone(&self.system).router().layer(middleware::from_fn_with_state(self.clone(), wire::handle));
        runtime.spawn(connection::serve(listener, router, open));
    }

    fn info(&self) -> SystemInfo {
        SystemInfo {
            name: self.name.to_owned(),
            base_url: self.core.base_url().to_owned(),
            url: self.system.url(),
            logins: self.system.logins(),
        }
    }

    pub(crate) fn records(&self, entity: Option<&str>, user: Option<&str>) -> Vec<Item> {
        self.core.read(|store| {
            let wanted = store.all().filter(|item| {
                entity.is_none_or(|entity| item.entity == entity)
                    && user.is_none_or(|user| self.system.sees(store, user, item))
            });
            wanted.cloned().collect()
        })
    }
}

fn choose(names: &[String], from: &[SystemEntry]) -> Result<Vec<SystemEntry>, StartError> {
    if let Some(name) = names.iter().find(|name| !from.iter().any(|(known, _)| known == name)) {
        let known: Vec<&str> = from.iter().map(|(name, _)| *name).collect();
        return Err(StartError::NoSuchSystem { name: name.clone(), known: known.join(", ") });
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok(from.iter().copied().filter(|(name, _)| wanted(name)).collect())
}

fn bind(runtime: &Runtime, port: u16) -> Result<(TcpListener, String), StartError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok((listener, url))
    });
    bound.map_err(|reason| StartError::Port { address, reason })
}
