//! Events to the model: the only match over every event, one arm for each subsystem.

mod block;
mod fault;
mod finish;
mod fs;
mod irq;
mod lock;
mod marker;
mod net;
mod reclaim;
mod record;
mod sched;
mod spill;
mod syscall;
mod tlb;
mod uring;

use agenttrace_parse::events::{self, Event, Kind};
use agenttrace_parse::{CaptureInfo, Cpu, Diagnostics, Nanos, Problem, Tid};
use rustc_hash::FxHashMap;

use crate::commit::JournalTracker;
use crate::fd::{FdCall, FdTables};
use crate::file_io::FileIo;
use crate::files::Files;
use crate::marks::RawMark;
use crate::model::{CacheEvent, Captured, LostInterval, Model};
use crate::op::{FaultOp, Op, OpKind, SyscallOp};
use crate::request::RequestTracker;
use crate::syscall_table::{SyscallClass, SyscallTable};
use crate::task::{Span, State, Task, TaskId, UnknownReason, Wake, WakeId};
use crate::uring::UringTracker;

/// What is known of one CPU at this point of the capture.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuState {
    /// The task on it; `None`: not known. The idle task is `Some(None)`.
    current: Option<Option<TaskId>>,
    /// Time of its last record.
    last: Nanos,
    /// Since when its records are incomplete.
    tainted: Option<Nanos>,
    /// Interrupts in progress, the innermost last.
    irqs: Vec<OpKind>,
    /// The outermost of them in the model's list.
    outermost: Option<usize>,
    /// The last completed request, and when, until a task runs on.
    completed: Option<(u32, Nanos)>,
    /// A timer fired in the interrupt in progress.
    timer: Option<Nanos>,
    /// Functions that other CPUs asked it to call.
    calls: tlb::CpuCalls,
    /// The device of the last packet in the soft interrupt in progress: loopback or not.
    packet: Option<bool>,
}

/// An operation in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Its place among the task's operations, where it is written when it ends.
    index: usize,
    op: Op,
}

/// An operation that has just ended, and whose way out is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    index: usize,
    end: Nanos,
    /// A fault; else a call.
    fault: bool,
}

/// What is being followed of a task while the capture is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskState {
    tid: Tid,
    /// A later task has the same thread id.
    replaced: bool,
    /// Open operations, outermost first.
    stack: Vec<Open>,
    /// The last operation that ended, until the task's next event.
    ended: Option<Ended>,
    /// Arguments of the open system call.
    args: agenttrace_parse::Args,
    /// A wakeup that came while the task was still on its CPU.
    held: Option<WakeId>,
    /// Last evidence of being inside the open fault.
    fault_evidence: Option<Nanos>,
    /// The open fault slept.
    fault_slept: bool,
    /// Which CPU it was last seen on.
    cpu: Cpu,
    /// The last value of `agent_step_id` seen.
    step_field: u64,
    /// The file whose pages or blocks it last looked up, and when.
    looked_up: Option<(u32, Nanos)>,
    /// The file whose dirty pages it submits.
    writing_back: Option<u32>,
    /// Since when it has held requests back.
    plugged: Nanos,
    /// The last call returned a restart code.
    restarting: Option<i32>,
    /// Bytes that the fork in progress has copied the page tables of, by kind of page.
    copied: [u64; 4],
    /// The pause for dirty memory that it is in.
    pause: Option<reclaim::OpenPause>,
    /// The TLB flush that it waits for other CPUs with.
    flush: Option<tlb::OpenFlush>,
}

/// Builds a [`Model`] from events in time order.
pub struct Builder {
    pub(crate) model: Model,
    pub(crate) live: Vec<TaskState>,
    pub(crate) by_tid: FxHashMap<Tid, TaskId>,
    pub(crate) cpus: Vec<CpuState>,
    pub(crate) fds: FdTables,
    pub(crate) files: Files,
    pub(crate) requests: RequestTracker,
    pub(crate) journals: JournalTracker,
    pub(crate) file_io: FileIo,
    /// For each of the model's shootdowns when its sender was seen to go on; else the maximum.
    pub(crate) passed: Vec<Nanos>,
    pub(crate) uring: UringTracker,
    pub(crate) fd_calls: Vec<Option<FdCall>>,
    pub(crate) waking_recorded: bool,
    /// Calls between CPUs tell when a wait for them ends.
    pub(crate) calls_recorded: bool,
    /// The format tells which events an interrupt wrote.
    pub(crate) contexts: bool,
    /// What the capture's times are rounded to.
    pub(crate) resolution: Nanos,
    pub(crate) name_ids: FxHashMap<Vec<u8>, u32>,
    pub(crate) exit_gaps: finish::Gaps,
    pub(crate) fault_gaps: finish::Gaps,
    pub(crate) sleepless_gaps: finish::Gaps,
    pub(crate) first: Option<Nanos>,
    pub(crate) last: Nanos,
    spill: Option<spill::Spilling>,
}

