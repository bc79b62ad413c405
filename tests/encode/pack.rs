//! Records to the bytes of a data section: plain, or in compressed records.

use std::io::Write as _;

use super::recording::{half, kind};

/// How the records lie in the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packing {
    Plain,
    /// In COMPRESSED records, each with this many bytes of records.
    Compressed(usize),
    /// In COMPRESSED2 records (Linux 6.16), which are padded to 8 bytes.
    Compressed2(usize),
}

/// A record with its header, of a little-endian machine.
pub(crate) fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(misc.to_le_bytes());
    out.extend(u16::try_from(body.len() + 8).expect("at most 64 KiB").to_le_bytes());
    out.extend(body);
    out
}

/// A plain data section taken apart.
pub(crate) fn records_of(mut data: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let size = usize::from(u16::from_le_bytes([data[6], data[7]]));
        let (record, rest) = data.split_at(size);
        records.push(record);
        data = rest;
    }
    records
}

/// What perf makes up itself stands outside of compressed records: rounds.
fn is_round(record: &[u8], big: bool) -> bool {
    let kind = half(record, 0);
    (if big { kind.swap_bytes() } else { kind }) == kind::FINISHED_ROUND
}

/// One zstd stream over everything, flushed after each compressed record and never
/// ended, as perf leaves it (`zstd_compress_stream_to_records`).
struct Stream {
    zstd: zstd::stream::write::Encoder<'static, Vec<u8>>,
    chunk: usize,
    second: bool,
    big: bool,
    out: Vec<u8>,
}

impl Stream {
    /// `None` where nothing is compressed.
    fn new(packing: Packing, big: bool) -> Option<Self> {
        let (chunk, second) = match packing {
            Packing::Plain => return None,
            Packing::Compressed(chunk) => (chunk, false),
            Packing::Compressed2(chunk) => (chunk, true),
        };
        let zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("a zstd stream");
        Some(Self { zstd, chunk, second, big, out: Vec::new() })
    }

    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.chunk) {
            self.zstd.write_all(piece).expect("memory");
            self.zstd.flush().expect("memory");
            let data = std::mem::take(self.zstd.get_mut());
            self.out.extend(compressed(&data, self.second, self.big));
        }
    }
}

/// Records to a data section.
pub(crate) fn packed(records: &[Vec<u8>], packing: Packing, big: bool) -> Vec<u8> {
    let Some(mut stream) = Stream::new(packing, big) else { return records.concat() };
    let mut waiting: Vec<u8> = Vec::new();
    for record in records {
        if is_round(record, big) {
            stream.add(&waiting);
            waiting.clear();
            stream.out.extend(record);
        } else {
            waiting.extend(record);
        }
    }
    stream.add(&waiting);
    stream.out
}

/// Any bytes to a data section.
pub(crate) fn packed_bytes(bytes: &[u8], packing: Packing, big: bool) -> Vec<u8> {
    let Some(mut stream) = Stream::new(packing, big) else { return bytes.to_vec() };
    stream.add(bytes);
    stream.out
}

/// A compressed record.
pub(crate) fn compressed(data: &[u8], second: bool, big: bool) -> Vec<u8> {
    let mut body = Vec::new();
    if second {
        let size = data.len() as u64;
        body.extend(if big { size.to_be_bytes() } else { size.to_le_bytes() });
    }
    body.extend(data);
    if second {
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut out = record(if second { kind::COMPRESSED2 } else { kind::COMPRESSED }, 0, &body);
    if big {
        out[..4].reverse();
        out[6..8].reverse();
    }
    out
}
