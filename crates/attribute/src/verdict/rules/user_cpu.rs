//! The program's own work.
//!
//! # What it detects
//! Time of the critical path running in user mode.
//! # Evidence
//! The tasks that ran, and how long.
//! # Why it matters
//! No kernel setting makes it shorter: a profiler of the program is the next tool.
//! # When it is wrong
//! Interrupts that were not recorded, and time that a host stole from a virtual
//! machine, are in it.
//! # References
//! ARCHITECTURE.md (the table of causes).

use crate::cause::Cause;
use crate::stats::{human, thousands};
use crate::verdict::{Facts, Finding, Rule, shares, time};

pub(crate) struct UserCpu;

impl Rule for UserCpu {
    fn id(&self) -> &'static str {
        "user_cpu"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::UserCpu]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "not the kernel: computes"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        // Many short runs of one program are one program.
        let programs = facts.top(cause, |cell| Some(facts.name(cell.task)));
        let tasks = facts.top(cause, |cell| Some((facts.name(cell.task), cell.task)));
        for (name, ns) in programs.iter().take(3) {
            let mut of = tasks.iter().filter(|((n, _), _)| n == name).map(|((_, task), _)| *task);
            let words = match (of.next(), of.count()) {
                (Some(task), 0) => facts.name_tid(task).to_string(),
                (_, more) => format!("{name} ({} tasks)", thousands(more as u64 + 1)),
            };
            evidence.push(time(format_args!("{} in {words}", human(*ns)), *ns, "sched_switch"));
        }
        let name = programs.first().map_or_else(|| "the step".to_owned(), |(name, _)| name.clone());
        Finding {
            title: sentence!("not the kernel: {name} computes for {}", human(facts.own(cause))),
            evidence,
            recommendations: Vec::new(),
            doubts: Vec::new(),
        }
    }
}
