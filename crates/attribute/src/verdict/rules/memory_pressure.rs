//! Held by a CPU quota.
//!
//! # What it detects
//! Time with the cause `cpu_throttle`. The cause table does not give it yet.
//! # Evidence
//! The critical path.
//! # Why it matters
//! Limits on CPU look like slow work.
//! # When it is wrong
//! See [`crate::coverage`].
//! # References
//! Documentation/admin-guide/cgroup-v2.rst.

use crate::cause::Cause;
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice, shares};

pub(crate) struct MemoryPressure;

impl Rule for MemoryPressure {
    fn id(&self) -> &'static str {
        "memory_pressure"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::CpuThrottle]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "held by a CPU quota"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        Finding {
            title: format!("{}: {}", self.failure_mode(cause), human(facts.own(cause))),
            evidence: shares(facts, cause),
            recommendations: vec![advice(facts, cause, "raise cpu.max or its burst", "")],
            doubts: Vec::new(),
        }
    }
}
