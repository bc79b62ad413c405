//! Samples with stacks to a line of samples for each task: running ones, and where it waited.

use agenttrace_model::parse::{CaptureInfo, Nanos};
use agenttrace_model::stacks::{ChainId, Stacks, What};
use agenttrace_model::{Model, State, Task, TaskId};
use rustc_hash::FxHashMap;

use super::Timeline;
use crate::stacks::cpu_event;
use crate::stacks::tasks::TaskIndex;

/// The samples of a timeline's tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TimelineSamples {
    /// What a sample stands for, in nanoseconds of a task's time.
    pub interval: Nanos,
    /// Whether running samples were taken by time: their period is in nanoseconds.
    pub timed: bool,
    /// The event whose running samples these are: an index in
    /// [`CaptureInfo::event_types`].
    pub event: Option<u32>,
    /// The samples by task, in the order of [`Timeline::tasks`]; tasks without any are
    /// left out.
    pub tasks: Vec<TaskSamples>,
}

/// The samples of one task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSamples {
    /// Which.
    pub task: TaskId,
    /// In time order.
    pub samples: Vec<TimelineSample>,
}

/// One sample of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimelineSample {
    /// When.
    pub time: Nanos,
    /// Its stack.
    pub chain: Option<ChainId>,
    /// What it says.
    pub what: SampleTime,
}

/// What a sample says of its task's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SampleTime {
    /// It ran.
    Running {
        /// How many occurrences it stands for; nanoseconds where samples are timed.
        period: u64,
        /// CPU time of the task since its sample before, or since the timeline's start.
        cpu: Nanos,
    },
    /// It left its CPU.
    Waiting {
        /// Until when it was off the CPU.
        until: Nanos,
        /// How many intervals that is; what is less than one is carried to the task's
        /// next wait.
        intervals: u64,
    },
}

/// Taken where samples do not tell their interval.
const DEFAULT_INTERVAL: Nanos = Nanos(1_000_000);

/// The samples of a timeline's tasks within its time.
#[must_use]
pub fn samples(
    model: &Model,
    info: &CaptureInfo,
    timeline: &Timeline,
    stacks: &Stacks,
) -> TimelineSamples {
    let event = cpu_event(info, stacks, None).ok();
    let known = event.as_ref().and_then(|event| event.interval);
    let (timed, interval) = (known.is_some(), known.unwrap_or(DEFAULT_INTERVAL));
    let event = event.map(|event| event.index);
    let tids = TaskIndex::new(model);
    let places: FxHashMap<TaskId, usize> =
        timeline.tasks.iter().enumerate().map(|(place, shown)| (shown.task, place)).collect();
    let mut lines: Vec<Line> = vec![Line::default(); timeline.tasks.len()];
    for sample in &stacks.samples {
        if sample.time < timeline.from || sample.time >= timeline.to {
            continue;
        }
        let Some(id) = tids.at(sample.tid, sample.time) else { continue };
        let Some(line) = places.get(&id).and_then(|place| lines.get_mut(*place)) else { continue };
        let task = model.task(id);
        let what = match sample.what {
            What::Cpu if Some(sample.event_type) == event => {
                Some(line.running(task, timeline.from, sample.time, sample.period))
            }
            What::SwitchOut(_) if sample.chain.is_some() => {
                line.waiting(task, sample.time, timeline.to, interval)
            }
            What::Cpu
            | What::SwitchOut(_)
            | What::Fault { .. }
            | What::LockBegin(_)
            | What::LockEnd(_)
            | What::Other => None,
        };
        if let Some(what) = what {
            line.samples.push(TimelineSample { time: sample.time, chain: sample.chain, what });
        }
    }
    let tasks = timeline.tasks.iter().zip(lines).filter(|(_, line)| !line.samples.is_empty());
    let tasks = tasks.map(|(shown, line)| TaskSamples { task: shown.task, samples: line.samples });
    TimelineSamples { interval, timed, event, tasks: tasks.collect() }
}

/// The samples of a task so far.
#[derive(Clone, Default)]
struct Line {
    samples: Vec<TimelineSample>,
    /// Until when its CPU time has been told.
    told: Option<Nanos>,
    /// Waiting time of less than an interval.
    rest: Nanos,
}

