//! What people do to records.

use std::collections::BTreeSet;

use pairwise_host::chance::Chance;
use pairwise_host::model::Side;
use pairwise_plugin_api::{Fields, Record};

use super::script::{Deed, Parting};
use super::system::{ADDRESS, FIELDS, Human, SLOTS, is_private, owner};
use super::world::World;

impl World {
    /// A person acts.
    pub(super) fn deed(&self, deed: Deed) {
        self.time.advance(i64::from(self.dice().small(20_000)));
        let now = self.time.now();
        match deed {
            Deed::Create(side, slot) => {
                let Some(who) = self.newcomer(slot) else { return };
                self.systems[side].create(self.fields(side, who, now), None, now);
            }
            Deed::Edit(side, slot, field, clear) => {
                let Some((who, record)) = self.someone(side, slot) else { return };
                let mut oracle = self.oracle();
                oracle.replaced(&record, field);
                let value = if clear && field > ADDRESS {
                    oracle.emptied((side, who, field), now);
                    String::new()
                } else {
                    oracle.value((side, who, field), (now, false), self.dice().percent(30))
                };
                if is_private(&record) {
                    oracle.hide(&value);
                }
                self.systems[side].edit(&record.at.id, FIELDS[field], &value, now);
            }
            Deed::Delete(side, slot) => {
                let Some((who, record)) = self.someone(side, slot) else { return };
                self.gone(side, who, &record);
                self.systems[side].delete(&record.at.id);
            }
            Deed::Part(side, slot) => {
                let Some((who, record)) = self.someone(side, slot) else { return };
                self.oracle().parts(side, who, now);
                let (system, id) = (&self.systems[side], &record.at.id);
                match self.parting(side) {
                    None => {}
                    Some(Parting::Filter) => system.set_private(id, !is_private(&record), now),
                    Some(Parting::Folder) => system.set_outside(id, !system.is_outside(id)),
                }
            }
            Deed::Reuse(side, slot, other) => {
                let Some((who, record)) = self.someone(side, slot) else { return };
                let same = other % SLOTS == slot % SLOTS;
                let other = if same { self.successor(who) } else { self.newcomer(other) };
                let Some(other) = other.filter(|_| self.systems[side].abilities.incarnation) else { return };
                self.gone(side, who, &record);
                self.systems[side].reuse(&record.at.id, self.fields(side, other, now), now);
            }
            Deed::Copy(side, slot, other) => {
                let Some((who, record)) = self.someone(side, slot) else { return };
                // Where the host comes to know of a record of its own only after that was deleted, its copy is all that bears
                // the UID there, and is what a match ties.
                let copies = self.systems[side].abilities.uid && !self.is_unlearnt(who);
                let Some(other) = self.newcomer(other).filter(|_| copies) else { return };
                self.systems[side].create(self.fields(side, other, now), record.uid, now);
            }
            Deed::Twin(slot) => {
                let Some(who) = self.newcomer(slot) else { return };
                let left = self.fields(Side::Left, who, now);
                let mut right = self.fields(Side::Right, who, now);
                self.oracle().replaced_in(&right, ADDRESS);
                right.set(FIELDS[ADDRESS], left.text(FIELDS[ADDRESS]).unwrap_or_default());
                self.systems.left.create(left, None, now);
                self.systems.right.create(right, None, now);
            }
            Deed::Card(slot) => {
                let Some(who) = self.newcomer(slot) else { return };
                let uid = format!("card-{who}");
                for side in Side::BOTH.into_iter().filter(|_| self.systems.iter().all(|(_, one)| one.abilities.uid)) {
                    self.systems[side].create(self.fields(side, who, now), Some(uid.clone()), now);
                }
            }
        }
    }

    /// A person takes a record away.
    fn gone(&self, side: Side, who: Human, record: &Record) {
        let others = self.systems[side.other()].records_of(who);
        self.oracle().deleted(side, record, &others);
    }

    /// Humans of whom a record is not kept in step now.
    pub(super) fn apart(&self) -> BTreeSet<Human> {
        let of_side = |side: Side| {
            let is_apart = move |record: &Record| match self.parting(side) {
                None => false,
                Some(Parting::Filter) => is_private(record),
                Some(Parting::Folder) => self.systems[side].is_outside(&record.at.id),
            };
            self.systems[side].truth().into_iter().filter(is_apart)
        };
        Side::BOTH.into_iter().flat_map(of_side).filter_map(|record| owner(&record.fields)).collect()
    }

    /// Who stands in a slot on this side, and the record.
    fn someone(&self, side: Side, slot: Human) -> Option<(Human, Record)> {
        let mut records = self.systems[side].truth().into_iter();
        records.find_map(|record| {
            let who = owner(&record.fields).filter(|who| who % SLOTS == slot % SLOTS)?;
            Some((who, record))
        })
    }

    /// Somebody new for a slot in which nobody stands. Whoever was deleted does not come back.
    fn newcomer(&self, slot: Human) -> Option<Human> {
        let oracle = self.oracle();
        let who = (slot % SLOTS..Human::MAX).step_by(SLOTS.into()).find(|who| !oracle.was_deleted(*who))?;
        let free = Side::BOTH.into_iter().all(|side| self.someone(side, slot).is_none());
        free.then_some(who)
    }

    /// Somebody new who takes this one's place.
    fn successor(&self, who: Human) -> Option<Human> {
        let is_new = |next: &Human| {
            let stands = self.systems.iter().any(|(_, system)| !system.records_of(*next).is_empty());
            !stands && !self.oracle().was_deleted(*next)
        };
        (who..Human::MAX).step_by(SLOTS.into()).skip(1).find(is_new)
    }

    /// What a person fills a new record with.
    fn fields(&self, side: Side, who: Human, now: i64) -> Fields {
        let mut dice = self.dice();
        let mut oracle = self.oracle();
        let mut fields = Fields::new();
        for (field, name) in FIELDS.iter().enumerate() {
            if field <= 1 || dice.percent(50) {
                fields.set(*name, oracle.value((side, who, field), (now, true), dice.percent(30)));
            }
        }
        fields
    }
}
