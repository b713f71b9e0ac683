//! The operations of the plugin API, each one call of the system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pairwise_plugin_api::ops::*;
use pairwise_plugin_api::{
    Absent, Catalogue, Change, Class, Condition, Connector, Context, CreateKey, Cursor, Failure, Found, Millis,
    Outcome, Page, Principal, Record, RecordRef, Result, Status, Value,
};

use crate::catalogue::catalogue;
use crate::desk::{Rules, selected, version};
use crate::faults::{Armed, Strikes, When, wait};
use crate::journal::{Entry, Keeper};
use crate::settings::Config;
use crate::world::{Row, World, removed};

/// The largest page where the settings do not say.
const PAGE: u32 = 100;
/// The name of the store of a mock without a state file.
const MEMORY: &str = "memory";

/// A scripted system.
#[derive(Debug)]
pub struct Mock {
    config: Config,
    rules: Rules,
    inside: Mutex<Inside>,
}

/// What changes from call to call.
#[derive(Debug)]
struct Inside {
    world: World,
    faults: Vec<Armed>,
    keeper: Option<Keeper>,
    calls: u64,
    logged_in: BTreeSet<Principal>,
}

impl Inside {
    /// Looks for edits, notes the call, and tells which faults strike at it.
    fn enter(&mut self, mut call: Entry, now: Millis) -> Result<Strikes> {
        self.calls += 1;
        call.call = self.calls;
        let strikes = Strikes::at(&mut call, &mut self.faults);
        if let Some(keeper) = &mut self.keeper {
            if let Some(state) = keeper.edited()? {
                self.world = World::from_state(state, now);
                keeper.keep(&self.world.state())?;
            }
            keeper.note(&call)?;
        }
        Ok(strikes)
    }

    fn keep(&mut self) -> Result<()> {
        self.keeper.as_mut().map_or(Ok(()), |keeper| keeper.keep(&self.world.state()))
    }
}

impl Mock {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // No call panics while it holds the lock: faults strike outside of it.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The system's clock.
    fn now(&self) -> Millis {
        now(&self.config)
    }

    /// One call: latency, journal, what strikes before, the work, what strikes after.
    fn call<T>(&self, cx: &Context, call: Entry, work: impl FnOnce(&Strikes) -> Result<T>) -> Result<T> {
        wait(cx, Duration::from_millis(self.config.latency(&call.operation)))?;
        let principal = call.principal.clone();
        let must_log_in = self.config.login.as_ref().is_some_and(|login| !login.secrets.is_empty())
            && ![Describe::NAME, Discover::NAME, Login::NAME, MigrateState::NAME].contains(&call.operation.as_str());
        let strikes = {
            let mut inside = self.inside();
            let strikes = inside.enter(call, self.now())?;
            if must_log_in && !inside.logged_in.contains(&principal) {
                let who = if principal.is_connection() { "the connection" } else { &principal.0 };
                return Err(Failure::new(Class::Auth, format!("{who} is not logged in; call `login` first")));
            }
            strikes
        };
        strikes.hit(When::Before, cx)?;
        let answer = work(&strikes)?;
        strikes.hit(When::After, cx)?;
        Ok(answer)
    }

    fn selectors(config: &Config) -> Vec<String> {
        let abilities = config.abilities.clone().unwrap_or_default();
        let mut selectors = Vec::new();
        if abilities.containers {
            selectors.push("folder".to_owned());
        }
        if abilities.membership {
            selectors.push("group".to_owned());
        }
        selectors
    }

    /// How many lines a page has.
    fn limit(&self, asked: u32) -> usize {
        let most = self.config.page_size.unwrap_or(PAGE);
        (if asked == 0 { most } else { asked.min(most) }) as usize
    }

    fn server_time(&self) -> Option<Millis> {
        self.rules.abilities.server_time.then(|| self.now())
    }

    /// The form in which cursors are written.
    fn form(&self) -> u32 {
        self.config.cursors.as_ref().map_or(0, |cursors| cursors.form)
    }

