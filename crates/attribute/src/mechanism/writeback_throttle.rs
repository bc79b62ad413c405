//! Pauses of writers for too much dirty memory, by writer and device, and who else wrote.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::{BlockOp, Dev, Nanos};
use agenttrace_model::{DirtyPause, Model, OpKind, TaskId};

use super::{Mechanism, StepView, tlb};
use crate::detail::{Column, Table, Value};
use crate::inclusive::{Index, Stretch, ops};
use crate::path::device_name;
use crate::stats::stats;

pub(crate) struct WritebackThrottle;

/// The pauses of one writer for one device.
#[derive(Clone, Default, Debug)]
pub(crate) struct Pauses {
    pub(crate) times: Vec<Nanos>,
    /// The most dirty pages that one of them saw.
    pub(crate) dirty: Option<u64>,
    /// The limit at the last of them, pages.
    pub(crate) limit: Option<u64>,
}

impl Pauses {
    fn add(&mut self, length: Nanos, pause: DirtyPause) {
        self.times.push(length);
        self.dirty = self.dirty.max(pause.dirty);
        self.limit = pause.limit.or(self.limit);
    }
}

/// Pauses over stretches of work, by writer and backing device (index in `Model::names`).
pub(crate) fn pauses(
    index: &Index<'_>,
    work: &[Stretch],
) -> BTreeMap<(TaskId, Option<u32>), Pauses> {
    let mut all: BTreeMap<(TaskId, Option<u32>), Pauses> = BTreeMap::new();
    for stretch in work {
        let Some(task) = index.model.tasks.get(stretch.task.0 as usize) else { continue };
        for op in ops(task, *stretch) {
            if let OpKind::DirtyPause(pause) = op.kind {
                all.entry((stretch.task, pause.bdi)).or_default().add(op.duration(), pause);
            }
        }
    }
    all
}

/// A backing device, as `major:minor` in the trace.
fn device(model: &Model, bdi: Option<u32>) -> Option<Dev> {
    let (major, minor) = model.names.get(bdi? as usize)?.split_once(':')?;
    Some(Dev::new(major.parse().ok()?, minor.parse().ok()?))
}

/// A backing device's name.
pub(crate) fn bdi_name(model: &Model, bdi: Option<u32>) -> Option<String> {
    let name = || model.names.get(bdi? as usize).cloned();
    device(model, bdi).map(|dev| device_name(model, dev)).or_else(name)
}

/// Bytes that the block layer wrote to a backing device over `[from, to)`, whoever's they
/// were; `None` where the device or its requests are not known.
pub(crate) fn written_back(
    index: &Index<'_>,
    bdi: Option<u32>,
    from: Nanos,
    to: Nanos,
) -> Option<u64> {
    let model = index.model;
    let dev = device(model, bdi)?;
    if !model.captured.has("block:block_rq_issue") {
        return None;
    }
    let first = model.requests.partition_point(|request| request.issued < from);
    let issued = model.requests.iter().skip(first).take_while(|request| request.issued < to);
    let writes = issued.filter(|r| r.dev == dev && r.rwbs.op == BlockOp::Write);
    Some(writes.map(agenttrace_model::Request::bytes).fold(0, u64::saturating_add))
}

impl Mechanism for WritebackThrottle {
    fn id(&self) -> &'static str {
        "writeback_throttle"
    }
    fn title(&self) -> &'static str {
        "pauses of writers for too much dirty memory, and who else wrote meanwhile"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["writeback:balance_dirty_pages"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("writer", "writer"),
            Column::text("device", "device"),
            Column::count("pauses", "pauses"),
            Column::time("total_ns", "total"),
            Column::time("max_ns", "max"),
            Column::bytes("written_bytes", "written"),
            Column::bytes("dirty_bytes", "most dirty"),
            Column::bytes("limit_bytes", "limit"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let model = view.index.model;
        let work = if view.made.collected.kinds.pauses { view.work } else { &[] };
        let mut paused: Vec<_> = pauses(view.index, work)
            .into_iter()
            .map(|(key, mut pauses)| (key, stats(&mut pauses.times), pauses))
            .collect();
        if paused.is_empty() {
            return Table::default();
        }
        paused.sort_by_key(|(_, times, _)| Reverse(times.total));
        let written = view.index.memory().written(view.step.start, view.step.end);
        let bytes = |id: TaskId| written.iter().find(|(task, _)| *task == id).map(|(_, b)| *b);
        let of_pages = |pages: Option<u64>| pages.map(|pages| pages.saturating_mul(PAGE));
        let mut rows = Table::default();
        for ((task, bdi), times, pauses) in &paused {
            rows.push([
                tlb::name(model, *task, view.step.end).into(),
                bdi_name(model, *bdi).into(),
                times.count.into(),
                times.total.into(),
                times.max.into(),
                bytes(*task).into(),
                of_pages(pauses.dirty).into(),
                of_pages(pauses.limit).into(),
            ]);
        }
        let others = written.iter().filter(|(id, _)| paused.iter().all(|((of, _), ..)| of != id));
        for (task, bytes) in others {
            rows.push([
                tlb::name(model, *task, view.step.end).into(),
                Value::Unknown,
                0_u64.into(),
                Nanos::ZERO.into(),
                Nanos::ZERO.into(),
                (*bytes).into(),
                Value::Unknown,
                Value::Unknown,
            ]);
        }
        rows
    }
}

/// Bytes of a page, on the architectures with these events that agents run on.
pub(crate) const PAGE: u64 = 4096;
