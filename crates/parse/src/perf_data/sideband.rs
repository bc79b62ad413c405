//! perf's own records (COMM, FORK, MMAP2, LOST, ...) to events.

use super::record::{Raw, kind};
use crate::cursor::until_nul;
use crate::events::{
    CommRecord, Exit, Fork, Lost, LostSamples, Mmap2, Namespaces, Record, Switch, Throttle,
};
use crate::fields::{Addr, Comm, Text};
use crate::units::{Pid, Tid};

/// `PERF_RECORD_MISC_COMM_EXEC` and `_SWITCH_OUT`.
const MISC_BIT_13: u16 = 1 << 13;
/// `PERF_RECORD_MISC_SWITCH_OUT_PREEMPT`.
const MISC_BIT_14: u16 = 1 << 14;
/// `PERF_RECORD_MISC_MMAP_BUILD_ID`: a build id stands where the device and inode do.
pub(crate) const MMAP_BUILD_ID: u16 = 1 << 14;

/// Whether [`decode`] knows the type.
#[inline]
pub(crate) fn known(kind: u32) -> bool {
    matches!(
        kind,
        kind::MMAP
            | kind::LOST
            | kind::COMM
            | kind::EXIT
            | kind::THROTTLE
            | kind::UNTHROTTLE
            | kind::FORK
            | kind::MMAP2
            | kind::LOST_SAMPLES
            | kind::SWITCH
            | kind::SWITCH_CPU_WIDE
            | kind::NAMESPACES
    )
}

/// Offset of the name in MMAP, MMAP2, COMM and KSYMBOL.
pub(crate) fn name_offset(kind: u32) -> Option<usize> {
    match kind {
        kind::MMAP => Some(40),
        kind::MMAP2 => Some(72),
        kind::COMM => Some(16),
        kind::KSYMBOL => Some(24),
        _ => None,
    }
}

/// The name in a record that has one, and `trailer` bytes behind it.
pub(crate) fn string<'a>(raw: &Raw<'a>, trailer: usize) -> Option<&'a [u8]> {
    let end = raw.bytes.len().checked_sub(trailer)?;
    raw.bytes.get(name_offset(raw.kind)?..end).map(until_nul)
}

/// The time that a record's own body holds (FORK, EXIT, THROTTLE), for captures
/// without `sample_id_all`.
pub(crate) fn body_time(raw: &Raw<'_>) -> Option<u64> {
    raw.u64(body_time_at(raw.kind)?)
}

/// Where it stands.
pub(crate) fn body_time_at(kind: u32) -> Option<usize> {
    match kind {
        kind::FORK | kind::EXIT => Some(24),
        kind::THROTTLE | kind::UNTHROTTLE => Some(8),
        _ => None,
    }
}

