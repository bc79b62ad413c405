//! Tasks, known by thread id and generation, with their states and operations.

use agenttrace_parse::{Addr, Comm, Cpu, Nanos, Pid, SwitchState, Tid};

use crate::op::{Op, SyscallOp};
use crate::ops::Ops;
use crate::recorded::Recorded;
use crate::spans::Spans;

/// Index of a task in [`crate::Model::tasks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u32);

/// Index of a wakeup in [`crate::Model::wakes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WakeId(pub u32);

/// One task: a thread id in one of its lives.
#[derive(Clone, Debug)]
pub struct Task {
    /// Thread id.
    pub tid: Tid,
    /// Its process; the thread id itself until something tells otherwise.
    pub pid: Pid,
    /// The task that forked it.
    pub parent: Option<TaskId>,
    /// Whether it shares its creator's thread group; `None` until known.
    pub is_thread: Option<bool>,
    /// Whether its creator waits until it executes or exits (vfork).
    pub vfork: bool,
    /// When it was created, if within the capture.
    pub birth: Option<Nanos>,
    /// When it began to exit.
    pub exit: Option<Nanos>,
    /// Its names: (since, name), in time order.
    pub names: Vec<(Nanos, Comm)>,
    /// Its states: spans in time order, each up to the start of the next; the
    /// last is open. Never empty.
    pub states: Spans,
    /// What it did: system calls, faults, waits for locks, interrupts on top of
    /// it, properly nested, in the order of their start.
    pub ops: Ops,
    /// Programs it executed: (when the new image was there, path).
    pub execs: Vec<(Nanos, String)>,
    /// When its execs were past the point of no return (`sched_prepare_exec`), and the
    /// interpreter of each that is a script.
    pub prepared: Vec<(Nanos, Option<String>)>,
    /// Resident bytes whose page tables its fork copied, where `kmem:rss_stat` told.
    pub copied: Option<u64>,
    /// Moves between CPUs: (when, from, to).
    pub migrations: Vec<(Nanos, Cpu, Cpu)>,
    /// When each event was recorded while it was current, in time order: what recording
    /// cost it.
    pub recorded: Recorded,
}

/// A stretch of one state of one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Since when; until the next span's start.
    pub start: Nanos,
    /// The state.
    pub state: State,
    /// Running: on which CPU. Runnable: on whose queue, where known.
    pub cpu: Cpu,
    /// For a runnable span that follows a wait, the wakeup that ended the wait.
    pub wake: Option<WakeId>,
    /// Whether this span, or the one before it, was inferred from a later event.
    pub inferred: bool,
}

/// The state of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Not known, and why.
    Unknown(UnknownReason),
    /// On a CPU.
    Running,
    /// Woken or preempted, not on a CPU.
    Runnable,
    /// Off the CPU, waiting.
    Blocked(SwitchState),
    /// Created, not yet woken for the first time.
    New,
    /// Exited.
    Dead,
}

/// Why a state is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UnknownReason {
    /// The capture had not yet shown this task.
    BeforeFirstEvent,
    /// The recorder lost events.
    LostEvents,
    /// The task left its CPU and no switch says how.
    NoSwitch,
}

impl UnknownReason {
    /// The words in reports.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::BeforeFirstEvent => "before first event",
            Self::LostEvents => "lost events",
            Self::NoSwitch => "switch not recorded",
        }
    }
}

impl Task {
    pub(crate) fn new(tid: Tid) -> Self {
        Self {
            tid,
            pid: Pid(tid.0),
            parent: None,
            is_thread: None,
            vfork: false,
            birth: None,
            exit: None,
            names: Vec::new(),
            states: Spans::default(),
            ops: Ops::default(),
            execs: Vec::new(),
            prepared: Vec::new(),
            copied: None,
            migrations: Vec::new(),
            recorded: Recorded::default(),
        }
    }

    /// Name at a time: the last given by then, else the first.
    #[must_use]
    pub fn name_at(&self, time: Nanos) -> Comm {
        let after = self.names.partition_point(|(since, _)| *since <= time);
        self.names.get(after.saturating_sub(1)).map(|(_, name)| *name).unwrap_or_default()
    }

    /// When it gets its next name; [`Nanos::MAX`] where it keeps that of a time.
    #[must_use]
    pub fn renamed(&self, time: Nanos) -> Nanos {
        let after = self.names.partition_point(|(since, _)| *since <= time);
        self.names.get(after).map_or(Nanos::MAX, |(since, _)| *since)
    }

