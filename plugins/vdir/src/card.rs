//! vCards: which line is which field, in versions 2.1, 3.0 and 4.0 and as the usual programs write them.

use std::ops::Range;
use std::sync::LazyLock;

use pairwise_plugin_api::{Fields, Value};

use crate::content::Block;
use crate::draft::{Draft, Edited, preference};
use crate::lines::{Broken, Line, Text, split_escaped};
use crate::property::{Format, Property};
use crate::slots::{MADE, Names, Schema, Shape, Sheet, Slot};

/// A card larger than this is not read.
pub(crate) const LARGEST: usize = 10 * 1024 * 1024;

const fn text(key: &'static str, property: &'static str, fields: &'static [&'static str]) -> Slot {
    Slot { key, property, types: &[], shape: Shape::Text, fields }
}

const fn whole(
    key: &'static str,
    property: &'static str,
    types: &'static [&'static str],
    fields: &'static [&'static str],
) -> Slot {
    Slot { key, property, types, shape: Shape::Whole, fields }
}

const fn address(key: &'static str, types: &'static [&'static str], fields: &'static [&'static str]) -> Slot {
    Slot { key, property: "ADR", types, shape: Shape::Parts(&[2, 3, 4, 5, 6], 7), fields }
}

const PRIVACY: &[(&str, &str)] = &[("PUBLIC", "public"), ("PRIVATE", "private"), ("CONFIDENTIAL", "secret")];
const KINDS: &[(&str, &str)] =
    &[("individual", "individual"), ("group", "group"), ("org", "org"), ("location", "location")];

const FULL: usize = 0;
const NAME: usize = 1;
const NICKNAME: usize = 2;
const TITLE: usize = 3;
const ORGANIZATION: usize = 4;
const EMAIL: usize = 5;
const PHONE: usize = 8;
const ADDRESS: usize = 21;
const LINK: usize = 24;
const BIRTH: usize = 25;
const WEDDING: usize = 26;
const RELATION: usize = 27;
const NOTE: usize = 30;
const KEYWORDS: usize = 31;
const CLASS: usize = 32;
const KIND: usize = 33;

/// In the order in which a new card holds them.
static SLOTS: [Slot; 34] = [
    text("name/full", "FN", &["name/full"]),
    Slot {
        key: "name",
        property: "N",
        types: &[],
        shape: Shape::Parts(&[0, 1, 2, 3, 4], 5),
        fields: &["name/surname", "name/given", "name/given2", "name/title", "name/generation"],
    },
    Slot { key: "nicknames/1", property: "NICKNAME", types: &[], shape: Shape::First, fields: &["nicknames/1/name"] },
    text("titles/1", "TITLE", &["titles/1/name"]),
    Slot {
        key: "organizations/1",
        property: "ORG",
        types: &[],
        shape: Shape::Parts(&[0, 1], 1),
        fields: &["organizations/1/name", "organizations/1/unit"],
    },
    whole("emails/1", "EMAIL", &[], &["emails/1/address"]),
    whole("emails/2", "EMAIL", &[], &["emails/2/address"]),
    whole("emails/3", "EMAIL", &[], &["emails/3/address"]),
    whole("phones/work", "TEL", &["WORK"], &["phones/work/number"]),
    whole("phones/work2", "TEL", &["WORK"], &["phones/work2/number"]),
    whole("phones/home", "TEL", &["HOME"], &["phones/home/number"]),
    whole("phones/home2", "TEL", &["HOME"], &["phones/home2/number"]),
    whole("phones/mobile", "TEL", &["CELL"], &["phones/mobile/number"]),
    whole("phones/workFax", "TEL", &["FAX", "WORK"], &["phones/workFax/number"]),
    whole("phones/homeFax", "TEL", &["FAX", "HOME"], &["phones/homeFax/number"]),
    whole("phones/otherFax", "TEL", &["FAX"], &["phones/otherFax/number"]),
    whole("phones/pager", "TEL", &["PAGER"], &["phones/pager/number"]),
    whole("phones/other", "TEL", &[], &["phones/other/number"]),
    whole("phones/assistant", "TEL", &["X-ASSISTANT"], &["phones/assistant/number"]),
    whole("phones/company", "TEL", &["X-COMPANY"], &["phones/company/number"]),
    whole("phones/car", "TEL", &["CAR"], &["phones/car/number"]),
    address(
        "addresses/work",
        &["WORK"],
        &[
            "addresses/work/street",
            "addresses/work/locality",
            "addresses/work/region",
            "addresses/work/postcode",
            "addresses/work/country",
        ],
    ),
    address(
        "addresses/home",
        &["HOME"],
        &[
            "addresses/home/street",
            "addresses/home/locality",
            "addresses/home/region",
            "addresses/home/postcode",
            "addresses/home/country",
        ],
    ),
    address(
        "addresses/other",
        &[],
        &[
            "addresses/other/street",
            "addresses/other/locality",
            "addresses/other/region",
            "addresses/other/postcode",
            "addresses/other/country",
        ],
    ),
    whole("links/work", "URL", &[], &["links/work"]),
    Slot {
        key: "anniversaries/birth",
        property: "BDAY",
        types: &[],
        shape: Shape::Date,
        fields: &["anniversaries/birth"],
    },
    Slot {
        key: "anniversaries/wedding",
        property: "ANNIVERSARY",
        types: &[],
        shape: Shape::Date,
        fields: &["anniversaries/wedding"],
    },
    text("relations/assistant", "X-ASSISTANT", &["relations/assistant"]),
    text("relations/manager", "X-MANAGER", &["relations/manager"]),
    text("relations/spouse", "X-SPOUSE", &["relations/spouse"]),
    text("notes/1", "NOTE", &["notes/1"]),
    Slot { key: "keywords", property: "CATEGORIES", types: &[], shape: Shape::List, fields: &["keywords"] },
    Slot { key: "privacy", property: "CLASS", types: &[], shape: Shape::Word(PRIVACY), fields: &["privacy"] },
    Slot { key: "kind", property: "KIND", types: &[], shape: Shape::Word(KINDS), fields: &["kind"] },
];

static NAMES: LazyLock<Names> = LazyLock::new(|| Names::of(&SLOTS));

/// Contacts.
pub(crate) static CONTACT: Schema = Schema {
    slots: &SLOTS,
    assign,
    made: &["VERSION", "PRODID", "REV"],
    silent: &["BEGIN", "END", "UID"],
    own: &[PREFERRED],
    rows: &[&[EMAIL, EMAIL + 1, EMAIL + 2], &[PHONE, PHONE + 1], &[PHONE + 2, PHONE + 3]],
    names: || &NAMES,
};

/// Which of the addresses is the preferred one: its field's name, and what its values are called.
pub(crate) const PREFERRED: &str = "addresses/preferred";
const ADDRESSES: [&str; 3] = ["work", "home", "other"];

/// Each line takes the first free place of those that it fits. Filled lines first: an empty line must not stand in the way.
fn assign(properties: &[Option<Property<'_>>]) -> Vec<Option<usize>> {
    let mut slots = vec![None; properties.len()];
    let mut taken = [false; SLOTS.len()];
    let mut emails: Vec<(u32, usize)> = Vec::new();
    for empty in [false, true] {
        for (index, property) in properties.iter().enumerate() {
            let Some(property) = property else { continue };
            let places = places(property);
            // In a row of places the line's position counts, so that an emptied place stays one.
            let in_row = places.len() > 1;
            if (property.is_empty() && !in_row) != empty {
                continue;
            }
            if property.name == "EMAIL" {
                emails.push((preference(Some(property)), index));
            } else if let Some(place) = places.iter().find(|place| !taken[**place]) {
                taken[*place] = true;
                slots[index] = Some(*place);
            }
        }
    }
    emails.sort_unstable();
    for (place, (_, index)) in emails.into_iter().take(3).enumerate() {
        slots[index] = Some(EMAIL + place);
    }
    slots
}

/// The slots that a line can take, best first.
fn places(property: &Property<'_>) -> &'static [usize] {
    if !property.param("ENCODING").is_empty() {
        return &[];
    }
    match &*property.name {
        "FN" => &[FULL],
        "N" => &[NAME],
        "NICKNAME" => &[NICKNAME],
        "TITLE" => &[TITLE],
        "ORG" => &[ORGANIZATION],
        "EMAIL" => &[EMAIL, EMAIL + 1, EMAIL + 2],
        "TEL" | "X-MS-TEL" => phone_places(property),
        "ADR" if property.has_type("WORK") => &[ADDRESS],
        "ADR" if property.has_type("HOME") => &[ADDRESS + 1],
        "ADR" => &[ADDRESS + 2],
        "URL" if !property.has_type("HOME") => &[LINK],
        "BDAY" => &[BIRTH],
        "NOTE" => &[NOTE],
        "CATEGORIES" => &[KEYWORDS],
        "CLASS" => &[CLASS],
        "KIND" => &[KIND],
        name => match name.to_ascii_uppercase().as_str() {
            "ANNIVERSARY"
            | "X-ANNIVERSARY"
            | "X-EVOLUTION-ANNIVERSARY"
            | "X-MS-ANNIVERSARY"
            | "X-KADDRESSBOOK-X-ANNIVERSARY" => &[WEDDING],
            "X-ASSISTANT" | "X-EVOLUTION-ASSISTANT" | "X-MS-ASSISTANT" | "X-KADDRESSBOOK-X-ASSISTANTSNAME" => {
                &[RELATION]
            }
            "X-MANAGER" | "X-EVOLUTION-MANAGER" | "X-MS-MANAGER" | "X-KADDRESSBOOK-X-MANAGERSNAME" => &[RELATION + 1],
            "X-SPOUSE" | "X-EVOLUTION-SPOUSE" | "X-MS-SPOUSE" | "X-KADDRESSBOOK-X-SPOUSESNAME" => &[RELATION + 2],
            _ => &[],
        },
    }
}

fn phone_places(property: &Property<'_>) -> &'static [usize] {
    let has = |types: &[&str]| types.iter().any(|wanted| property.has_type(wanted));
    // Devices that are no telephones, and numbers with a purpose of their own: no slot is theirs.
    if has(&["MODEM", "ISDN", "BBS", "TLX", "TELEX", "TTYTDD", "TTY-TDD", "TEXTPHONE", "RADIO", "CALLBACK"])
        || has(&["X-EVOLUTION-TELEX", "X-EVOLUTION-TTYTDD", "X-EVOLUTION-RADIO", "X-EVOLUTION-CALLBACK"])
    {
        &[]
    } else if has(&["ASSISTANT", "X-ASSISTANT", "X-EVOLUTION-ASSISTANT"]) {
        &[PHONE + 10]
    } else if has(&["COMPANY", "X-COMPANY", "X-EVOLUTION-COMPANY", "MAIN"]) {
        &[PHONE + 11]
    } else if has(&["FAX"]) {
        match (has(&["WORK"]), has(&["HOME"])) {
            (true, _) => &[PHONE + 5],
            (false, true) => &[PHONE + 6],
            _ => &[PHONE + 7],
        }
    } else if has(&["PAGER"]) {
        &[PHONE + 8]
    } else if has(&["CAR"]) {
        &[PHONE + 12]
    } else if has(&["CELL", "IPHONE", "MOBILE", "PCS"]) {
        &[PHONE + 4]
    } else if has(&["WORK"]) {
        &[PHONE, PHONE + 1]
    } else if has(&["HOME"]) {
        &[PHONE + 2, PHONE + 3]
    } else {
        &[PHONE + 9]
    }
}

/// One card of a file.
#[derive(Debug)]
pub(crate) struct Card<'a> {
    text: &'a Text<'a>,
    sheet: Sheet<'a>,
}

impl<'a> Card<'a> {
    /// Reads the lines of a card. `first` is the number of its first line in the file.
    pub(crate) fn parse(text: &'a Text<'a>, span: Range<usize>, first: usize) -> Result<Self, Broken> {
        if span.len() > LARGEST {
            return Err(Broken::new(first, format!("a card of {} bytes; at most {LARGEST} are read", span.len())));
        }
        let lines = text.lines(span, first)?;
        let odd = lines.iter().find(|line| !line.has_colon && !line.is_blank());
        if let Some(odd) = odd {
            let start: String = odd.name.chars().take(40).collect();
            return Err(Broken::new(odd.number, format!("`{start}` is no content line: it has no colon")));
        }
        let mut content = lines.iter().filter(|line| !line.is_blank());
        let is = |line: &Line<'_>, name: &str| line.is(name) && line.value.trim().eq_ignore_ascii_case("VCARD");
        if !content.next().is_some_and(|line| is(line, "BEGIN")) {
            return Err(Broken::new(first, "no BEGIN:VCARD"));
        }
        if !content.next_back().is_some_and(|line| is(line, "END")) {
            let last = lines.last().map_or(first, |line| line.number);
            return Err(Broken::new(last, "the card ends without END:VCARD"));
        }
        if let Some(inner) = content.find(|line| line.is("BEGIN") || line.is("END")) {
            return Err(Broken::new(inner.number, "a card inside the card (AGENT) is not supported"));
        }
        let version = lines.iter().find(|line| line.is("VERSION")).map(|line| &*line.value).unwrap_or_default();
        let format = Format::of_card(version);
        Ok(Card { text, sheet: Sheet::new(&CONTACT, format, lines) })
    }

    pub(crate) fn uid(&self) -> Option<&str> {
        self.sheet.silent("UID").map(str::trim).filter(|uid| !uid.is_empty())
    }

    /// When a program last changed the card, as it says.
    pub(crate) fn revision(&self) -> Option<&str> {
        self.sheet.silent("REV")
    }

    pub(crate) fn fields(&self) -> Result<Fields, Broken> {
        let mut fields = self.sheet.read()?;
        let preferred = preferred_of(|index| self.sheet.at(ADDRESS + index));
        fields.set(PREFERRED, preferred.map_or(Value::Null, Value::from));
        Ok(fields)
    }

    /// The card with these fields changed. A new one is completed.
    pub(crate) fn edit(&self, fields: &Fields, complete: bool) -> Edited {
        let mut draft = Draft::new(&self.sheet);
        draft.apply(fields);
        if let Some(preferred) = fields.get(PREFERRED) {
            prefer(&mut draft, preferred);
        }
        self.complete(&mut draft, complete);
        draft.print(self.text, self.newline())
    }

    /// Versions 2.1 and 3.0 demand `N`, 3.0 and 4.0 demand `FN`. A new card gets what is missing out of what it has, marked.
    fn complete(&self, draft: &mut Draft<'_, '_>, new: bool) {
        let filled = |draft: &Draft<'_, '_>, slot: usize| {
            draft.slots[slot]
                .as_ref()
                .filter(|property| !property.is_empty())
                .map(|property| property.value.to_string())
        };
        let full = filled(draft, FULL);
        let name = filled(draft, NAME);
        if full.is_none() && (new || draft.had(FULL)) && self.sheet.format != Format::V21 {
            let composed = name.as_deref().map(natural_order).filter(|text| !text.is_empty());
            let other = [ORGANIZATION, EMAIL, PHONE, PHONE + 4].into_iter().find_map(|slot| filled(draft, slot));
            draft.compose(FULL, composed.or(other).unwrap_or_else(|| "?".to_owned()));
        }
        if name.is_none() && (new || draft.had(NAME)) && self.sheet.format != Format::V40 {
            draft.compose(NAME, format!("{};;;;", full.unwrap_or_default().replace("\\;", " ")));
        }
    }

    fn newline(&self) -> &'static str {
        let first = self.sheet.lines.first().map(|line| &self.text.as_str()[line.span.clone()]);
        if first.is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" }
    }
}

/// A new card. One that comes from another card (it says from which version) is taken as it is, else it is completed.
pub(crate) fn create(fields: &Fields, uid: Option<&str>, default: Format) -> Edited {
    let made = |name: &str| fields.text(&format!("{MADE}{name}"));
    let format = made("VERSION").map_or(default, Format::of_card);
    let mut skeleton = format!("BEGIN:VCARD\r\nVERSION:{}\r\n", format.version());
    for (name, value) in [("PRODID", made("PRODID")), ("UID", uid), ("REV", made("REV"))] {
        if let Some(value) = value {
            skeleton.push_str(&Property::new(name, &[], value.replace(['\r', '\n'], " ")).render(format, "\r\n"));
        }
    }
    skeleton.push_str("END:VCARD\r\n");
    let text = Text::new(skeleton.as_bytes());
    match Card::parse(&text, 0..skeleton.len(), 1) {
        Ok(card) => card.edit(fields, made("VERSION").is_none()),
        Err(_) => Edited { bytes: skeleton.into_bytes(), refused: Vec::new() },
    }
}

/// The first address that says it is preferred.
fn preferred_of<'p, 'a: 'p>(address: impl Fn(usize) -> Option<&'p Property<'a>>) -> Option<&'static str> {
    let says_so = |index: &usize| address(*index).is_some_and(|adr| !adr.is_empty() && !adr.param("PREF").is_empty());
    (0..ADDRESSES.len()).find(says_so).map(|index| ADDRESSES[index])
}

fn prefer(draft: &mut Draft<'_, '_>, preferred: &Value) {
    if preferred_of(|index| draft.slots[ADDRESS + index].as_ref()) == preferred.as_text() {
        return;
    }
    for (index, name) in ADDRESSES.iter().enumerate() {
        if let Some(address) = &mut draft.slots[ADDRESS + index] {
            address.remove("PREF");
            if preferred.as_text() == Some(name) {
                address.set("PREF", vec!["1".into()]);
            }
        }
    }
}

/// `Lovelace;Ada;King;Lady;` as `Lady Ada King Lovelace`.
fn natural_order(name: &str) -> String {
    let parts: Vec<&str> = split_escaped(name, ';').collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    [3, 1, 2, 0, 4].map(part).into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What tells a card of a file from the others: its UID, else (as an error) the name that it bears.
pub(crate) fn identity(text: &Text<'_>, block: &Block) -> Result<String, String> {
    let lines = text.lines(block.span.clone(), block.line).unwrap_or_default();
    let value = |name: &str| lines.iter().find(|line| line.is(name)).map(|line| line.value.trim()).unwrap_or_default();
    match value("UID") {
        "" if value("FN").is_empty() && value("N").is_empty() => Err(text.as_str()[block.span.clone()].to_owned()),
        "" => Err(format!("{}\n{}", value("FN"), value("N"))),
        uid => Ok(uid.to_owned()),
    }
}

/// Where the cards of a file stand. A card that never ends goes on to the next one, or to the end of the file, and is broken;
/// a file without any card is one broken card.
pub(crate) fn cut(text: &str) -> Vec<Block> {
    let mut cards = Vec::new();
    let mut open: Option<Block> = None;
    let mut depth = 0_usize;
    let mut before = "";
    let mut at = 0;
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += raw.len();
        let without_mark = raw.strip_prefix('\u{feff}').unwrap_or(raw);
        let line = without_mark.trim_end();
        let inside_agent = before.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("AGENT"));
        if line.eq_ignore_ascii_case("BEGIN:VCARD") {
            match &mut open {
                Some(_) if inside_agent => depth += 1,
                open => {
                    let new = Block { span: start + raw.len() - without_mark.len()..at, line: index + 1 };
                    if let Some(mut broken) = open.replace(new) {
                        broken.span.end = start;
                        cards.push(broken);
                    }
                    depth = 0;
                }
            }
        } else if line.eq_ignore_ascii_case("END:VCARD") {
            if depth > 0 {
                depth -= 1;
            } else if let Some(mut card) = open.take() {
                card.span.end = at;
                cards.push(card);
            }
        }
        if !line.is_empty() {
            before = line;
        }
    }
    if let Some(mut broken) = open {
        broken.span.end = text.len();
        cards.push(broken);
    }
    if cards.is_empty() {
        cards.push(Block { span: 0..text.len(), line: 1 });
    }
    cards
}
