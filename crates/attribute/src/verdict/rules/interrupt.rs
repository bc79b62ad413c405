//! Interrupts over running time.
//!
//! # What it detects
//! Recorded hard and soft interrupts that took a CPU from a task of the step.
//! # Evidence
//! The interrupts by name.
//! # Why it matters
//! Network and disk interrupts land on some CPU, whatever runs there.
//! # When it is wrong
//! Interrupts without a tracepoint of their own are in the time of the task.
//! # References
//! Documentation/core-api/irq/irq-affinity.rst.

use crate::cause::Cause;
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice, shares, time};

pub(crate) struct Interrupt;

impl Rule for Interrupt {
    fn id(&self) -> &'static str {
        "interrupt"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Interrupt]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "interrupts on the step's CPU"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let sources = facts.top(cause, |cell| cell.frames.last().copied());
        let text = |frame: crate::path::Frame| frame.text(facts.model(), facts.parts.step.end);
        for (frame, ns) in sources.iter().take(3) {
            evidence.push(time(
                format_args!("{} in {}", human(*ns), text(*frame)),
                *ns,
                "irq events",
            ));
        }
        let most = sources
            .first()
            .map_or_else(String::new, |(frame, _)| format!(", most in {}", text(*frame)));
        Finding {
            title: sentence!("interrupts on the step's CPU: {}{most}", human(facts.own(cause))),
            evidence,
            recommendations: vec![advice(
                facts,
                cause,
                "move the interrupts or the step to other CPUs (smp_affinity, cpuset)",
                "where they come from a device",
            )],
            doubts: Vec::new(),
        }
    }
}
