//! Block requests by device, operation and size: where each spent its time, phase by phase.

use std::collections::BTreeMap;

use agenttrace_model::parse::{BlockOp, Dev, Nanos};

use crate::detail::{Column, Table};
use crate::mechanism::{Mechanism, StepView};
use crate::path::device_name;
use crate::stats::stats;

pub(crate) struct BlockRequests;

/// Sizes that devices and file systems treat alike: a page, readahead's and direct I/O's
/// usual sizes, and what a device takes at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum SizeClass {
    Empty,
    Page,
    Small,
    Medium,
    Large,
}

impl SizeClass {
    fn of(bytes: u64) -> Self {
        match bytes {
            0 => Self::Empty,
            1..=4096 => Self::Page,
            4097..=32_768 => Self::Small,
            32_769..=262_144 => Self::Medium,
            _ => Self::Large,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Empty => "no data",
            Self::Page => "up to 4 KiB",
            Self::Small => "up to 32 KiB",
            Self::Medium => "up to 256 KiB",
            Self::Large => "above 256 KiB",
        }
    }
}

#[derive(Default)]
struct Sum {
    count: u64,
    bytes: u64,
    merged: Option<u64>,
    split: u64,
    sequential: u64,
    plug: Option<Nanos>,
    scheduler: Option<Nanos>,
    queue: Nanos,
    device: Nanos,
    hop: Option<Nanos>,
    wakeup: Option<Nanos>,
    took: Vec<Nanos>,
}

fn add(sum: &mut Option<Nanos>, part: Option<Nanos>) {
    if let Some(part) = part {
        *sum = Some(sum.unwrap_or_default() + part);
    }
}

impl Mechanism for BlockRequests {
    fn id(&self) -> &'static str {
        "block_requests"
    }
    fn title(&self) -> &'static str {
        "block requests of the step's tasks"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["block:block_rq_issue", "block:block_rq_complete"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("device", "device"),
            Column::text("op", "op"),
            Column::text("size", "size"),
            Column::count("count", "count"),
            Column::bytes("total_bytes", "bytes"),
            Column::count("merged", "merged"),
            Column::count("split", "split"),
            Column::count("sequential", "sequential"),
            Column::time("plug_ns", "plug"),
            Column::time("queue_ns", "queue"),
            Column::time("scheduler_ns", "scheduler"),
            Column::time("device_ns", "on device"),
            Column::time("hop_ns", "hop"),
            Column::time("wakeup_ns", "wakeup"),
            Column::time("p50_ns", "p50"),
            Column::time("p99_ns", "p99"),
            Column::time("max_ns", "max"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let index = view.index;
        let io = index.block_io();
        let mut sums: BTreeMap<(Dev, BlockOp, SizeClass), Sum> = BTreeMap::new();
        let mut next: BTreeMap<(Dev, BlockOp), u64> = BTreeMap::new();
        let mut open = 0_u64;
        let mut mine: Vec<_> = view.work.iter().flat_map(|s| index.submitted(*s)).collect();
        mine.sort_by_key(|(number, r)| (r.queued, *number));
        for (number, request) in mine {
            let key = (request.dev, request.rwbs.op, SizeClass::of(request.bytes()));
            let sum = sums.entry(key).or_default();
            sum.count += 1;
            sum.bytes += request.bytes();
            if let Some(more) = request.bios.checked_sub(1) {
                sum.merged = Some(sum.merged.unwrap_or(0) + u64::from(more));
            }
            sum.split += u64::from(request.split);
            let expected = next.insert((request.dev, request.rwbs.op), request.sector_end());
            let follows = expected == Some(request.sector) && request.sectors > 0;
            sum.sequential += u64::from(follows);
            let Some(completed) = request.completed else {
                open += 1;
                continue;
            };
            add(&mut sum.plug, io.plugged(request));
            sum.queue += request.issued - request.queued;
            add(&mut sum.scheduler, request.inserted.map(|at| request.issued - at));
            sum.device += completed - request.issued;
            if let Some(waiter) = io.waiter(number) {
                add(&mut sum.hop, Some(waiter.woken - completed));
                add(&mut sum.wakeup, waiter.ran.map(|ran| ran - waiter.woken));
            }
            sum.took.push(completed - request.queued);
        }
        let rows = sums.into_iter().map(|((dev, op, size), mut sum)| {
            let took = stats(&mut sum.took);
            [
                device_name(index.model, dev).into(),
                op.name().into(),
                size.text().into(),
                sum.count.into(),
                sum.bytes.into(),
                sum.merged.into(),
                sum.split.into(),
                sum.sequential.into(),
                sum.plug.into(),
                sum.queue.into(),
                sum.scheduler.into(),
                sum.device.into(),
                sum.hop.into(),
                sum.wakeup.into(),
                took.p50.into(),
                took.p99.into(),
                took.max.into(),
            ]
        });
        let rows: Table = rows.collect();
        let mut notes = Vec::new();
        if !rows.is_empty() {
            notes.push(
                "queue: from the submission to the last issue, plug and scheduler included; hop: from completion to the wakeup of who waited; p50, p99, max: from submission to completion"
                    .into(),
            );
        }
        if open > 0 {
            notes.push(
                format!("{open} of them were not completed in the capture: counted, not timed")
                    .into(),
            );
        }
        rows.with_notes(notes)
    }
}
