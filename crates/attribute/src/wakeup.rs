//! Wakeups of tasks: from being woken to running, by how far, and what held them.

use agenttrace_model::parse::{Cpu, Distance, Nanos, Seats};
use agenttrace_model::{Model, Span, State, Task, TaskId, Wake};

/// A task was woken and then ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeup<'m> {
    pub(crate) wake: &'m Wake,
    pub(crate) task: TaskId,
    /// When it ran.
    pub(crate) ran: Nanos,
    /// Where it ran.
    pub(crate) cpu: Cpu,
}

impl<'m> Wakeup<'m> {
    /// The one that a runnable span begins with, births apart.
    pub(crate) fn of(
        model: &'m Model,
        id: TaskId,
        task: &'m Task,
        (index, span): (usize, Span),
    ) -> Option<Self> {
        let wake = model.wakes.get(span.wake?.0 as usize).filter(|wake| !wake.birth)?;
        let later = task.states.get(index + 1..).unwrap_or_default();
        let next = later.iter().find(|s| s.state != State::Runnable)?;
        let ran = next.state == State::Running;
        ran.then_some(Self { wake, task: id, ran: next.start, cpu: next.cpu })
    }

    /// Its latency: woken to running.
    pub(crate) fn latency(&self) -> Nanos {
        self.ran - self.wake.time
    }

    /// From the waker's CPU (an interrupt's, where one woke it) to where the task ran.
    pub(crate) fn distance(&self, seats: &Seats) -> Distance {
        seats.distance(self.wake.cpu, self.cpu)
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
