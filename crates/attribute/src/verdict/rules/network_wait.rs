//! Waiting for the network.
//!
//! # What it detects
//! Waits ended by a packet from another machine, and waits on inet sockets without a
//! known waker.
//! # Evidence
//! The calls in which it was waited for, the fd, and its peer where the capture tells: by the
//! connection's change of state inside the connect call. How much has no recorded waker.
//! # Why it matters
//! The time is the peer's or the network's: for an agent, mostly the model's.
//! # When it is wrong
//! A slow network and a slow server look the same. After a poll, the fd is the first socket
//! that the task acts on: with several ready at once, the one it takes first.
//! # References
//! ARCHITECTURE.md (the critical path); include/trace/events/sock.h, net.h.

use crate::cause::{Cause, Resource};
use crate::mechanism::network::{Connection, waits};
use crate::stats::{human, plural};
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
                format_args!("{} without a recorded waker", human(guessed)),
                guessed,
                "sched_waking",
            ));
            doubts.push("no waker was recorded: the socket's kind tells the network".into());
        }
        let index = facts.parts.index;
        let waits = waits(index, facts.parts.path, cause);
        for w in waits.iter().take(3) {
            if let Some(connection) = w.connection {
                evidence.push(time(
                    format_args!(
                        "{} for {} in {} of {}",
                        human(w.total),
                        connection.words(),
                        plural(w.count, "wait"),
                        facts.model().syscalls.name(w.nr)
                    ),
                    w.total,
                    "sock:inet_sock_set_state within the connect call, raw_syscalls",
                ));
            }
        }
        let call = facts.call(cause).map_or_else(String::new, |(name, _)| format!(" in {name}"));
        let whom = match waits.first().and_then(|w| w.connection) {
            Some(Connection { peer: None, fd }) => format!("the network (fd {fd})"),
            Some(connection) => connection.words(),
            None => "the network".to_owned(),
        };
        Finding {
            title: sentence!("not the kernel: waits for {whom}{call}, {}", human(facts.own(cause))),
            evidence,
            recommendations: Vec::new(),
            doubts,
        }
    }
}
