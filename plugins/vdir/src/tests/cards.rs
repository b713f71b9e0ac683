//! vCards: what is read from them, what an edit leaves alone, what arrives in a second folder.

use std::collections::BTreeSet;

use pairwise_plugin_api::{Fields, Value};

use super::{Dice, fixture};
use crate::card::{self, Card};
use crate::lines::Text;
use crate::property::Format;

const FILES: [&str; 8] = [
    "outlook-2.1.vcf",
    "apple-3.0.vcf",
    "ios-3.0.vcf",
    "android-2.1.vcf",
    "gmail-3.0.vcf",
    "evolution-3.0.vcf",
    "lotus-notes-3.0.vcf",
    "thunderbird-4.0.vcf",
];

/// The fields of each card of a file.
fn read(bytes: &[u8]) -> Vec<Fields> {
    let text = Text::new(bytes);
    let cards = card::cut(text.as_str());
    cards.into_iter().map(|block| Card::parse(&text, block.span, block.line).unwrap().fields().unwrap()).collect()
}

/// What is not empty, for comparison: the order of properties without a slot means nothing.
fn filled(fields: &Fields) -> Vec<String> {
    let show = |(name, value): (&std::sync::Arc<str>, &Value)| {
        let mut items = vec![value.to_string()];
        if let Value::List(list) = value {
            items = list.iter().map(Value::to_string).collect();
            items.sort();
        }
        format!("{name} = {}", items.join(", ")).replace('\n', "|")
    };
    fields.iter().filter(|(_, value)| !value.is_empty()).map(show).collect()
}

fn edit(bytes: &[u8], fields: &[(&str, Value)]) -> Vec<u8> {
    let text = Text::new(bytes);
    let fields: Fields = fields.iter().cloned().collect();
    let block = card::cut(text.as_str()).remove(0);
    let edits = Card::parse(&text, block.span.clone(), block.line).unwrap().edit(&fields, false);
    assert!(edits.refused.is_empty(), "{:?}", edits.refused);
    [&*text.bytes(0..block.span.start), &edits.bytes, &text.bytes(block.span.end..text.as_str().len())].concat()
}

#[test]
fn outlook() {
    let fields = &read(&fixture("outlook-2.1.vcf"))[0];
    for (name, value) in [
        ("name/full", "Dr. Käthe Maria Größler"),
        ("name/surname", "Größler"),
        ("name/given2", "Maria"),
        ("name/title", "Dr."),
        ("organizations/1/name", "Mühlenbau Süd GmbH, Werk 2"),
        ("organizations/1/unit", "Einkauf"),
        ("notes/1", "Kennt die Fräsmaschinen von 1998.\nRuft lieber vormittags an; nie am Freitag.\n"),
        ("phones/work/number", "+49 (89) 5550-117"),
        ("phones/work2/number", "+49 (89) 5550-118"),
        ("phones/home/number", "+49 (8122) 99 01 02"),
        ("phones/mobile/number", "+49 (171) 555 01 17"),
        ("phones/workFax/number", "+49 (89) 5550-119"),
        ("phones/pager/number", "+49 (16951) 117"),
        ("phones/assistant/number", "+49 (89) 5550-120"),
        ("phones/company/number", "+49 (89) 5550-0"),
        ("addresses/work/street", "Am Mühlbach 4"),
        ("addresses/work/region", "BY"),
        ("addresses/home/locality", "Erding"),
        ("addresses/preferred", "work"),
        ("links/work", "http://www.muehlenbau.example/einkauf?a=1;b=2,c"),
        ("relations/spouse", "Jörg Größler"),
        ("anniversaries/wedding", "2001-06-23"),
        ("anniversaries/birth", "1968-02-29"),
        ("emails/1/address", "kaethe.groessler@muehlenbau.example"),
        ("emails/2/address", "kg@privat.example"),
        ("form/addresses/work", "ADR;TYPE=WORK:;=3. OG, Zi. 317;*;*;*;*;*".replace(", ", "\\, ").leak()),
    ] {
        assert_eq!(fields.text(name), Some(value), "{name} in {:#?}", filled(fields));
    }
    assert_eq!(fields.get("emails/3/address"), Some(&Value::Null));
    let Some(Value::List(photo)) = fields.get("property/PHOTO") else { panic!("no photo") };
    assert!(photo[0].as_text().unwrap().starts_with("PHOTO:data:image/jpeg;base64,/9j/4"));
    assert!(fields.get("property/X-MS-OL-DESIGN").is_some() && fields.get("property/LABEL").is_some());
}

