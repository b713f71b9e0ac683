//! Made-up people and their vCards: number `n` of a crowd is always the same person.
//!
//! A card is about 770 bytes of vCard 3.0, as an address book program writes it: two e-mail addresses, three telephone
//! numbers, an address, an organisation, a note. E-mail addresses lie in domains that cannot exist.

mod lands;

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::path::Path;

use fastrand::Rng;

use self::lands::{CATEGORIES, COMPANIES, LANDS, Land};

/// The longest line of a card in octets, as the standard asks for.
const LINE: usize = 75;

/// An endless row of people.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    seed: u64,
    awkward: bool,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named by what they are")]
pub struct Person {
    pub number: u32,
    pub uid: String,
    /// When the card was last written: `2025-03-01T09:30:00Z`.
    pub revised: String,
    pub given: String,
    pub surname: String,
    pub organization: String,
    pub unit: String,
    pub title: String,
    /// At work and at home, in this order; may be fewer.
    pub emails: Vec<String>,
    /// At work, mobile, at home.
    pub phones: [String; 3],
    pub street: String,
    pub town: String,
    pub region: String,
    pub postcode: String,
    pub country: String,
    pub birthday: String,
    pub web: String,
    pub categories: Vec<String>,
    pub note: String,
}

impl Crowd {
    /// People who all have two e-mail addresses that nobody else has.
    #[must_use]
    pub const fn tidy(seed: u64) -> Crowd {
        Crowd { seed, awkward: false }
    }

    /// People as they are: one in twenty has no e-mail address, one in twelve shares one with colleagues.
    #[must_use]
    pub const fn awkward(seed: u64) -> Crowd {
        Crowd { seed, awkward: true }
    }

    /// Person number `number`.
    #[must_use]
    pub fn person(&self, number: u32) -> Person {
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number));
        let land = pick(&mut rng, &LANDS);
        let (organization, domain, units) = *pick(&mut rng, &COMPANIES);
        let (town, region, postcode) = *pick(&mut rng, &land.towns);
        let house = rng.u32(1..200).to_string();
        let street = *pick(&mut rng, &land.streets);
        let mut categories = vec![(*pick(&mut rng, &CATEGORIES)).to_owned(), (*pick(&mut rng, &CATEGORIES)).to_owned()];
        categories.dedup();
        let (month, day, hour, minute) = (rng.u8(1..13), rng.u8(1..29), rng.u8(7..19), rng.u8(..60));
        Person {
            number,
            uid: format!(
                "{:08x}-{number:04x}-4{:03x}-a{:03x}-{:012x}",
                rng.u32(..),
                rng.u16(..4096),
                rng.u16(..4096),
                rng.u64(..1 << 48)
            ),
            revised: format!("2025-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z"),
            given: (*pick(&mut rng, &land.given)).into(),
            surname: (*pick(&mut rng, &land.surnames)).into(),
            organization: organization.into(),
            unit: (*pick(&mut rng, &units)).into(),
            title: (*pick(&mut rng, &land.titles)).into(),
            emails: self.emails(&mut rng, number, domain),
            phones: self.phones(land, number),
            street: land.street.replace("{s}", street).replace("{n}", &house),
            town: town.into(),
            region: region.into(),
            postcode: format!("{postcode}{:02}", rng.u8(10..100)),
            country: land.country.into(),
            birthday: format!("{}-{:02}-{:02}", rng.u16(1945..2005), rng.u8(1..13), rng.u8(1..29)),
            web: format!("https://www.{domain}/team/{number:05}"),
            categories,
            note: (*pick(&mut rng, &land.notes)).into(),
        }
    }

    fn emails(&self, rng: &mut Rng, number: u32, domain: &str) -> Vec<String> {
        let (seed, lot) = (self.seed, rng.u32(..60));
        let own = format!("p{number:05}.{seed}@{domain}");
        let private = format!("person.{number}.{seed}@mail.example");
        match lot {
            0..3 if self.awkward => Vec::new(),
            3..8 if self.awkward => vec![own, format!("office@{domain}")],
            _ => vec![own, private],
        }
    }

    /// No two people of a crowd have the same number, as far as the digits reach.
    fn phones(&self, land: &Land, number: u32) -> [String; 3] {
        [(land.office, 1), (land.mobile, 2), (land.home, 3)].map(|((prefix, digits), kind)| {
            let range = 10_u64.pow(u32::try_from(digits).unwrap_or(0));
            // A multiplier without a factor in common with ten meets each number once.
            let spread = (u64::from(number) * 7_919 + self.seed * 104_729 + kind * 611_953) % range;
            format!("{prefix}{spread:0digits$}")
        })
    }
}

impl Person {
    /// The whole name as it is shown.
    #[must_use]
    pub fn full_name(&self) -> String {
        // In Japan the family name stands first.
        if self.country == "日本" {
            format!("{} {}", self.surname, self.given)
        } else {
            format!("{} {}", self.given, self.surname)
        }
    }

