//! Step windows to critical paths: what made the step last as long as it did.
//!
//! ```text
//! root    [run][ blocked in wait4          ][run]
//!                     explained by, over just that time:
//! child        [run][ blocked in fsync ][run]
//!                     explained by (the cause stays fsync):
//! jbd2               [run][ block write ][run]
//! ```

use std::sync::{Arc, OnceLock};

use agenttrace_model::parse::{BlockOp, Nanos};
use agenttrace_model::{
    Model, Span, State, SyscallClass, TaskId, UnknownReason, Wake, WakeSource, Windows,
};

use rustc_hash::FxHashMap;

use crate::cause::{Cause, Resource};
use crate::cells::{CellId, CellKey};
use crate::cursor::TaskCursor;
pub(crate) use crate::facts::Facts;
use crate::memo::{Answer, Around, Memo, Place};
use crate::path::{Frame, PathSegment, Reason, StackId, StepPath};
use crate::phases::Phases;
use crate::rows::{Context, Doing};
use crate::throttle::Throttles;
use crate::uring::OnUring;

/// Wakers of wakers are followed this deep.
const MAX_DEPTH: u16 = 64;
/// A wait split by timers is looked ahead this many waits.
const MAX_POLLS: usize = 100_000;

/// Walks the critical path of every step, in the order of [`Windows::steps`].
#[must_use]
pub fn walk(model: &Model, windows: &Windows) -> Vec<StepPath> {
    use rayon::prelude::*;
    let throttles = Throttles::new(model, windows, &OnceLock::new());
    let facts = Facts::new(model, windows).with(Arc::new(throttles));
    (0..windows.steps.len())
        .into_par_iter()
        .map_init(Scratch::default, |scratch, step| walk_step(&facts, step, scratch))
        .collect()
}

/// What a walk leaves for the next one of the same thread.
#[derive(Default)]
pub(crate) struct Scratch<'m> {
    cursors: FxHashMap<TaskId, TaskCursor<'m>>,
    memo: Memo,
    path: StepPath,
}

impl Scratch<'_> {
    /// Takes back a path that is not needed any more, for its memory.
    pub(crate) fn keep(&mut self, mut path: StepPath) {
        path.clear();
        self.path = path;
    }
}

/// Walks the critical path of one step.
pub(crate) fn walk_step<'m>(facts: &Facts<'m>, step: usize, scratch: &mut Scratch<'m>) -> StepPath {
    let Some(window) = facts.windows.steps.get(step) else { return StepPath::default() };
    scratch.memo.clear();
    let mut walker = Walker {
        facts,
        step,
        root: window.root,
        path: std::mem::take(&mut scratch.path),
        polls: None,
        scratch,
        last: None,
        estimated: false,
    };
    walker.cover(window.root, window.start, window.end, StackId::EMPTY, Opaque::NONE, 0);
    walker.path
}

/// The wait on behalf of which a task is looked at: what its time is when it
/// does not work for the step (rows 16b and 16c).
#[derive(Clone, Copy)]
struct Opaque {
    cause: Cause,
    resource: Resource,
}

impl Opaque {
    const NONE: Self = Self { cause: Cause::Unknown, resource: Resource::Unknown };
}

struct Walker<'f, 'm> {
    facts: &'f Facts<'m>,
    step: usize,
    root: TaskId,
    path: StepPath,
    /// The last run of polls that timers split.
    polls: Option<PollRun>,
    /// Where the tasks of the path are, and what running time was charged to.
    scratch: &'f mut Scratch<'m>,
    /// The cell of the last segment, and whether the end of what it is in was not recorded.
    last: Option<CellId>,
    estimated: bool,
}

/// Polls of one task in a row, each ended by a timer: all are for what ends the last.
struct PollRun {
    id: TaskId,
    /// The states of the first and the last of them.
    from: usize,
    to: usize,
    source: WakeSource,
}

