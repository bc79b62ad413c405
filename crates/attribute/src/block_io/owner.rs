//! A request to its owner: the task that wanted it, or whose writes a kworker writes back.

use agenttrace_model::parse::{BlockOp, Nanos};
use agenttrace_model::{Request, TaskId};

use crate::inclusive::Index;
use crate::page_cache::step;

/// In what way a request is somebody's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum OwnerKind {
    /// The task submitted it.
    Task,
    /// A kernel thread writes back what the task wrote to the file last.
    WriteBack,
    /// The journal's thread submitted it.
    Journal,
    /// Nobody was recorded.
    Unknown,
}

/// Whose a request is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Owner {
    pub(crate) kind: OwnerKind,
    pub(crate) task: Option<TaskId>,
    /// The step that the task worked for, in the order of the windows.
    pub(crate) step: Option<usize>,
}

impl Owner {
    /// Whose a request is.
    pub(crate) fn of(index: &Index<'_>, request: &Request) -> Self {
        let io = index.block_io();
        let Some(id) = request.submitter else {
            return Self { kind: OwnerKind::Unknown, task: None, step: None };
        };
        let step = |task, time| index.windows.claim_at(task, time);
        if !io.is_kernel_thread(id) {
            let step = step(id, request.queued);
            return Self { kind: OwnerKind::Task, task: Some(id), step };
        }
        let name = index.model.task(id).names.first();
        if name.is_some_and(|(_, comm)| comm.as_bytes().starts_with(b"jbd2/")) {
            return Self { kind: OwnerKind::Journal, task: Some(id), step: None };
        }
        let write = request.rwbs.op == BlockOp::Write;
        let writer = request.file.filter(|_| write).and_then(|f| io.writer(f, request.queued));
        match writer {
            Some(writer) if !io.is_kernel_thread(writer.task) => Self {
                kind: OwnerKind::WriteBack,
                task: Some(writer.task),
                step: step(writer.task, writer.last),
            },
            Some(_) | None => Self { kind: OwnerKind::Task, task: Some(id), step: None },
        }
    }

    /// Its words: `write-back of step 3 (save)'s writes`, `indexer (tid 70)`, `jbd2/loop0-8`.
    pub(crate) fn text(self, index: &Index<'_>, own: Option<usize>, at: Nanos) -> String {
        let who = match (self.step, self.task) {
            (Some(number), _) if own.is_some_and(|own| index.windows.within(number, own)) => {
                "this step".to_owned()
            }
            (Some(number), _) => step(index, number),
            (None, Some(id)) => {
                let task = index.model.task(id);
                let name = task.name_at(at).to_text();
                let name = if name.is_empty() { "an unnamed task" } else { name.as_str() };
                format!("{name} (tid {})", task.tid.0)
            }
            (None, None) => "a task that was not recorded".to_owned(),
        };
        match self.kind {
            OwnerKind::WriteBack => format!("write-back of what {who} wrote"),
            OwnerKind::Task | OwnerKind::Journal | OwnerKind::Unknown => who,
        }
    }
}
