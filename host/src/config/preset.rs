//! Presets: what differs between pairs of systems, as data. A profile's keys are laid over its preset's.

use super::document::{Entry, Node, Tree, dotted, pointer};
use super::problem::{Mark, Problem, suggest};
use crate::model::{Side, Sides};

/// The presets that are built in.
const BUILT_IN: &[(&str, &str)] = &[
    ("copy", include_str!("../../presets/copy.toml")),
    ("infor-crm-outlook", include_str!("../../presets/infor-crm-outlook.toml")),
    ("mirror", include_str!("../../presets/mirror.toml")),
];

/// Keys that say what kind of schedule it is: naming one replaces the preset's.
const SCHEDULE_KINDS: &[&str] = &["every", "times_a_day", "daily", "weekly", "monthly", "cron", "manual"];

/// What stands in front of a preset's name where its text is the source of something.
const SOURCE: &str = "preset ";

/// Whether something was written by a preset.
pub(super) fn wrote(mark: &Mark) -> bool {
    mark.source.name.starts_with(SOURCE)
}

/// A preset, as read.
#[derive(Debug, Clone)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// Which plugins it pairs; empty is any.
    pub plugins: Sides<Vec<String>>,
    /// The keys that profiles start from.
    defaults: Node,
    /// Keys that a profile may not set; `*` stands for one step.
    locked: Vec<(String, Mark)>,
    /// Keys that a profile must set.
    required: Vec<(String, Mark)>,
}

/// The names of all presets.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// A preset's own text.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The preset that a profile names at `mark`.
///
/// # Errors
/// If there is no such preset.
pub fn find(name: &str, mark: &Mark) -> Result<Preset, Vec<Problem>> {
    match text(name) {
        Some(text) => Preset::read(name, text),
        None => {
            let known: Vec<&str> = names().collect();
            let problem = Problem::at(mark, format!("there is no preset `{name}`"), suggest(name, names()));
            Err(vec![problem.help(format!("presets of this version: {}", known.join(", ")))])
        }
    }
}

impl Preset {
    /// Reads a preset's text.
    ///
    /// # Errors
    /// If it is not TOML.
    pub fn read(name: &str, text: &str) -> Result<Preset, Vec<Problem>> {
        let mut defaults = Node::parse(&format!("{SOURCE}{name}"), text)?;
        let mut take = |key: &str| match &mut defaults.tree {
            Tree::Table(table) => table.remove(key).map(|entry| texts(&entry.node)).unwrap_or_default(),
            _ => Vec::new(),
        };
        take("name");
        let plugins = Sides { left: take("left"), right: take("right") };
        let plugins = Sides::from_fn(|side| plugins[side].iter().map(|(plugin, _)| plugin.clone()).collect());
        let (locked, required) = (take("locked"), take("required"));
        Ok(Preset { name: name.into(), plugins, defaults, locked, required })
    }

    /// The profile's keys over the preset's.
    ///
    /// # Errors
    /// If the profile sets a locked key, or lacks a required one.
    pub fn under(&self, profile: &Node) -> Result<Node, Vec<Problem>> {
        let mut problems = Vec::new();
        leaves(profile, &mut Vec::new(), &mut |path, mark| {
            let locked = self.locked.iter().find(|(pattern, _)| touches(pattern, path));
            problems.extend(locked.map(|(pattern, row)| {
                let key = dotted(&pointer(path.iter().map(String::as_str)));
                Problem::at(mark, format!("preset `{}` does not let `{key}` be set", self.name), "take this out")
                    .also(row, format!("`{pattern}` is locked here"))
                    .help("a locked key is part of what the preset promises; without the preset it can be set")
            }));
        });
        let merged = merge(&self.defaults, profile);
        for (key, row) in &self.required {
            if merged.at(&pointer(key.split('.'))).is_none() && !everybody_sets(&merged, key) {
                let problem = Problem::at(&profile.mark, format!("`{key}` is missing"), "");
                problems.push(problem.also(row, "the preset requires it here").help(format!("add `{key} = …`")));
            }
        }
        if problems.is_empty() { Ok(merged) } else { Err(problems) }
    }

