//! Checks a tree against a JSON Schema and tells every mistake at its place: for our own files, and for the settings of a
//! connection, whose schema its plugin brings.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value as Json;

use super::document::{Node, Tree, dotted};
use super::problem::{Problem, one_of, suggest};
use crate::model::nearest;

/// Whose keys are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Our own: keys of later versions are told from unknown ones.
    Host,
    /// A plugin's.
    Plugin,
}

/// A JSON Schema, made ready once.
#[derive(Debug)]
pub struct Schema {
    json: Json,
    owner: Owner,
    validator: Result<Validator, String>,
}

impl Schema {
    /// Makes a schema ready. One that is not valid itself is told when it is used.
    #[must_use]
    pub fn new(json: Json, owner: Owner) -> Self {
        let validator = jsonschema::options().build(&json).map_err(|error| error.masked().to_string());
        Schema { json, owner, validator }
    }

    /// The schema itself.
    #[must_use]
    pub fn json(&self) -> &Json {
        &self.json
    }

    /// What is wrong with the part of `root` that stands at `pointer`.
    #[must_use]
    pub fn check(&self, root: &Node, pointer: &str) -> Vec<Problem> {
        let validator = match &self.validator {
            Ok(validator) => validator,
            // A plugin without a usable schema says itself what it does not like, when it is started.
            Err(_) if self.owner == Owner::Plugin => return Vec::new(),
            Err(error) => return vec![Problem::new(format!("the schema itself is not valid: {error}"))],
        };
        let Some(node) = root.at(pointer) else { return Vec::new() };
        let mut check = Check { schema: &self.json, root, pointer, owner: self.owner, problems: Vec::new() };
        let json = node.to_json();
        validator.iter_errors(&json).for_each(|error| check.tell(&error));
        check.problems
    }
}

/// Keys that the design knows and this version does not, by the table they stand in. They must never be taken for working.
fn later_keys(table: &[&str]) -> &'static [&'static str] {
    match table {
        [] => &["latched", "limits", "may_lose", "open", "required", "settings", "stamps", "stop_grace", "templates"],
        ["directory"] => &["unique", "verify"],
        ["streams", _] => &[
            "acknowledge",
            "container",
            "copies",
            "expand",
            "extends",
            "fields_default",
            "first_run",
            "locked",
            "mask",
            "mode",
            "notify",
            "participants",
            "placement",
            "replace",
            "requires",
            "use",
            "window",
            "write",
        ],
        ["streams", _, "fields", _] => &["entity", "map_change", "optional", "required", "template", "with_entity"],
        ["streams", _, "match"] => &["search"],
        ["streams", _, "match", "several", _] => &["prefer"],
        ["streams", _, "create", _] => &["as", "set"],
        ["streams", _, "admit" | "follow", _, _] => &["removed"],
        ["streams", _, "guard", "identity"] => &["each", "lock_at", "side"],
        ["streams", _, "removed", _, _] => &["set"],
        _ => &[],
    }
}

/// Values likewise, by their key.
fn later_values(key: &str) -> &'static [&'static str] {
    match key {
        "from" => &["left", "right"],
        "deleted" | "left_scope" => &["delete_if_born_here"],
        "missing" => &["offer"],
        "without_key" => &["refuse", "skip"],
        _ => &[],
    }
}

