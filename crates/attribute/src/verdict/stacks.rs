//! Stacks of a step's samples to evidence: the hottest function, the code that faults,
//! who waits for a lock and who held it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::stack::Mode;
use agenttrace_model::parse::{Nanos, Tid};
use agenttrace_model::stacks::{ChainId, StackSample, What};
use agenttrace_model::{OpKind, TaskId};

use crate::cause::Cause;
use crate::path::PathSegment;
use crate::report::Evidence;
use crate::stacks::{Named, SampleIndex, frame_text};
use crate::stats::{percent, plural, thousands};
use crate::verdict::{Facts, count};

/// Fewer samples than this in the hottest function say nothing.
const FEW: u64 = 3;

/// What the step's stacks tell of a cause; nothing where the capture has none.
pub(super) fn evidence(facts: &Facts<'_>, cause: Cause) -> Vec<Evidence> {
    let Some(samples) = facts.parts.stacks else { return Vec::new() };
    let mut evidence: Vec<Evidence> = hottest(facts, samples, cause).into_iter().collect();
    if matches!(cause, Cause::MajorFault | Cause::MinorFault) {
        evidence.extend(faulting(facts, samples, cause));
    }
    if cause == Cause::KernelLock {
        evidence.extend(waiting(facts, samples));
        evidence.extend(holding(facts, samples));
    }
    evidence
}

/// The functions in which most of the cause's CPU samples lie, as shares of all CPU
/// samples on the step's path.
fn hottest(facts: &Facts<'_>, samples: &SampleIndex<'_>, cause: Cause) -> Option<Evidence> {
    let mut all: Vec<(&PathSegment, &StackSample)> = Vec::new();
    for segment in facts.parts.path.having(|key| key.resource.is_cpu()) {
        let Some(tid) = facts.tid(segment.task) else { continue };
        let within = samples.between(tid, segment.start, segment.end);
        all.extend(within.filter(|s| s.what == What::Cpu).map(|sample| (segment, sample)));
    }
    // Of several clocks and counters the one with most samples; they must not be mixed.
    let event = most(all.iter().map(|(_, sample)| sample.event_type))?.0;
    let all: Vec<_> = all.into_iter().filter(|(_, s)| s.event_type == event).collect();
    let total = all.len() as u64;
    let own = all.iter().filter(|(segment, _)| segment.cause == cause);
    let tops = tops(own.filter_map(|(_, sample)| innermost(samples.named, sample.chain)));
    let mut tops = tops.into_iter();
    let (name, n) = tops.next().filter(|(_, n)| *n >= FEW)?;
    let share = |n: u64| percent(Nanos(n), Nanos(total));
    let mut text = format!(
        "{} of the step's CPU in {name} ({} of {} samples)",
        share(n),
        thousands(n),
        thousands(total)
    );
    if let Some((name, n)) = tops.next().filter(|(_, n)| *n >= FEW) {
        text.push_str(&format!(", {} in {name}", share(n)));
    }
    Some(count(text, n, "CPU samples with call chains"))
}

/// The function of a program in which most of the cause's faults happen.
fn faulting(facts: &Facts<'_>, samples: &SampleIndex<'_>, cause: Cause) -> Option<Evidence> {
    let faults = operations(facts, cause, |kind| matches!(kind, OpKind::Fault(_)));
    let code = faults.iter().filter_map(|(task, from, to)| {
        // Its entry and its end can each have a chain, which is the same.
        let mut within = samples.between(facts.tid(*task)?, *from, next(*to));
        within.find_map(|sample| {
            let fault = matches!(sample.what, What::Fault { .. });
            let chain = sample.chain.filter(|_| fault);
            function(samples.named, chain, |mode, _| mode == Mode::User)
        })
    });
    let (name, n) = tops(code).into_iter().next()?;
    let text = format!(
        "{} of {} on the path in {name}",
        thousands(n),
        plural(faults.len() as u64, "page fault")
    );
    Some(count(text, n, "page faults with call chains"))
}

/// The operations of the step's tasks of which the path holds a part with this cause:
/// task, and from when to when.
fn operations(
    facts: &Facts<'_>,
    cause: Cause,
    keep: impl Fn(OpKind) -> bool,
) -> Vec<(TaskId, Nanos, Nanos)> {
    let on_path = facts.on_path(cause);
    let mut found = Vec::new();
    for work in facts.parts.work {
        let Some(task) = facts.model().tasks.get(work.task.0 as usize) else { continue };
        let first = task.ops.before(work.from);
        let within = task.ops.iter().skip(first).take_while(|op| op.start < work.to);
        let ops = within.filter(|op| keep(op.kind) && on_path(op.start, op.end));
        found.extend(ops.map(|op| (work.task, op.start, op.end)));
    }
    found
}

