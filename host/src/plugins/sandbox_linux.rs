//! The sandbox of a worker, as Linux has it: resource limits, Landlock, seccomp.
//!
//! All three bind the calling thread and the threads that it starts, so they are put in force while there is no other. None of
//! them makes a hostile plugin harmless; they bound what a mistake can do.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use rlimit::{Resource, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::sandbox::{Landlock, Policy, Status};

/// The newest Landlock that is asked for.
const LANDLOCK: ABI = ABI::V6;

/// What every plugin may read: libraries, name resolution, certificates, time zones.
const READABLE: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/run/systemd/resolve",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

/// What no connector needs. Refused with "operation not permitted".
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
];

/// Puts the policy in force, as far as this kernel has the means.
pub(super) fn apply(policy: &Policy, library: &Path, status: &mut Status) {
    if threads() != Some(1) {
        status.missing.push("other threads run already".to_owned());
    }
    match limits(policy) {
        Ok(()) => status.rlimits = true,
        Err(error) => status.missing.push(format!("resource limits: {error}")),
    }
    match files_and_ports(policy, library) {
        Ok(landlock) => status.landlock = landlock,
        Err(error) => status.missing.push(format!("landlock: {error}")),
    }
    match system_calls() {
        Ok(()) => status.seccomp = true,
        Err(error) => status.missing.push(format!("seccomp: {error}")),
    }
}

fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Data rather than address space: a library with many threads reserves much and uses little.
fn limits(policy: &Policy) -> std::io::Result<()> {
    for (resource, limit) in [(Resource::CORE, 0), (Resource::DATA, policy.memory), (Resource::NOFILE, policy.files)] {
        let limit = limit.min(resource.get_hard()?);
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

fn files_and_ports(policy: &Policy, library: &Path) -> Result<Landlock, landlock::RulesetError> {
    let readable: Vec<PathBuf> = READABLE.iter().map(PathBuf::from).chain([library.to_owned()]).collect();
    let certificates = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let read = AccessFs::from_read(LANDLOCK) & !AccessFs::Execute;
    let write = AccessFs::from_all(LANDLOCK) & !AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(readable.into_iter().chain(certificates), read))?
        .add_rules(path_beneath_rules(&policy.read, read))?
        .add_rules(path_beneath_rules(&policy.write, write))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?;
    for port in &policy.ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::None,
    })
}

fn system_calls() -> Result<(), Box<dyn std::error::Error>> {
    let refused = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}
