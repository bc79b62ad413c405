//! A task's operations and events at moments that mostly go forward, without a search for each.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, RecordedCursor, Task};

/// So many operations are stepped over one by one before they are searched.
const STEPS: usize = 16;

/// Where a task is at a moment: which operation it is in, and which begins next. What
/// [`Task::op_at`] tells of one moment, found from an earlier one.
#[derive(Clone, Debug)]
pub(crate) struct TaskCursor<'m> {
    task: &'m Task,
    at: Nanos,
    /// Of the first operation that begins after the moment.
    next: usize,
    /// Of the innermost that contains it.
    inside: Option<usize>,
    recorded: RecordedCursor,
}

impl<'m> TaskCursor<'m> {
    /// Before all that a task did.
    pub(crate) fn new(task: &'m Task) -> Self {
        Self { task, at: Nanos::ZERO, next: 0, inside: None, recorded: RecordedCursor::default() }
    }

    /// Goes to a moment.
    pub(crate) fn seek(&mut self, time: Nanos) {
        let ops = &self.task.ops;
        let forward = self.at <= time;
        let begun = |i: usize| ops.start(i).is_some_and(|start| start <= time);
        let near = self.next..=self.next.saturating_add(STEPS);
        let near = if forward { near.into_iter().find(|i| !begun(*i)) } else { None };
        let next = near.unwrap_or_else(|| ops.up_to(time));
        // What had ended before an earlier moment has ended.
        let mut inside =
            if forward && next == self.next { self.inside } else { next.checked_sub(1) };
        while let Some(index) = inside
            && ops.end(index).is_none_or(|end| end <= time)
        {
            inside = ops.parent(index);
        }
        (self.at, self.next, self.inside) = (time, next, inside);
    }

    /// Index of the innermost operation that contains the moment.
    pub(crate) fn inside(&self) -> Option<usize> {
        self.inside
    }

    /// The innermost operation that contains the moment.
    pub(crate) fn op(&self) -> Option<Op> {
        self.task.ops.get(self.inside?)
    }

    /// When the operation that contains the moment ends, or one inside it begins: whichever
    /// comes first.
    pub(crate) fn edge(&self) -> Nanos {
        let ops = &self.task.ops;
        let end = self.inside.and_then(|inside| ops.end(inside)).unwrap_or(Nanos::MAX);
        ops.start(self.next).map_or(end, |start| start.min(end))
    }

    /// How many events were recorded on the task over `[from, to)`.
    pub(crate) fn recorded(&mut self, from: Nanos, to: Nanos) -> u64 {
        self.recorded.within(&self.task.recorded, from, to)
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::{Capture, Diagnostics, ReadOptions, Tid, Unpacked};
    use agenttrace_model::{Builder, Model};

    use super::*;

    /// Of its task 100, in us: two getpid at 900, a write with a wait for a lock in it, and
    /// another getpid.
    ///
    /// ```text
    /// time   1500      1600        2900      3000     5500
    /// write  [.............................. )
    /// lock             [.......... )
    /// getpid                                          [
    /// ```
    const EVENTS: &str = include_str!("../../../fixtures/crafted/contention/events.txt");

    fn model() -> Model {
        let unpacked = Unpacked::of(EVENTS.as_bytes()).unwrap();
        let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
        let mut builder = Builder::new(capture.info());
        capture.read(&mut Diagnostics::default(), &mut |batch| builder.push(batch)).unwrap();
        builder.finish(None).unwrap()
    }

    #[test]
    fn a_cursor_knows_the_innermost_operation_and_where_it_changes() {
        let model = model();
        let task = model.tasks.iter().find(|task| task.tid == Tid(100)).unwrap();
        let mut cursor = TaskCursor::new(task);
        let mut at = |us: u64| {
            cursor.seek(Nanos(us * 1000));
            (cursor.inside(), cursor.edge().0 / 1000)
        };
        assert_eq!(at(800), (None, 900));
        assert_eq!(at(1000), (None, 1500));
        assert_eq!(at(1500), (Some(2), 1600));
        assert_eq!(at(1600), (Some(3), 2900));
        assert_eq!(at(2900), (Some(2), 3000));
        assert_eq!(at(3200), (None, 5500));
        // Back again.
        assert_eq!(at(1599), (Some(2), 1600));
    }

    #[test]
    fn a_cursor_tells_what_a_search_tells() {
        let model = model();
        for task in model.tasks.iter().filter(|task| task.tid != Tid(0)) {
            let mut edges: Vec<Nanos> = task.ops.iter().flat_map(|op| [op.start, op.end]).collect();
            edges.extend(task.states.iter().map(|span| span.start));
            edges.sort_unstable();
            let mut cursor = TaskCursor::new(task);
            for time in edges.iter().flat_map(|t| [Nanos(t.0.saturating_sub(1)), *t]) {
                cursor.seek(time);
                assert_eq!(cursor.inside(), task.op_at(time), "{} at {time}", task.tid);
            }
            // Backwards, and by leaps.
            for time in edges.iter().rev().step_by(3) {
                cursor.seek(*time);
                assert_eq!(cursor.inside(), task.op_at(*time), "{} at {time}", task.tid);
            }
        }
    }
}
