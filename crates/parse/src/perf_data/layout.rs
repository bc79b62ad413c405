//! `sample_type` to the offsets of a sample's fields, computed once per attribute.

use crate::cursor::{u32_at, u64_at};

/// Bits of `enum perf_event_sample_format`.
mod bit {
    pub(super) const IP: u64 = 1;
    pub(super) const TID: u64 = 1 << 1;
    pub(super) const TIME: u64 = 1 << 2;
    pub(super) const ADDR: u64 = 1 << 3;
    pub(super) const READ: u64 = 1 << 4;
    pub(super) const CALLCHAIN: u64 = 1 << 5;
    pub(super) const ID: u64 = 1 << 6;
    pub(super) const CPU: u64 = 1 << 7;
    pub(super) const PERIOD: u64 = 1 << 8;
    pub(super) const STREAM_ID: u64 = 1 << 9;
    pub(super) const RAW: u64 = 1 << 10;
    pub(super) const REGS_USER: u64 = 1 << 12;
    pub(super) const STACK_USER: u64 = 1 << 13;
    pub(super) const REGS_INTR: u64 = 1 << 18;
    pub(super) const IDENTIFIER: u64 = 1 << 16;
}

/// Bits of `enum perf_event_read_format`.
mod read {
    pub(super) const TOTAL_TIME_ENABLED: u64 = 1;
    pub(super) const TOTAL_TIME_RUNNING: u64 = 1 << 1;
    pub(super) const ID: u64 = 1 << 2;
    pub(super) const GROUP: u64 = 1 << 3;
    pub(super) const LOST: u64 = 1 << 4;
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
    pub(crate) tid: Option<usize>,
    pub(crate) time: Option<usize>,
    pub(crate) addr: Option<usize>,
    pub(crate) cpu: Option<usize>,
    pub(crate) period: Option<usize>,
    /// Where READ, CALLCHAIN or RAW begin.
    fixed_end: usize,
    read: Option<u64>,
    callchain: bool,
    raw: bool,
    /// Registers or stacks follow, which may hold anything.
    pub(crate) user_memory: bool,
    /// The same fields behind a sideband record (`sample_id_all`).
    pub(crate) trailer: Trailer,
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
    pub(crate) fn new(sample_type: u64, read_format: u64, sample_id_all: bool) -> Self {
        let has = |bit: u64| sample_type & bit != 0;
        let mut at = 8_usize;
        let mut place = |present: bool| {
            let here = at;
            at = at.saturating_add(if present { 8 } else { 0 });
            present.then_some(here)
        };
        let identifier = place(has(bit::IDENTIFIER));
        let _ip = place(has(bit::IP));
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
        if sample_id_all {
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
            tid,
            time,
            addr,
            cpu,
            period,
            fixed_end: at,
            read: has(bit::READ).then_some(read_format),
            callchain: has(bit::CALLCHAIN),
            raw: has(bit::RAW),
            user_memory: has(bit::REGS_USER | bit::STACK_USER | bit::REGS_INTR),
            trailer,
        }
    }

    /// The bytes of RAW: `None` where the sample has none or ends too early.
    #[inline]
    pub(crate) fn raw<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let (start, len) = self.raw_range(record)?;
        record.get(start..start.checked_add(len)?)
    }

    /// Where RAW begins and how long it is.
    #[inline]
    pub(crate) fn raw_range(&self, record: &[u8]) -> Option<(usize, usize)> {
        if !self.raw {
            return None;
        }
        let mut at = self.fixed_end;
        if let Some(format) = self.read {
            at = at.checked_add(read_len(format, record, at)?)?;
        }
        if self.callchain {
            let frames = usize::try_from(u64_at(record, at)?).ok()?;
            at = at.checked_add(8)?.checked_add(frames.checked_mul(8)?)?;
        }
        let len = u32_at(record, at)? as usize;
        Some((at.checked_add(4)?, len))
    }
}

