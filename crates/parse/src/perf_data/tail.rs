//! The fields of a sample that tell their own length: where they lie in one record.

use std::ops::Range;

use super::layout::{Asked, bit};
use crate::cursor::{Endian, u32_at, u64_at};

/// Bits of `enum perf_event_read_format`.
mod read {
    pub(super) const TOTAL_TIME_ENABLED: u64 = 1;
    pub(super) const TOTAL_TIME_RUNNING: u64 = 1 << 1;
    pub(super) const ID: u64 = 1 << 2;
    pub(super) const GROUP: u64 = 1 << 3;
    pub(super) const LOST: u64 = 1 << 4;
}

/// Bits of `enum perf_branch_sample_type`.
mod branch {
    pub(super) const CALL_STACK: u64 = 1 << 11;
    /// From Linux 5.7: the index of the newest entry precedes the entries.
    pub(super) const HW_INDEX: u64 = 1 << 17;
    /// From Linux 6.8: a word of counters for each entry follows the entries.
    pub(super) const COUNTERS: u64 = 1 << 19;
}

/// Bytes of `struct perf_branch_entry`: from, to, flags.
pub(crate) const BRANCH: usize = 24;

/// Which of them a sample has.
///
/// ```text
/// fixed | READ CALLCHAIN RAW BRANCH_STACK REGS_USER STACK_USER
///       | WEIGHT DATA_SRC TRANSACTION | REGS_INTR | PHYS_ADDR CGROUP
///       | DATA_PAGE_SIZE CODE_PAGE_SIZE | AUX
/// ```
/// (`perf_output_sample` in kernel/events/core.c.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where they begin.
    from: usize,
    /// The same, where RAW is the first of them, as in most captures.
    raw_first: Option<usize>,
    read: Option<u64>,
    callchain: bool,
    raw: bool,
    /// `branch_sample_type`.
    branches: Option<u64>,
    /// The registers asked for: `sample_regs_user`.
    regs_user: Option<u64>,
    stack_user: bool,
    /// Bytes of WEIGHT, DATA_SRC and TRANSACTION.
    words: usize,
    regs_intr: Option<u64>,
    /// Bytes of PHYS_ADDR, CGROUP, DATA_PAGE_SIZE and CODE_PAGE_SIZE.
    words_behind: usize,
    aux: bool,
}

/// Where the fields of one sample lie, counted from the record's first byte. What lies
/// behind a length that cannot be is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) read: Option<Range<usize>>,
    /// The words; their number is the word before.
    pub(crate) chain: Option<Range<usize>>,
    /// The bytes; their number is the half word before.
    pub(crate) raw: Option<Range<usize>>,
    /// Number of branches, and the index where there is one.
    pub(crate) branch_head: Option<Range<usize>>,
    pub(crate) branches: Option<Range<usize>>,
    /// Their number is told, and zero.
    no_branches: bool,
    pub(crate) user: Option<Regs>,
    pub(crate) stack: Option<StackCopy>,
    pub(crate) intr: Option<Regs>,
    /// Whether all fields could be found.
    pub(crate) whole: bool,
}

/// REGS_USER or REGS_INTR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Regs {
    /// Where the ABI is told (`enum perf_sample_regs_abi`); the registers follow it.
    pub(crate) abi_at: usize,
    pub(crate) abi: u64,
    pub(crate) regs: Range<usize>,
}

/// STACK_USER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackCopy {
    /// Where the size is told; the bytes follow it.
    pub(crate) size_at: usize,
    pub(crate) bytes: Range<usize>,
    /// Where it is told how many of the bytes are real; not there where there are none.
    pub(crate) dyn_at: Option<usize>,
    /// How many are.
    pub(crate) real: usize,
}

