//! Names of tasks and paths in records, replaced in place.

use std::ops::Range;

use super::attrs::TYPE_TRACEPOINT;
use super::plan;
use super::record::{Raw, kind};
use super::scrub::Scrub;
use super::sideband::name_offset;
use super::{PerfData, build_ids};
use crate::cursor::{Endian, i32_at, u64_at, until_nul};
use crate::format::{Format, Place, Slot};
use crate::units::{Pid, Tid};

/// Chooses replacements for names. The answers must depend on the arguments alone
/// (or on a table that grows), so that a task keeps its name.
pub trait Redactor {
    /// A task's name. `pid` is -1 where the record tells the thread only. `None`
    /// keeps the name; a replacement is cut to 15 bytes.
    fn comm(&mut self, pid: Pid, tid: Tid, comm: &[u8]) -> Option<Vec<u8>>;
    /// A path, or another string that is neither a task's name nor a device's,
    /// written by or for this process. `None` keeps it; a replacement is cut to 4000
    /// bytes, in a field of fixed size to that.
    fn path(&mut self, pid: Pid, path: &[u8]) -> Option<Vec<u8>>;
    /// Whether the registers and the stack that a sample of this task holds may stay:
    /// they may hold anything, and cannot be redacted. They do not unless told.
    fn keeps_stack(&mut self, _pid: Pid, _tid: Tid) -> bool {
        false
    }
}

/// A redactor, and where the names lie in the payload of each attribute.
pub(crate) struct Redaction<'r> {
    redactor: &'r mut dyn Redactor,
    plans: Vec<Vec<Name>>,
    common_pid: Vec<Option<Slot>>,
    scrubs: Vec<Option<Scrub>>,
}

/// One string field of a tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    slot: Slot,
    is_path: bool,
    /// The field with the id of the task that it names; `None`: the current task.
    of: Option<Slot>,
}

/// Strings that name hardware or an operation, not a task or a file.
fn is_hardware(system: &str, field: &str) -> bool {
    match field {
        "rwbs" | "cmd" => system == "block",
        "bdi" => system == "writeback",
        "name" => matches!(system, "irq" | "net" | "napi" | "power" | "clk" | "writeback"),
        "dev_name" | "driver" | "device" => true,
        _ => false,
    }
}

/// The string fields of a format that hold a task's name or a path.
fn names(system: &str, format: &Format<'_>) -> Vec<Name> {
    let strings = format.fields.iter().filter(|f| f.is_string && !is_hardware(system, f.name));
    let pairs = strings.map(|field| {
        let comm = field.name.strip_suffix("comm");
        let of = match comm {
            // prev_comm and prev_pid; oldcomm, newcomm and pid.
            Some("old" | "new") => format.slot("pid"),
            // What it waits for is in `pid`; the name is the waiter's own.
            Some("") if format.name == "sched_process_wait" => None,
            Some(prefix) => format.slot(&format!("{prefix}pid")),
            None => None,
        };
        Name { slot: field.slot, is_path: comm.is_none(), of }
    });
    pairs.collect()
}

impl<'r> Redaction<'r> {
    pub(crate) fn new(perf: &PerfData<'_>, redactor: &'r mut dyn Redactor) -> Self {
        let formats = plan::formats(&perf.head);
        let (mut plans, mut common_pid, mut scrubs) = (Vec::new(), Vec::new(), Vec::new());
        let arch = perf.info.arch.as_deref();
        for attr in &perf.head.attrs {
            let format = formats.get(&attr.config).filter(|_| attr.kind == TYPE_TRACEPOINT);
            plans.push(format.map(|(system, f)| names(system, f)).unwrap_or_default());
            scrubs.push(format.map(|(system, f)| Scrub::new(system, f, arch)));
            common_pid.push(format.and_then(|(_, f)| f.slot("common_pid")));
        }
        Self { redactor, plans, common_pid, scrubs }
    }

    /// The record with its names replaced. `None`: records of this type may hold
    /// names that nobody knows to replace.
    pub(crate) fn record(&mut self, perf: &PerfData<'_>, raw: &Raw<'_>) -> Option<Vec<u8>> {
        match raw.kind {
            kind::SAMPLE => self.sample(perf, raw),
            kind::COMM | kind::MMAP | kind::MMAP2 => self.named(perf, raw),
            kind::THREAD_MAP => Some(self.thread_map(raw)),
            kind::EXIT
            | kind::FORK
            | kind::LOST
            | kind::LOST_SAMPLES
            | kind::THROTTLE
            | kind::UNTHROTTLE
            | kind::SWITCH
            | kind::SWITCH_CPU_WIDE
            | kind::NAMESPACES
            | kind::CALLCHAIN_DEFERRED
            | kind::ID_INDEX
            | kind::CPU_MAP
            | kind::TIME_CONV
            | kind::FINISHED_INIT => Some(raw.bytes.to_vec()),
            _ => None,
        }
    }

