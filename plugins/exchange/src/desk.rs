//! One mailbox, and the requests that are made in it.

use std::time::Duration;

use pairwise_http::Effect;
use pairwise_plugin_api::{Certainty, Class, Context, Failure, Millis, Principal, Result};

use crate::connector::Exchange;
use crate::group::Group;
use crate::kind::Kind;
use crate::server::{Ask, Login};
use crate::settings::Access;
use crate::soap::{Message, Trouble, envelope, messages};
use crate::xml::{Node, Tree, Writer};

/// A mailbox to work in, during one call.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) cx: &'a Context,
    /// The mailbox, by its address; empty for that of the account itself.
    pub(crate) mailbox: String,
    login: Login,
    /// Whether the account acts for the mailbox's owner.
    impersonates: bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) envelope: Tree,
    pub(crate) server_time: Option<Millis>,
}

impl Answered {
    pub(crate) fn messages(&self) -> Vec<Message<'_>> {
        messages(self.envelope.root())
    }

    /// The only message.
    pub(crate) fn one(&self) -> std::result::Result<Node<'_>, Trouble> {
        let first = self.messages().into_iter().next();
        first.map_or_else(
            || {
                Err(Trouble {
                    code: "ErrorNoMessage".into(),
                    text: "the answer holds nothing".into(),
                    ..Trouble::default()
                })
            },
            Message::fine,
        )
    }
}

impl<'a> Desk<'a> {
    /// The mailbox of a principal.
    pub(crate) fn of(exchange: &'a Exchange, cx: &'a Context, principal: &Principal) -> Result<Self> {
        let (login, own) = exchange.login_of(principal)?;
        let mailbox = match &exchange.config.mailbox {
            Some(mailbox) if principal.is_connection() => mailbox.clone(),
            _ => principal.0.clone(),
        };
        let impersonates = !own && !mailbox.is_empty() && exchange.config.access == Access::Impersonation;
        Ok(Desk { exchange, cx, mailbox, login, impersonates })
    }

    /// The mailbox for people.
    pub(crate) fn name(&self) -> &str {
        if self.mailbox.is_empty() { &self.login.user } else { &self.mailbox }
    }

    /// Asks something that only reads.
    pub(crate) fn read(&self, body: &str) -> Result<Answered> {
        self.ask(body, Effect::None, None)
    }

    /// Asks for something to be done.
    pub(crate) fn write(&self, body: &str) -> Result<Answered> {
        self.ask(body, Effect::Once, None)
    }

    fn ask(&self, body: &str, effect: Effect, timeout: Option<Duration>) -> Result<Answered> {
        if self.cx.cancelled() {
            return Err(Failure::new(Class::Cancelled, "the host asked to stop"));
        }
        self.asked(&self.request(body, effect, timeout))
    }

    /// Reads something that concerns a group of mailboxes.
    pub(crate) fn read_in(&self, group: &Group, body: &str) -> Result<Answered> {
        self.asked(&Ask { group: Some(group), ..self.request(body, Effect::None, None) })
    }

    fn asked(&self, ask: &Ask<'_>) -> Result<Answered> {
        let (envelope, server_time) = self.exchange.server.ask(self.cx, ask)?;
        Ok(Answered { envelope, server_time })
    }

    /// A request of this mailbox.
    pub(crate) fn request(&self, body: &str, effect: Effect, timeout: Option<Duration>) -> Ask<'_> {
        let acts_for = self.impersonates.then_some(self.mailbox.as_str());
        Ask {
            login: &self.login,
            anchor: Some(self.mailbox.as_str()).filter(|mailbox| !mailbox.is_empty()),
            body: envelope(&self.exchange.config.server_version, acts_for, body),
            effect,
            timeout,
            group: None,
        }
    }

    /// What is wrong with the only thing that was asked, as a failure of the call.
    pub(crate) fn fail(&self, trouble: &Trouble) -> Failure {
        let mut failure = trouble.failure(self.name(), false);
        failure.certainty = Certainty::NotSent;
        failure
    }

    /// Writes a folder's id.
    pub(crate) fn write_folder(&self, out: &mut Writer, folder: &Folder) {
        match folder {
            Folder::Id(id) => {
                out.empty("t:FolderId", &[("Id", id)]);
            }
            // Without impersonation the mailbox is named with the folder.
            Folder::Known(name) if !self.impersonates && !self.mailbox.is_empty() => {
                out.start_with("t:DistinguishedFolderId", &[("Id", name)])
                    .start("t:Mailbox")
                    .leaf("t:EmailAddress", &self.mailbox)
                    .end()
                    .end();
            }
            Folder::Known(name) => {
                out.empty("t:DistinguishedFolderId", &[("Id", name)]);
            }
        }
    }
}

/// A folder as requests name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Folder {
    /// One that every mailbox has.
    Known(&'static str),
    Id(String),
}

impl Folder {
    /// Where new records of a kind go.
    pub(crate) fn home(kind: Kind) -> Folder {
        Folder::Known(kind.home())
    }

    /// In a cursor.
    pub(crate) fn key(&self) -> &str {
        match self {
            Folder::Known(name) => name,
            Folder::Id(id) => id,
        }
    }
}
