//! Which timers are those of quotas' periods, by the waits that they end.
//!
//! ```text
//! timer             ^                             ^                            ^
//! task     .........[run].[run].[run]|............[run].[run].[run]|...........[run]
//! rival    [  run  ]     [r]   [r]   [    run    ]     [r]   [r]   [    run    ]
//! ```
//! It fires for little else than to end waits, begins few of them, wakes nobody, and what it ends is
//! longer than the turns that rivals take. Or the wait ends with the next tick, for until then the
//! rival keeps the CPU.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Addr, Cpu, Nanos};
use agenttrace_model::{Model, State, TimerFire, Wake, WakeSource};
use rustc_hash::FxHashMap;

use super::Candidate;
use crate::cpu_lines::CpuLines;
use crate::stats::percentile;

/// A period's timer ends a wait within this time.
pub(super) const REACH: Nanos = Nanos(100_000);
/// Without idle CPUs, a timer must have ended so many waits of a task.
const WAITS: usize = 3;
/// Where another task has the CPU when the timer fires, it leaves at the next tick: 10 ms at
/// most (`CONFIG_HZ` is 100 to 1000).
const TICK: Nanos = Nanos(10_000_000);
/// A timer that fires each second can be the fair server's (`dl_task_timer`, Linux 6.12 and later),
/// which lets tasks run beside a realtime one for 50 ms of it. No period is longer.
const SERVER: Nanos = Nanos(990_000_000);
/// Whether a timer wakes tasks is known by so many of its fires.
const SOME: usize = 16;
/// A tick is known by so many fires.
const TICKS: usize = 20;

/// Timers that fired.
pub(super) struct Fires<'m> {
    model: &'m Model,
    lines: &'m CpuLines,
    /// Those that may be a period's, and when each fired.
    periods: FxHashMap<Addr, Vec<TimerFire>>,
    /// How far ticks are apart; where none were recorded, as far as they can be.
    tick: Nanos,
}

/// How a timer is thought to have ended waits of a task.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// That it is a period's is known from elsewhere.
    pub(super) known: bool,
    /// With the tick after it, not at once.
    pub(super) late: bool,
}

impl Ends {
    /// How many waits tell so. Of turns that happen to last as long as a period the tick after it
    /// can end a few by chance: they drift.
    fn least(self) -> usize {
        match (self.known, self.late) {
            (true, false) => 1,
            (true, true) | (false, false) => WAITS,
            (false, true) => WAITS + 2,
        }
    }
}

/// Whether the waits that a timer ended are no turns that rivals take: they are most, or twice as
/// long as the others.
fn stand_out(found: &[&Candidate], others: &[&Candidate]) -> bool {
    let turn = median(lengths(others));
    found.len() >= others.len() || median(lengths(found)) >= turn + turn
}

fn lengths(waits: &[&Candidate]) -> impl Iterator<Item = Nanos> {
    waits.iter().map(|c| c.to - c.from)
}

/// The median; 0 of none.
fn median(times: impl Iterator<Item = Nanos>) -> Nanos {
    let mut times: Vec<Nanos> = times.collect();
    times.sort_unstable();
    percentile(&times, 50)
}

/// The ticks: of each CPU the timer that fires most there, if it fires often. All CPUs tick at
/// the same moments, so a tick of any of them can seem to end a wait.
fn ticks(fires: &[TimerFire]) -> impl Iterator<Item = Addr> {
    let mut counts: BTreeMap<(Cpu, u64), usize> = BTreeMap::new();
    for fire in fires {
        *counts.entry((fire.cpu, fire.timer.0)).or_default() += 1;
    }
    let mut most: BTreeMap<Cpu, (usize, u64)> = BTreeMap::new();
    for ((cpu, timer), count) in counts {
        let best = most.entry(cpu).or_default();
        *best = (*best).max((count, timer));
    }
    most.into_values().filter(|(count, _)| *count >= TICKS).map(|(_, timer)| Addr(timer))
}

/// How often a timer fired within `[from, to]`.
fn count(fires: &[TimerFire], from: Nanos, to: Nanos) -> usize {
    fires.partition_point(|f| f.time <= to) - fires.partition_point(|f| f.time < from)
}

/// How far the fires of a timer are apart.
fn gaps(fires: &[TimerFire]) -> impl Iterator<Item = Nanos> + '_ {
    fires.iter().zip(fires.iter().skip(1)).map(|(a, b)| b.time - a.time)
}

impl<'m> Fires<'m> {
    /// All but ticks and those that wake tasks: a period's timer puts tasks back on their queues,
    /// which is no wakeup.
    pub(super) fn new(model: &'m Model, lines: &'m CpuLines) -> Self {
        // Of each timer its fires, and how many of the first woke somebody.
        let mut all: FxHashMap<Addr, (Vec<TimerFire>, usize)> = FxHashMap::default();
        let mut next = 0;
        for fire in model.timers.iter().filter(|fire| fire.timer.0 != 0) {
            let (fires, woke) = all.entry(fire.timer).or_default();
            if fires.len() < SOME {
                next = model.wakes.before_from(next, fire.time);
                let mut soon =
                    model.wakes.iter().skip(next).take_while(|w| w.time <= fire.time + REACH);
                let of_timer = |w: Wake| w.cpu == fire.cpu && w.source == WakeSource::Timer;
                *woke += usize::from(soon.any(of_timer));
            }
            fires.push(*fire);
        }
        let ticks = ticks(&model.timers).filter_map(|tick| all.remove(&tick));
        let apart = ticks.map(|(fires, _)| median(gaps(&fires)));
        let tick = apart.min().map_or(TICK, |tick| TICK.min(tick + REACH));
        let wakes = |fires: &[TimerFire], woke: usize| woke * 2 >= fires.len().min(SOME);
        let periods = all
            .into_iter()
            .filter(|(_, (fires, woke))| fires.len() > 1 && !wakes(fires, *woke))
            .map(|(timer, (fires, _))| (timer, fires))
            .collect();
        Self { model, lines, periods, tick }
    }

