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

    /// Name of the task with this thread id at a time.
    pub(crate) fn name(&self, tid: Tid, time: Nanos) -> Option<String> {
        let name = self.model.task(self.at(tid, time)?).name_at(time).to_text();
        (!name.is_empty()).then_some(name)
    }
}

/// A task's name, or what `perf script` shows for one without: the idle task is
/// `swapper`, any other `:4711`.
pub(crate) fn named_or_id(name: Option<String>, tid: Tid) -> String {
    name.unwrap_or_else(|| if tid == Tid::IDLE { "swapper".to_owned() } else { format!(":{tid}") })
}