    /// COMM, MMAP and MMAP2: the name between body and trailer may change its length.
    fn named(&mut self, perf: &PerfData<'_>, raw: &Raw<'_>) -> Option<Vec<u8>> {
        let start = name_offset(raw.kind)?;
        let trailer = perf.head.attrs.get(perf.attr_of_sideband(raw.bytes))?.layout.trailer.size;
        let end = raw.bytes.len().checked_sub(trailer)?;
        let (pid, tid) = (Pid(i32_at(raw.bytes, 8)?), Tid(i32_at(raw.bytes, 12)?));
        let old = until_nul(raw.bytes.get(start..end)?);
        let new = match raw.kind {
            kind::COMM => self.redactor.comm(pid, tid, old).map(short),
            _ => self.redactor.path(pid, old),
        };
        let Some(mut new) = new else { return Some(raw.bytes.to_vec()) };
        new.retain(|b| *b != 0);
        new.truncate(4000);
        let len = new.len().saturating_add(1).next_multiple_of(8);
        new.resize(len, 0);
        let mut out = raw.bytes.get(..start)?.to_vec();
        if raw.kind == kind::MMAP2 && raw.misc & super::sideband::MMAP_BUILD_ID != 0 {
            // A build id names a file as well as its path does.
            put(&mut out, 4, &(raw.misc & !super::sideband::MMAP_BUILD_ID).to_le_bytes());
            put(&mut out, 40, &[0; 24]);
        }
        out.extend(new);
        out.extend(raw.bytes.get(end..)?);
        let size = u16::try_from(out.len()).ok()?;
        put(&mut out, 6, &size.to_le_bytes());
        Some(out)
    }

    /// `struct perf_record_thread_map`: a count, then (pid, comm) pairs.
    fn thread_map(&mut self, raw: &Raw<'_>) -> Vec<u8> {
        let mut out = raw.bytes.to_vec();
        let mut at = 16_usize;
        while let (Some(pid), Some(comm)) =
            (u64_at(raw.bytes, at), raw.bytes.get(at.saturating_add(8)..at.saturating_add(24)))
        {
            // The cast: the field holds a pid, -1 for all tasks.
            let pid = pid as i32;
            if let Some(new) = self.redactor.comm(Pid(pid), Tid(pid), until_nul(comm)) {
                fill(&mut out, at.saturating_add(8), 16, &short(new));
            }
            at = at.saturating_add(24);
        }
        out
    }

    fn sample(&mut self, perf: &PerfData<'_>, raw: &Raw<'_>) -> Option<Vec<u8>> {
        let index = perf.attr_of(raw.bytes)?;
        let attr = perf.head.attrs.get(index)?;
        let layout = &attr.layout;
        let parts = layout.tail.parts(raw.bytes, Endian::Little);
        // What cannot be taken apart may hold anything.
        if !parts.whole {
            return None;
        }
        let pid = layout.tid.and_then(|at| i32_at(raw.bytes, at)).unwrap_or(-1);
        let tid = layout.tid.and_then(|at| i32_at(raw.bytes, at.saturating_add(4))).unwrap_or(-1);
        let mut changes: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
        if let Some(range) = &parts.raw {
            let new = self.payload(index, pid, tid, raw.bytes.get(range.clone())?)?;
            let mut field = u32::try_from(new.len()).ok()?.to_le_bytes().to_vec();
            field.extend(new);
            // The length of RAW is right before it.
            changes.push((range.start.checked_sub(4)?..range.end, field));
        } else if attr.kind == TYPE_TRACEPOINT {
            return None;
        }
        let memory = parts.user.is_some() || parts.stack.is_some() || parts.intr.is_some();
        if memory && !self.redactor.keeps_stack(Pid(pid), Tid(tid)) {
            changes.extend(parts.memory().map(|range| (range, vec![0; 8])));
        }
        changes.sort_by_key(|(range, _)| range.start);
        let mut out = Vec::with_capacity(raw.bytes.len());
        let mut done = 0;
        for (range, new) in changes {
            out.extend(raw.bytes.get(done..range.start)?);
            out.extend(new);
            done = range.end;
        }
        out.extend(raw.bytes.get(done..)?);
        let size = u16::try_from(out.len()).ok()?;
        put(&mut out, 6, &size.to_le_bytes());
        Some(out)
    }

    /// A tracepoint's payload with its names replaced.
    fn payload(&mut self, index: usize, pid: i32, tid: i32, payload: &[u8]) -> Option<Vec<u8>> {
        // Without its format nobody knows what a payload holds.
        let mut new = self.scrubs.get(index)?.as_ref()?.clean(payload);
        let common = self.common_pid.get(index).copied().flatten().and_then(|s| s.int(payload));
        // The casts: ids are 32 bits wide, sign-extended.
        let current = if tid == -1 { common.map_or(-1, |v| v as i32) } else { tid };
        for name in self.plans.get(index)? {
            let Some(range) = name.slot.range(payload) else { continue };
            let Some(old) = payload.get(range.clone()) else { continue };
            let old = until_nul(old);
            let subject = name.of.and_then(|s| s.int(payload)).map(|v| v as i32);
            let (pid, tid) = match subject {
                Some(subject) if subject != current => (Pid(-1), Tid(subject)),
                _ => (Pid(pid), Tid(current)),
            };
            let text = if name.is_path {
                self.redactor.path(pid, old)
            } else {
                self.redactor.comm(pid, tid, old).map(short)
            };
            if let Some(text) = text {
                place(&mut new, name.slot, range, text);
            }
        }
        // With its length, RAW ends on 8 bytes.
        let padded = new.len().checked_add(4)?.next_multiple_of(8).checked_sub(4)?;
        if padded > payload.len() {
            new.resize(padded, 0);
        }
        Some(new)
    }

