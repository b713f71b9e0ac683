//! What `--version` says: which program, which plugin API, which build.

use std::sync::LazyLock;

use pairwise_plugin_api::compat::{API_TEXT, TARGET};

use crate::BUILD;

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// For `--version`: one line, so that scripts can read it.
pub(crate) fn line() -> &'static str {
    static LINE: LazyLock<String> =
        LazyLock::new(|| format!("{VERSION} (plugin API {API_TEXT}, build {BUILD}, {TARGET})"));
    &LINE
}
