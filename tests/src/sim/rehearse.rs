//! Plans: what one says is what the run behind it does.

use pairwise_host::chance::Chance;
use pairwise_host::model::{LaneState, Sides};
use pairwise_host::pipeline::{Drafts, DryRun};

use super::host::{Host, Port};
use super::pool;
use super::system::{System, Weather};
use super::world::World;

impl World {
    /// A plan is made over a copy of the state, and then a host runs: nothing else happens, so that it does what the plan says.
    pub(super) fn rehearse(&self) {
        let sound = |system: &System| system.present_weather() == Weather::Fine && system.troubled().is_empty();
        // What a run that was cut off has left is gone through as it was then, and looked at again only where it is written to.
        let open = self.status().is_some_and(|status| status.open_intents + status.waiting + status.held > 0);
        // That a UID is taken shows when a record is to be made with it, where no match has looked for it.
        let uid_is_key = self.systems.iter().all(|(_, system)| system.abilities.uid) && !self.matches_by_uid();
        let judged = !open && !uid_is_key && self.systems.iter().all(|(_, system)| sound(system));
        let copy = pool::copy(&self.db());
        let state = std::mem::replace(&mut *self.db(), copy);
        let spec = self.spec();
        let drafts = Sides::from_fn(|_| Drafts::new(self.time.now()));
        let host = Host::new(self, &[]);
        let ports = Sides::from_fn(|side| Port { host: &host, side });
        let dry = Sides::from_fn(|side| DryRun::new(&ports[side], &drafts[side], &spec.entities[side]));
        let effects = self.effects();
        let planned = self.run_over(&host, &spec, Sides { left: &dry.left as _, right: &dry.right as _ });
        pool::give_back(std::mem::replace(&mut *self.db(), state));
        if self.effects() != effects {
            self.oracle().complain("P20", "a plan has written".to_owned());
        }
        let done = self.run(&[]);
        let (Ok(planned), Some(done)) = (planned, done) else { return };
        if judged && planned.state == LaneState::Done && done.state == LaneState::Done {
            self.mark("plan judged");
            self.oracle().judge_plan(&planned.items.unwrap_or_default(), &done.items.unwrap_or_default());
        }
    }
}
