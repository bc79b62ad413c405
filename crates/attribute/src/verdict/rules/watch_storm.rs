//! Each change to a file wakes watchers, which take the CPU or make the call dearer.
//!
//! # What it detects
//! Wakeups of tasks that read inotify or fanotify events, by the step's own calls on files;
//! ten or more. A special rule: it takes run delay where mostly the watchers had the CPU,
//! and calls on files that woke watchers where such a call takes 1.5 times as long as one
//! that wakes nobody.
//! # Evidence
//! Wakeups by watcher and call, what a waking call took and what another, how long watchers
//! ran on CPUs for which the step waited.
//! # Why it matters
//! A watcher of a whole tree (an editor, a build server, a sync client) pays for each file
//! that an agent writes, and so does the agent.
//! # When it is wrong
//! An fd that was opened before the capture is taken for one of inotify by who wakes its
//! reader. Calls that wake nobody may be cheaper for another reason than the wakeup: other
//! files, other sizes.
//! # References
//! inotify(7), fanotify(7); fs/notify/notification.c (`fsnotify_insert_event`).

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::mechanism::watchers::{Waking, Watcher, call_list, waking_calls, watchers};
use crate::path::Frame;
use crate::stats::{human, plural, thousands};
use crate::verdict::{Facts, Finding, Rule, Takes, ZERO, count, time};

pub(crate) struct WatchStorm;

/// Fewer wakeups are no storm.
const STORM: u64 = 10;

fn of(facts: &Facts<'_>) -> Vec<Watcher> {
    let window = (facts.parts.step.start, facts.parts.step.end);
    watchers(facts.parts.index, facts.parts.work, window)
}

/// Whether the watchers had the CPUs for most of the step's run delay.
fn competes(facts: &Facts<'_>, watchers: &[Watcher]) -> bool {
    let rivals = facts.cpu_rivals();
    let all: Nanos = rivals.iter().map(|(_, ns)| *ns).sum();
    let is_watcher = |task| watchers.iter().any(|watcher| watcher.task == task);
    let own: Nanos = rivals.iter().filter(|((t, _), _)| is_watcher(*t)).map(|(_, ns)| *ns).sum();
    own > ZERO && own.0.saturating_mul(2) >= all.0
}

/// The calls that are dearer for waking watchers.
fn dearer(facts: &Facts<'_>) -> Vec<Waking> {
    let mut calls = waking_calls(facts.parts.index, facts.parts.work);
    calls.retain(|call| {
        let twice = |other: Nanos| call.p50.0.saturating_mul(2) >= other.0.saturating_mul(3);
        let name = facts.model().syscalls.name(call.nr);
        let rows = facts.inclusive().syscalls.as_deref().unwrap_or_default();
        let made = rows.iter().find(|row| row.name == name).map_or(0, |row| row.count);
        call.other.is_some_and(twice) && call.count.saturating_mul(2) >= made
    });
    calls
}

impl Rule for WatchStorm {
    fn id(&self) -> &'static str {
        "watch_storm"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::RunDelay, Cause::VfsMetadata, Cause::SyscallCpu]
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        let watchers = of(facts);
        if watchers.iter().map(|w| w.wakeups).sum::<u64>() < STORM {
            return None;
        }
        let delay = competes(facts, &watchers);
        let calls: Vec<i32> = dearer(facts).iter().map(|call| call.nr).collect();
        if !delay && calls.is_empty() {
            return None;
        }
        Some(Box::new(move |cell| match cell.cause {
            Cause::RunDelay => delay,
            Cause::VfsMetadata | Cause::SyscallCpu => cell
                .frames
                .iter()
                .rev()
                .any(|frame| matches!(frame, Frame::Syscall(nr) if calls.contains(nr))),
            Cause::Unknown
            | Cause::CpuThrottle
            | Cause::Interrupt
            | Cause::Fsync
            | Cause::Reclaim
            | Cause::WritebackThrottle
            | Cause::TlbFlush
            | Cause::KernelLock
            | Cause::Journal
            | Cause::MajorFault
            | Cause::Spawn
            | Cause::MinorFault
            | Cause::BlockRead
            | Cause::BlockWrite
            | Cause::UserLock
            | Cause::IpcWait
            | Cause::ServiceWait
            | Cause::NetworkWait
            | Cause::Sleep
            | Cause::Idle
            | Cause::UserCpu => false,
        }))
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "watch storm: each change wakes watchers"
    }
    fn find(&self, facts: &Facts<'_>, _: Cause) -> Finding {
        let model = facts.model();
        let watchers = of(facts);
        let wakeups: u64 = watchers.iter().map(|w| w.wakeups).sum();
        let mut evidence = Vec::new();
        for watcher in watchers.iter().take(3) {
            evidence.push(count(
                format_args!(
                    "{} woken {} times, by {}",
                    facts.name_tid(watcher.task),
                    thousands(watcher.wakeups),
                    call_list(model, &watcher.calls)
                ),
                watcher.wakeups,
                "sched_waking from inside calls on files",
            ));
            evidence.push(time(
                format_args!(
                    "it ran for {} in the step, {} of it on a CPU that the step waited for",
                    human(watcher.ran),
                    human(watcher.delayed)
                ),
                watcher.ran,
                "sched_switch",
            ));
        }
        let delay: Nanos = facts.own(Cause::RunDelay);
        let in_calls = facts.own(Cause::VfsMetadata) + facts.own(Cause::SyscallCpu);
        let dearer = dearer(facts);
        for call in &dearer {
            if let Some(other) = call.other {
                evidence.push(time(
                    format_args!(
                        "{} takes {} where it wakes a watcher, {} where it wakes nobody (p50)",
                        model.syscalls.name(call.nr),
                        human(call.p50),
                        human(other)
                    ),
                    call.p50,
                    "raw_syscalls of the tasks that woke watchers",
                ));
            }
        }
        let names: Vec<String> =
            watchers.iter().take(2).map(|w| facts.name_tid(w.task).to_string()).collect();
        let more = match watchers.len().saturating_sub(2) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let mut costs = Vec::new();
        if delay > ZERO {
            costs.push(format!("{} waiting for their CPU", human(delay)));
        }
        if in_calls > ZERO {
            costs.push(format!("{} in the calls that woke them", human(in_calls)));
        }
        let mut doubts = Vec::new();
        if watchers.iter().any(|watcher| !watcher.known) {
            doubts.push("the watched fd was opened before the capture".into());
        }
        Finding {
            title: sentence!(
                "watch storm: {} of {}{more}, {}",
                plural(wakeups, "wakeup"),
                names.join(" and "),
                costs.join(", ")
            ),
            evidence,
            recommendations: vec![
                crate::report::Recommendation {
                    text: "exclude .git/objects, dependencies and build output from the watch"
                        .into(),
                    condition: "in the watcher's settings; where the files written lie there"
                        .into(),
                    saves: Some(delay + in_calls),
                },
                crate::verdict::hint(
                    "write elsewhere and rename the result into place",
                    "where the watcher needs the finished files alone",
                ),
            ],
            doubts,
        }
    }
}