    /// The card: vCard 3.0, lines folded, each ended by CR LF.
    #[must_use]
    pub fn card(&self) -> String {
        let mut card = String::with_capacity(1024);
        let mut line = |text: String| fold(&mut card, &text);
        line("BEGIN:VCARD".into());
        line("VERSION:3.0".into());
        line("PRODID:-//Example//Address Book 4.2//EN".into());
        line(format!("UID:{}", self.uid));
        line(format!("N:{};{};;;", escape(&self.surname), escape(&self.given)));
        line(format!("FN:{}", escape(&self.full_name())));
        line(format!("ORG:{};{}", escape(&self.organization), escape(&self.unit)));
        line(format!("TITLE:{}", escape(&self.title)));
        for (email, kind) in self.emails.iter().zip(["WORK", "HOME"]) {
            line(format!("EMAIL;TYPE=INTERNET,{kind}:{email}"));
        }
        for (phone, kind) in self.phones.iter().zip(["WORK,VOICE", "CELL", "HOME,VOICE"]) {
            line(format!("TEL;TYPE={kind}:{phone}"));
        }
        let address = [&self.street, &self.town, &self.region, &self.postcode, &self.country].map(|part| escape(part));
        line(format!("ADR;TYPE=WORK:;;{}", address.join(";")));
        line(format!("BDAY:{}", self.birthday));
        line(format!("URL:{}", self.web));
        let categories: Vec<String> = self.categories.iter().map(|category| escape(category)).collect();
        line(format!("CATEGORIES:{}", categories.join(",")));
        line(format!("NOTE:{}", escape(&self.note)));
        // Nobody but the program that wrote it knows this one; it must survive every journey.
        line(format!("X-ADDRESS-BOOK-ENTRY:{}", self.number));
        line(format!("REV:{}", self.revised));
        line("END:VCARD".into());
        card
    }

    /// The file that address book programs and vdirsyncer put the card into.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.vcf", self.uid)
    }
}

/// Writes a card for each number into a folder that is there.
///
/// # Errors
/// What the file system says.
pub fn write_cards(folder: &Path, crowd: Crowd, numbers: Range<u32>) -> io::Result<()> {
    for number in numbers {
        let person = crowd.person(number);
        std::fs::write(folder.join(person.file_name()), person.card())?;
    }
    Ok(())
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\\' | ',' | ';' => {
                let _ = write!(escaped, "\\{c}");
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn fold(card: &mut String, text: &str) {
    let mut used = 0;
    for c in text.chars() {
        if used + c.len_utf8() > LINE {
            card.push_str("\r\n ");
            used = 1;
        }
        card.push(c);
        used += c.len_utf8();
    }
    card.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_is_always_the_same_person() {
        assert_eq!(Crowd::tidy(1).person(7), Crowd::tidy(1).person(7));
        assert_ne!(Crowd::tidy(1).person(7), Crowd::tidy(2).person(7));
        assert_ne!(Crowd::tidy(1).person(7), Crowd::tidy(1).person(8));
    }

    #[test]
    fn cards_are_of_the_size_that_the_benchmark_is_about() {
        let people = (0..2_000).map(|number| Crowd::tidy(3).person(number).card());
        let sizes: Vec<usize> = people.map(|card| card.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((740..=800).contains(&mean), "{mean} bytes on average");
    }

    #[test]
    fn cards_are_lines_of_at_most_75_octets() {
        for number in 0..500 {
            let card = Crowd::awkward(4).person(number).card();
            assert!(card.ends_with("END:VCARD\r\n"));
            for line in card.split_terminator("\r\n") {
                assert!(line.len() <= LINE && !line.contains('\n') && !line.contains('\r'), "{line}");
            }
        }
    }

    #[test]
    fn tidy_people_can_be_told_apart() {
        let people: Vec<Person> = (0..20_000).map(|number| Crowd::tidy(5).person(number)).collect();
        let uids: BTreeSet<&String> = people.iter().map(|person| &person.uid).collect();
        let emails: BTreeSet<&String> = people.iter().flat_map(|person| &person.emails).collect();
        let phones: BTreeSet<&String> = people.iter().flat_map(|person| &person.phones).collect();
        assert_eq!((uids.len(), emails.len(), phones.len()), (20_000, 40_000, 60_000));
    }

    #[test]
    fn awkward_people_share_addresses_or_have_none() {
        let people: Vec<Person> = (0..1_000).map(|number| Crowd::awkward(6).person(number)).collect();
        let none = people.iter().filter(|person| person.emails.is_empty()).count();
        let shared =
            people.iter().filter(|person| person.emails.iter().any(|email| email.starts_with("office@"))).count();
        assert!((20..120).contains(&none) && (40..160).contains(&shared), "{none} without, {shared} shared");
    }
}