/// What a segment is, apart from its time and task.
#[derive(Clone, Copy)]
struct Charge {
    cause: Cause,
    resource: Resource,
    under: Option<Cause>,
    stack: StackId,
    reason: Option<Reason>,
    inferred: bool,
}

impl Charge {
    fn new(cause: Cause, resource: Resource, stack: StackId) -> Self {
        Self { cause, resource, under: None, stack, reason: None, inferred: false }
    }
    fn key(self, task: TaskId) -> CellKey {
        let Self { cause, resource, under, stack, reason, .. } = self;
        CellKey { task, cause, resource, under, stack, reason }
    }
    fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }
    fn inferred(self, inferred: bool) -> Self {
        Self { inferred, ..self }
    }
}

impl<'m> Walker<'_, 'm> {
    fn emit(&mut self, task: TaskId, start: Nanos, end: Nanos, charge: Charge) {
        if start >= end {
            return;
        }
        let cell = self.path.cells.id(charge.key(task));
        let mut cursor = self.take_cursor(task);
        cursor.seek(start);
        self.add(cell, start, end, charge.inferred, &mut cursor);
        self.scratch.cursors.insert(task, cursor);
    }

    /// The cursor of a task, to be put back.
    fn take_cursor(&mut self, task: TaskId) -> TaskCursor<'m> {
        let kept = self.scratch.cursors.remove(&task);
        kept.unwrap_or_else(|| TaskCursor::new(self.facts.model.task(task)))
    }

    /// Adds time to a cell, and to the path; the cursor of the cell's task is at `start`.
    fn add(
        &mut self,
        cell: CellId,
        start: Nanos,
        end: Nanos,
        inferred: bool,
        cursor: &mut TaskCursor<'m>,
    ) {
        let Some(sum) = self.path.cells.get_mut(cell) else { return };
        let CellKey { task, cause, resource, under, stack, reason } = sum.key;
        sum.ns += end - start;
        sum.recorded += cursor.recorded(start, end);
        if let Some(last) = self.path.segments.last_mut()
            && self.last == Some(cell)
            && last.end == start
            && last.inferred == inferred
        {
            last.end = end;
            if self.estimated {
                sum.estimated += end - start;
            }
            return;
        }
        // A fault's end matters only where what follows it has another cause.
        let faults = matches!(cause, Cause::MajorFault | Cause::MinorFault);
        self.estimated = cursor.estimated(faults);
        sum.segments += 1;
        if self.estimated {
            sum.estimated += end - start;
        }
        self.last = Some(cell);
        self.path.places.push(cell);
        self.path.segments.push(PathSegment {
            start,
            end,
            task,
            cause,
            resource,
            under,
            stack,
            reason,
            inferred,
        });
    }

    fn push(&mut self, stack: StackId, frame: Frame) -> StackId {
        self.path.stacks.push(stack, frame)
    }

    /// A task that works for the step: its own rows over `[from, to)`.
    fn cover(
        &mut self,
        id: TaskId,
        from: Nanos,
        to: Nanos,
        base: StackId,
        opaque: Opaque,
        depth: u16,
    ) {
        if from >= to {
            return;
        }
        if depth > MAX_DEPTH {
            self.emit(
                id,
                from,
                to,
                Charge::new(Cause::Unknown, Resource::Unknown, base).because(Reason::TooDeep),
            );
            return;
        }
        let task = self.facts.model.task(id);
        let mut at = from;
        if let Some(first) = task.states.first()
            && from < first.start
        {
            at = first.start.min(to);
            self.before_birth(id, from, at, base, opaque, depth);
        }
        for (index, start, end, span) in task.spans(at, to) {
            match span.state {
                State::Running | State::Runnable => self.on_cpu(id, start, end, span, base, opaque),
                State::Blocked(_) => self.blocked(id, index, start, end, span, base, depth),
                State::New => self.before_birth(id, start, end, base, opaque, depth),
                State::Dead => {
                    self.emit(
                        id,
                        start,
                        end,
                        Charge::new(Cause::Unknown, Resource::Unknown, base)
                            .because(Reason::NotAlive),
                    );
                }
                State::Unknown(reason) => {
                    let reason = match reason {
                        UnknownReason::BeforeFirstEvent => Reason::BeforeFirstEvent,
                        UnknownReason::LostEvents => Reason::LostEvents,
                        UnknownReason::NoSwitch => Reason::NoSwitch,
                    };
                    let charge = Charge::new(Cause::Unknown, Resource::Unknown, base);
                    self.emit(id, start, end, charge.because(reason).inferred(span.inferred));
                }
            }
        }
    }

    /// A fork counts as a wakeup by the parent: before a birth, the parent explains.
    fn before_birth(
        &mut self,
        id: TaskId,
        from: Nanos,
        to: Nanos,
        base: StackId,
        opaque: Opaque,
        depth: u16,
    ) {
        match self.facts.model.task(id).parent {
            Some(parent) => self.cover(parent, from, to, base, opaque, depth + 1),
            None => {
                let charge = Charge::new(Cause::Unknown, Resource::Unknown, base);
                self.emit(id, from, to, charge.because(Reason::NotAlive));
            }
        }
    }

    fn works(&self, id: TaskId, time: Nanos) -> bool {
        id == self.root
            || self.facts.windows.works_for(id, time, self.step)
            || self.polls_for_root(id)
    }

    /// The thread that takes a ring's submissions (SQPOLL) serves the process that made it,
    /// and nothing tells for which of its steps; here a step's task waits for it.
    fn polls_for_root(&self, id: TaskId) -> bool {
        let model = self.facts.model;
        model.task(id).pid == model.task(self.root).pid
            && !model.uring.work.contains_key(&id)
            && self.facts.is_uring_thread(id)
    }

    /// Running or runnable: split where operations begin and end.
    fn on_cpu(
        &mut self,
        id: TaskId,
        from: Nanos,
        to: Nanos,
        span: Span,
        base: StackId,
        opaque: Opaque,
    ) {
        let facts = self.facts;
        let running = span.state == State::Running;
        let phases = facts.phases(id);
        let alike = running && !facts.model.uring.work.contains_key(&id);
        let ops = facts.model.task(id).ops.settled();
        let mut cursor = self.take_cursor(id);
        let mut at = from;
        // What is around its operations, and until when.
        let mut around = (None, from);
        // Whether it works for the step, and until when that holds.
        let (mut works, mut until) = (true, if id == self.root { to } else { at });
        while at < to {
            if until <= at {
                (works, until) = (self.works(id, at), facts.windows.claim_edge(id, at));
            }
            cursor.seek(at);
            let mut next = to.min(cursor.edge()).min(until);
            if !running {
                next = next.min(facts.throttles.edge(id, at));
            }
            let next = next.max(at + Nanos(1)).min(to);
            let cell = if !works {
                // A busy task: the wait for it is opaque.
                let charge = Charge::new(opaque.cause, opaque.resource, base);
                self.path.cells.id(charge.key(id))
            } else if alike {
                if around.1 <= at {
                    around = self.around(id, base, phases, at);
                }
                let memo = &mut self.scratch.memo;
                let place = around.0.and_then(|around| {
                    memo.place(facts, (id, around), (ops, cursor.inside()), (from, to))
                });
                match place.and_then(|place| memo.cell(place)) {
                    Some(cell) => cell,
                    None => self.cell(id, at, cursor.inside(), base, place),
                }
            } else {
                let charge = self.on_cpu_charge(id, at, cursor.inside(), running, base);
                self.path.cells.id(charge.key(id))
            };
            self.add(cell, at, next, span.inferred, &mut cursor);
            at = next;
        }
        self.scratch.cursors.insert(id, cursor);
    }

    /// What is around the operations of a task at a time, and until when that holds.
    fn around(
        &mut self,
        task: TaskId,
        base: StackId,
        phases: Option<&Phases>,
        at: Nanos,
    ) -> (Option<Place>, Nanos) {
        let phase = phases.and_then(|p| p.at(at));
        let starts_up = phases.is_some_and(|p| p.starts_up(at));
        let around = Around { task, base, phase, starts_up };
        let place = self.scratch.memo.outermost(self.facts, around);
        (Some(place), phases.map_or(Nanos::MAX, |p| p.until(at)))
    }

    /// The cell of running time of a task that works for the step, the first of its place.
    #[inline(never)]
    fn cell(
        &mut self,
        id: TaskId,
        at: Nanos,
        innermost: Option<usize>,
        base: StackId,
        place: Option<Place>,
    ) -> CellId {
        let memo = &mut self.scratch.memo;
        let Some(place) = place else {
            let charge = self.on_cpu_charge(id, at, innermost, true, base);
            return self.path.cells.id(charge.key(id));
        };
        let charge = if let Some(answer) = memo.answer(place) {
            let Answer { cause, resource, under, ref frames } = *answer;
            let push = |stack, frame: &Frame| self.path.stacks.push(stack, *frame);
            let stack = frames.iter().fold(base, push);
            Charge { under, ..Charge::new(cause, resource, stack) }
        } else {
            let charge = self.on_cpu_charge(id, at, innermost, true, base);
            let Charge { cause, resource, under, stack, .. } = charge;
            let below = self.path.stacks.frames(base).len();
            let frames = self.path.stacks.frames(stack).iter().skip(below).copied().collect();
            self.scratch.memo.keep_answer(place, Answer { cause, resource, under, frames });
            charge
        };
        let cell = self.path.cells.id(charge.key(id));
        self.scratch.memo.keep(place, cell);
        cell
    }

    /// Running or runnable time of a task that works for the step and is in this operation.
    fn on_cpu_charge(
        &mut self,
        id: TaskId,
        at: Nanos,
        innermost: Option<usize>,
        running: bool,
        base: StackId,
    ) -> Charge {
        let context = self.facts.context_in(id, at, innermost);
        let stack = self.facts.frames(&mut self.path.stacks, base, &context, running);
        let (cause, resource) = self.facts.cpu_cause(&context);
        if !running {
            // Row 2. Nothing but its period's timer lets a throttled task go on.
            let (held, by) = match self.facts.throttles.at(id, at) {
                Some(_) => (Cause::CpuThrottle, Resource::Timer),
                None => (Cause::RunDelay, Resource::RunQueue),
            };
            Charge { under: Some(cause), ..Charge::new(held, by, stack) }
        } else if self.facts.interrupt(&context) {
            Charge {
                under: Some(cause),
                ..Charge::new(Cause::Interrupt, Resource::CpuKernel, stack)
            }
        } else {
            Charge::new(cause, resource, stack)
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the pieces of one clipped span, used here alone"
    )]
    fn blocked(
        &mut self,
        id: TaskId,
        index: usize,
        from: Nanos,
        to: Nanos,
        span: Span,
        base: StackId,
        depth: u16,
    ) {
        let facts = self.facts;
        let task = facts.model.task(id);
        let next = task.states.get(index + 1);
        let until = next.map_or(Nanos::MAX, |n| n.start);
        let wake = next.and_then(|n| n.wake).map(|w| facts.model.wake(w));
        let inferred = span.inferred || (wake.is_none() && next.is_some_and(|n| n.inferred));
        let mut context = facts.context(id, span.start);
        // A wait in io_uring_enter is for what completed last. A worker's part is its own.
        let waited = facts.uring_wait(&context, span.start, until, wake.as_ref());
        if let Some(request) = waited
            && request.worker.is_none()
        {
            context.uring = Some(OnUring { request, work: None });
        }
        let stack = facts.frames(&mut self.path.stacks, base, &context, false);
        let doing = Doing::Waiting { from: span.start, to: until, wake: wake.as_ref() };
        if let Some(cause) = facts.cause(&context, doing) {
            if let Some(request) = facts.polled_block(&context) {
                self.request(id, request, from, to, stack, cause, inferred);
                return;
            }
            let wait = Wait { id, since: span.start, until, wake, inferred };
            self.nested_wait(&wait, from, to, stack, cause, depth + 1);
            return;
        }
        let source = self.through_polls(id, index, &context, wake.as_ref());
        match (wake, source) {
            (Some(_), Some(WakeSource::Task(waker))) => {
                self.woken_by_task(id, waker, wake.as_ref(), from, to, stack, &context, depth);
            }
            (_, Some(WakeSource::Timer)) => {
                self.emit(id, from, to, Charge::new(Cause::Sleep, Resource::Timer, stack));
            }
            (_, Some(WakeSource::Network)) => {
                self.emit(id, from, to, Charge::new(Cause::NetworkWait, Resource::Peer, stack));
            }
            (_, Some(WakeSource::Interrupt(name))) => {
                let terminal = facts.model.names.get(name as usize).is_some_and(|n| {
                    ["tty", "serial", "i8042", "usb"].iter().any(|device| n.contains(device))
                });
                let stack = self.push(stack, Frame::Irq(name));
                let charge = if terminal {
                    Charge::new(Cause::Idle, Resource::Peer, stack)
                } else {
                    Charge::new(Cause::Unknown, Resource::Unknown, stack)
                        .because(Reason::UnnamedInterrupt)
                };
                self.emit(id, from, to, charge);
            }
            (_, Some(WakeSource::Block(request))) => {
                // Row 15 has taken these; kept for a request that vanished.
                self.request(id, request, from, to, stack, Cause::BlockRead, inferred);
            }
            (Some(_), _) => {
                self.unnamed(id, from, to, stack, &context, Reason::UnnamedInterrupt, inferred)
            }
            (None, _) if self.lost_within(span.start, until) => {
                let charge = Charge::new(Cause::Unknown, Resource::Unknown, stack);
                self.emit(id, from, to, charge.because(Reason::LostEvents).inferred(inferred));
            }
            (None, _) => self.unnamed(id, from, to, stack, &context, Reason::NoWaker, inferred),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "row 16e needs what the others need")]
    fn unnamed(
        &mut self,
        id: TaskId,
        from: Nanos,
        to: Nanos,
        stack: StackId,
        context: &Context<'_>,
        reason: Reason,
        inferred: bool,
    ) {
        // What an interrupt ended, no task of the agent's tree did: a read whose request's
        // completion was not recorded looks like one of a pipe.
        let by_interrupt = reason == Reason::UnnamedInterrupt;
        let cause = self.facts.unnamed_wait(context);
        let cause = cause.filter(|cause| !(by_interrupt && *cause == Cause::IpcWait));
        let charge = Charge::new(cause.unwrap_or(Cause::Unknown), Resource::Unknown, stack);
        self.emit(id, from, to, charge.because(reason).inferred(inferred));
    }

    fn lost_within(&self, from: Nanos, to: Nanos) -> bool {
        self.facts.model.lost.iter().any(|lost| lost.overlaps(from, to))
    }

    /// Rows 16a to 16c: a task ended the wait.
    #[expect(clippy::too_many_arguments, reason = "one row of the table, split out for its length")]
    fn woken_by_task(
        &mut self,
        id: TaskId,
        waker: TaskId,
        wake: Option<&Wake>,
        from: Nanos,
        to: Nanos,
        stack: StackId,
        context: &Context<'_>,
        depth: u16,
    ) {
        let facts = self.facts;
        let time = wake.map_or(to, |w| w.time);
        let class = facts.call(context).map(|(_, class)| class);
        let futex = class == Some(SyscallClass::Futex);
        let (cause, resource) = if futex {
            (Cause::UserLock, Resource::LockHolder)
        } else if facts.windows.is_in_tree(waker) {
            (Cause::IpcWait, Resource::Peer)
        } else {
            (Cause::ServiceWait, Resource::Peer)
        };
        if self.works(waker, Nanos(time.0.saturating_sub(1)).max(from)) || self.works(waker, time) {
            let stack = self.push(stack, Frame::Task(waker));
            self.cover(waker, from, to, stack, Opaque { cause, resource }, depth + 1);
            return;
        }
        if facts.is_kernel_thread(waker) {
            let stack = self.push(stack, Frame::Task(waker));
            let charge = Charge::new(Cause::Unknown, Resource::Unknown, stack);
            self.emit(id, from, to, charge.because(Reason::Unexplained));
            return;
        }
        let stack = self.push(stack, Frame::Task(waker));
        self.nested(waker, from, to, stack, cause, depth + 1);
    }

    /// A poll that a timer ended, and that is followed by the same wait again,
    /// belongs to what ends the last of them.
    fn through_polls(
        &mut self,
        id: TaskId,
        index: usize,
        context: &Context<'_>,
        wake: Option<&Wake>,
    ) -> Option<WakeSource> {
        let source = self.facts.ended_by(context, wake)?;
        let call = self.facts.call(context);
        let Some((call, SyscallClass::Poll)) = call else { return Some(source) };
        if source != WakeSource::Timer {
            return Some(source);
        }
        // Looked ahead before: a run is walked through once, not once for each of its polls.
        if let Some(run) = &self.polls
            && run.id == id
            && (run.from..=run.to).contains(&index)
        {
            return Some(run.source);
        }
        let task = self.facts.model.task(id);
        let later = (index + 1..)
            .zip(task.states.since(index + 1))
            .filter(|(_, s)| matches!(s.state, State::Blocked(_)));
        let mut run = PollRun { id, from: index, to: index, source };
        for (at, span) in later.take(MAX_POLLS) {
            let context = self.facts.context(id, span.start);
            let again = self.facts.call(&context);
            if again.is_none_or(|(c, _)| (c.nr, c.arg0) != (call.nr, call.arg0)) {
                break;
            }
            let wake = task.states.get(at + 1).and_then(|n| n.wake);
            let wake = wake.map(|w| self.facts.model.wake(w));
            match self.facts.ended_by(&context, wake.as_ref()) {
                Some(WakeSource::Timer) => run.to = at,
                Some(other) => {
                    run.source = other;
                    break;
                }
                None => break,
            }
        }
        let source = run.source;
        self.polls = Some(run);
        Some(source)
    }
}