    /// Where the preset locks a path.
    pub(super) fn locks(&self, path: &[String]) -> Option<&Mark> {
        self.locked.iter().find(|(pattern, _)| touches(pattern, path)).map(|(_, row)| row)
    }

    /// What is wrong with the plugin of a side.
    #[must_use]
    pub fn refuses_plugin(&self, side: Side, plugin: &str, mark: &Mark) -> Option<Problem> {
        let allowed = &self.plugins[side];
        if allowed.is_empty() || allowed.iter().any(|name| name == plugin) {
            return None;
        }
        let message = format!("preset `{}` cannot have plugin `{plugin}` on the {side}", self.name);
        Some(Problem::at(mark, message, format!("expected a connection with plugin {}", allowed.join(" or "))))
    }
}

/// Whether each person sets a key of the profile for himself.
fn everybody_sets(profile: &Node, key: &str) -> bool {
    let users = profile.get("users").and_then(Node::list).unwrap_or_default();
    !users.is_empty() && users.iter().all(|user| user.at(&pointer(key.split('.'))).is_some())
}

fn texts(node: &Node) -> Vec<(String, Mark)> {
    let items = node.list().unwrap_or(std::slice::from_ref(node));
    items.iter().filter_map(|item| Some((item.text()?.to_owned(), item.mark.clone()))).collect()
}

/// Visits every value that is no table.
pub(super) fn leaves(node: &Node, path: &mut Vec<String>, visit: &mut dyn FnMut(&[String], &Mark)) {
    for (key, entry) in node.table().into_iter().flatten() {
        path.push(key.clone());
        if entry.node.table().is_some() {
            leaves(&entry.node, path, visit)
        } else {
            visit(path, &entry.key)
        }
        path.pop();
    }
}

/// Whether a value at `path` sets anything that the pattern stands for: one is the beginning of the other.
pub(super) fn touches(pattern: &str, path: &[String]) -> bool {
    pattern.split('.').zip(path).all(|(want, have)| want == "*" || want == have)
}

/// Whether the pattern stands for a value at `path`: it is the beginning of it, or all of it.
pub(super) fn covers(pattern: &str, path: &[String]) -> bool {
    pattern.split('.').count() <= path.len() && touches(pattern, path)
}

/// `over` laid over `base`: tables key by key, anything else as a whole; but rows of `fields` replace the rows with the same
/// `left` or `right`, and a value for both sides is taken apart where only one side is overridden.
pub(super) fn merge(base: &Node, over: &Node) -> Node {
    let (Some(over_table), mut base) = (over.table(), base.clone()) else { return over.clone() };
    if base.table().is_none() {
        let sided = !over_table.is_empty() && over_table.keys().all(|key| key == "left" || key == "right");
        if !sided {
            return over.clone();
        }
        let entry = Entry { key: base.mark.clone(), node: base.clone() };
        base.tree = Tree::Table(["left", "right"].map(|side| (side.to_owned(), entry.clone())).into());
    }
    let Tree::Table(mut table) = base.tree else { return over.clone() };
    for (key, entry) in over_table {
        let node = match table.get(key) {
            Some(below) if key == "fields" => merge_rows(&below.node, &entry.node),
            Some(below) if key == "schedule" => merge(&without_kind(&below.node, &entry.node), &entry.node),
            Some(below) => merge(&below.node, &entry.node),
            None => entry.node.clone(),
        };
        table.insert(key.clone(), Entry { key: entry.key.clone(), node });
    }
    Node { tree: Tree::Table(table), mark: over.mark.clone() }
}

fn merge_rows(base: &Node, over: &Node) -> Node {
    let (Some(below), Some(rows)) = (base.list(), over.list()) else { return over.clone() };
    let same = |a: &Node, b: &Node| {
        ["left", "right"]
            .iter()
            .any(|side| a.get(side).is_some_and(|a| b.get(side).is_some_and(|b| a.to_json() == b.to_json())))
    };
    let kept = below.iter().filter(|row| !rows.iter().any(|over| same(row, over)));
    Node { tree: Tree::List(kept.chain(rows).cloned().collect()), mark: over.mark.clone() }
}

