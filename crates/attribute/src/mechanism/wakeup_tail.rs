//! The slowest wakeups, each with what held it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::{Cpu, Nanos};
use agenttrace_model::{Step, TaskId, Windows};

use super::{Mechanism, SessionView, StepView};
use crate::cpu_lines::Gap;
use crate::detail::{Column, Table, Value};
use crate::inclusive::{Collected, Index};
use crate::path::Frame;
use crate::wakeup::{Wakeup, queues};

/// Wakeups up to here are never a tail.
const USUAL: Nanos = Nanos(64_000);

pub(super) struct WakeupTail;

const COLUMNS: &[Column] = &[
    Column::text("task", "task"),
    Column::time("latency_ns", "latency"),
    Column::text("why", "why"),
    Column::text("culprit", "who ran meanwhile"),
    Column::time("culprit_ns", "for"),
    Column::time("idle_ns", "CPU idle"),
    Column::text("class", "distance"),
    Column::text("moved", "moved, or idle elsewhere"),
    Column::time("busy_ns", "CPU busy"),
    Column::time("interrupts_ns", "in interrupts"),
    Column::text("step", "step"),
    Column::time("at_ns", "after its start"),
];

impl Mechanism for WakeupTail {
    fn id(&self) -> &'static str {
        "wakeup_tail"
    }
    fn title(&self) -> &'static str {
        "slowest wakeups (above p99 and 64 us), and what held them"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "sched:sched_waking"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        rows(view.index, view.windows, &view.made.collected, Some(view.step))
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        rows(view.index, view.windows, view.collected, None)
    }
}

fn rows(index: &Index<'_>, windows: &Windows, all: &Collected, step: Option<&Step>) -> Table {
    let limit = all.slow.max(USUAL);
    // With less than a hundred, the largest is the p99.
    let few = all.wakeups.len() < 100;
    let tail = |w: &&Wakeup| w.latency() > limit || (few && w.latency() == limit && limit > USUAL);
    let mut tail: Vec<&Wakeup> = all.wakeups.iter().filter(tail).collect();
    tail.sort_by_key(|w| (Reverse(w.latency()), w.time, w.task));
    let rows = tail.into_iter().map(|wakeup| {
        let step = step.or_else(|| {
            let at = windows.steps.partition_point(|s| s.start <= wakeup.time);
            windows.steps.iter().take(at).rev().find(|s| s.end > wakeup.time)
        });
        row(index, windows, wakeup, step)
    });
    rows.collect()
}

/// What happened on the CPUs on whose queues a task waited.
pub(crate) struct Held {
    /// Who ran, most first.
    pub(crate) runners: Vec<(TaskId, Nanos)>,
    /// A task ran, interrupts over it apart.
    pub(crate) busy: Nanos,
    /// An interrupt ran, whatever was below.
    pub(crate) interrupts: Nanos,
    /// Which took longest.
    pub(crate) interrupt: Option<Frame>,
    /// Nothing ran.
    pub(crate) idle: Nanos,
    /// Whether anybody ran was not recorded.
    pub(crate) unknown: Nanos,
    /// A CPU quota held it.
    pub(crate) throttled: bool,
}

