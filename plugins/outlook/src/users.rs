//! The people of the organisation: who has a mailbox that may be worked for. Needs the permission `User.ReadBasic.All`.

use pairwise_http::Json;
use pairwise_plugin_api::ops::{User, UsersRequest, UsersResponse};
use pairwise_plugin_api::{Class, Context, Cursor, Failure, Principal, Result};

use crate::connector::Outlook;
use crate::graph::{PREFER, query};

/// What is asked of each; basic reading tells no more.
const SELECT: &str = "id,userPrincipalName,mail,displayName,accountEnabled";

impl Outlook {
    /// A page of them, in the order of the directory.
    pub(crate) fn directory(&self, cx: &Context, request: &UsersRequest) -> Result<UsersResponse> {
        let at = match &request.page {
            None => format!("/users{}", query(&[("$select", SELECT), ("$top", "100")])),
            Some(page) => String::from_utf8(page.0.clone())
                .map_err(|_| Failure::new(Class::CursorExpired, "the page is none of this connector"))?,
        };
        let (body, _) = self.graph.get(cx, &Principal::connection(), &at, PREFER, "reading users")?;
        let user = |one: &Json| {
            let text = |member: &str| one[member].as_str().unwrap_or_default().to_owned();
            let (address, name) = (text("mail"), text("userPrincipalName"));
            User {
                principal: Principal(if address.is_empty() { name } else { address.clone() }),
                // Who has no address has no mailbox. Whether an account is enabled is not always told.
                active: !address.is_empty() && one["accountEnabled"] != Json::Bool(false),
                address,
                name: text("displayName"),
                ..User::default()
            }
        };
        let users = body["value"].as_array().into_iter().flatten().map(user).collect();
        let next = body["@odata.nextLink"].as_str().map(|link| Cursor(link.as_bytes().to_vec()));
        Ok(UsersResponse { users, next })
    }
}
