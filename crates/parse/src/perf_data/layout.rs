//! `sample_type` to the offsets of a sample's fields, computed once per attribute.

use super::record::kind;
use super::tail::Tail;
use crate::units::Cpu;

/// Bits of `enum perf_event_sample_format`.
pub(super) mod bit {
    pub(crate) const IP: u64 = 1;
    pub(crate) const TID: u64 = 1 << 1;
    pub(crate) const TIME: u64 = 1 << 2;
    pub(crate) const ADDR: u64 = 1 << 3;
    pub(crate) const READ: u64 = 1 << 4;
    pub(crate) const CALLCHAIN: u64 = 1 << 5;
    pub(crate) const ID: u64 = 1 << 6;
    pub(crate) const CPU: u64 = 1 << 7;
    pub(crate) const PERIOD: u64 = 1 << 8;
    pub(crate) const STREAM_ID: u64 = 1 << 9;
    pub(crate) const RAW: u64 = 1 << 10;
    pub(crate) const BRANCH_STACK: u64 = 1 << 11;
    pub(crate) const REGS_USER: u64 = 1 << 12;
    pub(crate) const STACK_USER: u64 = 1 << 13;
    pub(crate) const WEIGHT: u64 = 1 << 14;
    pub(crate) const DATA_SRC: u64 = 1 << 15;
    pub(crate) const IDENTIFIER: u64 = 1 << 16;
    pub(crate) const TRANSACTION: u64 = 1 << 17;
    pub(crate) const REGS_INTR: u64 = 1 << 18;
    pub(crate) const PHYS_ADDR: u64 = 1 << 19;
    pub(crate) const AUX: u64 = 1 << 20;
    pub(crate) const CGROUP: u64 = 1 << 21;
    pub(crate) const DATA_PAGE_SIZE: u64 = 1 << 22;
    pub(crate) const CODE_PAGE_SIZE: u64 = 1 << 23;
    pub(crate) const WEIGHT_STRUCT: u64 = 1 << 24;
}

/// What an attribute asks for (`struct perf_event_attr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) sample_type: u64,
    pub(crate) read_format: u64,
    pub(crate) sample_id_all: bool,
    pub(crate) branch_sample_type: u64,
    pub(crate) regs_user: u64,
    pub(crate) regs_intr: u64,
}

/// Where the fields of a sample lie. Offsets count from the record's first byte,
/// its 8-byte header included.
///
/// ```text
/// header | IDENTIFIER IP TID TIME ADDR ID STREAM_ID CPU PERIOD | READ CALLCHAIN RAW ...
///        |<- fixed: each 8 bytes where its bit is set ------->|<- lengths inside --->
/// ```
/// (`perf_output_sample` in kernel/events/core.c.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SampleLayout {
    /// Of the attribute's id: IDENTIFIER, else ID.
    pub(crate) id: Option<usize>,
    pub(crate) ip: Option<usize>,
    pub(crate) tid: Option<usize>,
    pub(crate) time: Option<usize>,
    pub(crate) addr: Option<usize>,
    pub(crate) cpu: Option<usize>,
    pub(crate) period: Option<usize>,
    pub(crate) tail: Tail,
    /// The same fields behind a sideband record (`sample_id_all`).
    pub(crate) trailer: Trailer,
}

/// Where id, task, time and CPU of every sample lie, as numbers of words of 8 bytes from the
/// record's start, below 8. `perf record` asks so; one check is then enough for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrontWords {
    id: usize,
    tid: usize,
    time: usize,
    cpu: usize,
}

/// What every sample tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    /// Process in the low half, thread in the high one; all bits set where it does not tell.
    pub(crate) task: u64,
    pub(crate) cpu: Cpu,
    /// Index of its attribute.
    pub(crate) attr: u16,
    /// Bytes of the whole record.
    pub(crate) size: u16,
}

/// What [`FrontWords`] find in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) time: u64,
    pub(crate) id: u64,
    pub(crate) front: Front,
}

impl FrontWords {
    /// `None` where the attributes do not agree, or lack one of them.
    pub(crate) fn of<'l>(mut layouts: impl Iterator<Item = &'l SampleLayout>) -> Option<Self> {
        let word = |at: Option<usize>| at.map(|at| at / 8).filter(|word| *word < 8);
        let front = |layout: &SampleLayout| {
            let (id, tid) = (word(layout.id)?, word(layout.tid)?);
            Some(Self { id, tid, time: word(layout.time)?, cpu: word(layout.cpu)? })
        };
        let first = front(layouts.next()?)?;
        layouts.all(|layout| front(layout) == Some(first)).then_some(first)
    }

    /// The sample that `data` begin with, its attribute not yet looked up. `None` for any
    /// other record, for one that is cut off, and for a sample of less than 8 words.
    #[inline]
    pub(crate) fn read(self, data: &[u8]) -> Option<Found> {
        let (words, _) = data.first_chunk::<64>()?.as_chunks::<8>();
        let word = |at: usize| words.get(at & 7).map(|word| u64::from_le_bytes(*word));
        // `struct perf_event_header`: u32 type, u16 misc, u16 size; the casts take them
        // apart, and `u32 cpu, res` below.
        let header = word(0)?;
        let size = (header >> 48) as u16;
        if header as u32 != kind::SAMPLE || size < 64 || usize::from(size) > data.len() {
            return None;
        }
        let cpu = Cpu(word(self.cpu)? as u32);
        let front = Front { task: word(self.tid)?, cpu, attr: 0, size };
        Some(Found { time: word(self.time)?, id: word(self.id)?, front })
    }
}

