//! An office: a CRM and a mail system, both simulated, with people who use both, and the configuration that pairs them.

use pairwise_sandbox::store::{Fields, Item};
use pairwise_sandbox::system::{Edit, Login};
use pairwise_sandbox::{Options, Sandbox, SystemInfo};
use serde_json::{Value, json};

use super::folder::{DemoError, Folder};

/// The simulated systems, and the names of their connections.
const CRM: (&str, &str) = ("infor-crm", "crm");
const MAIL: (&str, &str) = ("outlook", "office");
/// How long after one edit the next one comes.
const LATER: std::time::Duration = std::time::Duration::from_secs(60);

/// The simulated systems with a configuration folder that leads to them.
#[derive(Debug)]
pub struct Office {
    folder: Folder,
    sandbox: Sandbox,
}

impl Office {
    /// Opens an office of two people with this many contacts together.
    ///
    /// # Errors
    /// If the folder cannot be written, or the systems do not start.
    pub fn open(folder: Folder, contacts: u32) -> Result<Office, DemoError> {
        let systems = vec![CRM.0.to_owned(), MAIL.0.to_owned()];
        let sandbox = Sandbox::start(Options { systems, users: 2, contacts: contacts / 2, ..Options::default() })?;
        let office = Office { folder, sandbox };
        office.configure()?;
        Ok(office)
    }

    /// The systems.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The people, as the CRM and the mail system call them.
    #[must_use]
    pub fn users(&self) -> Vec<(String, String)> {
        let users = |system: &str| self.sandbox.info(system).logins.into_iter().map(|login| login.user);
        let pairs = users(CRM.0).zip(users(MAIL.0));
        pairs.filter(|(left, right)| !left.is_empty() && !right.is_empty()).collect()
    }

    fn configure(&self) -> Result<(), DemoError> {
        let (crm, mail) = (self.sandbox.info(CRM.0), self.sandbox.info(MAIL.0));
        let connections = [connection(&self.folder, CRM.1, &crm)?, connection(&self.folder, MAIL.1, &mail)?];
        let head = "# The host and its connections to two simulated systems. Paths start at this folder.\nstate_dir = \"state\"\n";
        self.folder.write("pairwise.toml", &format!("{head}\n{}", connections.join("\n")))?;
        let users = users(&self.folder, &crm, &mail, &["contact_sync"])?;
        self.folder.write("profiles/sales.toml", &format!("{}{users}", include_str!("sales.toml")))
    }

    /// A working day: edits on both sides, somebody new, somebody who is thrown away.
    ///
    /// # Errors
    /// If an edit is not possible.
    pub fn live(&self) -> Result<(), DemoError> {
        let users = self.users();
        let [(lee, lees), (kim, kims)] = users.as_slice() else { return Ok(()) };
        let (of_lee, of_kim) = (self.both(lee, lees), self.both(kim, kims));
        if let [promoted, disputed, left, ..] = of_lee.as_slice() {
            self.crm(lee, &promoted.0, json!({ "Title": "Managing Director" }))?;
            // Both sides change the same person; what was typed last stays.
            self.crm(lee, &disputed.0, json!({ "WorkPhone": "+1 602 555 0100" }))?;
            self.sandbox.advance(LATER);
            self.mail(lees, Some(&disputed.1), json!({ "businessPhones": ["+1 602 555 0199"] }))?;
            self.sandbox.delete(CRM.0, lee, &left.0)?;
        }
        if let [called, dropped, ..] = of_kim.as_slice() {
            self.mail(kims, Some(&called.1), json!({ "mobilePhone": "+44 7700 900123" }))?;
            self.sandbox.delete(MAIL.0, kims, &dropped.1)?;
        }
        let new = json!({
            "givenName": "Ada", "surname": "Byron", "companyName": "Analytical Engines",
            "emailAddresses": [{ "address": "ada@engines.example" }],
        });
        self.mail(kims, None, new)
    }

