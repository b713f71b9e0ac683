//! What a system holds: items with versions, and a log of what happened to them.
//!
//! An item belongs to an owner (a user or mailbox; empty for what all share, as in a CRM), is of one entity, and lies in a
//! container or in none. The log is what sync states, delta tokens and notifications are made of: such a token is a place in
//! the log, and what changed since is read from there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value};

/// The fields of an item, in the system's own names and spelling.
pub type Fields = Map<String, Value>;

/// One thing that a system holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// As the system spells it. Unique in the system.
    pub id: String,
    /// The user or mailbox; empty for what all share.
    pub owner: String,
    /// `contacts`, `folder`, `event`: the simulator's choice.
    pub entity: String,
    /// The id of the folder or list it lies in.
    pub container: Option<String>,
    /// All fields.
    pub fields: Fields,
    /// Made, in milliseconds since 1970 by the system's clock.
    pub created: i64,
    /// Last changed.
    pub modified: i64,
    /// The place in the log of the last change: what etags and change keys are made of.
    pub version: u64,
    /// Counts up with each new item; listings are in this order.
    #[serde(skip)]
    pub serial: u64,
}

/// What happened to an item, as seen from one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It was made here, or moved to here.
    Arrived,
    /// It was changed.
    Changed,
    /// It was deleted, or moved away.
    Left,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the item's own, at that time")]
pub struct Event {
    pub version: u64,
    pub time: i64,
    pub happened: Happened,
    pub id: String,
    pub entity: String,
    pub container: Option<String>,
    /// The latest time in the log so far: unlike `time` it never goes back, and can be searched for.
    #[serde(skip)]
    latest: i64,
}

/// The items of one system.
#[derive(Debug, Default)]
pub struct Store {
    items: HashMap<String, Item>,
    /// Owner, entity and serial number of each item.
    order: BTreeMap<(String, String), BTreeMap<u64, String>>,
    log: HashMap<String, Vec<Event>>,
    version: u64,
    serial: u64,
}