    /// The timers that fired within a stretch.
    fn within(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = Addr> + '_ {
        let timers = &self.model.timers;
        let first = timers.partition_point(|t| t.time < from);
        timers.iter().skip(first).take_while(move |t| t.time <= to).map(|t| t.timer)
    }

    /// Whether who ran before the candidate had to leave: a CPU that became free proves nothing.
    fn yields(&self, c: &Candidate) -> bool {
        let Some(run) = self.lines.before(c.cpu, c.to).filter(|run| run.to == c.to) else {
            return false;
        };
        let task = self.model.task(run.task);
        task.states.get(task.span_at(c.to)).is_some_and(|s| s.state == State::Runnable)
    }

    /// The waits of a task that a period's timer ended, and which one: that which idle CPUs told,
    /// or one that its waits alone tell.
    pub(super) fn held<'c>(
        &self,
        known: Option<Addr>,
        waits: &'c [Candidate],
    ) -> Option<(Addr, Vec<&'c Candidate>)> {
        let by = |timer, ends| Some((timer, self.by(timer, ends, waits)?));
        let told = |late| {
            let ends = Ends { known: false, late };
            let last = |c: &Candidate| (c.from.max(c.to - self.reach(ends)), c.to);
            let windows: Vec<(Nanos, Nanos)> = waits.iter().map(last).collect();
            by(self.period(&windows)?, ends)
        };
        let known = |late| by(known?, Ends { known: true, late });
        known(false).or_else(|| told(false)).or_else(|| known(true)).or_else(|| told(true))
    }

    /// How long before the end of a wait the timer fires.
    fn reach(&self, ends: Ends) -> Nanos {
        if ends.late { self.tick } else { REACH }
    }

    /// The waits of a task that a timer ended, if it is a period's: it fires for little else, ends
    /// enough of them and begins few, and those that it ends stand out.
    pub(super) fn by<'c>(
        &self,
        timer: Addr,
        ends: Ends,
        waits: &'c [Candidate],
    ) -> Option<Vec<&'c Candidate>> {
        let fires = self.periods.get(&timer)?;
        let fired = |c: &Candidate, reach: Nanos| count(fires, c.from.max(c.to - reach), c.to) > 0;
        let ended = |reach: Nanos| -> (Vec<&Candidate>, Vec<&Candidate>) {
            waits.iter().partition(|c| fired(c, reach) && self.yields(c))
        };
        let apart = gaps(fires).min().unwrap_or_default();
        let slow = apart > TICK + TICK;
        if (ends.late && !slow) || (!ends.known && apart >= SERVER) {
            return None;
        }
        let (found, others) = ended(self.reach(ends));
        let (first, last) = (found.first()?.from, found.last()?.to);
        let begun = found.iter().filter(|c| self.ended(timer, c.from).is_some()).count();
        let little_else = found.len() * 10 >= count(fires, first, last) * 7;
        let fits = found.len() >= ends.least()
            && (little_else || ends.least() == 1)
            && begun * 4 <= found.len()
            && stand_out(&found, &others);
        if !fits {
            return None;
        }
        if !slow {
            return Some(found);
        }
        // Turns end with the tick after it as well: what is twice as long is none.
        let (mut found, others) = ended(TICK);
        let turn = median(lengths(&others));
        found.retain(|c| fired(c, REACH) || c.to - c.from >= turn + turn);
        Some(found)
    }

    /// When a timer fired last, up to a time.
    pub(super) fn last(&self, timer: Addr, time: Nanos) -> Option<Nanos> {
        let fires = self.periods.get(&timer)?;
        let after = fires.partition_point(|f| f.time <= time);
        Some(fires.get(after.checked_sub(1)?)?.time)
    }

    /// When it fired, if it did so just before a time.
    pub(super) fn ended(&self, timer: Addr, time: Nanos) -> Option<Nanos> {
        self.last(timer, time).filter(|fired| *fired + REACH >= time)
    }

    /// The timer that fired within more than one of these stretches, and for little else between
    /// the first and the last of them.
    pub(super) fn period(&self, stretches: &[(Nanos, Nanos)]) -> Option<Addr> {
        let mut counts: FxHashMap<Addr, u128> = FxHashMap::default();
        for (from, to) in stretches {
            let mut timers: Vec<Addr> = self.within(*from, *to).collect();
            timers.sort_unstable_by_key(|t| t.0);
            timers.dedup();
            for timer in timers {
                *counts.entry(timer).or_default() += 1;
            }
        }
        let first = stretches.iter().map(|(from, _)| *from).min()?;
        let last = stretches.iter().map(|(_, to)| *to).max()?;
        // How many it is within, and which share of its fires those are.
        let scored = counts.into_iter().filter_map(|(timer, n)| {
            let all = count(self.periods.get(&timer)?, first, last).max(1) as u128;
            let fits = n > 1 && n * 10 >= all * 3;
            fits.then_some((n * n * 1_000_000 / all, timer.0))
        });
        scored.max().map(|(_, timer)| Addr(timer))
    }
}
