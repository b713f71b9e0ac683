//! What is wrong with the configuration: told all at once, each with its place and the way out.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::model::nearest;

/// A text that was read, with the name that people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// File name relative to the configuration folder, or `preset mirror`.
    pub name: String,
    /// Its text. What may be a secret is starred out, byte for byte.
    pub text: String,
}

/// A place in a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The text.
    pub source: Arc<Source>,
    /// The bytes that are meant.
    pub span: Range<usize>,
}

impl Mark {
    /// Line and column, both counted from 1; columns in characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// Where, if it is in a file.
    pub mark: Option<Mark>,
    /// What was expected there.
    pub expected: String,
    /// Other places that have to do with it.
    pub also: Vec<(Mark, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A mistake at a place.
    pub fn at(mark: &Mark, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Problem { mark: Some(mark.clone()), expected: expected.into(), ..Problem::new(message) }
    }

    /// A mistake that is in no file.
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), mark: None, expected: String::new(), also: Vec::new(), help: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another place that has to do with it.
    #[must_use]
    pub fn also(mut self, mark: &Mark, label: impl Into<String>) -> Self {
        self.also.push((mark.clone(), label.into()));
        self
    }

    /// In one line, for reports: place, message, what was expected, what to do.
    #[must_use]
    pub fn sentence(&self) -> String {
        let place = self.mark.as_ref().map(|mark| format!("{mark}: ")).unwrap_or_default();
        let rest = [Some(&self.expected), self.help.as_ref()].into_iter().flatten().filter(|text| !text.is_empty());
        rest.fold(format!("{place}{}", self.message), |line, text| format!("{line}; {text}"))
    }

    /// With the source's lines, as a compiler shows it.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut group = Group::with_title(Level::ERROR.primary_title(&self.message));
        if let Some(mark) = &self.mark {
            let mut snippet = snippet(mark, &self.expected, AnnotationKind::Primary);
            for (other, label) in self.also.iter().filter(|(other, _)| other.source == mark.source) {
                snippet = snippet.annotation(AnnotationKind::Context.span(visible(other)).label(label.as_str()));
            }
            group = group.element(snippet);
        }
        let elsewhere =
            self.also.iter().filter(|(other, _)| self.mark.as_ref().is_none_or(|mark| mark.source != other.source));
        for (other, label) in elsewhere {
            group = group.element(snippet(other, label, AnnotationKind::Context));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

fn snippet<'a>(mark: &'a Mark, label: &'a str, kind: AnnotationKind) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let annotation = kind.span(visible(mark));
    let annotation = if label.is_empty() { annotation } else { annotation.label(label) };
    Snippet::source(&mark.source.text).path(&mark.source.name).annotation(annotation)
}

/// Only the first line of what is meant: a whole table would fill the screen.
fn visible(mark: &Mark) -> Range<usize> {
    let text = mark.source.text.get(mark.span.clone()).unwrap_or_default();
    let first = text.lines().next().map_or(0, str::len);
    mark.span.start..mark.span.start + first
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// `{"message", "file", "line", "column", "expected", "help"}`.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.mark.as_ref().map(|mark| (mark.source.name.as_str(), mark.line_column()));
        let mut object = serializer.serialize_struct("Problem", 6)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("file", &place.map(|(file, _)| file))?;
        object.serialize_field("line", &place.map(|(_, (line, _))| line))?;
        object.serialize_field("column", &place.map(|(_, (_, column))| column))?;
        object.serialize_field("expected", &Some(&self.expected).filter(|text| !text.is_empty()))?;
        object.serialize_field("help", &self.help)?;
        object.end()
    }
}

/// All mistakes that were found, in the order of their places. Never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a mistake. The same one is told once.
    pub fn push(&mut self, problem: Problem) {
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Notes several.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }

    /// True if nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Ok` if nothing is wrong.
    ///
    /// # Errors
    /// The problems, if there are any, in the order of their places.
    pub fn check(mut self) -> Result<(), Problems> {
        self.0.sort_by(|a, b| {
            let place =
                |problem: &Problem| problem.mark.as_ref().map(|mark| (mark.source.name.clone(), mark.span.start));
            place(a).cmp(&place(b))
        });
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// With the sources' lines.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        self.0.iter().map(|problem| problem.render(colour)).collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Error for Problems {}

impl From<Vec<Problem>> for Problems {
    fn from(found: Vec<Problem>) -> Self {
        let mut problems = Problems::default();
        problems.extend(found);
        problems
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

/// `did you mean …?` for the candidate that is spelled most alike, else `expected one of …`.
#[must_use]
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => String::new(),
        None => format!("expected {}", one_of(&candidates)),
    }
}

/// `a`, `b` or `c`.
#[must_use]
pub fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
