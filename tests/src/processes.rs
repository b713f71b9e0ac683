//! How much memory a program and its workers take.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::time::Duration;

/// Waits for a program; the answer is its exit code and the sum of the peaks of all its processes, in bytes.
///
/// # Panics
/// If it cannot be waited for.
pub fn peak_memory(mut program: Child) -> (Option<i32>, u64) {
    let mut peaks = BTreeMap::new();
    loop {
        for process in tree(program.id()) {
            if let Some(peak) = peak(process) {
                peaks.insert(process, peak);
            }
        }
        if let Some(status) = program.try_wait().expect("a child") {
            return (status.code(), peaks.values().sum());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process and all that it started, and those again; the first one first.
#[must_use]
pub fn tree(root: u32) -> Vec<u32> {
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(process) = open.pop() {
        found.push(process);
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            open.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
