//! How far a feed was read: what travels in cursors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pairwise_plugin_api::serde::{Deserialize, Deserializer, Serialize, Serializer};
use pairwise_plugin_api::{Class, Cursor, Failure, Millis, Result};

use crate::leads::Addresses;

/// The present form of cursors.
const FORM: u32 = 2;

/// Where reading goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
pub(crate) struct State {
    form: u32,
    /// One for each entity that is read.
    pub(crate) parts: Vec<Part>,
    /// What is still to be told before the next look for changes.
    pub(crate) todo: VecDeque<Todo>,
}

/// How far one entity was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
pub(crate) struct Part {
    pub(crate) entity: String,
    pub(crate) group: Option<String>,
    /// Membership is a word in a text property, because groups cannot be written.
    pub(crate) by_marker: bool,
    /// Who belonged to the group.
    pub(crate) members: Keys,
    /// Members that were not found once; what that means is told when they are not found again.
    pub(crate) doubtful: Keys,
    pub(crate) records: Window,
    pub(crate) addresses: Window,
    /// Of leads.
    #[serde(default, skip_serializing_if = "Addresses::is_empty")]
    pub(crate) leads: Addresses,
}

/// The recent past of a feed, which is looked at again, because what happened in it may show late.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
pub(crate) struct Window {
    /// Its beginning, by the server's clock.
    pub(crate) since: Millis,
    pub(crate) seen: Seen,
}

/// What was seen in a window, by its key: when it changed, and a print of its state. Written down it takes few characters, too:
/// after an import the recent past may be most of what there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seen(pub(crate) BTreeMap<String, (Millis, u64)>);

/// What is still to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
pub(crate) enum Todo {
    /// Everything behind a key.
    From { part: usize, after: Option<String> },
    /// These.
    These { part: usize, keys: Keys },
    /// These do not belong to the scope any more. `first` says that this was found out just now.
    Left { part: usize, keys: Keys, first: bool },
    /// Leads that a listing has left out, because they are contacts now.
    Converted { part: usize },
}

impl Todo {
    fn part(&self) -> usize {
        match self {
            Todo::From { part, .. } | Todo::These { part, .. } | Todo::Left { part, .. } | Todo::Converted { part } => {
                *part
            }
        }
    }
}

/// Sorted keys. Written down, each one leaves out what it shares with the one before: a site's keys count upwards, so that few
/// characters remain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Keys(pub(crate) BTreeSet<String>);

impl Keys {
    /// Takes the first `count` keys out.
    pub(crate) fn take(&mut self, count: usize) -> Vec<String> {
        let rest = match self.0.iter().nth(count).cloned() {
            Some(next) => self.0.split_off(&next),
            None => BTreeSet::new(),
        };
        std::mem::replace(&mut self.0, rest).into_iter().collect()
    }
}

impl FromIterator<String> for Keys {
    fn from_iter<I: IntoIterator<Item = String>>(keys: I) -> Self {
        Keys(keys.into_iter().collect())
    }
}

/// How many bytes two texts share at their beginnings, as one digit of base 36.
fn shared(before: &str, key: &str) -> usize {
    let same = before.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count().min(35);
    key.floor_char_boundary(same)
}

/// Makes the key before into the one that was written down behind it. The digit may be wrong in a cursor that is damaged.
fn next_key(key: &mut String, packed: &str) {
    let same = packed.chars().next().and_then(|digit| digit.to_digit(36)).unwrap_or(0) as usize;
    key.truncate(key.floor_char_boundary(same));
    key.push_str(packed.get(1..).unwrap_or_default());
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut packed = String::with_capacity(self.0.len() * 5);
        let mut before = "";
        for key in &self.0 {
            let same = shared(before, key);
            packed.extend(char::from_digit(same as u32, 36));
            packed.push_str(&key[same..]);
            packed.push('\n');
            before = key;
        }
        serializer.serialize_str(&packed)
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let packed = String::deserialize(deserializer)?;
        let mut keys = BTreeSet::new();
        let mut key = String::new();
        for line in packed.lines() {
            next_key(&mut key, line);
            keys.insert(key.clone());
        }
        Ok(Keys(keys))
    }
}

/// Where the print of what was seen is its date it is left out; dates are told by the one before.
impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut packed = String::with_capacity(self.0.len() * 28);
        let (mut before, mut last) = ("", 0);
        for (key, (date, print)) in &self.0 {
            let same = shared(before, key);
            packed.extend(char::from_digit(same as u32, 36));
            let print = if *print == date.unsigned_abs() { String::new() } else { format!("{print:x}") };
            packed.push_str(&format!("{}|{}|{print}\n", &key[same..], date.wrapping_sub(last)));
            (before, last) = (key, *date);
        }
        serializer.serialize_str(&packed)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let packed = String::deserialize(deserializer)?;
        let mut seen = BTreeMap::new();
        let (mut key, mut last) = (String::new(), 0_i64);
        for line in packed.lines() {
            let mut parts = line.rsplitn(3, '|');
            let (print, date) = (parts.next().unwrap_or_default(), parts.next());
            next_key(&mut key, parts.next().unwrap_or_default());
            last = last.wrapping_add(date.and_then(|date| date.parse().ok()).unwrap_or_default());
            let print = u64::from_str_radix(print, 16).unwrap_or(last.unsigned_abs());
            seen.insert(key.clone(), (last, print));
        }
        Ok(Seen(seen))
    }
}

