//! The fields of a record: sorted, and small where many records have the same names.
//!
//! A page is thousands of lists with mostly the same names, and most of their values are `Null`. So a list may lie within an
//! [`Outline`] that it shares with others: of a name in it the list keeps no more than a mark, and a value only where there
//! is one. Names that are not in the outline stand beside it, spelt out.

use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;

use crate::value::{Name, Value};

/// How many names ahead of the last one the next is looked for before it is searched among all.
const LOOK_AHEAD: usize = 16;

/// Names that many lists have, sorted, each once. Cheap to clone; see [`Fields::within`].
#[derive(Debug, Clone, Default)]
pub struct Outline(Option<Arc<[Name]>>);

impl Outline {
    fn names(&self) -> &[Name] {
        self.0.as_deref().unwrap_or_default()
    }

    fn is(&self, other: &Outline) -> bool {
        std::ptr::eq(self.names(), other.names())
    }
}

impl FromIterator<Name> for Outline {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        let mut names: Vec<Name> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Outline((!names.is_empty()).then(|| names.into()))
    }
}

/// What a list says of a name in its outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Nothing.
    Absent,
    /// Known to be empty: `Null`.
    Empty,
    /// There is a value.
    Filled,
}

/// A field whose name is not in the outline, and how many names of the outline come before it.
#[derive(Debug, Clone, PartialEq)]
struct Beside {
    place: usize,
    name: Name,
    value: Value,
}

/// The fields of a record, sorted by name, each name once.
///
/// On the wire this is one flat array `[name, value, name, value, …]` in which a name is text at its first occurrence in a
/// message and afterwards its number (the first name is 0): a page of 500 records sends each name once. See [`crate::codec`].
///
/// ```
/// use pairwise_plugin_api::{Fields, Value};
/// let mut fields = Fields::new();
/// fields.set("name/full", "Ada Lovelace");
/// fields.set("emails/1/address", Value::Null);
/// assert_eq!(fields.text("name/full"), Some("Ada Lovelace"));
/// assert_eq!(fields.get("emails/1/address"), Some(&Value::Null));   // known to be empty
/// assert_eq!(fields.get("notes/1"), None);                          // not told
/// ```
#[derive(Clone, Default)]
pub struct Fields(Option<Box<List>>);

/// What is in a list. Apart, because whoever has a record moves it about, and many of its lists are empty.
#[derive(Debug, Clone, Default)]
struct List {
    outline: Outline,
    /// For the names of the outline; those behind the last mark are absent.
    marks: Vec<Mark>,
    /// Those of the filled marks, in their order.
    values: Vec<Value>,
    /// Sorted by name.
    beside: Vec<Beside>,
    length: usize,
}

static NONE: List =
    List { outline: Outline(None), marks: Vec::new(), values: Vec::new(), beside: Vec::new(), length: 0 };

impl Fields {
    /// No field at all.
    #[must_use]
    pub const fn new() -> Self {
        Fields(None)
    }

