//! Databases in memory for one history after the other: each thread keeps some, because to make one takes longer than a run.

use std::cell::RefCell;

use pairwise_host::store::{Db, Environment};

thread_local! {
    static FREE: RefCell<Vec<Db>> = const { RefCell::new(Vec::new()) };
}

/// An empty one.
pub(super) fn empty(environment: Environment) -> Db {
    let again = FREE.with_borrow_mut(Vec::pop).and_then(|db| db.begin_anew(environment.clone()).ok());
    again.unwrap_or_else(|| fresh(environment))
}

/// An empty one whose pages nobody has used.
pub(super) fn fresh(environment: Environment) -> Db {
    Db::in_memory_with(environment).expect("a database in memory")
}

/// A copy of this one.
pub(super) fn copy(of: &Db) -> Db {
    let again = FREE.with_borrow_mut(Vec::pop).and_then(|db| of.snapshot_over(db).ok());
    again.unwrap_or_else(|| of.snapshot().expect("a copy in memory"))
}

/// Nobody needs it any more.
pub(super) fn give_back(db: Db) {
    FREE.with_borrow_mut(|free| free.push(db));
}
