//! Which io_uring request a task is on, or waits for.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{
    Model, State, SyscallClass, Task, TaskId, UringOp, UringRequest, UringWork, Wake, WakeSource,
};

use crate::facts::Facts;
use crate::rows::Context;

/// An interrupt's completion lies at most this many requests before the wakeup.
const NEARBY: usize = 64;

/// A request of io_uring that a task is on, or waits for.
#[derive(Clone, Copy)]
pub(crate) struct OnUring<'m> {
    pub(crate) request: &'m UringRequest,
    /// The task is a worker, and this is its time on it; else it waits for it.
    pub(crate) work: Option<UringWork>,
}

/// Completed requests by the process that submitted them, by completion.
pub(crate) struct Completions<'m>(BTreeMap<Pid, Vec<(Nanos, &'m UringRequest)>>);

impl<'m> Completions<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        let mut by_pid: BTreeMap<Pid, Vec<(Nanos, &UringRequest)>> = BTreeMap::new();
        for request in &model.uring.requests {
            if let (Some(task), Some(completed)) = (request.submitter, request.completed) {
                by_pid.entry(model.task(task).pid).or_default().push((completed, request));
            }
        }
        for list in by_pid.values_mut() {
            // Stable: requests stay in the order of their submission.
            list.sort_by_key(|(completed, _)| *completed);
        }
        Self(by_pid)
    }
}

/// Whether a task is a thread that the kernel made for io_uring: `iou-wrk-PID`,
/// `iou-sqp-PID` (io_uring/io-wq.c, io_uring/sqpoll.c). It is never in user mode.
pub(crate) fn is_uring_thread(task: &Task) -> bool {
    let named = |prefix: &[u8]| task.names.iter().any(|(_, n)| n.as_bytes().starts_with(prefix));
    // A user program can take such a name; it makes system calls.
    (named(b"iou-wrk-") || named(b"iou-sqp-"))
        && task.ops.iter().take(64).all(|op| op.syscall().is_none())
}

impl<'m> Facts<'m> {
    /// The request that ended a wait in io_uring_enter over `[from, to)`: what was
    /// completed last before the wakeup by whoever woke, or what the task itself found
    /// completed once it ran again.
    pub(crate) fn uring_wait(
        &self,
        context: &Context<'m>,
        from: Nanos,
        to: Nanos,
        wake: Option<&Wake>,
    ) -> Option<&'m UringRequest> {
        let call = context.ops.iter().find(|op| op.syscall().is_some())?;
        if self.model.syscalls.class(call.syscall()?.nr) != SyscallClass::IoUring {
            return None;
        }
        let list = self.completions.0.get(&self.model.task(context.task).pid)?;
        let at = list.partition_point(|(completed, _)| *completed <= to);
        let (before, after) = list.split_at_checked(at)?;
        let others = || {
            let slept = before.iter().rev().take(NEARBY).take_while(|(done, _)| *done >= from);
            slept.map(|(_, r)| *r).filter(|r| r.completer != Some(context.task))
        };
        let own = || {
            let in_call = after.iter().take(NEARBY).take_while(|(done, _)| *done <= call.end);
            in_call.map(|(_, r)| *r).find(|r| r.completer == Some(context.task))
        };
        match wake.map(|w| w.source) {
            Some(WakeSource::Task(waker)) => {
                others().find(|r| r.completer == Some(waker)).or_else(own)
            }
            Some(
                WakeSource::Block(_)
                | WakeSource::Timer
                | WakeSource::Network
                | WakeSource::Interrupt(_)
                | WakeSource::Unknown,
            )
            | None => own().or_else(|| others().next()),
        }
    }

    /// The block request of a request that the ring's own thread submitted and completed,
    /// while another task waited for it.
    pub(crate) fn polled_block(&self, context: &Context<'_>) -> Option<u32> {
        let request = context.uring.filter(|on| on.work.is_none())?.request;
        let submitter = request.submitter.filter(|_| request.polled)?;
        let completed = request.completed?;
        self.own_request(submitter, request.submitted, request.submitted, completed)
    }

    /// The request that a worker is on.
    pub(crate) fn uring_work(&self, task: TaskId, time: Nanos) -> Option<OnUring<'m>> {
        let (work, request) = self.model.uring.at(task, time)?;
        Some(OnUring { request, work: Some(work) })
    }

    /// Whether a worker slept for a block request while on its request.
    pub(crate) fn uring_slept_for_io(&self, context: &Context<'_>) -> bool {
        let Some(work) = context.uring.and_then(|on| on.work) else { return false };
        let task = self.model.task(context.task);
        task.spans(work.from, work.to).any(|(index, start, _, span)| {
            if !matches!(span.state, State::Blocked(_)) {
                return false;
            }
            let next = task.states.get(index + 1);
            let until = next.map_or(Nanos::MAX, |n| n.start);
            let wake = next.and_then(|n| n.wake).map(|w| self.model.wake(w));
            self.io_wait(context.task, work.from, start, until, wake.as_ref(), 0).is_some()
        })
    }
}

/// The name of the system call that does what an opcode does.
pub(crate) fn call_name(op: UringOp) -> String {
    op.name().to_ascii_lowercase()
}