fn without_kind(base: &Node, over: &Node) -> Node {
    let mut base = base.clone();
    let renamed = over.table().is_some_and(|over| over.keys().any(|key| SCHEDULE_KINDS.contains(&key.as_str())));
    if let (true, Tree::Table(table)) = (renamed, &mut base.tree) {
        table.retain(|key, _| !SCHEDULE_KINDS.contains(&key.as_str()) && key != "at");
    }
    base
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::config::schema;

    const PRESET: &str = r#"
        name = "test"
        left = ["infor-crm"]
        locked = ["streams.*.match", "streams.contacts.scan.left"]
        required = ["streams.contacts.scope.left.group"]
        schedule = { every = "30 minutes", at_start = true }
        [streams.contacts]
        scan = "feed"
        without = ["notes/1"]
        fields = [ { left = "A", right = "x" }, { left = "B", right = "y" } ]
    "#;

    fn preset() -> Preset {
        Preset::read("test", PRESET).unwrap()
    }

    fn profile(text: &str) -> Node {
        Node::parse("profiles/p.toml", text).unwrap()
    }

    #[test]
    fn a_profile_lies_over_its_preset() {
        let merged = preset().under(&profile(
            r#"schedule.cron = "* * * * *"
               [streams.contacts]
               scope.left.group = "G"
               scan.right = "full"
               without = []
               fields = [ { left = "B", right = "z" }, { left = "C", right = "c" } ]"#,
        ));
        let expected = serde_json::json!({
            "schedule": {"cron": "* * * * *", "at_start": true},
            "streams": {"contacts": {
                "scan": {"left": "feed", "right": "full"},
                "scope": {"left": {"group": "G"}},
                "without": [],
                "fields": [{"left": "A", "right": "x"}, {"left": "B", "right": "z"}, {"left": "C", "right": "c"}],
            }},
        });
        assert_eq!(merged.unwrap().to_json(), expected);
    }

    #[test]
    fn locked_and_missing_keys_are_refused_with_the_presets_row() {
        let problems =
            preset().under(&profile("[streams.contacts]\nmatch = \"never\"\nscan = \"full\"\n")).unwrap_err();
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            text[0],
            "\
error: preset `test` does not let `streams.contacts.match` be set
 --> profiles/p.toml:2:1
  |
2 | match = \"never\"
  | ^^^^^ take this out
  |
 ::: preset test:4:19
  |
4 |         locked = [\"streams.*.match\", \"streams.contacts.scan.left\"]
  |                   ----------------- `streams.*.match` is locked here
  |
  = help: a locked key is part of what the preset promises; without the preset it can be set"
        );
        assert!(text[1].contains("`streams.contacts.scan`"), "{}", text[1]);
        assert!(text[2].starts_with("error: `streams.contacts.scope.left.group` is missing"), "{}", text[2]);
    }

    #[test]
    fn presets_name_the_plugins_that_they_pair() {
        let mark = profile("left = 1").mark;
        assert!(preset().refuses_plugin(Side::Left, "vdir", &mark).is_some());
        assert!(preset().refuses_plugin(Side::Left, "infor-crm", &mark).is_none());
        assert!(preset().refuses_plugin(Side::Right, "vdir", &mark).is_none());
    }

    #[test]
    fn built_in_presets_are_valid() {
        for (name, text) in BUILT_IN {
            let preset = Preset::read(name, text).unwrap();
            let mut text = "left = 'a'\nright = 'b'\n".to_owned();
            text.extend(preset.required.iter().map(|(key, _)| format!("{key} = 'x'\n")));
            let merged = preset.under(&profile(&text)).unwrap();
            let problems = schema::PROFILE.check(&merged, "");
            assert!(problems.is_empty(), "{name}: {}", problems[0]);
        }
    }
}
