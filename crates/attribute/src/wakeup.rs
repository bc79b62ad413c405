//! Wakeups of tasks: from being woken to running, by how far, and what held them.

use agenttrace_model::parse::{Cpu, Distance, Nanos, Seats};
use agenttrace_model::{Model, Span, State, Task, TaskId, WakeId};

/// A task was woken and then ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeup {
    pub(crate) wake: WakeId,
    /// When it was woken.
    pub(crate) time: Nanos,
    /// On which CPU that happened.
    by: Cpu,
    pub(crate) task: TaskId,
    /// When it ran.
    pub(crate) ran: Nanos,
    /// Where it ran.
    pub(crate) cpu: Cpu,
}

impl Wakeup {
    /// The one that a runnable span begins with, births apart.
    pub(crate) fn of(
        model: &Model,
        id: TaskId,
        task: &Task,
        (index, span): (usize, Span),
    ) -> Option<Self> {
        let wake = model.wakes.get(span.wake?).filter(|wake| !wake.birth)?;
        let next = task.states.since(index + 1).find(|s| s.state != State::Runnable)?;
        let ran = next.state == State::Running;
        ran.then_some(Self {
            wake: span.wake?,
            time: wake.time,
            by: wake.cpu,
            task: id,
            ran: next.start,
            cpu: next.cpu,
        })
    }

    /// Its latency: woken to running.
    pub(crate) fn latency(&self) -> Nanos {
        self.ran - self.time
    }

    /// From the waker's CPU (an interrupt's, where one woke it) to where the task ran.
    pub(crate) fn distance(&self, seats: &Seats) -> Distance {
        seats.distance(self.by, self.cpu)
    }
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
