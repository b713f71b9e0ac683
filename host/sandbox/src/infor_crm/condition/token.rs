//! Words, literals and signs of a condition.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

use crate::infor_crm::answer::Refusal;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or an operator in words.
    Word(String),
    Text(String),
    Number(f64),
    /// Milliseconds since 1970.
    Time(i64),
    /// One of `( ) , . + -`.
    Sign(char),
}

/// Cuts a condition into tokens. Times without a zone are local times of the server.
pub(super) fn tokens(text: &str, zone_minutes: i64) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '\'' | '"' => Token::Text(string(&mut chars, c)?),
            '@' => {
                let inside: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '@').collect();
                Token::Time(time(&inside, zone_minutes)?)
            }
            c if c.is_ascii_digit() => {
                let mut end = start + 1;
                while let Some((at, _)) = chars.next_if(|(_, c)| c.is_ascii_digit() || *c == '.') {
                    end = at + 1;
                }
                let number = &text[start..end];
                Token::Number(number.parse().map_err(|_| Refusal::bad_where(format!("{number} is no number.")))?)
            }
            c if c.is_alphabetic() || c == '_' || c == '$' => {
                let mut word = String::from(c);
                while let Some((_, c)) = chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                Token::Word(word)
            }
            '(' | ')' | ',' | '.' | '+' | '-' => Token::Sign(c),
            c => return Err(Refusal::bad_where(format!("'{c}' was not expected at position {}.", start + 1))),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// A quote is doubled to stand in a text; a backslash takes the next character as it is.
fn string(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, quote: char) -> Result<String, Refusal> {
    let mut text = String::new();
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, c)| c)),
            c if c == quote && chars.next_if(|(_, c)| *c == quote).is_none() => return Ok(text),
            c => text.push(c),
        }
    }
    Err(Refusal::bad_where("A text is not closed."))
}

fn time(text: &str, zone_minutes: i64) -> Result<i64, Refusal> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    let local = local.map_err(|_| Refusal::bad_where(format!("'{text}' is no date or time.")))?;
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| Refusal::bad_where("No such time."))?;
    Ok(utc.timestamp().as_millisecond() - zone_minutes * 60_000)
}
