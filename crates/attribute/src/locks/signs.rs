//! Sleeps that look like waits for a lock of the kernel, where its lock events were not recorded.
//!
//! An uninterruptible sleep (mutexes and semaphores of the kernel sleep so,
//! kernel/locking/rwsem.c) that another task ended from inside a call which takes the same
//! lock. Which lock it is, nothing tells.

use agenttrace_model::parse::{Nanos, SwitchState};
use agenttrace_model::{Model, State, SyscallClass, Task, TaskId, WakeSource};

use super::{Lock, Wait};
use crate::inclusive::Stretch;

/// Which lock it seems to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Sign {
    /// The `mmap_lock` of an address space.
    AddressSpace,
    /// The `i_rwsem` of a directory.
    Directory,
}

impl Sign {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddressSpace => "mmap_lock (suspected)",
            Self::Directory => "directory lock (suspected)",
        }
    }
}

/// Calls that change the mappings of an address space: they take its lock for writing.
const MAPPING: [&str; 8] =
    ["mmap", "munmap", "mremap", "mprotect", "brk", "madvise", "clone", "fork"];

/// What a sleep that starts with this span waits for, if it looks like a lock.
pub(crate) fn sign(model: &Model, task: &Task, span: usize) -> Option<(Sign, Nanos, TaskId)> {
    let blocked = task.states.get(span)?;
    if blocked.state != State::Blocked(SwitchState::Uninterruptible) {
        return None;
    }
    let wake = model.wakes.get(task.states.get(span.checked_add(1)?)?.wake?)?;
    let WakeSource::Task(by) = wake.source else { return None };
    let holder = model.tasks.get(by.0 as usize)?;
    let before = Nanos(wake.time.0.saturating_sub(1));
    let (mine, its) = (doing(model, task, blocked.start)?, doing(model, holder, before)?);
    let sign = match (mine, its) {
        (Doing::Mapping | Doing::Fault, Doing::Mapping) if task.pid == holder.pid => {
            Sign::AddressSpace
        }
        (Doing::Names, Doing::Names) => Sign::Directory,
        _ => return None,
    };
    Some((sign, wake.time, by))
}

#[derive(Clone, Copy)]
enum Doing {
    Mapping,
    Fault,
    Names,
}

/// What a task is in that can take one of these locks.
fn doing(model: &Model, task: &Task, time: Nanos) -> Option<Doing> {
    task.op_chain(task.op_at(time)).find_map(|(_, op)| {
        if op.fault().is_some() {
            return Some(Doing::Fault);
        }
        let call = op.syscall()?;
        if model.syscalls.class(call.nr) == SyscallClass::Metadata {
            return Some(Doing::Names);
        }
        MAPPING.contains(&&*model.syscalls.name(call.nr)).then_some(Doing::Mapping)
    })
}

/// The suspected waits of a stretch of work.
pub(super) fn waits<'m>(
    model: &'m Model,
    stretch: Stretch,
    task: &'m Task,
) -> impl Iterator<Item = Wait> + 'm {
    let sleeps = task.spans(stretch.from, stretch.to).map(|(index, from, ..)| (index, from));
    sleeps.filter_map(move |(index, from)| {
        let (sign, until, by) = sign(model, task, index)?;
        let chain = task.op_chain(task.op_at(from));
        Some(Wait {
            lock: Lock::Suspected(sign),
            task: stretch.task,
            from,
            to: until.max(from),
            call: chain.filter_map(|(_, op)| op.syscall()).map(|call| call.nr).next(),
            release: Some((until, by)),
        })
    })
}
