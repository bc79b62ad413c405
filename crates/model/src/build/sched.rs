//! Switches, wakeups and the life of tasks.

use agenttrace_parse::events::{Event, Sched, SchedSwitch};
use agenttrace_parse::{Comm, CommBytes, Cpu, Nanos, Pid, Problem, SwitchState, Tid};

use super::Builder;
use crate::balancing::{Balancing, BalancingKind};
use crate::op::{OpKind, SyscallOp};
use crate::syscall_table::{SyscallClass, is_thread, shares_files};
use crate::task::{Span, State, TaskId, UnknownReason, Wake, WakeSource};

/// A completion explains a wakeup on its CPU for this long, with nothing between.
const COMPLETION_REACH: Nanos = Nanos(1_000_000);

impl Builder {
    #[inline(never)]
    pub(super) fn switch(&mut self, event: &Event<'_>, switch: &SchedSwitch) {
        let (time, on) = (event.time, event.cpu);
        let before = self.cpu(on).current;
        let prev = self.of_cpu(before, switch.prev_pid);
        let next = self.lookup(switch.next_pid);
        let cpu = self.cpu(on);
        cpu.current = Some(next);
        let last = std::mem::replace(&mut cpu.last, time);
        let tainted = cpu.tainted.take();
        cpu.runs_on();
        cpu.irqs.clear();
        cpu.outermost = None;
        if tainted.is_some() {
            // A consistent switch: from here the CPU is known again.
            for lost in self.model.lost.iter_mut().rev() {
                if lost.cpu == on && lost.to == Nanos::MAX {
                    lost.to = time;
                }
            }
        }
        if let Some(Some(old)) = before
            && Some(old) != prev
        {
            self.count(Problem::SwitchOutOfOther, on, time);
            if self.live(old).state == State::Running && self.live(old).cpu == on {
                self.enter(
                    old,
                    last,
                    State::Unknown(UnknownReason::NoSwitch),
                    Cpu::NONE,
                    None,
                    true,
                );
            }
        }
        if let Some(id) = prev {
            self.live(id).recorded.push(time);
            self.name(id, time, switch.prev_comm);
            self.switch_out(id, time, on, last, tainted.is_some(), switch.prev_state);
        }
        if let Some(id) = next {
            self.name(id, time, switch.next_comm);
            self.switch_in(id, time, on);
        }
    }

    /// A name in a switch is the kernel's own; taken only where none was known.
    #[inline]
    fn name(&mut self, id: TaskId, time: Nanos, comm: CommBytes) {
        if !self.live(id).named {
            self.first_name(id, time, comm);
        }
    }

    #[cold]
    fn first_name(&mut self, id: TaskId, time: Nanos, comm: CommBytes) {
        let (task, comm) = (self.task(id), comm.comm());
        if task.names.is_empty() && !comm.is_empty() {
            task.rename(time, comm);
        }
        self.live(id).named = !self.task(id).names.is_empty();
    }

    fn switch_out(
        &mut self,
        id: TaskId,
        time: Nanos,
        on: Cpu,
        last: Nanos,
        tainted: bool,
        state: SwitchState,
    ) {
        self.fill_gap(id, time);
        let (now, since) = (self.live(id).state, self.live(id).since);
        if now != State::Running {
            // It was on this CPU, at the latest now.
            match now {
                State::Unknown(UnknownReason::BeforeFirstEvent) if !tainted => {
                    // The first switch of this CPU: it ran from the beginning.
                    let start = if last == Nanos::ZERO { self.first.unwrap_or(time) } else { last };
                    self.enter(id, start.max(since), State::Running, on, None, true);
                }
                State::Unknown(_) => {}
                State::Running | State::Runnable | State::Blocked(_) | State::New | State::Dead => {
                    if tainted {
                        self.enter(
                            id,
                            last,
                            State::Unknown(UnknownReason::LostEvents),
                            on,
                            None,
                            false,
                        );
                    } else {
                        self.count(Problem::ImpliedSwitchIn, on, time);
                        self.enter(id, last.max(since), State::Running, on, None, true);
                    }
                }
            }
        }
        self.went_on(id, time);
        let held = self.live(id).held.take();
        if state.is_dead() {
            self.close_all(id, time, false);
            self.enter(id, time, State::Dead, on, None, false);
        } else if state == SwitchState::Runnable {
            self.enter(id, time, State::Runnable, on, None, false);
        } else {
            self.slept(id, time);
            match held {
                // The wakeup came first: runnable at once, woken by that waker.
                Some(wake) => self.enter(id, time, State::Runnable, on, Some(wake), false),
                None => self.enter(id, time, State::Blocked(state), on, None, false),
            }
        }
    }