    /// `form:kind:store:rest`, as every cursor of the mock is written.
    fn cursor(&self, kind: &str, store: &str, rest: impl std::fmt::Display) -> Cursor {
        Cursor(format!("{}:{kind}:{store}:{rest}", self.form()).into_bytes())
    }

    /// Store and rest of a cursor of this kind.
    fn read_cursor<'a>(&self, kind: &str, cursor: &'a Cursor) -> Result<(&'a str, &'a str)> {
        let parts = form_of(cursor)
            .filter(|(form, _)| *form == self.form())
            .and_then(|(_, text)| text.strip_prefix(kind)?.strip_prefix(':')?.split_once(':'));
        parts.ok_or_else(|| Failure::new(Class::Protocol, format!("this is no cursor of `{kind}`")))
    }

    fn absent(&self, gone: bool) -> Found {
        Found { record: None, absent: if gone { Absent::Gone } else { Absent::Hidden } }
    }
}

fn now(config: &Config) -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX);
    now.saturating_add(config.clock_skew_ms.unwrap_or(0))
}

/// The form of a cursor, and what it says.
fn form_of(cursor: &Cursor) -> Option<(u32, &str)> {
    let (form, text) = std::str::from_utf8(&cursor.0).ok()?.split_once(':')?;
    Some((form.parse().ok()?, text))
}

impl Connector for Mock {
    type Config = Config;

    fn create(config: Config, _cx: &Context) -> Result<Self> {
        let config = config.resolve()?;
        let mut faults = Armed::all(&config.faults);
        let mut keeper = config.state_dir.as_deref().map(Keeper::open).transpose()?;
        let (mut calls, mut kept) = (0, None);
        if let Some(keeper) = &mut keeper {
            calls = keeper.count(&mut faults)?;
            kept = keeper.edited()?;
        }
        let now = now(&config);
        let world = match (kept, &keeper) {
            (Some(state), _) => World::from_state(state, now),
            (None, Some(_)) => World::new(&config, format!("{:016x}", fastrand::u64(..)), now),
            (None, None) => World::new(&config, MEMORY.into(), now),
        };
        let rules = Rules {
            abilities: config.abilities.clone().unwrap_or_default(),
            catalogue: catalogue(&config.entities, &Self::selectors(&config)),
            respell: config.respell.clone(),
            ids: config.ids.unwrap_or_default(),
        };
        let mut inside = Inside { world, faults, keeper, calls, logged_in: BTreeSet::new() };
        inside.keep()?;
        Ok(Mock { config, rules, inside: Mutex::new(inside) })
    }

    fn describe(&self, cx: &Context) -> Result<Description> {
        self.call(cx, Entry::new(Describe::NAME, &Principal::connection()), |_| {
            let state = self.config.state_dir.as_ref().map(|path| path.display().to_string());
            Ok(Description {
                capabilities: self.rules.abilities.declared(),
                target: state.clone().unwrap_or_else(|| "records in memory".into()),
                identity: state.unwrap_or_default(),
            })
        })
    }

    fn discover(&self, cx: &Context, request: DiscoverRequest) -> Result<Catalogue> {
        self.call(cx, Entry::new(Discover::NAME, &request.principal), |_| {
            let mut catalogue = self.rules.catalogue.clone();
            catalogue.entities.retain(|entity| request.entity.as_ref().is_none_or(|name| entity.name == *name));
            Ok(catalogue)
        })
    }

    fn login(&self, cx: &Context, request: LoginRequest) -> Result<LoginResponse> {
        self.call(cx, Entry::new(Login::NAME, &request.principal), |_| {
            let login = self.config.login.clone().unwrap_or_default();
            let mut inside = self.inside();
            let mut response = LoginResponse::default();
            for name in &login.secrets {
                let refused = |text: &str| Failure::new(Class::Auth, format!("the secret `{name}` {text}"));
                let given = request.secrets.get(name).ok_or_else(|| refused("is missing; set it in the connection"))?;
                let token = inside.world.notes.tokens.get(&request.principal.0);
                let token = token.filter(|_| login.rotates.as_ref() == Some(name));
                if token.or(login.accepts.get(name)).is_some_and(|right| right != given) {
                    return Err(refused("is not the right one"));
                }
            }
            if let Some(name) = &login.rotates {
                let token = format!("token-{}", inside.calls);
                inside.world.notes.tokens.insert(request.principal.0.clone(), token.clone());
                response.keep.insert(name.clone(), token);
                inside.keep()?;
            }
            inside.logged_in.insert(request.principal);
            Ok(response)
        })
    }

