//! Wakeups of tasks: from being woken to running, by how far, and what held them.

use agenttrace_model::parse::{Cpu, Distance, Nanos, Seats};
use agenttrace_model::{Model, State, Task, TaskId, Wake};

use crate::inclusive::Stretch;

/// A task was woken and then ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeup {
    pub(crate) wake: Wake,
    pub(crate) task: TaskId,
    /// When it ran.
    pub(crate) ran: Nanos,
    /// Where it ran.
    pub(crate) cpu: Cpu,
}

impl Wakeup {
    /// Its latency: woken to running.
    pub(crate) fn latency(&self) -> Nanos {
        self.ran - self.wake.time
    }

    /// From the waker's CPU (an interrupt's, where one woke it) to where the task ran.
    pub(crate) fn distance(&self, seats: &Seats) -> Distance {
        seats.distance(self.wake.cpu, self.cpu)
    }
}

/// The wakeups of a task that lie in a stretch, births apart, in time order.
pub(crate) fn wakeups<'m>(
    model: &'m Model,
    task: &'m Task,
    stretch: Stretch,
) -> impl Iterator<Item = Wakeup> + 'm {
    task.spans(stretch.from, stretch.to)
        .filter(move |(_, _, _, span)| span.state == State::Runnable && span.start >= stretch.from)
        .filter_map(move |(index, _, _, span)| {
            let wake = model.wakes.get(span.wake?).filter(|wake| !wake.birth)?;
            let next = task.states.since(index + 1).find(|s| s.state != State::Runnable)?;
            (next.state == State::Running).then_some(Wakeup {
                wake,
                task: stretch.task,
                ran: next.start,
                cpu: next.cpu,
            })
        })
}

/// On whose queue a task waited over `[from, to)` until it ran on `cpu`: (CPU, from, to).
pub(crate) fn queues(task: &Task, from: Nanos, to: Nanos, cpu: Cpu) -> Vec<(Cpu, Nanos, Nanos)> {
    let first = task.migrations.partition_point(|(time, _, _)| *time < from);
    let moves = task.migrations.iter().skip(first).take_while(|(time, _, _)| *time < to);
    let mut queues = Vec::new();
    let mut at = from;
    for (time, old, _) in moves {
        if *time > at {
            queues.push((*old, at, *time));
            at = *time;
        }
    }
    if at < to {
        queues.push((cpu, at, to));
    }
    queues
}
