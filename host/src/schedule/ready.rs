//! From a profile to two connectors that are logged in: first all that can be checked without running a plugin, then the
//! sessions, one for each connection.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use pairwise_plugin_api::ops::{Description, LoginRequest, Validate, ValidateRequest};
use pairwise_plugin_api::{Class, Failure, Principal};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;

use super::Selected;
use crate::config::problem::Problem;
use crate::config::{Config, Connection, Isolation, Problems, Profile, Secret};
use crate::model::{LaneSpec, LaneState, Side, Sides};
use crate::plugins::{
    self, Deadlines, Interrupted, KeepSecrets, Limits, LoadError, OpenError, Plugin, Plugins, Session, SessionSpec,
};

/// Why a profile cannot run now.
#[derive(Debug, Clone)]
pub struct Unready {
    /// How its lanes ended before they began.
    pub state: LaneState,
    /// What is wrong.
    pub problems: Problems,
}

impl From<Problems> for Unready {
    fn from(problems: Problems) -> Self {
        Unready { state: LaneState::Misconfigured, problems }
    }
}

impl From<Problem> for Unready {
    fn from(problem: Problem) -> Self {
        Problems::from(problem).into()
    }
}

/// A connection of which everything is known that can be known without running its plugin.
#[derive(Debug, Clone)]
pub(super) struct Ready<'a> {
    connection: &'a Connection,
    plugin: Plugin,
    settings: Json,
    logins: Vec<Login>,
}

/// Who logs in, and with what.
#[derive(Debug, Clone)]
struct Login {
    principal: Principal,
    /// The secrets are the principal's own, not the connection's.
    own: bool,
    secrets: Result<BTreeMap<String, SecretString>, Unready>,
}

/// A session, and those for whom it cannot be used.
#[derive(Debug)]
pub(super) struct Opened {
    session: Session,
    shut: BTreeMap<Principal, Unready>,
}

impl Opened {
    /// The session, for work on behalf of this principal.
    pub(super) fn of(&self, principal: &Principal) -> Result<&Session, Unready> {
        self.shut.get(principal).map_or(Ok(&self.session), |unready| Err(unready.clone()))
    }

    /// What the connector said about itself.
    pub(super) fn description(&self) -> &Description {
        self.session.description()
    }
}

/// Connections by name, checked.
pub(super) type Checked<'a> = BTreeMap<String, Result<Ready<'a>, Unready>>;
/// Connections by name, open.
pub(super) type Sessions = BTreeMap<String, Result<Opened, Unready>>;

