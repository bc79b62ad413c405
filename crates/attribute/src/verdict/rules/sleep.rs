//! Sleeping on purpose, or idle.
//!
//! # What it detects
//! Waits that a timer of the step itself ended, and waits for a person or a terminal.
//! # Evidence
//! The calls in which it slept.
//! # Why it matters
//! The program asked for it: a back-off, a poll interval, a prompt.
//! # When it is wrong
//! A wait for something else that ran into its time-out is a sleep here.
//! # References
//! ARCHITECTURE.md (the critical path); nanosleep(2), poll(2).

use crate::cause::Cause;
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule};

pub(crate) struct Sleep;

impl Rule for Sleep {
    fn id(&self) -> &'static str {
        "sleep"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Sleep, Cause::Idle]
    }
    fn failure_mode(&self, cause: Cause) -> &'static str {
        if cause == Cause::Idle {
            "not the kernel: waits for a person"
        } else {
            "not the kernel: sleeps on purpose"
        }
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let call = facts.call(cause).map_or_else(String::new, |(name, _)| format!(" in {name}"));
        let own = human(facts.own(cause));
        let title = if cause == Cause::Idle {
            format!("not the kernel: waits for a person or a terminal{call}, {own}")
        } else {
            format!("not the kernel: sleeps{call}, {own} until its own timer")
        };
        Finding {
            title,
            evidence: super::service_wait::evidence(facts, cause),
            recommendations: Vec::new(),
            doubts: Vec::new(),
        }
    }
}
