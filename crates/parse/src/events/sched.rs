//! Scheduler events: switches, wakeups and the life of a task.

use super::tracepoints;
use crate::fields::{Addr, Comm, CommBytes, SwitchState, Text};
use crate::units::{Cpu, Tid};

/// The events that tell of a new task, which was not there before them.
pub(crate) const BIRTHS: &[&str] =
    &["sched:sched_process_fork", "task:task_newtask", "sched:sched_wakeup_new"];

impl Sched<'_> {
    /// The task that one of [`BIRTHS`] tells of.
    pub(crate) fn newborn(&self) -> Option<Tid> {
        match self {
            Self::SchedProcessFork(e) => Some(e.child_pid),
            Self::TaskNewtask(e) => Some(e.pid),
            Self::SchedWakeupNew(e) => Some(e.pid),
            Self::SchedSwitch(_)
            | Self::SchedWaking(_)
            | Self::SchedWakeup(_)
            | Self::SchedMigrateTask(_)
            | Self::SchedMoveNuma(_)
            | Self::SchedStickNuma(_)
            | Self::SchedSwapNuma(_)
            | Self::SchedSkipVmaNuma(_)
            | Self::SchedSkipCpusetNuma(_)
            | Self::SchedProcessExec(_)
            | Self::SchedPrepareExec(_)
            | Self::SchedProcessExit(_)
            | Self::SchedProcessWait(_)
            | Self::TaskRename(_)
            | Self::SignalGenerate(_) => None,
        }
    }
}

