//! Several tasks in one directory, one after the other.
//!
//! # What it detects
//! Waits of metadata calls for the read-write semaphore of a directory's inode (`i_rwsem`),
//! which a task in another metadata call released. A special rule: it takes these waits from
//! the verdict on locks of the kernel.
//! # Evidence
//! The waits by call, who held the lock, and what he did meanwhile.
//! # Why it matters
//! Creating, renaming and removing names in one directory is serial, whatever the number of
//! CPUs; a lookup that must read the disk, and a listing, keep all writers out, too.
//! # When it is wrong
//! The lock is known by its kind and by the calls on both sides, not by its class: two calls
//! on the attributes of one and the same file look alike. Waiters that get it by spinning
//! have no event.
//! # References
//! Documentation/filesystems/directory-locking.rst; kernel/locking/rwsem.c.

use std::collections::BTreeSet;

use agenttrace_model::parse::{Addr, Nanos};
use agenttrace_model::{Model, NAME_CHANGES, SyscallClass, TaskId};

use super::locked;
use crate::cause::Cause;
use crate::locks::{Lock, Sign, Wait, holders};
use crate::path::Frame;
use crate::stats::{added_up, human};
use crate::verdict::{Cell, Facts, Finding, Rule, Takes, advice, hint, shares};

pub(crate) struct DirectoryContention;

/// Calls that lock a directory to look a name up, to make a file or to list it; those of
/// [`NAME_CHANGES`] do too.
const IN_DIRECTORY: [&str; 14] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "getdents",
    "getdents64",
    "mknodat",
];

/// The waits of the path for locks of directories.
fn waits(facts: &Facts<'_>) -> Vec<Wait> {
    let model = facts.model();
    let mut waits = facts.lock_waits(Cause::KernelLock);
    if waits.is_empty() {
        return waits;
    }
    waits.retain(|wait| match wait.lock {
        Lock::Suspected(sign) => sign == Sign::Directory,
        Lock::Kernel(_, kind) => {
            kind.is_rwsem()
                && wait.call.is_some_and(|nr| in_directory(&model.syscalls.name(nr)))
                && wait.release.is_some_and(|(time, by)| in_metadata(model, by, time))
        }
        Lock::Mutex(..) | Lock::Futex(..) => false,
    });
    waits
}

/// Whether a call of this name looks at or changes a directory.
fn in_directory(name: &str) -> bool {
    IN_DIRECTORY.contains(&name) || NAME_CHANGES.contains(&name)
}

/// Whether a task is in a metadata call at a time.
fn in_metadata(model: &Model, task: TaskId, time: Nanos) -> bool {
    let Some(task) = model.tasks.get(task.0 as usize) else { return false };
    let before = Nanos(time.0.saturating_sub(1));
    let mut calls = task.op_chain(task.op_at(before)).filter_map(|(_, op)| op.syscall());
    calls.any(|call| model.syscalls.class(call.nr) == SyscallClass::Metadata)
}

fn lock_of(cell: &Cell<'_>) -> Option<Addr> {
    cell.frames.iter().find_map(|f| if let Frame::Lock(addr) = f { Some(*addr) } else { None })
}

impl Rule for DirectoryContention {
    fn id(&self) -> &'static str {
        "directory_contention"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::KernelLock, Cause::RunDelay]
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        let waits = waits(facts);
        if waits.is_empty() {
            return None;
        }
        let locks: BTreeSet<Addr> = waits.iter().filter_map(|wait| wait.lock.addr()).collect();
        let suspected = waits.iter().any(|wait| matches!(wait.lock, Lock::Suspected(_)));
        Some(Box::new(move |cell| {
            let about = cell.cause == Cause::KernelLock || cell.under == Some(Cause::KernelLock);
            about
                && match lock_of(cell) {
                    Some(addr) => locks.contains(&addr),
                    None => {
                        suspected
                            && cell.frames.iter().any(|frame| {
                                matches!(frame, Frame::Syscall(nr)
                                    if facts.model().syscalls.class(*nr) == SyscallClass::Metadata)
                            })
                    }
                }
        }))
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "contention in a directory"
    }
    fn find(&self, facts: &Facts<'_>, _: Cause) -> Finding {
        let cause = Cause::KernelLock;
        let model = facts.model();
        let mut evidence = shares(facts, cause);
        let waits = waits(facts);
        let holders = holders(facts.model(), &waits);
        evidence.extend(locked::evidence(facts, &waits, &holders, "lock:contention_begin"));
        let calls = added_up(waits.iter().filter_map(|w| Some((w.call?, w.duration()))).collect());
        let names: Vec<_> = calls.iter().take(2).map(|(nr, _)| model.syscalls.name(*nr)).collect();
        let held = facts.held(cause);
        let by = match holders.as_slice() {
            [] => ", by whom is not known".to_owned(),
            [first, rest @ ..] => {
                let others = match rest.len() {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                format!(
                    " for {}{others}, {}",
                    facts.name_tid(first.task),
                    locked::did(facts, first, held)
                )
            }
        };
        Finding {
            title: sentence!(
                "directory contention: {} waited {}{by}",
                names.join(" and "),
                human(held)
            ),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "fewer parallel writers per directory, or shard the directory",
                    "where the names may lie in several directories",
                ),
                hint(
                    "write into a directory of one's own, then rename the result into place",
                    "where others only need the finished file; within one filesystem",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}
