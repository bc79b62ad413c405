//! io_uring submissions and completions.

use super::tracepoints;
use crate::fields::Addr;

tracepoints! {
    /// io_uring (EVENTS 10). Names and fields changed often between 5.1 and 6.0.
    IoUring in 'a {
        /// A request is submitted.
        "io_uring:io_uring_submit_req" IoUringSubmitReq
            prints "ring {ctx:sym}, req {req:sym}, user_data {:s}, opcode {opcode:uring},"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Addr = "req",
            /// `IORING_OP_*`.
            opcode: u32 = "opcode",
        }
        /// A request completes.
        "io_uring:io_uring_complete" IoUringComplete
            prints "ring {ctx:sym}, req {req:sym}, user_data {:s}, result {res}"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Addr = "req",
            /// Its result.
            res: i32 = "res",
        }
        /// A request is handed to a worker.
        "io_uring:io_uring_queue_async_work" IoUringQueueAsyncWork
            prints "ring {ctx:sym}, request {req:sym},"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Addr = "req",
        }
        /// A task waits for completions.
        "io_uring:io_uring_cqring_wait" IoUringCqringWait
            prints "ring {ctx:sym}, min_events {min_events}"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// How many it wants.
            min_events: i32 = "min_events",
        }
    }
}
