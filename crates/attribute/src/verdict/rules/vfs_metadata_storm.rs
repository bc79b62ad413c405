//! Many looks at names and inodes: the stat/open cascade.
//!
//! # What it detects
//! Time of the critical path inside metadata system calls (open, stat, getdents, rename, ...).
//! # Evidence
//! The calls by name with their counts and time; how much of it waited for a device.
//! # Why it matters
//! Each call is cheap; thousands in each step are not. Cold, each may read from the disk.
//! # When it is wrong
//! Tracing every system call makes each dearer (EVENTS 12): the share is an upper bound
//! for very cheap calls.
//! # References
//! Documentation/filesystems/path-lookup.rst; git-status(1), git-update-index(1).

use agenttrace_model::SyscallClass;

use crate::cause::{Cause, Resource};
use crate::stats::{human, thousands};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, time};

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
        let mut calls = facts.calls(SyscallClass::Metadata);
        for (name, times, total) in calls.iter().take(4) {
            evidence.push(count(
                format!("{name} {} times, {} in all", thousands(*times), human(*total)),
                *times,
                "raw_syscalls of the step's tasks",
            ));
        }
        let waited = facts.on(cause, Resource::Device) + facts.on(cause, Resource::DeviceQueue);
        let temperature = if waited > ZERO {
            let device =
                facts.device(cause).map_or_else(|| "the disk".to_owned(), |(name, _)| name);
            evidence.push(time(
                format!("{} waiting for {device}", human(waited)),
                waited,
                "block requests on the critical path",
            ));
            format!("{} of it waiting for {device}", human(waited))
        } else {
            "warm".to_owned()
        };
        calls.sort_by_key(|(name, times, _)| (std::cmp::Reverse(*times), *name));
        // A close follows from its open.
        let opens = calls.iter().any(|(name, ..)| *name != "close");
        let told = calls.iter().filter(|(name, ..)| !opens || *name != "close");
        let named: Vec<String> =
            told.take(2).map(|(name, times, _)| format!("{} {name}", thousands(*times))).collect();
        let what = if named.is_empty() { "metadata calls".to_owned() } else { named.join(" and ") };
        let kind =
            if calls.iter().map(|c| c.1).sum::<u64>() >= 100 { "stat/open cascade: " } else { "" };
        Finding {
            title: format!("{kind}{what} in {}, {temperature}", human(own)),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "cache the tree listing between steps",
                    "where the tree is watched or known not to change",
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