impl Tail {
    pub(crate) fn new(asked: &Asked, from: usize) -> Self {
        let has = |bit: u64| asked.sample_type & bit != 0;
        let bytes = |bits: &[u64]| bits.iter().filter(|b| has(**b)).count().saturating_mul(8);
        let words = [bit::WEIGHT | bit::WEIGHT_STRUCT, bit::DATA_SRC, bit::TRANSACTION];
        let behind = [bit::PHYS_ADDR, bit::CGROUP, bit::DATA_PAGE_SIZE, bit::CODE_PAGE_SIZE];
        Self {
            from,
            raw_first: (has(bit::RAW) && !has(bit::READ) && !has(bit::CALLCHAIN)).then_some(from),
            read: has(bit::READ).then_some(asked.read_format),
            callchain: has(bit::CALLCHAIN),
            raw: has(bit::RAW),
            branches: has(bit::BRANCH_STACK).then_some(asked.branch_sample_type),
            regs_user: has(bit::REGS_USER).then_some(asked.regs_user),
            stack_user: has(bit::STACK_USER),
            words: bytes(&words),
            regs_intr: has(bit::REGS_INTR).then_some(asked.regs_intr),
            words_behind: bytes(&behind),
            aux: has(bit::AUX),
        }
    }

    /// Whether samples hold frames, or what frames can be found from.
    pub(crate) fn has_stacks(&self) -> bool {
        self.callchain || (self.regs_user.is_some() && self.stack_user) || self.is_call_stack()
    }

    /// Whether the branches are calls that have not returned.
    pub(crate) fn is_call_stack(&self) -> bool {
        self.branches.is_some_and(|asked| asked & branch::CALL_STACK != 0)
    }

    /// The registers that REGS_USER holds, by their numbers.
    pub(crate) fn user_mask(&self) -> u64 {
        self.regs_user.unwrap_or(0)
    }

    /// Where RAW begins and how long it is: the way to a tracepoint's payload, which
    /// every event takes.
    #[inline]
    pub(crate) fn raw_range(&self, record: &[u8]) -> Option<(usize, usize)> {
        let at = match self.raw_first {
            Some(at) => at,
            None => self.raw_at(record)?,
        };
        let len = u32_at(record, at)? as usize;
        Some((at.checked_add(4)?, len))
    }

    /// Where a tracepoint's payload begins, if that is the same in all samples: behind the
    /// length of RAW.
    pub(crate) fn payload(&self) -> Option<usize> {
        self.raw_first?.checked_add(4)
    }

    /// Where the length of RAW lies.
    fn raw_at(&self, record: &[u8]) -> Option<usize> {
        if !self.raw {
            return None;
        }
        let mut at = self.from;
        if let Some(format) = self.read {
            at = at.checked_add(read_len(format, record, at, Endian::Little)?)?;
        }
        if self.callchain {
            let frames = usize::try_from(u64_at(record, at)?).ok()?;
            at = at.checked_add(8)?.checked_add(frames.checked_mul(8)?)?;
        }
        Some(at)
    }

    /// Where all fields lie, in a record of either order of bytes. A part that is there
    /// lies in the record.
    pub(crate) fn parts(&self, record: &[u8], endian: Endian) -> Parts {
        let (parts, fits) = self.try_parts(record, endian, true);
        // A kernel that had no branches to give wrote their number alone, without the
        // index: the other fields tell.
        if !fits && parts.no_branches {
            let (other, fits) = self.try_parts(record, endian, false);
            if fits {
                return other;
            }
        }
        parts
    }

    /// The parts, and whether they fill the record.
    fn try_parts(&self, record: &[u8], endian: Endian, index: bool) -> (Parts, bool) {
        let mut parts = Parts::default();
        let mut walk = Walk { record, at: self.from, endian };
        parts.whole = self.fill(&mut walk, &mut parts, index).is_some();
        let fits = parts.whole && walk.at == record.len();
        (parts, fits)
    }

