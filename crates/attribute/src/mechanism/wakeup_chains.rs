//! Wakeups that hand one thing on, from task to task, to chains: one hand-off each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{State, Task, TaskId, WakeSource};

use super::{Mechanism, StepView};
use crate::detail::{Column, Table};
use crate::inclusive::Index;
use crate::stats::stats;
use crate::wakeup::Wakeup;

/// Who runs longer than this before it wakes the next did work of its own.
const PASSED_ON: Nanos = Nanos(100_000);

pub(super) struct WakeupChains;

/// A hand-off: from its first wakeup to when the last task of it ran.
struct Chain {
    /// Who began it, then who was woken, in time order.
    tasks: Vec<TaskId>,
    from: Nanos,
    to: Nanos,
    /// Its wakeups' latencies.
    latency: Nanos,
}

impl Mechanism for WakeupChains {
    fn id(&self) -> &'static str {
        "wakeup_chains"
    }
    fn title(&self) -> &'static str {
        "wakeups handed on from task to task, each chain one hand-off"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "sched:sched_waking"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("chain", "chain"),
            Column::count("count", "hand-offs"),
            Column::count("wakeups", "wakeups"),
            Column::time("p50_ns", "p50"),
            Column::time("max_ns", "max"),
            Column::time("total_ns", "total"),
            Column::time("latency_ns", "of it waking"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let mut named: BTreeMap<String, (Vec<Nanos>, u64, Nanos)> = BTreeMap::new();
        for chain in chains(view) {
            let names = chain.tasks.iter().filter_map(|id| view.index.task(*id));
            let names: Vec<String> = names.map(|t| t.name_at(chain.to).to_text()).collect();
            let sum = named.entry(names.join(" > ")).or_default();
            sum.0.push(chain.to - chain.from);
            sum.1 += chain.tasks.len().saturating_sub(1) as u64;
            sum.2 += chain.latency;
        }
        let mut rows: Vec<_> = named
            .into_iter()
            .map(|(name, (mut values, wakeups, latency))| {
                (name, stats(&mut values), wakeups, latency)
            })
            .collect();
        rows.sort_by_key(|(_, s, ..)| Reverse(s.total));
        let rows = rows.into_iter().map(|(name, s, wakeups, latency)| {
            [
                name.into(),
                s.count.into(),
                wakeups.into(),
                s.p50.into(),
                s.max.into(),
                s.total.into(),
                latency.into(),
            ]
        });
        rows.collect()
    }
}

/// The chains of two wakeups or more. A wakeup goes on with the one that woke its waker, if
/// that has hardly run since. A wakeup of a task of the chain answers it,
/// and ends it; so that a ring of tasks does not begin anywhere, the root task always begins anew.
fn chains(view: &StepView<'_>) -> Vec<Chain> {
    let index: &Index<'_> = view.index;
    let mut all: Vec<Wakeup> = view.made.collected.wakeups.clone();
    all.sort_by_key(|w| (w.time, w.task));
    let root = view.step.root;
    let mut chains: Vec<Chain> = Vec::new();
    // Which chain last woke a task, and when it ran then.
    let mut last: BTreeMap<TaskId, (usize, Nanos)> = BTreeMap::new();
    for wakeup in &all {
        let source = index.model.wakes.get(wakeup.wake).map(|wake| wake.source);
        let Some(WakeSource::Task(waker)) = source else { continue };
        let before = last.get(&waker).copied().filter(|(_, ran)| {
            // Whoever woke the root task: what it hands out is its own.
            waker != root && index.task(waker).is_some_and(|t| passed_on(t, *ran, wakeup.time))
        });
        let answers =
            |chain: usize| chains.get(chain).is_some_and(|c| c.tasks.contains(&wakeup.task));
        if before.is_some_and(|(chain, _)| answers(chain)) {
            // What it does next is not handed on, but begins anew.
            last.remove(&wakeup.task);
            continue;
        }
        let chain = match before {
            Some((chain, _)) => chain,
            None => {
                chains.push(Chain {
                    tasks: vec![waker],
                    from: wakeup.time,
                    to: wakeup.ran,
                    latency: Nanos::ZERO,
                });
                chains.len() - 1
            }
        };
        if let Some(chain) = chains.get_mut(chain) {
            chain.tasks.push(wakeup.task);
            chain.to = chain.to.max(wakeup.ran);
            chain.latency += wakeup.latency();
        }
        last.insert(wakeup.task, (chain, wakeup.ran));
    }
    chains.retain(|chain| chain.tasks.len() > 2);
    chains
}

/// Whether a task that ran from `ran` on did little but wake another at `time`.
fn passed_on(task: &Task, ran: Nanos, time: Nanos) -> bool {
    if ran > time {
        return false;
    }
    let mut running = Nanos::ZERO;
    for (_, from, to, span) in task.spans(ran, time) {
        match span.state {
            State::Running => running += to - from,
            State::Runnable => {}
            State::Blocked(_) | State::Unknown(_) | State::New | State::Dead => return false,
        }
        if running > PASSED_ON {
            return false;
        }
    }
    true
}