    fn switch_in(&mut self, id: TaskId, time: Nanos, on: Cpu) {
        let inferred = match self.live(id).state {
            State::Blocked(_) => {
                self.count(Problem::MissingWakeup, on, time);
                let since = self.live(id).since;
                if self.lost_during(since, time) {
                    self.live(id).enter(Span {
                        start: time,
                        state: State::Running,
                        cpu: on,
                        wake: None,
                        inferred: true,
                    });
                    let lost = State::Unknown(UnknownReason::LostEvents);
                    self.live(id).states.set_state(1, lost);
                }
                true
            }
            State::Running => {
                // It was believed to run elsewhere: it left there unseen.
                let since = self.live(id).cpu;
                if since != on {
                    let left = self.cpu(since).last;
                    self.cpu(since).current = None;
                    self.enter(
                        id,
                        left.min(time),
                        State::Unknown(UnknownReason::NoSwitch),
                        Cpu::NONE,
                        None,
                        true,
                    );
                }
                false
            }
            State::Unknown(_) | State::Runnable | State::New | State::Dead => false,
        };
        self.enter(id, time, State::Running, on, None, inferred);
    }

    pub(super) fn lost_during(&self, from: Nanos, to: Nanos) -> bool {
        self.model.lost.iter().rev().take(64).any(|lost| lost.overlaps(from, to))
    }

    pub(super) fn context_switch(&mut self, event: &Event<'_>, out: bool, preempt: bool) {
        let Some(id) = self.lookup(event.tid) else { return };
        if out {
            self.slept(id, event.time);
            let state = if preempt { State::Runnable } else { State::Blocked(SwitchState::Other) };
            self.enter(id, event.time, state, event.cpu, None, false);
            self.cpu(event.cpu).current = None;
        } else {
            self.enter(id, event.time, State::Running, event.cpu, None, false);
            self.cpu(event.cpu).current = Some(Some(id));
        }
    }

