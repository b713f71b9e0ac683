//! The plain-C header, which is checked before anything of abi_stable is touched, and the bytes that can be read from the file
//! without running it. Frozen like `raw.rs`; it may grow at its end, `size` tells how far it goes.
#![allow(unsafe_code, reason = "a static with a pointer in it has to be declared shareable")]

/// First bytes of the header.
pub const MAGIC: [u8; 16] = *b"PAIRWISE-PLUGIN\0";

/// 1: the surface in `raw.rs` over abi_stable 0.11. Whatever replaces it gets the next number.
pub const EPOCH: u32 = 1;

/// The header's symbol.
pub const SYMBOL: &str = "pairwise_plugin_header";

/// The section that holds the build stamp, a line feed, and `plugin.json`.
pub const SECTION: &str = ".pairwise";

/// Built with debug assertions.
pub const DEBUG: u32 = 1;

/// Built with `panic = "abort"`: nothing can be caught, so it runs in a worker only.
pub const PANIC_ABORT: u32 = 2;

/// What the symbol points at.
#[repr(C)]
#[derive(Debug)]
pub struct PluginHeader {
    /// [`MAGIC`].
    pub magic: [u8; 16],
    /// Size of this struct in bytes.
    pub size: u32,
    /// [`EPOCH`].
    pub epoch: u32,
    /// Version of this crate: major, minor, patch.
    pub api: [u32; 3],
    /// [`DEBUG`], [`PANIC_ABORT`].
    pub flags: u32,
    /// The bytes of the section.
    pub section: *const u8,
    /// How many.
    pub section_len: usize,
}

// SAFETY: the pointer leads to a static that nobody writes.
unsafe impl Sync for PluginHeader {}

impl PluginHeader {
    /// The header of a plugin that is being compiled against this crate.
    #[must_use]
    pub const fn new(flags: u32, section: &'static [u8]) -> Self {
        PluginHeader {
            magic: MAGIC,
            size: size_of::<PluginHeader>() as u32,
            epoch: EPOCH,
            api: crate::compat::API,
            flags,
            section: section.as_ptr(),
            section_len: section.len(),
        }
    }
}
