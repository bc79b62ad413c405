//! The table of causes, row by row in its order (DESIGN section 6): the one
//! place that decides what a stretch of time is charged to.

use agenttrace_model::parse::{BlockOp, Nanos, Pid};
use agenttrace_model::{
    FaultOp, FdKind, Op, OpKind, State, SyscallClass, SyscallOp, TaskId, Wake, WakeSource,
};

use crate::cause::{Cause, Resource};
use crate::facts::Facts;
use crate::inclusive::is_durability;
use crate::locks::sign;
use crate::path::{Frame, StackId, Stacks};
use crate::phases::Phase;
use crate::uring::OnUring;

/// What a task was in at a moment: its open operations, innermost first.
pub(crate) struct Context<'m> {
    pub(crate) task: TaskId,
    pub(crate) ops: Vec<Op>,
    pub(crate) phase: Option<Phase>,
    /// An interpreter's start-up: of its own rows, only a frame.
    pub(crate) starts_up: bool,
    /// The request of io_uring that it is on, or waits for.
    pub(crate) uring: Option<OnUring<'m>>,
}

/// What the task of a context does meanwhile.
#[derive(Clone, Copy)]
pub(crate) enum Doing<'a> {
    /// It runs, or would run.
    Running,
    /// It waits over `[from, to)`, until this wakeup.
    Waiting {
        /// When it went to sleep.
        from: Nanos,
        /// When it was woken.
        to: Nanos,
        /// By whom, where recorded.
        wake: Option<&'a Wake>,
    },
}

