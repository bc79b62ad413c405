//! Lock contention in the kernel.

use super::tracepoints;
use crate::fields::Addr;

tracepoints! {
    /// Kernel lock contention: the slow path only (EVENTS 6).
    Lock in 'a {
        /// A task begins to wait for a lock.
        "lock:contention_begin" ContentionBegin
            prints "{lock_addr:sym} (flags={flags:lock})"
        {
            /// The lock.
            lock_addr: Addr = "lock_addr",
            /// 1 spin, 2 read, 4 write, 8 rt, 16 percpu, 32 mutex.
            flags: u32 = "flags",
        }
        /// It has the lock, or gave up.
        "lock:contention_end" ContentionEnd
            prints "{lock_addr:sym} (ret={ret})"
        {
            /// The lock.
            lock_addr: Addr = "lock_addr",
            /// 0, or a negative error.
            ret: i32 = "ret",
        }
    }
}
