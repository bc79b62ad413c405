//! The data section to raw records: type, size and bytes, in the order of the file.

use crate::cursor::{Cursor, Endian, u32_at, u64_at};

/// Record types: the kernel's (include/uapi/linux/perf_event.h), and from 64 on
/// perf's own (tools/lib/perf/include/perf/event.h).
pub(crate) mod kind {
    pub(crate) const MMAP: u32 = 1;
    pub(crate) const LOST: u32 = 2;
    pub(crate) const COMM: u32 = 3;
    pub(crate) const EXIT: u32 = 4;
    pub(crate) const THROTTLE: u32 = 5;
    pub(crate) const UNTHROTTLE: u32 = 6;
    pub(crate) const FORK: u32 = 7;
    pub(crate) const SAMPLE: u32 = 9;
    pub(crate) const MMAP2: u32 = 10;
    pub(crate) const ITRACE_START: u32 = 12;
    pub(crate) const LOST_SAMPLES: u32 = 13;
    pub(crate) const SWITCH: u32 = 14;
    pub(crate) const SWITCH_CPU_WIDE: u32 = 15;
    pub(crate) const NAMESPACES: u32 = 16;
    pub(crate) const KSYMBOL: u32 = 17;
    pub(crate) const CALLCHAIN_DEFERRED: u32 = 22;
    pub(crate) const USER: u32 = 64;
    pub(crate) const HEADER_ATTR: u32 = 64;
    pub(crate) const HEADER_TRACING_DATA: u32 = 66;
    pub(crate) const HEADER_BUILD_ID: u32 = 67;
    pub(crate) const FINISHED_ROUND: u32 = 68;
    pub(crate) const ID_INDEX: u32 = 69;
    pub(crate) const AUXTRACE: u32 = 71;
    pub(crate) const THREAD_MAP: u32 = 73;
    pub(crate) const CPU_MAP: u32 = 74;
    pub(crate) const EVENT_UPDATE: u32 = 78;
    pub(crate) const TIME_CONV: u32 = 79;
    pub(crate) const HEADER_FEATURE: u32 = 80;
    pub(crate) const COMPRESSED: u32 = 81;
    pub(crate) const FINISHED_INIT: u32 = 82;
    pub(crate) const COMPRESSED2: u32 = 83;
}

/// The name of a record type, without its `PERF_RECORD_`.
pub(crate) fn name(kind: u32) -> &'static str {
    const KERNEL: [&str; 23] = [
        "0",
        "MMAP",
        "LOST",
        "COMM",
        "EXIT",
        "THROTTLE",
        "UNTHROTTLE",
        "FORK",
        "READ",
        "SAMPLE",
        "MMAP2",
        "AUX",
        "ITRACE_START",
        "LOST_SAMPLES",
        "SWITCH",
        "SWITCH_CPU_WIDE",
        "NAMESPACES",
        "KSYMBOL",
        "BPF_EVENT",
        "CGROUP",
        "TEXT_POKE",
        "AUX_OUTPUT_HW_ID",
        "CALLCHAIN_DEFERRED",
    ];
    const USER: [&str; 20] = [
        "HEADER_ATTR",
        "HEADER_EVENT_TYPE",
        "HEADER_TRACING_DATA",
        "HEADER_BUILD_ID",
        "FINISHED_ROUND",
        "ID_INDEX",
        "AUXTRACE_INFO",
        "AUXTRACE",
        "AUXTRACE_ERROR",
        "THREAD_MAP",
        "CPU_MAP",
        "STAT_CONFIG",
        "STAT",
        "STAT_ROUND",
        "EVENT_UPDATE",
        "TIME_CONV",
        "HEADER_FEATURE",
        "COMPRESSED",
        "FINISHED_INIT",
        "COMPRESSED2",
    ];
    let table: &[&'static str] = if kind < kind::USER { &KERNEL } else { &USER };
    table
        .get((kind % kind::USER) as usize)
        .copied()
        .filter(|_| kind < 2 * kind::USER)
        .unwrap_or("?")
}

