//! What people type.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::output::Format;
use crate::model::{Side, Winner};

/// Keeps contacts and calendars in step between CRMs and mail systems.
#[derive(Debug, Parser)]
#[command(name = "pairwise", disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration folder, the one that holds pairwise.toml; absent: $PAIRWISE_CONFIG, this folder, or the user's own.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
    /// For eyes, or one JSON document for programs.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Log more to standard error; again for still more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Append a detailed log to this file, one JSON object a line.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Do not ask back.
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pair a simulated CRM with a simulated mail system, let things happen in them, and show what each run does.
    #[cfg(feature = "sandbox")]
    Demo(DemoArgs),
    /// Start simulated systems with made-up people, and keep them running until Ctrl-C.
    #[cfg(feature = "sandbox")]
    Sandbox(SandboxArgs),
    /// List, show, write, check and switch profiles.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Show what a run would do, record by record, and write nothing anywhere.
    Plan(PlanArgs),
    /// Run once, now.
    Sync(SyncArgs),
    /// Show how each lane stands.
    Status,
    /// List the last runs.
    Runs {
        /// So many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Show one run.
    #[command(subcommand)]
    Run(RunCommand),
    /// Fields that changed on both sides and wait for a decision.
    #[command(subcommand)]
    Conflicts(ConflictsCommand),
    /// Records that were set aside after an error.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Operations that a guard stopped and that wait for a person.
    #[command(subcommand)]
    Holds(HoldsCommand),
    /// Show all that was ever done to one record, with the values that lost.
    History {
        /// The record's id on either side, as `plan` and `run show` print it.
        id: String,
    },
    /// List, check and write connections.
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// List, look into and lock connector plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Back up, restore and compact the state database.
    #[command(subcommand)]
    State(StateCommand),
    /// Check the whole installation and say what to do.
    Doctor,
    /// Schemas of the configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Where to put it; absent: a fresh temporary folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// How many people to make.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub(crate) contacts: u32,
    /// Two address books in files, instead of a simulated CRM and a simulated mail system.
    #[arg(long)]
    pub(crate) folders: bool,
    /// Keep the simulated systems running at the end, until Ctrl-C.
    #[arg(long, conflicts_with = "folders")]
    pub(crate) stay: bool,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Clone, Args)]
pub(crate) struct SandboxArgs {
    /// Which systems, for instance `infor-crm,outlook`; absent: all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) systems: Vec<String>,
    /// How many people have a login in every system.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) users: u32,
    /// How many people are in the address books of each of them.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) contacts: u32,
    /// Equal seeds make equal people.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The port of the control API, followed by those of the systems; absent: whatever is free.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u16,
}

/// Which lanes, and how. Shared by `plan` and `sync`, so that a plan can show what any run would do.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Profiles; absent: all that are enabled.
    #[arg(value_name = "PROFILE")]
    pub(crate) profiles: Vec<String>,
    /// Only this user pair.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Only this stream.
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// List both sides whole instead of asking for changes.
    #[arg(long)]
    pub(crate) full: bool,
    /// In this run this side wins wherever both sides changed.
    #[arg(long, value_name = "SIDE")]
    pub(crate) prefer: Option<SideArg>,
    /// In this run allow up to so many removals on each side, whatever the guard says.
    #[arg(long, value_name = "N")]
    pub(crate) allow_deletes: Option<u64>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Save the plan, for `sync --plan FILE`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Do exactly what this saved plan shows; refused once the state has moved.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profiles", "user", "stream", "full", "prefer", "allow_deletes"])]
    pub(crate) plan: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SideArg {
    Left,
    Right,
}