/// What held a task that was runnable over `[from, to)` and then ran on `cpu`.
pub(crate) fn held(
    index: &Index<'_>,
    windows: &Windows,
    task: TaskId,
    from: Nanos,
    to: Nanos,
    cpu: Cpu,
) -> Held {
    let mut runners: BTreeMap<TaskId, Nanos> = BTreeMap::new();
    let mut names: BTreeMap<Frame, Nanos> = BTreeMap::new();
    let (mut interrupts, mut over_nobody) = (Nanos::ZERO, Nanos::ZERO);
    let (mut idle, mut unknown) = (Nanos::ZERO, Nanos::ZERO);
    let waits = index.task(task).map(|t| queues(t, from, to, cpu)).unwrap_or_default();
    for (cpu, from, to) in waits {
        for run in index.lines().runs(cpu, from, to).filter(|run| run.task != task) {
            *runners.entry(run.task).or_default() += run.to.min(to) - run.from.max(from);
        }
        for span in index.interrupts(cpu, from, to) {
            let within = span.to.min(to) - span.from.max(from);
            interrupts += within;
            if let Some(frame) = Frame::of_interrupt(span.kind) {
                *names.entry(frame).or_default() += within;
            }
        }
        for Gap { from, to, idle: told } in index.lines().gaps(cpu, from, to) {
            let spans = index.interrupts(cpu, from, to);
            let interrupted: Nanos = spans.map(|s| s.to.min(to) - s.from.max(from)).sum();
            over_nobody += interrupted;
            *(if told { &mut idle } else { &mut unknown }) += (to - from) - interrupted;
        }
    }
    let busy: Nanos = runners.values().copied().sum();
    let mut runners: Vec<_> = runners.into_iter().collect();
    runners.sort_by_key(|(task, ns)| (Reverse(*ns), *task));
    Held {
        runners,
        busy: busy - (interrupts - over_nobody),
        interrupts,
        interrupt: names.into_iter().max_by_key(|(_, ns)| *ns).map(|(frame, _)| frame),
        idle,
        unknown,
        throttled: index.throttles(windows).at(task, from).is_some(),
    }
}

fn row(
    index: &Index<'_>,
    windows: &Windows,
    wakeup: &Wakeup,
    step: Option<&Step>,
) -> [Value<'static>; 12] {
    let (from, to) = (wakeup.time, wakeup.ran);
    let held = held(index, windows, wakeup.task, from, to, wakeup.cpu);
    let name = |task: TaskId| {
        index
            .task(task)
            .map_or_else(String::new, |t| format!("{} (tid {})", t.name_at(to).to_text(), t.tid))
    };
    let why = if held.throttled {
        "CPU quota".to_owned()
    } else if held.unknown > held.busy.max(held.interrupts).max(held.idle) {
        "not known: a switch was not recorded".to_owned()
    } else if held.interrupts >= held.busy && held.interrupts >= held.idle {
        match held.interrupt {
            Some(frame) => format!("interrupts: {}", frame.text(index.model, to)),
            None => "not known".to_owned(),
        }
    } else if held.busy >= held.idle {
        "CPU busy".to_owned()
    } else {
        "woken on an idle CPU".to_owned()
    };
    let culprit = held.runners.first();
    let moved = moved(index, wakeup, &held);
    [
        name(wakeup.task).into(),
        wakeup.latency().into(),
        why.into(),
        culprit.map(|(task, _)| name(*task)).into(),
        culprit.map(|(_, ns)| *ns).into(),
        held.idle.into(),
        wakeup.distance(index.seats()).name().into(),
        moved.into(),
        held.busy.into(),
        index.tells_interrupts().then_some(held.interrupts).into(),
        step.map(|s| s.id.to_string()).into(),
        step.map(|s| from - s.start).into(),
    ]
}

/// Where it was moved meanwhile; or the CPU that was idle all the while it waited behind others.
fn moved(index: &Index<'_>, wakeup: &Wakeup, held: &Held) -> Option<String> {
    let (from, to) = (wakeup.time, wakeup.ran);
    let task = index.task(wakeup.task)?;
    let first = task.migrations.partition_point(|(time, _, _)| *time < from);
    let last = task.migrations.partition_point(|(time, _, _)| *time < to);
    if let Some((_, old, new)) = task.migrations.get(first..last).and_then(<[_]>::last) {
        return Some(format!("moved from CPU {old} to {new}"));
    }
    if held.busy <= held.idle {
        return None;
    }
    let idle = index
        .lines()
        .cpus()
        .find(|cpu| *cpu != wakeup.cpu && index.lines().is_idle(*cpu, from, to))?;
    Some(format!("CPU {idle} was idle"))
}
