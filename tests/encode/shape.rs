//! Samples with other fields, and records in another order: the same events.

use super::pack::record;
use super::recording::{Attr, Recording, half, kind, word};

pub(crate) const TIME: u64 = 1 << 2;
pub(crate) const READ: u64 = 1 << 4;
pub(crate) const CALLCHAIN: u64 = 1 << 5;
pub(crate) const ID: u64 = 1 << 6;
pub(crate) const RAW: u64 = 1 << 10;
pub(crate) const IDENTIFIER: u64 = 1 << 16;

/// A field of 8 bytes that a sample has where its bit is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Identifier,
    Ip,
    Tid,
    Time,
    Addr,
    Id,
    StreamId,
    Cpu,
    Period,
}

/// In the order of `perf_output_sample` (kernel/events/core.c).
const FIXED: [(u64, Part); 9] = [
    (IDENTIFIER, Part::Identifier),
    (1, Part::Ip),
    (1 << 1, Part::Tid),
    (TIME, Part::Time),
    (1 << 3, Part::Addr),
    (ID, Part::Id),
    (1 << 9, Part::StreamId),
    (1 << 7, Part::Cpu),
    (1 << 8, Part::Period),
];

/// In the order of `perf_event__output_id_sample`.
const TRAILER: [(u64, Part); 6] = [
    (1 << 1, Part::Tid),
    (TIME, Part::Time),
    (ID, Part::Id),
    (1 << 9, Part::StreamId),
    (1 << 7, Part::Cpu),
    (IDENTIFIER, Part::Identifier),
];

pub(crate) fn sample_type(attr: &Attr) -> u64 {
    word(&attr.bytes, 24)
}

/// Where each field of a sample is, and where they end.
pub(crate) fn fixed(sample_type: u64) -> (Vec<(Part, usize)>, usize) {
    let present = FIXED.iter().filter(|(bit, _)| sample_type & bit != 0);
    let parts: Vec<_> = present.zip((8..).step_by(8)).map(|((_, part), at)| (*part, at)).collect();
    let end = 8 + 8 * parts.len();
    (parts, end)
}

/// How far before the end of a record each field of its trailer begins.
pub(crate) fn trailer(sample_type: u64) -> Vec<(Part, usize)> {
    let present: Vec<_> = TRAILER.iter().filter(|(bit, _)| sample_type & bit != 0).collect();
    let size = 8 * present.len();
    present.iter().enumerate().map(|(n, (_, part))| (*part, size - 8 * n)).collect()
}

/// The length of a READ field (`perf_output_read`).
pub(crate) fn read_len(format: u64, read: &[u8]) -> usize {
    const GROUP: u64 = 1 << 3;
    let bit = |n: u32| usize::from(format >> n & 1 == 1);
    let (times, value) = (bit(0) + bit(1), 1 + bit(2) + bit(4));
    if format & GROUP == 0 {
        8 * (value + times)
    } else {
        8 * (1 + times + value * usize::try_from(word(read, 0)).expect("small"))
    }
}

fn is_sample(record: &[u8]) -> bool {
    half(record, 0) == 9
}

fn is_round(record: &[u8]) -> bool {
    half(record, 0) == kind::FINISHED_ROUND
}

/// Where a record has a field, if it has.
fn place(recording: &Recording, record: &[u8], wanted: Part) -> Option<usize> {
    if is_sample(record) {
        // In all attributes the fields up to the CPU are at the same places.
        let (parts, _) = fixed(sample_type(&recording.attrs[0]));
        return parts.iter().find(|(part, _)| *part == wanted).map(|(_, at)| *at);
    }
    if half(record, 0) >= 64 {
        return None;
    }
    let parts = trailer(sample_type(&recording.attrs[0]));
    parts.iter().find(|(part, _)| *part == wanted).map(|(_, back)| record.len() - back)
}

pub(crate) fn time_of(recording: &Recording, record: &[u8]) -> u64 {
    place(recording, record, Part::Time).map_or(0, |at| word(record, at))
}

/// The CPU of a record that the kernel wrote; perf's own have none.
pub(crate) fn cpu_of(recording: &Recording, record: &[u8]) -> Option<usize> {
    if time_of(recording, record) == 0 {
        return None;
    }
    place(recording, record, Part::Cpu).map(|at| half(record, at) as usize)
}

