//! Moves of the root task between CPUs, and whether each helped or hurt, as a table.

use std::collections::BTreeMap;

use super::{Mechanism, StepView};
use crate::detail::{Column, Table, Value, Words};
use crate::moves::Move;

pub(super) struct Migrations;

impl Mechanism for Migrations {
    fn id(&self) -> &'static str {
        "migrations"
    }
    fn title(&self) -> &'static str {
        "moves of its root task between CPUs, and what waiting and faults cost around them"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_migrate_task", "sched:sched_switch"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("when", "when"),
            Column::time("at_ns", "from its start"),
            Column::count("from_cpu", "from CPU"),
            Column::count("to_cpu", "to CPU"),
            Column::text("effect", "effect"),
            Column::text("distance", "distance"),
            Column::text("by", "by"),
            Column::time("before_ns", "before"),
            Column::time("before_delay_ns", "run delay"),
            Column::count("before_faults", "faults"),
            Column::time("before_fault_ns", "each"),
            Column::time("after_ns", "after"),
            Column::time("after_delay_ns", "run delay after"),
            Column::count("after_faults", "faults after"),
            Column::time("after_fault_ns", "each after"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let start = view.step.start;
        let found = view.made.moves(view.index, view.step);
        let rows = found.iter().map(|m| {
            let at = if m.during { m.time - start } else { start - m.time };
            let mut row: Vec<Value<'static>> = vec![
                if m.during { "in the step" } else { "before it" }.into(),
                at.into(),
                u64::from(m.from.0).into(),
                u64::from(m.to.0).into(),
                m.effect().map(|effect| effect.name()).into(),
                m.distance.name().into(),
                m.by.into(),
            ];
            row.extend(sides(m));
            row
        });
        Table::from_iter(rows).with_notes(balancing(view))
    }
}

fn sides(m: &Move) -> Vec<Value<'static>> {
    let sides = [m.before, m.after].map(|side| {
        let known = m.during.then_some(side);
        [
            known.map(|s| s.length).into(),
            known.map(|s| s.delay).into(),
            known.map(|s| s.faults).into(),
            known.and_then(|s| s.fault_mean()).into(),
        ]
    });
    sides.into_iter().flatten().collect()
}

/// What NUMA balancing decided about the step's tasks, counted.
fn balancing(view: &StepView<'_>) -> Option<Words> {
    let mut counts = BTreeMap::new();
    let all = &view.index.model.balancing;
    for stretch in view.work {
        let first = all.partition_point(|b| b.time < stretch.from);
        let within = all.iter().skip(first).take_while(|b| b.time < stretch.to);
        for decision in within.filter(|b| b.task == stretch.task) {
            *counts.entry(decision.kind).or_insert(0_u64) += 1;
        }
    }
    let texts: Vec<String> =
        counts.into_iter().map(|(kind, n)| format!("{} {n}", kind.name())).collect();
    (!texts.is_empty()).then(|| format!("NUMA balancing of its tasks: {}", texts.join(", ")).into())
}