    fn check(&self, cx: &Context, request: CheckRequest) -> Result<Vec<Condition>> {
        self.call(cx, Entry::new(Check::NAME, &request.principal), |_| {
            Ok(self.config.conditions.iter().cloned().map(Condition::from).collect())
        })
    }

    fn users(&self, cx: &Context, _request: UsersRequest) -> Result<UsersResponse> {
        self.call(cx, Entry::new(Users::NAME, &Principal::connection()), |_| {
            let users = self.config.users.iter().map(|user| User {
                principal: Principal(user.principal.clone()),
                address: user.address.clone(),
                name: user.name.clone(),
                active: !user.inactive,
                settings: values(&user.settings),
            });
            Ok(UsersResponse { users: users.collect(), next: None })
        })
    }

    fn settings(&self, cx: &Context, request: SettingsRequest) -> Result<BTreeMap<String, Value>> {
        self.call(cx, Entry::new(Settings::NAME, &request.principal), |_| {
            let user = self.config.users.iter().find(|user| user.principal == request.principal.0);
            Ok(values(user.map_or(&self.config.remote_settings, |user| &user.settings)))
        })
    }

    fn containers(&self, cx: &Context, request: ContainersRequest) -> Result<Vec<Container>> {
        self.call(cx, Entry::new(Containers::NAME, &request.principal), |_| {
            let inside = self.inside();
            let used = inside.world.rows.values().filter_map(|row| row.content.container.clone());
            let all: BTreeSet<String> = inside.world.notes.containers.iter().cloned().chain(used).collect();
            Ok(all.into_iter().map(container).collect())
        })
    }

    fn ensure_container(&self, cx: &Context, request: EnsureContainerRequest) -> Result<Container> {
        if !self.rules.abilities.containers {
            return Err(Failure::unimplemented(EnsureContainer::NAME));
        }
        self.call(cx, Entry::new(EnsureContainer::NAME, &request.principal), |_| {
            let mut inside = self.inside();
            inside.world.notes.containers.insert(request.path.clone());
            inside.keep()?;
            Ok(container(request.path))
        })
    }

    fn changes(&self, cx: &Context, request: ChangesRequest) -> Result<Page> {
        if !self.rules.abilities.feed {
            return Err(Failure::unimplemented(Changes::NAME));
        }
        self.call(cx, Entry::new(Changes::NAME, &request.principal), |strikes| {
            let inside = self.inside();
            let (world, store) = (&inside.world, &inside.world.notes.store);
            let since = match &request.cursor {
                None => 0,
                Some(cursor) => match self.read_cursor("feed", cursor)? {
                    (from, number) if from == store => number.parse().unwrap_or(u64::MAX),
                    _ => u64::MAX,
                },
            };
            if since > world.notes.sequence {
                return Err(Failure::new(Class::CursorExpired, "the cursor is of another store or of a later time"));
            }
            let tell = |(number, at, row): (u64, &RecordRef, Option<&Row>)| {
                if !request.entities.contains(&at.entity) || strikes.omits(at) {
                    return None;
                }
                match row {
                    Some(row) if row.content.belongs_to(&request.scope) => {
                        Some((number, Change::upsert(self.rules.record(row, &request.fields))))
                    }
                    // From the beginning, nobody needs to hear of what is not there.
                    _ if since == 0 || !self.rules.abilities.tombstones => None,
                    row => Some((number, removed(at, row.is_some()))),
                }
            };
            let mut lines = world.changed_since(since).filter_map(tell);
            let mut told: Vec<(u64, Change)> = lines.by_ref().take(self.limit(request.limit)).collect();
            let mut more = lines.next().is_some();
            let mut end = if more { None } else { Some(world.notes.sequence) };
            let mut complete = !more;
            if let Some((left, lie)) = strikes.cut(told.len()) {
                told.truncate(left);
                (more, end, complete) = (false, None, lie);
            }
            let next = end.or(told.last().map(|(number, _)| *number)).unwrap_or(since);
            Ok(Page {
                changes: told.into_iter().map(|(_, change)| change).collect(),
                next: Some(self.cursor("feed", store, next)),
                more,
                // From the beginning, a feed is a listing, too.
                complete,
                same_store: !strikes.other_store(),
                server_time: self.server_time(),
            })
        })
    }