/// The attribute of a sample.
pub(crate) fn attr_of<'r>(recording: &'r Recording, record: &[u8]) -> Option<&'r Attr> {
    let at = place(recording, record, Part::Identifier);
    let Some(at) = at.or_else(|| place(recording, record, Part::Id)) else {
        return recording.attrs.first();
    };
    recording.attrs.iter().find(|attr| attr.ids.contains(&word(record, at)))
}

/// The raw data of a sample, where it has some.
pub(crate) fn raw<'r>(recording: &Recording, record: &'r [u8]) -> Option<&'r [u8]> {
    let attr = attr_of(recording, record)?;
    if sample_type(attr) & RAW == 0 {
        return None;
    }
    let (_, at) = fixed(sample_type(attr));
    let size = half(record, at) as usize;
    record.get(at + 4..at + 4 + size)
}

/// Without FINISHED_ROUND, as `perf inject` may leave it.
pub(crate) fn without_rounds(recording: &Recording) -> Recording {
    let mut out = recording.clone();
    out.records.retain(|r| !is_round(r));
    out
}

/// In the order of time; what has no time stays first.
fn sorted(recording: &Recording) -> Recording {
    let mut out = without_rounds(recording);
    out.records.sort_by_key(|r| time_of(recording, r));
    out
}

fn round() -> Vec<u8> {
    record(kind::FINISHED_ROUND, 0, &[])
}

/// With a round after every `n` records.
pub(crate) fn rounds(recording: &Recording, n: usize) -> Recording {
    let mut out = sorted(recording);
    let blocks = out.records.chunks(n);
    out.records = blocks.flat_map(|block| block.iter().cloned().chain([round()])).collect();
    out
}

/// The most disorder that rounds allow: CPU 1 and up lag behind CPU 0 by a round.
pub(crate) fn rounds_lagging(recording: &Recording, n: usize) -> Recording {
    let mut out = sorted(recording);
    let mut records = Vec::new();
    let mut late: Vec<Vec<u8>> = Vec::new();
    for block in out.records.chunks(n) {
        let lags = |r: &&Vec<u8>| cpu_of(recording, r).is_some_and(|cpu| cpu > 0);
        let (other, first): (Vec<_>, Vec<_>) = block.iter().partition(lags);
        records.extend(first.into_iter().cloned());
        records.append(&mut late);
        records.push(round());
        late.extend(other.into_iter().cloned());
    }
    records.append(&mut late);
    out.records = records;
    out
}

fn set_size(record: &mut [u8]) {
    let size = u16::try_from(record.len()).expect("a record of at most 64 KiB");
    record[6..8].copy_from_slice(&size.to_le_bytes());
}

