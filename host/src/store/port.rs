//! The port, method by method.

use pairwise_plugin_api::{Cursor, Millis, RecordRef};

use super::{Db, absence, aside, cursors, holds, inbox, intents, lease, links, matching, revisits, settle, work};
use crate::model::{
    Announced, AsideId, Author, Hold, Holder, InboxId, Intent, IntentId, KeyGroup, Known, LaneKey, LaneMemory, Lease,
    Link, LinkId, Lost, Seen, Select, Settlement, Side, Staged, Store, StoreResult, Work, Written,
};

impl Store for Db {
    fn take(&mut self, key: &LaneKey, holder: &Holder, now: Millis) -> StoreResult<Lease> {
        let is_alive = self.environment.is_alive.clone();
        self.transact(|tx| lease::take(tx, key, holder, now, &*is_alive))
    }

    fn renew(&mut self, lease: &Lease, now: Millis) -> StoreResult<()> {
        self.transact(|tx| {
            lease::check(tx, lease)?;
            lease::renew(tx, lease, now)
        })
    }

    fn release(&mut self, lease: &Lease) -> StoreResult<()> {
        self.transact(|tx| {
            lease::check(tx, lease)?;
            lease::release(tx, lease)
        })?;
        self.give_back_pages();
        Ok(())
    }

    fn memory(&mut self, lease: &Lease) -> StoreResult<LaneMemory> {
        self.read(lease.lane, cursors::memory)
    }

    fn known(&mut self, lease: &Lease, side: Side, at: &[RecordRef]) -> StoreResult<Vec<Known>> {
        self.read(lease.lane, |tx| inbox::known(tx, side, at))
    }

    fn stage(&mut self, lease: &Lease, staged: &[Staged], cursor: Option<(Side, &Cursor)>) -> StoreResult<()> {
        // Most pages of a listing tell nothing new, and need not wait for other lanes that write.
        if staged.is_empty() && cursor.is_none() {
            return self.read(lease.lane, |tx| lease::check(tx, lease));
        }
        self.write(lease, |tx| {
            inbox::stage(tx, staged)?;
            if let Some((side, cursor)) = cursor {
                cursors::set(tx, side, cursor)?;
            }
            Ok(())
        })
    }

    fn carry_over(
        &mut self,
        lease: &Lease,
        side: Side,
        author: &Author,
        cursor: Option<&Cursor>,
        former: Option<&Written>,
    ) -> StoreResult<()> {
        self.write(lease, |tx| cursors::carry_over(tx, side, author, cursor, former))
    }

    fn unseen_links(
        &mut self,
        lease: &Lease,
        side: Side,
        seen: &Seen,
        after: LinkId,
        limit: usize,
    ) -> StoreResult<Vec<(LinkId, RecordRef)>> {
        self.read(lease.lane, |tx| absence::unseen_links(tx, side, seen, after, limit))
    }

    fn forget_unseen(
        &mut self,
        lease: &Lease,
        side: Side,
        aside: (&Seen, AsideId),
        inbox: (&Seen, InboxId),
    ) -> StoreResult<()> {
        self.write(lease, |tx| absence::forget_unseen(tx, side, aside, inbox))
    }

    fn doubt(&mut self, lease: &Lease, side: Side, run: &str, links: &[LinkId]) -> StoreResult<Vec<LinkId>> {
        self.write(lease, |tx| absence::doubt(tx, side, run, links))
    }

    fn swept(&mut self, lease: &Lease, side: Side, seen: &Seen, cursor: Option<&Cursor>) -> StoreResult<()> {
        self.write(lease, |tx| {
            absence::end_doubts(tx, side, seen)?;
            cursors::swept(tx, side)?;
            cursor.map_or(Ok(()), |cursor| cursors::set(tx, side, cursor))
        })
    }

    fn revisits(&mut self, lease: &Lease, past: usize, limit: usize) -> StoreResult<Vec<(Side, RecordRef)>> {
        self.read(lease.lane, |tx| revisits::list(tx, past, limit))
    }

    fn visited(&mut self, lease: &Lease, at: &[(Side, RecordRef)]) -> StoreResult<()> {
        self.write(lease, |tx| revisits::visited(tx, at))
    }

    fn announced(&mut self, lease: &Lease, rows: &[InboxId]) -> StoreResult<Vec<Announced>> {
        self.read(lease.lane, |tx| work::announced(tx, rows))
    }

    fn key_groups(&mut self, lease: &Lease, rank: u8, visit: &mut dyn FnMut(KeyGroup)) -> StoreResult<()> {
        self.read(lease.lane, |tx| matching::key_groups(tx, rank, visit))
    }

    fn unmatched(&mut self, lease: &Lease, side: Side, after: InboxId, limit: usize) -> StoreResult<Vec<Announced>> {
        self.read(lease.lane, |tx| matching::unmatched(tx, side, after, limit))
    }

