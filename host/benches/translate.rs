//! Translation of 10,000 records of 25 fields, in and out again. `cargo bench -p pairwise-host --bench translate`
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use pairwise_host::model::value::{self, Compare};
use pairwise_host::model::{Direction, FieldRow, MapSpec, MatchPolicy, Pick, Several, Side, Sides, Transform, Winner};
use pairwise_host::pipeline::keys::match_keys;
use pairwise_host::pipeline::translate::FieldMap;
use pairwise_plugin_api::{Catalogue, Entity, Field, FieldType, Fields, Name, Record, RecordRef, Value};

const RECORDS: usize = 10_000;

const PATHS: [&str; 25] = [
    "addresses/home/locality",
    "addresses/home/street",
    "addresses/work/country",
    "addresses/work/locality",
    "addresses/work/postcode",
    "addresses/work/region",
    "addresses/work/street",
    "anniversaries/birth",
    "emails/1/address",
    "emails/2/address",
    "extended/a",
    "extended/b",
    "keywords",
    "links/work",
    "name/full",
    "name/given",
    "name/surname",
    "nicknames/1/name",
    "notes/1",
    "organizations/1/name",
    "organizations/1/unit",
    "phones/home/number",
    "phones/mobile/number",
    "phones/work/number",
    "titles/1/name",
];

fn main() {
    divan::main();
}

/// A catalogue whose native names are the canonical paths, or start with `prefix`.
fn catalogue(prefix: &str) -> Catalogue {
    let field = |path: &&str| Field::new(format!("{prefix}{path}"), FieldType::Text).path(*path);
    let fields = PATHS.iter().map(field).chain([Field::new("property/*", FieldType::Text).path("vcard/property/*")]);
    Catalogue { entities: vec![Entity { name: "contact".into(), fields: fields.collect(), ..Entity::default() }] }
}

fn map(prefix: &str, rows: Vec<FieldRow>) -> FieldMap {
    let entities = Sides::from_fn(|_| vec!["contact".to_owned()]);
    let catalogues = Sides { left: catalogue(prefix), right: catalogue("") };
    let spec = MapSpec { join: true, rows, without: Vec::new(), reads: Vec::new() };
    FieldMap::compile(&spec, Direction::Both, &entities, &catalogues).unwrap()
}

fn records(prefix: &str) -> Vec<Record> {
    let record = |number: usize| {
        let value = |path: &str| Value::from(format!("{path} of person {number}, at some length"));
        let fields: Fields = PATHS.iter().map(|path| (Name::from(format!("{prefix}{path}")), value(path))).collect();
        Record { at: RecordRef::new("contact", number.to_string()), fields, ..Record::default() }
    };
    (0..RECORDS).map(record).collect()
}

fn in_and_out(bencher: divan::Bencher<'_, '_>, prefix: &str, rows: Vec<FieldRow>) {
    let (map, records) = (map(prefix, rows), records(prefix));
    bencher.counter(divan::counter::ItemsCount::new(RECORDS)).bench_local(|| {
        let mut fields = 0;
        for record in &records {
            let values = map.translate_in(Side::Left, record).unwrap();
            fields += map.translate_out(Side::Right, &values, true).unwrap().len();
        }
        fields
    });
}

#[divan::bench]
fn same_names(bencher: divan::Bencher<'_, '_>) {
    in_and_out(bencher, "", Vec::new());
}

#[divan::bench]
fn other_names(bencher: divan::Bencher<'_, '_>) {
    in_and_out(bencher, "Field_", Vec::new());
}

#[divan::bench]
fn with_transforms(bencher: divan::Bencher<'_, '_>) {
    let row = |path: &str, transform: Transform| FieldRow {
        left: vec![path.into()],
        right: vec![path.into()],
        direction: Direction::Both,
        on_create: Direction::Both,
        winner: None,
        repair: None,
        transform: vec![transform],
    };
    let rows = vec![
        row("name/given", Transform::Trim),
        row("name/surname", Transform::Upper),
        row("keywords", Transform::Split(" ".into())),
    ];
    in_and_out(bencher, "", rows);
}

#[divan::bench]
fn keys_of_mirror(bencher: divan::Bencher<'_, '_>) {
    let key = |paths: &[&str]| paths.iter().map(|path| Name::from(*path)).collect();
    let policy = MatchPolicy {
        keys: vec![key(&["uid"]), key(&["emails/*/address"]), key(&["name/full", "phones/*/number"])],
        case_sensitive: false,
        within: Sides::default(),
        several: Sides::from_fn(|_| Several::all(Pick::Hold)),
        differ: Winner::Hold,
    };
    let records = records("");
    bencher.counter(divan::counter::ItemsCount::new(RECORDS)).bench_local(|| {
        records.iter().map(|record| match_keys(&policy, &record.fields, Some("uid-of-a-person")).len()).sum::<usize>()
    });
}

#[divan::bench]
fn comparing(bencher: divan::Bencher<'_, '_>) {
    let (left, right) = (records(""), records(""));
    bencher.counter(divan::counter::ItemsCount::new(RECORDS)).bench_local(|| {
        let pairs = left.iter().zip(&right).flat_map(|(a, b)| a.fields.iter().zip(b.fields.iter()));
        pairs.filter(|((_, a), (_, b))| value::same(Compare::default(), a, b)).count()
    });
}
