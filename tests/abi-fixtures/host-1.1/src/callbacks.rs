//! The callbacks of a host of 1.1, one more than those of 1.0, as quiet as can be.

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RSlice, RStr};
use pairwise_plugin_api::raw::{HostApi, HostApi_Ref};

pub trait Hooks: Send + Sync {}

pub struct Quiet;

impl Hooks for Quiet {}

pub fn host_api(_: &'static dyn Hooks) -> HostApi_Ref {
    HostApi { token: 0, log_enabled, log, cancelled, progress, emit, later }.leak_into_prefix()
}

extern "C" fn log_enabled(_: u64, _: u8, _: RStr<'_>) -> bool {
    false
}
extern "C" fn log(_: u64, _: u8, _: RStr<'_>, _: RStr<'_>, _: RSlice<'_, u8>) {}
extern "C" fn cancelled(_: u64, _: u64) -> bool {
    false
}
extern "C" fn progress(_: u64, _: u64, _: u64, _: u64) {}
extern "C" fn emit(_: u64, _: u64, _: u32, _: RSlice<'_, u8>) -> u32 {
    0
}
extern "C" fn later() -> u32 {
    13
}
