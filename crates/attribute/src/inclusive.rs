//! What a step's tasks did while they worked for it: counters and durations, which may overlap.

mod index;
mod rows;

use std::collections::BTreeMap;
use std::mem;

use agenttrace_model::parse::{Dev, Distance, Nanos};
use agenttrace_model::{
    FdKind, FlushKind, Items, Model, Op, OpKind, Ops, SettledOps, State, SyscallClass, SyscallOp,
    Task, TaskId, first_not,
};
use rayon::prelude::*;

use crate::histogram::histograms;
use crate::mechanism::tlb::asked;
use crate::path::Frame;
use crate::report::{
    Distribution, FaultRows, Histogram, Inclusive, Migrations, Spawns, Stats, TlbFlushes,
};
use crate::stats::stats;
use crate::wakeup::Wakeup;
pub(crate) use index::{Index, Share, Stretch, shares, step_tasks, union, work};
use rows::{block_rows, file_rows, syscall_rows};

/// Which kinds of operations begin in some stretches of work: what has none of a kind need
/// not be looked through for it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Kinds {
    pub(crate) reclaims: bool,
    pub(crate) pauses: bool,
    /// Durability calls.
    pub(crate) syncs: bool,
}

/// What the pass over some stretches of work collects for tables, besides counters.
#[derive(Default)]
pub(crate) struct Collected {
    /// Which operations there are.
    pub(crate) kinds: Kinds,
    /// Wakeups, births apart, by stretch and time.
    pub(crate) wakeups: Vec<Wakeup>,
    /// The 99th percentile of their latencies.
    pub(crate) slow: Nanos,
    /// Own times of interrupts, in the order of their frames.
    pub(crate) interrupts: Vec<(Frame, Stats)>,
    /// Faults that were completed; waits for locks, and calls on futexes; metadata calls: by
    /// stretch, then start. Of a session the faults alone, in no order, as are its wakeups.
    pub(crate) faults: Vec<OpPlace>,
    pub(crate) locks: Vec<OpPlace>,
    pub(crate) metadata: Vec<OpPlace>,
}

/// Where an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpPlace {
    pub(crate) task: TaskId,
    /// Its index in the task's operations.
    op: u32,
}

impl OpPlace {
    /// `None`: that many operations are never kept.
    fn new(task: TaskId, op: usize) -> Option<Self> {
        Some(Self { task, op: u32::try_from(op).ok()? })
    }

    /// The task, and the operation's place in its operations.
    #[inline]
    pub(crate) fn at<'m>(self, index: &Index<'m>) -> Option<(&'m Task, usize)> {
        Some((index.task(self.task)?, self.op as usize))
    }

    /// The task and the operation.
    #[inline(always)]
    pub(crate) fn get<'m>(self, index: &Index<'m>) -> Option<(&'m Task, Op)> {
        let task = index.task(self.task)?;
        Some((task, task.ops.settled().get(self.op as usize)?))
    }
}

/// Single durations, for the histograms. `None`: not captured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    wakeups: Option<Vec<Nanos>>,
    /// Parallel to `wakeups`.
    distances: Vec<Distance>,
    faults: Option<Vec<Nanos>>,
    block: Option<Vec<Nanos>>,
    fsyncs: Option<Vec<Nanos>>,
}

impl Samples {
    /// Of those whose events were captured.
    fn new(
        index: &Index<'_>,
        wakeups: &[Wakeup],
        faults: Vec<Nanos>,
        block: Vec<Nanos>,
        fsyncs: Vec<Nanos>,
    ) -> Self {
        let (told, seats) = (&index.told, index.seats());
        Self {
            wakeups: told.wakings.then(|| wakeups.iter().map(Wakeup::latency).collect()),
            distances: wakeups.iter().map(|wakeup| wakeup.distance(seats)).collect(),
            faults: told.faults.then_some(faults),
            block: told.block.then_some(block),
            fsyncs: told.calls.then_some(fsyncs),
        }
    }

