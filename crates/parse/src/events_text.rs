//! The text of `dump --stage events` to events.
//!
//! ```text
//! # agenttrace.events/1
//! # clock monotonic
//! # event block:block_rq_issue
//! 1000 0 42/42 . raw_syscalls:sys_exit id=0 ret=4096
//! ```
//! A line is time in nanoseconds, CPU, process/thread, context, name, and the fields
//! as `key=value`. Comments before the first event may say what the capture says of
//! itself; [`crate::write_events_header`] lists them. Every type that occurs, and
//! every `# event NAME`, counts as recorded.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::capture::{CaptureInfo, ClockId, CpuTotals, EventType, Totals};
use crate::diagnostics::{Diagnostics, Problem};
use crate::error::Error;
use crate::events::{Context, Event, Kind, Record, Row, row};
use crate::fields::{Source, SwitchState, unquote};
use crate::perf_data::cpu_list;
use crate::units::{Cpu, Nanos, Pid, Tid};

/// The first line, and the version of the form.
pub(crate) const FIRST_LINE: &str = "# agenttrace.events/1";

/// The letters of `common_flags`, by bit: irqs off (`d`), need-resched lazy and plain
/// (`l`, `r`), hard and soft interrupt (`h`, `s`), need-resched preempt (`p`), NMI
/// (`n`), bottom halves off (`b`).
pub(crate) const FLAG_LETTERS: &[u8; 8] = b"dlrhspnb";

/// A whole text, parsed.
#[derive(Debug)]
pub(crate) struct EventsText<'a> {
    pub(crate) info: CaptureInfo,
    /// In time order; equal times in the order of the lines.
    events: Vec<Event<'a>>,
    inversions: u64,
}

impl<'a> EventsText<'a> {
    pub(crate) fn recognize(bytes: &[u8]) -> bool {
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or(&[]);
        line.trim_ascii_end() == FIRST_LINE.as_bytes()
    }

    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut info = CaptureInfo {
            format: "events",
            text: true,
            system_wide: true,
            data_mmaps: true,
            ..CaptureInfo::default()
        };
        let mut events: Vec<Event<'a>> = Vec::new();
        let mut types: rustc_hash::FxHashSet<&'static str> = rustc_hash::FxHashSet::default();
        let mut inversions = 0_u64;
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let number = index.saturating_add(1);
            let fail = |what: String| Error::Line { line: number, what };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(comment) = line.strip_prefix(b"#") {
                let comment = std::str::from_utf8(comment).unwrap_or("");
                header(comment.trim(), &mut info).map_err(fail)?;
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let event = event(line, number as u64).map_err(fail)?;
            if !matches!(event.kind, Kind::Record(_)) && types.insert(event.kind.name()) {
                declare(&mut info, event.kind.name(), true);
            }
            if events.last().is_some_and(|last| last.time > event.time) {
                inversions = inversions.saturating_add(1);
            }
            events.push(event);
        }
        events.sort_by_key(|e| e.time);
        Ok(Self { info, events, inversions })
    }

    pub(crate) fn read(
        &self,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Result<Totals, Error> {
        let mut totals = Totals {
            records: self.events.len() as u64,
            by_type: vec![0; self.info.event_types.len()],
            inversions: self.inversions,
            ..Totals::default()
        };
        let mut lost_samples = 0_u64;
        for event in &self.events {
            if let Kind::Record(record) = &event.kind {
                let lost = match record {
                    Record::Lost(lost) => lost.lost,
                    Record::LostSamples(lost) => {
                        lost_samples = lost_samples.saturating_add(lost.lost);
                        0
                    }
                    Record::CommRecord(_)
                    | Record::Fork(_)
                    | Record::Exit(_)
                    | Record::Mmap2(_)
                    | Record::Switch(_)
                    | Record::Namespaces(_)
                    | Record::Throttle(_) => 0,
                };
                if lost > 0 {
                    let line = Some(event.record);
                    diagnostics.add(Problem::LostEvents, event.cpu, lost, Some(event.time), line);
                    totals.lost = totals.lost.saturating_add(lost);
                    let cpu = of_cpu(&mut totals.cpus, event);
                    cpu.lost = cpu.lost.saturating_add(lost);
                }
                continue;
            }
            totals.events = totals.events.saturating_add(1);
            let types = &self.info.event_types;
            let position = types.iter().position(|t| t.name == event.kind.name());
            if let Some(count) = position.and_then(|p| totals.by_type.get_mut(p)) {
                *count = count.saturating_add(1);
            }
            let first = totals.span.map_or(event.time, |(first, _)| first);
            totals.span = Some((first, event.time));
            let cpu = of_cpu(&mut totals.cpus, event);
            if cpu.events == 0 {
                cpu.first = event.time;
            }
            cpu.events = cpu.events.saturating_add(1);
            cpu.last = event.time;
        }
        if totals.lost == 0 && lost_samples > 0 {
            diagnostics.add(Problem::LostEvents, Cpu::NONE, lost_samples, None, None);
            totals.lost = lost_samples;
        }
        totals.cpus.sort_by_key(|c| c.cpu);
        for batch in self.events.chunks(1 << 12) {
            sink(batch);
        }
        Ok(totals)
    }

    pub(crate) fn dump_records(&self, line: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let mut order: Vec<&Event<'_>> = self.events.iter().collect();
        order.sort_by_key(|e| e.record);
        for e in order {
            let (time, name) = (e.time, e.kind.name());
            line(&format!(
                "{} line time={time} cpu={} {}/{} {name}",
                e.record, e.cpu, e.pid, e.tid
            ));
        }
        Ok(())
    }
}

