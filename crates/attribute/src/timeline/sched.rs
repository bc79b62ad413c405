//! States of all tasks to what the scheduler did, CPU by CPU: switches, wakeups, births.

use agenttrace_model::parse::{Comm, Cpu, Nanos, SwitchState};
use agenttrace_model::{Model, State, Task, TaskId, WakeId};

/// One thing that the scheduler did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SchedEvent {
    /// When.
    pub time: Nanos,
    /// On which CPU; [`Cpu::NONE`] where it is not known.
    pub cpu: Cpu,
    /// What.
    pub what: SchedWhat,
}

/// What a [`SchedEvent`] is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum SchedWhat {
    /// A task was made.
    Birth {
        /// Which.
        task: TaskId,
        /// By whom.
        parent: TaskId,
    },
    /// A task took another name.
    Name {
        /// Which.
        task: TaskId,
        /// The new name.
        name: Comm,
    },
    /// A blocked task became runnable.
    Wake(WakeId),
    /// A CPU went over from one task to the next. `None` is the idle task, and also
    /// tasks of which the capture does not tell.
    Switch {
        /// Who ran until now.
        prev: Option<TaskId>,
        /// In what state it left; [`SwitchState::Other`] where it is not known.
        state: SwitchState,
        /// Who runs from now on.
        next: Option<TaskId>,
    },
    /// A task is gone.
    Death(TaskId),
}

impl SchedWhat {
    /// At one time, in what order things happen.
    fn rank(self) -> u8 {
        match self {
            Self::Birth { .. } => 0,
            Self::Name { .. } => 1,
            Self::Wake(_) => 2,
            Self::Switch { .. } => 3,
            Self::Death(_) => 4,
        }
    }
}

/// A stretch for which a task ran on one CPU.
struct Run {
    cpu: Cpu,
    start: Nanos,
    end: Nanos,
    task: TaskId,
    left: SwitchState,
}

/// What the scheduler did in `[from, to)`, in time order. Who runs at `from` is switched
/// in then; who runs at `to` is not switched out.
///
/// ```text
/// states      task A  [run cpu 0][S.............][R][run cpu 0
///             task B             [run cpu 0][S
/// switches    cpu 0   ->A       A->B       B->      ->A
/// ```
#[must_use]
pub fn sched(model: &Model, from: Nanos, to: Nanos) -> Vec<SchedEvent> {
    let inside = |time: Nanos| from < time && time < to;
    let mut events = Vec::new();
    let mut runs = Vec::new();
    for (id, task) in model.task_ids() {
        if let Some(time) = task.birth.filter(|time| inside(*time))
            && let Some(parent) = task.parent
        {
            let what = SchedWhat::Birth { task: id, parent };
            events.push(SchedEvent { time, cpu: cpu_at(model.task(parent), time), what });
        }
        for (time, name) in task.names.iter().skip(1).filter(|(time, _)| inside(*time)) {
            let what = SchedWhat::Name { task: id, name: *name };
            events.push(SchedEvent { time: *time, cpu: cpu_at(task, *time), what });
        }
        if let Some(time) = task.death().filter(|time| inside(*time)) {
            events.push(SchedEvent { time, cpu: Cpu::NONE, what: SchedWhat::Death(id) });
        }
        for (index, start, end, span) in task.spans(from, to) {
            if span.state == State::Running && span.cpu != Cpu::NONE {
                let left = task.states.get(index + 1).map(|next| left(next.state));
                let left = left.unwrap_or(SwitchState::Other);
                runs.push(Run { cpu: span.cpu, start, end, task: id, left });
            }
        }
    }
    let first = model.wakes.before(from);
    let wakes = model.wakes.iter().enumerate().skip(first);
    for (index, wake) in wakes.take_while(|(_, wake)| wake.time < to) {
        // The birth tells it already.
        if wake.birth {
            continue;
        }
        let cpu = wake.current.map_or(Cpu::NONE, |task| cpu_at(model.task(task), wake.time));
        let what = SchedWhat::Wake(WakeId(u32::try_from(index).unwrap_or(u32::MAX)));
        events.push(SchedEvent { time: wake.time, cpu, what });
    }
    runs.sort_unstable_by_key(|run| (run.cpu, run.start, run.end, run.task));
    switches(&runs, to, &mut events);
    events.sort_by_key(|event| (event.time, event.what.rank()));
    events
}

