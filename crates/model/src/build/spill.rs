//! Rows of a large model to a scratch file, while it is built.

use std::io;
use std::sync::Arc;

use super::{Builder, TaskState};
use crate::model::Model;
use crate::scratch::{Scratch, ScratchFile, Spill};

/// Where rows go that are too many for memory.
pub(crate) struct Spilling {
    scratch: Arc<Scratch>,
    /// Events until rows are moved again.
    left: usize,
    every: usize,
    /// Rows of new tasks are moved before they are many.
    sparing: bool,
    /// Why no more rows are moved.
    failed: Option<io::Error>,
}

/// Who keeps the rows of fewer events in memory knows that most will go to the file.
const MANY: usize = 4_000_000;

impl Builder {
    /// Keeps the rows of so many events in memory; of a larger capture it moves nearly all to a
    /// file, which the system may drop from memory, whenever half as many have come.
    #[must_use]
    pub fn with_scratch(mut self, file: Box<dyn ScratchFile>, events: usize) -> Self {
        let scratch = Scratch::new(file);
        let (every, sparing) = (events / 2, events < MANY);
        self.spill = Some(Spilling { scratch, left: events, every, sparing, failed: None });
        self
    }

    /// Whether rows of new tasks are moved before they are many.
    pub(super) fn sparing(&self) -> bool {
        self.spill.as_ref().is_some_and(|spill| spill.sparing)
    }

    /// Why the scratch file is not used any more; the rows that it does not have stay in memory.
    #[must_use]
    pub fn scratch_error(&self) -> Option<&io::Error> {
        self.spill.as_ref()?.failed.as_ref()
    }

    /// So many events more have been taken.
    pub(super) fn spill_after(&mut self, events: usize) {
        let Some(spill) = &mut self.spill else { return };
        spill.left = spill.left.saturating_sub(events);
        if spill.left > 0 || spill.failed.is_some() {
            return;
        }
        (spill.left, spill.sparing) = (spill.every, true);
        let scratch = Arc::clone(&spill.scratch);
        let mut rows = rows(&mut self.live, &mut self.model);
        spill.failed = rows.try_for_each(|rows| rows.spill(&scratch)).err();
    }

    /// The model is complete.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        rows(&mut self.live, &mut self.model).try_for_each(Spill::close)?;
        rows(&mut self.live, &mut self.model).try_for_each(Spill::settle)
    }
}

/// The rows of all tasks, the wakeups, and who ran on each CPU.
fn rows<'b>(
    live: &'b mut [TaskState],
    model: &'b mut Model,
) -> impl Iterator<Item = &'b mut dyn Spill> {
    let tasks = live.iter_mut().flat_map(TaskState::rows);
    tasks.chain([model.wakes.rows()]).chain(model.runs.rows())
}