/// One wait of one task.
struct Wait {
    id: TaskId,
    since: Nanos,
    until: Nanos,
    wake: Option<Wake>,
    inferred: bool,
}

/// Below a cause that is already decided: only the resource and the frames are looked for.
impl Walker<'_, '_> {
    fn nested_wait(
        &mut self,
        wait: &Wait,
        from: Nanos,
        to: Nanos,
        stack: StackId,
        cause: Cause,
        depth: u16,
    ) {
        let facts = self.facts;
        let id = wait.id;
        let unknown = Charge::new(cause, Resource::Unknown, stack).inferred(wait.inferred);
        if depth > MAX_DEPTH {
            self.emit(id, from, to, unknown.because(Reason::TooDeep));
            return;
        }
        let task = facts.model.task(id);
        let since =
            task.op_chain(task.op_at(wait.since)).last().map_or(wait.since, |(_, op)| op.start);
        let Some(wake) = wait.wake else {
            let request = facts
                .own_request(id, since, wait.since, wait.until)
                .or_else(|| facts.own_open_request(id, since, wait.until));
            match request {
                Some(request) => self.request(id, request, from, to, stack, cause, true),
                None if self.lost_within(wait.since, wait.until) => {
                    let charge = Charge::new(Cause::Unknown, Resource::Unknown, stack);
                    self.emit(id, from, to, charge.because(Reason::LostEvents).inferred(true));
                }
                None => self.emit(id, from, to, unknown.because(Reason::NoWaker)),
            }
            return;
        };
        match wake.source {
            WakeSource::Block(request) => {
                self.request(id, request, from, to, stack, cause, wait.inferred)
            }
            WakeSource::Task(waker) => {
                // A completion that hopped through a kworker: the task's own
                // request first, then the hop.
                let own = (facts.is_kernel_thread(waker) && !facts.is_journal(waker))
                    .then(|| facts.own_request(id, since, wait.since, wait.until))
                    .flatten();
                let mut at = from;
                if let Some(request) = own
                    && let Some(done) =
                        facts.model.requests.get(request as usize).and_then(|r| r.completed)
                {
                    let done = done.clamp(from, to);
                    self.request(id, request, from, done, stack, cause, wait.inferred);
                    at = done;
                }
                let frame = self.helper_frame(waker, wake.time);
                let stack = self.push(stack, frame);
                self.nested(waker, at, to, stack, cause, depth + 1);
            }
            WakeSource::Timer => {
                self.emit(id, from, to, Charge { resource: Resource::Timer, ..unknown })
            }
            WakeSource::Network => {
                self.emit(id, from, to, Charge { resource: Resource::Peer, ..unknown })
            }
            WakeSource::Interrupt(name) => {
                let stack = self.push(stack, Frame::Irq(name));
                self.emit(
                    id,
                    from,
                    to,
                    Charge { resource: Resource::Completion, stack, ..unknown },
                );
            }
            WakeSource::Unknown => match facts.own_request(id, since, wait.since, wait.until) {
                Some(request) => self.request(id, request, from, to, stack, cause, wait.inferred),
                None => self.emit(id, from, to, unknown.because(Reason::UnnamedInterrupt)),
            },
        }
    }

