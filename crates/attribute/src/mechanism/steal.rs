//! Holes that a hypervisor may have made, as a table of suspicions.

use super::{Mechanism, StepView};
use crate::detail::{Column, Table};
use crate::inclusive::{Index, Stretch};
use crate::steal::Hole;

pub(super) struct Steal;

impl Mechanism for Steal {
    fn id(&self) -> &'static str {
        "steal_suspected"
    }
    fn title(&self) -> &'static str {
        "suspected: the hypervisor had the CPU"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "timer:hrtimer_expire_entry"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::time("at_ns", "after its start"),
            Column::text("task", "task that ran on"),
            Column::count("cpu", "CPU"),
            Column::time("silent_ns", "no event for"),
            Column::time("tick_ns", "tick's period"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let found = within(view.index, view.work);
        let rows = found.iter().filter_map(|hole| {
            let task = view.index.task(hole.task)?;
            Some([
                (hole.from - view.step.start).into(),
                task.name_at(hole.from).to_text().into(),
                u64::from(hole.cpu.0).into(),
                (hole.to - hole.from).into(),
                hole.tick.into(),
            ])
        });
        let rows: Table = rows.collect();
        let note = "a suspicion: the CPU's tick is missing and nothing was recorded, though a task ran on; \
                    the host ran something else, or the kernel kept interrupts off (`steal` in /proc/stat tells)";
        let notes = (!rows.is_empty()).then(|| note.into());
        rows.with_notes(notes)
    }
}

/// The holes in the work of a step, those that reach over its edges clipped.
pub(crate) fn within(index: &Index<'_>, work: &[Stretch]) -> Vec<Hole> {
    let holes = index.holes();
    let mut found = Vec::new();
    for stretch in work {
        // Holes of several CPUs overlap, so the first that counts may begin earlier.
        let first = holes.partition_point(|h| h.from < stretch.from);
        let before = holes.iter().take(first).rev().take(64).filter(|h| h.to > stretch.from);
        let inside = holes.iter().skip(first).take_while(|h| h.from < stretch.to);
        for hole in before.chain(inside).filter(|h| h.task == stretch.task) {
            let (from, to) = (hole.from.max(stretch.from), hole.to.min(stretch.to));
            found.push(Hole { from, to, ..*hole });
        }
    }
    found.sort_by_key(|hole| (hole.from, hole.cpu));
    found
}