    #[inline(never)]
    pub(super) fn sched(&mut self, event: &Event<'_>, current: Option<TaskId>, sched: &Sched<'_>) {
        let time = event.time;
        match sched {
            Sched::SchedMoveNuma(e) => self.balanced(time, e.pid, BalancingKind::Moved),
            Sched::SchedStickNuma(e) => self.balanced(time, e.src_pid, BalancingKind::Stuck),
            Sched::SchedSwapNuma(e) => {
                self.balanced(time, e.src_pid, BalancingKind::Swapped);
                self.balanced(time, e.dst_pid, BalancingKind::Swapped);
            }
            Sched::SchedSkipVmaNuma(_) => {
                self.balanced(time, event.tid, BalancingKind::SkippedMapping);
            }
            Sched::SchedSkipCpusetNuma(e) => {
                self.balanced(time, e.pid, BalancingKind::SkippedTask);
            }
            // Handled before anybody was taken for current.
            Sched::SchedSwitch(switch) => self.switch(event, switch),
            Sched::SchedWaking(e) => self.waking(event, current, e.pid, e.comm),
            Sched::SchedWakeup(e) => {
                if !self.waking_recorded {
                    self.waking(event, current, e.pid, e.comm);
                } else if let Some(id) = self.lookup(e.pid) {
                    let live = self.live(id);
                    if live.state == State::Runnable {
                        live.states.set_cpu(e.target_cpu);
                    }
                }
            }
            Sched::SchedWakeupNew(e) => {
                if let Some(id) = self.lookup(e.pid) {
                    self.name(id, time, e.comm);
                    let source = current.map_or(WakeSource::Unknown, WakeSource::Task);
                    let wake = self.add_wake(Wake {
                        time,
                        wakee: id,
                        current,
                        source,
                        cpu: event.cpu,
                        birth: true,
                        file_call: true,
                    });
                    self.enter(id, time, State::Runnable, e.target_cpu, Some(wake), false);
                }
            }
            Sched::SchedMigrateTask(e) => {
                if let Some(id) = self.lookup(e.pid) {
                    self.task(id).migrations.push((time, e.orig_cpu, e.dest_cpu));
                }
            }
            Sched::TaskNewtask(e) => {
                let thread = is_thread(e.clone_flags);
                // perf's own record of this fork comes just before.
                let known = self.by_tid.get(&e.pid).copied().filter(|id| self.just_born(*id, time));
                let id = match known {
                    Some(id) => {
                        self.task(id).rename(time, e.comm);
                        self.enter_clone(id, current, time);
                        id
                    }
                    None => self.born(time, current, e.pid, e.comm),
                };
                self.task(id).is_thread = Some(thread);
                if let Some(parent) = current {
                    let copied = std::mem::take(&mut self.live(parent).copied);
                    let copied = copied.iter().fold(0, |sum: u64, part| sum.saturating_add(*part));
                    self.task(id).copied = (copied > 0).then_some(copied);
                }
                // CLONE_VFORK
                self.task(id).vfork = e.clone_flags.0 & 0x4000 != 0;
                if let Some(parent) = current {
                    let pid = self.task(parent).pid;
                    if thread {
                        self.set_pid(id, pid);
                        self.mark_thread_clone(parent);
                    } else {
                        self.set_pid(id, Pid(e.pid.0));
                        self.files.forked(pid, Pid(e.pid.0));
                        if !shares_files(e.clone_flags) {
                            self.fds.forked(pid, Pid(e.pid.0));
                        }
                    }
                }
            }
            Sched::SchedProcessFork(e) => {
                let parent = self.lookup(e.parent_pid);
                let known = self.by_tid.get(&e.child_pid).copied();
                if known.is_none_or(|id| {
                    self.task(id).birth.is_none_or(|b| time - b >= Nanos(10_000_000))
                }) {
                    self.born(time, parent, e.child_pid, e.child_comm);
                }
            }
            Sched::SchedPrepareExec(e) => {
                if let Some(id) = current {
                    // A script's interpreter takes its place (fs/binfmt_script.c).
                    let script = e.interp != e.filename;
                    let interp = script.then(|| e.interp.to_text());
                    self.task(id).prepared.push((time, interp));
                }
            }
            Sched::SchedProcessWait(_) | Sched::SignalGenerate(_) => {}
            Sched::SchedProcessExec(e) => {
                self.exec(time, event.cpu, e.pid, e.old_pid, e.filename.to_text())
            }
            Sched::SchedProcessExit(e) => {
                if let Some(id) = self.lookup(e.pid) {
                    self.task(id).exit = Some(time);
                    self.push_op(id, time, OpKind::Exit);
                    let (pid, thread) = (self.task(id).pid, self.task(id).is_thread);
                    if thread != Some(true) {
                        self.fds.exited(pid);
                        self.files.gone(pid);
                    }
                }
            }
            Sched::TaskRename(e) => {
                let id = e.pid.and_then(|pid| self.lookup(pid)).or(current);
                if let Some(id) = id {
                    self.task(id).rename(time, e.newcomm);
                }
            }
        }
    }

    fn balanced(&mut self, time: Nanos, tid: Tid, kind: BalancingKind) {
        if let Some(task) = self.lookup(tid) {
            self.model.balancing.push(Balancing { time, task, kind });
        }
    }

    fn mark_thread_clone(&mut self, parent: TaskId) {
        let live = self.live(parent);
        for open in &live.stack {
            live.ops.edit_call(*open, |call| call.thread = true);
        }
    }

    fn born(&mut self, time: Nanos, parent: Option<TaskId>, tid: Tid, comm: Comm) -> TaskId {
        let id = self.add_task(tid, time, State::New);
        self.task(id).birth = Some(time);
        self.task(id).parent = parent;
        self.task(id).rename(time, comm);
        self.enter_clone(id, parent, time);
        id
    }

