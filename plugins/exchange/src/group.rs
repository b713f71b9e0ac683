//! Groups of mailboxes that one of the servers behind the address serves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pairwise_http::{Answer, Request};

/// Mailboxes whose notifications come in one stream: all requests about them go to one of the servers behind the address,
/// which is that of the first mailbox.
#[derive(Debug, Default)]
pub(crate) struct Group {
    anchor: String,
    /// Which server that is, as it calls itself.
    cookie: Mutex<Option<String>>,
}

/// The cookie that names a server.
const BACK_END: &str = "X-BackEndOverrideCookie";

impl Group {
    pub(crate) fn of(anchor: &str) -> Self {
        Group { anchor: anchor.to_owned(), cookie: Mutex::default() }
    }

    fn cookie(&self) -> MutexGuard<'_, Option<String>> {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first mailbox.
    pub(crate) fn anchor(&self) -> &str {
        &self.anchor
    }

    /// A request that goes to the group's server.
    pub(crate) fn mark(&self, request: Request) -> Request {
        let request = request.header("X-PreferServerAffinity", "true");
        match &*self.cookie() {
            Some(cookie) => request.header("Cookie", format!("{BACK_END}={cookie}")),
            None => request,
        }
    }

    /// An answer tells which server that is.
    pub(crate) fn learn(&self, answer: &Answer) {
        if let Some((_, value)) = answer.cookies().find(|(name, _)| name.eq_ignore_ascii_case(BACK_END)) {
            *self.cookie() = Some(value.to_owned());
        }
    }
}
