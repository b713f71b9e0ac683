//! The connector as the host sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use crate::Config;

/// Settings with everything else as it is by itself.
pub(crate) fn config(url: &str) -> Config {
    serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
}
