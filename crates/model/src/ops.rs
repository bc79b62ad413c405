//! The operations of a task, packed: 32 bytes each where that holds all of it, and whole where not.
//!
//! ```text
//! place  start, from the first operation's: 48 bits       back to the parent: 16 bits
//! len    to the end; all ones: still open                 gap   cost of the exit
//! word   kind: 4 bits, three flags, then by kind: flags, number, ...
//! a b c  by kind:  call   a b  first argument, or a  fd, b  which opening      c  result
//!                         a  first argument                                    b c  wide result
//!                  fault  a b  address (48 bits), file                         c  page
//! ```

mod settled;

use std::io;
use std::num::NonZeroU32;
use std::ops::Range;

use agenttrace_parse::{Addr, Dev, Nanos};
use bytemuck::{Pod, Zeroable};

use crate::items::{Indexed, Items};
use crate::lock::LockKind;
use crate::op::{Costs, FaultOp, FdKind, Op, OpKind, SyscallOp};
use crate::scratch::{Rows, Spill};
use crate::search::first_not;
use crate::task::page;
pub use settled::SettledOps;

/// The operations of a task, in the order of their start.
#[derive(Clone, Debug, Default)]
pub struct Ops {
    packed: Rows<Packed>,
    /// Those that do not fit.
    whole: Vec<Op>,
    /// What starts are counted from: the first that is not zero.
    base: Nanos,
}

/// A call that has returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Returned {
    pub(crate) end: Nanos,
    /// Its number.
    pub(crate) nr: i32,
    pub(crate) no_entry: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Packed {
    place: u64,
    len: u32,
    gap: u32,
    word: u32,
    a: u32,
    b: u32,
    c: u32,
}

/// Operations that are calibrated at a time, where a file holds them: 2 MB.
const AT_ONCE: usize = 1 << 16;

/// `len` of an operation that is open.
const OPEN: u32 = u32::MAX;

/// Kinds. What is kept whole has the first, and its place among those in `a`.
const WHOLE: u32 = 0;
const SYSCALL: u32 = 1;
const FAULT: u32 = 2;
const LOCK: u32 = 3;
const IRQ: u32 = 4;
const SOFTIRQ: u32 = 5;
const LOCAL_TIMER: u32 = 6;
const WORK: u32 = 7;
const COMMIT: u32 = 8;
const SYNC_FILE: u32 = 9;
const EXIT: u32 = 10;
const TLB_WAIT: u32 = 11;

const KIND: u32 = 0xf;
const ESTIMATED: u32 = 1 << 4;
const READS: u32 = 1 << 5;
const WRITES: u32 = 1 << 6;

// Of a call.
const CONTINUED: u32 = 1 << 7;
const MARK: u32 = 1 << 8;
const THREAD: u32 = 1 << 9;
const NO_ENTRY: u32 = 1 << 10;
const FOR_LOCK: u32 = 1 << 11;
const RETURNED: u32 = 1 << 12;
const OPENED: u32 = 1 << 13;
/// What it returned takes 64 bits: `b` is the upper half.
const WIDE: u32 = 1 << 14;
const FD: u32 = 15;
const NUMBER: u32 = 19;
/// A call's number takes what is left of the word.
const NUMBERS: u32 = 1 << (32 - NUMBER);

// Of a fault.
const CODE: u32 = 7;
const MAJOR_TOLD: u32 = 1 << 15;
const MAJOR: u32 = 1 << 16;
const AROUND: u32 = 1 << 17;
const PAGE: u32 = 1 << 18;
const FILE_HIGH: u32 = 19;
/// A file's number plus one: 16 bits in `b`, the others in the word.
const FILES: u32 = 1 << (16 + 32 - FILE_HIGH);

impl Ops {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The operation with this index.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<Op> {
        let packed = self.packed.read(index)?;
        if packed.word & KIND == WHOLE {
            return self.whole.get(packed.a as usize).copied();
        }
        Some(packed.unpack(self.base, index))
    }

