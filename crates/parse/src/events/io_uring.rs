//! io_uring: rings, and their requests from submission to completion.

use super::tracepoints;
use crate::fields::Addr;

tracepoints! {
    /// io_uring (`include/trace/events/io_uring.h`; EVENTS 10). Names and fields changed
    /// often between 5.1 and 6.4: until 5.12 completions and submissions name no request,
    /// only its `user_data`.
    IoUring in 'a {
        /// A ring is made.
        "io_uring:io_uring_create" IoUringCreate
            prints "ring {ctx:sym}, fd {fd} sq size {}, cq size {}, flags {flags}"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// Its file descriptor.
            fd: i32 = "fd",
            /// `IORING_SETUP_*`: 1 IOPOLL, 2 SQPOLL.
            flags: u32 = "flags",
        }
        /// A request is submitted.
        "io_uring:io_uring_submit_req" IoUringSubmitReq
            prints "ring {ctx:sym}, req {req:sym}, user_data {user_data:x}, opcode {opcode:uring}, flags {:s}, sq_thread {sq_thread:bool}"
            | "ring {ctx:sym}, req {req:sym}, user_data {user_data:x}, opcode {opcode:uring},"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request; its memory is used again for later ones.
            req: Option<Addr> = "req",
            /// The program's own number for it.
            user_data: u64 = "user_data",
            /// `IORING_OP_*`.
            opcode: u32 = "opcode",
            /// Whether the ring's own thread (SQPOLL) submits it.
            sq_thread: Option<bool> = "sq_thread",
        }
        /// A request is submitted: the name until Linux 6.3.
        "io_uring:io_uring_submit_sqe" IoUringSubmitSqe
            prints "ring {ctx:sym}, req {req:sym}, user_data {user_data:x}, opcode {opcode:uring},"
            | "ring {ctx:sym}, req {req:sym}, op {opcode}, data {user_data:x},"
            | "ring {ctx:sym}, op {opcode}, data {user_data:x},"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Option<Addr> = "req",
            /// The program's own number for it.
            user_data: u64 = "user_data",
            /// `IORING_OP_*`.
            opcode: u32 = "opcode",
            /// Whether the ring's own thread (SQPOLL) submits it.
            sq_thread: Option<bool> = "sq_thread",
        }
        /// A request completes.
        "io_uring:io_uring_complete" IoUringComplete
            prints "ring {ctx:sym}, req {req:sym}, user_data {user_data:x}, result {res}"
            | "ring {ctx:sym}, user_data {user_data:x}, result {res}"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Option<Addr> = "req",
            /// The program's own number for it.
            user_data: u64 = "user_data",
            /// Its result.
            res: i64 = "res",
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
        /// A request waits until its file is ready.
        "io_uring:io_uring_poll_arm" IoUringPollArm
            prints "ring {ctx:sym}, req {req:sym}, user_data {user_data:x},"
            | "ring {ctx:sym}, req {req:sym}, op {}, data {user_data:x},"
            | "ring {ctx:sym}, op {}, data {user_data:x},"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Option<Addr> = "req",
            /// The program's own number for it.
            user_data: u64 = "user_data",
        }
        /// A request takes the file that it is for.
        "io_uring:io_uring_file_get" IoUringFileGet
            prints "ring {ctx:sym}, req {req:sym}, user_data {:s}, fd {fd}"
            | "ring {ctx:sym}, req {req:sym}, fd {fd}"
            | "ring {ctx:sym}, fd {fd}"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The request.
            req: Option<Addr> = "req",
            /// The file descriptor.
            fd: i32 = "fd",
        }
        /// A completion finds the ring full.
        "io_uring:io_uring_cqe_overflow" IoUringCqeOverflow
            prints "ring {ctx:sym}, user_data {user_data:x},"
        {
            /// The ring.
            ctx: Addr = "ctx",
            /// The program's own number for the request.
            user_data: u64 = "user_data",
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
        /// A task has run what completions left it to do. An SQPOLL thread that spins writes
        /// it millions of times with a count of 0.
        "io_uring:io_uring_task_work_run" IoUringTaskWorkRun
            prints "tctx {:s}, count {count}"
        {
            /// How many.
            count: u32 = "count",
        }
    }
}

/// The kernel's word for an `IORING_OP_*`: `READ`, `FSYNC`.
#[must_use]
pub fn uring_opcode(opcode: u32) -> Option<&'static str> {
    let name = crate::ftrace::URING.get(usize::try_from(opcode).ok()?)?;
    std::str::from_utf8(name).ok()
}
