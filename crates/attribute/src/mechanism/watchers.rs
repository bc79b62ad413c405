//! Wakeups to rows: who watches files by inotify or fanotify, and was woken by the step's own calls.
//!
//! No tracepoint tells of fsnotify. A watcher sleeps in a read of an inotify or fanotify
//! fd, or in a poll of one, and is woken from inside the call that changed or touched a file
//! (fs/notify/notification.c, `fsnotify_insert_event`).

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::Nanos;
use agenttrace_model::{FdKind, Model, State, SyscallClass, Task, TaskId, WakeSource};
use rustc_hash::FxHashMap;

use super::locks::task_name;
use super::{Mechanism, StepView};
use crate::cpu_lines::LineCursor;
use crate::cursor::{StateCursor, TaskCursor};
use crate::detail::{Column, Table};
use crate::inclusive::{Index, Stretch};
use crate::stats::percentile;

pub(crate) struct Watchers;

const COLUMNS: &[Column] = &[
    Column::text("watcher", "watcher"),
    Column::count("wakeups", "woken"),
    Column::time("waking_ns", "in those calls"),
    Column::time("waking_p50_ns", "p50"),
    Column::time("other_p50_ns", "p50 else"),
    Column::time("ran_ns", "it ran"),
    Column::time("delayed_ns", "on our CPU"),
    Column::text("calls", "by"),
    Column::text("through", "through"),
];

/// A watcher was woken by a file operation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct WatchWake {
    time: Nanos,
    waker: TaskId,
    watcher: TaskId,
    /// Index of the call in the waker's operations.
    op: usize,
    nr: i32,
    /// The fd is known to be one of inotify or fanotify.
    known: bool,
}

/// All such wakeups of a capture, in time order, and what calls cost that woke nobody.
#[derive(Default)]
pub(crate) struct WatchWakes {
    wakes: Vec<WatchWake>,
    /// By call: the median time of those, by tasks that woke a watcher at all.
    others: BTreeMap<i32, Nanos>,
}

/// One watcher, as one step knew it.
pub(crate) struct Watcher {
    pub(crate) task: TaskId,
    pub(crate) known: bool,
    pub(crate) wakeups: u64,
    /// Wakeups by call.
    pub(crate) calls: BTreeMap<i32, u64>,
    /// Times of the calls that woke it, sorted.
    waking: Vec<Nanos>,
    /// How long it ran in the step's window.
    pub(crate) ran: Nanos,
    /// Of it, while a task of the step was runnable and waited for this CPU.
    pub(crate) delayed: Nanos,
}

/// A call whose cost is known with and without a wakeup.
pub(crate) struct Waking {
    pub(crate) nr: i32,
    /// How many of the step's calls woke a watcher.
    pub(crate) count: u64,
    pub(crate) p50: Nanos,
    pub(crate) other: Option<Nanos>,
}

/// How many operations after its wakeup a watcher's read of the events is looked for.
const READ_WITHIN: usize = 16;

impl WatchWakes {
    /// One pass over the wakeups, one over the calls of those who woke watchers.
    pub(crate) fn new(model: &Model) -> Self {
        let wakes = found(model);
        let calls: BTreeSet<i32> = wakes.iter().map(|wake| wake.nr).collect();
        let woke: BTreeSet<(TaskId, usize)> = wakes.iter().map(|w| (w.waker, w.op)).collect();
        let wakers: BTreeSet<TaskId> = wakes.iter().map(|wake| wake.waker).collect();
        let mut others: BTreeMap<i32, Vec<Nanos>> = BTreeMap::new();
        for waker in wakers {
            let Some(task) = model.tasks.get(waker.0 as usize) else { continue };
            for (index, op) in task.ops.iter().enumerate() {
                if let Some(call) = op.syscall()
                    && calls.contains(&call.nr)
                    && model.syscalls.on_file(&call)
                    && op.end != Nanos::MAX
                    && !woke.contains(&(waker, index))
                {
                    others.entry(call.nr).or_default().push(op.duration());
                }
            }
        }
        let others = others.into_iter().filter_map(|(nr, mut times)| {
            times.sort_unstable();
            // Few may be special.
            (times.len() >= FEW).then(|| (nr, percentile(&times, 50)))
        });
        Self { wakes, others: others.collect() }
    }
}

