//! Cold mapped files: page faults that sleep for I/O.
//!
//! # What it detects
//! Time of the critical path inside page faults that slept for I/O. Where the pages of most
//! had been in the page cache before within the capture, it names who evicted them.
//! # Evidence
//! The kernel's own count of major faults by file, the time the path waited for
//! devices and in their queues. For each fault the page that it asked for, when that page was
//! added to the page cache, whether it had left it before, when, and inside of what: reclaim
//! of which task, `posix_fadvise`, a write to `drop_caches`. Pages of a file that was
//! truncated or deleted were not evicted.
//! # Why it matters
//! Each touch of a page that is not in the page cache waits for the device, one after
//! the other: the device's parallelism is wasted. Pages that were evicted were worth keeping.
//! # When it is wrong
//! Without `minor-faults,major-faults` the ends are estimated. Faults of anonymous
//! memory that was swapped out are counted here too. Evictions before the capture are not
//! seen: pages that left then count as cold. kswapd works for whoever allocates: it is laid to
//! the task that added most of the last pages before, if that is more than half of them. The
//! capture does not tell which file a write goes to: a write of 1 to 4 bytes inside of which
//! pages leave without reclaim is taken for one to `drop_caches`.
//! # References
//! madvise(2) (`MADV_POPULATE_READ`, 5.14); mm/filemap.c `filemap_fault`; mm/workingset.c.

use agenttrace_model::parse::Nanos;

use super::refaults;
use crate::cause::{Cause, Resource};
use crate::mechanism::faults::{completed, slept_for_io};
use crate::page_cache::{Evicted, Refault, group};
use crate::path::{Frame, file_name};
use crate::report::{Evidence, Recommendation};
use crate::stats::{human, plural};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, since, time};

pub(crate) struct MmapFaultStorm;

/// A page that a fault finds on its way in was added this long before at most.
const UNDER_WAY: Nanos = Nanos(100_000_000);

/// The faults of a step that slept for I/O.
struct Sleeping {
    /// All of them.
    faults: u64,
    /// Those whose page had been in the cache, by file and eviction, the most first; `pages`
    /// counts faults.
    again: Vec<Evicted>,
}

fn sleeping(facts: &Facts<'_>) -> Sleeping {
    let index = facts.parts.index;
    let history = index.cache();
    let mut faults = 0;
    let mut again: Vec<Refault> = Vec::new();
    for (stretch, task, op, fault) in completed(index, facts.parts.work) {
        if !slept_for_io(index.model, task, &op, &fault) {
            continue;
        }
        faults += 1;
        let Some(file) = fault.file else { continue };
        let found = match fault.page {
            Some(page) => {
                let since = op.start - UNDER_WAY;
                history.refault_of(file, u64::from(page), since, op.end).copied()
            }
            // Which page it asked for was not recorded: one that it added itself.
            None => {
                let own = crate::inclusive::Stretch { from: op.start, to: op.end, ..*stretch };
                history.refaults(&own).iter().find(|r| r.file == file).copied()
            }
        };
        again.extend(found.map(|r| Refault { pages: 1, ..r }));
    }
    Sleeping { faults, again: group(history, again.iter()) }
}

