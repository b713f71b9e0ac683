//! Made-up people and appointments: number `n` of a seed is always the same one.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use pairwise_plugin_api::{RecordRef, Value};

use crate::settings::Generate;
use crate::world::Content;

const GIVEN: &[&str] = &[
    "Amélie",
    "Bartosz",
    "Chiara",
    "Dörte",
    "Emre",
    "Fiona",
    "Grzegorz",
    "Hanna",
    "Ines",
    "Jürgen",
    "Katarína",
    "Lars",
    "María",
    "Niamh",
    "Øystein",
    "Petra",
    "Quentin",
    "Renée",
    "Søren",
    "Théo",
    "Ursula",
    "Věra",
    "Wendy",
    "Zoë",
];
const SURNAMES: &[&str] = &[
    "Andersson",
    "Bianchi",
    "Castaño",
    "Dvořák",
    "Evans",
    "Fischer",
    "García",
    "Häkkinen",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lefèvre",
    "Müller",
    "Nagy",
    "O'Brien",
    "Petrović",
    "Quist",
    "Rossi",
    "Schäfer",
    "Turner",
    "Ünal",
    "Vogel",
    "Weiß",
];
const CITIES: &[(&str, &str, &str)] = &[
    ("Lyon", "69002", "France"),
    ("Köln", "50667", "Germany"),
    ("Leeds", "LS1 4DY", "United Kingdom"),
    ("Málaga", "29001", "Spain"),
    ("Torino", "10121", "Italy"),
    ("Gdańsk", "80-001", "Poland"),
    ("Århus", "8000", "Denmark"),
];
const COMPANIES: &[&str] = &["Nordwind AG", "Blue Heron Ltd", "Atelier Dubois", "Ferro & Figli", "Zielona Sp. z o.o."];
const JOBS: &[&str] = &["Engineer", "Buyer", "Head of Sales", "Accountant", "Architect", "Project Manager"];
const SUBJECTS: &[&str] = &["Review", "Kick-off", "Lunch", "Contract talks", "Site visit", "Planning"];

/// The records that the settings ask for.
pub fn generate(wanted: &Generate) -> impl Iterator<Item = Content> {
    let seed = wanted.seed;
    let people = numbers(wanted.first, wanted.contacts).map(move |number| person(seed, number));
    let events = numbers(wanted.first, wanted.events).map(move |number| event(seed, number));
    people.chain(events)
}

fn numbers(first: u32, count: u32) -> std::ops::Range<u32> {
    first..first.saturating_add(count)
}

fn rng(seed: u64, kind: u64, number: u32) -> Rng {
    Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (kind << 40) ^ u64::from(number))
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

fn person(seed: u64, number: u32) -> Content {
    let mut rng = rng(seed, 1, number);
    let (given, surname) = (*pick(&mut rng, GIVEN), *pick(&mut rng, SURNAMES));
    let (city, zip, country) = *pick(&mut rng, CITIES);
    let company = *pick(&mut rng, COMPANIES);
    let mut fields = BTreeMap::from([
        ("FirstName", Value::from(given)),
        ("LastName", surname.into()),
        ("FullName", format!("{given} {surname}").into()),
        ("Company", company.into()),
        ("JobTitle", (*pick(&mut rng, JOBS)).into()),
        ("WorkPhone", format!("+49 30 {:07}", rng.u32(..10_000_000)).into()),
        ("MobilePhone", format!("+49 170 {:07}", rng.u32(..10_000_000)).into()),
        ("WorkStreet", format!("Main Street {}", rng.u32(1..200)).into()),
        ("WorkCity", city.into()),
        ("WorkZip", zip.into()),
        ("WorkCountry", country.into()),
        ("Categories", Value::from(vec!["Customer".into()])),
        ("Notes", format!("Met at stand {}.", rng.u32(1..90)).into()),
    ]);
    // One in ten has no address: such people can only be matched by name and number.
    if rng.u32(..10) > 0 {
        fields.insert("Email1", format!("person{number}.{seed}@example.com").into());
    }
    content("contact", &format!("c-{number:06}"), format!("person-{seed}-{number}"), fields)
}

fn event(seed: u64, number: u32) -> Content {
    let mut rng = rng(seed, 2, number);
    let (day, hour) = (rng.u32(1..29), rng.u32(8..18));
    let fields = BTreeMap::from([
        ("Subject", Value::from(format!("{} {number}", pick(&mut rng, SUBJECTS)))),
        ("Start", format!("2030-{:02}-{day:02}T{hour:02}:00:00Z", rng.u32(1..13)).into()),
        ("TimeZone", "Etc/UTC".into()),
        ("Location", pick(&mut rng, CITIES).0.into()),
        ("AllDay", false.into()),
        ("Recurring", false.into()),
        ("IsOrganizer", true.into()),
        ("OrganizerIsInternal", true.into()),
    ]);
    let mut event = content("event", &format!("e-{number:06}"), format!("event-{seed}-{number}"), fields);
    if let Some(start) = event.fields.get("Start").and_then(Value::as_text) {
        let end = start.replace(":00:00Z", ":45:00Z");
        event.fields.insert("End".into(), end.into());
    }
    event
}

fn content(entity: &str, id: &str, uid: String, fields: BTreeMap<&str, Value>) -> Content {
    Content {
        at: RecordRef::new(entity, id),
        uid: Some(uid),
        container: None,
        groups: BTreeSet::new(),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        participants: Vec::new(),
        conditions: Vec::new(),
    }
}
