//! The plugin's log lines on their way to the host.
//!
//! Each library has its own copy of `tracing`, so the host's subscriber does not see them; this one hands them over.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use abi_stable::std_types::RSlice;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::context;
use crate::raw::HostApi_Ref;
use crate::value::Value;

/// From now on events of this library go to the host.
pub(crate) fn install(host: HostApi_Ref) {
    // A connector that brought a subscriber of its own keeps it.
    let _ = tracing::subscriber::set_global_default(Forward { host });
}

/// A line that does not come through `tracing`: a panic on one of the plugin's own threads.
pub(crate) fn error(text: &str) {
    if let Some(host) = context::host() {
        host.log()(host.token(), 1, "panic".into(), text.into(), RSlice::from_slice(&[]));
    }
}

struct Forward {
    host: HostApi_Ref,
}

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The host may change its mind at any time.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && self.host.log_enabled()(self.host.token(), number(metadata.level()), metadata.target().into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let fields = rmp_serde::to_vec_named(&line.fields).unwrap_or_default();
        let (level, target) = (number(event.metadata().level()), event.metadata().target().into());
        self.host.log()(self.host.token(), level, target, line.message.as_str().into(), RSlice::from_slice(&fields));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// An event taken apart.
#[derive(Default)]
struct Line {
    message: String,
    fields: BTreeMap<&'static str, Value>,
}

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name(), value.into());
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, format!("{value:?}"));
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { value.clone_into(&mut self.message) } else { self.put(field, value) }
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.put(field, value),
            Err(_) => self.put(field, value.to_string()),
        }
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::Float(value));
    }
}
