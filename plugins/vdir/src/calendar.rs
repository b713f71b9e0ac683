//! The components of a calendar file: where they stand, and how they travel as text.

use crate::content::{Block, Part};
use crate::lines::{Broken, Line, Text};
use crate::property::{Format, Property};
use crate::times::iana_zone;

/// A component directly inside a `VCALENDAR`.
#[derive(Debug)]
pub(crate) struct Component {
    /// In capitals.
    pub(crate) name: String,
    pub(crate) block: Block,
    uid: Option<String>,
    /// It has no END.
    is_cut_off: bool,
}

/// A file by its components.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) components: Vec<Component>,
    /// Properties of the calendar itself.
    pub(crate) header: Vec<Block>,
    is_calendar: bool,
    is_closed: bool,
}

impl Outline {
    /// Reads as little as tells where components begin and end and which events belong together.
    pub(crate) fn of(text: &str) -> Self {
        let mut outline = Outline::default();
        let mut depth = 0_usize;
        let mut at = 0;
        let mut in_uid = false;
        for (index, raw) in text.split_inclusive('\n').enumerate() {
            let span = at..at + raw.len();
            at = span.end;
            let line = raw.trim_end();
            let is_continued = line.starts_with([' ', '\t']);
            if is_continued {
                if let Some(uid) = outline.open_uid().filter(|_| in_uid) {
                    uid.push_str(&line[1..]);
                }
                if let Some(header) = outline.header.last_mut().filter(|header| header.span.end == span.start) {
                    header.span.end = span.end;
                }
                continue;
            }
            in_uid = false;
            let (name, value) = line.trim_start_matches('\u{feff}').split_once(':').unwrap_or((line, ""));
            if name.eq_ignore_ascii_case("BEGIN") {
                depth += 1;
                if depth == 1 {
                    outline.is_calendar |= value.trim().eq_ignore_ascii_case("VCALENDAR");
                    outline.is_closed = false;
                } else if depth == 2 {
                    outline.components.push(Component {
                        name: value.trim().to_ascii_uppercase(),
                        block: Block { span, line: index + 1 },
                        uid: None,
                        is_cut_off: true,
                    });
                }
            } else if name.eq_ignore_ascii_case("END") {
                if let Some(open) = outline.components.last_mut().filter(|_| depth == 2) {
                    open.block.span.end = at;
                    open.is_cut_off = false;
                }
                outline.is_closed = depth == 1;
                depth = depth.saturating_sub(1);
            } else if depth == 1 && !line.is_empty() {
                outline.header.push(Block { span, line: index + 1 });
            } else if let Some(component) = outline.components.last_mut().filter(|_| depth == 2)
                && component.uid.is_none()
                && name.split(';').next().is_some_and(|name| name.eq_ignore_ascii_case("UID"))
            {
                component.uid = Some(value.to_owned());
                in_uid = true;
            }
        }
        if let Some(cut_off) = outline.components.last_mut().filter(|component| component.is_cut_off) {
            cut_off.block.span.end = text.len();
        }
        outline
    }

    fn open_uid(&mut self) -> Option<&mut String> {
        self.components.last_mut()?.uid.as_mut()
    }

    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |component| component.name == name)
    }

    /// Events with the same UID are one record. A file without any event has no record, unless it is broken.
    pub(crate) fn parts(&self, length: usize) -> Vec<Part> {
        let mut parts: Vec<(Option<&str>, Part)> = Vec::new();
        for event in self.named("VEVENT") {
            let uid = event.uid.as_deref().map(str::trim).filter(|uid| !uid.is_empty());
            match parts.iter_mut().find(|(other, _)| uid.is_some() && *other == uid) {
                Some((_, part)) => part.blocks.push(event.block.clone()),
                None => parts.push((uid, Part { blocks: vec![event.block.clone()] })),
            }
        }
        if parts.is_empty() && !(self.is_calendar && self.is_closed) {
            return vec![Part { blocks: vec![Block { span: 0..length, line: 1 }] }];
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    /// The zones that the file defines: their names and definitions.
    pub(crate) fn zones<'t>(&self, text: &'t Text<'_>) -> Vec<(String, Vec<Line<'t>>)> {
        let zone = |component: &Component| {
            let lines = text.lines(component.block.span.clone(), component.block.line).ok()?;
            let name = lines.iter().find(|line| line.is("TZID"))?.value.to_string();
            Some((name, lines))
        };
        self.named("VTIMEZONE").filter_map(zone).collect()
    }
}

/// How the file's names of zones translate to IANA names.
#[derive(Debug)]
pub(crate) struct Zones(Vec<(String, Option<String>)>);

