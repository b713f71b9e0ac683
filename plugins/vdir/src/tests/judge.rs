//! An independent reader looks at what is written here: `vobject` from PyPI, through `tests/judge.py`.

use std::process::Command;

use pairwise_plugin_api::{Fields, Value, Write};

use super::Dice;
use crate::content::{self, Kind};
use crate::property::Format;

/// Texts with everything that needs care. A backslash before a letter is left out: readers of 2.1 disagree about it.
const TEXTS: [&str; 8] = [
    "plain",
    "Grüße aus Köln",
    "comma, semicolon; colon: equals = quote \"",
    "two\nlines",
    "日本語のテキスト、長い長い長い長い長い長い長い長い長い長い長い長い長い行",
    "back\\\\slash",
    "a very long line that must be folded somewhere in the middle because it does not fit into seventy-five bytes",
    "tab\there",
];

#[test]
#[ignore = "needs Python with vobject; PAIRWISE_PYTHON names the interpreter"]
fn vobject_reads_what_was_meant() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut dice = Dice(4);
    let mut expected = Vec::new();
    for (index, (name, format)) in
        [("2.1", Format::V21), ("3.0", Format::V30), ("4.0", Format::V40)].into_iter().cycle().take(150).enumerate()
    {
        // The judge reads 2.1 by the rules of 3.0, where a comma separates.
        let comma = if format == Format::V21 { "" } else { "," };
        let text = |dice: &mut Dice| dice.pick(&TEXTS).replace(',', comma);
        let one_line = |dice: &mut Dice| dice.pick(&TEXTS).replace('\n', " ").replace(',', comma);
        let (full, family, given) = (one_line(&mut dice), one_line(&mut dice), one_line(&mut dice));
        let (note, org, unit, street) =
            (text(&mut dice), one_line(&mut dice), one_line(&mut dice), one_line(&mut dice));
        let fields: Fields = [
            ("name/full", full.as_str()),
            ("name/surname", &family),
            ("name/given", &given),
            ("emails/1/address", "a@example.org"),
            ("emails/2/address", "b@example.org"),
            ("phones/work/number", "+49 89 1;ext=5"),
            ("notes/1", &note),
            ("organizations/1/name", &org),
            ("organizations/1/unit", &unit),
            ("addresses/work/street", &street),
        ]
        .into_iter()
        .collect();
        let write = Write { fields, key: format!("K{index}"), ..Write::default() };
        let file = format!("{index:03}-{name}.vcf");
        std::fs::write(folder.path().join(&file), content::create(Kind::Contact, &write, format).bytes).unwrap();
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        expected.push(format!(
            r#""{file}": {{"fn": {}, "family": {}, "given": {}, "emails": ["a@example.org", "b@example.org"],
                "phones": ["+49 89 1;ext=5"], "note": {}, "org": [{}, {}], "street": {}}}"#,
            quote(&full),
            quote(&family),
            quote(&given),
            quote(&note),
            quote(&org),
            quote(&unit),
            quote(&street)
        ));
    }
    for (index, text) in TEXTS.iter().enumerate() {
        let fields: Fields = [
            ("title", Value::from(text.replace('\n', " "))),
            ("description", (*text).into()),
            ("start", "2026-07-01T12:00:00".into()),
            ("end", "2026-07-01T13:00:00".into()),
            ("timeZone", "Europe/Berlin".into()),
        ]
        .into_iter()
        .collect();
        let write = Write { fields, key: format!("E{index}"), ..Write::default() };
        let file = format!("{index}.ics");
        std::fs::write(folder.path().join(&file), content::create(Kind::Event, &write, Format::V30).bytes).unwrap();
        expected.push(format!(
            r#""{file}": {{"summary": {}, "description": {}, "start": "2026-07-01T12:00:00+02:00", "end": "2026-07-01T13:00:00+02:00"}}"#,
            serde_json::Value::from(text.replace('\n', " ")),
            serde_json::Value::from(*text)
        ));
    }
    std::fs::write(folder.path().join("expected.json"), format!("{{{}}}", expected.join(","))).unwrap();
    let python = std::env::var("PAIRWISE_PYTHON").unwrap_or_else(|_| "python3".into());
    let judge = format!("{}/tests/judge.py", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(judge).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
