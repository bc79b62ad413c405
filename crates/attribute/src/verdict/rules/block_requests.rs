//! Waiting for block reads, and for block writes: one body over the direction.
//!
//! # What it detects
//! Time of the critical path in read or write calls that slept for the device, and in
//! other waits for block reads or writes, outside durability operations, faults and
//! metadata calls.
//! # Evidence
//! Requests and bytes by file and device, in order or at random; time on the device, in
//! its queue, held back in plugs; whose requests were in the device's queue before ours,
//! and how long ours took behind them and without them.
//! # Why it matters
//! Queue time can be had back by less competing I/O; device time only by less I/O. One
//! read after the other leaves a device idle that serves many at once.
//! # When it is wrong
//! Without `block_bio_queue` the submitter is the issuer, which may be a kworker. Who was
//! in the queue before need not have delayed ours, where the device serves many at once:
//! the title names it only where ours took longer behind it. Write-back is of the task
//! that wrote the file last, which need not have written the very pages.
//! # References
//! Documentation/block/; block/blk-mq.c; fs/fs-writeback.c.

use std::cmp::Reverse;

use agenttrace_model::Request;
use agenttrace_model::parse::{BlockOp, Nanos};

use crate::block_io::{Delay, Delays, OwnerKind, delays};
use crate::cause::{Cause, Resource};
use crate::mechanism::block_files::{FileRequests, by_file};
use crate::path::file_name;
use crate::report::{Evidence, Recommendation};
use crate::stats::{human, plural, size};
use crate::verdict::rules::refaults;
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, time};

/// The rule of one direction.
pub(crate) struct BlockRequests {
    id: &'static str,
    causes: &'static [Cause],
    failure_mode: &'static str,
    noun: &'static str,
    op: BlockOp,
}

/// Reads.
pub(crate) const READS: BlockRequests = BlockRequests {
    id: "block_reads",
    causes: &[Cause::BlockRead],
    failure_mode: "reads wait for the disk",
    noun: "read",
    op: BlockOp::Read,
};

/// Writes.
pub(crate) const WRITES: BlockRequests = BlockRequests {
    id: "block_writes",
    causes: &[Cause::BlockWrite],
    failure_mode: "writes wait for the disk",
    noun: "write",
    op: BlockOp::Write,
};

const REQUESTS: &str = "block requests of the step's tasks";
const AHEAD: &str = "block requests of all tasks";

impl Rule for BlockRequests {
    fn id(&self) -> &'static str {
        self.id
    }
    fn causes(&self) -> &'static [Cause] {
        self.causes
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        self.failure_mode
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let parts = facts.parts;
        let ours = |r: &Request| r.rwbs.op == self.op;
        let files = by_file(parts.index, parts.work, ours);
        let delays = delays(parts.index, facts.number(), parts.work, ours);
        let culprit = culprit(&delays);
        let (on, queue) =
            (facts.on(cause, Resource::Device), facts.on(cause, Resource::DeviceQueue));
        let device = facts.device(cause).map_or_else(|| "a device".to_owned(), |(name, _)| name);

        let mut evidence = shares(facts, cause);
        evidence.extend(self.by_device(facts));
        evidence.extend(files.iter().take(3).map(|file| self.file(facts, file)));
        if on + queue > ZERO {
            evidence.push(time(
                format_args!("{} on {device}, {} in its queue", human(on), human(queue)),
                on + queue,
                "block requests on the critical path",
            ));
        }
        evidence.extend(self.plugs(facts));
        evidence.extend(self.behind(facts, &delays));
        let again = (self.op == BlockOp::Read).then(|| refaults::reads(facts, cause));

        let mut title = self.what(facts, &files);
        if let Some((name, _)) = facts.call(cause) {
            title.push_str(&format!(" in {name}"));
        }
        title.push_str(&format!(": {} on {device}", human(facts.own(cause))));
        if queue.0.saturating_mul(10) >= (on + queue).0.max(1) {
            title.push_str(&format!(", {} of it queued", human(queue)));
        }
        if let Some(delay) = culprit {
            title.push_str(&format!(", behind {}", self.whose(facts, delay)));
        }
        let mut recommendations = self.advice(facts, cause, queue, &delays, culprit);
        if let Some(again) = again {
            evidence.extend(again.evidence);
            if let Some(words) = again.title {
                title.push_str(&format!("; {words}"));
            }
            recommendations.extend(again.recommendations);
        }
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}

