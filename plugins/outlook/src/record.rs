//! Records: an item of Graph as the host sees it.

use jiff::Timestamp;
use pairwise_http::Json;
use pairwise_plugin_api::{Fields, Millis, Name, Record, RecordRef};

use crate::folders::Tree;
use crate::kind::Kind;
use crate::property::{self, SEARCH_KEY, UID};

/// The id of an item.
pub(crate) fn id(item: &Json) -> &str {
    item["id"].as_str().unwrap_or_default()
}

/// The change key, which is also what the ETag consists of.
pub(crate) fn version(item: &Json) -> Option<String> {
    let tag = item["@odata.etag"].as_str().and_then(|tag| tag.strip_prefix("W/\"")?.strip_suffix('"'));
    item["changeKey"].as_str().or(tag).map(str::to_owned)
}

/// A version as a condition of a request.
pub(crate) fn etag(version: &str) -> String {
    format!("W/\"{version}\"")
}

/// A moment of Graph.
pub(crate) fn millis(moment: &Json) -> Option<Millis> {
    Some(moment.as_str()?.parse::<Timestamp>().ok()?.as_millisecond())
}

/// What one of our own properties holds.
pub(crate) fn own(item: &Json, id: &str) -> Option<String> {
    property::find(item, id).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The record without its fields.
pub(crate) fn bare(kind: Kind, item: &Json, tree: Option<&Tree>) -> Record {
    let folder = tree.and_then(|tree| tree.by_id(item["parentFolderId"].as_str()?));
    Record {
        at: RecordRef::new(kind.entity(), id(item)),
        version: version(item),
        incarnation: own(item, SEARCH_KEY),
        uid: own(item, UID),
        created: millis(&item["createdDateTime"]),
        modified: millis(&item["lastModifiedDateTime"]),
        container: folder.map(|folder| folder.path.clone()),
        ..Record::default()
    }
}

/// Only the fields that were asked for; all of them where none is named.
pub(crate) fn keep(fields: Fields, wanted: &[Name]) -> Fields {
    if wanted.is_empty() {
        return fields;
    }
    fields.into_iter().filter(|(name, _)| wanted.contains(name)).collect()
}
