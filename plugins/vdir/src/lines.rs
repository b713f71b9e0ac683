//! A file as content lines that can be put back byte for byte, and what each of them says.
//!
//! `vparser` cuts the text where lines begin and end. This module adds what vCard 2.1 does beyond folding: quoted-printable
//! with soft line breaks, base64 without indentation, and values in old charsets.

use std::borrow::Cow;
use std::ops::Range;

use encoding_rs::{Encoding, WINDOWS_1252};

/// A card or calendar that cannot be read: where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct Broken {
    /// Counted from 1, in the file.
    pub(crate) line: usize,
    /// What was found and what was expected.
    pub(crate) what: String,
}

impl Broken {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Self {
        Broken { line, what: what.into() }
    }
}

/// The content of a file as characters. A file that is not UTF-8 is read with one character for each byte, so that it can be
/// cut into lines all the same; the values of its lines are decoded one by one.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    chars: Cow<'a, str>,
    bytewise: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text { chars: Cow::Borrowed(text), bytewise: false },
            Err(_) => Text { chars: Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()), bytewise: true },
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.chars
    }

    /// The bytes of a part, exactly as they stand in the file.
    pub(crate) fn bytes(&self, span: Range<usize>) -> Cow<'_, [u8]> {
        let part = &self.chars[span];
        if self.bytewise { Cow::Owned(bytes_of(part)) } else { Cow::Borrowed(part.as_bytes()) }
    }

    /// Cuts a part into logical lines. `first` is the number of its first line in the file.
    pub(crate) fn lines(&self, span: Range<usize>, first: usize) -> Result<Vec<Line<'_>>, Broken> {
        let part = &self.chars[span.clone()];
        let mut pieces = Pieces { parser: vparser::Parser::new(part), part, at: 0, number: first, held: None };
        let mut lines = Vec::with_capacity(24);
        while let Some(piece) = pieces.next() {
            let mut line = Line::read(part, &piece, &mut pieces, self.bytewise)?;
            line.span = span.start + line.span.start..span.start + line.span.end;
            lines.push(line);
        }
        Ok(lines)
    }
}

/// The inverse of reading with one character for each byte.
fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap_or(b'?')).collect()
}

/// A line as `vparser` cuts it: unfolding done, nothing else.
struct Piece<'a> {
    line: vparser::ContentLine<'a>,
    span: Range<usize>,
    number: usize,
}

struct Pieces<'a> {
    parser: vparser::Parser<'a>,
    part: &'a str,
    at: usize,
    number: usize,
    held: Option<Piece<'a>>,
}

impl<'a> Pieces<'a> {
    fn next(&mut self) -> Option<Piece<'a>> {
        if self.held.is_some() {
            return self.held.take();
        }
        let line = self.parser.next()?;
        let end = self.part.len() - self.parser.remainder().len();
        let piece = Piece { line, span: self.at..end, number: self.number };
        self.number += self.part[piece.span.clone()].bytes().filter(|byte| *byte == b'\n').count();
        self.at = end;
        Some(piece)
    }

    fn next_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<Piece<'a>> {
        let piece = self.next()?;
        if wanted(piece.line.raw()) {
            Some(piece)
        } else {
            self.held = Some(piece);
            None
        }
    }
}

/// One content line.
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    /// Where it stands in the text, its line end included.
    pub(crate) span: Range<usize>,
    /// Its number in the file, counted from 1.
    pub(crate) number: usize,
    /// `item1` of `item1.EMAIL`.
    pub(crate) group: Cow<'a, str>,
    /// As it is written; upper and lower case are the same.
    pub(crate) name: Cow<'a, str>,
    /// In order.
    pub(crate) params: Vec<Param<'a>>,
    /// Unfolded, in UTF-8, quoted-printable undone (line breaks as `\n`, semicolons that are no separators as `\;`): the
    /// spelling of vCard 3 and 4. Base64 stays as it is.
    pub(crate) value: Cow<'a, str>,
    /// False for a blank line, and for one that no colon makes a content line.
    pub(crate) has_colon: bool,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param<'a> {
    /// As it is written, quotes included.
    pub(crate) raw: Cow<'a, str>,
    /// In capitals; empty where vCard 2.1 writes the bare value.
    pub(crate) name: Cow<'a, str>,
    /// Without quotes.
    pub(crate) values: Vec<Cow<'a, str>>,
}

