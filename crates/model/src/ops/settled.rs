//! Operations to which nothing is added any more, as a slice: for those who look at many.

use agenttrace_parse::Nanos;

use super::{ESTIMATED, FAULT, KIND, OPEN, Ops, Packed, READS, SYSCALL, WHOLE};
use crate::op::{Op, SyscallOp};

/// The operations of a task, without asking each time where they are.
#[derive(Clone, Copy, Debug)]
pub struct SettledOps<'o> {
    rows: &'o [Packed],
    whole: &'o [Op],
    base: Nanos,
}

impl Ops {
    /// For those who look at many. While operations grow, these are the last ones alone.
    #[must_use]
    #[inline]
    pub fn settled(&self) -> SettledOps<'_> {
        SettledOps { rows: self.packed.settled(), whole: &self.whole, base: self.base }
    }
}

impl SettledOps<'_> {
    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.rows.is_empty()
    }

    /// One that is kept whole.
    #[cold]
    fn whole(&self, packed: &Packed) -> Option<&Op> {
        self.whole.get(packed.a as usize)
    }

    /// The operation with this index. Always inlined, so that a reader pays for the fields that
    /// it looks at.
    #[must_use]
    #[inline(always)]
    pub fn get(self, index: usize) -> Option<Op> {
        let packed = self.rows.get(index)?;
        if packed.word & KIND == WHOLE {
            return self.whole(packed).copied();
        }
        Some(packed.unpack(self.base, index))
    }

    /// The call that an operation is; `None` for any other. With [`Self::took`] and
    /// [`Self::reads`] the way to look at many: nothing tells kinds of operations apart twice.
    #[must_use]
    #[inline(always)]
    pub fn call(self, index: usize) -> Option<SyscallOp> {
        let packed = self.rows.get(index)?;
        match packed.word & KIND {
            SYSCALL => Some(packed.call()),
            WHOLE => self.whole(packed)?.syscall(),
            _ => None,
        }
    }

    /// How long an operation took; `None` while open, and where there is none.
    #[must_use]
    #[inline(always)]
    pub fn took(self, index: usize) -> Option<Nanos> {
        let packed = self.rows.get(index)?;
        if packed.word & KIND == WHOLE {
            return self.whole(packed).filter(|op| op.end != Nanos::MAX).map(|op| op.duration());
        }
        (packed.len != OPEN).then_some(Nanos(u64::from(packed.len)))
    }

    /// Whether an operation read from a device ([`Op::reads`]).
    #[must_use]
    #[inline(always)]
    pub fn reads(self, index: usize) -> bool {
        self.rows.get(index).is_some_and(|packed| match packed.word & KIND {
            WHOLE => self.whole(packed).is_some_and(|op| op.reads),
            _ => packed.word & READS != 0,
        })
    }

    /// When an operation starts; [`Nanos::MAX`] where there is none.
    #[must_use]
    #[inline(always)]
    pub fn start(self, index: usize) -> Nanos {
        match self.rows.get(index) {
            None => Nanos::MAX,
            Some(packed) if packed.word & KIND == WHOLE => {
                self.whole(packed).map_or(Nanos::MAX, |op| op.start)
            }
            Some(packed) => packed.start(self.base),
        }
    }

    /// When an operation ends; [`Nanos::MAX`] while open, and where there is none.
    #[must_use]
    #[inline(always)]
    pub fn end(self, index: usize) -> Nanos {
        match self.rows.get(index) {
            None => Nanos::MAX,
            Some(packed) if packed.word & KIND == WHOLE => {
                self.whole(packed).map_or(Nanos::MAX, |op| op.end)
            }
            Some(packed) => packed.end(self.base),
        }
    }

    /// The index of the operation around one.
    #[must_use]
    #[inline(always)]
    pub fn parent(self, index: usize) -> Option<usize> {
        let packed = self.rows.get(index)?;
        if packed.word & KIND == WHOLE {
            return self.whole(packed)?.parent();
        }
        packed.parent(index)
    }

    /// Whether its end was not recorded, and whether it is a fault.
    #[must_use]
    #[inline]
    pub fn is_estimated(self, index: usize) -> (bool, bool) {
        match self.rows.get(index) {
            None => (false, false),
            Some(packed) if packed.word & KIND == WHOLE => {
                self.whole(packed).map_or((false, false), |op| (op.estimated, op.fault().is_some()))
            }
            Some(packed) => (packed.word & ESTIMATED != 0, packed.word & KIND == FAULT),
        }
    }
}
