//! What slow steps spent more than the usual step of their tool.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;

use super::{Mechanism, SessionView, StepView};
use crate::cause::Cause;
use crate::detail::{Column, Table};
use crate::report::StepReport;
use crate::stats::{mean, percentile};
use crate::tools::Tools;

pub(crate) struct Relative;

/// A row names at most so many slow steps.
const NAMED: usize = 5;

/// Fills in the rows of a step, where the table was captured.
pub(super) fn relate(tools: &Tools<'_>, report: &mut StepReport) {
    let mut heads = report.details.heads().iter();
    let captured = heads.position(|head| head.id == Relative.id() && head.missing.is_empty());
    let Some(place) = captured else { return };
    let tool = tools.get(&report.tool).filter(|_| tools.known);
    let Some(tool) = tool.filter(|tool| tool.slow(report.wall).is_some()) else { return };
    // There are fewer causes than a table may have rows.
    let rows = tool
        .more(&report.exclusive)
        .into_iter()
        .map(|(cause, more, usual)| [cause.name().into(), more.into(), usual.median.into()])
        .collect();
    report.details.set(place, rows);
}

impl Mechanism for Relative {
    fn id(&self) -> &'static str {
        "relative"
    }
    fn title(&self) -> &'static str {
        "slower than the tool's median, and by which cause"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch"]
    }
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                Column::text("cause", "cause"),
                Column::time("more_ns", "more than the median"),
                Column::time("median_ns", "median of the tool"),
            ]
        }
    }
    /// Nothing yet: [`relate`] fills it in once all steps are known.
    fn step(&self, _: &StepView<'_>) -> Table {
        Table::default()
    }
    fn session_columns(&self) -> &'static [Column] {
        const {
            &[
                Column::text("tool", "tool"),
                Column::count("slow", "slow"),
                Column::count("steps", "of steps"),
                Column::time("median_ns", "median"),
                Column::time("slow_median_ns", "slow ones'"),
                Column::text("cause", "mostly by"),
                Column::time("more_ns", "more of it each"),
                Column::text("slowest", "slow steps"),
            ]
        }
    }
    fn names_actors(&self) -> bool {
        true
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        let mut rows: Vec<(Nanos, _)> = Vec::new();
        // Where some steps alone were asked for, tools have steps without a report.
        if view.reports.len() < view.windows.steps.len() {
            return Table::default();
        }
        for (name, tool) in view.tools.all().filter(|_| view.tools.known) {
            let steps = tool.steps.iter().filter_map(|i| view.reports.get(*i));
            let mut slow: Vec<_> = steps.filter(|s| tool.slow(s.wall).is_some()).collect();
            let mut sums: BTreeMap<Cause, Nanos> = BTreeMap::new();
            for (cause, more, _) in slow.iter().flat_map(|s| tool.more(&s.exclusive)) {
                *sums.entry(cause).or_default() += more;
            }
            let largest = sums.into_iter().max_by_key(|(cause, ns)| (*ns, Reverse(*cause)));
            let Some((cause, more)) = largest else { continue };
            slow.sort_by_key(|s| Reverse(s.wall));
            let named: Vec<String> = slow.iter().take(NAMED).map(|s| s.id.to_string()).collect();
            let mut walls: Vec<Nanos> = slow.iter().map(|s| s.wall).collect();
            walls.sort_unstable();
            let count = slow.len() as u64;
            rows.push((
                more,
                [
                    name.to_owned().into(),
                    count.into(),
                    (tool.steps.len() as u64).into(),
                    tool.wall.median.into(),
                    percentile(&walls, 50).into(),
                    cause.name().into(),
                    mean(more, count).into(),
                    named.join(", ").into(),
                ],
            ));
        }
        // Stable: tools that tie stay in the order of their names.
        rows.sort_by_key(|(more, _)| Reverse(*more));
        rows.into_iter().map(|(_, row)| row).collect()
    }
}