    fn crm(&self, user: &str, id: &str, fields: Value) -> Result<(), DemoError> {
        let edit = Edit { user: user.into(), id: Some(id.into()), fields: object(fields), ..Edit::default() };
        self.sandbox.edit(CRM.0, edit)?;
        Ok(())
    }

    fn mail(&self, user: &str, id: Option<&str>, fields: Value) -> Result<(), DemoError> {
        let id = id.map(str::to_owned);
        let edit = Edit { entity: "contact".into(), user: user.into(), id, fields: object(fields), ..Edit::default() };
        self.sandbox.edit(MAIL.0, edit)?;
        Ok(())
    }

    /// Contacts of the CRM with their entries in somebody's mailbox, found by an address that nobody shares.
    fn both(&self, user: &str, mailbox: &str) -> Vec<(String, String)> {
        let entries = self.sandbox.records(MAIL.0, Some("contact"), Some(mailbox));
        let address =
            |entry: &Item| entry.fields.get("emailAddresses")?.get(0)?.get("address")?.as_str().map(str::to_owned);
        let contacts = self.sandbox.records(CRM.0, Some("contacts"), Some(user));
        let email = |contact: &Item| contact.fields.get("Email").and_then(Value::as_str).map(str::to_owned);
        let alone = |contact: &&Item| contacts.iter().filter(|other| email(other) == email(contact)).count() == 1;
        let pair = |contact: &Item| {
            let found = entries.iter().find(|entry| address(entry).is_some() && address(entry) == email(contact))?;
            Some((contact.id.clone(), found.id.clone()))
        };
        contacts.iter().filter(alone).filter_map(pair).collect()
    }
}

fn object(value: Value) -> Fields {
    value.as_object().cloned().unwrap_or_default()
}

/// A connection to a simulated system, as `pairwise.toml` has it: with the login that a whole connection may use, if there is
/// one.
///
/// # Errors
/// If a secret cannot be written.
pub fn connection(folder: &Folder, name: &str, system: &SystemInfo) -> Result<String, DemoError> {
    let whole = system.logins.iter().find(|login| login.user.is_empty()).cloned().unwrap_or_default();
    let mut settings = whole.settings.clone();
    settings.entry("url").or_insert(json!(system.url));
    // Strings, numbers and truth values of JSON are the same in TOML.
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    Ok(format!(
        "[connections.{name}]\nplugin   = \"{}\"\nsettings = {{ {} }}\nsecrets  = {}\n",
        system.name,
        settings.join(", "),
        secrets(folder, name, &whole)?,
    ))
}

/// The user pairs of a profile: who has a login on the left with the mailbox of the same person on the right.
///
/// # Errors
/// If a secret cannot be written.
pub fn users(folder: &Folder, left: &SystemInfo, right: &SystemInfo, grants: &[&str]) -> Result<String, DemoError> {
    let named = |system: &SystemInfo| -> Vec<Login> {
        system.logins.iter().filter(|login| !login.user.is_empty()).cloned().collect()
    };
    let mut users = String::new();
    for (one, other) in named(left).into_iter().zip(named(right)) {
        let secrets = secrets(folder, &one.user, &one)?;
        users += &format!(
            "\n[[users]]\nleft    = {:?}\nright   = {:?}\nsecrets = {{ left = {secrets} }}\n",
            one.user, other.user
        );
        if !grants.is_empty() {
            users += &format!("grants  = {grants:?}\n");
        }
    }
    Ok(users)
}

/// Secrets stand in files of their own, even those of a demo.
fn secrets(folder: &Folder, whose: &str, login: &Login) -> Result<String, DemoError> {
    let mut places = Vec::new();
    for (name, value) in &login.secrets {
        let file = format!("secrets/{whose}.{name}");
        folder.write(&file, value.as_str().unwrap_or_default())?;
        places.push(format!("{name} = {{ file = \"{file}\" }}"));
    }
    Ok(format!("{{ {} }}", places.join(", ")))
}
