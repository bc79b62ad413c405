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

use agenttrace_model::{LockKind, SyscallClass};

use super::locked;
use crate::cause::Cause;
use crate::locks::{Lock, Sign, by_lock, holders};
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice, hint, lock_caller, shares, tops};

pub(crate) struct KernelLock;

/// Calls that change the mappings of an address space.
const MAPPING: [&str; 6] = ["mmap", "munmap", "mprotect", "mremap", "brk", "madvise"];
/// Calls that use the position of an open file, which has a mutex of its own where the
/// fd is shared (fs/file.c, `__fdget_pos`).
const POSITION: [&str; 8] =
    ["read", "write", "lseek", "readv", "writev", "getdents", "getdents64", "sendfile"];

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
        let holders = holders(facts.model(), of_main);
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
            (Some(name), None) => format!(" in {name}"),
            (None, Some(name)) => format!(" in {name}"),
            (None, None) => String::new(),
        };
        let others = match locks.len().saturating_sub(1) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let own = facts.own(cause);
        let title = match holders.first() {
            Some(holder) => format!(
                "kernel {lock}{at}{others} held by {}: {}, {}",
                facts.name_tid(holder.task),
                human(own),
                locked::did(facts, holder, own)
            ),
            None => format!("kernel {lock}{at}{others}: {}, nobody slept for it", human(own)),
        };
        let maps = matches!(main, Some((Lock::Suspected(Sign::AddressSpace), _)))
            || call.as_deref().is_some_and(|call| MAPPING.contains(&call));
        let mutex = matches!(main, Some((Lock::Kernel(_, LockKind::Mutex), _)));
        let position = mutex && call.as_deref().is_some_and(|call| POSITION.contains(&call));
        let names = main
            .and_then(|(_, waits)| waits.first()?.call)
            .is_some_and(|nr| facts.model().syscalls.class(nr) == SyscallClass::Metadata);
        let recommendation = if maps {
            advice(
                facts,
                cause,
                "fewer threads that map, unmap and fault memory at the same time",
                "where it is the lock of the address space (mmap_lock)",
            )
        } else if position {
            advice(
                facts,
                cause,
                "a file descriptor of its own for each thread, or pread and pwrite",
                "where several threads share the fd: its position has a lock (f_pos_lock)",
            )
        } else if names {
            advice(
                facts,
                cause,
                "fewer parallel writers per directory, or shard the directory",
                "where the calls create, rename or remove names in one directory",
            )
        } else {
            hint(
                "fewer tasks that make this call at the same time",
                "where they use the same file, device or address space",
            )
        };
        let recommendations = vec![recommendation];
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}
