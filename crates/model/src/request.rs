//! Block requests: queued, issued, completed, matched over merges, splits and bounces.

use std::collections::BTreeMap;

use agenttrace_parse::{BlockOp, Dev, Nanos, Rwbs};
use rustc_hash::FxHashMap;

use crate::task::TaskId;

/// One block request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Request {
    /// Device that served it.
    pub dev: Dev,
    /// First sector, in 512 bytes.
    pub sector: u64,
    /// Sectors.
    pub sectors: u32,
    /// What it does.
    pub rwbs: Rwbs,
    /// When its first bio was submitted; the issue where that was not recorded.
    pub queued: Nanos,
    /// Its last issue to the driver before the completion.
    pub issued: Nanos,
    /// Completion; `None` where not recorded.
    pub completed: Option<Nanos>,
    /// The task that submitted its first bio; the issuer where not recorded.
    pub submitter: Option<TaskId>,
    /// How often it was issued.
    pub issues: u32,
    /// When it was first given to the I/O scheduler; `None` where it had none, or that was
    /// not recorded.
    pub inserted: Option<Nanos>,
    /// Bios that went into it, in whole or in part; 0 where they were not recorded.
    pub bios: u32,
    /// It holds a part of a bio that was split.
    pub split: bool,
    /// The file it belongs to, index in [`crate::Model::files`]: that of its first bio, where
    /// something told it.
    pub file: Option<u32>,
}

impl Request {
    /// Bytes moved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.sectors) * 512
    }

    /// The first sector behind it.
    #[must_use]
    pub fn sector_end(&self) -> u64 {
        self.sector.saturating_add(u64::from(self.sectors))
    }

    /// Whether it is a read, for the causes.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.rwbs.op == BlockOp::Read
    }
}

/// A bio that waits to become a request, or part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bio {
    sector: u64,
    end: u64,
    op: BlockOp,
    time: Nanos,
    task: Option<TaskId>,
    file: Option<u32>,
    /// A part of it went into a request already.
    split: bool,
}

impl Bio {
    pub(crate) fn new(
        sector: u64,
        sectors: u32,
        rwbs: Rwbs,
        time: Nanos,
        task: Option<TaskId>,
        file: Option<u32>,
    ) -> Self {
        let end = sector.saturating_add(u64::from(sectors));
        Self { sector, end, op: rwbs.op, time, task, file, split: false }
    }
}

/// Matches bios, issues and completions (EVENTS 4.2).
#[derive(Default, Debug)]
pub(crate) struct RequestTracker {
    pub(crate) requests: Vec<Request>,
    bios: FxHashMap<Dev, Vec<Bio>>,
    disk_of: FxHashMap<Dev, Dev>,
    outstanding: BTreeMap<(Dev, u64), u32>,
    flushes: FxHashMap<Dev, Vec<u32>>,
    inserted: FxHashMap<(Dev, u64), Nanos>,
    pub(crate) unmatched_completions: u64,
}

/// A device keeps at most this many bios that never were issued.
const MAX_BIOS: usize = 4096;
/// Requests given to schedulers of which no issue has come; more are damage.
const MAX_INSERTED: usize = 65_536;

impl RequestTracker {
    pub(crate) fn queue(&mut self, dev: Dev, bio: Bio) {
        let dev = self.disk_of.get(&dev).copied().unwrap_or(dev);
        let bios = self.bios.entry(dev).or_default();
        if bios.len() >= MAX_BIOS {
            bios.drain(..MAX_BIOS / 2);
        }
        bios.push(bio);
    }

    /// A request was given to the I/O scheduler; again after a bounce.
    pub(crate) fn insert(&mut self, dev: Dev, sector: u64, time: Nanos) {
        if self.inserted.len() >= MAX_INSERTED {
            self.inserted.clear();
        }
        self.inserted.entry((dev, sector)).or_insert(time);
    }

    pub(crate) fn remap(&mut self, dev: Dev, old_dev: Dev) {
        if dev != old_dev && dev.major() == old_dev.major() {
            self.disk_of.insert(old_dev, dev);
        }
    }

