//! What the host lends to plugins: the functions of `HostApi`, each of which finds its way by the token.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RSlice, RStr};
use pairwise_plugin_api::raw::{HostApi, HostApi_Ref};

/// Whoever hosts a plugin: a worker process, or this process.
pub(super) trait Hooks: Send + Sync {
    /// `level` is 1 for errors up to 5 for traces.
    fn log_enabled(&self, level: u8) -> bool;
    fn log(&self, level: u8, target: &str, message: &str, fields: &[u8]);
    fn cancelled(&self, call: u64) -> bool;
    fn progress(&self, call: u64, done: u64, total: u64);
    /// False if it was not taken.
    fn emit(&self, call: u64, kind: u32, message: &[u8]) -> bool;
}

/// Libraries are never unloaded, so neither are their hooks; a token is an index.
static HOOKS: RwLock<Vec<&'static dyn Hooks>> = RwLock::new(Vec::new());

/// Functions for one library.
pub(super) fn host_api(hooks: &'static dyn Hooks) -> HostApi_Ref {
    let mut all = HOOKS.write().unwrap_or_else(PoisonError::into_inner);
    all.push(hooks);
    let token = all.len() as u64 - 1;
    HostApi { token, log_enabled, log, cancelled, progress, emit }.leak_into_prefix()
}

/// Runs `body` with the hooks of a token. A panic of ours must not leave through the plugin.
fn with<T>(token: u64, otherwise: T, body: impl FnOnce(&'static dyn Hooks) -> T) -> T {
    let hooks = {
        let all = HOOKS.read().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(token).ok().and_then(|index| all.get(index).copied())
    };
    match hooks {
        Some(hooks) => catch_unwind(AssertUnwindSafe(|| body(hooks))).unwrap_or(otherwise),
        None => otherwise,
    }
}

extern "C" fn log_enabled(token: u64, level: u8, _target: RStr<'_>) -> bool {
    with(token, false, |hooks| hooks.log_enabled(level))
}

extern "C" fn log(token: u64, level: u8, target: RStr<'_>, message: RStr<'_>, fields: RSlice<'_, u8>) {
    with(token, (), |hooks| hooks.log(level, target.as_str(), message.as_str(), fields.as_slice()));
}

extern "C" fn cancelled(token: u64, call: u64) -> bool {
    with(token, true, |hooks| hooks.cancelled(call))
}

extern "C" fn progress(token: u64, call: u64, done: u64, total: u64) {
    with(token, (), |hooks| hooks.progress(call, done, total));
}

extern "C" fn emit(token: u64, call: u64, kind: u32, message: RSlice<'_, u8>) -> u32 {
    with(token, 1, |hooks| u32::from(!hooks.emit(call, kind, message.as_slice())))
}
