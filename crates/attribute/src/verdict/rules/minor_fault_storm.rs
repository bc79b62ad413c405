//! Many page faults that needed no I/O.
//!
//! # What it detects
//! Time of the critical path in page faults that did not sleep for I/O.
//! # Evidence
//! The kernel's count of minor faults, their mean and longest; by kind of memory (a mapped
//! file, copied on write, anonymous, huge pages) and range of addresses how many, with p50 and p99.
//! # Why it matters
//! Each first touch of a page costs an exception, an allocation and often a zeroing.
//! # When it is wrong
//! Tracing makes each fault dearer. No event tells the size of a page: a huge page is inferred
//! where a fault was alone in its 2 MiB and took as long as clearing these; folios of anonymous
//! memory between 4 KiB and 2 MiB look like single pages. Memory of devices counts as anonymous.
//! # References
//! madvise(2), Documentation/admin-guide/mm/transhuge.rst.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::mechanism::faults::{FaultGroup, FaultKind};
use crate::path::file_name;
use crate::report::Recommendation;
use crate::stats::{human, mean, plural, size, thousands};
use crate::verdict::{Facts, Finding, Rule, advice, count, shares, since};

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
        let own = human(facts.own(cause));
        let Some(faults) = facts.inclusive().faults.as_ref() else {
            let title = format!("page faults without I/O: {own}");
            return Finding { title, evidence, ..Finding::default() };
        };
        let minor = faults.minor;
        evidence.push(count(
            format_args!(
                "{} of {}, {} each, the longest {}",
                plural(minor.count, "minor fault"),
                human(minor.total),
                human(mean(minor.total, minor.count)),
                human(minor.max)
            ),
            minor.count,
            "page faults of the step's tasks",
        ));
        let groups = facts.parts.made.faults(facts.parts.index);
        for group in groups.iter().take(3) {
            evidence.push(count(
                format_args!(
                    "{} on {} from {:#x}: p50 {}, p99 {}",
                    plural(group.stats.count, "fault"),
                    group.name(facts.model()),
                    group.from,
                    human(group.stats.p50),
                    human(group.stats.p99)
                ),
                group.stats.count,
                "page faults of the step's tasks",
            ));
        }
        let kinds = by_kind(groups);
        let (storm, what) = match kinds.first() {
            Some(most) => (most.faults >= STORM, most.title(facts)),
            None => (false, plural(minor.count, "minor fault").to_string()),
        };
        let name = if storm { "minor fault storm" } else { "page faults without I/O" };
        let kind = kinds.first().map(|k| k.first.kind);
        Finding {
            title: sentence!("{name}: {what}, {own} on the critical path"),
            evidence,
            recommendations: recommendations(facts, cause, kind),
            doubts: Vec::new(),
        }
    }
}

/// So many faults are a storm.
const STORM: u64 = 100;

/// All groups of one kind of memory, and one file where it has one.
struct Most<'g> {
    /// The group with the most time.
    first: &'g FaultGroup,
    ranges: u64,
    faults: u64,
    bytes: u64,
    cached: u64,
    total: Nanos,
}

impl Most<'_> {
    fn title(&self, facts: &Facts<'_>) -> String {
        let place = if self.ranges == 1 {
            format!("{} at {:#x}", size(self.bytes), self.first.from)
        } else {
            format!("{} in {} ranges", size(self.bytes), self.ranges)
        };
        match self.first.kind {
            FaultKind::File => {
                let file = self
                    .first
                    .file
                    .map_or_else(|| "a file".to_owned(), |file| file_name(facts.model(), file));
                let cached = match self.cached {
                    0 => String::new(),
                    n => format!(", {} of them read ahead", thousands(n)),
                };
                format!("{} on cached pages of {file}{cached}", plural(self.faults, "fault"))
            }
            FaultKind::CopyOnWrite => {
                format!("{} copied on write ({place})", plural(self.faults, "page"))
            }
            FaultKind::HugePage => {
                format!(
                    "{} of anonymous memory cleared ({place})",
                    plural(self.faults, "huge page")
                )
            }
            FaultKind::Anonymous | FaultKind::Shared => {
                let touches = if self.faults == 1 { "first touch" } else { "first touches" };
                let kind = self.first.kind.text();
                format!("{} {touches} of {kind} memory ({place})", thousands(self.faults))
            }
            FaultKind::Untold => format!(
                "{} ({place}; of which memory was not recorded)",
                plural(self.faults, "fault")
            ),
        }
    }
}

/// The groups by kind and file, the most time first. Faults that slept are another verdict's.
fn by_kind(groups: &[FaultGroup]) -> Vec<Most<'_>> {
    let mut sums: BTreeMap<(FaultKind, Option<u32>), Most<'_>> = BTreeMap::new();
    for group in groups.iter().filter(|g| g.slept < g.stats.count) {
        let most = sums.entry((group.kind, group.file)).or_insert(Most {
            first: group,
            ranges: 0,
            faults: 0,
            bytes: 0,
            cached: 0,
            total: Nanos::ZERO,
        });
        most.ranges += 1;
        most.faults += group.stats.count - group.slept;
        most.bytes += group.bytes();
        most.cached += group.cached;
        most.total += group.awake;
    }
    let mut kinds: Vec<Most<'_>> = sums.into_values().collect();
    kinds.sort_by_key(|most| Reverse(most.total));
    kinds
}

/// What helps, by kind of memory; with none, whatever may.
fn recommendations(
    facts: &Facts<'_>,
    cause: Cause,
    kind: Option<FaultKind>,
) -> Vec<Recommendation> {
    let anonymous = advice(
        facts,
        cause,
        "reuse buffers instead of mapping and unmapping them in each step",
        "where the faults are on fresh anonymous memory",
    );
    let populate = |text| {
        since(facts, 5, 14).map(|when| {
            advice(facts, cause, text, format!("{when}; moves the cost out of the step"))
        })
    };
    let write = "MADV_POPULATE_WRITE or MAP_POPULATE before the step";
    let read = "MADV_POPULATE_READ on the mapping before the step";
    let huge = advice(
        facts,
        cause,
        "transparent huge pages for the large buffers (MADV_HUGEPAGE)",
        "anonymous memory of 2 MiB and more",
    );
    match kind {
        Some(FaultKind::File) => populate(read).into_iter().collect(),
        Some(FaultKind::CopyOnWrite) => vec![advice(
            facts,
            cause,
            "posix_spawn or vfork instead of fork; share memory that both write",
            "where a fork made the pages shared; a private mapping of a file is copied on its first write anyway",
        )],
        Some(FaultKind::HugePage) => [anonymous].into_iter().chain(populate(write)).collect(),
        Some(FaultKind::Anonymous | FaultKind::Shared | FaultKind::Untold) | None => {
            [anonymous].into_iter().chain(populate(write)).chain([huge]).collect()
        }
    }
}