    /// Takes the values out.
    pub(crate) fn take(&mut self, mechanism: Distribution) -> Option<Vec<Nanos>> {
        match mechanism {
            Distribution::WakeupLatency => self.wakeups.take(),
            Distribution::PageFault => self.faults.take(),
            Distribution::BlockIo => self.block.take(),
            Distribution::Fsync => self.fsyncs.take(),
        }
    }

    /// The values by class, where the mechanism has classes.
    pub(crate) fn by_class(&self, mechanism: Distribution) -> Vec<(&'static str, Vec<Nanos>)> {
        match mechanism {
            Distribution::WakeupLatency if self.distances.is_empty() => Vec::new(),
            Distribution::WakeupLatency => {
                let mut classes = Distance::ALL.map(|class| (class, Vec::new()));
                for (ns, distance) in self.wakeups.iter().flatten().zip(&self.distances) {
                    if let Some((_, values)) = classes.iter_mut().find(|(of, _)| of == distance) {
                        values.push(*ns);
                    }
                }
                classes.map(|(class, values)| (class.name(), values)).into()
            }
            Distribution::PageFault | Distribution::BlockIo | Distribution::Fsync => Vec::new(),
        }
    }
}

/// The operations that begin in a stretch.
pub(crate) fn ops(task: &Task, stretch: Stretch) -> Items<'_, Ops> {
    let (ops, first) = (task.ops.settled(), task.ops.before(stretch.from));
    task.ops.range(first..first_not(first, ops.len(), |i| ops.start(i) < stretch.to))
}

#[derive(Default)]
struct SyscallSum {
    count: u64,
    errors: u64,
    total: Nanos,
    max: Nanos,
}