    fn list(&self, cx: &Context, request: ListRequest) -> Result<Page> {
        self.call(cx, Entry::new(List::NAME, &request.principal), |strikes| {
            let inside = self.inside();
            let (world, store) = (&inside.world, &inside.world.notes.store);
            let after = match &request.page {
                None => None,
                Some(page) => {
                    let (_, rest) = self.read_cursor("page", page)?;
                    rest.split_once('/').map(|(entity, id)| RecordRef::new(entity, id))
                }
            };
            let tell = |(at, row): (&RecordRef, &Row)| {
                let here = request.entities.contains(&at.entity)
                    && row.content.belongs_to(&request.scope)
                    && !strikes.omits(at);
                here.then(|| match request.detail {
                    ListDetail::Ids => Record { at: at.clone(), version: Some(version(row)), ..Record::default() },
                    ListDetail::Full => self.rules.record(row, &request.fields),
                })
            };
            let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let mut lines = world.rows.range((from, std::ops::Bound::Unbounded)).filter_map(tell);
            let mut told: Vec<Record> = lines.by_ref().take(self.limit(request.limit)).collect();
            let mut more = lines.next().is_some();
            let mut complete = !more;
            if let Some((left, lie)) = strikes.cut(told.len()) {
                told.truncate(left);
                (more, complete) = (false, lie);
            }
            let next = match told.last() {
                Some(last) if more => self.cursor("page", store, format_args!("{}/{}", last.at.entity, last.at.id)),
                _ => self.cursor("listed", store, world.notes.sequence),
            };
            let same = |previous: &Cursor| self.read_cursor("listed", previous).is_ok_and(|(from, _)| from == store);
            Ok(Page {
                changes: told.into_iter().map(Change::upsert).collect(),
                next: Some(next),
                more,
                complete,
                same_store: !strikes.other_store() && request.previous.as_ref().is_some_and(same),
                server_time: self.server_time(),
            })
        })
    }

    fn get(&self, cx: &Context, request: GetRequest) -> Result<Vec<Found>> {
        self.call(cx, Entry::new(Get::NAME, &request.principal).at(request.at.clone()), |strikes| {
            let inside = self.inside();
            let find = |at: &RecordRef| match (strikes.blinds(at), inside.world.rows.get(at)) {
                (Some(gone), _) => self.absent(gone),
                (None, Some(row)) => Found::here(self.rules.record(row, &request.fields)),
                (None, None) => self.absent(self.rules.abilities.authoritative_get),
            };
            Ok(request.at.iter().map(find).collect())
        })
    }

    fn find(&self, cx: &Context, request: FindRequest) -> Result<Vec<Vec<Record>>> {
        self.call(cx, Entry::new(Find::NAME, &request.principal), |strikes| {
            let inside = self.inside();
            let fold = |text: &str| if request.case_sensitive { text.to_owned() } else { text.to_lowercase() };
            let keys = self.rules.abilities.create_key != CreateKey::None;
            let holds = |row: &Row, wanted: &str| {
                if request.by.is_empty() {
                    return keys && row.facts.key == wanted;
                }
                let wanted = fold(wanted);
                request.by.iter().any(|name| match &**name {
                    "uid" => row.content.uid.as_ref().is_some_and(|uid| fold(uid) == wanted),
                    name => row.content.fields.get(name).is_some_and(|value| fold(&value.to_string()) == wanted),
                })
            };
            let matches = |wanted: &String| {
                let rows = inside.world.rows.iter().filter(|(at, row)| {
                    at.entity == request.entity
                        && row.content.belongs_to(&request.scope)
                        && !strikes.omits(at)
                        && holds(row, wanted)
                });
                rows.map(|(_, row)| self.rules.record(row, &request.fields)).collect()
            };
            Ok(request.values.iter().map(matches).collect())
        })
    }

