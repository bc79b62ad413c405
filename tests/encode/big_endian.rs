//! Little-endian attributes, records and features as a big-endian machine has them.

use super::recording::{Recording, feature as bit, half, kind, word};
use super::shape::{self, Part};

/// Turns the bytes of one number around.
fn turn(bytes: &mut [u8], at: usize, size: usize) {
    bytes[at..at + size].reverse();
}

fn turn_all(bytes: &mut [u8], from: usize, to: usize, size: usize) {
    for at in (from..to).step_by(size) {
        turn(bytes, at, size);
    }
}

/// `struct perf_event_attr`. The flags are a C bit field: a big-endian compiler fills
/// each byte from its highest bit.
pub(crate) fn attr(attr: &[u8]) -> Vec<u8> {
    let mut out = attr.to_vec();
    // (first byte, size) of each field, without the flags at 40.
    let fields = [
        (0, 4),
        (4, 4),
        (8, 8),
        (16, 8),
        (24, 8),
        (32, 8),
        (48, 4),
        (52, 4),
        (56, 8),
        (64, 8),
        (72, 8),
        (80, 8),
        (88, 4),
        (92, 4),
        (96, 8),
        (104, 4),
        (108, 2),
        (110, 2),
        (112, 4),
        (116, 4),
        (120, 8),
    ];
    for (at, size) in fields {
        if at + size <= out.len() {
            turn(&mut out, at, size);
        }
    }
    turn_all(&mut out, 128, attr.len().max(128), 8);
    for flags in &mut out[40..48] {
        *flags = flags.reverse_bits();
    }
    out
}

/// A record; samples and trailers by the attributes, raw data by their format.
pub(crate) fn record(recording: &Recording, record: &[u8]) -> Vec<u8> {
    let mut out = record.to_vec();
    turn(&mut out, 0, 4);
    turn(&mut out, 4, 2);
    turn(&mut out, 6, 2);
    let kind = half(record, 0);
    let words = |out: &mut [u8], halves: usize, words: usize| {
        turn_all(out, 8, 8 + 4 * halves, 4);
        let from = 8 + 4 * halves;
        turn_all(out, from, from + 8 * words, 8);
    };
    match kind {
        kind::FINISHED_ROUND | kind::FINISHED_INIT => return out,
        kind::HEADER_ATTR => {
            let size = half(record, 12) as usize;
            out[8..8 + size].copy_from_slice(&attr(&record[8..8 + size]));
            turn_all(&mut out, 8 + size, record.len(), 8);
            return out;
        }
        kind::HEADER_FEATURE => {
            words(&mut out, 0, 1);
            return out;
        }
        kind::HEADER_TRACING_DATA | kind::HEADER_BUILD_ID => {
            words(&mut out, 1, 0);
            return out;
        }
        kind::EVENT_UPDATE => {
            words(&mut out, 0, 2);
            return out;
        }
        SAMPLE => {
            sample(recording, record, &mut out);
            return out;
        }
        // COMM: pid, tid, name.
        3 => words(&mut out, 2, 0),
        // LOST: id, count.
        2 => words(&mut out, 0, 2),
        // EXIT, FORK: pid, ppid, tid, ptid, time.
        4 | 7 => words(&mut out, 4, 1),
        // MMAP2: pid, tid; addr, len, pgoff; maj, min; ino, generation; prot, flags; name.
        10 => {
            words(&mut out, 2, 3);
            let build_id = half(record, 4) & 1 << 14 != 0;
            if !build_id {
                turn_all(&mut out, 40, 48, 4);
                turn_all(&mut out, 48, 64, 8);
            }
            turn_all(&mut out, 64, 72, 4);
        }
        other => panic!("the encoder does not know record type {other}"),
    }
    let sample_type = shape::sample_type(&recording.attrs[0]);
    for (part, back) in shape::trailer(sample_type) {
        turn_part(&mut out, part, record.len() - back);
    }
    out
}

const SAMPLE: u32 = 9;

fn turn_part(out: &mut [u8], part: Part, at: usize) {
    match part {
        // pid and tid; CPU and nothing.
        Part::Tid | Part::Cpu => turn_all(out, at, at + 8, 4),
        Part::Identifier
        | Part::Ip
        | Part::Time
        | Part::Addr
        | Part::Id
        | Part::StreamId
        | Part::Period => turn(out, at, 8),
    }
}

