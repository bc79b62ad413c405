//! Waits for locks to rows: which lock, how long, who held it and what he did meanwhile.

use agenttrace_model::Model;
use agenttrace_model::parse::Nanos;

use super::{Mechanism, StepView};
use crate::detail::{Column, Table, Value, Words};
use crate::locks::{Act, Held, Wait, by_lock, holders, total};
use crate::stacks::SampleIndex;
use crate::stats::{percentile, plural};

pub(crate) struct Locks;

const COLUMNS: &[Column] = &[
    Column::text("kind", "lock"),
    Column::text("call", "in"),
    Column::count("waits", "waits"),
    Column::time("total_ns", "in all"),
    Column::text("holder", "held by"),
    Column::time("holder_ran_ns", "ran"),
    Column::time("holder_runnable_ns", "runnable"),
    Column::time("holder_blocked_ns", "blocked"),
    Column::text("holder_in", "mostly in"),
    Column::time("p99_ns", "p99"),
    Column::time("p50_ns", "p50"),
    Column::text("address", "address"),
    Column::text("caller", "function"),
];

impl Mechanism for Locks {
    fn id(&self) -> &'static str {
        "locks"
    }
    fn title(&self) -> &'static str {
        "waits for locks"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "raw_syscalls:sys_enter"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let model = view.index.model;
        let all = view.made.waits(view.index, view.work);
        let mut rows = Vec::new();
        for (lock, waits) in by_lock(all) {
            let mut calls: Vec<Option<i32>> = waits.iter().map(|wait| wait.call).collect();
            calls.sort_unstable();
            calls.dedup();
            for call in calls {
                let waits: Vec<Wait> = waits.iter().filter(|w| w.call == call).copied().collect();
                let mut times: Vec<Nanos> = waits.iter().map(Wait::duration).collect();
                times.sort_unstable();
                let holders = holders(model, &waits);
                let most = holders.first();
                let name = most.map(|most| task_name(model, most.task, view.step.end));
                let others = (holders.len() as u64).saturating_sub(1);
                let name = name.map(|name| match others {
                    0 => name,
                    n => format!("{name} and {}", plural(n, "other")),
                });
                let held = most.map(|most| most.held(view.index));
                rows.push((
                    std::cmp::Reverse(total(&waits)),
                    [
                        lock.kind().into(),
                        call.map(|nr| model.syscalls.name(nr)).into(),
                        Value::from(waits.len() as u64),
                        total(&waits).into(),
                        name.into(),
                        held.map(|held| held.ran).into(),
                        held.map(|held| held.runnable).into(),
                        held.map(|held| held.blocked).into(),
                        held.and_then(Held::act).map(|(act, _)| act_name(model, act)).into(),
                        percentile(&times, 99).into(),
                        percentile(&times, 50).into(),
                        lock.addr().map(|addr| format!("{:#x}", addr.0)).into(),
                        view.stacks.and_then(|stacks| caller(model, stacks, &waits)).into(),
                    ],
                ));
            }
        }
        rows.sort_by_key(|(total, _)| *total);
        let rows: Table = rows.into_iter().map(|(_, row)| row).collect();
        let mut notes = Vec::new();
        if !all.is_empty() {
            notes.push(
                "the holder is he who ended the wait; while he waited for the same lock himself, \
                 he who ended that"
                    .into(),
            );
        }
        if !view.index.told.contention {
            notes.push(
                "lock:contention_begin was not captured: locks of the kernel are suspected by \
                 the sleeps alone"
                    .into(),
            );
        }
        rows.with_notes(notes)
    }
}

/// A task with its thread id.
pub(crate) fn task_name(model: &Model, id: agenttrace_model::TaskId, time: Nanos) -> String {
    model.tasks.get(id.0 as usize).map_or_else(String::new, |task| {
        format!("{} (tid {})", task.name_at(time).to_text(), task.tid.0)
    })
}

/// What a holder was in, in words.
pub(crate) fn act_name(model: &Model, act: Act) -> Words {
    match act {
        Act::Call(nr) => model.syscalls.name(nr),
        Act::Fault => "page faults".into(),
        Act::Computing => "computing".into(),
    }
}

/// The function of the kernel that most of the waits were asked for in.
fn caller(model: &Model, stacks: &SampleIndex<'_>, waits: &[Wait]) -> Option<String> {
    let names = waits.iter().filter_map(|wait| {
        let tid = model.tasks.get(wait.task.0 as usize)?.tid;
        crate::verdict::lock_caller(stacks, tid, wait.from)
    });
    crate::verdict::tops(names).into_iter().next().map(|(name, _)| name)
}
