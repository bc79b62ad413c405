//! Times of a task's recorded events, to how many of them lie within a stretch of time.
//!
//! ```text
//! event     0            1    2    ...  63   | 64           65   ...
//! kept as   block: time  gap  gap  ...  gap  | block: time  gap  ...
//! ```
//! A gap to the event before takes two bytes below 32 us, four below a second.

use agenttrace_parse::Nanos;
use bytemuck::{Pod, Zeroable};

use crate::scratch::{Rows, Spill};

/// Of every so many events, the first one's time is kept whole.
const BLOCK: u64 = 64;

/// So many bits of a gap are kept in one place.
const BITS: u32 = 15;
/// Set where more of a gap follows.
const MORE: u64 = 1 << BITS;

/// When each event of a task was recorded while it was current, in time order.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    blocks: Rows<Block>,
    /// The other events' distances to the one before, 15 bits each, the lowest first; the
    /// top bit says that more follow.
    gaps: Rows<u16>,
    count: u64,
    last: Nanos,
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Block {
    /// Time of its first event, in ns.
    first: u64,
    /// Where the gaps of its other events begin.
    gaps: u64,
}

impl Recorded {
    /// The next event. One that seems to be before the last is taken to be at the same time.
    #[inline(always)]
    pub(crate) fn push(&mut self, time: Nanos) {
        let gap = time - self.last;
        self.last = self.last.max(time);
        if gap.0 < MORE && !self.count.is_multiple_of(BLOCK) {
            self.gaps.push(gap.0 as u16);
        } else {
            self.push_other(gap.0);
        }
        self.count += 1;
    }

    /// The first of a block, or one after a long gap.
    #[inline(never)]
    fn push_other(&mut self, mut gap: u64) {
        if self.count.is_multiple_of(BLOCK) {
            self.blocks.push(Block { first: self.last.0, gaps: self.gaps.count() as u64 });
            return;
        }
        while gap >= MORE {
            self.gaps.push((gap & (MORE - 1) | MORE) as u16);
            gap >>= BITS;
        }
        self.gaps.push(gap as u16);
    }

    /// The rows, to be moved.
    pub(crate) fn rows(&mut self) -> [&mut dyn Spill; 2] {
        [&mut self.blocks, &mut self.gaps]
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many events lie within `[from, to)`.
    #[must_use]
    pub fn within(&self, from: Nanos, to: Nanos) -> u64 {
        RecordedCursor::default().within(self, from, to)
    }

    /// The first event after a time.
    #[must_use]
    pub fn first_after(&self, time: Nanos) -> Option<Nanos> {
        let mut cursor = RecordedCursor::default();
        let before = cursor.before(self, Nanos(time.0.checked_add(1)?));
        (before < self.count).then_some(cursor.next)
    }
}

/// Where a reader of one [`Recorded`] is: cheap where each stretch begins near the end of the
/// one before.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordedCursor {
    /// It stands before the first event at or after this time.
    at: Nanos,
    /// Events before that one.
    before: u64,
    /// That event's time.
    next: Nanos,
    /// Where the gap that follows that event is.
    gaps: usize,
    /// How many events lie before the next block, which begins at this time.
    block: u64,
    beyond: Nanos,
}

impl RecordedCursor {
    /// How many events lie within `[from, to)`.
    pub fn within(&mut self, of: &Recorded, from: Nanos, to: Nanos) -> u64 {
        // Most stretches begin where the one before ended.
        let before = if from == self.at { self.before } else { self.before(of, from) };
        self.before(of, to).saturating_sub(before)
    }

    /// How many events lie before a time.
    #[inline]
    pub fn before(&mut self, of: &Recorded, time: Nanos) -> u64 {
        if time < self.at || self.beyond < time {
            self.jump(of, time);
        }
        self.at = time;
        while self.next < time {
            self.step(of);
        }
        self.before
    }

    /// To the first event of the last block that begins before a time.
    #[inline(never)]
    fn jump(&mut self, of: &Recorded, time: Nanos) {
        let after = of.blocks.settled().partition_point(|block| block.first < time.0);
        self.enter(of, after.saturating_sub(1));
    }

