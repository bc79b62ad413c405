//! A durability call to what it waited for: data, journal commit, cache flush, completion.
//!
//! ```text
//! call  [run][ blocked: data ......][hop][q][run][ blocked: the commit ............][hop][q][run]
//! own write   [queued ... completed)               [locking][flushing][logging ....)
//! flush                                                                  [flush)
//! ```
//!
//! A blocked stretch is flush while the device flushes, data while an own write is under
//! way, and hop from the last of its completions to the wakeup. What is left is the commit
//! if a thread of the kernel ended it: jbd2, or the log's workers of xfs and btrfs.

use agenttrace_model::parse::{BlockOp, Dev, Nanos};
use agenttrace_model::{Op, OpKind, Request, State, TaskId, WakeSource};

use crate::inclusive::{Index, Stretch, is_durability, ops};

/// The parts of a durability call; together its length.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct SyncParts {
    pub(crate) data: Nanos,
    /// Waiting for the commit, flushes apart.
    pub(crate) commit: Nanos,
    /// Waiting for the device to flush its cache, in the commit or not.
    pub(crate) flush: Nanos,
    /// From the last completion to the wakeup.
    pub(crate) hop: Nanos,
    /// Runnable.
    pub(crate) queue: Nanos,
    /// Running.
    pub(crate) cpu: Nanos,
    /// Blocked otherwise: locks, and what is not known.
    pub(crate) other: Nanos,
    /// Of the commit: waiting for open handles, writing data first, writing the journal.
    pub(crate) locking: Nanos,
    pub(crate) flushing: Nanos,
    pub(crate) logging: Nanos,
}

impl SyncParts {
    /// Adds another call's.
    pub(crate) fn add(&mut self, more: &Self) {
        self.data += more.data;
        self.commit += more.commit;
        self.flush += more.flush;
        self.hop += more.hop;
        self.queue += more.queue;
        self.cpu += more.cpu;
        self.other += more.other;
        self.locking += more.locking;
        self.flushing += more.flushing;
        self.logging += more.logging;
    }
}

/// One durability call.
#[derive(Clone, Debug)]
pub(crate) struct SyncCall {
    pub(crate) nr: i32,
    pub(crate) start: Nanos,
    pub(crate) end: Nanos,
    /// Index in the model's files, where the file system's own event or its writes tell.
    pub(crate) file: Option<u32>,
    pub(crate) parts: SyncParts,
    /// The commits that it waited for: index in the model, and how long.
    pub(crate) commits: Vec<(usize, Nanos)>,
}

/// The finished durability calls of a step's tasks, by their start.
pub(crate) fn syncs(index: &Index<'_>, work: &[Stretch]) -> Vec<SyncCall> {
    let mut calls = Vec::new();
    for stretch in work {
        let Some(task) = index.model.tasks.get(stretch.task.0 as usize) else { continue };
        for op in ops(task, *stretch) {
            let Some(call) = op.syscall() else { continue };
            if op.end != Nanos::MAX && !call.mark && is_durability(index.model, &call) {
                calls.push(sync(index, stretch.task, &op, call.nr));
            }
        }
    }
    calls.sort_by_key(|c| (c.start, c.end));
    calls
}

/// How many commits would have been left, had each window of this length, from the first
/// call in it on, had one.
pub(crate) fn groups(calls: &[SyncCall], window: Nanos) -> u64 {
    let mut groups = 0;
    let mut open: Option<Nanos> = None;
    for call in calls {
        if open.is_none_or(|from| call.start >= from + window) {
            groups += 1;
            open = Some(call.start);
        }
    }
    groups
}