    /// No field yet, with room for so many.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Fields(Some(Box::new(List { beside: Vec::with_capacity(fields), ..List::default() })))
    }

    /// No field yet. Most of those to come are expected to have names of the outline; then many lists take little room.
    ///
    /// ```
    /// use pairwise_plugin_api::{Fields, Outline};
    /// let outline: Outline = ["title".into(), "name/full".into()].into_iter().collect();
    /// let mut fields = Fields::within(&outline);
    /// fields.set("name/full", "Ada Lovelace");
    /// assert_eq!(fields, [("name/full", "Ada Lovelace")].into_iter().collect());
    /// ```
    #[must_use]
    pub fn within(outline: &Outline) -> Self {
        let marks = Vec::with_capacity(outline.names().len());
        Fields(Some(Box::new(List { outline: outline.clone(), marks, ..List::default() })))
    }

    /// The outline that this list lies within.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.list().outline
    }

    /// Whether most names are not in the outline, or few of its many are told: others like this one need another.
    pub(crate) fn is_strange(&self) -> bool {
        let List { outline, beside, length, .. } = self.list();
        beside.len() > length / 2 || outline.names().len() > 256 + length * 16
    }

    /// The value of a field, or `None` if the record does not tell it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.list().get(name)
    }

    /// The text of a field, if it is there, is text, and is not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text).filter(|text| !text.is_empty())
    }

    /// Sets a field; what it held before is returned.
    pub fn set(&mut self, name: impl Into<Name>, value: impl Into<Value>) -> Option<Value> {
        self.put(&name.into(), value.into())
    }

    /// As [`Fields::set`], of a name that others have, too: fastest where names come in order.
    pub fn put(&mut self, name: &Name, value: Value) -> Option<Value> {
        self.0.get_or_insert_default().put(name, value)
    }

    /// Adds a field; false if it is there already.
    pub(crate) fn add(&mut self, name: &Name, value: Value) -> bool {
        let before = self.len();
        self.put(name, value);
        self.len() > before
    }

    /// Sets all fields of another list, as [`Fields::set`] does one by one.
    pub fn extend(&mut self, other: Fields) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let (own, Some(other)) = (self.0.get_or_insert_default(), other.0) else { return };
        if own.outline.is(&other.outline) {
            own.merge(*other);
        } else {
            for (name, value) in Fields(Some(other)) {
                own.put(&name, value);
            }
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.as_mut()?.remove(name)
    }

    /// All fields, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> + Clone {
        let list = self.list();
        Iter { list, place: 0, rank: 0, beside: 0, left: list.length }
    }

    /// All fields whose name starts with `prefix`, in order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Name, &'a Value)> {
        let list = self.list();
        let place = list.outline.names().partition_point(|name| **name < *prefix);
        let beside = list.beside.partition_point(|beside| *beside.name < *prefix);
        let told = list.marks.iter().take(place).filter(|mark| **mark != Mark::Absent).count();
        let from = Iter { list, place, rank: list.rank(place), beside, left: list.length - told - beside };
        from.take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list().length
    }

    /// True if there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn list(&self) -> &List {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl List {
    fn get(&self, name: &str) -> Option<&Value> {
        match self.find(name) {
            Ok(place) => match self.marks.get(place).copied().unwrap_or(Mark::Absent) {
                Mark::Absent => None,
                Mark::Empty => Some(&Value::Null),
                Mark::Filled => self.values.get(self.rank(place)),
            },
            Err(_) => self.place_beside(name).ok().map(|index| &self.beside[index].value),
        }
    }

    fn put(&mut self, name: &Name, value: Value) -> Option<Value> {
        let place = match self.expect(name) {
            Ok(place) => return self.mark(place, value),
            Err(place) => place,
        };
        let index = match self.beside.last() {
            Some(last) if *last.name >= **name => self.place_beside(name),
            _ => Err(self.beside.len()),
        };
        match index {
            Ok(index) => Some(std::mem::replace(&mut self.beside[index].value, value)),
            Err(index) => {
                self.beside.insert(index, Beside { place, name: name.clone(), value });
                self.length += 1;
                None
            }
        }
    }

    fn remove(&mut self, name: &str) -> Option<Value> {
        let removed = match self.find(name) {
            Ok(place) => {
                let rank = self.rank(place);
                match std::mem::replace(self.marks.get_mut(place)?, Mark::Absent) {
                    Mark::Absent => return None,
                    Mark::Empty => Value::Null,
                    Mark::Filled => self.values.remove(rank),
                }
            }
            Err(_) => self.beside.remove(self.place_beside(name).ok()?).value,
        };
        self.length -= 1;
        Some(removed)
    }

    /// Where a name is in the outline, or would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.outline.names().binary_search_by(|other| (**other).cmp(name))
    }

    /// The same of a name that is to be added: most come in order, and are one and the same text, which is seen without a look
    /// at the text.
    fn expect(&self, name: &Name) -> Result<usize, usize> {
        let (names, next) = (self.outline.names(), self.marks.len());
        if let Some(gap) = names.iter().skip(next).take(LOOK_AHEAD).position(|other| Arc::ptr_eq(other, name)) {
            return Ok(next + gap);
        }
        let follows = next.checked_sub(1).and_then(|last| names.get(last)).is_none_or(|last| last < name);
        let is_between = follows && names.get(next).is_none_or(|other| name < other);
        if is_between { Err(next) } else { self.find(name) }
    }

    fn place_beside(&self, name: &str) -> Result<usize, usize> {
        self.beside.binary_search_by(|beside| (*beside.name).cmp(name))
    }

    /// How many values there are of names before a place.
    fn rank(&self, place: usize) -> usize {
        self.marks.iter().take(place).filter(|mark| **mark == Mark::Filled).count()
    }

    fn mark(&mut self, place: usize, value: Value) -> Option<Value> {
        let mark = if value == Value::Null { Mark::Empty } else { Mark::Filled };
        if place >= self.marks.len() {
            self.marks.resize(place, Mark::Absent);
            self.marks.push(mark);
            if mark == Mark::Filled {
                self.values.push(value);
            }
            self.length += 1;
            return None;
        }
        let rank = self.rank(place);
        let before = std::mem::replace(&mut self.marks[place], mark);
        self.length += usize::from(before == Mark::Absent);
        let held = match (before, mark) {
            (Mark::Filled, Mark::Filled) => std::mem::replace(&mut self.values[rank], value),
            (Mark::Filled, _) => self.values.remove(rank),
            (_, Mark::Filled) => {
                self.values.insert(rank, value);
                Value::Null
            }
            _ => Value::Null,
        };
        (before != Mark::Absent).then_some(held)
    }

    /// Takes in a list within the same outline, in one pass over both.
    fn merge(&mut self, other: List) {
        let room = self.values.len() + other.values.len();
        let own = std::mem::replace(&mut self.values, Vec::with_capacity(room));
        let (mut own, mut new) = (own.into_iter(), other.values.into_iter());
        self.marks.resize(self.marks.len().max(other.marks.len()), Mark::Absent);
        let marks = other.marks.into_iter().chain(std::iter::repeat(Mark::Absent));
        for (mark, now) in self.marks.iter_mut().zip(marks) {
            let kept = if *mark == Mark::Filled { own.next() } else { None };
            let value = if now == Mark::Filled { new.next() } else { kept.filter(|_| now == Mark::Absent) };
            self.values.extend(value);
            if now != Mark::Absent {
                self.length += usize::from(*mark == Mark::Absent);
                *mark = now;
            }
        }
        if !other.beside.is_empty() {
            let room = self.beside.len() + other.beside.len();
            self.length -= self.beside.len();
            let mut own = std::mem::replace(&mut self.beside, Vec::with_capacity(room)).into_iter().peekable();
            for new in other.beside {
                while let Some(before) = own.next_if(|own| own.name < new.name) {
                    self.beside.push(before);
                }
                own.next_if(|own| own.name == new.name);
                self.beside.push(new);
            }
            self.beside.extend(own);
            self.length += self.beside.len();
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// By names and values, whatever the outlines are.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.list(), other.list());
        if one.length != two.length {
            return false;
        }
        if !one.outline.is(&two.outline) {
            return self.iter().eq(other.iter());
        }
        let common = one.marks.len().min(two.marks.len());
        // As many fields in all: what one has behind the last mark of the other would be missing elsewhere.
        one.marks[..common] == two.marks[..common] && one.values == two.values && one.beside == two.beside
    }
}