    pub(crate) fn rename(&mut self, time: Nanos, comm: Comm) {
        if self.names.last().is_none_or(|(_, last)| *last != comm) {
            self.names.push((time, comm));
        }
    }

    /// Index of the span that holds `time`: the last that starts at or before
    /// it, else the first.
    #[must_use]
    #[inline]
    pub fn span_at(&self, time: Nanos) -> usize {
        self.states.up_to(time).saturating_sub(1)
    }

    /// The spans that overlap `[from, to)`, each clipped: (index, start, end, span).
    pub fn spans(
        &self,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (usize, Nanos, Nanos, Span)> + '_ {
        let first = self.span_at(from);
        (first..)
            .zip(self.states.since(first))
            .take_while(move |(_, span)| span.start < to)
            .filter_map(move |(index, span)| {
                let end = self.states.get(index + 1).map_or(Nanos::MAX, |next| next.start);
                let (start, end) = (span.start.max(from), end.min(to));
                (start < end).then_some((index, start, end, span))
            })
    }

    /// How many events were recorded over `[from, to)` while it was current.
    #[must_use]
    pub fn recorded_within(&self, from: Nanos, to: Nanos) -> u64 {
        self.recorded.within(from, to)
    }

    /// When the task is dead, if the capture shows it.
    #[must_use]
    pub fn death(&self) -> Option<Nanos> {
        self.states.last().filter(|s| s.state == State::Dead).map(|s| s.start)
    }

    /// Index of the innermost operation that contains `time`.
    #[must_use]
    #[inline]
    pub fn op_at(&self, time: Nanos) -> Option<usize> {
        self.op_among(self.ops.up_to(time), time)
    }

    /// The same, where so many begin by then.
    pub(crate) fn op_among(&self, begun: usize, time: Nanos) -> Option<usize> {
        let mut index = begun.checked_sub(1)?;
        while self.ops.end(index)? <= time {
            index = self.ops.parent(index)?;
        }
        Some(index)
    }

    /// The innermost system call that contains `time`, with its index in the operations.
    #[must_use]
    pub fn call_at(&self, time: Nanos) -> Option<(usize, SyscallOp)> {
        self.call_around(self.op_at(time))
    }

    /// The innermost call around an operation, itself included: its index, and the call.
    #[must_use]
    #[inline]
    pub fn call_around(&self, op: Option<usize>) -> Option<(usize, SyscallOp)> {
        let (ops, mut around) = (self.ops.settled(), op);
        while let Some(index) = around {
            if let Some(call) = ops.call(index) {
                return Some((index, call));
            }
            around = ops.parent(index);
        }
        None
    }

    /// The operations around `op`, itself first, outwards.
    #[inline]
    pub fn op_chain(&self, op: Option<usize>) -> impl Iterator<Item = (usize, Op)> + '_ {
        let (ops, mut next) = (self.ops.settled(), op);
        std::iter::from_fn(move || {
            let index = next?;
            let op = ops.get(index)?;
            next = op.parent();
            Some((index, op))
        })
    }
}

/// Who woke whom.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wake {
    /// When (`sched_waking`, or `sched_wakeup` where that was not recorded).
    pub time: Nanos,
    /// The task woken.
    pub wakee: TaskId,
    /// The task on whose CPU it happened; `None` for the idle task.
    pub current: Option<TaskId>,
    /// Who or what really did it.
    pub source: WakeSource,
    /// On which CPU it happened: the waker's, or that of the interrupt.
    pub cpu: Cpu,
    /// Whether this wakeup made a birth: the parent's `sched_wakeup_new`.
    pub birth: bool,
    /// Whether the task that did it may have been in a call on a file
    /// ([`crate::SyscallTable::on_file`]): of most it is told here that they were in another call,
    /// and their operations, which tell for sure, need not be looked through.
    pub file_call: bool,
}

/// What made a task runnable.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum WakeSource {
    /// The task that was current did it.
    Task(TaskId),
    /// A block request completed; index in [`crate::Model::requests`].
    Block(u32),
    /// A timer fired.
    Timer,
    /// A packet came from another machine, or by another device than loopback.
    Network,
    /// An interrupt of which only the name is known; index in [`crate::Model::names`].
    Interrupt(u32),
    /// In interrupt context, or from the idle loop, with nothing to name it by.
    Unknown,
}

/// The memory that a fault or a lock is about.
pub(crate) fn page(addr: Addr) -> u64 {
    addr.0 >> 12
}
