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

    /// The same where times are rounded to `unit` ns. A gap of 0.3 units is then 0 seven
    /// times of ten and 1 three times, so that the mean tells what no percentile can:
    ///
    /// ```text
    /// true gaps     300  300  300  300 ...
    /// as rounded      0    0 1000    0 ...     mean of the first two values: 300
    /// ```
    /// It is that of the percentile's value and the next.
    pub(crate) fn percentile_rounded(&self, percent: u64, unit: Nanos) -> Nanos {
        let low = self.percentile(percent);
        if unit.0 <= 1 {
            return low;
        }
        let step = |gap: u64| usize::try_from(gap / STEP).unwrap_or(STEPS);
        let count = |gap: u64| self.counts.get(step(gap)).copied().unwrap_or(0);
        // The percentile is the lower edge of its step; the value itself is a multiple.
        let low = low.0.next_multiple_of(unit.0);
        let (at, above) = (count(low), count(low.saturating_add(unit.0)));
        let share = unit.0.saturating_mul(above).checked_div(at.saturating_add(above));
        Nanos(low.saturating_add(share.unwrap_or(0)))
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
            | OpKind::Exit
            | OpKind::Reclaim(_)
            | OpKind::DirtyPause(_)
            | OpKind::TlbWait(_) => {}
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
            exit_cost: self.exit_gaps.percentile_rounded(5, self.resolution),
            fault_cost: self.fault_gaps.percentile_rounded(5, self.resolution),
            fault_reach: Nanos(
                self.sleepless_gaps.percentile_rounded(25, self.resolution).0.saturating_mul(4),
            ),
        });
        let Calibration { exit_cost, fault_cost, fault_reach: reach } = calibration;
        let unit = self.resolution;
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
                    | OpKind::Exit
                    | OpKind::Reclaim(_)
                    | OpKind::DirtyPause(_)
                    | OpKind::TlbWait(_) => continue,
                };
                if op.tail != u32::MAX {
                    // A gap that the cost may have been rounded up to is all cost.
                    let rounded = cost.0.next_multiple_of(unit.0.max(1));
                    let most = if u64::from(op.tail) <= rounded { rounded } else { cost.0 };
                    op.cost = op.tail.min(u32::try_from(most).unwrap_or(u32::MAX));
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
        self.model.name_devices(&self.requests.disks());
        self.model.requests = self.requests.requests;
        self.model.commits = self.journals.commits;
        self.model.handles = self.journals.handles;
        self.model.file_writes = self.file_io.writes;
        self.model.plugs = self.file_io.plugs;
        self.model.uring = self.uring.finish(&self.model.tasks, &self.model.wakes);
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
        assert_eq!(gaps.percentile_rounded(5, Nanos(1)), Nanos(96));
    }

    #[test]
    fn rounded_gaps_are_told_by_how_often_they_are_rounded_up() {
        // 0.3 us, then 1.3 us; some longer ones are other work.
        for (low, expected) in [(0, 300), (1000, 1300)] {
            let mut gaps = Gaps::default();
            for n in 0..100 {
                gaps.add(Nanos(low + if n % 10 < 3 { 1000 } else { 0 }));
                gaps.add(Nanos(low + 5000));
            }
            assert_eq!(gaps.percentile_rounded(5, Nanos(1000)), Nanos(expected));
        }
        assert_eq!(Gaps::default().percentile_rounded(5, Nanos(1000)), Nanos::ZERO);
    }
}