    /// `None` where the fields do not fit; those before are in `parts` then.
    fn fill(&self, walk: &mut Walk<'_>, parts: &mut Parts, index: bool) -> Option<()> {
        if let Some(format) = self.read {
            let len = read_len(format, walk.record, walk.at, walk.endian)?;
            parts.read = Some(walk.take(len)?);
        }
        if self.callchain {
            let len = walk.count(8)?;
            parts.chain = Some(walk.take(len)?);
        }
        if self.raw {
            let len = walk.u32()? as usize;
            parts.raw = Some(walk.take(len)?);
        }
        if let Some(asked) = self.branches {
            let head = walk.at;
            let count = usize::try_from(walk.u64()?).ok()?;
            parts.no_branches = count == 0;
            if index && asked & branch::HW_INDEX != 0 {
                walk.take(8)?;
            }
            parts.branch_head = Some(head..walk.at);
            parts.branches = Some(walk.take(count.checked_mul(BRANCH)?)?);
            if asked & branch::COUNTERS != 0 {
                walk.take(count.checked_mul(8)?)?;
            }
        }
        if let Some(mask) = self.regs_user {
            parts.user = Some(walk.regs(mask)?);
        }
        if self.stack_user {
            parts.stack = Some(walk.stack()?);
        }
        walk.take(self.words)?;
        if let Some(mask) = self.regs_intr {
            parts.intr = Some(walk.regs(mask)?);
        }
        walk.take(self.words_behind)?;
        if self.aux {
            let len = walk.count(1)?;
            walk.take(len)?;
        }
        Some(())
    }
}

impl Parts {
    /// All that may hold a program's memory: registers and stacks, from the word on that
    /// tells whether there are any. A zero there says that there are none.
    pub(super) fn memory(&self) -> impl Iterator<Item = Range<usize>> {
        let regs = self.user.iter().chain(&self.intr).map(|r| r.abi_at..r.regs.end);
        let stack = self
            .stack
            .iter()
            .map(|s| s.size_at..s.dyn_at.map_or(s.bytes.end, |at| at.saturating_add(8)));
        regs.chain(stack)
    }

    /// Calls `flip` with the place and size of each number, but for those in RAW.
    pub(super) fn numbers(&self, mut flip: impl FnMut(usize, usize)) {
        let mut words = |range: Range<usize>| range.step_by(8).for_each(|at| flip(at, 8));
        let with_count = |range: &Range<usize>| range.start.saturating_sub(8)..range.end;
        self.read.iter().cloned().for_each(&mut words);
        self.chain.iter().map(with_count).for_each(&mut words);
        self.branch_head.iter().cloned().for_each(&mut words);
        self.branches.iter().cloned().for_each(&mut words);
        for regs in self.user.iter().chain(&self.intr) {
            words(regs.abi_at..regs.regs.end);
        }
        if let Some(stack) = &self.stack {
            let places = [Some(stack.size_at), stack.dyn_at].into_iter().flatten();
            places.for_each(|at| words(at..at.saturating_add(8)));
        }
        if let Some(raw) = &self.raw {
            flip(raw.start.saturating_sub(4), 4);
        }
    }
}

/// Goes over one record.
struct Walk<'r> {
    record: &'r [u8],
    at: usize,
    endian: Endian,
}

