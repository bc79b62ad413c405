//! TLB flushes and the interrupts between CPUs.

use super::tracepoints;
use crate::fields::Addr;
use crate::units::Cpu;

tracepoints! {
    /// TLB flushes, cross-CPU calls, inter-processor interrupts (EVENTS 8).
    Tlb in 'a {
        /// A flush. Reason 0 fires after `sched_switch`, still as the old task.
        "tlb:tlb_flush" TlbFlush
            prints "pages:{pages} reason:{:s}({reason})"
            | "pages={pages} reason={:s}({reason})"
        {
            /// 0 task switch, 1 asked by another CPU, 2 local, 3 local mm, 4 sent to others.
            reason: i32 = "reason",
            /// Pages; -1 is everything.
            pages: i64 = "pages",
        }
        /// A function call is queued on another CPU (Linux 6.3).
        "csd:csd_queue_cpu" CsdQueueCpu
            prints "cpu={cpu} callsite={:s} func={func:sym} csd={csd:sym}"
        {
            /// The other CPU.
            cpu: Cpu = "cpu",
            /// The function.
            func: Addr = "func",
            /// The call.
            csd: Addr = "csd",
        }
        /// A queued function begins.
        "csd:csd_function_entry" CsdFunctionEntry
            prints "func={func:sym}, csd={csd:sym}"
            | "func={func:sym} csd={csd:sym}"
        {
            /// The function.
            func: Addr = "func",
            /// The call; 0 when run in place.
            csd: Addr = "csd",
        }
        /// A queued function is done.
        "csd:csd_function_exit" CsdFunctionExit
            prints "func={func:sym}, csd={csd:sym}"
            | "func={func:sym} csd={csd:sym}"
        {
            /// The function.
            func: Addr = "func",
            /// The call.
            csd: Addr = "csd",
        }
        /// An interrupt is sent to one CPU (Linux 6.4).
        "ipi:ipi_send_cpu" IpiSendCpu
            prints "cpu={cpu} callsite={:s} callback={callback:sym}"
        {
            /// The other CPU.
            cpu: Cpu = "cpu",
            /// What it shall call; 0 for a reschedule.
            callback: Addr = "callback",
        }
        /// An interrupt is sent to several CPUs (Linux 6.4).
        "ipi:ipi_send_cpumask" IpiSendCpumask
            prints "{:s}callback={callback:sym}"
        {
            /// What they shall call.
            callback: Addr = "callback",
        }
    }
}
