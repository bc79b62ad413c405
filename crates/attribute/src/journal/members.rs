//! A commit to the tasks that are in it: by their handles, else inferred from their calls.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Commit, Handle, Model, NAME_CHANGES, SyscallClass, TaskId};

use crate::inclusive::Index;

/// Who is in a commit.
#[derive(Clone, Default, Debug)]
pub(crate) struct Members {
    /// Handles (without their events: calls) of tasks that worked for the step.
    pub(crate) ours: u64,
    /// Handles of kernel threads: write-back, of whoever's data.
    pub(crate) kernel: u64,
    /// Other tasks', by task, the most first.
    pub(crate) others: Vec<(TaskId, u64)>,
}

impl Members {
    /// Handles of others.
    pub(crate) fn theirs(&self) -> u64 {
        self.others.iter().map(|(_, n)| *n).sum()
    }

    /// The others by name and number: `indexer 12, kworker/u8:1 3`.
    pub(crate) fn words(&self, index: &Index<'_>, at: Nanos) -> String {
        let mut names: BTreeMap<String, u64> = BTreeMap::new();
        for (id, n) in &self.others {
            *names.entry(index.model.task(*id).name_at(at).to_text()).or_default() += n;
        }
        let mut names: Vec<(String, u64)> = names.into_iter().collect();
        names.sort_by_key(|(_, n)| Reverse(*n));
        let more = names.len().saturating_sub(MOST_NAMES);
        let shown = names.into_iter().take(MOST_NAMES).map(|(name, n)| format!("{name} {n}"));
        let mut words: Vec<String> = shown.collect();
        if more > 0 {
            words.push(format!("{more} more"));
        }
        words.join(", ")
    }
}

const MOST_NAMES: usize = 4;

/// Who is in a commit; `since` is the start of the one before. Where handles were not
/// recorded, inferred: who changed a directory or an inode since, on whatever file system.
pub(crate) fn members(
    index: &Index<'_>,
    step: Option<usize>,
    commit: &Commit,
    since: Nanos,
) -> Members {
    let model = index.model;
    let mut sums: BTreeMap<TaskId, u64> = BTreeMap::new();
    let (mut ours, mut kernel) = (0, 0);
    let mut count = |task, time| {
        let works = step.is_some_and(|step| {
            index.windows.works_for(task, time, step)
                || index.windows.steps.get(step).is_some_and(|s| s.root == task)
        });
        if works {
            ours += 1;
        } else if index.block_io().is_kernel_thread(task) {
            kernel += 1;
        } else {
            *sums.entry(task).or_default() += 1;
        }
    };
    if !index.journals().handles_recorded {
        let changes = &index.survey().changes;
        let first = changes.partition_point(|(time, _)| *time < since);
        for (time, task) in changes.iter().skip(first).take_while(|c| c.0 < commit.start) {
            count(*task, *time);
        }
    } else {
        for handle in index.journals().handles_of(model, commit) {
            count(handle.task, handle.start);
        }
    }
    let mut others: Vec<(TaskId, u64)> = sums.into_iter().collect();
    others.sort_by_key(|(_, n)| Reverse(*n));
    Members { ours, kernel, others }
}

/// The calls that change a directory or an inode, by number.
pub(crate) fn changing_calls(model: &Model) -> Vec<i32> {
    let mut numbers = model.syscalls.numbers(&NAME_CHANGES);
    numbers.extend(model.syscalls.numbers(&CHANGES));
    numbers.retain(|nr| model.syscalls.class(*nr) == SyscallClass::Metadata);
    numbers
}

/// Calls that change an inode whenever they succeed, besides [`NAME_CHANGES`].
const CHANGES: [&str; 6] = ["creat", "truncate", "ftruncate", "chmod", "fchmodat", "chown"];

/// The handle that a commit waited for longest while it locked the transaction.
pub(crate) fn last_holder<'m>(index: &Index<'m>, commit: &Commit) -> Option<&'m Handle> {
    let from = commit.locking?;
    let to = commit.flushing?;
    let handles = index.journals().handles_of(index.model, commit);
    let open =
        handles.filter(|h| h.start < from && h.end.is_some_and(|end| from < end && end <= to));
    open.max_by_key(|h| (h.end, h.start))
}
