//! The system's rules: how a record looks from outside, and what becomes of a write.

use std::collections::BTreeMap;

use pairwise_plugin_api::ops::Scope;
use pairwise_plugin_api::{
    Action, Catalogue, CreateKey, Entity, FieldType, Fields, Millis, Name, Outcome, Record, Status, Value, Write,
};

use crate::settings::{Abilities, Ids, Respell, Spelling};
use crate::world::{Content, Row, World};

/// Why a write is not done; boxed, because outcomes are large and refusals rare.
type Refusal = Box<Outcome>;

/// What holds for every record.
#[derive(Debug)]
#[allow(missing_docs, reason = "named by what they are")]
pub struct Rules {
    pub abilities: Abilities,
    pub catalogue: Catalogue,
    pub respell: Vec<Respell>,
    pub ids: Ids,
}

impl Rules {
    /// A record as calls tell it; `asked` are the fields that are wanted, none meaning all.
    ///
    /// A field of the catalogue without a value is told as known to be empty.
    pub fn record(&self, row: &Row, asked: &[Name]) -> Record {
        let Row { content, facts } = row;
        let entity = self.catalogue.entity(&content.at.entity);
        let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked_for(asked, name));
        let mut fields = Fields::new();
        for (name, value) in content.fields.iter().filter(|(name, _)| wanted(name)) {
            fields.set(name.as_str(), value.clone());
        }
        for field in entity.into_iter().flat_map(|entity| &entity.fields) {
            if !field.is_open() && wanted(&field.name) && fields.get(&field.name).is_none() {
                fields.set(field.name.clone(), Value::Null);
            }
        }
        Record {
            at: content.at.clone(),
            version: Some(version(row)),
            incarnation: self.abilities.incarnation.then(|| format!("i{}", facts.born)),
            created: Some(facts.created),
            modified: Some(facts.modified),
            container: content.container.clone(),
            uid: content.uid.clone().filter(|_| self.abilities.uid),
            occurrence: None,
            fields,
            participants: content.participants.clone(),
            conditions: content.conditions.clone(),
        }
    }

    /// Does a write, or says why not.
    pub fn apply(&self, world: &mut World, write: &Write, scope: &Scope, now: Millis) -> Outcome {
        let result = match write.action {
            Action::Create => self.create(world, write, scope, now),
            Action::Update => self.update(world, write, now),
            Action::Delete => self.remove(world, write).map(|_| Outcome::of(Status::Applied)),
            Action::Trash if self.abilities.trash => self.remove(world, write).map(|content| {
                world.notes.trash.push(content);
                Outcome::of(Status::Applied)
            }),
            Action::Include | Action::Exclude if self.abilities.membership => self.join(world, write, scope, now),
            action => Err(refusal("unsupported", format!("this system knows no `{action:?}`"))),
        };
        result.unwrap_or_else(|refusal| *refusal)
    }

    fn create(&self, world: &mut World, write: &Write, scope: &Scope, now: Millis) -> Result<Outcome, Refusal> {
        let entity = self.entity(&write.at.entity)?;
        if self.abilities.create_key == CreateKey::Takes
            && let Some(row) = world.by_key(&write.key)
        {
            return Ok(Outcome { code: Outcome::BY_KEY.into(), ..self.told(Status::Exists, row) });
        }
        let uid = write.uid.as_ref().filter(|_| self.abilities.uid);
        if let Some(row) = uid.and_then(|uid| world.by_uid(uid)) {
            return Ok(self.told(Status::Exists, row));
        }
        let mut content = Content::default();
        let refused = self.store(entity, &write.fields, &mut content.fields)?;
        if let Some(field) = entity.fields.iter().find(|f| f.required && !content.fields.contains_key(&*f.name)) {
            let text = format!("a new {} needs the field `{}`", entity.name, field.name);
            return Err(Outcome { field: Some(field.name.clone()), ..Outcome::refused("required", text) }.into());
        }
        content.at.entity = entity.name.clone();
        content.at.id = world.new_id(&entity.name, self.ids == Ids::Reuse);
        content.uid = self.abilities.uid.then(|| uid.cloned().unwrap_or_else(|| format!("uid-{}", write.key)));
        content.container = write.container.clone().or_else(|| selected(scope, "folder"));
        content.participants = write.participants.clone().unwrap_or_default();
        let key = if self.abilities.create_key == CreateKey::None { String::new() } else { write.key.clone() };
        let at = content.at.clone();
        world.put(content, key, now);
        let outcome = world.rows.get(&at).map(|row| self.told(Status::Applied, row)).unwrap_or_default();
        Ok(Outcome { refused_fields: refused, ..outcome })
    }

    fn update(&self, world: &mut World, write: &Write, now: Millis) -> Result<Outcome, Refusal> {
        let mut content = self.present(world, write)?.content.clone();
        let refused = self.store(self.entity(&write.at.entity)?, &write.fields, &mut content.fields)?;
        if write.container.is_some() {
            content.container = write.container.clone();
        }
        if let Some(participants) = &write.participants {
            content.participants = participants.clone();
        }
        world.put(content, String::new(), now);
        let outcome = world.rows.get(&write.at).map(|row| self.told(Status::Applied, row)).unwrap_or_default();
        Ok(Outcome { refused_fields: refused, ..outcome })
    }

    fn remove(&self, world: &mut World, write: &Write) -> Result<Content, Refusal> {
        self.present(world, write)?;
        world.take(&write.at).map(|row| row.content).ok_or_else(|| Outcome::of(Status::Gone).into())
    }

    fn join(&self, world: &mut World, write: &Write, scope: &Scope, now: Millis) -> Result<Outcome, Refusal> {
        let group = selected(scope, "group")
            .ok_or_else(|| refusal("no_group", "the scope names no `group` to join or leave"))?;
        let mut content = self.present(world, write)?.content.clone();
        if write.action == Action::Include {
            content.groups.insert(group)
        } else {
            content.groups.remove(&group)
        };
        world.put(content, String::new(), now);
        Ok(world.rows.get(&write.at).map(|row| self.told(Status::Applied, row)).unwrap_or_default())
    }

    fn entity(&self, name: &str) -> Result<&Entity, Refusal> {
        let unknown = || refusal("unknown_entity", format!("this system has no entity `{name}`"));
        self.catalogue.entity(name).ok_or_else(unknown)
    }

    /// The record that a write speaks of, if it is there and what the writer takes it for.
    fn present<'a>(&self, world: &'a World, write: &Write) -> Result<&'a Row, Refusal> {
        let row = world.rows.get(&write.at).ok_or_else(|| Refusal::from(Outcome::of(Status::Gone)))?;
        let other = |expected: &String| self.abilities.conditional_writes && *expected != version(row);
        if write.expect.as_ref().is_some_and(other) {
            return Err(Outcome { record: Some(self.record(row, &[])), ..Outcome::of(Status::Conflict) }.into());
        }
        Ok(row)
    }

    /// Takes values over, respelled; the names of fields that only the system sets are returned.
    fn store(&self, entity: &Entity, from: &Fields, into: &mut BTreeMap<String, Value>) -> Result<Vec<Name>, Refusal> {
        let mut refused = Vec::new();
        for (name, value) in from.iter() {
            let refuse = |code: &str, text: String| {
                Refusal::from(Outcome { field: Some(name.clone()), ..Outcome::refused(code, text) })
            };
            let Some(field) = entity.field(name) else {
                return Err(refuse("unknown_field", format!("a {} has no field `{name}`", entity.name)));
            };
            if !field.writable {
                refused.push(name.clone());
                continue;
            }
            let value = self.respelled(name, value.clone());
            if !fits(field.kind, &value) {
                return Err(refuse("wrong_type", format!("`{value}` in `{name}` is no {:?}", field.kind)));
            }
            let units = value.as_text().map_or(0, |text| text.encode_utf16().count());
            if let Some(most) = field.length.filter(|most| units > *most as usize) {
                return Err(refuse("too_long", format!("`{name}` takes {most} characters, not {units}")));
            }
            match value {
                // The empty value of a family's member is kept: nobody could tell it from a member that never was.
                Value::Null if !field.is_open() => into.remove(&**name),
                value => into.insert(name.to_string(), value),
            };
        }
        Ok(refused)
    }

    fn respelled(&self, name: &str, mut value: Value) -> Value {
        for rule in self.respell.iter().filter(|rule| rule.field == name) {
            if let Value::Text(text) = &mut value {
                match rule.spelling {
                    Some(Spelling::Lower) => *text = text.to_lowercase().into(),
                    Some(Spelling::Upper) => *text = text.to_uppercase().into(),
                    Some(Spelling::Digits) => {
                        *text = text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
                    }
                    Some(Spelling::Squeezed) => *text = text.split_whitespace().collect::<Vec<_>>().join(" ").into(),
                    None => {}
                }
                if let Some(length) = rule.length {
                    *text = text.chars().take(length).collect();
                }
            }
        }
        value
    }

    fn told(&self, status: Status, row: &Row) -> Outcome {
        let mut record = self.record(row, &[]);
        if !self.abilities.answers_fields {
            record.fields = Fields::new();
        }
        Outcome { record: Some(record), ..Outcome::of(status) }
    }
}

fn refusal(code: &str, text: impl Into<String>) -> Refusal {
    Outcome::refused(code, text).into()
}

/// A record's version.
pub fn version(row: &Row) -> String {
    format!("v{}", row.facts.changed)
}

/// Whether a field is one that was asked for, by its name or as a member of a family.
fn asked_for(asked: &str, name: &str) -> bool {
    asked == name || asked.strip_suffix('*').is_some_and(|stem| stem.ends_with('/') && name.starts_with(stem))
}

/// The one thing that a selector of a scope names.
pub fn selected(scope: &Scope, selector: &str) -> Option<String> {
    match scope.get(selector)? {
        Value::List(list) => list.first()?.as_text().map(str::to_owned),
        value => value.as_text().map(str::to_owned),
    }
}

fn fits(kind: FieldType, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) | (FieldType::Unknown, _) => true,
        (FieldType::Bool, Value::Bool(_)) | (FieldType::Int, Value::Int(_)) | (FieldType::TextList, Value::List(_)) => {
            true
        }
        (FieldType::Float, Value::Float(_) | Value::Int(_)) => true,
        (FieldType::Bool | FieldType::Int | FieldType::Float | FieldType::TextList, _) => false,
        (_, Value::Text(_)) => true,
        _ => false,
    }
}
