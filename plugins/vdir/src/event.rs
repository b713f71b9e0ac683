//! draft
use crate::content::{Part, Reading};
use crate::draft::Edited;
use crate::lines::{Broken, Text};
use pairwise_plugin_api::Write;
pub(crate) fn cut(_: &Text<'_>) -> Vec<Part> {
    Vec::new()
}
pub(crate) fn identity(_: &Text<'_>, _: &Part) -> Result<String, String> {
    Err(String::new())
}
pub(crate) fn read(_: &Text<'_>, _: &Part) -> Result<Reading, Broken> {
    Ok(Reading::default())
}
pub(crate) fn edit(_: &Text<'_>, _: &Part, _: &Write) -> Result<Edited, Broken> {
    Ok(Edited::default())
}
pub(crate) fn create(_: &Write) -> Edited {
    Edited::default()
}
pub(crate) fn alone(_: &Text<'_>, _: &Part) -> Vec<u8> {
    Vec::new()
}

pub(crate) const FIELDS: &[(&str, pairwise_plugin_api::FieldType, bool)] = &[];
pub(crate) use crate::card::CONTACT as EVENT;