/// Checks the connections that these lanes use: plugin, settings, secrets. No code of a plugin runs and nothing is written.
/// Answers each connection by its name.
#[must_use]
pub(super) fn check<'a>(config: &'a Config, plugins: &Plugins, selected: &[Selected<'_>]) -> Checked<'a> {
    let mut lanes: BTreeMap<&str, Vec<(&Selected<'_>, &LaneSpec, Side)>> = BTreeMap::new();
    for profile in selected {
        for lane in &profile.lanes {
            for side in Side::BOTH {
                lanes.entry(profile.profile.connections[side].as_str()).or_default().push((profile, lane, side));
            }
        }
    }
    // Each reads through the file of its plugin.
    thread::scope(|scope| {
        let check = |(name, lanes): (&str, Vec<_>)| (name.to_owned(), connection(config, plugins, name, &lanes));
        let checking: Vec<_> = lanes.into_iter().map(|of| scope.spawn(move || check(of))).collect();
        checking.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Plugin and settings of a connection.
fn resolve<'a>(config: &'a Config, plugins: &Plugins, name: &str) -> Result<Ready<'a>, Unready> {
    let connection = config.connection(name)?;
    let plugin = plugins.resolve(&connection.plugin, &connection.version).map_err(|error| {
        let at = if matches!(error, LoadError::NoVersion { .. }) { "/version" } else { "/plugin" };
        let problem = connection.problem(at, error.to_string(), "");
        match unreadable(plugins, &error) {
            Some(files) => problem.help(files),
            None => problem,
        }
    })?;
    let settings = connection.settings(&plugin.manifest.config_schema)?;
    Ok(Ready { connection, plugin, settings, logins: Vec::new() })
}

/// Where a plugin is not found, one of the files that cannot be read may be it.
fn unreadable(plugins: &Plugins, error: &LoadError) -> Option<String> {
    let LoadError::Unknown { .. } = error else { return None };
    let files = plugins.list().into_iter().filter(|found| found.manifest.is_none());
    let problems: Vec<String> = files.filter_map(|found| found.problem).collect();
    (!problems.is_empty()).then(|| format!("it may be in a file that cannot be used: {}", problems.join("; ")))
}

/// The same, and the secrets of everybody for whom these lanes work there.
fn connection<'a>(
    config: &'a Config,
    plugins: &Plugins,
    name: &str,
    lanes: &[(&Selected<'_>, &LaneSpec, Side)],
) -> Result<Ready<'a>, Unready> {
    let mut ready = resolve(config, plugins, name)?;
    let mut shared = None;
    for (profile, lane, side) in lanes {
        let principal = &lane.principals[*side];
        if ready.logins.iter().any(|login| login.principal == *principal) {
            continue;
        }
        let own = profile.profile.own_secrets(&lane.key, *side);
        let secrets = match own {
            Some(own) => read(config, &ready, principal, own, &|secret, message| {
                profile.profile.secret_problem(&lane.key.user, *side, secret, message)
            }),
            None => shared.get_or_insert_with(|| connection_secrets(config, &ready)).clone(),
        };
        let whole = Principal::connection();
        if own.is_none() && !ready.logins.iter().any(|login| login.principal == whole) {
            // Who comes with the connection's login comes after the connection: so a connector can tell it from one's own.
            ready.logins.push(Login { principal: whole.clone(), own: false, secrets: secrets.clone() });
        }
        if own.is_none() && *principal == whole {
            continue;
        }
        ready.logins.push(Login { principal: principal.clone(), own: own.is_some(), secrets });
    }
    Ok(ready)
}

/// Checks one connection on its own, as the connection itself, or as those people of profiles for whom it works where only they
/// have logins. See [`check`].
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_one<'a>(config: &'a Config, plugins: &Plugins, name: &str) -> Result<Ready<'a>, Unready> {
    let mut ready = resolve(config, plugins, name)?;
    if ready.connection.secrets.is_empty() && ready.plugin.manifest.secrets.iter().any(|secret| secret.required) {
        for profile in &config.profiles {
            for side in Side::BOTH.into_iter().filter(|side| profile.connections[*side] == name) {
                for lane in profile.lanes().iter().filter(|lane| profile.denied(&lane.key).is_none()) {
                    let principal = &lane.principals[side];
                    let Some(own) = profile.own_secrets(&lane.key, side) else { continue };
                    if ready.logins.iter().any(|login| login.principal == *principal) {
                        continue;
                    }
                    let secrets = read(config, &ready, principal, own, &|secret, message| {
                        profile.secret_problem(&lane.key.user, side, secret, message)
                    });
                    ready.logins.push(Login { principal: principal.clone(), own: true, secrets });
                }
            }
        }
    }
    if ready.logins.is_empty() {
        let secrets = connection_secrets(config, &ready);
        ready.logins.push(Login { principal: Principal::connection(), own: false, secrets });
    }
    Ok(ready)
}

/// Where the secrets of a principal stand.
struct Written<'a> {
    secrets: &'a BTreeMap<String, Secret>,
    /// With this user of a profile; absent: with the connection.
    own: Option<(&'a Profile, &'a str, Side)>,
}

/// Where the secrets of a principal of a connection stand; `None` if nobody knows the principal.
fn secrets_of<'a>(config: &'a Config, connection: &'a Connection, principal: &Principal) -> Option<Written<'a>> {
    let with_connection = Written { secrets: &connection.secrets, own: None };
    if principal.is_connection() {
        return Some(with_connection);
    }
    let mut known = false;
    for profile in &config.profiles {
        for side in Side::BOTH.into_iter().filter(|side| profile.connections[*side] == connection.name) {
            for lane in profile.lanes().iter().filter(|lane| lane.principals[side] == *principal) {
                if let Some(secrets) = profile.own_secrets(&lane.key, side) {
                    return Some(Written { secrets, own: Some((profile, &lane.key.user, side)) });
                }
                known = true;
            }
        }
    }
    known.then_some(with_connection)
}

