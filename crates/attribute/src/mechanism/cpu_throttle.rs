//! CPU quota throttling, by task, as a table.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::TaskId;
use agenttrace_model::parse::Nanos;

use super::{Mechanism, StepView};
use crate::detail::{Column, Table};
use crate::inclusive::Stretch;
use crate::throttle::{Throttle, Throttles};

pub(super) struct CpuThrottle;

impl Mechanism for CpuThrottle {
    fn id(&self) -> &'static str {
        "cpu_throttle"
    }
    fn title(&self) -> &'static str {
        "held by a CPU quota"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("task", "task"),
            Column::count("tid", "tid"),
            Column::count("count", "times"),
            Column::time("total_ns", "held"),
            Column::time("max_ns", "longest"),
            Column::count("by_timer", "ended by one timer"),
            Column::count("idle", "its CPU idle"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let throttles = view.index.throttles(view.windows);
        let mut rows: Vec<_> = within(throttles, view.work).into_iter().collect();
        let total = |list: &[Throttle]| -> Nanos { list.iter().map(|t| t.to - t.from).sum() };
        rows.sort_by_key(|(task, list)| (Reverse(total(list)), *task));
        let rows = rows.into_iter().filter_map(|(task, list)| {
            let t = view.index.task(task)?;
            let count =
                |keep: &dyn Fn(&Throttle) -> bool| list.iter().filter(|t| keep(t)).count() as u64;
            Some([
                t.name_at(view.step.end).to_text().into(),
                u64::try_from(t.tid.0).ok().into(),
                count(&|_| true).into(),
                total(&list).into(),
                list.iter().map(|t| t.to - t.from).max().unwrap_or_default().into(),
                count(&|t| t.fired.is_some()).into(),
                count(&|t| t.idle).into(),
            ])
        });
        let rows: Table = rows.collect();
        let notes = (!view.index.model.captured.system_wide())
            .then(|| "not all tasks were recorded: an idle CPU cannot be told".into());
        rows.with_notes(notes)
    }
}

/// The throttles within the stretches, clipped, by task.
pub(crate) fn within(throttles: &Throttles, work: &[Stretch]) -> BTreeMap<TaskId, Vec<Throttle>> {
    let mut found: BTreeMap<TaskId, Vec<Throttle>> = BTreeMap::new();
    for stretch in work {
        let list = throttles.of(stretch.task);
        let first = list.partition_point(|t| t.to <= stretch.from);
        for t in list.iter().skip(first).take_while(|t| t.from < stretch.to) {
            let (from, to) = (t.from.max(stretch.from), t.to.min(stretch.to));
            found.entry(stretch.task).or_default().push(Throttle { from, to, ..*t });
        }
    }
    found
}
