//! Mappings in time order to what lies at an address of a process.

use std::sync::Arc;

use agenttrace_parse::events::Fork;
use agenttrace_parse::{Nanos, Pid, Tid};
use rustc_hash::FxHashMap;

use super::frames::ModuleId;

/// Ranges that a page of a [`Space`] holds at most: what is copied when a space that
/// others share changes.
const PAGE: usize = 32;

/// Code that lies at some addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// First address.
    pub(crate) start: u64,
    /// The first address behind it.
    pub(crate) end: u64,
    /// Offset in the file of the first byte.
    pub(crate) pgoff: u64,
    /// What it is of.
    pub(crate) module: ModuleId,
}

impl Range {
    /// The offset in the file of an address within.
    pub(crate) fn offset(&self, addr: u64) -> u64 {
        addr.wrapping_sub(self.start).wrapping_add(self.pgoff)
    }

    /// What is left of it outside `from..to`.
    fn without(self, from: u64, to: u64) -> impl Iterator<Item = Self> {
        let left = Self { end: self.end.min(from), ..self };
        let start = self.start.max(to);
        let right = Self { start, pgoff: self.offset(start), ..self };
        [left, right].into_iter().filter(|r| r.start < r.end)
    }
}

/// The code of one process at one time: ranges that do not overlap, in order. Copies
/// share what did not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    pages: Vec<Arc<Vec<Range>>>,
    /// Another number for every state of every space.
    pub(crate) state: u64,
    /// The image before the last exec.
    former: Option<Arc<Space>>,
}

impl Space {
    /// What lies at an address.
    pub(crate) fn find(&self, addr: u64) -> Option<&Range> {
        let page = self.pages.partition_point(|page| page.first().is_some_and(|r| r.start <= addr));
        let page = self.pages.get(page.checked_sub(1)?)?;
        let range = page.get(page.partition_point(|r| r.start <= addr).checked_sub(1)?)?;
        (addr < range.end).then_some(range)
    }

    /// What lies where a task was in user mode. Until an exec is done, that is the call in
    /// the image before it.
    pub(crate) fn find_exact(&self, addr: u64) -> Option<&Range> {
        self.find(addr).or_else(|| self.former.as_ref()?.find(addr))
    }

    /// Takes away what lies in `from..to`, and puts `new` there: as the kernel does, where
    /// a mapping is made over others.
    fn replace(&mut self, from: u64, to: u64, new: Option<Range>) {
        // The pages that hold such ranges; for a new one the page before it, too.
        let first = self.pages.partition_point(|page| page.last().is_some_and(|r| r.end <= from));
        let last = self.pages.partition_point(|page| page.first().is_some_and(|r| r.start < to));
        let first = if new.is_some() && first == last { first.saturating_sub(1) } else { first };
        let last = last.max(first);
        let old = self.pages.get(first..last).unwrap_or(&[]);
        let mut kept: Vec<Range> = Vec::with_capacity(PAGE.saturating_add(2));
        kept.extend(old.iter().flat_map(|page| page.iter()).flat_map(|r| r.without(from, to)));
        if let Some(new) = new {
            kept.insert(kept.partition_point(|r| r.start < new.start), new);
        }
        let size = if kept.len() > PAGE { kept.len().div_ceil(2).min(PAGE) } else { PAGE };
        let pages: Vec<_> = kept.chunks(size).map(|page| Arc::new(page.to_vec())).collect();
        self.pages.splice(first..last, pages);
    }

    /// Whether any code lies in `from..to`.
    fn touches(&self, from: u64, to: u64) -> bool {
        let first = self.pages.partition_point(|page| page.last().is_some_and(|r| r.end <= from));
        let rest = self.pages.get(first..).unwrap_or(&[]);
        rest.first().is_some_and(|page| {
            let at = page.partition_point(|r| r.end <= from);
            page.get(at).is_some_and(|r| r.start < to)
        })
    }
}

/// A mapping of a process as a space needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) pgoff: u64,
    /// `None` where it is no code.
    pub(crate) module: Option<ModuleId>,
}

/// The spaces of all processes, at the time that the records have reached.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    of: FxHashMap<Pid, Arc<Space>>,
    processes: FxHashMap<Tid, Pid>,
    /// The mappings of one moment, of one process.
    moment: (Nanos, Pid, Vec<NewRange>),
    empty: Arc<Space>,
    states: u64,
}

