//! A lock of the kernel.
//!
//! # What it detects
//! Time of the critical path between `lock:contention_begin` and `contention_end`.
//! # Evidence
//! The lock's address, the call in which it was waited for, who ended the wait.
//! # Why it matters
//! Parallel work in one directory, one file or one address space runs one after the other.
//! # When it is wrong
//! The lock is known by its address only, not by its class.
//! # References
//! Linux 5.19 `lock:contention_begin`; EVENTS 6.

use crate::cause::Cause;
use crate::path::Frame;
use crate::stats::{human, plural};
use crate::verdict::{Facts, Finding, Rule, advice, count, hint, shares};

pub(crate) struct KernelLock;

impl Rule for KernelLock {
    fn id(&self) -> &'static str {
        "kernel_lock"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::KernelLock]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "contention on a lock of the kernel"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let lock = facts
            .first(cause, |cell| {
                cell.frames
                    .iter()
                    .find_map(|f| if let Frame::Lock(addr) = f { Some(*addr) } else { None })
            })
            .map_or_else(String::new, |(addr, _)| format!(" {:#x}", addr.0));
        let call = facts.call(cause).map_or_else(String::new, |(name, _)| format!(" in {name}"));
        let holder = facts
            .peer(cause)
            .map_or_else(String::new, |(task, _)| format!(", held by {}", facts.name_tid(task)));
        if let Some(waits) = facts.inclusive().lock_waits.filter(|w| w.count > 0) {
            evidence.push(count(
                format!(
                    "{}: p50 {}, p99 {}",
                    plural(waits.count, "wait"),
                    human(waits.p50),
                    human(waits.p99)
                ),
                waits.count,
                "lock:contention_begin of the step's tasks",
            ));
        }
        Finding {
            title: format!(
                "waits for kernel lock{lock}{call}{holder}: {}",
                human(facts.own(cause))
            ),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "fewer parallel writers per directory, or shard the directory",
                    "where the call creates, renames or removes names",
                ),
                hint(
                    "fewer threads that map and unmap memory at the same time",
                    "where the call is mmap, munmap, mprotect, or a page fault",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}
