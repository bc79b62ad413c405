//! What running time is charged to, by what it is in: so that the table is asked once for each kind.
//!
//! Most operations of a path are like many others: the same call, in the same phase of the
//! same task, that never slept. The rows (`rows.rs`) see no more of them than [`Around`] and
//! [`Alike`] hold, so they answer the same.

use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{FdKind, Op, OpKind, Task, TaskId};
use rustc_hash::FxHashMap;

use crate::cells::CellId;
use crate::facts::Facts;
use crate::path::{Frame, StackId};
use crate::phases::Phase;

/// What is around all operations of a task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Around {
    pub(crate) task: TaskId,
    pub(crate) base: StackId,
    pub(crate) phase: Option<Phase>,
    pub(crate) starts_up: bool,
}

/// What rows and frames see of an operation that did not sleep.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Alike {
    /// Number, what its fd is, whether it made a thread.
    Call(i32, FdKind, bool),
    /// Its file, and whether a fork is to blame.
    Fault(Option<u32>, bool),
    /// An interrupt.
    Interrupt(Frame),
}

impl Alike {
    /// `None`: of this kind no two are taken to be alike.
    fn of(facts: &Facts<'_>, pid: Pid, op: &Op) -> Option<Self> {
        if let OpKind::Syscall(call) = op.kind {
            Some(Self::Call(call.nr, call.fd, call.thread))
        } else if let OpKind::Fault(fault) = op.kind {
            Some(Self::Fault(fault.file, facts.is_of_fork(pid, op.start, fault)))
        } else {
            Frame::of_interrupt(op.kind).map(Self::Interrupt)
        }
    }

    /// A number that those that occur together seldom share.
    fn number(self) -> usize {
        match self {
            Self::Call(nr, ..) => usize::try_from(nr).unwrap_or_default(),
            Self::Fault(file, _) => file.map_or(RECENT - 1, |file| file as usize),
            Self::Interrupt(_) => RECENT - 2,
        }
    }
}

/// What a task is in, as far as the rows see it: a place in [`Memo`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place(u32);

/// The answers of one walk.
#[derive(Default)]
pub(crate) struct Memo {
    last: Option<(Around, Place)>,
    outermost: FxHashMap<Around, Place>,
    inner: FxHashMap<(Place, Alike), Place>,
    /// Of them the last ones, by [`Alike::number`]: found without hashing.
    recent: Vec<Option<((Place, Alike), Place)>>,
    cells: Vec<Option<CellId>>,
}

/// So many last places are kept.
const RECENT: usize = 64;
/// Deeper nests are rare.
const DEPTH: usize = 4;

impl Memo {
    /// The place of what a task is in that runs over `[from, to)`. `None`: it is like no other,
    /// for it may have slept.
    pub(crate) fn place(
        &mut self,
        facts: &Facts<'_>,
        around: Around,
        innermost: Option<usize>,
        (from, to): (Nanos, Nanos),
    ) -> Option<Place> {
        let task: &Task = facts.model.task(around.task);
        let mut chain = [None; DEPTH];
        let mut at = innermost;
        for slot in &mut chain {
            let Some(op) = at.and_then(|i| task.ops.get(i)) else { break };
            if op.start < from || to < op.end {
                return None;
            }
            *slot = Some(Alike::of(facts, task.pid, &op)?);
            at = op.parent();
        }
        if at.is_some() {
            return None;
        }
        let mut place = self.outermost(around);
        for alike in chain.iter().rev().flatten() {
            place = self.inner(place, *alike);
        }
        Some(place)
    }

    /// The place of an operation inside another place.
    fn inner(&mut self, outer: Place, alike: Alike) -> Place {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        let slot = self.recent.get_mut(alike.number() % RECENT);
        if let Some(Some((key, place))) = slot
            && *key == (outer, alike)
        {
            return *place;
        }
        let new = new_place(&self.cells);
        let place = *self.inner.entry((outer, alike)).or_insert(new);
        if place == new {
            self.cells.push(None);
        }
        if let Some(slot) = slot {
            *slot = Some(((outer, alike), place));
        }
        place
    }

    /// Forgets all, for the walk of another path.
    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.outermost.clear();
        self.inner.clear();
        self.recent.clear();
        self.cells.clear();
    }

    fn outermost(&mut self, around: Around) -> Place {
        if let Some((last, place)) = self.last
            && last == around
        {
            return place;
        }
        let new = new_place(&self.cells);
        let place = *self.outermost.entry(around).or_insert(new);
        if place == new {
            self.cells.push(None);
        }
        self.last = Some((around, place));
        place
    }

    /// The cell of the path that such time belongs to, once it is known.
    pub(crate) fn cell(&self, place: Place) -> Option<CellId> {
        self.cells.get(place.0 as usize).copied().flatten()
    }

    /// Keeps it.
    pub(crate) fn keep(&mut self, place: Place, cell: CellId) {
        if let Some(slot) = self.cells.get_mut(place.0 as usize) {
            *slot = Some(cell);
        }
    }
}

fn new_place(cells: &[Option<CellId>]) -> Place {
    Place(u32::try_from(cells.len()).unwrap_or(u32::MAX))
}
