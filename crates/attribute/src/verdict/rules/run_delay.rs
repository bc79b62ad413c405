//! Runnable, and no CPU.
//!
//! # What it detects
//! Time of the critical path in which a task of the step could run and did not.
//! # Evidence
//! Who ran on the CPU meanwhile, and whose they are; how long it was idle, and how long no switch
//! tells who ran; what the step would have done with the time; wakeup latencies; moves of the root
//! task, with the run delay before and after each.
//! # Why it matters
//! The step is slow because of what else runs, not because of what it does.
//! # When it is wrong
//! Of a task that a quota holds while others keep its CPU busy, not every wait is told from this
//! (see `cpu_throttle`). Where most of the wait lies between switches that were not recorded, it is
//! not known who had the CPU, nor whether a quota held the task: the title and the confidence say
//! so. On a virtual machine, time that the host stole is not seen at all.
//! # References
//! Documentation/scheduler/sched-eevdf.rst; sched_setattr(2) (`sched_runtime`, 6.12).

use std::borrow::Cow;
use std::collections::BTreeMap;

use agenttrace_model::TaskId;
use agenttrace_model::parse::{Comm, Cpu, Nanos};

use crate::cause::Cause;
use crate::detail::Words;
use crate::moves::{Effect, Move, Side};
use crate::report::Evidence;
use crate::stats::{human, percent};
use crate::verdict::{Facts, Finding, Rule, advice, count, hint, named, shares, time};

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
                format_args!("{} of it would have been {}", human(ns), under.name()),
                ns,
                "critical path",
            ));
        }
        let rivals = facts.cpu_rivals();
        for ((task, cpu), ns) in rivals.iter().take(3) {
            evidence.push(time(
                format_args!(
                    "{} ({}) ran on CPU {cpu} for {} of it",
                    facts.name_tid(*task),
                    whose(facts, *task),
                    human(*ns)
                ),
                *ns,
                "sched_switch",
            ));
        }
        let seen: Nanos = rivals.iter().map(|(_, ns)| *ns).sum();
        let rest = own - seen;
        let much = |ns: Nanos| ns.0.saturating_mul(5) >= own.0;
        let idle = if much(rest) { facts.cpus_idle().min(rest) } else { Nanos::ZERO };
        let unknown = rest - idle;
        if much(idle) {
            evidence.push(time(
                format_args!("for {} of it nothing ran there: the CPU woke from idle", human(idle)),
                idle,
                "sched_switch",
            ));
        }
        if much(unknown) {
            evidence.push(time(
                format_args!("for {} of it no switch tells who ran there", human(unknown)),
                unknown,
                "sched_switch",
            ));
        }
        let moves = facts.parts.made.moves(facts.parts.index, facts.parts.step);
        let effective = |m: &&Move| matches!(m.on_delay(), Some(Effect::Helped | Effect::Hurt));
        for m in moves.iter().filter(effective).take(3) {
            evidence.push(moved(m, facts.parts.step.start));
        }
        if let Some(wakeups) = facts.inclusive().wakeups.filter(|w| w.count > 0) {
            evidence.push(count(
                format_args!(
                    "{} wakeups: p50 {}, p99 {} until on a CPU",
                    wakeups.count,
                    human(wakeups.p50),
                    human(wakeups.p99)
                ),
                wakeups.count,
                "sched_waking, sched_switch",
            ));
        }
        let mut doubts: Vec<Words> = quota(facts).into_iter().collect();
        let whom = if unknown.0.saturating_mul(2) > own.0 {
            doubts.push(
                "who had the CPU for most of the wait is not recorded: nobody, a task that was not \
                 seen to run, or a quota may have held it"
                    .into(),
            );
            ", who had it is mostly not recorded".to_owned()
        } else {
            behind(facts, own, &rivals, moves)
        };
        Finding {
            title: sentence!("waits for CPU: {}{whom}", human(own)),
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
            doubts,
        }
    }
}

/// Behind whom the step waited, and whether it was moved there.
fn behind(
    facts: &Facts<'_>,
    own: Nanos,
    rivals: &[((TaskId, Cpu), Nanos)],
    moves: &[Move],
) -> String {
    let comms: Vec<Comm> = rivals.iter().map(|((task, _), _)| facts.comm(*task)).collect();
    let Some((seat, (ns, tasks))) = most(facts, rivals, &comms) else { return String::new() };
    let behind = match tasks {
        _ if ns.0.saturating_mul(10) < own.0.saturating_mul(7) => {
            sentence!(", {} of it behind {}", percent(ns, own), seat.text())
        }
        1 => sentence!(" behind {}", seat.text()),
        tasks => sentence!(" behind {tasks} tasks {}", seat.text()),
    };
    let onto = |m: &&Move| m.on_delay() == Some(Effect::Hurt) && seat.cpu == m.to;
    match moves.iter().find(onto) {
        Some(m) => {
            let at = m.time.max(facts.parts.step.start) - facts.parts.step.start;
            sentence!("{behind}, moved there after {}", human(at))
        }
        None => behind,
    }
}

/// That a task which waits was held by a quota somewhere in the capture: here it may be, too.
fn quota(facts: &Facts<'_>) -> Option<Words> {
    let throttles = facts.parts.index.throttles(facts.parts.windows);
    let mut tasks = facts.cells.iter().filter(|c| c.cause == Cause::RunDelay).map(|c| c.task);
    tasks.any(|task| !throttles.of(task).is_empty()).then(|| {
        "a CPU quota held the same task elsewhere; while others keep its CPU busy that cannot be told \
         from waiting for them"
            .into()
    })
}

/// Whose a rival is.
fn whose(facts: &Facts<'_>, task: TaskId) -> &'static str {
    if facts.parts.index.block_io().is_kernel_thread(task) {
        "kernel thread"
    } else if facts.parts.windows.is_in_tree(task) {
        "the agent's own"
    } else {
        "another program"
    }
}

/// What a move changed, as evidence.
fn moved(m: &Move, start: Nanos) -> Evidence {
    let percent = |side: Side| side.delay_share() / 10;
    let effect = if m.on_delay() == Some(Effect::Helped) { "it helped" } else { "it hurt" };
    time(
        format_args!(
            "moved from CPU {} to {} ({}, by {}) after {}: waiting {} % of the time before, {} % after: {effect}",
            m.from,
            m.to,
            m.distance.name(),
            m.by,
            human(m.time.max(start) - start),
            percent(m.before),
            percent(m.after)
        ),
        m.time.max(start) - start,
        "sched_migrate_task",
    )
}

/// Where rivals of one name ran.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Seat<'n> {
    name: Cow<'n, str>,
    whose: &'static str,
    cpu: Cpu,
}

impl Seat<'_> {
    fn text(&self) -> String {
        sentence!("{} ({}) on CPU {}", self.name, self.whose, self.cpu)
    }
}

/// The rivals of one name on one CPU that had most time together: their time and their number.
fn most<'n>(
    facts: &Facts<'_>,
    rivals: &[((TaskId, Cpu), Nanos)],
    comms: &'n [Comm],
) -> Option<(Seat<'n>, (Nanos, usize))> {
    let mut sums: BTreeMap<Seat<'n>, (Nanos, usize)> = BTreeMap::new();
    for (((task, cpu), ns), comm) in rivals.iter().zip(comms) {
        let seat = Seat { name: named(comm), whose: whose(facts, *task), cpu: *cpu };
        let sum = sums.entry(seat).or_default();
        sum.0 += *ns;
        sum.1 += 1;
    }
    // Of those that tie the first.
    sums.into_iter().rev().max_by_key(|(_, (ns, _))| *ns)
}
