//! Many page faults that needed no I/O.
//!
//! # What it detects
//! Time of the critical path in page faults that did not sleep for I/O.
//! # Evidence
//! The kernel's count of minor faults, their mean and longest, the most-faulted files.
//! # Why it matters
//! Each first touch of a page costs an exception, an allocation and often a zeroing.
//! # When it is wrong
//! Tracing makes each fault dearer. Under memory pressure a fault's time is that of
//! reclaim, which this version does not tell apart.
//! # References
//! madvise(2), Documentation/admin-guide/mm/transhuge.rst.

use crate::cause::Cause;
use crate::stats::{human, mean, plural};
use crate::verdict::{Facts, Finding, Rule, advice, count, shares};

pub(crate) struct MinorFaultStorm;

impl Rule for MinorFaultStorm {
    fn id(&self) -> &'static str {
        "minor_fault_storm"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::MinorFault]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "first touch of fresh memory"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let mut title = format!("page faults without I/O: {}", human(facts.own(cause)));
        if let Some(faults) = facts.inclusive().faults.as_ref() {
            let minor = faults.minor;
            let each = mean(minor.total, minor.count);
            title = format!(
                "minor fault storm: {}, {} each, {} on the critical path",
                plural(minor.count, "minor fault"),
                human(each),
                human(facts.own(cause))
            );
            evidence.push(count(
                format!(
                    "{} of {}, the longest {}",
                    plural(minor.count, "minor fault"),
                    human(minor.total),
                    human(minor.max)
                ),
                minor.count,
                "page faults of the step's tasks",
            ));
            for row in faults.files.iter().filter(|row| row.count > row.major).take(2) {
                let name =
                    row.path.clone().unwrap_or_else(|| format!("{} ino {}", row.dev, row.ino));
                evidence.push(count(
                    format!("{} on {name}", plural(row.count - row.major, "minor fault")),
                    row.count - row.major,
                    "page faults of the step's tasks",
                ));
            }
        }
        Finding {
            title,
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "reuse buffers instead of mapping and unmapping them in each step",
                    "where the faults are on fresh anonymous memory",
                ),
                advice(
                    facts,
                    cause,
                    "MADV_POPULATE_WRITE or MAP_POPULATE before the step",
                    "Linux 5.14 and later; moves the cost out of the step",
                ),
                advice(
                    facts,
                    cause,
                    "transparent huge pages for the large buffers (MADV_HUGEPAGE)",
                    "anonymous memory of 2 MiB and more",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}
