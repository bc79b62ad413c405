//! Where ids of tasks stand: in the bodies of perf's own records, and in payloads.

use super::record::kind;
use crate::format::{Format, Slot};

/// Offsets of the ids in the body of a record that is no sample.
pub(super) fn in_body(kind: u32) -> &'static [usize] {
    match kind {
        // pid, tid
        kind::COMM
        | kind::MMAP
        | kind::MMAP2
        | kind::ITRACE_START
        | kind::SWITCH_CPU_WIDE
        | kind::NAMESPACES => &[8, 12],
        // pid, ppid, tid, ptid
        kind::FORK | kind::EXIT => &[8, 12, 16, 20],
        _ => &[],
    }
}

/// The fields of a tracepoint that hold one: `common_pid`, `prev_pid`, `child_pid`, ...
/// A `tid` is a transaction of a journal as often as a task; only the scheduler means the
/// latter.
pub(super) fn in_payload(system: &str, format: &Format<'_>) -> Vec<Slot> {
    let names_task = |name: &str| {
        ["pid", "tgid", "ngid"].iter().any(|end| name.ends_with(end))
            || (system == "sched" && name.ends_with("tid"))
    };
    let fields = format.fields.iter().filter(|f| f.slot.size == 4 && names_task(f.name));
    fields.map(|f| f.slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(system: &str, fields: &[&str]) -> Vec<usize> {
        let mut text = "name: x\nID: 1\nformat:\n".to_owned();
        for (index, field) in fields.iter().enumerate() {
            text += &format!("\tfield:{field};\toffset:{};\tsize:4;\tsigned:1;\n", index * 4);
        }
        let format = crate::format::parse(&text).unwrap();
        in_payload(system, &format).iter().map(|slot| slot.offset).collect()
    }

    #[test]
    fn fields_that_hold_a_task() {
        let fields = ["int common_pid", "pid_t prev_pid", "int prev_prio", "pid_t next_pid"];
        assert_eq!(offsets("sched", &fields), [0, 4, 12]);
        assert_eq!(offsets("sched", &["pid_t src_tid", "pid_t src_tgid", "int src_cpu"]), [0, 4]);
        // A transaction.
        assert_eq!(offsets("jbd2", &["int common_pid", "tid_t tid"]), [0]);
        // A string elsewhere is 4 bytes as well.
        assert_eq!(offsets("sched", &["__data_loc char[] comm", "pid_t pid"]), [4]);
    }
}
