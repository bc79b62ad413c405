//! Runnable, and no CPU.
//!
//! # What it detects
//! Time of the critical path in which a task of the step could run and did not.
//! # Evidence
//! Who ran on the CPU meanwhile; what the step would have done with the time; wakeup latencies.
//! # Why it matters
//! The step is slow because of what else runs, not because of what it does.
//! # When it is wrong
//! A quota (`cpu.max`) looks the same here: throttling is not told apart yet. On a
//! virtual machine, time that the host stole is not seen at all.
//! # References
//! Documentation/scheduler/sched-eevdf.rst; sched_setattr(2) (`sched_runtime`, 6.12).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::TaskId;
use agenttrace_model::parse::{Cpu, Nanos};

use crate::cause::Cause;
use crate::stats::{human, percent};
use crate::verdict::{Facts, Finding, Rule, advice, count, hint, shares, time};

pub(crate) struct RunDelay;

impl Rule for RunDelay {
    fn id(&self) -> &'static str {
        "run_delay"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::RunDelay]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "more runnable tasks than CPUs"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let mut evidence = shares(facts, cause);
        let own = facts.own(cause);
        for (under, ns) in facts.top(cause, |cell| cell.under).into_iter().take(3) {
            evidence.push(time(
                format!("{} of it would have been {}", human(ns), under.name()),
                ns,
                "critical path",
            ));
        }
        let rivals = facts.cpu_rivals();
        for ((task, cpu), ns) in rivals.iter().take(3) {
            evidence.push(time(
                format!("{} ran on CPU {cpu} for {} of it", facts.name_tid(*task), human(*ns)),
                *ns,
                "sched_switch",
            ));
        }
        if let Some(wakeups) = facts.inclusive().wakeups.filter(|w| w.count > 0) {
            evidence.push(count(
                format!(
                    "{} wakeups: p50 {}, p99 {} until on a CPU",
                    wakeups.count,
                    human(wakeups.p50),
                    human(wakeups.p99)
                ),
                wakeups.count,
                "sched_waking, sched_switch",
            ));
        }
        let behind = match named(facts, &rivals).first() {
            Some(((name, cpu), (ns, _))) if ns.0.saturating_mul(10) < own.0.saturating_mul(7) => {
                format!(", {} of it behind {name} on CPU {cpu}", percent(*ns, own))
            }
            Some(((name, cpu), (_, 1))) => format!(" behind {name} on CPU {cpu}"),
            Some(((name, cpu), (_, tasks))) => format!(" behind {tasks} tasks {name} on CPU {cpu}"),
            None => String::new(),
        };
        Finding {
            title: format!("waits for CPU: {}{behind}", human(own)),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "lower the concurrency of the tools",
                    "where the rivals are the agent's own",
                ),
                advice(
                    facts,
                    cause,
                    "a cpuset of its own, or a higher cpu.weight",
                    "where the rivals are other programs",
                ),
                hint(
                    "a shorter slice by sched_setattr (sched_runtime, 0.1 to 100 ms)",
                    "Linux 6.12 and later; buys latency, not a larger share",
                ),
            ],
            doubts: Vec::new(),
        }
    }
}

/// A task's name and a CPU.
type Seat = (String, Cpu);

/// Rivals of one name on one CPU together: their time and their number, most time first.
fn named(facts: &Facts<'_>, rivals: &[((TaskId, Cpu), Nanos)]) -> Vec<(Seat, (Nanos, usize))> {
    let mut sums: BTreeMap<Seat, (Nanos, usize)> = BTreeMap::new();
    for ((task, cpu), ns) in rivals {
        let sum = sums.entry((facts.name(*task), *cpu)).or_default();
        sum.0 += *ns;
        sum.1 += 1;
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, (ns, _))| Reverse(*ns));
    rows
}
