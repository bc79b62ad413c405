//! Waiting for another program.
//!
//! # What it detects
//! Waits that were ended by a program outside the agent's tree: a database, a local model.
//! # Evidence
//! The program that ended the wait, the calls in which it was waited for.
//! # Why it matters
//! The time is the service's: the kernel has no part in it.
//! # When it is wrong
//! The waker is taken for the one that was waited for; a broker in between hides the service.
//! # References
//! DESIGN section 6, row 16c.

use crate::cause::Cause;
use crate::report::Evidence;
use crate::stats::{human, plural};
use crate::verdict::{Facts, Finding, Rule, count, shares, time};

pub(crate) struct ServiceWait;

impl Rule for ServiceWait {
    fn id(&self) -> &'static str {
        "service_wait"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::ServiceWait]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "not the kernel: waits for a service"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let name = facts
            .peer(cause)
            .map_or_else(|| "another program".to_owned(), |(task, _)| facts.name(task));
        Finding {
            title: format!(
                "not the kernel: waits for {name} (service), {}",
                human(facts.own(cause))
            ),
            evidence: evidence(facts, cause),
            recommendations: Vec::new(),
            doubts: Vec::new(),
        }
    }
}

/// Evidence that all rules on waits share: by whom they were ended, in which calls.
pub(super) fn evidence(facts: &Facts<'_>, cause: Cause) -> Vec<Evidence> {
    let mut evidence = shares(facts, cause);
    if let Some((task, ns)) = facts.peer(cause) {
        evidence.push(time(
            format!("{} waiting for {}", human(ns), facts.name_tid(task)),
            ns,
            "sched_waking",
        ));
    }
    if let Some((call, ns)) = facts.call(cause) {
        evidence.push(time(
            format!("{} in {call}", human(ns)),
            ns,
            "raw_syscalls on the critical path",
        ));
    }
    let segments = facts.cells.iter().filter(|c| c.cause == cause).map(|c| c.segments).sum();
    evidence.push(count(
        format!("in {} of the path", plural(segments, "stretch").replace("stretchs", "stretches")),
        segments,
        "critical path",
    ));
    evidence
}
