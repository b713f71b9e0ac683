//! One connector behind the boundary, called in this process: by a worker, or by the host itself where a connection is
//! `in-process`.

use abi_stable::std_types::{RSlice, RVec};
use pairwise_plugin_api::raw::{PluginRoot_Ref, RawConnectorBox};
use pairwise_plugin_api::{Class, Failure, codec};

/// A connector.
pub(super) struct Instance(RawConnectorBox);

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Instance")
    }
}

impl Instance {
    /// Makes a connector; `settings` is a message.
    pub(super) fn create(root: PluginRoot_Ref, settings: &[u8]) -> Result<Self, Failure> {
        root.create()(RSlice::from_slice(settings)).into_result().map(Instance).map_err(Failure::from)
    }

    /// Carries out an operation. The answer stays in the plugin's memory: nothing is copied.
    pub(super) fn call(&self, op: u32, call: u64, request: &[u8]) -> Result<RVec<u8>, Failure> {
        self.0.call(op, call, RSlice::from_slice(request)).into_result().map_err(Failure::from)
    }

    /// Wakes whoever waits in a call.
    pub(super) fn cancel(&self, call: u64) {
        self.0.cancel(call);
    }

    /// The last call.
    pub(super) fn shutdown(&self) -> Result<(), Failure> {
        self.0.shutdown().into_result().map_err(Failure::from)
    }
}

/// Settings as `create` takes them.
pub(super) fn settings_message(settings: &serde_json::Value) -> Result<Vec<u8>, Failure> {
    codec::encode(settings).map_err(|error| Failure::new(Class::Config, error.to_string()))
}
