//! A lock of the kernel.
//!
//! # What it detects
//! Time of the critical path between `lock:contention_begin` and `contention_end`. Where
//! these were not recorded: uninterruptible sleeps in calls on memory maps or names, which
//! another task ended from such a call; suspected, at low confidence.
//! # Evidence
//! The lock's kind and address, the function or the call in which it was waited for, who
//! ended the wait, and what he did meanwhile.
//! # Why it matters
//! Parallel work on one file or one address space runs one after the other.
//! # When it is wrong
//! The lock is known by its kind and address only, not by its class. Only the slow path has
//! events: a read-write semaphore that is got by spinning on its owner has none
//! (kernel/locking/rwsem.c, `rwsem_optimistic_spin`). Who released it is taken for who held it.
//! # References
//! include/trace/events/lock.h (Linux 5.19); tools/perf/builtin-lock.c.

use super::locked;
use crate::cause::Cause;
use crate::locks::{Lock, Sign, by_lock};
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice, hint, lock_caller, shares, tops};

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
        let waits = facts.lock_waits(cause);
        let locks = by_lock(&waits);
        let main = locks.first();
        let of_main = main.map_or(&[][..], |(_, waits)| waits.as_slice());
        let holders = locked::holders(facts, of_main);
        evidence.extend(locked::evidence(facts, of_main, &holders, "lock:contention_begin"));
        let lock = main.map_or_else(
            || "lock".to_owned(),
            |(lock, _)| {
                let at = lock.addr().map_or_else(String::new, |addr| format!(" {:#x}", addr.0));
                format!("{}{at}", lock.kind())
            },
        );
        let call = facts.call(cause).map(|(name, _)| name);
        let callers = of_main
            .iter()
            .filter_map(|wait| lock_caller(facts.parts.stacks?, facts.tid(wait.task)?, wait.from));
        let caller = tops(callers).into_iter().next().map(|(name, _)| name);
        let at = match (&caller, &call) {
            (Some(caller), Some(call)) => format!(" in {caller} ({call})"),
            (Some(name), None) | (None, Some(name)) => format!(" in {name}"),
            (None, None) => String::new(),
        };
        let others = match locks.len().saturating_sub(1) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let own = human(facts.own(cause));
        let title = match holders.first() {
            Some((task, held)) => format!(
                "kernel {lock}{at}{others} held by {}: {own}, {}",
                facts.name_tid(*task),
                locked::did(facts, held)
            ),
            None => format!("kernel {lock}{at}{others}: {own}, nobody slept for it"),
        };
        let maps = matches!(main, Some((Lock::Suspected(Sign::AddressSpace), _)))
            || call.as_deref().is_some_and(|call| {
                ["mmap", "munmap", "mprotect", "mremap", "brk", "madvise"].contains(&call)
            });
        let mut recommendations = Vec::new();
        if maps || call.is_none() {
            recommendations.push(advice(
                facts,
                cause,
                "fewer threads that map, unmap and fault memory at the same time",
                "where it is the lock of the address space (mmap_lock)",
            ));
        }
        if !maps {
            recommendations.push(advice(
                facts,
                cause,
                "a file descriptor of its own for each thread, and pread/pwrite",
                "where the call is on an fd that several threads share: its position has a lock",
            ));
            recommendations.push(hint(
                "fewer parallel writers per directory, or shard the directory",
                "where the call creates, renames or removes names",
            ));
        }
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}
