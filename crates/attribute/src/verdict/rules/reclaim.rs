//! Reclaiming memory before an allocation gets any.
//!
//! # What it detects
//! Time of the critical path in reclaim for a cgroup's limit, in direct reclaim, or in
//! compaction, whatever it waited for in it. What kswapd does in the background is not
//! the step's time.
//! # Evidence
//! How many, how long, pages reclaimed; the calls that wanted the memory; sleeps because
//! reclaim did not get on; for direct reclaim the tasks that took the memory.
//! # Why it matters
//! Under a limit every allocation pays for the memory that it needs, and dirty pages have
//! to reach the disk first.
//! # When it is wrong
//! The limit can be that of a cgroup above the step's own. Who took memory is counted from
//! the page cache and from faults on anonymous memory: memory of the kernel is not in it.
//! # References
//! mm/vmscan.c (`try_to_free_pages`, `try_to_free_mem_cgroup_pages`); mm/compaction.c;
//! Documentation/admin-guide/cgroup-v2.rst (`memory.high`).

use agenttrace_model::ReclaimKind;
use agenttrace_model::parse::Nanos;

use crate::cause::{Cause, Resource};
use crate::mechanism::reclaim::{Reclaims, background, reclaims, takers};
use crate::mechanism::writeback_throttle::PAGE;
use crate::path::Frame;
use crate::report::Recommendation;
use crate::stats::{human, plural, size, stats};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, hint, shares, time};

pub(crate) struct Reclaim;

impl Rule for Reclaim {
    fn id(&self) -> &'static str {
        "reclaim"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Reclaim]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "reclaims memory before it gets any"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let own = facts.own(cause);
        let kinds = reclaims(facts.parts.index, facts.parts.work);
        let kind = facts.first(cause, |cell| {
            cell.frames
                .iter()
                .find_map(|f| if let Frame::Reclaim(kind) = f { Some(*kind) } else { None })
        });
        let kind = kind.map_or(ReclaimKind::Direct, |(kind, _)| kind);
        let mut evidence = shares(facts, cause);
        for (kind, sums) in &kinds {
            let times = stats(&mut sums.times.clone());
            let pages = match kind {
                ReclaimKind::Compaction => String::new(),
                ReclaimKind::Direct | ReclaimKind::Cgroup | ReclaimKind::SoftLimit => {
                    format!(", {} reclaimed", size(sums.pages.saturating_mul(PAGE)))
                }
            };
            evidence.push(count(
                format_args!(
                    "{}: {}{pages}, p50 {}, p99 {}",
                    kind.name(),
                    plural(times.count, "time"),
                    human(times.p50),
                    human(times.p99)
                ),
                times.count,
                "vmscan and compaction events",
            ));
            if sums.throttles > 0 {
                evidence.push(time(
                    format_args!(
                        "put to sleep {} because reclaim did not get on: {}",
                        plural(sums.throttles, "time"),
                        human(sums.throttled)
                    ),
                    sums.throttled,
                    "mm_vmscan_throttled",
                ));
            }
        }
        let device = facts.on(cause, Resource::Device) + facts.on(cause, Resource::DeviceQueue);
        if device > ZERO {
            let name = facts.device(cause).map_or_else(|| "a device".to_owned(), |(name, _)| name);
            evidence.push(time(
                format_args!("{} of it waited for write-back to {name}", human(device)),
                device,
                "block requests",
            ));
        }
        let sums = kinds.get(&kind).cloned().unwrap_or_default();
        let what = what(facts, &sums, own);
        let title = match kind {
            ReclaimKind::Cgroup => {
                format!("reclaim: its memory cgroup is at the limit, {what}")
            }
            ReclaimKind::Direct | ReclaimKind::SoftLimit => {
                let who = self.direct(facts, &mut evidence);
                format!("{}: the machine is short of free memory, {what}{who}", kind.name())
            }
            ReclaimKind::Compaction => format!("compaction: {what}"),
        };
        Finding {
            title,
            evidence,
            recommendations: advices(facts, cause, kind, device),
            doubts: Vec::new(),
        }
    }
}

impl Reclaim {
    /// Who took the machine's memory, for the title; with evidence.
    fn direct(&self, facts: &Facts<'_>, evidence: &mut Vec<crate::report::Evidence>) -> String {
        let step = facts.parts.step;
        // As long before the step as it lasted: what was taken earlier may be free again.
        let from = Nanos(step.start.0.saturating_sub(facts.wall.0));
        let takers = takers(facts.parts.index, from, step.end);
        for (task, pages) in takers.iter().take(3) {
            let bytes = pages.saturating_mul(PAGE);
            evidence.push(crate::report::Evidence {
                text: format!("{} took {} of memory", facts.name_tid(*task), size(bytes)),
                value: bytes,
                unit: "bytes",
                source: "page cache, page faults; since as long before the step as it lasted",
            });
        }
        let kswapd = background(facts.parts.index, facts.parts.work, step.start, step.end);
        if let Some(kswapd) = kswapd {
            evidence.push(count(
                format_args!(
                    "kswapd began {} and ran {} meanwhile, in the background",
                    plural(kswapd.wakes, "time"),
                    human(kswapd.ran)
                ),
                kswapd.wakes,
                "vmscan events",
            ));
        }
        let mine = |task| facts.parts.work.iter().any(|s| s.task == task);
        match takers.first() {
            Some((task, pages)) if !mine(*task) => {
                let bytes = size(pages.saturating_mul(PAGE));
                format!("; {} took {bytes}", facts.name_tid(*task))
            }
            Some((_, pages)) => {
                format!("; it took {} itself", size(pages.saturating_mul(PAGE)))
            }
            None => String::new(),
        }
    }
}

/// How often, in which call, how much, how long.
fn what(facts: &Facts<'_>, sums: &Reclaims, own: Nanos) -> String {
    let within = sums.within.iter().max_by_key(|(within, n)| (**n, std::cmp::Reverse(**within)));
    let within = within
        .map_or_else(String::new, |(within, _)| format!(" in {}", within.name(facts.model())));
    let pages = match sums.pages {
        0 => String::new(),
        pages => format!(" for {}", size(pages.saturating_mul(PAGE))),
    };
    format!("{}{within}, {}{pages}", plural(sums.times.len() as u64, "time"), human(own))
}

fn advices(
    facts: &Facts<'_>,
    cause: Cause,
    kind: ReclaimKind,
    device: Nanos,
) -> Vec<Recommendation> {
    let scans = || {
        hint(
            "keep scans out of the cache: POSIX_FADV_NOREUSE, or RWF_DONTCACHE",
            "Linux 6.3 and later, or 6.14 where the file system supports it; where page cache \
             fills the memory",
        )
    };
    let mut all = Vec::new();
    match kind {
        ReclaimKind::Cgroup => {
            all.push(advice(
                facts,
                cause,
                "raise memory.high and memory.max of the cgroup (v1: memory.limit_in_bytes)",
                "where the work needs that much; the limit may be that of a cgroup above",
            ));
            if device > ZERO {
                all.push(hint(
                    "write less at once, and start write-back early: sync_file_range",
                    "where dirty pages fill the cgroup",
                ));
            }
            all.push(scans());
        }
        ReclaimKind::Direct | ReclaimKind::SoftLimit => {
            all.push(advice(
                facts,
                cause,
                "more memory, or a memory.high for whoever takes it",
                "where others than the step took it",
            ));
            all.push(scans());
        }
        ReclaimKind::Compaction => all.push(advice(
            facts,
            cause,
            "let huge pages be made in the background: transparent_hugepage/defrag at defer",
            "where allocations of huge pages asked for it",
        )),
    }
    all
}
