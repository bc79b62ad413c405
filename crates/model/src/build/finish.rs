//! After the last event: calibrated exit costs, estimated ends, and what stays open.

use std::io;

use agenttrace_parse::{Calibration, Cpu, Nanos, Problem};
use rayon::prelude::*;

use super::Builder;
use crate::model::Model;
use crate::op::Costs;
use crate::task::TaskId;

/// A histogram of short gaps: 16 ns steps up to 64 us.
#[derive(Clone, Debug)]
pub(crate) struct Gaps {
    counts: Vec<u32>,
}

const STEP: u64 = 16;
const STEPS: usize = 4096;

impl Default for Gaps {
    fn default() -> Self {
        Self { counts: vec![0; STEPS] }
    }
}

impl Gaps {
    #[inline]
    pub(crate) fn add(&mut self, gap: Nanos) {
        let index = usize::try_from(gap.0 / STEP).unwrap_or(STEPS).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(index) {
            *count = count.saturating_add(1);
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
        let count = |gap: u64| self.counts.get(step(gap)).copied().map_or(0, u64::from);
        // The percentile is the lower edge of its step; the value itself is a multiple.
        let low = low.0.next_multiple_of(unit.0);
        let (at, above) = (count(low), count(low.saturating_add(unit.0)));
        let share = unit.0.saturating_mul(above).checked_div(at.saturating_add(above));
        Nanos(low.saturating_add(share.unwrap_or(0)))
    }

    /// The gap that `percent` of all gaps do not exceed; zero with none.
    pub(crate) fn percentile(&self, percent: u64) -> Nanos {
        let total: u64 = self.counts.iter().copied().map(u64::from).sum();
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Nanos(index as u64 * STEP);
            }
        }
        Nanos::ZERO
    }
}

/// A gap as [`crate::Op`] holds it while the capture is read: plus 1, so that 0 is none.
pub(super) fn gap_code(gap: Nanos) -> u32 {
    u32::try_from(gap.0).unwrap_or(u32::MAX).saturating_add(1)
}

impl Builder {
    /// The first own event after an operation's end tells how long the way out took at most.
    pub(super) fn fill_gap(&mut self, task: TaskId, time: Nanos) {
        if let Some(live) = self.live.get_mut(task.0 as usize) {
            live.fill_gap(time, &mut self.exit_gaps, &mut self.fault_gaps);
        }
    }

    /// Ends the capture: nothing more can be learned. Costs that the whole of
    /// which this capture is a cut told take the place of its own.
    ///
    /// # Errors
    /// Those of the scratch file ([`with_scratch`](Self::with_scratch)), where rows that it holds
    /// cannot be had back; none without one.
    pub fn finish(mut self, calibration: Option<Calibration>) -> io::Result<Model> {
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
        let costs = Costs::new(&calibration, self.resolution);
        // One by one: a few tasks have most operations, and may be neighbours.
        let tasks = self.live.par_iter_mut().with_max_len(1);
        tasks.try_for_each(|task| task.ops.calibrate(&costs))?;
        self.settle()?;
        for (task, live) in self.model.tasks.iter_mut().zip(self.live) {
            task.states = live.states;
            task.ops = live.ops;
            task.recorded = live.recorded;
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
        Ok(self.model)
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
