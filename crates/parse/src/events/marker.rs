//! Text that userspace wrote into the trace.

use super::tracepoints;
use crate::fields::Text;

tracepoints! {
    /// Marks in the trace itself.
    Marker<'a> in 'a {
        /// A write to tracefs's `trace_marker`, or a `trace_printk` of the kernel
        /// (`kernel/trace/trace_entries.h`; texts show it as `tracing_mark_write`, or
        /// under the name of the function that wrote it).
        "ftrace:print" Print<'a> {
            /// What was written, without the end of the line.
            buf: Text<'a> = "buf",
        }
    }
}
