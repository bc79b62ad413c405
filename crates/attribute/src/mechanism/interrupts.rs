//! Hard and soft interrupts over the tasks of a step, by name: time stolen from them.

use std::cmp::Reverse;

use super::{Mechanism, SessionView, StepView};
use crate::detail::{Column, Table, Value};
use crate::inclusive::Index;
use crate::path::Frame;
use crate::report::Stats;

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
        rows(view.index, &view.made.collected.interrupts)
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        rows(view.index, &view.collected.interrupts)
    }
}

fn rows(index: &Index<'_>, interrupts: &[(Frame, Stats)]) -> Table {
    let mut rows: Vec<(Frame, Stats)> = interrupts.to_vec();
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
