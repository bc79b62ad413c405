//! Waiting for the journal outside durability operations.
//!
//! # What it detects
//! Waits that the journal's thread ended, in calls that did not ask for durability:
//! a rename or write that needs a transaction while one is being committed.
//! # Evidence
//! The device of the journal, the call that waited, the time on the device.
//! # Why it matters
//! The wait is caused by somebody's fsync, perhaps another program's.
//! # When it is wrong
//! Without jbd2 events the wait is known by its waker only.
//! # References
//! fs/jbd2/transaction.c `start_this_handle`.

use crate::cause::Cause;
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice, hint, shares};

pub(crate) struct Journal;

impl Rule for Journal {
    fn id(&self) -> &'static str {
        "journal"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Journal]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "waits for a journal commit"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let call = facts.call(cause).map_or_else(String::new, |(name, _)| format!(" in {name}"));
        let device =
            facts.device(cause).map_or_else(String::new, |(name, _)| format!(" on {name}"));
        Finding {
            title: format!("waits for a journal commit{device}{call}: {}", human(facts.own(cause))),
            evidence: shares(facts, cause),
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "batch the fsyncs that start the commits",
                    "they may be another program's",
                ),
                hint("ext4 fast_commit", "a feature set by mkfs or tune2fs, with data=ordered"),
            ],
            doubts: Vec::new(),
        }
    }
}