/// The function of the kernel in which a task began to wait for a lock at a time.
pub(crate) fn lock_caller(samples: &SampleIndex<'_>, tid: Tid, time: Nanos) -> Option<String> {
    let mut at = samples.between(tid, time, next(time));
    let begin = at.find(|sample| matches!(sample.what, What::LockBegin(_)))?;
    function(samples.named, begin.chain, |mode, name| mode == Mode::Kernel && !locks(name))
}

/// The function that asks for the contended locks.
fn waiting(facts: &Facts<'_>, samples: &SampleIndex<'_>) -> Option<Evidence> {
    let waits = facts.lock_waits(Cause::KernelLock);
    let callers =
        waits.iter().filter_map(|wait| lock_caller(samples, facts.tid(wait.task)?, wait.from));
    let mut tops = tops(callers).into_iter();
    let (name, n) = tops.next()?;
    let mut text =
        format!("{} of {} in {name}", thousands(n), plural(waits.len() as u64, "lock wait"));
    if let Some((name, n)) = tops.next() {
        text.push_str(&format!(", {} in {name}", thousands(n)));
    }
    Some(count(text, n, "lock:contention_begin with call chains"))
}

/// The function in which the lock's holder was: where it woke the waiter, else what it did
/// meanwhile.
fn holding(facts: &Facts<'_>, samples: &SampleIndex<'_>) -> Option<Evidence> {
    let waits = facts.lock_waits(Cause::KernelLock);
    let holders = waits.iter().filter_map(|wait| {
        let (released, holder) = wait.release?;
        let tid = facts.tid(holder)?;
        let name = |from: Nanos, to: Nanos| {
            let at = samples.between(tid, from, next(to));
            let found = at.filter_map(|sample| {
                function(samples.named, sample.chain, |mode, name| {
                    mode == Mode::Kernel && !locks(name) && !releases(name) && !leaves(name)
                })
            });
            tops(found).into_iter().next().map(|(name, _)| name)
        };
        let at = name(released, released).map(|name| (holder, "released it in", name));
        at.or_else(|| Some((holder, "was meanwhile in", name(wait.from, released)?)))
    });
    let ((holder, how, name), n) = most(holders)?;
    let text = format!(
        "{} of {} times the holder, {}, {how} {name}",
        thousands(n),
        thousands(waits.len() as u64),
        facts.name_tid(holder)
    );
    Some(count(text, n, "call chains of the task that released the lock"))
}

/// The end of a range that holds this moment.
fn next(time: Nanos) -> Nanos {
    Nanos(time.0.saturating_add(1))
}

/// The name of the innermost function of a chain.
fn innermost(named: Named<'_>, chain: Option<ChainId>) -> Option<String> {
    function(named, chain, |_, _| true)
}

/// The innermost function of a chain for which `keep` says yes to mode and name.
fn function(
    named: Named<'_>,
    chain: Option<ChainId>,
    keep: impl Fn(Mode, &str) -> bool,
) -> Option<String> {
    named.stacks.frames_of(chain).find_map(|id| {
        let frame = named.stacks.frame(id)?;
        if frame.name.is_none() && named.symbols.of(id).is_empty() {
            // An address is no function: together, a file's tell more than one by one.
            let path = frame.module.and_then(|m| named.stacks.module(m)).map(|m| &m.path);
            let file = path.map_or("[unknown]", |path| path.rsplit('/').next().unwrap_or(path));
            let name = format!("{file} (functions not known)");
            return keep(frame.mode, &name).then_some(name);
        }
        let texts = frame_text(named, id).into_iter().rev();
        texts.map(|f| f.text).find(|name| keep(frame.mode, name)).map(|name| name.to_string())
    })
}

/// Names by how often they occur, most often first; ties by name.
pub(crate) fn tops(names: impl Iterator<Item = String>) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    // The map gave them in order, and the sort is stable.
    counts.sort_by_key(|(_, n)| Reverse(*n));
    counts
}

/// The value that occurs most often, the smallest of several.
fn most<T: Ord>(values: impl Iterator<Item = T>) -> Option<(T, u64)> {
    let mut counts: BTreeMap<T, u64> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, n)| *n)
}

/// Whether a function only takes a lock (kernel/locking/; `machine__is_lock_function` of
/// tools/perf/util/machine.c asks the same by address).
fn locks(name: &str) -> bool {
    const PARTS: [&str; 3] = ["slowpath", "contention_begin", "contention_end"];
    const STARTS: [&str; 17] = [
        "__lock_",
        "__mutex_lock",
        "mutex_lock",
        "mutex_spin",
        "down_",
        "__down",
        "rwsem_",
        "_raw_spin_",
        "_raw_read_",
        "_raw_write_",
        "queued_",
        "native_queued_",
        "__pv_queued_",
        "osq_",
        "rt_mutex_",
        "__rt_mutex_",
        "percpu_down",
    ];
    let exact = matches!(
        name,
        "down" | "schedule" | "__schedule" | "schedule_preempt_disabled" | "rtlock_lock"
    );
    exact || PARTS.iter().any(|p| name.contains(p)) || STARTS.iter().any(|s| name.starts_with(s))
}

