//! A simulated Infor CRM in an [`Office`]: what is in it, what people do there, and a folder of cards beside it.

use std::fs;
use std::path::Path;

use pairwise_sandbox::population::Spread;
use pairwise_sandbox::store::Item;
use pairwise_sandbox::system::Edit;
use pairwise_sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::office::Office;
use crate::world::{World, cards};

/// The system, and its connection in an office.
pub const CRM: &str = "infor-crm";

/// The key of Lee, whose contact sync group the tests look at.
const LEE: &str = "UDEMOA000001";

impl Office {
    /// A CRM as the connection `crm`, which one of its users logs in to, and an empty folder of cards `right` as the connection
    /// `cards`. `folder` is more of that connection's settings.
    ///
    /// # Panics
    /// If the CRM does not start.
    #[must_use]
    pub fn with_cards(contacts: u32, seed: u64, login: &str, folder: &str) -> Office {
        let (systems, spread) = (vec![CRM.into()], Spread::Crm);
        let options = Options { systems, users: 2, contacts, spread, seed, ..Options::default() };
        let office = Office { sandbox: Sandbox::start(options).expect("a sandbox"), world: World::empty() };
        fs::create_dir(office.world.right()).expect("a folder");
        office.world.put("crm.secret", &format!("{login}-secret"));
        office.connect(&office.sandbox.info(CRM).url, login, folder);
        office
    }

    /// Writes both connections anew.
    pub fn connect(&self, url: &str, login: &str, folder: &str) {
        self.world.put(
            "pairwise.toml",
            &format!(
                "[connections.crm]\nplugin = \"{CRM}\"\nsettings = {{ url = \"{url}\", username = \"{login}\" }}\n\
                 secrets = {{ password = {{ file = \"crm.secret\" }} }}\n\n\
                 [connections.cards]\nplugin = \"vdir\"\nsettings = {{ path = \"right\"{folder} }}\n"
            ),
        );
    }

    /// What the CRM holds of an entity.
    #[must_use]
    pub fn items(&self, entity: &str) -> Vec<Item> {
        self.sandbox.records(CRM, Some(entity), None)
    }

    /// The contacts of the CRM.
    #[must_use]
    pub fn contacts(&self) -> Vec<Item> {
        self.items("contacts")
    }

    /// Who is in Lee's group, by their keys.
    ///
    /// # Panics
    /// If Lee has none.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        let groups = self.items("groups");
        let group = groups.iter().find(|group| group.fields["userId"] == LEE).expect("Lee's group");
        serde_json::from_value(group.fields["adHocIds"].clone()).expect("a list of keys")
    }

    /// A contact by its key.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Item {
        self.contacts().into_iter().find(|item| item.id == id).unwrap_or_else(|| panic!("no contact `{id}`"))
    }

    /// A contact by a field.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn contact(&self, field: &str, value: &str) -> Item {
        let found = self.contacts().into_iter().find(|item| item.fields.get(field) == Some(&json!(value)));
        found.unwrap_or_else(|| panic!("no contact with {field} = {value}"))
    }

    /// Lee edits a contact in the CRM.
    ///
    /// # Panics
    /// If the CRM does not take it.
    pub fn edit_contact(&self, id: &str, fields: Value) {
        let fields = fields.as_object().cloned().expect("fields are an object");
        let edit = Edit { user: "lee".into(), id: Some(id.into()), fields, ..Edit::default() };
        self.sandbox.edit(CRM, edit).expect("an edit");
    }

    /// The number of the last request to a system.
    #[must_use]
    pub fn last(&self, system: &str) -> u64 {
        self.sandbox.core(system).journal().last()
    }

    /// Requests to the CRM since a number: those that went over the wire, and of all, parts of batches too, those that wrote.
    #[must_use]
    pub fn asked_crm(&self, since: u64) -> (usize, usize) {
        let requests = self.sandbox.requests(CRM, since);
        let wire = requests.iter().filter(|request| request.part_of.is_none()).count();
        let writes = requests.iter().filter(|request| {
            request.method != "GET" && !request.path.contains("$service") && request.status != Some(401)
        });
        (wire, writes.count())
    }

    /// The card in a folder that holds a text.
    ///
    /// # Panics
    /// If there is none.
    #[allow(clippy::must_use_candidate, reason = "that there is one may be all that a test asks")]
    pub fn card_with(&self, folder: &Path, text: &str) -> (String, String) {
        let found = cards(folder).into_iter().find(|(_, card)| card.replace("\r\n ", "").contains(text));
        found.unwrap_or_else(|| panic!("no card with `{text}`"))
    }
}
