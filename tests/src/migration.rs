//! What a migration to the cloud does with a mailbox: the same contacts under other ids, with every property that they had.

use pairwise_sandbox::Sandbox;
use pairwise_sandbox::store::Item;
use serde_json::{Map, Value, json};

/// Elements of EWS and the members of Graph that show the same property.
const TEXTS: [(&str, &str); 15] = [
    ("DisplayName", "displayName"),
    ("FileAs", "fileAs"),
    ("GivenName", "givenName"),
    ("MiddleName", "middleName"),
    ("Surname", "surname"),
    ("0x3a45", "title"),
    ("Generation", "generation"),
    ("Nickname", "nickName"),
    ("CompanyName", "companyName"),
    ("Department", "department"),
    ("JobTitle", "jobTitle"),
    ("PhoneNumbers/MobilePhone", "mobilePhone"),
    ("BusinessHomePage", "businessHomePage"),
    ("Birthday", "birthday"),
    ("Body", "personalNotes"),
];

/// Entries of EWS that Graph shows as lists of texts.
const LISTS: [(&str, &[&str]); 2] = [
    ("businessPhones", &["PhoneNumbers/BusinessPhone", "PhoneNumbers/BusinessPhone2"]),
    ("homePhones", &["PhoneNumbers/HomePhone", "PhoneNumbers/HomePhone2"]),
];

/// Elements of EWS that Graph shows as extended properties alone.
const PROPERTIES: [(&str, &str); 8] = [
    ("PhoneNumbers/BusinessFax", "String 0x3A24"),
    ("PhoneNumbers/HomeFax", "String 0x3A25"),
    ("PhoneNumbers/OtherFax", "String 0x3A23"),
    ("PhoneNumbers/Pager", "String 0x3A21"),
    ("PhoneNumbers/OtherTelephone", "String 0x3A1F"),
    ("PhoneNumbers/AssistantPhone", "String 0x3A2E"),
    ("PhoneNumbers/CompanyMainPhone", "String 0x3A57"),
    ("PhoneNumbers/CarPhone", "String 0x3A1E"),
];

const ADDRESSES: [(&str, &str); 3] =
    [("Business", "businessAddress"), ("Home", "homeAddress"), ("Other", "otherAddress")];

const PARTS: [(&str, &str); 5] = [
    ("Street", "street"),
    ("City", "city"),
    ("State", "state"),
    ("PostalCode", "postalCode"),
    ("CountryOrRegion", "countryOrRegion"),
];

/// Moves the contacts of a mailbox from the simulated Exchange to the simulated Outlook. From then on Exchange does not know
/// the mailbox any more.
///
/// # Panics
/// If one of them does not run, or has no such mailbox.
pub fn to_the_cloud(sandbox: &Sandbox, user: &str) {
    let folders = sandbox.records("exchange", Some("folder"), Some(user));
    let home =
        folders.iter().find(|folder| folder.fields["Distinguished"] == "contacts").expect("a folder of contacts");
    for item in sandbox.records("exchange", Some("contact"), Some(user)) {
        if item.container.as_ref() == Some(&home.id) {
            let arguments = json!({ "user": user, "contact": in_graph(&item) });
            sandbox.command("outlook", "import", &arguments).expect("a contact that Outlook takes");
        }
    }
    sandbox.command("exchange", "lose_mailbox", &json!({ "user": user, "lost": true })).expect("a mailbox to lose");
}

/// A contact as Graph shows it.
fn in_graph(item: &Item) -> Value {
    let held = |name: &str| item.fields.get(name).filter(|value| !value.is_null()).cloned();
    let mut contact = Map::new();
    for (element, member) in TEXTS {
        contact.extend(held(element).map(|value| (member.to_owned(), value)));
    }
    for (member, elements) in LISTS {
        let list: Vec<Value> = elements.iter().filter_map(|element| held(element)).collect();
        contact.insert(member.to_owned(), list.into());
    }
    let address = |number: usize| held(&format!("EmailAddresses/EmailAddress{number}"));
    let mails = (1..=3).filter_map(address).map(|address| json!({ "address": address }));
    contact.insert("emailAddresses".to_owned(), mails.collect());
    contact.extend(held("Categories").map(|list| ("categories".to_owned(), list)));
    for (key, member) in ADDRESSES {
        let part = |(element, part): (&str, &str)| {
            held(&format!("PhysicalAddresses/{key}/{element}")).map(|value| (part.to_owned(), value))
        };
        contact.insert(member.to_owned(), Value::Object(PARTS.into_iter().filter_map(part).collect()));
    }
    let known = PROPERTIES.into_iter().filter_map(|(element, id)| Some(json!({ "id": id, "value": held(element)? })));
    let named = item.fields.iter().filter_map(|(name, value)| {
        let (set, name) = name.split_once('/').filter(|(set, _)| set.starts_with('{'))?;
        Some(json!({ "id": format!("String {set} Name {name}"), "value": value }))
    });
    let key = held("0x300b").map(|key| json!({ "id": "Binary 0x300B", "value": key }));
    contact.insert("singleValueExtendedProperties".to_owned(), known.chain(named).chain(key).collect());
    Value::Object(contact)
}
