//! Runnable tasks that a CPU quota held: found by what their CPU did meanwhile, for no event tells.
//!
//! ```text
//! task       [run]|....... runnable ........|[run]
//! its CPU    [run]|          idle           |[run]      straight to idle, 1 ms or more
//! timer                                    ^            the same timer fires before each end
//! ```
//! A scheduler never leaves a CPU idle that a task on its queue could have: a task that
//! leaves its CPU runnable, straight to idle, was taken off the queue
//! (`throttle_cfs_rq`, kernel/sched/fair.c); so was one whose CPU goes idle a little later, after
//! who else had work there, and that runs there again without a move. It comes back by the timer of its cgroup's
//! period (`sched_cfs_period_timer`), which is one kernel object for each cgroup: its address
//! tells the same timer again without any symbols. Where another task takes the CPU meanwhile,
//! the timer alone tells, and only by a pattern (`fires.rs`).

mod fires;

use std::sync::OnceLock;

use agenttrace_model::parse::{Addr, Cpu, Nanos};
use agenttrace_model::{Model, State, Task, TaskId, Windows};
use rustc_hash::FxHashMap;

use self::fires::{Ends, Fires, REACH};
use crate::cpu_lines::CpuLines;

/// Shorter waits are not told from races of the scheduler.
const LEAST: Nanos = Nanos(1_000_000);

/// A task was held over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Throttle {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    /// Where it had run.
    pub(crate) cpu: Cpu,
    /// Its CPU was idle meanwhile. Otherwise the timer alone tells.
    pub(crate) idle: bool,
    /// When the timer fired that ended it, where it ends others too.
    pub(crate) fired: Option<Nanos>,
}

/// Whom a quota held, when. Tasks of the agent's tree alone.
#[derive(Default)]
pub(crate) struct Throttles {
    by_task: FxHashMap<TaskId, Vec<Throttle>>,
}

/// A runnable stretch that may have been a throttle.
struct Candidate {
    task: TaskId,
    from: Nanos,
    to: Nanos,
    cpu: Cpu,
    /// It was woken, not taken off its CPU.
    woken: bool,
}

impl Throttles {
    pub(crate) fn new(model: &Model, windows: &Windows, lines: &OnceLock<CpuLines>) -> Self {
        // Where not all tasks were recorded, a CPU that looks idle need not be.
        if !model.captured.system_wide() {
            return Self::default();
        }
        let candidates: Vec<Candidate> = model
            .task_ids()
            .filter(|(id, _)| windows.is_in_tree(*id))
            .flat_map(|(id, task)| candidates(id, task))
            .filter(|c| !lost(model, c))
            .collect();
        if candidates.iter().all(|c| c.woken) {
            return Self::default();
        }
        let lines = lines.get_or_init(|| CpuLines::new(model));
        let fires = Fires::new(model, lines);
        let mut found: Vec<(TaskId, Throttle)> = Vec::new();
        let (mut others, mut woken) = (Vec::new(), Vec::new());
        for c in candidates {
            if c.woken {
                woken.push(c);
            } else if let Some((from, to)) = held(model, lines, &c)
                && (to - from).0.saturating_mul(2) >= (c.to - c.from).0
            {
                let Candidate { task, cpu, .. } = c;
                found.push((task, Throttle { from, to, cpu, idle: true, fired: None }));
            } else {
                others.push(c);
            }
        }
        let ends: Vec<_> = found.iter().map(|(_, t)| (t.to - REACH, t.to)).collect();
        let timer = fires.period(&ends);
        for (_, throttle) in &mut found {
            throttle.fired = timer.and_then(|timer| fires.ended(timer, throttle.to));
        }
        let mut known: Vec<Addr> = timer.into_iter().collect();
        let mut left = Vec::new();
        let mut add = |timer: Addr, waits: Vec<&Candidate>| {
            found.extend(waits.into_iter().map(|c| {
                let Candidate { task, from, to, cpu, .. } = *c;
                (task, Throttle { from, to, cpu, idle: false, fired: fires.last(timer, to) })
            }));
        };
        for waits in others.chunk_by(|a, b| a.task == b.task) {
            if let Some((timer, held)) = fires.held(timer, waits) {
                known.push(timer);
                add(timer, held);
            } else {
                left.push(waits);
            }
        }
        // One task's waits tell a timer, which ended a few of another task too.
        known.sort_unstable_by_key(|timer| timer.0);
        known.dedup();
        for waits in left {
            let at_once = Ends { known: true, late: false };
            let by = |timer: &Addr| Some((*timer, fires.by(*timer, at_once, waits)?));
            if let Some((timer, held)) = known.iter().find_map(by) {
                add(timer, held);
            }
        }
        // A task that is woken while its group is held waits for the same timer.
        for c in &woken {
            let fired = known.iter().find_map(|timer| fires.ended(*timer, c.to));
            let idle = lines.is_idle(c.cpu, c.from, c.to);
            if fired.is_some() && idle && c.cpu != Cpu::NONE {
                let Candidate { task, from, to, cpu, .. } = *c;
                found.push((task, Throttle { from, to, cpu, idle, fired }));
            }
        }
        let mut by_task: FxHashMap<TaskId, Vec<Throttle>> = FxHashMap::default();
        found.sort_unstable_by_key(|(task, throttle)| (*task, throttle.from));
        for (task, throttle) in found {
            by_task.entry(task).or_default().push(throttle);
        }
        Self { by_task }
    }

