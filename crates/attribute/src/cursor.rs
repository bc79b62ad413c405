//! A task's operations and events at moments that mostly go forward, without a search for each.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, RecordedCursor, Task};

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
    /// The events recorded before a moment.
    recorded: RecordedCursor,
}

impl TaskCursor {
    /// Goes to a moment.
    pub(crate) fn seek(&mut self, task: &Task, time: Nanos) {
        let begun = |i: usize| task.ops.start(i).is_some_and(|start| start <= time);
        let forward = self.at <= time;
        let next = if forward { step(self.next, begun) } else { None };
        let next = next.unwrap_or_else(|| task.ops.up_to(time));
        // The operations that ended before an earlier moment have ended.
        let mut inside =
            if forward && next == self.next { self.inside } else { next.checked_sub(1) };
        while let Some(index) = inside
            && task.ops.end(index).is_some_and(|end| end <= time)
        {
            inside = task.ops.parent(index);
        }
        *self = Self { at: time, next, inside, ..*self };
    }

    /// Index of the innermost operation that contains the moment.
    pub(crate) fn inside(&self) -> Option<usize> {
        self.inside
    }

    /// The innermost operation that contains the moment.
    pub(crate) fn op(&self, task: &Task) -> Option<Op> {
        task.ops.get(self.inside?)
    }

    /// When the next operation begins.
    pub(crate) fn next_start(&self, task: &Task) -> Option<Nanos> {
        task.ops.start(self.next)
    }

    /// How many events were recorded on the task over `[from, to)`.
    pub(crate) fn recorded(&mut self, task: &Task, from: Nanos, to: Nanos) -> u64 {
        self.recorded.within(&task.recorded, from, to)
    }
}

/// The first index from `at` on of which `before` does not hold; `None`: it is far.
fn step(at: usize, before: impl Fn(usize) -> bool) -> Option<usize> {
    (at..=at.saturating_add(STEPS)).find(|i| !before(*i))
}