    /// All of them.
    #[must_use]
    pub fn iter(&self) -> Items<'_, Self> {
        self.range(0..self.len())
    }

    /// Those with an index in this range.
    #[must_use]
    pub fn range(&self, range: Range<usize>) -> Items<'_, Self> {
        Items::new(self, self.len(), range)
    }

    /// How many start before a time: the index of the first that does not.
    #[must_use]
    pub fn before(&self, time: Nanos) -> usize {
        self.packed.settled().partition_point(|packed| self.starts(packed) < time)
    }

    /// How many start at a time or before: the index of the first that starts later.
    #[must_use]
    pub fn up_to(&self, time: Nanos) -> usize {
        self.packed.settled().partition_point(|packed| self.starts(packed) <= time)
    }

    /// The same, looked for from this many on: a near one is found at once.
    #[must_use]
    pub(crate) fn up_to_from(&self, begun: usize, time: Nanos) -> usize {
        let rows = self.packed.settled();
        let by_then = |i: usize| rows.get(i).is_some_and(|packed| self.starts(packed) <= time);
        if begun.checked_sub(1).is_none_or(by_then) {
            first_not(begun, rows.len(), by_then)
        } else {
            self.up_to(time)
        }
    }

    /// The rows, to be moved.
    pub(crate) fn rows(&mut self) -> &mut dyn Spill {
        &mut self.packed
    }

    /// When an operation starts.
    #[must_use]
    #[inline]
    pub fn start(&self, index: usize) -> Option<Nanos> {
        self.packed.read(index).map(|packed| self.starts(&packed))
    }

    /// When an operation ends; [`Nanos::MAX`] while open.
    #[must_use]
    #[inline]
    pub fn end(&self, index: usize) -> Option<Nanos> {
        let packed = self.packed.read(index)?;
        if packed.word & KIND == WHOLE {
            return self.whole.get(packed.a as usize).map(|op| op.end);
        }
        Some(packed.end(self.base))
    }

    /// The index of the operation around one.
    #[must_use]
    #[inline]
    pub fn parent(&self, index: usize) -> Option<usize> {
        let packed = self.packed.read(index)?;
        if packed.word & KIND == WHOLE {
            return self.whole.get(packed.a as usize)?.parent();
        }
        packed.parent(index)
    }

    #[inline]
    fn starts(&self, packed: &Packed) -> Nanos {
        if packed.word & KIND == WHOLE {
            return self.whole.get(packed.a as usize).map_or(Nanos::MAX, |op| op.start);
        }
        packed.start(self.base)
    }

    /// Whether it is a system call.
    #[inline]
    pub(crate) fn is_call(&self, index: usize) -> bool {
        self.is(index, SYSCALL, |kind| matches!(kind, OpKind::Syscall(_)))
    }

    /// Whether it is a fault.
    #[inline]
    pub(crate) fn is_fault(&self, index: usize) -> bool {
        self.is(index, FAULT, |kind| matches!(kind, OpKind::Fault(_)))
    }

    #[inline]
    fn is(&self, index: usize, kind: u32, whole: fn(&OpKind) -> bool) -> bool {
        match self.packed.near(index).map(|packed| packed.word & KIND) {
            None | Some(WHOLE) => self.is_far(index, whole),
            Some(other) => other == kind,
        }
    }

    /// Whether it is a fault of the page of an address. Looks at one field after the other: they
    /// have just been written so, and a look at all at once would wait for that.
    #[inline]
    pub(crate) fn is_of_page(&self, index: usize, address: Addr) -> bool {
        match self.packed.near(index).filter(|packed| packed.word & KIND == FAULT) {
            Some(packed) => packed.is_of_page(address),
            None => self.is_far(
                index,
                |kind| matches!(kind, OpKind::Fault(fault) if page(fault.address) == page(address)),
            ),
        }
    }

    #[cold]
    fn is_far(&self, index: usize, wanted: impl Fn(&OpKind) -> bool) -> bool {
        self.get(index).is_some_and(|op| wanted(&op.kind))
    }

    /// One more, which starts last. Always inlined, and filled in where it stays: a row that
    /// goes through the stack waits for its own stores.
    #[inline(always)]
    pub(crate) fn push(&mut self, op: &Op) -> usize {
        if self.base == Nanos::ZERO {
            self.base = op.start;
        }
        let base = self.base;
        let (index, row) = self.packed.grow(Packed::default());
        if row.and_then(|row| row.fill(op, index, base)).is_none() {
            self.keep_whole(index, *op);
        }
        index
    }

    /// Takes the last operation away, if it is a call that has ended, nothing is around it, and
    /// this holds of its number.
    pub(crate) fn forget_call(&mut self, unwanted: impl FnOnce(i32) -> bool) {
        let call = |packed: &Packed| packed.word & KIND == SYSCALL && packed.len != OPEN;
        self.packed.pop_if(|row| row.is_outermost() && call(row) && unwanted(row.number()));
    }

    /// Ends one that is open, at a time or when it began; tells when.
    #[inline(always)]
    pub(crate) fn close(&mut self, index: usize, time: Nanos, estimated: bool) -> Option<Nanos> {
        let base = self.base;
        if let Some(packed) = self.packed.in_memory(index)
            && packed.word & KIND != WHOLE
            && let start = packed.start(base)
            && let Ok(len) = u32::try_from((time - start).0)
            && len != OPEN
        {
            packed.len = len;
            packed.word = packed.word & !ESTIMATED | if estimated { ESTIMATED } else { 0 };
            return Some(start + Nanos(u64::from(len)));
        }
        self.close_far(index, time, estimated)
    }

    /// The same for one that is kept whole, or will be, or is in a file.
    #[cold]
    #[inline(never)]
    fn close_far(&mut self, index: usize, time: Nanos, estimated: bool) -> Option<Nanos> {
        let end = time.max(self.start(index)?);
        self.edit(index, |op| (op.end, op.estimated) = (end, estimated));
        Some(end)
    }

    /// Ends an open call, at a time or when it began, with what it returned. `None`: it is not
    /// packed in memory, or that does not fit, or it is no call; and it is as it was.
    #[inline(always)]
    pub(crate) fn end_call(&mut self, index: usize, time: Nanos, ret: i64) -> Option<Returned> {
        let base = self.base;
        let packed = self.packed.in_memory(index)?;
        if packed.word & (KIND | RETURNED) != SYSCALL {
            return None;
        }
        let start = packed.start(base);
        let len = u32::try_from((time - start).0).ok().filter(|len| *len != OPEN)?;
        let (word, b, c) = Packed::of_ret(ret, packed.b)?;
        (packed.len, packed.b, packed.c) = (len, b, c);
        packed.word = packed.word & !ESTIMATED | word;
        Some(Returned {
            end: start + Nanos(u64::from(len)),
            nr: packed.number(),
            no_entry: packed.word & NO_ENTRY != 0,
        })
    }

    /// Notes what a call returned.
    pub(crate) fn set_ret(&mut self, index: usize, ret: i64) {
        self.edit_call(index, |call| call.ret = Some(ret));
    }

    /// Notes whether a fault was major.
    #[inline]
    pub(crate) fn set_major(&mut self, index: usize, major: bool) {
        if let Some(packed) = self.packed.in_memory(index)
            && packed.word & KIND == FAULT
        {
            packed.word = packed.word & !MAJOR | MAJOR_TOLD | if major { MAJOR } else { 0 };
            return;
        }
        self.edit_fault(index, |fault| fault.major = Some(major));
    }

    /// Changes a call.
    pub(crate) fn edit_call(&mut self, index: usize, change: impl FnOnce(&mut SyscallOp)) {
        self.edit(index, |op| {
            if let OpKind::Syscall(call) = &mut op.kind {
                change(call);
            }
        });
    }

    /// Changes a fault.
    pub(crate) fn edit_fault(&mut self, index: usize, change: impl FnOnce(&mut FaultOp)) {
        self.edit(index, |op| {
            if let OpKind::Fault(fault) = &mut op.kind {
                change(fault);
            }
        });
    }

    /// Puts another in the place of one.
    pub(crate) fn set(&mut self, index: usize, op: &Op) {
        match self.packed.read(index) {
            Some(packed) if packed.word & KIND == WHOLE => {
                if let Some(whole) = self.whole.get_mut(packed.a as usize) {
                    *whole = *op;
                }
            }
            Some(mut packed) => {
                if packed.fill(op, index, self.base).is_some() {
                    self.packed.replace(index, packed);
                } else {
                    self.keep_whole(index, *op);
                }
            }
            None => {}
        }
    }

    /// Changes one.
    pub(crate) fn edit(&mut self, index: usize, change: impl FnOnce(&mut Op)) {
        if let Some(mut op) = self.get(index) {
            change(&mut op);
            self.set(index, &op);
        }
    }

    /// Notes a gap with an operation that has ended ([`Op::gap`]).
    #[inline]
    pub(crate) fn set_gap(&mut self, index: usize, gap: u32) {
        if let Some(packed) = self.packed.in_memory(index)
            && packed.word & KIND != WHOLE
        {
            packed.gap = gap;
            return;
        }
        self.set_gap_far(index, gap);
    }

    #[cold]
    #[inline(never)]
    fn set_gap_far(&mut self, index: usize, gap: u32) {
        self.edit(index, |op| op.gap = gap);
    }

    /// Puts the measured costs of exits into the ends, and guessed ends where they belong.
    /// Nothing is pushed any more.
    ///
    /// # Errors
    /// Those of the scratch file.
    pub(crate) fn calibrate(&mut self, costs: &Costs) -> io::Result<()> {
        let mut from = 0;
        while from < self.len() {
            let to = self.packed.hold(from, AT_ONCE)?.min(self.len());
            (from..to).for_each(|index| self.calibrate_one(index, costs));
            from = to;
        }
        self.packed.close()
    }

    #[inline]
    fn calibrate_one(&mut self, index: usize, costs: &Costs) {
        let Some(packed) = self.packed.in_memory(index) else { return };
        let outermost = packed.is_outermost();
        if !packed.settle(costs) {
            self.edit(index, |op| op.settle(costs));
        }
        if !outermost {
            self.end_within(index);
        }
    }

    /// A nested operation that was closed late, or whose cost was added, never outlives what is
    /// around it.
    fn end_within(&mut self, index: usize) {
        let around = self.parent(index).and_then(|parent| self.end(parent));
        if let (Some(around), Some(end)) = (around, self.end(index))
            && end > around
        {
            let over = u32::try_from((end - around).0).unwrap_or(u32::MAX);
            self.edit(index, |op| {
                op.gap = op.gap.saturating_sub(over);
                op.end = around;
            });
        }
    }

    #[cold]
    fn keep_whole(&mut self, index: usize, op: Op) {
        let a = u32::try_from(self.whole.len()).unwrap_or(u32::MAX);
        self.whole.push(op);
        self.packed.replace(index, Packed { word: WHOLE, a, ..Packed::default() });
    }
}

