//! A sandbox and a configuration folder that connects to it.

use pairwise_host::demo::folder::Folder;
use pairwise_host::demo::office::{connection, users};
use pairwise_sandbox::{Options, Sandbox, SystemInfo};

use crate::world::World;

/// Simulated systems, and a world with a connection to each of them, called as the system is.
#[derive(Debug)]
pub struct Office {
    /// The systems: what they hold, what they were asked, what goes wrong next.
    pub sandbox: Sandbox,
    /// The configuration folder.
    pub world: World,
}

impl Office {
    /// Starts the systems that the options name. Where a system has a login for a whole connection (an administrator, a
    /// service account, an application), the connection uses it.
    ///
    /// # Panics
    /// If one of them is not known.
    #[must_use]
    pub fn start(options: Options) -> Office {
        let office = Office { sandbox: Sandbox::start(options).expect("a sandbox"), world: World::empty() };
        connect(&office.world, &office.sandbox.systems());
        office
    }

    /// Writes the profile `sales` between two of the systems, by this preset: every user of the left with the same person's
    /// mailbox on the right, each with the login of their own on the left and with these grants; then more of the profile.
    ///
    /// # Panics
    /// If one of the systems does not run.
    pub fn pair(&self, preset: &str, left: &str, right: &str, grants: &[&str], more: &str) {
        pair(&self.world, preset, [&self.sandbox.info(left), &self.sandbox.info(right)], grants, more);
    }
}

/// Writes `pairwise.toml` with a connection to each system, called as the system is.
pub(crate) fn connect(world: &World, systems: &[SystemInfo]) {
    let folder = Folder::ours(&world.path(""));
    let connections = systems.iter().map(|system| connection(&folder, &system.name, system).expect("a connection"));
    world.put("pairwise.toml", &connections.collect::<Vec<_>>().join("\n"));
}

/// Writes the profile `sales` between two systems.
pub(crate) fn pair(world: &World, preset: &str, systems: [&SystemInfo; 2], grants: &[&str], more: &str) {
    let [left, right] = systems;
    let users = users(&Folder::ours(&world.path("")), left, right, grants).expect("users");
    let head = format!("preset = {preset:?}\nleft = {:?}\nright = {:?}\nenabled = true\n", left.name, right.name);
    world.put("profiles/sales.toml", &format!("{head}{users}\n{more}\n"));
}
