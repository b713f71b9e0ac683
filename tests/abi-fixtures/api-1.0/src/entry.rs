//! What a plugin library exports: the slots of `raw.rs`, filled from a [`Connector`], each behind the guard.
#![allow(unsafe_code, reason = "the header of abi_stable takes the type of the root module on trust")]

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};

use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleError, RootModuleResult};
use abi_stable::prefix_type::{PrefixRefTrait, PrefixTypeTrait};
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RVec};

use crate::codec;
use crate::connector::{Connector, Result};
use crate::context::{self, Context};
use crate::failure::{Class, Failure};
use crate::guard::{catch, install_hook};
use crate::ops::{self, *};
use crate::raw::{HostApi_Ref, PluginRoot, PluginRoot_Ref, RawConnector, RawConnector_TO, RawConnectorBox, RawError};
use crate::{compat, forward, header};

/// The build stamp and `plugin.json`: the content of the section.
#[doc(hidden)]
#[must_use]
pub const fn section_parts(debug: bool, abort: bool, manifest: &'static str) -> [&'static str; 10] {
    [
        "{\"plugin_api\":\"",
        compat::API_TEXT,
        "\",\"abi_epoch\":1,\"target\":\"",
        compat::TARGET,
        "\",\"debug\":",
        if debug { "true" } else { "false" },
        ",\"panic\":\"",
        if abort { "abort" } else { "unwind" },
        "\"}\n",
        manifest,
    ]
}

const _: () = assert!(header::EPOCH == 1, "the epoch is written out in section_parts");

/// Flags of the header.
#[doc(hidden)]
#[must_use]
pub const fn flags(debug: bool, abort: bool) -> u32 {
    (if debug { header::DEBUG } else { 0 }) | (if abort { header::PANIC_ABORT } else { 0 })
}

/// What abi_stable looks for.
#[doc(hidden)]
#[must_use]
pub const fn library<C: Connector>() -> LibHeader {
    // SAFETY: `root` makes a `PluginRoot_Ref`, the type that is named.
    unsafe { LibHeader::from_constructor::<PluginRoot_Ref>(root::<C>, CheckTypeLayout::Yes) }
}

extern "C" fn root<C: Connector>() -> RootModuleResult {
    let made = catch("root", || {
        let root = PluginRoot { init, create: create::<C> }.leak_into_prefix();
        // SAFETY: the host casts it back to the type that `library` has named.
        unsafe { root.to_prefix_ref().cast() }
    });
    made.map_or(RErr(RootModuleError::Unwound), ROk)
}

extern "C" fn init(host: HostApi_Ref) -> RResult<(), RawError> {
    into_raw(catch("init", || {
        if context::install(host) {
            install_hook(forward::error);
            forward::install(host);
        }
    }))
}

extern "C" fn create<C: Connector>(settings: RSlice<'_, u8>) -> RResult<RawConnectorBox, RawError> {
    let made = catch("create", || {
        // Settings come from a person, so their mistakes are worth more than the codec's words.
        let settings: serde_json::Value = codec::decode(settings.as_slice()).map_err(|error| unreadable(&error))?;
        let settings: C::Config = serde_json::from_value(settings)
            .map_err(|error| Failure::new(Class::Config, format!("the settings do not fit: {error}")))?;
        C::create(settings, &Context::detached())
    });
    into_raw(made.and_then(|created| created).map(|connector| {
        let entry = Entry { connector: ManuallyDrop::new(connector), poisoned: AtomicBool::new(false) };
        RawConnector_TO::from_value(entry, TD_Opaque)
    }))
}

fn into_raw<T>(result: Result<T>) -> RResult<T, RawError> {
    result.map_or_else(|failure| RErr(failure.into()), ROk)
}

/// A connector behind its guard.
struct Entry<C> {
    connector: ManuallyDrop<C>,
    /// It panicked: nobody knows in what state it is.
    poisoned: AtomicBool,
}

impl<C: Connector> RawConnector for Entry<C> {
    fn call(&self, op: u32, call: u64, request: RSlice<'_, u8>) -> RResult<RVec<u8>, RawError> {
        let answer = self.guarded(op, || answer(&*self.connector, &Context::of_call(call), op, request.as_slice()));
        into_raw(answer.map(RVec::from))
    }

    fn cancel(&self, _call: u64) {
        context::wake();
    }

    fn shutdown(&self) -> RResult<(), RawError> {
        into_raw(self.guarded(0, || self.connector.shutdown()))
    }
}

impl<C: Connector> Entry<C> {
    /// `op` 0 is the shutdown.
    fn guarded<T>(&self, op: u32, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let slot = ops::ALL.iter().find(|(number, _)| *number == op).map_or("shutdown", |(_, name)| *name);
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Failure::new(Class::Poisoned, "the plugin panicked before; this instance is not used again"));
        }
        catch(slot, body).unwrap_or_else(|failure| {
            self.poisoned.store(true, Ordering::Release);
            Err(if ops::writes(op) { failure.unknown_outcome() } else { failure })
        })
    }
}