#[expect(clippy::indexing_slicing, reason = "the index was just found or made")]
fn of_cpu<'t>(cpus: &'t mut Vec<CpuTotals>, event: &Event<'_>) -> &'t mut CpuTotals {
    let index = cpus.iter().position(|c| c.cpu == event.cpu).unwrap_or_else(|| {
        let (cpu, time) = (event.cpu, event.time);
        cpus.push(CpuTotals { cpu, events: 0, first: time, last: time, lost: 0 });
        cpus.len().saturating_sub(1)
    });
    &mut cpus[index]
}

fn declare(info: &mut CaptureInfo, name: &str, every: bool) {
    if !info.event_types.iter().any(|t| t.name == name) {
        let known = row(name).is_some();
        info.event_types.push(EventType { name: name.to_owned(), known, every });
    }
}

/// A comment: a fact of the capture, or just a comment.
fn header(comment: &str, info: &mut CaptureInfo) -> Result<(), String> {
    let (key, value) = comment.split_once(' ').unwrap_or((comment, ""));
    let value = value.trim();
    let number = || value.parse::<u32>().map_err(|_| format!("{key}: {value:?} is no number"));
    match key {
        "clock" => {
            info.clock.id = Some(
                ClockId::from_name(value).ok_or_else(|| format!("clock: {value:?} is no clock"))?,
            );
        }
        "wall" => {
            let pair = value.split_once(' ').and_then(|(event, wall)| {
                Some((Nanos(event.parse().ok()?), Nanos(wall.trim().parse().ok()?)))
            });
            info.clock.wall =
                Some(pair.ok_or_else(|| "wall: two times in nanoseconds are needed".to_owned())?);
        }
        "hostname" => info.hostname = Some(value.to_owned()),
        "release" => info.os_release = Some(value.to_owned()),
        "arch" => info.arch = Some(value.to_owned()),
        "recorder" => info.recorder = Some(value.to_owned()),
        "cpus" => info.cpus_online = Some(number()?),
        "system-wide" => info.system_wide = value != "no",
        "resolution" => {
            let unit = value.parse().ok().filter(|unit| *unit > 0).map(Nanos);
            info.fidelity.resolution =
                unit.ok_or_else(|| "resolution: nanoseconds from 1 are needed".to_owned())?;
        }
        "context" => info.fidelity.context = value != "no",
        "processes" => info.fidelity.processes = value != "no",
        "data-mmaps" => info.data_mmaps = value != "no",
        "event" => match value.split_once(' ') {
            Some((name, "sampled")) => declare(info, name, false),
            _ => declare(info, value, true),
        },
        "cpu" => {
            let mut words = value.split(' ').map(str::parse::<u32>);
            if let (Some(Ok(cpu)), Some(Ok(core)), Some(Ok(socket))) =
                (words.next(), words.next(), words.next())
            {
                info.topology.cpus.push((Cpu(cpu), core, socket));
            }
        }
        "node" => {
            let node = value
                .split_once(' ')
                .and_then(|(node, cpus)| Some((node.parse::<u32>().ok()?, cpu_list(cpus.trim())?)));
            info.topology.nodes.push(
                node.ok_or_else(|| {
                    "node: a node and its CPUs are needed, as in `0 0-3`".to_owned()
                })?,
            );
        }
        "cache" => {
            info.topology.caches.push(cpu_list(value.trim()).ok_or_else(|| {
                "cache: the CPUs that share it are needed, as in `0-3`".to_owned()
            })?)
        }
        _ => {}
    }
    Ok(())
}

/// One event's line.
fn event(line: &[u8], number: u64) -> Result<Event<'_>, String> {
    let mut rest = line.trim_ascii();
    let mut word = |what: &str| {
        let (word, tail) = split_word(rest);
        rest = tail;
        let missing =
            || format!("{what} is missing; a line is `time cpu pid/tid flags name key=value ...`");
        let word = std::str::from_utf8(word).ok().filter(|w| !w.is_empty());
        word.ok_or_else(missing)
    };
    let bad = |what: &str, word: &str| format!("{what}: cannot read {word:?}");
    let time = word("time")?;
    let time = time.parse().map_err(|_| bad("time", time))?;
    let cpu = match word("cpu")? {
        "-" => Cpu::NONE,
        cpu => Cpu(cpu.parse().map_err(|_| bad("cpu", cpu))?),
    };
    let task = word("pid/tid")?;
    let (pid, tid) = task
        .split_once('/')
        .and_then(|(pid, tid)| Some((Pid(pid.parse().ok()?), Tid(tid.parse().ok()?))))
        .ok_or_else(|| bad("pid/tid", task))?;
    let flags = word("flags")?;
    let context = context(flags).ok_or_else(|| bad("flags", flags))?;
    let name = word("name")?;
    let row = row(name).ok_or_else(|| format!("name: no event is called {name:?}"))?;
    let (fields, agent_step_id) = fields(row, rest)?;
    let kind = (row.decode.text)(&fields).ok_or_else(|| {
        let key = row.fields.get(fields.failed.get()).and_then(|names| names.first());
        format!("{}: missing or unreadable in {name}", key.unwrap_or(&"field"))
    })?;
    Ok(Event { record: number, time: Nanos(time), cpu, pid, tid, context, agent_step_id, kind })
}