/// The secrets that a person types at a login: those that are kept by the host and that the plugin cannot do without, and
/// those that were named. Answers name and meaning of each.
///
/// # Errors
/// If there is no such connection, plugin, user, or secret to be kept.
pub(super) fn typed(
    config: &Config,
    plugins: &Plugins,
    name: &str,
    principal: &Principal,
    named: &[String],
) -> Result<Vec<(String, String)>, Unready> {
    let ready = resolve(config, plugins, name)?;
    let connection = ready.connection;
    let Some(Written { secrets, .. }) = secrets_of(config, connection, principal) else {
        let message = format!("no profile has a user `{}` on connection `{name}`", principal.0);
        return Err(Problem::new(message).help("name one as the profile's `[[users]]` do").into());
    };
    let kept: Vec<&String> =
        secrets.iter().filter(|(_, place)| matches!(place, Secret::Kept(_))).map(|(name, _)| name).collect();
    if let Some(other) = named.iter().find(|named| !kept.contains(named)) {
        let known: Vec<&str> = kept.iter().map(|name| name.as_str()).collect();
        let message = format!("connection `{name}` keeps no secret `{other}`; it keeps: {}", known.join(", "));
        return Err(connection.problem("/secrets", message, "").into());
    }
    if kept.is_empty() {
        let message = format!("connection `{name}` keeps no login: its secrets are where its file says");
        let problem = connection.problem("/secrets", message, "");
        return Err(problem.help("say `{ kept = true }` for a secret that is to be typed and kept").into());
    }
    let known = &ready.plugin.manifest.secrets;
    let wanted =
        |name: &&String| named.contains(name) || known.iter().any(|secret| secret.name == **name && secret.required);
    let meaning = |name: &String| {
        let secret = known.iter().find(|secret| secret.name == *name);
        (name.clone(), secret.map(|secret| secret.text.clone()).unwrap_or_default())
    };
    Ok(kept.into_iter().filter(wanted).map(meaning).collect())
}

/// Checks one connection for the login of a principal, whose kept secrets are those that were typed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_login<'a>(
    config: &'a Config,
    plugins: &Plugins,
    name: &str,
    principal: &Principal,
    typed: &BTreeMap<String, SecretString>,
) -> Result<Ready<'a>, Unready> {
    let mut ready = resolve(config, plugins, name)?;
    let shared = Written { secrets: &ready.connection.secrets, own: None };
    let Written { secrets, own } = secrets_of(config, ready.connection, principal).unwrap_or(shared);
    let connection = Principal::connection();
    let keeper = if own.is_some() { principal } else { &connection };
    let absent = |name: &str| matches!(config.vault().kept().get(&ready.connection.name, keeper, name), Ok(None));
    // What a login makes itself need not be there before the first one.
    let others = secrets
        .iter()
        .filter(|(name, place)| !(typed.contains_key(*name) || matches!(place, Secret::Kept(_)) && absent(name)));
    let others: BTreeMap<String, Secret> = others.map(|(name, place)| (name.clone(), place.clone())).collect();
    let mut opened = config.vault().open(&ready.connection.name, keeper, &others).map_err(|errors| {
        let mut problems = Problems::default();
        problems.extend(errors.iter().map(|error| match own {
            Some((profile, user, side)) => profile.secret_problem(user, side, &error.name, error.to_string()),
            None => ready.connection.problem(&format!("/secrets/{}", error.name), error.to_string(), ""),
        }));
        Unready::from(problems)
    })?;
    opened.extend(typed.iter().map(|(name, secret)| (name.clone(), secret.clone())));
    ready.logins.push(Login { principal: principal.clone(), own: own.is_some(), secrets: Ok(opened) });
    Ok(ready)
}

fn connection_secrets(config: &Config, ready: &Ready<'_>) -> Result<BTreeMap<String, SecretString>, Unready> {
    read(config, ready, &Principal::connection(), &ready.connection.secrets, &|secret, message| {
        ready.connection.problem(&format!("/secrets/{secret}"), message, "")
    })
}

