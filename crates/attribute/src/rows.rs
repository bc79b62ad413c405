//! The table of causes, row by row in its order (DESIGN section 6): the one
//! place that decides what a stretch of time is charged to.
//!
//! Rows 5 to 7 (reclaim, write-back throttling, TLB flushes) are not built yet:
//! their time falls to the next row that matches.

use agenttrace_model::parse::{BlockOp, Nanos};
use agenttrace_model::{
    FdKind, Op, OpKind, State, SyscallClass, SyscallOp, TaskId, Wake, WakeSource,
};

use crate::cause::{Cause, Resource};
use crate::facts::{Facts, Phase};
use crate::path::{Frame, StackId, Stacks};

/// What a task was in at a moment: its open operations, innermost first.
pub(crate) struct Context<'m> {
    pub(crate) task: TaskId,
    pub(crate) ops: Vec<&'m Op>,
    pub(crate) phase: Option<Phase>,
}

impl<'m> Facts<'m> {
    pub(crate) fn context(&self, task: TaskId, time: Nanos) -> Context<'m> {
        let t = self.model.task(task);
        Context {
            task,
            ops: t.op_chain(t.op_at(time)).map(|(_, op)| op).collect(),
            phase: self.phase(task, time),
        }
    }

    fn class(&self, call: &SyscallOp) -> SyscallClass {
        self.model.syscalls.class(call.nr)
    }

    /// Row 4: a durability operation.
    fn durability(&self, context: &Context<'_>) -> bool {
        context.ops.iter().filter_map(|op| op.syscall()).any(|call| {
            let class = self.class(call);
            class == SyscallClass::Durability
                || (class == SyscallClass::Write && call.fd == FdKind::SyncFile)
        })
    }

    /// Rows 10 to 12: the cause of a page fault.
    fn fault(&self, context: &Context<'_>) -> Option<Cause> {
        let op = context.ops.iter().find(|op| op.fault().is_some())?;
        let fault = op.fault()?;
        if self.fault_slept_for_io(context.task, op) {
            return Some(Cause::MajorFault);
        }
        let pid = self.model.task(context.task).pid;
        let of_fork = fault.is_copy_on_write() && self.forked_around(pid, op.start);
        let spawning = context.phase.is_some() || self.in_call(context, SyscallClass::Exec);
        Some(if of_fork || spawning { Cause::Spawn } else { Cause::MinorFault })
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
            if direct {
                let inner = t
                    .op_chain(t.op_at(start))
                    .find(|(_, o)| o.syscall().is_some() || o.fault().is_some());
                if !inner.is_some_and(|(_, o)| std::ptr::eq(o, op)) {
                    return false;
                }
            }
            let next = t.states.get(index + 1);
            let until = next.map_or(Nanos::MAX, |n| n.start);
            let wake = next.and_then(|n| n.wake).map(|w| *self.model.wake(w));
            self.io_wait(task, op.start, span.start, until, wake.as_ref(), 0).is_some()
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
                let cause = next.wake.map(|w| *self.model.wake(w))?;
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
        context.ops.iter().filter_map(|op| op.syscall()).any(|call| self.class(call) == class)
    }

    /// Row 13: fork, exec, loader, exit of a process, waiting for children.
    fn spawning(&self, context: &Context<'_>) -> bool {
        context.phase.is_some()
            || context.ops.iter().filter_map(|op| op.syscall()).any(|call| match self.class(call) {
                SyscallClass::Fork => !call.thread,
                SyscallClass::Exec => true,
                SyscallClass::Durability
                | SyscallClass::Metadata
                | SyscallClass::Read
                | SyscallClass::Write
                | SyscallClass::Exit
                | SyscallClass::WaitChild
                | SyscallClass::Futex
                | SyscallClass::Poll
                | SyscallClass::Sleep
                | SyscallClass::SocketSend
                | SyscallClass::SocketReceive
                | SyscallClass::Prctl
                | SyscallClass::IoUring
                | SyscallClass::Other => false,
            })
    }

    /// Row 15: a read or write call that slept for a block request itself.
    fn block_call(&self, context: &Context<'_>) -> Option<Cause> {
        let op = context.ops.iter().find(|op| op.syscall().is_some())?;
        let cause = match self.class(op.syscall()?) {
            SyscallClass::Read => Cause::BlockRead,
            SyscallClass::Write => Cause::BlockWrite,
            SyscallClass::Durability
            | SyscallClass::Metadata
            | SyscallClass::Fork
            | SyscallClass::Exec
            | SyscallClass::Exit
            | SyscallClass::WaitChild
            | SyscallClass::Futex
            | SyscallClass::Poll
            | SyscallClass::Sleep
            | SyscallClass::SocketSend
            | SyscallClass::SocketReceive
            | SyscallClass::Prctl
            | SyscallClass::IoUring
            | SyscallClass::Other => return None,
        };
        self.slept_for_io(context.task, op, true).then_some(cause)
    }

    /// Rows 4 to 18 for a task that runs, or would run.
    pub(crate) fn cpu_cause(&self, context: &Context<'_>) -> (Cause, Resource) {
        let in_kernel = context
            .ops
            .iter()
            .any(|op| op.syscall().is_some() || op.fault().is_some() || op.kind == OpKind::Exit);
        let resource = if in_kernel { Resource::CpuKernel } else { Resource::CpuUser };
        let cause = if self.durability(context) {
            Cause::Fsync
        } else if context.ops.iter().any(|op| matches!(op.kind, OpKind::Lock { .. })) {
            Cause::KernelLock
        } else if let Some(fault) = self.fault(context) {
            fault
        } else if self.spawning(context) || self.in_call(context, SyscallClass::WaitChild) {
            Cause::Spawn
        } else if self.in_call(context, SyscallClass::Metadata) {
            Cause::VfsMetadata
        } else if let Some(block) = self.block_call(context) {
            block
        } else if context.ops.iter().any(|op| op.syscall().is_some()) {
            Cause::SyscallCpu
        } else {
            Cause::UserCpu
        };
        (cause, resource)
    }

    /// Row 3: the innermost interrupt over running time.
    pub(crate) fn interrupt(&self, context: &Context<'_>) -> bool {
        context
            .ops
            .iter()
            .any(|op| matches!(op.kind, OpKind::Irq(_) | OpKind::Softirq(_) | OpKind::LocalTimer))
    }

    /// Rows 4 to 15 for a wait: the cause that what the task is in gives it,
    /// whoever ended it. `None`: rows 16 and following decide by the waker.
    pub(crate) fn wait_cause(
        &self,
        context: &Context<'_>,
        from: Nanos,
        to: Nanos,
        wake: Option<&Wake>,
    ) -> Option<Cause> {
        if self.durability(context) {
            return Some(Cause::Fsync);
        }
        if context.ops.iter().any(|op| matches!(op.kind, OpKind::Lock { .. })) {
            return Some(Cause::KernelLock);
        }
        if let Some(Wake { source: WakeSource::Task(waker), .. }) = wake
            && self.is_journal(*waker)
        {
            return Some(Cause::Journal);
        }
        if let Some(fault) = self.fault(context) {
            return Some(fault);
        }
        let since = context.ops.last().map_or(from, |op| op.start);
        let request = self.io_wait(context.task, since, from, to, wake, 0);
        let metadata = self.in_call(context, SyscallClass::Metadata);
        if self.spawning(context) && (request.is_some() || metadata) {
            return Some(Cause::Spawn);
        }
        if metadata {
            return Some(Cause::VfsMetadata);
        }
        let request = request.and_then(|r| self.model.requests.get(r as usize))?;
        Some(self.block_call(context).unwrap_or(match request.rwbs.op {
            BlockOp::Read => Cause::BlockRead,
            BlockOp::Write | BlockOp::Flush | BlockOp::Discard | BlockOp::Other => {
                Cause::BlockWrite
            }
        }))
    }

    /// The class of the innermost system call.
    pub(crate) fn call(&self, context: &Context<'_>) -> Option<(SyscallOp, SyscallClass)> {
        let call = context.ops.iter().find_map(|op| op.syscall())?;
        Some((*call, self.class(call)))
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
            None => {}
        }
        let mut user = true;
        for op in context.ops.iter().rev() {
            let frame = match op.kind {
                OpKind::Syscall(call) => Frame::Syscall(call.nr),
                OpKind::Fault(fault) => {
                    Frame::Fault(self.fault_slept_for_io(context.task, op), fault.file)
                }
                OpKind::Lock { addr } => Frame::Lock(addr),
                OpKind::Irq(name) => Frame::Irq(name),
                OpKind::Softirq(vec) => Frame::Softirq(vec),
                OpKind::LocalTimer => Frame::Tick,
                OpKind::Commit { dev, .. } => Frame::Journal(dev),
                OpKind::Work(_) | OpKind::SyncFile { .. } | OpKind::Exit => continue,
            };
            user = false;
            stack = stacks.push(stack, frame);
        }
        if user && running && context.phase.is_none() {
            stack = stacks.push(stack, Frame::User);
        }
        stack
    }
}