/// `-` unknown, `.` a plain task, else the letters of the bits that are set.
fn context(flags: &str) -> Option<Context> {
    match flags {
        "-" => Some(Context::UNKNOWN),
        "." => Some(Context::TASK),
        letters => {
            let mut bits = 0_u8;
            for letter in letters.bytes() {
                let bit = FLAG_LETTERS.iter().position(|l| *l == letter)?;
                bits |= 1_u8.checked_shl(u32::try_from(bit).ok()?)?;
            }
            Some(Context::from_flags(bits))
        }
    }
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// `key=value ...` in the order of the row, and `agent_step_id`.
fn fields<'a>(row: &Row, text: &'a [u8]) -> Result<(TextFields<'a>, u64), String> {
    let mut fields = TextFields { fields: vec![None; row.fields.len()], failed: Cell::new(0) };
    let mut step = 0;
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let (key, tail) = memchr::memchr(b'=', rest)
            .and_then(|at| Some((rest.get(..at)?, rest.get(at.checked_add(1)?..)?)))
            .ok_or_else(|| format!("{:?} is no key=value", String::from_utf8_lossy(rest)))?;
        let name = String::from_utf8_lossy(key);
        let (value, tail) = match tail.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = memchr::memchr(b'"', quoted)
                    .ok_or_else(|| format!("{name}: the closing quote is missing"))?;
                let value = quoted.get(..end).unwrap_or(&[]);
                let value = unescape(value)
                    .ok_or_else(|| format!("{name}: broken escape, \\xNN is meant"))?;
                (value, quoted.get(end.saturating_add(1)..).unwrap_or(&[]))
            }
            None => split_word(tail),
        };
        rest = tail.trim_ascii_start();
        if key == b"agent_step_id" {
            step = parse_int(value).ok_or_else(|| format!("{name}: no number"))?;
            continue;
        }
        let index = row.fields.iter().position(|names| names.iter().any(|n| n.as_bytes() == key));
        let slot = index.and_then(|i| fields.fields.get_mut(i));
        *slot.ok_or_else(|| format!("{name}: {} has no such field", row.name))? = Some(value);
    }
    Ok((fields, step))
}

/// Strings with escapes cannot be borrowed from the input. Each different one is
/// kept once for as long as the program runs; only hand-made and hostile names have them.
fn unescape(value: &[u8]) -> Option<&[u8]> {
    static KEPT: Mutex<BTreeSet<&'static [u8]>> = Mutex::new(BTreeSet::new());
    if memchr::memchr(b'\\', value).is_none() {
        return Some(value);
    }
    let bytes = unquote(value)?;
    let mut kept = KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = kept.get(bytes.as_slice()) {
        return Some(found);
    }
    let bytes: &'static [u8] = bytes.leak();
    kept.insert(bytes);
    Some(bytes)
}

/// Decimal, negative, or `0x` hexadecimal.
fn parse_int(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if let Some(hex) = text.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok()
    } else if text.starts_with('-') {
        // The cast keeps the bits, as a signed field of the kernel does.
        text.parse::<i64>().ok().map(|v| v as u64)
    } else {
        text.parse().ok()
    }
}

/// The fields of one line, in the order of the row.
pub(crate) struct TextFields<'a> {
    fields: Vec<Option<&'a [u8]>>,
    /// The last field that could not be read: the culprit, when decoding stops.
    failed: Cell<usize>,
}

impl<'a> TextFields<'a> {
    fn get<T>(&self, field: usize, parse: impl FnOnce(&'a [u8]) -> Option<T>) -> Option<T> {
        let value = self.fields.get(field).copied().flatten().and_then(parse);
        if value.is_none() {
            self.failed.set(field);
        }
        value
    }
}

impl<'a> Source<'a> for TextFields<'a> {
    fn int(&self, field: usize) -> Option<u64> {
        self.get(field, parse_int)
    }
    fn text(&self, field: usize) -> Option<&'a [u8]> {
        self.get(field, Some)
    }
    fn word(&self, field: usize, index: usize) -> Option<u64> {
        self.get(field, |value| {
            let word = value.split(|b| *b == b',').nth(index)?;
            u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
        })
    }
    fn switch_state(&self, field: usize) -> Option<SwitchState> {
        self.get(field, |value| match value {
            [b'?'] => Some(SwitchState::Other),
            [letter] => {
                let state = SwitchState::from_letter(char::from(*letter));
                (state != SwitchState::Other).then_some(state)
            }
            _ => None,
        })
    }
}
