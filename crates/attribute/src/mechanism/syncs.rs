//! Durability calls by file: what they waited for, part by part.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;

use crate::detail::{Column, Table};
use crate::journal::SyncParts;
use crate::mechanism::{Mechanism, StepView};
use crate::path::file_name;
use crate::stats::stats;

pub(crate) struct Syncs;

impl Mechanism for Syncs {
    fn id(&self) -> &'static str {
        "syncs"
    }
    fn title(&self) -> &'static str {
        "syncs by file, and what they waited for"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "sched:sched_switch"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("call", "call"),
            Column::text("file", "file"),
            Column::count("count", "count"),
            Column::time("total_ns", "total"),
            Column::time("data_ns", "data"),
            Column::time("commit_ns", "commit"),
            Column::time("locking_ns", "(locking)"),
            Column::time("flushing_ns", "(flushing)"),
            Column::time("logging_ns", "(logging)"),
            Column::time("flush_ns", "flush"),
            Column::time("hop_ns", "hop"),
            Column::time("run_queue_ns", "run queue"),
            Column::time("cpu_ns", "cpu"),
            Column::time("other_ns", "other"),
            Column::time("p50_ns", "p50"),
            Column::time("p99_ns", "p99"),
            Column::time("max_ns", "max"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let model = view.index.model;
        let mut sums: BTreeMap<(i32, Option<u32>), (SyncParts, Vec<Nanos>)> = BTreeMap::new();
        for call in view.made.syncs(view.index, view.work) {
            let (parts, took) = sums.entry((call.nr, call.file)).or_default();
            parts.add(&call.parts);
            took.push(call.end - call.start);
        }
        if sums.is_empty() {
            return Table::default();
        }
        let phases = model.captured.has("jbd2:jbd2_commit_locking");
        let requests = model.captured.has("block:block_rq_complete");
        let phase = |ns: Nanos| phases.then_some(ns);
        let io = |ns: Nanos| requests.then_some(ns);
        let mut rows: Vec<(Nanos, _)> = Vec::new();
        for ((nr, file), (parts, mut took)) in sums {
            let stats = stats(&mut took);
            rows.push((
                stats.total,
                [
                    model.syscalls.name(nr).into(),
                    file.map(|file| file_name(model, file)).into(),
                    stats.count.into(),
                    stats.total.into(),
                    io(parts.data).into(),
                    parts.commit.into(),
                    phase(parts.locking).into(),
                    phase(parts.flushing).into(),
                    phase(parts.logging).into(),
                    io(parts.flush).into(),
                    parts.hop.into(),
                    parts.queue.into(),
                    parts.cpu.into(),
                    parts.other.into(),
                    stats.p50.into(),
                    stats.p99.into(),
                    stats.max.into(),
                ],
            ));
        }
        rows.sort_by_key(|(total, _)| Reverse(*total));
        let mut notes = Vec::new();
        if !rows.is_empty() {
            notes.push(
                "total = data + commit + flush + hop + run queue + cpu + other; the phases of jbd2 in brackets are parts of the commit, flushes apart"
                    .into(),
            );
        }
        Table::from_iter(rows.into_iter().map(|(_, row)| row)).with_notes(notes)
    }
}
