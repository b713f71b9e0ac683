//! What `tests/fuzz` does with bytes that the other end sent: messages and failures.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Names, decode, decode_with, encode, encode_with};
use crate::failure::Failure;
use crate::ops::{self, *};

macro_rules! messages_of {
    ($($op:ident),*) => {
        &[$((<$op as Operation>::OP, message::<<$op as Operation>::Request>, message::<<$op as Operation>::Response>)),*]
    };
}

type Reading = fn(&[u8]);

/// How each operation's request and answer are read.
const MESSAGES: &[(u32, Reading, Reading)] = messages_of![
    Describe,
    Validate,
    Discover,
    Login,
    Check,
    Users,
    Settings,
    Suggest,
    Containers,
    EnsureContainer,
    Changes,
    List,
    Get,
    Find,
    WriteBatch,
    Acknowledge,
    Stamp,
    Watch,
    Receive,
    MigrateState
];

const _: () = assert!(MESSAGES.len() == ops::ALL.len(), "an operation is left out");

/// Any message of any operation; the first byte says which, its highest bit whether it is the answer. A value of a field, an
/// announcement and the detail of a failure are read for numbers that no operation has.
pub fn messages(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    match MESSAGES.iter().find(|(number, ..)| *number == u32::from(first & 0x7f)) {
        Some((_, request, _)) if first & 0x80 == 0 => request(bytes),
        Some((_, _, response)) => response(bytes),
        None => {
            message::<crate::Value>(bytes);
            message::<Announcement>(bytes);
            failure(bytes);
        }
    }
}

/// What was read is written and read again as the same message, whether its field names are kept apart or not.
fn message<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let mut names: Names = ["name/full".into(), "emails/1/address".into()].into_iter().collect();
    let Ok(read) = decode_with::<T>(bytes, &names) else { return };
    // Numbers that may not be numbers are unequal to themselves, so texts of bytes are compared.
    let written = encode(&read).unwrap();
    assert_eq!(encode(&decode::<T>(&written).unwrap()).unwrap(), written);
    let apart = encode_with(&read, &mut names).unwrap();
    assert_eq!(encode(&decode_with::<T>(&apart, &names).unwrap()).unwrap(), written);
}

fn failure(bytes: &[u8]) {
    let (class, text, detail) = Failure::from_parts(0, String::new(), bytes).into_parts();
    let again = Failure::from_parts(class, text, &detail);
    assert_eq!(again.into_parts().2, detail);
}

#[cfg(test)]
#[test]
fn corpora_are_replayed() {
    pairwise_replay::corpora(&[("messages", messages)]);
}
