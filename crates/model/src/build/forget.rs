//! A beginning of which little is wanted: calls that only waited are taken away again.
//!
//! ```text
//! enter read | switches, wakeups | exit read | enter poll       read goes: nobody will look for it
//! enter read | reclaim, a request, ... | exit read              stays: what came of it may last
//! ```
//! A capture's reader has left out calls in which nothing happened (`Skim`). Of those that slept or
//! woke somebody the states and the wakeups stay; the calls are asked for by steps alone.

use agenttrace_parse::events::{Event, Kind};
use agenttrace_parse::{Leaves, Nanos, Skim, Tid};
use rustc_hash::FxHashSet;

use super::Builder;
use crate::syscall_table::SyscallClass;
use crate::task::TaskId;

/// What of a capture's beginning is wanted.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// What comes before is the beginning.
    pub before: Nanos,
    /// Steps that go on at its end have begun since.
    pub steps_since: Nanos,
    /// The tasks that steps begin with: whether their marks fit is told by their calls.
    pub roots: FxHashSet<Tid>,
}

/// Which calls are forgotten.
#[derive(Default)]
pub(super) struct Forgets {
    before: Nanos,
    roots: FxHashSet<Tid>,
    /// By number.
    calls: Vec<bool>,
}

impl Forgets {
    /// Whether all calls of a task are kept.
    pub(super) fn none_of(&self, tid: Tid) -> bool {
        self.roots.contains(&tid)
    }

    fn call(&self, nr: i32) -> bool {
        usize::try_from(nr).ok().and_then(|nr| self.calls.get(nr)).is_some_and(|forgets| *forgets)
    }
}

impl Builder {
    /// Little is wanted of a capture's beginning: what the reader may pass over there. Before
    /// the first event.
    #[must_use]
    pub fn skim(&mut self, beginning: Beginning) -> Skim {
        let Beginning { before, steps_since, roots } = beginning;
        let calls = self.model.syscalls.leaves();
        // Who ever waited on a futex word tells locks.
        let waits =
            |(nr, leaves)| leaves == &Leaves::Nothing && self.class(nr) != SyscallClass::Futex;
        let forgets = (0..).zip(&calls).map(waits).collect();
        self.forgets = Forgets { before: before.min(steps_since), roots, calls: forgets };
        self.model.whole_since = before;
        Skim { before, calls }
    }

    /// A task enters a call: what it did in the last one may be forgotten.
    #[inline]
    pub(super) fn forget_call(&mut self, task: TaskId, time: Nanos) {
        if time < self.forgets.before {
            self.forget_last(task);
        }
    }

    #[inline(never)]
    fn forget_last(&mut self, task: TaskId) {
        // Marks in the trace may tell of steps that nobody knows yet.
        let marked = !self.model.marks.is_empty() || !self.model.step_fields.is_empty();
        let Some(live) = self.live.get_mut(task.0 as usize) else { return };
        let keeps = std::mem::take(&mut live.keeps_call) || live.keeps_calls || marked;
        if !keeps {
            live.ops.forget_call(|nr| self.forgets.call(nr));
        }
    }

    /// Something was recorded that may be asked for later, with the call that it was in.
    #[inline]
    pub(super) fn keep_call(&mut self, event: &Event<'_>) {
        if event.time < self.forgets.before
            && !matches!(event.kind, Kind::Sched(_) | Kind::Record(_) | Kind::Fault(_))
            && let Some(task) = self.by_tid.get(&event.tid)
        {
            let task = *task;
            self.live(task).keeps_call = true;
        }
    }
}
