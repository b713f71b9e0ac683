//! How this server behaves, and who may do what in it. All of it can be changed while it runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Owned by it, a record is everybody's.
pub(super) const EVERYONE: &str = "SYST00000001";
/// The built-in administrator's id, and login.
pub(super) const ADMIN: &str = "ADMIN";

/// Behaviour in which servers differ, and logins with their rights.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The product's version: `7.5.4`, `8.0`, `8.1` or later. Anything else is one that no connector knows.
    pub(super) edition: String,
    pub(super) auth: Auth,
    /// Whether an update without `If-Match` is refused.
    pub(super) if_match: IfMatch,
    /// Entries of a page that names no `count`.
    pub(super) page: usize,
    /// Entries of a page at most.
    pub(super) largest_page: usize,
    /// Entries of a batch at most.
    pub(super) largest_batch: usize,
    /// Whether `+` means a blank in `where`.
    pub(super) plus_is_blank: bool,
    /// Whether a contact or lead without a last name is refused.
    pub(super) last_name_required: bool,
    /// Whether values come back spelled otherwise: blanks at the ends go, American telephone numbers become digits.
    pub(super) respell: bool,
    /// Whether writing a field that is read-only for this login is refused, not ignored.
    pub(super) refuse_read_only: bool,
    /// Whether a login on the web client's path gives a cookie that can be sent instead.
    pub(super) cookie: bool,
    /// Whether the web client's path knows nobody but whom its form has logged in.
    pub(super) forms: bool,
    /// Minutes that this server's local time is ahead of UTC.
    pub(super) zone_minutes: i64,
    /// Whether SData is not there at all.
    pub(super) off: bool,
    /// Resource kinds that the site's administrator has switched off.
    pub(super) kinds_off: BTreeSet<String>,
    pub(super) users: Vec<User>,
    /// Owner, then user: what the user may do with the owner's records.
    pub(super) rights: BTreeMap<String, BTreeMap<String, Access>>,
    /// User's login, then `contacts.Field`: fields that are not free for all.
    pub(super) fields: BTreeMap<String, BTreeMap<String, Access>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auth {
    Basic,
    Digest,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IfMatch {
    Required,
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Access {
    None,
    Read,
    Write,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) login: String,
    pub(super) password: String,
    pub(super) id: String,
    pub(super) given: String,
    pub(super) surname: String,
    /// Who owns what the user makes.
    pub(super) default_owner: String,
    /// Whether the user may use SData.
    pub(super) sdata: bool,
    /// Whether the password has expired.
    pub(super) expired: bool,
}

impl User {
    pub(super) fn is_admin(&self) -> bool {
        self.id == ADMIN
    }

    pub(super) fn pretty_name(&self) -> String {
        format!("{}, {}", self.surname, self.given)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            edition: "8.1".into(),
            auth: Auth::Both,
            if_match: IfMatch::Required,
            page: 100,
            largest_page: 500,
            largest_batch: 100,
            plus_is_blank: false,
            last_name_required: true,
            respell: true,
            refuse_read_only: false,
            cookie: false,
            forms: false,
            zone_minutes: 60,
            off: false,
            kinds_off: BTreeSet::new(),
            users: Vec::new(),
            rights: BTreeMap::new(),
            fields: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Before version 8 some things were not there.
    pub(super) fn is_old(&self) -> bool {
        self.edition.starts_with('7')
    }

    /// JSON and the contract `system` came with 7.5.4.
    pub(super) fn is_ancient(&self) -> bool {
        let parts: Vec<u32> = self.edition.split('.').map_while(|part| part.parse().ok()).collect();
        parts < vec![7, 5, 4]
    }

    pub(super) fn user(&self, login: &str) -> Option<&User> {
        self.users.iter().find(|user| user.login.eq_ignore_ascii_case(login))
    }

    /// What a user may do with the records of this owner.
    pub(super) fn access(&self, user: &User, owner: &str) -> Access {
        if user.is_admin() || owner == EVERYONE || owner.is_empty() {
            return Access::Write;
        }
        let granted = self.rights.get(owner).and_then(|users| users.get(&user.id));
        granted.copied().unwrap_or(Access::None)
    }

    /// What a user may do with a field.
    pub(super) fn field_access(&self, user: &User, kind: &str, field: &str) -> Access {
        let Some(fields) = self.fields.get(&user.login) else { return Access::Write };
        fields.get(&format!("{kind}.{field}")).copied().unwrap_or(Access::Write)
    }

    /// With these changed.
    ///
    /// # Errors
    /// If there is no such setting, or not with such a value.
    pub(super) fn changed(
        &self,
        changes: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Self, serde_json::Error> {
        let mut all = serde_json::to_value(self)?;
        for (name, value) in changes {
            all[name] = value.clone();
        }
        serde_json::from_value(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_change_by_name() {
        let changes = json!({ "edition": "7.5.4", "if_match": "optional" });
        let settings = Settings::default().changed(changes.as_object().expect("an object"));
        assert!(settings.is_ok_and(|settings| settings.is_old() && settings.if_match == IfMatch::Optional));
        let wrong = json!({ "colour": "red" });
        assert!(Settings::default().changed(wrong.as_object().expect("an object")).is_err());
    }
}
