//! Interrupts, timers and deferred work.

use super::tracepoints;
use crate::fields::{Addr, Text};

tracepoints! {
    /// Interrupts, timers, workqueues (EVENTS 8 and 1.5).
    Irq<'a> in 'a {
        /// A device's interrupt handler begins.
        "irq:irq_handler_entry" IrqHandlerEntry<'a>
            prints "irq={irq} name={name:s}"
        {
            /// Interrupt number.
            irq: i32 = "irq",
            /// The device or driver.
            name: Text<'a> = "name",
        }
        /// A device's interrupt handler is done.
        "irq:irq_handler_exit" IrqHandlerExit
            prints "irq={irq} ret="
        {
            /// Interrupt number.
            irq: i32 = "irq",
        }
        /// A soft interrupt begins.
        "irq:softirq_entry" SoftirqEntry
            prints "vec={vec}"
        {
            /// 1 TIMER, 2 NET_TX, 3 NET_RX, 4 BLOCK, 6 TASKLET, 7 SCHED, 8 HRTIMER, 9 RCU.
            vec: u32 = "vec",
        }
        /// A soft interrupt is done.
        "irq:softirq_exit" SoftirqExit
            prints "vec={vec}"
        {
            /// As on entry.
            vec: u32 = "vec",
        }
        /// A high-resolution timer fires.
        "timer:hrtimer_expire_entry" HrtimerExpireEntry
            prints "hrtimer={hrtimer:sym} function={function:sym}"
            | "hrtimer={hrtimer:sym} now={} function={function:sym}"
        {
            /// The timer.
            hrtimer: Addr = "hrtimer",
            /// Its function.
            function: Addr = "function",
        }
        /// A kworker begins a work item.
        "workqueue:workqueue_execute_start" WorkqueueExecuteStart
            prints "work struct {work:sym}: function {function:sym}"
            | "work={work:sym} function={function:sym}"
        {
            /// The work item.
            work: Addr = "work",
            /// Its function.
            function: Addr = "function",
        }
        /// A kworker is done with a work item.
        "workqueue:workqueue_execute_end" WorkqueueExecuteEnd
            prints "work struct {work:sym}"
            | "work={work:sym}"
        {
            /// The work item.
            work: Addr = "work",
        }
        /// The timer tick's interrupt begins (x86).
        "irq_vectors:local_timer_entry" LocalTimerEntry
            prints "vector={vector}"
        {
            /// Vector.
            vector: i32 = "vector",
        }
        /// The timer tick's interrupt is done (x86).
        "irq_vectors:local_timer_exit" LocalTimerExit
            prints "vector={vector}"
        {
            /// Vector.
            vector: i32 = "vector",
        }
    }
}
