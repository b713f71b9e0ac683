//! Pages of a feed or listing that are read before the host asks for them: while it takes one in, the connector reads the next.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use abi_stable::std_types::RVec;
use pairwise_plugin_api::ops::{Changes, ChangesRequest, List, ListRequest, Operation};
use pairwise_plugin_api::{Cursor, Failure, codec};
use serde::Deserialize;

/// A page that was not asked for by then is forgotten: what is there may be something else by now.
const FRESH: Duration = Duration::from_secs(10);
/// Pages that wait at most.
const MOST: usize = 8;

/// What an operation answered.
pub(super) type Answer = Result<RVec<u8>, Failure>;

/// The pages that nobody has asked for yet.
#[derive(Default)]
pub(super) struct Ahead(Mutex<VecDeque<Begun>>);

/// A page that is being read, or is there.
pub(super) struct Begun {
    op: u32,
    request: Vec<u8>,
    since: Instant,
    /// The call that reads it.
    pub(super) call: u64,
    pub(super) answer: Receiver<Answer>,
}

impl Ahead {
    /// Notes that a call reads a page; its answer goes to the sender.
    pub(super) fn begin(&self, op: u32, request: Vec<u8>, call: u64) -> SyncSender<Answer> {
        let (sender, answer) = sync_channel(1);
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|page| page.since.elapsed() < FRESH);
        if begun.len() == MOST {
            begun.pop_front();
        }
        begun.push_back(Begun { op, request, since: Instant::now(), call, answer });
        sender
    }

    /// The page that this request asks for.
    pub(super) fn take(&self, op: u32, request: &[u8]) -> Option<Begun> {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = begun.iter().position(|page| page.op == op && page.request == request)?;
        begun.remove(place).filter(|page| page.since.elapsed() < FRESH)
    }
}

/// Of a page, where it leads to.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Way {
    next: Option<Cursor>,
    more: bool,
}

/// The request for the page after the one that answers this request, as the host will write it; `None` if there is none.
pub(super) fn following(op: u32, request: &[u8], page: &[u8]) -> Option<Vec<u8>> {
    if ![Changes::OP, List::OP].contains(&op) {
        return None;
    }
    let Way { next, more } = codec::decode(page).ok()?;
    let next = Some(next.filter(|_| more)?);
    if op == List::OP {
        let request: ListRequest = codec::decode(request).ok()?;
        return codec::encode(&ListRequest { page: next, ..request }).ok();
    }
    let request: ChangesRequest = codec::decode(request).ok()?;
    codec::encode(&ChangesRequest { cursor: next, ..request }).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use pairwise_plugin_api::ops::ListDetail;
    use pairwise_plugin_api::{Change, Page, Principal, Record, RecordRef, Value};

    use super::*;

    fn page(more: bool) -> Vec<u8> {
        let mut record = Record { at: RecordRef::new("contacts", "C1"), ..Record::default() };
        record.fields.set("FirstName", "Lee");
        let page =
            Page { changes: vec![Change::upsert(record)], next: Some(Cursor(vec![7; 300])), more, ..Page::default() };
        codec::encode(&page).unwrap()
    }

    #[test]
    fn the_next_request_is_the_one_that_the_host_will_send() {
        let asked = ChangesRequest {
            principal: Principal("lee".into()),
            scope: [("group".to_owned(), Value::from("Contact Sync"))].into(),
            entities: vec!["contacts".into()],
            limit: 200,
            fields: vec!["FirstName".into(), "LastName".into(), "FirstName".into()],
            skip_own: true,
            detail: ListDetail::Ids,
            ..ChangesRequest::default()
        };
        let next = ChangesRequest { cursor: Some(Cursor(vec![7; 300])), ..asked.clone() };
        let request = codec::encode(&asked).unwrap();
        assert_eq!(following(Changes::OP, &request, &page(true)), Some(codec::encode(&next).unwrap()));
        assert_eq!(following(Changes::OP, &request, &page(false)), None);
        let asked = ListRequest { entities: vec!["contacts".into()], limit: 5, ..ListRequest::default() };
        let next = ListRequest { page: Some(Cursor(vec![7; 300])), ..asked.clone() };
        let request = codec::encode(&asked).unwrap();
        assert_eq!(following(List::OP, &request, &page(true)), Some(codec::encode(&next).unwrap()));
    }

    #[test]
    fn a_page_is_given_out_once_and_to_its_own_request() {
        let ahead = Ahead::default();
        let sender = ahead.begin(Changes::OP, vec![1], 9);
        sender.send(Ok(RVec::from(vec![2]))).unwrap();
        assert!(ahead.take(List::OP, &[1]).is_none() && ahead.take(Changes::OP, &[3]).is_none());
        let begun = ahead.take(Changes::OP, &[1]).unwrap();
        assert_eq!((begun.call, begun.answer.recv().unwrap().unwrap().as_slice()), (9, &[2][..]));
        assert!(ahead.take(Changes::OP, &[1]).is_none());
    }

    #[test]
    fn only_so_many_pages_wait() {
        let ahead = Ahead::default();
        for number in 0..20 {
            ahead.begin(Changes::OP, vec![number], u64::from(number));
        }
        assert!(ahead.take(Changes::OP, &[0]).is_none() && ahead.take(Changes::OP, &[19]).is_some());
    }
}