fn read(
    config: &Config,
    ready: &Ready<'_>,
    principal: &Principal,
    secrets: &BTreeMap<String, Secret>,
    problem: &dyn Fn(&str, String) -> Problem,
) -> Result<BTreeMap<String, SecretString>, Unready> {
    let Ready { connection, plugin, .. } = ready;
    let whose = if principal.is_connection() {
        format!("connection `{}`", connection.name)
    } else {
        format!("user `{}` of connection `{}`", principal.0, connection.name)
    };
    let mut problems = Problems::default();
    for wanted in plugin.manifest.secrets.iter().filter(|wanted| wanted.required && !secrets.contains_key(&wanted.name))
    {
        let message = format!("{whose} has no secret `{}`", wanted.name);
        let help = format!(
            "add secrets = {{ {} = {{ env = \"…\" }} }}, or {{ file = \"…\" }}, or {{ command = […] }}",
            wanted.name
        );
        problems.push(problem(&wanted.name, message).help(help));
    }
    match config.vault().open(&connection.name, principal, secrets) {
        Ok(opened) => problems.check().map(|()| opened).map_err(Unready::from),
        Err(errors) => {
            problems.extend(errors.iter().map(|error| {
                let message = format!("{whose}: no secret `{}`: {}", error.name, error.reason);
                problem(&error.name, message).help(&*error.remedy)
            }));
            Err(problems.into())
        }
    }
}

/// Opens the sessions of connections that are ready, all at once, and logs their principals in. A login's rotated secrets
/// are kept before anything else happens.
#[must_use]
pub(super) fn open(
    config: &Config,
    cache_dir: &Path,
    checked: Checked<'_>,
    interrupted: Option<&Interrupted>,
) -> Sessions {
    thread::scope(|scope| {
        let opening: Vec<_> = checked
            .into_iter()
            .map(|(name, ready)| {
                let open = move |ready: Ready<'_>| ready.open(config, cache_dir, interrupted.cloned());
                (name, scope.spawn(move || ready.and_then(open)))
            })
            .collect();
        let joined = opening.into_iter().map(|(name, thread)| {
            let opened = thread.join().unwrap_or_else(|_| {
                let problem = Problem::new(format!("opening connection `{name}` came upon an error of pairwise's own"));
                Err(Unready { state: LaneState::Failed, problems: problem.into() })
            });
            (name, opened)
        });
        joined.collect()
    })
}

/// What connections lead to, without logging in to them; those that cannot be opened are left out.
#[must_use]
pub(super) fn look(config: &Config, plugins: &Plugins, cache_dir: &Path, names: &[&str]) -> BTreeMap<String, String> {
    let identity = |name: &str| {
        let session = resolve(config, plugins, name)?.start(config, cache_dir, None, None)?;
        Ok(session.description().identity.clone())
    };
    let seen = names.iter().filter_map(|name| match identity(name) {
        Ok(identity) => Some(((*name).to_owned(), identity)),
        Err(Unready { problems, .. }) => {
            tracing::debug!(connection = name, "not looked at: {problems}");
            None
        }
    });
    seen.collect()
}

