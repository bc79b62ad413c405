//! Blocked time and waits for locks to weights by stack.

use agenttrace_model::parse::{Nanos, Tid};
use agenttrace_model::stacks::{ChainId, What};
use agenttrace_model::{Model, State};

use super::path::switched_out;
use super::rows::Rows;
use super::select::Selection;
use super::{Named, SampleIndex};
use crate::locks::{KernelWait, kernel_waits};

/// Adds the blocked time of the selected tasks by the stack with which they left their CPU.
pub(super) fn add_blocked(
    named: Named<'_>,
    model: &Model,
    select: &Selection<'_>,
    rows: &mut Rows<'_>,
) {
    let samples = SampleIndex::new(named);
    for (id, task) in model.task_ids().filter(|(_, task)| task.tid.is_task()) {
        for (index, span) in task.states.iter().enumerate() {
            let State::Blocked(_) = span.state else { continue };
            let until = task.states.get(index + 1).map_or(Nanos::MAX, |next| next.start);
            let parts = select.clip(id, span.start, until);
            if parts.is_empty() {
                continue;
            }
            let name = select.name(None, task.tid, span.start);
            if !select.named(&name) {
                continue;
            }
            let chain = switched_out(&samples, task.tid, span.start, until);
            for part in parts {
                rows.add(part.step, &name, chain, (part.to - part.from).0);
            }
        }
    }
}

/// Adds the waits for locks of the selected tasks by the stack at their begin. Where a
/// wait begins within another, the time is the inner one's. Returns how many waits in the
/// selection have no recorded end, and are not added.
pub(super) fn add_locks(
    named: Named<'_>,
    model: &Model,
    select: &Selection<'_>,
    rows: &mut Rows<'_>,
) -> u64 {
    let samples = SampleIndex::new(named);
    let mut open = 0;
    for (id, task) in model.task_ids() {
        let mut waits = Vec::new();
        for wait in kernel_waits(task.ops.iter()) {
            if wait.end == Nanos::MAX {
                open += u64::from(select.at(Some(id), wait.start).is_some());
            } else {
                waits.push(wait);
            }
        }
        for (wait, from, to) in innermost(&waits) {
            let parts = select.clip(id, from, to);
            if parts.is_empty() {
                continue;
            }
            let name = select.name(None, task.tid, wait.start);
            if select.named(&name) {
                let chain = begun(&samples, task.tid, wait);
                for part in parts {
                    rows.add(part.step, &name, chain, (part.to - part.from).0);
                }
            }
        }
    }
    open
}

/// The stack of the event that begins a wait.
fn begun(samples: &SampleIndex<'_>, tid: Tid, wait: KernelWait) -> Option<ChainId> {
    let mut at = samples.between(tid, wait.start, wait.start + Nanos(1));
    at.find(|s| s.what == What::LockBegin(wait.addr) && s.chain.is_some())?.chain
}

/// Nested waits to stretches that do not overlap, each the innermost wait's.
fn innermost(waits: &[KernelWait]) -> Vec<(KernelWait, Nanos, Nanos)> {
    let mut out = Vec::with_capacity(waits.len());
    let mut around: Vec<KernelWait> = Vec::new();
    let mut at = Nanos::ZERO;
    let mut emit = |wait: KernelWait, at: &mut Nanos, to: Nanos| {
        if *at < to {
            out.push((wait, *at, to));
            *at = to;
        }
    };
    for wait in waits {
        while let Some(outer) = around.last().copied() {
            if outer.end > wait.start {
                emit(outer, &mut at, wait.start);
                break;
            }
            emit(outer, &mut at, outer.end);
            around.pop();
        }
        at = at.max(wait.start);
        around.push(*wait);
    }
    while let Some(outer) = around.pop() {
        emit(outer, &mut at, outer.end);
    }
    out
}