impl Walk<'_> {
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(len)?;
        self.record.get(range.clone())?;
        self.at = range.end;
        Some(range)
    }

    fn u64(&mut self) -> Option<u64> {
        let word = word(self.record, self.at, self.endian)?;
        self.at = self.at.checked_add(8)?;
        Some(word)
    }

    fn u32(&mut self) -> Option<u32> {
        let half = self.record.get(self.at..)?.first_chunk().map(|b| self.endian.u32(*b))?;
        self.at = self.at.checked_add(4)?;
        Some(half)
    }

    /// A count of things, in bytes.
    fn count(&mut self, size: usize) -> Option<usize> {
        usize::try_from(self.u64()?).ok()?.checked_mul(size)
    }

    /// `perf_output_sample_regs`: no registers follow where the ABI is 0.
    fn regs(&mut self, mask: u64) -> Option<Regs> {
        let abi_at = self.at;
        let abi = self.u64()?;
        let count = if abi == 0 { 0 } else { mask.count_ones() as usize };
        Some(Regs { abi_at, abi, regs: self.take(count.checked_mul(8)?)? })
    }

    /// `perf_output_sample_ustack`: neither bytes nor their real number follow where the
    /// size is 0.
    fn stack(&mut self) -> Option<StackCopy> {
        let size_at = self.at;
        let size = self.count(1)?;
        let bytes = self.take(size)?;
        if size == 0 {
            return Some(StackCopy { size_at, bytes, dyn_at: None, real: 0 });
        }
        let dyn_at = self.at;
        let real = usize::try_from(self.u64()?).unwrap_or(usize::MAX).min(size);
        Some(StackCopy { size_at, bytes, dyn_at: Some(dyn_at), real })
    }
}

#[inline]
fn word(record: &[u8], at: usize, endian: Endian) -> Option<u64> {
    record.get(at..)?.first_chunk().map(|b| endian.u64(*b))
}

/// The length of a READ field (`perf_output_read`): one value, or a group of them.
fn read_len(format: u64, record: &[u8], at: usize, endian: Endian) -> Option<usize> {
    let one = |bit: u64| usize::from(format & bit != 0);
    let times = one(read::TOTAL_TIME_ENABLED).saturating_add(one(read::TOTAL_TIME_RUNNING));
    let value = 1_usize.saturating_add(one(read::ID)).saturating_add(one(read::LOST));
    let words = if format & read::GROUP == 0 {
        value.checked_add(times)?
    } else {
        let count = usize::try_from(word(record, at, endian)?).ok()?;
        count.checked_mul(value)?.checked_add(times)?.checked_add(1)?
    };
    words.checked_mul(8)
}

#[cfg(test)]
mod tests {
    use super::super::layout::SampleLayout;
    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    fn layout(sample_type: u64, read_format: u64) -> SampleLayout {
        SampleLayout::new(&Asked { sample_type, read_format, ..Asked::default() })
    }

    #[test]
    fn raw_behind_read_and_callchain() {
        let tail = |mut record: Vec<u8>| {
            record.extend(4_u32.to_le_bytes());
            record.extend(b"data....");
            record
        };
        // READ of a group of two with ids and lost counts: nr, enabled, 2 x (value, id, lost).
        let group = layout(bit::READ | bit::CALLCHAIN | bit::RAW, 0b11101);
        let record = tail(words(&[0, 2, 9, 1, 1, 1, 2, 2, 2, 3, 7, 7, 7]));
        assert_eq!(group.raw(&record), Some(&b"data"[..]));
        let parts = group.tail.parts(&record, Endian::Little);
        assert_eq!(
            (parts.read, parts.chain, parts.raw),
            (Some(8..72), Some(80..104), Some(108..112))
        );
        // A single value with id and lost count.
        let single = layout(bit::READ | bit::RAW, 0b10100);
        let record = tail(words(&[0, 1, 2, 3]));
        assert_eq!(single.raw(&record), Some(&b"data"[..]));
        assert_eq!(single.raw(&record[..38]), None);
        let hostile = words(&[0, u64::MAX, 1]);
        let chain = layout(bit::CALLCHAIN | bit::RAW, 0);
        assert_eq!(chain.raw(&hostile), None);
        assert_eq!(chain.tail.parts(&hostile, Endian::Little), Parts::default());
    }

    const ALL: u64 = bit::CALLCHAIN
        | bit::RAW
        | bit::BRANCH_STACK
        | bit::REGS_USER
        | bit::STACK_USER
        | bit::WEIGHT
        | bit::DATA_SRC
        | bit::TRANSACTION
        | bit::REGS_INTR
        | bit::PHYS_ADDR
        | bit::CGROUP
        | bit::AUX;

