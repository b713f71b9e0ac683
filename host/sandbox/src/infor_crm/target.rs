//! What a URL asks for.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::answer::Refusal;

/// A URL below `/sdata` or the web client's handler, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// `/sdata` or `/slxclient/slxdata.ashx`, as it was asked.
    pub(super) root: String,
    /// `dynamic`, `system`; lower case.
    pub(super) contract: String,
    /// `contacts`; empty for the list of kinds.
    pub(super) kind: String,
    /// What stands in the parentheses: a key without its quotes, or a condition.
    pub(super) selector: Option<Selector>,
    /// What follows: a relation, `$batch`, `$queries`, `execute`.
    pub(super) rest: Vec<String>,
    pub(super) query: Query,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    Key(String),
    Condition(String),
}

/// Query parameters, by lower-case name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    values: BTreeMap<String, String>,
    plus_in_where: bool,
}

impl Query {
    /// Decodes percent signs alone: on this server `+` is no blank.
    pub(super) fn parse(text: &str) -> Self {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).to_lowercase();
            query.plus_in_where |= name == "where" && value.contains('+');
            query.values.insert(name, decode(value));
        }
        query
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All of them, by lower-case name.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The condition, with `+` taken as the server takes it.
    pub(super) fn condition(&self, plus_is_blank: bool) -> Result<Option<String>, Refusal> {
        match self.get("where") {
            Some(text) if self.plus_in_where && plus_is_blank => Ok(Some(text.replace('+', " "))),
            Some(_) if self.plus_in_where => Err(Refusal::bad_where("'+' was not expected; write blanks as %20.")),
            text => Ok(text.map(str::to_owned)),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Refusal::new(400, "BadQueryParameter", format!("{name} is no number: {text}.")))
        };
        self.get(name).map(parse).transpose()
    }

    /// Whether JSON is asked for. `Accept` alone does not do that here.
    pub(super) fn wants_json(&self) -> bool {
        self.get("format").is_some_and(|format| format.to_lowercase().contains("json"))
    }
}

impl Target {
    /// Takes a path and query apart.
    pub(super) fn parse(path_and_query: &str) -> Result<Target, Refusal> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let path = decode(path);
        let mut parts = split(&path).into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let mut root = format!("/{}", next());
        if root.eq_ignore_ascii_case("/slxclient") {
            root = format!("{root}/{}", next());
        }
        let known = ["/sdata", "/slxclient/slxdata.ashx"].iter().any(|known| root.eq_ignore_ascii_case(known));
        if !known {
            return Err(Refusal::bad_url("There is nothing at this address."));
        }
        let application = next();
        if !application.eq_ignore_ascii_case("slx") {
            return Err(Refusal::new(
                404,
                "ApplicationNotFound",
                format!("The application '{application}' is not known."),
            ));
        }
        let contract = next().to_lowercase();
        if !["dynamic", "system"].contains(&contract.as_str()) {
            return Err(Refusal::new(404, "ContractNotFound", format!("The contract '{contract}' is not known.")));
        }
        let dataset = next();
        if dataset != "-" {
            return Err(Refusal::new(404, "DatasetNotFound", format!("The dataset '{dataset}' is not known.")));
        }
        let (kind, selector) = select(&next())?;
        Ok(Target { root, contract, kind, selector, rest: parts.collect(), query: Query::parse(query) })
    }

    /// What the journal calls it: `contacts`, `contacts/$batch`, `$service/getCurrentUser`.
    pub(super) fn operation(&self) -> String {
        let mut operation = self.kind.clone();
        for part in &self.rest {
            operation = format!("{operation}/{part}");
        }
        operation
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Cuts at slashes that stand in no quotes.
fn split(path: &str) -> Vec<String> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None);
    for c in path.trim_start_matches('/').chars() {
        match (c, quote) {
            ('/', None) => parts.push(std::mem::take(&mut part)),
            ('\'' | '"', None) => {
                quote = Some(c);
                part.push(c);
            }
            (c, Some(open)) if c == open => {
                quote = None;
                part.push(c);
            }
            (c, _) => part.push(c),
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// `contacts('C1')`
fn select(segment: &str) -> Result<(String, Option<Selector>), Refusal> {
    let Some((kind, rest)) = segment.split_once('(') else { return Ok((segment.to_owned(), None)) };
    let inside = rest.strip_suffix(')').ok_or_else(|| Refusal::bad_url("A parenthesis is not closed."))?.trim();
    let quoted = |quote: char| {
        let text = inside.strip_prefix(quote)?.strip_suffix(quote)?;
        (!text.contains(quote)).then(|| text.to_owned())
    };
    let selector = match quoted('\'').or_else(|| quoted('"')) {
        Some(key) => Selector::Key(key),
        None if inside.contains(' ') => Selector::Condition(inside.to_owned()),
        None => Selector::Key(inside.to_owned()),
    };
    Ok((kind.to_owned(), Some(selector)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("/sdata/slx/dynamic/-/Contacts(%22C1%22)/addresses?format=json&orderBy=Id%20asc");
        let target = target.expect("a good URL");
        assert_eq!((target.contract.as_str(), target.kind.as_str()), ("dynamic", "Contacts"));
        assert_eq!(target.selector, Some(Selector::Key("C1".into())));
        assert_eq!(target.rest, ["addresses"]);
        assert!(target.query.wants_json());
        assert_eq!(target.query.get("orderby"), Some("Id asc"));
        let batch = Target::parse("/sdata/slx/dynamic/-/contacts/%24batch").map(|target| target.operation());
        assert_eq!(batch.as_deref(), Ok("contacts/$batch"));
        let service = Target::parse("/slxclient/slxdata.ashx/slx/system/-/$service/getCurrentUser");
        assert_eq!(service.map(|target| target.operation()).as_deref(), Ok("$service/getCurrentUser"));
        let condition = Target::parse("/sdata/slx/dynamic/-/accounts(AccountName eq 'A/B')").expect("a good URL");
        assert_eq!(condition.selector, Some(Selector::Condition("AccountName eq 'A/B'".into())));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let code = |url| Target::parse(url).expect_err("no such thing").code;
        assert_eq!(code("/elsewhere"), "BadUrlSyntax");
        assert_eq!(code("/sdata/erp/dynamic/-/contacts"), "ApplicationNotFound");
        assert_eq!(code("/sdata/slx/gcrm/-/contacts"), "ContractNotFound");
        assert_eq!(code("/sdata/slx/dynamic/other/contacts"), "DatasetNotFound");
    }

    #[test]
    fn a_plus_is_no_blank() {
        let query = Query::parse("where=LastName+eq+'X'");
        assert_eq!(query.condition(false).expect_err("refused").code, "BadWhereSyntax");
        assert_eq!(query.condition(true).expect("taken").as_deref(), Some("LastName eq 'X'"));
        assert!(Query::parse("where=a%20eq%20'%2B'").condition(false).is_ok());
    }
}
