//! perf's own records, as `perf script --show-*-events` prints them, to events
//! (tools/perf/util/event.c, `perf_event__fprintf_*`).

use super::head::{decimal, id};
use super::values::{auto, hex, hex_with_prefix, whole};
use crate::events::{
    CommRecord, Exit, Fork, Lost, LostSamples, Mmap2, Namespaces, Record, Switch, Throttle,
};
use crate::fields::{Addr, Comm, Text};
use crate::units::{Pid, Tid};

/// The record that names a task, and its process.
pub(super) const COMM: &[u8] = b"PERF_RECORD_COMM";
/// How each record's name begins.
pub(super) const PREFIX: &[u8] = b"PERF_RECORD_";

/// Whether [`record`] knows the name.
pub(super) fn known(name: &[u8]) -> bool {
    matches!(
        name,
        b"PERF_RECORD_COMM"
            | b"PERF_RECORD_FORK"
            | b"PERF_RECORD_EXIT"
            | b"PERF_RECORD_MMAP"
            | b"PERF_RECORD_MMAP2"
            | b"PERF_RECORD_LOST"
            | b"PERF_RECORD_LOST_SAMPLES"
            | b"PERF_RECORD_SWITCH"
            | b"PERF_RECORD_SWITCH_CPU_WIDE"
            | b"PERF_RECORD_NAMESPACES"
            | b"PERF_RECORD_THROTTLE"
            | b"PERF_RECORD_UNTHROTTLE"
    )
}

/// The record's event. `following` is what comes after its line.
pub(super) fn record<'a>(name: &[u8], text: &'a [u8], following: &[u8]) -> Option<Record<'a>> {
    Some(match name {
        b"PERF_RECORD_COMM" => {
            // ` exec: name:pid/tid`
            let (text, exec) = match text.strip_prefix(b" exec: ") {
                Some(text) => (text, true),
                None => (text.strip_prefix(b": ")?, false),
            };
            let colon = memchr::memrchr(b':', text)?;
            let (pid, tid, _) = pair(text.get(colon.checked_add(1)?..)?, b'/')?;
            let comm = Comm::new(text.get(..colon)?);
            Record::CommRecord(CommRecord { pid: Pid(pid), tid: Tid(tid), exec, comm })
        }
        b"PERF_RECORD_FORK" | b"PERF_RECORD_EXIT" => {
            // `(pid:tid):(ppid:ptid)`
            let (pid, tid, rest) = pair(text.strip_prefix(b"(")?, b':')?;
            let (ppid, ptid, _) = pair(rest.strip_prefix(b"):(")?, b':')?;
            let (pid, ppid, tid, ptid) = (Pid(pid), Pid(ppid), Tid(tid), Tid(ptid));
            if name == b"PERF_RECORD_FORK" {
                Record::Fork(Fork { pid, ppid, tid, ptid })
            } else {
                Record::Exit(Exit { pid, tid })
            }
        }
        b"PERF_RECORD_MMAP" | b"PERF_RECORD_MMAP2" => Record::Mmap2(mapping(text)?),
        b"PERF_RECORD_LOST" => Record::Lost(Lost { lost: lost(text)? }),
        b"PERF_RECORD_LOST_SAMPLES" => Record::LostSamples(LostSamples { lost: lost(text)? }),
        b"PERF_RECORD_SWITCH" | b"PERF_RECORD_SWITCH_CPU_WIDE" => {
            let text = text.trim_ascii_start();
            let out = text.starts_with(b"OUT");
            if !out && !text.starts_with(b"IN") {
                return None;
            }
            let other = match memchr::memmem::find(text, b"pid/tid:") {
                Some(at) => pair(text.get(at.checked_add(8)?..)?.trim_ascii_start(), b'/')?.1,
                None => -1,
            };
            let preempt = out && memchr::memmem::find(text, b"preempt").is_some();
            Record::Switch(Switch { out, preempt, other: Tid(other) })
        }
        b"PERF_RECORD_NAMESPACES" => {
            let (pid, tid, _) = pair(text.trim_ascii_start(), b'/')?;
            let pid_ns = pid_namespace(following).unwrap_or(0);
            Record::Namespaces(Namespaces { pid: Pid(pid), tid: Tid(tid), pid_ns })
        }
        b"PERF_RECORD_THROTTLE" => Record::Throttle(Throttle { begin: true }),
        b"PERF_RECORD_UNTHROTTLE" => Record::Throttle(Throttle { begin: false }),
        _ => return None,
    })
}

/// ` lost 168`
fn lost(text: &[u8]) -> Option<u64> {
    auto(text.trim_ascii_start().strip_prefix(b"lost ")?).map(|(lost, _)| lost)
}

/// Two numbers of tasks, and what follows them.
fn pair(text: &[u8], between: u8) -> Option<(i32, i32, &[u8])> {
    let number = |text: &[u8]| {
        let end = text.iter().position(|b| !b.is_ascii_digit() && *b != b'-');
        let digits = text.get(..end.unwrap_or(text.len()))?;
        let value = if digits == b"-1" { -1 } else { id(digits)? };
        Some((value, digits.len()))
    };
    let (first, n) = number(text)?;
    let rest = text.get(n..)?;
    let rest = rest.strip_prefix(&[between])?;
    let (second, n) = number(rest)?;
    Some((first, second, rest.get(n..)?))
}

