//! From tokens to an expression.

use super::Operator;
use super::token::{Token, tokens};
use crate::infor_crm::answer::Refusal;

/// A condition, or a part of one, before its names are looked up.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::infor_crm) enum Expression {
    Text(String),
    Number(f64),
    Time(i64),
    Bool(bool),
    Null,
    /// `Address.City`
    Path(Vec<String>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Between(Box<Expression>, Box<Expression>, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    /// The function's name in lower case.
    Call(String, Vec<Expression>),
}

/// Reads a condition.
pub(in crate::infor_crm) fn parse(text: &str, zone_minutes: i64) -> Result<Expression, Refusal> {
    let mut parser = Parser { tokens: tokens(text, zone_minutes)?, at: 0, depth: 0 };
    let expression = parser.expression(1)?;
    match parser.tokens.get(parser.at) {
        None => Ok(expression),
        Some(token) => Err(unexpected(Some(token))),
    }
}

/// Parentheses in parentheses, at most.
const DEEPEST: usize = 100;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

fn unexpected(token: Option<&Token>) -> Refusal {
    Refusal::bad_where(match token {
        None => "The condition ends too early.".to_owned(),
        Some(Token::Word(word)) => format!("'{word}' was not expected."),
        Some(Token::Sign(sign)) => format!("'{sign}' was not expected."),
        Some(other) => format!("{other:?} was not expected."),
    })
}

impl Parser {
    fn sign(&mut self, sign: char) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: char) -> Result<(), Refusal> {
        if self.sign(sign) { Ok(()) } else { Err(unexpected(self.tokens.get(self.at))) }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(is)) if is.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    /// The operator that comes next, and its priority.
    fn operator(&self) -> Option<(Operator, u8)> {
        let word = match self.tokens.get(self.at)? {
            Token::Word(word) => word.to_lowercase(),
            Token::Sign(sign) => sign.to_string(),
            _ => return None,
        };
        Some(match word.as_str() {
            "or" => (Operator::Or, 1),
            "and" => (Operator::And, 2),
            "eq" => (Operator::Eq, 3),
            "ne" => (Operator::Ne, 3),
            "lt" => (Operator::Lt, 3),
            "le" => (Operator::Le, 3),
            "gt" => (Operator::Gt, 3),
            "ge" => (Operator::Ge, 3),
            "like" => (Operator::Like, 3),
            "+" => (Operator::Plus, 4),
            "-" => (Operator::Minus, 4),
            "mul" => (Operator::Mul, 5),
            "div" => (Operator::Div, 5),
            "mod" => (Operator::Mod, 5),
            _ => return None,
        })
    }

    fn expression(&mut self, least: u8) -> Result<Expression, Refusal> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Refusal::bad_where("The condition is too deep."));
        }
        let mut left = self.unary()?;
        loop {
            if least <= 3 && self.word("between") {
                let low = self.expression(4)?;
                if !self.word("and") {
                    return Err(unexpected(self.tokens.get(self.at)));
                }
                let high = self.expression(4)?;
                left = Expression::Between(Box::new(left), Box::new(low), Box::new(high));
            } else if least <= 3 && self.word("in") {
                self.expect('(')?;
                left = Expression::In(Box::new(left), self.list()?);
            } else {
                match self.operator() {
                    Some((operator, priority)) if priority >= least => {
                        self.at += 1;
                        let right = self.expression(priority + 1)?;
                        left = Expression::Binary(operator, Box::new(left), Box::new(right));
                    }
                    _ => break,
                }
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, Refusal> {
        if self.word("not") {
            // Binds closer than comparisons; people write `not LastName eq 'X'` and mean the whole of it.
            return Ok(Expression::Not(Box::new(self.expression(3)?)));
        }
        if self.sign('-') {
            return Ok(Expression::Negative(Box::new(self.unary()?)));
        }
        if self.sign('(') {
            let inner = self.expression(1)?;
            self.expect(')')?;
            return Ok(inner);
        }
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Text(text)) => Ok(Expression::Text(text)),
            Some(Token::Number(number)) => Ok(Expression::Number(number)),
            Some(Token::Time(time)) => Ok(Expression::Time(time)),
            Some(Token::Word(word)) => self.name(word),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn name(&mut self, word: String) -> Result<Expression, Refusal> {
        match word.to_lowercase().as_str() {
            "true" => return Ok(Expression::Bool(true)),
            "false" => return Ok(Expression::Bool(false)),
            "null" => return Ok(Expression::Null),
            _ => {}
        }
        if self.sign('(') {
            return Ok(Expression::Call(word.to_lowercase(), self.list()?));
        }
        let mut path = vec![word];
        while self.sign('.') {
            match self.tokens.get(self.at) {
                Some(Token::Word(word)) => path.push(word.clone()),
                other => return Err(unexpected(other)),
            }
            self.at += 1;
        }
        Ok(Expression::Path(path))
    }

    /// What stands between parentheses, the first of which is read.
    fn list(&mut self) -> Result<Vec<Expression>, Refusal> {
        let mut items = Vec::new();
        if self.sign(')') {
            return Ok(items);
        }
        loop {
            items.push(self.expression(1)?);
            if self.sign(')') {
                return Ok(items);
            }
            self.expect(',')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Expression {
        parse(text, 0).expect("a good condition")
    }

    #[test]
    fn operators_bind_by_priority() {
        assert_eq!(read("a eq 1 and b eq 2 or c eq 3"), read("((a eq 1) and (b eq 2)) or (c eq 3)"));
        assert_eq!(read("a eq 1 + 2 mul 3"), read("a eq (1 + (2 mul 3))"));
        assert_eq!(read("a between 1 and 2 and b"), read("(a between 1 and 2) and b"));
        assert_eq!(read("not a eq 1 and b"), read("(not (a eq 1)) and b"));
        assert_eq!(read("5 - 2 - 1"), read("(5 - 2) - 1"));
    }

    #[test]
    fn literals() {
        assert_eq!(read("'it''s'"), Expression::Text("it's".into()));
        assert_eq!(read("\"Maxim's\""), Expression::Text("Maxim's".into()));
        assert_eq!(read(r"'a\\b'"), Expression::Text(r"a\b".into()));
        assert_eq!(read("@1970-01-01T00:00:01Z@"), Expression::Time(1_000));
        assert_eq!(read("@1970-01-01T01:00:01+01:00@"), Expression::Time(1_000));
        assert_eq!(parse("@1970-01-01T01:00:00@", 60), Ok(Expression::Time(0)));
        assert_eq!(parse("@1970-01-02@", 0), Ok(Expression::Time(86_400_000)));
        assert_eq!(read("Address.City"), Expression::Path(vec!["Address".into(), "City".into()]));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "a eq", "a eq 'x", "(a", "a in (1", "a ! b", "a b", "@x@", "a between 1 or 2"] {
            assert_eq!(parse(text, 0).expect_err(text).code, "BadWhereSyntax", "{text}");
        }
        assert!(parse(&"(".repeat(100_000), 0).is_err());
    }
}
