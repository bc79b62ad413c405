//! What the rules on faults and reads say of pages that had been in the page cache before.

use crate::cause::Cause;
use crate::page_cache::{Evicted, Removal, by, evicted, in_full};
use crate::path::file_name;
use crate::report::{Evidence, Recommendation};
use crate::stats::{human, plural, size, thousands};
use crate::verdict::{Facts, advice, count, hint, since, time};

const SOURCE: &str = "page-cache adds and deletes";
const PAGE: u64 = 4096;
/// What has to be recorded to tell.
pub(super) const EVENTS: [&str; 2] =
    ["filemap:mm_filemap_add_to_page_cache", "filemap:mm_filemap_delete_from_page_cache"];

/// Whether the capture tells what left the page cache and came back.
pub(super) fn told(facts: &Facts<'_>) -> bool {
    EVENTS.iter().all(|name| facts.model().captured.has(name))
}

/// The words of a title: `index.db was evicted by step 141 (scan_repo) 1.2 s earlier`.
pub(super) fn title(facts: &Facts<'_>, evicted: &Evicted) -> String {
    format!(
        "{} was evicted by {} {} earlier",
        file_name(facts.model(), evicted.eviction.file),
        by(facts.parts.index, evicted, facts.number()),
        human(evicted.distance)
    )
}

/// What proves it, of `all` faults or pages, and `again` of them whose pages were in the cache
/// before. `what` and `had` are the words around: "faults slept for I/O", "on pages that had".
pub(super) fn evidence(
    facts: &Facts<'_>,
    [what, had]: [&str; 2],
    all: u64,
    again: u64,
    evicted: &Evicted,
) -> Vec<Evidence> {
    let by = in_full(facts.parts.index, evicted, facts.number());
    let part = match evicted.pages {
        pages if pages == again => String::new(),
        pages => format!("{} of these ", thousands(pages)),
    };
    vec![
        count(
            format_args!(
                "{} {what}; {} of them {had} been in the page cache before, {part}{by}",
                thousands(all),
                thousands(again),
            ),
            again,
            SOURCE,
        ),
        time(
            format_args!(
                "the median page was out of the cache for {}; the last had left at {} of the capture's clock",
                human(evicted.distance),
                seconds(evicted.left.0)
            ),
            evicted.distance,
            SOURCE,
        ),
        count(
            format_args!(
                "{} ({}) were added to the cache in between",
                plural(evicted.between, "page"),
                size(evicted.between.saturating_mul(PAGE))
            ),
            evicted.between,
            SOURCE,
        ),
    ]
}

/// A time as seconds, to the microsecond.
fn seconds(ns: u64) -> String {
    format!("{}.{:06} s", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

/// What helps against being evicted.
pub(super) fn recommendations(
    facts: &Facts<'_>,
    cause: Cause,
    evicted: &Evicted,
) -> Vec<Recommendation> {
    let index = facts.parts.index;
    let own = facts.number();
    let who = by(index, evicted, own);
    let mut out = Vec::new();
    match evicted.eviction.how {
        Removal::Reclaim | Removal::CgroupReclaim | Removal::DirectReclaim | Removal::Kswapd => {
            out.push(advice(
                facts,
                cause,
                "protect the working set: memory.low of its cgroup, or mlock",
                "as large as the working set; memory.min can invoke the OOM killer",
            ));
            if evicted.eviction.step.is_some() && evicted.eviction.step == own {
                out.push(advice(
                    facts,
                    cause,
                    "more memory for the step's cgroup or machine: it evicts what it needs itself",
                    "where the working set is larger than the limit",
                ));
            }
            // Only what reads through the page cache can leave it alone.
            let reading = evicted.eviction.reading.map(|file| file_name(facts.model(), file));
            if let (Some(file), Some(when)) = (&reading, since(facts, 6, 3)) {
                let text = format!("POSIX_FADV_NOREUSE on {file} by {who}");
                let condition = format!("{when}; ignored from 2.6.18 to 6.2");
                out.push(advice(facts, cause, text, condition));
            }
            if let (Some(file), Some(when)) = (&reading, since(facts, 6, 14)) {
                let text = format!("RWF_DONTCACHE reads (preadv2) of {file} by {who}");
                let condition = format!("{when}; where the file system supports it");
                out.push(advice(facts, cause, text, condition));
            }
        }
        Removal::Fadvise | Removal::Madvise => {
            let file = file_name(facts.model(), evicted.eviction.file);
            let text = format!("no {who} on {file} while it is in use");
            out.push(advice(facts, cause, text, "where that program can be changed"));
        }
        Removal::DropCaches => {
            let text = format!("no {who}: it empties the cache of the whole machine");
            out.push(advice(facts, cause, text, "where nothing measures cold starts on purpose"));
        }
        Removal::Invalidated | Removal::Truncated | Removal::NotRecorded | Removal::Unknown => {}
    }
    if let Some(condition) = since(facts, 6, 5) {
        out.push(hint("cachestat(2) on the file before the step, to confirm", condition));
    }
    out
}

/// Whether most came back after one eviction, which the title then names.
pub(super) fn decisive(all: u64, evicted: Option<&Evicted>) -> bool {
    evicted.is_some_and(|e| {
        let known = !matches!(e.eviction.how, Removal::NotRecorded | Removal::Unknown);
        known && e.pages.saturating_mul(2) >= all.max(1)
    })
}

/// What there is to say of read calls that waited for pages which had been in the cache.
pub(super) struct Reads {
    pub(super) evidence: Vec<Evidence>,
    /// Words for the title, where one eviction explains most of the pages read.
    pub(super) title: Option<String>,
    pub(super) recommendations: Vec<Recommendation>,
}

/// Of the pages that the step added to the cache, those that had been in it before.
pub(super) fn reads(facts: &Facts<'_>, cause: Cause) -> Reads {
    let none = Reads { evidence: Vec::new(), title: None, recommendations: Vec::new() };
    if !told(facts) {
        let record = format!("if it was evicted: record {} to tell", EVENTS.join(" and "));
        let text = "keep the data in memory: memory.low of its cgroup";
        return Reads { recommendations: vec![advice(facts, cause, text, record)], ..none };
    }
    let (index, work) = (facts.parts.index, facts.parts.work);
    let groups = evicted(index, work);
    let Some(first) = groups.first() else { return none };
    let added: u64 = work
        .iter()
        .flat_map(|stretch| index.cache().events(index.model, stretch))
        .filter(|(_, how)| how.is_none())
        .map(|(event, _)| event.pages)
        .sum();
    let again = groups.iter().map(|e| e.pages).sum();
    let decisive = decisive(added, Some(first));
    Reads {
        evidence: evidence(
            facts,
            ["pages were added to the page cache", "had"],
            added,
            again,
            first,
        ),
        title: decisive.then(|| title(facts, first)),
        recommendations: if decisive { recommendations(facts, cause, first) } else { Vec::new() },
    }
}
