//! Options of a trace.dat to facts: clock, machine, CPU statistics, where sections are.
//!
//! trace-cmd.dat.v7.5.txt; `handle_options` of lib/trace-cmd/trace-input.c. An option of
//! another id (HOOK, PROCMAPS, TRACEID, GUEST, PRINTK, and those to come) is
//! skipped by its size.

use super::times::{Samples, Times};
use crate::cursor::{Cursor, until_nul};
use crate::units::{Pid, Tid};

/// Numbers of options, and of the sections that have the same ones.
pub(crate) mod id {
    pub(crate) const DONE: u16 = 0;
    pub(crate) const DATE: u16 = 1;
    pub(crate) const CPUSTAT: u16 = 2;
    pub(crate) const BUFFER: u16 = 3;
    pub(crate) const TRACECLOCK: u16 = 4;
    pub(crate) const UNAME: u16 = 5;
    pub(crate) const OFFSET: u16 = 7;
    pub(crate) const CPUCOUNT: u16 = 8;
    pub(crate) const VERSION: u16 = 9;
    pub(crate) const TIME_SHIFT: u16 = 12;
    pub(crate) const TSC2NSEC: u16 = 14;
    pub(crate) const HEADER_INFO: u16 = 16;
    pub(crate) const FTRACE_EVENTS: u16 = 17;
    pub(crate) const EVENT_FORMATS: u16 = 18;
    pub(crate) const KALLSYMS: u16 = 19;
    pub(crate) const CMDLINES: u16 = 21;
    pub(crate) const BUFFER_TEXT: u16 = 22;
    /// `saved_tgids`, which gpuvis's trace-cmd adds; trace-cmd itself has no such option.
    pub(crate) const SAVED_TGIDS: u16 = 32;
}

/// What the options say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The chosen word of `trace_clock`.
    pub(crate) clock: String,
    /// Whether there was a TRACECLOCK option.
    pub(crate) has_clock: bool,
    /// `sysname nodename release machine`.
    pub(crate) uname: String,
    /// Of trace-cmd.
    pub(crate) version: String,
    pub(crate) cpu_count: Option<u32>,
    pub(crate) times: Times,
    pub(crate) stats: Vec<CpuStat>,
    /// The buffer that the next statistics belong to.
    stats_of: String,
    pub(crate) buffers: Vec<BufferOption>,
    /// A latency tracer's text takes the place of a buffer.
    pub(crate) latency: bool,
    pub(crate) sections: Found,
    pub(crate) tgids: Vec<(Tid, Pid)>,
}

/// Where version 7 says that its sections are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) header_info: Option<u64>,
    pub(crate) ftrace_events: Option<u64>,
    pub(crate) event_formats: Option<u64>,
    pub(crate) cmdlines: Option<u64>,
    pub(crate) kallsyms: Option<u64>,
}

/// Where a buffer is, and of version 7 what it holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct BufferOption {
    pub(crate) offset: u64,
    pub(crate) name: String,
    pub(crate) clock: String,
    /// 0 where not told.
    pub(crate) page_size: usize,
    /// CPU, offset, size.
    pub(crate) cpus: Vec<(u32, u64, u64)>,
    /// Found by its section alone: the option is lost.
    pub(crate) recovered: bool,
}

/// `per_cpu/cpuN/stats` (`tracing_stats_read` of kernel/trace/trace.c).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct CpuStat {
    pub(crate) buffer: String,
    pub(crate) cpu: u32,
    /// Events still in the ring, and taken out of it.
    pub(crate) entries: u64,
    /// The oldest, overwritten.
    pub(crate) overrun: u64,
    /// New ones that found no room, in time or in nesting.
    pub(crate) dropped: u64,
}

