//! Text that userspace wrote into the trace.

use super::tracepoints;
use crate::fields::Text;

/// The names under which texts show [`Print`]: as the kernel does (followed by the
/// compiler's `.isra.0` or the like), and as trace-cmd and perf do.
pub(crate) const TRACING_MARK_WRITE: &str = "tracing_mark_write";
/// See [`TRACING_MARK_WRITE`].
pub(crate) const PRINTS: &[&str] = &["print", "bprint", "bputs", "ftrace:print", "ftrace:bprint"];

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
