//! What changed since the last look, and everything there is.
//!
//! The server has no feed of changes and tells nothing of deletions. So a look has two steps: who belongs to the scope now,
//! and which records carry a date of change in the recent past; then those that are new, changed or gone are read, page by
//! page. The past begins some time before the last change that was seen, by the server's own dates, because clocks differ
//! and long work shows late. What was seen in it is remembered, so that it is not told twice.

use std::collections::{BTreeMap, BTreeSet};

use pairwise_http::abreast;
use pairwise_plugin_api::{Change, Context, Millis, Name, Page, Principal, Reason, Record, RecordRef, Result};

use crate::batch;
use crate::cursor::{Keys, Part, State, Todo, Window};
use crate::entity::{AddressKind, Kind, RELATIONS};
use crate::groups::{self, is_marked, marker};
use crate::identity::{Edition, identity};
use crate::leads::{self, EMAIL, LEADS};
use crate::login::Login;
use crate::query::{at, literal, url};
use crate::records::{Reading, made_by_keys, select, selected_by_keys};
use crate::server::Server;
use crate::settings::Config;
use crate::wire::{Entry, etag, key, millis, related, text};

/// Rows of a look: they are short.
const ROWS: usize = 500;

/// A feed that is being read on behalf of a login.
pub(crate) struct Reader<'a> {
    pub(crate) server: &'a Server,
    pub(crate) cx: &'a Context,
    pub(crate) login: &'a Login,
    pub(crate) principal: &'a Principal,
    /// The fields that are wanted; none means all.
    pub(crate) fields: &'a [Name],
    /// Records that are as we wrote them are not told.
    pub(crate) skip_own: bool,
}

/// A feed in which changes show, and the records that they concern.
struct Source {
    feed: &'static str,
    date: &'static str,
    order: &'static str,
    select: String,
    /// The property that holds the words of groups, where these are asked for.
    marker: Option<String>,
    addresses: bool,
}

/// A row that was not seen before; there may be many.
struct Fresh {
    /// The key of the row.
    key: String,
    /// Of a record.
    etag: Option<String>,
    words: Option<String>,
    date: Millis,
    /// False where a later change could bear the same date.
    settled: bool,
}

/// A row of a look.
struct Row {
    key: String,
    /// The record that is changed by it: itself, or the owner of an address.
    concerns: String,
    date: Millis,
    /// Stands for its state.
    print: u64,
}

/// What an entry tells.
struct Told {
    record: Record,
    date: Option<Millis>,
    print: u64,
    /// Its addresses, and when they changed.
    addresses: Vec<(String, Millis)>,
    /// Of a lead.
    email: Option<String>,
}

impl Told {
    /// `None` of one without a key.
    fn of(reading: &Reading<'_>, entry: &Entry) -> Option<Told> {
        let record = reading.record(entry)?;
        let addresses = RELATIONS.iter().filter_map(|relation| related(entry, relation));
        let dated = addresses
            .filter_map(|address| Some((key(address)?.to_owned(), address.get("ModifyDate").and_then(millis)?)));
        Some(Told {
            date: entry.get("ModifyDate").and_then(millis),
            print: etag(entry).map_or(0, print),
            addresses: dated.collect(),
            email: (record.at.entity == LEADS).then(|| text(entry, EMAIL)).flatten().map(str::to_owned),
            record,
        })
    }
}

impl Source {
    fn records(kind: &'static Kind, marker: Option<&str>) -> Source {
        let select = marker.map_or("ModifyDate".to_owned(), |property| format!("ModifyDate,{property}"));
        let (date, order, marker) = ("ModifyDate", "ModifyDate desc,Id", marker.map(str::to_owned));
        Source { feed: kind.entity, date, order, select, marker, addresses: false }
    }

    /// A change of an address does not show in its owner's date.
    fn addresses(kind: &'static Kind) -> Option<Source> {
        let (feed, date, order, select) = match kind.address {
            AddressKind::None => return None,
            AddressKind::Own => ("addresses", "ModifyDate", "ModifyDate desc,Id", "EntityId,ModifyDate"),
            AddressKind::Nested => (kind.entity, "Address.ModifyDate", "Id", "Address/ModifyDate"),
        };
        Some(Source { feed, date, order, select: select.to_owned(), marker: None, addresses: true })
    }