/// The owner that a verdict names: its requests were before ours for a quarter of their time,
/// and ours took half as long again behind others' requests as without (or never were without).
fn culprit(delays: &Delays) -> Option<&Delay> {
    let overlap = |delay: &Delay| delay.queue + delay.device;
    let longest = overlap(delays.owners.first()?);
    // Of those that were there about as long, the one that moved most.
    let near = delays.owners.iter().filter(|d| overlap(d).0.saturating_mul(2) >= longest.0);
    let first = near.max_by_key(|d| (d.bytes, overlap(d), Reverse(d.owner)))?;
    let (behind, alone) = (delays.behind, delays.alone);
    let longer = match alone.count {
        0..FEW => behind.count >= FEW,
        _ => behind.total.0.saturating_mul(2) >= expected(delays).0.saturating_mul(3),
    };
    let total = behind.total + alone.total;
    let much = overlap(first).0.saturating_mul(4) >= total.0;
    (longer && much).then_some(first)
}

/// What the requests behind others' would have taken, had each taken what those without took.
fn expected(delays: &Delays) -> Nanos {
    Nanos(delays.alone.p50.0.saturating_mul(delays.behind.count))
}

/// Fewer requests than this have no median worth comparing.
const FEW: u64 = 4;

impl BlockRequests {
    /// `90 random reads of repo.pack (360.0 KiB)`.
    fn what(&self, facts: &Facts<'_>, files: &[FileRequests]) -> String {
        let requests: u64 = files.iter().map(|f| f.count).sum();
        let bytes: u64 = files.iter().map(|f| f.bytes).sum();
        let Some(main) = files.first() else { return format!("block {}s", self.noun) };
        // The file's name stands for all where nearly all is of it.
        let most = main.count.saturating_mul(10) >= requests.saturating_mul(9);
        match main.file.filter(|_| most) {
            Some(file) => {
                let noun = format!("{}{}", main.order().adjective(), self.noun);
                let name = file_name(facts.model(), file);
                format!("{} of {name} ({})", plural(main.count, &noun), size(main.bytes))
            }
            None => {
                let order = if files.len() == 1 { main.order().adjective() } else { "" };
                let noun = format!("{order}block {}", self.noun);
                format!("{} ({} in all)", plural(requests, &noun), size(bytes))
            }
        }
    }

    fn by_device(&self, facts: &Facts<'_>) -> Vec<Evidence> {
        let rows = facts.inclusive().block.as_deref().unwrap_or_default();
        let rows = rows.iter().filter(|row| row.op == self.op.name()).map(|row| {
            let name = row.name.clone().unwrap_or_else(|| row.dev.to_string());
            let text = format!(
                "{} on {name}, {}: p50 {}, p99 {}",
                plural(row.count, self.noun),
                size(row.bytes),
                human(row.p50),
                human(row.p99)
            );
            count(text, row.count, REQUESTS)
        });
        rows.collect()
    }

    fn file(&self, facts: &Facts<'_>, file: &FileRequests) -> Evidence {
        let name = file.file.map_or_else(
            || "metadata, or a file that no event names".to_owned(),
            |file| file_name(facts.model(), file),
        );
        let text = format!(
            "{} of {name}, {}, {} where the one before ended",
            plural(file.count, self.noun),
            size(file.bytes),
            file.sequential
        );
        count(text, file.count, REQUESTS)
    }

