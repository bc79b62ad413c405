//! System calls: pairing, restarts, odd exits, fds, in-band marks.

use agenttrace_parse::events::{Event, Syscall};
use agenttrace_parse::{Args, Nanos, Problem, StepId};

use super::{Builder, Ended};
use crate::marks::{MarkEdge, RawMark};
use crate::op::{Op, OpKind, SyscallOp};
use crate::ops::Returned;
use crate::syscall_table::{MARK_MAGIC, SyscallClass};
use crate::task::TaskId;

/// `restart_syscall`, on x86-64 and in the generic table.
const RESTART_SYSCALL: [i32; 2] = [219, 128];

impl Builder {
    #[inline(always)]
    pub(super) fn syscall(&mut self, event: &Event<'_>, task: TaskId, call: &Syscall) {
        match call {
            Syscall::SysEnter(e) => {
                let nr = i32::try_from(e.id).unwrap_or(-1);
                self.sys_enter(event, task, nr, &e.args);
            }
            Syscall::SysExit(e) => {
                let nr = i32::try_from(e.id).unwrap_or(-1);
                self.sys_exit(event, task, nr, e.ret);
            }
        }
    }

    #[inline(never)]
    fn sys_enter(&mut self, event: &Event<'_>, task: TaskId, nr: i32, args: &Args) {
        let time = event.time;
        if !self.live(task).stack.is_empty() {
            self.out_of_all(event, task);
        }
        self.forget_call(task, time);
        let class = self.class(nr);
        let Some(live) = self.live.get_mut(task.0 as usize) else { return };
        let mut op = SyscallOp::new(nr, args);
        if let Some(before) = live.restarting.take()
            && (before == nr || RESTART_SYSCALL.contains(&nr))
        {
            op.continued = true;
            op.nr = before;
        }
        if class == SyscallClass::Futex {
            // FUTEX_WAIT, FUTEX_WAIT_BITSET; FUTEX_LOCK_PI, FUTEX_LOCK_PI2.
            let [_, command, value, ..] = args.0;
            op.lock = match command & 0x7f {
                0 | 9 => value & 0xffff_ffff == 2,
                6 | 13 => true,
                _ => false,
            };
        }
        if class == SyscallClass::Prctl && args.0[0] == MARK_MAGIC {
            op.mark = true;
            let [_, id, which, ..] = args.0;
            let edge = match (id, which) {
                (0, 0) => MarkEdge::EndInnermost,
                (0, which) => MarkEdge::End(StepId::Number(which)),
                (id, _) => MarkEdge::Begin(StepId::Number(id), None),
            };
            self.model.marks.push(RawMark { time, task, edge });
        }
        // The value of a patched kernel's field changed: a mark of its own.
        let id = event.agent_step_id;
        if std::mem::replace(&mut live.step_field, id) != id {
            self.model.step_fields.push((time, task, id));
        }
        (op.fd, op.opened) = self.fds.look_up(live.pid, &mut live.fds, args.0[0]);
        // Nothing is around it.
        let index = live.ops.push(&Op::new(time, None, OpKind::Syscall(op)));
        live.stack.push(index);
        live.args = *args;
    }

    /// A call begins: what the task seems to be in has ended unseen.
    #[cold]
    fn out_of_all(&mut self, event: &Event<'_>, task: TaskId) {
        let time = event.time;
        if let Some(open) = self.open_syscall(task) {
            // A fault from user mode cannot be around a call either: its end
            // was not recorded.
            if self.class(open.nr) != SyscallClass::Exit {
                self.count(Problem::SyscallWithoutExit, event.cpu, time);
            }
            self.close_op(task, time, |_| true);
        }
        self.end_faults(task, time, event.cpu);
        self.close_all(task, time, true);
    }

    #[inline(never)]
    fn sys_exit(&mut self, event: &Event<'_>, task: TaskId, nr: i32, ret: i64) {
        // Nearly always the call is all that is open.
        let Some(live) = self.live.get_mut(task.0 as usize) else { return };
        let returned = match *live.stack {
            [only] => live.ops.end_call(only, event.time, ret).inspect(|returned| {
                live.stack.clear();
                live.ended = Some(Ended { index: only, end: returned.end, fault: false });
            }),
            _ => None,
        };
        let Some(returned) = returned.or_else(|| self.leave(event, task, nr, ret)) else { return };
        let Some(live) = self.live.get_mut(task.0 as usize) else { return };
        if matches!(ret, -512 | -513 | -514 | -516) {
            live.restarting = Some(returned.nr);
        }
        if returned.no_entry || ret < 0 {
            return;
        }
        let fd_call =
            usize::try_from(nr).ok().and_then(|nr| self.fd_calls.get(nr).copied().flatten());
        if let Some(fd_call) = fd_call {
            self.fds.returned(live.pid, &mut live.fds, fd_call, &live.args, ret);
        }
    }

    /// The same where more is open than a call, or nothing is. `None`: no call ends.
    #[inline(never)]
    fn leave(&mut self, event: &Event<'_>, task: TaskId, nr: i32, ret: i64) -> Option<Returned> {
        let time = event.time;
        let live = self.live(task);
        if live.stack.iter().any(|open| !live.ops.is_call(*open)) {
            self.end_faults(task, time, event.cpu);
        }
        let live = self.live(task);
        let Some(position) = live.call_at() else {
            if live.ops.is_empty() {
                // It was entered before the capture began.
                let mut op = SyscallOp::new(nr, &Args::default());
                op.no_entry = true;
                op.ret = Some(ret);
                let mut op = Op::new(Nanos::ZERO, None, OpKind::Syscall(op));
                op.end = time;
                live.ops.push(&op);
            }
            return None;
        };
        let index = live.close(position, time)?;
        live.ops.set_ret(index, ret);
        let op = live.ops.get(index)?;
        let call = op.syscall()?;
        Some(Returned { end: op.end, nr: call.nr, no_entry: call.no_entry })
    }
}
