//! What running time is charged to, by what it is in: so that the table is asked once for each kind.
//!
//! Most operations of a path are like many others: the same call, in the same phase of the
//! same task, that never slept. The rows (`rows.rs`) see no more of them than [`Around`] and
//! [`Alike`] hold, so they answer the same; of the task itself they see no more than whether it
//! is a thread of io_uring, so they answer alike for all tasks, and in all steps.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, OpKind, SettledOps, TaskId};
use rustc_hash::FxHashMap;

use crate::cause::{Cause, Resource};
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

/// What rows and frames see of an operation that did not sleep, or of what is around all of
/// them, as one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Alike(u64);

impl Alike {
    /// `None`: of this kind no two are taken to be alike.
    #[inline(always)]
    fn of(facts: &Facts<'_>, task: TaskId, (ops, index): (SettledOps<'_>, usize)) -> Option<Self> {
        match ops.call(index) {
            // Number, what its fd is, whether it made a thread.
            Some(call) => {
                let more = call.fd as u64 * 2 + u64::from(call.thread);
                Some(Self::new(1, more, call.nr.cast_unsigned()))
            }
            None => Self::of_other(facts, task, ops.get(index)?),
        }
    }

    #[inline(never)]
    fn of_other(facts: &Facts<'_>, task: TaskId, op: Op) -> Option<Self> {
        if let OpKind::Fault(fault) = op.kind {
            // Its file, and whether a fork is to blame.
            let of_fork = facts.is_of_fork(facts.model.task(task).pid, op.start, fault);
            let file = fault.file.map_or(0, |file| u64::from(file) + 1);
            Some(Self::new(2, (file >> 32) * 2 + u64::from(of_fork), file as u32))
        } else if let OpKind::Irq(name) = op.kind {
            Some(Self::new(3, 0, name))
        } else if let OpKind::Softirq(vector) = op.kind {
            Some(Self::new(4, 0, vector))
        } else {
            (op.kind == OpKind::LocalTimer).then_some(Self::new(5, 0, 0))
        }
    }

    /// Of what is around all operations.
    fn around(facts: &Facts<'_>, around: Around) -> Self {
        let uring = u32::from(facts.is_uring_thread(around.task));
        let phase = around.phase.map_or(0, |phase| phase as u32 + 1);
        Self::new(6, 0, phase << 2 | u32::from(around.starts_up) << 1 | uring)
    }

    fn new(kind: u64, more: u64, number: u32) -> Self {
        Self(kind << 56 | more << 32 | u64::from(number))
    }

    /// A number that those that occur together in one place seldom share.
    fn slot(self, outer: Place) -> usize {
        let mixed = (self.0 ^ u64::from(outer.0) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - RECENT.ilog2())) as usize
    }
}

/// What a task is in, as far as the rows see it: a place in [`Memo`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place(u32);

/// What all places have in common that differ in task and base alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Kind(u32);

/// What the rows answer of one kind.
pub(crate) struct Answer {
    pub(crate) cause: Cause,
    pub(crate) resource: Resource,
    pub(crate) under: Option<Cause>,
    /// Those of its stack on top of the base.
    pub(crate) frames: Box<[Frame]>,
}

/// The answers of one walk, and what is known for all.
#[derive(Default)]
pub(crate) struct Memo {
    outermost: FxHashMap<Around, Place>,
    inner: FxHashMap<(Place, Alike), Place>,
    /// Of them the last ones, by [`Alike::slot`]: found without hashing.
    recent: Vec<Option<((Place, Alike), Place)>>,
    /// Of each place its kind, and its cell of the path.
    places: Vec<(Kind, Option<CellId>)>,
    /// Kinds by the kind around. These hold for all paths.
    kinds: FxHashMap<(Option<Kind>, Alike), Kind>,
    answers: Vec<Option<Answer>>,
}

/// So many last places are kept.
const RECENT: usize = 128;
/// Deeper nests are rare.
const DEPTH: usize = 4;
/// With more kinds than these all are forgotten: files are many.
const KINDS: usize = 1 << 14;

