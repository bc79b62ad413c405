//! Reclaim and compaction by the step's tasks, kswapd beside them, and who took memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::Nanos;
use agenttrace_model::{
    FdKind, Kswapd, Model, OpKind, ReclaimKind, State, SyscallClass, SyscallOp, TaskId,
};

use super::tlb::Within;
use super::{Mechanism, StepView};
use crate::detail::{Column, Table, Value};
use crate::inclusive::{Index, Stretch, ops};
use crate::stats::stats;

pub(crate) struct Reclaim;

/// What takes one pass over all operations.
pub(crate) struct MemoryIndex {
    /// Bytes that write calls put into files, by when the call began.
    writes: Vec<(Nanos, TaskId, u64)>,
    /// The tasks that are kswapd's.
    kswapd: Vec<TaskId>,
}

impl MemoryIndex {
    pub(crate) fn new(model: &Model) -> Self {
        let mut writes = Vec::new();
        for (id, task) in model.task_ids() {
            for op in &task.ops {
                if let Some(bytes) = op.syscall().and_then(|call| written(model, &call)) {
                    writes.push((op.start, id, bytes));
                }
            }
        }
        writes.sort_unstable();
        let own = model.kswapd.iter().filter(|event| event.what != Kswapd::Asked);
        let kswapd: BTreeSet<TaskId> = own.filter_map(|event| event.task).collect();
        Self { writes, kswapd: kswapd.into_iter().collect() }
    }

    /// Bytes written to files in calls that begin in `[from, to)`, by task, most first.
    pub(crate) fn written(&self, from: Nanos, to: Nanos) -> Vec<(TaskId, u64)> {
        let first = self.writes.partition_point(|(time, ..)| *time < from);
        let mut sums: BTreeMap<TaskId, u64> = BTreeMap::new();
        for (_, task, bytes) in self.writes.iter().skip(first).take_while(|w| w.0 < to) {
            let sum = sums.entry(*task).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        most_first(sums)
    }
}

/// What a call wrote to a file, if it did.
fn written(model: &Model, call: &SyscallOp) -> Option<u64> {
    let file = match call.fd {
        FdKind::File | FdKind::SyncFile | FdKind::Unknown => true,
        FdKind::InetSocket
        | FdKind::UnixSocket
        | FdKind::OtherSocket
        | FdKind::Pipe
        | FdKind::Event
        | FdKind::Epoll
        | FdKind::Notify
        | FdKind::Timer
        | FdKind::Other => false,
    };
    let bytes = call.ret.and_then(|ret| u64::try_from(ret).ok()).filter(|bytes| *bytes > 0)?;
    (file && model.syscalls.class(call.nr) == SyscallClass::Write).then_some(bytes)
}

fn most_first(sums: BTreeMap<TaskId, u64>) -> Vec<(TaskId, u64)> {
    let mut rows: Vec<(TaskId, u64)> = sums.into_iter().collect();
    rows.sort_by_key(|(_, sum)| Reverse(*sum));
    rows
}

/// The reclaims of one kind.
#[derive(Clone, Default, Debug)]
pub(crate) struct Reclaims {
    /// How long each took.
    pub(crate) times: Vec<Nanos>,
    /// Pages reclaimed, where told.
    pub(crate) pages: u64,
    /// How long they were put to sleep, because they did not get on.
    pub(crate) throttled: Nanos,
    /// The sleeps in that.
    pub(crate) throttles: u64,
    /// By what the task was in that wanted the memory.
    pub(crate) within: BTreeMap<Within, u64>,
}

/// The reclaims over stretches of work, by kind. Those nested in one of another kind
/// count with both.
pub(crate) fn reclaims(index: &Index<'_>, work: &[Stretch]) -> BTreeMap<ReclaimKind, Reclaims> {
    let mut kinds: BTreeMap<ReclaimKind, Reclaims> = BTreeMap::new();
    for stretch in work {
        let Some(task) = index.model.tasks.get(stretch.task.0 as usize) else { continue };
        for op in ops(task, *stretch) {
            let OpKind::Reclaim(reclaim) = op.kind else { continue };
            let sums = kinds.entry(reclaim.kind).or_default();
            sums.times.push(op.duration());
            sums.pages = sums.pages.saturating_add(reclaim.pages.unwrap_or(0));
            sums.throttled += Nanos(u64::from(reclaim.throttled_us) * 1000);
            sums.throttles += u64::from(reclaim.throttles);
            *sums.within.entry(Within::at(index.model, stretch.task, op.start)).or_default() += 1;
        }
    }
    kinds
}

/// kswapd beside a step.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Background {
    /// How often it began to reclaim.
    pub(crate) wakes: u64,
    /// How often tasks of the step asked for it.
    pub(crate) asked: u64,
    /// Its time on a CPU.
    pub(crate) ran: Nanos,
}