impl Indexed for Ops {
    type Item = Op;

    #[inline(always)]
    fn item(&self, index: usize) -> Option<Op> {
        self.get(index)
    }
}

impl<'o> IntoIterator for &'o Ops {
    type Item = Op;
    type IntoIter = Items<'o, Ops>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Packed {
    /// Takes an operation in. `None`: it does not fit, and the row is as it was.
    #[inline(always)]
    fn fill(&mut self, op: &Op, index: usize, base: Nanos) -> Option<()> {
        // What began before the capture starts at zero, and tells nothing to count from.
        let start = op.start.0.checked_sub(base.0).filter(|start| start >> 48 == 0);
        let start = start.filter(|_| base != Nanos::ZERO)?;
        let back = match op.parent() {
            Some(parent) => index.checked_sub(parent).filter(|back| (1..1 << 16).contains(back))?,
            None => 0,
        };
        let len = if op.end == Nanos::MAX {
            OPEN
        } else {
            u32::try_from(op.end.0.checked_sub(op.start.0)?).ok().filter(|len| *len != OPEN)?
        };
        let low = |wide: u64| wide as u32;
        let (word, a, b, c) = match op.kind {
            OpKind::Syscall(call) => Self::of_call(&call)?,
            OpKind::Fault(fault) => Self::of_fault(&fault)?,
            OpKind::Lock { addr, kind } => (LOCK, low(addr.0), low(addr.0 >> 32), kind as u32),
            OpKind::Irq(name) => (IRQ, 0, 0, name),
            OpKind::Softirq(vector) => (SOFTIRQ, 0, 0, vector),
            OpKind::LocalTimer => (LOCAL_TIMER, 0, 0, 0),
            OpKind::Work(function) => (WORK, low(function.0), low(function.0 >> 32), 0),
            OpKind::Commit { dev, transaction } => (COMMIT, transaction, 0, dev.0),
            OpKind::SyncFile { dev, ino } => (SYNC_FILE, low(ino), low(ino >> 32), dev.0),
            OpKind::Exit => (EXIT, 0, 0, 0),
            OpKind::TlbWait(sent) => (TLB_WAIT, 0, 0, sent),
            // Few, and large.
            OpKind::Reclaim(_) | OpKind::DirtyPause(_) => return None,
        };
        self.place = start << 16 | back as u64;
        self.len = len;
        self.gap = op.gap;
        self.word =
            word | flag(op.estimated, ESTIMATED) | flag(op.reads, READS) | flag(op.writes, WRITES);
        self.a = a;
        self.b = b;
        self.c = c;
        Some(())
    }

