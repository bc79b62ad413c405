//! Steps to what a timeline viewer draws: the tasks that matter, who ran where, samples by task.

mod samples;
mod sched;

use std::collections::BTreeMap;

use agenttrace_model::parse::{Nanos, StepId};
use agenttrace_model::{Model, TaskId, WakeSource, Windows};
use rustc_hash::FxHashMap;

use crate::facts::is_kernel_thread;
use crate::inclusive::{Stretch, union, work};
use crate::report::StepReport;
use crate::stacks::tasks::TaskIndex;

pub use samples::{SampleTime, TaskSamples, TimelineSample, TimelineSamples, samples};
pub use sched::{SchedEvent, SchedWhat, sched};

/// The tasks of some steps, and the time that the steps cover together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Timeline {
    /// Start of the first step.
    pub from: Nanos,
    /// End of the last step.
    pub to: Nanos,
    /// The tasks, those that work for a step first, by their first appearance.
    pub tasks: Vec<ShownTask>,
}

/// A task that a viewer shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownTask {
    /// Which.
    pub task: TaskId,
    /// Why it is shown: the strongest reason.
    pub role: Role,
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
    /// When it worked for the steps: in time order, not overlapping.
    pub work: Vec<(Nanos, Nanos)>,
}

/// Why a task is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// A step's own task.
    Root,
    /// It worked for a step.
    Worker,
    /// A critical path runs over it.
    OnPath,
    /// It woke a task that worked for a step.
    Waker,
}

impl Timeline {
    /// The timeline of these steps of the report. Empty where there are none.
    #[must_use]
    pub fn new(model: &Model, windows: &Windows, steps: &[&StepReport]) -> Self {
        let from = steps.iter().map(|s| s.start).min().unwrap_or_default();
        let to = steps.iter().map(|s| s.end).max().unwrap_or_default();
        let mut roles: BTreeMap<TaskId, (Role, Nanos)> = BTreeMap::new();
        let mut add = |task: TaskId, role: Role, since: Nanos| {
            let entry = roles.entry(task).or_insert((role, since));
            *entry = (entry.0.min(role), entry.1.min(since));
        };

        let indexes: FxHashMap<&StepId, usize> =
            windows.steps.iter().enumerate().map(|(i, s)| (&s.id, i)).collect();
        let all = work(windows);
        let mut stretches: Vec<Stretch> = Vec::new();
        for step in steps {
            let Some(index) = indexes.get(&step.id) else { continue };
            let Some(work) = all.get(*index) else { continue };
            for (place, stretch) in work.iter().enumerate() {
                // The root's own stretch is the first.
                let role = if place == 0 { Role::Root } else { Role::Worker };
                add(stretch.task, role, stretch.from);
            }
            stretches.extend_from_slice(work);
        }
        let stretches = union(stretches.iter());
        let mut by_task: BTreeMap<TaskId, Vec<(Nanos, Nanos)>> = BTreeMap::new();
        for stretch in &stretches {
            by_task.entry(stretch.task).or_default().push((stretch.from, stretch.to));
        }
        let works = |task: TaskId, time: Nanos| {
            by_task.get(&task).is_some_and(|spans| {
                let after = spans.partition_point(|(from, _)| *from <= time);
                let span = after.checked_sub(1).and_then(|at| spans.get(at));
                span.is_some_and(|(_, to)| time < *to)
            })
        };

        let tids = TaskIndex::new(model);
        for step in steps {
            for segment in &step.segments {
                if let Some(task) = tids.at(segment.tid, segment.start) {
                    add(task, Role::OnPath, segment.start);
                }
            }
        }
        let first = model.wakes.before(from);
        for wake in model.wakes.iter().skip(first).take_while(|wake| wake.time < to) {
            if let WakeSource::Task(waker) = wake.source
                && works(wake.wakee, wake.time)
            {
                add(waker, Role::Waker, wake.time);
            }
        }

        let mut order: Vec<(Role, Nanos, TaskId)> =
            roles.into_iter().map(|(task, (role, since))| (role, since, task)).collect();
        order.sort_unstable();
        let tasks = order
            .into_iter()
            .filter(|(_, _, task)| model.tasks.get(task.0 as usize).is_some())
            .map(|(role, _, task)| ShownTask {
                task,
                role,
                kernel: is_kernel_thread(model, model.task(task)),
                work: by_task.remove(&task).unwrap_or_default(),
            })
            .collect();
        Self { from, to, tasks }
    }
}