/// A row: the cause, if what the task is in and does matches.
type Row = fn(&Facts<'_>, &Context<'_>, Doing<'_>) -> Option<Cause>;

/// Rows 4 to 15, in their order: the first that matches decides, for running time
/// and for waits. Rows 2 and 3 (run delay, interrupts) stand before them and keep the
/// answer as `under`; rows 16 (waits, by the waker), 17 and 18 after them.
const ROWS: &[Row] = &[
    durability,
    reclaim,
    writeback_throttle,
    tlb_flush,
    kernel_lock,
    journal,
    fault,
    spawn,
    vfs_metadata,
    block,
];

/// Row 4: a durability operation.
fn durability(facts: &Facts<'_>, context: &Context<'_>, _: Doing<'_>) -> Option<Cause> {
    let durable = context.calls().any(|call| is_durability(facts.model, &call))
        || context.works_on_uring(SyscallClass::Durability);
    durable.then_some(Cause::Fsync)
}

/// Row 5: direct or cgroup reclaim, compaction, whatever is done or waited for in it.
fn reclaim(_: &Facts<'_>, context: &Context<'_>, _: Doing<'_>) -> Option<Cause> {
    context.is_in(|kind| matches!(kind, OpKind::Reclaim(_))).then_some(Cause::Reclaim)
}

/// Row 6: a pause in `balance_dirty_pages`.
fn writeback_throttle(_: &Facts<'_>, context: &Context<'_>, _: Doing<'_>) -> Option<Cause> {
    context.is_in(|kind| matches!(kind, OpKind::DirtyPause(_))).then_some(Cause::WritebackThrottle)
}

/// Row 7: waiting for other CPUs to flush. The sender does not sleep: it spins.
fn tlb_flush(_: &Facts<'_>, context: &Context<'_>, _: Doing<'_>) -> Option<Cause> {
    context.is_in(|kind| matches!(kind, OpKind::TlbWait(_))).then_some(Cause::TlbFlush)
}

/// Row 8: waiting for a lock of the kernel.
fn kernel_lock(facts: &Facts<'_>, context: &Context<'_>, doing: Doing<'_>) -> Option<Cause> {
    if context.is_in(|kind| matches!(kind, OpKind::Lock { .. })) {
        return Some(Cause::KernelLock);
    }
    // Without its events, by the signs of one.
    let Doing::Waiting { from, .. } = doing else { return None };
    if facts.model.captured.has("lock:contention_begin") {
        return None;
    }
    let task = facts.model.task(context.task);
    sign(facts.model, task, task.span_at(from)).map(|_| Cause::KernelLock)
}

/// Row 9: a wait that the journal thread ended.
fn journal(facts: &Facts<'_>, _: &Context<'_>, doing: Doing<'_>) -> Option<Cause> {
    let Doing::Waiting { wake: Some(Wake { source: WakeSource::Task(waker), .. }), .. } = doing
    else {
        return None;
    };
    facts.is_journal(*waker).then_some(Cause::Journal)
}

/// Rows 10 to 12: a page fault.
fn fault(facts: &Facts<'_>, context: &Context<'_>, _: Doing<'_>) -> Option<Cause> {
    let op = context.ops.iter().find(|op| op.fault().is_some())?;
    let fault = op.fault()?;
    if facts.fault_slept_for_io(context.task, op) {
        return Some(Cause::MajorFault);
    }
    let pid = facts.model.task(context.task).pid;
    let of_fork = facts.is_of_fork(pid, op.start, fault);
    let spawning = context.phase.is_some() || facts.in_call(context, SyscallClass::Exec);
    Some(if of_fork || spawning { Cause::Spawn } else { Cause::MinorFault })
}

/// Row 13: fork, exec, loader, exit of a process; running inside a wait for children.
fn spawn(facts: &Facts<'_>, context: &Context<'_>, doing: Doing<'_>) -> Option<Cause> {
    let starts = |call: SyscallOp| facts.model.syscalls.starts_process(&call);
    let spawning = context.phase.is_some() || context.calls().any(starts);
    let charged = match doing {
        Doing::Running => spawning || facts.in_call(context, SyscallClass::WaitChild),
        // Of waits, those for I/O and metadata; rows 16 follow the others' wakers.
        Doing::Waiting { .. } => {
            spawning
                && (facts.in_call(context, SyscallClass::Metadata)
                    || facts.awaited(context, doing).is_some())
        }
    };
    charged.then_some(Cause::Spawn)
}

/// Row 14: a metadata call.
fn vfs_metadata(facts: &Facts<'_>, context: &Context<'_>, _: Doing<'_>) -> Option<Cause> {
    facts.in_call(context, SyscallClass::Metadata).then_some(Cause::VfsMetadata)
}

/// Row 15: a read or write call that slept for a block request itself, whole; any
/// other wait for one, by what it is.
fn block(facts: &Facts<'_>, context: &Context<'_>, doing: Doing<'_>) -> Option<Cause> {
    let by_request = match doing {
        Doing::Running => None,
        Doing::Waiting { .. } => {
            let request = facts.awaited(context, doing)?;
            Some(match facts.model.requests.get(request as usize)?.rwbs.op {
                BlockOp::Read => Cause::BlockRead,
                BlockOp::Write | BlockOp::Flush | BlockOp::Discard | BlockOp::Other => {
                    Cause::BlockWrite
                }
            })
        }
    };
    facts.block_call(context).or(by_request)
}

impl<'m> Context<'m> {
    /// The system calls that it is in, the innermost first.
    fn calls(&self) -> impl Iterator<Item = SyscallOp> + '_ {
        self.ops.iter().filter_map(|op| op.syscall())
    }

    /// Whether it is a worker on a request that does what a call of this class does.
    fn works_on_uring(&self, class: SyscallClass) -> bool {
        self.uring.is_some_and(|on| on.work.is_some() && on.request.op.class() == class)
    }

    fn is_in(&self, wanted: impl Fn(&OpKind) -> bool) -> bool {
        self.ops.iter().any(|op| wanted(&op.kind))
    }
}

impl<'m> Facts<'m> {
    /// Rows 4 to 15.
    pub(crate) fn cause(&self, context: &Context<'_>, doing: Doing<'_>) -> Option<Cause> {
        ROWS.iter().find_map(|row| row(self, context, doing))
    }