/// Where the fields of `struct sample_id` lie. Offsets count back from the
/// record's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) id: Option<usize>,
    pub(crate) tid: Option<usize>,
    pub(crate) time: Option<usize>,
    pub(crate) cpu: Option<usize>,
    /// Bytes.
    pub(crate) size: usize,
}

impl SampleLayout {
    pub(crate) fn new(asked: &Asked) -> Self {
        let has = |bit: u64| asked.sample_type & bit != 0;
        let mut at = 8_usize;
        let mut place = |present: bool| {
            let here = at;
            at = at.saturating_add(if present { 8 } else { 0 });
            present.then_some(here)
        };
        let identifier = place(has(bit::IDENTIFIER));
        let ip = place(has(bit::IP));
        let tid = place(has(bit::TID));
        let time = place(has(bit::TIME));
        let addr = place(has(bit::ADDR));
        let id = place(has(bit::ID));
        let _stream = place(has(bit::STREAM_ID));
        let cpu = place(has(bit::CPU));
        let period = place(has(bit::PERIOD));
        let mut back = 0_usize;
        let mut place = |present: bool| {
            back = back.saturating_add(if present { 8 } else { 0 });
            present.then_some(back)
        };
        // From the end: IDENTIFIER, CPU, STREAM_ID, ID, TIME, TID.
        let mut trailer = Trailer::default();
        if asked.sample_id_all {
            let identifier = place(has(bit::IDENTIFIER));
            trailer.cpu = place(has(bit::CPU));
            let _stream = place(has(bit::STREAM_ID));
            let id = place(has(bit::ID));
            trailer.time = place(has(bit::TIME));
            trailer.tid = place(has(bit::TID));
            trailer.id = identifier.or(id);
            trailer.size = back;
        }
        Self {
            id: identifier.or(id),
            ip,
            tid,
            time,
            addr,
            cpu,
            period,
            tail: Tail::new(asked, at),
            trailer,
        }
    }

    /// The bytes of RAW: `None` where the sample has none or ends too early.
    #[inline]
    pub(crate) fn raw<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let (start, len) = self.tail.raw_range(record)?;
        record.get(start..start.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_of_samples_that_agree() {
        let layout = |sample_type| SampleLayout::new(&Asked { sample_type, ..Asked::default() });
        let (with_raw, without) = (layout(0x1_058f), layout(0x1_018f));
        let front = FrontWords::of([&with_raw, &without].into_iter()).unwrap();
        assert_eq!(front, FrontWords { id: 1, tid: 3, time: 4, cpu: 6 });
        // Without ADDR the CPU lies elsewhere; without IDENTIFIER there is no id.
        assert_eq!(FrontWords::of([&with_raw, &layout(0x1_0587)].into_iter()), None);
        assert_eq!(FrontWords::of([&layout(0x58f)].into_iter()), None);
        assert_eq!(FrontWords::of([].into_iter()), None);
    }

    #[test]
    fn the_front_is_read_of_whole_samples_alone() {
        let front = FrontWords { id: 1, tid: 3, time: 4, cpu: 6 };
        let record = |kind: u64, size: u64| -> Vec<u8> {
            let words = (0..10_u64).map(|n| if n == 0 { kind | size << 48 } else { n * 10 });
            words.flat_map(u64::to_le_bytes).collect()
        };
        for size in [64, 72, 80] {
            let data = record(9, size);
            let tells = Front { task: 30, cpu: Cpu(60), attr: 0, size: size as u16 };
            let found = Found { time: 40, id: 10, front: tells };
            assert_eq!(front.read(&data), Some(found), "{size}");
        }
        // Less than 8 words; cut off; another record.
        assert_eq!(front.read(&record(9, 63)), None);
        assert_eq!(front.read(&record(9, 64)[..63]), None);
        assert_eq!(front.read(&record(9, 81)), None);
        assert_eq!(
            [10, 1 << 8 | 9, 1 << 31 | 9].map(|kind| front.read(&record(kind, 64))),
            [None; 3]
        );
    }

    #[test]
    fn offsets_of_a_perf_record_sample() {
        // IP|TID|TIME|ADDR|CPU|PERIOD|RAW|IDENTIFIER, as `perf record -d -a -c 1` asks.
        let layout = SampleLayout::new(&Asked {
            sample_type: 0x1058f,
            sample_id_all: true,
            ..Asked::default()
        });
        assert_eq!(layout.id, Some(8));
        assert_eq!((layout.tid, layout.time, layout.addr), (Some(24), Some(32), Some(40)));
        assert_eq!((layout.ip, layout.cpu, layout.period), (Some(16), Some(48), Some(56)));
        let trailer =
            Trailer { id: Some(8), cpu: Some(16), time: Some(24), tid: Some(32), size: 32 };
        assert_eq!(layout.trailer, trailer);
    }
}