/// The largest folio is a huge page of 1 GiB; a larger order in a record is damage.
const MAX_ORDER: u32 = 18;

/// No machine has more; a larger number in a record is damage.
const MAX_CPUS: usize = 8192;

impl TaskState {
    /// Whether this is the task that has this thread id now.
    fn is_latest(&self, tid: Tid) -> bool {
        self.tid == tid && !self.replaced
    }

    /// The innermost open operation of a kind.
    fn innermost(&self, wanted: impl Fn(&OpKind) -> bool) -> Option<&Op> {
        self.stack.iter().rev().map(|open| &open.op).find(|op| wanted(&op.kind))
    }

    /// The same, to change it.
    fn innermost_mut(&mut self, wanted: impl Fn(&OpKind) -> bool) -> Option<&mut Op> {
        self.stack.iter_mut().rev().map(|open| &mut open.op).find(|op| wanted(&op.kind))
    }

    /// The innermost open call.
    fn call(&self) -> Option<&SyscallOp> {
        self.stack.iter().rev().find_map(|open| {
            if let OpKind::Syscall(call) = &open.op.kind { Some(call) } else { None }
        })
    }

    /// The same, to change it.
    fn call_mut(&mut self) -> Option<&mut SyscallOp> {
        self.stack.iter_mut().rev().find_map(|open| {
            if let OpKind::Syscall(call) = &mut open.op.kind { Some(call) } else { None }
        })
    }

    /// The innermost open fault.
    fn fault_mut(&mut self) -> Option<&mut FaultOp> {
        self.stack.iter_mut().rev().find_map(|open| {
            if let OpKind::Fault(fault) = &mut open.op.kind { Some(fault) } else { None }
        })
    }
}

impl Builder {
    /// For a capture of which `info` tells the event types and the architecture.
    #[must_use]
    pub fn new(info: &CaptureInfo) -> Self {
        let syscalls = SyscallTable::new(info.arch.as_deref());
        let fd_calls = (0..512).map(|nr| FdCall::by_name(&syscalls.name(nr))).collect();
        let captured = Captured::new(info);
        Self {
            contexts: info.fidelity.context,
            resolution: info.fidelity.resolution,
            waking_recorded: captured.has("sched:sched_waking"),
            calls_recorded: captured.has("csd:csd_queue_cpu")
                && captured.has("csd:csd_function_exit"),
            model: Model::new(syscalls, captured),
            live: Vec::new(),
            by_tid: FxHashMap::default(),
            cpus: Vec::new(),
            fds: FdTables::default(),
            files: Files::default(),
            requests: RequestTracker::default(),
            journals: JournalTracker::default(),
            file_io: FileIo::default(),
            passed: Vec::new(),
            uring: UringTracker::default(),
            fd_calls,
            name_ids: FxHashMap::default(),
            exit_gaps: finish::Gaps::default(),
            fault_gaps: finish::Gaps::default(),
            sleepless_gaps: finish::Gaps::default(),
            first: None,
            last: Nanos::ZERO,
            spill: None,
        }
    }

