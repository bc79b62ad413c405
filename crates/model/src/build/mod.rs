//! Events to the model: the only match over every event, one arm for each subsystem.

mod block;
mod fault;
mod finish;
mod forget;
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
use agenttrace_parse::{Args, CaptureInfo, Cpu, Diagnostics, Nanos, Pid, Problem, Tid};
use rustc_hash::FxHashMap;

use crate::commit::JournalTracker;
use crate::fd::{self, FdCall, FdTables};
use crate::file_io::FileIo;
use crate::files::Files;
use crate::marks::RawMark;
use crate::model::{CacheEvent, Captured, LostInterval, Model};
use crate::op::{Op, OpKind, SyscallOp};
use crate::ops::Ops;
use crate::recorded::Recorded;
use crate::request::RequestTracker;
use crate::runs::MAX_CPUS;
use crate::scratch::Spill;
use crate::spans::Spans;
use crate::syscall_table::{SyscallClass, SyscallTable};
use crate::task::{Span, State, Task, TaskId, UnknownReason, Wake, WakeId};
use crate::uring::UringTracker;
use finish::Gaps;
pub use forget::Beginning;
use forget::Forgets;

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

/// An operation that has just ended, and whose way out is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    index: usize,
    end: Nanos,
    /// A fault; else a call.
    fault: bool,
}

/// What is being followed of a task while the capture is read. What nearly every event looks
/// at comes first and together: tasks are many, and each event is of another one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TaskState {
    tid: Tid,
    /// Its process, as in the model.
    pid: Pid,
    /// Which CPU it was last seen on.
    cpu: Cpu,
    /// Its state, and since when: its last span.
    state: State,
    /// A later task has the same thread id.
    replaced: bool,
    /// It surely has a name.
    named: bool,
    /// The open fault slept.
    fault_slept: bool,
    /// All its calls are kept ([`forget`]).
    keeps_calls: bool,
    /// Its last call is.
    keeps_call: bool,
    since: Nanos,
    /// Open operations, outermost first: their places in `ops`.
    stack: Vec<usize>,
    /// The last operation that ended, until the task's next event.
    ended: Option<Ended>,
    /// What becomes [`Task::ops`], [`Task::recorded`] and [`Task::states`].
    ops: Ops,
    recorded: Recorded,
    /// Where its process's fds were looked up last.
    fds: fd::Place,
    /// The last call returned a restart code.
    restarting: Option<i32>,
    /// The last value of `agent_step_id` seen.
    step_field: u64,
    /// Arguments of the open system call.
    args: Args,
    states: Spans,
    /// A wakeup that came while the task was still on its CPU.
    held: Option<WakeId>,
    /// The TLB flush that it waits for other CPUs with.
    flush: Option<tlb::OpenFlush>,
    /// The pause for dirty memory that it is in.
    pause: Option<reclaim::OpenPause>,
    /// Last evidence of being inside the open fault.
    fault_evidence: Option<Nanos>,
    /// The file whose pages or blocks it last looked up, and when.
    looked_up: Option<(u32, Nanos)>,
    /// The file whose dirty pages it submits.
    writing_back: Option<u32>,
    /// Since when it has held requests back.
    plugged: Nanos,
    /// Bytes that the fork in progress has copied the page tables of, by kind of page.
    copied: [u64; 4],
}

impl CpuState {
    /// A task runs on: what an interrupt did before is over.
    #[inline]
    fn runs_on(&mut self) {
        self.timer = None;
        self.packet = None;
        self.completed = None;
    }
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
    pub(crate) exit_gaps: Gaps,
    pub(crate) fault_gaps: Gaps,
    pub(crate) sleepless_gaps: Gaps,
    pub(crate) first: Option<Nanos>,
    pub(crate) last: Nanos,
    spill: Option<spill::Spilling>,
    forgets: Forgets,
}