/// Runs, by CPU and start, to the switches between them.
fn switches(runs: &[Run], to: Nanos, events: &mut Vec<SchedEvent>) {
    for (index, run) in runs.iter().enumerate() {
        let same = |other: &&Run| other.cpu == run.cpu;
        // A run that reaches into the next one (a switch was lost) ends where that begins.
        let before = index.checked_sub(1).and_then(|i| runs.get(i)).filter(same);
        let before = before.filter(|before| before.end >= run.start);
        let state = match before {
            Some(before) if before.end > run.start => SwitchState::Other,
            Some(before) => before.left,
            None => SwitchState::Runnable,
        };
        let what = SchedWhat::Switch { prev: before.map(|b| b.task), state, next: Some(run.task) };
        events.push(SchedEvent { time: run.start, cpu: run.cpu, what });
        let after = runs.get(index + 1).filter(same);
        if after.is_none_or(|after| after.start > run.end) && run.end < to {
            let what = SchedWhat::Switch { prev: Some(run.task), state: run.left, next: None };
            events.push(SchedEvent { time: run.end, cpu: run.cpu, what });
        }
    }
}

/// The CPU that a task runs on at a time.
fn cpu_at(task: &Task, time: Nanos) -> Cpu {
    let index = task.span_at(time);
    // What a task does last on a CPU carries the time at which it leaves.
    let spans = [Some(index), index.checked_sub(1)];
    let mut spans = spans.into_iter().flatten().filter_map(|i| task.states.get(i));
    spans.find(|span| span.state == State::Running).map_or(Cpu::NONE, |span| span.cpu)
}

/// In what state a task left its CPU, by the state it is in next.
fn left(next: State) -> SwitchState {
    match next {
        State::Runnable | State::Running | State::New => SwitchState::Runnable,
        State::Blocked(state) => state,
        State::Dead => SwitchState::Dead,
        State::Unknown(_) => SwitchState::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cpu: u32, start: u64, end: u64, task: u32, left: SwitchState) -> Run {
        Run { cpu: Cpu(cpu), start: Nanos(start), end: Nanos(end), task: TaskId(task), left }
    }

    /// `time cpu prev state next`, a switch a line; `-` is the idle task.
    fn lines(runs: &[Run], to: u64) -> Vec<String> {
        let mut events = Vec::new();
        switches(runs, Nanos(to), &mut events);
        let name = |task: Option<TaskId>| task.map_or("-".to_owned(), |t| t.0.to_string());
        let line = |event: &SchedEvent| {
            let SchedWhat::Switch { prev, state, next } = event.what else { return String::new() };
            let (prev, state, next) = (name(prev), state.letter(), name(next));
            format!("{} {} {prev} {state} {next}", event.time, event.cpu)
        };
        events.iter().map(line).collect()
    }

    #[test]
    fn runs_that_touch_are_one_switch() {
        use SwitchState::{Interruptible, Runnable, Uninterruptible};
        let runs = [
            run(0, 10, 20, 1, Interruptible),
            run(0, 20, 30, 2, Uninterruptible),
            run(0, 40, 100, 1, Runnable),
            run(1, 15, 50, 3, Runnable),
        ];
        assert_eq!(
            lines(&runs, 100),
            ["10 0 - R 1", "20 0 1 S 2", "30 0 2 D -", "40 0 - R 1", "15 1 - R 3", "50 1 3 R -"]
        );
    }

    #[test]
    fn a_run_that_never_ended_is_cut_with_an_unknown_state() {
        let runs =
            [run(0, 10, 50, 1, SwitchState::Interruptible), run(0, 30, 40, 2, SwitchState::Dead)];
        assert_eq!(lines(&runs, 100), ["10 0 - R 1", "30 0 1 ? 2", "40 0 2 X -"]);
    }
}