    pub(crate) fn issue(
        &mut self,
        dev: Dev,
        sector: u64,
        sectors: u32,
        rwbs: Rwbs,
        time: Nanos,
        task: Option<TaskId>,
    ) {
        if let Some(request) = self.at(dev, sector).filter(|_| sectors > 0)
            && request.sector <= sector
            && sector.saturating_add(u64::from(sectors))
                <= request.sector.saturating_add(u64::from(request.sectors))
            && request.rwbs.op == rwbs.op
        {
            request.issued = time;
            request.issues += 1;
            self.inserted.remove(&(dev, sector));
            return;
        }
        let end = sector.saturating_add(u64::from(sectors));
        let mut first: Option<(Nanos, Option<TaskId>)> = None;
        let (mut merged, mut split, mut file) = (0_u32, false, None);
        if let Some(bios) = self.bios.get_mut(&dev) {
            bios.retain_mut(|bio| {
                let flush = sectors == 0 && bio.sector == bio.end && rwbs.op == BlockOp::Flush;
                let inside = bio.op == rwbs.op && bio.sector < end && sector < bio.end;
                if !flush && !inside {
                    return true;
                }
                if first.is_none_or(|(time, _)| bio.time < time) {
                    first = Some((bio.time, bio.task));
                    file = bio.file.or(file);
                }
                merged = merged.saturating_add(1);
                split |= bio.split || (!flush && bio.end > end);
                bio.split = true;
                // A split bio goes on in the next request.
                bio.sector = end;
                !flush && bio.sector < bio.end
            });
        }
        let (queued, submitter) = first.unwrap_or((time, task));
        let index = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
        self.requests.push(Request {
            dev,
            sector,
            sectors,
            rwbs,
            queued,
            issued: time,
            completed: None,
            submitter,
            issues: 1,
            inserted: self.inserted.remove(&(dev, sector)).filter(|_| sectors > 0),
            bios: merged,
            split,
            file,
        });
        if sectors == 0 {
            self.flushes.entry(dev).or_default().push(index);
        } else {
            self.outstanding.insert((dev, sector), index);
        }
    }

    fn at(&mut self, dev: Dev, sector: u64) -> Option<&mut Request> {
        let (_, index) = self.outstanding.range((dev, 0)..=(dev, sector)).next_back()?;
        let request = self.requests.get_mut(*index as usize)?;
        (sector < request.sector.saturating_add(u64::from(request.sectors))).then_some(request)
    }

    /// The request that this completion finishes; `None` for a part of one.
    pub(crate) fn complete(
        &mut self,
        dev: Dev,
        sector: u64,
        sectors: u32,
        rwbs: Rwbs,
        time: Nanos,
    ) -> Option<u32> {
        if sectors == 0 {
            // The parent of a flush sequence completes as `WS 0 + 0` and was
            // never issued so; it ends with the flush's own completion.
            let waiting = self.flushes.get_mut(&dev)?;
            if rwbs.op != BlockOp::Flush || waiting.is_empty() {
                return None;
            }
            let index = waiting.remove(0);
            self.requests.get_mut(index as usize)?.completed = Some(time);
            return Some(index);
        }
        let found = self
            .outstanding
            .range((dev, 0)..=(dev, sector))
            .next_back()
            .map(|(key, index)| (*key, *index));
        let Some((key, index)) = found else {
            self.unmatched_completions += 1;
            return None;
        };
        let request = self.requests.get_mut(index as usize)?;
        let end = request.sector.saturating_add(u64::from(request.sectors));
        if sector >= end {
            self.unmatched_completions += 1;
            return None;
        }
        if sector.saturating_add(u64::from(sectors)) < end {
            return None;
        }
        request.completed = Some(time);
        self.outstanding.remove(&key);
        Some(index)
    }

    /// Partitions, and their disks, that bios were remapped between.
    pub(crate) fn disks(&self) -> BTreeMap<Dev, Dev> {
        self.disk_of.iter().map(|(part, disk)| (*part, *disk)).collect()
    }

