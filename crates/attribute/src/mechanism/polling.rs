//! Polling loops: many short sleeps of one length, and what was looked at between them.

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, SyscallClass, SyscallOp, TaskId};

use super::{Mechanism, StepView};
use crate::cause::Cause;
use crate::detail::{Column, Table};
use crate::inclusive::{Index, Stretch};
use crate::path::StepPath;
use crate::stats::thousands;

/// The loops on a step's path.
pub(super) struct Polling;

/// Fewer sleeps are no loop.
const FEWEST: usize = 8;
/// A longer sleep is no polling.
const LONGEST: Nanos = Nanos(2_000_000_000);

/// From when to when each was.
type Sleeps = Vec<(Nanos, Nanos)>;

/// One loop.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    /// Who sleeps: one task, or children that it makes for that.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Who looks in between.
    pub(crate) owner: TaskId,
    /// The call it sleeps in.
    pub(crate) nr: i32,
    pub(crate) count: u64,
    /// The median sleep.
    pub(crate) interval: Nanos,
    pub(crate) total: Nanos,
    /// What it called between the sleeps, the most frequent first.
    pub(crate) checks: Vec<Check>,
}

/// A call that is made between the sleeps of a loop.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) nr: i32,
    pub(crate) count: u64,
    /// How often it said no: an error, or nothing there.
    pub(crate) failed: u64,
    /// The last of them.
    pub(crate) last: SyscallOp,
}

/// The polling loops on a step's critical path, the longest first.
pub(crate) fn loops(index: &Index<'_>, path: &StepPath, work: &[Stretch]) -> Vec<Loop> {
    if path.of(Cause::Sleep).nth(FEWEST - 1).is_none() {
        return Vec::new();
    }
    let mut sleeps: BTreeMap<(TaskId, i32), Sleeps> = BTreeMap::new();
    for segment in path.of(Cause::Sleep) {
        let Some(task) = index.task(segment.task) else { continue };
        let call = task.call_at(segment.start);
        if let Some((_, call)) = call {
            sleeps.entry((segment.task, call.nr)).or_default().push((segment.start, segment.end));
        }
    }
    let ours: BTreeSet<TaskId> = work.iter().map(|s| s.task).collect();
    let mut by: BTreeMap<(TaskId, i32), (BTreeSet<TaskId>, Sleeps)> = BTreeMap::new();
    for ((id, nr), spans) in sleeps {
        // `sleep 0.1` in a script: a new process for each sleep.
        let maker = index.task(id).filter(|t| spans.len() == 1 && t.is_thread == Some(false));
        let owner = maker
            .filter(|t| t.birth.is_some())
            .and_then(|t| t.parent)
            .filter(|parent| ours.contains(parent))
            .unwrap_or(id);
        let (tasks, all) = by.entry((owner, nr)).or_default();
        tasks.insert(id);
        all.extend(spans);
    }
    let mut loops: Vec<Loop> = by
        .into_iter()
        .filter_map(|((owner, nr), (tasks, spans))| polls(index, owner, nr, tasks, spans))
        .collect();
    loops.sort_by_key(|l| std::cmp::Reverse(l.total));
    loops
}

fn polls(
    index: &Index<'_>,
    owner: TaskId,
    nr: i32,
    tasks: BTreeSet<TaskId>,
    mut spans: Sleeps,
) -> Option<Loop> {
    spans.sort_unstable();
    let mut lengths: Vec<Nanos> = spans.iter().map(|(from, to)| *to - *from).collect();
    lengths.sort_unstable();
    let interval = *lengths.get(lengths.len() / 2)?;
    let near =
        |ns: &&Nanos| ns.0.saturating_mul(2) >= interval.0 && ns.0 <= interval.0.saturating_mul(2);
    let total: Nanos = lengths.iter().copied().sum();
    let regular: Nanos = lengths.iter().filter(near).copied().sum();
    let alike = lengths.iter().filter(near).count();
    if alike < FEWEST
        || interval > LONGEST
        || alike.saturating_mul(5) < lengths.len().saturating_mul(4)
        || regular.0.saturating_mul(5) < total.0.saturating_mul(4)
    {
        return None;
    }
    let gaps: Vec<(Nanos, Nanos)> =
        spans.iter().zip(spans.iter().skip(1)).map(|(a, b)| (a.1, b.0)).collect();
    let mut between: Vec<Nanos> = gaps.iter().map(|(from, to)| *to - *from).collect();
    between.sort_unstable();
    // Work in between that takes as long as the sleeps is no look.
    if between.get(between.len() / 2).is_none_or(|gap| gap.0 > interval.0 / 2) {
        return None;
    }
    let own = tasks.len() == 1;
    let mut sums: BTreeMap<i32, Check> = BTreeMap::new();
    let (mut denied, mut worked) = (0_usize, 0_usize);
    for gap in &gaps {
        let (no, works) = between_sleeps(index, owner, own, *gap, &mut sums);
        denied += usize::from(no);
        worked += usize::from(works);
    }
    let most = |n: usize| n.saturating_mul(2) >= gaps.len();
    let class = index.model.syscalls.class(nr);
    let timer = matches!(class, SyscallClass::Poll | SyscallClass::Futex);
    // An event loop's timer may tick for anything, so may a script; a futex with a timeout is a
    // lock or a condition (an interpreter's global lock is asked for every 5 ms); who writes or
    // wakes somebody each time works.
    if (timer || !own || most(worked)) && !most(denied) {
        return None;
    }
    let mut checks: Vec<Check> = sums.into_values().collect();
    checks.sort_by_key(|check| std::cmp::Reverse((check.failed, check.count)));
    let count = spans.len() as u64;
    Some(Loop { tasks, owner, nr, count, interval, total, checks })
}