#[test]
fn apple() {
    let fields = &read(&fixture("apple-3.0.vcf"))[0];
    for (name, value) in [
        ("organizations/1/name", "Harbour & Sons, Ltd."),
        ("emails/1/address", "chidi@harbour.example"),
        ("form/emails/2", "item1.EMAIL"),
        ("phones/mobile/number", "+44 7700 900117"),
        ("phones/company/number", "+44 20 7946 0100"),
        ("phones/homeFax/number", "+44 20 7946 0101"),
        ("addresses/work/street", "12 Quay Street\nUnit 4"),
        ("links/work", "https://harbour.example/team/chidi"),
        ("notes/1", "Asks for the tide table, every time.\nBring coffee; no sugar."),
        ("anniversaries/birth", "--03-07"),
        ("form/anniversaries/birth", "BDAY;X-APPLE-OMIT-YEAR=1604"),
    ] {
        assert_eq!(fields.text(name), Some(value), "{name} in {:#?}", filled(fields));
    }
    let Some(Value::List(labels)) = fields.get("property/X-ABLABEL") else { panic!("no labels") };
    assert_eq!(labels[1].as_text(), Some("item3.X-ABLabel:_$!<HomePage>!$_"));
    assert_eq!(fields.get("property/TEL"), Some(&Value::from(vec!["TEL;TYPE=CELL,IPHONE:+44 7700 900118".into()])));
}

#[test]
fn android_writes_several_cards_into_one_file() {
    let cards = read(&fixture("android-2.1.vcf"));
    let names: Vec<_> = cards.iter().map(|fields| fields.text("name/full").unwrap()).collect();
    assert_eq!(names, ["Ольга Иванов", "Plumber", "Aunt May"]);
    assert_eq!(cards[0].text("name/surname"), Some("Иванов"));
    assert_eq!(cards[1].text("notes/1"), Some("Comes through the yard,\nring twice; äsk for the € price"));
    let text = fixture("android-2.1.vcf");
    let blocks = card::cut(std::str::from_utf8(&text).unwrap());
    assert_eq!(blocks.iter().map(|block| block.line).collect::<Vec<_>>(), [1, 10, 19]);
}

#[test]
fn others() {
    for (file, wanted) in [
        (
            "gmail-3.0.vcf",
            &[
                ("emails/3/address", "billing@subramanian-textiles.example"),
                ("anniversaries/birth", "--08-14"),
                ("phones/other/number", "+91 44 5550 0118"),
                ("addresses/work/street", "14, Mount Road\nSecond Floor"),
            ][..],
        ),
        (
            "evolution-3.0.vcf",
            &[
                ("anniversaries/wedding", "2004-05-15"),
                ("relations/assistant", "Anaïs Petit"),
                ("phones/assistant/number", "+33 1 55 50 01 19"),
                ("form/addresses/work", "ADR;TYPE=WORK:=BP 117;;*;*;*;*;*"),
                ("form/organizations/1", "ORG:*;*;=Bureau 3"),
            ],
        ),
        (
            "lotus-notes-3.0.vcf",
            &[
                ("organizations/1/unit", "Sales; Export"),
                ("phones/car/number", "+81 90 5550 0120"),
                ("privacy", "private"),
                ("addresses/work/street", "2-4-1 Kita, Chuo"),
            ],
        ),
        (
            "thunderbird-4.0.vcf",
            &[
                ("name/surname", "Ferreira,Costa"),
                ("form/name", "N:=Ferreira,Costa;=Ana,Lúcia;*;*;*"),
                ("phones/mobile/number", "+351-91-555-0118"),
                ("anniversaries/wedding", "2009-06-06"),
                ("emails/2/address", "ana.costa@azulejos.example"),
            ],
        ),
    ] {
        let fields = &read(&fixture(file))[0];
        for (name, value) in wanted {
            assert_eq!(fields.text(name), Some(*value), "{file}: {name} in {:#?}", filled(fields));
        }
    }
    let gmail = &read(&fixture("gmail-3.0.vcf"))[0];
    assert_eq!(gmail.get("property/EMAIL"), Some(&Value::from(vec!["EMAIL:old.address@mail.example".into()])));
    assert_eq!(gmail.get("keywords"), Some(&Value::from(vec!["Customers".into(), "myContacts".into()])));
}