    /// The list of build ids without those of files whose names are replaced: an id names
    /// a file as well as its path does.
    pub(crate) fn build_ids(&mut self, perf: &PerfData<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for row in perf.build_ids() {
            let module = build_ids::module(&row, Endian::Little);
            let kept =
                module.is_some_and(|m| self.redactor.path(Pid(-1), m.path.as_bytes()).is_none());
            if kept {
                out.extend(row.bytes);
            }
        }
        out
    }
}

/// At most 15 bytes, as the kernel's.
fn short(mut comm: Vec<u8>) -> Vec<u8> {
    comm.retain(|b| *b != 0);
    comm.truncate(15);
    comm
}

pub(crate) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Puts a string in the place of another; behind the payload where it is longer and the
/// field only says where the string is.
fn place(payload: &mut Vec<u8>, slot: Slot, old: std::ops::Range<usize>, mut new: Vec<u8>) {
    new.retain(|b| *b != 0);
    let base = match slot.place {
        Place::DataLoc => 0,
        Place::RelLoc => slot.offset.saturating_add(4),
        Place::Here => return fill(payload, old.start, old.len(), &new),
    };
    new.truncate(4000);
    let len = new.len().saturating_add(1);
    let offset = payload.len().saturating_sub(base);
    match (u16::try_from(offset), u16::try_from(len)) {
        (Ok(offset), Ok(size)) if len > old.len() => {
            fill(payload, old.start, old.len(), &[]);
            put(payload, slot.offset, &(u32::from(size) << 16 | u32::from(offset)).to_le_bytes());
            payload.extend(new);
            payload.push(0);
        }
        _ => fill(payload, old.start, old.len(), &new),
    }
}

/// Writes a string into a field of `len` bytes: cut, or padded with NULs, and always
/// ended by one.
fn fill(out: &mut [u8], at: usize, len: usize, new: &[u8]) {
    let room = len.saturating_sub(1);
    let padded = new.iter().copied().take(room).chain(std::iter::repeat(0));
    for (to, from) in out.iter_mut().skip(at).take(len).zip(padded) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format_of(name: &str, fields: &[(&str, usize)]) -> String {
        let mut text = format!("name: {name}\nID: 1\nformat:\n");
        let mut at = 8;
        for (declaration, size) in fields {
            text += &format!("\tfield:{declaration};\toffset:{at};\tsize:{size};\tsigned:1;\n");
            at += size;
        }
        text
    }

    #[test]
    fn each_name_with_the_task_that_bears_it() {
        let pair = |system: &str,
                    name: &str,
                    fields: &[(&str, usize)]|
         -> Vec<(usize, bool, Option<usize>)> {
            let text = format_of(name, fields);
            let found = names(system, &crate::format::parse(&text).unwrap());
            found.iter().map(|n| (n.slot.offset, n.is_path, n.of.map(|s| s.offset))).collect()
        };
        let comm = "char comm[16]";
        assert_eq!(
            pair(
                "sched",
                "sched_switch",
                &[
                    ("char prev_comm[16]", 16),
                    ("pid_t prev_pid", 4),
                    ("char next_comm[16]", 16),
                    ("pid_t next_pid", 4)
                ]
            ),
            [(8, false, Some(24)), (28, false, Some(44))]
        );
        assert_eq!(
            pair("sched", "sched_waking", &[(comm, 16), ("pid_t pid", 4)]),
            [(8, false, Some(24))]
        );
        assert_eq!(
            pair("sched", "sched_process_wait", &[(comm, 16), ("pid_t pid", 4)]),
            [(8, false, None)]
        );
        assert_eq!(
            pair(
                "block",
                "block_rq_issue",
                &[("char rwbs[10]", 10), (comm, 16), ("__data_loc char[] cmd", 4)]
            ),
            [(18, false, None)]
        );
        assert_eq!(
            pair("task", "task_rename", &[("char oldcomm[16]", 16), ("char newcomm[16]", 16)]),
            [(8, false, None), (24, false, None)]
        );
        assert_eq!(
            pair(
                "sched",
                "sched_process_fork",
                &[("__data_loc char[] parent_comm", 4), ("pid_t parent_pid", 4)]
            ),
            [(8, false, Some(12))]
        );
        assert_eq!(
            pair(
                "sched",
                "sched_process_exec",
                &[("__data_loc char[] filename", 4), ("pid_t pid", 4)]
            ),
            [(8, true, None)]
        );
        assert_eq!(
            pair("irq", "irq_handler_entry", &[("int irq", 4), ("__data_loc char[] name", 4)]),
            []
        );
    }
}
