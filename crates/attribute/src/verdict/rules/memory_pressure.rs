//! Reclaim, write-back throttling and TLB flushes.
//!
//! # What it detects
//! Time with the causes `reclaim`, `writeback_throttle`, `tlb_flush`.
//! The cause table gives none of them yet: this rule is their place until each has its own.
//! # Evidence
//! The critical path.
//! # Why it matters
//! Limits on memory look like slow work.
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
        &[Cause::Reclaim, Cause::WritebackThrottle, Cause::TlbFlush]
    }
    fn failure_mode(&self, cause: Cause) -> &'static str {
        match cause.name() {
            "reclaim" => "reclaims memory before it gets any",
            "writeback_throttle" => "paused for too much dirty memory",
            _ => "waits for other CPUs to flush their TLB",
        }
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let (text, condition) = match cause.name() {
            "reclaim" => {
                ("more memory, or lower memory.high pressure; keep scans out of the cache", "")
            }
            "writeback_throttle" => (
                "write less dirty data at once; lower the background ratio; sync_file_range",
                "the ratio makes write-back start sooner",
            ),
            _ => ("fewer munmap and mprotect; threads on fewer CPUs", ""),
        };
        Finding {
            title: format!("{}: {}", self.failure_mode(cause), human(facts.own(cause))),
            evidence: shares(facts, cause),
            recommendations: vec![advice(facts, cause, text, condition)],
            doubts: Vec::new(),
        }
    }
}
