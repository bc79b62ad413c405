//! A task's operations and events at moments that mostly go forward, without a search for each.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, Task};

/// So many operations or events are stepped over one by one before they are searched.
const STEPS: usize = 16;

/// Where a task is at a moment: which operation it is in, which begins next, and how many
/// events were recorded on it. What [`Task::op_at`] and [`Task::recorded_within`] tell of
/// one moment, found from an earlier one.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct TaskCursor {
    at: Nanos,
    /// Of the first operation that begins after the moment.
    next: usize,
    /// Of the innermost that contains it.
    inside: Option<usize>,
    /// The events recorded before `until`.
    recorded: usize,
    until: Nanos,
}

impl TaskCursor {
    /// Goes to a moment.
    pub(crate) fn seek(&mut self, task: &Task, time: Nanos) {
        let begun = |i: usize| task.ops.get(i).is_some_and(|op| op.start <= time);
        let forward = self.at <= time;
        let next = if forward { step(self.next, begun) } else { None };
        let next = next.unwrap_or_else(|| task.ops.partition_point(|op| op.start <= time));
        // The operations that ended before an earlier moment have ended.
        let mut inside =
            if forward && next == self.next { self.inside } else { next.checked_sub(1) };
        while let Some(op) = inside.and_then(|i| task.ops.get(i))
            && op.end <= time
        {
            inside = op.parent();
        }
        *self = Self { at: time, next, inside, ..*self };
    }

    /// Index of the innermost operation that contains the moment.
    pub(crate) fn inside(&self) -> Option<usize> {
        self.inside
    }

    /// The innermost operation that contains the moment.
    pub(crate) fn op(&self, task: &Task) -> Option<Op> {
        task.ops.get(self.inside?).copied()
    }

    /// When the next operation begins.
    pub(crate) fn next_start(&self, task: &Task) -> Option<Nanos> {
        task.ops.get(self.next).map(|op| op.start)
    }

    /// How many events were recorded on the task over `[from, to)`.
    pub(crate) fn recorded(&mut self, task: &Task, from: Nanos, to: Nanos) -> u64 {
        let before = self.recorded_before(task, from);
        self.recorded_before(task, to).saturating_sub(before) as u64
    }

    fn recorded_before(&mut self, task: &Task, time: Nanos) -> usize {
        let earlier = |i: usize| task.recorded.get(i).is_some_and(|at| *at < time);
        if self.until != time {
            let found = if self.until < time { step(self.recorded, earlier) } else { None };
            self.recorded = found.unwrap_or_else(|| task.recorded.partition_point(|at| *at < time));
            self.until = time;
        }
        self.recorded
    }
}

/// The first index from `at` on of which `before` does not hold; `None`: it is far.
fn step(at: usize, before: impl Fn(usize) -> bool) -> Option<usize> {
    (at..=at.saturating_add(STEPS)).find(|i| !before(*i))
}
