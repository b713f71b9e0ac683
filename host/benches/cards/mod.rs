//! Announcements and links of about the size of the benchmark's cards, for the store's benchmark and its tests.

use pairwise_host::model::{End, Intent, Link, LinkChange, LinkState, News, Settlement, Side, Sides, Staged};
use pairwise_plugin_api::{Action, Fields, Record, RecordRef, Write};

/// A card with 25 fields, about 770 bytes as a vCard.
fn fields(n: usize) -> Fields {
    [
        ("addresses/1/country", "Germany".to_owned()),
        ("addresses/1/locality", "Neustadt an der Weinstrasse".into()),
        ("addresses/1/postcode", format!("{n:05}")),
        ("addresses/1/region", "Rheinland-Pfalz".into()),
        ("addresses/1/street", format!("Hauptstrasse {n}")),
        ("addresses/2/country", "Germany".into()),
        ("addresses/2/locality", "Berlin".into()),
        ("addresses/2/street", format!("Unter den Linden {n}")),
        ("anniversaries/birth/date", "1980-04-01".into()),
        ("emails/1/address", format!("person.{n}@example.com")),
        ("emails/2/address", format!("p{n}@home.example.org")),
        ("keywords", "customer, newsletter".into()),
        ("links/1/uri", format!("https://example.com/people/{n}")),
        ("name/full", format!("Person Number {n}")),
        ("name/given", "Person".into()),
        ("name/surname", format!("Number {n}")),
        ("nicknames/1/name", format!("Nick {n}")),
        ("notes/1/note", format!("What person {n} said at the fair in spring, and which wishes are still open")),
        ("organizations/1/name", format!("Company {} Ltd", n % 500)),
        ("organizations/1/units/1", "Purchasing".into()),
        ("phones/1/number", format!("+49 30 {n:07}")),
        ("phones/2/number", format!("+49 170 {n:07}")),
        ("phones/3/number", format!("+49 6321 {n:07}")),
        ("titles/1/name", "Head of Purchasing".into()),
        ("version", "4.0".into()),
    ]
    .into_iter()
    .collect()
}

/// UIDs are not in the order in which a system lists its records.
fn uid(n: usize) -> String {
    let scattered = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-0000-4000-8000-{n:012x}", scattered >> 32)
}

/// The announcement of card `n`.
pub(crate) fn staged(side: Side, n: usize) -> Staged {
    let record = Record {
        at: RecordRef::new("contact", format!("{}.vcf", uid(n))),
        version: Some(format!("{:016x}", n * 7919)),
        incarnation: Some(uid(n)),
        uid: Some(uid(n)),
        fields: fields(n),
        ..Record::default()
    };
    let n = n as u64;
    Staged {
        side,
        at: record.at.clone(),
        version: record.version.clone(),
        news: News::Here(Box::new(record)),
        keys: (0..3).map(|rank| (rank, (n + u64::from(rank)).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect(),
        candidate: false,
    }
}

/// A create on the right for a card that was announced on the left.
pub(crate) fn intent(row: i64, record: &Record) -> Intent {
    let end = End::of(record);
    Intent {
        id: 0,
        call: "01J0000000000000000000CALL".into(),
        link: Link {
            id: 0,
            ends: Sides { left: Some(end.clone()), right: None },
            shadows: Sides::default(),
            born: Side::Left,
            state: LinkState::Live,
        },
        side: Side::Right,
        write: Write {
            action: Action::Create,
            at: RecordRef::new("contact", ""),
            fields: record.fields.clone(),
            key: "01J00000000000000000000KEY".into(),
            uid: record.uid.clone(),
            ..Write::default()
        },
        asked: record.fields.clone(),
        source: Some((end, record.fields.clone())),
        before: None,
        again: false,
        inbox: vec![row],
    }
}

/// The settlement of that create after the other side took it as it was sent.
pub(crate) fn settled(intent: Intent) -> Settlement {
    let mut link = intent.link;
    link.ends.right = link.ends.left.clone();
    link.shadows = Sides { left: intent.asked.clone(), right: intent.asked };
    Settlement {
        settled: intent.inbox,
        closed: vec![intent.id],
        link: LinkChange::Put(Box::new(link)),
        ..Settlement::default()
    }
}
