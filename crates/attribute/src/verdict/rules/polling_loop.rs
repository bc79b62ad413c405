//! Looking again and again, with short sleeps in between.
//!
//! # What it detects
//! Eight or more sleeps of one length on the critical path, by one task or by processes that
//! it makes for that, with little but a look at something in between.
//! # Evidence
//! The sleeps counted, their median, the calls between them and how often these failed.
//! # Why it matters
//! The time is mostly that of what is polled for; but each loop finds it up to one interval
//! late, and wakes the CPU each time.
//! # When it is wrong
//! A program that paces its own work by sleeps, and does it without system calls, looks the
//! same; so does a check of memory that another thread writes. Waits on a futex with a timeout
//! count only where calls between them look at something: else it is a lock, or a condition.
//! # References
//! inotify(7), pidfd_open(2), wait(2), eventfd(2).

use super::super::Takes;
use crate::cause::Cause;
use crate::mechanism::polling::{Loop, check_words, is_connect};
use crate::path::Frame;
use crate::report::Recommendation;
use crate::stats::{human, thousands};
use crate::verdict::{Cell, Facts, Finding, Rule, ZERO, count, time};
use agenttrace_model::SyscallClass;
use agenttrace_model::parse::Nanos;

pub(crate) struct PollingLoop;

fn found<'f>(facts: &'f Facts<'_>) -> &'f [Loop] {
    let parts = facts.parts;
    parts.made.loops(parts.index, parts.path, parts.work)
}

impl Rule for PollingLoop {
    fn id(&self) -> &'static str {
        "polling_loop"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Sleep]
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        if facts.own(Cause::Sleep) == ZERO {
            return None;
        }
        let loops = found(facts);
        if loops.is_empty() {
            return None;
        }
        Some(Box::new(move |cell: &Cell<'_>| {
            let call = cell
                .frames
                .iter()
                .rev()
                .find_map(|f| if let Frame::Syscall(nr) = f { Some(*nr) } else { None });
            cell.cause == Cause::Sleep
                && loops.iter().any(|l| Some(l.nr) == call && l.tasks.contains(&cell.task))
        }))
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "not the kernel: polls in a loop of short sleeps"
    }
    fn find(&self, facts: &Facts<'_>, _: Cause) -> Finding {
        let index = facts.parts.index;
        let loops = found(facts);
        let Some(main) = loops.first() else { return Finding::default() };
        let name = |nr| index.model.syscalls.name(nr);
        let looks = main.checks.first().map_or_else(
            || "no look between".to_owned(),
            |check| format!("{} between", check_words(index, main.owner, check)),
        );
        let title = format!(
            "not the kernel: polling loop, {} sleeps of {}, {looks}",
            thousands(main.count),
            human(main.interval)
        );
        let mut evidence = Vec::new();
        for l in loops.iter().take(3) {
            evidence.push(time(
                format_args!(
                    "{} of {}: {} sleeps in {}, median {}",
                    human(l.total),
                    facts.name_tid(l.owner),
                    thousands(l.count),
                    name(l.nr),
                    human(l.interval)
                ),
                l.total,
                "critical path",
            ));
            evidence.extend(l.checks.iter().take(3).map(|check| {
                let words = format!("between them {}", check_words(index, l.owner, check));
                count(words, check.count, "raw_syscalls of the task that sleeps")
            }));
        }
        let doubts = if main.checks.is_empty() {
            vec!["what it polls for is not visible: it looks at nothing between its sleeps".into()]
        } else {
            Vec::new()
        };
        Finding { title, evidence, recommendations: vec![instead(facts, main)], doubts }
    }
}

/// What to wait for in place of polling; it saves what the last look came too late.
fn instead(facts: &Facts<'_>, main: &Loop) -> Recommendation {
    let index = facts.parts.index;
    let check = main.checks.first();
    let class = check.map(|check| index.model.syscalls.class(check.nr));
    let (text, condition) = match class {
        Some(SyscallClass::Metadata) => {
            ("wait for the file with inotify", "where the file system is local")
        }
        Some(SyscallClass::WaitChild) => (
            "wait for the child itself: wait4 without WNOHANG, or poll a pidfd with the other fds",
            "a pidfd: Linux 5.3 and later",
        ),
        Some(SyscallClass::SocketSend) if check.is_some_and(|c| is_connect(index, &c.last)) => (
            "have the server tell when it listens (a pipe, a passed socket), or retry sooner at first",
            "where the server is started for the step",
        ),
        Some(_) | None => (
            "wait for the event itself: an eventfd, a pipe, a futex",
            "where the other side can tell",
        ),
    };
    let saves: Nanos = main.interval.min(main.total);
    Recommendation { text: text.into(), condition: condition.into(), saves: Some(saves) }
}
