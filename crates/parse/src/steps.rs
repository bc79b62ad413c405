//! What steps.jsonl says: marks of steps, and the lines that cannot be used.

use crate::capture::ClockId;
use crate::units::{Nanos, Pid, Tid};

/// Which step: an integer or a string, unique in the file. Ordered: integers first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StepId {
    /// As in-band marks carry it.
    Number(u64),
    /// Any other name.
    Name(String),
}

impl std::fmt::Display for StepId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Name(s) => s.fmt(f),
        }
    }
}

/// One step as steps.jsonl tells it, on the file's clock.
#[derive(Clone, PartialEq, Debug)]
pub struct StepMark {
    /// Its id.
    pub id: StepId,
    /// Tool name; empty where not given.
    pub tool: String,
    /// Process of its root task; `None` where only in-band marks can tell.
    pub pid: Option<Pid>,
    /// Its root task.
    pub tid: Option<Tid>,
    /// Start, on the file's clock.
    pub start: Option<Nanos>,
    /// End, on the file's clock. `None`: no end line; the step is open.
    pub end: Option<Nanos>,
    /// The enclosing step.
    pub parent: Option<StepId>,
    /// Keys that the schema does not know, as JSON text, in the order of the line.
    pub extra: Vec<(String, String)>,
    /// The line of its (first) mark, from 1.
    pub line: usize,
}

/// A whole steps.jsonl.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StepFile {
    /// Optional name of the session.
    pub session: Option<String>,
    /// Clock of the times.
    pub clock: MarkClock,
    /// Moments that were read on several clocks.
    pub anchors: Vec<ClockAnchor>,
    /// In the steps file of a cut: what the whole capture told.
    pub calibration: Option<Calibration>,
    /// The steps, in the order of their first line.
    pub steps: Vec<StepMark>,
    /// Lines that could not be used.
    pub problems: Vec<StepProblem>,
}

/// One moment on several clocks, as the agent read them one right after the other
/// (`"anchors":[{"monotonic_ns":N,"realtime_ns":N},{...}]` in the first line, or in a
/// line of its own).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClockAnchor {
    /// Each clock at most once, in the order of [`ClockId`].
    pub readings: Vec<(ClockId, Nanos)>,
}

impl ClockAnchor {
    /// What a clock said.
    #[must_use]
    pub fn on(&self, clock: ClockId) -> Option<Nanos> {
        self.readings.iter().find(|(id, _)| *id == clock).map(|(_, time)| *time)
    }
}

/// Costs measured over a whole capture, carried along with a cut of it
/// (`"cut":{"exit_cost_ns":N,"fault_cost_ns":N,"fault_reach_ns":N}` in the first
/// line), so that the cut's numbers are those of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calibration {
    /// Cost of leaving a system call, recording included.
    pub exit_cost: Nanos,
    /// Cost of leaving a page fault, recording included.
    pub fault_cost: Nanos,
    /// How far beyond its last evidence a fault's estimated end lies at most.
    pub fault_reach: Nanos,
}

/// The clock of the times in a steps file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkClock {
    /// A clock that the agent read.
    Posix(ClockId),
    /// The capture's own clock (`"clock":"trace"`).
    Trace,
}

impl Default for MarkClock {
    fn default() -> Self {
        Self::Posix(ClockId::Monotonic)
    }
}

/// A line, or a step, that cannot be used; the others are still analyzed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepProblem {
    /// The line, from 1; 0 where the problem is not one line's.
    pub line: usize,
    /// What is wrong, naming the key, and what to do.
    pub text: String,
}
