//! Records to the names of tasks at each time.

use agenttrace_parse::Tid;
use agenttrace_parse::events::{CommRecord, Fork};
use rustc_hash::FxHashMap;

/// What perf calls the idle task, which no record names.
const IDLE: &str = "swapper";

/// The names of tasks, at the time that the records have reached.
#[derive(Debug, Default)]
pub(crate) struct TaskNames {
    pub(crate) list: Vec<String>,
    index: FxHashMap<String, u32>,
    of: FxHashMap<Tid, u32>,
}

impl TaskNames {
    fn add(&mut self, name: &str) -> Option<u32> {
        if let Some(id) = self.index.get(name) {
            return Some(*id);
        }
        let id = u32::try_from(self.list.len()).ok()?;
        self.list.push(name.to_owned());
        self.index.insert(name.to_owned(), id);
        Some(id)
    }

    /// A task has a name.
    pub(crate) fn comm(&mut self, record: &CommRecord) {
        let name = String::from_utf8_lossy(record.comm.as_bytes());
        if let Some(id) = self.add(&name) {
            self.of.insert(record.tid, id);
        }
    }

    /// A task was created: it has the name of the task that made it.
    pub(crate) fn fork(&mut self, fork: &Fork) {
        match self.of.get(&fork.ptid).copied() {
            Some(name) => self.of.insert(fork.tid, name),
            // An id that comes again has nothing of who had it before.
            None => self.of.remove(&fork.tid),
        };
    }

    /// The name of a task, as index in the list.
    pub(crate) fn name(&mut self, tid: Tid) -> Option<u32> {
        if tid == Tid::IDLE {
            return self.add(IDLE);
        }
        self.of.get(&tid).copied()
    }
}
