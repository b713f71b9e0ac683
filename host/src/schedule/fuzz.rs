//! Saved plans.
#![allow(clippy::unwrap_used, missing_docs, reason = "a target fails where a promise does not hold")]

use std::path::Path;

use super::saved::SavedPlan;
use crate::store::Db;

/// A plan in a file that a person, or anybody else, may have edited.
pub fn plans(bytes: &[u8]) {
    let file = Path::new("plan.json");
    let Ok(plan) = SavedPlan::parse(file, &String::from_utf8_lossy(bytes)) else { return };
    assert_eq!(SavedPlan::parse(file, &plan.text().unwrap()).unwrap(), plan);
    // Of lanes that were never there, none has moved; those that a plan makes up did.
    let stale = plan.lanes.iter().any(|lane| lane.mark.serial != 0);
    assert_eq!(plan.check(file, &mut Db::in_memory().unwrap()).is_err(), stale);
}