/// The largest folio is a huge page of 1 GiB; a larger order in a record is damage.
const MAX_ORDER: u32 = 18;

impl TaskState {
    /// The rows of which there are many, to be moved.
    fn rows(&mut self) -> [&mut dyn Spill; 4] {
        let [blocks, gaps] = self.recorded.rows();
        [self.ops.rows(), self.states.rows(), blocks, gaps]
    }

    fn new(tid: Tid, start: Nanos, state: State) -> Self {
        let mut states = Spans::default();
        states.push(Span { start, state, cpu: Cpu::NONE, wake: None, inferred: false });
        Self {
            tid,
            pid: Pid(tid.0),
            cpu: Cpu::NONE,
            state,
            replaced: false,
            named: false,
            fault_slept: false,
            keeps_calls: false,
            keeps_call: false,
            since: start,
            stack: Vec::new(),
            ended: None,
            ops: Ops::default(),
            recorded: Recorded::default(),
            fds: fd::Place::default(),
            restarting: None,
            step_field: 0,
            args: Args::default(),
            states,
            held: None,
            flush: None,
            pause: None,
            fault_evidence: None,
            looked_up: None,
            writing_back: None,
            plugged: Nanos::ZERO,
            copied: [0; 4],
        }
    }

    /// Whether this is the task that has this thread id now.
    #[inline]
    fn is_latest(&self, tid: Tid) -> bool {
        self.tid == tid && !self.replaced
    }

    /// Begins a new state. A span of no length is replaced.
    fn enter(&mut self, span: Span) {
        let start = span.start.max(self.since);
        let span = Span { start, ..span };
        if start == self.since {
            self.states.set_last(span);
        } else {
            self.states.push(span);
        }
        (self.state, self.since) = (span.state, start);
    }

    /// The state that it is in is another one than was thought.
    fn correct(&mut self, state: State) {
        self.states.set_state(0, state);
        self.state = state;
    }

    /// Begins an operation inside those that are open.
    #[inline(always)]
    fn open(&mut self, time: Nanos, kind: OpKind) -> usize {
        let index = self.ops.push(&Op::new(time, self.stack.last().copied(), kind));
        self.stack.push(index);
        index
    }

    /// Closes an open operation, and what is open inside it. Returns its index.
    #[inline]
    fn close(&mut self, position: usize, time: Nanos) -> Option<usize> {
        while self.stack.len() > position + 1
            && let Some(inner) = self.stack.pop()
        {
            self.ops.close(inner, time, true);
        }
        let index = self.stack.pop()?;
        let end = self.ops.close(index, time, false)?;
        let call = self.ops.is_call(index);
        let measured = call || self.ops.is_fault(index);
        self.ended = measured.then_some(Ended { index, end, fault: !call });
        Some(index)
    }

    /// The innermost open operation of a kind.
    fn innermost(&self, wanted: impl Fn(&OpKind) -> bool) -> Option<(usize, Op)> {
        let mut open = self.stack.iter().rev().filter_map(|i| Some((*i, self.ops.get(*i)?)));
        open.find(|(_, op)| wanted(&op.kind))
    }

    /// Where the innermost open call is among those that are open.
    #[inline]
    fn call_at(&self) -> Option<usize> {
        self.stack.iter().rposition(|index| self.ops.is_call(*index))
    }

    /// The innermost open call, and when it was entered.
    #[inline]
    fn open_call(&self) -> Option<(Nanos, SyscallOp)> {
        let op = self.ops.get(*self.stack.get(self.call_at()?)?)?;
        Some((op.start, op.syscall()?))
    }

    /// The innermost open fault.
    #[inline]
    fn fault(&self) -> Option<usize> {
        self.stack.iter().rev().copied().find(|index| self.ops.is_fault(*index))
    }