    /// The throttles of a task, in time order.
    pub(crate) fn of(&self, task: TaskId) -> &[Throttle] {
        self.by_task.get(&task).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where a throttle of a task begins or ends next; [`Nanos::MAX`] where none does.
    pub(crate) fn edge(&self, task: TaskId, time: Nanos) -> Nanos {
        let list = self.of(task);
        let next = list.get(list.partition_point(|t| t.to <= time));
        next.map_or(Nanos::MAX, |t| if t.from > time { t.from } else { t.to })
    }

    /// The throttle that holds a task at a time.
    pub(crate) fn at(&self, task: TaskId, time: Nanos) -> Option<Throttle> {
        let list = self.of(task);
        let after = list.partition_point(|t| t.to <= time);
        list.get(after).copied().filter(|t| t.from <= time)
    }
}

/// Runnable stretches of 1 ms or more, from a known run or wakeup to a known run.
fn candidates(id: TaskId, task: &Task) -> impl Iterator<Item = Candidate> + '_ {
    let neighbours = task.states.iter().zip(task.states.since(1)).zip(task.states.since(2));
    neighbours.filter_map(move |((before, span), after)| {
        let taken_off = before.state == State::Running && !before.inferred && span.wake.is_none();
        let fits = span.state == State::Runnable
            && after.state == State::Running
            && !after.inferred
            && after.start - span.start >= LEAST
            && (taken_off || span.wake.is_some());
        let cpu = if taken_off { before.cpu } else { span.cpu };
        let (from, to) = (span.start, after.start);
        fits.then_some(Candidate { task: id, from, to, cpu, woken: !taken_off })
    })
}

fn lost(model: &Model, c: &Candidate) -> bool {
    model.lost.iter().any(|l| l.cpu == c.cpu && l.overlaps(c.from, c.to))
}

/// Over what part of its wait the candidate was surely held: from the first idle stretch of its
/// CPU to the end of the last, if one of them lasts 1 ms or more. The CPU must go straight to
/// idle, or the candidate must run there again without a move: else it may have waited elsewhere.
/// Who ran before and after that was simply before it.
fn held(model: &Model, lines: &CpuLines, c: &Candidate) -> Option<(Nanos, Nanos)> {
    let idle = lines.idle(c.cpu, c.from, c.to);
    let (from, _) = *idle.first()?;
    let (_, to) = *idle.last()?;
    let straight = idle.first().is_some_and(|(a, b)| *a == c.from && *b - *a >= LEAST);
    let task = model.task(c.task);
    let after = task.migrations.partition_point(|(time, ..)| *time < c.from);
    let moved = task.migrations.get(after).is_some_and(|(time, ..)| *time <= c.to);
    let back = lines.runs(c.cpu, c.to, c.to + Nanos(1)).any(|run| run.task == c.task);
    let stays = back && !moved && model.captured.has("sched:sched_migrate_task");
    let long = idle.iter().any(|(a, b)| *b - *a >= LEAST);
    (straight || (stays && long)).then_some((from, to))
}
