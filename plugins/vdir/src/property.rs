//! One property without the accidents of its format version: what a line says, and how a new line says it.
//!
//! vCard 2.1, 3.0 and 4.0 write the same thing in three ways (`TEL;HOME;PREF`, `TEL;TYPE=home,pref`, `TEL;TYPE=home;PREF=1`;
//! photos in `ENCODING=b` or as `data:` URI). A [`Property`] is the one form that they share, so that two cards that differ
//! only in their version hold equal fields.

use std::borrow::Cow;
use std::fmt;

use crate::lines::{self, Encoded, Line, Param, capitals, owned, split_escaped};

/// The longest line that is written, in bytes, without its line end.
const FOLD_AT: usize = 75;

/// How a file spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Format {
    V21,
    V30,
    V40,
    Calendar,
}

impl Format {
    /// By what stands after `VERSION:` in a vCard; what is unknown is read like 3.0.
    pub(crate) fn of_card(version: &str) -> Self {
        match version.trim() {
            "2.1" => Format::V21,
            "4.0" => Format::V40,
            _ => Format::V30,
        }
    }

    pub(crate) fn version(self) -> &'static str {
        match self {
            Format::V21 => "2.1",
            Format::V30 => "3.0",
            Format::V40 => "4.0",
            Format::Calendar => "2.0",
        }
    }
}

/// Properties that vCard 4 named and older cards write with an `X-` name.
const RENAMED: [(&str, &str); 3] =
    [("ANNIVERSARY", "X-ANNIVERSARY"), ("KIND", "X-ADDRESSBOOKSERVER-KIND"), ("MEMBER", "X-ADDRESSBOOKSERVER-MEMBER")];

/// Properties whose values are files, and the first half of the media types that a `TYPE` may leave out.
const BINARY: [(&str, &str); 4] =
    [("PHOTO", "image/"), ("LOGO", "image/"), ("SOUND", "audio/"), ("KEY", "application/")];

/// Properties whose values are URIs unless they say otherwise.
const URIS: [&str; 10] = ["PHOTO", "LOGO", "SOUND", "KEY", "URL", "SOURCE", "IMPP", "FBURL", "CALURI", "CALADRURI"];

/// One property. As text it reads like a content line of vCard 4 or of iCalendar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Property<'a> {
    pub(crate) group: Cow<'a, str>,
    /// In capitals, unless it starts with `X-`.
    pub(crate) name: Cow<'a, str>,
    /// In the order of their names; `TYPE` in capitals and sorted.
    pub(crate) params: Vec<(Cow<'a, str>, Vec<Cow<'a, str>>)>,
    /// Escaped as in vCard 3 and 4 and iCalendar.
    pub(crate) value: Cow<'a, str>,
}

