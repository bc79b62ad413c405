//! Who held a lock while others waited for it, and what he did meanwhile.
//!
//! ```text
//! waiter   [wait for the lock ====================]
//! first    [ waits, too ======]r[ runs ][ fsync ]r       r: releases it
//! second   [ runs ===========]r
//! ```
//! Who held a lock is not recorded. He who ends the wait releases it; while he himself
//! waited for the same lock, whoever ended that had it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, OpKind, State, Task, TaskId};

use super::{Lock, Wait, futex};
use crate::cpu_lines::LineCursor;
use crate::inclusive::Index;

/// Holders of holders are followed this deep.
const MAX_DEPTH: u8 = 16;

/// What a holder was in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Act {
    /// In a system call, by its number.
    Call(i32),
    /// In a page fault from user mode.
    Fault,
    /// In none of these.
    Computing,
}

/// One holder's part of some waits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Held {
    /// How much of the waits it explains.
    pub(crate) total: Nanos,
    /// Of it: on a CPU.
    pub(crate) ran: Nanos,
    /// Of it: runnable, not running.
    pub(crate) runnable: Nanos,
    /// Of it: blocked itself.
    pub(crate) blocked: Nanos,
    /// Of it: in which calls, whatever its state.
    pub(crate) acts: BTreeMap<Act, Nanos>,
    /// Who had the CPU while it was runnable.
    pub(crate) rivals: BTreeMap<TaskId, Nanos>,
}

impl Held {
    /// What it did most of the time.
    pub(crate) fn act(&self) -> Option<(Act, Nanos)> {
        self.acts.iter().max_by_key(|(act, ns)| (**ns, Reverse(**act))).map(|(act, ns)| (*act, *ns))
    }

    /// Who had the CPU most while it was runnable.
    pub(crate) fn rival(&self) -> Option<TaskId> {
        self.rivals.iter().max_by_key(|(id, ns)| (**ns, Reverse(**id))).map(|(id, _)| *id)
    }

    /// Whether it was kept from running for most of it.
    pub(crate) fn starved(&self) -> bool {
        self.runnable.0.saturating_mul(2) >= self.total.0 && self.total > Nanos::ZERO
    }
}

/// The holders during waits, who explains most first; ties by the task.
pub(crate) fn held<'w>(
    index: &Index<'_>,
    waits: impl Iterator<Item = &'w Wait>,
) -> Vec<(TaskId, Held)> {
    let mut sums = Sums::default();
    for wait in waits {
        if let Some((until, by)) = wait.release {
            explain(index, wait.lock, by, wait.from, until, 0, &mut sums);
        }
    }
    let mut holders: Vec<(TaskId, Held)> = sums.holders.into_iter().collect();
    // The map gave them in order, and the sort is stable.
    holders.sort_by_key(|(_, held)| Reverse(held.total));
    holders
}

#[derive(Default)]
struct Sums {
    holders: BTreeMap<TaskId, Held>,
    /// Where the lines of CPUs were read last.
    cursor: LineCursor,
}

/// Charges `[from, to)` to a holder, and to those whom it waited for itself.
fn explain(
    index: &Index<'_>,
    lock: Lock,
    holder: TaskId,
    from: Nanos,
    to: Nanos,
    depth: u8,
    sums: &mut Sums,
) {
    let Some(task) = index.model.tasks.get(holder.0 as usize) else { return };
    let mut at = from;
    let mut own: Vec<(Nanos, Nanos)> = Vec::new();
    if depth < MAX_DEPTH {
        for (start, end, by) in own_waits(index.model, task, lock, from, to) {
            if start > at {
                own.push((at, start));
            }
            explain(index, lock, by, start.max(at), end, depth + 1, sums);
            at = at.max(end);
        }
    }
    if at < to {
        own.push((at, to));
    }
    let Sums { holders, cursor } = sums;
    let held = holders.entry(holder).or_default();
    for (from, to) in own {
        held.total += to - from;
        states(index, (holder, task), from, to, cursor, held);
        acts(task, from, to, held);
    }
}

/// Where a task slept for this lock itself within `[from, to)`: from, to, ended by whom.
fn own_waits(
    model: &Model,
    task: &Task,
    lock: Lock,
    from: Nanos,
    to: Nanos,
) -> Vec<(Nanos, Nanos, TaskId)> {
    let mut found = Vec::new();
    for (index, start, end, span) in task.spans(from, to) {
        if !matches!(span.state, State::Blocked(_)) {
            continue;
        }
        let waits = task.op_chain(task.op_at(span.start)).any(|(_, op)| {
            if let OpKind::Lock { addr, kind } = op.kind {
                return lock.same(Lock::Kernel(addr, kind));
            }
            let futex = op.syscall().and_then(|call| futex(model, task, &call));
            futex.is_some_and(|futex| futex.same(lock))
        });
        let wake = task.states.get(index + 1).and_then(|next| next.wake);
        let wake = wake.and_then(|id| model.wakes.get(id));
        if waits && let Some(agenttrace_model::WakeSource::Task(by)) = wake.map(|w| w.source) {
            found.push((start, end, by));
        }
    }
    found
}

fn states(
    index: &Index<'_>,
    (holder, task): (TaskId, &Task),
    from: Nanos,
    to: Nanos,
    cursor: &mut LineCursor,
    held: &mut Held,
) {
    for (at, start, end, span) in task.spans(from, to) {
        match span.state {
            State::Running => held.ran += end - start,
            State::Runnable => {
                held.runnable += end - start;
                let next = task.states.since(at + 1).find(|s| s.state == State::Running);
                // Where it ran next is sure; where it was queued may be a guess.
                let cpu = next.map_or(span.cpu, |s| s.cpu);
                let ran = index.ran(cursor, cpu, start, end);
                for (other, ns) in ran.filter(|(id, _)| *id != holder) {
                    *held.rivals.entry(other).or_default() += ns;
                }
            }
            State::Blocked(_) => held.blocked += end - start,
            State::Unknown(_) | State::New | State::Dead => {}
        }
    }
}

/// Time by the outermost call or fault; the rest is its own.
fn acts(task: &Task, from: Nanos, to: Nanos, held: &mut Held) {
    let mut rest = to - from;
    // They are few, and there are many operations.
    let mut sums: Vec<(Act, Nanos)> = Vec::new();
    let mut add = |act: Act, ns: Nanos| match sums.iter_mut().find(|(of, _)| *of == act) {
        Some((_, sum)) => *sum += ns,
        None => sums.push((act, ns)),
    };
    let first = task
        .op_chain(task.op_at(from))
        .last()
        .map_or_else(|| task.ops.before(from), |(outermost, _)| outermost);
    let outer = task.ops.iter().skip(first).take_while(|op| op.start < to);
    for op in outer.filter(|op| op.parent().is_none()) {
        let act = match (op.syscall(), op.fault()) {
            (Some(call), _) => Act::Call(call.nr),
            (None, Some(_)) => Act::Fault,
            (None, None) => continue,
        };
        let (start, end) = (op.start.max(from), op.end.min(to));
        if start < end {
            add(act, end - start);
            rest = Nanos(rest.0.saturating_sub((end - start).0));
        }
    }
    if rest > Nanos::ZERO {
        add(Act::Computing, rest);
    }
    for (act, ns) in sums {
        *held.acts.entry(act).or_default() += ns;
    }
}