    fn helper_frame(&self, id: TaskId, time: Nanos) -> Frame {
        let task = self.facts.model.task(id);
        let commit = task.op_chain(task.op_at(time)).find_map(|(_, op)| op.commit());
        let before = || {
            // The waiter is woken just after the commit's end.
            let after = task.ops.up_to(time);
            task.ops.iter().take(after).rev().take(8).find_map(|op| op.commit())
        };
        if self.facts.is_journal(id)
            && let Some(dev) = commit.or_else(before)
        {
            return Frame::Journal(dev);
        }
        Frame::Task(id)
    }

    /// What another task did meanwhile, under a cause that is decided.
    fn nested(
        &mut self,
        id: TaskId,
        from: Nanos,
        to: Nanos,
        stack: StackId,
        cause: Cause,
        depth: u16,
    ) {
        if from >= to {
            return;
        }
        let unknown = Charge::new(cause, Resource::Unknown, stack);
        if depth > MAX_DEPTH {
            self.emit(id, from, to, unknown.because(Reason::TooDeep));
            return;
        }
        let facts = self.facts;
        let task = facts.model.task(id);
        let running = if facts.is_kworker(id) {
            Resource::Completion
        } else if facts.is_kernel_thread(id) {
            Resource::CpuKernel
        } else {
            match cause {
                Cause::KernelLock | Cause::UserLock => Resource::LockHolder,
                Cause::IpcWait | Cause::ServiceWait => Resource::Peer,
                Cause::Unknown
                | Cause::CpuThrottle
                | Cause::RunDelay
                | Cause::Interrupt
                | Cause::Fsync
                | Cause::Reclaim
                | Cause::WritebackThrottle
                | Cause::TlbFlush
                | Cause::Journal
                | Cause::MajorFault
                | Cause::Spawn
                | Cause::MinorFault
                | Cause::VfsMetadata
                | Cause::BlockRead
                | Cause::BlockWrite
                | Cause::NetworkWait
                | Cause::Sleep
                | Cause::Idle
                | Cause::SyscallCpu
                | Cause::UserCpu => Resource::CpuKernel,
            }
        };
        let mut at = from;
        if let Some(first) = task.states.first()
            && from < first.start
        {
            at = first.start.min(to);
            match task.parent {
                Some(parent) => self.nested(parent, from, at, stack, cause, depth + 1),
                None => self.emit(id, from, at, unknown.because(Reason::NotAlive)),
            }
        }
        for (index, start, end, span) in task.spans(at, to) {
            match span.state {
                State::Running => {
                    self.emit(
                        id,
                        start,
                        end,
                        Charge { resource: running, ..unknown }.inferred(span.inferred),
                    );
                }
                State::Runnable => {
                    self.emit(
                        id,
                        start,
                        end,
                        Charge { resource: Resource::RunQueue, ..unknown }.inferred(span.inferred),
                    );
                }
                State::Blocked(_) => {
                    let next = task.states.get(index + 1);
                    let wait = Wait {
                        id,
                        since: span.start,
                        until: next.map_or(Nanos::MAX, |n| n.start),
                        wake: next.and_then(|n| n.wake).map(|w| facts.model.wake(w)),
                        inferred: span.inferred
                            || next.is_some_and(|n| n.inferred && n.wake.is_none()),
                    };
                    self.nested_wait(&wait, start, end, stack, cause, depth + 1);
                }
                State::New => match task.parent {
                    Some(parent) => self.nested(parent, start, end, stack, cause, depth + 1),
                    None => self.emit(id, start, end, unknown.because(Reason::NotAlive)),
                },
                State::Dead => self.emit(id, start, end, unknown.because(Reason::NotAlive)),
                State::Unknown(_) => self.emit(
                    id,
                    start,
                    end,
                    unknown.because(Reason::BeforeFirstEvent).inferred(span.inferred),
                ),
            }
        }
    }