/// The wakeups that woke a watcher.
fn found(model: &Model) -> Vec<WatchWake> {
    // Wakeups come in time order: where tasks are need not be searched for each.
    let mut cursors: FxHashMap<TaskId, TaskCursor<'_>> = FxHashMap::default();
    let mut inside = |id: TaskId, task, time| {
        let cursor = cursors.entry(id).or_insert_with(|| TaskCursor::new(task));
        cursor.seek(time);
        cursor.inside()
    };
    let wakes = model.wakes.iter().filter_map(|wake| {
        let WakeSource::Task(waker) = wake.source else { return None };
        if !wake.file_call {
            return None;
        }
        let before = Nanos(wake.time.0.saturating_sub(1));
        let (task, wakee) =
            (model.tasks.get(waker.0 as usize)?, model.tasks.get(wake.wakee.0 as usize)?);
        let (op, call) = task.call_around(inside(waker, task, before))?;
        if !model.syscalls.on_file(&call) {
            return None;
        }
        let known = watches(model, wakee, inside(wake.wakee, wakee, before)?)?;
        let state = StateCursor::default().throughout(wakee, before, wake.time);
        if !matches!(state, Some(State::Blocked(_))) {
            return None;
        }
        let end = task.ops.get(op).map_or(Nanos::MAX, |op| op.end);
        // A server of the filesystem (FUSE) is woken alike, and answers.
        let asks = || answered(model, task, wake.time, end, wake.wakee);
        (known || (!wake.birth && !asks())).then_some(WatchWake {
            time: wake.time,
            waker,
            watcher: wake.wakee,
            op,
            nr: call.nr,
            known,
        })
    });
    wakes.collect()
}

/// So many calls are needed to tell what one costs.
const FEW: usize = 5;

/// Whether a call is one that waits for events of files: `Some(true)` where its fd is known to
/// be one for that, `Some(false)` where it may be, opened before the capture. `inside`: what
/// the task is in, innermost.
fn watches(model: &Model, task: &Task, inside: usize) -> Option<bool> {
    // Not in a lock, or a fault, inside of a call.
    let call = task.ops.get(inside)?.syscall()?;
    let by_fd = |fd: FdKind| match fd {
        FdKind::Notify => Some(true),
        FdKind::Unknown => Some(false),
        FdKind::File
        | FdKind::SyncFile
        | FdKind::InetSocket
        | FdKind::UnixSocket
        | FdKind::OtherSocket
        | FdKind::Pipe
        | FdKind::Event
        | FdKind::Epoll
        | FdKind::Timer
        | FdKind::Other => None,
    };
    let class = model.syscalls.class(call.nr);
    if class == SyscallClass::Read {
        return by_fd(call.fd);
    }
    if class != SyscallClass::Poll {
        return None;
    }
    // Which fd was ready, its next read tells.
    let later = task.ops.iter().skip(inside.checked_add(1)?).take(READ_WITHIN);
    let mut reads = later
        .filter_map(|op| op.syscall())
        .filter(|call| model.syscalls.class(call.nr) == SyscallClass::Read);
    by_fd(reads.next()?.fd)
}

/// Whether a task goes on to sleep in the same call until the one that it woke wakes it.
fn answered(model: &Model, task: &Task, from: Nanos, to: Nanos, by: TaskId) -> bool {
    let wakes =
        task.spans(from, to).filter_map(|(.., span)| span.wake.and_then(|id| model.wakes.get(id)));
    wakes.filter(|wake| wake.time > from).any(|wake| wake.source == WakeSource::Task(by))
}

/// The wakeups of watchers by the calls of a step's tasks.
fn of_step<'i>(index: &'i Index<'_>, work: &[Stretch]) -> Vec<&'i WatchWake> {
    let all = &index.watch_wakes().wakes;
    let from = work.iter().map(|s| s.from).min().unwrap_or(Nanos::MAX);
    let to = work.iter().map(|s| s.to).max().unwrap_or(Nanos::ZERO);
    let first = all.partition_point(|wake| wake.time < from);
    let within = all.iter().skip(first).take_while(|wake| wake.time < to).collect::<Vec<_>>();
    if within.is_empty() {
        return within;
    }
    // The watcher itself may work for the step, as one of its tree that was woken.
    let mut stretches: Vec<&Stretch> = work.iter().collect();
    stretches.sort_unstable_by_key(|s| (s.task, s.from));
    let works = |task: TaskId, time: Nanos| {
        let after = stretches.partition_point(|s| (s.task, s.from) <= (task, time));
        let last = after.checked_sub(1).and_then(|i| stretches.get(i));
        last.is_some_and(|s| s.task == task && time < s.to)
    };
    within.into_iter().filter(|wake| works(wake.waker, wake.time)).collect()
}