impl Facts {
    /// Takes one option. One that is too short for what it should hold says nothing.
    pub(crate) fn option(&mut self, id: u16, body: &[u8], sectioned: bool) {
        let text = || String::from_utf8_lossy(until_nul(body)).trim().to_owned();
        let offset = || crate::cursor::u64_at(body, 0);
        match id {
            // Microseconds; the other in nanoseconds.
            id::DATE => {
                self.times.dated = true;
                self.times.add(number(&text()).saturating_mul(1000));
            }
            id::OFFSET => self.times.add(number(&text())),
            id::TIME_SHIFT => self.times.shift = time_shift(body),
            id::TSC2NSEC => {
                let mut cursor = Cursor::new(body);
                self.times.tsc = cursor.u32().zip(cursor.u32()).filter(|(mult, _)| *mult != 0);
            }
            id::CPUSTAT => self.cpu_stat(&text()),
            id::BUFFER => self.buffers.extend(buffer(body, sectioned)),
            id::BUFFER_TEXT => self.latency = true,
            id::TRACECLOCK => {
                self.has_clock = true;
                self.clock = chosen_clock(body);
            }
            id::UNAME => self.uname = text(),
            id::VERSION => self.version = text(),
            id::CPUCOUNT => self.cpu_count = crate::cursor::u32_at(body, 0).or(self.cpu_count),
            id::HEADER_INFO => self.sections.header_info = offset(),
            id::FTRACE_EVENTS => self.sections.ftrace_events = offset(),
            id::EVENT_FORMATS => self.sections.event_formats = offset(),
            id::CMDLINES => self.sections.cmdlines = offset(),
            id::KALLSYMS => self.sections.kallsyms = offset(),
            id::SAVED_TGIDS => self.tgids = tgids(&text()),
            _ => {}
        }
    }

    /// `CPU: 0`, then `name: value` lines; or `Buffer: name`, for those that follow.
    fn cpu_stat(&mut self, text: &str) {
        let mut stat = CpuStat { buffer: self.stats_of.clone(), ..CpuStat::default() };
        let mut cpu = None;
        for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            let count = value.trim().parse::<u64>().unwrap_or(0);
            match name.trim() {
                "Buffer" => self.stats_of = value.trim().to_owned(),
                "CPU" => cpu = u32::try_from(count).ok(),
                "entries" | "read events" => stat.entries = stat.entries.saturating_add(count),
                "overrun" => stat.overrun = count,
                "dropped events" | "commit overrun" => {
                    stat.dropped = stat.dropped.saturating_add(count);
                }
                _ => {}
            }
        }
        if let Some(cpu) = cpu {
            stat.cpu = cpu;
            self.stats.push(stat);
        }
    }
}

/// The word in brackets: `local [mono] boot`.
pub(crate) fn chosen_clock(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(until_nul(text));
    let word = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    word.map_or(String::new(), |(word, _)| word.trim().to_owned())
}

/// As `strtoll(text, NULL, 0)`, without octal numbers, which trace-cmd does not write.
fn number(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value = i64::try_from(value.unwrap_or(0)).unwrap_or(i64::MAX);
    if negative { value.saturating_neg() } else { value }
}

/// `handle_buffer_option`: an offset and a name; in version 7 also the clock, since
/// trace-cmd 3.1 the size of a sub-buffer, and a table of CPUs.
fn buffer(body: &[u8], sectioned: bool) -> Option<BufferOption> {
    let mut cursor = Cursor::new(body);
    let word = |cursor: &mut Cursor<'_>| {
        cursor.c_str().map(|text| String::from_utf8_lossy(text).into_owned())
    };
    let offset = cursor.u64()?;
    let name = word(&mut cursor)?;
    let mut buffer = BufferOption { offset, name, ..BufferOption::default() };
    if !sectioned {
        return Some(buffer);
    }
    buffer.clock = word(&mut cursor)?;
    // An entry of the table has 20 bytes: what is over tells which numbers come first.
    if cursor.len() % 20 == 8 {
        buffer.page_size = cursor.u32()? as usize;
    }
    let count = cursor.u32()?;
    for _ in 0..count {
        buffer.cpus.push((cursor.u32()?, cursor.u64()?, cursor.u64()?));
    }
    Some(buffer)
}