/// The lines of `after` that are not in `before`, and the other way round.
fn difference(before: &[u8], after: &[u8]) -> (usize, usize) {
    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone = before.iter().filter(|line| !after.contains(line)).count();
    let new = after.iter().filter(|line| !before.contains(line)).count();
    let kept = |lines: &[Vec<u8>], others: &[Vec<u8>]| {
        lines.iter().filter(|line| others.contains(line)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&before, &after), kept(&after, &before), "the order of the other lines");
    (gone, new)
}

#[test]
fn an_edit_of_one_field_touches_one_line() {
    for file in FILES {
        let before = fixture(file);
        let first = &read(&before)[0];
        for (name, value) in first.iter() {
            if name.starts_with("made/") || name.starts_with("property/") || name.starts_with("form/") {
                continue;
            }
            let new: Value = match &**name {
                "keywords" => vec!["One, with comma".into(), "Zwei".into()].into(),
                "privacy" => "public".into(),
                "kind" => "org".into(),
                "addresses/preferred" => continue,
                name if name.starts_with("anniversaries/") => "1980-12-24".into(),
                _ => "Grüß; Gott, \\n €".into(),
            };
            let after = edit(&before, &[(name, new.clone())]);
            let read_back = &read(&after)[0];
            assert_eq!(read_back.get(name), Some(&new), "{file}: {name}\n{}", String::from_utf8_lossy(&after));
            for (other, value) in first.iter().filter(|(other, _)| *other != name) {
                // A list of names is one name after the edit.
                let gives_way = &**other == "form/name";
                assert!(gives_way || read_back.get(other) == Some(value), "{file}: {name} changed {other}");
            }
            let (gone, new_lines) = difference(&before, &after);
            // A folded or quoted-printable value takes several lines.
            assert!(
                gone <= 1 + usize::from(value.to_string().len() > 60) * 9 && new_lines <= 3,
                "{file}: {name}: {gone} {new_lines}"
            );
            let form = first.get("form/name").cloned().unwrap_or_default();
            let back = edit(&after, &[(name, value.clone()), ("form/name", form)]);
            assert_eq!(read(&back)[0], *first, "{file}: {name} and back");
        }
    }
}

#[test]
fn an_emptied_field_takes_its_line_along() {
    let before = fixture("gmail-3.0.vcf");
    assert_eq!(difference(&before, &edit(&before, &[("titles/1/name", Value::Null)])), (1, 0));
    // The third address must not move up: the slot stays, empty.
    let after = edit(&before, &[("emails/2/address", Value::Null)]);
    let fields = &read(&after)[0];
    assert_eq!(fields.get("emails/2/address"), Some(&Value::Null));
    assert_eq!(fields.text("emails/3/address"), Some("billing@subramanian-textiles.example"));
    assert_eq!(edit(&before, &[]), before);
}