    /// Requests issued and not completed so far.
    pub(crate) fn open(&self) -> u64 {
        (self.outstanding.len() + self.flushes.values().map(Vec::len).sum::<usize>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: Dev = Dev(254 << 20);

    fn rwbs(letters: &str) -> Rwbs {
        Rwbs::parse(letters.as_bytes())
    }

    #[test]
    fn a_split_bio_becomes_two_requests_queued_at_once() {
        // EVENTS 4.2: bio 37289984+4088 became requests 4056+32.
        let mut t = RequestTracker::default();
        t.queue(DEV, Bio::new(37_289_984, 4088, rwbs("R"), Nanos(10), Some(TaskId(1)), None));
        t.issue(DEV, 37_289_984, 4056, rwbs("R"), Nanos(20), None);
        t.issue(DEV, 37_294_040, 32, rwbs("R"), Nanos(30), None);
        assert_eq!(t.complete(DEV, 37_294_040, 32, rwbs("R"), Nanos(40)), Some(1));
        assert_eq!(t.complete(DEV, 37_289_984, 4056, rwbs("R"), Nanos(50)), Some(0));
        let times: Vec<_> =
            t.requests.iter().map(|r| (r.queued.0, r.issued.0, r.completed)).collect();
        assert_eq!(times, [(10, 20, Some(Nanos(50))), (10, 30, Some(Nanos(40)))]);
        assert_eq!((t.open(), t.unmatched_completions), (0, 0));
        assert_eq!(t.requests[1].submitter, Some(TaskId(1)));
        assert_eq!([0, 1].map(|i| (t.requests[i].bios, t.requests[i].split)), [(1, true); 2]);
    }

    #[test]
    fn a_bounced_request_counts_its_last_issue_and_partial_completions_wait() {
        let mut t = RequestTracker::default();
        t.queue(DEV, Bio::new(100, 16, rwbs("WS"), Nanos(1), None, None));
        t.issue(DEV, 100, 16, rwbs("WS"), Nanos(2), None);
        t.issue(DEV, 100, 16, rwbs("WS"), Nanos(5), None);
        assert_eq!(t.complete(DEV, 100, 8, rwbs("WS"), Nanos(7)), None);
        assert_eq!(t.complete(DEV, 108, 8, rwbs("WS"), Nanos(9)), Some(0));
        assert_eq!(t.requests.len(), 1);
        let r = t.requests[0];
        assert_eq!(
            (r.queued, r.issued, r.completed, r.issues),
            (Nanos(1), Nanos(5), Some(Nanos(9)), 2)
        );
    }

    #[test]
    fn a_flush_sequence_balances_to_zero() {
        let mut t = RequestTracker::default();
        t.queue(DEV, Bio::new(0, 0, rwbs("FWS"), Nanos(1), Some(TaskId(3)), None));
        t.issue(DEV, 0, 0, rwbs("FF"), Nanos(2), None);
        assert_eq!(t.complete(DEV, u64::MAX, 0, rwbs("FF"), Nanos(8)), Some(0));
        assert_eq!(t.complete(DEV, 0, 0, rwbs("WS"), Nanos(9)), None);
        assert_eq!((t.open(), t.unmatched_completions), (0, 0));
        // The empty bio that asked for the flush tells who waits and since when.
        assert_eq!((t.requests[0].queued, t.requests[0].submitter), (Nanos(1), Some(TaskId(3))));
    }

    #[test]
    fn a_merged_request_tells_its_bios_its_file_and_its_time_in_the_scheduler() {
        let mut t = RequestTracker::default();
        t.queue(DEV, Bio::new(8, 8, rwbs("R"), Nanos(1), Some(TaskId(3)), Some(7)));
        t.queue(DEV, Bio::new(16, 8, rwbs("R"), Nanos(2), Some(TaskId(3)), Some(9)));
        t.insert(DEV, 8, Nanos(3));
        t.issue(DEV, 8, 16, rwbs("R"), Nanos(9), None);
        let r = t.requests[0];
        assert_eq!(
            (r.bios, r.split, r.file, r.inserted, r.queued),
            (2, false, Some(7), Some(Nanos(3)), Nanos(1))
        );
        assert_eq!(r.sector_end(), 24);
    }
}
