//! Who held a lock while others waited for it, and what he did meanwhile.
//!
//! ```text
//! waiter   [wait for the lock ====================]
//! first    [ waits, too ======]r[ runs ][ fsync ]r       r: releases it
//! second   [ runs ===========]r
//! ```
//! Who held a lock is not recorded. He who ends the wait releases it; while he himself
//! waited for the same lock, whoever ended that had it.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, OpKind, State, Task, TaskId, first_not};

use super::{Lock, Wait, futex};
use crate::cpu_lines::LineCursor;
use crate::cursor::TaskCursor;
use crate::inclusive::Index;
use crate::made::Rival;

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

/// Who held locks while others waited for them.
pub(crate) struct Holder {
    pub(crate) task: TaskId,
    /// How much of the waits it explains.
    pub(crate) total: Nanos,
    /// The stretches of time that it explains.
    parts: Vec<(Nanos, Nanos)>,
    /// Found out when it is first asked for: of many holders few are told of.
    held: OnceCell<Held>,
}

/// What a holder did over the waits that it explains.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Held {
    /// On a CPU.
    pub(crate) ran: Nanos,
    /// Runnable, not running.
    pub(crate) runnable: Nanos,
    /// Blocked itself.
    pub(crate) blocked: Nanos,
    /// In which calls, whatever its state.
    pub(crate) acts: BTreeMap<Act, Nanos>,
}

impl Held {
    /// What it did most of the time.
    pub(crate) fn act(&self) -> Option<(Act, Nanos)> {
        self.acts.iter().max_by_key(|(act, ns)| (**ns, Reverse(**act))).map(|(act, ns)| (*act, *ns))
    }
}

impl Holder {
    /// What it did meanwhile.
    pub(crate) fn held(&self, index: &Index<'_>) -> &Held {
        self.held.get_or_init(|| {
            let (mut held, mut depth) = (Held::default(), Depth::new(&self.parts));
            let Some(task) = index.task(self.task) else { return held };
            for (from, to) in depth.covered() {
                states(task, (from, to), &mut depth, &mut held);
                acts(task, (from, to), &mut depth, &mut held);
            }
            held
        })
    }

    /// Whether it was kept from running for most of it.
    pub(crate) fn starved(&self, index: &Index<'_>) -> bool {
        let runnable = self.held(index).runnable;
        runnable.0.saturating_mul(2) >= self.total.0 && self.total > Nanos::ZERO
    }

    /// Who had the CPU most while it was runnable.
    pub(crate) fn rival(&self, index: &Index<'_>) -> Option<TaskId> {
        let task = index.task(self.task)?;
        let (mut depth, mut cursor) = (Depth::new(&self.parts), LineCursor::default());
        let mut rivals: Vec<Rival> = Vec::new();
        for (from, to) in depth.covered() {
            let spans = task.spans(from, to);
            for (_, from, to, _) in spans.filter(|(.., span)| span.state == State::Runnable) {
                index.ahead(self.task, from, to, &mut cursor, &mut rivals);
            }
        }
        let mut sums: BTreeMap<TaskId, Nanos> = BTreeMap::new();
        for Rival { task, from, to, .. } in rivals {
            *sums.entry(task).or_default() += depth.within(from, to);
        }
        // Of those that tie the first.
        sums.into_iter().max_by_key(|(id, ns)| (*ns, Reverse(*id))).map(|(id, _)| id)
    }
}

/// The holders during waits, who explains most first; ties by the task.
pub(crate) fn holders(model: &Model, waits: &[Wait]) -> Vec<Holder> {
    let mut parts = Parts::new();
    for wait in waits {
        if let Some((until, by)) = wait.release {
            explain(model, wait.lock, by, wait.from, until, 0, &mut parts);
        }
    }
    let holder = |(task, parts): (TaskId, Vec<(Nanos, Nanos)>)| {
        let total = parts.iter().map(|(from, to)| *to - *from).sum();
        Holder { task, total, parts, held: OnceCell::new() }
    };
    let mut holders: Vec<Holder> = parts.into_iter().map(holder).collect();
    // The map gave them in order, and the sort is stable.
    holders.sort_by_key(|holder| Reverse(holder.total));
    holders
}

/// For each holder the stretches of time that it explains. They may overlap: several wait at
/// the same time.
type Parts = BTreeMap<TaskId, Vec<(Nanos, Nanos)>>;

/// Charges `[from, to)` to a holder, and to those whom it waited for itself.
fn explain(
    model: &Model,
    lock: Lock,
    holder: TaskId,
    from: Nanos,
    to: Nanos,
    depth: u8,
    parts: &mut Parts,
) {
    let Some(task) = model.tasks.get(holder.0 as usize) else { return };
    let mut at = from;
    let mut own: Vec<(Nanos, Nanos)> = Vec::new();
    if depth < MAX_DEPTH {
        for (start, end, by) in own_waits(model, task, lock, from, to) {
            if start > at {
                own.push((at, start));
            }
            explain(model, lock, by, start.max(at), end, depth + 1, parts);
            at = at.max(end);
        }
    }
    if at < to {
        own.push((at, to));
    }
    parts.entry(holder).or_default().append(&mut own);
}

/// Stretches of time that may overlap, each moment counted as often as there are stretches that
/// hold it.
///
/// ```text
/// stretches   [------------)        [---)
///                  [-----------)
/// depth       1    2       1   0    1   0
/// ```
struct Depth {
    /// Where it changes: (when, how much lies before, how many hold what follows).
    edges: Vec<(Nanos, Nanos, u64)>,
    /// The edge that was looked at last: times mostly go forward.
    at: usize,
}