impl Rule for MmapFaultStorm {
    fn id(&self) -> &'static str {
        "mmap_fault_storm"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::MajorFault]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "mapped file not in the page cache"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let told = refaults::told(facts);
        let sleeping = told.then(|| sleeping(facts));
        let evicted = sleeping.as_ref().and_then(|s| s.again.first());
        if let Some(s) = &sleeping {
            let again: u64 = s.again.iter().map(|e| e.pages).sum();
            match evicted {
                Some(evicted) => evidence.extend(refaults::evidence(
                    facts,
                    ["faults slept for I/O", "on pages that had"],
                    s.faults,
                    again,
                    evicted,
                )),
                None if s.faults > 0 => evidence.push(count(
                    format_args!(
                        "{} slept for I/O; none of their pages was seen in the page cache before: cold",
                        plural(s.faults, "fault")
                    ),
                    s.faults,
                    "page-cache adds and deletes",
                )),
                None => {}
            }
        }
        let decisive = evicted
            .filter(|e| refaults::decisive(sleeping.as_ref().map_or(0, |s| s.faults), Some(*e)));
        let (title, more) = title(facts, cause, decisive);
        evidence.extend(more);
        let mut recommendations =
            decisive.map_or_else(Vec::new, |e| refaults::recommendations(facts, cause, e));
        recommendations.extend(populate(facts, cause));
        if !told {
            recommendations.push(advice(
                facts,
                cause,
                "protect the working set: memory.low of its cgroup, or mlock",
                format!(
                    "if the file had been in memory and was evicted: record {} to tell",
                    refaults::EVENTS.join(" and ")
                ),
            ));
        }
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}

/// What helps whether the pages were evicted or cold.
fn populate(facts: &Facts<'_>, cause: Cause) -> Vec<Recommendation> {
    let mut out = Vec::new();
    if let Some(condition) = since(facts, 5, 14) {
        out.push(advice(
            facts,
            cause,
            "MADV_POPULATE_READ on the range before the step",
            condition,
        ));
    }
    out.push(advice(
        facts,
        cause,
        "plain read or io_uring instead of a mapping",
        "where the data is used once",
    ));
    out.push(advice(
        facts,
        cause,
        "MADV_WILLNEED early enough before the step",
        "only starts the reads: saves what is done before the first touch",
    ));
    out
}

/// The title, and the evidence by file and device.
fn title(facts: &Facts<'_>, cause: Cause, evicted: Option<&Evicted>) -> (String, Vec<Evidence>) {
    let mut evidence = Vec::new();
    let file = facts
        .first(cause, |cell| {
            cell.frames
                .iter()
                .rev()
                .find_map(|f| if let Frame::Fault(_, Some(file)) = f { Some(*file) } else { None })
        })
        .map(|(file, _)| file_name(facts.model(), file));
    let faults = facts.inclusive().faults.as_ref();
    let major = faults.map_or(0, |f| f.major.count);
    if let Some(faults) = faults {
        evidence.push(count(
            format_args!(
                "{} by the kernel's count, the longest {}",
                plural(major, "major fault"),
                human(faults.major.max)
            ),
            major,
            "page faults of the step's tasks",
        ));
        for row in faults.files.iter().filter(|row| row.major > 0).take(3) {
            let name = row.path.clone().unwrap_or_else(|| format!("{} ino {}", row.dev, row.ino));
            evidence.push(count(
                format_args!("{} on {name}", plural(row.major, "major fault")),
                row.major,
                "page faults of the step's tasks",
            ));
        }
    }
    let (waited, queued) =
        (facts.on(cause, Resource::Device), facts.on(cause, Resource::DeviceQueue));
    let device = facts.device(cause).map_or_else(|| "a device".to_owned(), |(name, _)| name);
    if waited + queued > ZERO {
        evidence.push(time(
            format_args!("{} on {device}, {} in its queue", human(waited), human(queued)),
            waited + queued,
            "block requests on the critical path",
        ));
    }
    let name = match major {
        0 | 1 => "mmap fault",
        _ => "mmap fault storm",
    };
    if let Some(evicted) = evicted {
        return (format!("{name}: {}", refaults::title(facts, evicted)), evidence);
    }
    let on = file.map_or_else(String::new, |file| format!(" on {file}"));
    let faults = if major == 0 {
        "page faults that slept".to_owned()
    } else {
        plural(major, "major fault").to_string()
    };
    let wait = if waited > ZERO {
        format!("{} waiting for {device}", human(waited + queued))
    } else {
        human(facts.held(cause)).to_string()
    };
    (format!("{name}: {faults}{on}, {wait}"), evidence)
}