fn sync(index: &Index<'_>, id: TaskId, op: &Op, nr: i32) -> SyncCall {
    let model = index.model;
    let task = model.task(id);
    let whole = Stretch { task: id, from: op.start, to: op.end, inferred: false };
    let own: Vec<&Request> = index.submitted(whole).map(|(_, r)| r).collect();
    let inner = ops(task, whole).find_map(|op| match op.kind {
        OpKind::SyncFile { dev, ino } => index.journals().file(dev, ino),
        OpKind::Syscall(_)
        | OpKind::Fault(_)
        | OpKind::Lock { .. }
        | OpKind::Irq(_)
        | OpKind::Softirq(_)
        | OpKind::LocalTimer
        | OpKind::Work(_)
        | OpKind::Commit { .. }
        | OpKind::Exit
        | OpKind::Reclaim(_)
        | OpKind::DirtyPause(_)
        | OpKind::TlbWait(_) => None,
    });
    let file = inner.or_else(|| own.iter().find_map(|r| r.file));
    let mut found = SyncCall {
        nr,
        start: op.start,
        end: op.end,
        file,
        parts: SyncParts::default(),
        commits: Vec::new(),
    };
    for (at, from, to, span) in task.spans(op.start, op.end) {
        match span.state {
            State::Running => found.parts.cpu += to - from,
            State::Runnable => found.parts.queue += to - from,
            State::Blocked(_) => {
                let wake = task.states.get(at + 1).and_then(|next| next.wake);
                let source = wake.map(|wake| model.wake(wake).source);
                Wait { index, id, from, to, source, own: &own }.split(&mut found);
            }
            State::New | State::Dead | State::Unknown(_) => found.parts.other += to - from,
        }
    }
    found
}

/// A blocked stretch of a durability call.
struct Wait<'a, 'm> {
    index: &'a Index<'m>,
    id: TaskId,
    from: Nanos,
    to: Nanos,
    source: Option<WakeSource>,
    /// The call's own requests.
    own: &'a [&'a Request],
}

type Interval = (Nanos, Nanos);

impl Wait<'_, '_> {
    fn clip(&self, from: Nanos, to: Nanos) -> Interval {
        (from.max(self.from), to.min(self.to))
    }

    /// The kernel thread that ended it.
    fn helper(&self) -> Option<TaskId> {
        match self.source? {
            WakeSource::Task(id) if self.index.block_io().is_kernel_thread(id) => Some(id),
            WakeSource::Task(_)
            | WakeSource::Block(_)
            | WakeSource::Timer
            | WakeSource::Network
            | WakeSource::Interrupt(_)
            | WakeSource::Unknown => None,
        }
    }

    /// The request that ended it, or the last sleep of the kernel thread that ended it.
    fn ended_by(&self) -> Option<&Request> {
        let model = self.index.model;
        let source = match self.helper() {
            None => self.source?,
            Some(helper) => {
                let states = &model.task(helper).states;
                let spans = states.range(0..states.up_to(self.to)).rev();
                let wake = spans.take_while(|s| s.start > self.from).find_map(|s| s.wake)?;
                model.wake(wake).source
            }
        };
        if let WakeSource::Block(request) = source {
            return model.requests.get(request as usize);
        }
        None
    }