#[test]
fn heads_stay_as_they_are_written() {
    for (file, name, value, line) in [
        ("evolution-3.0.vcf", "phones/work/number", "1", "TEL;TYPE=\"WORK,VOICE\";X-EVOLUTION-UI-SLOT=1:1\r\n"),
        ("apple-3.0.vcf", "emails/2/address", "c@d", "item1.EMAIL;type=INTERNET:c@d\r\n"),
        ("apple-3.0.vcf", "anniversaries/birth", "1981-03-07", "BDAY;X-APPLE-OMIT-YEAR=1604:1981-03-07\r\n"),
        ("apple-3.0.vcf", "anniversaries/birth", "--03-08", "BDAY;X-APPLE-OMIT-YEAR=1604:1604-03-08\r\n"),
        (
            "outlook-2.1.vcf",
            "name/given",
            "Kathe",
            "N;LANGUAGE=de;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Gr=C3=B6=C3=9Fler;Kat=\r\n",
        ),
        ("outlook-2.1.vcf", "phones/home/number", "1", "TEL;HOME;VOICE:1\r\n"),
        ("outlook-2.1.vcf", "anniversaries/wedding", "2001-06-24", "X-MS-ANNIVERSARY:20010624\r\n"),
        ("outlook-2.1.vcf", "addresses/home/street", "x, y", "ADR;HOME:;;x, y;Erding;;85435;Deutschland\r\n"),
        ("thunderbird-4.0.vcf", "anniversaries/birth", "1983-02-22", "BDAY;VALUE=DATE:19830222\r\n"),
        ("ios-3.0.vcf", "titles/1/name", "VD", "TITLE:VD\r\n"),
    ] {
        let after = edit(&fixture(file), &[(name, value.into())]);
        let after = String::from_utf8_lossy(&after);
        assert!(after.contains(line), "{file}: no {line:?} in\n{after}");
    }
}

#[test]
fn everything_arrives_in_a_second_folder_in_any_version() {
    for file in FILES {
        for mut fields in read(&fixture(file)) {
            let edits = card::create(&fields, Some("u-1"), Format::V30);
            assert!(edits.refused.is_empty());
            let copy = edits.bytes;
            assert_eq!(filled(&read(&copy)[0]), filled(&fields), "{file}\n{}", String::from_utf8_lossy(&copy));
            for version in ["2.1", "3.0", "4.0"] {
                fields.set("made/VERSION", version);
                let copy = card::create(&fields, None, Format::V30).bytes;
                let text = String::from_utf8_lossy(&copy).into_owned();
                assert!(text.lines().all(|line| line.len() <= 76 || version == "2.1"), "{text}");
                // Version 2.1 knows no lists inside a name.
                let comparable = |fields: &Fields| {
                    let is_list = |field: &String| version == "2.1" && field.starts_with("form/name = N:");
                    filled(fields).into_iter().filter(|field| !is_list(field)).collect::<Vec<_>>()
                };
                assert_eq!(comparable(&read(&copy)[0]), comparable(&fields), "{file} as {version}\n{text}");
            }
        }
    }
}

#[test]
fn a_form_travels_without_the_value_that_it_dresses() {
    let before = fixture("evolution-3.0.vcf");
    let after = edit(
        &before,
        &[
            ("form/addresses/work", "item9.ADR;TYPE=WORK:=BP 118;=4e étage;*;*;*;*;*".into()),
            ("addresses/work/locality", "Lyon".into()),
            ("property/X-ABLABEL", vec!["item9.X-ABLabel:Atelier".into()].into()),
        ],
    );
    let after = String::from_utf8(after).unwrap();
    assert!(after.contains("item9.ADR;TYPE=WORK:BP 118;4e étage;8 rue des Archives;Lyon;;75004;France\r\n"), "{after}");
    let fields = &read(after.as_bytes())[0];
    let back = edit(
        after.as_bytes(),
        &[
            ("form/addresses/work", Value::Null),
            ("property/X-ABLABEL", Value::Null),
            ("addresses/preferred", "work".into()),
        ],
    );
    assert!(
        String::from_utf8(back).unwrap().contains("ADR;TYPE=WORK,PREF:;;8 rue des Archives;Lyon;;75004;France\r\n")
    );
    assert_eq!(fields.text("addresses/work/street"), Some("8 rue des Archives"));
}

