//! Waits for locks of the kernel: slow paths, paired by address.

use agenttrace_parse::events::{Event, Lock};

use super::Builder;
use crate::lock::LockKind;
use crate::op::OpKind;
use crate::task::TaskId;

impl Builder {
    #[inline(never)]
    pub(super) fn lock(&mut self, event: &Event<'_>, task: TaskId, lock: &Lock) {
        // A spin inside an interrupt is the interrupt's time.
        if event.context.interrupt() {
            return;
        }
        match lock {
            Lock::ContentionBegin(e) => {
                // A mutex begins again after adaptive spinning: one wait.
                let live = self.live(task);
                let last = live.stack.last().and_then(|open| live.ops.get(*open));
                let again = last.is_some_and(
                    |op| matches!(op.kind, OpKind::Lock { addr, .. } if addr == e.lock_addr),
                );
                if !again {
                    self.push_op(
                        task,
                        event.time,
                        OpKind::Lock { addr: e.lock_addr, kind: LockKind::of(e.flags) },
                    );
                }
            }
            Lock::ContentionEnd(e) => {
                self.close_op(
                    task,
                    event.time,
                    |kind| matches!(kind, OpKind::Lock { addr, .. } if *addr == e.lock_addr),
                );
                self.live(task).ended = None;
            }
        }
    }
}
