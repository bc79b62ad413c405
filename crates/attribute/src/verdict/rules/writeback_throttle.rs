//! Writers that are paused because too much memory is dirty.
//!
//! # What it detects
//! Time of the critical path in the pauses of `balance_dirty_pages`: from a pause's
//! announcement until its writer runs again.
//! # Evidence
//! The pauses, the dirty pages and the limit that they saw, what each task wrote meanwhile,
//! what the device got.
//! # Why it matters
//! Buffered writes look free until the limit; then the writer goes at the device's speed.
//! # When it is wrong
//! Who made the dirty memory is told from write calls within the step: pages dirtied before
//! it, or through a mapping, are not in it.
//! # References
//! mm/page-writeback.c (`balance_dirty_pages`); Documentation/admin-guide/sysctl/vm.rst.

use agenttrace_model::TaskId;

use crate::cause::Cause;
use crate::mechanism::writeback_throttle::{PAGE, Pauses, bdi_name, pauses, written_back};
use crate::report::Evidence;
use crate::stats::{human, plural, size, stats};
use crate::verdict::{Facts, Finding, Rule, advice, count, hint, shares};

pub(crate) struct WritebackThrottle;

impl Rule for WritebackThrottle {
    fn id(&self) -> &'static str {
        "writeback_throttle"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::WritebackThrottle]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "paused for too much dirty memory"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let (index, step) = (facts.parts.index, facts.parts.step);
        let mut evidence = shares(facts, cause);
        let own = facts.own(cause);
        let all = pauses(index, facts.parts.work);
        let longest = all.iter().max_by_key(|(_, p)| p.times.iter().map(|ns| ns.0).sum::<u64>());
        let mut title = format!("write-back throttling: paused for {}", human(own));
        let bytes =
            |text: String, value: u64, source| Evidence { text, value, unit: "bytes", source };
        if let Some(((writer, bdi), of)) = longest {
            let device = bdi_name(facts.model(), *bdi);
            title = named(facts, *writer, device.as_deref(), of, own);
            let times = stats(&mut of.times.clone());
            evidence.push(count(
                format_args!(
                    "{}: p50 {}, max {}",
                    plural(times.count, "pause"),
                    human(times.p50),
                    human(times.max)
                ),
                times.count,
                "balance_dirty_pages",
            ));
            if let (Some(dirty), Some(limit)) = (of.dirty, of.limit) {
                let (dirty, limit) = (dirty.saturating_mul(PAGE), limit.saturating_mul(PAGE));
                evidence.push(bytes(
                    format!("{} were dirty, of a limit of {}", size(dirty), size(limit)),
                    dirty,
                    "balance_dirty_pages",
                ));
            }
            if let Some(sum) = written_back(index, *bdi, step.start, step.end) {
                let device = device.as_deref().unwrap_or("the device");
                evidence.push(bytes(
                    format!("{} went to {device} meanwhile", size(sum)),
                    sum,
                    "block requests",
                ));
            }
        }
        let written = index.memory().written(step.start, step.end);
        let mine = |task| facts.parts.work.iter().any(|s| s.task == task);
        if let Some((task, sum)) = written.first().filter(|(task, _)| !mine(*task)) {
            title.push_str(&format!("; {} wrote {}", facts.name_tid(*task), size(*sum)));
        }
        for (task, sum) in written.iter().take(3) {
            evidence.push(bytes(
                format!("{} wrote {}", facts.name_tid(*task), size(*sum)),
                *sum,
                "write calls in the step's window",
            ));
        }
        Finding {
            title,
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "write less dirty data at once; sync_file_range after each few MiB",
                    "where the step itself writes most",
                ),
                hint(
                    "a lower vm.dirty_background_ratio (or _bytes)",
                    "so that write-back starts sooner; it does not make the device faster",
                ),
                hint(
                    "a higher vm.dirty_ratio (or _bytes)",
                    "where bursts are short; more is lost at a power failure",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}

fn named(
    facts: &Facts<'_>,
    writer: TaskId,
    device: Option<&str>,
    pauses: &Pauses,
    own: agenttrace_model::parse::Nanos,
) -> String {
    let device = device.map_or_else(String::new, |device| format!(" of {device}"));
    let count = pauses.times.len() as u64;
    let writer = facts.name_tid(writer);
    format!(
        "write-back throttling: {writer} paused {} for {}, waiting for write-back{device}",
        plural(count, "time"),
        human(own)
    )
}