impl Store {
    /// The place of the newest line of the log.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A number that was not given before: for ids.
    pub fn next_number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// An item.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Item> {
        self.items.get(id)
    }

    /// The items of an owner and entity, oldest first.
    pub fn items(&self, owner: &str, entity: &str) -> impl Iterator<Item = &Item> {
        let ids = self.order.get(&(owner.to_owned(), entity.to_owned())).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| self.items.get(id))
    }

    /// All items, by owner, entity and age.
    pub fn all(&self) -> impl Iterator<Item = &Item> {
        self.order.values().flat_map(BTreeMap::values).filter_map(|id| self.items.get(id))
    }

    /// Adds an item at this time. One with the same id is replaced.
    pub fn insert(
        &mut self,
        at: i64,
        owner: &str,
        entity: &str,
        id: &str,
        container: Option<&str>,
        fields: Fields,
    ) -> &Item {
        self.remove(at, id);
        let serial = self.next_number();
        let item = Item {
            id: id.to_owned(),
            owner: owner.to_owned(),
            entity: entity.to_owned(),
            container: container.map(str::to_owned),
            fields,
            created: at,
            modified: at,
            version: 0,
            serial,
        };
        self.put(item, at, Happened::Arrived)
    }

    /// Changes an item's fields; the time and version move with them. `None` if there is no such item.
    pub fn change(&mut self, at: i64, id: &str, edit: impl FnOnce(&mut Fields)) -> Option<&Item> {
        let mut item = self.items.remove(id)?;
        edit(&mut item.fields);
        item.modified = at;
        Some(self.put(item, at, Happened::Changed))
    }

    /// Gives an item a new version although nothing in it changed, as servers do.
    pub fn touch(&mut self, at: i64, id: &str) -> Option<&Item> {
        let item = self.items.remove(id)?;
        Some(self.put(item, at, Happened::Changed))
    }

    /// Moves an item to another container, under another id where the system gives one.
    pub fn relocate(&mut self, at: i64, id: &str, to: Option<&str>, new_id: Option<&str>) -> Option<&Item> {
        let mut item = self.take_out(at, id)?;
        item.container = to.map(str::to_owned);
        if let Some(new_id) = new_id {
            item.id = new_id.to_owned();
        }
        item.modified = at;
        Some(self.put(item, at, Happened::Arrived))
    }

    /// Removes an item for good.
    pub fn remove(&mut self, at: i64, id: &str) -> Option<Item> {
        self.take_out(at, id)
    }

    /// What happened to an owner's items after this place in the log, oldest first.
    #[must_use]
    pub fn events_since(&self, owner: &str, version: u64) -> &[Event] {
        let log = self.log.get(owner).map_or(&[][..], Vec::as_slice);
        &log[log.partition_point(|event| event.version <= version)..]
    }

    /// The items of an owner that may have changed at this time or later, each once; some of them may be older.
    pub fn changed_since(&self, owner: &str, time: i64) -> impl Iterator<Item = &Item> {
        let log = self.log.get(owner).map_or(&[][..], Vec::as_slice);
        let recent = &log[log.partition_point(|event| event.latest < time)..];
        let ids: BTreeSet<&str> = recent.iter().map(|event| event.id.as_str()).collect();
        ids.into_iter().filter_map(|id| self.items.get(id))
    }

    fn put(&mut self, mut item: Item, at: i64, happened: Happened) -> &Item {
        item.version = self.note(&item, at, happened);
        let place = (item.owner.clone(), item.entity.clone());
        self.order.entry(place).or_default().insert(item.serial, item.id.clone());
        self.items.entry(item.id.clone()).insert_entry(item).into_mut()
    }

    fn take_out(&mut self, at: i64, id: &str) -> Option<Item> {
        let item = self.items.remove(id)?;
        if let Some(place) = self.order.get_mut(&(item.owner.clone(), item.entity.clone())) {
            place.remove(&item.serial);
        }
        self.note(&item, at, Happened::Left);
        Some(item)
    }

    fn note(&mut self, item: &Item, at: i64, happened: Happened) -> u64 {
        self.version += 1;
        let log = self.log.entry(item.owner.clone()).or_default();
        let latest = log.last().map_or(at, |last| last.latest.max(at));
        log.push(Event {
            latest,
            version: self.version,
            time: at,
            happened,
            id: item.id.clone(),
            entity: item.entity.clone(),
            container: item.container.clone(),
        });
        self.version
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(name: &str) -> Fields {
        Fields::from_iter([("name".to_owned(), json!(name))])
    }

    #[test]
    fn the_log_tells_what_happened_since() {
        let mut store = Store::default();
        store.insert(1, "lee", "contact", "a", Some("inbox"), fields("Ann"));
        store.insert(1, "kim", "contact", "k", Some("inbox"), fields("Kim"));
        let before = store.version();
        store.change(2, "a", |fields| {
            fields.insert("name".into(), json!("Anna"));
        });
        store.relocate(3, "a", Some("trash"), Some("b"));
        let seen: Vec<_> = store
            .events_since("lee", before)
            .iter()
            .map(|event| (event.happened, event.id.as_str(), event.container.as_deref().unwrap_or_default()))
            .collect();
        use Happened::{Arrived, Changed, Left};
        assert_eq!(seen, [(Changed, "a", "inbox"), (Left, "a", "inbox"), (Arrived, "b", "trash")]);
        assert!(store.get("a").is_none());
        let moved = store.get("b").map(|item| (item.created, item.modified, item.fields["name"].clone()));
        assert_eq!(moved, Some((1, 3, json!("Anna"))));
        assert_eq!(store.items("lee", "contact").count(), 1);
        assert_eq!(store.all().count(), 2);
    }

    #[test]
    fn recent_items_are_found_by_time() {
        let mut store = Store::default();
        for (time, id) in [(10, "a"), (20, "b"), (15, "c"), (30, "d")] {
            store.insert(time, "", "contact", id, None, fields("x"));
        }
        let since = |store: &Store, time| store.changed_since("", time).map(|item| item.id.clone()).collect::<Vec<_>>();
        assert_eq!(since(&store, 16), ["b", "c", "d"]);
        assert_eq!(since(&store, 31), Vec::<String>::new());
    }

    #[test]
    fn a_touch_moves_the_version_alone() {
        let mut store = Store::default();
        let first = store.insert(1, "", "contact", "a", None, fields("Ann")).version;
        let touched = store.touch(9, "a").map(|item| (item.modified, item.version > first));
        assert_eq!(touched, Some((1, true)));
    }
}
