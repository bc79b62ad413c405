//! A step's requests to what was in the device's queue before them, by owner.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::Request;
use agenttrace_model::parse::Nanos;

use super::{Owner, OwnerKind};
use crate::inclusive::{Index, Stretch};
use crate::report::Stats;
use crate::stats::stats;

/// What one owner's requests were to those of a step.
#[derive(Clone, Debug)]
pub(crate) struct Delay {
    pub(crate) owner: Owner,
    /// The files of its requests, the most bytes first.
    pub(crate) files: Vec<(u32, u64)>,
    /// Its requests that were before one of ours, and their bytes.
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// How many of them write.
    pub(crate) writes: u64,
    /// Our requests that were behind one of its.
    pub(crate) delayed: u64,
    /// How long ours waited to be issued while its were in the queue or on the device.
    pub(crate) queue: Nanos,
    /// How long ours were on the device while its, issued before, were still there.
    pub(crate) device: Nanos,
}

/// What delayed the requests of a step.
#[derive(Clone, Default, Debug)]
pub(crate) struct Delays {
    /// By owner, the longest overlap first.
    pub(crate) owners: Vec<Delay>,
    /// Our requests, from queued to completed: those behind somebody's, and those during which
    /// the device had nobody else's.
    pub(crate) behind: Stats,
    pub(crate) alone: Stats,
}

#[derive(Default)]
struct Sum {
    files: BTreeMap<u32, u64>,
    seen: BTreeSet<u32>,
    bytes: u64,
    writes: u64,
    delayed: u64,
    queue: Nanos,
    device: Nanos,
}

/// One request of somebody, as it overlaps one of ours: (from, to), in the queue and on the
/// device. Only one of them may be empty.
struct Overlap {
    owner: Owner,
    queue: (Nanos, Nanos),
    device: (Nanos, Nanos),
}

fn overlap(ours: &Request, theirs: &Request, owner: Owner) -> Overlap {
    let done = ours.completed.unwrap_or(Nanos::MAX);
    let (from, to) = (theirs.queued, theirs.completed.unwrap_or(Nanos::ZERO));
    Overlap {
        owner,
        queue: (from.max(ours.queued), to.min(ours.issued)),
        device: (ours.issued, to.min(done)),
    }
}

/// What delayed those requests of a step's tasks that `keep` accepts.
pub(crate) fn delays(
    index: &Index<'_>,
    own: Option<usize>,
    work: &[Stretch],
    keep: impl Fn(&Request) -> bool,
) -> Delays {
    let mut sums: BTreeMap<Owner, Sum> = BTreeMap::new();
    let (mut behind, mut alone) = (Vec::new(), Vec::new());
    let mut overlaps: Vec<Overlap> = Vec::new();
    let mine = work.iter().flat_map(|stretch| index.submitted(*stretch));
    for (number, ours) in mine.filter(|(_, r)| r.completed.is_some() && keep(r)) {
        overlaps.clear();
        let mut beside = false;
        for (theirs_number, theirs) in index.block_io().around(index.model, number) {
            let owner = Owner::of(index, theirs);
            let ours_too = owner.kind == OwnerKind::Task
                && owner.step.zip(own).is_some_and(|(step, own)| index.windows.within(step, own));
            if ours_too {
                continue;
            }
            if theirs.issued >= ours.issued {
                // It cannot have been before ours, but may have slowed it.
                beside = true;
                continue;
            }
            let sum = sums.entry(owner).or_default();
            if sum.seen.insert(theirs_number) {
                sum.bytes += theirs.bytes();
                sum.writes += u64::from(!theirs.is_read());
                if let Some(file) = theirs.file {
                    *sum.files.entry(file).or_default() += theirs.bytes();
                }
            }
            overlaps.push(overlap(ours, theirs, owner));
        }
        let took = ours.completed.unwrap_or(ours.queued) - ours.queued;
        if !overlaps.is_empty() {
            behind.push(took);
        } else if !beside {
            alone.push(took);
        }
        overlaps.sort_by_key(|o| (o.owner, o.queue, o.device));
        for group in overlaps.chunk_by(|a, b| a.owner == b.owner) {
            let Some(sum) = group.first().and_then(|o| sums.get_mut(&o.owner)) else { continue };
            sum.delayed += 1;
            sum.queue += covered(group.iter().map(|o| o.queue));
            // All begin at our issue.
            let device = group.iter().map(|o| o.device.1 - o.device.0).max();
            sum.device += device.unwrap_or_default();
        }
    }
    let owners = sums.into_iter().map(|(owner, sum)| {
        let mut files: Vec<(u32, u64)> = sum.files.into_iter().collect();
        files.sort_by_key(|(file, bytes)| (Reverse(*bytes), *file));
        Delay {
            owner,
            files,
            requests: sum.seen.len() as u64,
            bytes: sum.bytes,
            writes: sum.writes,
            delayed: sum.delayed,
            queue: sum.queue,
            device: sum.device,
        }
    });
    let mut owners: Vec<Delay> = owners.collect();
    owners.sort_by_key(|d| (Reverse(d.queue + d.device), d.owner));
    Delays { owners, behind: stats(&mut behind), alone: stats(&mut alone) }
}

/// How much of time intervals cover together; they come by their start.
fn covered(intervals: impl Iterator<Item = (Nanos, Nanos)>) -> Nanos {
    let (mut total, mut done) = (Nanos::ZERO, Nanos::ZERO);
    for (from, to) in intervals {
        let from = from.max(done);
        if from < to {
            total += to - from;
            done = to;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_several_cover_counts_once() {
        let n = |a, b| (Nanos(a), Nanos(b));
        let all = [n(10, 20), n(15, 18), n(15, 30), n(40, 40), n(50, 45), n(60, 61)];
        assert_eq!(covered(all.into_iter()), Nanos(21));
    }
}
