//! A process of the step was killed for want of memory.
//!
//! # What it detects
//! `oom:mark_victim` on a process that works for the step. All time of the path on that
//! process is taken together, whatever it did: it is lost.
//! # Evidence
//! The victim, the task whose allocation ran the OOM killer, the reclaims that this had
//! tried, and of which kind they were.
//! # Why it matters
//! The work has to be done again, or the step has failed.
//! # When it is wrong
//! For whose limit it was killed is taken from the reclaims before: without their events it
//! is not known.
//! # References
//! mm/oom_kill.c (`mark_oom_victim`); Documentation/admin-guide/cgroup-v2.rst (`memory.max`).

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::mechanism::oom_kills::{Scope, of_tasks, tries};
use crate::report::Recommendation;
use crate::stats::{human, percent, plural, size};
use crate::verdict::{Cell, Facts, Finding, Rule, Takes, count, hint, time};

pub(crate) struct Oom;

impl Rule for Oom {
    fn id(&self) -> &'static str {
        "oom_kill"
    }
    fn causes(&self) -> &'static [Cause] {
        &Cause::ALL
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        let (index, step) = (facts.parts.index, facts.parts.step);
        let kills = of_tasks(index, facts.parts.work, step.start, step.end);
        let model = facts.model();
        let victims: Vec<_> = kills.iter().map(|kill| model.task(kill.victim).pid).collect();
        let of_victim = move |cell: &Cell<'_>| victims.contains(&model.task(cell.task).pid);
        (!kills.is_empty()).then(|| Box::new(of_victim) as Takes<'f>)
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "killed for want of memory"
    }
    fn find(&self, facts: &Facts<'_>, _: Cause) -> Finding {
        let (index, step) = (facts.parts.index, facts.parts.step);
        let lost: Nanos = facts.cells.iter().map(|cell| cell.ns).sum();
        let mut evidence = vec![time(
            format_args!(
                "{} of {} on the critical path were its work ({})",
                human(lost),
                human(facts.wall),
                percent(lost, facts.wall)
            ),
            lost,
            "critical path",
        )];
        let kills = of_tasks(index, facts.parts.work, step.start, step.end);
        let Some(kill) = kills.first() else { return Finding::default() };
        let mut doubts = Vec::new();
        let tried = tries(index, kill);
        let whose = match tried.scope {
            Some(Scope::Cgroup) => "its memory cgroup is at the limit",
            Some(Scope::Machine) => "the machine is out of memory",
            None => {
                doubts.push("for whose limit is not known: no reclaim was recorded".into());
                "memory ran out"
            }
        };
        let victim = facts.name_tid(kill.victim);
        let by = match kill.trigger.filter(|task| *task != kill.victim) {
            Some(task) => format!(", by an allocation of {}", facts.name_tid(task)),
            None => String::new(),
        };
        if let Some(kib) = kill.anon_kib {
            let bytes = kib.saturating_mul(1024);
            evidence.push(crate::report::Evidence {
                text: format!("{victim} had {} of anonymous memory", size(bytes)),
                value: bytes,
                unit: "bytes",
                source: "oom:mark_victim",
            });
        }
        evidence.push(count(
            format_args!(
                "{} just before, which got {}",
                plural(tried.count, "reclaim"),
                plural(tried.pages, "page")
            ),
            tried.count,
            "vmscan events",
        ));
        if kills.len() > 1 {
            let all = kills.len() as u64;
            evidence.push(count(
                format_args!("{all} processes of the step were killed"),
                all,
                "oom:mark_victim",
            ));
        }
        let saves = Some(lost);
        let mut recommendations = Vec::new();
        match tried.scope {
            Some(Scope::Cgroup) => recommendations.push(Recommendation {
                text: "raise the cgroup's memory.max (cgroup v1: memory.limit_in_bytes)".into(),
                condition: "where the work needs that much memory".into(),
                saves,
            }),
            Some(Scope::Machine) | None => recommendations.push(Recommendation {
                text: "more memory, or fewer tools at the same time".into(),
                condition: "where the work needs that much memory".into(),
                saves,
            }),
        }
        recommendations.push(hint(
            "work in smaller parts; memory.high, which slows down before memory.max kills",
            "cgroup v2",
        ));
        Finding {
            title: sentence!(
                "OOM kill: {victim} was killed, for {whose}{by}: {} of work lost",
                human(lost)
            ),
            evidence,
            recommendations,
            doubts,
        }
    }
}
