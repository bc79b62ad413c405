//! Recorded events to an estimate of what recording cost a step.
//!
//! An event is written by the task, or the interrupt, that it is about, and takes that
//! task's time. So an event makes a step longer where its task is on the critical path
//! and running. Events beside the path cost CPU time, and reach the step only through
//! run delay, which is not counted here.

use agenttrace_model::parse::{CaptureInfo, Nanos};

use crate::inclusive::{Index, Stretch};
use crate::report::Tracing;
use crate::verdict::Cell;

/// What perf and ftrace take for one event: `benches/overhead.sh`, as docs/OVERHEAD.md
/// tells.
const PERF: Nanos = Nanos(300);
const FTRACE: Nanos = Nanos(130);

/// What one event costs with the recorder of this capture.
fn event_cost(info: &CaptureInfo) -> Option<Nanos> {
    let perf = info.format.contains("perf") || info.format == "events";
    (!info.ticks).then_some(if perf { PERF } else { FTRACE })
}

/// What recording cost a step; `cells` are its path.
pub(crate) fn tracing(
    index: &Index<'_>,
    work: &[Stretch],
    cells: &[Cell<'_>],
    wall: Nanos,
) -> Tracing {
    let within = |s: &Stretch| {
        let task = index.model.tasks.get(s.task.0 as usize);
        task.map_or(0, |task| task.recorded_within(s.from, s.to))
    };
    let events: u64 = work.iter().map(within).sum();
    let path_events: u64 = cells.iter().map(|c| c.recorded).sum();
    let event_cost = event_cost(index.info);
    let estimate = event_cost.map(|cost| Nanos(path_events.saturating_mul(cost.0)).min(wall));
    let per_ms = events as f64 * 1e6 / wall.0.max(1) as f64;
    Tracing { events, path_events, per_ms, event_cost, estimate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recorder_has_its_cost() {
        let info = |format, ticks| CaptureInfo { format, ticks, ..CaptureInfo::default() };
        assert_eq!(event_cost(&info("perf.data", false)), Some(PERF));
        assert_eq!(event_cost(&info("trace.dat", false)), Some(FTRACE));
        assert_eq!(event_cost(&info("trace.dat", true)), None);
    }
}
