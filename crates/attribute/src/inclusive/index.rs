//! Who worked for which step when, and look-ups by task.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use agenttrace_model::parse::{CaptureInfo, Cpu, Nanos};
use agenttrace_model::{Model, State, SyscallClass, Task, TaskId, Windows};
use rustc_hash::FxHashMap;

use crate::report::StepTask;

/// A stretch over which a task works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stretch {
    pub(crate) task: TaskId,
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    pub(crate) inferred: bool,
}

/// For each step its stretches of work, nested steps' included: what
/// [`Windows::work`] tells of one step, for all steps in one pass over the claims.
pub(crate) fn work(windows: &Windows) -> Vec<Vec<Stretch>> {
    let mut work: Vec<Vec<Stretch>> = windows
        .steps
        .iter()
        .map(|step| {
            vec![Stretch { task: step.root, from: step.start, to: step.end, inferred: false }]
        })
        .collect();
    for (index, claims) in windows.claims.iter().enumerate() {
        let task = TaskId(u32::try_from(index).unwrap_or(u32::MAX));
        for claim in claims {
            let mut at = Some(claim.step);
            while let Some(step) = at {
                let Some(window) = windows.steps.get(step) else { break };
                let (from, to) = (claim.from.max(window.start), claim.to.min(window.end));
                if task != window.root
                    && from < to
                    && let Some(stretches) = work.get_mut(step)
                {
                    stretches.push(Stretch { task, from, to, inferred: claim.inferred });
                }
                at = window.parent;
            }
        }
    }
    work
}

/// The union of all steps' work, so that each operation counts once.
pub(crate) fn union(work: &[Vec<Stretch>]) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = work.iter().flatten().copied().collect();
    all.sort_unstable();
    let mut out: Vec<Stretch> = Vec::new();
    for stretch in all {
        match out.last_mut() {
            Some(last) if last.task == stretch.task && stretch.from <= last.to => {
                last.to = last.to.max(stretch.to);
            }
            Some(_) | None => out.push(stretch),
        }
    }
    out
}

/// For each CPU who ran on it: (from, to, task), in time order.
type CpuLines = FxHashMap<Cpu, Vec<(Nanos, Nanos, TaskId)>>;

/// Look-ups by task, built once for all steps.
pub(crate) struct Index<'m> {
    pub(crate) model: &'m Model,
    pub(crate) info: &'m CaptureInfo,
    pub(super) requests: Vec<Vec<u32>>,
    pub(super) children: Vec<Vec<(Nanos, TaskId)>>,
    classes: FxHashMap<String, SyscallClass>,
    cpus: OnceLock<CpuLines>,
}

impl<'m> Index<'m> {
    pub(crate) fn new(model: &'m Model, info: &'m CaptureInfo) -> Self {
        let mut requests = vec![Vec::new(); model.tasks.len()];
        for (index, request) in model.requests.iter().enumerate() {
            if let Some(list) = request.submitter.and_then(|task| requests.get_mut(task.0 as usize))
            {
                list.push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        for list in &mut requests {
            list.sort_by_key(|index| {
                model.requests.get(*index as usize).map(|r| (r.queued, *index))
            });
        }
        let mut children = vec![Vec::new(); model.tasks.len()];
        for (id, task) in model.task_ids() {
            if let (Some(birth), Some(parent), Some(false)) =
                (task.birth, task.parent, task.is_thread)
                && let Some(list) = children.get_mut(parent.0 as usize)
            {
                list.push((birth, id));
            }
        }
        for list in &mut children {
            list.sort_unstable();
        }
        let classes =
            (0..512).map(|nr| (model.syscalls.name(nr), model.syscalls.class(nr))).collect();
        Self { model, info, requests, children, classes, cpus: OnceLock::new() }
    }

    /// The class of a system call by name.
    pub(crate) fn class(&self, name: &str) -> SyscallClass {
        self.classes.get(name).copied().unwrap_or(SyscallClass::Other)
    }

    /// Who ran on a CPU over `[from, to)`, and how long, in time order.
    pub(crate) fn ran(
        &self,
        cpu: Cpu,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (TaskId, Nanos)> + '_ {
        let list = self
            .cpus
            .get_or_init(|| running(self.model))
            .get(&cpu)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let first = list.partition_point(|(_, end, _)| *end <= from);
        list.iter()
            .skip(first)
            .take_while(move |(start, _, _)| *start < to)
            .map(move |(start, end, task)| (*task, (*end).min(to) - (*start).max(from)))
    }

    /// The processes that a task made in `[from, to)`: (birth, child), by birth.
    pub(crate) fn children_born(
        &self,
        parent: TaskId,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (Nanos, TaskId)> + '_ {
        let all = self.children.get(parent.0 as usize).map(Vec::as_slice).unwrap_or_default();
        let first = all.partition_point(|(birth, _)| *birth < from);
        all.iter().skip(first).copied().take_while(move |(birth, _)| *birth < to)
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<&'m Task> {
        self.model.tasks.get(id.0 as usize)
    }
}

fn running(model: &Model) -> CpuLines {
    let mut cpus = CpuLines::default();
    for (id, task) in model.task_ids() {
        for (index, span) in task.states.iter().enumerate() {
            if span.state == State::Running && span.cpu != Cpu::NONE {
                let end = task.states.get(index + 1).map_or(model.span.1, |next| next.start);
                cpus.entry(span.cpu).or_default().push((span.start, end, id));
            }
        }
    }
    #[expect(clippy::iter_over_hash_type, reason = "each list is sorted by itself")]
    for list in cpus.values_mut() {
        list.sort_unstable();
    }
    cpus
}

/// The tasks of a step, the root first, then by first appearance.
pub(crate) fn step_tasks(model: &Model, root: TaskId, stretches: &[Stretch]) -> Vec<StepTask> {
    let mut by_task: BTreeMap<TaskId, (Nanos, Nanos, Nanos, bool)> = BTreeMap::new();
    for s in stretches {
        let sum = by_task.entry(s.task).or_insert((s.from, s.to, Nanos::ZERO, true));
        sum.0 = sum.0.min(s.from);
        sum.1 = sum.1.max(s.to);
        sum.2 += s.to - s.from;
        sum.3 &= s.inferred;
    }
    let mut tasks: Vec<_> = by_task.into_iter().collect();
    tasks.sort_by_key(|(id, (from, ..))| (*id != root, *from, *id));
    tasks
        .into_iter()
        .filter_map(|(id, (_, to, ns, inferred))| {
            let task = model.tasks.get(id.0 as usize)?;
            Some(StepTask {
                tid: task.tid,
                pid: task.pid,
                comm: task.name_at(to).to_text(),
                ns,
                inferred,
            })
        })
        .collect()
}
