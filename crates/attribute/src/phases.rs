//! A task's operations to the phases of its start and end: fork to exec, loader, exit.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, OpKind, State, SyscallClass, Task};

use crate::startup;

/// The spawn phases of one task (DESIGN section 6, row 13).
#[derive(Clone, Default, Debug)]
pub(crate) struct Phases {
    /// From its birth to the end of its first exec, for a process that executes.
    pub(crate) before_exec: Option<(Nanos, Nanos)>,
    /// The dynamic loader's runs.
    pub(crate) loader: Vec<(Nanos, Nanos)>,
    /// What interpreters do after their loader before a program of theirs begins.
    pub(crate) startup: Vec<(Nanos, Nanos)>,
    /// The exit of a process.
    pub(crate) exit: Option<(Nanos, Nanos)>,
}

/// In which phase a task is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    BeforeExec,
    Loader,
    Exit,
}

impl Phases {
    /// Whether it is an interpreter that starts up.
    pub(crate) fn starts_up(&self, time: Nanos) -> bool {
        self.startup.iter().any(|(from, to)| *from <= time && time < *to)
    }

    /// Until when all of this stays as it is at a time.
    pub(crate) fn until(&self, time: Nanos) -> Nanos {
        let once = self.before_exec.iter().chain(&self.exit);
        let all = once.chain(&self.loader).chain(&self.startup);
        let edges = all.flat_map(|(from, to)| [*from, *to]);
        edges.filter(|edge| *edge > time).min().unwrap_or(Nanos::MAX)
    }

    pub(crate) fn at(&self, time: Nanos) -> Option<Phase> {
        let inside = |range: &(Nanos, Nanos)| range.0 <= time && time < range.1;
        if self.before_exec.as_ref().is_some_and(inside) {
            Some(Phase::BeforeExec)
        } else if self.loader.iter().any(inside) {
            Some(Phase::Loader)
        } else if self.exit.as_ref().is_some_and(inside) {
            Some(Phase::Exit)
        } else {
            None
        }
    }
}

pub(crate) fn phases_of(model: &Model, task: &Task) -> Phases {
    let process = task.is_thread != Some(true);
    let mut phases = Phases::default();
    let mut loaders_from = Vec::new();
    for (time, _) in &task.execs {
        let done = task
            .op_chain(task.op_at(*time))
            .find(|(_, op)| {
                op.syscall().is_some_and(|c| model.syscalls.class(c.nr) == SyscallClass::Exec)
            })
            .map_or(*time, |(_, op)| op.end);
        loaders_from.push(done);
    }
    if process && let (Some(birth), Some(done)) = (task.birth, loaders_from.first()) {
        phases.before_exec = Some((birth, *done));
    }
    let end_of_task = task.death().unwrap_or(Nanos::MAX);
    for ((time, path), done) in task.execs.iter().zip(loaders_from) {
        let mut from = done;
        if let Some(to) = loader_end(model, task, from, end_of_task) {
            phases.loader.push((from, to));
            from = to;
        }
        if startup::is_interpreter(task, *time, path)
            && let Some(to) = startup::end(model, task, from)
        {
            phases.startup.push((from, to));
        }
    }
    if process {
        let asked = task.ops.iter().rev().take(64).find(|op| {
            op.syscall().is_some_and(|c| model.syscalls.class(c.nr) == SyscallClass::Exit)
                || op.kind == OpKind::Exit
        });
        let from = asked.map(|op| {
            // The call is around the teardown.
            op.parent()
                .and_then(|p| task.ops.get(p))
                .map_or(op.start, |outer| outer.start.min(op.start))
        });
        if let Some(from) = from {
            // Not `end_of_task`: a leader whose id an exec took over lives on.
            let dead = task.states.iter().find(|s| s.start >= from && s.state == State::Dead);
            phases.exit = Some((from, dead.map_or(end_of_task, |s| s.start)));
        }
    }
    phases
}

/// Where the loader hands over (DESIGN section 6); `None` for a static program.
fn loader_end(model: &Model, task: &Task, from: Nanos, end_of_task: Nanos) -> Option<Nanos> {
    let number = |name| model.syscalls.number(name);
    let (munmap, prlimit, rseq) = (number("munmap"), number("prlimit64"), number("rseq"));
    let opens = [number("open"), number("openat"), number("openat2")];
    let (mut ready, mut opened) = (false, false);
    let first = task.ops.before(from);
    for op in task.ops.iter().skip(first) {
        let Some(call) = op.syscall() else { continue };
        let nr = Some(call.nr);
        if !model.syscalls.is_loader_call(call.nr) {
            return opened.then_some(op.start);
        }
        opened |= opens.contains(&nr);
        ready |= nr == prlimit || nr == rseq;
        if ready && nr == munmap && opened {
            return Some(op.end);
        }
    }
    opened.then_some(end_of_task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_holds_until_the_next_edge_of_any() {
        let range = |from, to| (Nanos(from), Nanos(to));
        let phases = Phases {
            before_exec: Some(range(10, 20)),
            loader: vec![range(20, 30), range(50, 60)],
            startup: vec![range(30, 40)],
            exit: Some(range(90, 100)),
        };
        let at = |time| {
            let time = Nanos(time);
            (phases.at(time), phases.starts_up(time), phases.until(time).0)
        };
        assert_eq!(at(5), (None, false, 10));
        assert_eq!(at(10), (Some(Phase::BeforeExec), false, 20));
        assert_eq!(at(29), (Some(Phase::Loader), false, 30));
        assert_eq!(at(30), (None, true, 40));
        assert_eq!(at(40), (None, false, 50));
        assert_eq!(at(60), (None, false, 90));
        assert_eq!(at(95), (Some(Phase::Exit), false, 100));
        assert_eq!(at(100), (None, false, u64::MAX));
        assert_eq!(Phases::default().until(Nanos(7)), Nanos::MAX);
    }
}
