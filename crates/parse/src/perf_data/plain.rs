//! Compressed, split or big-endian records to one run of plain little-endian ones.

use zstd::stream::raw::{Decoder, Operation};

use super::attrs::IdTable;
use super::header::{Head, feature};
use super::pipe;
use super::record::{self, Stop, kind};
use super::swap::Swap;
use crate::cursor::{Cursor, Endian};
use crate::error::Error;
use crate::expand::Budget;

/// The records of a capture whose data section cannot be walked as it lies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    pub(crate) data: Vec<u8>,
    /// Where each piece of `data` comes from, by its start.
    origins: Vec<Origin>,
    /// Some part ends within a record, or within its compressed stream.
    pub(crate) cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Origin {
    start: usize,
    /// In the input; of several files, as if one followed the other.
    offset: u64,
    /// Whether the piece is a copy. If not, all of it comes from the record there.
    copied: bool,
}

impl Plain {
    /// Where the byte at `position` of the data comes from.
    pub(crate) fn offset(&self, position: usize) -> u64 {
        let after = self.origins.partition_point(|o| o.start <= position);
        let origin = after.checked_sub(1).and_then(|at| self.origins.get(at));
        origin.map_or(0, |o| {
            let into = if o.copied { position.saturating_sub(o.start) } else { 0 };
            o.offset.saturating_add(into as u64)
        })
    }

    fn comes_from(&mut self, offset: u64, copied: bool) {
        let start = self.data.len();
        if self.origins.last().is_some_and(|o| o.copied == copied && self.offset(start) == offset) {
            return;
        }
        self.origins.push(Origin { start, offset, copied });
    }
}

/// Makes the records plain. `None` where they are already, or this is no perf.data.
///
/// `parts` are the `data.N` of a folder. They hold no FINISHED_ROUND, so the rounds of
/// the main file would say nothing of them: all are left out.
///
/// # Errors
/// Where compressed records expand to more than the budget allows.
pub(crate) fn make(
    bytes: &[u8],
    parts: &[&[u8]],
    budget: &mut Budget,
) -> Result<Option<Plain>, Error> {
    // What cannot be read at all is told when the capture is opened.
    let Ok(head) = Head::parse(bytes) else { return Ok(None) };
    if head.endian == Endian::Little && parts.is_empty() && !is_compressed(&head) {
        return Ok(None);
    }
    let ids = IdTable::new(&head.attrs);
    let swap = (head.endian == Endian::Big).then(|| Swap::new(&head, &ids));
    let mut maker = Maker { plain: Plain::default(), swap, endian: head.endian, budget };
    maker.stream(head.data, head.data_offset, parts.is_empty())?;
    let mut before = bytes.len() as u64;
    for part in parts {
        maker.stream(part, before, false)?;
        before = before.saturating_add(part.len() as u64);
    }
    Ok(Some(maker.plain))
}

/// Whether any record is compressed. The feature alone does not tell: `-z` may have
/// had nothing to compress, and a recorder that was killed has not written it. Then a
/// plain sample tells: all that the kernel writes is compressed, or nothing is.
fn is_compressed(head: &Head<'_>) -> bool {
    /// HEADER_COMPRESSED (tools/perf/util/header.h).
    const COMPRESSED: u32 = 27;
    let told = head.feature(COMPRESSED).is_some();
    let mut position = 0;
    while let Ok(raw) = record::at_endian(head.data, position, head.endian) {
        match raw.kind {
            kind::COMPRESSED | kind::COMPRESSED2 => return true,
            kind::SAMPLE if !told => return false,
            _ => position = raw.next(),
        }
    }
    false
}

struct Maker<'m> {
    plain: Plain,
    swap: Option<Swap<'m>>,
    endian: Endian,
    budget: &'m mut Budget,
}

