//! Runnable, and held by a CPU quota.
//!
//! # What it detects
//! Time of the critical path in which a task of the step could run, and its cgroup had used up its quota.
//! # Evidence
//! It left its CPU runnable, straight to idle, and stayed off for 1 ms or more while nothing else
//! wanted that CPU; the same timer, that of the cgroup's period, fired just before it went on. Where
//! another task took the CPU, the timer's pattern alone.
//! # Why it matters
//! CPUs are free and the step waits all the same: no tuning of what it does, or of its rivals, helps.
//! # When it is wrong
//! Core scheduling idles a hardware thread beside a task of another cookie, and throttled realtime
//! tasks leave a CPU idle too. Of a task that is held while another keeps its CPU busy, the timer
//! tells: it must end three waits at once, or five with the next tick (periods above 20 ms), which
//! are most of them or twice as long as the others. Fewer are run delay, where nothing else in the
//! capture tells that timer; so are all of a period of a second, for the fair server, which lets
//! tasks run beside realtime ones, has such a timer too. Until the tick after the period's end the
//! wait counts as the quota's.
//! # References
//! Documentation/scheduler/sched-bwc.rst; `throttle_cfs_rq`, `sched_cfs_period_timer`
//! (kernel/sched/fair.c).

use agenttrace_model::parse::Nanos;

use crate::cause::Cause;
use crate::mechanism::throttled_within;
use crate::stats::{human, percentile};
use crate::throttle::Throttle;
use crate::verdict::{Facts, Finding, Rule, advice, count, hint, shares, time};

pub(crate) struct CpuThrottle;

impl Rule for CpuThrottle {
    fn id(&self) -> &'static str {
        "cpu_throttle"
    }
    fn causes(&self) -> &'static [Cause] {
        &[Cause::CpuThrottle]
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "held by a CPU quota"
    }
    fn find(&self, facts: &Facts<'_>, cause: Cause) -> Finding {
        let parts = facts.parts;
        let found = throttled_within(parts.index.throttles(parts.windows), parts.work);
        let mut all: Vec<Throttle> = found.values().flatten().copied().collect();
        all.sort_unstable_by_key(|t| (t.from, t.to));
        let mut lengths: Vec<Nanos> = all.iter().map(|t| t.to - t.from).collect();
        lengths.sort_unstable();
        let times = |n: usize| if n == 1 { "once".to_owned() } else { format!("{n} times") };
        let held = times(all.len());
        let mut evidence = shares(facts, cause);
        evidence.push(count(
            format_args!(
                "held {held}, p50 {}, at most {}",
                human(percentile(&lengths, 50)),
                human(lengths.last().copied().unwrap_or_default())
            ),
            all.len() as u64,
            "sched_switch",
        ));
        let idle = all.iter().filter(|t| t.idle).count();
        if idle > 0 {
            evidence.push(count(
                format_args!("its CPU went straight to idle and stayed so {}", times(idle)),
                idle as u64,
                "sched_switch",
            ));
        }
        let by_timer = all.iter().filter(|t| t.fired.is_some()).count();
        if by_timer > 0 {
            evidence.push(count(
                format_args!("the same timer fired just before it went on {}", times(by_timer)),
                by_timer as u64,
                "hrtimer_expire_entry",
            ));
        }
        let of = match found.iter().next() {
            Some((task, _)) if found.len() == 1 => facts.name_tid(*task).to_string(),
            _ => format!("{} tasks", found.len()),
        };
        if let Some(period) = period(&all) {
            evidence.push(time(
                format_args!(
                    "it goes on every {}: the quota's period, or a multiple",
                    human(period)
                ),
                period,
                "sched_switch",
            ));
        }
        let mut doubts = Vec::new();
        if idle < all.len() {
            let why = format!(
                "{} of {} waits are known by their timer's pattern alone: other tasks kept the CPU busy",
                all.len() - idle,
                all.len()
            );
            doubts.push(why.into());
        } else if by_timer == 0 {
            doubts.push("no timer shows the end of the quota's period".into());
        }
        Finding {
            title: sentence!("a CPU quota held {of} {held}: {}", human(facts.own(cause))),
            evidence,
            recommendations: vec![
                advice(
                    facts,
                    cause,
                    "raise the quota of its cgroup (cpu.max; cpu.cfs_quota_us in cgroup v1)",
                    "cpu.stat of that cgroup confirms it: nr_throttled and throttled_usec grow",
                ),
                hint(
                    "allow it bursts (cpu.max.burst; cpu.cfs_burst_us in cgroup v1)",
                    "Linux 5.14 and later; where the mean use stays below the quota",
                ),
            ],
            doubts,
        }
    }
}

/// The shortest time between two ends, each of which is told by its timer where one is known: the
/// period, or a multiple. `None` with one end.
fn period(all: &[Throttle]) -> Option<Nanos> {
    let mut ends: Vec<Nanos> = all.iter().map(|t| t.fired.unwrap_or(t.to)).collect();
    ends.sort_unstable();
    // Several tasks of one group go on at the same end.
    let gaps = ends.iter().zip(ends.iter().skip(1)).map(|(a, b)| *b - *a);
    gaps.filter(|gap| gap.0 >= 1_000_000).min()
}
