//! Pictures of contacts: beside the contact, so that neither its change key nor a delta tells of them.

use serde_json::json;

use super::Graph;
use super::call::{Answer, Call, Reply};
use crate::store::Item;

/// The largest picture. Assumption: the limit of a request without an upload session.
const LARGEST: usize = 4 << 20;

const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

impl Graph {
    /// `/photo` and `/photo/$value`.
    pub(super) fn photo(&self, call: &Call, contact: &Item, words: &[&str]) -> Answer {
        let missing = || Reply::error(404, "ImageNotFound", "Exception of type 'ImageNotFoundException' was thrown.");
        let mut state = self.state();
        match (call.method.as_str(), words) {
            ("GET", []) => {
                let photo = state.photos.get(&contact.id).ok_or_else(missing)?;
                let tag = format!("W/\"{}\"", photo.len());
                Ok(Reply::ok(
                    json!({ "@odata.mediaContentType": "image/jpeg", "@odata.mediaEtag": tag, "id": "48X48" }),
                ))
            }
            ("GET", ["$value"]) => {
                let photo = state.photos.get(&contact.id).ok_or_else(missing)?;
                Ok(Reply::empty(200).bytes("image/jpeg", photo.clone()))
            }
            // Both are in use.
            ("PUT" | "PATCH", ["$value"]) => {
                if !call.bytes.starts_with(JPEG) || call.bytes.len() > LARGEST {
                    return Err(Reply::error(400, "ErrorInvalidImage", "The photo is not a JPEG, or too large."));
                }
                state.photos.insert(contact.id.clone(), call.bytes.clone());
                Ok(Reply::empty(200))
            }
            ("DELETE", ["$value"]) => state.photos.remove(&contact.id).map(|_| Reply::empty(204)).ok_or_else(missing),
            _ => Err(Reply::error(405, "MethodNotAllowed", "Method not allowed.")),
        }
    }
}