    /// Whether the task was born moments ago and has not run since.
    fn just_born(&mut self, id: TaskId, time: Nanos) -> bool {
        self.live(id).state == State::New
            && self.task(id).birth.is_some_and(|birth| time - birth < Nanos(10_000_000))
    }

    /// The child leaves its parent's call without having entered it (EVENTS 2.2).
    fn enter_clone(&mut self, id: TaskId, parent: Option<TaskId>, time: Nanos) {
        let call = parent.and_then(|parent| self.open_syscall(parent));
        if let Some(nr) = call.map(|call| call.nr)
            && self.class(nr) == SyscallClass::Fork
        {
            let mut child = SyscallOp::new(nr, &agenttrace_parse::Args::default());
            child.no_entry = true;
            self.push_op(id, time, OpKind::Syscall(child));
        }
    }

    /// The innermost call that a task is in.
    pub(super) fn open_syscall(&mut self, id: TaskId) -> Option<SyscallOp> {
        self.live(id).open_call().map(|(_, call)| call)
    }

    /// Whether a task that is seen on `old`'s CPU is its dead leader: `old`, inside an
    /// exec, has become it.
    pub(super) fn takes_over(&mut self, old: TaskId, id: TaskId) -> bool {
        let (pid, leader) = (self.live(old).pid, self.live(id));
        let dead_leader = leader.state == State::Dead && leader.pid == pid && leader.tid.0 == pid.0;
        dead_leader
            && self.open_syscall(old).is_some_and(|call| self.class(call.nr) == SyscallClass::Exec)
    }

    /// A thread that is not the leader takes over the leader's id with no switch
    /// (EVENTS 1.7): what it had open goes on there.
    pub(super) fn take_over(&mut self, time: Nanos, cpu: Cpu, from: TaskId, id: TaskId) {
        let call = self.open_syscall(from);
        self.close_all(from, time, false);
        self.enter(from, time, State::Dead, cpu, None, false);
        self.close_all(id, time, false);
        self.enter(id, time, State::Running, cpu, None, false);
        self.cpu(cpu).current = Some(Some(id));
        self.task(id).exit = None;
        if let Some(mut call) = call {
            call.continued = true;
            self.push_op(id, time, OpKind::Syscall(call));
        }
    }

    fn exec(&mut self, time: Nanos, cpu: Cpu, tid: Tid, old: Tid, path: String) {
        let (Some(id), Some(from)) = (self.lookup(tid), self.lookup(old)) else { return };
        // An event of the new leader may have told so before.
        if id != from && self.live(from).state != State::Dead {
            self.take_over(time, cpu, from, id);
        }
        let pid = self.task(id).pid;
        self.fds.executed(pid);
        self.files.gone(pid);
        self.task(id).execs.push((time, path));
    }

    fn waking(&mut self, event: &Event<'_>, current: Option<TaskId>, tid: Tid, comm: CommBytes) {
        let Some(id) = self.lookup(tid) else { return };
        let time = event.time;
        self.name(id, time, comm);
        let state = self.live(id).state;
        match state {
            State::Runnable | State::Dead | State::New => return,
            State::Running | State::Blocked(_) | State::Unknown(_) => {}
        }
        let source = self.wake_source(event, current, id);
        let file_call = if let WakeSource::Task(waker) = source {
            let open = self.live(waker).open_call();
            // Where none is seen, its entry may lie before the capture; where one begins at this
            // very time, the clock does not tell what came first.
            open.filter(|(entered, _)| *entered < time)
                .is_none_or(|(_, call)| self.model.syscalls.on_file(&call))
        } else {
            false
        };
        let (cpu, birth) = (event.cpu, false);
        let wake = self.add_wake(Wake { time, wakee: id, current, source, cpu, birth, file_call });
        match state {
            State::Running => self.live(id).held = Some(wake),
            State::Unknown(reason) => {
                // Only a blocked task is woken: so it was, since its last change.
                if reason == UnknownReason::BeforeFirstEvent {
                    self.live(id).correct(State::Blocked(SwitchState::Other));
                }
                self.enter(id, time, State::Runnable, Cpu::NONE, Some(wake), false);
            }
            State::Blocked(_) | State::Runnable | State::Dead | State::New => {
                self.enter(id, time, State::Runnable, Cpu::NONE, Some(wake), false);
            }
        }
    }

