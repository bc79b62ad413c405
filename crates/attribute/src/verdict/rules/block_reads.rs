//! Waiting for block reads.
//!
//! # What it detects
//! Time of the critical path in read calls that slept for the device, and in other
//! waits for block reads, outside durability operations, faults and metadata calls.
//! # Evidence
//! Requests and bytes by device, time on the device and in its queue; of the pages added to
//! the page cache how many had been in it before, and who evicted them.
//! # Why it matters
//! Queue time can be had back by less competing I/O; device time only by less I/O.
//! # When it is wrong
//! Without `block_bio_queue` the submitter is the issuer, which may be a kworker.
//! # References
//! Documentation/block/; EVENTS 4.

use super::refaults;
use crate::cause::{Cause, Resource};
use crate::stats::{human, plural, size};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, time};

pub(crate) struct BlockReads;

impl Rule for BlockReads {
    fn id(&self) -> &'static str {
        "block_reads"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::BlockRead]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "reads wait for the disk"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let device = facts.device(cause).map_or_else(|| "a device".to_owned(), |(name, _)| name);
        let call = facts.call(cause).map_or_else(String::new, |(name, _)| format!(" in {name}"));
        let rows = facts.inclusive().block.as_deref().unwrap_or_default();
        let mut requests = 0;
        let mut bytes = 0;
        for row in rows.iter().filter(|row| row.op == "read") {
            requests += row.count;
            bytes += row.bytes;
            let name = row.name.clone().unwrap_or_else(|| row.dev.to_string());
            evidence.push(count(
                format!(
                    "{} on {name}, {}: p50 {}, p99 {}",
                    plural(row.count, "read"),
                    size(row.bytes),
                    human(row.p50),
                    human(row.p99)
                ),
                row.count,
                "block requests of the step's tasks",
            ));
        }
        let (on, queue) =
            (facts.on(cause, Resource::Device), facts.on(cause, Resource::DeviceQueue));
        if on + queue > ZERO {
            evidence.push(time(
                format!("{} on {device}, {} in its queue", human(on), human(queue)),
                on + queue,
                "block requests on the critical path",
            ));
        }
        let what = if requests == 0 {
            "block reads".to_owned()
        } else {
            format!("{} ({} in all)", plural(requests, "block read"), size(bytes))
        };
        let again = refaults::reads(facts, cause);
        evidence.extend(again.evidence);
        let mut recommendations = again.recommendations;
        recommendations.push(advice(
            facts,
            cause,
            "read ahead: posix_fadvise(WILLNEED) or io_uring before the step needs the data",
            "where the step knows early what it reads",
        ));
        if queue > ZERO {
            let mut fix = advice(
                facts,
                cause,
                "shorten the queue: scheduler none on NVMe, isolate other I/O with io.latency or io.max",
                "where other programs fill the queue",
            );
            fix.saves = Some(queue);
            recommendations.push(fix);
        }
        Finding {
            title: match again.title {
                Some(evicted) => format!("{what}{call}: {evicted}"),
                None => format!("{what}{call}: {} on {device}", human(facts.own(cause))),
            },
            evidence,
            recommendations,
            doubts: Vec::new(),
        }
    }
}
