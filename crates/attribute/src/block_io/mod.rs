//! Block requests of the whole capture to look-ups: queues, waiters, plugs, owners.
//!
//! ```text
//! theirs   [queued   [issued ................ completed)
//! ours          [queued ..............[issued ....... completed) [waiter woken [it runs
//!               |<- behind theirs --->|<-- beside --->|  hop      |   wakeup    |
//! ```

mod delays;
mod owner;

use std::collections::BTreeMap;

use agenttrace_model::parse::{BlockOp, Dev, Nanos};
use agenttrace_model::{FileWrite, Model, Plug, Request, State, TaskId, WakeSource};
use rustc_hash::FxHashMap;

use crate::facts::is_kernel_thread;

pub(crate) use delays::{Delay, Delays, delays};
pub(crate) use owner::{Owner, OwnerKind};

/// Who waited for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    /// When it was woken: for a completion that hops through a kworker, by that.
    pub(crate) woken: Nanos,
    /// When it ran; `None` where not recorded.
    pub(crate) ran: Option<Nanos>,
}

/// The requests of one device.
#[derive(Default, Debug)]
struct Queue {
    /// By the time they were queued.
    order: Vec<u32>,
    /// The latest completion of each and all before it.
    reach: Vec<Nanos>,
}

/// Look-ups over all requests.
pub(crate) struct BlockIo {
    kernel: Vec<bool>,
    waiters: FxHashMap<u32, Waiter>,
    queues: BTreeMap<Dev, Queue>,
    flushes: BTreeMap<Dev, Vec<u32>>,
    plugs: FxHashMap<TaskId, Vec<Plug>>,
    writes: FxHashMap<u32, Vec<FileWrite>>,
    plugs_recorded: bool,
}

/// At most so many requests are looked at that were queued before one: devices have fewer
/// in flight (`nr_requests` is 256 for most).
const LOOK_BACK: usize = 256;

