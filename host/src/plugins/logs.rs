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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the host's log says when a plugin writes these lines.
    fn logged(lines: impl FnOnce(&PluginLog)) -> Vec<Value> {
        let (written, name) = (Written::default(), PluginName { id: "acme".into(), version: "1.2.0".parse().unwrap() });
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || lines(&PluginLog::new(name, "crm")));
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_names_its_plugin_and_keeps_its_fields() {
        let fields = rmp_serde::to_vec_named(&json!({ "status": 200 })).unwrap();
        let logged = logged(|log| log.line(3, "acme::http", "sent", &fields, 0));
        assert_eq!((&logged[0]["level"], &logged[0]["target"]), (&json!("INFO"), &json!("plugin")));
        let said = json!({
            "connection": "crm", "fields": "{\"status\":200}", "message": "sent",
            "plugin.id": "acme", "plugin.target": "acme::http", "plugin.version": "1.2.0"
        });
        assert_eq!(logged[0]["fields"], said);
    }

    #[test]
    fn a_flood_is_cut_off_and_lost_lines_are_counted() {
        let logged = logged(|log| {
            log.line(2, "t", "first", &[], 7);
            (0..2 * LINES_A_SECOND).for_each(|_| log.line(2, "t", "again", &[], 0));
        });
        assert!(logged[0]["fields"]["message"].as_str().unwrap().starts_with("7 lines"));
        assert!(logged.len() < 2 * LINES_A_SECOND as usize);
    }
}