/// The record's event. `None` where the record is too short for its type.
pub(crate) fn decode<'a>(raw: &Raw<'a>, trailer: usize) -> Option<Record<'a>> {
    let pid = |at: usize| raw.u32(at).map(|v| Pid(v as i32));
    let tid = |at: usize| raw.u32(at).map(|v| Tid(v as i32));
    let addr = |at: usize| raw.u64(at).map(Addr);
    let string = || string(raw, trailer);
    let set = |bit: u16| raw.misc & bit != 0;
    Some(match raw.kind {
        kind::COMM => Record::CommRecord(CommRecord {
            pid: pid(8)?,
            tid: tid(12)?,
            exec: set(MISC_BIT_13),
            comm: Comm::new(string()?),
        }),
        kind::FORK => {
            Record::Fork(Fork { pid: pid(8)?, ppid: pid(12)?, tid: tid(16)?, ptid: tid(20)? })
        }
        kind::EXIT => Record::Exit(Exit { pid: pid(8)?, tid: tid(16)? }),
        kind::MMAP => Record::Mmap2(Mmap2 {
            pid: pid(8)?,
            tid: tid(12)?,
            addr: addr(16)?,
            len: addr(24)?,
            pgoff: addr(32)?,
            maj: 0,
            min: 0,
            ino: 0,
            filename: Text(string()?),
        }),
        kind::MMAP2 => {
            let file = !set(MMAP_BUILD_ID);
            Record::Mmap2(Mmap2 {
                pid: pid(8)?,
                tid: tid(12)?,
                addr: addr(16)?,
                len: addr(24)?,
                pgoff: addr(32)?,
                maj: if file { raw.u32(40)? } else { 0 },
                min: if file { raw.u32(44)? } else { 0 },
                ino: if file { raw.u64(48)? } else { 0 },
                filename: Text(string()?),
            })
        }
        kind::LOST => Record::Lost(Lost { lost: raw.u64(16)? }),
        kind::LOST_SAMPLES => Record::LostSamples(LostSamples { lost: raw.u64(8)? }),
        kind::SWITCH => Record::Switch(Switch {
            out: set(MISC_BIT_13),
            preempt: set(MISC_BIT_13) && set(MISC_BIT_14),
            other: Tid(-1),
        }),
        kind::SWITCH_CPU_WIDE => Record::Switch(Switch {
            out: set(MISC_BIT_13),
            preempt: set(MISC_BIT_13) && set(MISC_BIT_14),
            other: tid(12)?,
        }),
        kind::NAMESPACES => {
            // nr, then (dev, ino) of net, uts, ipc, pid, user, mnt, cgroup.
            const PID_NS: u64 = 3;
            let pid_ns = if raw.u64(16)? > PID_NS { raw.u64(24 + 3 * 16 + 8)? } else { 0 };
            Record::Namespaces(Namespaces { pid: pid(8)?, tid: tid(12)?, pid_ns })
        }
        kind::THROTTLE | kind::UNTHROTTLE => {
            Record::Throttle(Throttle { begin: raw.kind == kind::THROTTLE })
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: u32, misc: u16, bytes: &[u8]) -> Raw<'_> {
        Raw { kind, misc, bytes, offset: 0, behind: 0 }
    }

    #[test]
    fn mapping_with_file_and_with_build_id() {
        let mut bytes = vec![0; 72];
        bytes[8] = 7;
        bytes[12] = 8;
        bytes[16..24].copy_from_slice(&0x7f00_0000_1000_u64.to_le_bytes());
        bytes[40] = 254;
        bytes[44] = 1;
        bytes[48] = 99;
        bytes.extend(b"/bin/sh\0trailer!");
        let Some(Record::Mmap2(m)) = decode(&raw(kind::MMAP2, 2, &bytes), 8) else { panic!() };
        assert_eq!((m.pid, m.tid, m.maj, m.min, m.ino), (Pid(7), Tid(8), 254, 1, 99));
        assert_eq!(m.filename, Text(b"/bin/sh"));
        let Some(Record::Mmap2(m)) = decode(&raw(kind::MMAP2, MMAP_BUILD_ID, &bytes), 8) else {
            panic!()
        };
        assert_eq!((m.maj, m.min, m.ino), (0, 0, 0));
        assert_eq!(decode(&raw(kind::MMAP2, 2, &bytes[..60]), 8), None);
    }

    #[test]
    fn switch_and_comm_flags() {
        let switch = |misc| decode(&raw(kind::SWITCH, misc, &[0; 8]), 0);
        let expect = |out, preempt| Some(Record::Switch(Switch { out, preempt, other: Tid(-1) }));
        assert_eq!(switch(0), expect(false, false));
        assert_eq!(switch(MISC_BIT_13), expect(true, false));
        assert_eq!(switch(MISC_BIT_13 | MISC_BIT_14), expect(true, true));
        let bytes = b"________\x05\0\0\0\x06\0\0\0sh\0\0\0\0\0\0";
        let comm = CommRecord { pid: Pid(5), tid: Tid(6), exec: true, comm: Comm::new(b"sh") };
        assert_eq!(decode(&raw(kind::COMM, MISC_BIT_13, bytes), 0), Some(Record::CommRecord(comm)));
    }
}
