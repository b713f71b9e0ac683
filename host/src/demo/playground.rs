//! The playground of `pairwise demo`: a configuration folder with two address books of generated people that overlap, differ
//! and are partly broken, and a scripted system beside them.

use std::fs;
use std::path::PathBuf;

use super::folder::{DemoError, Folder, io_error, make, remove};
use super::programs::Program;
use pairwise_sandbox::people::{Crowd, Person};

/// Records of the scripted system.
const CRM_RECORDS: u32 = 25;

/// Which people.
const SEED: u64 = 11;
/// Of twenty people the one whose title differs from the start.
const CLASH: u32 = 3;
/// Who is edited on both sides: somebody in both address books, in files that are not quoted-printable.
const EDITED: u32 = 1;
/// Whose card is thrown away.
const THROWN_AWAY: u32 = 2;

/// A playground.
#[derive(Debug)]
pub struct Playground {
    folder: Folder,
    contacts: u32,
}

/// What each address book holds of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Both,
    Desk,
    Phone,
}

impl Playground {
    /// Makes a playground in this folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make(folder: Folder, contacts: u32) -> Result<Playground, DemoError> {
        let playground = Playground { folder, contacts };
        playground.configure()?;
        playground.populate()?;
        Ok(playground)
    }

    fn configure(&self) -> Result<(), DemoError> {
        make(&self.folder.path().join("crm"))?;
        self.folder.write("pairwise.toml", include_str!("pairwise.toml"))?;
        self.folder.write("crm.toml", &include_str!("crm.toml").replace("CONTACTS", &CRM_RECORDS.to_string()))?;
        self.folder.write("profiles/friends.toml", include_str!("friends.toml"))?;
        self.folder.write("profiles/archive.toml", include_str!("archive.toml"))
    }

    /// Six of ten people are in both address books, under other UIDs and in files of other programs.
    fn populate(&self) -> Result<(), DemoError> {
        for book in ["desk", "phone", "archive"] {
            make(&self.book(book))?;
        }
        for number in 0..self.contacts {
            let place = place(number);
            let (mut desk, mut phone) = (person("desk", number), person("phone", number));
            match number % 10 {
                4 => phone.emails.truncate(1),
                5 => desk.emails.truncate(1),
                _ => {}
            }
            if number % 20 == CLASH {
                phone.title = format!("Deputy {}", phone.title);
            }
            if place != Where::Phone {
                self.write_card("desk", &desk.uid, &Program::of(number).card(&desk))?;
            }
            if place != Where::Desk {
                self.write_card("phone", &phone.uid, &Program::of(number + 3).card(&phone))?;
            }
        }
        self.populate_oddities()
    }

    /// A file that no program can read, and a person who may be either of two.
    fn populate_oddities(&self) -> Result<(), DemoError> {
        let broken = self.book("desk").join("broken.vcf");
        let text = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Jos\xe9 Cut Off\r\nTEL;TYPE=WO";
        fs::write(&broken, text).map_err(|error| io_error(&broken, error))?;
        for (book, uid, given) in
            [("desk", "shared", "Sam"), ("phone", "shared-1", "Sam"), ("phone", "shared-2", "Kim")]
        {
            let card = format!(
                "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nN:Taylor;{given};;;\r\nFN:{given} Taylor\r\n\
                 EMAIL:taylors@example.com\r\nEND:VCARD\r\n"
            );
            self.write_card(book, uid, &card)?;
        }
        Ok(())
    }

    /// Life goes on: one person's title changes on the desk and a note on the phone, and one card is thrown away.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn live(&self) -> Result<(), DemoError> {
        self.edit("desk", &person("desk", EDITED).uid, "TITLE", "Chief Executive")?;
        self.edit("phone", &person("phone", EDITED).uid, "NOTE", "Prefers the new number.")?;
        remove(&self.card("phone", &person("phone", THROWN_AWAY).uid))
    }

    /// An accident: more than half of the files on the phone are gone. Answers how many.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn lose_most(&self) -> Result<usize, DemoError> {
        let folder = self.book("phone");
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(|error| io_error(&folder, error))?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "vcf"));
        files.sort();
        let lost = files.len() * 6 / 10;
        for file in &files[..lost] {
            remove(file)?;
        }
        Ok(lost)
    }

    /// How many files an address book has.
    #[must_use]
    pub fn count(&self, book: &str) -> usize {
        fs::read_dir(self.book(book)).map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "vcf")).count()
        })
    }

    /// Sets one line of a card, as an address book program does.
    fn edit(&self, book: &str, uid: &str, property: &str, value: &str) -> Result<(), DemoError> {
        let path = self.card(book, uid);
        let text = fs::read_to_string(&path).map_err(|error| io_error(&path, error))?;
        let (start, line) = (format!("{property}:"), format!("{property}:{value}"));
        let mut old = false;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.retain(|line| {
            // A long line goes on in those that start with a space.
            old = line.starts_with(&start) || (old && line.starts_with(' '));
            !old
        });
        lines.insert(lines.len().saturating_sub(1), &line);
        fs::write(&path, lines.join("\r\n") + "\r\n").map_err(|error| io_error(&path, error))
    }

    fn book(&self, name: &str) -> PathBuf {
        self.folder.path().join("address-books").join(name)
    }

    fn card(&self, book: &str, uid: &str) -> PathBuf {
        self.book(book).join(format!("{uid}.vcf"))
    }

    fn write_card(&self, book: &str, uid: &str, card: &str) -> Result<(), DemoError> {
        let path = self.card(book, uid);
        fs::write(&path, card).map_err(|error| io_error(&path, error))
    }
}

/// The person with this number, under the UID that one address book gave.
fn person(book: &str, number: u32) -> Person {
    Person { uid: format!("{book}-{number:06}"), ..Crowd::tidy(SEED).person(number) }
}

/// Six of ten people are in both books, two in each alone.
fn place(number: u32) -> Where {
    match number % 10 {
        0..=5 => Where::Both,
        6 | 7 => Where::Desk,
        _ => Where::Phone,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_playground_can_be_made_again_but_never_over_anything_else() {
        let folder = tempfile::tempdir().unwrap();
        let first = Playground::make(Folder::take(folder.path()).unwrap(), 50).unwrap();
        let before = (first.count("desk"), first.count("phone"));
        // Four fifths of the people, the doubtful ones and the broken file.
        assert_eq!(before, (42, 42));
        first.live().unwrap();
        assert_eq!(first.lose_most().unwrap(), 24);
        let again = Playground::make(Folder::take(folder.path()).unwrap(), 50).unwrap();
        assert_eq!((again.count("desk"), again.count("phone")), before);

        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("thesis.txt"), "mine").unwrap();
        assert!(matches!(Folder::take(other.path()), Err(DemoError::NotOurs(_))));
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }
}