impl Ready<'_> {
    /// Who logs in.
    pub(super) fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.logins.iter().map(|login| &login.principal)
    }

    /// Under whose name a principal's typed secrets are kept: its own, or the connection's, which it shares.
    pub(super) fn keeper_of(&self, principal: &Principal) -> Principal {
        let own = self.logins.iter().any(|login| login.own && login.principal == *principal);
        if own { principal.clone() } else { Principal::connection() }
    }

    /// The secrets of its only login, if the host keeps one that a person gets by signing in: its name goes with them.
    pub(super) fn sign_in(&self) -> Option<(&str, BTreeMap<String, SecretString>)> {
        let Login { secrets: Ok(secrets), own, .. } = self.logins.first()? else { return None };
        let kept = |name: &str| *own || matches!(self.connection.secrets.get(name), Some(Secret::Kept(_)));
        let wanted = self.plugin.manifest.secrets.iter().find(|secret| secret.by_sign_in && kept(&secret.name))?;
        Some((&wanted.name, secrets.clone()))
    }

    /// What the sign-in gave.
    pub(super) fn signed_in(&mut self, name: &str, secret: SecretString) {
        if let Some(Login { secrets: Ok(secrets), .. }) = self.logins.first_mut() {
            secrets.insert(name.to_owned(), secret);
        }
    }

    /// Starts the connector. Nobody is logged in yet.
    pub(super) fn start(
        &self,
        config: &Config,
        cache_dir: &Path,
        keep: Option<KeepSecrets>,
        interrupted: Option<Interrupted>,
    ) -> Result<Session, Unready> {
        let Ready { connection, plugin, settings, .. } = self;
        let mut spec =
            SessionSpec::new(&*connection.name, plugin.clone(), settings.clone(), &*config.folder, cache_dir);
        spec.isolation = match connection.isolation {
            Isolation::Worker => plugins::Isolation::Worker,
            Isolation::InProcess => plugins::Isolation::InProcess,
        };
        let limits = connection.limits;
        spec.limits = Limits { memory: limits.memory, files: limits.open_files, ..Limits::default() };
        spec.deadlines = Deadlines {
            startup: limits.start_deadline,
            soft: limits.soft_deadline,
            hard: limits.hard_deadline,
            ..Deadlines::default()
        };
        (spec.keep, spec.interrupted) = (keep, interrupted);
        Session::open(spec).map_err(|error| refused(connection, error))
    }

    /// Whether this principal can log in, as far as that is known before anybody tried.
    pub(super) fn allows(&self, principal: &Principal) -> Result<(), Unready> {
        let login = self.logins.iter().find(|login| login.principal == *principal);
        login.map_or(Ok(()), |login| login.secrets.as_ref().map(|_| ()).map_err(Clone::clone))
    }

    /// Starts the connector, lets it look at its settings, and logs everybody in. Who is refused does not keep the others
    /// out.
    ///
    /// # Errors
    /// Why nobody can work with it.
    pub(super) fn open(
        &self,
        config: &Config,
        cache_dir: &Path,
        interrupted: Option<Interrupted>,
    ) -> Result<Opened, Unready> {
        let connection = self.connection;
        let keep = self.keeper(config);
        let session = self.start(config, cache_dir, Some(keep.clone()), interrupted)?;
        let found = session.send::<Validate>(&ValidateRequest {}).map_err(|failure| failed(connection, &failure))?;
        let mut problems = Problems::default();
        problems.extend(
            found.into_iter().map(|found| connection.problem(&format!("/settings/{}", found.setting), found.text, "")),
        );
        problems.check()?;
        let mut shut = BTreeMap::new();
        for Login { principal, secrets, .. } in &self.logins {
            let admitted = secrets.clone().and_then(|secrets| {
                let secrets = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose_secret().to_owned()));
                let request = LoginRequest { principal: principal.clone(), secrets: secrets.collect() };
                session.login(request).map_err(|failure| failed(connection, &failure))
            });
            match admitted {
                Ok(response) => keep(principal, &response.keep),
                Err(unready) => drop(shut.insert(principal.clone(), unready)),
            }
        }
        Ok(Opened { session, shut })
    }

    /// Puts rotated secrets where the next run finds them: with the principal if they are its own, else with the connection.
    fn keeper(&self, config: &Config) -> KeepSecrets {
        let (vault, connection) = (config.vault(), self.connection.name.clone());
        let own = self.logins.iter().filter(|login| login.own).map(|login| login.principal.clone());
        let own: BTreeSet<Principal> = own.collect();
        Arc::new(move |principal: &Principal, secrets: &BTreeMap<String, String>| {
            let owner = if own.contains(principal) { principal.clone() } else { Principal::connection() };
            for (name, value) in secrets {
                if let Err(error) = vault.kept().put(&connection, &owner, name, &value.clone().into()) {
                    tracing::error!(connection, secret = name, "a rotated secret cannot be kept: {error}");
                }
            }
        })
    }
}

