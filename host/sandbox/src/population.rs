//! Who is there at the start: users, and the people in their address books, all from a seed.

use serde::{Deserialize, Serialize};

use crate::clock::Start;
use crate::people::{Crowd, Person};

/// What a sandbox starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Names of the systems to start; empty = all.
    pub systems: Vec<String>,
    /// People with a login in every system.
    pub users: u32,
    /// People in the address books of each user.
    pub contacts: u32,
    /// Where the contacts are at the start.
    pub spread: Spread,
    /// Equal seeds make equal sandboxes.
    pub seed: u64,
    /// The clock.
    pub clock: Start,
    /// The port of the control API; the systems take the ones that follow. 0 = whatever is free.
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            systems: Vec::new(),
            users: 2,
            contacts: 50,
            spread: Spread::default(),
            seed: 1,
            clock: Start::Now,
            port: 0,
        }
    }
}

/// Where the contacts are at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Of ten contacts six are in the CRMs alone, two in the mailboxes alone, two in both.
    #[default]
    Mixed,
    /// All in the CRMs, none in the mailboxes.
    Crm,
    /// All in the mailboxes, none in the CRMs.
    Mailbox,
    /// All in both, not yet linked.
    Both,
}

/// A person with a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by what they are")]
pub struct User {
    /// `lee`
    pub login: String,
    pub password: String,
    pub given: String,
    pub surname: String,
    /// The mailbox: `lee@example.com`.
    pub email: String,
}

/// A person in an address book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub person: Person,
    /// The company's name as address books have it; empty for who has none.
    pub company: String,
    /// Whose contact it is: an index of [`Population::users`].
    pub user: usize,
    /// Whether the CRMs hold it.
    pub in_crm: bool,
    /// Whether the mailboxes hold it.
    pub in_mailbox: bool,
}

/// Everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    /// In the order in which they were hired.
    pub users: Vec<User>,
    /// By user, then by number.
    pub contacts: Vec<Contact>,
}

const NAMES: [(&str, &str); 8] = [
    ("Lee", "Hunter"),
    ("Kim", "Østergård"),
    ("Ana", "Gonçalves"),
    ("Jörg", "Weiß"),
    ("Maja", "Łukasik"),
    ("Noël", "D'Arcy"),
    ("Ειρήνη", "Παππά"),
    ("翔太", "佐藤"),
];
const LOGINS: [&str; 8] = ["lee", "kim", "ana", "joerg", "maja", "noel", "irini", "shota"];

impl Population {
    /// The people of these options.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let crowd = Crowd::awkward(options.seed);
        let users = (0..options.users).map(user).collect();
        let numbers = (0..options.users).flat_map(|user| (0..options.contacts).map(move |number| (user, number)));
        let contacts = numbers.map(|(user, number)| {
            let person = crowd.person(user * options.contacts + number);
            let (in_crm, in_mailbox) = options.spread.of(number);
            let company = company(&person, number, in_crm);
            Contact { person, company, user: user as usize, in_crm, in_mailbox }
        });
        Population { users, contacts: contacts.collect() }
    }

    /// The contacts of one user.
    pub fn contacts_of(&self, user: usize) -> impl Iterator<Item = &Contact> {
        self.contacts.iter().filter(move |contact| contact.user == user)
    }
}

fn user(number: u32) -> User {
    let place = number as usize % NAMES.len();
    let round = number as usize / NAMES.len();
    let login = if round == 0 { LOGINS[place].to_owned() } else { format!("{}{}", LOGINS[place], round + 1) };
    User {
        password: format!("{login}-secret"),
        given: NAMES[place].0.to_owned(),
        surname: NAMES[place].1.to_owned(),
        email: format!("{login}@example.com"),
        login,
    }
}

impl Spread {
    fn of(self, number: u32) -> (bool, bool) {
        match (self, number % 10) {
            (Spread::Mixed, 8..) | (Spread::Mailbox, _) => (false, true),
            (Spread::Mixed, 6..) | (Spread::Both, _) => (true, true),
            _ => (true, false),
        }
    }
}

/// Large companies have branches with names of their own; some people in mailboxes have no company.
fn company(person: &Person, number: u32, in_crm: bool) -> String {
    if !in_crm && number % 7 == 2 {
        return String::new();
    }
    if number.is_multiple_of(3) {
        person.organization.clone()
    } else {
        format!("{}, {}", person.organization, person.town)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_people() {
        let options = Options { users: 10, contacts: 30, ..Options::default() };
        assert_eq!(Population::new(&options), Population::new(&options));
        let people = Population::new(&options);
        assert_eq!(people.users[9].login, "kim2");
        assert_eq!(people.contacts_of(9).count(), 30);
        let both = people.contacts.iter().filter(|contact| contact.in_crm && contact.in_mailbox).count();
        assert_eq!(both, 60);
    }
}