    pub(crate) fn context(&self, task: TaskId, time: Nanos) -> Context<'m> {
        self.context_in(task, time, self.model.task(task).op_at(time))
    }

    /// The context of a task of which the innermost operation is known.
    pub(crate) fn context_in(&self, task: TaskId, time: Nanos, op: Option<usize>) -> Context<'m> {
        Context {
            task,
            ops: self.model.task(task).op_chain(op).map(|(_, op)| op).collect(),
            phase: self.phase(task, time),
            starts_up: self.starts_up(task, time),
            uring: self.uring_work(task, time),
        }
    }

    fn class(&self, call: &SyscallOp) -> SyscallClass {
        self.model.syscalls.class(call.nr)
    }

    /// Whether a fault at this time copies a page that a fork made shared.
    pub(crate) fn is_of_fork(&self, pid: Pid, time: Nanos, fault: FaultOp) -> bool {
        fault.is_copy_on_write() && self.forked_around(pid, time)
    }

    pub(crate) fn fault_slept_for_io(&self, task: TaskId, op: &Op) -> bool {
        self.slept_for_io(task, op, false)
    }

    /// Whether an operation slept for a block request: its own, or one that its
    /// waker names. With `direct`, sleeps in a fault nested in it do not count.
    fn slept_for_io(&self, task: TaskId, op: &Op, direct: bool) -> bool {
        let t = self.model.task(task);
        t.spans(op.start, op.end).any(|(index, start, _, span)| {
            if !matches!(span.state, State::Blocked(_)) {
                return false;
            }
            // Most sleeps are for something else, which their wakeup tells at once.
            let next = t.states.get(index + 1);
            let until = next.map_or(Nanos::MAX, |n| n.start);
            let wake = next.and_then(|n| n.wake).map(|w| self.model.wake(w));
            if self.io_wait(task, op.start, span.start, until, wake.as_ref(), 0).is_none() {
                return false;
            }
            let around = || t.op_chain(t.op_at(start)).map(|(_, o)| o);
            // No two operations around a time have all in common: their parents differ.
            // Waiting for memory is not the operation's own I/O, even where it waits for a disk.
            let for_memory = around()
                .take_while(|o| o != op)
                .any(|o| matches!(o.kind, OpKind::Reclaim(_) | OpKind::DirtyPause(_)));
            let inner = || around().find(|o| o.syscall().is_some() || o.fault().is_some());
            !for_memory && (!direct || inner().is_some_and(|o| o == *op))
        })
    }

    /// The block request that ended a wait over `[from, to)`, if one did.
    pub(crate) fn io_wait(
        &self,
        task: TaskId,
        since: Nanos,
        from: Nanos,
        to: Nanos,
        wake: Option<&Wake>,
        depth: u8,
    ) -> Option<u32> {
        let Some(wake) = wake else {
            // No waker recorded: an own request that was open meanwhile explains it.
            return self
                .own_request(task, since, from, to)
                .or_else(|| self.own_open_request(task, since, to));
        };
        match wake.source {
            WakeSource::Block(request) => Some(request),
            WakeSource::Task(helper)
                if self.is_kernel_thread(helper) && !self.is_journal(helper) =>
            {
                if let Some(own) = self.own_request(task, since, from, to) {
                    return Some(own);
                }
                if depth >= 4 {
                    return None;
                }
                // What ended the helper's last sleep in this wait.
                let h = self.model.task(helper);
                let at = h.span_at(wake.time);
                let slept = h
                    .states
                    .iter()
                    .take(at + 1)
                    .rposition(|s| matches!(s.state, State::Blocked(_)))?;
                let span = h.states.get(slept)?;
                let next = h.states.get(slept + 1)?;
                let cause = next.wake.map(|w| self.model.wake(w))?;
                if cause.time < from {
                    return None;
                }
                self.io_wait(helper, from, span.start, next.start, Some(&cause), depth + 1)
            }
            WakeSource::Unknown | WakeSource::Interrupt(_) => {
                self.own_request(task, since, from, to)
            }
            WakeSource::Task(_) | WakeSource::Timer | WakeSource::Network => None,
        }
    }

    fn in_call(&self, context: &Context<'_>, class: SyscallClass) -> bool {
        context.calls().any(|call| self.class(&call) == class) || context.works_on_uring(class)
    }

    /// The block request that a wait is for.
    fn awaited(&self, context: &Context<'_>, doing: Doing<'_>) -> Option<u32> {
        let Doing::Waiting { from, to, wake } = doing else { return None };
        let since = context.ops.last().map_or(from, |op| op.start);
        self.io_wait(context.task, since, from, to, wake, 0).or_else(|| self.polled_block(context))
    }

    /// The cause that a read or write call has which slept for a block request itself.
    fn block_call(&self, context: &Context<'_>) -> Option<Cause> {
        if self.uring_slept_for_io(context) {
            let read = context.works_on_uring(SyscallClass::Read);
            let write = context.works_on_uring(SyscallClass::Write);
            return read.then_some(Cause::BlockRead).or_else(|| write.then_some(Cause::BlockWrite));
        }
        let op = context.ops.iter().find(|op| op.syscall().is_some())?;
        let class = self.class(&op.syscall()?);
        let cause = if class == SyscallClass::Read {
            Cause::BlockRead
        } else if class == SyscallClass::Write {
            Cause::BlockWrite
        } else {
            return None;
        };
        self.slept_for_io(context.task, op, true).then_some(cause)
    }

    /// Rows 4 to 18 for a task that runs, or would run.
    pub(crate) fn cpu_cause(&self, context: &Context<'_>) -> (Cause, Resource) {
        let for_uring = self.is_uring_thread(context.task);
        let in_kernel = for_uring
            || context.ops.iter().any(|op| {
                op.syscall().is_some() || op.fault().is_some() || op.kind == OpKind::Exit
            });
        let resource = if in_kernel { Resource::CpuKernel } else { Resource::CpuUser };
        let cause = self.cause(context, Doing::Running).unwrap_or_else(|| {
            if for_uring || context.calls().next().is_some() {
                Cause::SyscallCpu
            } else {
                Cause::UserCpu
            }
        });
        (cause, resource)
    }

    /// Row 3: the innermost interrupt over running time.
    pub(crate) fn interrupt(&self, context: &Context<'_>) -> bool {
        context
            .ops
            .iter()
            .any(|op| matches!(op.kind, OpKind::Irq(_) | OpKind::Softirq(_) | OpKind::LocalTimer))
    }

    /// The class of the innermost system call.
    pub(crate) fn call(&self, context: &Context<'_>) -> Option<(SyscallOp, SyscallClass)> {
        let call = context.calls().next()?;
        Some((call, self.class(&call)))
    }

    /// What ended a wait: its wakeup's source; where nothing names that, a timer, if the call's
    /// result proves one.
    pub(crate) fn ended_by(
        &self,
        context: &Context<'_>,
        wake: Option<&Wake>,
    ) -> Option<WakeSource> {
        match wake.map(|wake| wake.source) {
            named @ Some(
                WakeSource::Task(_)
                | WakeSource::Block(_)
                | WakeSource::Timer
                | WakeSource::Network
                | WakeSource::Interrupt(_),
            ) => named,
            unnamed @ (None | Some(WakeSource::Unknown)) => self.timed_out(context).or(unnamed),
        }
    }

    /// The timer that a call's result proves: a poll that found nothing returns 0, a futex
    /// `-ETIMEDOUT`.
    fn timed_out(&self, context: &Context<'_>) -> Option<WakeSource> {
        const ETIMEDOUT: i64 = -110;
        let (call, class) = self.call(context)?;
        let proof = match class {
            SyscallClass::Poll => 0,
            SyscallClass::Futex => ETIMEDOUT,
            SyscallClass::Durability
            | SyscallClass::Metadata
            | SyscallClass::Read
            | SyscallClass::Write
            | SyscallClass::Fork
            | SyscallClass::Exec
            | SyscallClass::Exit
            | SyscallClass::WaitChild
            | SyscallClass::Sleep
            | SyscallClass::SocketSend
            | SyscallClass::SocketReceive
            | SyscallClass::Prctl
            | SyscallClass::IoUring
            | SyscallClass::Other => return None,
        };
        (call.ret == Some(proof)).then_some(WakeSource::Timer)
    }

    /// Row 16e: a wait whose waker nothing tells.
    pub(crate) fn unnamed_wait(&self, context: &Context<'_>) -> Option<Cause> {
        let (call, class) = self.call(context)?;
        match class {
            SyscallClass::Sleep => Some(Cause::Sleep),
            SyscallClass::SocketSend | SyscallClass::SocketReceive
                if call.fd == FdKind::UnixSocket =>
            {
                Some(Cause::IpcWait)
            }
            SyscallClass::SocketSend | SyscallClass::SocketReceive => Some(Cause::NetworkWait),
            SyscallClass::Read | SyscallClass::Write => match call.fd {
                FdKind::InetSocket => Some(Cause::NetworkWait),
                FdKind::Timer => Some(Cause::Sleep),
                FdKind::UnixSocket
                | FdKind::Pipe
                | FdKind::Event
                | FdKind::Notify
                | FdKind::Unknown => Some(Cause::IpcWait),
                FdKind::File
                | FdKind::SyncFile
                | FdKind::OtherSocket
                | FdKind::Epoll
                | FdKind::Other => None,
            },
            SyscallClass::Futex | SyscallClass::Poll | SyscallClass::WaitChild => {
                Some(Cause::IpcWait)
            }
            SyscallClass::Durability
            | SyscallClass::Metadata
            | SyscallClass::Fork
            | SyscallClass::Exec
            | SyscallClass::Exit
            | SyscallClass::Prctl
            | SyscallClass::IoUring
            | SyscallClass::Other => None,
        }
    }

    /// The frames of what a task is in, on top of `base`.
    pub(crate) fn frames(
        &self,
        stacks: &mut Stacks,
        base: StackId,
        context: &Context<'_>,
        running: bool,
    ) -> StackId {
        let mut stack = base;
        match context.phase {
            Some(Phase::BeforeExec) => stack = stacks.push(stack, Frame::Spawn),
            Some(Phase::Loader) => stack = stacks.push(stack, Frame::Loader),
            Some(Phase::Exit) => stack = stacks.push(stack, Frame::Exit),
            None if context.starts_up => stack = stacks.push(stack, Frame::Startup),
            None => {}
        }
        let mut user = !self.is_uring_thread(context.task);
        // A worker's request is around all that it does; who waits for one is in its call.
        let (around, inside) = match context.uring {
            Some(on) if on.work.is_some() => (Some(on.request.op), None),
            on => (None, on.map(|on| on.request.op)),
        };
        if let Some(op) = around {
            stack = stacks.push(stack, Frame::Uring(op));
        }
        for op in context.ops.iter().rev() {
            let frame = match op.kind {
                OpKind::Syscall(call) => Frame::Syscall(call.nr),
                OpKind::Fault(fault) => {
                    Frame::Fault(self.fault_slept_for_io(context.task, op), fault.file)
                }
                OpKind::Lock { addr, .. } => Frame::Lock(addr),
                OpKind::Irq(name) => Frame::Irq(name),
                OpKind::Softirq(vec) => Frame::Softirq(vec),
                OpKind::LocalTimer => Frame::Tick,
                OpKind::Commit { dev, .. } => Frame::Journal(dev),
                OpKind::Reclaim(reclaim) => Frame::Reclaim(reclaim.kind),
                OpKind::DirtyPause(_) => Frame::DirtyPause,
                OpKind::TlbWait(_) => Frame::TlbWait,
                OpKind::Work(_) | OpKind::SyncFile { .. } | OpKind::Exit => continue,
            };
            user = false;
            stack = stacks.push(stack, frame);
        }
        if let Some(op) = inside {
            stack = stacks.push(stack, Frame::Uring(op));
        }
        if user && running && context.phase.is_none() {
            stack = stacks.push(stack, Frame::User);
        }
        stack
    }
}