impl<'a> Property<'a> {
    pub(crate) fn new(name: impl Into<Cow<'a, str>>, types: &[&'static str], value: impl Into<Cow<'a, str>>) -> Self {
        let mut property = Property { name: name.into(), value: value.into(), ..Property::default() };
        if !types.is_empty() {
            property.set("TYPE", types.iter().map(|&value| value.into()).collect());
        }
        property
    }

    /// What a line says.
    pub(crate) fn of(line: &Line<'a>, format: Format) -> Self {
        let is_extension = line.name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"));
        let name = if is_extension { line.name.clone() } else { capitals(line.name.clone()) };
        let mut property = Property { group: line.group.clone(), name, params: Vec::new(), value: line.value.clone() };
        if format == Format::Calendar {
            property.take_calendar_params(&line.params);
        } else {
            property.take_card_params(line, format);
        }
        property.params.sort();
        property
    }

    fn take_calendar_params(&mut self, params: &[Param<'a>]) {
        for param in params {
            let quoted = param.values.first().is_some_and(|value| value.eq_ignore_ascii_case("QUOTED-PRINTABLE"));
            if param.name != "CHARSET" && !(quoted && matches!(&*param.name, "" | "ENCODING")) {
                self.params.push((param.name.clone(), param.values.clone()));
            }
        }
    }

    fn take_card_params(&mut self, line: &Line<'a>, format: Format) {
        let mut types: Vec<Cow<'a, str>> = Vec::new();
        for param in &line.params {
            let first = param.values.first().cloned().map(capitals).unwrap_or_default();
            match (&*param.name, &*first) {
                ("CHARSET", _) | ("ENCODING" | "", "QUOTED-PRINTABLE" | "8BIT" | "7BIT" | "BASE64" | "INLINE") => {}
                ("ENCODING", "B") => {}
                ("", "URL" | "CONTENT-ID" | "CID") => self.set("VALUE", vec![first.to_ascii_lowercase().into()]),
                ("TYPE" | "", _) => param.values.iter().for_each(|value| take_types(value.clone(), &mut types)),
                ("VALUE", _) => self.set("VALUE", vec![first.to_ascii_lowercase().into()]),
                _ => self.params.push((param.name.clone(), param.values.clone())),
            }
        }
        if let Some((name, _)) = RENAMED.iter().find(|(_, old)| self.name.eq_ignore_ascii_case(old)) {
            self.name = (*name).into();
        }
        if line.encoding() == Encoded::Base64 {
            self.take_base64(&mut types);
        }
        if types.iter().any(|value| value == "PREF") {
            self.set("PREF", vec!["1".into()]);
        }
        let noise: &str = match &*self.name {
            "EMAIL" => "INTERNET",
            "TEL" => "VOICE",
            _ => "",
        };
        types.retain(|value| value != "PREF" && value != noise && !value.is_empty());
        types.sort();
        types.dedup();
        if !types.is_empty() {
            self.set("TYPE", types);
        }
        self.drop_default_value_type();
        if format == Format::V21 && has_no_comma_lists(&self.name) {
            self.value = split_escaped(&self.value, ',').collect::<Vec<_>>().join("\\,").into();
        }
    }

    fn take_base64(&mut self, types: &mut Vec<Cow<'a, str>>) {
        match BINARY.iter().find(|(name, _)| *name == self.name) {
            Some((_, family)) => {
                let media = match types.iter().position(|value| value != "PREF") {
                    Some(index) => types.remove(index).to_ascii_lowercase(),
                    None => String::new(),
                };
                let family = if media.is_empty() || media.contains('/') { "" } else { family };
                self.value = format!("data:{family}{media};base64,{}", self.value).into();
                self.params.retain(|(name, _)| name != "VALUE");
            }
            None => self.set("ENCODING", vec!["b".into()]),
        }
    }

    fn drop_default_value_type(&mut self) {
        let name = &*self.name;
        let Some(kind) = self.first("VALUE") else { return };
        let is_default = match kind {
            "uri" | "url" => URIS.contains(&name),
            "text" => !URIS.contains(&name) && !matches!(name, "BDAY" | "ANNIVERSARY" | "UID"),
            "date" | "date-time" | "date-and-or-time" => matches!(name, "BDAY" | "ANNIVERSARY"),
            _ => false,
        };
        if kind == "uri" && name == "TEL" {
            if let Some(number) = self.value.get(..4).filter(|start| start.eq_ignore_ascii_case("tel:")) {
                self.value = self.value[number.len()..].to_owned().into();
                self.remove("VALUE");
            }
        } else if is_default {
            self.remove("VALUE");
        }
    }

    /// The values of a parameter.
    pub(crate) fn param(&self, name: &str) -> &[Cow<'a, str>] {
        self.params.iter().find(|(key, _)| key == name).map(|(_, values)| values.as_slice()).unwrap_or_default()
    }

    /// The first value of a parameter.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.param(name).first().map(|value| &**value)
    }

    pub(crate) fn has_type(&self, wanted: &str) -> bool {
        self.param("TYPE").iter().any(|value| value == wanted)
    }

    pub(crate) fn set(&mut self, name: impl Into<Cow<'a, str>>, values: Vec<Cow<'a, str>>) {
        let name = name.into();
        self.remove(&name);
        self.params.push((name, values));
        self.params.sort();
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.params.retain(|(key, _)| key != name);
    }

    /// True if the value holds nothing but separators.
    pub(crate) fn is_empty(&self) -> bool {
        self.value.chars().all(|char| matches!(char, ';' | ',' | ' ' | '\t'))
    }

    /// The same, of what outlives the file.
    pub(crate) fn into_owned(self) -> Property<'static> {
        let param = |(name, values): (_, Vec<_>)| (owned(name), values.into_iter().map(owned).collect());
        Property {
            group: owned(self.group),
            name: owned(self.name),
            params: self.params.into_iter().map(param).collect(),
            value: owned(self.value),
        }
    }

    /// `item1.TEL;TYPE=HOME`: everything but the value.
    pub(crate) fn head(&self) -> String {
        let mut head = begin(&self.group, &self.name);
        for (name, values) in &self.params {
            push_param(&mut head, name, values);
        }
        head
    }

    /// The inverse of printing. Without a colon it is a head without a value.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (head, value) = match lines::split_quoted(text, ':').next() {
            Some(head) if head.len() < text.len() => (head, &text[head.len() + 1..]),
            _ => (text, ""),
        };
        let mut parts = lines::split_quoted(head, ';');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let (group, name) = name.rsplit_once('.').unwrap_or(("", name));
        let is_token =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if name.is_empty() || !is_token(name) || !is_token(group) || value.contains(['\r', '\n']) {
            return None;
        }
        let mut property = Property { group: group.into(), name: name.into(), params: Vec::new(), value: value.into() };
        for param in parts.map(lines::param_of) {
            if param.raw.contains(['\r', '\n']) {
                return None;
            }
            property.params.push((param.name, param.values));
        }
        property.params.sort();
        Some(property)
    }

    /// As a new line of a file, folded, with its line end.
    pub(crate) fn render(&self, format: Format, newline: &str) -> String {
        let mut property = if format < Format::V40 { self.for_old_cards(format) } else { Cow::Borrowed(self) };
        let mut head = begin(&property.group, &property.name);
        for (name, values) in &property.params {
            match (format, &**name) {
                (Format::V21, "TYPE") if values.iter().all(|value| is_bare(value)) => {
                    for value in values {
                        head.push(';');
                        head.push_str(value);
                    }
                }
                (Format::V40, "TYPE") => {
                    let values: Vec<_> = values.iter().map(|value| value.to_ascii_lowercase().into()).collect();
                    push_param(&mut head, name, &values);
                }
                _ => push_param(&mut head, name, values),
            }
        }
        if format == Format::V21 && has_no_comma_lists(&property.name) {
            property.to_mut().value = property.value.replace("\\,", ",").into();
        }
        if format == Format::V21 && property.first("ENCODING") == Some("BASE64") {
            return render_base64(&head, &property.value, newline);
        }
        render_line(head, &property.value, format, newline)
    }

    /// In the words of vCard 2.1 and 3.0.
    fn for_old_cards(&self, format: Format) -> Cow<'_, Property<'a>> {
        let old_name = RENAMED.iter().find(|(name, _)| *name == self.name).map(|(_, old)| *old);
        let family = BINARY.iter().find(|(name, _)| *name == self.name).map(|(_, family)| *family);
        let is_plain = self.params.is_empty() && !matches!(&*self.name, "EMAIL" | "TEL");
        if is_plain && old_name.is_none() && family.is_none() {
            return Cow::Borrowed(self);
        }
        let mut property = self.clone();
        if let Some(old) = old_name {
            property.name = old.into();
        }
        let mut types = property.param("TYPE").to_vec();
        match &*property.name {
            "EMAIL" => types.insert(0, "INTERNET".into()),
            "TEL" if types.iter().all(|value| matches!(&**value, "HOME" | "WORK")) => {
                types.push("VOICE".into());
            }
            _ => {}
        }
        if property.first("PREF") == Some("1") {
            property.remove("PREF");
            types.push("PREF".into());
        }
        let base64 = if format == Format::V21 { "BASE64" } else { "b" };
        if property.first("ENCODING") == Some("b") {
            property.set("ENCODING", vec![base64.into()]);
        }
        if let Some(family) = family {
            let data = property.value.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
            if let Some((media, data)) = data.map(|(media, data)| (media.to_owned(), data.to_owned())) {
                property.set("ENCODING", vec![base64.into()]);
                match media.strip_prefix(family) {
                    Some(short) => types.insert(0, short.to_ascii_uppercase().into()),
                    None if !media.is_empty() => types.insert(0, media.into()),
                    None => {}
                }
                property.value = data.into();
            } else if property.param("VALUE").is_empty() {
                property.set("VALUE", vec!["uri".into()]);
            }
        }
        if !types.is_empty() {
            property.set("TYPE", types);
        }
        Cow::Owned(property)
    }
}

