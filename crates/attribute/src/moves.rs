//! Moves of a step's root task between CPUs, with what waiting and faults cost before and after.

use agenttrace_model::parse::{Cpu, Distance, Nanos};
use agenttrace_model::{BalancingKind, State, Step, Task, TaskId};

use crate::inclusive::Index;

/// What lies further from a move says nothing of it.
const NEAR: Nanos = Nanos(100_000_000);
/// Shorter sides are not compared.
const SIDE: Nanos = Nanos(5_000_000);
/// With fewer faults on a side, their cost is not compared.
const FAULTS: u64 = 20;

/// The root task moved.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) time: Nanos,
    pub(crate) from: Cpu,
    pub(crate) to: Cpu,
    pub(crate) distance: Distance,
    pub(crate) by: &'static str,
    /// In the step, not between the one before and it.
    pub(crate) during: bool,
    pub(crate) before: Side,
    pub(crate) after: Side,
}

/// One side of a move: up to the next move, the step's edge, or 100 ms.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Side {
    pub(crate) length: Nanos,
    pub(crate) delay: Nanos,
    /// Faults that did not sleep.
    pub(crate) faults: u64,
    pub(crate) fault_total: Nanos,
}

/// What a move changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    Helped,
    Hurt,
    Neither,
}

impl Effect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Helped => "helped",
            Self::Hurt => "hurt",
            Self::Neither => "neither",
        }
    }
}

impl Side {
    fn of(task: &Task, from: Nanos, to: Nanos) -> Self {
        let mut side = Self { length: to - from, ..Self::default() };
        for (_, start, end, span) in task.spans(from, to) {
            if span.state == State::Runnable {
                side.delay += end - start;
            }
        }
        let first = task.ops.before(from);
        for op in task.ops.iter().skip(first).take_while(|op| op.start < to) {
            let slept = || {
                let mut spans = task.spans(op.start, op.end);
                spans.any(|(_, _, _, span)| matches!(span.state, State::Blocked(_)))
            };
            if op.fault().is_some() && op.end != Nanos::MAX && !slept() {
                side.faults += 1;
                side.fault_total += op.end - op.start;
            }
        }
        side
    }

    /// How much of the time it waited for a CPU, in parts of a thousand.
    pub(crate) fn delay_share(&self) -> u64 {
        self.delay.0.saturating_mul(1000).checked_div(self.length.0).unwrap_or(0)
    }

    /// What a fault cost on average.
    pub(crate) fn fault_mean(&self) -> Option<Nanos> {
        self.fault_total.0.checked_div(self.faults).map(Nanos)
    }
}

impl Move {
    /// By the run delay: from a twentieth of the time on, a factor of two counts.
    pub(crate) fn on_delay(&self) -> Option<Effect> {
        if self.before.length < SIDE || self.after.length < SIDE {
            return None;
        }
        Some(compare(self.before.delay_share(), self.after.delay_share(), 50, 2, 1))
    }

    /// By the cost of a fault: a factor of 1.5 counts.
    pub(crate) fn on_faults(&self) -> Option<Effect> {
        if self.before.faults < FAULTS || self.after.faults < FAULTS {
            return None;
        }
        let (before, after) = (self.before.fault_mean()?, self.after.fault_mean()?);
        Some(compare(before.0, after.0, 0, 3, 2))
    }

    /// By both: whatever hurts counts first.
    pub(crate) fn effect(&self) -> Option<Effect> {
        let both = [self.on_delay(), self.on_faults()];
        let has = |effect| both.contains(&Some(effect));
        match both {
            [None, None] => None,
            _ if has(Effect::Hurt) => Some(Effect::Hurt),
            _ if has(Effect::Helped) => Some(Effect::Helped),
            _ => Some(Effect::Neither),
        }
    }
}

/// Whether the larger value, if at least `least`, is `times / of` times the smaller one.
fn compare(before: u64, after: u64, least: u64, times: u64, of: u64) -> Effect {
    let much = |more: u64, less: u64| {
        more >= least.max(1) && more.saturating_mul(of) >= less.saturating_mul(times)
    };
    if much(after, before) {
        Effect::Hurt
    } else if much(before, after) {
        Effect::Helped
    } else {
        Effect::Neither
    }
}

/// The moves of a step's root task in the step, and since the step before on that task.
pub(crate) fn moves(index: &Index<'_>, step: &Step) -> Vec<Move> {
    let Some(task) = index.task(step.root) else { return Vec::new() };
    let last = task.migrations.partition_point(|(time, _, _)| *time < step.end);
    if last == 0 {
        return Vec::new();
    }
    // Steps are in the order of their start.
    let steps = index.steps_of(step.root);
    let place = steps.partition_point(|s| s.start < step.start);
    let before = steps.iter().take(place).rev().find(|s| s.end <= step.start);
    let since = before.map_or(step.start, |s| s.end);
    let first = task.migrations.partition_point(|(time, _, _)| *time < since);
    let list = task.migrations.get(first..last).unwrap_or_default();
    let mut moves = Vec::new();
    for (number, (time, from, to)) in list.iter().enumerate() {
        let during = *time >= step.start;
        let previous = number.checked_sub(1).and_then(|i| list.get(i)).map(|(time, _, _)| *time);
        let next = list.get(number + 1).map_or(step.end, |(time, _, _)| *time);
        let (mut before, mut after) = (Side::default(), Side::default());
        if during {
            let start = previous.unwrap_or(step.start).max(step.start).max(*time - NEAR);
            before = Side::of(task, start, *time);
            after = Side::of(task, *time, next.min(*time + NEAR));
        }
        moves.push(Move {
            time: *time,
            from: *from,
            to: *to,
            distance: index.seats().distance(*from, *to),
            by: by(index, step.root, task, *time),
            during,
            before,
            after,
        });
    }
    moves
}

/// Who moved it: the event of NUMA balancing just before, the call it was in, its state.
fn by(index: &Index<'_>, id: TaskId, task: &Task, time: Nanos) -> &'static str {
    let balancing = &index.model.balancing;
    let after = balancing.partition_point(|b| b.time <= time);
    let moved = balancing.iter().take(after).rev().take_while(|b| time - b.time < Nanos(1_000_000));
    let kinds = [BalancingKind::Moved, BalancingKind::Swapped];
    if moved.into_iter().any(|b| b.task == id && kinds.contains(&b.kind)) {
        return "NUMA balancing";
    }
    let affinity = index.model.syscalls.number("sched_setaffinity");
    let calls = task.op_chain(task.op_at(time)).filter_map(|(_, op)| op.syscall());
    if affinity.is_some() && calls.into_iter().any(|call| Some(call.nr) == affinity) {
        return "its own sched_setaffinity";
    }
    let span = task.states.get(task.span_at(time));
    match span {
        Some(span) if span.wake.is_some() && span.state == State::Runnable => "wakeup",
        Some(_) | None => "load balancing",
    }
}