impl State {
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        State { form: FORM, parts, todo: VecDeque::new() }
    }

    pub(crate) fn cursor(&self) -> Result<Cursor> {
        serde_json::to_vec(self).map(Cursor).map_err(|error| Failure::new(Class::Protocol, error.to_string()))
    }

    /// The cursor of a page that is not the last. It leaves out what was seen, which would be written down with each page: whoever
    /// goes on from it without this state is told some of it twice.
    pub(crate) fn midway(&mut self) -> Result<Cursor> {
        let take = |part: &mut Part| (std::mem::take(&mut part.records.seen), std::mem::take(&mut part.addresses.seen));
        let seen: Vec<(Seen, Seen)> = self.parts.iter_mut().map(take).collect();
        let cursor = self.cursor();
        for (part, seen) in self.parts.iter_mut().zip(seen) {
            (part.records.seen, part.addresses.seen) = seen;
        }
        cursor
    }

    /// What a cursor holds. What is still to be told belongs to its parts.
    pub(crate) fn of(cursor: &Cursor) -> Result<State> {
        let state: Option<State> = serde_json::from_slice(&cursor.0).ok();
        let is_whole = |state: &State| state.todo.iter().all(|todo| todo.part() < state.parts.len());
        state.filter(is_whole).ok_or_else(|| expired("cannot be read"))
    }

    /// The addresses of leads that it has met.
    pub(crate) fn leads(&self) -> impl Iterator<Item = (String, String)> {
        self.parts.iter().flat_map(|part| part.leads.all())
    }

    /// The state, if it was made for these entities and this group; otherwise everything is to be read anew.
    pub(crate) fn checked(self, entities: &[String], group: Option<&str>) -> Result<State> {
        let same = self.form == FORM
            && self.parts.iter().map(|part| &part.entity).eq(entities)
            && self.parts.iter().all(|part| part.group.as_deref() == group);
        if same { Ok(self) } else { Err(expired("belongs to another scope")) }
    }
}

fn expired(why: &str) -> Failure {
    Failure::new(Class::CursorExpired, format!("the place where reading stopped {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn cursors_go_and_come_back() {
        let keys: Keys = (0..2_000).map(|number| format!("CDEMOA{number:06}")).chain(["Ünique".to_owned()]).collect();
        let part =
            Part { entity: "contacts".into(), group: Some("Sync".into()), members: keys.clone(), ..Part::default() };
        let mut state = State::new(vec![part]);
        state.todo.push_back(Todo::These { part: 0, keys });
        let cursor = state.cursor().unwrap();
        assert!(cursor.0.len() < 2 * 2_000 * 6, "{} bytes", cursor.0.len());
        let entities = ["contacts".to_owned()];
        assert_eq!(State::of(&cursor).unwrap().checked(&entities, Some("Sync")).unwrap(), state);
        let other = State::of(&cursor).unwrap().checked(&entities, Some("Other")).unwrap_err();
        assert_eq!(other.class, Class::CursorExpired);
        assert_eq!(State::of(&Cursor(b"x".to_vec())).unwrap_err().class, Class::CursorExpired);
        state.todo.push_back(Todo::Converted { part: 1 });
        assert_eq!(State::of(&state.cursor().unwrap()).unwrap_err().class, Class::CursorExpired);
    }

    #[test]
    fn a_damaged_digit_splits_no_character() {
        let keys: Keys = serde_json::from_str(r#""0é\n1a\nzb\n\n""#).unwrap();
        assert!(keys.0.contains("é") && keys.0.contains("ab"), "{keys:?}");
    }

    #[test]
    fn what_was_seen_goes_and_comes_back() {
        let row = |number: u64| {
            let date = 1_795_391_002_000 + number as Millis * 1_000 - 7;
            let print =
                if number.is_multiple_of(2) { date.unsigned_abs() } else { number.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
            (format!("CDEMOA{number:06}"), (date, print))
        };
        let all: BTreeMap<String, (Millis, u64)> =
            (0..2_000).map(row).chain([("Ünique|".to_owned(), (-5, 7))]).collect();
        let mut part = Part { entity: "contacts".into(), ..Part::default() };
        part.records.seen = Seen(all);
        let mut state = State::new(vec![part]);
        let cursor = state.cursor().unwrap();
        assert!(cursor.0.len() < 2_000 * 28, "{} bytes", cursor.0.len());
        assert_eq!(State::of(&cursor).unwrap(), state);
        // Between two pages it stays where it is.
        assert!(state.midway().unwrap().0.len() < 300);
        assert_eq!(State::of(&cursor).unwrap(), state);
    }

    #[test]
    fn keys_are_taken_in_order() {
        let mut keys: Keys = ["b", "a", "c"].map(str::to_owned).into_iter().collect();
        assert_eq!(keys.take(2), ["a", "b"]);
        assert_eq!(keys.take(2), ["c"]);
        assert!(keys.take(2).is_empty());
    }
}