impl Param<'_> {
    fn into_owned(self) -> Param<'static> {
        Param { raw: owned(self.raw), name: owned(self.name), values: self.values.into_iter().map(owned).collect() }
    }
}

/// Text that outlives the file.
pub(crate) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// Text in capitals, copied only if it is not.
pub(crate) fn capitals(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) { Cow::Owned(text.to_ascii_uppercase()) } else { text }
}

impl<'a> Line<'a> {
    fn read(part: &'a str, piece: &Piece<'a>, pieces: &mut Pieces<'a>, bytewise: bool) -> Result<Self, Broken> {
        let raw = piece.line.raw();
        let (group, name) = split_group(piece.line.name());
        let params = params_of(piece.line.params());
        let mut line = Line {
            span: piece.span.clone(),
            number: piece.number,
            group,
            name,
            params,
            value: piece.line.value(),
            has_colon: colon(raw).is_some(),
        };
        if !line.params.is_empty() {
            match line.encoding() {
                Encoded::QuotedPrintable => line.read_quoted_printable(part, raw, pieces, bytewise),
                Encoded::Base64 => line.read_base64(pieces),
                Encoded::Plain => {}
            }
        }
        if bytewise {
            line.decode()?;
        }
        Ok(line)
    }

    /// True if the name is this one, whatever its case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// True for a line of white space.
    pub(crate) fn is_blank(&self) -> bool {
        !self.has_colon && self.group.is_empty() && self.params.is_empty() && self.name.trim().is_empty()
    }

    pub(crate) fn encoding(&self) -> Encoded {
        for param in &self.params {
            if matches!(&*param.name, "ENCODING" | "") {
                let value = param.values.first().map(|value| &**value).unwrap_or_default();
                if value.eq_ignore_ascii_case("QUOTED-PRINTABLE") {
                    return Encoded::QuotedPrintable;
                }
                if value.eq_ignore_ascii_case("BASE64") || (param.name == "ENCODING" && value.eq_ignore_ascii_case("B"))
                {
                    return Encoded::Base64;
                }
            }
        }
        Encoded::Plain
    }

    fn charset(&self) -> Option<&str> {
        self.params.iter().find(|param| param.name == "CHARSET")?.values.first().map(|value| &**value)
    }

    /// Joins soft line breaks and decodes. Separators are looked for first: an encoded semicolon is none.
    fn read_quoted_printable(&mut self, part: &'a str, raw: &str, pieces: &mut Pieces<'a>, bytewise: bool) {
        let Some(colon) = colon(raw) else { return };
        while part[self.span.clone()].trim_end_matches(['\r', '\n']).ends_with('=') {
            let Some(next) = pieces.next() else { break };
            self.span.end = next.span.end;
        }
        let encoded = part[self.span.start + colon + 1..self.span.end].trim_end_matches(['\r', '\n']);
        let joined = encoded.replace("=\r\n", "").replace("=\n", "");
        let unfolded = joined.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
        let mut value = String::with_capacity(unfolded.len());
        for (index, field) in split_escaped(&unfolded, ';').enumerate() {
            if index > 0 {
                value.push(';');
            }
            let bytes = unquote(&if bytewise { bytes_of(field) } else { field.as_bytes().to_vec() });
            let text = decode(&bytes, self.charset()).unwrap_or_else(|| WINDOWS_1252.decode(&bytes).0.into_owned());
            escape_decoded(&text, &mut value);
        }
        self.value = Cow::Owned(value);
    }

    /// Takes in the lines that some writers do not indent, and drops white space.
    fn read_base64(&mut self, pieces: &mut Pieces<'a>) {
        let is_data = |raw: &str| {
            !raw.trim().is_empty()
                && raw.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        };
        while let Some(next) = pieces.next_if(is_data) {
            self.span.end = next.span.end;
            self.value.to_mut().push_str(next.line.raw());
        }
        if self.value.contains([' ', '\t']) {
            self.value.to_mut().retain(|char| !char.is_ascii_whitespace());
        }
    }

