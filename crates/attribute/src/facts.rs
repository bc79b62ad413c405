//! Facts of a model that every walk needs, computed once: kernel threads, spawn phases, own requests.

use std::sync::Arc;

use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{Model, Task, TaskId, Windows};
use rustc_hash::FxHashMap;

use crate::phases::{Phase, Phases, phases_of};
use crate::throttle::Throttles;
use crate::uring::{Completions, is_uring_thread};

/// What walks look up.
pub(crate) struct Facts<'m> {
    pub(crate) model: &'m Model,
    pub(crate) windows: &'m Windows,
    kernel: Vec<bool>,
    uring: Vec<bool>,
    phases: FxHashMap<TaskId, Phases>,
    forks: FxHashMap<Pid, Vec<(Nanos, Nanos)>>,
    requests: FxHashMap<TaskId, Vec<u32>>,
    pub(crate) throttles: Arc<Throttles>,
    pub(crate) completions: Completions<'m>,
}

const KERNEL_NAMES: &[&[u8]] = &[
    b"kworker/",
    b"jbd2/",
    b"ksoftirqd/",
    b"kswapd",
    b"kcompactd",
    b"migration/",
    b"rcu_",
    b"kthreadd",
    b"khugepaged",
    b"cpuhp/",
    b"irq/",
    b"xfs",
    b"loop",
    b"napi/",
];

/// Whether a task is a thread of the kernel, as far as the capture tells.
pub(crate) fn is_kernel_thread(model: &Model, task: &Task) -> bool {
    let kthreadd = agenttrace_model::parse::Tid(2);
    let child_of_kthreadd = task.parent.is_some_and(|p| model.task(p).tid == kthreadd);
    let named = task
        .names
        .first()
        .is_some_and(|(_, comm)| KERNEL_NAMES.iter().any(|name| comm.as_bytes().starts_with(name)));
    // A user program can take a kernel thread's name; it makes system calls.
    task.tid == kthreadd
        || child_of_kthreadd
        || (named && task.ops.iter().take(64).all(|op| op.syscall().is_none()))
}

impl<'m> Facts<'m> {
    /// Without throttles.
    pub(crate) fn new(model: &'m Model, windows: &'m Windows) -> Self {
        let kernel = model.tasks.iter().map(|task| is_kernel_thread(model, task)).collect();
        let uring = model.tasks.iter().map(is_uring_thread).collect();
        let mut phases = FxHashMap::default();
        let mut forks: FxHashMap<Pid, Vec<(Nanos, Nanos)>> = FxHashMap::default();
        for (id, task) in model.task_ids().filter(|(id, _)| windows.is_in_tree(*id)) {
            phases.insert(id, phases_of(model, task));
            if task.is_thread == Some(false)
                && let Some(birth) = task.birth
            {
                let until = task
                    .execs
                    .first()
                    .map(|(time, _)| *time)
                    .or(task.death())
                    .unwrap_or(Nanos::MAX);
                if let Some(parent) = task.parent.filter(|_| !task.vfork) {
                    forks.entry(model.task(parent).pid).or_default().push((birth, until));
                    forks.entry(task.pid).or_default().push((birth, until));
                }
            }
        }
        let mut requests: FxHashMap<TaskId, Vec<u32>> = FxHashMap::default();
        for (index, request) in model.requests.iter().enumerate() {
            if let Some(task) = request.submitter {
                requests.entry(task).or_default().push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        let completions = Completions::new(model);
        let throttles = Arc::default();
        Self { model, windows, kernel, uring, phases, forks, requests, throttles, completions }
    }

    /// With whom a quota held.
    pub(crate) fn with(self, throttles: Arc<Throttles>) -> Self {
        Self { throttles, ..self }
    }

    pub(crate) fn is_kernel_thread(&self, task: TaskId) -> bool {
        self.kernel.get(task.0 as usize).copied().unwrap_or(false)
    }

    pub(crate) fn is_uring_thread(&self, task: TaskId) -> bool {
        self.uring.get(task.0 as usize).copied().unwrap_or(false)
    }

    pub(crate) fn is_journal(&self, task: TaskId) -> bool {
        self.is_kernel_thread(task)
            && self
                .model
                .task(task)
                .names
                .first()
                .is_some_and(|(_, comm)| comm.as_bytes().starts_with(b"jbd2/"))
    }

    pub(crate) fn is_kworker(&self, task: TaskId) -> bool {
        self.is_kernel_thread(task)
            && self.model.task(task).names.first().is_some_and(|(_, comm)| {
                comm.as_bytes().starts_with(b"kworker/")
                    || comm.as_bytes().starts_with(b"ksoftirqd/")
            })
    }

    /// The phases of a task of the agent's tree.
    pub(crate) fn phases(&self, task: TaskId) -> Option<&Phases> {
        self.phases.get(&task)
    }

    pub(crate) fn phase(&self, task: TaskId, time: Nanos) -> Option<Phase> {
        self.phases.get(&task)?.at(time)
    }

    /// Whether a task is an interpreter that starts up.
    pub(crate) fn starts_up(&self, task: TaskId, time: Nanos) -> bool {
        self.phases.get(&task).is_some_and(|phases| phases.starts_up(time))
    }

    /// Whether a copy-on-write fault of this process is a fork's doing.
    pub(crate) fn forked_around(&self, pid: Pid, time: Nanos) -> bool {
        self.forks
            .get(&pid)
            .is_some_and(|forks| forks.iter().any(|(from, to)| *from <= time && time < *to))
    }

    /// The last request that the task itself submitted after `since` and that
    /// completed within `[from, to]`.
    pub(crate) fn own_request(
        &self,
        task: TaskId,
        since: Nanos,
        from: Nanos,
        to: Nanos,
    ) -> Option<u32> {
        self.own_requests(task, since, to)
            .filter(|(_, r)| r.completed.is_some_and(|c| from <= c && c <= to))
            .max_by_key(|(_, r)| r.completed)
            .map(|(index, _)| index)
    }

    /// The last request that the task submitted in `[since, to]` and of which
    /// no completion was recorded.
    pub(crate) fn own_open_request(&self, task: TaskId, since: Nanos, to: Nanos) -> Option<u32> {
        self.own_requests(task, since, to)
            .filter(|(_, r)| r.completed.is_none())
            .map(|(index, _)| index)
            .last()
    }

    fn own_requests(
        &self,
        task: TaskId,
        since: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (u32, &'m agenttrace_model::Request)> + '_ {
        let own = self.requests.get(&task).map_or(&[][..], Vec::as_slice);
        let requests = &self.model.requests;
        let first =
            own.partition_point(|i| requests.get(*i as usize).is_some_and(|r| r.issued < since));
        own.iter()
            .skip(first)
            .filter_map(|i| requests.get(*i as usize).map(|r| (*i, r)))
            .take_while(move |(_, r)| r.queued <= to)
    }
}