#[test]
fn a_new_card_is_complete_and_its_composed_values_are_nobody_s() {
    let fields: Fields = [("name/given", "Ada"), ("name/surname", "Lovelace; née Byron")].into_iter().collect();
    let card = card::create(&fields, Some("a,b"), Format::V30).bytes;
    let text = String::from_utf8(card.clone()).unwrap();
    assert!(
        text.contains("FN;X-PAIRWISE=composed:Ada Lovelace\\; née Byron\r\n") && text.contains("UID:a,b\r\n"),
        "{text}"
    );
    assert_eq!(read(&card)[0].get("name/full"), Some(&Value::Null));
    let named = edit(&card, &[("name/full", "Lady Ada".into())]);
    assert!(String::from_utf8(named).unwrap().contains("FN:Lady Ada\r\n"));
    let card = card::create(&[("name/full", "Ada")].into_iter().collect(), None, Format::V21).bytes;
    assert!(String::from_utf8(card).unwrap().contains("N;X-PAIRWISE=composed:Ada;;;;\r\n"));
}

#[test]
fn fields_of_the_profile() {
    let fields: Fields = [("extended/region", "North; East"), ("name/full", "Ada")].into_iter().collect();
    let card = card::create(&fields, None, Format::V40).bytes;
    assert!(String::from_utf8_lossy(&card).contains("X-PAIRWISE-region:North\\; East\r\n"));
    assert_eq!(read(&card)[0].text("extended/region"), Some("North; East"));
    let after = edit(&card, &[("extended/region", Value::Null)]);
    assert_eq!(read(&after)[0].get("extended/region"), None);
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let text = Text::new(b"BEGIN:VCARD\nVERSION:3.0\nEND:VCARD\n");
    let fields: Fields = [
        ("property/X-A", "X-B:other name"),
        ("property/X-B", "X-B:one\nEND:VCARD"),
        ("property/UID", "UID:mine"),
        ("form/nowhere", "X:1"),
        ("surname", "x"),
        ("extended/a b", "x"),
        ("made/VERSION", "4.0"),
    ]
    .into_iter()
    .collect();
    let edits = Card::parse(&text, 0..text.as_str().len(), 1).unwrap().edit(&fields, false);
    let refused: BTreeSet<&str> = edits.refused.iter().map(|name| &**name).collect();
    assert_eq!(
        refused,
        ["extended/a b", "form/nowhere", "property/UID", "property/X-A", "property/X-B", "surname"].into()
    );
}

#[test]
fn broken_cards_say_where() {
    for (card, error) in [
        ("", "line 1: no BEGIN:VCARD"),
        ("hello", "line 1: `hello` is no content line: it has no colon"),
        ("BEGIN:VCARD\nVERSION:3.0\nFN:x\n", "line 3: the card ends without END:VCARD"),
        (
            "\n\nBEGIN:VCARD\nVERSION:3.0\nfree text\nEND:VCARD\n",
            "line 5: `free text` is no content line: it has no colon",
        ),
        (
            "BEGIN:VCARD\nAGENT:\nBEGIN:VCARD\nEND:VCARD\nEND:VCARD\n",
            "line 3: a card inside the card (AGENT) is not supported",
        ),
    ] {
        let text = Text::new(card.as_bytes());
        let block = card::cut(card).remove(0);
        assert_eq!(Card::parse(&text, block.span, block.line).unwrap_err().to_string(), error);
    }
    let cut = card::cut("BEGIN:VCARD\nFN:never ends\nBEGIN:VCARD\nEND:VCARD\njunk\n\u{feff}begin:vcard\nend:vcard");
    assert_eq!(
        cut.iter().map(|block| (block.span.clone(), block.line)).collect::<Vec<_>>(),
        [(0..26, 1), (26..48, 3), (56..77, 6)]
    );
}