    /// To the first event of a block.
    #[inline(never)]
    fn enter(&mut self, of: &Recorded, block: usize) {
        let first = |block: usize| of.blocks.settled().get(block).copied();
        let never = Block { first: u64::MAX, gaps: 0 };
        let found = first(block).unwrap_or(never);
        self.before = (block as u64 * BLOCK).min(of.count);
        self.block = (self.before + BLOCK).min(of.count);
        (self.next, self.gaps) = (Nanos(found.first), index(found.gaps));
        self.beyond = Nanos(first(block + 1).unwrap_or(never).first);
    }

    /// To the next event; behind the last, to none.
    #[inline]
    fn step(&mut self, of: &Recorded) {
        self.before += 1;
        if self.before < self.block {
            let gap = self.gap(of);
            self.next += gap;
        } else if self.before < of.count {
            self.enter(of, index(self.before / BLOCK));
        } else {
            self.next = Nanos::MAX;
        }
    }

    /// The gap to the next event of a block.
    #[inline]
    fn gap(&mut self, of: &Recorded) -> Nanos {
        let gaps = of.gaps.settled();
        let (mut gap, mut shift) = (0_u64, 0_u32);
        while let Some(part) = gaps.get(self.gaps).copied().map(u64::from) {
            self.gaps += 1;
            gap |= (part & (MORE - 1)).checked_shl(shift).unwrap_or(0);
            shift += BITS;
            if part < MORE {
                break;
            }
        }
        Nanos(gap)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Recorded {
        let mut recorded = Recorded::default();
        for time in times {
            recorded.push(Nanos(*time));
        }
        recorded
    }

    #[test]
    fn counts_within_half_open_stretches() {
        let recorded = of(&[100, 100, 227, 32_994, 65_762, 5_000_000_000]);
        let within = |from, to| recorded.within(Nanos(from), Nanos(to));
        assert_eq!(within(0, 100), 0);
        assert_eq!(within(100, 101), 2);
        assert_eq!(within(101, 32_994), 1);
        assert_eq!(within(227, 5_000_000_000), 3);
        assert_eq!(within(65_762, 65_763), 1);
        assert_eq!(within(0, u64::MAX), 6);
        assert_eq!(within(300, 200), 0);
        assert_eq!((recorded.len(), recorded.is_empty()), (6, false));
        assert_eq!(Recorded::default().within(Nanos(0), Nanos::MAX), 0);
        // The longest gap of one part, the shortest of two, and one of three.
        assert_eq!(recorded.gaps.settled(), [0, 127, 32_767, 0x8000, 1, 0xf11e, 0xd409, 0x4]);
    }

    #[test]
    fn an_event_that_seems_to_be_early_is_at_the_time_of_the_last() {
        let recorded = of(&[50, 40, 60]);
        assert_eq!(recorded.within(Nanos(0), Nanos(50)), 0);
        assert_eq!(recorded.within(Nanos(50), Nanos(60)), 2);
    }

    #[test]
    fn the_first_after_a_time_is_later_than_it() {
        let recorded = of(&[50, 50, 60]);
        let first = |time| recorded.first_after(Nanos(time)).map(|found| found.0);
        assert_eq!([first(49), first(50), first(60)], [Some(50), Some(60), None]);
    }

    #[test]
    fn a_cursor_that_goes_on_or_back_counts_what_a_search_counts() {
        // Gaps of many sizes, some 0, over many blocks.
        let (mut time, mut times) = (1000, Vec::new());
        for n in 0..1000_u64 {
            time += [0, 1, 127, 32_767, 32_768, 65_535, 3_000_000_000][(n % 7) as usize] * (n % 3);
            times.push(time);
        }
        let recorded = of(&times);
        let count =
            |from: u64, to: u64| times.iter().filter(|at| from <= **at && **at < to).count() as u64;
        let mut cursor = RecordedCursor::default();
        for n in 0..times.len() {
            for (from, to) in [(n, n + 1), (n, n + 200), (n.saturating_sub(150), n)] {
                let (from, to) = (times[from], times[to.min(999)]);
                for (from, to) in [(from, to), (from + 1, to), (from, to + 1)] {
                    let expected = if from < to { count(from, to) } else { 0 };
                    assert_eq!(
                        cursor.within(&recorded, Nanos(from), Nanos(to)),
                        expected,
                        "{from} {to}"
                    );
                    assert_eq!(recorded.within(Nanos(from), Nanos(to)), expected);
                }
            }
        }
    }
}