impl BlockIo {
    pub(crate) fn new(model: &Model) -> Self {
        let kernel: Vec<bool> = model.tasks.iter().map(|t| is_kernel_thread(model, t)).collect();
        let mut queues: BTreeMap<Dev, Queue> = BTreeMap::new();
        let mut flushes: BTreeMap<Dev, Vec<u32>> = BTreeMap::new();
        for (index, request) in model.requests.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            queues.entry(request.dev).or_default().order.push(index);
            if request.rwbs.op == BlockOp::Flush {
                flushes.entry(request.dev).or_default().push(index);
            }
        }
        let at = |index: &u32| model.requests.get(*index as usize);
        for queue in queues.values_mut() {
            queue.order.sort_by_key(|i| (at(i).map(|r| r.queued), *i));
            let mut reach = Nanos::ZERO;
            for request in queue.order.iter().filter_map(at) {
                reach = reach.max(request.completed.unwrap_or(Nanos::ZERO));
                queue.reach.push(reach);
            }
        }
        let mut plugs: FxHashMap<TaskId, Vec<Plug>> = FxHashMap::default();
        for plug in &model.plugs {
            plugs.entry(plug.task).or_default().push(*plug);
        }
        let mut writes: FxHashMap<u32, Vec<FileWrite>> = FxHashMap::default();
        for write in &model.file_writes {
            writes.entry(write.file).or_default().push(*write);
        }
        let mut this = Self {
            kernel,
            waiters: FxHashMap::default(),
            queues,
            flushes,
            plugs,
            writes,
            plugs_recorded: model.captured.has("block:block_unplug"),
        };
        this.waiters = this.find_waiters(model);
        this
    }

    fn find_waiters(&self, model: &Model) -> FxHashMap<u32, Waiter> {
        let mut waiters: FxHashMap<u32, Waiter> = FxHashMap::default();
        for wake in &model.wakes {
            let WakeSource::Block(index) = wake.source else { continue };
            let Some(request) = model.requests.get(index as usize) else { continue };
            let (woken, task) = if self.is_kernel_thread(wake.wakee) {
                // A hop through a kworker: the submitter, if that woke it.
                let Some(hop) = self.hop(model, request, wake.wakee) else { continue };
                hop
            } else {
                (wake.time, wake.wakee)
            };
            let ran = ran_after(model, task, woken);
            let waiter = waiters.entry(index).or_insert(Waiter { woken, ran });
            if woken < waiter.woken {
                *waiter = Waiter { woken, ran };
            }
        }
        waiters
    }

    /// When a kernel thread that a completion woke passed it on to the request's submitter.
    fn hop(&self, model: &Model, request: &Request, helper: TaskId) -> Option<(Nanos, TaskId)> {
        let submitter = request.submitter.filter(|id| !self.is_kernel_thread(*id))?;
        let task = model.tasks.get(submitter.0 as usize)?;
        let at = task.span_at(request.completed?);
        let blocked = task.states.get(at).filter(|s| matches!(s.state, State::Blocked(_)));
        blocked?;
        let wake = model.wake(task.states.get(at + 1)?.wake?);
        (wake.source == WakeSource::Task(helper)).then_some((wake.time, submitter))
    }

    pub(crate) fn is_kernel_thread(&self, task: TaskId) -> bool {
        self.kernel.get(task.0 as usize).copied().unwrap_or(false)
    }

    pub(crate) fn waiter(&self, request: u32) -> Option<Waiter> {
        self.waiters.get(&request).copied()
    }

    /// How long a request was held back in its submitter's plug; `None`: plugs not recorded.
    pub(crate) fn plugged(&self, request: &Request) -> Option<Nanos> {
        if !self.plugs_recorded {
            return None;
        }
        let plugs = request.submitter.and_then(|task| self.plugs.get(&task));
        let plugs = plugs.map(Vec::as_slice).unwrap_or_default();
        let after = plugs.partition_point(|plug| plug.to < request.queued);
        let sent = request.inserted.unwrap_or(request.issued);
        let plug = plugs.get(after).filter(|plug| plug.to <= sent);
        Some(plug.map_or(Nanos::ZERO, |plug| plug.to - plug.from.max(request.queued)))
    }

    /// Who last put data of a file into the page cache before a time.
    pub(crate) fn writer(&self, file: u32, before: Nanos) -> Option<FileWrite> {
        let writes = self.writes.get(&file)?;
        let after = writes.partition_point(|w| w.first < before);
        after.checked_sub(1).and_then(|i| writes.get(i)).copied()
    }

    /// Cache flushes of a device that are under way in `[from, to)`.
    pub(crate) fn flushes<'m>(
        &self,
        model: &'m Model,
        device: Dev,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = &'m Request> {
        let list = self.flushes.get(&device).map(Vec::as_slice).unwrap_or_default();
        let at = |i: &u32| model.requests.get(*i as usize);
        // By their issue, and one at a time: blk_flush_queue has one flush under way.
        let first = list.partition_point(|i| at(i).is_some_and(|r| r.issued < from));
        let first = first.saturating_sub(2);
        let found: Vec<&Request> = list
            .iter()
            .skip(first)
            .filter_map(at)
            .take_while(|r| r.issued < to)
            .filter(|r| r.completed.is_none_or(|done| done > from))
            .collect();
        found.into_iter()
    }

    /// The other requests of the device that were queued or on it while this one was. The
    /// latest queued first.
    pub(crate) fn around<'a>(
        &'a self,
        model: &'a Model,
        index: u32,
    ) -> impl Iterator<Item = (u32, &'a Request)> + 'a {
        let ours = model.requests.get(index as usize);
        let queue = ours.and_then(|r| self.queues.get(&r.dev));
        ours.zip(queue).into_iter().flat_map(move |(ours, queue)| {
            let at = |i: u32| model.requests.get(i as usize);
            let queued = |i: &u32| at(*i).map_or(Nanos::MAX, |r| r.queued);
            let done = ours.completed.unwrap_or(ours.issued);
            let end = queue.order.partition_point(|i| queued(i) < done);
            let before = queue.order.get(..end).unwrap_or_default();
            let reach = queue.reach.get(..end).unwrap_or_default();
            let open = reach.partition_point(|reach| *reach <= ours.queued);
            before
                .get(open..)
                .unwrap_or_default()
                .iter()
                .rev()
                .take(LOOK_BACK)
                .filter_map(move |i| at(*i).map(|r| (*i, r)))
                .filter(move |(i, r)| {
                    *i != index && r.completed.is_some_and(|done| done > ours.queued)
                })
        })
    }
}

/// When a task ran after it was woken at `time`.
pub(crate) fn ran_after(model: &Model, task: TaskId, time: Nanos) -> Option<Nanos> {
    let states = &model.tasks.get(task.0 as usize)?.states;
    let mut later = states.since(states.before(time));
    let next = later.find(|span| span.state != State::Runnable)?;
    (next.state == State::Running).then_some(next.start)
}
