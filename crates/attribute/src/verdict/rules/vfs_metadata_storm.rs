//! Many looks at names and inodes: the stat/open cascade.
//!
//! # What it detects
//! Time of the critical path inside metadata system calls (open, stat, getdents, rename, ...).
//! # Evidence
//! The calls by name with their counts and time, how many names were missing, in how many
//! directories; how much of it waited for a device, and what a call takes warm and cold.
//! # Why it matters
//! Each call is cheap; thousands in each step are not. Cold, each may read from the disk.
//! # When it is wrong
//! Tracing every system call makes each dearer: the share is an upper bound for very cheap
//! calls. Directories are counted by open fds; those that a path names are not known.
//! # References
//! Documentation/filesystems/path-lookup.rst; git-status(1), git-update-index(1).

use agenttrace_model::SyscallClass;
use agenttrace_model::parse::Nanos;

use crate::cause::{Cause, Resource};
use crate::mechanism::metadata::{CallSum, directories};
use crate::stats::{human, percentile, plural, thousands};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, hint, shares, time};

pub(crate) struct VfsMetadataStorm;

impl Rule for VfsMetadataStorm {
    fn id(&self) -> &'static str {
        "vfs_metadata_storm"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::VfsMetadata]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "stat/open cascade"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let own = facts.own(cause);
        let model = facts.model();
        let sums = facts.parts.made.metadata(facts.parts.index);
        let calls = facts.calls(SyscallClass::Metadata);
        for (name, times, total) in calls.iter().take(4) {
            evidence.push(count(
                format_args!("{name} {} times, {} in all", thousands(*times), human(*total)),
                *times,
                "raw_syscalls of the step's tasks",
            ));
        }
        let waited = facts.on(cause, Resource::Device) + facts.on(cause, Resource::DeviceQueue);
        let device = facts.device(cause).map_or_else(|| "the disk".to_owned(), |(name, _)| name);
        if waited > ZERO {
            evidence.push(time(
                format_args!("{} waiting for {device}", human(waited)),
                waited,
                "block requests on the critical path",
            ));
        }
        let by_count = sums.by_count();
        let missing: u64 = by_count.iter().map(|(_, sum)| sum.missing).sum();
        if missing > 0 {
            evidence.push(count(
                format_args!("{} of them looked for a name that is not there", thousands(missing)),
                missing,
                "raw_syscalls that returned ENOENT",
            ));
        }
        let mut cold: Vec<Nanos> =
            by_count.iter().flat_map(|(_, sum)| &sum.cold).copied().collect();
        cold.sort_unstable();
        if !cold.is_empty() {
            evidence.push(count(
                format_args!(
                    "{} read from a device, p50 {}, p99 {}",
                    plural(cold.len() as u64, "call"),
                    human(percentile(&cold, 50)),
                    human(percentile(&cold, 99))
                ),
                cold.len() as u64,
                "block requests submitted or awaited inside the calls",
            ));
        }
        let uncached: u64 = by_count.iter().map(|(_, sum)| sum.uncached).sum();
        if uncached > 0 {
            evidence.push(count(
                format_args!(
                    "{} ran for more than ten times the capture's median without a read: not \
                     in the kernel's caches of names and inodes",
                    plural(uncached, "call")
                ),
                uncached,
                "raw_syscalls, sched_switch",
            ));
        }
        // A close follows from its open.
        let told: Vec<_> = {
            let open = |(nr, _): &&(i32, &CallSum)| model.syscalls.name(*nr) != "close";
            let others: Vec<_> = by_count.iter().filter(open).collect();
            if others.is_empty() { by_count.iter().collect() } else { others }
        };
        let most = told.first().map_or(0, |(_, sum)| sum.count);
        // Those that are few beside the first say nothing.
        let named: Vec<String> = told
            .iter()
            .take(2)
            .filter(|(_, sum)| sum.count.saturating_mul(10) >= most)
            .map(|(nr, sum)| {
                let missing = match sum.missing {
                    0 => String::new(),
                    n => format!(" ({} missing)", thousands(n)),
                };
                format!("{} {}{missing}", thousands(sum.count), model.syscalls.name(*nr))
            })
            .collect();
        let what = if named.is_empty() { "metadata calls".to_owned() } else { named.join(" and ") };
        // The directories of the call that the title is about, where they are told.
        let first = told.first().map(|(_, sum)| *sum);
        let known = first.map_or(0, CallSum::directories);
        let places = match if known > 0 { known } else { sums.directories } {
            0 => String::new(),
            n => format!(" in {}", directories(n)),
        };
        let warm = first.filter(|sum| sum.warm.count > 0);
        let mut each =
            warm.map_or_else(String::new, |sum| format!(", {} each warm", human(sum.warm.p50)));
        if !cold.is_empty() {
            let p50 = human(percentile(&cold, 50));
            each.push_str(&format!(", {} cold at {p50}", thousands(cold.len() as u64)));
        }
        // Where much of the time is not calls into caches, that is what is to be said.
        let temperature = if waited.0.saturating_mul(5) >= own.0 && waited > ZERO {
            format!(", {} of it waiting for {device}", human(waited))
        } else {
            each
        };
        let kind = if by_count.iter().map(|(_, sum)| sum.count).sum::<u64>() >= 100 {
            "stat/open cascade: "
        } else {
            ""
        };
        Finding {
            title: sentence!("{kind}{what}{places}: {}{temperature}", human(own)),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "cache the tree listing between steps",
                    "where the tree is watched or known not to change",
                ),
                hint(
                    "fewer places on search paths (PATH, PYTHONPATH, include and module paths)",
                    "where most of the names are missing",
                ),
                advice(
                    facts,
                    cause,
                    "git status -uno, git's untracked cache and fsmonitor",
                    "where git makes the calls; fsmonitor is built in on Linux only in recent Git",
                ),
                advice(
                    facts,
                    cause,
                    "batch statx in io_uring",
                    "where the calls are known in advance",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}
