//! Waiting for another task of the agent's tree that does not work for the step.
//!
//! # What it detects
//! Waits on pipes, sockets, eventfds and polls which a task of the agent's own tree
//! ended that works for no step or for another one; and such waits without a known waker.
//! # Evidence
//! The task that ended the wait, the calls in which it was waited for.
//! # Why it matters
//! The agent waits for itself: for a busy worker or tool server.
//! # When it is wrong
//! A worker that took up the step's work without any recorded event looks the same.
//! # References
//! ARCHITECTURE.md (the critical path); pipe(7), unix(7).

use crate::cause::Cause;
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule};

pub(crate) struct IpcWait;

impl Rule for IpcWait {
    fn id(&self) -> &'static str {
        "ipc_wait"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::IpcWait]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "not the kernel: waits for a task of the agent"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let name = facts.peer(cause).map_or_else(
            || "another task".to_owned(),
            |(task, _)| facts.name_tid(task).to_string(),
        );
        Finding {
            title: sentence!(
                "not the kernel: waits for {name} of the agent's own tree, {}",
                human(facts.own(cause))
            ),
            evidence: super::service_wait::evidence(facts, cause),
            recommendations: Vec::new(),
            doubts: Vec::new(),
        }
    }
}