impl Maker<'_> {
    /// One file's records. perf compresses all of a file as one zstd stream, cut into
    /// records wherever a ring was drained, so what is inside may continue in the next:
    ///
    /// ```text
    /// file:    COMPRESSED        | ROUND | COMPRESSED       | ...
    /// inside:  [SAMPLE][SAMPLE][S|       |AMPLE][SAMPLE]
    /// ```
    fn stream(&mut self, data: &[u8], offset: u64, rounds: bool) -> Result<(), Error> {
        let mut decoder: Option<Decoder<'static>> = None;
        // What is inside and not yet a whole record.
        let mut inside: Vec<u8> = Vec::new();
        let mut position = 0;
        loop {
            let raw = match record::at_endian(data, position, self.endian) {
                Ok(raw) => raw,
                Err(stop) => {
                    self.plain.cut |= stop != Stop::End || !inside.is_empty();
                    return Ok(());
                }
            };
            let here = offset.saturating_add(position as u64);
            position = raw.next();
            let body = match raw.kind {
                kind::COMPRESSED => raw.bytes.get(8..),
                // `struct perf_record_compressed2` (Linux 6.16): u64 data_size, the data,
                // zeros up to 8 bytes.
                kind::COMPRESSED2 => {
                    let mut cursor = Cursor::with(raw.bytes.get(8..).unwrap_or(&[]), self.endian);
                    cursor.u64().and_then(|size| cursor.bytes_u64(size))
                }
                kind::FINISHED_ROUND if !rounds => continue,
                // Data behind a record, and a pipe's head, are read elsewhere or not at all.
                _ if raw.behind > 0 || pipe::is_head(raw.kind) => continue,
                _ => {
                    self.plain.comes_from(here, true);
                    self.push(raw.bytes);
                    continue;
                }
            };
            if decoder.is_none() {
                decoder = Decoder::new().ok();
            }
            let whole = match (body, &mut decoder) {
                (Some(body), Some(decoder)) => self.decompress(decoder, body, &mut inside)?,
                _ => false,
            };
            self.plain.comes_from(here, false);
            let sound = self.whole_records(&mut inside);
            if !whole || !sound {
                // What follows cannot be decoded without what came before it.
                self.plain.cut = true;
                return Ok(());
            }
        }
    }

    /// Appends what is in `body` to `inside`. False where it is damaged.
    fn decompress(
        &mut self,
        decoder: &mut Decoder<'_>,
        body: &[u8],
        inside: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let mut rest = body;
        let mut chunk = [0; 1 << 16];
        loop {
            let Ok(status) = decoder.run_on_buffers(rest, &mut chunk) else { return Ok(false) };
            self.budget.take(status.bytes_written)?;
            inside.extend_from_slice(chunk.get(..status.bytes_written).unwrap_or(&[]));
            rest = rest.get(status.bytes_read..).unwrap_or(&[]);
            // perf never ends its frame: the output is all there once it leaves room.
            if rest.is_empty() && status.bytes_written < chunk.len() {
                return Ok(true);
            }
            if status.bytes_read == 0 && status.bytes_written == 0 {
                return Ok(false);
            }
        }
    }

    /// Takes the whole records out of `inside`. False where one contradicts itself.
    fn whole_records(&mut self, inside: &mut Vec<u8>) -> bool {
        let mut position = 0;
        let stop = loop {
            match record::at_endian(inside, position, self.endian) {
                Ok(raw) => {
                    position = position.saturating_add(raw.bytes.len());
                    self.push(raw.bytes);
                }
                Err(stop) => break stop,
            }
        };
        inside.drain(..position.min(inside.len()));
        stop != Stop::BadSize
    }

    fn push(&mut self, record: &[u8]) {
        let start = self.plain.data.len();
        self.plain.data.extend_from_slice(record);
        if let (Some(swap), Some(record)) = (&self.swap, self.plain.data.get_mut(start..)) {
            swap.record(record);
        }
    }
}

/// Whether the file is the main one of a folder of several.
pub(crate) fn is_folder(head: &Head<'_>) -> bool {
    head.feature(feature::DIR_FORMAT).is_some()
}