    /// A wait for a block request: queue, device, completion.
    #[expect(clippy::too_many_arguments, reason = "a leaf of the walk")]
    fn request(
        &mut self,
        id: TaskId,
        index: u32,
        from: Nanos,
        to: Nanos,
        stack: StackId,
        cause: Cause,
        inferred: bool,
    ) {
        let Some(request) = self.facts.model.requests.get(index as usize).copied() else {
            let charge = Charge::new(cause, Resource::Unknown, stack);
            self.emit(id, from, to, charge.inferred(inferred));
            return;
        };
        let stack = self.push(stack, Frame::Block(request.rwbs.op, request.dev));
        let charge = Charge::new(cause, Resource::Unknown, stack)
            .inferred(inferred || request.completed.is_none());
        let queued = request.queued.clamp(from, to);
        let issued = request.issued.clamp(queued, to);
        let completed = request.completed.map_or(to, |c| c.clamp(issued, to));
        // Before its submission: whoever will submit it has not come to it yet.
        self.emit(id, from, queued, Charge { resource: Resource::Completion, ..charge });
        // A write with a preflush waits in the queue while the device flushes.
        let mut at = queued;
        if request.rwbs.preflush || request.rwbs.op == BlockOp::Write {
            let flushes =
                self.facts.model.requests.iter().take(index as usize).rev().take(16).rev();
            for flush in flushes.filter(|f| f.rwbs.op == BlockOp::Flush && f.dev == request.dev) {
                let start = flush.issued.clamp(at, issued);
                let end = flush.completed.unwrap_or(start).clamp(start, issued);
                if start < end {
                    self.emit(id, at, start, Charge { resource: Resource::DeviceQueue, ..charge });
                    self.emit(id, start, end, Charge { resource: Resource::Device, ..charge });
                    at = end;
                }
            }
        }
        self.emit(id, at, issued, Charge { resource: Resource::DeviceQueue, ..charge });
        self.emit(id, issued, completed, Charge { resource: Resource::Device, ..charge });
        self.emit(id, completed, to, Charge { resource: Resource::Completion, ..charge });
    }
}