#[derive(Clone)]
struct Iter<'a> {
    list: &'a List,
    /// The next name of the outline, the next value, and the next field beside.
    place: usize,
    rank: usize,
    beside: usize,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Name, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        let List { outline, marks, values, beside, .. } = self.list;
        self.left = self.left.checked_sub(1)?;
        let beside = beside.get(self.beside);
        let end = beside.map_or(marks.len(), |beside| beside.place.min(marks.len()));
        while self.place < end {
            let (place, mark) = (self.place, marks[self.place]);
            self.place += 1;
            match mark {
                Mark::Absent => {}
                Mark::Empty => return Some((&outline.names()[place], &Value::Null)),
                Mark::Filled => {
                    self.rank += 1;
                    return Some((&outline.names()[place], &values[self.rank - 1]));
                }
            }
        }
        self.beside += 1;
        beside.map(|beside| (&beside.name, &beside.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<N: Into<Name>, V: Into<Value>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let iter = iter.into_iter();
        let mut fields = Fields::with_capacity(iter.size_hint().0);
        for (name, value) in iter {
            fields.set(name, value);
        }
        fields
    }
}

impl IntoIterator for Fields {
    type Item = (Name, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        let List { outline, marks, values, beside, length } = self.0.map(|list| *list).unwrap_or_default();
        IntoIter {
            outline,
            marks: marks.into_iter().enumerate().peekable(),
            values: values.into_iter(),
            beside: beside.into_iter().peekable(),
            left: length,
        }
    }
}