    fn write(&self, cx: &Context, request: WriteRequest) -> Result<Vec<Outcome>> {
        if request.writes.len() > self.rules.abilities.largest_batch as usize {
            let text = format!(
                "{} writes in one call; this system takes {}",
                request.writes.len(),
                self.rules.abilities.largest_batch
            );
            return Err(Failure::new(Class::Refused, text));
        }
        self.call(cx, Entry::new(WriteBatch::NAME, &request.principal).writes(&request.writes), |strikes| {
            let middle = request.writes.len() / 2;
            let mut outcomes = Vec::with_capacity(request.writes.len());
            for (index, write) in request.writes.iter().enumerate() {
                if index == middle {
                    self.inside().keep()?;
                    strikes.hit(When::Midway, cx)?;
                }
                let dictated = strikes.outcome(write);
                if let Some((outcome, false)) = dictated {
                    outcomes.push(outcome);
                    continue;
                }
                let outcome = self.rules.apply(&mut self.inside().world, write, &request.scope, self.now());
                outcomes.push(dictated.map_or(outcome, |(outcome, _)| outcome));
                cx.progress(index as u64 + 1, request.writes.len() as u64);
            }
            self.inside().keep()?;
            Ok(outcomes)
        })
    }

    fn acknowledge(&self, cx: &Context, request: AcknowledgeRequest) -> Result<Vec<Outcome>> {
        let at = request.items.iter().map(|item| item.at.clone());
        self.call(cx, Entry::new(Acknowledge::NAME, &request.principal).at(at), |_| {
            let mut inside = self.inside();
            let outcomes = request.items.iter().map(|item| {
                if self.rules.abilities.acknowledge.contains(&item.state) {
                    Outcome::of(Status::Applied)
                } else {
                    Outcome::refused("unknown_state", format!("this system knows no state `{}`", item.state))
                }
            });
            let outcomes = outcomes.collect();
            inside.world.notes.acknowledged.extend(request.items);
            inside.keep()?;
            Ok(outcomes)
        })
    }

    fn stamp(&self, cx: &Context, request: StampRequest) -> Result<StampResponse> {
        if !self.rules.abilities.stamp {
            return Err(Failure::unimplemented(Stamp::NAME));
        }
        self.call(cx, Entry::new(Stamp::NAME, &request.principal), |_| {
            let mut inside = self.inside();
            let place = selected(&request.scope, "folder").or(selected(&request.scope, "group")).unwrap_or_default();
            let place = format!("{}/{place}", request.principal.0);
            let found = inside.world.notes.stamps.get(&place).cloned();
            match request.put {
                Some(stamp) if request.expect == found => {
                    inside.world.notes.stamps.insert(place, stamp.clone());
                    inside.keep()?;
                    Ok(StampResponse { stamp: Some(stamp) })
                }
                _ => Ok(StampResponse { stamp: found }),
            }
        })
    }

    fn migrate_state(&self, cx: &Context, request: MigrateStateRequest) -> Result<MigrateStateResponse> {
        let Some(carries) = self.config.cursors.as_ref().and_then(|cursors| cursors.carries.as_ref()) else {
            return Err(Failure::unimplemented(MigrateState::NAME));
        };
        self.call(cx, Entry::new(MigrateState::NAME, &Principal::connection()), |_| {
            let known = form_of(&request.state).filter(|(form, _)| carries.contains(form));
            let state = known.map(|(_, text)| Cursor(format!("{}:{text}", self.form()).into_bytes()));
            Ok(MigrateStateResponse { state })
        })
    }
}

fn container(path: String) -> Container {
    Container { id: path.clone(), path, columns: Vec::new(), writable: true }
}

fn values(settings: &BTreeMap<String, serde_json::Value>) -> BTreeMap<String, Value> {
    let value = |value: &serde_json::Value| serde_json::from_value(value.clone()).unwrap_or_default();
    settings.iter().map(|(name, setting)| (name.clone(), value(setting))).collect()
}