/// What kswapd did over `[from, to)`; `None` where that was not recorded.
pub(crate) fn background(
    index: &Index<'_>,
    work: &[Stretch],
    from: Nanos,
    to: Nanos,
) -> Option<Background> {
    let model = index.model;
    if !model.captured.has("vmscan:mm_vmscan_kswapd_wake") {
        return None;
    }
    let works = |task: TaskId, time: Nanos| {
        work.iter().any(|s| s.task == task && s.from <= time && time < s.to)
    };
    let mut sums = Background::default();
    let first = model.kswapd.partition_point(|event| event.time < from);
    for event in model.kswapd.iter().skip(first).take_while(|event| event.time < to) {
        match event.what {
            Kswapd::Wakes => sums.wakes += 1,
            Kswapd::Asked => {
                sums.asked += u64::from(event.task.is_some_and(|task| works(task, event.time)));
            }
            Kswapd::Sleeps => {}
        }
    }
    for task in index.memory().kswapd.iter().filter_map(|id| model.tasks.get(id.0 as usize)) {
        let running = task.spans(from, to).filter(|(.., span)| span.state == State::Running);
        sums.ran += running.map(|(_, start, end, _)| end - start).sum::<Nanos>();
    }
    Some(sums)
}

/// Pages that tasks took over `[from, to)`, most first: what they read into the page cache,
/// and their page faults on anonymous memory.
pub(crate) fn takers(index: &Index<'_>, from: Nanos, to: Nanos) -> Vec<(TaskId, u64)> {
    let model = index.model;
    let mut sums: BTreeMap<TaskId, u64> = BTreeMap::new();
    let first = model.cache.partition_point(|event| event.time < from);
    for event in model.cache.iter().skip(first).take_while(|event| event.time < to) {
        if let Some(task) = event.task.filter(|_| event.added) {
            let sum = sums.entry(task).or_default();
            *sum = sum.saturating_add(event.pages);
        }
    }
    for (id, task) in model.task_ids() {
        let stretch = Stretch { task: id, from, to, inferred: false };
        let anonymous = |fault: agenttrace_model::FaultOp| fault.file.is_none();
        let faults = ops(task, stretch).filter(|op| op.fault().is_some_and(anonymous));
        let count = faults.count() as u64;
        if count > 0 {
            *sums.entry(id).or_default() += count;
        }
    }
    most_first(sums)
}

impl Mechanism for Reclaim {
    fn id(&self) -> &'static str {
        "reclaim"
    }
    fn title(&self) -> &'static str {
        "reclaim and compaction by the step's own tasks, and kswapd beside them"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["vmscan:mm_vmscan_direct_reclaim_begin", "vmscan:mm_vmscan_memcg_reclaim_begin"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("kind", "kind"),
            Column::count("count", "count"),
            Column::count("pages", "pages"),
            Column::time("total_ns", "total"),
            Column::time("p99_ns", "p99"),
            Column::time("max_ns", "max"),
            Column::count("throttles", "put to sleep"),
            Column::time("throttled_ns", "slept"),
            Column::count("asked", "asked for"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let mut rows = Table::default();
        let work = if view.made.collected.kinds.reclaims { view.work } else { &[] };
        for (kind, mut sums) in reclaims(view.index, work) {
            let times = stats(&mut sums.times);
            rows.push([
                kind.name().into(),
                times.count.into(),
                (kind != ReclaimKind::Compaction).then_some(sums.pages).into(),
                times.total.into(),
                times.p99.into(),
                times.max.into(),
                sums.throttles.into(),
                sums.throttled.into(),
                Value::Unknown,
            ]);
        }
        let (from, to) = (view.step.start, view.step.end);
        if let Some(kswapd) = background(view.index, view.work, from, to)
            && (kswapd.wakes, kswapd.asked, kswapd.ran) != (0, 0, Nanos::ZERO)
        {
            rows.push([
                "kswapd, in the background".into(),
                kswapd.wakes.into(),
                Value::Unknown,
                kswapd.ran.into(),
                Value::Unknown,
                Value::Unknown,
                Value::Unknown,
                Value::Unknown,
                kswapd.asked.into(),
            ]);
        }
        rows
    }
}