/// What a task called in a gap: adds it up, and tells whether a look at something said no,
/// and whether the task did anything. `own`: the sleeps are the task's own; else it waits
/// for the processes that sleep.
fn between_sleeps(
    index: &Index<'_>,
    owner: TaskId,
    own: bool,
    (from, to): (Nanos, Nanos),
    sums: &mut BTreeMap<i32, Check>,
) -> (bool, bool) {
    let (mut denied, mut works) = (false, false);
    let Some(task) = index.task(owner) else { return (false, false) };
    let close = index.model.syscalls.number("close");
    let first = task.ops.before(from);
    let calls = task.ops.iter().skip(first).take_while(|op| op.start < to);
    for call in calls.filter_map(Op::syscall).filter(|call| !call.mark) {
        let failed = call.ret.is_some_and(|ret| ret < 0);
        let nothing = call.ret == Some(0);
        let no = match index.model.syscalls.class(call.nr) {
            SyscallClass::Metadata if Some(call.nr) == close => continue,
            SyscallClass::Metadata => failed,
            SyscallClass::SocketSend if is_connect(index, &call) => failed,
            // wait4 with WNOHANG returns 0 while no child has ended, read at a file's end.
            SyscallClass::WaitChild if own => failed || nothing,
            SyscallClass::SocketReceive | SyscallClass::Read if failed || nothing => true,
            SyscallClass::Write
            | SyscallClass::SocketSend
            | SyscallClass::Durability
            | SyscallClass::Fork
            | SyscallClass::IoUring
            | SyscallClass::Exec => {
                works = true;
                continue;
            }
            // Somebody waited for what it had meanwhile: a lock that is held over the sleeps.
            SyscallClass::Futex => {
                works |= call.ret.is_some_and(|woken| woken > 0);
                continue;
            }
            SyscallClass::Exit
            | SyscallClass::WaitChild
            | SyscallClass::SocketReceive
            | SyscallClass::Read
            | SyscallClass::Poll
            | SyscallClass::Sleep
            | SyscallClass::Prctl
            | SyscallClass::Other => continue,
        };
        denied |= no;
        let check =
            sums.entry(call.nr).or_insert(Check { nr: call.nr, count: 0, failed: 0, last: call });
        check.count += 1;
        check.last = call;
        check.failed += u64::from(no);
    }
    (denied, works)
}

pub(crate) fn is_connect(index: &Index<'_>, call: &SyscallOp) -> bool {
    index.model.syscalls.number("connect") == Some(call.nr)
}

/// The check in words: `newfstatat (49 of 50 failed)`.
pub(crate) fn check_words(index: &Index<'_>, owner: TaskId, check: &Check) -> String {
    let name = index.model.syscalls.name(check.nr);
    let peer = index
        .task(owner)
        .filter(|_| is_connect(index, &check.last))
        .and_then(|task| index.model.peers.of(task.pid, &check.last))
        .map_or_else(String::new, |peer| format!(" to {peer}"));
    let (failed, count) = (thousands(check.failed), thousands(check.count));
    format!("{name}{peer} ({failed} of {count} failed)")
}

impl Mechanism for Polling {
    fn id(&self) -> &'static str {
        "polling"
    }
    fn title(&self) -> &'static str {
        "polling loops on the critical path"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "raw_syscalls:sys_enter", "raw_syscalls:sys_exit"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("task", "task"),
            Column::text("sleeps_in", "sleeps in"),
            Column::count("count", "sleeps"),
            Column::time("interval_ns", "median"),
            Column::time("total_ns", "total"),
            Column::text("checks", "between the sleeps"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let index = view.index;
        let row = |l: &Loop| {
            let checks: Vec<String> =
                l.checks.iter().take(3).map(|c| check_words(index, l.owner, c)).collect();
            let name = index.task(l.owner).map(|t| t.name_at(view.step.end).to_text());
            [
                name.into(),
                index.model.syscalls.name(l.nr).into(),
                l.count.into(),
                l.interval.into(),
                l.total.into(),
                Some(checks.join(", ")).filter(|words| !words.is_empty()).into(),
            ]
        };
        view.made.loops(index, view.path, view.work).iter().map(row).collect()
    }
}