    /// Three registers of the user's, two of the kernel's; branches with an index.
    fn all() -> Tail {
        Tail::new(
            &Asked {
                sample_type: ALL,
                branch_sample_type: branch::CALL_STACK | branch::HW_INDEX | branch::COUNTERS,
                regs_user: 0b1_0110,
                regs_intr: 0b11,
                ..Asked::default()
            },
            8,
        )
    }

    #[test]
    fn every_field_in_the_kernels_order() {
        let mut record = words(&[0, 2, 0xa1, 0xa2]); // header; CALLCHAIN to 32
        record.extend(12_u32.to_le_bytes()); // RAW to 48
        record.extend(b"twelve bytes");
        record.extend(words(&[1, 77, 0xf, 0x7, 0, 5])); // BRANCH_STACK: nr, index, entry; counters to 96
        record.extend(words(&[2, 1, 2, 4])); // REGS_USER to 128
        record.extend(words(&[16, 0x51, 0x52, 8])); // STACK_USER to 160
        record.extend(words(&[0, 0, 0])); // WEIGHT, DATA_SRC, TRANSACTION to 184
        record.extend(words(&[2, 8, 9])); // REGS_INTR to 208
        record.extend(words(&[0, 0, 8, 0])); // PHYS_ADDR, CGROUP, AUX
        let expect = Parts {
            read: None,
            chain: Some(16..32),
            raw: Some(36..48),
            branch_head: Some(48..64),
            branches: Some(64..88),
            no_branches: false,
            user: Some(Regs { abi_at: 96, abi: 2, regs: 104..128 }),
            stack: Some(StackCopy { size_at: 128, bytes: 136..152, dyn_at: Some(152), real: 8 }),
            intr: Some(Regs { abi_at: 184, abi: 2, regs: 192..208 }),
            whole: true,
        };
        assert_eq!(all().parts(&record, Endian::Little), expect);
        assert_eq!(all().raw_range(&record), Some((36, 12)));
        // Eight bytes less: all but the last field can be found.
        record.truncate(record.len() - 8);
        let cut = all().parts(&record, Endian::Little);
        assert_eq!(cut, Parts { whole: false, ..expect });
    }

    #[test]
    fn what_is_not_there_takes_no_room() {
        let mut tail = all();
        tail.raw = false;
        let mut record = words(&[0, 0]); // no frames
        record.extend(words(&[0])); // no branches, and no index
        record.extend(words(&[0])); // ABI 0: no registers
        record.extend(words(&[0])); // no stack: no real number of its bytes
        record.extend(words(&[0, 0, 0, 0, 0, 0, 0])); // three words, ABI 0, three words
        let parts = tail.parts(&record, Endian::Little);
        assert_eq!(parts.branch_head, Some(16..24));
        assert_eq!(parts.user, Some(Regs { abi_at: 24, abi: 0, regs: 32..32 }));
        let stack = StackCopy { size_at: 32, bytes: 40..40, dyn_at: None, real: 0 };
        assert_eq!(parts.stack, Some(stack));
        assert!(parts.whole);
        // A record that is a word longer has the index.
        record.extend(words(&[0]));
        let parts = tail.parts(&record, Endian::Little);
        assert_eq!(parts.branch_head, Some(16..32));
        assert_eq!(parts.user, Some(Regs { abi_at: 32, abi: 0, regs: 40..40 }));
    }

    #[test]
    fn a_stack_is_never_longer_than_its_copy() {
        let tail = layout(bit::STACK_USER, 0).tail;
        let parts = tail.parts(&words(&[0, 8, 0x51, u64::MAX]), Endian::Little);
        assert_eq!(parts.stack.map(|s| (s.bytes, s.real)), Some((16..24, 8)));
        let parts = tail.parts(&words(&[0, 32, 0x51, 8]), Endian::Little);
        assert_eq!((parts.stack, parts.whole), (None, false));
    }
}