impl Depth {
    fn new(stretches: &[(Nanos, Nanos)]) -> Self {
        let ends = stretches.iter().flat_map(|(from, to)| [(*from, true), (*to, false)]);
        let mut ends: Vec<(Nanos, bool)> = ends.collect();
        ends.sort_unstable();
        let mut edges: Vec<(Nanos, Nanos, u64)> = Vec::with_capacity(ends.len());
        let mut depth = 0_u64;
        for at_once in ends.chunk_by(|a, b| a.0 == b.0) {
            let begin = at_once.iter().filter(|(_, begins)| *begins).count() as u64;
            let end = at_once.len() as u64 - begin;
            let Some((time, _)) = at_once.first() else { continue };
            let before = edges.last().map_or(Nanos::ZERO, |edge| before(edge, *time));
            depth = (depth + begin).saturating_sub(end);
            edges.push((*time, before, depth));
        }
        Self { edges, at: 0 }
    }

    /// How much of `[from, to)` they hold.
    fn within(&mut self, from: Nanos, to: Nanos) -> Nanos {
        // Most lie between two edges that follow each other.
        if let Some((at, _, depth)) = self.edges.get(self.at)
            && *at <= from
            && self.edges.get(self.at + 1).is_none_or(|(next, ..)| to <= *next)
        {
            return Nanos((to - from).0.saturating_mul(*depth));
        }
        let before = self.before(from);
        self.before(to) - before
    }

    fn before(&mut self, time: Nanos) -> Nanos {
        let begun = |i: usize| self.edges.get(i).is_some_and(|(at, ..)| *at <= time);
        let from = if begun(self.at) { self.at } else { 0 };
        let after = first_not(from, self.edges.len(), begun);
        let Some(last) = after.checked_sub(1) else { return Nanos::ZERO };
        self.at = last;
        self.edges.get(last).map_or(Nanos::ZERO, |edge| before(edge, time))
    }

    /// The stretches of time that any of them holds, in time order.
    fn covered(&self) -> Vec<(Nanos, Nanos)> {
        let pieces = self.edges.chunk_by(|(.., depth), _| *depth > 0);
        let pieces = pieces.filter_map(|piece| Some((piece.first()?.0, piece.last()?.0)));
        pieces.filter(|(from, to)| from < to).collect()
    }
}

/// How much lies before a time that is not before this edge, nor behind the next.
fn before((at, before, depth): &(Nanos, Nanos, u64), time: Nanos) -> Nanos {
    *before + Nanos((time - *at).0.saturating_mul(*depth))
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
    let mut cursor = TaskCursor::new(task);
    for (index, start, end, span) in task.spans(from, to) {
        if !matches!(span.state, State::Blocked(_)) {
            continue;
        }
        cursor.seek(span.start);
        let waits = task.op_chain(cursor.inside()).any(|(_, op)| {
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

fn states(task: &Task, (from, to): (Nanos, Nanos), depth: &mut Depth, held: &mut Held) {
    for (_, start, end, span) in task.spans(from, to) {
        let sum = match span.state {
            State::Running => &mut held.ran,
            State::Runnable => &mut held.runnable,
            State::Blocked(_) => &mut held.blocked,
            State::Unknown(_) | State::New | State::Dead => continue,
        };
        *sum += depth.within(start, end);
    }
}

/// Time by the outermost call or fault; the rest is its own.
fn acts(task: &Task, (from, to): (Nanos, Nanos), depth: &mut Depth, held: &mut Held) {
    let mut rest = depth.within(from, to);
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
    let ops = task.ops.settled();
    for index in first..ops.len() {
        let start = ops.start(index);
        if start >= to {
            break;
        }
        if ops.parent(index).is_some() {
            continue;
        }
        let act = match ops.call(index) {
            Some(call) => Act::Call(call.nr),
            None if ops.get(index).is_some_and(|op| op.fault().is_some()) => Act::Fault,
            None => continue,
        };
        let ns = depth.within(start.max(from), ops.end(index).min(to));
        if ns > Nanos::ZERO {
            add(act, ns);
            rest = rest - ns;
        }
    }
    if rest > Nanos::ZERO {
        add(Act::Computing, rest);
    }
    for (act, ns) in sums {
        *held.acts.entry(act).or_default() += ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(stretches: &[(u64, u64)]) -> Depth {
        let stretches: Vec<_> = stretches.iter().map(|(a, b)| (Nanos(*a), Nanos(*b))).collect();
        Depth::new(&stretches)
    }

    #[test]
    fn each_moment_counts_as_often_as_stretches_hold_it() {
        let mut depth = depth(&[(40, 50), (10, 20), (15, 30), (20, 25)]);
        let edges: Vec<(u64, u64, u64)> = depth.edges.iter().map(|e| (e.0.0, e.1.0, e.2)).collect();
        let expected = [
            (10, 0, 1),
            (15, 5, 2),
            (20, 15, 2),
            (25, 25, 1),
            (30, 30, 0),
            (40, 30, 1),
            (50, 40, 0),
        ];
        assert_eq!(edges, expected);
        let mut within = |from, to| depth.within(Nanos(from), Nanos(to)).0;
        assert_eq!([within(0, 100), within(12, 18), within(30, 40)], [40, 9, 0]);
        assert_eq!([within(28, 45), within(16, 17), within(50, 60), within(5, 5)], [7, 2, 0, 0]);
        assert_eq!(depth.covered(), [(Nanos(10), Nanos(30)), (Nanos(40), Nanos(50))]);
    }

    #[test]
    fn stretches_that_touch_are_one_and_none_are_nothing() {
        let touching = depth(&[(10, 20), (20, 30)]);
        assert_eq!(touching.covered(), [(Nanos(10), Nanos(30))]);
        let mut none = depth(&[]);
        assert_eq!(none.covered(), []);
        assert_eq!(none.within(Nanos(0), Nanos::MAX), Nanos::ZERO);
    }
}