    fn split(&self, call: &mut SyncCall) {
        let (index, model) = (self.index, self.index.model);
        let (mut data, mut flush): (Vec<Interval>, Vec<Interval>) = (Vec::new(), Vec::new());
        let mut devices: Vec<Dev> = Vec::new();
        let mut done = Nanos::ZERO;
        let mut finished = |time: Option<Nanos>| {
            if let Some(time) = time.filter(|time| *time <= self.to) {
                done = done.max(time);
            }
        };
        let helper = self.helper();
        // Its own fast commit writes blocks of the journal, and the rest is data.
        let fast: Vec<Interval> = index
            .journals()
            .commits(model, self.id, self.from, self.to)
            .filter(|(_, c)| c.fast)
            .map(|(_, c)| (c.start, c.end.unwrap_or(Nanos::MAX)))
            .collect();
        let of_commit = |r: &Request| {
            r.rwbs.meta && fast.iter().any(|(from, to)| *from <= r.queued && r.queued < *to)
        };
        for request in self.own.iter().filter(|r| r.queued < self.to) {
            devices.push(request.dev);
            finished(request.completed);
            let interval = self.clip(request.queued, request.completed.unwrap_or(self.to));
            if request.rwbs.op == BlockOp::Flush {
                flush.push(interval);
            } else if !of_commit(request) {
                data.push(interval);
            }
        }
        let ended_by = self.ended_by();
        if let Some(request) = ended_by {
            devices.push(request.dev);
            finished(request.completed);
            let interval = self.clip(request.queued, request.completed.unwrap_or(self.to));
            match (request.rwbs.op, helper) {
                (BlockOp::Flush, _) => flush.push(interval),
                // Written by another task, for this call waits on the page itself.
                (_, None) if !of_commit(request) => data.push(interval),
                (_, _) => {}
            }
        }
        let mut phases: [Vec<Interval>; 3] = Default::default();
        if let Some(helper) = helper {
            for (number, commit) in index.journals().commits(model, helper, self.from, self.to) {
                devices.push(commit.dev);
                finished(commit.end);
                let end = commit.end.unwrap_or(self.to);
                let marks = [commit.locking, commit.flushing, commit.logging, Some(end)];
                for (phase, pair) in phases.iter_mut().zip(marks.windows(2)) {
                    if let [Some(from), Some(to)] = pair {
                        phase.push(self.clip(*from, *to));
                    }
                }
                let (from, to) = self.clip(commit.start, end);
                call.commits.push((number, to - from));
            }
        }
        devices.sort_unstable();
        devices.dedup();
        for device in devices {
            let flushes = index.block_io().flushes(model, device, self.from, self.to);
            for flushing in flushes {
                // The flush after a write, too, ends before who waits for the write is woken.
                finished(flushing.completed);
                let end = flushing.completed.unwrap_or(self.to);
                flush.push(self.clip(flushing.issued, end));
            }
        }
        let flushed = covered(&mut flush, &[]);
        let parts = &mut call.parts;
        let written = covered(&mut data, &flush);
        let mut busy: Vec<Interval> = flush.iter().chain(&data).copied().collect();
        busy.sort_unstable();
        let hop = if done > self.from {
            covered(&mut vec![self.clip(done, self.to)], &busy)
        } else {
            Nanos::ZERO
        };
        let rest = (self.to - self.from) - flushed - written - hop;
        parts.flush += flushed;
        parts.data += written;
        parts.hop += hop;
        if helper.is_some() || !fast.is_empty() {
            parts.commit += rest;
            let sums = [&mut parts.locking, &mut parts.flushing, &mut parts.logging];
            for (sum, mut phase) in sums.into_iter().zip(phases) {
                *sum += covered(&mut phase, &flush);
            }
        } else {
            parts.other += rest;
        }
    }
}

/// How much of time intervals cover together, without what others cover. Sorts them.
fn covered(intervals: &mut Vec<Interval>, without: &[Interval]) -> Nanos {
    intervals.retain(|(from, to)| from < to);
    intervals.sort_unstable();
    let (mut total, mut done) = (Nanos::ZERO, Nanos::ZERO);
    for (from, to) in intervals.iter() {
        let from = (*from).max(done);
        if from < *to {
            total += *to - from;
            done = *to;
            // The others are sorted, as this function left them.
            let mut at = from;
            for (a, b) in without {
                let (a, b) = ((*a).max(at), (*b).min(*to));
                if a < b {
                    total = total - (b - a);
                    at = b;
                }
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(a: u64, b: u64) -> Interval {
        (Nanos(a), Nanos(b))
    }

    #[test]
    fn what_is_flush_is_not_data_as_well() {
        let mut flush = vec![n(30, 40), n(12, 15), n(13, 18)];
        assert_eq!(covered(&mut flush, &[]), Nanos(16));
        let mut data = vec![n(10, 20), n(15, 35), n(50, 50)];
        assert_eq!(covered(&mut data, &flush), Nanos(25 - 6 - 5));
    }

    #[test]
    fn a_window_holds_what_begins_in_it() {
        let call = |start| SyncCall {
            nr: 74,
            start: Nanos(start),
            end: Nanos(start + 5),
            file: None,
            parts: SyncParts::default(),
            commits: Vec::new(),
        };
        let calls: Vec<SyncCall> = [0, 40, 99, 100, 190, 205].map(call).to_vec();
        assert_eq!(groups(&calls, Nanos(100)), 3);
        assert_eq!(groups(&[], Nanos(100)), 0);
    }
}