impl<C> Drop for Entry<C> {
    fn drop(&mut self) {
        // SAFETY: this is the only place that drops it, and it is not used afterwards.
        let _ = catch("drop", || unsafe { ManuallyDrop::drop(&mut self.connector) });
    }
}

fn unreadable(error: &codec::CodecError) -> Failure {
    Failure::new(Class::Protocol, format!("the plugin cannot read the request: {error}"))
}

/// Reads a request, has it answered, writes the answer.
fn through<O: Operation>(request: &[u8], body: impl FnOnce(O::Request) -> Result<O::Response>) -> Result<Vec<u8>> {
    let request = codec::decode(request).map_err(|error| unreadable(&error))?;
    let response = body(request)?;
    codec::encode(&response).map_err(|error| {
        let failure = Failure::new(Class::Protocol, format!("the plugin cannot write its answer: {error}"));
        if O::WRITES { failure.unknown_outcome() } else { failure }
    })
}

fn answer<C: Connector>(connector: &C, cx: &Context, op: u32, request: &[u8]) -> Result<Vec<u8>> {
    match op {
        Describe::OP => through::<Describe>(request, |_| connector.describe(cx)),
        Validate::OP => through::<Validate>(request, |_| connector.validate(cx)),
        Discover::OP => through::<Discover>(request, |request| connector.discover(cx, request)),
        Login::OP => through::<Login>(request, |request| connector.login(cx, request)),
        Check::OP => through::<Check>(request, |request| connector.check(cx, request)),
        Users::OP => through::<Users>(request, |request| connector.users(cx, request)),
        Settings::OP => through::<Settings>(request, |request| connector.settings(cx, request)),
        Suggest::OP => through::<Suggest>(request, |request| connector.suggest(cx, request)),
        Containers::OP => through::<Containers>(request, |request| connector.containers(cx, request)),
        EnsureContainer::OP => through::<EnsureContainer>(request, |request| connector.ensure_container(cx, request)),
        Changes::OP => through::<Changes>(request, |request| connector.changes(cx, request)),
        List::OP => through::<List>(request, |request| connector.list(cx, request)),
        Get::OP => through::<Get>(request, |request| connector.get(cx, request)),
        Find::OP => through::<Find>(request, |request| connector.find(cx, request)),
        WriteBatch::OP => through::<WriteBatch>(request, |request| connector.write(cx, request)),
        Acknowledge::OP => through::<Acknowledge>(request, |request| connector.acknowledge(cx, request)),
        Stamp::OP => through::<Stamp>(request, |request| connector.stamp(cx, request)),
        Watch::OP => through::<Watch>(request, |request| connector.watch(cx, request)),
        Receive::OP => through::<Receive>(request, |request| connector.receive(cx, request)),
        MigrateState::OP => through::<MigrateState>(request, |request| connector.migrate_state(cx, request)),
        unknown => Err(Failure::unimplemented(&format!("number {unknown}"))),
    }
}

