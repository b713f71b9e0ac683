//! Maps between two small catalogues, and what values look like on the other side.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pairwise_plugin_api::{Catalogue, Entity, Field, FieldType, RecordRef};

use super::*;
use crate::model::{FieldRow, MapSpec, Transform};

/// A CRM with names of its own, and a mailbox that speaks canonical paths; both carry an open family.
fn catalogues() -> Sides<Catalogue> {
    let text = |name: &str| Field::new(name, FieldType::Text);
    let crm = [
        text("Key").path("extended/key").read_only(),
        text("First").path("name/given"),
        text("Last").path("name/surname"),
        text("Nick").path("nicknames/1/name"),
        Field::new("Mail", FieldType::Email).path("emails/1/address").caseless(),
        text("Note").path("notes/1"),
        text("Street").path("addresses/work/street"),
        text("City").path("addresses/work/locality"),
        text("Tags").path("keywords"),
        Field::new("Rank", FieldType::Int).path("extended/rank"),
        text("Maiden").path("vcard/property/X-MAIDEN"),
        text("Region"),
        text("Tel"),
        Field::new("Since", FieldType::DateTime),
        text("Sex"),
        text("x/*").path("vcard/property/*"),
    ];
    let mailbox = [
        text("extended/key").path("extended/key").read_only(),
        text("name/given").path("name/given"),
        text("name/surname").path("name/surname"),
        text("nicknames/1/name").path("nicknames/1/name"),
        Field::new("emails/1/address", FieldType::Email).path("emails/1/address"),
        Field { length: Some(10), ..text("notes/1").path("notes/1") },
        text("addresses/work/street").path("addresses/work/street"),
        text("addresses/work/locality").path("addresses/work/locality"),
        text("addresses/home/street").path("addresses/home/street"),
        Field::new("keywords", FieldType::TextList).path("keywords"),
        text("extended/rank").path("extended/rank"),
        text("extended/region").path("extended/region"),
        Field::new("phones/work/number", FieldType::Phone).path("phones/work/number"),
        Field::new("anniversaries/birth", FieldType::Date).path("anniversaries/birth"),
        text("kind").path("kind"),
        text("property/*").path("vcard/property/*"),
    ];
    let side = |fields: &[Field]| Catalogue {
        entities: vec![Entity { name: "contact".into(), fields: fields.to_vec(), ..Entity::default() }],
    };
    Sides { left: side(&crm), right: side(&mailbox) }
}

fn row(left: &[&str], right: &[&str]) -> FieldRow {
    let names = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect();
    FieldRow {
        left: names(left),
        right: names(right),
        direction: Direction::Both,
        on_create: Direction::Both,
        winner: None,
        repair: None,
        transform: Vec::new(),
    }
}

fn with(transform: &[Transform], row: FieldRow) -> FieldRow {
    FieldRow { transform: transform.to_vec(), ..row }
}

fn only(direction: Direction, row: FieldRow) -> FieldRow {
    FieldRow { direction, on_create: direction, ..row }
}

fn compile(spec: &MapSpec) -> Result<FieldMap, MapProblem> {
    let entities = Sides { left: vec!["contact".to_owned()], right: vec!["contact".to_owned()] };
    FieldMap::compile(spec, Direction::Both, &entities, &catalogues())
}

fn listed(rows: Vec<FieldRow>) -> FieldMap {
    compile(&MapSpec { join: false, rows, without: Vec::new(), reads: Vec::new() }).unwrap()
}