/// Whether a function only leaves the CPU, or comes in from user mode or an interrupt.
fn leaves(name: &str) -> bool {
    const STARTS: [&str; 12] = [
        "preempt_schedule",
        "io_schedule",
        "__cond_resched",
        "irqentry_",
        "asm_",
        "sysvec_",
        "__sysvec_",
        "exit_to_user_mode",
        "syscall_exit_to_user_mode",
        "do_syscall_",
        "entry_SYSCALL_",
        "x64_sys_call",
    ];
    STARTS.iter().any(|s| name.starts_with(s))
}

/// Whether a function only releases a lock, or wakes who waits for it.
fn releases(name: &str) -> bool {
    const STARTS: [&str; 9] = [
        "try_to_wake_up",
        "ttwu_",
        "wake_up_",
        "wake_q_",
        "__wake_up",
        "mutex_unlock",
        "__mutex_unlock",
        "rwsem_wake",
        "percpu_up",
    ];
    matches!(name, "up_read" | "up_write" | "up" | "__up" | "__up_read" | "__up_write")
        || STARTS.iter().any(|s| name.starts_with(s))
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::{
        Addr, Capture, Cpu, Diagnostics, Pid, ReadOptions, Tid, Unpacked, read_steps,
    };
    use agenttrace_model::stacks::{Chain, Frame, FrameId, Stacks, Symbols};
    use agenttrace_model::{Builder, MarkOptions, claim_tasks, place_marks};

    use super::*;
    use crate::analyze::{Input, report};

    const KERNEL: Mode = Mode::Kernel;
    const USER: Mode = Mode::User;

    /// (event type, task, time, what, frames from the innermost)
    type Row<'r> = (u32, i32, u64, What, &'r [(Mode, &'r str)]);

    fn stacks(rows: &[Row<'_>]) -> Stacks {
        let mut stacks = Stacks::default();
        for (event_type, tid, time, what, frames) in rows {
            let mut parent = None;
            for (mode, name) in frames.iter().rev() {
                let index = stacks.frames.len() as u32;
                stacks.names.push((*name).to_owned());
                stacks.frames.push(Frame {
                    mode: *mode,
                    module: None,
                    address: 0,
                    caller: false,
                    name: Some(index),
                });
                stacks.chains.push(Chain { parent, frame: FrameId(index) });
                parent = Some(ChainId(index));
            }
            stacks.samples.push(StackSample {
                comm: None,
                record: 0,
                time: Nanos(*time),
                cpu: Cpu(0),
                pid: Pid(*tid),
                tid: Tid(*tid),
                event_type: *event_type,
                period: 1,
                what: *what,
                chain: parent,
                short: None,
            });
        }
        stacks.samples.sort_by_key(|sample| sample.time);
        stacks
    }

    /// What stacks add to the verdict on a cause in a crafted capture's step.
    fn told(events: &str, steps: &str, rows: &[Row<'_>], cause: Cause) -> Vec<String> {
        let unpacked = Unpacked::of(events.as_bytes()).unwrap();
        let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
        let mut diagnostics = Diagnostics::default();
        let mut builder = Builder::new(capture.info());
        let totals = capture.read(&mut diagnostics, &mut |batch| builder.push(batch)).unwrap();
        let model = builder.finish(None).unwrap();
        let file = read_steps(steps.as_bytes());
        let options = MarkOptions { file: Some(&file), ..MarkOptions::default() };
        let windows = claim_tasks(&model, place_marks(&model, capture.info(), &options).unwrap());
        let (stacks, symbols) = (stacks(rows), Symbols::default());
        let input = Input {
            stacks: Some(Named { stacks: &stacks, symbols: &symbols }),
            ..Input::new(&model, &windows, capture.info(), &totals, &diagnostics)
        };
        let report = report(&input);
        let verdict = report.steps[0].verdicts.iter().find(|v| v.cause == cause).unwrap();
        let by_stacks = verdict.evidence.iter().filter(|e| e.source.contains("call chains"));
        by_stacks.map(|e| format!("{} = {}", e.text, e.value)).collect()
    }

    const CONTENTION: [&str; 2] = [
        include_str!("../../../../fixtures/crafted/contention/events.txt"),
        include_str!("../../../../fixtures/crafted/contention/steps.jsonl"),
    ];

    #[test]
    fn who_waits_for_a_lock_and_who_held_it() {
        let waits =
            [(KERNEL, "rwsem_down_write_slowpath"), (KERNEL, "down_write"), (KERNEL, "do_mkdirat")];
        let spins = [(KERNEL, "osq_lock"), (KERNEL, "do_mkdirat")];
        let releases = [(KERNEL, "try_to_wake_up"), (KERNEL, "up_write"), (KERNEL, "do_unlinkat")];
        let rows: Vec<Row<'_>> = vec![
            (0, 100, 1_600_000, What::LockBegin(Addr(0xff00)), &waits),
            (1, 300, 2_700_000, What::Other, &releases),
            (2, 100, 1_610_000, What::Cpu, &spins),
            (2, 100, 1_650_000, What::Cpu, &spins),
            (2, 100, 1_690_000, What::Cpu, &spins),
            (2, 100, 1_200_000, What::Cpu, &[(USER, "main")]),
            // Not the step's CPU: the holder's, another counter's, and after the step.
            (2, 300, 2_000_000, What::Cpu, &[(KERNEL, "ext4_evict_inode")]),
            (3, 100, 1_660_000, What::Cpu, &[(KERNEL, "cycles_are_apart")]),
            (2, 100, 5_000_000, What::Cpu, &[(USER, "later")]),
        ];
        assert_eq!(
            told(CONTENTION[0], CONTENTION[1], &rows, Cause::KernelLock),
            [
                "75 % of the step's CPU in osq_lock (3 of 4 samples) = 3",
                "1 of 1 lock wait in do_mkdirat = 1",
                "1 of 1 times the holder, server (tid 300), released it in do_unlinkat = 1",
            ]
        );
    }

    #[test]
    fn the_code_that_faults() {
        let events = include_str!("../../../../fixtures/crafted/readahead_fault/events.txt");
        let steps = include_str!("../../../../fixtures/crafted/readahead_fault/steps.jsonl");
        let fault = What::Fault { addr: Addr(0x7001000), major: Some(false) };
        let search = [(KERNEL, "exc_page_fault"), (USER, "probe"), (USER, "search")];
        // The end of the fault, and its entry, are one fault.
        let rows: Vec<Row<'_>> =
            vec![(0, 100, 1_500_000, fault, &search), (1, 100, 3_000_000, fault, &search)];
        let one = ["1 of 1 page fault on the path in probe = 1"];
        assert_eq!(told(events, steps, &rows, Cause::MajorFault), one);
        assert_eq!(told(events, steps, &rows[1..], Cause::MajorFault), one);
        // Of another task, and of another moment.
        let rows: Vec<Row<'_>> =
            vec![(0, 101, 1_500_000, fault, &search), (0, 100, 3_000_100, fault, &search)];
        let none: [&str; 0] = [];
        assert_eq!(told(events, steps, &rows, Cause::MajorFault), none);
    }

    #[test]
    fn a_holder_without_a_stack_where_it_releases() {
        let left = [(KERNEL, "__schedule"), (KERNEL, "__cond_resched"), (KERNEL, "iterate_dir")];
        let rows: Vec<Row<'_>> = vec![
            (1, 300, 1_600_000, What::Cpu, &left),
            (1, 300, 2_700_001, What::Cpu, &[(KERNEL, "after_the_wait")]),
            // Nothing but the way in: not a place to name.
            (2, 300, 1_800_000, What::Cpu, &[(KERNEL, "do_syscall_64"), (USER, "main")]),
        ];
        assert_eq!(
            told(CONTENTION[0], CONTENTION[1], &rows, Cause::KernelLock),
            ["1 of 1 times the holder, server (tid 300), was meanwhile in iterate_dir = 1"]
        );
    }

    #[test]
    fn two_samples_are_too_few_and_the_waker_may_have_no_stack() {
        let spins = [(KERNEL, "osq_lock")];
        let rows: Vec<Row<'_>> = vec![
            (2, 100, 1_610_000, What::Cpu, &spins),
            (2, 100, 1_650_000, What::Cpu, &spins),
            // A chain of another moment of the wait's task, and the waker's before the wait.
            (0, 100, 1_600_001, What::LockBegin(Addr(0xff00)), &[(KERNEL, "do_mkdirat")]),
            (1, 300, 1_500_000, What::Other, &[(KERNEL, "do_unlinkat")]),
        ];
        let none: [&str; 0] = [];
        assert_eq!(told(CONTENTION[0], CONTENTION[1], &rows, Cause::KernelLock), none);
    }

    #[test]
    fn functions_of_locks_are_told_apart_from_their_callers() {
        for name in ["rwsem_down_read_slowpath", "mutex_lock", "_raw_spin_lock_irqsave", "down"] {
            assert!(locks(name), "{name}");
        }
        for name in ["lock_rename", "do_unlinkat", "mutex_is_locked_by_me", "download"] {
            assert!(!locks(name), "{name}");
        }
        assert!(releases("up_write") && releases("wake_up_q") && !releases("update_curr"));
    }
}
