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
//! the timer alone tells, and only by a pattern: it ends wait after wait, begins none, and does
//! little else.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use agenttrace_model::parse::{Addr, Cpu, Nanos};
use agenttrace_model::{Model, State, Task, TaskId, Windows};
use rustc_hash::FxHashMap;

use crate::cpu_lines::CpuLines;

/// Shorter waits are not told from races of the scheduler.
const LEAST: Nanos = Nanos(1_000_000);
/// A period's timer ends a wait within this time.
const REACH: Nanos = Nanos(100_000);
/// Without idle CPUs, a timer must have ended so many waits of a task.
const WAITS: usize = 3;
/// Where another task has the CPU when the timer fires, it leaves at the next tick: 10 ms at
/// most (`CONFIG_HZ` is 100 to 1000).
const TICK: Nanos = Nanos(10_000_000);
/// A tick is known by so many fires.
const TICKS: u64 = 20;

/// A task was held over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Throttle {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    /// Where it had run.
    pub(crate) cpu: Cpu,
    /// Its CPU was idle meanwhile. Otherwise the timer alone tells.
    pub(crate) idle: bool,
    /// The timer that fired just before its end, where it ends others too.
    pub(crate) timer: Option<Addr>,
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
        let fires = Fires { model, ticks: ticks(model) };
        let mut found: Vec<(TaskId, Throttle)> = Vec::new();
        let (mut others, mut woken) = (Vec::new(), Vec::new());
        for c in candidates {
            if c.woken {
                woken.push(c);
            } else if let Some((from, to)) = held(model, lines, &c)
                && (to - from).0.saturating_mul(2) >= (c.to - c.from).0
            {
                let Candidate { task, cpu, .. } = c;
                found.push((task, Throttle { from, to, cpu, idle: true, timer: None }));
            } else {
                others.push(c);
            }
        }
        let ends: Vec<Nanos> = found.iter().map(|(_, t)| t.to).collect();
        let timer = fires.period(&ends);
        for (_, throttle) in &mut found {
            throttle.timer = timer.filter(|timer| fires.ended(*timer, throttle.to));
        }
        let mut by_timer: FxHashMap<TaskId, Vec<&Candidate>> = FxHashMap::default();
        for c in &others {
            by_timer.entry(c.task).or_default().push(c);
        }
        let mut tasks: Vec<_> = by_timer.into_iter().collect();
        tasks.sort_unstable_by_key(|(task, _)| *task);
        let mut known: Vec<Addr> = timer.into_iter().collect();
        for (task, waits) in tasks {
            let at_once = timer
                .filter(|timer| waits.iter().any(|c| fires.ended(*timer, c.to)))
                .filter(|timer| !fires.begins(*timer, &waits))
                .or_else(|| fires.pattern(model, lines, &waits));
            let (timer, ended) = if let Some(timer) = at_once {
                let ended = |c: &&Candidate| fires.ended(timer, c.to) && yields(model, lines, c);
                (timer, waits.into_iter().filter(ended).collect())
            } else if let Some(timer) = timer {
                (timer, fires.ended_late(timer, &waits))
            } else {
                continue;
            };
            known.push(timer);
            for c in ended {
                let Candidate { from, to, cpu, .. } = *c;
                found.push((task, Throttle { from, to, cpu, idle: false, timer: Some(timer) }));
            }
        }
        // A task that is woken while its group is held waits for the same timer.
        for c in &woken {
            let timer = known.iter().copied().find(|timer| fires.ended(*timer, c.to));
            let idle = lines.runs(c.cpu, c.from, c.to).next().is_none();
            if timer.is_some() && idle && c.cpu != Cpu::NONE {
                let Candidate { task, from, to, cpu, .. } = *c;
                found.push((task, Throttle { from, to, cpu, idle, timer }));
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
    model.lost.iter().any(|l| l.cpu == c.cpu && l.from < c.to && l.to > c.from)
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

/// Whether who ran before the candidate had to leave: a CPU that became free proves nothing.
fn yields(model: &Model, lines: &CpuLines, c: &Candidate) -> bool {
    let Some(run) = lines.before(c.cpu, c.to).filter(|run| run.to == c.to) else { return false };
    let task = model.task(run.task);
    task.states.get(task.span_at(c.to)).is_some_and(|s| s.state == State::Runnable)
}

/// Timers that fired.
struct Fires<'m> {
    model: &'m Model,
    /// Those that are ticks, in the order of their addresses.
    ticks: Vec<u64>,
}

/// The ticks: of each CPU the timer that fires most there, if it fires often. All CPUs tick at
/// the same moments, so a tick of any of them can seem to end a wait.
fn ticks(model: &Model) -> Vec<u64> {
    let mut counts: BTreeMap<(Cpu, u64), u64> = BTreeMap::new();
    for fire in &model.timers {
        *counts.entry((fire.cpu, fire.timer.0)).or_default() += 1;
    }
    let mut most: BTreeMap<Cpu, (u64, u64)> = BTreeMap::new();
    for ((cpu, timer), count) in counts {
        let best = most.entry(cpu).or_default();
        *best = (*best).max((count, timer));
    }
    let mut ticks: Vec<u64> =
        most.into_values().filter(|(count, _)| *count >= TICKS).map(|(_, timer)| timer).collect();
    ticks.sort_unstable();
    ticks
}

impl Fires<'_> {
    /// The timers that fired in the last moments before a time.
    fn before(&self, time: Nanos) -> impl Iterator<Item = Addr> + '_ {
        let timers = &self.model.timers;
        let first = timers.partition_point(|t| t.time + REACH < time);
        timers.iter().skip(first).take_while(move |t| t.time <= time).map(|t| t.timer)
    }

    fn may_be_period(&self, timer: Addr) -> bool {
        timer.0 != 0 && self.ticks.binary_search(&timer.0).is_err()
    }

    /// Whether many of the waits that the timer ended began with it too: rivals take turns then.
    fn begins(&self, timer: Addr, waits: &[&Candidate]) -> bool {
        let ended = || waits.iter().filter(|c| self.ended(timer, c.to));
        ended().filter(|c| self.ended(timer, c.from)).count() * 4 > ended().count()
    }

    /// The waits that a timer which is known to be a period's ended with the tick after it: those
    /// of at least a tenth of the period, if it ended several, fired for little else meanwhile,
    /// and they are most of the waiting. Of rivals that take turns a few alone would fit, by chance.
    fn ended_late<'c>(&self, timer: Addr, waits: &[&'c Candidate]) -> Vec<&'c Candidate> {
        let times: Vec<Nanos> =
            self.model.timers.iter().filter(|t| t.timer == timer).map(|t| t.time).collect();
        let gaps = times.windows(2).filter_map(|pair| Some(*pair.get(1)? - *pair.first()?));
        let Some(period) = gaps.min() else { return Vec::new() };
        let fires = |from: Nanos, to: Nanos| {
            times.partition_point(|t| *t <= to) - times.partition_point(|t| *t <= from)
        };
        let late = |c: &&&Candidate| {
            c.to - c.from >= Nanos(period.0 / 10) && fires(c.from.max(c.to - TICK), c.to) > 0
        };
        let found: Vec<&Candidate> = waits.iter().filter(late).copied().collect();
        let (Some(first), Some(last)) = (found.first(), found.last()) else { return Vec::new() };
        let length = |list: &[&Candidate]| -> Nanos {
            let within = list.iter().filter(|c| first.from <= c.from && c.to <= last.to);
            within.map(|c| c.to - c.from).sum()
        };
        let most = |part: u64, all: u64| part.saturating_mul(10) >= all.saturating_mul(7);
        let fits = found.len() >= WAITS
            && most(found.len() as u64, fires(first.from, last.to) as u64)
            && most(length(&found).0, length(waits).0);
        if fits { found } else { Vec::new() }
    }

    fn ended(&self, timer: Addr, time: Nanos) -> bool {
        self.before(time).any(|t| t == timer)
    }

    /// The timer that fired before more than one of these times, and for little else between
    /// the first and the last of them. The tick fires before many of them too, and far oftener.
    fn period(&self, ends: &[Nanos]) -> Option<Addr> {
        let mut counts: FxHashMap<Addr, u128> = FxHashMap::default();
        for end in ends {
            let mut timers: Vec<Addr> =
                self.before(*end).filter(|t| self.may_be_period(*t)).collect();
            timers.sort_unstable_by_key(|t| t.0);
            timers.dedup();
            for timer in timers {
                *counts.entry(timer).or_default() += 1;
            }
        }
        counts.retain(|_, n| *n > 1);
        let (first, last) = (*ends.iter().min()?, *ends.iter().max()?);
        let mut fires: FxHashMap<Addr, u128> = FxHashMap::default();
        let timers = &self.model.timers;
        let start = timers.partition_point(|t| t.time + REACH < first);
        for fire in timers.iter().skip(start).take_while(|t| t.time <= last) {
            if counts.contains_key(&fire.timer) {
                *fires.entry(fire.timer).or_default() += 1;
            }
        }
        let all = |timer: &Addr| fires.get(timer).copied().unwrap_or(1).max(1);
        counts.retain(|timer, n| *n * 10 >= all(timer) * 3);
        // How many it ends, and which share of its fires those are.
        let score = |(timer, n): &(Addr, u128)| (*n * *n * 1_000_000 / all(timer), timer.0);
        counts.into_iter().max_by_key(score).map(|(timer, _)| timer)
    }

    /// A timer that ends most of a task's waits, begins none of them, and fires for little
    /// else. The tick is none: it also begins waits, and fires between.
    fn pattern(&self, model: &Model, lines: &CpuLines, waits: &[&Candidate]) -> Option<Addr> {
        let ends: Vec<Nanos> = waits.iter().map(|c| c.to).collect();
        let timer = self.period(&ends)?;
        let ended = |c: &&&Candidate| self.ended(timer, c.to) && yields(model, lines, c);
        let count = waits.iter().filter(ended).count();
        let begins = self.begins(timer, waits);
        let (first, last) = (waits.first()?.from, waits.last()?.to);
        let start = model.timers.partition_point(|t| t.time < first);
        let fires = model
            .timers
            .iter()
            .skip(start)
            .take_while(|t| t.time <= last)
            .filter(|t| t.timer == timer)
            .count();
        let fits = count >= WAITS && count * 2 >= waits.len() && count * 10 >= fires * 7 && !begins;
        fits.then_some(timer)
    }
}