    /// Law 5: in interrupt context the task that happens to be current is innocent.
    fn wake_source(
        &mut self,
        event: &Event<'_>,
        current: Option<TaskId>,
        wakee: TaskId,
    ) -> WakeSource {
        let interrupt = self.in_interrupt(event);
        let told = event.context.known || self.contexts;
        let cpu = self.cpu(event.cpu);
        let completed = cpu.completed.filter(|(_, at)| event.time - *at <= COMPLETION_REACH);
        // A softirq in ksoftirqd, or in a kworker that completes what it served,
        // is not in interrupt context by the flags of every kernel.
        if let Some((request, _)) = completed {
            return WakeSource::Block(request);
        }
        // Where nothing tells interrupts, who was current is poor evidence against
        // what a sleep waits for: its timer.
        if !interrupt && !told && self.sleeps(wakee) {
            return WakeSource::Timer;
        }
        if !interrupt {
            return current.map_or(WakeSource::Unknown, WakeSource::Task);
        }
        let sending = current.is_some_and(|id| self.sends(id));
        let cpu = self.cpu(event.cpu);
        let timer = cpu.timer.is_some();
        let packet = cpu.packet;
        let innermost = cpu.irqs.last().copied();
        let device = cpu
            .irqs
            .iter()
            .rev()
            .find_map(|irq| if let OpKind::Irq(name) = irq { Some(*name) } else { None });
        let hardirq = if told {
            event.context.hardirq()
        } else {
            matches!(innermost, Some(OpKind::Irq(_) | OpKind::LocalTimer))
        };
        match (packet, innermost) {
            (Some(false), _) => return WakeSource::Network,
            (Some(true), _) | (None, Some(OpKind::Softirq(3))) if !hardirq => {
                // Loopback runs inside the sender's own send.
                return match (sending, current, packet) {
                    (true, Some(id), _) => WakeSource::Task(id),
                    (_, _, Some(true)) => WakeSource::Unknown,
                    _ => WakeSource::Network,
                };
            }
            _ => {}
        }
        if timer || matches!(innermost, Some(OpKind::LocalTimer | OpKind::Softirq(1 | 8))) {
            return WakeSource::Timer;
        }
        if let Some(name) = device {
            return WakeSource::Interrupt(name);
        }
        // Without interrupt events, a soft interrupt inside a send is loopback's.
        if !hardirq
            && sending
            && innermost.is_none()
            && let Some(id) = current
        {
            return WakeSource::Task(id);
        }
        WakeSource::Unknown
    }

    /// Whether the task is inside a call that only its timer, or a signal, ends.
    fn sleeps(&mut self, id: TaskId) -> bool {
        self.open_syscall(id).is_some_and(|call| self.class(call.nr) == SyscallClass::Sleep)
    }

    /// Whether the task is inside a call that sends on a socket, or ends a connection.
    fn sends(&mut self, id: TaskId) -> bool {
        let Some(call) = self.open_syscall(id) else { return false };
        match self.class(call.nr) {
            SyscallClass::SocketSend => true,
            SyscallClass::Write => call.fd.is_socket() || call.fd == crate::op::FdKind::Unknown,
            // close(2) of a socket, and the teardown of an exiting task.
            SyscallClass::Metadata => call.fd.is_socket(),
            SyscallClass::Exit => true,
            SyscallClass::Durability
            | SyscallClass::Read
            | SyscallClass::Fork
            | SyscallClass::Exec
            | SyscallClass::WaitChild
            | SyscallClass::Futex
            | SyscallClass::Poll
            | SyscallClass::Sleep
            | SyscallClass::SocketReceive
            | SyscallClass::Prctl
            | SyscallClass::IoUring
            | SyscallClass::Other => false,
        }
    }
}