impl From<SideArg> for Side {
    fn from(side: SideArg) -> Self {
        match side {
            SideArg::Left => Side::Left,
            SideArg::Right => Side::Right,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WinnerArg {
    Left,
    Right,
    Latest,
}

impl From<WinnerArg> for Winner {
    fn from(winner: WinnerArg) -> Self {
        match winner {
            WinnerArg::Left => Winner::Left,
            WinnerArg::Right => Winner::Right,
            WinnerArg::Latest => Winner::Latest,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List all profiles.
    List,
    /// Show one profile as it is meant: preset and overrides together.
    Show {
        /// Which.
        profile: String,
    },
    /// Write a commented profile to start from. It is not enabled yet.
    New {
        /// The new profile's name.
        profile: String,
        /// What it starts from, for instance `mirror` or `copy`.
        #[arg(long)]
        preset: String,
        /// The left connection.
        #[arg(long, value_name = "CONNECTION")]
        left: String,
        /// The right connection.
        #[arg(long, value_name = "CONNECTION")]
        right: String,
    },
    /// Check everything, connect to both sides, write nothing.
    Check {
        /// Which; absent: all.
        profile: Option<String>,
    },
    /// Let `sync` without names run it.
    Enable {
        /// Which.
        profile: String,
    },
    /// Leave it out of `sync` without names.
    Disable {
        /// Which.
        profile: String,
    },
    /// Show which field of the left goes to which field of the right.
    Fields {
        /// Which.
        profile: String,
        /// Only this stream.
        #[arg(long, value_name = "STREAM")]
        stream: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// What one run did, lane by lane.
    Show {
        /// The run's id, as `runs` prints it; its beginning is enough.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// All that wait.
    List,
    /// One of them, with both values whole.
    Show {
        /// As `list` prints it.
        id: i64,
    },
    /// Decide which value stays. The next run carries it out.
    Resolve {
        /// As `list` prints them.
        #[arg(required_unless_present = "all")]
        ids: Vec<i64>,
        /// All that wait.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Whose value stays.
        #[arg(long, value_name = "SIDE")]
        prefer: WinnerArg,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// All that were set aside.
    List,
    /// One of them, with the whole reason.
    Show {
        /// As `list` prints it.
        id: i64,
    },
    /// Look at records again in the next run, although they did not change.
    Retry {
        /// As `list` prints them.
        #[arg(required_unless_present = "all")]
        ids: Vec<i64>,
        /// All that were set aside.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Leave records alone for good, until they change.
    Drop {
        /// As `list` prints them.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldsCommand {
    /// All that wait.
    List,
    /// One of them, with every operation that it holds.
    Show {
        /// As `list` prints it.
        id: i64,
    },
    /// Let the next run do exactly what `show` lists.
    Release {
        /// As `list` prints it.
        id: i64,
    },
    /// Do not do it: the records stay as they are.
    Drop {
        /// As `list` prints it.
        id: i64,
    },
    /// Of a doubtful match: these two are the same.
    Pair {
        /// As `list` prints it.
        id: i64,
        /// The record on the left, as `show` prints it.
        left: String,
        /// The record on the right.
        right: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// List all connections.
    List,
    /// Connect, log in, and say whether work could start.
    Check {
        /// Which; absent: all.
        connection: Option<String>,
    },
    /// Type a login, try it, and keep it: for secrets that say `{ kept = true }`.
    Login {
        /// Which.
        connection: String,
        /// Whose login, as a profile's users name it; absent: the connection's own.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Type this secret, too.
        #[arg(long, value_name = "NAME")]
        secret: Vec<String>,
    },
    /// Forget its logins and all that its profiles know, and disable these. No record is touched.
    Reset {
        /// Which.
        connection: String,
    },
    /// Write a commented connection to start from.
    Add {
        /// The new connection's name.
        name: String,
        /// Which plugin, for instance `vdir`.
        #[arg(long, value_name = "ID")]
        plugin: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List what was found, where, and whether it may be loaded.
    List,
    /// Show what a library says about itself, without running it, and how it loads.
    Inspect {
        /// A library, or the id of a plugin that `list` shows.
        file: PathBuf,
    },
    /// Write versions and hashes into plugins.lock: from now on no other file is loaded.
    Lock {
        /// Which plugins; absent: all that were found.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Write a consistent copy, also while runs go on.
    Backup {
        /// A new file.
        file: PathBuf,
    },
    /// Put a copy in the place of the state.
    Restore {
        /// What `backup` wrote.
        file: PathBuf,
    },
    /// Forget old history and give space back.
    Compact {
        /// Keep the history of so many days; absent: as long as `history.keep` says.
        #[arg(long, value_name = "DAYS")]
        keep: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// JSON Schemas, for editors that complete and check.
    Schema {
        /// Of which file; absent: both.
        file: Option<SchemaArg>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaArg {
    /// pairwise.toml
    Host,
    /// profiles/*.toml
    Profile,
}
