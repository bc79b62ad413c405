//! perf's own records: names, forks, mappings, switches, losses.

use super::tracepoints;
use crate::fields::{Addr, Comm, Text};
use crate::units::{Pid, Tid};

tracepoints! {
    /// Records that perf writes beside the samples (`include/uapi/linux/perf_event.h`).
    Record<'a> in 'a {
        /// A task has a name. At time 0: it was there before the capture.
        "record:comm" CommRecord {
            /// Process.
            pid: Pid = "pid",
            /// Thread.
            tid: Tid = "tid",
            /// Whether an exec gave the name.
            exec: bool = "exec",
            /// The name.
            comm: Comm = "comm",
        }
        /// A task was created. At time 0: it was there before the capture.
        "record:fork" Fork {
            /// Process of the new task.
            pid: Pid = "pid",
            /// Process of its parent; the same as `pid` for a thread.
            ppid: Pid = "ppid",
            /// The new task.
            tid: Tid = "tid",
            /// Its parent.
            ptid: Tid = "ptid",
        }
        /// A task has exited.
        "record:exit" Exit {
            /// Process.
            pid: Pid = "pid",
            /// Thread.
            tid: Tid = "tid",
        }
        /// A file, or anonymous memory, was mapped.
        "record:mmap2" Mmap2<'a> {
            /// Process.
            pid: Pid = "pid",
            /// Thread.
            tid: Tid = "tid",
            /// First address.
            addr: Addr = "addr",
            /// Bytes.
            len: Addr = "len",
            /// Offset in the file, in bytes.
            pgoff: Addr = "pgoff",
            /// Device number, major part.
            maj: u32 = "maj",
            /// Device number, minor part.
            min: u32 = "min",
            /// Inode; 0 where the record carries a build id in its place.
            ino: u64 = "ino",
            /// Path, or a name in brackets.
            filename: Text<'a> = "filename",
        }
        /// The recorder lost records of this CPU's buffer before this point.
        "record:lost" Lost {
            /// How many.
            lost: u64 = "lost",
        }
        /// Totals of lost samples, written at the end; when they were lost is not told.
        "record:lost_samples" LostSamples {
            /// How many.
            lost: u64 = "lost",
        }
        /// `PERF_RECORD_SWITCH` and `_CPU_WIDE`.
        "record:switch" Switch {
            /// The current task leaves its CPU (else it has just come).
            out: bool = "out",
            /// It left while runnable.
            preempt: bool = "preempt",
            /// The task on the other side of the switch; -1 where not told.
            other: Tid = "other",
        }
        /// The tasks' namespaces, by inode: one container's tasks share them.
        "record:namespaces" Namespaces {
            /// Process.
            pid: Pid = "pid",
            /// Thread.
            tid: Tid = "tid",
            /// Inode of its pid namespace.
            pid_ns: u64 = "pid_ns",
        }
        /// Sampling of an event was throttled here, or resumed: a gap.
        "record:throttle" Throttle {
            /// True where it begins.
            begin: bool = "begin",
        }
    }
}