fn set_word(attr: &mut Attr, at: usize, value: u64) {
    attr.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// `PERF_SAMPLE_READ` of groups of one to three events, with both times, ids and lost
/// counts: the longest field that may stand before the raw data.
pub(crate) fn grouped_reads(recording: &Recording) -> Recording {
    let mut out = recording.clone();
    for (index, record) in out.records.iter_mut().enumerate().filter(|(_, r)| is_sample(r)) {
        let attr = attr_of(recording, record).expect("a known id");
        let (_, at) = fixed(sample_type(attr));
        let members = 1 + index as u64 % 3;
        let mut read = vec![members, 1_000_000, 999_999];
        for member in 0..members {
            read.extend([index as u64, attr.ids[0] + member, member * 7]);
        }
        record.splice(at..at, read.iter().flat_map(|word| word.to_le_bytes()));
        set_size(record);
    }
    for attr in &mut out.attrs {
        let sample_type = sample_type(attr) | READ;
        set_word(attr, 24, sample_type);
        // TOTAL_TIME_ENABLED, TOTAL_TIME_RUNNING, ID, GROUP, LOST.
        set_word(attr, 32, 0b11111);
    }
    out
}

/// ID between the address and the CPU, as before IDENTIFIER (Linux 3.12), instead of
/// it in front; in trailers before the CPU instead of at the end.
pub(crate) fn id_elsewhere(recording: &Recording) -> Recording {
    with_ids(
        recording,
        |parts| {
            let at = parts.iter().position(|(part, _)| *part == Part::Cpu);
            at.map(|at| parts[at].1)
        },
        ID,
    )
}

/// The first attribute's records alone, without any id: a file with one attribute
/// needs none. The second value is the same with its ids, to compare with.
pub(crate) fn one_attribute(recording: &Recording, index: usize) -> (Recording, Recording) {
    let mut plain = recording.clone();
    plain.attrs = vec![recording.attrs[index].clone()];
    let ids = &plain.attrs[0].ids;
    plain.records.retain(|r| !is_sample(r) || ids.contains(&word(r, 8)));
    let mut without = with_ids(&plain, |_| None, 0);
    without.attrs[0].ids.clear();
    (without, plain)
}

/// Moves the id of each record: out of IDENTIFIER, to the place that `to` names.
fn with_ids(
    recording: &Recording,
    to: impl Fn(&[(Part, usize)]) -> Option<usize>,
    bit: u64,
) -> Recording {
    let mut out = recording.clone();
    for record in out.records.iter_mut().filter(|r| half(r, 0) < 64) {
        let id = if is_sample(record) {
            let attr = attr_of(recording, record).expect("a known id");
            let (parts, _) = fixed(sample_type(attr));
            let place = to(&parts);
            let id: Vec<u8> = record.drain(8..16).collect();
            place.map(|at| (at - 8, id))
        } else {
            let end = record.len();
            let parts: Vec<_> = trailer(sample_type(&recording.attrs[0]))
                .into_iter()
                .map(|(part, back)| (part, end - back))
                .collect();
            let place = to(&parts);
            let id: Vec<u8> = record.drain(end - 8..).collect();
            place.map(|at| (at, id))
        };
        if let Some((at, id)) = id {
            record.splice(at..at, id);
        }
        set_size(record);
    }
    for attr in &mut out.attrs {
        let sample_type = sample_type(attr) & !IDENTIFIER | bit;
        set_word(attr, 24, sample_type);
    }
    out
}

/// A small one: the first `n` samples of each attribute, with only what they need.
pub(crate) fn short(recording: &Recording, n: usize, sideband: usize) -> Recording {
    let mut out = recording.clone();
    let mut of_attr = vec![0; recording.attrs.len()];
    let mut others = 0;
    out.records.retain(|record| {
        if is_round(record) {
            return true;
        }
        if !is_sample(record) {
            others += 1;
            return others <= sideband;
        }
        let attr = attr_of(recording, record).expect("a known id");
        let index = recording.attrs.iter().position(|a| a.ids == attr.ids).unwrap_or(0);
        of_attr[index] += 1;
        of_attr[index] <= n
    });
    let mut index = 0;
    out.attrs.retain(|_| {
        index += 1;
        of_attr[index - 1] > 0
    });
    for attr in &mut out.attrs {
        let mut used = attr.ids.clone();
        used.retain(|id| out.records.iter().any(|r| is_sample(r) && word(r, 8) == *id));
        attr.ids = used;
    }
    let wanted: Vec<String> =
        out.attrs.iter().map(|a| format!("\nID: {}\n", word(&a.bytes, 8))).collect();
    for (_, formats) in &mut out.tracing.systems {
        formats.retain(|text| wanted.iter().any(|id| text.contains(id)));
    }
    out.tracing.systems.retain(|(_, formats)| !formats.is_empty());
    out
}

/// A tiny one: the first `n` samples of each of these events, and with them only what
/// they need. The time of a run over it goes with its formats' lengths.
pub(crate) fn tiny(recording: &Recording, names: &[&str], n: usize, sideband: usize) -> Recording {
    let mut some = recording.clone();
    let attr_of_record = |r: &Vec<u8>| attr_of(recording, r).expect("a known id");
    some.records.retain(|r| !is_sample(r) || names.contains(&attr_of_record(r).name.as_str()));
    let mut out = short(&some, n, sideband);
    // Release, number of CPUs, clock.
    out.features.retain(|(bit, _)| [4, 7, 29].contains(bit));
    out.tracing = super::Tracing::of(out.tracing.systems);
    out
}