/// Cards of all versions with lines put together at random.
fn random_card(dice: &mut Dice) -> String {
    let version = *dice.pick(&["2.1", "3.0", "4.0"]);
    let newline = *dice.pick(&["\r\n", "\n"]);
    let mut lines = vec!["BEGIN:VCARD".to_owned(), format!("VERSION:{version}")];
    for _ in 0..dice.roll(14) {
        let name = *dice.pick(&[
            "FN",
            "N",
            "EMAIL",
            "EMAIL",
            "TEL",
            "TEL",
            "ADR",
            "ORG",
            "NOTE",
            "NICKNAME",
            "CATEGORIES",
            "BDAY",
            "X-A",
            "X-B",
            "URL",
            "CLASS",
            "KIND",
            "TITLE",
            "ANNIVERSARY",
            "X-ANNIVERSARY",
            "PHOTO",
        ]);
        let group = *dice.pick(&["", "", "", "item1."]);
        let mut params = String::new();
        for _ in 0..dice.roll(3) {
            let bare = ["HOME", "WORK", "PREF", "CELL", "FAX", "X-ODD"];
            match dice.roll(4) {
                0 if version == "2.1" => params += &format!(";{}", dice.pick(&bare)),
                1 => params += ";LANGUAGE=de",
                2 => params += ";X-P=\"a;b:c\"",
                _ => params += &format!(";TYPE={}", dice.pick(&bare)),
            }
        }
        let word = *dice.pick(&[
            "",
            "a",
            "Grüße",
            "x\\, y",
            "p\\;q",
            "l1\\nl2",
            "c\\\\d",
            "1970-02-03",
            "日本語",
            " lead",
            "m:n",
        ]);
        let separator = *dice.pick(&["", "", ";", ",", ";;"]);
        let other = *dice.pick(&["", "b", "Zürich"]);
        let mut value = format!("{word}{separator}{other}");
        if matches!(name, "EMAIL" | "TEL") && !value.contains(char::is_alphanumeric) {
            // Empty lines hold places; beyond the last place they are nobody's.
            let is_same = |line: &&String| line.contains(name);
            value = if lines.iter().filter(is_same).count() == 0 { String::new() } else { "7".to_owned() };
        }
        lines.push(format!("{group}{name}{params}:{value}"));
    }
    lines.push("END:VCARD".to_owned());
    lines.iter().map(|line| format!("{line}{newline}")).collect()
}

#[test]
fn random_cards_survive_edits_and_copies() {
    let mut dice = Dice(17);
    let rounds = std::env::var("PAIRWISE_ROUNDS").map_or(2_000, |text| text.parse().unwrap());
    for round in 0..rounds {
        let source = random_card(&mut dice);
        let context = || format!("round {round}\n{source}");
        let fields = read(source.as_bytes()).remove(0);
        assert_eq!(edit(source.as_bytes(), &[]), source.as_bytes(), "{}", context());
        let all: Vec<(&str, Value)> = fields.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let same = edit(source.as_bytes(), &all);
        assert_eq!(String::from_utf8_lossy(&same), source, "writing what is there; {}", context());
        let copy = card::create(&fields, None, Format::V30).bytes;
        assert_eq!(filled(&read(&copy)[0]), filled(&fields), "copy\n{}; {}", String::from_utf8_lossy(&copy), context());
        // All fields of another card: afterwards it holds that card's fields.
        let other = random_card(&mut dice);
        let wanted = read(other.as_bytes()).remove(0);
        let mut write: Fields = wanted.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for (name, _) in fields.iter().filter(|(name, _)| wanted.get(name).is_none()) {
            write.set(name.clone(), Value::Null);
        }
        let all: Vec<(&str, Value)> = write.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let after = edit(source.as_bytes(), &all);
        // Version 2.1 knows no lists inside names and addresses.
        let no_lists = source.contains("VERSION:2.1") && !other.contains("VERSION:2.1");
        let lists = ["form/name ", "form/addr", "property/N ", "property/ADR "];
        let is_lost =
            |field: &String| field.starts_with("made/") || no_lists && lists.iter().any(|list| field.starts_with(list));
        let without_version =
            |fields: &Fields| filled(fields).into_iter().filter(|field| !is_lost(field)).collect::<BTreeSet<_>>();
        let (became, wanted) = (without_version(&read(&after)[0]), without_version(&wanted));
        assert!(
            became == wanted,
            "too much {:?}, missing {:?}; became\n{}\nfrom\n{other}\n{}",
            became.difference(&wanted),
            wanted.difference(&became),
            String::from_utf8_lossy(&after),
            context()
        );
    }
}
