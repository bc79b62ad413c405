//! Block requests by file: how much of which file was read and written, in order or at random.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::Request;
use agenttrace_model::parse::{BlockOp, Nanos};

use crate::detail::{Column, Table, Words};
use crate::inclusive::{Index, Stretch};
use crate::mechanism::{Mechanism, StepView};
use crate::path::file_name;
use crate::report::Stats;
use crate::stats::stats;

pub(crate) struct BlockFiles;

/// The requests of one file, or of none, in one direction.
#[derive(Clone, Debug)]
pub(crate) struct FileRequests {
    pub(crate) file: Option<u32>,
    pub(crate) op: BlockOp,
    pub(crate) bytes: u64,
    pub(crate) queue: Nanos,
    pub(crate) device: Nanos,
    /// Requests that begin where the one before of the same file ended.
    pub(crate) sequential: u64,
    /// Completed ones, from submission to completion.
    pub(crate) stats: Stats,
    /// All.
    pub(crate) count: u64,
}

/// In what order the sectors of a file were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Sequential,
    Random,
    Mixed,
    /// Too few to tell.
    Few,
}

impl Order {
    /// The word before a noun, with a space behind it.
    pub(crate) fn adjective(self) -> &'static str {
        match self {
            Self::Sequential => "sequential ",
            Self::Random => "random ",
            Self::Mixed | Self::Few => "",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Random => "random",
            Self::Mixed => "mixed",
            Self::Few => "few",
        }
    }
}

/// Fewer requests than this have no order.
const FEW: u64 = 4;

impl FileRequests {
    /// Three in four that follow are an order; one in four is chance.
    pub(crate) fn order(&self) -> Order {
        if self.count < FEW {
            return Order::Few;
        }
        let pairs = self.count - 1;
        match self.sequential.saturating_mul(4) {
            n if n >= pairs.saturating_mul(3) => Order::Sequential,
            n if n <= pairs => Order::Random,
            _ => Order::Mixed,
        }
    }
}

#[derive(Default)]
struct Sum {
    count: u64,
    bytes: u64,
    queue: Nanos,
    device: Nanos,
    sequential: u64,
    next: Option<u64>,
    took: Vec<Nanos>,
}

/// The requests of a step's tasks by file and direction, the longest time first.
pub(crate) fn by_file(
    index: &Index<'_>,
    work: &[Stretch],
    keep: impl Fn(&Request) -> bool,
) -> Vec<FileRequests> {
    let mut sums: BTreeMap<(Option<u32>, BlockOp), Sum> = BTreeMap::new();
    let mut mine: Vec<_> = work.iter().flat_map(|s| index.submitted(*s)).collect();
    mine.retain(|(_, r)| r.sectors > 0 && keep(r));
    mine.sort_by_key(|(number, r)| (r.queued, *number));
    for (_, request) in mine {
        let sum = sums.entry((request.file, request.rwbs.op)).or_default();
        sum.count += 1;
        sum.bytes += request.bytes();
        let follows = sum.next.replace(request.sector_end()) == Some(request.sector);
        sum.sequential += u64::from(follows);
        if let Some(completed) = request.completed {
            sum.queue += request.issued - request.queued;
            sum.device += completed - request.issued;
            sum.took.push(completed - request.queued);
        }
    }
    let files = sums.into_iter().map(|((file, op), mut sum)| FileRequests {
        file,
        op,
        bytes: sum.bytes,
        queue: sum.queue,
        device: sum.device,
        sequential: sum.sequential,
        stats: stats(&mut sum.took),
        count: sum.count,
    });
    let mut files: Vec<FileRequests> = files.collect();
    files.sort_by_key(|f| (Reverse(f.stats.total), f.file, f.op));
    files
}

impl Mechanism for BlockFiles {
    fn id(&self) -> &'static str {
        "block_files"
    }
    fn title(&self) -> &'static str {
        "block requests by file"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["block:block_rq_issue", "block:block_rq_complete", "block:block_bio_queue"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("file", "file"),
            Column::text("op", "op"),
            Column::text("order", "order"),
            Column::count("count", "count"),
            Column::count("sequential", "sequential"),
            Column::bytes("total_bytes", "bytes"),
            Column::time("queue_ns", "queue"),
            Column::time("device_ns", "on device"),
            Column::time("p50_ns", "p50"),
            Column::time("p99_ns", "p99"),
            Column::time("max_ns", "max"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let files = by_file(view.index, view.work, |_| true);
        let mut notes = Vec::new();
        if files.iter().any(|f| f.file.is_none()) {
            notes.push(missing(view.index));
        }
        let rows = files.iter().map(|f| {
            [
                f.file.map(|file| file_name(view.index.model, file)).into(),
                f.op.name().into(),
                f.order().text().into(),
                f.count.into(),
                f.sequential.into(),
                f.bytes.into(),
                f.queue.into(),
                f.device.into(),
                f.stats.p50.into(),
                f.stats.p99.into(),
                f.stats.max.into(),
            ]
        });
        Table::from_iter(rows).with_notes(notes)
    }
}

fn missing(index: &Index<'_>) -> Words {
    let lookups = "ext4:ext4_es_lookup_extent_enter";
    if index.model.captured.has(lookups) {
        "without a file: metadata, flushes, and what no event of the same call names".into()
    } else {
        format!("without a file: metadata, flushes, and direct I/O, for {lookups} was not captured")
            .into()
    }
}
