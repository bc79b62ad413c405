//! Which file a task's block I/O belongs to, who wrote a file, and when requests were held back.

use agenttrace_parse::Nanos;
use rustc_hash::FxHashMap;

use crate::task::TaskId;

/// A call of a task put data of a file into the page cache, to be written later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileWrite {
    /// Who.
    pub task: TaskId,
    /// Index in [`crate::Model::files`].
    pub file: u32,
    /// The first time, in one call.
    pub first: Nanos,
    /// The last time, in the same call.
    pub last: Nanos,
}

/// A task held its requests back, to merge and sort them (block/blk-mq.c
/// `blk_mq_flush_plug_list`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plug {
    /// Who.
    pub task: TaskId,
    /// Since when; zero where that was not recorded.
    pub from: Nanos,
    /// When it let them go.
    pub to: Nanos,
    /// How many.
    pub requests: u32,
}

/// Collects them.
#[derive(Default, Debug)]
pub(crate) struct FileIo {
    pub(crate) writes: Vec<FileWrite>,
    pub(crate) plugs: Vec<Plug>,
    last_write: FxHashMap<u32, usize>,
}

impl FileIo {
    /// A call that began at `since` puts data of a file into the page cache.
    pub(crate) fn wrote(&mut self, task: TaskId, file: u32, since: Nanos, time: Nanos) {
        let next = self.writes.len();
        let last = self.last_write.entry(file).or_insert(next);
        match self.writes.get_mut(*last) {
            Some(write) if write.task == task && write.first >= since => write.last = time,
            Some(_) | None => {
                *last = next;
                self.writes.push(FileWrite { task, file, first: time, last: time });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_is_one_write_of_a_file() {
        let mut io = FileIo::default();
        for (file, since, time) in [(7, 10, 11), (8, 10, 12), (7, 10, 13), (7, 20, 21)] {
            io.wrote(TaskId(1), file, Nanos(since), Nanos(time));
        }
        let got: Vec<_> = io.writes.iter().map(|w| (w.file, w.first.0, w.last.0)).collect();
        assert_eq!(got, [(7, 11, 13), (8, 12, 12), (7, 21, 21)]);
    }
}