fn join(rows: Vec<FieldRow>, without: &[&str]) -> FieldMap {
    compile(&MapSpec {
        join: true,
        rows,
        without: without.iter().map(|name| Name::from(*name)).collect(),
        reads: Vec::new(),
    })
    .unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

fn record(fields: Fields) -> Record {
    Record { at: RecordRef::new("contact", "1"), fields, ..Record::default() }
}

/// What a record of `from` with these fields gives on the other side when it is created there.
fn across(map: &FieldMap, from: Side, values: Fields) -> Fields {
    let canonical = map.translate_in(from, &record(values)).unwrap();
    map.translate_out(from.other(), &canonical, true).unwrap()
}

#[test]
fn the_join_holds_what_both_have_and_can_be_written() {
    let map = join(vec![], &[]);
    let keys: Vec<&str> = map.rows().iter().map(|row| &*row.key).collect();
    assert_eq!(
        keys,
        [
            "addresses/work/locality",
            "addresses/work/street",
            "emails/1/address",
            "extended/rank",
            "keywords",
            "name/given",
            "name/surname",
            "nicknames/1/name",
            "notes/1",
            "vcard/property/*",
            "vcard/property/X-MAIDEN"
        ]
    );
    assert!(map.row("emails/1/address").unwrap().compare.caseless);
}

#[test]
fn what_comes_in_goes_out_again() {
    let map = join(vec![], &[]);
    let left = fields(&[("First", "Ada"), ("Mail", "ada@x"), ("x/X-FOO", "raw")]);
    let canonical = map.translate_in(Side::Left, &record(left.clone())).unwrap();
    assert_eq!(
        canonical,
        fields(&[("emails/1/address", "ada@x"), ("name/given", "Ada"), ("vcard/property/X-FOO", "raw")])
    );
    assert_eq!(map.translate_out(Side::Left, &canonical, false).unwrap(), left);
    assert_eq!(
        map.translate_out(Side::Right, &canonical, false).unwrap(),
        fields(&[("emails/1/address", "ada@x"), ("name/given", "Ada"), ("property/X-FOO", "raw")])
    );
}

#[test]
fn absent_stays_absent_and_empty_stays_empty() {
    let map = join(vec![], &[]);
    let told: Fields = [("First", Value::Null), ("Region", Value::from("EU"))].into_iter().collect();
    let canonical = map.translate_in(Side::Left, &record(told)).unwrap();
    assert_eq!(canonical, [("name/given", Value::Null)].into_iter().collect());
}

#[test]
fn a_row_of_the_profile_takes_the_place_of_joined_ones() {
    let map = join(vec![row(&["First"], &["nicknames/1/name"])], &[]);
    let keys: Vec<&str> = map.rows().iter().map(|row| &*row.key).filter(|key| key.starts_with('n')).collect();
    assert_eq!(keys, ["name/given", "name/surname", "notes/1"]);
    assert_eq!(
        across(&map, Side::Left, fields(&[("First", "Ada"), ("Nick", "A")])),
        fields(&[("nicknames/1/name", "Ada")])
    );
}

#[test]
fn a_row_without_direction_takes_a_field_out() {
    let map =
        join(vec![only(Direction::None, row(&["First"], &[])), only(Direction::None, row(&["x/X-FOO"], &[]))], &[]);
    assert!(map.row("name/given").is_none());
    let told = fields(&[("First", "Ada"), ("Last", "Lovelace"), ("x/X-FOO", "1"), ("x/X-BAR", "2")]);
    assert_eq!(across(&map, Side::Left, told), fields(&[("name/surname", "Lovelace"), ("property/X-BAR", "2")]));
}

#[test]
fn direction_decides_what_is_written_and_when() {
    let mut region = only(Direction::LeftToRight, row(&["Region"], &["extended/region"]));
    let map = listed(vec![region.clone()]);
    assert_eq!(&*map.rows()[0].key, "extended/region");
    assert_eq!(across(&map, Side::Left, fields(&[("Region", "EU")])), fields(&[("extended/region", "EU")]));
    assert_eq!(across(&map, Side::Right, fields(&[("extended/region", "EU")])), Fields::new());

    region.direction = Direction::None;
    let map = listed(vec![region]);
    let values = fields(&[("extended/region", "EU")]);
    assert_eq!(map.translate_out(Side::Right, &values, false).unwrap(), Fields::new());
    assert_eq!(map.translate_out(Side::Right, &values, true).unwrap(), values);
}

#[test]
fn of_several_names_the_first_that_is_filled_is_read_and_the_first_is_written() {
    let map = listed(vec![row(&["Nick", "First"], &["name/given"])]);
    let given = |pairs: &[(&str, &str)]| across(&map, Side::Left, fields(pairs)).text("name/given").map(str::to_owned);
    assert_eq!(given(&[("First", "Augusta"), ("Nick", "Ada")]).as_deref(), Some("Ada"));
    assert_eq!(given(&[("First", "Augusta"), ("Nick", "")]).as_deref(), Some("Augusta"));
    assert_eq!(given(&[("First", "Augusta")]).as_deref(), Some("Augusta"));
    assert_eq!(across(&map, Side::Right, fields(&[("name/given", "Ada")])), fields(&[("Nick", "Ada")]));
}

#[test]
fn a_path_that_ends_early_stands_for_all_its_parts() {
    let map = listed(vec![row(&["addresses/work"], &["addresses/work"])]);
    assert_eq!(map.rows().len(), 2);
    let map = listed(vec![row(&["addresses/work"], &["addresses/home"])]);
    assert_eq!(
        across(&map, Side::Left, fields(&[("Street", "Main 1"), ("City", "X")])),
        fields(&[("addresses/home/street", "Main 1")])
    );
    let map = join(vec![], &["addresses/work", "notes/1"]);
    assert!(map.row("addresses/work/street").is_none() && map.row("notes/1").is_none());
}

#[test]
fn members_of_a_family_may_have_rows_of_their_own_or_stay_at_home() {
    let map = join(vec![row(&["x/X-REGION"], &["extended/region"])], &["vcard/property/X-SECRET"]);
    let told = fields(&[("x/X-FOO", "1"), ("x/X-REGION", "EU"), ("x/X-SECRET", "s")]);
    assert_eq!(across(&map, Side::Left, told), fields(&[("extended/region", "EU"), ("property/X-FOO", "1")]));
    let told = fields(&[("property/X-REGION", "old"), ("property/X-SECRET", "s"), ("property/X-BAR", "2")]);
    assert_eq!(across(&map, Side::Right, told), fields(&[("x/X-BAR", "2")]));
    assert_eq!(map.native(Side::Left, "vcard/property/X-BAR").as_deref(), Some("x/X-BAR"));
}

#[test]
fn a_field_may_be_a_member_of_the_other_sides_family() {
    let map = join(vec![], &[]);
    let (here, there) = (fields(&[("Maiden", "Byron")]), fields(&[("property/X-MAIDEN", "Byron")]));
    assert_eq!(across(&map, Side::Left, here.clone()), there);
    assert_eq!(across(&map, Side::Right, there), here);
}

/// Runs values through a row from left to right, and what comes out back again.
fn there_and_back(left: &str, right: &str, transform: &[Transform], value: impl Into<Value>) -> (Value, Value) {
    let map = listed(vec![with(transform, row(&[left], &[right]))]);
    let out = across(&map, Side::Left, [(left, value)].into_iter().collect());
    let value = out.get(right).cloned().unwrap();
    let back = across(&map, Side::Right, out);
    (value, back.get(left).cloned().unwrap())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| Value::from(*item)).collect())
}