impl Spaces {
    /// The code of a process.
    pub(crate) fn of(&self, pid: Pid) -> &Arc<Space> {
        self.of.get(&pid).unwrap_or(&self.empty)
    }

    /// The process of a task, by the last record that told it.
    pub(crate) fn process(&self, tid: Tid) -> Option<Pid> {
        self.processes.get(&tid).copied()
    }

    /// A task of a process was seen.
    pub(crate) fn task(&mut self, pid: Pid, tid: Tid) {
        if tid.is_task() && pid.0 > 0 {
            self.processes.insert(tid, pid);
        }
    }

    /// Something was mapped.
    pub(crate) fn map(&mut self, time: Nanos, pid: Pid, new: NewRange) {
        if (time, pid) != (self.moment.0, self.moment.1) {
            self.moment = (time, pid, Vec::new());
        }
        // State from before the capture is not told of an exec.
        if time > Nanos::ZERO && new.module.is_some() {
            self.moment.2.push(new);
        }
        self.place(pid, new);
    }

    fn place(&mut self, pid: Pid, new: NewRange) {
        let NewRange { start, end, pgoff, module } = new;
        if start >= end || (module.is_none() && !self.of(pid).touches(start, end)) {
            return;
        }
        let range = module.map(|module| Range { start, end, pgoff, module });
        self.states = self.states.saturating_add(1);
        let space = Arc::make_mut(self.of.entry(pid).or_default());
        space.state = self.states;
        space.replace(start, end, range);
    }

    /// A process has a new image: what was mapped before is gone. The kernel tells the
    /// name first and the new mappings after it (`begin_new_exec` in fs/exec.c); mappings
    /// of the same moment belong to the new image, whatever their order.
    pub(crate) fn exec(&mut self, time: Nanos, pid: Pid) {
        if time == Nanos::ZERO {
            return;
        }
        self.states = self.states.saturating_add(1);
        let mut new = Space { state: self.states, ..Space::default() };
        if let Some(mut former) = self.of.remove(&pid) {
            if former.former.is_some() {
                Arc::make_mut(&mut former).former = None;
            }
            new.former = Some(former);
        }
        self.of.insert(pid, Arc::new(new));
        if (time, pid) == (self.moment.0, self.moment.1) {
            let mapped = std::mem::take(&mut self.moment.2);
            for new in mapped {
                self.place(pid, new);
            }
        }
    }

    /// A task was created. A process has a copy of its parent's mappings, a thread has the
    /// same. At time 0 it was there before: its own mappings are told, and it may have
    /// executed another program since.
    pub(crate) fn fork(&mut self, time: Nanos, fork: Fork) {
        self.task(fork.pid, fork.tid);
        if fork.pid == fork.ppid || time == Nanos::ZERO {
            return;
        }
        match self.of.get(&fork.ppid).map(Arc::clone) {
            Some(space) => drop(self.of.insert(fork.pid, space)),
            // An id that comes again keeps nothing of who had it before.
            None => drop(self.of.remove(&fork.pid)),
        }
    }
}

/// The kernel's code, at the time that the records have reached.
#[derive(Debug, Default)]
pub(crate) struct KernelSpace {
    modules: Space,
    symbols: Space,
    /// Another number for every state.
    pub(crate) state: u64,
}

impl KernelSpace {
    /// The module or symbol at an address; `None` where it is the kernel itself.
    pub(crate) fn find(&self, addr: u64) -> Option<ModuleId> {
        self.symbols.find(addr).or_else(|| self.modules.find(addr)).map(|range| range.module)
    }

    /// A module of the kernel was there, or came.
    pub(crate) fn module(&mut self, start: u64, end: u64, module: ModuleId) {
        self.state = self.state.saturating_add(1);
        if start < end {
            self.modules.replace(start, end, Some(Range { start, end, pgoff: 0, module }));
        }
    }

    /// Code without a file came, or went (`None`).
    pub(crate) fn symbol(&mut self, start: u64, end: u64, module: Option<ModuleId>) {
        self.state = self.state.saturating_add(1);
        let range = module.map(|module| Range { start, end, pgoff: 0, module });
        if start < end {
            self.symbols.replace(start, end, range);
        }
    }
}
