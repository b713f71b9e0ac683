//! The same person as different address book programs write them to a file.

use std::fmt::Write;

use pairwise_sandbox::people::Person;

/// Which program wrote a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Program {
    /// vCard 2.1 with quoted-printable text.
    Outlook,
    /// vCard 3.0 with grouped lines.
    Apple,
    /// vCard 3.0, as this crate's people come.
    Plain,
    /// vCard 4.0.
    Evolution,
}

impl Program {
    /// The programs take turns.
    pub(super) fn of(number: u32) -> Program {
        match number % 8 {
            0 => Program::Outlook,
            1 | 2 => Program::Apple,
            3 => Program::Evolution,
            _ => Program::Plain,
        }
    }

    /// The file that it would write.
    pub(super) fn card(self, person: &Person) -> String {
        let lines = match self {
            Program::Outlook => outlook(person),
            Program::Apple => apple(person),
            Program::Evolution => evolution(person),
            Program::Plain => return person.card(),
        };
        lines.join("\r\n") + "\r\n"
    }
}

fn outlook(person: &Person) -> Vec<String> {
    let coded = |name: &str, value: &str| match value.is_ascii() {
        true => format!("{name}:{value}"),
        false => format!("{name};CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:{}", quoted_printable(value)),
    };
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        "VERSION:2.1".to_owned(),
        format!("UID:{}", person.uid),
        coded("N", &format!("{};{}", person.surname, person.given)),
        coded("FN", &person.full_name()),
        coded("ORG", &format!("{};{}", person.organization, person.unit)),
        coded("TITLE", &person.title),
    ];
    lines.extend(person.emails.iter().map(|email| format!("EMAIL;INTERNET:{email}")));
    lines.push(format!("TEL;WORK;VOICE:{}", person.phones[0]));
    lines.push(format!("TEL;CELL;VOICE:{}", person.phones[1]));
    lines.push(coded("NOTE", &person.note));
    lines.push("X-MS-OL-DEFAULT-POSTAL-ADDRESS:2".to_owned());
    lines.push("END:VCARD".to_owned());
    lines
}

fn apple(person: &Person) -> Vec<String> {
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        "VERSION:3.0".to_owned(),
        "PRODID:-//Apple Inc.//macOS 14.0//EN".to_owned(),
        format!("UID:{}", person.uid),
        format!("N:{};{};;;", escaped(&person.surname), escaped(&person.given)),
        format!("FN:{}", escaped(&person.full_name())),
        format!("ORG:{};{}", escaped(&person.organization), escaped(&person.unit)),
        format!("TITLE:{}", escaped(&person.title)),
    ];
    let kinds = ["WORK", "HOME"];
    lines.extend(
        person.emails.iter().zip(kinds).map(|(email, kind)| format!("EMAIL;type=INTERNET;type={kind}:{email}")),
    );
    lines.push(format!("TEL;type=WORK;type=VOICE;type=pref:{}", person.phones[0]));
    lines.push(format!("TEL;type=CELL;type=VOICE:{}", person.phones[1]));
    let place = [&person.street, &person.town, &person.region, &person.postcode, &person.country];
    lines.push(format!("item1.ADR;type=WORK;type=pref:;;{}", place.map(|part| escaped(part)).join(";")));
    lines.push("item1.X-ABADR:de".to_owned());
    lines.push(format!("NOTE:{}", escaped(&person.note)));
    lines.push("END:VCARD".to_owned());
    lines
}

fn evolution(person: &Person) -> Vec<String> {
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        "VERSION:4.0".to_owned(),
        format!("UID:{}", person.uid),
        format!("FN:{}", escaped(&person.full_name())),
        format!("N:{};{};;;", escaped(&person.surname), escaped(&person.given)),
        format!("ORG:{};{}", escaped(&person.organization), escaped(&person.unit)),
        format!("TITLE:{}", escaped(&person.title)),
    ];
    let kinds = ["work", "home"];
    lines.extend(person.emails.iter().zip(kinds).map(|(email, kind)| format!("EMAIL;TYPE={kind}:{email}")));
    lines.push(format!("TEL;TYPE=\"work,voice\":{}", person.phones[0]));
    lines.push(format!("TEL;TYPE=cell:{}", person.phones[1]));
    lines.push(format!("NOTE:{}", escaped(&person.note)));
    lines.push(format!("X-EVOLUTION-FILE-AS:{}", escaped(&format!("{}, {}", person.surname, person.given))));
    lines.push("END:VCARD".to_owned());
    lines
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;").replace('\n', "\\n")
}

fn quoted_printable(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'=' | 0..=31 | 127.. => {
                // Writing to a string cannot fail.
                let _ = write!(text, "={byte:02X}");
            }
            _ => text.push(char::from(byte)),
        }
        text
    })
}