    #[inline]
    fn ab(self) -> u64 {
        u64::from(self.b) << 32 | u64::from(self.a)
    }

    /// The word, and a, b, c.
    #[inline(always)]
    fn of_call(call: &SyscallOp) -> Option<(u32, u32, u32, u32)> {
        let number = u32::try_from(call.nr).ok().filter(|nr| *nr < NUMBERS)?;
        let word = SYSCALL
            | flag(call.continued, CONTINUED)
            | flag(call.mark, MARK)
            | flag(call.thread, THREAD)
            | flag(call.no_entry, NO_ENTRY)
            | flag(call.lock, FOR_LOCK)
            | flag(call.opened.is_some(), OPENED)
            | (call.fd as u32) << FD
            | number << NUMBER;
        let (a, b) = match call.opened {
            Some(opened) => (u32::try_from(call.arg0).ok()?, opened.get()),
            None => (call.arg0 as u32, (call.arg0 >> 32) as u32),
        };
        let (returned, b, c) = match call.ret {
            Some(ret) => Self::of_ret(ret, b)?,
            None => (0, b, 0),
        };
        Some((word | returned, a, b, c))
    }

    /// Flags, b and c of a call with a result, of which b was so: a wide result takes its place.
    #[inline(always)]
    fn of_ret(ret: i64, b: u32) -> Option<(u32, u32, u32)> {
        match i32::try_from(ret) {
            Ok(ret) => Some((RETURNED, b, ret.cast_unsigned())),
            Err(_) if b == 0 => {
                let ret = ret.cast_unsigned();
                Some((RETURNED | WIDE, (ret >> 32) as u32, ret as u32))
            }
            Err(_) => None,
        }
    }

