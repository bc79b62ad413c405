//! A commit to the tasks that are in it: by their handles, else inferred from their calls.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agenttrace_model::parse::{Comm, Nanos};
use agenttrace_model::{Commit, Handle, Model, NAME_CHANGES, SyscallClass, TaskId};
use rustc_hash::FxHashMap;

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
        let mut comms: BTreeMap<Comm, u64> = BTreeMap::new();
        for (id, n) in &self.others {
            *comms.entry(index.model.task(*id).name_at(at)).or_default() += n;
        }
        let mut names: BTreeMap<String, u64> = BTreeMap::new();
        for (comm, n) in comms {
            *names.entry(comm.to_text()).or_default() += n;
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

/// Who is in a commit, whatever step asks.
#[derive(Default, Debug)]
pub(crate) struct InCommit {
    /// Tasks in their order, how many handles (without their events: calls) each has in it,
    /// and whether it is a thread of the kernel.
    tasks: Vec<(TaskId, u64, bool)>,
    /// Of those, what tasks did while they worked for a step, or for one nested in it; by task.
    by_step: FxHashMap<usize, Vec<(TaskId, u64)>>,
}

impl InCommit {
    /// Of a commit; `since` is the start of the one before. Where handles were not recorded,
    /// inferred: who changed a directory or an inode since, on whatever file system.
    fn new(index: &Index<'_>, commit: &Commit, since: Nanos) -> Self {
        let windows = index.windows;
        let mut tasks: BTreeMap<TaskId, u64> = BTreeMap::new();
        let mut claimed: BTreeMap<(TaskId, usize), u64> = BTreeMap::new();
        let mut count = |task, time| {
            *tasks.entry(task).or_default() += 1;
            if let Some(step) = windows.claim_at(task, time) {
                *claimed.entry((task, step)).or_default() += 1;
            }
        };
        if !index.journals().handles_recorded {
            let changes = &index.survey().changes;
            let first = changes.partition_point(|(time, _)| *time < since);
            for (time, task) in changes.iter().skip(first).take_while(|c| c.0 < commit.start) {
                count(*task, *time);
            }
        } else {
            for handle in index.journals().handles_of(index.model, commit) {
                count(handle.task, handle.start);
            }
        }
        let mut by_step: FxHashMap<usize, Vec<(TaskId, u64)>> = FxHashMap::default();
        for ((task, step), n) in claimed {
            // Depth is bounded by the number of steps: parents were checked for cycles.
            let parent = |step: &usize| windows.steps.get(*step).and_then(|s| s.parent);
            for step in std::iter::successors(Some(step), parent) {
                let list = by_step.entry(step).or_default();
                match list.last_mut() {
                    Some((last, sum)) if *last == task => *sum += n,
                    Some(_) | None => list.push((task, n)),
                }
            }
        }
        let kernel = |task| index.block_io().is_kernel_thread(task);
        let tasks = tasks.into_iter().map(|(task, n)| (task, n, kernel(task))).collect();
        Self { tasks, by_step }
    }

    /// As a step sees it, and its root.
    fn seen_by(&self, step: Option<usize>, root: Option<TaskId>) -> Members {
        let worked = step.and_then(|step| self.by_step.get(&step)).map_or(&[][..], Vec::as_slice);
        let mut worked = worked.iter().peekable();
        let mut members = Members::default();
        for (task, n, kernel) in &self.tasks {
            let ours = worked.next_if(|(own, _)| own == task).map_or(0, |(_, n)| *n);
            let ours = if root == Some(*task) { *n } else { ours };
            members.ours += ours;
            match n.saturating_sub(ours) {
                0 => {}
                theirs if *kernel => members.kernel += theirs,
                theirs => members.others.push((*task, theirs)),
            }
        }
        members.others.sort_by_key(|(_, n)| Reverse(*n));
        members
    }
}

/// The commits that steps asked about: by number, and the start of the one before.
pub(crate) type InCommits = Mutex<FxHashMap<(usize, Nanos), Arc<InCommit>>>;

/// Who is in a commit of the model, as a step sees it; `since` is the start of the one before.
/// The steps that overlap a commit ask one after the other: it is looked through once.
pub(crate) fn members(
    index: &Index<'_>,
    step: Option<usize>,
    number: usize,
    since: Nanos,
) -> Members {
    let known = index.in_commits();
    let key = (number, since);
    let found = known.lock().ok().and_then(|known| known.get(&key).map(Arc::clone));
    let found = found.or_else(|| {
        let made = Arc::new(InCommit::new(index, index.model.commits.get(number)?, since));
        if let Ok(mut known) = known.lock() {
            known.insert(key, Arc::clone(&made));
        }
        Some(made)
    });
    let root = step.and_then(|step| index.windows.steps.get(step)).map(|s| s.root);
    found.map_or_else(Members::default, |found| found.seen_by(step, root))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_seen_by_each_step_in_its_own_way() {
        const T: fn(u32) -> TaskId = TaskId;
        // Task 4 is a thread of the kernel, which once worked for step 1.
        let commit = InCommit {
            tasks: vec![(T(1), 3, false), (T(2), 5, false), (T(4), 7, true)],
            by_step: [(0, vec![(T(1), 2), (T(2), 1), (T(4), 1)]), (1, vec![(T(2), 1), (T(4), 1)])]
                .into_iter()
                .collect(),
        };
        let seen = |step, root| {
            let members = commit.seen_by(step, root);
            let others: Vec<(u32, u64)> = members.others.iter().map(|(t, n)| (t.0, *n)).collect();
            (members.ours, members.kernel, others)
        };
        assert_eq!(seen(None, None), (0, 7, vec![(2, 5), (1, 3)]));
        assert_eq!(seen(Some(0), Some(T(9))), (4, 6, vec![(2, 4), (1, 1)]));
        // All that its root does is the step's, whenever.
        assert_eq!(seen(Some(1), Some(T(1))), (5, 6, vec![(2, 4)]));
        assert_eq!(seen(Some(7), Some(T(2))), (5, 7, vec![(1, 3)]));
    }
}
