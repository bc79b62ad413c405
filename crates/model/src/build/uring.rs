//! io_uring's events to requests.

use agenttrace_parse::events::{Event, IoUring};

use super::Builder;
use crate::task::TaskId;
use crate::uring::{UringOp, UringRing};

/// `IORING_SETUP_SQPOLL`.
const SQPOLL: u32 = 2;

impl Builder {
    #[inline(never)]
    pub(super) fn io_uring(&mut self, event: &Event<'_>, current: Option<TaskId>, uring: &IoUring) {
        let time = event.time;
        // A timer's interrupt may complete a request on top of any task.
        let task = current.filter(|_| !event.context.interrupt());
        match uring {
            IoUring::IoUringCreate(e) => self.uring.found.rings.push(UringRing {
                ring: e.ctx,
                time,
                task,
                polled: e.flags & SQPOLL != 0,
            }),
            IoUring::IoUringSubmitReq(e) => {
                let (op, polled) = (UringOp(e.opcode), e.sq_thread.unwrap_or(false));
                self.uring.submit(time, e.ctx, e.req, e.user_data, op, polled, task);
            }
            IoUring::IoUringSubmitSqe(e) => {
                let (op, polled) = (UringOp(e.opcode), e.sq_thread.unwrap_or(false));
                self.uring.submit(time, e.ctx, e.req, e.user_data, op, polled, task);
            }
            IoUring::IoUringComplete(e) => {
                self.uring.complete(time, e.ctx, e.req, e.user_data, e.res, task);
            }
            IoUring::IoUringQueueAsyncWork(e) => self.uring.punt(time, e.ctx, e.req),
            IoUring::IoUringPollArm(e) => self.uring.arm(e.ctx, e.req, e.user_data),
            IoUring::IoUringFileGet(e) => self.uring.file(e.ctx, e.req, e.fd),
            IoUring::IoUringCqeOverflow(_) => self.uring.found.overflows.push(time),
            // The call around it and the switch tell the wait; completions tell the work.
            IoUring::IoUringCqringWait(_) | IoUring::IoUringTaskWorkRun(_) => {}
        }
    }
}
