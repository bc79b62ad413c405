//! The text of tracefs, `trace-cmd report` and `perf script` to events.
//!
//! Lines are numbered from 1; [`crate::Event::record`] and the offsets in diagnostics
//! are such numbers.

mod body;
mod dialect;
mod flags;
mod head;
mod header;
mod line;
mod pattern;
mod scan;
mod sideband;
mod stacks;
mod symbols;
mod syscalls;
#[cfg(test)]
mod tests;
mod values;
mod walk;

use rustc_hash::FxHashMap;

use body::Action;
use head::Style;
use line::{Line, line, line_at};
use scan::{Chunk, NameAt};
pub(crate) use stacks::Stacks;
pub(crate) use symbols::URING;
pub(crate) use values::LineFields;
use walk::{Entry, Walk, What};

use crate::capture::{CaptureInfo, ClockId, EventType, Fidelity, Totals};
use crate::diagnostics::{Diagnostics, Problem};
use crate::error::Error;
use crate::events::{CommRecord, Context, Event, Kind, Lost, Record, Sched};
use crate::fields::Comm;
use crate::print_fmt::StateTable;
use crate::stream::{self, Course, Stats};
use crate::units::{Cpu, Nanos, Pid, Tid};

/// Fewer bad lines than this are never too many.
const BAD_AT_LEAST: u64 = 3;
/// One bad line among so many is one too many (5 %).
const BAD_ONE_OF: u64 = 20;
/// Bytes of a bad line that are shown.
const SHOWN: usize = 80;

/// What is wrong with a line.
const NO_NAME: &str = "no name of an event after the time";
const BAD_FIELDS: &str = "the event's fields are not as they should be";
const NO_EVENT: &str = "no event, and no other line that is known";

/// An opened text: everything but the events.
#[derive(Debug)]
pub(crate) struct FtraceText<'a> {
    pub(crate) info: CaptureInfo,
    /// Whether it was compressed, and the stream ended too early.
    pub(crate) cut: bool,
    bytes: &'a [u8],
    style: Style,
    chunks: Vec<Chunk>,
    names: Vec<NameAt>,
    /// Time of the oldest line.
    first: u64,
    /// By key; the index in [`CaptureInfo::event_types`] of those that are events.
    types: FxHashMap<&'a [u8], (Option<usize>, Action)>,
    states: StateTable,
    /// Whether any lines of stacks are there.
    stacks: bool,
}

impl<'a> FtraceText<'a> {
    /// Looks through the text once, in parallel. `None` where it is no such text.
    ///
    /// # Errors
    /// Where it is of a form that cannot be read: says how to record another. Where its
    /// times are not what `trace_clock` says.
    pub(crate) fn open(
        bytes: &'a [u8],
        trace_clock: Option<ClockId>,
    ) -> Result<Option<Self>, Error> {
        let Some(dialect) = dialect::recognize(bytes)? else { return Ok(None) };
        let style = dialect.style();
        let mut info = CaptureInfo { format: dialect.name(), text: true, ..CaptureInfo::default() };
        let all_cpus = header::read(bytes, dialect, &mut info);
        let states = StateTable::new("", info.os_release.as_deref());
        let scan = scan::scan(bytes, style, &states);
        info.ticks = scan.digits == 0 && !scan.chunks.is_empty();
        if info.ticks && trace_clock.is_some_and(|clock| clock != ClockId::Local) {
            return Err(Error::Unsupported {
                what: "the times of this text are counts without a unit, which is not what the \
                       clock given by --trace-clock writes; record with \
                       `echo mono > /sys/kernel/tracing/trace_clock`"
                    .to_owned(),
            });
        }
        info.clock.id = info.clock.id.or(trace_clock);
        info.fidelity = Fidelity {
            resolution: Nanos(10_u64.pow(9_u32.saturating_sub(scan.digits.into()))),
            context: scan.context,
            // perf's own records tell the process of each thread, older ones included.
            processes: scan.processes || scan.keys.contains(&sideband::COMM),
        };
        if info.ticks {
            info.fidelity.resolution = Nanos(1);
        }
        // ftrace records all CPUs; perf did, where tasks of the kernel were seen too.
        info.system_wide = all_cpus.unwrap_or(style == Style::Dash || scan.kernel_tasks);
        info.data_mmaps = scan.mappings;
        let raw = scan.keys.iter().any(|key| {
            matches!(body::action(key, style, None, false), (_, Action::Row(printed))
                if printed.row.name.starts_with("raw_syscalls:"))
        });
        let types = types(&scan.keys, style, raw, &mut info);
        let (chunks, names, first) = (scan.chunks, scan.names, scan.first.unwrap_or(0));
        let (cut, stacks) = (false, scan.stacks);
        Ok(Some(Self { info, cut, bytes, style, chunks, names, first, types, states, stacks }))
    }