impl Line {
    fn running(&mut self, task: &Task, from: Nanos, time: Nanos, period: u64) -> SampleTime {
        let since = self.told.unwrap_or(from);
        self.told = Some(time);
        let running =
            task.spans(since, time).filter(|(_, _, _, span)| span.state == State::Running);
        let cpu = running.map(|(_, start, end, _)| end - start).sum();
        SampleTime::Running { period, cpu }
    }

    fn waiting(
        &mut self,
        task: &Task,
        time: Nanos,
        to: Nanos,
        interval: Nanos,
    ) -> Option<SampleTime> {
        // The switch that was sampled begins the wait, at the same time.
        let off = task.spans(time, to).find(|(_, _, _, span)| span.state == State::Running);
        let until = off.map_or(to, |(_, start, _, _)| start);
        let waited = (until - time) + self.rest;
        let intervals = waited.0.checked_div(interval.0)?;
        self.rest = Nanos(waited.0.checked_rem(interval.0)?);
        (intervals > 0).then_some(SampleTime::Waiting { until, intervals })
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::{Cpu, Pid, SwitchState, Tid};
    use agenttrace_model::{Ops, Recorded, Span};

    use super::*;

    /// A task with these states: since when, and which.
    fn task(states: &[(u64, State)]) -> Task {
        let span = |(start, state): &(u64, State)| Span {
            start: Nanos(*start),
            state: *state,
            cpu: Cpu(0),
            wake: None,
            inferred: false,
        };
        Task {
            tid: Tid(1),
            pid: Pid(1),
            parent: None,
            is_thread: None,
            vfork: false,
            birth: None,
            exit: None,
            names: Vec::new(),
            states: states.iter().map(span).collect(),
            ops: Ops::default(),
            execs: Vec::new(),
            prepared: Vec::new(),
            copied: None,
            migrations: Vec::new(),
            recorded: Recorded::default(),
        }
    }

    const WAIT: State = State::Blocked(SwitchState::Interruptible);

    #[test]
    fn cpu_time_is_that_since_the_sample_before() {
        // Running 0 to 40 and 70 to 100; the timeline begins at 10.
        let task = task(&[(0, State::Running), (40, WAIT), (70, State::Running)]);
        let mut line = Line::default();
        let cpu = |line: &mut Line, time: u64| {
            let SampleTime::Running { cpu, .. } = line.running(&task, Nanos(10), Nanos(time), 1)
            else {
                return Nanos::MAX;
            };
            cpu
        };
        assert_eq!(cpu(&mut line, 30), Nanos(20));
        assert_eq!(cpu(&mut line, 80), Nanos(10 + 10));
        assert_eq!(cpu(&mut line, 80), Nanos(0));
    }

    #[test]
    fn what_is_less_than_an_interval_is_carried_on() {
        // Off the CPU for 25, 8, 7 and, up to the end at 100, 30.
        let task = task(&[
            (0, State::Running),
            (10, WAIT),
            (30, State::Runnable),
            (35, State::Running),
            (40, WAIT),
            (48, State::Running),
            (50, WAIT),
            (57, State::Running),
            (70, WAIT),
        ]);
        let mut line = Line::default();
        let mut waits = [10, 40, 50, 70]
            .into_iter()
            .map(|time| line.waiting(&task, Nanos(time), Nanos(100), Nanos(10)));
        let wait =
            |until: u64, intervals| Some(SampleTime::Waiting { until: Nanos(until), intervals });
        // 25 is 2 and 5 over; 13 is 1 and 3 over; 10 is 1; 30 is 3.
        assert_eq!(waits.next(), Some(wait(35, 2)));
        assert_eq!(waits.next(), Some(wait(48, 1)));
        assert_eq!(waits.next(), Some(wait(57, 1)));
        assert_eq!(waits.next(), Some(wait(100, 3)));
        // Shorter than an interval: no sample.
        let mut line = Line::default();
        assert_eq!(line.waiting(&task, Nanos(40), Nanos(100), Nanos(10)), None);
    }
}