impl fmt::Display for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.head(), self.value)
    }
}

/// A line whose value alone changed: what stands before the colon stays as it was written, except for what says how the old
/// value was wrapped.
pub(crate) fn render_with_head_of(line: &Line<'_>, value: &str, format: Format, newline: &str) -> String {
    let mut head = begin(&line.group, &line.name);
    for param in &line.params {
        let first = param.values.first().cloned().map(capitals).unwrap_or_default();
        let wraps = match &*param.name {
            "CHARSET" => true,
            "ENCODING" | "" => matches!(&*first, "QUOTED-PRINTABLE" | "8BIT" | "7BIT"),
            _ => false,
        };
        if !wraps {
            head.push(';');
            head.push_str(&param.raw);
        }
    }
    if format == Format::V21 && has_no_comma_lists(&line.name) {
        return render_line(head, &value.replace("\\,", ","), format, newline);
    }
    render_line(head, value, format, newline)
}

/// The types that a value holds: some writers quote the whole list.
fn take_types<'a>(value: Cow<'a, str>, types: &mut Vec<Cow<'a, str>>) {
    match value {
        Cow::Borrowed(value) => types.extend(value.split(',').map(|value| capitals(value.trim().into()))),
        Cow::Owned(value) => types.extend(value.split(',').map(|value| value.trim().to_ascii_uppercase().into())),
    }
}

