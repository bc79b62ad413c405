//! Why a stack graph cannot be drawn, and what to record so that it can.

use std::fmt;

use super::StackKind;
use crate::record_command::stack_command;

/// Why there is no graph. Never an empty picture in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Absent {
    /// The capture holds no call stacks.
    NoStacks(StackKind),
    /// It holds stacks, but not of what the graph shows.
    NoEvent(StackKind),
    /// What the graph shows was recorded without stacks.
    EventWithoutStacks(StackKind),
    /// No event of this name was sampled with stacks; those that were.
    UnknownEvent(String, Vec<String>),
    /// The kind leaves no choice of event.
    NoChoice(StackKind),
    /// A critical path needs steps.
    NoSteps,
    /// No step is called so; those that there are.
    UnknownStep(String, Vec<String>),
    /// No step has this tool; the tools that there are.
    UnknownTool(String, Vec<String>),
    /// No task has this name.
    UnknownComm(String),
    /// The selection, in words, holds nothing; what there is around it, in words.
    Nothing(StackKind, String, Option<String>),
}

impl StackKind {
    /// What its graph is made of, in words.
    fn subject(self) -> &'static str {
        match self {
            Self::Cpu => "samples of running code",
            Self::Wall => "critical path",
            Self::OffCpu => "blocked time",
            Self::Locks => "waits for locks of the kernel",
            Self::Faults => "page faults",
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            let shown: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
            let more = if names.len() > shown.len() { ", ..." } else { "" };
            format!("{}{more}", shown.join(", "))
        };
        match self {
            Self::NoStacks(kind) => write!(
                f,
                "the capture holds no call stacks; for a {} flamegraph record with {}",
                kind.name(),
                stack_command(*kind)
            ),
            Self::NoEvent(kind) => write!(
                f,
                "the capture holds no {}; record with {}",
                kind.subject(),
                stack_command(*kind)
            ),
            Self::EventWithoutStacks(kind) => write!(
                f,
                "the capture holds {}, but without call stacks; record with {}",
                kind.subject(),
                stack_command(*kind)
            ),
            Self::UnknownEvent(name, known) => {
                write!(f, "no event {name:?} was sampled with call stacks; there are {}", list(known))
            }
            Self::NoChoice(kind) => {
                write!(f, "--event chooses the samples of cpu, wall and faults; {} has one event", kind.name())
            }
            Self::NoSteps => f.write_str(
                "a wall flamegraph shows steps, and the capture holds no step marks: pass --markers steps.jsonl, \
                 or --pid N or --comm NAME for a whole task",
            ),
            Self::UnknownStep(id, known) => write!(
                f,
                "no step {id} was analyzed; there are {}: {}",
                known.len(),
                list(known)
            ),
            Self::UnknownTool(tool, known) => {
                write!(f, "no step has the tool {tool:?}; there are {}", list(known))
            }
            Self::UnknownComm(name) => write!(f, "no task in the capture is called {name:?}"),
            Self::Nothing(kind, of, elsewhere) => {
                write!(f, "{of}: no {}", kind.subject())?;
                elsewhere.iter().try_for_each(|there| write!(f, "; {there}"))
            }
        }
    }
}

impl std::error::Error for Absent {}
