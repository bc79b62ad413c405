//! A whole text, looked through once in parallel before it is read: which events
//! occur, in what order its times are, who is named.

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::body;
use super::head::{Head, Style};
use super::line::{Line, line, line_at};
use super::pattern::Printed;
use super::sideband;
use super::stacks::is_frame;
use crate::events::{BIRTHS, Kind, Record};
use crate::print_fmt::StateTable;
use crate::units::Tid;

/// Bytes that are looked through, and later ordered, at a time.
const CHUNK: usize = 1 << 20;
/// Chunks between two merges of what they found.
const GROUP: usize = 64;
/// More names of events than this are no kernel's; the rest counts as one.
const NAMES: usize = 4096;

/// A stretch of whole lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Number of its first line, from 1.
    pub(super) line: u64,
    /// No later chunk has an older line: what is not newer can be handed on.
    pub(super) settled: u64,
}

/// A line that names a task that was there from before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NameAt {
    pub(super) at: usize,
    pub(super) line: u64,
}

/// What the look gave.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) chunks: Vec<Chunk>,
    /// Keys of events, in the order of their first lines.
    pub(super) keys: Vec<&'a [u8]>,
    /// By task.
    pub(super) names: Vec<NameAt>,
    /// Most digits after the dot.
    pub(super) digits: u8,
    /// Whether any line tells the context.
    pub(super) context: bool,
    /// Whether any line tells the process.
    pub(super) processes: bool,
    /// Whether tasks of the kernel were seen, which no recording of a program's own
    /// tasks has.
    pub(super) kernel_tasks: bool,
    /// Whether perf's records of mappings are there.
    pub(super) mappings: bool,
    /// Whether lines of stacks are there.
    pub(super) stacks: bool,
    /// The oldest time.
    pub(super) first: Option<u64>,
}

/// What one chunk gave.
#[derive(Debug, Default)]
struct Found<'a> {
    lines: u64,
    oldest: Option<u64>,
    keys: Vec<&'a [u8]>,
    known: FxHashMap<&'a [u8], Role>,
    /// By task: its first line with a name, from the chunk's first line.
    named: FxHashMap<i32, NameAt>,
    /// Tasks whose name an event tells before any line shows it.
    told: FxHashSet<i32>,
    digits: u8,
    context: bool,
    processes: bool,
    kernel_tasks: bool,
    mappings: bool,
    stacks: bool,
}

/// What the search looks at in the events of a name.
#[derive(Clone, Copy, Debug)]
enum Role {
    Birth(&'static Printed),
    Record,
    Mapping,
    None,
}

/// How the names of tasks begin that every kernel has.
const KERNEL_TASKS: &[&[u8]] = &[b"kworker/", b"ksoftirqd/", b"migration/", b"rcu_"];

/// Looks through a text.
pub(super) fn scan<'a>(bytes: &'a [u8], style: Style, states: &StateTable) -> Scan<'a> {
    let mut scan = Scan::default();
    let mut known: FxHashSet<&[u8]> = FxHashSet::default();
    let mut named: FxHashMap<i32, NameAt> = FxHashMap::default();
    let mut told: FxHashSet<i32> = FxHashSet::default();
    let mut oldest: Vec<Option<u64>> = Vec::new();
    let mut next_line = 1_u64;
    let bounds = bounds(bytes);
    for group in bounds.chunks(GROUP) {
        let found: Vec<Found<'a>> = group
            .par_iter()
            .map(|(start, end)| chunk(bytes, *start, *end, style, states))
            .collect();
        for ((start, end), found) in group.iter().zip(found) {
            scan.chunks.push(Chunk { start: *start, end: *end, line: next_line, settled: 0 });
            oldest.push(found.oldest);
            for key in found.keys {
                if known.len() < NAMES && known.insert(key) {
                    scan.keys.push(key);
                }
            }
            let mut tids: Vec<(i32, NameAt)> = found.named.into_iter().collect();
            tids.sort_unstable_by_key(|(tid, _)| *tid);
            for (tid, at) in tids {
                if !told.contains(&tid) {
                    let line = at.line.saturating_add(next_line);
                    named.entry(tid).or_insert(NameAt { line, ..at });
                }
            }
            told.extend(found.told);
            scan.digits = scan.digits.max(found.digits);
            scan.context |= found.context;
            scan.processes |= found.processes;
            scan.kernel_tasks |= found.kernel_tasks;
            scan.mappings |= found.mappings;
            scan.stacks |= found.stacks;
            next_line = next_line.saturating_add(found.lines);
        }
    }
    let mut later = u64::MAX;
    for (chunk, oldest) in scan.chunks.iter_mut().zip(&oldest).rev() {
        chunk.settled = later;
        later = later.min(oldest.unwrap_or(u64::MAX));
    }
    scan.first = oldest.iter().flatten().min().copied();
    let mut names: Vec<(i32, NameAt)> = named.into_iter().collect();
    names.sort_unstable_by_key(|(tid, _)| *tid);
    scan.names = names.into_iter().map(|(_, at)| at).collect();
    scan
}

