//! Scheduler events: switches, wakeups and the life of a task.

use super::tracepoints;
use crate::fields::{Addr, Comm, SwitchState, Text};
use crate::units::{Cpu, Tid};

tracepoints! {
    /// The scheduler and the life of a task (EVENTS 1).
    Sched<'a> in 'a {
        /// `prev` leaves the CPU, `next` takes it.
        "sched:sched_switch" SchedSwitch {
            /// Name of the task that leaves.
            prev_comm: Comm = "prev_comm",
            /// The task that leaves.
            prev_pid: Tid = "prev_pid",
            /// Its state: runnable, or why it blocks.
            prev_state: SwitchState = "prev_state",
            /// Name of the task that comes.
            next_comm: Comm = "next_comm",
            /// The task that comes.
            next_pid: Tid = "next_pid",
        }
        /// A blocked task is made runnable, in the waker's context, on the waker's CPU.
        "sched:sched_waking" SchedWaking {
            /// Name of the task woken.
            comm: Comm = "comm",
            /// The task woken.
            pid: Tid = "pid",
            /// Its old CPU.
            target_cpu: Cpu = "target_cpu",
        }
        /// The woken task was queued, perhaps by the target CPU itself: its context is no waker.
        "sched:sched_wakeup" SchedWakeup {
            /// Name of the task woken.
            comm: Comm = "comm",
            /// The task woken.
            pid: Tid = "pid",
            /// The CPU on whose run queue it is.
            target_cpu: Cpu = "target_cpu",
        }
        /// A new task becomes runnable for the first time.
        "sched:sched_wakeup_new" SchedWakeupNew {
            /// Name of the new task.
            comm: Comm = "comm",
            /// The new task.
            pid: Tid = "pid",
            /// The CPU on whose run queue it is.
            target_cpu: Cpu = "target_cpu",
        }
        /// A task moves to another CPU's run queue.
        "sched:sched_migrate_task" SchedMigrateTask {
            /// The task moved.
            pid: Tid = "pid",
            /// From.
            orig_cpu: Cpu = "orig_cpu",
            /// To.
            dest_cpu: Cpu = "dest_cpu",
        }
        /// A task forked; thread or process is told by [`TaskNewtask`] or [`Fork`](super::Fork).
        "sched:sched_process_fork" SchedProcessFork {
            /// The thread that forked.
            parent_pid: Tid = "parent_pid",
            /// Name of the child.
            child_comm: Comm = "child_comm",
            /// The child.
            child_pid: Tid = "child_pid",
        }
        /// A program was executed: the task has its new image.
        "sched:sched_process_exec" SchedProcessExec<'a> {
            /// Path as given to `execve`.
            filename: Text<'a> = "filename",
            /// The task from now on: always its thread group's id.
            pid: Tid = "pid",
            /// The thread that called `execve`.
            old_pid: Tid = "old_pid",
        }
        /// An exec is past its point of no return (Linux 6.10).
        "sched:sched_prepare_exec" SchedPrepareExec<'a> {
            /// The interpreter, for scripts.
            interp: Text<'a> = "interp",
            /// Path as given to `execve`.
            filename: Text<'a> = "filename",
            /// The task.
            pid: Tid = "pid",
        }
        /// A task begins to exit; its teardown follows.
        "sched:sched_process_exit" SchedProcessExit {
            /// Name of the task.
            comm: Comm = "comm",
            /// The task.
            pid: Tid = "pid",
            /// Whether it was the last of its thread group, where the kernel tells.
            group_dead: Option<bool> = "group_dead",
        }
        /// A task begins to wait for children.
        "sched:sched_process_wait" SchedProcessWait {
            /// What it waits for: a child, or 0 for any.
            pid: Tid = "pid",
        }
        /// A task was created.
        "task:task_newtask" TaskNewtask {
            /// The new task.
            pid: Tid = "pid",
            /// Its name.
            comm: Comm = "comm",
            /// `CLONE_*` flags.
            clone_flags: Addr = "clone_flags",
        }
        /// A task changed its name.
        "task:task_rename" TaskRename {
            /// The task; absent since Linux 6.16, where it is the current one.
            pid: Option<Tid> = "pid",
            /// Its new name.
            newcomm: Comm = "newcomm",
        }
        /// A signal was sent.
        "signal:signal_generate" SignalGenerate {
            /// Signal number.
            sig: i32 = "sig",
            /// `si_code`.
            code: i32 = "code",
            /// The task it was sent to.
            pid: Tid = "pid",
            /// 0 delivered, 1 ignored, 2 already pending.
            result: Option<i32> = "result",
        }
    }
}