/// ` 7/8: [0x7f00(0x1000) @ 0x2000 fe:00 247153 0]: r-xp /usr/bin/env`, with a build id
/// in place of device and inode, or with neither.
fn mapping(text: &[u8]) -> Option<Mmap2<'_>> {
    let (pid, tid, rest) = pair(text.trim_ascii_start(), b'/')?;
    let value = |text: &[u8]| hex_with_prefix(text);
    let rest = rest.strip_prefix(b": [")?;
    let (addr, n) = value(rest)?;
    let rest = rest.get(n..)?.strip_prefix(b"(")?;
    let (len, n) = value(rest)?;
    let rest = rest.get(n..)?.strip_prefix(b") @ ")?;
    let (pgoff, n) = value(rest)?;
    let rest = rest.get(n..)?;
    let close = memchr::memmem::find(rest, b"]: ")?;
    let (place, tail) = (rest.get(..close)?, rest.get(close.checked_add(3)?..)?);
    let (mut maj, mut min, mut ino) = (0, 0, 0);
    if let Some(place) = place.strip_prefix(b" ")
        && !place.starts_with(b"<")
    {
        let mut words = place.split(|b| *b == b' ');
        let mut dev = words.next()?.split(|b| *b == b':');
        let mut part = || {
            let part = dev.next()?;
            u32::try_from(whole(hex(part), part)?).ok()
        };
        (maj, min) = (part()?, part()?);
        ino = decimal(words.next()?)?;
    }
    let filename = memchr::memchr(b' ', tail).and_then(|at| tail.get(at.checked_add(1)?..))?;
    Some(Mmap2 {
        pid: Pid(pid),
        tid: Tid(tid),
        addr: Addr(addr),
        len: Addr(len),
        pgoff: Addr(pgoff),
        maj,
        min,
        ino,
        filename: Text(filename),
    })
}

/// `3/pid: 4/0xeffffffc` in the two lines that follow.
fn pid_namespace(following: &[u8]) -> Option<u64> {
    let mut lines = following.split(|b| *b == b'\n');
    for _ in 0..2 {
        let line = lines.next()?.trim_ascii();
        if let Some(at) = memchr::memmem::find(line, b"/pid: ") {
            let value = line.get(at.checked_add(6)?..)?;
            let slash = memchr::memchr(b'/', value)?;
            return hex_with_prefix(value.get(slash.checked_add(1)?..)?).map(|(v, _)| v);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record() {
        let read = |name: &str, text: &str| {
            let following = "\t\t[0/net: 4/0xeffffff9, 3/pid: 4/0xeffffffc, \n";
            let name = format!("PERF_RECORD_{name}");
            let record = record(name.as_bytes(), text.as_bytes(), following.as_bytes());
            let mut out = String::new();
            if let Some(record) = record {
                record.write(&mut out);
            }
            out
        };
        for (name, text, expected) in [
            ("COMM", " exec: a:b (c):7/8", r#"record:comm pid=7 tid=8 exec=1 comm="a:b (c)""#),
            ("COMM", ": sh:7/7", r#"record:comm pid=7 tid=7 exec=0 comm="sh""#),
            ("FORK", "(9:9):(7:8)", "record:fork pid=9 ppid=7 tid=9 ptid=8"),
            ("EXIT", "(9:10):(9:9)", "record:exit pid=9 tid=10"),
            (
                "MMAP2",
                " 7/8: [0x7f00(0x1000) @ 0x2000 fe:01 247153 0]: r-xp /usr/bin/my env",
                r#"record:mmap2 pid=7 tid=8 addr=0x7f00 len=0x1000 pgoff=0x2000 maj=254 min=1 ino=247153 filename="/usr/bin/my env""#,
            ),
            (
                "MMAP2",
                " 7/8: [0x7f00(0x1000) @ 0 <ab12cd>]: r-xp /bin/x",
                r#"record:mmap2 pid=7 tid=8 addr=0x7f00 len=0x1000 pgoff=0x0 maj=0 min=0 ino=0 filename="/bin/x""#,
            ),
            (
                "MMAP",
                " -1/0: [0xffffffff81000000(0x1209988) @ 0xffffffff81000000]: x [kernel.kallsyms]_text",
                r#"record:mmap2 pid=-1 tid=0 addr=0xffffffff81000000 len=0x1209988 pgoff=0xffffffff81000000 maj=0 min=0 ino=0 filename="[kernel.kallsyms]_text""#,
            ),
            ("LOST", " lost 168", "record:lost lost=168"),
            ("SWITCH", " OUT preempt", "record:switch out=1 preempt=1 other=-1"),
            (
                "SWITCH_CPU_WIDE",
                " IN           prev pid/tid:     0/0    ",
                "record:switch out=0 preempt=0 other=0",
            ),
            (
                "NAMESPACES",
                " 7/8 - nr_namespaces: 7",
                "record:namespaces pid=7 tid=8 pid_ns=4026531836",
            ),
            ("THROTTLE", "", "record:throttle begin=1"),
            ("FORK", "(9:9)", ""),
            ("MMAP2", " 7/8: [0x7f00(0x1000) @ 0x2000 fe:01", ""),
            ("KSYMBOL", " addr 1", ""),
        ] {
            assert_eq!(read(name, text), expected, "{name}{text}");
        }
    }
}