    fn loose_asides(
        &mut self,
        lease: &Lease,
        side: Side,
        after: AsideId,
        limit: usize,
    ) -> StoreResult<Vec<(AsideId, RecordRef)>> {
        self.read(lease.lane, |tx| aside::loose(tx, side, after, limit))
    }

    fn pair(&mut self, lease: &Lease, pairs: &[(InboxId, InboxId)]) -> StoreResult<()> {
        self.write(lease, |tx| matching::pair(tx, pairs))
    }

    fn drop_candidates(&mut self, lease: &Lease) -> StoreResult<()> {
        self.write(lease, matching::drop_candidates)
    }

    fn hold(&mut self, lease: &Lease, holds: &[Hold], run: &str) -> StoreResult<()> {
        self.write(lease, |tx| holds.iter().try_for_each(|hold| holds::hold(tx, run, hold)))
    }

    fn work(&mut self, lease: &Lease, select: Select, after: InboxId, limit: usize) -> StoreResult<Vec<Work>> {
        self.read(lease.lane, |tx| work::work(tx, select, after, limit))
    }

    fn intend(&mut self, lease: &Lease, run: &str, intents: &mut [Intent], history: &[Lost]) -> StoreResult<()> {
        self.write(lease, |tx| intents::intend(tx, run, intents, history))
    }

    fn open_intents(&mut self, lease: &Lease, side: Side, after: IntentId, limit: usize) -> StoreResult<Vec<Intent>> {
        self.read(lease.lane, |tx| intents::open(tx, side, after, limit))
    }

    fn open_intents_of(&mut self, lease: &Lease, link: LinkId) -> StoreResult<Vec<Intent>> {
        self.read(lease.lane, |tx| intents::of_link(tx, link))
    }

    fn settle(&mut self, lease: &Lease, run: &str, batch: &[Settlement]) -> StoreResult<()> {
        self.write(lease, |tx| settle::settle(tx, run, batch))
    }

    fn remember_map(&mut self, lease: &Lease, fingerprint: &str) -> StoreResult<()> {
        self.write(lease, |tx| cursors::remember_map(tx, fingerprint))
    }

    fn links(&mut self, lease: &Lease, after: LinkId, limit: usize) -> StoreResult<Vec<Link>> {
        self.read(lease.lane, |tx| links::page(tx, after, limit))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{LinkChange, Sides};
    use pairwise_plugin_api::{Action, Fields, Write};

    /// A create on the right for the record that `work` tells, as the pipeline makes it.
    fn create(work: &Work) -> Intent {
        let told = work.news.left.as_ref().unwrap();
        let fields: Fields = [("name/full", told.at.id.as_str())].into_iter().collect();
        let source = end(&told.at.id, "1");
        Intent {
            id: 0,
            call: "call".into(),
            link: Link {
                id: 0,
                ends: Sides { left: Some(source.clone()), right: None },
                shadows: Sides::default(),
                born: Side::Left,
                state: crate::model::LinkState::Live,
            },
            side: Side::Right,
            write: Write { action: Action::Create, fields: fields.clone(), key: "key".into(), ..Write::default() },
            asked: fields.clone(),
            source: Some((source, fields)),
            before: None,
            again: false,
            inbox: vec![told.id],
        }
    }

    #[test]
    fn the_path_of_a_new_record() {
        let (mut db, lease) = world();
        let cursor = Cursor(vec![1, 2, 3]);
        db.stage(&lease, &[here(Side::Left, "ada", "1")], Some((Side::Left, &cursor))).unwrap();
        assert_eq!(db.memory(&lease).unwrap().cursors.left, Some(cursor));

        let works = all_work(&mut db, &lease);
        assert_eq!(sketch(&works), ["ada - -"]);
        let mut intents = [create(&works[0])];
        db.intend(&lease, "run", &mut intents, &[]).unwrap();
        let [intent] = intents;
        assert_eq!(db.open_intents(&lease, Side::Right, 0, 10).unwrap(), std::slice::from_ref(&intent));
        assert_eq!(db.memory(&lease).unwrap().live_links, 1);

        let mut link = intent.link.clone();
        link.ends.right = Some(end("ada.vcf", "r1"));
        link.shadows = Sides { left: intent.asked.clone(), right: intent.asked.clone() };
        let settlement = Settlement {
            settled: intent.inbox.clone(),
            closed: vec![intent.id],
            link: LinkChange::Put(Box::new(link.clone())),
            ..Settlement::default()
        };
        db.settle(&lease, "run", &[settlement]).unwrap();
        assert!(all_work(&mut db, &lease).is_empty());
        assert!(db.open_intents(&lease, Side::Right, 0, 10).unwrap().is_empty());
        assert_eq!(db.links(&lease, 0, 10).unwrap(), [link.clone()]);
        let known = db.known(&lease, Side::Right, &[at("ada.vcf"), at("bob.vcf")]).unwrap();
        assert_eq!(known[0].link, Some((link.id, Some("r1".into()))));
        assert_eq!(known[1], Known::default());
    }
}
