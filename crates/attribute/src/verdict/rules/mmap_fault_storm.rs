//! Cold mapped files: page faults that sleep for I/O.
//!
//! # What it detects
//! Time of the critical path inside page faults that slept for I/O.
//! # Evidence
//! The kernel's own count of major faults by file, the time the path waited for
//! devices and in their queues, block reads.
//! # Why it matters
//! Each touch of a page that is not in the page cache waits for the device, one after
//! the other: the device's parallelism is wasted.
//! # When it is wrong
//! Without `minor-faults,major-faults` the ends are estimated. Faults of anonymous
//! memory that was swapped out are counted here too.
//! # References
//! madvise(2) (`MADV_POPULATE_READ`, 5.14); mm/filemap.c `filemap_fault`.

use crate::cause::{Cause, Resource};
use crate::path::{Frame, file_name};
use crate::stats::{human, plural};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, time};

pub(crate) struct MmapFaultStorm;

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
        let file = facts
            .first(cause, |cell| {
                cell.frames.iter().rev().find_map(|f| {
                    if let Frame::Fault(_, Some(file)) = f { Some(*file) } else { None }
                })
            })
            .map(|(file, _)| file_name(facts.model(), file));
        let faults = facts.inclusive().faults.as_ref();
        let major = faults.map_or(0, |f| f.major.count);
        if let Some(faults) = faults {
            evidence.push(count(
                format!(
                    "{} by the kernel's count, the longest {}",
                    plural(major, "major fault"),
                    human(faults.major.max)
                ),
                major,
                "page faults of the step's tasks",
            ));
            for row in faults.files.iter().filter(|row| row.major > 0).take(3) {
                let name =
                    row.path.clone().unwrap_or_else(|| format!("{} ino {}", row.dev, row.ino));
                evidence.push(count(
                    format!("{} on {name}", plural(row.major, "major fault")),
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
                format!("{} on {device}, {} in its queue", human(waited), human(queued)),
                waited + queued,
                "block requests on the critical path",
            ));
        }
        let name = match major {
            0 | 1 => "mmap fault",
            _ => "mmap fault storm",
        };
        let on = file.map_or_else(String::new, |file| format!(" on {file}"));
        let faults = if major == 0 {
            "page faults that slept".to_owned()
        } else {
            plural(major, "major fault")
        };
        let wait = if waited > ZERO {
            format!("{} waiting for {device}", human(waited + queued))
        } else {
            human(facts.held(cause))
        };
        Finding {
            title: format!("{name}: {faults}{on}, {wait}"),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "MADV_POPULATE_READ on the range before the step",
                    "Linux 5.14 and later",
                ),
                advice(
                    facts,
                    cause,
                    "plain read or io_uring instead of a mapping",
                    "where the data is used once",
                ),
                advice(
                    facts,
                    cause,
                    "MADV_WILLNEED early enough before the step",
                    "only starts the reads: saves what is done before the first touch",
                ),
                advice(
                    facts,
                    cause,
                    "protect the working set: memory.low of its cgroup, or mlock",
                    "if the file had been in memory and was evicted, which this verdict does not rule out",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}
