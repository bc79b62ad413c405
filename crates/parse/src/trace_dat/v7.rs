//! A version 7 file to its sections: found by options, compressed or not.
//!
//! trace-cmd.dat.v7.5.txt; `handle_options` and `init_buffer_cpu_data` of
//! lib/trace-cmd/trace-input.c.

use super::compress::Codec;
use super::options::{BufferOption, Facts, id};
use super::recover;
use super::sections::{Buffer, CpuData, File, Part, Sections, ends_early, latency, truncated};
use crate::cursor::{Cursor, slice_at};
use crate::diagnostics::Problem;
use crate::error::Error;
use crate::expand::{Budget, End};

/// The head of a section: id, flags, the offset of its description in the strings, size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) id: u16,
    pub(crate) compressed: bool,
    pub(crate) size: u64,
}

/// Bytes of it.
pub(crate) const HEAD: u64 = 16;

/// The head at `offset`.
pub(crate) fn head(bytes: &[u8], offset: u64) -> Option<Head> {
    let mut cursor = Cursor::new(slice_at(bytes, offset, HEAD)?);
    let (id, flags) = (cursor.u16()?, cursor.u16()?);
    let _description = cursor.u32()?;
    Some(Head { id, compressed: flags & 1 != 0, size: cursor.u64()? })
}

/// What is needed to take sections apart.
pub(crate) struct Unpacker<'a, 'b> {
    pub(crate) file: File<'a>,
    pub(crate) codec: &'b Codec,
    pub(crate) budget: &'b mut Budget,
    pub(crate) damage: Vec<(Problem, u64)>,
}

/// Takes the file apart; `cursor` stands after its start.
pub(crate) fn unpack(
    bytes: &[u8],
    page_size: usize,
    codec: &Codec,
    options: u64,
    cursor: Cursor<'_>,
    budget: &mut Budget,
) -> Result<Sections, Error> {
    let end = bytes.len() as u64;
    let mut unpacker = Unpacker { file: File::new(bytes), codec, budget, damage: Vec::new() };
    let mut sections = Sections::default();
    let whole = unpacker.options(options, &mut sections.facts)?;
    let facts = &mut sections.facts;

    let header = facts.sections.header_info.ok_or_else(|| ends_early(end, "its header"))?;
    let header = unpacker.section(header, id::HEADER_INFO)?;
    let found = facts.sections;
    let mut part = |offset: Option<u64>, id: u16| match offset {
        Some(offset) => unpacker.section(offset, id),
        None => Ok(Part::default()),
    };
    sections.ftrace = part(found.ftrace_events, id::FTRACE_EVENTS)?;
    sections.events = part(found.event_formats, id::EVENT_FORMATS)?;
    sections.cmdlines = without_head(part(found.cmdlines, id::CMDLINES)?, 8);
    // Frames go without names where they cannot be read.
    sections.kallsyms = match found.kallsyms.map(|at| unpacker.section(at, id::KALLSYMS)) {
        Some(Ok(part)) => without_head(part, 4),
        Some(Err(error @ Error::TooLarge { .. })) => return Err(error),
        Some(Err(_)) | None => Part::default(),
    };
    sections.header_info(&mut Cursor::new(header.of(bytes)), end)?;

    let mut buffers = std::mem::take(&mut sections.facts.buffers);
    if sections.facts.latency {
        return Err(latency());
    }
    // The options that tell where the buffers are lie behind them, and are lost first.
    // Without an end of their chain, or without any buffer, the sections tell.
    let lost = !whole || buffers.is_empty();
    if lost {
        let first = end.saturating_sub(cursor.len() as u64);
        for found in recover::buffers(bytes, first, &sections.facts) {
            if buffers.iter().all(|b| b.offset != found.offset) {
                buffers.push(found);
            }
        }
    }
    if buffers.is_empty() {
        return Err(ends_early(end, "its buffers"));
    }
    for option in buffers {
        let page_size = if option.page_size == 0 { page_size } else { option.page_size };
        let buffer = if option.recovered {
            recover::buffer(&mut unpacker, option, page_size, &sections)?
        } else {
            unpacker.buffer(option, page_size)?
        };
        sections.buffers.push(buffer);
    }
    sections.damage = unpacker.damage;
    if lost {
        truncated(&mut sections.damage, end);
    }
    Ok(sections)
}

