//! A task's operations and events at moments that mostly go forward, without a search for each.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Recorded, RecordedCursor, SettledOps, State, Task, first_not};

/// Where a task is at a moment: which operation it is in, and which begins next. What
/// [`Task::op_at`] tells of one moment, found from an earlier one.
#[derive(Clone, Debug)]
pub(crate) struct TaskCursor<'m> {
    ops: SettledOps<'m>,
    at: Nanos,
    /// Of the first operation that begins after the moment.
    next: usize,
    /// When it begins.
    begins: Nanos,
    /// Of the innermost that contains it.
    inside: Option<usize>,
    /// When that ends; [`Nanos::MAX`] where there is none.
    ends: Nanos,
    recorded: RecordedCursor,
    events: &'m Recorded,
}

impl<'m> TaskCursor<'m> {
    /// Before all that a task did.
    pub(crate) fn new(task: &'m Task) -> Self {
        Self {
            ops: task.ops.settled(),
            at: Nanos::ZERO,
            next: 0,
            begins: task.ops.settled().start(0),
            inside: None,
            ends: Nanos::MAX,
            recorded: RecordedCursor::default(),
            events: &task.recorded,
        }
    }

    /// Goes to a moment.
    #[inline]
    pub(crate) fn seek(&mut self, time: Nanos) {
        if time < self.at || self.begins <= time {
            self.pass(time);
        }
        self.at = time;
        // What had ended before an earlier moment has ended.
        while self.ends <= time
            && let Some(inside) = self.inside
        {
            self.inside = self.ops.parent(inside);
            self.ends = self.inside.map_or(Nanos::MAX, |inside| self.ops.end(inside));
        }
    }

    /// Past all that begins by then, or back.
    fn pass(&mut self, time: Nanos) {
        let (ops, from) = (self.ops, if time < self.at { 0 } else { self.next });
        let next = if self.at <= time && time < ops.start(from + 1) {
            // Most often one has begun.
            from + 1
        } else {
            first_not(from, ops.len(), |i| ops.start(i) <= time)
        };
        if time < self.at || next != self.next {
            self.inside = next.checked_sub(1);
            self.ends = self.inside.map_or(Nanos::MAX, |inside| ops.end(inside));
        }
        (self.next, self.begins) = (next, ops.start(next));
    }

    /// Index of the innermost operation that contains the moment.
    pub(crate) fn inside(&self) -> Option<usize> {
        self.inside
    }

    /// Whether the end of the innermost operation that contains the moment was not recorded;
    /// of a fault only with `faults`.
    pub(crate) fn estimated(&self, faults: bool) -> bool {
        let of = |inside| self.ops.is_estimated(inside);
        self.inside.map(of).is_some_and(|(estimated, fault)| estimated && (faults || !fault))
    }

    /// When the operation that contains the moment ends, or one inside it begins: whichever
    /// comes first.
    pub(crate) fn edge(&self) -> Nanos {
        self.begins.min(self.ends)
    }

    /// How many events were recorded on the task over `[from, to)`.
    pub(crate) fn recorded(&mut self, from: Nanos, to: Nanos) -> u64 {
        self.recorded.within(self.events, from, to)
    }
}

/// Which state a task is in, at moments that mostly go forward.
#[derive(Default)]
pub(crate) struct StateCursor<'m> {
    task: Option<&'m Task>,
    /// The span that was found last, and what it is.
    at: usize,
    from: Nanos,
    until: Nanos,
    state: Option<State>,
}

impl<'m> StateCursor<'m> {
    /// The state that a task is in over all of `[from, to)`; `None`: it changes.
    #[inline]
    pub(crate) fn throughout(&mut self, task: &'m Task, from: Nanos, to: Nanos) -> Option<State> {
        let same = self.task.is_some_and(|last| std::ptr::eq(last, task));
        if !same || from < self.from || self.until <= from {
            self.go(task, from);
        }
        self.state.filter(|_| self.from <= from && to <= self.until)
    }

    /// To the span that holds a time.
    fn go(&mut self, task: &'m Task, time: Nanos) {
        let starts = |i: usize| task.states.get(i).map(|span| span.start);
        let begun = |i: usize| starts(i).is_some_and(|start| start <= time);
        self.at = if begun(self.at) {
            first_not(self.at, task.states.len(), begun).saturating_sub(1)
        } else {
            task.span_at(time)
        };
        self.task = Some(task);
        let span = task.states.get(self.at);
        self.from = span.map_or(Nanos::MAX, |span| span.start);
        self.until = starts(self.at + 1).unwrap_or(Nanos::MAX);
        self.state = span.map(|span| span.state);
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
        model_of(EVENTS)
    }

    fn model_of(events: &str) -> Model {
        let unpacked = Unpacked::of(events.as_bytes()).unwrap();
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

    #[test]
    fn a_leap_finds_what_a_search_finds() {
        // Calls of 400 ns, one each us from 1 ms on.
        let mut events: String = EVENTS.lines().take(14).map(|line| format!("{line}\n")).collect();
        for i in 0..300 {
            let (from, to) = (1_000_000 + i * 1000, 1_000_400 + i * 1000);
            events +=
                &format!("{from} 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0\n");
            events += &format!("{to} 0 100/100 . raw_syscalls:sys_exit id=39 ret=100\n");
        }
        let model = model_of(&events);
        let task = model.tasks.iter().find(|task| task.tid == Tid(100)).unwrap();
        assert_eq!(task.ops.len(), 302);
        for width in [1, 15, 16, 17, 31, 32, 33, 48, 100, 299] {
            let mut cursor = TaskCursor::new(task);
            for call in (0..300).step_by(width) {
                let at = 1_000_000 + call as u64 * 1000;
                cursor.seek(Nanos(at + 100));
                assert_eq!(cursor.inside(), Some(2 + call), "{width}");
                // Between it and the next, if its way out does not take so long.
                cursor.seek(Nanos(at + 999));
                assert_eq!(cursor.inside(), task.op_at(Nanos(at + 999)), "{width}");
            }
            cursor.seek(Nanos(9_000_000));
            assert_eq!((cursor.inside(), cursor.edge()), (None, Nanos::MAX));
        }
    }

    #[test]
    fn a_state_is_told_where_it_lasts() {
        use agenttrace_model::parse::SwitchState;

        let model = model();
        let task = model.tasks.iter().find(|task| task.tid == Tid(100)).unwrap();
        let mut cursor = StateCursor::default();
        let mut over =
            |from: u64, to: u64| cursor.throughout(task, Nanos(from * 1000), Nanos(to * 1000));
        let blocked = Some(State::Blocked(SwitchState::Uninterruptible));
        assert_eq!(over(500, 1700), Some(State::Running));
        assert_eq!(over(1600, 1701), None);
        assert_eq!(over(1700, 2700), blocked);
        assert_eq!(over(2000, 2100), blocked);
        assert_eq!(over(2700, 2800), Some(State::Runnable));
        assert_eq!(over(2699, 2800), None);
        assert_eq!(over(2800, 9000), Some(State::Running));
        // Back again.
        assert_eq!(over(900, 901), Some(State::Running));
    }
}