    /// What a row shows.
    fn row(&self, entry: &Entry) -> Option<Row> {
        let separate = self.feed == "addresses";
        let dated = if self.addresses && !separate { related(entry, "Address")? } else { entry };
        let date = dated.get("ModifyDate").and_then(millis)?;
        Some(Row {
            key: key(dated)?.to_owned(),
            concerns: if separate { text(entry, "EntityId")? } else { key(entry)? }.to_owned(),
            date,
            // Within a record its address is told without a tag: then the date must do.
            print: if self.addresses { date.unsigned_abs() } else { etag(entry).map_or(0, print) },
        })
    }
}

/// FNV-1a: the same in every version of every library.
fn print(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Reader<'_> {
    /// A page of what is in the scope (without a state) or changed in it. `listed` is what an earlier listing has come to.
    pub(crate) fn changes(
        &self,
        before: Option<State>,
        listed: Option<State>,
        entities: &[String],
        group: Option<&str>,
        limit: u32,
    ) -> Result<(Page, State)> {
        let mut state = match before {
            Some(state) if !state.todo.is_empty() => state,
            Some(state) => self.look(state)?,
            None => self.begin(listed, entities, group)?,
        };
        // Each request has another one behind it, so that none waits for what the ones before it told to be looked at.
        let Config { page, parallel, .. } = &self.server.config;
        let limit = limit.clamp(1, page.saturating_mul(*parallel).saturating_mul(2)) as usize;
        let mut page = Page { complete: true, same_store: true, ..Page::default() };
        // A step may come out empty, when all that it asked for cannot be seen any more.
        while page.changes.is_empty() {
            let Some(todo) = state.todo.pop_front() else { break };
            page.changes = self.tell(&mut state, todo, limit)?;
        }
        page.more = !state.todo.is_empty();
        page.next = Some(if page.more { state.midway()? } else { state.cursor()? });
        page.server_time = self.server.clock();
        Ok((page, state))
    }

    /// Everything there is.
    fn begin(&self, listed: Option<State>, entities: &[String], group: Option<&str>) -> Result<State> {
        let edition = identity(self.server, self.cx, self.login)?.edition;
        let mut state = State::new(Vec::new());
        let mut listed = listed.map(|state| state.parts).unwrap_or_default();
        for (number, entity) in entities.iter().enumerate() {
            let kind = Kind::of(entity)?;
            let mut part = Part {
                entity: entity.clone(),
                group: group.map(str::to_owned),
                by_marker: group.is_some() && edition == Edition::V754,
                ..Part::default()
            };
            // The last change of all bounds the past that the next look begins with.
            let since = self.newest(kind)?.map_or(0, |newest| self.settled(newest));
            part.records.since = since;
            part.addresses.since = since;
            if let Some(name) = group {
                part.members = self.members(kind, name, part.by_marker)?;
                state.todo.push_back(Todo::These { part: number, keys: part.members.clone() });
            } else {
                state.todo.push_back(Todo::From { part: number, after: None });
            }
            if let Some(listed) = listed.iter_mut().find(|listed| listed.entity == part.entity) {
                part.leads = std::mem::take(&mut listed.leads).begin();
            }
            if !part.leads.is_empty() {
                state.todo.push_back(Todo::Converted { part: number });
            }
            state.parts.push(part);
        }
        Ok(state)
    }

    /// What happened since the last look.
    fn look(&self, mut state: State) -> Result<State> {
        let mut todo = Vec::new();
        for (number, part) in state.parts.iter_mut().enumerate() {
            let kind = Kind::of(&part.entity)?;
            // Who belongs is asked first: whoever joins meanwhile is found by the next look.
            let mut members = match &part.group {
                Some(name) if !part.by_marker => Some(self.members(kind, name, false)?),
                _ => None,
            };
            let property = part.by_marker.then_some(self.server.config.sync_marker_property.as_str());
            // At the same time: after a run that wrote much, both tell all of it, page by page.
            let mut looks = vec![(Source::records(kind, property), &part.records)];
            looks.extend(Source::addresses(kind).map(|source| (source, &part.addresses)));
            let parallel = self.server.config.parallel as usize;
            let seen = abreast(&looks, parallel, |(source, window)| self.window(source, window));
            let (mut rows, mut addresses) = (BTreeMap::new(), BTreeMap::new());
            let windows = [(&mut rows, &mut part.records), (&mut addresses, &mut part.addresses)];
            for ((fresh, window), seen) in windows.into_iter().zip(seen) {
                (*fresh, *window) = seen?;
            }
            let mut changed: Keys = rows.keys().chain(addresses.keys()).cloned().collect();
            if let (Some(name), Some(property)) = (&part.group, property) {
                members = Some(self.marked(kind, name, property, part, &rows)?);
            }
            if let Some(members) = members {
                let joined = members.0.difference(&part.members.0).cloned();
                changed.0.retain(|key| members.0.contains(key));
                changed.0.extend(joined);
                let left: Keys = part.members.0.difference(&members.0).cloned().collect();
                let mut doubtful = std::mem::take(&mut part.doubtful);
                doubtful.0.retain(|key| !members.0.contains(key));
                part.members = members;
                for (keys, first) in [(left, true), (doubtful, false)] {
                    if !keys.0.is_empty() {
                        todo.push(Todo::Left { part: number, keys, first });
                    }
                }
            }
            if self.skip_own {
                changed.0.retain(|key| !self.is_own(key, rows.get(key), addresses.get(key)));
            }
            if !changed.0.is_empty() {
                todo.push(Todo::These { part: number, keys: changed });
            }
        }
        state.todo.extend(todo);
        Ok(state)
    }

    /// Whether a record and its address, as far as the look has met them, stand as our write left them.
    fn is_own(&self, key: &str, record: Option<&Fresh>, address: Option<&Fresh>) -> bool {
        let (written, user) = (&self.server.written, &self.login.user);
        written.knows(user, key)
            && record.is_none_or(|row| row.etag.as_ref().is_some_and(|etag| written.left(user, key, etag)))
            && address.is_none_or(|row| row.settled && written.left(user, &row.key, &row.date.to_string()))
    }

    /// From when on the past is looked at again after this was seen. It never lies behind the server's clock: that may have
    /// been put back.
    fn settled(&self, newest: Millis) -> Millis {
        let overlap = Millis::from(self.server.config.overlap_seconds) * 1000;
        self.server.clock().map_or(newest, |now| newest.min(now)) - overlap
    }

    /// When anything of this kind changed last.
    fn newest(&self, kind: &Kind) -> Result<Option<Millis>> {
        let place = self.server.place.dynamic(kind.entity);
        let newest = url(&place, &[("select", "ModifyDate"), ("orderBy", "ModifyDate desc"), ("count", "1")]);
        let feed = self.server.feed(self.cx, self.login, &newest, &format!("reading {}", kind.entity))?;
        Ok(feed.entries.first().and_then(|entry| entry.get("ModifyDate")).and_then(millis))
    }

    /// Rows of the window that were not seen in it before, by the records that they concern, and where the window moves on to.
    fn window(&self, source: &Source, window: &Window) -> Result<(BTreeMap<String, Fresh>, Window)> {
        let since = window.since.min(self.settled(Millis::MAX));
        let place = self.server.place.dynamic(source.feed);
        let wanted = format!("{} ge {}", source.date, at(since));
        let count = ROWS.to_string();
        let (mut fresh, mut added, mut rows) = (BTreeMap::new(), 0, 0);
        let mut now: BTreeMap<String, (Millis, u64)> = BTreeMap::new();
        loop {
            let start = (rows + 1).to_string();
            let parameters = [
                ("select", source.select.as_str()),
                ("where", &wanted),
                ("orderBy", source.order),
                ("startIndex", &start),
                ("count", &count),
            ];
            let doing = format!("looking for changes of {}", source.feed);
            let feed = self.server.feed(self.cx, self.login, &url(&place, &parameters), &doing)?;
            let told = feed.entries.len();
            let mut old = 0;
            for entry in feed.entries {
                let Some(Row { key, concerns, date, print }) = source.row(&entry) else { continue };
                let known = window.seen.0.get(&key);
                // Dates in whole seconds cannot tell two changes of one second apart: such a row is not settled yet.
                let coarse =
                    source.addresses && date % 1000 == 0 && self.server.clock().is_some_and(|now| now - date < 2000);
                if known == Some(&(date, print)) && !coarse {
                    old += 1;
                } else {
                    added += u64::from(known.is_none() && !now.contains_key(&key));
                    let etag = etag(&entry).filter(|_| !source.addresses).map(str::to_owned);
                    let words = source.marker.as_ref().and_then(|property| text(&entry, property)).map(str::to_owned);
                    let row = Fresh { key: key.clone(), etag, words, date, settled: !coarse };
                    // Of two addresses of one record it is not asked who wrote them.
                    if let Some(other) = fresh.insert(concerns.clone(), row)
                        && other.key != key
                        && let Some(row) = fresh.get_mut(&concerns)
                    {
                        row.settled = false;
                    }
                }
                now.insert(key, (date, print));
            }
            rows += told;
            let total = feed.total.unwrap_or(0);
            // Everything else is as it was: the number fits, and the row before it was known.
            let settled = old > 0 && source.order != "Id" && total == window.seen.0.len() as u64 + added;
            if told == 0 || rows as u64 >= total || settled {
                break;
            }
            self.cx.progress(rows as u64, total);
        }
        let newest = now.values().map(|(date, _)| *date).max().unwrap_or(0);
        let since = since.max(self.settled(newest));
        let mut seen = window.seen.clone();
        seen.0.extend(now);
        seen.0.retain(|_, (date, _)| *date >= since.div_euclid(1000) * 1000);
        Ok((fresh, Window { since, seen }))
    }

    /// Who belongs to the group.
    fn members(&self, kind: &Kind, name: &str, by_marker: bool) -> Result<Keys> {
        if by_marker {
            return self.keys_marked(kind, name);
        }
        let group = groups::checked(self.server, self.cx, self.login, kind, name)?;
        group.map(|group| Keys(group.members)).ok_or_else(|| groups::missing(self.login, name))
    }

    /// Who bears the marker now: the members before, with what the changed rows say. Where the number is another one, all are
    /// asked for, because somebody is gone.
    fn marked(
        &self,
        kind: &Kind,
        name: &str,
        property: &str,
        part: &Part,
        rows: &BTreeMap<String, Fresh>,
    ) -> Result<Keys> {
        let marker = marker(name);
        let mut members = part.members.clone();
        for (key, row) in rows {
            if row.words.as_ref().is_some_and(|words| is_marked(words, &marker)) {
                members.0.insert(key.clone());
            } else {
                members.0.remove(key);
            }
        }
        let place = self.server.place.dynamic(kind.entity);
        let wanted = format!("{property} like {}", literal(&format!("%{marker}%")));
        let one = url(&place, &[("select", property), ("where", &wanted), ("count", "1")]);
        let total = self.server.feed(self.cx, self.login, &one, "counting the members of the group")?.total;
        if total == Some(members.0.len() as u64) { Ok(members) } else { self.keys_marked(kind, name) }
    }

    fn keys_marked(&self, kind: &Kind, name: &str) -> Result<Keys> {
        let (marker, property) = (marker(name), self.server.config.sync_marker_property.as_str());
        let place = self.server.place.dynamic(kind.entity);
        let (mut keys, mut after) = (Keys::default(), None::<String>);
        loop {
            let mut wanted = format!("{property} like {}", literal(&format!("%{marker}%")));
            if let Some(after) = &after {
                wanted.push_str(&format!(" and Id gt {}", literal(after)));
            }
            let count = ROWS.to_string();
            let page = url(&place, &[("select", property), ("where", &wanted), ("orderBy", "Id"), ("count", &count)]);
            let feed = self.server.feed(self.cx, self.login, &page, "reading the members of the group")?;
            let told = feed.entries.len() as u64;
            after = feed.entries.last().and_then(key).map(str::to_owned);
            let members =
                feed.entries.iter().filter(|row| text(row, property).is_some_and(|words| is_marked(words, &marker)));
            keys.0.extend(members.filter_map(key).map(str::to_owned));
            if told == 0 || feed.total.is_none_or(|total| told >= total) {
                return Ok(keys);
            }
        }
    }

    /// Tells a page of what is to be told; what remains goes back to the front.
    fn tell(&self, state: &mut State, todo: Todo, limit: usize) -> Result<Vec<Change>> {
        match todo {
            Todo::These { part, mut keys } => {
                let asked = keys.take(limit);
                let kind = Kind::of(&state.parts[part].entity)?;
                let reading = Reading::of(kind, &self.server.config, self.fields);
                let told = |entry| {
                    let told = Told::of(&reading, &entry)?;
                    Some((told.record.at.id.clone(), told))
                };
                let selected = select(kind, &self.server.config, self.fields);
                let mut found = made_by_keys(self.server, self.cx, self.login, kind.entity, &selected, &asked, told)?;
                if !keys.0.is_empty() {
                    state.todo.push_front(Todo::These { part, keys });
                }
                Ok(self.upserts(kind, &mut state.parts[part], asked.iter().filter_map(|key| found.remove(key))))
            }
            Todo::From { part, after } => {
                let kind = Kind::of(&state.parts[part].entity)?;
                let place = self.server.place.dynamic(kind.entity);
                let behind = after.map(|after| format!("Id gt {}", literal(&after)));
                let count = limit.min(self.server.config.page as usize).to_string();
                let selected = select(kind, &self.server.config, self.fields);
                let mut parameters = vec![("select", &*selected), ("orderBy", "Id"), ("count", &count)];
                parameters.extend(behind.as_ref().map(|behind| ("where", behind.as_str())));
                let doing = format!("reading {}", kind.entity);
                let feed = self.server.feed(self.cx, self.login, &url(&place, &parameters), &doing)?;
                let last = feed.entries.last().and_then(key).map(str::to_owned);
                if last.is_some() && feed.total.is_none_or(|total| total > feed.entries.len() as u64) {
                    state.todo.push_front(Todo::From { part, after: last });
                }
                let reading = Reading::of(kind, &self.server.config, self.fields);
                let told = feed.entries.iter().filter_map(|entry| Told::of(&reading, entry));
                Ok(self.upserts(kind, &mut state.parts[part], told))
            }
            Todo::Left { part, mut keys, first } => {
                let asked = keys.take(limit);
                if !keys.0.is_empty() {
                    state.todo.push_front(Todo::Left { part, keys, first });
                }
                let part = &mut state.parts[part];
                let kind = Kind::of(&part.entity)?;
                let reasons = self.why_left(kind, part.by_marker, &asked)?;
                let again = |(key, reason): (&String, &Reason)| (*reason == Reason::Unknown).then(|| key.clone());
                if part.by_marker && first {
                    part.doubtful.0.extend(asked.iter().zip(&reasons).filter_map(again));
                }
                let removed = |(key, reason)| Change::removed(RecordRef::new(kind.entity, key), reason);
                Ok(asked.into_iter().zip(reasons).map(removed).collect())
            }
            Todo::Converted { part } => {
                let missing = state.parts[part].leads.missing();
                let converted: Vec<String> = self.converted(&missing)?.into_iter().collect();
                // One that is there may have left the group, or may have come back meanwhile.
                let gone = batch::statuses(self.server, self.cx, self.login, LEADS, &converted)?;
                let is_gone = |key: &String| gone.get(key).is_some_and(|status| [404, 410].contains(status));
                let removed = |key| Change::removed(RecordRef::new(LEADS, key), Reason::LeftScope);
                Ok(converted.into_iter().filter(is_gone).map(removed).collect())
            }
        }
    }

    /// Changes of entries that are there. Those of the recent past are remembered: the next look will show them again.
    fn upserts(&self, kind: &'static Kind, part: &mut Part, told: impl Iterator<Item = Told>) -> Vec<Change> {
        let mut changes = Vec::new();
        for Told { record, date, print, addresses, email } in told {
            if kind.entity == LEADS {
                part.leads.note(&record.at.id, email.as_deref());
                self.login.known().leads.extend(email.map(|email| (record.at.id.clone(), email)));
            }
            if let Some(date) = date.filter(|date| *date >= part.records.since) {
                part.records.seen.0.insert(record.at.id.clone(), (date, print));
            }
            for (key, date) in addresses.into_iter().filter(|(_, date)| *date >= part.addresses.since) {
                part.addresses.seen.0.insert(key, (date, date.unsigned_abs()));
            }
            changes.push(Change::upsert(record));
        }
        changes
    }

    fn converted(&self, gone: &[String]) -> Result<BTreeSet<String>> {
        leads::converted(self.server, self.cx, self.login, self.principal, gone)
    }

    /// Why records do not belong to the scope any more. A deletion takes a record out of its groups; one that merely cannot be
    /// seen stays in them, and is not asked about here.
    fn why_left(&self, kind: &'static Kind, by_marker: bool, keys: &[String]) -> Result<Vec<Reason>> {
        let here = selected_by_keys(self.server, self.cx, self.login, kind.entity, "ModifyDate", keys)?;
        let absent: Vec<String> = keys.iter().filter(|key| !here.contains_key(*key)).cloned().collect();
        let converted = if kind.entity == LEADS { self.converted(&absent)? } else { BTreeSet::new() };
        let mut absent = batch::statuses(self.server, self.cx, self.login, kind.entity, &absent)?;
        let reason = |key: &String| match absent.remove(key) {
            None | Some(200) => Reason::LeftScope,
            Some(404 | 410) if converted.contains(key) => Reason::LeftScope,
            Some(404 | 410) if !by_marker => Reason::Deleted,
            Some(_) => Reason::Unknown,
        };
        Ok(keys.iter().map(reason).collect())
    }
}
