//! The two messages of an NTLM client, version 2.

use ntlmclient::{
    Credentials, Flags, Message, NegotiateMessage, OsVersion, TargetInfoEntry, TargetInfoType, get_ntlm_time,
    respond_challenge_ntlm_v2,
};

use crate::binding::Binding;
use crate::server::Login;

fn flags() -> Flags {
    Flags::NEGOTIATE_UNICODE
        | Flags::REQUEST_TARGET
        | Flags::NEGOTIATE_NTLM
        | Flags::NEGOTIATE_ALWAYS_SIGN
        | Flags::NEGOTIATE_NTLM2_KEY
}

/// The first message.
pub(crate) fn hello() -> Vec<u8> {
    let message = Message::Negotiate(NegotiateMessage {
        flags: flags(),
        supplied_domain: String::new(),
        supplied_workstation: String::new(),
        os_version: OsVersion::default(),
    });
    message.to_bytes().unwrap_or_default()
}

/// The third message; `None` if the second one is none. `binding` ties it to the connection.
pub(crate) fn answer(challenge: &[u8], login: &Login, binding: Option<Binding>) -> Option<Vec<u8>> {
    let Ok(Message::Challenge(challenge)) = Message::try_from(challenge) else { return None };
    let (domain, username) = login.user.split_once('\\').unwrap_or(("", &login.user));
    let credentials =
        Credentials { username: username.to_owned(), password: login.password.clone(), domain: domain.to_owned() };
    let target: Vec<u8> = challenge
        .target_information
        .iter()
        .filter(|entry| entry.entry_type != TargetInfoType::Terminator)
        .flat_map(TargetInfoEntry::to_bytes)
        .chain(binding.into_iter().flat_map(|binding| {
            TargetInfoEntry { entry_type: TargetInfoType::ChannelBindings, data: binding.to_vec() }.to_bytes()
        }))
        .chain([0, 0, 0, 0])
        .collect();
    let response = respond_challenge_ntlm_v2(challenge.challenge, &target, get_ntlm_time(), &credentials);
    response.to_message(&credentials, "PAIRWISE", flags()).to_bytes().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_messages_have_their_form() {
        assert!(hello().starts_with(b"NTLMSSP\0\x01\0\0\0"));
        let login = Login { user: "EXAMPLE\\lee".into(), password: "x".into() };
        assert_eq!(answer(b"nonsense", &login, None), None);
    }
}
