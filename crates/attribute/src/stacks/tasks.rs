//! Thread ids and times to tasks.

use agenttrace_model::parse::{Nanos, Tid};
use agenttrace_model::{Model, TaskId};
use rustc_hash::FxHashMap;

/// The tasks that ever had a thread id, in the order of their births.
#[derive(Debug)]
pub(crate) struct TaskIndex<'m> {
    model: &'m Model,
    by_tid: FxHashMap<Tid, Vec<TaskId>>,
}

impl<'m> TaskIndex<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        let mut by_tid: FxHashMap<Tid, Vec<TaskId>> = FxHashMap::default();
        for (id, task) in model.task_ids() {
            by_tid.entry(task.tid).or_default().push(id);
        }
        Self { model, by_tid }
    }

    /// The task that had this thread id at a time: the latest born by then.
    pub(crate) fn at(&self, tid: Tid, time: Nanos) -> Option<TaskId> {
        let lives = self.by_tid.get(&tid)?;
        let born = |id: &&TaskId| self.model.task(**id).birth.is_none_or(|birth| birth <= time);
        lives.iter().rev().find(born).or(lives.first()).copied()
    }

    /// Name of the task with this thread id at a time. As `perf script` shows them, the
    /// idle task is `swapper`, and one that was never named `:4711`.
    pub(crate) fn name(&self, tid: Tid, time: Nanos) -> String {
        let named = self.at(tid, time).map(|id| self.model.task(id).name_at(time).to_text());
        match named {
            Some(name) if !name.is_empty() => name,
            Some(_) | None if tid == Tid::IDLE => "swapper".to_owned(),
            Some(_) | None => format!(":{tid}"),
        }
    }
}
