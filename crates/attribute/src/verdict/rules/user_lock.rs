//! A futex that a task outside the step held.
//!
//! # What it detects
//! Waits on a futex that were ended by a task which does not work for the step.
//! # Evidence
//! The futex's address, whether it is waited on as a mutex, who ended the wait, and what he
//! did meanwhile: ran, was runnable behind others, or was blocked, in which call.
//! # Why it matters
//! The step waits for work that is not its own: the holder's time is its time.
//! # When it is wrong
//! The waker is taken for the holder. Where the word is not waited on for the value that
//! means "contended", it may be a condition variable: the title then says futex, not mutex.
//! # References
//! futex(2); glibc nptl/lowlevellock.c (2 is "locked, with waiters").

use super::locked;
use crate::cause::Cause;
use crate::locks::{Lock, by_lock, holders};
use crate::stats::human;
use crate::verdict::{Facts, Finding, Rule, advice, hint, shares};

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
        let mut evidence = shares(facts, cause);
        let waits = facts.lock_waits(cause);
        let locks = by_lock(&waits);
        let holders = holders(facts.model(), &waits);
        evidence.extend(locked::evidence(facts, &waits, &holders, "raw_syscalls, sched_switch"));
        let main = locks.first();
        let lock = main.map_or_else(
            || "a lock".to_owned(),
            |(lock, _)| {
                let at = lock.addr().map_or_else(String::new, |addr| format!(" at {:#x}", addr.0));
                format!("{}{at}", lock.kind())
            },
        );
        let mutex = main.is_some_and(|(lock, _)| matches!(lock, Lock::Mutex(..)));
        let own = facts.own(cause);
        let others = match locks.len().saturating_sub(1) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let title = match holders.first() {
            Some(holder) => {
                let verb = if mutex { "held by" } else { "waited on for" };
                let name = facts.name_tid(holder.task);
                format!(
                    "{lock}{others} {verb} {name}: {}, {}",
                    human(own),
                    locked::did(facts, holder, own)
                )
            }
            None => format!("{lock}{others} held by a task that is not known: {}", human(own)),
        };
        let starved = holders.first().is_some_and(|holder| holder.starved(facts.parts.index));
        let mut recommendations = Vec::new();
        if starved {
            recommendations.push(advice(
                facts,
                cause,
                "let the holder run: a CPU of its own, or a higher weight than what it waits behind",
                "priority inheritance mutexes (PTHREAD_PRIO_INHERIT) help real-time threads alone",
            ));
        }
        recommendations.push(advice(
            facts,
            cause,
            "hold the lock for shorter: no I/O or long work inside",
            "not the kernel's to fix: in the program that holds it",
        ));
        recommendations
            .push(hint("split the lock, or let readers share it", "where the holder only reads"));
        let mut doubts = Vec::new();
        if !mutex && main.is_some() {
            doubts.push(
                "the futex is not waited on as a mutex: it may be a condition variable or a queue"
                    .into(),
            );
        }
        Finding { title, evidence, recommendations, doubts }
    }
}