#[test]
fn transforms_change_values_and_undo_it_where_they_can() {
    let both = |value: &str| (Value::from(value), Value::from(value));
    assert_eq!(there_and_back("Region", "extended/region", &[Transform::Trim, Transform::Upper], " eu "), both("EU"));
    assert_eq!(there_and_back("Region", "extended/region", &[Transform::Lower], "EU"), both("eu"));
    let phone = [Transform::Phone("DE".into())];
    assert_eq!(there_and_back("Tel", "phones/work/number", &phone, "030 1234567"), both("+49301234567"));
    assert_eq!(there_and_back("Tel", "phones/work/number", &phone, "+1 212 555 2368"), both("+12125552368"));
    assert_eq!(there_and_back("Tel", "phones/work/number", &phone, "ask reception"), both("ask reception"));
    assert_eq!(
        there_and_back("Region", "keywords", &[Transform::Split(" ".into())], "a b"),
        (list(&["a", "b"]), "a b".into())
    );
    assert_eq!(
        there_and_back("Since", "extended/region", &[Transform::Zone("Europe/Berlin".into())], "2026-03-01T09:30:00Z"),
        ("2026-03-01T10:30:00+01:00".into(), "2026-03-01T09:30:00Z".into())
    );
    let sex = Transform::Lookup([("F", "female"), ("M", "male")].map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    assert_eq!(
        there_and_back("Sex", "extended/region", std::slice::from_ref(&sex), "F"),
        ("female".into(), "F".into())
    );
    assert_eq!(there_and_back("Sex", "extended/region", &[sex], "other"), both("other"));
}

#[test]
fn dates_and_constants_go_one_way() {
    let steps = [Transform::Zone("Europe/Berlin".into()), Transform::Date];
    let birth = only(Direction::LeftToRight, with(&steps, row(&["Since"], &["anniversaries/birth"])));
    let kind = only(Direction::LeftToRight, with(&[Transform::Constant("individual".into())], row(&[], &["kind"])));
    let map = listed(vec![birth, kind]);
    assert_eq!(
        across(&map, Side::Left, fields(&[("Since", "2026-02-28T23:30:00Z")])),
        fields(&[("anniversaries/birth", "2026-03-01"), ("kind", "individual")])
    );
}

#[test]
fn types_that_differ_are_carried_over() {
    assert_eq!(there_and_back("Tags", "keywords", &[], "a, b"), (list(&["a", "b"]), "a, b".into()));
    assert_eq!(there_and_back("Rank", "extended/rank", &[], 5), ("5".into(), Value::Int(5)));
    let map = listed(vec![row(&["Rank"], &["extended/rank"])]);
    let problem = map.translate_in(Side::Right, &record(fields(&[("extended/rank", "high")]))).unwrap_err();
    assert_eq!(problem.to_string(), "extended/rank: `high` is not a whole number");
}

#[test]
fn what_one_side_wrote_reads_as_the_same_value_on_both() {
    let transforms: &[&[Transform]] = &[
        &[Transform::Upper],
        &[Transform::Trim, Transform::Phone("DE".into())],
        &[Transform::Lookup([("F".to_owned(), "female".to_owned())].into())],
        &[Transform::Join(" ".into()), Transform::Lower, Transform::Split(" ".into()), Transform::Join("-".into())],
    ];
    for transform in transforms {
        let map = listed(vec![with(transform, row(&["Region"], &["extended/region"]))]);
        for value in ["eu West", " 030 1234567", "F", "female", "a-b", ""] {
            for side in Side::BOTH {
                let native = if side == Side::Left { "Region" } else { "extended/region" };
                let canonical = map.translate_in(side, &record(fields(&[(native, value)]))).unwrap();
                for to in Side::BOTH {
                    let stored = map.translate_out(to, &canonical, false).unwrap();
                    let again = map.translate_in(to, &record(stored)).unwrap();
                    assert_eq!(again, canonical, "{transform:?}: {value:?} from {side} to {to}");
                }
            }
        }
    }
}

#[test]
fn a_text_that_is_too_long_is_a_problem_and_never_cut() {
    let map = join(vec![], &[]);
    let values = fields(&[("notes/1", "eleven char")]);
    let problem = map.translate_out(Side::Right, &values, false).unwrap_err();
    assert_eq!(problem.to_string(), "notes/1: the text has 11 characters, the right side takes 10: shorten it");
    let values = fields(&[("notes/1", "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}")]);
    assert_eq!(map.translate_out(Side::Right, &values, false).unwrap(), values);
}

#[test]
fn maps_that_cannot_work_are_refused() {
    let told = |spec: MapSpec| compile(&spec).unwrap_err().to_string();
    let rows = |row| MapSpec { join: false, rows: vec![row], without: Vec::new(), reads: Vec::new() };
    assert_eq!(
        told(rows(row(&["Regoin"], &["extended/region"]))),
        "the left side has no field `Regoin`; did you mean `Region`?"
    );
    assert_eq!(told(rows(row(&["Region"], &["shoe size"]))), "the right side has no field `shoe size`");
    assert_eq!(
        told(rows(only(Direction::LeftToRight, row(&["Region"], &["extended/key"])))),
        "the right side cannot write `extended/key`; give the row another direction"
    );
    assert_eq!(
        told(MapSpec::default()),
        "no field travels: the two sides have no canonical path in common, and no row is listed"
    );
    assert!(
        told(MapSpec { join: true, without: vec!["nots/1".into()], ..MapSpec::default() })
            .contains("did you mean `notes/1`?")
    );
    let entities = Sides { left: vec!["contact".to_owned()], right: vec!["contacts".to_owned()] };
    let problem = FieldMap::compile(&MapSpec::default(), Direction::Both, &entities, &catalogues()).unwrap_err();
    assert_eq!(problem.to_string(), "the right side has no entity `contacts`; it has: contact");
}

#[test]
fn the_fingerprint_tells_maps_apart() {
    let plain = join(vec![], &[]);
    assert_eq!(plain.fingerprint(), join(vec![], &[]).fingerprint());
    assert_ne!(plain.fingerprint(), join(vec![], &["notes/1"]).fingerprint());
    let upper = join(vec![with(&[Transform::Upper], row(&["First"], &["name/given"]))], &[]);
    assert_ne!(plain.fingerprint(), upper.fingerprint());
    let unchanged = upper.unchanged_since(plain.fingerprint());
    assert_eq!(unchanged.len(), upper.rows().iter().filter(|row| !row.is_family()).count() - 1);
    assert!(!unchanged.contains("name/given") && unchanged.contains("name/surname"));

    // What was settled under two maps by turns stands only where they agree.
    let both = upper.fingerprint_since(plain.fingerprint());
    assert!(both != plain.fingerprint() && both != upper.fingerprint());
    assert_eq!(plain.unchanged_since(&both), unchanged);
    assert_eq!(plain.fingerprint_since(plain.fingerprint()), plain.fingerprint());
}

#[test]
fn people_call_records_by_name() {
    assert_eq!(label(&fields(&[("name/given", "Ada"), ("name/surname", "Lovelace")]), "7"), "Ada Lovelace");
    assert_eq!(label(&fields(&[("title", "Lunch")]), "7"), "Lunch");
    assert_eq!(label(&fields(&[("emails/1/address", "a@x")]), "7"), "a@x");
    assert_eq!(label(&fields(&[("name/full", "")]), "7"), "7");
}