/// A request's device, and what it did there.
type BlockKey = (Dev, &'static str);

#[derive(Default)]
struct BlockSum {
    durations: Vec<Nanos>,
    count: u64,
    bytes: u64,
    queue: Nanos,
    device: Nanos,
    open: u64,
}

#[derive(Default)]
struct Gathered {
    syscalls: Calls,
    fsyncs: Vec<Nanos>,
    minor: Vec<Nanos>,
    major: Vec<Nanos>,
    estimated: bool,
    /// Completions of faults were recorded.
    completions: bool,
    files: BTreeMap<u32, (u64, u64, Nanos)>,
    locks: Vec<Nanos>,
    block: BTreeMap<BlockKey, BlockSum>,
    wakeups: Vec<Wakeup>,
    interrupts: BTreeMap<Frame, Vec<Nanos>>,
    fault_ops: Vec<OpPlace>,
    lock_ops: Vec<OpPlace>,
    metadata_ops: Vec<OpPlace>,
    run_delay: Nanos,
    cpu: Nanos,
    migrations: u64,
    cross_node: u64,
    spawns: Spawns,
    /// The task that was looked at last, and the operation that followed.
    last: Option<(TaskId, usize)>,
    /// Of the stretch at hand: calls that start or end a process.
    spawning: Vec<(Nanos, Nanos)>,
    tlb: TlbFlushes,
    kinds: Kinds,
}

/// Whether a call makes data durable (DESIGN section 6).
pub(crate) fn is_durability(model: &Model, call: &SyscallOp) -> bool {
    is_durable(model.syscalls.class(call.nr), call.fd)
}

/// The same of a call of this class, on an fd of this kind.
fn is_durable(class: SyscallClass, fd: FdKind) -> bool {
    class == SyscallClass::Durability || (class == SyscallClass::Write && fd == FdKind::SyncFile)
}

/// Whether a call failed with an error that the program sees. -512 to -516 are
/// the kernel's own codes for calls that start again.
fn failed(ret: Option<i64>) -> bool {
    ret.is_some_and(|ret| (-4095..=-1).contains(&ret) && !(-516..=-512).contains(&ret))
}

fn slept(task: &Task, from: Nanos, to: Nanos) -> bool {
    to != Nanos::MAX
        && task.spans(from, to).any(|(_, _, _, span)| matches!(span.state, State::Blocked(_)))
}

/// The system calls that were made, by number.
struct Calls {
    made: Vec<(i32, SyscallSum)>,
    /// For the numbers that the table of calls knows: one more than the place in `made`, or 0.
    places: [u16; NUMBERS],
    /// The places of others.
    others: BTreeMap<i32, usize>,
}

/// So many numbers the table of calls knows.
const NUMBERS: usize = 512;

impl Default for Calls {
    fn default() -> Self {
        Self { made: Vec::new(), places: [0; NUMBERS], others: BTreeMap::new() }
    }
}

impl Calls {
    fn get(&mut self, nr: i32) -> Option<&mut SyscallSum> {
        let slot = usize::try_from(nr).ok().and_then(|nr| self.places.get_mut(nr));
        let known = match &slot {
            Some(place) => usize::from(**place).checked_sub(1),
            None => self.others.get(&nr).copied(),
        };
        let place = known.unwrap_or_else(|| {
            self.made.push((nr, SyscallSum::default()));
            match slot {
                Some(slot) => *slot = u16::try_from(self.made.len()).unwrap_or(0),
                None => {
                    self.others.insert(nr, self.made.len() - 1);
                }
            }
            self.made.len() - 1
        });
        self.made.get_mut(place).map(|(_, sum)| sum)
    }
}

impl Gathered {
    /// A system call. Always inlined, so that a call is unpacked as far as it is looked at.
    #[inline(always)]
    fn call(
        &mut self,
        model: &Model,
        (id, ops): (TaskId, SettledOps<'_>),
        number: usize,
        call: SyscallOp,
    ) {
        let class = model.syscalls.class(call.nr);
        let took = ops.took(number).unwrap_or_default();
        let counted = !call.continued && !call.no_entry;
        if !call.mark {
            if is_durable(class, call.fd) {
                self.kinds.syncs = true;
                if counted {
                    self.fsyncs.push(took);
                }
            }
            if let Some(sum) = self.syscalls.get(call.nr) {
                sum.count += u64::from(counted);
                sum.errors += u64::from(failed(call.ret));
                sum.total += took;
                sum.max = sum.max.max(took);
            }
        }
        if class == SyscallClass::Futex {
            self.lock_ops.extend(OpPlace::new(id, number));
        } else if class == SyscallClass::Metadata {
            self.metadata_ops.extend(OpPlace::new(id, number));
        } else if class.starts_process(call.thread) {
            self.spawning(ops.start(number), ops.end(number));
        }
    }

    /// Any other operation.
    fn op(&mut self, (id, task): (TaskId, &Task), number: usize, op: Op) {
        match op.kind {
            OpKind::Fault(fault) => {
                // An entry without a completion was tried again, or refused: the kernel
                // counts it neither way.
                if self.completions && fault.major.is_none() {
                    return;
                }
                self.fault_ops.extend(OpPlace::new(id, number));
                let major = fault.major.unwrap_or_else(|| slept(task, op.start, op.end));
                if major { &mut self.major } else { &mut self.minor }.push(op.duration());
                self.estimated |= op.estimated;
                if let Some(file) = fault.file {
                    let sum = self.files.entry(file).or_default();
                    sum.0 += 1;
                    sum.1 += u64::from(major);
                    sum.2 += op.duration();
                }
            }
            OpKind::Lock { .. } => {
                self.lock_ops.extend(OpPlace::new(id, number));
                self.locks.push(op.duration());
            }
            OpKind::Irq(_) | OpKind::Softirq(_) | OpKind::LocalTimer => {
                if op.end != Nanos::MAX
                    && let Some(frame) = Frame::of_interrupt(op.kind)
                {
                    let own = own_time(task, number, op.start, op.end);
                    self.interrupts.entry(frame).or_default().push(own);
                }
            }
            OpKind::Reclaim(_) => self.kinds.reclaims = true,
            OpKind::DirtyPause(_) => self.kinds.pauses = true,
            OpKind::Exit => self.spawning(op.start, op.end),
            OpKind::Syscall(_)
            | OpKind::Work(_)
            | OpKind::Commit { .. }
            | OpKind::SyncFile { .. }
            | OpKind::TlbWait(_) => {}
        }
    }

    fn spawning(&mut self, from: Nanos, to: Nanos) {
        if to != Nanos::MAX {
            self.spawning.push((from, to));
        }
    }

    fn states(&mut self, model: &Model, task: &Task, stretch: Stretch) {
        for (at, from, to, span) in task.spans(stretch.from, stretch.to) {
            match span.state {
                State::Running => self.cpu += to - from,
                State::Runnable => {
                    self.run_delay += to - from;
                    if span.start >= stretch.from {
                        self.wakeups.extend(Wakeup::of(model, stretch.task, task, (at, span)));
                    }
                }
                State::Blocked(_) | State::Unknown(_) | State::New | State::Dead => {}
            }
        }
    }

    fn spawns(&mut self, index: &Index<'_>, id: TaskId, task: &Task, stretch: Stretch) {
        let inside = |time: Nanos| stretch.from <= time && time < stretch.to;
        let children = index.children.get(id.0 as usize).map(Vec::as_slice).unwrap_or_default();
        let first = children.partition_point(|(birth, _)| *birth < stretch.from);
        let last = children.partition_point(|(birth, _)| *birth < stretch.to);
        self.spawns.forks += last.saturating_sub(first) as u64;
        let first_exec = task.execs.partition_point(|(time, _)| *time < stretch.from);
        let execs =
            task.execs.iter().skip(first_exec).take_while(|(time, _)| inside(*time)).count();
        self.spawns.execs += execs as u64;

        // Phases: fork calls, birth to the first exec, exec calls, teardown.
        let mut phases = mem::take(&mut self.spawning);
        if let (Some(birth), Some(false), Some((exec, _))) =
            (task.birth, task.is_thread, task.execs.first())
            && inside(birth)
        {
            phases.push((birth, *exec));
        }
        phases.sort_unstable();
        let mut done = stretch.from;
        for (from, to) in phases.drain(..) {
            let (from, to) = (from.max(done), to.min(stretch.to));
            self.spawns.total += to - from;
            done = done.max(to);
        }
        self.spawning = phases;
    }

    /// Which operation is the first that begins in a stretch. Those of one task come in time order.
    fn first(&self, task: &Task, stretch: Stretch) -> usize {
        let ops = task.ops.settled();
        let before = |number: usize| ops.start(number) < stretch.from;
        match self.last {
            Some((last, number))
                if last == stretch.task && number.checked_sub(1).is_none_or(before) =>
            {
                first_not(number, ops.len(), before)
            }
            _ => task.ops.before(stretch.from),
        }
    }

    /// What operations, states and requests of a stretch tell.
    fn stretch(&mut self, index: &Index<'_>, task: &Task, stretch: Stretch) {
        let ops = task.ops.settled();
        let mut number = self.first(task, stretch);
        while ops.start(number) < stretch.to {
            match ops.call(number) {
                Some(call) => self.call(index.model, (stretch.task, ops), number, call),
                None => {
                    if let Some(op) = ops.get(number) {
                        self.op((stretch.task, task), number, op);
                    }
                }
            }
            number += 1;
        }
        self.last = Some((stretch.task, number));
        self.fsyncs.extend(index.uring_syncs(stretch));
        self.states(index.model, task, stretch);
        self.requests(index, stretch.task, stretch);
    }

    /// Takes the single durations out, where their events were captured.
    fn samples(&mut self, index: &Index<'_>) -> Samples {
        let mut faults = mem::take(&mut self.minor);
        faults.append(&mut self.major);
        let block = self.block.values().flat_map(|sum| &sum.durations).copied().collect();
        Samples::new(index, &self.wakeups, faults, block, mem::take(&mut self.fsyncs))
    }

    fn collected(self, slow: Nanos) -> Collected {
        Collected {
            kinds: self.kinds,
            wakeups: self.wakeups,
            slow,
            faults: self.fault_ops,
            locks: self.lock_ops,
            metadata: self.metadata_ops,
            interrupts: stats_of(self.interrupts),
        }
    }

    fn requests(&mut self, index: &Index<'_>, id: TaskId, stretch: Stretch) {
        let requests = &index.model.requests;
        let Some(list) = index.requests.get(id.0 as usize) else { return };
        let queued = |i: &u32| requests.get(*i as usize).map_or(Nanos::MAX, |r| r.queued);
        let first = list.partition_point(|i| queued(i) < stretch.from);
        let mine = list.iter().skip(first).take_while(|i| queued(i) < stretch.to);
        for request in mine.filter_map(|i| requests.get(*i as usize)) {
            let sum = self.block.entry((request.dev, request.rwbs.op.name())).or_default();
            sum.count += 1;
            sum.bytes += request.bytes();
            match request.completed {
                Some(completed) => {
                    sum.queue += request.issued - request.queued;
                    sum.device += completed - request.issued;
                    sum.durations.push(completed - request.queued);
                }
                None => sum.open += 1,
            }
        }
    }
}

/// An interrupt's own time: those nested in it count for themselves.
fn own_time(task: &Task, number: usize, from: Nanos, to: Nanos) -> Nanos {
    let later = task.ops.range(number + 1..task.ops.len());
    let nested: Nanos = later
        .take_while(|inner| inner.start < to)
        .filter(|inner| inner.parent() == Some(number))
        .map(|inner| inner.end.min(to) - inner.start)
        .sum();
    (to - from) - nested
}

/// Everything that happened in the stretches; what of it counts in the session goes there.
pub(crate) fn inclusive(
    index: &Index<'_>,
    stretches: &[Stretch],
    share: &Share,
    session: &mut Lists,
) -> (Inclusive, Vec<Histogram>, Collected) {
    let sums = gathered(index, stretches);
    match share {
        Share::All => session.add(&sums),
        Share::Parts(parts) if parts.is_empty() => {}
        Share::Parts(parts) => session.add(&gathered(index, parts)),
    }
    finish(index, sums)
}

fn gathered(index: &Index<'_>, stretches: &[Stretch]) -> Gathered {
    let completions = index.told.completions;
    let mut sums = Gathered { completions, ..Gathered::default() };
    for stretch in stretches {
        let Some(task) = index.task(stretch.task) else { continue };
        sums.stretch(index, task, *stretch);
        sums.spawns(index, stretch.task, task, *stretch);
        for flush in index.tlb().of(index.model, *stretch) {
            sums.tlb.local += u64::from(flush.kind == FlushKind::Local);
            let sent = |kind| matches!(kind, FlushKind::Sent(sent) if asked(index.model, sent));
            sums.tlb.remote += u64::from(sent(flush.kind));
        }
        let first = task.migrations.partition_point(|(time, _, _)| *time < stretch.from);
        for (_, from, to) in
            task.migrations.iter().skip(first).take_while(|(time, _, _)| *time < stretch.to)
        {
            sums.migrations += 1;
            let node = |cpu| index.info.topology.node(cpu);
            sums.cross_node += u64::from(node(*from) != node(*to));
        }
    }
    sums
}

/// So many faults one thread looks at at a time.
const PIECE: usize = 1 << 13;

/// What steps leave for the session, in no order: each moment of a task's work counts once.
#[derive(Default)]
pub(crate) struct Lists {
    fsyncs: Vec<Nanos>,
    wakeups: Vec<Wakeup>,
    faults: Vec<OpPlace>,
    interrupts: BTreeMap<Frame, Vec<Nanos>>,
}

impl Lists {
    fn add(&mut self, sums: &Gathered) {
        self.fsyncs.extend_from_slice(&sums.fsyncs);
        self.wakeups.extend_from_slice(&sums.wakeups);
        self.faults.extend_from_slice(&sums.fault_ops);
        for (frame, times) in &sums.interrupts {
            self.interrupts.entry(*frame).or_default().extend_from_slice(times);
        }
    }

    /// What was added to several of them, which are given back one by one.
    pub(crate) fn join(lists: impl Iterator<Item = Self>) -> Self {
        let joined = lists.reduce(|mut all, other| {
            all.fsyncs.extend(other.fsyncs);
            all.wakeups.extend(other.wakeups);
            all.faults.extend(other.faults);
            for (frame, times) in other.interrupts {
                all.interrupts.entry(frame).or_default().extend(times);
            }
            all
        });
        joined.unwrap_or_default()
    }

    /// The single durations, and what tables of the session need. `work`: of all steps.
    pub(crate) fn finish(self, index: &Index<'_>, work: &[Stretch]) -> (Samples, Collected) {
        let Self { fsyncs, wakeups, faults, interrupts } = self;
        let took = |place: &OpPlace| {
            let (task, op) = place.at(index)?;
            task.ops.settled().took(op)
        };
        let times = faults.par_iter().with_min_len(PIECE);
        let times = times.map(|place| took(place).unwrap_or_default());
        let requests = work.iter().flat_map(|stretch| index.submitted(*stretch));
        let block = requests.filter_map(|(_, r)| Some(r.completed? - r.queued));
        // Tables need not wait for the histograms, which tell it as well.
        let slow = || stats(&mut wakeups.iter().map(Wakeup::latency).collect::<Vec<_>>()).p99;
        let (times, (block, slow)) = rayon::join(|| times.collect(), || (block.collect(), slow()));
        let samples = Samples::new(index, &wakeups, times, block, fsyncs);
        let interrupts = stats_of(interrupts);
        (samples, Collected { wakeups, slow, faults, interrupts, ..Collected::default() })
    }
}

fn stats_of(times: BTreeMap<Frame, Vec<Nanos>>) -> Vec<(Frame, Stats)> {
    times.into_iter().map(|(frame, mut times)| (frame, stats(&mut times))).collect()
}

fn finish(index: &Index<'_>, mut sums: Gathered) -> (Inclusive, Vec<Histogram>, Collected) {
    let model = index.model;
    let told = &index.told;
    let migrations = Migrations {
        count: sums.migrations,
        cross_node: (!index.info.topology.nodes.is_empty()).then_some(sums.cross_node),
    };
    let faults = told.faults.then(|| FaultRows {
        estimated: sums.estimated || !sums.completions,
        files: file_rows(model, &sums.files),
        minor: stats(&mut sums.minor),
        major: stats(&mut sums.major),
    });
    let histograms = histograms(sums.samples(index));
    let told_by = |mechanism| histograms.iter().find(|h| h.mechanism == mechanism)?.stats();
    let wakeups = told_by(Distribution::WakeupLatency);
    let inclusive = Inclusive {
        syscalls: told.calls.then(|| syscall_rows(model, &sums.syscalls)),
        faults,
        block: told.block.then(|| block_rows(model, mem::take(&mut sums.block))),
        wakeups,
        run_delay: told.switches.then_some(sums.run_delay),
        migrations: told.migrations.then_some(migrations),
        spawns: told.forks.then_some(sums.spawns),
        fsyncs: told_by(Distribution::Fsync),
        tlb_flushes: told.flushes.then_some(sums.tlb),
        cpu: told.switches.then_some(sums.cpu),
        lock_waits: told.contention.then(|| stats(&mut sums.locks)),
    };
    let slow = wakeups.unwrap_or_default().p99;
    (inclusive, histograms, sums.collected(slow))
}