/// Whole lines, about [`CHUNK`] bytes each.
fn bounds(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut bounds = Vec::new();
    let mut start = 0_usize;
    while start < bytes.len() {
        let (_, end) = line_at(bytes, start.saturating_add(CHUNK).min(bytes.len()));
        let end = end.min(bytes.len());
        bounds.push((start, end));
        start = end;
    }
    bounds
}

fn chunk<'a>(
    bytes: &'a [u8],
    start: usize,
    end: usize,
    style: Style,
    states: &StateTable,
) -> Found<'a> {
    let mut found = Found::default();
    let mut at = start;
    while at < end {
        let (text, next) = line_at(bytes, at);
        if is_frame(text, style) {
            found.stacks = true;
        } else if let Line::Head(head) = line(text, style) {
            found.head(&head, NameAt { at, line: found.lines }, style, states);
        }
        found.lines = found.lines.saturating_add(1);
        at = next;
    }
    found
}

/// Whether a name that a line shows is a task's, not a word for "not known".
pub(super) fn is_name(comm: &[u8], tid: i32) -> bool {
    tid > 0
        && !comm.is_empty()
        && comm != b"<...>"
        && comm != b"<idle>"
        && comm.first() != Some(&b':')
}

impl<'a> Found<'a> {
    #[inline]
    fn head(&mut self, head: &Head<'a>, at: NameAt, style: Style, states: &StateTable) {
        self.digits = self.digits.max(head.digits);
        self.context |= head.flags.is_some();
        self.processes |= head.pid.is_some();
        self.kernel_tasks |= head.tid == 0 && head.time > 0;
        if head.time > 0 {
            self.oldest = Some(self.oldest.map_or(head.time, |oldest| oldest.min(head.time)));
        }
        let Some((_, key, payload)) = body::name(head.rest, style) else { return };
        let role = match self.known.get(key) {
            Some(role) => *role,
            None => self.role(key),
        };
        match role {
            Role::None => {}
            Role::Birth(printed) => {
                let kind = (printed.row.decode.line)(&printed.fields(payload, states));
                if let Some(Kind::Sched(event)) = kind {
                    self.tell(event.newborn());
                }
            }
            Role::Mapping => self.mappings = true,
            Role::Record => {
                if let Some(Record::Fork(fork)) = sideband::record(key, payload, &[]) {
                    self.tell(Some(fork.tid));
                } else {
                    self.tell(body::named_by_record(key, payload).map(Tid));
                }
            }
        }
        // A record's column names the task that perf was at, not always its own.
        if matches!(role, Role::None | Role::Birth(_))
            && is_name(head.comm, head.tid)
            && !self.told.contains(&head.tid)
        {
            let kernel = KERNEL_TASKS.iter().any(|begin| head.comm.starts_with(begin));
            self.kernel_tasks |= kernel;
            self.named.entry(head.tid).or_insert(at);
        }
    }

    fn tell(&mut self, task: Option<Tid>) {
        if let Some(tid) = task {
            self.told.insert(tid.0);
        }
    }

    #[cold]
    fn role(&mut self, key: &'a [u8]) -> Role {
        let printed = std::str::from_utf8(key).ok().and_then(Printed::find);
        let role = match printed {
            Some(printed) if BIRTHS.contains(&printed.row.name) => Role::Birth(printed),
            _ if key.starts_with(b"PERF_RECORD_MMAP") => Role::Mapping,
            _ if key.starts_with(sideband::PREFIX) => Role::Record,
            _ => Role::None,
        };
        if self.known.len() < NAMES {
            self.known.insert(key, role);
            self.keys.push(key);
        }
        role
    }
}
