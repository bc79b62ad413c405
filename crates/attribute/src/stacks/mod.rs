//! Samples with stacks joined with steps, paths and causes: weighted stacks for
//! pictures, and numbers for verdicts.

mod absent;
mod diff;
mod events;
mod graph;
mod index;
mod path;
mod rows;
mod select;
pub(crate) mod tasks;
mod text;
mod times;
mod wall;

use agenttrace_model::parse::StepId;
use agenttrace_model::stacks::{Stacks, Symbols};

use crate::cause::Cause;

pub use absent::Absent;
pub use diff::{DiffRow, DiffSide, StackDiff, diff};
pub use events::{CpuEvent, cpu as cpu_event};
pub use graph::{Ask, Scene, graph, threads};
pub use index::SampleIndex;
pub use path::{PathStacks, Piece};
pub use text::{FrameKind, FrameText, frame_text};

/// A capture's stacks with their names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The stacks.
    pub stacks: &'a Stacks,
    /// The names of their frames, of inlined functions too where those are to be shown.
    pub symbols: &'a Symbols,
}

/// What a stack graph shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StackKind {
    /// Samples of running code.
    Cpu,
    /// The critical path, with stacks below each segment.
    Wall,
    /// Blocked time by where the task left its CPU.
    OffCpu,
    /// Time of waits for the kernel's locks by caller.
    Locks,
    /// Page faults by the code that faults.
    Faults,
}

impl StackKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Wall, Self::OffCpu, Self::Locks, Self::Faults];

    /// The word in options: `cpu`, `wall`, `off-cpu`, `locks`, `faults`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::OffCpu => "off-cpu",
            Self::Locks => "locks",
            Self::Faults => "faults",
        }
    }
}

/// What the widths of a stack graph count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StackUnit {
    /// Samples.
    Samples,
    /// Nanoseconds.
    Nanos,
    /// Page faults.
    Faults,
}

/// Which part of a capture a stack graph shows. What is `None` does not narrow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StackFilter {
    /// This step, with its nested ones.
    pub step: Option<StepId>,
    /// Steps of this tool.
    pub tool: Option<String>,
    /// Stretches of the critical path with this cause.
    pub cause: Option<Cause>,
    /// Tasks of this name.
    pub comm: Option<String>,
}

/// Stacks with their weights, merged: what a flamegraph shows.
#[derive(Clone, PartialEq, Debug)]
pub struct StackGraph {
    /// What it shows.
    pub kind: StackKind,
    /// What the weights count.
    pub unit: StackUnit,
    /// Their sum.
    pub total: u64,
    /// What it is of, in words: `search_codebase, step 142`.
    pub of: String,
    /// What was asked for.
    pub filter: StackFilter,
    /// The event that was sampled, where the weights are samples: `cpu-clock at 997 Hz`.
    pub event: Option<String>,
    /// Whether each row begins with the tool and the step.
    pub steps: bool,
    /// The rows, each stack once, in the order of their frames' texts.
    pub rows: Vec<StackRow>,
    /// What a reader must know: samples without stack, frames without name.
    pub notes: Vec<String>,
}

/// One stack of a [`StackGraph`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StackRow {
    /// Its frames, the outermost first.
    pub frames: Vec<FrameText>,
    /// The cause of the time, where it lies on a critical path.
    pub cause: Option<Cause>,
    /// Its weight; more than 0.
    pub weight: u64,
}