impl Memo {
    /// The place of what a task is in that runs over `[from, to)`: these of its operations, the
    /// innermost of them known, and what is around them. `None`: it is like no other, for it may
    /// have slept.
    #[inline]
    pub(crate) fn place(
        &mut self,
        facts: &Facts<'_>,
        (task, around): (TaskId, Place),
        (ops, innermost): (SettledOps<'_>, Option<usize>),
        running: (Nanos, Nanos),
    ) -> Option<Place> {
        match innermost {
            None => Some(around),
            Some(index) => self.within(facts, (task, around), (ops, index), running, DEPTH),
        }
    }

    fn within(
        &mut self,
        facts: &Facts<'_>,
        (task, around): (TaskId, Place),
        (ops, index): (SettledOps<'_>, usize),
        (from, to): (Nanos, Nanos),
        depth: usize,
    ) -> Option<Place> {
        if ops.start(index) < from || to < ops.end(index) {
            return None;
        }
        let alike = Alike::of(facts, task, (ops, index))?;
        let outer = match ops.parent(index) {
            None => around,
            Some(_) if depth <= 1 => return None,
            Some(outer) => {
                self.within(facts, (task, around), (ops, outer), (from, to), depth - 1)?
            }
        };
        Some(self.inner(outer, alike))
    }

    /// The place of an operation inside another place.
    #[inline]
    fn inner(&mut self, outer: Place, alike: Alike) -> Place {
        let slot = alike.slot(outer);
        if let Some(Some((key, place))) = self.recent.get(slot)
            && *key == (outer, alike)
        {
            return *place;
        }
        self.inner_far(outer, alike, slot)
    }

    #[inline(never)]
    fn inner_far(&mut self, outer: Place, alike: Alike, slot: usize) -> Place {
        let place = match self.inner.get(&(outer, alike)) {
            Some(place) => *place,
            None => {
                let around = self.places.get(outer.0 as usize).map(|(kind, _)| *kind);
                let place = self.add(around, alike);
                self.inner.insert((outer, alike), place);
                place
            }
        };
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        if let Some(slot) = self.recent.get_mut(slot) {
            *slot = Some(((outer, alike), place));
        }
        place
    }

    /// Forgets a path, for the walk of another.
    pub(crate) fn clear(&mut self) {
        self.outermost.clear();
        self.inner.clear();
        self.recent.clear();
        self.places.clear();
        if self.answers.len() > KINDS {
            self.kinds.clear();
            self.answers.clear();
        }
    }

    /// The place of what is in no operation.
    pub(crate) fn outermost(&mut self, facts: &Facts<'_>, around: Around) -> Place {
        if let Some(place) = self.outermost.get(&around) {
            return *place;
        }
        let place = self.add(None, Alike::around(facts, around));
        self.outermost.insert(around, place);
        place
    }

    /// One more place.
    fn add(&mut self, around: Option<Kind>, alike: Alike) -> Place {
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let kind = *self.kinds.entry((around, alike)).or_insert_with(|| {
            self.answers.push(None);
            Kind(number(self.answers.len() - 1))
        });
        self.places.push((kind, None));
        Place(number(self.places.len() - 1))
    }

    /// The cell of the path that such time belongs to, once it is known.
    #[inline]
    pub(crate) fn cell(&self, place: Place) -> Option<CellId> {
        self.places.get(place.0 as usize).and_then(|(_, cell)| *cell)
    }

    /// Keeps it.
    pub(crate) fn keep(&mut self, place: Place, cell: CellId) {
        if let Some((_, slot)) = self.places.get_mut(place.0 as usize) {
            *slot = Some(cell);
        }
    }

    /// What the rows answer of a place, once it is known.
    pub(crate) fn answer(&self, place: Place) -> Option<&Answer> {
        let (kind, _) = self.places.get(place.0 as usize)?;
        self.answers.get(kind.0 as usize)?.as_ref()
    }

    /// Keeps it.
    pub(crate) fn keep_answer(&mut self, place: Place, answer: Answer) {
        let kind = self.places.get(place.0 as usize).map(|(kind, _)| *kind);
        if let Some(slot) = kind.and_then(|kind| self.answers.get_mut(kind.0 as usize)) {
            *slot = Some(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::{Capture, Diagnostics, ReadOptions, Tid, Unpacked};
    use agenttrace_model::{Builder, Windows};

    use super::*;

    /// Its task 100 makes two getpid, then a write with a wait for a lock in it.
    const EVENTS: &str = include_str!("../../../fixtures/crafted/contention/events.txt");

    #[test]
    fn what_is_alike_has_one_place_and_all_steps_and_tasks_its_answer() {
        let unpacked = Unpacked::of(EVENTS.as_bytes()).unwrap();
        let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
        let mut builder = Builder::new(capture.info());
        capture.read(&mut Diagnostics::default(), &mut |batch| builder.push(batch)).unwrap();
        let (model, windows) = (builder.finish(None).unwrap(), Windows::default());
        let facts = Facts::new(&model, &windows);
        let (task, of) = model.task_ids().find(|(_, task)| task.tid == Tid(100)).unwrap();
        let other = model.task_ids().find(|(_, task)| task.tid != Tid(100)).unwrap().0;
        let around = |task, phase| Around { task, base: StackId::EMPTY, phase, starts_up: false };

        let mut memo = Memo::default();
        let outer = memo.outermost(&facts, around(task, None));
        let running = (Nanos::ZERO, Nanos::MAX);
        let place = |memo: &mut Memo, innermost, running| {
            memo.place(&facts, (task, outer), (of.ops.settled(), innermost), running)
        };
        assert_eq!(place(&mut memo, None, running), Some(outer));
        let getpid = place(&mut memo, Some(0), running).unwrap();
        assert_eq!(place(&mut memo, Some(1), running), Some(getpid));
        let write = place(&mut memo, Some(2), running).unwrap();
        assert!(write != getpid && write != outer);
        // A wait for a lock is like no other, nor is what did not run all the time.
        assert_eq!(place(&mut memo, Some(3), running), None);
        let (start, end) = (of.ops.settled().start(2), of.ops.settled().end(2));
        assert_eq!(place(&mut memo, Some(2), (start, end)), Some(write));
        assert_eq!(place(&mut memo, Some(2), (start + Nanos(1), end)), None);
        assert_eq!(place(&mut memo, Some(2), (start, end - Nanos(1))), None);

        let (cause, resource) = (Cause::SyscallCpu, Resource::CpuKernel);
        let frames = [Frame::Syscall(39)].into();
        memo.keep_answer(getpid, Answer { cause, resource, under: None, frames });
        memo.clear();
        let outer = memo.outermost(&facts, around(other, None));
        assert!(memo.answer(outer).is_none());
        let ops = (of.ops.settled(), Some(1));
        let again = memo.place(&facts, (other, outer), ops, running).unwrap();
        assert_eq!(memo.answer(again).unwrap().frames[..], [Frame::Syscall(39)]);
        assert_eq!(memo.cell(again), None);
        // In another phase it is of another kind.
        let outer = memo.outermost(&facts, around(other, Some(Phase::Loader)));
        let loads = memo.place(&facts, (other, outer), ops, running).unwrap();
        assert!(loads != again && memo.answer(loads).is_none());
    }
}
