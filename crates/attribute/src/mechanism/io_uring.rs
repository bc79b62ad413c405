//! io_uring: what a step's requests were, by opcode, and who did them.

use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{State, SyscallClass, TaskId, UringOp, UringRequest};

use super::{Mechanism, StepView};
use crate::detail::{Column, Table, Value, Words};
use crate::stats::{plural, stats};

/// By opcode.
pub(crate) struct IoUring;

#[derive(Default)]
struct Sum {
    submitted: u64,
    inline: u64,
    punted: u64,
    polled: u64,
    armed: u64,
    failed: u64,
    open: u64,
    durations: Vec<Nanos>,
}

const COLUMNS: &[Column] = &[
    Column::text("opcode", "opcode"),
    Column::count("submitted", "submitted"),
    Column::count("inline", "inline"),
    Column::count("punted", "to a worker"),
    Column::time("p50_ns", "p50"),
    Column::time("p99_ns", "p99"),
    Column::time("max_ns", "max"),
    Column::time("total_ns", "total"),
    Column::count("polled", "by SQPOLL"),
    Column::count("armed", "polled for"),
    Column::count("failed", "failed"),
    Column::count("open", "not completed"),
];

impl Mechanism for IoUring {
    fn id(&self) -> &'static str {
        "io_uring"
    }
    fn title(&self) -> &'static str {
        "io_uring requests by opcode, submission to completion"
    }
    fn needs(&self) -> &'static [&'static str] {
        // Its other half is called io_uring_submit_sqe until Linux 6.3.
        &["io_uring:io_uring_complete"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let mut sums: BTreeMap<UringOp, Sum> = BTreeMap::new();
        for request in requests(view) {
            let sum = sums.entry(request.op).or_default();
            sum.submitted += 1;
            sum.inline += u64::from(inline(view, request));
            sum.punted += u64::from(request.punted.is_some());
            sum.polled += u64::from(request.polled);
            sum.armed += u64::from(request.armed);
            // A timeout that runs out says ETIME: that is what it is for.
            let timeout = request.op.class() == SyscallClass::Sleep;
            sum.failed += u64::from(!timeout && request.result.is_some_and(|r| r < 0));
            match request.completed {
                Some(completed) => sum.durations.push(completed - request.submitted),
                None => sum.open += 1,
            }
        }
        let mut rows: Vec<(Nanos, _)> = Vec::new();
        for (op, mut sum) in sums {
            let times = stats(&mut sum.durations);
            let mut row: Vec<Value<'static>> = vec![op.name().into()];
            row.extend([sum.submitted, sum.inline, sum.punted].map(Value::from));
            row.extend([times.p50, times.p99, times.max, times.total].map(Value::from));
            row.extend([sum.polled, sum.armed, sum.failed, sum.open].map(Value::from));
            rows.push((times.total, row));
        }
        // Stable: opcodes in their order.
        rows.sort_by_key(|(total, _)| std::cmp::Reverse(*total));
        Table::from_iter(rows.into_iter().map(|(_, row)| row)).with_notes(notes(view))
    }
}

/// The requests that a step's tasks submitted, and those that a thread of the kernel
/// submitted for its process meanwhile (SQPOLL).
fn requests<'a>(view: &StepView<'a>) -> Vec<&'a UringRequest> {
    let model = view.index.model;
    let all = &model.uring.requests;
    let first = all.partition_point(|r| r.submitted < view.step.start);
    let mut within = all.iter().skip(first).take_while(|r| r.submitted < view.step.end).peekable();
    if within.peek().is_none() {
        return Vec::new();
    }
    let mut work: BTreeMap<TaskId, Vec<(Nanos, Nanos)>> = BTreeMap::new();
    for stretch in view.work {
        work.entry(stretch.task).or_default().push((stretch.from, stretch.to));
    }
    for stretches in work.values_mut() {
        stretches.sort_unstable();
    }
    let pid = model.task(view.step.root).pid;
    let mine = |request: &&UringRequest| {
        let Some(task) = request.submitter else { return false };
        let stretches = work.get(&task).map_or(&[][..], Vec::as_slice);
        let at = stretches.partition_point(|(from, _)| *from <= request.submitted);
        let working = at.checked_sub(1).and_then(|i| stretches.get(i));
        working.is_some_and(|(_, to)| request.submitted < *to)
            || (request.polled && model.task(task).pid == pid)
    };
    within.filter(mine).collect()
}

/// Whether the task that submitted it completed it, without having slept in between.
fn inline(view: &StepView<'_>, request: &UringRequest) -> bool {
    let (Some(task), Some(completed)) = (request.submitter, request.completed) else {
        return false;
    };
    let slept = |task: TaskId| {
        view.index
            .model
            .task(task)
            .spans(request.submitted, completed)
            .any(|(_, _, _, span)| matches!(span.state, State::Blocked(_)))
    };
    request.completer == Some(task)
        && request.punted.is_none()
        && !request.armed
        && !request.polled
        && !slept(task)
}

fn notes(view: &StepView<'_>) -> Vec<Words> {
    let uring = &view.index.model.uring;
    let within = |time: Nanos| view.step.start <= time && time < view.step.end;
    let mut notes = Vec::new();
    let full = uring.overflows.iter().filter(|time| within(**time)).count() as u64;
    if full > 0 {
        notes.push(Words::Owned(format!(
            "{} found the ring full: take them from it more often, or make it larger",
            plural(full, "completion")
        )));
    }
    let pid = view.index.model.task(view.step.root).pid;
    let own = |task: Option<TaskId>| task.is_some_and(|t| view.index.model.task(t).pid == pid);
    let polled = uring.rings.iter().filter(|r| r.polled && within(r.time) && own(r.task)).count();
    if polled > 0 {
        notes.push(Words::Owned(format!(
            "{} made with a thread of the kernel that takes submissions (SQPOLL)",
            plural(polled as u64, "ring")
        )));
    }
    notes
}