fn refused(connection: &Connection, error: OpenError) -> Unready {
    match error {
        OpenError::Refused { failure, .. } => failed(connection, &failure),
        OpenError::Load(error) => {
            // Nothing in the configuration is wrong with a plugin that falls over.
            let fell = matches!(error, LoadError::Start { .. } | LoadError::Quarantined { .. });
            let state = if fell { LaneState::Unreachable } else { LaneState::Misconfigured };
            Unready { state, problems: connection.problem("/plugin", error.to_string(), "").into() }
        }
        OpenError::Settings { problems, .. } => {
            let mut found = Problems::default();
            found.extend(problems.into_iter().map(|problem| {
                let at = format!("/settings/{}", problem.setting.replace('.', "/"));
                connection.problem(&at, problem.text, "")
            }));
            found.into()
        }
    }
}

/// A call that failed before any lane began.
pub(super) fn failed(connection: &Connection, failure: &Failure) -> Unready {
    let name = &connection.name;
    match failure.class {
        Class::Config => {
            let at = failure.setting.as_ref().map_or(String::new(), |setting| format!("/settings/{setting}"));
            connection.problem(&at, failure.text.clone(), "").into()
        }
        Class::Auth => {
            let problem = connection.problem("/secrets", format!("connection `{name}`: {failure}"), "");
            let help = format!("put the login right, then try it: `pairwise connection check {name}`");
            Unready { state: LaneState::Unreachable, problems: problem.help(help).into() }
        }
        class => {
            let state = match class {
                Class::Protocol | Class::Unimplemented | Class::Refused => LaneState::Failed,
                Class::Cancelled => LaneState::Cancelled,
                _ => LaneState::Unreachable,
            };
            Unready { state, problems: Problem::new(format!("connection `{name}`: {failure}")).into() }
        }
    }
}

/// Refuses a profile that pairs a store with itself, and two profiles that pair the same stores in the same lanes, whatever
/// their connections are called. `identity` answers what a connection leads to, empty where nobody can tell.
#[must_use]
pub(super) fn identities(
    config: &Config,
    selected: &[Selected<'_>],
    identity: &dyn Fn(&str) -> String,
) -> BTreeMap<String, Unready> {
    let mut refused = BTreeMap::new();
    let pair = |profile: &crate::config::Profile| Sides::from_fn(|side| identity(&profile.connections[side]));
    for Selected { profile, .. } in selected {
        let mine = pair(profile);
        if mine.left.is_empty() || mine.right.is_empty() {
            continue;
        }
        let name = &profile.name;
        if mine.left == mine.right {
            let Sides { left, right } = &profile.connections;
            let message =
                format!("profile `{name}` pairs a store with itself: `{left}` and `{right}` lead to the same");
            let problem = Problem::at(profile.mark(), message, "expected a connection that leads elsewhere");
            refused.insert(name.clone(), problem.into());
            continue;
        }
        for other in config.profiles.iter().filter(|other| other.enabled && other.name != *name) {
            let theirs = pair(other);
            let straight = mine == theirs;
            let crossed = mine.left == theirs.right && mine.right == theirs.left;
            if (straight || crossed) && overlap(profile.lanes(), other.lanes(), straight) {
                let message = format!("profiles `{name}` and `{}` pair the same stores", other.name);
                let Sides { left, right } = &other.connections;
                let expected = format!("`{left}` and `{right}` of `{}` lead there, too", other.name);
                let problem = Problem::at(profile.mark(), message, expected);
                let help =
                    format!("disable one: `pairwise profile disable {}`, or give them different streams", other.name);
                refused.insert(name.clone(), problem.help(help).into());
            }
        }
    }
    refused
}

/// Whether two lanes work on the same records, once both sides are known to be the same.
fn overlap(mine: &[LaneSpec], theirs: &[LaneSpec], straight: bool) -> bool {
    mine.iter().any(|mine| {
        theirs.iter().any(|theirs| {
            Side::BOTH.into_iter().all(|side| {
                let there = if straight { side } else { side.other() };
                mine.principals[side] == theirs.principals[there]
                    && mine.scope[side] == theirs.scope[there]
                    && mine.entities[side].iter().any(|entity| theirs.entities[there].contains(entity))
            })
        })
    })
}