/// A text without its size, which stands before it.
fn without_head(part: Part, len: usize) -> Part {
    match part {
        Part::Plain(range) => {
            Part::Plain(range.start.saturating_add(len).min(range.end)..range.end)
        }
        Part::Made(mut bytes) => {
            bytes.drain(..bytes.len().min(len));
            Part::Made(bytes)
        }
    }
}

impl Unpacker<'_, '_> {
    /// Follows the chain of options sections. Tells whether its end was reached.
    fn options(&mut self, first: u64, facts: &mut Facts) -> Result<bool, Error> {
        let mut offset = first;
        loop {
            let Some(head) = head(self.file.bytes, offset) else { return Ok(false) };
            if head.id != id::DONE || !self.file.has(offset.saturating_add(HEAD), head.size) {
                return Ok(false);
            }
            let part = self.section(offset, id::DONE)?;
            let mut cursor = Cursor::new(part.of(self.file.bytes));
            let mut next = None;
            while let (Some(id), Some(size)) = (cursor.u16(), cursor.u32()) {
                let Some(body) = cursor.bytes_u64(size.into()) else { return Ok(false) };
                if id == id::DONE {
                    next = crate::cursor::u64_at(body, 0);
                    break;
                }
                facts.option(id, body, true);
            }
            match next {
                Some(0) => return Ok(true),
                Some(next) => offset = next,
                None => return Ok(false),
            }
        }
    }

    /// The body of the section at `offset`.
    ///
    /// # Errors
    /// Where there is no such section, or it is not whole.
    fn section(&mut self, offset: u64, id: u16) -> Result<Part, Error> {
        let bytes = self.file.bytes;
        let head =
            head(bytes, offset).filter(|head| head.id == id).ok_or_else(|| Error::Malformed {
                offset,
                what: format!(
                    "no section {id} stands where the options of this trace.dat say: it is \
                     damaged or not whole, copy or record it again"
                ),
            })?;
        let body = offset.saturating_add(HEAD);
        if !self.file.has(body, head.size) {
            return Err(ends_early(bytes.len() as u64, "one of its sections does"));
        }
        // The head too, so that a chain of empty sections comes to an end.
        let range = self.file.claim(offset, HEAD.saturating_add(head.size))?;
        let range = range.start.saturating_add(HEAD as usize)..range.end;
        if !head.compressed {
            return Ok(Part::Plain(range));
        }
        let packed = bytes.get(range).unwrap_or(&[]);
        self.codec.section(packed, body, self.budget).map(Part::Made)
    }

    /// The data that a BUFFER option points to.
    fn buffer(&mut self, option: BufferOption, page_size: usize) -> Result<Buffer, Error> {
        let end = self.file.bytes.len() as u64;
        let head = head(self.file.bytes, option.offset);
        let mut buffer =
            Buffer { name: option.name, clock: option.clock, page_size, cpus: Vec::new() };
        let Some(head) = head else {
            truncated(&mut self.damage, end);
            return Ok(buffer);
        };
        for (cpu, offset, size) in option.cpus {
            if size == 0 {
                continue;
            }
            // The size of compressed data does not count the word with the count of chunks.
            let size = size.saturating_add(if head.compressed { 4 } else { 0 });
            let whole = self.file.has(offset, size);
            let range = self.file.claim(offset, size)?;
            let data = if head.compressed {
                let packed = self.file.bytes.get(range).unwrap_or(&[]);
                let (bytes, at, ended) = self.codec.chunks(packed, page_size, self.budget)?;
                if ended == End::Cut {
                    truncated(&mut self.damage, offset.saturating_add(at as u64));
                }
                Part::Made(bytes)
            } else {
                if !whole {
                    truncated(&mut self.damage, end);
                }
                Part::Plain(range)
            };
            buffer.cpus.push(CpuData { cpu, offset, data });
        }
        Ok(buffer)
    }
}