/// One record, its header included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) kind: u32,
    pub(crate) misc: u16,
    /// All its bytes; the first 8 are its header.
    pub(crate) bytes: &'a [u8],
    /// Of its first byte, from the start of the data section.
    pub(crate) offset: usize,
    /// Bytes that follow the record without being counted in its size.
    pub(crate) behind: u64,
}

/// The record at `offset` of the data section.
#[inline]
pub(crate) fn at(data: &[u8], offset: usize) -> Result<Raw<'_>, Stop> {
    let rest = data.get(offset..).unwrap_or(&[]);
    let Some(header) = u64_at(rest, 0) else {
        return Err(if rest.is_empty() { Stop::End } else { Stop::Truncated });
    };
    // `struct perf_event_header`: u32 type, u16 misc, u16 size; the casts take them apart.
    let size = (header >> 48) as usize;
    if size < 8 {
        return Err(Stop::BadSize);
    }
    let bytes = rest.get(..size).ok_or(Stop::Truncated)?;
    let kind = header as u32;
    let behind = match kind {
        // `struct perf_record_auxtrace`: u64 size.
        kind::AUXTRACE => u64_at(bytes, 8),
        // `struct perf_record_header_tracing_data`: u32 size, padded to 8 bytes.
        kind::HEADER_TRACING_DATA => u32_at(bytes, 8).map(padded),
        _ => None,
    };
    Ok(Raw { kind, misc: (header >> 32) as u16, bytes, offset, behind: behind.unwrap_or(0) })
}

fn padded(size: u32) -> u64 {
    u64::from(size).next_multiple_of(8)
}

/// The same of a capture in either order of bytes. The body keeps its order.
pub(crate) fn at_endian(data: &[u8], offset: usize, endian: Endian) -> Result<Raw<'_>, Stop> {
    if endian == Endian::Little {
        return at(data, offset);
    }
    let rest = data.get(offset..).unwrap_or(&[]);
    let mut cursor = Cursor::with(rest, endian);
    let (Some(kind), Some(misc), Some(size)) = (cursor.u32(), cursor.u16(), cursor.u16()) else {
        return Err(if rest.is_empty() { Stop::End } else { Stop::Truncated });
    };
    if size < 8 {
        return Err(Stop::BadSize);
    }
    let bytes = rest.get(..size.into()).ok_or(Stop::Truncated)?;
    let behind = match kind {
        kind::AUXTRACE => cursor.u64(),
        kind::HEADER_TRACING_DATA => cursor.u32().map(padded),
        _ => None,
    };
    Ok(Raw { kind, misc, bytes, offset, behind: behind.unwrap_or(0) })
}

/// Why there is no further record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The data section is done.
    End,
    /// It ends within a record.
    Truncated,
    /// A record smaller than its own header: what follows cannot be found.
    BadSize,
}

impl Raw<'_> {
    /// Where the next record begins.
    #[inline]
    pub(crate) fn next(&self) -> usize {
        let behind = usize::try_from(self.behind).unwrap_or(usize::MAX);
        self.offset.saturating_add(self.bytes.len()).saturating_add(behind)
    }
    pub(crate) fn u32(&self, at: usize) -> Option<u32> {
        u32_at(self.bytes, at)
    }
    pub(crate) fn u64(&self, at: usize) -> Option<u64> {
        u64_at(self.bytes, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_ranges() {
        assert_eq!(
            [name(1), name(22), name(68), name(83)],
            ["MMAP", "CALLCHAIN_DEFERRED", "FINISHED_ROUND", "COMPRESSED2"]
        );
        assert_eq!([name(23), name(84), name(132), name(u32::MAX)], ["?"; 4]);
    }

    #[test]
    fn a_record_must_fit() {
        let record = [68, 0, 0, 0, 0, 0, 8, 0];
        assert_eq!(at(&record, 0).unwrap().next(), 8);
        assert_eq!(at(&record, 8).unwrap_err(), Stop::End);
        assert_eq!(at(&record[..7], 0).unwrap_err(), Stop::Truncated);
        assert_eq!(at(&[1, 0, 0, 0, 0, 0, 9, 0], 0).unwrap_err(), Stop::Truncated);
        assert_eq!(at(&[1, 0, 0, 0, 0, 0, 7, 0], 0).unwrap_err(), Stop::BadSize);
    }
}
