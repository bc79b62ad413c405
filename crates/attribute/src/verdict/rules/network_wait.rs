//! Waiting for the network.
//!
//! # What it detects
//! Waits ended by a packet from another machine, and waits on inet sockets without a
//! known waker.
//! # Evidence
//! The calls in which it was waited for, how much has no recorded waker.
//! # Why it matters
//! The time is the peer's or the network's: for an agent, mostly the model's.
//! # When it is wrong
//! The peer is not known: a slow network and a slow server look the same.
//! # References
//! DESIGN section 6, rows 16d and 16e; EVENTS 10.

use crate::cause::{Cause, Resource};
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, ZERO, time};

pub(crate) struct NetworkWait;

impl Rule for NetworkWait {
    fn id(&self) -> &'static str {
        "network_wait"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::NetworkWait]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "not the kernel: waits for the network"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = super::service_wait::evidence(facts, cause);
        let guessed = facts.on(cause, Resource::Unknown);
        let mut doubts = Vec::new();
        if guessed > ZERO {
            evidence.push(time(
                format!("{} without a recorded waker", human(guessed)),
                guessed,
                "sched_waking",
            ));
            doubts.push("no waker was recorded: the socket's kind tells the network".to_owned());
        }
        let call = facts.call(cause).map_or_else(String::new, |(name, _)| format!(" in {name}"));
        Finding {
            title: format!(
                "not the kernel: waits for the network{call}, {}",
                human(facts.own(cause))
            ),
            evidence,
            recommendations: Vec::new(),
            doubts,
        }
    }
}
