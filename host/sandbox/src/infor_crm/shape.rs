//! Which properties and relations an answer shows: `select`, `include`, `precedence`.

use std::collections::BTreeMap;

use super::target::Query;

/// What is shown of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// All properties, and these relations.
    All(Tree),
    /// These alone.
    Only(Tree),
    /// Key and title.
    Keys,
}

/// Paths, by lower-case name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    below: BTreeMap<String, Tree>,
    /// `*`
    all: bool,
}

impl Tree {
    /// `FirstName,Account/AccountName,Address/*`
    fn parse(text: &str) -> Tree {
        let mut tree = Tree::default();
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            let mut at = &mut tree;
            for part in path.split('/') {
                if part == "*" {
                    at.all = true;
                } else {
                    at = at.below.entry(part.to_lowercase()).or_default();
                }
            }
        }
        tree
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tree> {
        self.below.get(&name.to_lowercase())
    }
}

impl Shape {
    /// `select` goes before `include` and `precedence`.
    pub(super) fn of(query: &Query) -> Shape {
        if let Some(select) = query.get("select") {
            return Shape::Only(Tree::parse(select));
        }
        if query.get("precedence") == Some("0") {
            return Shape::Keys;
        }
        Shape::All(Tree::parse(query.get("include").unwrap_or_default()))
    }

    /// Whether a property of this name is shown.
    pub(super) fn shows(&self, name: &str) -> bool {
        match self {
            Shape::All(_) => true,
            Shape::Only(tree) => tree.all || tree.get(name).is_some(),
            Shape::Keys => false,
        }
    }

    /// Whether something is shown that must be asked for by name: `adHocIds`, `$permissions`.
    pub(super) fn includes(&self, name: &str) -> bool {
        match self {
            Shape::All(tree) | Shape::Only(tree) => tree.get(name).is_some(),
            Shape::Keys => false,
        }
    }

    /// How a relation is shown: not at all, as a reference (`None`), or as an entry of this shape.
    pub(super) fn relation(&self, name: &str) -> Option<Option<Shape>> {
        match self {
            Shape::Keys => None,
            Shape::All(tree) => match tree.get(name) {
                Some(below) => Some(Some(Shape::All(below.clone()))),
                None if tree.get("$children").is_some() => Some(Some(Shape::All(Tree::default()))),
                None => Some(None),
            },
            Shape::Only(tree) => match tree.get(name) {
                Some(below) if *below == Tree::default() => Some(None),
                Some(below) => Some(Some(Shape::Only(below.clone()))),
                None => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_goes_through_relations() {
        let shape = Shape::of(&Query::parse("select=FirstName,Account/AccountName,Address/*,Owner&include=x"));
        assert!(shape.shows("firstname") && !shape.shows("LastName"));
        let account = shape.relation("Account").flatten().expect("as an entry");
        assert!(account.shows("AccountName") && !account.shows("Type"));
        assert!(shape.relation("Address").flatten().is_some_and(|address| address.shows("City")));
        assert_eq!((shape.relation("Owner"), shape.relation("AccountManager")), (Some(None), None));
    }

    #[test]
    fn an_inclusion_shows_all_the_rest() {
        let shape = Shape::of(&Query::parse("include=Address,adHocIds"));
        assert!(shape.shows("LastName") && shape.includes("adhocids"));
        assert_eq!(shape.relation("Account"), Some(None));
        assert!(shape.relation("address").flatten().is_some());
        assert_eq!(Shape::of(&Query::parse("precedence=0")), Shape::Keys);
    }
}
