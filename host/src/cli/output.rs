//! What reaches standard output: tables and sentences for eyes, or one JSON document.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use pairwise_plugin_api::Millis;
use serde::Serialize;

/// What output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // For eyes: tables, colours, progress.
    #[default]
    Human,
    // For programs: one JSON document on standard output.
    Json,
}

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    /// What it is for.
    pub(crate) format: Format,
}

impl Out {
    /// Whether it is one JSON document.
    pub(crate) fn json(self) -> bool {
        self.format == Format::Json
    }

    /// A line for eyes. In JSON nothing: the document says it.
    pub(crate) fn line(self, line: impl Display) {
        if !self.json() {
            put(&format_args!("{line}\n"));
        }
    }

    /// The document; in human format nothing.
    pub(crate) fn document(self, document: &impl Serialize) {
        if self.json() {
            let text = serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("\"{error}\""));
            put(&format_args!("{text}\n"));
        }
    }

    /// Text that is the same in both formats: a schema, a completion script.
    pub(crate) fn verbatim(self, text: impl Display) {
        put(&text);
    }

    /// A table for eyes.
    pub(crate) fn table(self, table: &Table) {
        if !self.json() {
            for line in table.lines() {
                put(&format_args!("{}\n", line.trim_end()));
            }
        }
    }
}

/// Writes, and ends quietly once nobody reads any more (`pairwise status | head`).
fn put(text: &dyn Display) {
    if let Err(error) = write!(anstream::stdout(), "{text}")
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// A table with a bold head and no frame.
pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    // Always styled: standard output takes the colours off where they are not wanted.
    table.enforce_styling();
    table.set_header(head.iter().map(|text| Cell::new(text).add_attribute(Attribute::Bold)));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 < head.len() { 2 } else { 0 }));
    }
    table
}

/// A number, aligned to the right; zero is not shown.
pub(crate) fn count(number: u64) -> Cell {
    let text = if number == 0 { String::new() } else { number.to_string() };
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A point in time as people here read it.
pub(crate) fn time(at: Millis) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(at) => at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}

/// A span as people say it: `0.8 s`, `2 min 5 s`.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..60_000 => format!("{} s", ms / 1000),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// `1 record`, `2 records`.
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// One line of at most `width` characters.
pub(crate) fn short(text: &str, width: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let spans: Vec<String> = [0, 820, 9_999, 59_999, 125_000, 3_720_000].into_iter().map(span).collect();
        assert_eq!(spans, ["0.0 s", "0.8 s", "9.9 s", "59 s", "2 min 5 s", "1 h 2 min"]);
    }

    #[test]
    fn long_values_become_one_short_line() {
        assert_eq!(short("first\nsecond", 40), "first second");
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