/// The watchers that a step woke, the most often woken first.
pub(crate) fn watchers(
    index: &Index<'_>,
    work: &[Stretch],
    window: (Nanos, Nanos),
) -> Vec<Watcher> {
    let model = index.model;
    let mut by_task: BTreeMap<TaskId, Watcher> = BTreeMap::new();
    let wakes = of_step(index, work);
    for wake in &wakes {
        let watcher = by_task.entry(wake.watcher).or_insert_with(|| Watcher {
            task: wake.watcher,
            known: false,
            wakeups: 0,
            calls: BTreeMap::new(),
            waking: Vec::new(),
            ran: Nanos::ZERO,
            delayed: Nanos::ZERO,
        });
        watcher.known |= wake.known;
        watcher.wakeups += 1;
        *watcher.calls.entry(wake.nr).or_default() += 1;
        let op = model.tasks.get(wake.waker.0 as usize).and_then(|t| t.ops.get(wake.op));
        watcher.waking.extend(op.map(agenttrace_model::Op::duration));
    }
    if by_task.is_empty() {
        return Vec::new();
    }
    for watcher in by_task.values_mut() {
        watcher.waking.sort_unstable();
        if let Some(task) = model.tasks.get(watcher.task.0 as usize) {
            let spans = task.spans(window.0, window.1);
            let ran = spans.filter(|(.., span)| span.state == State::Running);
            watcher.ran = ran.map(|(_, from, to, _)| to - from).sum();
        }
    }
    let (mut cursor, mut rivals) = (LineCursor::default(), Vec::new());
    for stretch in work {
        if by_task.contains_key(&stretch.task) {
            continue;
        }
        let Some(task) = model.tasks.get(stretch.task.0 as usize) else { continue };
        let spans = task.spans(stretch.from, stretch.to);
        for (_, from, to, _) in spans.filter(|(.., span)| span.state == State::Runnable) {
            index.ahead(stretch.task, from, to, &mut cursor, &mut rivals);
        }
        for rival in rivals.drain(..) {
            if let Some(watcher) = by_task.get_mut(&rival.task) {
                watcher.delayed += rival.to - rival.from;
            }
        }
    }
    let mut watchers: Vec<Watcher> = by_task.into_values().collect();
    // The map gave them in order, and the sort is stable.
    watchers.sort_by_key(|watcher| std::cmp::Reverse(watcher.wakeups));
    watchers
}

/// The calls of a step that woke watchers, the most first; a call that woke two counts once.
pub(crate) fn waking_calls(index: &Index<'_>, work: &[Stretch]) -> Vec<Waking> {
    let mut calls: BTreeMap<i32, BTreeSet<(TaskId, usize)>> = BTreeMap::new();
    for wake in of_step(index, work) {
        calls.entry(wake.nr).or_default().insert((wake.waker, wake.op));
    }
    let mut rows: Vec<Waking> = calls
        .into_iter()
        .map(|(nr, ops)| {
            let op = |(task, op): &(TaskId, usize)| {
                Some(index.model.tasks.get(task.0 as usize)?.ops.get(*op)?.duration())
            };
            let mut times: Vec<Nanos> = ops.iter().filter_map(op).collect();
            times.sort_unstable();
            Waking {
                nr,
                count: times.len() as u64,
                p50: percentile(&times, 50),
                other: index.watch_wakes().others.get(&nr).copied(),
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// Calls with their numbers: `openat 60, close 60`.
pub(crate) fn call_list(model: &Model, calls: &BTreeMap<i32, u64>) -> String {
    let mut calls: Vec<(i32, u64)> = calls.iter().map(|(nr, n)| (*nr, *n)).collect();
    calls.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let texts = calls.iter().map(|(nr, n)| format!("{} {n}", model.syscalls.name(*nr)));
    texts.collect::<Vec<_>>().join(", ")
}

impl Mechanism for Watchers {
    fn id(&self) -> &'static str {
        "watchers"
    }
    fn title(&self) -> &'static str {
        "watchers of files that the step's own calls woke"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["raw_syscalls:sys_enter", "sched:sched_switch", "sched:sched_waking"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let model = view.index.model;
        let others = &view.index.watch_wakes().others;
        let window = (view.step.start, view.step.end);
        let mut unsure = false;
        let rows = watchers(view.index, view.work, window).into_iter().map(|watcher| {
            unsure |= !watcher.known;
            let main = watcher.calls.iter().max_by_key(|(nr, n)| (**n, std::cmp::Reverse(**nr)));
            [
                task_name(model, watcher.task, view.step.end).into(),
                watcher.wakeups.into(),
                watcher.waking.iter().copied().sum::<Nanos>().into(),
                percentile(&watcher.waking, 50).into(),
                main.and_then(|(nr, _)| others.get(nr)).copied().into(),
                watcher.ran.into(),
                watcher.delayed.into(),
                call_list(model, &watcher.calls).into(),
                if watcher.known { "inotify or fanotify" } else { "an fd opened before" }.into(),
            ]
        });
        let rows: Table = rows.collect();
        let mut notes = Vec::new();
        if !rows.is_empty() {
            notes.push(
                "p50 else: of such calls that woke nobody; on our CPU: while a task of the step \
                 was runnable and waited for that CPU"
                    .into(),
            );
        }
        if unsure {
            notes.push(
                "an fd that was opened before the capture is taken for inotify's, because its \
                 reader is woken from inside calls on files"
                    .into(),
            );
        }
        rows.with_notes(notes)
    }
}