    /// What a call that has returned did return.
    #[inline]
    fn ret(self) -> i64 {
        if self.word & WIDE != 0 {
            (u64::from(self.b) << 32 | u64::from(self.c)).cast_signed()
        } else {
            i64::from(self.c.cast_signed())
        }
    }

    /// The same of a fault.
    #[inline(always)]
    fn of_fault(fault: &FaultOp) -> Option<(u32, u32, u32, u32)> {
        let address = fault.address.0;
        let file = match fault.file {
            Some(file) => file.checked_add(1).filter(|file| *file < FILES)?,
            None => 0,
        };
        if canonical(address) != address {
            return None;
        }
        let word = FAULT
            | u32::from(fault.error_code) << CODE
            | flag(fault.major.is_some(), MAJOR_TOLD)
            | flag(fault.major == Some(true), MAJOR)
            | flag(fault.around, AROUND)
            | flag(fault.page.is_some(), PAGE)
            | file >> 16 << FILE_HIGH;
        let b = (address >> 32) as u32 & 0xffff | file << 16;
        Some((word, address as u32, b, fault.page.unwrap_or(0)))
    }

    #[inline]
    fn start(self, base: Nanos) -> Nanos {
        base + Nanos(self.place >> 16)
    }

    #[inline]
    fn end(self, base: Nanos) -> Nanos {
        if self.len == OPEN { Nanos::MAX } else { self.start(base) + Nanos(u64::from(self.len)) }
    }

    #[inline]
    fn parent(self, index: usize) -> Option<usize> {
        let back = (self.place & 0xffff) as usize;
        if back == 0 { None } else { index.checked_sub(back) }
    }

