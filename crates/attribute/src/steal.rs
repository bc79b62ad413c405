//! Holes in a running task's time that nothing recorded explains: a hypervisor may have had the CPU.
//!
//! ```text
//! task       [............................ runs, no switch ............................]
//! tick        |    |    |    |                          |    |    |
//!                            [  no tick, no event at all ]
//! ```
//! The guest's tick fires while a task runs, whatever the task does. Where some are missing
//! though the same task ran on, and nothing else was recorded there, the CPU itself stood still:
//! the host ran something else, or the kernel kept interrupts off for that long. It is a
//! suspicion: nothing in a trace proves it (`steal` in /proc/stat does).

use std::collections::BTreeMap;

use agenttrace_model::parse::{Addr, Cpu, Nanos};
use agenttrace_model::{Model, TaskId};

use crate::cpu_lines::{CpuLines, Run};

/// Ticks of kernels: 100 to 1000 Hz (CONFIG_HZ), with some room.
const TICKS: (Nanos, Nanos) = (Nanos(900_000), Nanos(10_500_000));
/// A tick is known by so many of them.
const LEAST: usize = 20;

/// A task was on a CPU over `[from, to)`, and nothing was heard of either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hole {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    pub(crate) cpu: Cpu,
    pub(crate) task: TaskId,
    /// How often the tick fires otherwise.
    pub(crate) tick: Nanos,
}

/// All holes, in time order.
pub(crate) fn holes(model: &Model, lines: &CpuLines) -> Vec<Hole> {
    let mut timers: BTreeMap<(Cpu, u64), Vec<Nanos>> = BTreeMap::new();
    for fire in model.timers.iter().filter(|t| t.timer != Addr(0)) {
        timers.entry((fire.cpu, fire.timer.0)).or_default().push(fire.time);
    }
    // Of each CPU the timer that fires most.
    let mut ticks: BTreeMap<Cpu, Vec<Nanos>> = BTreeMap::new();
    for ((cpu, _), times) in timers {
        let best = ticks.entry(cpu).or_default();
        if times.len() > best.len() {
            *best = times;
        }
    }
    let mut holes = Vec::new();
    for (cpu, times) in ticks {
        let Some(tick) = period(&times) else { continue };
        let long = |a: Nanos, b: Nanos| (b - a).0 >= tick.0.saturating_mul(5) / 2;
        for four in times.windows(4) {
            let [before, from, to, after] = *four else { continue };
            // A tick that was late is soon followed by the next.
            let regular = !long(before, from) && !long(to, after);
            if !long(from, to) || !regular {
                continue;
            }
            let Some(run) = lines.runs(cpu, before, after).next() else { continue };
            if run.from <= before && run.to >= after {
                holes.extend(silence(model, run, from, to, tick, cpu));
            }
        }
    }
    holes.sort_by_key(|hole| (hole.from, hole.cpu));
    holes
}

/// The usual time between two ticks, where most are alike.
fn period(times: &[Nanos]) -> Option<Nanos> {
    let mut gaps: Vec<Nanos> =
        times.iter().zip(times.iter().skip(1)).map(|(a, b)| *b - *a).collect();
    if gaps.len() < LEAST {
        return None;
    }
    gaps.sort_unstable();
    let median = *gaps.get(gaps.len() / 2)?;
    let alike = gaps.iter().filter(|gap| gap.0.abs_diff(median.0) <= median.0 / 10).count();
    (median >= TICKS.0 && median <= TICKS.1 && alike * 2 >= gaps.len()).then_some(median)
}

/// The longest stretch between two ticks without any operation of the task that ran, if ticks are
/// missing in it and no interrupt fills it.
fn silence(model: &Model, run: Run, from: Nanos, to: Nanos, tick: Nanos, cpu: Cpu) -> Option<Hole> {
    if model.lost.iter().any(|l| l.cpu == cpu && l.overlaps(from, to)) {
        return None;
    }
    let task = model.task(run.task);
    let mut times = vec![from, to];
    let first = task.ops.before(from);
    for op in task.ops.iter().skip(first).take_while(|op| op.start < to) {
        times.push(op.start);
        times.push(op.end.min(to));
    }
    // What had begun before and ends here.
    times.extend(task.op_chain(task.op_at(from)).map(|(_, op)| op.end).filter(|end| *end < to));
    times.sort_unstable();
    let gaps = times.iter().zip(times.iter().skip(1));
    let (from, to) = gaps.map(|(a, b)| (*a, *b)).max_by_key(|(a, b)| (*b - *a, *a))?;
    let interrupted = task
        .op_chain(task.op_at(from))
        .any(|(_, op)| crate::path::Frame::of_interrupt(op.kind).is_some());
    let long = (to - from).0 >= tick.0.saturating_mul(2);
    (long && !interrupted).then_some(Hole { from, to, cpu, task: run.task, tick })
}
