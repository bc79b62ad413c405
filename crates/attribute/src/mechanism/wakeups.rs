//! Wakeups by the distance between waker and wakee, as a table.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Distance, Nanos};

use super::{Mechanism, SessionView, StepView};
use crate::detail::{Column, Table, Value};
use crate::inclusive::Index;
use crate::stats::stats;
use crate::wakeup::Wakeup;

pub(super) struct Wakeups;

impl Mechanism for Wakeups {
    fn id(&self) -> &'static str {
        "wakeups"
    }
    fn title(&self) -> &'static str {
        "wakeups by distance, from the waker's CPU to where the task ran"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "sched:sched_waking"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("class", "distance"),
            Column::count("count", "wakeups"),
            Column::time("p50_ns", "p50"),
            Column::time("p99_ns", "p99"),
            Column::time("max_ns", "max"),
            Column::time("total_ns", "total"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        rows(view.index, &view.made.collected.wakeups)
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        rows(view.index, &view.collected.wakeups)
    }
}

fn rows(index: &Index<'_>, wakeups: &[Wakeup]) -> Table {
    let mut classes: BTreeMap<Distance, Vec<Nanos>> = BTreeMap::new();
    for wakeup in wakeups {
        classes.entry(wakeup.distance(index.seats())).or_default().push(wakeup.latency());
    }
    let unplaced = index.info.topology.is_empty() && classes.contains_key(&Distance::Unknown);
    let notes = unplaced.then(|| {
        "the capture does not tell where its CPUs sit: pass --topology with what \
         `lscpu -p=CPU,CORE,SOCKET,NODE,CACHE` prints on that machine"
            .into()
    });
    let rows = classes.into_iter().map(|(class, mut values)| {
        let s = stats(&mut values);
        let times = [s.p50, s.p99, s.max, s.total].map(Value::from);
        let [p50, p99, max, total] = times;
        [class.name().into(), s.count.into(), p50, p99, max, total]
    });
    Table::from_iter(rows).with_notes(notes)
}