/// In vCard 2.1 a comma separates nothing in names and addresses, and needs no backslash.
fn has_no_comma_lists(name: &str) -> bool {
    name.eq_ignore_ascii_case("N") || name.eq_ignore_ascii_case("ADR")
}

fn render_line(mut head: String, value: &str, format: Format, newline: &str) -> String {
    // Version 2.1 folds only where white space stands; long lines are allowed.
    let is_plain = format == Format::V21 && value.is_ascii() && !has_line_break(value);
    if format != Format::V21 || is_plain {
        head.push(':');
        head.push_str(value);
        if head.len() > FOLD_AT && !is_plain {
            return fold(&head, newline);
        }
        head.push_str(newline);
        return head;
    }
    let charset = if value.is_ascii() { "" } else { ";CHARSET=UTF-8" };
    let mut line = format!("{head}{charset};ENCODING=QUOTED-PRINTABLE:");
    let mut width = line.len();
    let mut push = |text: &str| {
        let mut text = Cow::Borrowed(text);
        if width + text.len() > FOLD_AT {
            line.push('=');
            line.push_str(newline);
            width = 0;
            // What begins a line must not look like the beginning or end of a card.
            if let [letter @ (b'A'..=b'Z' | b'a'..=b'z')] = text.as_bytes() {
                text = format!("={letter:02X}").into();
            }
        }
        line.push_str(&text);
        width += text.len();
    };
    let mut chars = value.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('\\', Some('n' | 'N')) => {
                chars.next();
                push("=0D=0A");
            }
            ('\\', Some(&next)) if next.is_ascii() => {
                chars.next();
                push(&format!("\\{next}"));
            }
            ('=', _) => push("=3D"),
            (' '..='~', _) => push(char.encode_utf8(&mut [0; 4])),
            _ => {
                let mut encoded = String::with_capacity(12);
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    encoded.push_str(&format!("={byte:02X}"));
                }
                push(&encoded);
            }
        }
    }
    line.push_str(newline);
    line
}

fn has_line_break(value: &str) -> bool {
    let mut escaped = false;
    value.chars().any(|char| {
        let found = escaped && matches!(char, 'n' | 'N');
        escaped = char == '\\' && !escaped;
        found
    })
}

/// As Outlook writes it: indented, with a blank line at the end.
fn render_base64(head: &str, value: &str, newline: &str) -> String {
    let mut out = format!("{head}:{newline}");
    let mut rest = value;
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.floor_char_boundary(FOLD_AT - 1));
        out.push(' ');
        out.push_str(line);
        out.push_str(newline);
        rest = tail;
    }
    out.push_str(newline);
    out
}

/// Folds at 75 bytes, never inside a character.
fn fold(line: &str, newline: &str) -> String {
    let mut out = String::with_capacity(line.len() + line.len() / 25 + 2);
    let mut rest = line;
    let mut width = FOLD_AT;
    while rest.len() > width {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(width));
        out.push_str(head);
        out.push_str(newline);
        out.push(' ');
        rest = tail;
        width = FOLD_AT - 1;
    }
    out.push_str(rest);
    out.push_str(newline);
    out
}

/// The beginning of a line, with room for most of them.
fn begin(group: &str, name: &str) -> String {
    let mut head = String::with_capacity(FOLD_AT + 2);
    if !group.is_empty() {
        head.push_str(group);
        head.push('.');
    }
    head.push_str(name);
    head
}

