//! Organizer and attendees of an event: lines and participants.

use pairwise_plugin_api::{Answer, Fields, Participant, ParticipantKind, Role, Value};

use crate::property::{Format, Property, escape};
use crate::slots::PROPERTY;

/// The people of an event, the organizer first.
pub(crate) fn participants(properties: &[Option<Property<'_>>]) -> Vec<Participant> {
    let people = properties.iter().flatten().filter(|property| is_person(property));
    let mut people: Vec<Participant> = people.map(participant).collect();
    people.sort_by_key(|person| person.role != Role::Organizer);
    people
}

fn is_person(property: &Property<'_>) -> bool {
    matches!(&*property.name, "ATTENDEE" | "ORGANIZER")
}

fn address<'p>(property: &'p Property<'_>) -> &'p str {
    let value = property.value.trim();
    value.get(7..).filter(|_| value[..7].eq_ignore_ascii_case("mailto:")).unwrap_or(value)
}

fn participant(property: &Property<'_>) -> Participant {
    let param = |name: &str| property.first(name).map(str::to_ascii_uppercase).unwrap_or_default();
    let kind = param("CUTYPE");
    let is_thing = kind == "ROOM" || kind == "RESOURCE";
    Participant {
        key: address(property).to_lowercase(),
        address: address(property).to_owned(),
        name: property.first("CN").unwrap_or_default().to_owned(),
        role: match param("ROLE").as_str() {
            _ if property.name == "ORGANIZER" => Role::Organizer,
            _ if is_thing => Role::Resource,
            "OPT-PARTICIPANT" | "NON-PARTICIPANT" => Role::Optional,
            _ => Role::Required,
        },
        answer: match param("PARTSTAT").as_str() {
            "ACCEPTED" => Answer::Accepted,
            "TENTATIVE" => Answer::Tentative,
            "DECLINED" => Answer::Declined,
            _ => Answer::NeedsAction,
        },
        kind: if is_thing { ParticipantKind::Resource } else { ParticipantKind::Unknown },
        ..Participant::default()
    }
}

/// Turns participants into lines. A person who is there already keeps what the participant does not tell.
pub(crate) fn invite(properties: &[Option<Property<'_>>], people: &[Participant], fields: &mut Fields) {
    let known: Vec<&Property<'_>> = properties.iter().flatten().filter(|property| is_person(property)).collect();
    let mut lines = [("ORGANIZER", Vec::new()), ("ATTENDEE", Vec::new())];
    for person in people {
        let name = if person.role == Role::Organizer { "ORGANIZER" } else { "ATTENDEE" };
        let is_same = |line: &&&Property<'_>| line.name == name && address(line).eq_ignore_ascii_case(&person.address);
        let mut line = known.iter().find(is_same).map_or_else(
            || Property::new(name, &[], format!("mailto:{}", escape((&*person.address).into(), Format::V21))),
            |line| (**line).clone(),
        );
        if participant(&line) != *person {
            describe(&mut line, person);
        }
        let list = usize::from(name == "ATTENDEE");
        lines[list].1.push(Value::from(line.to_string()));
    }
    for (name, lines) in lines {
        let field = format!("{PROPERTY}{name}");
        if fields.get(&field).is_none() {
            fields.set(field, lines);
        }
    }
}

fn describe(line: &mut Property<'_>, person: &Participant) {
    if !person.name.is_empty() {
        line.set("CN", vec![person.name.replace(['"', '\r', '\n'], " ").into()]);
    }
    if line.name == "ORGANIZER" {
        return;
    }
    let role = if person.role == Role::Optional { "OPT-PARTICIPANT" } else { "REQ-PARTICIPANT" };
    line.set("ROLE", vec![role.into()]);
    if person.role == Role::Resource {
        line.set("CUTYPE", vec!["RESOURCE".into()]);
    }
    let answer = match person.answer {
        Answer::Accepted => "ACCEPTED",
        Answer::Tentative => "TENTATIVE",
        Answer::Declined => "DECLINED",
        _ => "NEEDS-ACTION",
    };
    line.set("PARTSTAT", vec![answer.into()]);
}
