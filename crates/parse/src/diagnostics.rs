//! Counted problems of a capture, from the parser and from the model.

use std::collections::BTreeMap;

use crate::units::{Cpu, Nanos};

/// How much a problem weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Data is missing; verdicts weaken.
    DataLoss,
    /// Data contradicts itself.
    Error,
}

/// A kind of problem. Each says what was seen and what it means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// Events of a type that the analysis does not use.
    UnknownEvent,
    /// Records of a type that the analysis does not use.
    UnknownRecord,
    /// A record's size contradicts its type.
    BadRecord,
    /// A sample whose raw data is too short for its format.
    BadSample,
    /// A sample whose id belongs to no attribute.
    UnknownSampleId,
    /// A line of a text that cannot be read. The first few are kept as examples.
    BadLine,
    /// A record older than what was already delivered: handed on late, time held.
    OutOfOrder,
    /// The recorder lost events.
    LostEvents,
    /// The data section ends in the middle of a record.
    Truncated,
    /// The file was cut: so many bytes of records are missing.
    MissingBytes,
    /// The recorder was killed: it never wrote where its records end.
    RecorderKilled,
    /// Samples of tracepoints whose format the capture does not hold.
    NoFormat,
    /// A system call entered without having left the one before.
    SyscallWithoutExit,
    /// A task ran again without a recorded switch: an implied one was inserted.
    ImpliedSwitchIn,
    /// A task left its CPU that was not known to be on it.
    SwitchOutOfOther,
    /// A blocked task ran again and no waker was recorded.
    MissingWakeup,
    /// A block request was issued and never completed.
    UnmatchedIssue,
    /// A block request completed that was never issued.
    UnmatchedCompletion,
    /// A text that calls itself a step mark and cannot be read as one.
    BadMark,
    /// A fault began whose end was not recorded: the end is estimated.
    EstimatedFaultEnd,
}

impl Problem {
    /// How much it weighs.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::UnknownEvent | Self::UnknownRecord | Self::EstimatedFaultEnd => Severity::Info,
            Self::LostEvents
            | Self::Truncated
            | Self::MissingBytes
            | Self::RecorderKilled
            | Self::NoFormat
            | Self::ImpliedSwitchIn
            | Self::MissingWakeup
            | Self::UnmatchedIssue
            | Self::UnmatchedCompletion
            | Self::SyscallWithoutExit
            | Self::SwitchOutOfOther
            | Self::BadMark
            | Self::OutOfOrder => Severity::DataLoss,
            Self::BadRecord | Self::BadSample | Self::UnknownSampleId | Self::BadLine => {
                Severity::Error
            }
        }
    }

    /// What was seen, in words that follow a count.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::UnknownEvent => "events of types that the analysis does not use",
            Self::UnknownRecord => "records of types that the analysis does not use",
            Self::BadRecord => "records whose size contradicts their type, skipped",
            Self::BadSample => "samples too short for their format, skipped",
            Self::UnknownSampleId => "samples of an unknown event id, skipped",
            Self::BadLine => "lines that cannot be read, skipped",
            Self::OutOfOrder => {
                "records that came too late for their time, taken as of when they came"
            }
            Self::LostEvents => "events lost by the recorder",
            Self::Truncated => "truncated end of data",
            Self::MissingBytes => "bytes of records missing, and all that perf writes behind them",
            Self::RecorderKilled => {
                "recorder killed: what it had not yet written is lost, how much is not told"
            }
            Self::NoFormat => {
                "samples of tracepoints whose format the capture does not hold (see --formats)"
            }
            Self::SyscallWithoutExit => "system calls without a recorded exit",
            Self::ImpliedSwitchIn => "switches to a task that are not recorded and were implied",
            Self::SwitchOutOfOther => "switches out of a task that was not known to run",
            Self::MissingWakeup => "blocked tasks that ran again without a recorded waker",
            Self::UnmatchedIssue => "block requests issued without a recorded completion",
            Self::UnmatchedCompletion => "block completions without a recorded issue",
            Self::BadMark => "texts that begin with agenttrace: and are no step marks",
            Self::EstimatedFaultEnd => "page faults whose end is estimated",
        }
    }
}

/// How often each problem was seen, by CPU, and where first.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Diagnostics {
    counts: BTreeMap<(Problem, Cpu), Count>,
    examples: Vec<(u64, String)>,
}

/// How many examples are kept.
pub(crate) const EXAMPLES: usize = 5;

/// One row of [`Diagnostics`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// How often.
    pub count: u64,
    /// Time of the first, where known.
    pub first: Option<Nanos>,
    /// Byte offset (or line) of the first, where known.
    pub offset: Option<u64>,
}

impl Diagnostics {
    /// Counts `n` more of a problem. Pass [`Cpu::NONE`] where the CPU is not known.
    pub fn add(
        &mut self,
        problem: Problem,
        cpu: Cpu,
        n: u64,
        time: Option<Nanos>,
        offset: Option<u64>,
    ) {
        if n == 0 {
            return;
        }
        let entry =
            self.counts.entry((problem, cpu)).or_insert(Count { count: 0, first: time, offset });
        entry.count = entry.count.saturating_add(n);
    }

    /// Adds all counts of another stage.
    pub fn merge(&mut self, other: &Self) {
        for ((problem, cpu), count) in &other.counts {
            self.add(*problem, *cpu, count.count, count.first, count.offset);
        }
        for (line, what) in &other.examples {
            self.example(*line, what.clone());
        }
    }

    /// Keeps one of the first few lines that cannot be read.
    pub(crate) fn example(&mut self, line: u64, what: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push((line, what));
        }
    }

    /// The first lines of a text that cannot be read ([`Problem::BadLine`]): number,
    /// from 1, and what is wrong, with the line's beginning. At most five.
    #[must_use]
    pub fn examples(&self) -> &[(u64, String)] {
        &self.examples
    }

    /// How often a problem was seen, over all CPUs.
    #[must_use]
    pub fn count(&self, problem: Problem) -> u64 {
        let counts = self.iter().filter(|(p, _, _)| *p == problem).map(|(_, _, c)| c.count);
        counts.fold(0, u64::saturating_add)
    }

    /// Whether the capture ends before its recorder was done. What is missing then is
    /// no loss that a LOST record tells of.
    #[must_use]
    pub fn ends_early(&self) -> bool {
        let early = [Problem::RecorderKilled, Problem::MissingBytes, Problem::Truncated];
        early.into_iter().any(|problem| self.count(problem) > 0)
    }

    /// All counts, by problem, then CPU.
    pub fn iter(&self) -> impl Iterator<Item = (Problem, Cpu, Count)> + '_ {
        self.counts.iter().map(|((problem, cpu), count)| (*problem, *cpu, *count))
    }
}
