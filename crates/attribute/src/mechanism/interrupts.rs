//! Hard and soft interrupts over the tasks of a step, by name: time stolen from them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, Task};

use super::{Mechanism, SessionView, StepView};
use crate::detail::{Column, Table, Value};
use crate::inclusive::{Index, Stretch, union};
use crate::path::Frame;
use crate::stats::stats;

pub(super) struct Interrupts;

impl Mechanism for Interrupts {
    fn id(&self) -> &'static str {
        "interrupts"
    }
    fn title(&self) -> &'static str {
        "interrupts over its tasks"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["irq:irq_handler_entry", "irq:irq_handler_exit"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("name", "name"),
            Column::text("kind", "kind"),
            Column::count("count", "count"),
            Column::time("total_ns", "stolen"),
            Column::time("p50_ns", "p50"),
            Column::time("p99_ns", "p99"),
            Column::time("max_ns", "max"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let work = if view.made.kinds.interrupts { view.work } else { &[] };
        rows(view.index, work)
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        rows(view.index, &union(view.work))
    }
}

/// Each interrupt's own time: those nested in it count for themselves.
fn own(task: &Task, number: usize, op: &Op) -> Nanos {
    let nested: Nanos = task
        .ops
        .iter()
        .skip(number + 1)
        .take_while(|inner| inner.start < op.end)
        .filter(|inner| inner.parent() == Some(number))
        .map(|inner| inner.end.min(op.end) - inner.start)
        .sum();
    (op.end - op.start) - nested
}

fn rows(index: &Index<'_>, work: &[Stretch]) -> Table {
    let mut sums: BTreeMap<Frame, Vec<Nanos>> = BTreeMap::new();
    for stretch in work {
        let Some(task) = index.task(stretch.task) else { continue };
        let first = task.ops.before(stretch.from);
        let ops = task.ops.iter().enumerate().skip(first);
        for (number, op) in ops.take_while(|(_, op)| op.start < stretch.to) {
            if op.end != Nanos::MAX
                && let Some(frame) = Frame::of_interrupt(op.kind)
            {
                sums.entry(frame).or_default().push(own(task, number, &op));
            }
        }
    }
    let mut rows: Vec<_> =
        sums.into_iter().map(|(key, mut values)| (key, stats(&mut values))).collect();
    rows.sort_by_key(|(_, s)| Reverse(s.total));
    let rows = rows.into_iter().map(|(frame, s)| {
        let kind = if matches!(frame, Frame::Softirq(_)) { "soft" } else { "hard" };
        let name = frame.text(index.model, index.model.span.1);
        let name = name.split_once(' ').map_or(&*name, |(_, name)| name);
        let times = [s.total, s.p50, s.p99, s.max];
        let [total, p50, p99, max] = times.map(Value::from);
        [name.to_owned().into(), kind.into(), s.count.into(), total, p50, p99, max]
    });
    let soft = index.model.captured.has("irq:softirq_entry");
    let notes = (!soft).then(|| "soft interrupts were not recorded".into());
    Table::from_iter(rows).with_notes(notes)
}
