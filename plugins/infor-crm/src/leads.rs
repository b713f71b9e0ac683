//! Leads that have become contacts.
//!
//! A lead that somebody converts is gone from its feed, and nothing says where to: only its e-mail address is found again, with
//! a contact. So the addresses of leads are remembered, in the cursor, and one that is gone is looked for among the contacts
//! before it is told as deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pairwise_plugin_api::ops::FindRequest;
use pairwise_plugin_api::serde::{Deserialize, Serialize};
use pairwise_plugin_api::{Class, Context, Principal, Result};

use crate::find::find;
use crate::login::Login;
use crate::server::Server;

/// The feed.
pub(crate) const LEADS: &str = "leads";
/// The property that holds the address.
pub(crate) const EMAIL: &str = "Email";
/// Where contacts keep addresses.
const ADDRESSES: [&str; 3] = ["Email", "SecondaryEmail", "Email3"];
/// Listings for which a lead that they did not show is remembered: the host believes none before the second.
const REMEMBERED: u8 = 4;

/// Addresses of leads, by their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(crate = "pairwise_plugin_api::serde", default)]
pub(crate) struct Addresses {
    told: BTreeMap<String, String>,
    /// Those that the present listing has not shown yet, with the number of listings for which that is so.
    missing: BTreeMap<String, (String, u8)>,
}

impl Addresses {
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.missing.is_empty()
    }

    /// A lead was told, with this address.
    pub(crate) fn note(&mut self, key: &str, address: Option<&str>) {
        self.missing.remove(key);
        match address {
            Some(address) => self.told.insert(key.to_owned(), address.to_owned()),
            None => self.told.remove(key),
        };
    }

    /// Everything is told anew.
    pub(crate) fn begin(self) -> Addresses {
        let aged = self.missing.into_iter().map(|(key, (address, age))| (key, (address, age.saturating_add(1))));
        let missing = aged.filter(|(_, (_, age))| *age < REMEMBERED);
        Addresses {
            missing: missing.chain(self.told.into_iter().map(|(key, address)| (key, (address, 0)))).collect(),
            told: BTreeMap::new(),
        }
    }

    /// Those that a listing has left out.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.missing.keys().cloned().collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> HashMap<String, String> {
        let missing = self.missing.iter().map(|(key, (address, _))| (key, address));
        missing.chain(&self.told).map(|(key, address)| (key.clone(), address.clone())).collect()
    }
}

/// Which of these leads, which are gone, live on as contacts.
pub(crate) fn converted(
    server: &Server,
    cx: &Context,
    login: &Login,
    principal: &Principal,
    gone: &[String],
) -> Result<BTreeSet<String>> {
    let known: Vec<(String, String)> = {
        let known = login.known();
        gone.iter().filter_map(|key| Some((key.clone(), known.leads.get(key)?.clone()))).collect()
    };
    if known.is_empty() {
        return Ok(BTreeSet::new());
    }
    let request = FindRequest {
        principal: principal.clone(),
        entity: "contacts".to_owned(),
        by: ADDRESSES.map(Into::into).to_vec(),
        values: known.iter().map(|(_, address)| address.clone()).collect(),
        fields: vec![EMAIL.into()],
        ..FindRequest::default()
    };
    match find(server, cx, &request) {
        Ok(found) => {
            let lives_on = known.into_iter().zip(found).filter(|(_, contacts)| !contacts.is_empty());
            Ok(lives_on.map(|((key, _), _)| key).collect())
        }
        // Where contacts are not enabled for SData nobody can tell.
        Err(failure) if failure.class == Class::NotFound => Ok(BTreeSet::new()),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_remembered_for_some_listings() {
        let mut addresses = Addresses::default();
        addresses.note("Q1", Some("a@example.com"));
        addresses.note("Q2", Some("b@example.com"));
        for _ in 0..REMEMBERED {
            addresses = addresses.begin();
            addresses.note("Q1", Some("a@example.com"));
            assert_eq!(addresses.missing(), ["Q2"]);
            assert_eq!(addresses.all().len(), 2);
        }
        addresses = addresses.begin();
        addresses.note("Q1", None);
        assert!(addresses.is_empty(), "{addresses:?}");
    }
}
