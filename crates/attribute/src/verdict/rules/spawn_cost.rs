//! Making, starting and ending processes.
//!
//! # What it detects
//! Time of the critical path in fork, exec, the dynamic loader, copy-on-write after
//! fork and the teardown of processes.
//! # Evidence
//! Forks and execs counted, the programs started, the parts of the cost.
//! # Why it matters
//! A tool that starts a process for each call pays this each time, whatever the call does.
//! # When it is wrong
//! The parent of a vfork waits in state D: that is no I/O. A loader's file reads that
//! slept are major faults or block reads, not counted here.
//! # References
//! posix_spawn(3), vfork(2); kernel/fork.c.

use std::collections::BTreeMap;

use crate::cause::Cause;
use crate::path::Frame;
use crate::stats::{human, mean, plural, thousands};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, time};

pub(crate) struct SpawnCost;

impl Rule for SpawnCost {
    fn id(&self) -> &'static str {
        "spawn_cost"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::Spawn]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "a process for each small job"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let own = facts.own(cause);
        let mut title = format!("starting processes: {}", human(own));
        if let Some(spawns) = facts.inclusive().spawns.filter(|s| s.forks + s.execs > 0) {
            let programs = programs(facts);
            let first = programs.first().map_or_else(String::new, |(name, _)| format!(" ({name})"));
            let made = spawns.forks.max(1);
            title = format!(
                "{} process{} spawned{first}, {} each",
                thousands(spawns.forks),
                if spawns.forks == 1 { "" } else { "es" },
                human(mean(own, made))
            );
            if spawns.forks == 0 {
                title = format!("{}{first}, {}", plural(spawns.execs, "program start"), human(own));
            }
            evidence.push(count(
                format!("{}, {}", plural(spawns.forks, "fork"), plural(spawns.execs, "exec")),
                spawns.forks,
                "sched_process_fork, sched_process_exec",
            ));
            for (name, times) in programs.iter().take(3) {
                evidence.push(count(
                    format!("{name} started {}", plural(*times, "time")),
                    *times,
                    "sched_process_exec",
                ));
            }
        }
        let part = |want: Frame| {
            facts
                .top(cause, |cell| cell.frames.contains(&want).then_some(()))
                .first()
                .map_or(ZERO, |(_, ns)| *ns)
        };
        let mut start_and_end = ZERO;
        for (frame, words) in [
            (Frame::Loader, "in the dynamic loader"),
            (Frame::Exit, "in the teardown of processes"),
        ] {
            let ns = part(frame);
            if ns > ZERO {
                start_and_end += ns;
                evidence.push(time(format!("{} {words}", human(ns)), ns, "critical path"));
            }
        }
        let mut recommendations = vec![
            advice(
                facts,
                cause,
                "a fork server or a long-lived tool server",
                "where the same tool is called again and again",
            ),
            advice(
                facts,
                cause,
                "fewer execs per call: no shell in between, several inputs to one process",
                "",
            ),
        ];
        if !all_vfork(facts) {
            let mut vfork = advice(
                facts,
                cause,
                "posix_spawn or vfork instead of fork",
                "fork's cost grows with the resident memory of the parent; the vfork parent waits until the exec",
            );
            // It changes neither the loader nor the teardown.
            vfork.saves = Some(facts.held(cause) - start_and_end);
            recommendations.insert(0, vfork);
        }
        Finding { title, evidence, recommendations, doubts: Vec::new() }
    }
}

/// Whether every process that the step made was made by vfork, as posix_spawn does.
fn all_vfork(facts: &Facts<'_>) -> bool {
    let (start, end) = (facts.parts.step.start, facts.parts.step.end);
    let tasks = facts.parts.work.iter().filter_map(|s| facts.model().tasks.get(s.task.0 as usize));
    let mut born = tasks
        .filter(|t| t.is_thread == Some(false) && t.birth.is_some_and(|b| start <= b && b < end))
        .peekable();
    born.peek().is_some() && born.all(|task| task.vfork)
}

/// The programs that the step's tasks started, the most frequent first.
fn programs(facts: &Facts<'_>) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for stretch in facts.parts.work {
        let Some(task) = facts.model().tasks.get(stretch.task.0 as usize) else { continue };
        for (time, path) in &task.execs {
            if stretch.from <= *time && *time < stretch.to {
                *counts.entry(path.rsplit('/').next().unwrap_or(path).to_owned()).or_default() += 1;
            }
        }
    }
    let mut rows: Vec<(String, u64)> = counts.into_iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    rows
}
