//! The pages of a listing. While the host works on a page of whole records, the next one is read.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use pairwise_plugin_api::ops::{ListDetail, ListRequest};
use pairwise_plugin_api::{Change, Class, Context, Failure, Page, Record, RecordRef, Result};

use crate::connector::{containers_of, kinds_of};
use crate::content::Kind;
use crate::folder::{Place, Root};
use crate::lines::Text;
use crate::records::{self, Shelf, part_version};
use crate::scan::{Listing, Look, Memory, Seen, scan};

/// Records in one page, whatever the host asks for: a page of whole records must not hold a folder of photos in memory.
const LARGEST_PAGE: usize = 2_000;

/// The bytes of files after which a page of whole records ends.
const HEAVIEST_PAGE: usize = 8 * 1024 * 1024;

/// What one page leaves for the next. It can all be made again.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<Left>);

#[derive(Debug, Default)]
enum Left {
    #[default]
    Nothing,
    Listing(Listing),
    Ahead(Receiver<Ahead>),
}

/// A page that was read before it is asked for, and how it will be asked for.
struct Ahead {
    request: ListRequest,
    page: thread::Result<Result<Page>>,
}

impl Pages {
    /// The page that is asked for.
    pub(crate) fn next(&self, root: Root, request: ListRequest, cx: &Context) -> Result<Page> {
        let left = std::mem::take(&mut *self.left());
        let listing = match left {
            Left::Ahead(pages) => match pages.recv() {
                Ok(ahead) if ahead.request == request => {
                    let page = ahead.page.unwrap_or_else(|panic| resume_unwind(panic))?;
                    if page.more {
                        *self.left() = Left::Ahead(pages);
                    }
                    return Ok(page);
                }
                _ => None,
            },
            Left::Listing(listing) => Some(listing),
            Left::Nothing => None,
        };
        let (page, listing) = page(&root, listing, &request, cx)?;
        if page.more {
            *self.left() = match request.detail {
                ListDetail::Ids => Left::Listing(listing),
                ListDetail::Full => {
                    read_ahead(root, listing, ListRequest { page: page.next.clone(), ..request }, cx.clone())
                }
            };
        }
        Ok(page)
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the pages that follow, until the last one or until nobody wants them any more.
fn read_ahead(root: Root, listing: Listing, request: ListRequest, cx: Context) -> Left {
    // One page waits at most: the next is begun when it is asked for.
    let (pages, asked) = sync_channel(0);
    let read = move || {
        let mut rest = Some((listing, request));
        while let Some((listing, request)) = rest.take() {
            let read = catch_unwind(AssertUnwindSafe(|| page(&root, Some(listing), &request, &cx)));
            let page = read.map(|read| {
                let (page, listing) = read?;
                let next = || ListRequest { page: page.next.clone(), ..request.clone() };
                rest = page.more.then(|| (listing, next()));
                Ok(page)
            });
            if pages.send(Ahead { request, page }).is_err() {
                return;
            }
        }
    };
    // Without a thread the next page is made from the beginning.
    thread::Builder::new().name("ahead".to_owned()).spawn(read).map_or(Left::Nothing, |_| Left::Ahead(asked))
}

/// The next lines of a listing, which `known` may already hold.
fn page(root: &Root, known: Option<Listing>, request: &ListRequest, cx: &Context) -> Result<(Page, Listing)> {
    let begun = match &request.page {
        Some(cursor) => Some(Memory::of(cursor).ok_or_else(|| {
            Failure::new(Class::CursorExpired, "the cursor is not one of this connector: start the listing again")
        })?),
        None => None,
    };
    let previous = request.previous.as_ref().and_then(Memory::of);
    let mut after = begun.as_ref().and_then(|memory| memory.after.clone());
    let known = known.filter(|listing| {
        begun.as_ref().is_some_and(|begun| {
            (begun.started, begun.device, begun.inode)
                == (listing.memory.started, listing.memory.device, listing.memory.inode)
        })
    });
    let mut listing = match known {
        Some(listing) => listing,
        None => {
            let scope = containers_of(&request.scope)?;
            let wanted =
                |folder: &str| scope.as_ref().is_none_or(|scope| scope.iter().any(|container| container == folder));
            // Whole records are read anyway. Files of pages that were told before are not read again, though.
            let is_first = begun.is_none() && request.detail == ListDetail::Full;
            let look = if is_first { Look::Later } else { Look::Now };
            let mut listing = scan(root, &kinds_of(&request.entities)?, wanted, previous.as_ref(), look, cx)?;
            if let Some(begun) = &begun {
                // The first pages were told by an earlier look: what changed since then may be missing in them.
                listing.memory.started = listing.memory.started.min(begun.started);
            }
            listing
        }
    };
    let limit = usize::try_from(request.limit).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let mut page = Page::default();
    let mut shelf = Shelf::default();
    match request.detail {
        ListDetail::Ids => {
            for (id, seen) in listing.after(after.as_deref()).take(limit) {
                crate::stop_if_cancelled(cx)?;
                page.changes.push(Change::upsert(brief(root, kind_of(id), id, seen, &mut shelf)?));
            }
            after = page.changes.last().and_then(|change| Some(change.record.as_ref()?.at.id.clone())).or(after);
        }
        ListDetail::Full => {
            let mut weight = 0;
            while page.changes.len() < limit && weight < HEAVIEST_PAGE {
                crate::stop_if_cancelled(cx)?;
                let next: Vec<_> = listing.after(after.as_deref()).take(limit - page.changes.len()).collect();
                if next.is_empty() {
                    break;
                }
                let most = HEAVIEST_PAGE - weight;
                let read = records::read_all(root, &mut shelf, &next, most, kind_of, &request.fields)?;
                after = read.done.checked_sub(1).map(|last| next[last].0.to_owned()).or(after);
                if !read.odd.is_empty() {
                    listing.expand(root, &read.odd, cx)?;
                }
                page.changes.extend(read.records.into_iter().map(Change::upsert));
                weight += read.bytes;
                cx.progress(page.changes.len() as u64, 0);
            }
        }
    }
    page.more = listing.after(after.as_deref()).next().is_some();
    if page.more {
        let Memory { device, inode, started, .. } = listing.memory;
        page.next = Some(Memory { device, inode, started, after, ..Memory::default() }.cursor()?);
    } else {
        page.complete = listing.complete;
        page.same_store = previous.is_some_and(|memory| (memory.device, memory.inode) == (root.device, root.inode));
        page.next = Some(listing.memory.cursor()?);
    }
    Ok((page, listing))
}

/// The kind of a listed id: that of the file, which a part of a file carries in its middle.
fn kind_of(id: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| Place::of(*kind, id).is_some()).unwrap_or(Kind::Contact)
}

/// Id and version.
fn brief(root: &Root, kind: Kind, id: &str, seen: Seen, shelf: &mut Shelf) -> Result<Record> {
    let version = match seen {
        Seen::Part(digest) => Some(part_version(digest)),
        Seen::File(stamp) if root.is_unsettled(&stamp) => match Place::of(kind, id) {
            Some(place) => match shelf.load(root, &place)?.here() {
                Some(loaded) => Some(records::version(root, &place, &loaded, &Text::new(loaded.bytes))),
                None => Some(stamp.version()),
            },
            None => Some(stamp.version()),
        },
        Seen::File(stamp) => Some(stamp.version()),
        Seen::New => None,
    };
    Ok(Record { at: RecordRef::new(kind.entity(), id), version, ..Record::default() })
}