fn sample(recording: &Recording, record: &[u8], out: &mut [u8]) {
    let attr = shape::attr_of(recording, record).expect("a known id");
    let (parts, mut at) = shape::fixed(shape::sample_type(attr));
    for (part, at) in parts {
        turn_part(out, part, at);
    }
    let sample_type = shape::sample_type(attr);
    if sample_type & shape::READ != 0 {
        let end = at + shape::read_len(word(&attr.bytes, 32), &record[at..]);
        turn_all(out, at, end, 8);
        at = end;
    }
    assert_eq!(sample_type & shape::CALLCHAIN, 0, "the fixtures have no call chains");
    if sample_type & shape::RAW == 0 {
        return;
    }
    turn(out, at, 4);
    let raw = at + 4;
    let Some(fields) = recording.tracing.fields(word(&attr.bytes, 8)) else { return };
    for field in fields {
        let words: Vec<&str> = field.declaration.split([' ', '[']).collect();
        // The place of a string: one number of 4 bytes.
        let elsewhere = words[0] == "__data_loc" || words[0] == "__rel_loc";
        let text = words.contains(&"char") && field.declaration.contains('[');
        let element = match field.declaration.split_once('[').map(|(_, n)| n.trim_end_matches(']'))
        {
            Some(n) if !elsewhere => field.size / n.parse::<usize>().expect("a count"),
            _ => field.size,
        };
        if elsewhere {
            assert!(text, "dynamic arrays of numbers are not in the fixtures: {words:?}");
            turn(out, raw + field.offset, 4);
        } else if !text && element > 1 {
            turn_all(out, raw + field.offset, raw + field.offset + field.size, element);
        }
    }
}

/// A feature's bytes (tools/perf/util/header.c, `write_*`).
pub(crate) fn feature(recording: &Recording, feature: u32, body: &[u8]) -> Vec<u8> {
    const HOSTNAME: u32 = 3;
    const NRCPUS: u32 = 7;
    const CPUDESC: u32 = 8;
    const CPUID: u32 = 9;
    const TOTAL_MEM: u32 = 10;
    const CMDLINE: u32 = 11;
    const CPU_TOPOLOGY: u32 = 13;
    const NUMA_TOPOLOGY: u32 = 14;
    const PMU_MAPPINGS: u32 = 16;
    const CLOCKID: u32 = 23;
    const CLOCK_DATA: u32 = 29;
    let mut t = Turner { out: body.to_vec(), at: 0 };
    match feature {
        bit::TRACING_DATA => return recording.tracing.bytes(true),
        HOSTNAME..=6 | CPUDESC | CPUID => {
            t.string();
        }
        NRCPUS | bit::COMPRESSED => while t.u32().is_some() {},
        TOTAL_MEM | CLOCKID | bit::DIR_FORMAT => while t.u64().is_some() {},
        CMDLINE => t.strings(),
        CPU_TOPOLOGY => {
            t.strings();
            t.strings();
            // Core and socket of each CPU, then lists of dies.
            let cpus = recording.features.iter().find(|(b, _)| *b == NRCPUS);
            for _ in 0..2 * cpus.map_or(0, |(_, cpus)| half(cpus, 0)) {
                t.u32();
            }
            if t.at < t.out.len() {
                t.strings();
            }
            while t.u32().is_some() {}
        }
        NUMA_TOPOLOGY => {
            for _ in 0..t.u32().unwrap_or(0) {
                t.u32();
                t.u64();
                t.u64();
                t.string();
            }
        }
        PMU_MAPPINGS => {
            for _ in 0..t.u32().unwrap_or(0) {
                t.u32();
                t.string();
            }
        }
        CLOCK_DATA => {
            t.u32();
            t.u32();
            t.u64();
            t.u64();
        }
        bit::EVENT_DESC => {
            let count = t.u32().unwrap_or(0);
            let size = t.u32().unwrap_or(0) as usize;
            for _ in 0..count {
                let range = t.at..t.at + size;
                let turned = attr(&t.out[range.clone()]);
                t.out[range].copy_from_slice(&turned);
                t.at += size;
                let ids = t.u32().unwrap_or(0);
                t.string();
                for _ in 0..ids {
                    t.u64();
                }
            }
        }
        other => panic!("the encoder does not know feature {other}"),
    }
    assert_eq!(t.at, t.out.len(), "feature {feature} is turned as a whole");
    t.out
}

/// Turns numbers one after the other, and tells what they were.
struct Turner {
    out: Vec<u8>,
    at: usize,
}

impl Turner {
    fn u32(&mut self) -> Option<u32> {
        let value = (self.at + 4 <= self.out.len()).then(|| half(&self.out, self.at))?;
        turn(&mut self.out, self.at, 4);
        self.at += 4;
        Some(value)
    }
    fn u64(&mut self) -> Option<u64> {
        let value = (self.at + 8 <= self.out.len()).then(|| word(&self.out, self.at))?;
        turn(&mut self.out, self.at, 8);
        self.at += 8;
        Some(value)
    }
    fn string(&mut self) {
        let len = self.u32().expect("a length");
        self.at += len as usize;
    }
    fn strings(&mut self) {
        for _ in 0..self.u32().expect("a count") {
            self.string();
        }
    }
}
