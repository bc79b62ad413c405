//! A futex that a task outside the step held.
//!
//! # What it detects
//! Waits on a futex that were ended by a task which does not work for the step.
//! # Evidence
//! The task that ended the wait, and what it did meanwhile.
//! # Why it matters
//! The step waits for work that is not its own: the holder's time is its time.
//! # When it is wrong
//! The waker is taken for the holder. A condition variable looks like a lock.
//! # References
//! futex(2), EVENTS 10.

use crate::cause::Cause;
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice};

pub(crate) struct UserLock;

impl Rule for UserLock {
    fn id(&self) -> &'static str {
        "user_lock"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::UserLock]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "lock held by another task"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let by = facts.peer(cause).map_or_else(
            || "a task that is not known".to_owned(),
            |(task, _)| facts.name_tid(task),
        );
        Finding {
            title: format!("lock held by {by}: {} waiting", human(facts.own(cause))),
            evidence: super::service_wait::evidence(facts, cause),
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "hold the lock for shorter: no I/O or long work inside",
                    "not the kernel's to fix: in the program that holds it",
                ),
                advice(
                    facts,
                    cause,
                    "split the lock, or readers and writers",
                    "where the holder only reads",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}
