//! What running time is charged to, by what it is in: so that the table is asked once for each kind.
//!
//! Most operations of a path are like many others: the same call, in the same phase of the
//! same task, that never slept. The rows (`rows.rs`) see no more of them than [`Around`] and
//! [`Alike`] hold, so they answer the same.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, OpKind, SettledOps, TaskId};
use rustc_hash::FxHashMap;

use crate::cells::CellId;
use crate::facts::Facts;
use crate::path::StackId;
use crate::phases::Phase;

/// What is around all operations of a task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Around {
    pub(crate) task: TaskId,
    pub(crate) base: StackId,
    pub(crate) phase: Option<Phase>,
    pub(crate) starts_up: bool,
}

/// What rows and frames see of an operation that did not sleep, as one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Alike(u64);

impl Alike {
    /// `None`: of this kind no two are taken to be alike.
    #[inline(always)]
    fn of(facts: &Facts<'_>, task: TaskId, op: Op) -> Option<Self> {
        let (kind, number, more) = if let OpKind::Syscall(call) = op.kind {
            // Number, what its fd is, whether it made a thread.
            (1, call.nr.cast_unsigned(), call.fd as u64 * 2 + u64::from(call.thread))
        } else if let OpKind::Fault(fault) = op.kind {
            // Its file, and whether a fork is to blame.
            let of_fork = facts.is_of_fork(facts.model.task(task).pid, op.start, fault);
            let file = fault.file.map_or(0, |file| u64::from(file) + 1);
            (2, file as u32, (file >> 32) * 2 + u64::from(of_fork))
        } else if let OpKind::Irq(name) = op.kind {
            (3, name, 0)
        } else if let OpKind::Softirq(vector) = op.kind {
            (4, vector, 0)
        } else if op.kind == OpKind::LocalTimer {
            (5, 0, 0)
        } else {
            return None;
        };
        Some(Self(kind << 56 | more << 32 | u64::from(number)))
    }

    /// A number that those that occur together seldom share.
    fn slot(self) -> usize {
        usize::try_from((self.0 ^ self.0 >> 52) % RECENT as u64).unwrap_or_default()
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
    /// Of them the last ones, by [`Alike::slot`]: found without hashing.
    recent: Vec<Option<((Place, Alike), Place)>>,
    cells: Vec<Option<CellId>>,
}

/// So many last places are kept.
const RECENT: usize = 64;
/// Deeper nests are rare.
const DEPTH: usize = 4;

impl Memo {
    /// The place of what a task is in that runs over `[from, to)`: these of its operations, the
    /// innermost of them known. `None`: it is like no other, for it may have slept.
    #[inline]
    pub(crate) fn place(
        &mut self,
        facts: &Facts<'_>,
        around: Around,
        (ops, innermost): (SettledOps<'_>, Option<usize>),
        running: (Nanos, Nanos),
    ) -> Option<Place> {
        match innermost {
            None => Some(self.outermost(around)),
            Some(index) => self.within(facts, around, (ops, index), running, DEPTH),
        }
    }

    fn within(
        &mut self,
        facts: &Facts<'_>,
        around: Around,
        (ops, index): (SettledOps<'_>, usize),
        (from, to): (Nanos, Nanos),
        depth: usize,
    ) -> Option<Place> {
        let op = ops.get(index)?;
        if op.start < from || to < op.end {
            return None;
        }
        let alike = Alike::of(facts, around.task, op)?;
        let outer = match op.parent() {
            None => self.outermost(around),
            Some(_) if depth <= 1 => return None,
            Some(outer) => self.within(facts, around, (ops, outer), (from, to), depth - 1)?,
        };
        Some(self.inner(outer, alike))
    }

    /// The place of an operation inside another place.
    fn inner(&mut self, outer: Place, alike: Alike) -> Place {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        let slot = self.recent.get_mut(alike.slot());
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

    #[inline]
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
