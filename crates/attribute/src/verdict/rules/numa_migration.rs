//! A move to another NUMA node that made faults or waiting dearer.
//!
//! # What it detects
//! The step's root task was moved to another NUMA node while it worked, and after the move a page
//! fault costs 1.5 times as much or more, or it waits for a CPU twice as much or more.
//! # Evidence
//! `sched_migrate_task` with the topology; run delay and fault cost on both sides of the move; the
//! events of NUMA balancing where recorded.
//! # Why it matters
//! Memory stays where it was allocated: each access goes to the other node until pages follow.
//! # When it is wrong
//! The work itself may have changed at that moment: other faults, other rivals. Both sides are
//! those of one step, at most 100 ms each.
//! # References
//! Documentation/admin-guide/sysctl/kernel.rst (numa_balancing); `task_numa_migrate`
//! (kernel/sched/fair.c); numa(7).

use agenttrace_model::parse::{Distance, Nanos};

use crate::cause::Cause;
use crate::moves::{Effect, Move};
use crate::report::Recommendation;
use crate::stats::human;
use crate::verdict::{Cell, Facts, Finding, Rule, Takes, count, hint, shares, time};

pub(crate) struct NumaMigration;

/// The first move to another node that hurt.
fn hurt(facts: &Facts<'_>) -> Option<Move> {
    let parts = facts.parts;
    let moves = parts.made.moves(parts.index, parts.step).iter();
    let mut far = moves.filter(|m| m.during && m.distance == Distance::OtherNode);
    far.find(|m| m.effect() == Some(Effect::Hurt)).cloned()
}

/// What it hurt: faults, or else run delay.
fn by_faults(m: &Move) -> bool {
    m.on_faults() == Some(Effect::Hurt)
}

impl Rule for NumaMigration {
    fn id(&self) -> &'static str {
        "numa_migration"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::MinorFault, Cause::RunDelay]
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        let cause = if by_faults(&hurt(facts)?) { Cause::MinorFault } else { Cause::RunDelay };
        let root = facts.parts.step.root;
        Some(Box::new(move |cell: &Cell<'_>| cell.cause == cause && cell.task == root))
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "moved to another NUMA node"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let Some(m) = hurt(facts) else { return Finding::default() };
        let at = m.time - facts.parts.step.start;
        let index = facts.parts.index;
        let node = |cpu| index.info.topology.node(cpu).map_or("?".to_owned(), |n| n.to_string());
        evidence.push(time(
            format_args!(
                "moved from CPU {} (node {}) to CPU {} (node {}) after {}, by {}",
                m.from,
                node(m.from),
                m.to,
                node(m.to),
                human(at),
                m.by
            ),
            at,
            "sched_migrate_task",
        ));
        let faults = [m.before, m.after].map(|side| side.fault_mean().unwrap_or_default());
        let [before, after] = faults;
        for (side, name, each) in [(m.before, "before", before), (m.after, "after", after)] {
            evidence.push(count(
                format_args!("{name} it: {} faults, {} each", side.faults, human(each)),
                side.faults,
                "page faults of the root task",
            ));
            evidence.push(time(
                format_args!(
                    "{name} it: {} of {} waiting for a CPU",
                    human(side.delay),
                    human(side.length)
                ),
                side.delay,
                "sched_switch",
            ));
        }
        let (what, saves) = if by_faults(&m) {
            let more = Nanos((after - before).0.saturating_mul(m.after.faults));
            (format!("a fault costs {}, {} before", human(after), human(before)), more)
        } else {
            let share = |side: crate::moves::Side| side.delay_share() / 10;
            let text = format!(
                "it waits for a CPU {} % of the time, {} % before",
                share(m.after),
                share(m.before)
            );
            let usual = m.after.length.0.saturating_mul(m.before.delay_share()) / 1000;
            (text, Nanos(m.after.delay.0.saturating_sub(usual)))
        };
        let held: Nanos = facts.cells.iter().map(|cell| cell.ns).sum();
        Finding {
            title: sentence!("moved to NUMA node {} by {}: {what}", node(m.to), m.by),
            evidence,
            recommendations: vec![
                Recommendation {
                    text: "bind the agent to one node, CPUs and memory (cpuset, numactl)".into(),
                    condition: "where one node has CPUs and memory enough".into(),
                    saves: Some(saves.min(held)),
                },
                hint(
                    "switch NUMA balancing off (kernel.numa_balancing=0)",
                    "only once it is bound: it can hurt work that is not pinned",
                ),
            ],
            doubts: vec!["the work itself may have changed at the move".into()],
        }
    }
}
