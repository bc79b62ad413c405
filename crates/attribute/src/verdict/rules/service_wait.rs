//! Waiting for another program.
//!
//! # What it detects
//! Waits that were ended by a program outside the agent's tree: a database, a local model.
//! # Evidence
//! The program that ended the wait, what it did meanwhile (ran, waited for a CPU, for block
//! I/O, for a lock of its own), the calls and the connection over which it was asked.
//! # Why it matters
//! The time is the service's: the kernel has no part in it.
//! # When it is wrong
//! The waker is taken for the one that was waited for; a broker in between hides the service.
//! # References
//! ARCHITECTURE.md (the critical path); unix(7), tcp(7).

use crate::cause::Cause;
use crate::mechanism::services::Service;
use crate::report::Evidence;
use crate::stats::{human, plural, plural_by};
use crate::verdict::{Facts, Finding, Rule, ZERO, count, shares, time};
use agenttrace_model::parse::Nanos;

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
        let parts = facts.parts;
        let made = parts.made;
        let services = made.services(parts.index, parts.path, parts.work, parts.step.root);
        let name = services
            .first()
            .map(|s| s.name.clone())
            .or_else(|| facts.peer(cause).map(|(task, _)| facts.name(task)))
            .unwrap_or_else(|| "another program".to_owned());
        let mut evidence = evidence(facts, cause);
        for service in services.iter().take(3) {
            evidence.push(time(did(service), service.waited, "its states on the critical path"));
        }
        let most = services.first().map_or_else(String::new, mostly);
        Finding {
            title: sentence!(
                "not the kernel: waits for {name} (service), {}{most}",
                human(facts.own(cause))
            ),
            evidence,
            recommendations: Vec::new(),
            doubts: Vec::new(),
        }
    }
}

/// What a service did: `vector-store: 11.9 ms running, 0.1 ms waiting for a CPU, over fd 5`.
fn did(service: &Service) -> String {
    let parts = [
        (service.running, "running"),
        (service.run_delay, "waiting for a CPU"),
        (service.block, "in block I/O"),
        (service.lock, "waiting for a lock of its own"),
        (service.other, "asleep, or not known"),
    ];
    let some = parts.iter().filter(|(ns, _)| *ns > ZERO);
    let words: Vec<String> = some.map(|(ns, what)| format!("{} {what}", human(*ns))).collect();
    let over = service.connection.map_or_else(String::new, |c| format!("; over {}", c.words()));
    format!("{} {}: {}{over}", service.name, plural(service.waits, "wait"), words.join(", "))
}

/// Where the service did not run for most of the wait, what held it.
fn mostly(service: &Service) -> String {
    let half = |ns: Nanos| ns.0.saturating_mul(2) > service.waited.0;
    if half(service.run_delay) {
        format!(", {} of it waiting for a CPU itself", human(service.run_delay))
    } else if half(service.block) {
        format!(", {} of it in block I/O", human(service.block))
    } else if half(service.lock) {
        format!(", {} of it for a lock of its own", human(service.lock))
    } else {
        String::new()
    }
}

/// Evidence that all rules on waits share: by whom they were ended, in which calls.
pub(super) fn evidence(facts: &Facts<'_>, cause: Cause) -> Vec<Evidence> {
    let mut evidence = shares(facts, cause);
    if let Some((task, ns)) = facts.peer(cause) {
        evidence.push(time(
            format_args!("{} waiting for {}", human(ns), facts.name_tid(task)),
            ns,
            "sched_waking",
        ));
    }
    if let Some((call, ns)) = facts.call(cause) {
        evidence.push(time(
            format_args!("{} in {call}", human(ns)),
            ns,
            "raw_syscalls on the critical path",
        ));
    }
    let segments = facts.cells.iter().filter(|c| c.cause == cause).map(|c| c.segments).sum();
    evidence.push(count(
        format_args!("in {} of the path", plural_by(segments, "stretch", "es")),
        segments,
        "critical path",
    ));
    evidence
}
