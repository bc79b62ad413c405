//! Buffers of a version 7 file whose end is lost, and with it the options that tell
//! where each CPU's data are.
//!
//! A buffer's section comes before its option. Its CPUs follow each other in it, each
//! on a page (`out_save_options_offset` and `tracecmd_append_cpu_data` of
//! lib/trace-cmd/trace-output.c). Where one ends is told by the count of chunks, or, of
//! plain data, by the time stamp: a sub-buffer older than the one before begins another
//! CPU's. Which CPUs had no data is told by their statistics, which come first.

use super::options::{BufferOption, Facts, id};
use super::sections::{Buffer, CpuData, Part, Sections, truncated};
use super::v7::{HEAD, Unpacker, head};
use crate::cursor::u64_at;
use crate::error::Error;
use crate::expand::End;

/// The buffers' sections, from `first` on. The first is the main buffer's.
pub(crate) fn buffers(bytes: &[u8], first: u64, facts: &Facts) -> Vec<BufferOption> {
    let mut found: Vec<BufferOption> = Vec::new();
    let mut offset = first;
    while let Some(head) = head(bytes, offset) {
        if head.id == id::BUFFER {
            let name = match found.len() {
                0 => String::new(),
                n => format!("buffer {n}"),
            };
            let clock = facts.clock.clone();
            let new = BufferOption { offset, name, clock, recovered: true, ..Default::default() };
            found.push(new);
        }
        // The size of the last one may not have been written yet.
        if head.size == 0 && head.id == id::BUFFER {
            break;
        }
        offset = offset.saturating_add(HEAD).saturating_add(head.size);
    }
    found
}

/// The data of one of them, as far as they go.
pub(crate) fn buffer(
    unpacker: &mut Unpacker<'_, '_>,
    option: BufferOption,
    page_size: usize,
    sections: &Sections,
) -> Result<Buffer, Error> {
    let bytes = unpacker.file.bytes;
    let facts = &sections.facts;
    let with_data = |cpu: &u32| {
        let stat = facts.stats.iter().find(|s| s.buffer == option.name && s.cpu == *cpu);
        stat.is_none_or(|stat| stat.entries > 0)
    };
    let numbers = (0..facts.cpu_count.unwrap_or(1)).filter(with_data);
    let mut buffer = Buffer {
        name: option.name.clone(),
        clock: option.clock.clone(),
        page_size,
        cpus: Vec::new(),
    };
    let Some(head) = head(bytes, option.offset) else { return Ok(buffer) };
    let body = option.offset.saturating_add(HEAD);
    let end = match head.size {
        0 => bytes.len() as u64,
        size => body.saturating_add(size).min(bytes.len() as u64),
    };
    let page = page_size.max(1) as u64;
    let mut offset = body;
    for cpu in numbers {
        offset = offset.checked_next_multiple_of(page).unwrap_or(u64::MAX);
        if offset >= end {
            break;
        }
        let rest = end.saturating_sub(offset);
        let range = usize::try_from(offset).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        let data = bytes.get(range).unwrap_or(&[]);
        if head.compressed {
            let (made, len, ended) = unpacker.codec.chunks(data, page_size, unpacker.budget)?;
            buffer.cpus.push(CpuData { cpu, offset, data: Part::Made(made) });
            if ended == End::Cut {
                truncated(&mut unpacker.damage, offset.saturating_add(len as u64));
                break;
            }
            offset = offset.saturating_add(len as u64);
        } else {
            let size = rest.min(in_order(data, page_size) as u64);
            let range = unpacker.file.claim(offset, size)?;
            buffer.cpus.push(CpuData { cpu, offset, data: Part::Plain(range) });
            offset = offset.saturating_add(size);
        }
    }
    Ok(buffer)
}

/// Bytes of the sub-buffers whose time stamps go on rising.
fn in_order(data: &[u8], page_size: usize) -> usize {
    let mut last = 0;
    let mut len = 0_usize;
    for page in data.chunks(page_size.max(1)) {
        match u64_at(page, 0) {
            Some(time) if time >= last => last = time,
            _ => break,
        }
        len = len.saturating_add(page.len());
    }
    len
}
