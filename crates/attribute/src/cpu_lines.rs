//! Tasks' states to lines of CPUs: who ran on each, when, and when it was idle.

use agenttrace_model::parse::{Cpu, Nanos};
use agenttrace_model::{Model, State, TaskId};
use rustc_hash::FxHashMap;

/// A task ran on a CPU over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Run {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    pub(crate) task: TaskId,
}

/// For each CPU who ran on it, in time order. Between two runs it was idle, or, where
/// events were lost or not all tasks recorded, nothing is known.
#[derive(Default)]
pub(crate) struct CpuLines {
    cpus: FxHashMap<Cpu, Vec<Run>>,
    /// In their order.
    order: Vec<Cpu>,
}

impl CpuLines {
    pub(crate) fn new(model: &Model) -> Self {
        let mut cpus: FxHashMap<Cpu, Vec<Run>> = FxHashMap::default();
        for (task, t) in model.task_ids() {
            for (index, span) in t.states.iter().enumerate() {
                if span.state == State::Running && span.cpu != Cpu::NONE {
                    let to = t.states.get(index + 1).map_or(model.span.1, |next| next.start);
                    cpus.entry(span.cpu).or_default().push(Run { from: span.start, to, task });
                }
            }
        }
        #[expect(clippy::iter_over_hash_type, reason = "each list is sorted by itself")]
        for list in cpus.values_mut() {
            // By one number, which is faster; hardly ever do two begin at once.
            list.sort_unstable_by_key(|run| run.from);
            for at_once in list.chunk_by_mut(|a, b| a.from == b.from) {
                at_once.sort_unstable();
            }
        }
        let mut order: Vec<Cpu> = cpus.keys().copied().collect();
        order.sort_unstable();
        Self { cpus, order }
    }

    /// The CPUs on which tasks ran, in their order.
    pub(crate) fn cpus(&self) -> impl Iterator<Item = Cpu> + '_ {
        self.order.iter().copied()
    }

    /// The runs on a CPU that overlap `[from, to)`, whole, in time order.
    pub(crate) fn runs(
        &self,
        cpu: Cpu,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = Run> + '_ + use<'_> {
        let list = self.cpus.get(&cpu).map(Vec::as_slice).unwrap_or_default();
        let first = list.partition_point(|run| run.to <= from);
        list.iter().skip(first).take_while(move |run| run.from < to).copied()
    }

    /// The last run on a CPU that began before `time`.
    pub(crate) fn before(&self, cpu: Cpu, time: Nanos) -> Option<Run> {
        let list = self.cpus.get(&cpu)?;
        let after = list.partition_point(|run| run.from < time);
        list.get(after.checked_sub(1)?).copied()
    }

    /// When a CPU was idle within `[from, to)`, in time order.
    pub(crate) fn idle(&self, cpu: Cpu, from: Nanos, to: Nanos) -> Vec<(Nanos, Nanos)> {
        let mut gaps = Vec::new();
        let mut at = from;
        for run in self.runs(cpu, from, to) {
            if run.from > at {
                gaps.push((at, run.from));
            }
            at = at.max(run.to);
        }
        if at < to {
            gaps.push((at, to));
        }
        gaps
    }
}