/// All fields of a list, in the order of their names.
#[derive(Debug)]
pub struct IntoIter {
    outline: Outline,
    marks: Peekable<std::iter::Enumerate<std::vec::IntoIter<Mark>>>,
    values: std::vec::IntoIter<Value>,
    beside: Peekable<std::vec::IntoIter<Beside>>,
    left: usize,
}

impl Iterator for IntoIter {
    type Item = (Name, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let end = self.beside.peek().map_or(usize::MAX, |beside| beside.place);
        while let Some((place, mark)) = self.marks.next_if(|(place, _)| *place < end) {
            let value = match mark {
                Mark::Absent => continue,
                Mark::Empty => Value::Null,
                Mark::Filled => self.values.next()?,
            };
            return Some((self.outline.names()[place].clone(), value));
        }
        self.beside.next().map(|beside| (beside.name, beside.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for IntoIter {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Numbers that look random, the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit
        }
    }

    fn names() -> Vec<Name> {
        ('a'..='z').map(|letter| Name::from(letter.to_string())).collect()
    }

    fn outline(dice: &mut Dice) -> Outline {
        let share = dice.below(4);
        names().into_iter().filter(|_| dice.below(4) < share).collect()
    }

    /// Spelt anew as often as not, so that it is another name of the same text.
    fn drawn(dice: &mut Dice, names: &[Name]) -> Name {
        let name = &names[dice.below(names.len())];
        if dice.below(2) == 0 { name.clone() } else { Name::from(&**name) }
    }

    fn value(dice: &mut Dice) -> Value {
        if dice.below(2) == 0 { Value::Null } else { Value::from(dice.below(3) as i64) }
    }

    fn list(dice: &mut Dice, outline: &Outline) -> (Fields, BTreeMap<Name, Value>) {
        let (mut fields, mut model, names) = (Fields::within(outline), BTreeMap::new(), names());
        for _ in 0..dice.below(40) {
            let (name, value) = (drawn(dice, &names), value(dice));
            if dice.below(4) == 0 {
                assert_eq!(fields.remove(&name), model.remove(&name));
            } else {
                assert_eq!(fields.put(&name, value.clone()), model.insert(name, value));
            }
        }
        (fields, model)
    }

    fn check(fields: &Fields, model: &BTreeMap<Name, Value>) {
        assert_eq!(fields.len(), model.len());
        assert_eq!(fields.iter().len(), model.len());
        assert!(fields.iter().eq(model.iter()), "{fields:?} is not {model:?}");
        for name in names() {
            assert_eq!(fields.get(&name), model.get(&name));
            let behind = model.range(name.clone()..).take_while(|(other, _)| **other == name);
            assert!(fields.with_prefix(&name).eq(behind));
        }
        assert_eq!(fields.clone().into_iter().len(), model.len());
        assert!(fields.clone().into_iter().eq(model.clone()));
        assert_eq!(*fields, model.clone().into_iter().collect());
    }

    #[test]
    fn a_list_is_a_sorted_map_whatever_its_outline_is() {
        let mut dice = Dice(1);
        for _ in 0..2_000 {
            let outline = outline(&mut dice);
            let (fields, model) = list(&mut dice, &outline);
            check(&fields, &model);
        }
    }

    #[test]
    fn extending_is_setting_one_by_one() {
        let mut dice = Dice(2);
        for _ in 0..2_000 {
            let one = outline(&mut dice);
            let other = if dice.below(2) == 0 { one.clone() } else { outline(&mut dice) };
            let (mut fields, mut model) = list(&mut dice, &one);
            let (added, added_model) = list(&mut dice, &other);
            fields.extend(added);
            model.extend(added_model);
            check(&fields, &model);
        }
    }

    #[test]
    fn equal_lists_are_equal_within_any_outline() {
        let mut dice = Dice(3);
        for _ in 0..2_000 {
            let one = outline(&mut dice);
            let (fields, model) = list(&mut dice, &one);
            let (mut other, mut other_model) = list(&mut dice, &one);
            assert_eq!(fields == other, model == other_model);
            for name in names() {
                match model.get(&name) {
                    Some(value) => {
                        drop((other.set(name.clone(), value.clone()), other_model.insert(name, value.clone())))
                    }
                    None => drop((other.remove(&name), other_model.remove(&name))),
                }
            }
            assert_eq!(fields, other);
        }
    }
}
