//! After the last event: calibrated exit costs, estimated ends, and what stays open.

use agenttrace_parse::{Calibration, Cpu, Nanos, Problem};

use super::Builder;
use crate::model::Model;
use crate::op::OpKind;
use crate::task::TaskId;

/// A histogram of short gaps: 16 ns steps up to 64 us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps {
    counts: Vec<u64>,
    total: u64,
}

const STEP: u64 = 16;
const STEPS: usize = 4096;

impl Gaps {
    pub(crate) fn add(&mut self, gap: Nanos) {
        if self.counts.is_empty() {
            self.counts.resize(STEPS, 0);
        }
        let index = usize::try_from(gap.0 / STEP).unwrap_or(STEPS).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The gap that `percent` of all gaps do not exceed; zero with none.
    pub(crate) fn percentile(&self, percent: u64) -> Nanos {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Nanos(index as u64 * STEP);
            }
        }
        Nanos::ZERO
    }
}

impl Builder {
    /// The first own event after an operation's end tells how long the way out took at most.
    pub(super) fn fill_tail(&mut self, task: TaskId, index: usize, time: Nanos) {
        let Some(op) = self.task(task).ops.get_mut(index) else { return };
        let gap = time - op.end;
        op.tail = u32::try_from(gap.0).unwrap_or(u32::MAX - 1);
        match op.kind {
            OpKind::Fault(_) => self.fault_gaps.add(gap),
            OpKind::Syscall(_) => self.exit_gaps.add(gap),
            OpKind::Lock { .. }
            | OpKind::Irq(_)
            | OpKind::Softirq(_)
            | OpKind::LocalTimer
            | OpKind::Work(_)
            | OpKind::Commit { .. }
            | OpKind::SyncFile { .. }
            | OpKind::Exit => {}
        }
    }

    /// Ends the capture: nothing more can be learned. Costs that the whole of
    /// which this capture is a cut told take the place of its own.
    #[must_use]
    pub fn finish(mut self, calibration: Option<Calibration>) -> Model {
        let end = self.last;
        // EVENTS 3.1: a low percentile of the gaps is the exit's own cost.
        // EVENTS 3.3: four times the lower quartile of the sleepless gaps.
        let calibration = calibration.unwrap_or_else(|| Calibration {
            exit_cost: self.exit_gaps.percentile(5),
            fault_cost: self.fault_gaps.percentile(5),
            fault_reach: Nanos(self.sleepless_gaps.percentile(25).0.saturating_mul(4)),
        });
        let Calibration { exit_cost, fault_cost, fault_reach: reach } = calibration;
        for task in &mut self.model.tasks {
            for op in &mut task.ops {
                if op.end == Nanos::MAX {
                    continue;
                }
                let cost = match op.kind {
                    OpKind::Fault(_) if op.estimated => {
                        // `tail` holds the gap from the last evidence to the end.
                        let evidence = op.end - Nanos(u64::from(op.tail));
                        op.end = op.end.min(evidence + reach);
                        continue;
                    }
                    OpKind::Fault(_) => fault_cost,
                    OpKind::Syscall(_) => exit_cost,
                    OpKind::Lock { .. }
                    | OpKind::Irq(_)
                    | OpKind::Softirq(_)
                    | OpKind::LocalTimer
                    | OpKind::Work(_)
                    | OpKind::Commit { .. }
                    | OpKind::SyncFile { .. }
                    | OpKind::Exit => continue,
                };
                if op.tail != u32::MAX {
                    op.cost = op.tail.min(u32::try_from(cost.0).unwrap_or(u32::MAX));
                    op.end += Nanos(u64::from(op.cost));
                }
            }
            // A nested operation that was closed late, or whose cost was added,
            // never outlives what is around it.
            for index in 0..task.ops.len() {
                let parent_end = task
                    .ops
                    .get(index)
                    .and_then(|op| op.parent())
                    .and_then(|p| task.ops.get(p))
                    .map(|p| p.end);
                if let (Some(end), Some(op)) = (parent_end, task.ops.get_mut(index)) {
                    let over = u32::try_from((op.end - end).0).unwrap_or(u32::MAX);
                    op.cost = op.cost.saturating_sub(over);
                    op.end = op.end.min(end);
                }
            }
        }
        let open = self.requests.open();
        self.model.diagnostics.add(Problem::UnmatchedIssue, Cpu::NONE, open, None, None);
        let unmatched = self.requests.unmatched_completions;
        self.model.diagnostics.add(Problem::UnmatchedCompletion, Cpu::NONE, unmatched, None, None);
        self.model.requests = self.requests.requests;
        self.model.files = self.files.list;
        self.model.calibration = calibration;
        self.model.span = (self.first.unwrap_or(end), end);
        for lost in &mut self.model.lost {
            lost.to = lost.to.min(end.max(lost.from));
        }
        self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_of_gaps_is_the_lower_edge_of_its_step() {
        let mut gaps = Gaps::default();
        for gap in [100, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000] {
            gaps.add(Nanos(gap));
        }
        assert_eq!(gaps.percentile(5), Nanos(96));
        assert_eq!(gaps.percentile(50), Nanos(992));
        assert_eq!(Gaps::default().percentile(5), Nanos::ZERO);
    }
}