tracepoints! {
    /// The scheduler and the life of a task (EVENTS 1).
    Sched<'a> in 'a {
        /// `prev` leaves the CPU, `next` takes it.
        "sched:sched_switch" SchedSwitch
            prints "prev_comm={prev_comm:s} prev_pid={prev_pid} prev_prio={} prev_state={prev_state:state} ==> next_comm={next_comm:s} next_pid={next_pid} next_prio="
            | "{prev_comm:s}:{prev_pid} [{}] {prev_state:plugin} ==> {next_comm:s}:{next_pid} ["
            | "prev_comm={prev_comm:s} prev_pid={prev_pid} prev_prio={} prev_state={prev_state:state} next_comm={next_comm:s} next_pid={next_pid} next_prio="
        {
            /// Name of the task that leaves.
            prev_comm: CommBytes = "prev_comm",
            /// The task that leaves.
            prev_pid: Tid = "prev_pid",
            /// Its state: runnable, or why it blocks.
            prev_state: SwitchState = "prev_state",
            /// Name of the task that comes.
            next_comm: CommBytes = "next_comm",
            /// The task that comes.
            next_pid: Tid = "next_pid",
        }
        /// A blocked task is made runnable, in the waker's context, on the waker's CPU.
        "sched:sched_waking" SchedWaking
            prints "comm={comm:s} pid={pid} prio={:s}target_cpu={target_cpu}"
            | "{comm:s}:{pid} [{}]{:s} CPU:{target_cpu}"
        {
            /// Name of the task woken.
            comm: CommBytes = "comm",
            /// The task woken.
            pid: Tid = "pid",
            /// Its old CPU.
            target_cpu: Cpu = "target_cpu",
        }
        /// The woken task was queued, perhaps by the target CPU itself: its context is no waker.
        "sched:sched_wakeup" SchedWakeup
            prints "comm={comm:s} pid={pid} prio={:s}target_cpu={target_cpu}"
            | "{comm:s}:{pid} [{}]{:s} CPU:{target_cpu}"
        {
            /// Name of the task woken.
            comm: CommBytes = "comm",
            /// The task woken.
            pid: Tid = "pid",
            /// The CPU on whose run queue it is.
            target_cpu: Cpu = "target_cpu",
        }
        /// A new task becomes runnable for the first time.
        "sched:sched_wakeup_new" SchedWakeupNew
            prints "comm={comm:s} pid={pid} prio={:s}target_cpu={target_cpu}"
            | "{comm:s}:{pid} [{}]{:s} CPU:{target_cpu}"
        {
            /// Name of the new task.
            comm: CommBytes = "comm",
            /// The new task.
            pid: Tid = "pid",
            /// The CPU on whose run queue it is.
            target_cpu: Cpu = "target_cpu",
        }
        /// A task moves to another CPU's run queue.
        "sched:sched_migrate_task" SchedMigrateTask
            prints "comm={:s} pid={pid} prio={} orig_cpu={orig_cpu} dest_cpu={dest_cpu}"
        {
            /// The task moved.
            pid: Tid = "pid",
            /// From.
            orig_cpu: Cpu = "orig_cpu",
            /// To.
            dest_cpu: Cpu = "dest_cpu",
        }
        /// NUMA balancing moves a task to another node (include/trace/events/sched.h, Linux 3.13).
        "sched:sched_move_numa" SchedMoveNuma
            prints "pid={pid} tgid={} ngid={} src_cpu={src_cpu} src_nid={src_nid} dst_cpu={dst_cpu} dst_nid={dst_nid}"
        {
            /// The task.
            pid: Tid = "pid",
            /// From this CPU,
            src_cpu: Cpu = "src_cpu",
            /// of this node,
            src_nid: i32 = "src_nid",
            /// to this CPU,
            dst_cpu: Cpu = "dst_cpu",
            /// of this node.
            dst_nid: i32 = "dst_nid",
        }
        /// NUMA balancing wanted to move a task, and could not. Until Linux 5.0 the task's
        /// fields were named as those of `sched_move_numa`.
        "sched:sched_stick_numa" SchedStickNuma
            prints "src_pid={src_pid} src_tgid={} src_ngid={} src_cpu={src_cpu} src_nid={src_nid} dst_pid={} dst_tgid={} dst_ngid={} dst_cpu={} dst_nid={dst_nid}"
            | "pid={src_pid} tgid={} ngid={} src_cpu={src_cpu} src_nid={src_nid} dst_cpu={} dst_nid={dst_nid}"
        {
            /// The task that stays.
            src_pid: Tid = "src_pid" | "pid",
            /// On this CPU,
            src_cpu: Cpu = "src_cpu",
            /// of this node.
            src_nid: i32 = "src_nid",
            /// The node that it was meant for; -1 for none.
            dst_nid: i32 = "dst_nid",
        }
        /// NUMA balancing lets two tasks change places.
        "sched:sched_swap_numa" SchedSwapNuma
            prints "src_pid={src_pid} src_tgid={} src_ngid={} src_cpu={src_cpu} src_nid={src_nid} dst_pid={dst_pid} dst_tgid={} dst_ngid={} dst_cpu={dst_cpu} dst_nid={dst_nid}"
        {
            /// The one,
            src_pid: Tid = "src_pid",
            /// which was on this CPU,
            src_cpu: Cpu = "src_cpu",
            /// of this node.
            src_nid: i32 = "src_nid",
            /// The other,
            dst_pid: Tid = "dst_pid",
            /// which was on this CPU,
            dst_cpu: Cpu = "dst_cpu",
            /// of this node.
            dst_nid: i32 = "dst_nid",
        }
        /// NUMA balancing's scan leaves out a mapping of the current task (Linux 6.6).
        "sched:sched_skip_vma_numa" SchedSkipVmaNuma
            prints "numa_scan_offset={:s} vm_start={vm_start:x} vm_end={:s} reason="
        {
            /// Where it begins.
            vm_start: Addr = "vm_start",
        }
        /// NUMA balancing leaves out a task whose cpuset allows one node only (Linux 6.16).
        "sched:sched_skip_cpuset_numa" SchedSkipCpusetNuma
            prints "comm={:s} pid={pid} tgid={} ngid={} mem_nodes_allowed="
        {
            /// The task.
            pid: Tid = "pid",
        }
        /// A task forked; thread or process is told by [`TaskNewtask`] or [`Fork`](super::Fork).
        "sched:sched_process_fork" SchedProcessFork
            prints "comm={:s} pid={parent_pid} child_comm={child_comm:s} child_pid={child_pid}"
            | "parent_comm={:s} parent_pid={parent_pid} child_comm={child_comm:s} child_pid={child_pid}"
        {
            /// The thread that forked.
            parent_pid: Tid = "parent_pid",
            /// Name of the child.
            child_comm: Comm = "child_comm",
            /// The child.
            child_pid: Tid = "child_pid",
        }
        /// A program was executed: the task has its new image.
        "sched:sched_process_exec" SchedProcessExec<'a>
            prints "filename={filename:s} pid={pid} old_pid={old_pid}"
        {
            /// Path as given to `execve`.
            filename: Text<'a> = "filename",
            /// The task from now on: always its thread group's id.
            pid: Tid = "pid",
            /// The thread that called `execve`.
            old_pid: Tid = "old_pid",
        }
        /// An exec is past its point of no return (Linux 6.10).
        "sched:sched_prepare_exec" SchedPrepareExec<'a>
            prints "interp={interp:s} filename={filename:s} pid={pid} comm="
        {
            /// The interpreter, for scripts.
            interp: Text<'a> = "interp",
            /// Path as given to `execve`.
            filename: Text<'a> = "filename",
            /// The task.
            pid: Tid = "pid",
        }
        /// A task begins to exit; its teardown follows.
        "sched:sched_process_exit" SchedProcessExit
            prints "comm={comm:s} pid={pid} prio={} group_dead={group_dead:bool}"
            | "comm={comm:s} pid={pid} prio={}"
        {
            /// Name of the task.
            comm: Comm = "comm",
            /// The task.
            pid: Tid = "pid",
            /// Whether it was the last of its thread group, where the kernel tells.
            group_dead: Option<bool> = "group_dead",
        }
        /// A task begins to wait for children.
        "sched:sched_process_wait" SchedProcessWait
            prints "comm={:s} pid={pid} prio="
        {
            /// What it waits for: a child, or 0 for any.
            pid: Tid = "pid",
        }
        /// A task was created.
        "task:task_newtask" TaskNewtask
            prints "pid={pid} comm={comm:s} clone_flags={clone_flags:x} oom_score_adj="
        {
            /// The new task.
            pid: Tid = "pid",
            /// Its name.
            comm: Comm = "comm",
            /// `CLONE_*` flags.
            clone_flags: Addr = "clone_flags",
        }
        /// A task changed its name.
        "task:task_rename" TaskRename
            prints "pid={pid} oldcomm={:s} newcomm={newcomm:s} oom_score_adj="
            | "oldcomm={:s} newcomm={newcomm:s} oom_score_adj="
        {
            /// The task; absent since Linux 6.16, where it is the current one.
            pid: Option<Tid> = "pid",
            /// Its new name.
            newcomm: Comm = "newcomm",
        }
        /// A signal was sent.
        "signal:signal_generate" SignalGenerate
            prints "sig={sig} errno={} code={code} comm={:s} pid={pid} grp={} res={result}"
            | "sig={sig} errno={} code={code} comm={:s} pid={pid} group={} result={result}"
            | "sig={sig} errno={} code={code} comm={:s} pid={pid}"
        {
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
