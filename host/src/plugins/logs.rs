//! Lines of plugins' logs in the host's log: one fixed target, the plugin in fields.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::error::PluginName;

/// The target of every line that comes from a plugin.
pub const TARGET: &str = "plugin";

/// More lines a second than this are counted and dropped.
const LINES_A_SECOND: u32 = 200;

/// The log of one plugin in use.
#[derive(Debug)]
pub(super) struct PluginLog {
    name: PluginName,
    connection: String,
    second: Mutex<Second>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    lines: u32,
    dropped: u64,
}

/// The level up to which anybody listens: 0 nobody, 1 errors … 5 traces.
pub(super) fn level() -> u8 {
    use tracing::Level;
    let levels = [
        tracing::enabled!(target: TARGET, Level::ERROR),
        tracing::enabled!(target: TARGET, Level::WARN),
        tracing::enabled!(target: TARGET, Level::INFO),
        tracing::enabled!(target: TARGET, Level::DEBUG),
        tracing::enabled!(target: TARGET, Level::TRACE),
    ];
    levels.into_iter().take_while(|enabled| *enabled).fold(0, |level, _| level + 1)
}

impl PluginLog {
    pub(super) fn new(name: PluginName, connection: impl Into<String>) -> Self {
        let second = Mutex::new(Second { began: Instant::now(), lines: 0, dropped: 0 });
        PluginLog { name, connection: connection.into(), second }
    }

    /// A line; `fields` is a message, `dropped` lines were lost before it came here.
    pub(super) fn line(&self, level: u8, target: &str, message: &str, fields: &[u8], dropped: u64) {
        let Some(dropped) = self.may_write(dropped) else { return };
        if dropped > 0 {
            self.write(2, "log", &format!("{dropped} lines of the plugin's log were dropped"), "");
        }
        let fields: serde_json::Value = rmp_serde::from_slice(fields).unwrap_or_default();
        let fields = if fields.is_object() { fields.to_string() } else { String::new() };
        self.write(level, target, message, &fields);
    }

    /// Whether this second still takes a line, and how many were dropped before.
    fn may_write(&self, dropped: u64) -> Option<u64> {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        second.dropped += dropped;
        if second.began.elapsed() > Duration::from_secs(1) {
            (second.began, second.lines) = (Instant::now(), 0);
        }
        second.lines += 1;
        if second.lines > LINES_A_SECOND {
            second.dropped += 1;
            return None;
        }
        Some(std::mem::take(&mut second.dropped))
    }

    fn write(&self, level: u8, target: &str, message: &str, fields: &str) {
        // The level is part of what tracing fixes while compiling.
        macro_rules! line {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    plugin.id = %self.name.id,
                    plugin.version = %self.name.version,
                    plugin.target = %target,
                    connection = %self.connection,
                    fields = %fields,
                    "{message}"
                )
            };
        }
        match level {
            1 => line!(ERROR),
            2 => line!(WARN),
            3 => line!(INFO),
            4 => line!(DEBUG),
            _ => line!(TRACE),
        }
    }
}