fn push_param(head: &mut String, name: &str, values: &[Cow<'_, str>]) {
    head.push(';');
    if !name.is_empty() {
        head.push_str(name);
        head.push('=');
    }
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            head.push(',');
        }
        let value = lines::plain(value, &['"']);
        let quote = if value.contains([';', ':', ',']) { "\"" } else { "" };
        head.extend([quote, &*value, quote]);
    }
}

fn is_bare(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Text as a value, separators and line breaks escaped.
pub(crate) fn escape(text: Cow<'_, str>, format: Format) -> Cow<'_, str> {
    if !text.contains(['\\', ';', ',', '\r', '\n']) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.push_str("\\\\"),
            ';' => out.push_str("\\;"),
            ',' if format != Format::V21 => out.push_str("\\,"),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' | '\n' => out.push_str("\\n"),
            _ => out.push(char),
        }
    }
    out.into()
}

/// A URI, address or number as a value: separators are part of it.
pub(crate) fn escape_whole(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.trim().len() == text.len() && !text.contains(['\\', '\r', '\n']) {
        return text;
    }
    text.trim().replace('\\', "\\\\").replace("\r\n", "\\n").replace(['\r', '\n'], "\\n").into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests {
    use super::*;
    use crate::lines::Text;

    fn neutral(line: &str, format: Format) -> String {
        let text = Text::new(line.as_bytes());
        let lines = text.lines(0..line.len(), 1).unwrap();
        Property::of(&lines[0], format).to_string()
    }

    #[test]
    fn versions_agree() {
        for (old, three, four) in [
            (
                "TEL;HOME;PREF;VOICE:1",
                "TEL;TYPE=home,voice;type=pref:1",
                "TEL;PREF=1;VALUE=uri;TYPE=\"home,voice\":tel:1",
            ),
            ("EMAIL;INTERNET:a@b", "email;type=INTERNET:a@b", "EMAIL:a@b"),
            (
                "PHOTO;JPEG;ENCODING=BASE64:\n AAA\n A\n",
                "PHOTO;TYPE=JPEG;ENCODING=b:AAAA",
                "PHOTO:data:image/jpeg;base64,AAAA",
            ),
            ("LOGO;VALUE=URL:http://x/y", "LOGO;VALUE=uri:http://x/y", "LOGO:http://x/y"),
            ("X-ANNIVERSARY:2001-02-03", "X-Anniversary;VALUE=date:2001-02-03", "ANNIVERSARY:2001-02-03"),
            ("ADR;WORK:;;A, B;C", "ADR;TYPE=WORK:;;A\\, B;C", "ADR;TYPE=work:;;A\\, B;C"),
            ("X-B;ENCODING=BASE64:AA A=", "X-B;ENCODING=b:AAA=", "X-B;ENCODING=b:AAA="),
            ("NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab", "NOTE:a\\nb", "NOTE:a\\nb"),
        ] {
            let want = neutral(four, Format::V40);
            assert_eq!(neutral(old, Format::V21), want);
            assert_eq!(neutral(three, Format::V30), want);
            for format in [Format::V21, Format::V30, Format::V40] {
                let line = Property::parse(&want).unwrap().render(format, "\r\n");
                assert_eq!(neutral(&line, format), want, "{line}");
            }
        }
    }

    #[test]
    fn a_group_and_odd_parameters_survive() {
        for text in ["item1.X-ABLabel:B\u{fc}ro", "X-A;X=\"a:b,c\",d;Y=:v:w", "X-A;;Y=1:", "FN;ALTID=1;LANGUAGE=de:x"] {
            assert_eq!(Property::parse(text).unwrap().to_string(), text);
        }
        assert!(Property::parse("no name here").is_none() && Property::parse("").is_none());
        assert!(Property::parse("X-A:one\nEND:VCARD").is_none() && Property::parse("X-A;B=\n:x").is_none());
    }

    #[test]
    fn lines_are_folded_between_characters() {
        let value = "Grüße, ".repeat(30);
        let line = Property::new("NOTE", &[], escape((&*value).into(), Format::V40)).render(Format::V40, "\r\n");
        assert!(line.lines().all(|line| line.len() <= 75), "{line}");
        assert_eq!(neutral(&line, Format::V40), format!("NOTE:{}", value.replace(',', "\\,")));
        let line = Property::new("NOTE", &[], escape((&*value).into(), Format::V21)).render(Format::V21, "\r\n");
        assert!(line.is_ascii() && line.lines().all(|line| line.len() <= 76), "{line}");
        assert_eq!(neutral(&line, Format::V21), format!("NOTE:{value}"));
    }
}