    /// How long plugs held requests back, where that is worth a line.
    fn plugs(&self, facts: &Facts<'_>) -> Option<Evidence> {
        let index = facts.parts.index;
        let mine = facts.parts.work.iter().flat_map(|s| index.submitted(*s));
        let held = mine.filter(|(_, r)| r.rwbs.op == self.op);
        let held: Nanos = held.filter_map(|(_, r)| index.block_io().plugged(r)).sum();
        let text = format!("{} held back in plugs by the step's own tasks", human(held));
        let worth = held > ZERO && held.0.saturating_mul(20) >= facts.wall.0;
        worth.then(|| time(text, held, "block_plug to block_unplug"))
    }

    fn behind(&self, facts: &Facts<'_>, delays: &Delays) -> Vec<Evidence> {
        let mut evidence: Vec<Evidence> = Vec::new();
        for delay in delays.owners.iter().take(3) {
            let together = delay.queue + delay.device;
            let text = format!(
                "{} in the queue before {} of ours: {} of their queue time, {} on the device together",
                self.whose(facts, delay),
                delay.delayed,
                human(delay.queue),
                human(delay.device)
            );
            evidence.push(time(text, together, AHEAD));
        }
        let (behind, alone) = (delays.behind, delays.alone);
        if behind.count > 0 && alone.count >= FEW {
            let text = format!(
                "median {} of {} behind others' requests, {} of {} while the device had no others",
                human(behind.p50),
                plural(behind.count, self.noun),
                human(alone.p50),
                plural(alone.count, self.noun)
            );
            evidence.push(time(text, behind.p50, REQUESTS));
        }
        evidence
    }

    /// `34 writes (12.0 MiB) of indexer (tid 70)`.
    fn whose(&self, facts: &Facts<'_>, delay: &Delay) -> String {
        let noun = match (delay.writes, delay.requests) {
            (0, _) => "read",
            (writes, all) if writes == all => "write",
            _ => "request",
        };
        let parts = facts.parts;
        let owner = delay.owner.text(parts.index, facts.number(), parts.step.end);
        let many = format!("{} ({})", plural(delay.requests, noun), size(delay.bytes));
        match delay.owner.kind {
            OwnerKind::WriteBack => format!("{owner}, {many}"),
            OwnerKind::Task | OwnerKind::Journal | OwnerKind::Unknown => {
                format!("{many} of {owner}")
            }
        }
    }

    fn advice(
        &self,
        facts: &Facts<'_>,
        cause: Cause,
        queue: Nanos,
        delays: &Delays,
        culprit: Option<&Delay>,
    ) -> Vec<Recommendation> {
        let mut fixes = Vec::new();
        if let Some(delay) = culprit {
            let most = facts.held(cause);
            let longer = delays.behind.total - expected(delays);
            let saves = if delays.alone.count >= FEW { longer.min(most) } else { most };
            let (text, condition) = match delay.owner.kind {
                OwnerKind::WriteBack => (
                    "smaller bursts of write-back: sync_file_range as the writer goes, or a lower vm.dirty_background_bytes so that it starts sooner",
                    "the writes that were in the queue were a kworker's, of data written before",
                ),
                OwnerKind::Task | OwnerKind::Journal | OwnerKind::Unknown => (
                    "hold the other I/O back: io.latency or io.max of its cgroup, or run it at another time",
                    "its requests were in the device's queue before this step's",
                ),
            };
            let mut fix = advice(facts, cause, text, condition);
            fix.saves = Some(saves);
            fixes.push(fix);
        }
        match self.op {
            BlockOp::Read => fixes.push(advice(
                facts,
                cause,
                "read ahead: posix_fadvise(WILLNEED) or io_uring before the step needs the data",
                "where the step knows early what it reads",
            )),
            BlockOp::Write | BlockOp::Flush | BlockOp::Discard | BlockOp::Other => {
                fixes.push(advice(
                    facts,
                    cause,
                    "write less at once, in the background (sync_file_range)",
                    "where nobody waits for the data",
                ));
            }
        }
        if queue > ZERO {
            let mut fix = advice(
                facts,
                cause,
                "shorten the queue: scheduler none on NVMe",
                "the saving is the measured queue time, if all of it is the scheduler's",
            );
            fix.saves = Some(queue);
            fixes.push(fix);
        }
        fixes
    }
}