    /// From one character for each byte to text.
    fn decode(&mut self) -> Result<(), Broken> {
        let charset = self.charset().map(str::to_owned);
        let decoded = self.encoding() == Encoded::QuotedPrintable;
        let parts = [(&mut self.group, false), (&mut self.name, false), (&mut self.value, decoded)];
        for text in parts.into_iter().filter(|(text, decoded)| !decoded && !text.is_ascii()).map(|(text, _)| text) {
            let bytes = bytes_of(text);
            *text =
                Cow::Owned(decode(&bytes, charset.as_deref()).ok_or_else(|| unknown_charset(self.number, &charset))?);
        }
        for param in self.params.iter_mut().filter(|param| !param.raw.is_ascii()) {
            let bytes = bytes_of(&param.raw);
            let raw = decode(&bytes, charset.as_deref()).ok_or_else(|| unknown_charset(self.number, &charset))?;
            *param = param_of(&raw).into_owned();
        }
        Ok(())
    }
}

fn unknown_charset(line: usize, charset: &Option<String>) -> Broken {
    Broken::new(
        line,
        match charset {
            Some(charset) => format!("bytes that are neither UTF-8 nor CHARSET={charset}"),
            None => "bytes that are not UTF-8, and no CHARSET parameter that says what else they are".to_owned(),
        },
    )
}

/// How a value is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoded {
    Plain,
    QuotedPrintable,
    Base64,
}

/// Where the first colon outside of quotes is.
fn colon(raw: &str) -> Option<usize> {
    split_quoted(raw, ':').next().map(str::len).filter(|head| *head < raw.len())
}

fn split_group(name: Cow<'_, str>) -> (Cow<'_, str>, Cow<'_, str>) {
    match name {
        Cow::Borrowed(name) => match name.rsplit_once('.') {
            Some((group, name)) => (Cow::Borrowed(group), Cow::Borrowed(name)),
            None => (Cow::Borrowed(""), Cow::Borrowed(name)),
        },
        Cow::Owned(name) => match name.rsplit_once('.') {
            Some((group, name)) => (Cow::Owned(group.to_owned()), Cow::Owned(name.to_owned())),
            None => (Cow::Borrowed(""), Cow::Owned(name)),
        },
    }
}

fn params_of(text: Cow<'_, str>) -> Vec<Param<'_>> {
    match text {
        text if text.is_empty() => Vec::new(),
        Cow::Borrowed(text) => split_quoted(text, ';').map(param_of).collect(),
        Cow::Owned(text) => split_quoted(&text, ';').map(|param| param_of(param).into_owned()).collect(),
    }
}

/// `TYPE=home,"a,b"`, or a bare `HOME`.
pub(crate) fn param_of(raw: &str) -> Param<'_> {
    let (name, values) = raw.split_once('=').unwrap_or(("", raw));
    let values = split_quoted(values, ',').map(|value| plain(value.trim().trim_matches('"'), &['"'])).collect();
    Param { raw: raw.into(), name: capitals(plain(name.trim(), &['"', ':', ';'])), values }
}

/// Without characters that would end what stands around it, or open what stands behind it: no quotes make up for them.
pub(crate) fn plain<'a>(text: &'a str, unwanted: &[char]) -> Cow<'a, str> {
    if text.contains(unwanted) { text.replace(unwanted, "'").into() } else { text.into() }
}

/// Cuts at a separator that does not stand between quotes. A quote that is never closed quotes nothing.
pub(crate) fn split_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut quotes = text.matches('"').count();
    text.split(move |char| {
        if char == '"' {
            quotes -= 1;
            quoted = !quoted && quotes > 0;
        }
        char == separator && !quoted
    })
}

/// Cuts at a separator that no backslash precedes.
pub(crate) fn split_escaped(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |char| {
        let here = char == separator && !escaped;
        escaped = char == '\\' && !escaped;
        here
    })
}

/// UTF-8 if it is, else the charset if there is one and the bytes are in it.
fn decode(bytes: &[u8], charset: Option<&str>) -> Option<String> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    let encoding = Encoding::for_label(charset?.as_bytes())?;
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(Cow::into_owned)
}

/// Undoes quoted-printable; what is no valid escape stands for itself.
fn unquote(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match (byte, digit(bytes.get(index + 1)), digit(bytes.get(index + 2))) {
            (b'=', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                index += 3;
            }
            _ => {
                out.push(*byte);
                index += 1;
            }
        }
    }
    out
}