    /// How many bytes there are to walk over.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Delivers all events.
    ///
    /// # Errors
    /// Where more than a few lines cannot be read: names the first.
    pub(crate) fn read(
        &self,
        course: &Course,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Result<Totals, Error> {
        let walk = Walk::new(self, stream::BATCH);
        let decode = |entry: &_, stats: &mut _, events: &mut Vec<_>| {
            events.extend(self.decode(entry, stats));
        };
        let totals = stream::read(&self.info, walk, decode, course, diagnostics, sink);
        if self.cut {
            let lines = self.chunks.last().map(|chunk| chunk.line);
            diagnostics.add(Problem::Truncated, Cpu::NONE, 1, None, lines);
        }
        self.readable(&totals, diagnostics)?;
        Ok(totals)
    }

    /// # Errors
    /// Where more than a few lines could not be read: names the first.
    pub(crate) fn readable(&self, totals: &Totals, diagnostics: &Diagnostics) -> Result<(), Error> {
        let bad = diagnostics.count(Problem::BadLine);
        if bad >= BAD_AT_LEAST && bad.saturating_mul(BAD_ONE_OF) > totals.records {
            let (line, what) = diagnostics.examples().first().cloned().unwrap_or_default();
            return Err(Error::Line {
                line: usize::try_from(line).unwrap_or(usize::MAX),
                what: format!(
                    "{what}; {bad} of {} lines cannot be read, too many for what is read as the \
                     text of {}",
                    totals.records, self.info.format
                ),
            });
        }
        Ok(())
    }

    /// Whether any event has a stack.
    pub(crate) fn has_stacks(&self) -> bool {
        self.stacks
    }

    /// One line a record, in the order of the file.
    pub(crate) fn dump_records(&self, out: &mut dyn FnMut(&str)) {
        let (mut at, mut number) = (0, 0_u64);
        while at < self.bytes.len() {
            let (text, next) = line_at(self.bytes, at);
            number = number.saturating_add(1);
            match line(text, self.style) {
                Line::Head(head) => {
                    let name = body::name(head.rest, self.style).map_or(&b"?"[..], |(_, n, _)| n);
                    let name = String::from_utf8_lossy(name);
                    let pid = head.pid.unwrap_or(-1);
                    out(&format!(
                        "{number} {at} line {} time={} cpu={} {pid}/{} {}",
                        text.len(),
                        head.time,
                        head.cpu,
                        head.tid,
                        name.escape_debug()
                    ));
                }
                Line::Lost { cpu, lost } => {
                    out(&format!("{number} {at} lost {} cpu={cpu} lost={lost}", text.len()));
                }
                Line::Overwritten(lost) => {
                    out(&format!("{number} {at} lost {} lost={lost}", text.len()));
                }
                Line::Bad => out(&format!("{number} {at} bad {}", text.len())),
                Line::Skip => {}
            }
            at = next;
        }
    }

    fn decode(&self, entry: &Entry, stats: &mut Stats) -> Option<Event<'a>> {
        let (text, next) = line_at(self.bytes, entry.at);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if entry.what == What::Event {
            return self.event_of(entry, text, next, stats);
        }
        match line(text, self.style) {
            Line::Head(head) if entry.what == What::Name => {
                let comm = named(&head);
                let (pid, tid, record) = (comm.pid, comm.tid, Record::CommRecord(comm));
                Some(Event { pid, tid, ..made(entry, Cpu::NONE, Kind::Record(record)) })
            }
            Line::Lost { cpu, lost } => {
                stats.lost(Cpu(cpu), lost, entry.time, entry.line);
                Some(made(entry, Cpu(cpu), Kind::Record(Record::Lost(Lost { lost }))))
            }
            Line::Overwritten(lost) => {
                // On which CPUs is not told, and all of it was before their first events.
                stats.lost(Cpu::NONE, lost, entry.time, entry.line);
                None
            }
            Line::Bad | Line::Skip | Line::Head(_) => {
                self.bad(stats, Cpu::NONE, entry, NO_EVENT, text);
                None
            }
        }
    }

