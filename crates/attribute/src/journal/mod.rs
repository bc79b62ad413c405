//! Syncs and journal commits of the whole capture to look-ups: what a sync waited for, whose commit it was.

mod asked;
mod members;
mod sync;

use agenttrace_model::parse::{Dev, FileId, Nanos};
use agenttrace_model::{Commit, Handle, Model, TaskId};
use rustc_hash::FxHashMap;

pub(crate) use asked::{Asked, asked};
pub(crate) use members::{InCommits, Members, changing_calls, last_holder, members};
pub(crate) use sync::{SyncCall, SyncParts, groups, syncs};

/// Look-ups over commits and handles.
pub(crate) struct Journals {
    /// For each task that commits, its commits (index in the model), by their start.
    by_task: FxHashMap<TaskId, Vec<usize>>,
    /// Devices and the tasks that commit on them, in order.
    committers: Vec<(Dev, TaskId)>,
    /// For each transaction its handles (index in the model).
    handles: FxHashMap<(Dev, u32), Vec<usize>>,
    files: FxHashMap<FileId, u32>,
    /// Whether handles were recorded.
    pub(crate) handles_recorded: bool,
}

impl Journals {
    pub(crate) fn new(model: &Model) -> Self {
        let mut by_task: FxHashMap<TaskId, Vec<usize>> = FxHashMap::default();
        for (index, commit) in model.commits.iter().enumerate() {
            by_task.entry(commit.task).or_default().push(index);
        }
        let mut committers: Vec<(Dev, TaskId)> =
            model.commits.iter().filter(|c| !c.fast).map(|c| (c.dev, c.task)).collect();
        committers.sort_unstable();
        committers.dedup();
        let mut handles: FxHashMap<(Dev, u32), Vec<usize>> = FxHashMap::default();
        for (index, handle) in model.handles.iter().enumerate() {
            handles.entry((handle.dev, handle.transaction)).or_default().push(index);
        }
        let mut files = FxHashMap::default();
        for (index, file) in model.files.iter().enumerate() {
            files.insert(file.id, u32::try_from(index).unwrap_or(u32::MAX));
        }
        let handles_recorded = model.captured.has("jbd2:jbd2_handle_start");
        Self { by_task, committers, handles, files, handles_recorded }
    }

    /// The commits of a task that overlap `[from, to)`, by their start.
    pub(crate) fn commits<'m>(
        &self,
        model: &'m Model,
        task: TaskId,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (usize, &'m Commit)> {
        let list = self.by_task.get(&task).map(Vec::as_slice).unwrap_or_default();
        let start = |i: &usize| model.commits.get(*i).map_or(Nanos::MAX, |c| c.start);
        let end = |i: &usize| model.commits.get(*i).and_then(|c| c.end).unwrap_or(Nanos::MAX);
        // A task's commits follow each other.
        let first = list.partition_point(|i| end(i) <= from);
        let last = list.partition_point(|i| start(i) < to);
        let found = list.get(first..last).unwrap_or_default();
        found
            .iter()
            .filter_map(|i| model.commits.get(*i).map(|c| (*i, c)))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The tasks that commit on a device, or on any.
    pub(crate) fn committers(&self, dev: Option<Dev>) -> impl Iterator<Item = TaskId> + '_ {
        let on = move |d: &&(Dev, TaskId)| dev.is_none_or(|dev| d.0 == dev);
        self.committers.iter().filter(on).map(|(_, task)| *task)
    }

    fn handles_of<'m>(
        &self,
        model: &'m Model,
        commit: &Commit,
    ) -> impl Iterator<Item = &'m Handle> {
        let key = commit.transaction.map(|number| (commit.dev, number));
        let list = key.and_then(|key| self.handles.get(&key)).map(Vec::as_slice);
        let list: Vec<usize> = list.unwrap_or_default().to_vec();
        list.into_iter().filter_map(|i| model.handles.get(i))
    }

    pub(crate) fn file(&self, dev: Dev, ino: u64) -> Option<u32> {
        self.files.get(&FileId { dev, ino }).copied()
    }
}
