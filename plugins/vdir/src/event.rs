//! Calendars: an event with its exceptions and alarms as one record, in files as the usual programs write them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use pairwise_plugin_api::{FieldType, Fields, Name, Value, Write};

use crate::calendar::{Outline, Zones, check, collapse, parse, print, zones_used};
use crate::content::{self, Change, Edit, Part, Reading};
use crate::draft::{Draft, Edited};
use crate::lines::{Broken, Line, Text};
use crate::people;
use crate::property::{Format, Property};
use crate::slots::{FORM, MADE, Names, PROPERTY, Schema, Shape, Sheet, Slot};
use crate::times::{Moment, duration, zone_definition};

const STATUS: &[(&str, &str)] = &[("CONFIRMED", "confirmed"), ("TENTATIVE", "tentative"), ("CANCELLED", "cancelled")];
const BUSY: &[(&str, &str)] = &[("OPAQUE", "busy"), ("TRANSPARENT", "free")];
const PRIVACY: &[(&str, &str)] = &[("PUBLIC", "public"), ("PRIVATE", "private"), ("CONFIDENTIAL", "secret")];

const fn slot(property: &'static str, shape: Shape, fields: &'static [&'static str]) -> Slot {
    Slot { key: fields[0], property, types: &[], shape, fields }
}

/// In the order in which a new event holds them.
static SLOTS: [Slot; 7] = [
    slot("SUMMARY", Shape::Text, &["title"]),
    slot("DESCRIPTION", Shape::Text, &["description"]),
    slot("LOCATION", Shape::Text, &["locations/1/name"]),
    slot("STATUS", Shape::Word(STATUS), &["status"]),
    slot("TRANSP", Shape::Word(BUSY), &["freeBusyStatus"]),
    slot("CLASS", Shape::Word(PRIVACY), &["privacy"]),
    slot("CATEGORIES", Shape::List, &["keywords"]),
];

static NAMES: LazyLock<Names> = LazyLock::new(|| Names::of(&SLOTS));

/// Events.
pub(crate) static EVENT: Schema = Schema {
    slots: &SLOTS,
    assign,
    made: &["DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE"],
    silent: &["BEGIN", "END", "UID", "RECURRENCE-ID", "DTSTART", "DTEND", "DURATION"],
    own: &[
        START,
        END,
        ZONE,
        ALL_DAY,
        ALERT,
        "recurring",
        "uid",
        "recurrenceId",
        "form/alerts/1",
        "property/VALARM",
        "property/VEVENT",
        "property/VTIMEZONE",
    ],
    rows: &[],
    names: || &NAMES,
};

const START: &str = "start";
const END: &str = "end";
const ZONE: &str = "timeZone";
const ALL_DAY: &str = "showWithoutTime";
const ALERT: &str = "alerts/1/minutes";

/// Fields beside the slots: name, type, and whether they can be written.
pub(crate) const FIELDS: &[(&str, FieldType, bool)] = &[
    (START, FieldType::DateTime, true),
    (END, FieldType::DateTime, true),
    (ZONE, FieldType::Text, true),
    (ALL_DAY, FieldType::Bool, true),
    (ALERT, FieldType::Int, true),
    ("recurring", FieldType::Bool, false),
    ("uid", FieldType::Text, false),
    ("recurrenceId", FieldType::DateTime, false),
];

/// An alarm that says nothing but when.
const PLAIN_ALARM: &str = "BEGIN:VALARM\nACTION:DISPLAY\nDESCRIPTION:Reminder\nTRIGGER:*\nEND:VALARM";

/// The first line of each property takes its slot.
fn assign(properties: &[Option<Property<'_>>]) -> Vec<Option<usize>> {
    let mut taken = [false; SLOTS.len()];
    let slot = |property: &Option<Property<'_>>| {
        let name = &*property.as_ref()?.name;
        let slot = SLOTS.iter().position(|slot| slot.property == name).filter(|slot| !taken[*slot])?;
        taken[slot] = true;
        Some(slot)
    };
    properties.iter().map(slot).collect()
}

pub(crate) fn cut(text: &Text<'_>) -> Vec<Part> {
    Outline::of(text.as_str()).parts(text.as_str().len())
}

/// What tells an event of a file from the others: its UID, else (as an error) its title and start.
pub(crate) fn identity(text: &Text<'_>, part: &Part) -> Result<String, String> {
    let lines =
        part.blocks.first().and_then(|block| text.lines(block.span.clone(), block.line).ok()).unwrap_or_default();
    let value = |name: &str| lines.iter().find(|line| line.is(name)).map(|line| line.value.trim()).unwrap_or_default();
    match value("UID") {
        "" => Err(format!("{}\n{}", value("SUMMARY"), value("DTSTART"))),
        uid => Ok(uid.to_owned()),
    }
}

/// An event of a file, taken apart.
struct Event<'t> {
    text: &'t Text<'t>,
    outline: Outline,
    zones: Zones,
    /// Which of the part's blocks is the event itself; the others are its exceptions.
    main: usize,
    blocks: Vec<Vec<Line<'t>>>,
    sheet: Sheet<'t>,
    /// Inner components: alarms, by the index of the line that stands for them.
    inner: Vec<(usize, Vec<Line<'t>>)>,
}

impl<'t> Event<'t> {
    fn parse(text: &'t Text<'t>, part: &Part) -> Result<Self, Broken> {
        let outline = Outline::of(text.as_str());
        let mut blocks = Vec::with_capacity(part.blocks.len());
        for block in &part.blocks {
            let lines = text.lines(block.span.clone(), block.line)?;
            check(&lines, "VEVENT")?;
            blocks.push(lines);
        }
        let mut collapsed: Vec<_> = blocks.iter().map(|lines| collapse(lines.clone())).collect();
        let is_exception = |lines: &[Line<'_>]| lines.iter().any(|line| line.is("RECURRENCE-ID"));
        let main = collapsed.iter().position(|(flat, _)| !is_exception(flat)).unwrap_or(0);
        // A first look has put them together, and may have misread an odd line.
        let uid = |lines: &[Line<'_>]| {
            lines.iter().find(|line| line.has_colon && line.is("UID")).map(|line| line.value.trim().to_owned())
        };
        let stray = collapsed.iter().position(|(flat, _)| uid(flat) != uid(&collapsed[main].0));
        if let Some(line) = stray.and_then(|stray| blocks[stray].first()) {
            return Err(Broken::new(line.number, "this exception and its event do not have the same UID"));
        }
        let (flat, inner) = collapsed.swap_remove(main);
        let zones = Zones::of(&outline.zones(text));
        let mut sheet = Sheet::new(&EVENT, Format::Calendar, flat);
        for property in sheet.properties.iter_mut().flatten() {
            *property = zones.translate(std::mem::take(property));
        }
        Ok(Event { text, outline, zones, main, blocks, sheet, inner })
    }

    fn line(&self, name: &str) -> Option<&Line<'t>> {
        self.sheet.lines.iter().find(|line| line.has_colon && line.is(name))
    }

    fn moment(&self, name: &str) -> Option<Moment> {
        let line = self.line(name)?;
        let zone = line.params.iter().find(|param| param.name == "TZID").and_then(|param| param.values.first());
        Moment::of_file(&line.value, zone.map(|zone| self.zones.name(zone)))
    }

    /// When it ends: as it says, or by its duration, or after the day or moment that it starts.
    fn end(&self, start: &Moment) -> Option<Moment> {
        if let Some(end) = self.moment("DTEND") {
            return Some(end.written_like(start));
        }
        match self.line("DURATION").and_then(|line| duration(&line.value)) {
            Some(seconds) => start.plus(seconds),
            None if start.is_day() => start.plus(86_400),
            None => Some(start.clone()),
        }
    }

    fn exceptions(&self) -> impl Iterator<Item = (usize, &Vec<Line<'t>>)> {
        self.blocks.iter().enumerate().filter(|(index, _)| *index != self.main)
    }

    fn alarms(&self) -> Vec<Alarm> {
        let is_alarm =
            |lines: &[Line<'_>]| lines.first().is_some_and(|line| line.value.trim().eq_ignore_ascii_case("VALARM"));
        let alarm = |(at, lines): &(usize, Vec<Line<'_>>)| Alarm::of(*at, lines, &self.zones);
        self.inner.iter().filter(|(_, lines)| is_alarm(lines)).map(alarm).collect()
    }

    fn fields(&self) -> Result<Fields, Broken> {
        let mut fields = self.sheet.read()?;
        let start = self.moment("DTSTART").ok_or_else(|| {
            let line = self.line("DTSTART").or(self.sheet.lines.first()).map_or(1, |line| line.number);
            Broken::new(line, "the event has no DTSTART with a date")
        })?;
        let end = self.end(&start);
        fields.set(START, start.field());
        fields.set(END, end.map_or(Value::Null, |end| end.field().into()));
        fields.set(ZONE, start.zone.clone().map_or(Value::Null, Value::from));
        fields.set(ALL_DAY, start.is_day());
        let recurs = self.line("RRULE").or(self.line("RDATE")).is_some();
        fields.set("recurring", recurs);
        fields.set("uid", self.sheet.silent("UID").map_or(Value::Null, Value::from));
        fields.set("recurrenceId", self.moment("RECURRENCE-ID").map_or(Value::Null, |moment| moment.field().into()));
        if let Some(line) = self.line("RECURRENCE-ID") {
            let original = self.zones.translate(Property::of(line, Format::Calendar));
            fields.set(format!("{MADE}RECURRENCE-ID"), original.to_string());
        }
        let mut alarms = self.alarms();
        let first = alarms.iter().position(|alarm| alarm.minutes.is_some()).map(|index| alarms.remove(index));
        fields.set(ALERT, first.as_ref().and_then(|alarm| alarm.minutes).map_or(Value::Null, Value::from));
        if let Some(form) = first.map(|alarm| alarm.form).filter(|form| form != PLAIN_ALARM) {
            fields.set(format!("{FORM}alerts/1"), form);
        }
        set_list(&mut fields, "VALARM", alarms.into_iter().map(|alarm| alarm.text));
        set_list(&mut fields, "VEVENT", self.exceptions().map(|(_, lines)| print(lines, &self.zones)));
        let used = self.zones_of_record();
        let custom = |name: &String| crate::times::iana_zone(&self.zones.name(name)).is_none() && used.contains(name);
        let defined = self.outline.zones(self.text);
        set_list(
            &mut fields,
            "VTIMEZONE",
            defined.iter().filter(|(name, _)| custom(name)).map(|(_, lines)| print(lines, &self.zones)),
        );
        for header in &self.outline.header {
            for line in self.text.lines(header.span.clone(), header.line)? {
                fields.set(format!("{MADE}{}", line.name.to_ascii_uppercase()), &*line.value);
            }
        }
        Ok(fields)
    }

    fn zones_of_record(&self) -> BTreeSet<String> {
        let params = self.blocks.iter().flatten().flat_map(|line| &line.params);
        params
            .filter(|param| param.name == "TZID")
            .flat_map(|param| &param.values)
            .map(|zone| zone.to_string())
            .collect()
    }
}

/// An alarm of the event.
struct Alarm {
    /// The line that stands for it.
    at: usize,
    /// Minutes before the start, if that is what its trigger says.
    minutes: Option<i64>,
    /// All of it.
    text: String,
    /// All but the minutes.
    form: String,
}

impl Alarm {
    fn of(at: usize, lines: &[Line<'_>], zones: &Zones) -> Self {
        let trigger = lines.iter().find(|line| line.is("TRIGGER"));
        let minutes = trigger.and_then(|line| {
            let is_relative = line.params.iter().all(|param| {
                matches!(&*param.name, "RELATED" | "VALUE")
                    && param
                        .values
                        .iter()
                        .all(|value| ["START", "DURATION"].iter().any(|word| value.eq_ignore_ascii_case(word)))
            });
            let seconds = duration(&line.value).filter(|seconds| is_relative && *seconds <= 0 && seconds % 60 == 0)?;
            Some(-seconds / 60)
        });
        let text = print(lines, zones);
        let form = |line: &str| if line.starts_with("TRIGGER") { "TRIGGER:*".to_owned() } else { line.to_owned() };
        let mut inner: Vec<String> = text.lines().map(form).collect();
        let count = inner.len();
        // The order of its lines means nothing.
        inner.get_mut(1..count.saturating_sub(1)).unwrap_or_default().sort();
        Alarm { at, minutes, text, form: inner.join("\n") }
    }
}

fn set_list(fields: &mut Fields, name: &str, texts: impl Iterator<Item = String>) {
    let list: Vec<Value> = texts.map(Value::from).collect();
    if !list.is_empty() {
        fields.set(format!("{PROPERTY}{name}"), list);
    }
}

pub(crate) fn read(text: &Text<'_>, part: &Part) -> Result<Reading, Broken> {
    let event = Event::parse(text, part)?;
    let uid = event.sheet.silent("UID").map(|uid| uid.trim().to_owned()).filter(|uid| !uid.is_empty());
    let original = event.moment("RECURRENCE-ID");
    let occurrence = original.map(|moment| moment.instant().map_or(moment.field(), |utc| Moment::of_utc(utc).field()));
    Ok(Reading {
        uid,
        revision: event.sheet.silent("LAST-MODIFIED").map(str::to_owned),
        occurrence,
        participants: people::participants(&event.sheet.properties),
        fields: event.fields()?,
    })
}

/// What an edit of one event changes in its file.
pub(crate) fn edit(text: &Text<'_>, part: &Part, write: &Write) -> Result<Edit, Broken> {
    let event = Event::parse(text, part)?;
    let newline =
        if text.as_str().lines().next().is_some_and(|_| text.as_str().contains("\r\n")) { "\r\n" } else { "\n" };
    let mut fields = write.fields.clone();
    if let Some(people) = &write.participants {
        people::invite(&event.sheet.properties, people, &mut fields);
    }
    let mut draft = Draft::new(&event.sheet);
    draft.apply(&fields);
    set_times(&event, &fields, newline, &mut draft);
    set_alarms(&event, &fields, newline, &mut draft);
    let exceptions = wanted_blocks(&fields, "VEVENT", &mut draft);
    let definitions = wanted_blocks(&fields, "VTIMEZONE", &mut draft);
    for name in ["recurring", "uid", "recurrenceId"].into_iter().filter(|name| fields.get(name).is_some()) {
        draft.refuse(&Name::from(name));
    }
    let Edited { bytes, refused } = draft.print(text, newline);
    let mut changes: Vec<Change> = Vec::new();
    let mut behind = String::new();
    if let Some(mut wanted) = exceptions {
        for (index, lines) in event.exceptions() {
            let now = print(lines, &event.zones);
            match wanted.iter().position(|(text, _)| *text == now) {
                Some(kept) => drop(wanted.remove(kept)),
                None => changes.push((part.blocks[index].span.clone(), Vec::new())),
            }
        }
        for (_, lines) in wanted {
            behind.push_str(&render(&with_stamp(lines), newline));
        }
    }
    let main = part.blocks[event.main].span.clone();
    changes.push((main.clone(), [bytes, behind.into_bytes()].concat()));
    let mut zones = String::new();
    for (_, lines) in definitions.unwrap_or_default() {
        let name = lines.iter().find(|line| line.name == "TZID").map(|line| &*line.value);
        if name.is_some_and(|name| event.zones.defined(name).is_none()) {
            zones.push_str(&render(&lines, newline));
        }
    }
    zones.push_str(&missing_zones(&event, &changes, &zones, newline));
    let first = event.outline.components.first().map_or(main.start, |component| component.block.span.start);
    if !zones.is_empty() {
        changes.push((first..first, zones.into_bytes()));
    }
    changes.sort_by_key(|(span, _)| (span.start, span.end));
    Ok(Edit { changes, refused })
}

/// Definitions of the zones that the new text brings in and the file does not define. What it used before without one stays so.
fn missing_zones(event: &Event<'_>, changes: &[Change], sent: &str, newline: &str) -> String {
    let mut used = BTreeSet::new();
    let before = event.zones_of_record();
    for (_, bytes) in changes {
        zones_used(&String::from_utf8_lossy(bytes), |zone| {
            if !before.contains(zone) {
                used.insert(zone.to_owned());
            }
        });
    }
    let from = event.moment("DTSTART").unwrap_or_else(Moment::now);
    let is_sent = |zone: &str| sent.lines().any(|line| line.strip_prefix("TZID:") == Some(zone));
    let missing = used.iter().filter(|zone| event.zones.defined(zone).is_none() && !is_sent(zone));
    missing.filter_map(|zone| zone_definition(zone, &from)).map(|text| text.replace("\r\n", newline)).collect()
}

/// The components that a field holds as texts; `None` if it is not there or makes no sense.
fn wanted_blocks(
    fields: &Fields,
    name: &str,
    draft: &mut Draft<'_, '_>,
) -> Option<Vec<(String, Vec<Property<'static>>)>> {
    let field = format!("{PROPERTY}{name}");
    let texts: Vec<&str> = match fields.get(&field)? {
        Value::Null => Vec::new(),
        Value::Text(text) => vec![text],
        Value::List(list) => list.iter().filter_map(Value::as_text).collect(),
        _ => Vec::new(),
    };
    let parsed: Option<Vec<_>> =
        texts.into_iter().map(|text| parse(text, name).map(|lines| (text.to_owned(), lines))).collect();
    if parsed.is_none() {
        draft.refuse(&Name::from(field));
    }
    parsed
}

fn render(lines: &[Property<'_>], newline: &str) -> String {
    lines.iter().map(|line| line.render(Format::Calendar, newline)).collect()
}

/// An event must say when it was written.
fn with_stamp(mut lines: Vec<Property<'_>>) -> Vec<Property<'_>> {
    if !lines.iter().any(|line| line.name == "DTSTAMP") {
        lines.insert(1.min(lines.len()), Property::new("DTSTAMP", &[], Moment::now().file()));
    }
    lines
}

/// Start, end, zone and whole days belong together: if one of them changes, the lines are made of all.
fn set_times(event: &Event<'_>, fields: &Fields, newline: &str, draft: &mut Draft<'_, '_>) {
    // An end may stand in a zone that no field tells: where nothing is to change, the lines stay.
    let held = event.fields().unwrap_or_default();
    let stays = |name: &&str| fields.get(name).is_none_or(|value| held.get(name) == Some(value));
    if [START, END, ZONE, ALL_DAY].iter().all(stays) {
        return;
    }
    let start = event.moment("DTSTART");
    let end = start.as_ref().and_then(|start| event.end(start));
    let zone = match fields.get(ZONE) {
        Some(value) => value.as_text().filter(|zone| !zone.is_empty()).map(str::to_owned),
        None => start.as_ref().and_then(|start| start.zone.clone()),
    };
    let all_day = match fields.get(ALL_DAY) {
        Some(Value::Bool(all_day)) => *all_day,
        _ => {
            fields.text(START).map_or_else(|| start.as_ref().is_some_and(Moment::is_day), |start| !start.contains('T'))
        }
    };
    let mut moment = |name: &str, now: Option<&Moment>| {
        let told = match fields.get(name) {
            Some(value) if value.is_empty() => None,
            Some(value) => {
                let moment = value.as_text().and_then(|text| Moment::of_field(text, zone.as_deref()));
                if moment.is_none() {
                    draft.refuse(&Name::from(name));
                }
                moment.or_else(|| now.cloned())
            }
            None => now.and_then(|now| Moment::of_field(&now.field(), zone.as_deref())),
        };
        told.map(|told| if all_day { told.day() } else { told.with_clock(zone.as_deref()) })
    };
    let new_start = moment(START, start.as_ref());
    let new_end = moment(END, end.as_ref());
    let Some(new_start) = new_start else { return draft.refuse(&Name::from(START)) };
    let start_changed = start.as_ref() != Some(&new_start);
    if start_changed {
        set_moment(event, "DTSTART", Some(&new_start), newline, draft);
    }
    let implied = |start: &Moment| if start.is_day() { start.plus(86_400) } else { Some(start.clone()) };
    let says_end = event.line("DTEND").or(event.line("DURATION")).is_some();
    let was_implied = !says_end && end == start.as_ref().and_then(implied);
    if end != new_end || start_changed && (event.line("DURATION").is_some() || was_implied) {
        // What the start implies needs no line.
        let needs_line = says_end || new_end != implied(&new_start);
        set_moment(event, "DTEND", new_end.as_ref().filter(|_| needs_line), newline, draft);
        if let Some(line) = event.sheet.lines.iter().position(|line| line.has_colon && line.is("DURATION")) {
            draft.replace_raw(line, String::new());
        }
    }
}

/// Writes a moment into its line, which keeps its other parameters.
fn set_moment(event: &Event<'_>, name: &str, moment: Option<&Moment>, newline: &str, draft: &mut Draft<'_, '_>) {
    let at = event.sheet.lines.iter().position(|line| line.has_colon && line.is(name));
    let old = at.map(|at| &event.sheet.lines[at]);
    let line = moment.map(|moment| {
        let mut property = old.map_or_else(|| Property::new(name, &[], ""), |old| Property::of(old, Format::Calendar));
        property.remove("VALUE");
        property.remove("TZID");
        if moment.is_day() {
            property.set("VALUE", vec!["DATE".into()]);
        } else if let Some(zone) = moment.zone.as_deref().filter(|_| !moment.is_utc()) {
            property.set("TZID", vec![event.zones.defined(zone).unwrap_or(zone).to_owned().into()]);
        }
        property.value = moment.file().into();
        property.render(Format::Calendar, newline)
    });
    match (at, line) {
        (Some(at), line) => draft.replace_raw(at, line.unwrap_or_default()),
        (None, Some(line)) => draft.append_raw(line),
        (None, None) => {}
    }
}

/// The first alarm by its minutes and form, the others as they are.
fn set_alarms(event: &Event<'_>, fields: &Fields, newline: &str, draft: &mut Draft<'_, '_>) {
    let form_name = format!("{FORM}alerts/1");
    let mut alarms = event.alarms();
    let first = alarms.iter().position(|alarm| alarm.minutes.is_some()).map(|index| alarms.remove(index));
    let minutes = match fields.get(ALERT) {
        Some(Value::Int(minutes)) => Some(*minutes),
        Some(_) => None,
        None => first.as_ref().and_then(|alarm| alarm.minutes),
    };
    let form = match fields.get(&form_name) {
        Some(value) => value.as_text().filter(|form| !form.is_empty()).unwrap_or(PLAIN_ALARM).to_owned(),
        None => first.as_ref().map_or_else(|| PLAIN_ALARM.to_owned(), |alarm| alarm.form.clone()),
    };
    let is_new = first.as_ref().map(|alarm| (alarm.minutes, &alarm.form)) != minutes.map(|some| (Some(some), &form));
    if is_new {
        let text = minutes.map(|minutes| form.replace("TRIGGER:*", &format!("TRIGGER:-PT{minutes}M")));
        match text.map(|text| parse(&text, "VALARM")) {
            Some(None) => draft.refuse(&Name::from(form_name)),
            lines => {
                let text = lines.flatten().map(|lines| render(&lines, newline));
                match (&first, text) {
                    (Some(alarm), text) => draft.replace_raw(alarm.at, text.unwrap_or_default()),
                    (None, Some(text)) => draft.append_raw(text),
                    (None, None) => {}
                }
            }
        }
    }
    let Some(mut wanted) = wanted_blocks(fields, "VALARM", draft) else { return };
    for alarm in alarms {
        match wanted.iter().position(|(text, _)| *text == alarm.text) {
            Some(kept) => drop(wanted.remove(kept)),
            None => draft.replace_raw(alarm.at, String::new()),
        }
    }
    wanted.iter().for_each(|(_, lines)| draft.append_raw(render(lines, newline)));
}

/// A new calendar with one event. An event without a UID gets the write's key: the format demands one.
pub(crate) fn create(write: &Write) -> Edited {
    let newline = "\r\n";
    let made = |name: &str| write.fields.text(&format!("{MADE}{name}")).map(|value| value.replace(['\r', '\n'], " "));
    let mut skeleton = String::from("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n");
    let product = made("PRODID").unwrap_or_else(|| "-//Pairwise//vdir//EN".to_owned());
    skeleton.push_str(&Property::new("PRODID", &[], product).render(Format::Calendar, newline));
    for (name, value) in write.fields.with_prefix(MADE) {
        let name = &name[MADE.len()..];
        let stands_elsewhere = matches!(name, "BEGIN" | "END" | "VERSION" | "PRODID" | "RECURRENCE-ID");
        if let (false, Some(value), Some(_)) =
            (stands_elsewhere || EVENT.made.contains(&name), value.as_text(), Property::parse(name))
        {
            skeleton.push_str(
                &Property::new(name, &[], value.replace(['\r', '\n'], " ")).render(Format::Calendar, newline),
            );
        }
    }
    skeleton.push_str("BEGIN:VEVENT\r\n");
    let uid = write.uid.clone().unwrap_or_else(|| write.key.clone()).replace(['\r', '\n'], " ");
    skeleton.push_str(&Property::new("UID", &[], uid).render(Format::Calendar, newline));
    if let Some(original) = made("RECURRENCE-ID").as_deref().and_then(Property::parse) {
        skeleton.push_str(&original.render(Format::Calendar, newline));
    }
    for name in EVENT.made {
        let value = made(name).or_else(|| (*name == "DTSTAMP").then(|| Moment::now().file()));
        if let Some(value) = value {
            skeleton.push_str(&Property::new(*name, &[], value).render(Format::Calendar, newline));
        }
    }
    skeleton.push_str("END:VEVENT\r\nEND:VCALENDAR\r\n");
    let mut without_derived = write.clone();
    for name in ["recurring", "uid", "recurrenceId"] {
        without_derived.fields.remove(name);
    }
    let text = Text::new(skeleton.as_bytes());
    let part = cut(&text).remove(0);
    let Edit { changes, refused } = edit(&text, &part, &without_derived).unwrap_or_default();
    Edited { bytes: content::replace(&text, &changes), refused }
}

/// One event of a file as a file of its own, with the zones of the file.
pub(crate) fn alone(text: &Text<'_>, part: &Part) -> Vec<u8> {
    let outline = Outline::of(text.as_str());
    let mut out = b"BEGIN:VCALENDAR\r\n".to_vec();
    let zones = outline.named("VTIMEZONE").map(|component| &component.block);
    for block in outline.header.iter().chain(zones).chain(&part.blocks) {
        out.extend(&*text.bytes(block.span.clone()));
    }
    out.extend(b"END:VCALENDAR\r\n");
    out
}
