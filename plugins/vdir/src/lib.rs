//! draft
mod card;
mod draft;
mod lines;
mod property;
mod slots;
#[cfg(test)]
mod tests;
mod values;
