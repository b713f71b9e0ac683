//! Which versions of this crate understand each other.
//!
//! The rule is that of semver: equal major versions do, in both directions. An older plugin has fewer operations and answers
//! the others with [`Class::Unimplemented`](crate::Class::Unimplemented); a newer plugin finds fewer host functions, which its
//! own copy of this crate treats as absent.

use semver::Version;

use crate::header::EPOCH;

/// The version of this crate: major, minor, patch.
pub const API: [u32; 3] = [
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
];

/// The same as text.
pub const API_TEXT: &str = env!("CARGO_PKG_VERSION");

/// The system that this crate is compiled for, as in lock files: `x86_64-linux-gnu`.
pub const TARGET: &str = {
    const BYTES: [u8; joined_len(TARGET_PARTS)] = joined(TARGET_PARTS);
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("target names are ASCII"),
    }
};

const TARGET_PARTS: &[&str] = &[std::env::consts::ARCH, "-", std::env::consts::OS, TARGET_ENV];

const TARGET_ENV: &str = if cfg!(target_env = "gnu") {
    "-gnu"
} else if cfg!(target_env = "musl") {
    "-musl"
} else if cfg!(target_env = "msvc") {
    "-msvc"
} else {
    ""
};

/// Why a plugin cannot be used by this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// Another major version.
    #[error(
        "it was built for plugin API {plugin}, this host has {host}; a plugin built for API {}.x is needed",
        host.major
    )]
    Major {
        /// The plugin's.
        plugin: Version,
        /// The host's.
        host: Version,
    },
    /// Another surface altogether.
    #[error(
        "its binary interface is epoch {plugin}, this host has epoch {EPOCH}; a plugin built for this host is needed"
    )]
    Epoch {
        /// The plugin's.
        plugin: u32,
    },
}

/// Whether this host can use a plugin of this API version and epoch.
///
/// # Errors
/// Why not.
pub fn accepts(plugin: &Version, epoch: u32) -> Result<(), Incompatible> {
    let host = version(API);
    if epoch != EPOCH {
        Err(Incompatible::Epoch { plugin: epoch })
    } else if plugin.major != host.major {
        Err(Incompatible::Major { plugin: plugin.clone(), host })
    } else {
        Ok(())
    }
}

/// A version from its three numbers.
#[must_use]
pub fn version([major, minor, patch]: [u32; 3]) -> Version {
    Version::new(major.into(), minor.into(), patch.into())
}

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("cargo writes whole numbers"),
    }
}

/// The length of [`joined`].
#[doc(hidden)]
#[must_use]
pub const fn joined_len(parts: &[&str]) -> usize {
    let (mut len, mut part) = (0, 0);
    while part < parts.len() {
        len += parts[part].len();
        part += 1;
    }
    len
}

/// Texts one after the other, while compiling.
#[doc(hidden)]
#[must_use]
pub const fn joined<const LEN: usize>(parts: &[&str]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let text = parts[part].as_bytes();
        let mut index = 0;
        while index < text.len() {
            bytes[at] = text[index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn equal_majors_understand_each_other() {
        assert_eq!(accepts(&Version::new(1, 0, 0), EPOCH), Ok(()));
        assert_eq!(accepts(&Version::new(1, 99, 3), EPOCH), Ok(()));
        let text = accepts(&Version::new(2, 0, 0), EPOCH).unwrap_err().to_string();
        assert!(text.contains("API 2.0.0") && text.contains(API_TEXT), "{text}");
        assert!(matches!(accepts(&version(API), 2), Err(Incompatible::Epoch { plugin: 2 })));
    }

    #[test]
    fn the_target_is_named() {
        assert!(TARGET.starts_with(std::env::consts::ARCH) && TARGET.contains(std::env::consts::OS));
    }

    /// Old plugins were compiled against the surface as it stands in `surface.txt`: one line per minor version, never changed.
    #[test]
    fn the_frozen_surface_changes_only_with_the_version() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let mut hash = Sha256::new();
        for file in ["src/raw.rs", "src/header.rs"] {
            let text = fs::read_to_string(format!("{folder}{file}")).unwrap();
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
                hash.update(line);
                hash.update("\n");
            }
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let minor = format!("{}.{} ", API[0], API[1]);
        let path = format!("{folder}surface.txt");
        let known = fs::read_to_string(&path).unwrap_or_default();
        match known.lines().find_map(|line| line.strip_prefix(&minor)) {
            Some(line) => assert_eq!(
                line, digest,
                "raw.rs or header.rs is not what plugins of API {minor}were built against. Undo the change, or raise the \
                 version in plugin-api/Cargo.toml: the minor one for a slot at the end with a default, else the major one."
            ),
            None if std::env::var_os("PAIRWISE_BLESS").is_some() => {
                fs::write(&path, format!("{known}{minor}{digest}\n")).unwrap();
            }
            None => panic!("API {minor}has no line in surface.txt: run the test again with PAIRWISE_BLESS=1"),
        }
    }
}
