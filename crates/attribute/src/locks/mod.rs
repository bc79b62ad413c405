//! Operations to waits for locks, of the kernel and of programs: who waited for which, until whom.

mod holder;
mod signs;

use agenttrace_model::parse::{Addr, Nanos, Pid};
use agenttrace_model::{
    Items, LockKind, Model, Op, OpKind, Ops, State, SyscallClass, SyscallOp, Task, TaskId,
    WakeSource,
};

use crate::inclusive::Stretch;
pub(crate) use holder::{Act, Held, Holder, holders};
pub(crate) use signs::{Sign, sign};

/// A lock, as far as the capture tells one from another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lock {
    /// Of the kernel, by its address.
    Kernel(Addr, LockKind),
    /// A futex word that is waited on for "contended" (2), or for a PI lock: a mutex.
    Mutex(Pid, Addr),
    /// Another futex word: a condition variable, a queue, a semaphore.
    Futex(Pid, Addr),
    /// Of the kernel, where its lock events were not recorded: by the signs of one.
    Suspected(Sign),
}

impl Lock {
    /// What it is, in words.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Kernel(_, kind) => kind.name(),
            Self::Mutex(..) => "mutex",
            Self::Futex(..) => "futex",
            Self::Suspected(sign) => sign.name(),
        }
    }

    /// Its address.
    pub(crate) fn addr(self) -> Option<Addr> {
        match self {
            Self::Kernel(addr, _) | Self::Mutex(_, addr) | Self::Futex(_, addr) => Some(addr),
            Self::Suspected(_) => None,
        }
    }

    pub(crate) fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel(..) | Self::Suspected(_))
    }

    /// Whether both are one lock, however it is asked for.
    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Kernel(a, _), Self::Kernel(b, _)) => a == b,
            (Self::Mutex(p, a) | Self::Futex(p, a), Self::Mutex(q, b) | Self::Futex(q, b)) => {
                p == q && a == b
            }
            // Which one it is, no event tells.
            _ => false,
        }
    }
}

/// A wait for a lock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wait {
    pub(crate) lock: Lock,
    pub(crate) task: TaskId,
    /// From when it asked until it went on.
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    /// The system call in which it asked.
    pub(crate) call: Option<i32>,
    /// When its last sleep was ended, and by whom: he who released the lock. `None`: it
    /// did not sleep, or nothing tells.
    pub(crate) release: Option<(Nanos, TaskId)>,
}

impl Wait {
    pub(crate) fn duration(&self) -> Nanos {
        self.to - self.from
    }
}

/// A wait for a lock of the kernel, as its events tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KernelWait {
    pub(crate) start: Nanos,
    /// [`Nanos::MAX`]: its end was not recorded.
    pub(crate) end: Nanos,
    pub(crate) addr: Addr,
}

/// The waits for locks of the kernel among operations, in the order of their start. A spin
/// can begin within a wait: then both are there.
pub(crate) fn kernel_waits(ops: Items<'_, Ops>) -> impl Iterator<Item = KernelWait> + '_ {
    ops.filter_map(|op| {
        let OpKind::Lock { addr, .. } = op.kind else { return None };
        Some(KernelWait { start: op.start, end: op.end, addr })
    })
}

/// All waits for locks that begin in a stretch of work, in the order of their start; `ops`: the
/// operations of it that can be such.
pub(crate) fn waits(model: &Model, stretch: Stretch, ops: &[Op]) -> Vec<Wait> {
    let Some(task) = model.tasks.get(stretch.task.0 as usize) else { return Vec::new() };
    let end = model.span.1;
    let call_around = |parent| {
        let chain = task.op_chain(parent);
        chain.filter_map(|(_, op)| op.syscall()).map(|call| call.nr).next()
    };
    let mut found: Vec<Wait> = Vec::new();
    for op in ops {
        let (lock, call) = if let OpKind::Lock { addr, kind } = op.kind {
            (Lock::Kernel(addr, kind), call_around(op.parent()))
        } else if let Some(call) = op.syscall()
            && let Some(lock) = futex(model, task, &call)
            && slept(task, op.start, op.end)
        {
            (lock, Some(call.nr))
        } else {
            continue;
        };
        found.push(Wait {
            lock,
            task: stretch.task,
            from: op.start,
            to: op.end.min(end).max(op.start),
            call,
            release: release(model, task, op.start, op.end),
        });
    }
    if !model.captured.has("lock:contention_begin") {
        found.extend(signs::waits(model, stretch, task));
    }
    // Of those that begin at once, those for locks of the kernel that its events tell come first.
    found.sort_by_key(|wait| (wait.from, wait.lock.addr().is_none(), !wait.lock.is_kernel()));
    found
}

/// The futex that a call waits on.
fn futex(model: &Model, task: &Task, call: &SyscallOp) -> Option<Lock> {
    let futex = model.syscalls.class(call.nr) == SyscallClass::Futex && !call.no_entry;
    let addr = Addr(call.arg0);
    futex.then_some(if call.lock {
        Lock::Mutex(task.pid, addr)
    } else {
        Lock::Futex(task.pid, addr)
    })
}

fn slept(task: &Task, from: Nanos, to: Nanos) -> bool {
    task.spans(from, to).any(|(.., span)| matches!(span.state, State::Blocked(_)))
}

/// What ended the last sleep within `(from, to]`.
fn release(model: &Model, task: &Task, from: Nanos, to: Nanos) -> Option<(Nanos, TaskId)> {
    let until = Nanos(to.0.saturating_add(1));
    let wakes = task.spans(from, until).filter_map(|(.., span)| {
        model.wakes.get(span.wake?).filter(|w| w.time > from && w.time <= to)
    });
    let last = wakes.last()?;
    if let WakeSource::Task(by) = last.source { Some((last.time, by)) } else { None }
}

/// Locks with their waits, the longest in all first; ties by the lock.
pub(crate) fn by_lock(waits: &[Wait]) -> Vec<(Lock, Vec<Wait>)> {
    let mut groups: std::collections::BTreeMap<Lock, Vec<Wait>> = std::collections::BTreeMap::new();
    for wait in waits {
        groups.entry(wait.lock).or_default().push(*wait);
    }
    let mut groups: Vec<(Lock, Vec<Wait>)> = groups.into_iter().collect();
    // The map gave them in order, and the sort is stable.
    groups.sort_by_key(|(_, waits)| std::cmp::Reverse(total(waits)));
    groups
}

/// Their time in all.
pub(crate) fn total(waits: &[Wait]) -> Nanos {
    waits.iter().map(Wait::duration).sum()
}