/// `tsync_cpu_offsets_load`: for each CPU the times at which a guest's clock was
/// compared with its host's, what to add, and the ratio, whose fraction bits follow at
/// the end, in newer files.
fn time_shift(body: &[u8]) -> Option<(bool, Vec<Samples>)> {
    /// `TRACECMD_TSYNC_FLAG_INTERPOLATE`
    const INTERPOLATE: u32 = 1;
    let mut cursor = Cursor::new(body);
    let _peer = cursor.u64()?;
    let flags = cursor.u32()?;
    let cpus = cursor.u32()?;
    let mut all = Vec::new();
    for _ in 0..cpus {
        let count = cursor.u32()? as usize;
        // Three columns of 8 bytes each.
        let table = cursor.bytes(count.checked_mul(24)?)?;
        let column = |column: usize, row: usize| {
            let at = column.checked_mul(count)?.checked_add(row)?.checked_mul(8)?;
            crate::cursor::u64_at(table, at)
        };
        let mut samples = Samples::default();
        for row in 0..count {
            samples.push(column(0, row)?, column(1, row)? as i64, column(2, row)?);
        }
        all.push(samples);
    }
    if cursor.len() > 0 {
        for samples in &mut all {
            for row in 0..samples.len() {
                samples.set_fraction(row, cursor.u64()?);
            }
        }
    }
    for samples in &mut all {
        samples.sort();
    }
    Some((flags & INTERPOLATE != 0, all))
}

/// Lines of `tid tgid`.
fn tgids(text: &str) -> Vec<(Tid, Pid)> {
    let line = |line: &str| {
        let (tid, tgid) = line.trim().split_once(' ')?;
        Some((Tid(tid.parse().ok()?), Pid(tgid.trim().parse().ok()?)))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_two_buffers() {
        let mut facts = Facts::default();
        let text = "CPU: 1\nentries: 3\noverrun: 146259\ncommit overrun: 2\nbytes: 0\n\
                    oldest event ts:  1532.353294\nnow ts:  1532.363482\ndropped events: 5\n\
                    read events: 1264\n\0";
        facts.option(id::CPUSTAT, text.as_bytes(), true);
        facts.option(id::CPUSTAT, b"\nBuffer: agent\n\n\0", true);
        facts.option(id::CPUSTAT, b"CPU: 0\noverrun: 7\n\0", true);
        let main =
            CpuStat { buffer: String::new(), cpu: 1, entries: 1267, overrun: 146_259, dropped: 7 };
        let agent =
            CpuStat { buffer: "agent".to_owned(), cpu: 0, entries: 0, overrun: 7, dropped: 0 };
        assert_eq!(facts.stats, [main, agent]);
    }

    #[test]
    fn numbers_as_strtoll_reads_them() {
        for (text, value) in [
            ("0x10", 16),
            ("-42", -42),
            ("+7", 7),
            ("", 0),
            ("9x", 0),
            ("0xffffffffffffffff", i64::MAX),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }

    #[test]
    fn clock_words_and_saved_tgids() {
        assert_eq!(chosen_clock(b"local global [mono] boot\n\0"), "mono");
        assert_eq!(chosen_clock(b"local"), "");
        assert_eq!(tgids("10 7\nx y\n 11 7"), [(Tid(10), Pid(7)), (Tid(11), Pid(7))]);
    }

    #[test]
    fn a_buffer_with_and_without_the_size_of_its_sub_buffers() {
        let mut body = 99_u64.to_le_bytes().to_vec();
        body.extend(b"agent\0mono\0");
        let without = {
            let mut body = body.clone();
            body.extend(1_u32.to_le_bytes());
            body
        };
        let with = {
            body.extend(8192_u32.to_le_bytes());
            body.extend(1_u32.to_le_bytes());
            body
        };
        for (mut body, page_size) in [(without, 0), (with, 8192)] {
            body.extend(3_u32.to_le_bytes());
            body.extend(4096_u64.to_le_bytes());
            body.extend(77_u64.to_le_bytes());
            let found = buffer(&body, true).unwrap();
            assert_eq!((found.offset, found.page_size), (99, page_size));
            assert_eq!((found.name.as_str(), found.clock.as_str()), ("agent", "mono"));
            assert_eq!(found.cpus, [(3, 4096, 77)]);
            body.pop();
            assert!(buffer(&body, true).is_none());
        }
    }
}