struct Check<'a> {
    schema: &'a Json,
    root: &'a Node,
    pointer: &'a str,
    owner: Owner,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn tell(&mut self, error: &ValidationError<'_>) {
        let at = format!("{}{}", self.pointer, error.instance_path().as_str());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.properties_beside(error);
                for key in unexpected {
                    self.unknown_key(&at, key, &known);
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let problem = Problem::at(self.root.place(&at), format!("`{key}` is missing"), "");
                self.problems.push(problem.help(format!("add `{key} = …` to {}", table_name(&at))));
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self.tell_form(error, &at, context),
            Kind::Enum { .. } | Kind::Constant { .. } => self.wrong_word(&at, &words(error)),
            _ => self.wrong_value(&at, &expectation(error)),
        }
    }

    /// A value that fits none of several forms. Its type tells which form was meant.
    fn tell_form(&mut self, error: &ValidationError<'_>, at: &str, forms: &[Vec<ValidationError<'static>>]) {
        let here = error.instance_path().as_str();
        let meant: Vec<usize> =
            (0..forms.len()).filter(|form| !forms[*form].iter().any(|error| misfits(error, here))).collect();
        let table = self.root.at(at).and_then(Node::table);
        match (meant.as_slice(), table) {
            ([form], _) => forms[*form].iter().for_each(|error| self.tell(error)),
            ([], _) => {
                let keys: Vec<&str> = (0..forms.len()).filter_map(|form| self.required_key(error, form)).collect();
                let expected = expectation(error);
                match keys.as_slice() {
                    [] => self.wrong_value(at, &expected),
                    keys => {
                        self.wrong_value(at, &expected.replace("a table", &format!("a table with {}", one_of(keys))))
                    }
                }
            }
            // Tables that differ by the one key they need: `{ env = … }`, `{ file = … }`.
            (meant, Some(table)) => {
                let keys: Vec<&str> = meant.iter().filter_map(|form| self.required_key(error, *form)).collect();
                if let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) {
                    self.unknown_key(at, key, &keys);
                } else if let (1, Some(key)) = (table.len(), table.keys().next()) {
                    let form = meant.iter().find(|form| self.required_key(error, **form) == Some(key));
                    form.into_iter().flat_map(|form| &forms[*form]).for_each(|error| self.tell(error));
                } else {
                    self.wrong_value(at, &format!("a table with exactly one of {}", one_of(&keys)));
                }
            }
            (meant, None) => {
                let words: Vec<String> = meant.iter().flat_map(|form| &forms[*form]).flat_map(words).collect();
                if words.is_empty() { self.wrong_value(at, &expectation(error)) } else { self.wrong_word(at, &words) }
            }
        }
    }

    fn unknown_key(&mut self, at: &str, key: &str, known: &[&str]) {
        let mark = self.root.place(&format!("{at}{}", super::document::pointer([key])));
        let table: Vec<&str> = at.split('/').skip(1).collect();
        if self.owner == Owner::Host && later_keys(&table).contains(&key) {
            let problem = Problem::at(mark, format!("`{key}` is not supported by this version"), "");
            self.problems.push(problem.help("take it out, or use a version that has it: nothing is ignored silently"));
            return;
        }
        let problem = Problem::at(
            mark,
            format!("unknown key `{key}` in {}", table_name(at)),
            suggest(key, known.iter().copied()),
        );
        self.problems.push(match nearest(key, known.iter().copied()) {
            Some(_) if known.len() > 1 => problem.help(format!("known keys: {}", known.join(", "))),
            _ => problem,
        });
    }

    fn wrong_value(&mut self, at: &str, expected: &str) {
        let found = match self.root.at(at).map(|node| &node.tree) {
            Some(Tree::Leaf(Json::Bool(_))) => "true or false",
            Some(Tree::Leaf(Json::Number(_))) => "a number",
            Some(Tree::Leaf(Json::String(_))) => "text",
            Some(Tree::List(_)) => "a list",
            Some(Tree::Table(_)) => "a table",
            _ => "nothing",
        };
        let counts = expected.starts_with("at ") || expected.starts_with("a list of at ") || found == expected;
        let expected =
            if counts { format!("expected {expected}") } else { format!("expected {expected}, found {found}") };
        let problem = Problem::at(self.value_mark(at), format!("wrong value for `{}`", dotted(at)), expected);
        self.problems.push(if self.owner == Owner::Host && at.contains("/secrets/") {
            problem.help("this file says where a secret is, never what it is")
        } else {
            problem
        });
    }

    fn wrong_word(&mut self, at: &str, words: &[String]) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some(text) = self.root.at(at).and_then(Node::text) else {
            return self.wrong_value(at, &one_of(&words));
        };
        let expected = format!("expected {}", one_of(&words));
        let key = at.rsplit('/').next().unwrap_or_default();
        let problem = if self.owner == Owner::Host && later_values(key).contains(&text) {
            Problem::at(
                self.value_mark(at),
                format!("`{}` as `{text}` is not supported by this version", dotted(at)),
                expected,
            )
        } else {
            let problem = Problem::at(self.value_mark(at), format!("`{}` cannot be `{text}`", dotted(at)), expected);
            match nearest(text, words) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            }
        };
        self.problems.push(problem);
    }

    fn value_mark(&self, at: &str) -> &'a super::problem::Mark {
        match self.root.at(at) {
            Some(Node { tree: Tree::Leaf(_) | Tree::List(_), mark }) => mark,
            _ => self.root.place(at),
        }
    }

    /// The keys that the schema knows where it met an unknown one.
    fn properties_beside(&self, error: &ValidationError<'_>) -> Vec<&'a str> {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties =
            self.schema.pointer(parent).and_then(|schema| schema.get("properties")).and_then(Json::as_object);
        properties.map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The one key that a form of a table needs.
    fn required_key(&self, error: &ValidationError<'_>, form: usize) -> Option<&'a str> {
        let form = self.schema.pointer(error.schema_path().as_str())?.get(form)?;
        let form = match form.get("$ref").and_then(Json::as_str) {
            Some(reference) => self.schema.pointer(reference.strip_prefix('#')?)?,
            None => form,
        };
        form.get("required")?.get(0)?.as_str()
    }
}

/// Whether the value at `here` is of another type altogether.
fn misfits(error: &ValidationError<'_>, here: &str) -> bool {
    error.instance_path().as_str() == here
        && match error.kind() {
            Kind::Type { .. } => true,
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                context.iter().all(|form| form.iter().any(|error| misfits(error, here)))
            }
            _ => false,
        }
}

fn table_name(at: &str) -> String {
    if at.is_empty() { "this file".into() } else { format!("`{}`", dotted(at)) }
}

/// The words that an error would have accepted.
fn words(error: &ValidationError<'_>) -> Vec<String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match error.kind() {
        Kind::Enum { options } => options.as_array().into_iter().flatten().map(text).collect(),
        Kind::Constant { expected_value } => vec![text(expected_value)],
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => context.iter().flatten().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

/// What an error would have accepted, in words.
fn expectation(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Type { kind: TypeKind::Single(kind) } => type_name(*kind).into(),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            kinds.into_iter().map(type_name).collect::<Vec<_>>().join(" or ")
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let mut forms: Vec<String> = Vec::new();
            // A word that is missed says more than that it is text.
            let telling = |form: &'_ Vec<ValidationError<'static>>| {
                let word = form.iter().find(|error| matches!(error.kind(), Kind::Constant { .. } | Kind::Enum { .. }));
                word.or(form.first()).map(expectation)
            };
            for form in context.iter().filter_map(telling) {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
            forms.join(" or ")
        }
        Kind::Enum { .. } | Kind::Constant { .. } => {
            let words = words(error);
            one_of(&words.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MinLength { limit: 1 } => "text that is not empty".into(),
        Kind::MinItems { limit } => format!("a list of at least {limit}"),
        Kind::MaxItems { limit } => format!("a list of at most {limit}"),
        Kind::Pattern { pattern } => format!("text like {pattern}"),
        Kind::Format { format } => format!("text of the form `{format}`"),
        Kind::Required { property } => format!("a table with `{}`", property.as_str().unwrap_or_default()),
        // The value itself is left out: it may be long, and it stands in the excerpt.
        _ => error.masked().to_string(),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a table",
    }
}