    /// Takes the next events, in time order.
    pub fn push(&mut self, batch: &[Event<'_>]) {
        for event in batch {
            self.event(event);
        }
        self.spill_after(batch.len());
    }

    fn event(&mut self, event: &Event<'_>) {
        if !matches!(event.kind, Kind::Record(_)) {
            self.first.get_or_insert(event.time);
            self.last = self.last.max(event.time);
        }
        match &event.kind {
            Kind::Record(record) => self.record(event, record),
            Kind::Sched(events::Sched::SchedSwitch(switch)) => self.switch(event, switch),
            Kind::Sched(sched) => {
                let current = self.current(event);
                self.sched(event, current, sched);
            }
            // A flush for a task switch is written after the switch, still as the old task.
            Kind::Tlb(events::Tlb::TlbFlush(flush)) if flush.reason == 0 => self.seen(event),
            Kind::Tlb(tlb) => {
                let current = self.current(event);
                self.tlb(event, current, tlb);
            }
            Kind::Reclaim(reclaim) => {
                let current = self.current(event);
                self.reclaim(event, current, reclaim);
            }
            Kind::IoUring(uring) => {
                let current = self.current(event);
                self.io_uring(event, current, uring);
            }
            Kind::Marker(marker) => {
                let current = self.current(event);
                self.marker(event, current, marker);
            }
            Kind::Syscall(call) => {
                if let Some(task) = self.current(event) {
                    self.syscall(event, task, call);
                }
            }
            Kind::Fault(fault) => {
                if let Some(task) = self.current(event) {
                    self.fault(event, task, fault);
                }
            }
            Kind::PageCache(cache) => {
                let current = self.current(event);
                self.page_cache(event, current, cache);
            }
            Kind::Block(block) => {
                let current = self.current(event);
                self.block(event, current, block);
            }
            Kind::Fs(fs) => {
                if let Some(task) = self.current(event) {
                    self.fs(event, task, fs);
                }
            }
            Kind::Lock(lock) => {
                if let Some(task) = self.current(event) {
                    self.lock(event, task, lock);
                }
            }
            Kind::Irq(irq) => {
                let current = self.current(event);
                self.irq(event, current, irq);
            }
            Kind::Net(net) => {
                let current = self.current(event);
                self.net(event, current, net);
            }
        }
    }

    fn page_cache(&mut self, event: &Event<'_>, task: Option<TaskId>, cache: &events::PageCache) {
        let (file, index, order, added) = match cache {
            events::PageCache::MmFilemapAddToPageCache(e) => {
                (self.files.intern(e.s_dev, e.i_ino), e.index, e.order, true)
            }
            events::PageCache::MmFilemapDeleteFromPageCache(e) => {
                (self.files.intern(e.s_dev, e.i_ino), e.index, e.order, false)
            }
            // The lookup's end: no change to the cache.
            events::PageCache::MmFilemapGetPages(_) => return,
        };
        if let Some(id) = task.filter(|_| added && !event.context.interrupt()) {
            self.looked_up(id, file, event.time);
            self.wrote(id, file, event.time);
        }
        self.model.cache.push(CacheEvent {
            time: event.time,
            task,
            file,
            index,
            pages: 1_u64 << order.unwrap_or(0).min(MAX_ORDER),
            added,
        });
    }

    pub(crate) fn cpu(&mut self, cpu: Cpu) -> &mut CpuState {
        let index = (cpu.0 as usize).min(MAX_CPUS);
        if self.cpus.len() <= index {
            self.cpus.resize(index + 1, CpuState::default());
        }
        // The resize above made the index valid.
        #[expect(clippy::indexing_slicing, reason = "resized to hold this index just above")]
        &mut self.cpus[index]
    }

    pub(crate) fn task(&mut self, id: TaskId) -> &mut Task {
        #[expect(
            clippy::indexing_slicing,
            reason = "ids are made by add_task only, and tasks are never removed"
        )]
        &mut self.model.tasks[id.0 as usize]
    }

    pub(crate) fn live(&mut self, id: TaskId) -> &mut TaskState {
        #[expect(
            clippy::indexing_slicing,
            reason = "ids are made by add_task only, and tasks are never removed"
        )]
        &mut self.live[id.0 as usize]
    }

    /// The task with this id now; makes one that was there before the capture.
    pub(crate) fn lookup(&mut self, tid: Tid) -> Option<TaskId> {
        if !tid.is_task() {
            return None;
        }
        if let Some(id) = self.by_tid.get(&tid) {
            return Some(*id);
        }
        Some(self.add_task(tid, Nanos::ZERO, State::Unknown(UnknownReason::BeforeFirstEvent)))
    }

    pub(crate) fn add_task(&mut self, tid: Tid, start: Nanos, state: State) -> TaskId {
        let id = TaskId(u32::try_from(self.model.tasks.len()).unwrap_or(u32::MAX));
        self.model.tasks.push(Task::new(tid, start, state));
        self.live.push(TaskState { tid, cpu: Cpu::NONE, ..TaskState::default() });
        if let Some(before) = self.by_tid.insert(tid, id) {
            self.live(before).replaced = true;
        }
        id
    }

    fn seen(&mut self, event: &Event<'_>) {
        self.cpu(event.cpu).last = event.time;
    }

    /// The task on whose CPU the event was written; inserts the switch that
    /// must have happened where none was recorded (EVENTS 11).
    fn current(&mut self, event: &Event<'_>) -> Option<TaskId> {
        let interrupt = self.in_interrupt(event);
        let cpu = self.cpu(event.cpu);
        let (before, last) = (cpu.current, cpu.last);
        cpu.last = event.time;
        if event.tid.0 < 0 {
            return None;
        }
        if !interrupt {
            // A task runs on: what an interrupt did before is over.
            cpu.timer = None;
            cpu.packet = None;
            cpu.completed = None;
        }
        // Nearly always it is still the task that was there before.
        let task = match before {
            Some(Some(id)) if self.live(id).is_latest(event.tid) => Some(id),
            Some(_) | None => self.lookup(event.tid),
        };
        if let (Some(Some(old)), Some(id)) = (before, task)
            && old != id
            && self.takes_over(old, id)
        {
            self.take_over(event.time, event.cpu, old, id);
        } else if before != Some(task) {
            self.cpu(event.cpu).current = Some(task);
            if let Some(Some(old)) = before
                && self.task(old).last().state == State::Running
                && self.live(old).cpu == event.cpu
            {
                // It left this CPU unseen, some time after its last record here.
                self.enter(
                    old,
                    last,
                    State::Unknown(UnknownReason::NoSwitch),
                    Cpu::NONE,
                    None,
                    true,
                );
            }
            if let Some(id) = task {
                self.imply_running(id, event.time, event.cpu);
            }
        } else if let Some(id) = task
            && self.task(id).last().state != State::Running
        {
            self.imply_running(id, event.time, event.cpu);
        }
        if let Some(id) = task {
            self.fill_gap(id, event.time);
            if self.live(id).flush.is_some() && !interrupt && !matches!(event.kind, Kind::Tlb(_)) {
                self.went_on(id, event.time);
            }
            self.task(id).recorded.push(event.time);
        }
        task
    }

    /// Whether an interrupt wrote the event. Where the format does not tell, the
    /// interrupts that were seen to begin do; and a wakeup right after a completion,
    /// a timer or a packet is of that, whether its interrupt's entry was recorded or not.
    pub(crate) fn in_interrupt(&mut self, event: &Event<'_>) -> bool {
        if event.context.known || self.contexts {
            return event.context.interrupt();
        }
        let wakes = matches!(
            event.kind,
            Kind::Sched(events::Sched::SchedWaking(_) | events::Sched::SchedWakeup(_))
        );
        let cpu = self.cpu(event.cpu);
        let cause = cpu.completed.is_some() || cpu.timer.is_some() || cpu.packet.is_some();
        !cpu.irqs.is_empty() || (wakes && cause)
    }

    fn imply_running(&mut self, id: TaskId, time: Nanos, cpu: Cpu) {
        let last = self.task(id).last();
        if last.state == State::Running {
            // Known to run, on another CPU: it moved unseen.
            self.live(id).cpu = cpu;
            self.enter(id, time, State::Running, cpu, None, true);
            return;
        }
        let first_seen = last.state == State::Unknown(UnknownReason::BeforeFirstEvent);
        if matches!(last.state, State::Blocked(_)) {
            self.count(Problem::MissingWakeup, cpu, time);
            if self.lost_during(last.start, time) {
                // When it was woken, and whether it ran meanwhile, was lost.
                let lost = State::Unknown(UnknownReason::LostEvents);
                self.task(id).states.set_state(0, lost);
            }
        }
        if !first_seen {
            self.count(Problem::ImpliedSwitchIn, cpu, time);
        }
        self.enter(id, time, State::Running, cpu, None, !first_seen);
    }

    pub(crate) fn count(&mut self, problem: Problem, cpu: Cpu, time: Nanos) {
        self.model.diagnostics.add(problem, cpu, 1, Some(time), None);
    }

    pub(crate) fn enter(
        &mut self,
        id: TaskId,
        start: Nanos,
        state: State,
        cpu: Cpu,
        wake: Option<WakeId>,
        inferred: bool,
    ) {
        if state == State::Running {
            let live = self.live(id);
            live.cpu = cpu;
            if live.pause.is_some_and(|pause| pause.asleep) {
                self.end_pause(id, start, inferred);
            }
        }
        self.task(id).enter(Span { start, state, cpu, wake, inferred });
    }

    pub(crate) fn push_op(&mut self, id: TaskId, time: Nanos, kind: OpKind) -> usize {
        let index = self.task(id).ops.open(time);
        let stack = &mut self.live(id).stack;
        let parent = stack.last().map(|open| open.index);
        stack.push(Open { index, op: Op::new(time, parent, kind) });
        index
    }

    /// Closes the innermost open operation that `wanted` accepts, and what is
    /// open inside it. Returns its index.
    pub(crate) fn close_op(
        &mut self,
        id: TaskId,
        time: Nanos,
        wanted: impl Fn(&OpKind) -> bool,
    ) -> Option<usize> {
        let position = self.live(id).stack.iter().rposition(|open| wanted(&open.op.kind))?;
        while self.live(id).stack.len() > position + 1 {
            if let Some(inner) = self.live(id).stack.pop() {
                self.end_op(id, inner, time, true);
            }
        }
        let open = self.live(id).stack.pop()?;
        let end = self.end_op(id, open, time, false);
        let fault = matches!(open.op.kind, OpKind::Fault(_));
        let measured = fault || matches!(open.op.kind, OpKind::Syscall(_));
        let index = open.index;
        self.live(id).ended = measured.then_some(Ended { index, end, fault });
        Some(index)
    }

    fn end_op(&mut self, id: TaskId, mut open: Open, time: Nanos, estimated: bool) -> Nanos {
        open.op.end = time.max(open.op.start);
        open.op.estimated = estimated;
        self.task(id).ops.set(open.index, &open.op);
        open.op.end
    }

    /// Closes everything that is open: the task died, or its records were lost.
    pub(crate) fn close_all(&mut self, id: TaskId, time: Nanos, estimated: bool) {
        while let Some(open) = self.live(id).stack.pop() {
            self.end_op(id, open, time, estimated);
        }
    }

    pub(crate) fn name_id(&mut self, name: &[u8]) -> u32 {
        if let Some(id) = self.name_ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.model.names.len()).unwrap_or(u32::MAX);
        self.model.names.push(String::from_utf8_lossy(name).into_owned());
        self.name_ids.insert(name.to_vec(), id);
        id
    }

    pub(crate) fn add_wake(&mut self, wake: Wake) -> WakeId {
        self.model.wakes.push(wake)
    }

    pub(crate) fn mark(&mut self, mark: RawMark) {
        self.model.marks.push(mark);
    }

    pub(crate) fn lost(&mut self, cpu: Cpu, time: Nanos) {
        let state = self.cpu(cpu);
        let from = *state.tainted.get_or_insert(state.last);
        state.completed = None;
        state.irqs.clear();
        let current = state.current.take().flatten();
        // Lost before its first record: nothing of it is known since the capture began.
        let from = if from == Nanos::ZERO { self.first.unwrap_or(time) } else { from };
        self.model.lost.push(LostInterval { cpu, from, to: Nanos::MAX });
        if let Some(id) = current {
            self.close_all(id, from, true);
            self.live(id).flush = None;
            self.enter(id, from, State::Unknown(UnknownReason::LostEvents), Cpu::NONE, None, false);
        }
        // Whoever was queued there may have run and gone meanwhile.
        for index in 0..self.live.len() {
            let id = TaskId(u32::try_from(index).unwrap_or(u32::MAX));
            if self.live(id).cpu == cpu && self.task(id).last().state == State::Runnable {
                self.enter(
                    id,
                    from,
                    State::Unknown(UnknownReason::LostEvents),
                    Cpu::NONE,
                    None,
                    false,
                );
            }
        }
    }

    pub(crate) fn class(&self, nr: i32) -> SyscallClass {
        self.model.syscalls.class(nr)
    }

    /// Counted problems so far; the finished model holds them all.
    #[must_use]
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.model.diagnostics
    }
}

#[cfg(test)]
mod tests;
