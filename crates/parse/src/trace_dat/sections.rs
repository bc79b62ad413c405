//! The bytes of a trace.dat to its sections, each plain: borrowed where it was so.

use std::ops::Range;

use super::compress::Codec;
use super::options::Facts;
use super::pages::PageLayout;
use super::{v6, v7};
use crate::cursor::Cursor;
use crate::diagnostics::Problem;
use crate::error::Error;
use crate::expand::Budget;

const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Whether the bytes begin as a trace.dat does.
pub(crate) fn recognize(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A run of plain bytes: where they are in the file, or themselves, where they had to
/// be made.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Plain(Range<usize>),
    Made(Vec<u8>),
}

impl Default for Part {
    fn default() -> Self {
        Self::Plain(0..0)
    }
}

impl Part {
    pub(crate) fn of<'a>(&'a self, file: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(range) => file.get(range.clone()).unwrap_or(&[]),
            Self::Made(bytes) => bytes,
        }
    }
}

/// Everything that a trace.dat holds, taken apart and without compression.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sections {
    pub(crate) facts: Facts,
    /// Of the kernel's sub-buffers.
    pub(crate) layout: PageLayout,
    /// `events/ftrace/*/format`.
    pub(crate) ftrace: Part,
    /// `events/*/*/format`.
    pub(crate) events: Part,
    /// `saved_cmdlines`.
    pub(crate) cmdlines: Part,
    /// The text of /proc/kallsyms.
    pub(crate) kallsyms: Part,
    pub(crate) buffers: Vec<Buffer>,
    /// What is wrong, and at which byte.
    pub(crate) damage: Vec<(Problem, u64)>,
}

/// One ring buffer: the main one, or a named instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer {
    /// Empty for the main one.
    pub(crate) name: String,
    /// Its clock's word in `trace_clock`; empty in version 6.
    pub(crate) clock: String,
    /// Bytes of a sub-buffer, where told.
    pub(crate) page_size: usize,
    pub(crate) cpus: Vec<CpuData>,
}

/// What one CPU wrote.
#[derive(Clone, Debug)]
pub(crate) struct CpuData {
    pub(crate) cpu: u32,
    /// In the file.
    pub(crate) offset: u64,
    pub(crate) data: Part,
}

/// Reads a file front to back or by offsets, and counts what it hands out: parts may
/// not claim more bytes, together, than there are.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) bytes: &'a [u8],
    left: usize,
}

impl<'a> File<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: bytes.len() }
    }

    /// The bytes at `offset`, as many of `size` as there are.
    ///
    /// # Errors
    /// Where all parts together claim more than the file is long.
    pub(crate) fn claim(&mut self, offset: u64, size: u64) -> Result<Range<usize>, Error> {
        let len = self.bytes.len();
        let start = usize::try_from(offset).unwrap_or(len).min(len);
        let size = usize::try_from(size).unwrap_or(len).min(len.saturating_sub(start));
        self.left = self.left.checked_sub(size).ok_or_else(|| Error::Malformed {
            offset,
            what: "the sections of this trace.dat overlap: it is damaged, copy or record it again"
                .to_owned(),
        })?;
        Ok(start..start.saturating_add(size))
    }

    /// Whether `size` bytes at `offset` are there.
    pub(crate) fn has(&self, offset: u64, size: u64) -> bool {
        offset.checked_add(size).is_some_and(|end| end <= self.bytes.len() as u64)
    }
}

/// Takes the file apart and expands what is compressed.
///
/// # Errors
/// Where the file is of a form that is not read, where it ends before its buffers, and
/// where it expands beyond the budget.
pub(crate) fn unpack(bytes: &[u8], budget: &mut Budget) -> Result<Sections, Error> {
    let mut cursor = Cursor::new(bytes);
    let _magic = cursor.bytes(MAGIC.len());
    let early = || ends_early(bytes.len() as u64, "its header");
    let version = cursor.c_str().ok_or_else(early)?;
    let version = std::str::from_utf8(version).ok().and_then(|v| v.trim().parse::<u32>().ok());
    let big_endian = cursor.u8().ok_or_else(early)?;
    let _long_size = cursor.u8().ok_or_else(early)?;
    if big_endian != 0 {
        return Err(Error::Unsupported {
            what: "this trace.dat is big-endian, which agenttrace does not read; convert it on a \
                   big-endian machine to text with `trace-cmd report -t -R`"
                .to_owned(),
        });
    }
    let page_size = cursor.u32().ok_or_else(early)? as usize;
    match version {
        Some(6) => v6::unpack(bytes, page_size, cursor),
        Some(7) => {
            let name = cursor.c_str().ok_or_else(early)?;
            let _version_of_library = cursor.c_str().ok_or_else(early)?;
            let options = cursor.u64().ok_or_else(early)?;
            let codec = Codec::from_name(name);
            v7::unpack(bytes, page_size, &codec, options, cursor, budget)
        }
        _ => Err(Error::Unsupported {
            what: "this trace.dat is of a version that agenttrace does not read (6 and 7 are \
                   read); convert it with `trace-cmd convert --file-version 6`"
                .to_owned(),
        }),
    }
}

/// The recorder was killed, or the copy is not whole.
pub(crate) fn ends_early(offset: u64, what: &str) -> Error {
    Error::Malformed {
        offset,
        what: format!(
            "this trace.dat ends before {what}: its recorder was killed, or it was not copied as a \
             whole; where trace.dat.cpu0, trace.dat.cpu1, ... lie beside it, `trace-cmd restore` \
             puts the events that they hold together"
        ),
    }
}

/// Says once that the file is not whole.
pub(crate) fn truncated(damage: &mut Vec<(Problem, u64)>, offset: u64) {
    if damage.iter().all(|(problem, _)| *problem != Problem::Truncated) {
        damage.push((Problem::Truncated, offset));
    }
}

/// Latency tracers write text, not records.
pub(crate) fn latency() -> Error {
    Error::Unsupported {
        what: "this trace.dat holds the text of a latency tracer, which has no events; record \
               with `trace-cmd record -e sched -e raw_syscalls ...`, without `-p` of a latency \
               tracer"
            .to_owned(),
    }
}

impl Sections {
    /// HEADER_INFO: `header_page` and `header_event`, each a name, a size and the text.
    ///
    /// # Errors
    /// Where the kernel's sub-buffers are laid out in a way that is not read.
    pub(crate) fn header_info(&mut self, cursor: &mut Cursor<'_>, end: u64) -> Result<(), Error> {
        let early = || ends_early(end, "the layout of its sub-buffers");
        let mut one = |name: &[u8]| {
            (cursor.c_str()? == name).then_some(())?;
            let size = cursor.u64()?;
            cursor.bytes_u64(size)
        };
        let page = one(b"header_page").ok_or_else(early)?;
        let _event = one(b"header_event").ok_or_else(early)?;
        self.layout = PageLayout::parse(page)?;
        Ok(())
    }
}