    /// Whether a fault's address is on the same page as this one.
    #[inline]
    fn is_of_page(&self, address: Addr) -> bool {
        let (low, high) = (address.0 as u32, (address.0 >> 32) as u32);
        self.a >> 12 == low >> 12
            && self.b & 0xffff == high & 0xffff
            && canonical(address.0) == address.0
    }

    /// Of a call.
    #[inline]
    fn number(self) -> i32 {
        (self.word >> NUMBER).cast_signed()
    }

    /// Whether nothing is around it, as far as the row tells.
    #[inline]
    fn is_outermost(self) -> bool {
        self.word & KIND != WHOLE && self.place & 0xffff == 0
    }

    /// Moves its end by what leaving it costs. `false`: more than that is to be done.
    #[inline]
    fn settle(&mut self, costs: &Costs) -> bool {
        let cost = match self.word & KIND {
            SYSCALL => costs.call,
            FAULT => costs.fault,
            kind => return kind != WHOLE,
        };
        if self.word & ESTIMATED != 0 || self.len == OPEN {
            return false;
        }
        let cost = cost.within(self.gap);
        let Some(len) = self.len.checked_add(cost).filter(|len| *len != OPEN) else { return false };
        (self.len, self.gap) = (len, cost);
        true
    }

    /// The call that it is, if it is one.
    #[inline(always)]
    fn call(self) -> SyscallOp {
        let is = |flag: u32| self.word & flag != 0;
        SyscallOp {
            nr: self.number(),
            arg0: if is(OPENED | WIDE) { u64::from(self.a) } else { self.ab() },
            fd: FdKind::ALL.get((self.word >> FD & 0xf) as usize).copied().unwrap_or_default(),
            opened: NonZeroU32::new(self.b).filter(|_| is(OPENED)),
            ret: is(RETURNED).then(|| self.ret()),
            continued: is(CONTINUED),
            mark: is(MARK),
            thread: is(THREAD),
            no_entry: is(NO_ENTRY),
            lock: is(FOR_LOCK),
        }
    }

    /// Always inlined, so that a reader pays for the fields that it looks at.
    #[inline(always)]
    fn unpack(self, base: Nanos, index: usize) -> Op {
        let is = |flag: u32| self.word & flag != 0;
        let kind = match self.word & KIND {
            SYSCALL => OpKind::Syscall(self.call()),
            FAULT => {
                let file = self.b >> 16 | self.word >> FILE_HIGH << 16;
                OpKind::Fault(FaultOp {
                    address: Addr(canonical(self.ab())),
                    error_code: (self.word >> CODE & 0xff) as u8,
                    file: file.checked_sub(1),
                    major: is(MAJOR_TOLD).then_some(is(MAJOR)),
                    page: is(PAGE).then_some(self.c),
                    around: is(AROUND),
                })
            }
            LOCK => OpKind::Lock {
                addr: Addr(self.ab()),
                kind: LockKind::ALL.get(self.c as usize).copied().unwrap_or(LockKind::Unknown),
            },
            IRQ => OpKind::Irq(self.c),
            SOFTIRQ => OpKind::Softirq(self.c),
            LOCAL_TIMER => OpKind::LocalTimer,
            WORK => OpKind::Work(Addr(self.ab())),
            COMMIT => OpKind::Commit { dev: Dev(self.c), transaction: self.a },
            SYNC_FILE => OpKind::SyncFile { dev: Dev(self.c), ino: self.ab() },
            TLB_WAIT => OpKind::TlbWait(self.c),
            // No other kind is ever packed.
            _ => OpKind::Exit,
        };
        let mut op = Op::new(self.start(base), self.parent(index), kind);
        op.end = self.end(base);
        op.gap = self.gap;
        (op.estimated, op.reads, op.writes) = (is(ESTIMATED), is(READS), is(WRITES));
        op
    }
}

fn flag(set: bool, flag: u32) -> u32 {
    if set { flag } else { 0 }
}

/// An address of 48 bits, with its top bit in those above.
fn canonical(address: u64) -> u64 {
    ((address << 16).cast_signed() >> 16).cast_unsigned()
}

#[cfg(test)]
mod tests;
