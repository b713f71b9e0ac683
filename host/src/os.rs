//! What differs between operating systems: which process this is, whether another one still lives, private files.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use pairwise_plugin_api::Millis;

use crate::model::Holder;

/// This process, as the holder of a lease.
#[must_use]
pub fn this_process(since: Millis) -> Holder {
    let pid = std::process::id();
    Holder { boot: process::boot(), pid, started: process::started(pid).unwrap_or(0), since }
}

/// False if the process is certainly dead: it ran here, and runs no more. True where that cannot be told.
#[must_use]
pub fn is_alive(holder: &Holder) -> bool {
    let boot = process::boot();
    boot.is_empty() || boot != holder.boot || process::started(holder.pid) == Some(holder.started)
}

/// Makes sure that a file is there; a new one is for its owner's eyes only, because it will hold people's data.
///
/// # Errors
/// If it cannot be made.
pub fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_: File| ())
}

/// Makes a new name in the file's folder durable, where the operating system can.
pub fn sync_folder_of(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Elsewhere than on Unix a folder cannot be opened as a file; there is nothing more to be done about it.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// From now on this process stands back where there is less processor than work: whoever waits for it is to be served first,
/// and gives it the next work the sooner.
pub fn stand_back() {
    // Whoever is not given way to is only slower.
    #[cfg(unix)]
    let _ = rustix::process::nice(5);
}

/// While it lives, nobody sees what is typed on the terminal.
#[derive(Debug)]
pub struct Hidden {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Hidden {
    /// From now on. Where the terminal cannot do that, what is typed is seen.
    #[must_use]
    pub fn typing() -> Self {
        #[cfg(unix)]
        {
            use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
            let terminal = std::io::stdin();
            let before = tcgetattr(&terminal).ok();
            if let Some(mut quiet) = before.clone() {
                quiet.local_modes.remove(LocalModes::ECHO);
                let _ = tcsetattr(&terminal, OptionalActions::Now, &quiet);
            }
            Hidden { before }
        }
        #[cfg(not(unix))]
        Hidden {}
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}

/// The user of the operating system who started this process: the name, or the number where it has none.
#[must_use]
pub fn caller() -> String {
    #[cfg(unix)]
    return name_of(rustix::process::getuid().as_raw());
    #[cfg(not(unix))]
    std::env::var("USERNAME").unwrap_or_default()
}

/// Whether this process may do everything on this machine anyway.
#[must_use]
pub fn is_superuser() -> bool {
    #[cfg(unix)]
    return rustix::process::getuid().is_root();
    #[cfg(not(unix))]
    false
}

/// The owner of a file or folder, where the operating system tells.
#[must_use]
pub fn owner_of(path: &Path) -> Option<String> {
    #[cfg(unix)]
    return std::fs::metadata(path).ok().map(|found| name_of(std::os::unix::fs::MetadataExt::uid(&found)));
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The name of a user, from the file in which it stands everywhere.
#[cfg(unix)]
fn name_of(user: u32) -> String {
    let number = user.to_string();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == number).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}

#[cfg(target_os = "linux")]
mod process {
    use std::fs;

    /// Names the machine's start and the process id's name space; empty if that cannot be told.
    pub(super) fn boot() -> String {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Containers count their processes on their own, under one boot id.
        let space = fs::read_link("/proc/self/ns/pid").map(|path| path.display().to_string()).unwrap_or_default();
        if boot.is_empty() { boot } else { format!("{} {space}", boot.trim()) }
    }

    /// When a process started, in clock ticks since the machine's start; `None` if it is gone or only waits to be reaped.
    pub(super) fn started(pid: u32) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets and may itself hold spaces and brackets.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        // The state is field 3, the start is field 22.
        fields.nth(18)?.parse().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod process {
    /// Nothing is known, so a lease runs out by time.
    pub(super) fn boot() -> String {
        String::new()
    }

    pub(super) fn started(_pid: u32) -> Option<u64> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives() {
        assert!(is_alive(&this_process(0)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dead_process_is_dead_before_it_is_reaped_and_after() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let holder = Holder { pid: child.id(), started: process::started(child.id()).unwrap(), ..this_process(0) };
        assert!(is_alive(&holder));
        child.kill().unwrap();
        while is_alive(&holder) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(&holder));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reused_process_id_is_another_process() {
        let own = this_process(0);
        assert!(!is_alive(&Holder { started: own.started + 1, ..own }));
    }

    #[test]
    fn of_another_machine_nothing_is_known() {
        assert!(is_alive(&Holder { boot: "elsewhere".into(), pid: u32::MAX, started: 1, since: 0 }));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        create_private(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