/// Makes a library a Pairwise plugin: exports `$connector` under the frozen surface, puts `plugin.json` where it can be read
/// without running the library, and adds a test that `plugin.json` fits the crate.
///
/// Stands once in a crate, at its root. `plugin.json` lies beside `Cargo.toml`.
///
/// ```text
/// pairwise_plugin! { manifest: include_str!("../plugin.json"), connector: MyConnector }
/// ```
#[macro_export]
macro_rules! pairwise_plugin {
    (manifest: $manifest:expr, connector: $connector:ty $(,)?) => {
        const _: () = {
            use $crate::__macro as api;
            const DEBUG: bool = cfg!(debug_assertions);
            const ABORT: bool = cfg!(panic = "abort");
            const PARTS: &[&str] = &api::section_parts(DEBUG, ABORT, $manifest);

            #[used]
            #[allow(unsafe_code, reason = "where the linker puts it")]
            #[cfg_attr(target_os = "linux", unsafe(link_section = ".pairwise"))]
            static SECTION: [u8; api::joined_len(PARTS)] = api::joined(PARTS);

            #[allow(unsafe_code, reason = "an exported name")]
            #[unsafe(export_name = "pairwise_plugin_header")]
            static HEADER: api::PluginHeader = api::PluginHeader::new(api::flags(DEBUG, ABORT), &SECTION);

            #[allow(unsafe_code, reason = "an exported name")]
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static LIBRARY: api::LibHeader = api::library::<$connector>();
        };

        #[cfg(test)]
        #[test]
        fn plugin_json_is_that_of_this_crate() {
            $crate::__macro::assert_current(
                env!("CARGO_MANIFEST_DIR"),
                env!("CARGO_PKG_VERSION"),
                $crate::schemars::schema_for!(<$connector as $crate::Connector>::Config),
            );
        }
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::delta::{Found, Page};
    use crate::record::Condition;
    use crate::write::Outcome;
    use crate::{Catalogue, Certainty};

    struct Shaky(String);

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct ShakyConfig {
        at: String,
    }

    impl Connector for Shaky {
        type Config = ShakyConfig;
        fn create(config: ShakyConfig, _: &Context) -> Result<Self> {
            assert_ne!(config.at, "create");
            Ok(Shaky(config.at))
        }
        fn describe(&self, _: &Context) -> Result<Description> {
            Ok(Description { target: self.0.clone(), ..Description::default() })
        }
        fn discover(&self, _: &Context, _: DiscoverRequest) -> Result<Catalogue> {
            Ok(Catalogue::default())
        }
        fn check(&self, _: &Context, _: CheckRequest) -> Result<Vec<Condition>> {
            Ok(Vec::new())
        }
        fn list(&self, _: &Context, _: ListRequest) -> Result<Page> {
            Err(Failure::new(Class::Transient, "down"))
        }
        fn get(&self, _: &Context, _: GetRequest) -> Result<Vec<Found>> {
            Ok(Vec::new())
        }
        fn write(&self, _: &Context, _: WriteRequest) -> Result<Vec<Outcome>> {
            panic!("halfway")
        }
    }

    impl Drop for Shaky {
        fn drop(&mut self) {
            assert_ne!(self.0, "drop");
        }
    }

    fn made(at: &str) -> Result<RawConnectorBox> {
        let settings = codec::encode(&serde_json::json!({ "at": at })).unwrap();
        create::<Shaky>(RSlice::from_slice(&settings)).into_result().map_err(Failure::from)
    }

    fn call<O: Operation>(connector: &RawConnectorBox, request: &O::Request) -> Result<O::Response> {
        let request = codec::encode(request).unwrap();
        let answer = connector.call(O::OP, 1, RSlice::from_slice(&request)).into_result()?;
        Ok(codec::decode(&answer).unwrap())
    }

    #[test]
    fn operations_reach_the_connector() {
        let connector = made("here").unwrap();
        assert_eq!(call::<Describe>(&connector, &DescribeRequest::default()).unwrap().target, "here");
        assert_eq!(call::<List>(&connector, &ListRequest::default()).unwrap_err().class, Class::Transient);
        assert_eq!(call::<Users>(&connector, &UsersRequest::default()).unwrap_err().class, Class::Unimplemented);
        let unknown = Failure::from(connector.call(999, 1, RSlice::from_slice(&[])).unwrap_err());
        assert_eq!((unknown.class, unknown.certainty), (Class::Unimplemented, Certainty::NotSent));
        let broken = Failure::from(connector.call(Get::OP, 1, RSlice::from_slice(b"\xc1")).unwrap_err());
        assert_eq!(broken.class, Class::Protocol);
        assert!(connector.shutdown().is_ok());
    }

    #[test]
    fn a_panic_poisons_the_instance() {
        let connector = made("here").unwrap();
        let failure = call::<WriteBatch>(&connector, &WriteRequest::default()).unwrap_err();
        assert_eq!((failure.class, failure.certainty), (Class::Panic, Certainty::Unknown));
        assert!(failure.text.contains("`write`") && failure.text.contains("halfway"), "{}", failure.text);
        assert_eq!(call::<Describe>(&connector, &DescribeRequest::default()).unwrap_err().class, Class::Poisoned);
    }

    #[test]
    fn create_and_drop_are_guarded() {
        assert_eq!(made("create").err().unwrap().class, Class::Panic);
        drop(made("drop").unwrap());
        let missing = create::<Shaky>(RSlice::from_slice(&codec::encode(&serde_json::json!({})).unwrap()));
        let failure = Failure::from(missing.into_result().err().unwrap());
        assert!(failure.class == Class::Config && failure.text.contains("`at`"), "{}", failure.text);
    }

    #[test]
    fn abi_stable_still_looks_for_that_name() {
        assert_eq!(abi_stable::library::ROOT_MODULE_LOADER_NAME, "_1as_0lib_1header_0root_bmodule_bloader");
    }

    #[test]
    fn the_section_can_be_read_back() {
        let json = r#"{"id":"x","name":"X","vendor":"V","version":"1.2.3"}"#;
        let parts = section_parts(true, false, json);
        let (stamp, manifest) = crate::manifest::Manifest::parse_section(parts.concat().as_bytes()).unwrap();
        assert_eq!(
            (stamp.plugin_api, stamp.debug, stamp.panic.as_str()),
            (compat::version(compat::API), true, "unwind")
        );
        assert_eq!((stamp.target.as_str(), manifest.id.as_str()), (compat::TARGET, "x"));
    }
}