/// Decoded text in the spelling of vCard 3 and 4. A backslash that was there stays what it was.
fn escape_decoded(text: &str, out: &mut String) {
    let mut escaped = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' if chars.peek() == Some(&'\n') => continue,
            '\r' | '\n' => out.push_str("\\n"),
            ';' if !escaped => out.push_str("\\;"),
            _ => out.push(char),
        }
        escaped = char == '\\' && !escaped;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests {
    use super::*;

    fn values(bytes: &[u8]) -> Vec<String> {
        let text = Text::new(bytes);
        let lines = text.lines(0..text.as_str().len(), 1).unwrap();
        let joined: Vec<u8> = lines.iter().flat_map(|line| text.bytes(line.span.clone()).into_owned()).collect();
        assert_eq!(joined, bytes, "the lines are the file");
        lines.iter().map(|line| format!("{} {}={}", line.number, line.name, line.value)).collect()
    }

    #[test]
    fn folds_groups_and_parameters() {
        let text = Text::new(b"item1.EMAIL;TYPE=\"a;b\",home;PREF:x@\r\n example.org\r\nNOTE:a\n b\n");
        let lines = text.lines(0..text.as_str().len(), 7).unwrap();
        assert_eq!((&*lines[0].group, &*lines[0].name, &*lines[0].value), ("item1", "EMAIL", "x@example.org"));
        assert_eq!(lines[0].params[0].values, ["a;b", "home"]);
        assert_eq!((&*lines[0].params[1].name, &*lines[0].params[1].values[0]), ("", "PREF"));
        assert_eq!((lines[1].number, &*lines[1].value), (9, "ab"));
    }

    #[test]
    fn quoted_printable() {
        assert_eq!(
            values(b"NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0A=\r\ntwo: =3D; x\r\nN;QUOTED-PRINTABLE:M=C3=BCller=3Bx;A\r\nX:1\r\n"),
            ["1 NOTE=one\\ntwo: =; x", "3 N=Müller\\;x;A", "4 X=1"]
        );
        assert_eq!(values(b"NOTE;ENCODING=QUOTED-PRINTABLE:Stra=DFe=\n x\n"), ["1 NOTE=Straße x"]);
        assert_eq!(values(b"NOTE;QUOTED-PRINTABLE:=FC\nN;CHARSET=latin1:\xfc\n"), ["1 NOTE=ü", "2 N=ü"]);
        assert_eq!(values(b"N;CHARSET=SHIFT_JIS;ENCODING=QUOTED-PRINTABLE:=93=FA=96=7B\n"), ["1 N=日本"]);
    }

    #[test]
    fn old_charsets() {
        assert_eq!(
            values(b"N;CHARSET=Windows-1252:M\xfcller;A\r\nFN:\xc3\x9cber\r\nNOTE;CHARSET=GB2312:\xd6\xd0\r\n"),
            ["1 N=Müller;A", "2 FN=Über", "3 NOTE=中"]
        );
        let text = Text::new(b"A:1\nN:M\xfcller\n");
        let broken = text.lines(0..text.as_str().len(), 1).unwrap_err();
        assert_eq!(
            broken.to_string(),
            "line 2: bytes that are not UTF-8, and no CHARSET parameter that says what else they are"
        );
    }

    #[test]
    fn base64_with_and_without_indentation() {
        assert_eq!(
            values(b"PHOTO;ENCODING=BASE64;JPEG:\r\n AAAA\r\n  BBBB\r\n\r\nEND:VCARD\r\n"),
            ["1 PHOTO=AAAABBBB", "4 =", "5 END=VCARD"]
        );
        assert_eq!(values(b"PHOTO;BASE64:AAAA\nBB+=\nREV:1\n"), ["1 PHOTO=AAAABB+=", "3 REV=1"]);
    }

    #[test]
    fn what_is_no_content_line() {
        let text = Text::new(b"just words\n\nX;\"a:b\n");
        let lines = text.lines(0..text.as_str().len(), 1).unwrap();
        assert!(!lines[0].has_colon && !lines[0].is_blank() && lines[1].is_blank() && lines[2].has_colon);
    }
}