impl Zones {
    pub(crate) fn of(defined: &[(String, Vec<Line<'_>>)]) -> Self {
        let translate = |(name, lines): &(String, Vec<Line<'_>>)| {
            let location = lines.iter().find(|line| line.is("X-LIC-LOCATION")).map(|line| line.value.to_string());
            (name.clone(), iana_zone(name).or_else(|| location.as_deref().and_then(iana_zone)))
        };
        Zones(defined.iter().map(translate).collect())
    }

    /// The IANA name, else the name as it is.
    pub(crate) fn name(&self, zone: &str) -> String {
        let defined = self.0.iter().find(|(name, _)| name == zone);
        defined.and_then(|(_, iana)| iana.clone()).or_else(|| iana_zone(zone)).unwrap_or_else(|| zone.to_owned())
    }

    /// The name under which the file defines a zone, if it does.
    pub(crate) fn defined(&self, zone: &str) -> Option<&str> {
        self.0.iter().find(|(name, iana)| name == zone || iana.as_deref() == Some(zone)).map(|(name, _)| name.as_str())
    }

    /// A property with its zone under the IANA name.
    pub(crate) fn translate<'a>(&self, mut property: Property<'a>) -> Property<'a> {
        if let Some(zone) = property.first("TZID").map(|zone| self.name(zone)) {
            property.set("TZID", vec![zone.into()]);
        }
        property
    }
}

/// Checks that lines are one whole component.
pub(crate) fn check(lines: &[Line<'_>], name: &str) -> Result<(), Broken> {
    let first = lines.first().map_or(1, |line| line.number);
    let last = lines.last().map_or(1, |line| line.number);
    if let Some(odd) = lines.iter().find(|line| !line.has_colon && !line.is_blank()) {
        let start: String = odd.name.chars().take(40).collect();
        return Err(Broken::new(odd.number, format!("`{start}` is no content line: it has no colon")));
    }
    let is = |line: &Line<'_>, word: &str, name: &str| line.is(word) && line.value.trim().eq_ignore_ascii_case(name);
    let mut content = lines.iter().filter(|line| !line.is_blank());
    if !content.next().is_some_and(|line| is(line, "BEGIN", name)) {
        return Err(Broken::new(first, format!("no BEGIN:{name}")));
    }
    if !content.next_back().is_some_and(|line| is(line, "END", name)) {
        return Err(Broken::new(last, format!("the file ends without END:{name}")));
    }
    let mut open: Vec<&str> = Vec::new();
    for line in content {
        if line.is("BEGIN") {
            open.push(line.value.trim());
        } else if line.is("END") && !open.pop().is_some_and(|name| line.value.trim().eq_ignore_ascii_case(name)) {
            return Err(Broken::new(line.number, format!("END:{} ends nothing that is open", line.value)));
        }
    }
    match open.pop() {
        Some(open) => Err(Broken::new(last, format!("{open} has no END"))),
        None => Ok(()),
    }
}

/// Puts the lines of each inner component together into one that says nothing. Returns the inner lines by the index of the
/// one that stands for them.
pub(crate) fn collapse<'t>(lines: Vec<Line<'t>>) -> (Vec<Line<'t>>, Vec<(usize, Vec<Line<'t>>)>) {
    let mut flat: Vec<Line<'t>> = Vec::with_capacity(lines.len());
    let mut inner: Vec<(usize, Vec<Line<'t>>)> = Vec::new();
    let mut depth = 0_usize;
    for line in lines {
        let begins = line.has_colon && line.is("BEGIN");
        depth += usize::from(begins);
        if depth <= 1 {
            flat.push(line.clone());
        } else {
            if begins && depth == 2 {
                let mut stand_in = line.clone();
                (stand_in.name, stand_in.value, stand_in.has_colon) = ("".into(), "".into(), false);
                flat.push(stand_in);
                inner.push((flat.len() - 1, Vec::new()));
            }
            if let (Some(stand_in), Some((_, lines))) = (flat.last_mut(), inner.last_mut()) {
                stand_in.span.end = line.span.end;
                lines.push(line.clone());
            }
        }
        if line.has_colon && line.is("END") {
            depth = depth.saturating_sub(1);
        }
    }
    (flat, inner)
}

/// A component as text: one property a line, zones by their IANA names, without what changes with every save.
pub(crate) fn print(lines: &[Line<'_>], zones: &Zones) -> String {
    let says = |line: &&Line<'_>| {
        line.has_colon && !["DTSTAMP", "LAST-MODIFIED", "CREATED"].iter().any(|volatile| line.is(volatile))
    };
    let lines = lines.iter().filter(says).map(|line| zones.translate(Property::of(line, Format::Calendar)).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of a component that came as text; `None` if the text is not one component of this name.
pub(crate) fn parse(text: &str, name: &str) -> Option<Vec<Property<'static>>> {
    let source = Text::new(text.as_bytes());
    let lines = source.lines(0..text.len(), 1).ok()?;
    check(&lines, name).ok()?;
    lines
        .iter()
        .filter(|line| line.has_colon)
        .map(|line| Some(Property::parse(&Property::of(line, Format::Calendar).to_string())?.into_owned()))
        .collect()
}

/// The zones that some text uses.
pub(crate) fn zones_used(text: &str, mut found: impl FnMut(&str)) {
    let source = Text::new(text.as_bytes());
    for line in source.lines(0..text.len(), 1).unwrap_or_default() {
        for param in line.params.iter().filter(|param| param.name == "TZID") {
            param.values.iter().for_each(|zone| found(zone));
        }
    }
}
