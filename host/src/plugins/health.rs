//! How often a plugin fell over. Kept beside its copy in the cache, so that it outlives the process that saw it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pairwise_plugin_api::Millis;
use serde::{Deserialize, Serialize};

use super::cache;

/// Failures older than this do not count.
const WINDOW: Duration = Duration::from_secs(600);
/// So many within the window, and the plugin is set aside.
const TOO_MANY: usize = 5;
/// The first pause before a plugin is started again; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The failures of one plugin file.
#[derive(Debug)]
pub(super) struct Health {
    file: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    failures: Vec<Fall>,
    quarantined: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Fall {
    at: Millis,
    text: String,
}

/// Where a plugin stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be started, after a pause.
    Usable { pause: Duration },
    /// It fell over too often.
    Quarantined { failures: usize, last: String },
}

impl Health {
    pub(super) fn of(cache: &Path, hash: &str) -> Self {
        Health { file: cache::folder(cache, hash).join("health.json") }
    }

    pub(super) fn standing(&self, now: Millis) -> Standing {
        standing(&self.read(), now)
    }

    /// It fell over.
    pub(super) fn fell(&self, now: Millis, text: &str) {
        let mut kept = self.read();
        kept.failures.retain(|fall| is_recent(fall, now));
        kept.failures.push(Fall { at: now, text: text.to_owned() });
        kept.quarantined |= recent(&kept.failures, now) >= TOO_MANY;
        let written = serde_json::to_vec(&kept).map_err(std::io::Error::other).and_then(|json| {
            let temporary = self.file.with_extension(format!("{}.tmp", std::process::id()));
            fs::write(&temporary, json)?;
            fs::rename(temporary, &self.file)
        });
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "a plugin's failure cannot be remembered");
        }
    }

    /// A person says that it is well again.
    pub(super) fn reset(&self) {
        let _ = fs::remove_file(&self.file);
    }

    /// What cannot be read is forgotten: it is a help, not a promise.
    fn read(&self) -> Kept {
        fs::read(&self.file).map(|json| parse(&json)).unwrap_or_default()
    }
}

fn parse(json: &[u8]) -> Kept {
    serde_json::from_slice(json).unwrap_or_default()
}

fn standing(kept: &Kept, now: Millis) -> Standing {
    let recent = recent(&kept.failures, now);
    match kept.failures.last() {
        Some(last) if kept.quarantined => {
            Standing::Quarantined { failures: kept.failures.len(), last: last.text.clone() }
        }
        Some(last) if recent > 0 => {
            let doubled = FIRST_PAUSE.saturating_mul(1 << (recent - 1).min(16)).min(LONGEST_PAUSE);
            let passed = Duration::from_millis(u64::try_from(now.saturating_sub(last.at)).unwrap_or(0));
            Standing::Usable { pause: doubled.saturating_sub(passed) }
        }
        _ => Standing::Usable { pause: Duration::ZERO },
    }
}

/// Where a plugin stands of which this is kept.
#[cfg(any(test, fuzzing))]
pub(super) fn standing_of(json: &[u8], now: Millis) -> Standing {
    standing(&parse(json), now)
}

fn is_recent(fall: &Fall, now: Millis) -> bool {
    now.saturating_sub(fall.at) < Millis::try_from(WINDOW.as_millis()).unwrap_or(Millis::MAX)
}

fn recent(failures: &[Fall], now: Millis) -> usize {
    failures.iter().filter(|fall| is_recent(fall, now)).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_it_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("hash")).unwrap();
        let health = Health::of(folder.path(), "hash");
        let pause = |now| match health.standing(now) {
            Standing::Usable { pause } => pause.as_millis(),
            Standing::Quarantined { .. } => u128::MAX,
        };
        assert_eq!(pause(0), 0);
        let pauses = [1_000, 2_000, 3_000, 4_000, 5_000].map(|now| {
            health.fell(now, "signal 11");
            pause(now)
        });
        assert_eq!(pauses, [500, 1000, 2000, 4000, u128::MAX]);
        assert_eq!(pause(10_000_000), u128::MAX, "only a person lifts it");
        health.reset();
        assert_eq!(pause(5_000), 0);
        health.fell(5_000, "signal 11");
        assert_eq!((pause(5_400), pause(5_600), pause(700_000)), (100, 0, 0));
    }
}
