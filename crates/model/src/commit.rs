//! Journal commits and the handles that joined them, from the journal's own events.

use agenttrace_parse::{Dev, Nanos};
use rustc_hash::FxHashMap;

use crate::task::TaskId;

/// One commit of a journal (fs/jbd2/commit.c `jbd2_journal_commit_transaction`), or a fast
/// commit of ext4 (fs/ext4/fast_commit.c).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Device of the file system.
    pub dev: Dev,
    /// Transaction number; `None` for fast commits of kernels that do not tell.
    pub transaction: Option<u32>,
    /// Who commits: the journal's thread; of a fast commit the syncing task.
    pub task: TaskId,
    /// A fast commit.
    pub fast: bool,
    /// A fast commit that was given up: a whole commit follows.
    pub given_up: bool,
    /// Its start.
    pub start: Nanos,
    /// Waits for open handles since.
    pub locking: Option<Nanos>,
    /// Writes the data that must precede since.
    pub flushing: Option<Nanos>,
    /// Writes the metadata and the commit record since.
    pub logging: Option<Nanos>,
    /// Its end; `None` where not recorded.
    pub end: Option<Nanos>,
    /// Handles that joined, by the kernel's count.
    pub handles: Option<u32>,
    /// Blocks written to the journal.
    pub blocks: Option<u32>,
}

/// A task's part in a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Device of the file system.
    pub dev: Dev,
    /// Transaction number.
    pub transaction: u32,
    /// Who.
    pub task: TaskId,
    /// When it joined.
    pub start: Nanos,
    /// When it was done; `None` where not recorded.
    pub end: Option<Nanos>,
}

/// A phase of a commit begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommitPhase {
    Locking,
    Flushing,
    Logging,
}

/// Collects commits and handles.
#[derive(Default, Debug)]
pub(crate) struct JournalTracker {
    pub(crate) commits: Vec<Commit>,
    pub(crate) handles: Vec<Handle>,
    open_commits: FxHashMap<TaskId, usize>,
    open_handles: FxHashMap<TaskId, usize>,
}

/// `jbd2_run_stats` names one of the last commits; there are few file systems.
const RECENT: usize = 64;

impl JournalTracker {
    pub(crate) fn start(
        &mut self,
        task: TaskId,
        dev: Dev,
        transaction: Option<u32>,
        fast: bool,
        time: Nanos,
    ) {
        self.open_commits.insert(task, self.commits.len());
        self.commits.push(Commit {
            dev,
            transaction,
            task,
            fast,
            given_up: false,
            start: time,
            locking: None,
            flushing: None,
            logging: None,
            end: None,
            handles: None,
            blocks: None,
        });
    }

    fn open(&mut self, task: TaskId) -> Option<&mut Commit> {
        let index = self.open_commits.get(&task)?;
        self.commits.get_mut(*index)
    }

    pub(crate) fn phase(&mut self, task: TaskId, phase: CommitPhase, time: Nanos) {
        if let Some(commit) = self.open(task) {
            let field = match phase {
                CommitPhase::Locking => &mut commit.locking,
                CommitPhase::Flushing => &mut commit.flushing,
                CommitPhase::Logging => &mut commit.logging,
            };
            *field = Some(time);
        }
    }

    pub(crate) fn end(&mut self, task: TaskId, given_up: bool, time: Nanos) {
        if let Some(commit) = self.open(task) {
            commit.end = Some(time);
            commit.given_up = given_up;
        }
        self.open_commits.remove(&task);
    }

    pub(crate) fn stats(&mut self, dev: Dev, transaction: u32, handles: u32, blocks: u32) {
        let recent = self.commits.iter_mut().rev().take(RECENT);
        let named = |c: &&mut Commit| c.dev == dev && c.transaction == Some(transaction) && !c.fast;
        if let Some(commit) = recent.into_iter().find(named) {
            commit.handles = Some(handles);
            commit.blocks = Some(blocks);
        }
    }

    pub(crate) fn join(&mut self, task: TaskId, dev: Dev, transaction: u32, time: Nanos) {
        self.open_handles.insert(task, self.handles.len());
        self.handles.push(Handle { dev, transaction, task, start: time, end: None });
    }

    pub(crate) fn leave(&mut self, task: TaskId, time: Nanos) {
        if let Some(handle) = self.open_handles.remove(&task).and_then(|i| self.handles.get_mut(i))
        {
            handle.end = Some(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_has_its_phases_and_its_handles() {
        let (dev, writer, journal) = (Dev(7 << 20), TaskId(1), TaskId(2));
        let mut t = JournalTracker::default();
        t.join(writer, dev, 5, Nanos(10));
        t.start(journal, dev, Some(5), false, Nanos(20));
        t.phase(journal, CommitPhase::Locking, Nanos(21));
        t.leave(writer, Nanos(25));
        t.phase(journal, CommitPhase::Flushing, Nanos(26));
        t.phase(journal, CommitPhase::Logging, Nanos(30));
        t.stats(dev, 5, 1, 3);
        t.end(journal, false, Nanos(40));
        let c = t.commits[0];
        assert_eq!(
            (c.locking, c.flushing, c.logging, c.end, c.handles, c.blocks),
            (Some(Nanos(21)), Some(Nanos(26)), Some(Nanos(30)), Some(Nanos(40)), Some(1), Some(3))
        );
        let end = Some(Nanos(25));
        assert_eq!(
            t.handles[0],
            Handle { dev, transaction: 5, task: writer, start: Nanos(10), end }
        );
        // A phase without a commit, and an end without a start, change nothing.
        t.phase(journal, CommitPhase::Locking, Nanos(50));
        t.leave(writer, Nanos(51));
        assert_eq!((t.commits.len(), t.handles[0].end), (1, end));
    }
}
