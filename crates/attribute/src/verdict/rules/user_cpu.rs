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
//! DESIGN section 6, row 18.

use crate::cause::Cause;
use crate::stats::human;
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
        let tasks = facts.top(cause, |cell| Some(cell.task));
        for (task, ns) in tasks.iter().take(3) {
            evidence.push(time(
                format!("{} in {}", human(*ns), facts.name_tid(*task)),
                *ns,
                "sched_switch",
            ));
        }
        let name =
            tasks.first().map_or_else(|| "the step".to_owned(), |(task, _)| facts.name(*task));
        Finding {
            title: format!("not the kernel: {name} computes for {}", human(facts.own(cause))),
            evidence,
            recommendations: Vec::new(),
            doubts: Vec::new(),
        }
    }
}
