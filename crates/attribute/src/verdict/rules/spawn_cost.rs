//! Making, starting and ending processes.
//!
//! # What it detects
//! Time of the critical path in fork, exec, the dynamic loader, copy-on-write after
//! fork and the teardown of processes.
//! # Evidence
//! The processes by program and by how they were made, and the phases of their start and
//! end, which add up; failed execs of a PATH search; copy-on-write of the parent; shells
//! that only start another program.
//! # Why it matters
//! A tool that starts a process for each call pays this each time, whatever the call does.
//! # When it is wrong
//! The parent of a vfork waits in state D: that is no I/O. A loader's file reads that
//! slept are major faults or block reads, not counted here. How large the parent is comes
//! from `kmem:rss_stat` alone: mappings tell what is reserved, not what is resident.
//! # References
//! posix_spawn(3), vfork(2); kernel/fork.c (`copy_mm`), fs/exec.c (`begin_new_exec`).

use crate::cause::Cause;
use crate::mechanism::spawns::{Group, groups};
use crate::report::{Evidence, Recommendation};
use crate::spawn::{How, Part, SHELLS, Spawn};
use crate::stats::{human, mean, plural, plural_by, size, thousands};
use crate::verdict::{Facts, Finding, Rule, ZERO, advice, count, shares, time};
use agenttrace_model::parse::Nanos;

const PHASES: &str = "phases of the step's spawns";

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
        let spawns =
            facts.parts.made.spawns(facts.parts.index, facts.parts.work, facts.parts.step.end);
        let groups = groups(spawns);
        let execs = facts.inclusive().spawns.map_or(0, |s| s.execs);
        let own = human(facts.own(cause));
        let Some(main) = groups.iter().find(|group| !group.first.in_shell) else {
            let title = if execs > 0 {
                format!("{}, {own}", plural(execs, "program start"))
            } else {
                format!("starting and ending processes: {own}")
            };
            let recommendations = general(facts, cause);
            return Finding { title, evidence, recommendations, doubts: Vec::new() };
        };
        evidence.push(count(
            format_args!(
                "{}, {}",
                plural_by(spawns.len() as u64, "process", "es"),
                plural(execs, "exec")
            ),
            spawns.len() as u64,
            "task_newtask, sched_process_exec",
        ));
        evidence.extend(phases(main));
        evidence.extend(groups.iter().take(4).map(|group| {
            let (name, how) = (&group.first.program, group.first.how.name());
            let total = human(group.total);
            count(
                format_args!(
                    "{name} by {how} {}, {total} from call to end",
                    plural(group.count, "time")
                ),
                group.count,
                PHASES,
            )
        }));
        let sum = |of: fn(&Spawn) -> (u64, Nanos)| {
            spawns.iter().map(of).fold((0, ZERO), |(n, ns), part| (n + part.0, ns + part.1))
        };
        let (failed, failed_ns) = sum(|s| s.failed);
        if failed > 0 {
            evidence.push(count(
                format_args!(
                    "{} before one found its program, {}: a search along PATH",
                    plural(failed, "failed exec"),
                    human(failed_ns)
                ),
                failed,
                "execve that returned an error",
            ));
        }
        let (copies, copies_ns) = sum(|s| s.copies);
        if copies > 0 {
            evidence.push(time(
                format_args!(
                    "{} after the forks, {}: beside the phases, they may overlap",
                    plural(copies, "copy-on-write fault"),
                    human(copies_ns)
                ),
                copies_ns,
                "page faults of the parents",
            ));
        }
        let mut recommendations = Vec::new();
        let shells: Nanos =
            spawns.iter().filter_map(|s| s.shell.as_ref()).map(|shell| shell.ns).sum();
        if shells > ZERO {
            recommendations.push(saving(
                facts,
                "start the program itself, without a shell",
                "where the shell does nothing but start it",
                shells,
            ));
        }
        let forks = spawns.iter().filter(|s| s.how == How::Fork && s.executed);
        // With it goes the freeing of the copy, in the exec.
        let forked: Nanos =
            forks.map(|s| s.part(Part::Fork) + s.part(Part::Image) + s.copies.1).sum();
        if forked > ZERO {
            recommendations.push(saving(
                facts,
                "posix_spawn or vfork instead of fork",
                "fork copies the page tables of the parent, and the exec frees the copy: both grow with \
                 resident memory; the vfork parent waits until the exec",
                forked,
            ));
        }
        if failed > 0 {
            recommendations.push(saving(
                facts,
                "name the program by its full path, or put its directory first in PATH",
                "",
                failed_ns,
            ));
        }
        recommendations.extend(general(facts, cause));
        Finding { title: title(main, &groups), evidence, recommendations, doubts: Vec::new() }
    }
}