    /// The first own event after an operation's end tells how long the way out took at most.
    #[inline(always)]
    fn fill_gap(&mut self, time: Nanos, calls: &mut Gaps, faults: &mut Gaps) {
        if let Some(ended) = self.ended.take() {
            let gap = time - ended.end;
            self.ops.set_gap(ended.index, finish::gap_code(gap));
            if ended.fault { faults } else { calls }.add(gap);
        }
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
            exit_gaps: Gaps::default(),
            fault_gaps: Gaps::default(),
            sleepless_gaps: Gaps::default(),
            first: None,
            last: Nanos::ZERO,
            spill: None,
            forgets: Forgets::default(),
        }
    }

    /// Takes the next events, in time order.
    pub fn push(&mut self, batch: &[Event<'_>]) {
        let since = self.model.whole_since;
        if self.last < since {
            let (skimmed, whole) = batch.split_at(batch.partition_point(|e| e.time < since));
            self.take(skimmed);
            if !whole.is_empty() {
                // What followed a call was another one than the next that is left.
                (self.exit_gaps, self.fault_gaps, self.sleepless_gaps) = Default::default();
            }
            self.take(whole);
        } else {
            self.take(batch);
        }
        self.spill_after(batch.len());
    }

    fn take(&mut self, events: &[Event<'_>]) {
        for event in events {
            if !matches!(event.kind, Kind::Record(_)) {
                self.first.get_or_insert(event.time);
                self.last = self.last.max(event.time);
            }
            // Three of four events are calls: asked for first.
            if let Kind::Syscall(call) = &event.kind {
                if let Some(task) = self.current(event) {
                    self.syscall(event, task, call);
                }
            } else {
                self.other(event);
            }
        }
    }

    #[inline(never)]
    fn other(&mut self, event: &Event<'_>) {
        self.keep_call(event);
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
            // Taken before.
            Kind::Syscall(_) => {}
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

    #[inline(never)]
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

    #[inline]
    pub(crate) fn cpu(&mut self, cpu: Cpu) -> &mut CpuState {
        let index = (cpu.0 as usize).min(MAX_CPUS);
        if self.cpus.len() <= index {
            self.more_cpus(index + 1);
        }
        // The resize above made the index valid.
        #[expect(clippy::indexing_slicing, reason = "resized to hold this index just above")]
        &mut self.cpus[index]
    }

    #[cold]
    fn more_cpus(&mut self, count: usize) {
        self.cpus.resize(count, CpuState::default());
    }

    pub(crate) fn task(&mut self, id: TaskId) -> &mut Task {
        #[expect(
            clippy::indexing_slicing,
            reason = "ids are made by add_task only, and tasks are never removed"
        )]
        &mut self.model.tasks[id.0 as usize]
    }

    #[inline]
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
        self.model.tasks.push(Task::new(tid));
        let mut live = TaskState::new(tid, start, state);
        live.keeps_calls = self.forgets.none_of(tid);
        if self.sparing() {
            live.rows().into_iter().for_each(Spill::spare);
        }
        self.live.push(live);
        if let Some(before) = self.by_tid.insert(tid, id) {
            self.live(before).replaced = true;
        }
        id
    }

    /// Notes a task's process.
    pub(crate) fn set_pid(&mut self, id: TaskId, pid: Pid) {
        self.task(id).pid = pid;
        self.live(id).pid = pid;
    }

    fn seen(&mut self, event: &Event<'_>) {
        self.cpu(event.cpu).last = event.time;
    }

    /// The task on whose CPU the event was written.
    #[inline(always)]
    fn current(&mut self, event: &Event<'_>) -> Option<TaskId> {
        // Nearly always it is still the task that was there before, and runs.
        if (event.context.known || self.contexts)
            && let Some(cpu) = self.cpus.get_mut(event.cpu.0 as usize)
            && let Some(Some(id)) = cpu.current
            && let Some(live) = self.live.get_mut(id.0 as usize)
            && live.is_latest(event.tid)
            && live.state == State::Running
            && live.flush.is_none()
        {
            cpu.last = event.time;
            if !event.context.interrupt() {
                cpu.runs_on();
            }
            live.fill_gap(event.time, &mut self.exit_gaps, &mut self.fault_gaps);
            live.recorded.push(event.time);
            return Some(id);
        }
        self.find_current(event)
    }

    /// The same by all that is known; inserts the switch that must have happened where none
    /// was recorded (EVENTS 11).
    #[inline(never)]
    fn find_current(&mut self, event: &Event<'_>) -> Option<TaskId> {
        let interrupt = self.in_interrupt(event);
        let cpu = self.cpu(event.cpu);
        let (before, last) = (cpu.current, cpu.last);
        cpu.last = event.time;
        if event.tid.0 < 0 {
            return None;
        }
        if !interrupt {
            cpu.runs_on();
        }
        let task = self.of_cpu(before, event.tid);
        if let (Some(Some(old)), Some(id)) = (before, task)
            && old != id
            && self.takes_over(old, id)
        {
            self.take_over(event.time, event.cpu, old, id);
        } else if before != Some(task) {
            self.cpu(event.cpu).current = Some(task);
            if let Some(Some(old)) = before
                && self.live(old).state == State::Running
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
            && self.live(id).state != State::Running
        {
            self.imply_running(id, event.time, event.cpu);
        }
        if let Some(id) = task {
            self.fill_gap(id, event.time);
            if self.live(id).flush.is_some() && !interrupt && !matches!(event.kind, Kind::Tlb(_)) {
                self.went_on(id, event.time);
            }
            self.live(id).recorded.push(event.time);
        }
        task
    }

    /// The task with this id, which is nearly always the one that was on the CPU before.
    #[inline]
    fn of_cpu(&mut self, before: Option<Option<TaskId>>, tid: Tid) -> Option<TaskId> {
        match before {
            Some(Some(id)) if self.live(id).is_latest(tid) => Some(id),
            Some(_) | None => self.lookup(tid),
        }
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
        let (state, since) = (self.live(id).state, self.live(id).since);
        if state == State::Running {
            // Known to run, on another CPU: it moved unseen.
            self.live(id).cpu = cpu;
            self.enter(id, time, State::Running, cpu, None, true);
            return;
        }
        let first_seen = state == State::Unknown(UnknownReason::BeforeFirstEvent);
        if matches!(state, State::Blocked(_)) {
            self.count(Problem::MissingWakeup, cpu, time);
            if self.lost_during(since, time) {
                // When it was woken, and whether it ran meanwhile, was lost.
                self.live(id).correct(State::Unknown(UnknownReason::LostEvents));
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
        let live = self.live(id);
        live.enter(Span { start, state, cpu, wake, inferred });
        let last = live.states.len().saturating_sub(1);
        if state == State::Running {
            self.model.runs.push(cpu, id, last);
        }
    }

    pub(crate) fn push_op(&mut self, id: TaskId, time: Nanos, kind: OpKind) -> usize {
        self.live(id).open(time, kind)
    }

    /// Closes the innermost open operation that `wanted` accepts, and what is
    /// open inside it. Returns its index.
    pub(crate) fn close_op(
        &mut self,
        id: TaskId,
        time: Nanos,
        wanted: impl Fn(&OpKind) -> bool,
    ) -> Option<usize> {
        let live = self.live(id);
        let position = live
            .stack
            .iter()
            .rposition(|index| live.ops.get(*index).is_some_and(|op| wanted(&op.kind)))?;
        live.close(position, time)
    }

    /// Closes everything that is open: the task died, or its records were lost.
    pub(crate) fn close_all(&mut self, id: TaskId, time: Nanos, estimated: bool) {
        let live = self.live(id);
        while let Some(open) = live.stack.pop() {
            live.ops.close(open, time, estimated);
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
            if self.live(id).cpu == cpu && self.live(id).state == State::Runnable {
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