impl SampleLayout {
    /// Calls `flip` with the place and size of each number in READ and CALLCHAIN, and
    /// of RAW's length: a count is turned round before it is used.
    pub(super) fn flip_counted(&self, record: &mut [u8], flip: impl Fn(&mut [u8], usize, usize)) {
        let words = |record: &mut [u8], from: usize, bytes: usize| {
            let end = from.saturating_add(bytes).min(record.len());
            (from..end).step_by(8).for_each(|at| flip(record, at, 8));
        };
        let mut at = self.fixed_end;
        if let Some(format) = self.read {
            let count = if format & read::GROUP == 0 { 0 } else { 8 };
            words(record, at, count);
            let Some(len) = read_len(format, record, at) else { return };
            words(record, at.saturating_add(count), len.saturating_sub(count));
            at = at.saturating_add(len);
        }
        if self.callchain {
            words(record, at, 8);
            let frames = u64_at(record, at).and_then(|n| usize::try_from(n).ok());
            let Some(len) = frames.and_then(|n| n.checked_mul(8)) else { return };
            words(record, at.saturating_add(8), len);
            at = at.saturating_add(8).saturating_add(len);
        }
        if self.raw {
            flip(record, at, 4);
        }
    }
}

/// The length of a READ field (`perf_output_read`): one value, or a group of them.
fn read_len(format: u64, record: &[u8], at: usize) -> Option<usize> {
    let one = |bit: u64| usize::from(format & bit != 0);
    let times = one(read::TOTAL_TIME_ENABLED).saturating_add(one(read::TOTAL_TIME_RUNNING));
    let value = 1_usize.saturating_add(one(read::ID)).saturating_add(one(read::LOST));
    let words = if format & read::GROUP == 0 {
        value.checked_add(times)?
    } else {
        let count = usize::try_from(u64_at(record, at)?).ok()?;
        count.checked_mul(value)?.checked_add(times)?.checked_add(1)?
    };
    words.checked_mul(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_a_perf_record_sample() {
        // IP|TID|TIME|ADDR|CPU|PERIOD|RAW|IDENTIFIER, as `perf record -d -a -c 1` asks.
        let layout = SampleLayout::new(0x1058f, 0, true);
        assert_eq!(layout.id, Some(8));
        assert_eq!((layout.tid, layout.time, layout.addr), (Some(24), Some(32), Some(40)));
        assert_eq!((layout.cpu, layout.period, layout.fixed_end), (Some(48), Some(56), 64));
        let trailer =
            Trailer { id: Some(8), cpu: Some(16), time: Some(24), tid: Some(32), size: 32 };
        assert_eq!(layout.trailer, trailer);
    }

    #[test]
    fn raw_behind_read_and_callchain() {
        let words =
            |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
        let tail = |mut record: Vec<u8>| {
            record.extend(4_u32.to_le_bytes());
            record.extend(b"data....");
            record
        };
        // READ of a group of two with ids and lost counts: nr, enabled, 2 x (value, id, lost).
        let layout = SampleLayout::new(bit::READ | bit::CALLCHAIN | bit::RAW, 0b11101, false);
        let record = tail(words(&[0, 2, 9, 1, 1, 1, 2, 2, 2, 3, 7, 7, 7]));
        assert_eq!(layout.raw(&record), Some(&b"data"[..]));
        // A single value with id and lost count.
        let layout = SampleLayout::new(bit::READ | bit::RAW, 0b10100, false);
        let record = tail(words(&[0, 1, 2, 3]));
        assert_eq!(layout.raw(&record), Some(&b"data"[..]));
        assert_eq!(layout.raw(&record[..38]), None);
        let hostile = words(&[0, u64::MAX, 1]);
        assert_eq!(SampleLayout::new(bit::CALLCHAIN | bit::RAW, 0, false).raw(&hostile), None);
    }
}