/// Advice that always holds.
fn general(facts: &Facts<'_>, cause: Cause) -> Vec<Recommendation> {
    vec![
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
    ]
}

/// Advice that saves a part of what the path holds.
fn saving(
    facts: &Facts<'_>,
    text: &'static str,
    condition: &'static str,
    most: Nanos,
) -> Recommendation {
    Recommendation {
        text: text.into(),
        condition: condition.into(),
        saves: Some(facts.held(Cause::Spawn).min(most)),
    }
}

/// The sum of what belongs together, and its words, for each part of the cost.
fn parts(group: &Group) -> Vec<(Nanos, String)> {
    let of = |part| group.part(part);
    let fork = match (group.first.how, group.copied) {
        (How::Fork, Some(bytes)) => format!("fork of a {} parent", size(bytes)),
        (How::Fork, None) => "fork (it copies page tables)".to_owned(),
        (How::Vfork, _) => "vfork".to_owned(),
        (How::PosixSpawn, _) => "posix_spawn's clone".to_owned(),
    };
    let earlier = match (&group.first.first, &group.first.shell) {
        // A shell that did more than that worked: its time is no cost of the start.
        (Some(first), None) if SHELLS.contains(&first.as_str()) => (ZERO, String::new()),
        (Some(first), _) => (of(Part::Earlier), format!("{first}, before it executes the program")),
        (None, _) => (ZERO, String::new()),
    };
    let mut parts = vec![
        (of(Part::Fork), fork),
        (of(Part::Delay), "until the child first runs".to_owned()),
        (of(Part::Setup), "the child's own code before its exec".to_owned()),
        earlier,
        (of(Part::Prepare) + of(Part::Image), "execve".to_owned()),
        (of(Part::Loader), "the dynamic loader".to_owned()),
        (of(Part::Teardown), "exit".to_owned()),
        (of(Part::Wakeup), "until the parent's wait returns".to_owned()),
    ];
    parts.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    parts
}

/// The phases of a group that matter, the longest first.
fn phases(group: &Group) -> impl Iterator<Item = Evidence> {
    let (n, cost, program) = (group.count, group.cost, group.first.program.clone());
    parts(group)
        .into_iter()
        .take(5)
        .filter(move |(ns, _)| ns.0.saturating_mul(20) >= cost.0 && *ns > ZERO)
        .map(move |(ns, words)| {
            time(format_args!("{program}: {} each in {words}", human(mean(ns, n))), ns, PHASES)
        })
}

/// How many of which program, what each costs, and most of it.
fn title(main: &Group, groups: &[Group]) -> String {
    let first = &main.first;
    let times = format!("{} x {}", thousands(main.count), first.program);
    if let Some(shell) = first.shell.as_ref().filter(|shell| !shell.executes) {
        // The program's own time is no cost of the two starts.
        let inner = groups.iter().filter(|g| g.first.in_shell && g.first.program == shell.starts);
        let program: Nanos = inner.map(|g| g.part(Part::Program)).sum();
        return format!(
            "{times} that only starts {}: {} each, {} of it the shell",
            shell.starts,
            human(main.each(main.total - program)),
            human(main.each(main.shell))
        );
    }
    let to_start = main.part(Part::Program).0.saturating_mul(10) > main.cost.0;
    let fork = main.part(Part::Fork);
    let freed = main.part(Part::Image);
    // The exec of a forked child frees the page tables that its fork copied (`exec_mmap`).
    let most = match main.copied {
        Some(bytes) if main.first.how == How::Fork && fork.0 > freed.0 / 2 && dear(fork, main) => {
            format!(", {} of it fork of a {} parent", human(main.each(fork)), size(bytes))
        }
        Some(_) | None => parts(main).into_iter().next().map_or_else(String::new, |(ns, words)| {
            format!(", {} of it {words}", human(main.each(ns)))
        }),
    };
    let words = match (main.count, to_start) {
        (1, false) => "",
        (1, true) => " to start and end",
        (_, false) => " each",
        (_, true) => " each to start and end",
    };
    format!("{times}: {}{words}{most}", human(main.each(main.cost)))
}

/// Whether a part is at least a fifth of the whole.
fn dear(part: Nanos, group: &Group) -> bool {
    part.0.saturating_mul(5) >= group.cost.0
}
