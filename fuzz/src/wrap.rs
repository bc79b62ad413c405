//! Parts of a perf.data, which may hold anything, in a sound one around them.

use super::encode::{Attr, Files, Packing, Recording};
use super::tracepoint;

/// Sound attributes and features around a data section.
pub(super) fn around(
    base: &Recording,
    data: Vec<u8>,
    packing: Packing,
    pipe: bool,
    directory: bool,
) -> Files {
    let recording = Recording { records: Vec::new(), ..base.clone() };
    if directory {
        let mut files = recording.directory(packing);
        files.parts = vec![data.clone(), data];
        return files;
    }
    if pipe {
        let mut files = recording.pipe(packing);
        files.main.extend(data);
        return files;
    }
    Files { main: recording.whole(&data, packing, &[]), parts: Vec::new() }
}

/// Any bytes in compressed records of `chunk` bytes, each a block that zstd only
/// stores (RFC 8878, 3.1.1.2): quick to make, and what is inside can be mutated.
pub(super) fn stored(bytes: &[u8], chunk: usize, packing: Packing) -> Vec<u8> {
    // Magic; no checksum, no size; a window of 2 MiB.
    const FRAME: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    let second = match packing {
        Packing::Plain => return bytes.to_vec(),
        Packing::Compressed(_) => false,
        Packing::Compressed2(_) => true,
    };
    let mut out = Vec::new();
    for (number, piece) in bytes.chunks(chunk).enumerate() {
        let mut data = if number == 0 { FRAME.to_vec() } else { Vec::new() };
        // Not the last block; type 0; its size.
        let header = u32::try_from(piece.len()).unwrap_or(0) << 3;
        data.extend(header.to_le_bytes().get(..3).unwrap_or(&[]));
        data.extend(piece);
        out.extend(super::encode::compressed(&data, second, false));
    }
    out
}

/// Any bytes as the zstd stream, in compressed records of `chunk` bytes.
pub(super) fn stream(base: &Recording, stream: &[u8], chunk: usize, packing: Packing) -> Files {
    let second = matches!(packing, Packing::Compressed2(_));
    let data = stream.chunks(chunk).flat_map(|c| super::encode::compressed(c, second, false));
    let data: Vec<u8> = data.collect();
    Files { main: base.whole(&data, Packing::Compressed(chunk), &[]), parts: Vec::new() }
}

/// A perf.data with one tracepoint and one sample of it.
pub(super) fn format(system: &str, text: &str, raw: &[u8]) -> Vec<u8> {
    let (tracing, attr) = tracepoint(system, text, id_of(text).unwrap_or(1));
    let raw = raw.get(..raw.len().min(4096)).unwrap_or(raw);
    // IDENTIFIER, IP, TID, TIME, ADDR, CPU, PERIOD, RAW.
    let mut body: Vec<u8> =
        [1_u64, 0, 7 | 7 << 32, 100, 0, 0, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    let padded = (raw.len() + 4).next_multiple_of(8) - 4;
    body.extend(u32::try_from(padded).unwrap_or(0).to_le_bytes());
    body.extend(raw);
    body.resize(body.len() + padded - raw.len(), 0);
    let records = vec![super::encode::record(9, 1, &body)];
    let recording =
        Recording { attrs: vec![attr], records, features: Vec::new(), tracing, big: false };
    recording.file(Packing::Plain).main
}

/// The number that a format gives its event.
pub(super) fn id_of(text: &str) -> Option<u64> {
    let rest = text.split("ID: ").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

pub(super) fn config(attr: &Attr) -> u64 {
    super::encode::word(&attr.bytes, 8)
}

/// The first sample of an attribute.
pub(super) fn sample_of<'r>(recording: &'r Recording, attr: &Attr) -> Option<&'r [u8]> {
    let samples = recording.records.iter().filter(|r| super::encode::half(r, 0) == 9);
    let mut of_attr = samples.filter(|r| attr.ids.contains(&super::encode::word(r, 8)));
    of_attr.next().map(Vec::as_slice)
}
