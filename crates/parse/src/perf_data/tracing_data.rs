//! HEADER_TRACING_DATA to the `format` text of each recorded tracepoint.

use crate::cursor::{Cursor, Endian};

/// The feature, taken apart (tools/perf/util/trace-event-info.c writes it).
#[derive(Clone, Debug, Default)]
pub(crate) struct TracingData<'a> {
    /// Everything before the counts of formats: version, and ftrace's own page header.
    pub(crate) head: &'a [u8],
    /// (system, `format` text) of each event.
    pub(crate) formats: Vec<(&'a str, &'a str)>,
}

const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Takes what can be read; a cut-off feature keeps the events before the cut.
/// `None` where it is none at all.
pub(crate) fn parse(bytes: &[u8]) -> Option<TracingData<'_>> {
    let mut cursor = Cursor::new(bytes);
    if cursor.bytes(MAGIC.len())? != MAGIC {
        return None;
    }
    let _version = cursor.c_str()?;
    let endian = if cursor.u8()? == 0 { Endian::Little } else { Endian::Big };
    let mut cursor = Cursor::with(cursor.rest(), endian);
    let _long_size = cursor.u8()?;
    let _page_size = cursor.u32()?;
    // "header_page" and "header_event", each with a size.
    for _ in 0..2 {
        let _name = cursor.c_str()?;
        let size = cursor.u64()?;
        cursor.bytes_u64(size)?;
    }
    let head = bytes.get(..bytes.len().checked_sub(cursor.len())?)?;
    let ftrace_files = cursor.u32()?;
    for _ in 0..ftrace_files {
        let size = cursor.u64()?;
        cursor.bytes_u64(size)?;
    }
    let mut data = TracingData { head, formats: Vec::new() };
    let _ = systems(&mut cursor, &mut data.formats);
    Some(data)
}

fn systems<'a>(cursor: &mut Cursor<'a>, formats: &mut Vec<(&'a str, &'a str)>) -> Option<()> {
    for _ in 0..cursor.u32()? {
        let system = std::str::from_utf8(cursor.c_str()?).ok()?;
        for _ in 0..cursor.u32()? {
            let size = cursor.u64()?;
            if let Ok(text) = std::str::from_utf8(cursor.bytes_u64(size)?) {
                formats.push((system, text));
            }
        }
    }
    Some(())
}
