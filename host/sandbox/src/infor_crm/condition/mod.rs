//! The language of `where`: operators by priority, literals, functions, paths through relations.

mod eval;
mod parse;
mod token;

pub(super) use eval::{Compare, Condition, Scalar};
pub(super) use parse::parse;

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Like,
    Plus,
    Minus,
    Mul,
    Div,
    Mod,
}
