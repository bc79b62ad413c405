//! Durability operations: fsync and its kin.
//!
//! # What it detects
//! Time of the critical path inside fsync, fdatasync, msync and their kin, and in
//! writes to files opened with O_SYNC or O_DSYNC.
//! # Evidence
//! How many, how long each; how much of it was in a journal commit, on the device, in
//! its queue.
//! # Why it matters
//! Each one waits for the device's cache to be flushed, and often for a journal commit.
//! # When it is wrong
//! A journal commit also writes what other programs changed: the cost need not be the
//! step's own data.
//! # References
//! fsync(2); fs/jbd2/commit.c; Documentation/filesystems/ext4/journal.rst.

use crate::cause::{Cause, Resource};
use crate::path::{Frame, device_name};
use crate::stats::{human, mean, percent, plural};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, hint, shares, time};

pub(crate) struct FsyncStalls;

impl Rule for FsyncStalls {
    fn id(&self) -> &'static str {
        "fsync_stalls"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Fsync]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "fsync waits for the disk"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let own = facts.own(cause);
        let commits = facts.top(cause, |cell| {
            cell.frames
                .iter()
                .find_map(|f| if let Frame::Journal(dev) = f { Some(*dev) } else { None })
        });
        let commit: crate::model::parse::Nanos = commits.iter().map(|(_, ns)| *ns).sum();
        let journal = commits.first().map(|(dev, _)| device_name(facts.model(), *dev));
        let call = facts.call(cause).map_or_else(|| "fsync".to_owned(), |(name, _)| name);
        let mut title = format!("{call}: {}", human(own));
        if let Some(fsyncs) = facts.inclusive().fsyncs.filter(|s| s.count > 0) {
            title = format!(
                "{}, {} each",
                plural(fsyncs.count, &call),
                human(mean(fsyncs.total, fsyncs.count))
            );
            evidence.push(count(
                format!(
                    "{} by all its tasks: p50 {}, p99 {}",
                    plural(fsyncs.count, "durability operation"),
                    human(fsyncs.p50),
                    human(fsyncs.p99)
                ),
                fsyncs.count,
                "raw_syscalls",
            ));
        }
        let on = facts.device(cause);
        if let Some(journal) = journal.filter(|_| commit > ZERO) {
            title.push_str(&format!(
                ", {} in the journal commit on {journal}",
                percent(commit, own)
            ));
            evidence.push(time(
                format!("{} in journal commits on {journal}", human(commit)),
                commit,
                "jbd2 on the critical path",
            ));
        } else if let Some((device, ns)) = &on {
            title.push_str(&format!(", {} waiting for {device}", percent(*ns, own)));
        }
        let (device, queue) =
            (facts.on(cause, Resource::Device), facts.on(cause, Resource::DeviceQueue));
        if device + queue > ZERO {
            let name = on.map_or_else(|| "the device".to_owned(), |(name, _)| name);
            evidence.push(time(
                format!("{} on {name}, {} in its queue", human(device), human(queue)),
                device + queue,
                "block requests on the critical path",
            ));
        }
        let mut recommendations = vec![
            advice(
                facts,
                cause,
                "batch: one fsync for several changes",
                "loses the changes since the last one on power failure",
            ),
            advice(
                facts,
                cause,
                "fdatasync instead of fsync",
                "where only the data, not times and the like, must survive; a changed size is still written",
            ),
            advice(
                facts,
                cause,
                "SQLite: WAL with synchronous=NORMAL",
                "where it is SQLite; loses the last commits on power failure",
            ),
        ];
        if commit > ZERO {
            recommendations.push(hint(
                "ext4 fast_commit",
                "a feature set by mkfs or tune2fs, with data=ordered",
            ));
        }
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}
