//! The frozen surface: everything of this crate that crosses the library boundary as a type rather than as bytes.
//!
//! It never grows with the product. New operations are new numbers for [`RawConnector::call`], new members of messages are
//! optional, both travel as bytes. Should a slot have to be added, it goes to the end, after `last_prefix_field`, with a default
//! body or as an optional field, together with a new minor version of this crate. The test at the end of `compat.rs` fails
//! when this file changes without one.
#![allow(unsafe_code, reason = "the derives of abi_stable write it")]
#![allow(non_local_definitions, non_camel_case_types, missing_docs, missing_debug_implementations, reason = "likewise")]
#![allow(clippy::missing_safety_doc, clippy::expl_impl_clone_on_copy, reason = "likewise")]

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RResult, RSlice, RStr, RString, RVec};

/// A failed call: [`crate::Failure`] on its way.
#[repr(C)]
#[derive(Debug, Clone, StableAbi)]
pub struct RawError {
    /// [`crate::Class`].
    pub code: u32,
    pub message: RString,
    /// A message with the members that may grow; see `failure.rs`.
    pub detail: RVec<u8>,
}

/// One connector in use.
#[abi_stable::sabi_trait]
pub trait RawConnector: Send + Sync {
    /// Carries out operation `op`. Blocks. `call` is the host's number for this call.
    fn call(&self, op: u32, call: u64, request: RSlice<'_, u8>) -> RResult<RVec<u8>, RawError>;
    /// Wakes whoever waits in the call: `HostApi::cancelled` has become true for it.
    fn cancel(&self, call: u64);
    /// The last call.
    #[sabi(last_prefix_field)]
    fn shutdown(&self) -> RResult<(), RawError>;
    /// New in 1.1.
    fn later(&self) -> u32 {
        11
    }
}

/// A connector as it crosses the boundary.
pub type RawConnectorBox = RawConnector_TO<'static, RBox<()>>;

/// What the host lends to a plugin. Every function takes the token that stands in the same struct.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostApi_Ref, prefix_fields = HostApi_Prefix)))]
#[sabi(missing_field(option))]
pub struct HostApi {
    /// Tells the host which plugin calls.
    pub token: u64,
    /// Whether anybody reads messages of this level (1 error … 5 trace) and target.
    pub log_enabled: extern "C" fn(token: u64, level: u8, target: RStr<'_>) -> bool,
    /// A line of the log; `fields` is a MessagePack map.
    pub log: extern "C" fn(token: u64, level: u8, target: RStr<'_>, message: RStr<'_>, fields: RSlice<'_, u8>),
    /// Whether a call is to stop.
    pub cancelled: extern "C" fn(token: u64, call: u64) -> bool,
    /// A call got something done.
    pub progress: extern "C" fn(token: u64, call: u64, done: u64, total: u64),
    /// A message outside of the answer; the number says what it is. Answers 0 if it was taken.
    #[sabi(last_prefix_field)]
    pub emit: extern "C" fn(token: u64, call: u64, kind: u32, message: RSlice<'_, u8>) -> u32,
    /// New in 1.1.
    pub later: extern "C" fn() -> u32,
}

/// What a plugin exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRoot_Ref, prefix_fields = PluginRoot_Prefix)))]
#[sabi(missing_field(option))]
pub struct PluginRoot {
    /// Called once, before anything else.
    pub init: extern "C" fn(HostApi_Ref) -> RResult<(), RawError>,
    /// Makes a connector from its settings, a MessagePack map.
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(settings: RSlice<'_, u8>) -> RResult<RawConnectorBox, RawError>,
    /// New in 1.1.
    pub later: extern "C" fn() -> u32,
}

impl RootModule for PluginRoot_Ref {
    abi_stable::declare_root_module_statics! {PluginRoot_Ref}
    const BASE_NAME: &'static str = "pairwise_plugin";
    const NAME: &'static str = "pairwise_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}
