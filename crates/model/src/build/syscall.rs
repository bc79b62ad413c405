//! System calls: pairing, restarts, odd exits, fds, in-band marks.

use agenttrace_parse::events::{Event, Syscall};
use agenttrace_parse::{Args, Nanos, Problem, StepId};

use super::Builder;
use crate::marks::{MarkEdge, RawMark};
use crate::op::{Op, OpKind, SyscallOp};
use crate::syscall_table::{MARK_MAGIC, SyscallClass};
use crate::task::TaskId;

/// `restart_syscall`, on x86-64 and in the generic table.
const RESTART_SYSCALL: [i32; 2] = [219, 128];

impl Builder {
    pub(super) fn syscall(&mut self, event: &Event<'_>, task: TaskId, call: &Syscall) {
        match call {
            Syscall::SysEnter(e) => {
                let nr = i32::try_from(e.id).unwrap_or(-1);
                self.sys_enter(event, task, nr, e.args);
            }
            Syscall::SysExit(e) => {
                let nr = i32::try_from(e.id).unwrap_or(-1);
                self.sys_exit(event, task, nr, e.ret);
            }
        }
    }

    fn sys_enter(&mut self, event: &Event<'_>, task: TaskId, nr: i32, args: Args) {
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
        let class = self.class(nr);
        let mut op = SyscallOp::new(nr, args);
        let restarting = self.live(task).restarting.take();
        op.continued =
            restarting == Some(nr) || (restarting.is_some() && RESTART_SYSCALL.contains(&nr));
        if op.continued
            && let Some(before) = restarting
        {
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
        let pid = self.task(task).pid;
        (op.fd, op.opened) = self.fds.look_up(pid, args.0[0]);
        if class == SyscallClass::Prctl && args.0[0] == MARK_MAGIC {
            op.mark = true;
            let [_, id, which, ..] = args.0;
            let edge = match (id, which) {
                (0, 0) => MarkEdge::EndInnermost,
                (0, which) => MarkEdge::End(StepId::Number(which)),
                (id, _) => MarkEdge::Begin(StepId::Number(id), None),
            };
            self.mark(RawMark { time, task, edge });
        }
        self.step_field(task, time, event.agent_step_id);
        self.push_op(task, time, OpKind::Syscall(op));
        self.live(task).args = args;
    }

    fn sys_exit(&mut self, event: &Event<'_>, task: TaskId, nr: i32, ret: i64) {
        let time = event.time;
        self.end_faults(task, time, event.cpu);
        let restart = matches!(ret, -512 | -513 | -514 | -516);
        let Some(open) = self.live(task).call_mut() else {
            if self.task(task).ops.is_empty() {
                // It was entered before the capture began.
                let mut op = SyscallOp::new(nr, Args::default());
                op.no_entry = true;
                op.ret = Some(ret);
                let mut op = Op::new(Nanos::ZERO, None, OpKind::Syscall(op));
                op.end = time;
                self.task(task).ops.push(&op);
            }
            return;
        };
        open.ret = Some(ret);
        let open = *open;
        self.close_op(task, time, |kind| matches!(kind, OpKind::Syscall(_)));
        if restart {
            self.live(task).restarting = Some(open.nr);
        }
        if open.no_entry || ret < 0 {
            return;
        }
        let fd_call =
            usize::try_from(nr).ok().and_then(|nr| self.fd_calls.get(nr).copied().flatten());
        if let Some(fd_call) = fd_call {
            let (pid, args) = (self.task(task).pid, self.live(task).args);
            self.fds.returned(pid, fd_call, args, ret);
        }
    }

    /// The value of a patched kernel's field changed: a mark of its own.
    fn step_field(&mut self, task: TaskId, time: Nanos, id: u64) {
        if std::mem::replace(&mut self.live(task).step_field, id) != id {
            self.model.step_fields.push((time, task, id));
        }
    }
}
