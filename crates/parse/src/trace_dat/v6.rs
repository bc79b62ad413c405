//! A version 6 file to its sections: one after the other, nothing compressed.
//!
//! trace-cmd.dat.v6.5.txt; `tracecmd_read_headers` and `read_cpu_data` of
//! lib/trace-cmd/trace-input.c.

use std::ops::Range;

use super::options::{self, Facts};
use super::sections::{Buffer, CpuData, File, Part, Sections, ends_early, latency, truncated};
use crate::cursor::{Cursor, slice_at};
use crate::diagnostics::Problem;
use crate::error::Error;

/// Takes the file apart; `cursor` stands after its start.
pub(crate) fn unpack(
    bytes: &[u8],
    page_size: usize,
    mut cursor: Cursor<'_>,
) -> Result<Sections, Error> {
    let mut sections = Sections::default();
    let end = bytes.len() as u64;
    let early = |what: &'static str| move || ends_early(end, what);
    sections.header_info(&mut cursor, end)?;

    let at = |cursor: &Cursor<'_>| bytes.len().saturating_sub(cursor.len());
    let start = at(&cursor);
    skip_ftrace(&mut cursor).ok_or_else(early("its event formats"))?;
    sections.ftrace = Part::Plain(start..at(&cursor));
    let start = at(&cursor);
    skip_systems(&mut cursor).ok_or_else(early("its event formats"))?;
    sections.events = Part::Plain(start..at(&cursor));
    let text = |cursor: &mut Cursor<'_>| {
        let size = cursor.u32()?;
        let len = cursor.bytes_u64(size.into())?.len();
        let end = at(cursor);
        Some(Part::Plain(end.saturating_sub(len)..end))
    };
    sections.kallsyms = text(&mut cursor).ok_or_else(early("its symbols"))?;
    text(&mut cursor).ok_or_else(early("its formats of trace_printk"))?;
    sections.cmdlines = sized(&mut cursor, bytes).ok_or_else(early("its saved task names"))?;

    let mut cpus = cursor.u32().ok_or_else(early("its count of CPUs"))?;
    let mut kind = cursor.bytes(10).ok_or_else(early("its options"))?;
    if kind.starts_with(b"options") {
        read_options(&mut cursor, &mut sections.facts).ok_or_else(early("its options' end"))?;
        kind = cursor.bytes(10).ok_or_else(early("its buffers"))?;
    }
    // An option may count the CPUs again (`TRACECMD_OPTION_CPUCOUNT`).
    cpus = sections.facts.cpu_count.unwrap_or(cpus);
    sections.facts.cpu_count = Some(cpus);
    if kind.starts_with(b"latency") {
        return Err(latency());
    }
    if !kind.starts_with(b"flyrecord") {
        return Err(Error::Malformed {
            offset: at(&cursor) as u64,
            what: "neither \"flyrecord\" nor \"latency\" stands where the buffers of this \
                   trace.dat should begin: it is damaged, copy or record it again"
                .to_owned(),
        });
    }
    let mut file = File::new(bytes);
    let main = buffer(&mut file, &mut cursor, String::new(), cpus, &mut sections.damage)?;
    sections.buffers.push(main);
    if sections.facts.clock.is_empty() && sections.facts.has_clock {
        // Older files have the clock after the table of CPUs.
        if let Some(Part::Plain(range)) = sized(&mut cursor, bytes) {
            let text = bytes.get(range).unwrap_or(&[]);
            sections.facts.clock = options::chosen_clock(text);
        }
    }
    for option in std::mem::take(&mut sections.facts.buffers) {
        let rest = slice_at(bytes, option.offset, end.saturating_sub(option.offset));
        let mut cursor = Cursor::new(rest.unwrap_or(&[]));
        match cursor.bytes(10) {
            Some(kind) if kind.starts_with(b"flyrecord") => {
                let damage = &mut sections.damage;
                let buffer = buffer(&mut file, &mut cursor, option.name, cpus, damage)?;
                sections.buffers.push(buffer);
            }
            Some(kind) if kind.starts_with(b"latency") => return Err(latency()),
            _ => truncated(&mut sections.damage, option.offset.min(end)),
        }
    }
    for buffer in &mut sections.buffers {
        buffer.page_size = page_size;
    }
    Ok(sections)
}

/// A `u32` count, then that many files of a `u64` size.
pub(crate) fn skip_ftrace(cursor: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..cursor.u32()? {
        let size = cursor.u64()?;
        cursor.bytes_u64(size)?;
    }
    Some(())
}

/// A `u32` count of systems; for each its name, and its files as above.
fn skip_systems(cursor: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..cursor.u32()? {
        cursor.c_str()?;
        skip_ftrace(cursor)?;
    }
    Some(())
}

/// A `u64` size, then that many bytes.
fn sized(cursor: &mut Cursor<'_>, file: &[u8]) -> Option<Part> {
    let size = cursor.u64()?;
    let bytes = cursor.bytes_u64(size)?;
    let end = file.len().checked_sub(cursor.len())?;
    let range: Range<usize> = end.checked_sub(bytes.len())?..end;
    Some(Part::Plain(range))
}

/// Options up to one of id 0, which has no size.
fn read_options(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Option<()> {
    loop {
        let id = cursor.u16()?;
        if id == options::id::DONE {
            return Some(());
        }
        let size = cursor.u32()?;
        facts.option(id, cursor.bytes_u64(size.into())?, false);
    }
}

/// A table of (offset, size) for each CPU, and what it points to.
fn buffer(
    file: &mut File<'_>,
    cursor: &mut Cursor<'_>,
    name: String,
    cpus: u32,
    damage: &mut Vec<(Problem, u64)>,
) -> Result<Buffer, Error> {
    let mut buffer = Buffer { name, ..Buffer::default() };
    for cpu in 0..cpus {
        let end = file.bytes.len() as u64;
        let (Some(offset), Some(size)) = (cursor.u64(), cursor.u64()) else {
            return Err(ends_early(end, "the table of its buffers is complete"));
        };
        if size == 0 {
            continue;
        }
        if !file.has(offset, size) {
            truncated(damage, end);
        }
        let data = Part::Plain(file.claim(offset, size)?);
        buffer.cpus.push(CpuData { cpu, offset, data });
    }
    Ok(buffer)
}