    #[inline]
    fn event_of(
        &self,
        entry: &Entry,
        text: &'a [u8],
        next: usize,
        stats: &mut Stats,
    ) -> Option<Event<'a>> {
        let cpu = Cpu(entry.cpu);
        let rest = text.get(usize::from(entry.rest)..).unwrap_or(&[]);
        let Some((period, key, payload)) = body::name(rest, self.style) else {
            self.bad(stats, cpu, entry, NO_NAME, text);
            return None;
        };
        let (index, action) = match self.types.get(key) {
            Some((index, action)) => (*index, action),
            None => (None, &Action::Unknown),
        };
        let following = self.bytes.get(next..).unwrap_or(&[]);
        let kind = match body::kind(action, key, period, payload, following, &self.states) {
            Ok(kind) => kind,
            Err(()) => {
                self.bad(stats, cpu, entry, BAD_FIELDS, text);
                return None;
            }
        };
        let record = matches!(action, Action::Record | Action::UnknownRecord);
        if !record {
            stats.count(cpu, entry.time, index);
        }
        let Some(kind) = kind else {
            if record {
                stats.problems.push((Problem::UnknownRecord, cpu, 1, entry.time, entry.line));
            }
            return None;
        };
        // Made up by perf itself: its columns tell nothing.
        let real = !record || !entry.timeless;
        if let Kind::Record(Record::Lost(lost)) = &kind {
            stats.lost(cpu, lost.lost, entry.time, entry.line);
        }
        if let Kind::Record(Record::LostSamples(lost)) = &kind {
            stats.lost_samples = stats.lost_samples.saturating_add(lost.lost);
        }
        let mut tid = Tid(if real { entry.tid } else { -1 });
        if let Kind::Sched(Sched::SchedSwitch(switch)) = &kind
            && tid == Tid(-1)
        {
            // The task has exited: perf cannot number it any more, the payload can.
            tid = switch.prev_pid;
        }
        Some(Event {
            pid: Pid(if real { entry.pid } else { -1 }),
            tid,
            context: entry.context,
            ..made(entry, if real { cpu } else { Cpu::NONE }, kind)
        })
    }

    #[cold]
    fn bad(&self, stats: &mut Stats, cpu: Cpu, entry: &Entry, what: &str, text: &[u8]) {
        let shown = text.get(..SHOWN).unwrap_or(text);
        let rest = if text.len() > SHOWN { "..." } else { "" };
        let shown = String::from_utf8_lossy(shown);
        let what = || format!("{what}: {}{rest}", shown.trim_end().escape_debug());
        stats.bad_line(cpu, entry.time, entry.line, what);
    }
}

/// The name that a line shows for its task.
fn named(head: &head::Head<'_>) -> CommRecord {
    let (pid, tid) = (Pid(head.pid.unwrap_or(-1)), Tid(head.tid));
    CommRecord { pid, tid, exec: false, comm: Comm::new(head.comm) }
}

/// An event without a task or a context.
fn made<'a>(entry: &Entry, cpu: Cpu, kind: Kind<'a>) -> Event<'a> {
    Event {
        record: entry.line,
        time: Nanos(entry.time),
        cpu,
        pid: Pid(-1),
        tid: Tid(-1),
        context: Context::UNKNOWN,
        agent_step_id: 0,
        kind,
    }
}

/// What each key stands for; lists the events.
fn types<'a>(
    keys: &[&'a [u8]],
    style: Style,
    raw: bool,
    info: &mut CaptureInfo,
) -> FxHashMap<&'a [u8], (Option<usize>, Action)> {
    let mut types = FxHashMap::default();
    let mut indexes: FxHashMap<String, usize> = FxHashMap::default();
    for key in keys {
        let (name, action) = body::action(key, style, info.arch.as_deref(), raw);
        let index = match action {
            Action::Record | Action::UnknownRecord => None,
            Action::Row(_)
            | Action::Syscall(..)
            | Action::MinorFault
            | Action::MajorFault
            | Action::Print
            | Action::Unknown => Some(*indexes.entry(name.clone()).or_insert_with(|| {
                let known = !matches!(action, Action::Unknown);
                info.event_types.push(EventType { name, known, every: true });
                info.event_types.len().saturating_sub(1)
            })),
        };
        types.insert(*key, (index, action));
    }
    types
}
