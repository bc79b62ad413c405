//! The words that all exports have for segments, operations and tasks. Escaped.

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::path;
use agenttrace_attribute::report::{Segment, StepReport};
use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, Op, OpKind, Task, WakeSource};

use crate::duration::human;
use crate::escape::visible;

/// A step's title: `step 142 search_codebase`.
pub(super) fn step(step: &StepReport) -> String {
    let id = visible(&step.id.to_string());
    if step.tool.is_empty() {
        format!("step {id}")
    } else {
        format!("step {id} {}", visible(&step.tool))
    }
}

/// Causes of a step with their times, the largest first: `major_fault 14.5 ms, ...`.
pub(super) fn causes(step: &StepReport) -> String {
    let mut causes: Vec<(Nanos, Cause)> = Cause::ALL
        .into_iter()
        .map(|cause| (step.cause_ns(cause), cause))
        .filter(|(ns, _)| *ns > Nanos::ZERO)
        .collect();
    causes.sort_by_key(|(ns, cause)| (std::cmp::Reverse(*ns), *cause));
    let words: Vec<String> =
        causes.iter().map(|(ns, cause)| format!("{} {}", cause.name(), human(*ns))).collect();
    words.join(", ")
}

/// A segment's entry stack in one line.
pub(super) fn stack(segment: &Segment<'_>) -> String {
    segment.stack.iter().map(|frame| visible(frame)).collect::<Vec<_>>().join(" > ")
}

/// `device`, `run_queue in fsync`.
pub(super) fn resource(segment: &Segment<'_>) -> String {
    match segment.under {
        Some(under) if under != segment.cause => {
            format!("{} in {}", segment.resource.name(), under.name())
        }
        _ => segment.resource.name().to_owned(),
    }
}

/// `major_fault: device`: the innermost frame of a critical path.
pub(super) fn leaf(segment: &Segment<'_>) -> String {
    format!("{}: {}", segment.cause.name(), resource(segment))
}

/// A task's name at a time.
pub(super) fn task(task: &Task, time: Nanos) -> String {
    let name = task.name_at(time).to_text();
    if name.is_empty() { format!("task {}", task.tid) } else { visible(&name) }
}

/// What kind of thing an operation is: the group that viewers put it in.
pub(super) fn op_group(kind: &OpKind) -> &'static str {
    match kind {
        OpKind::Syscall(_) => "system call",
        OpKind::Fault(_) => "page fault",
        OpKind::Lock { .. } => "kernel lock",
        OpKind::Irq(_) | OpKind::Softirq(_) | OpKind::LocalTimer => "interrupt",
        OpKind::Work(_) | OpKind::Commit { .. } | OpKind::SyncFile { .. } => "kernel work",
        OpKind::Exit => "exit",
        OpKind::Reclaim(_) | OpKind::DirtyPause(_) => "memory",
        OpKind::TlbWait(_) => "TLB flush",
    }
}

/// An operation's name: of a system call the call, of a fault its kind and file.
pub(super) fn op(model: &Model, op: &Op) -> String {
    match op.kind {
        OpKind::Syscall(call) => model.syscalls.name(call.nr).into_owned(),
        OpKind::Fault(fault) => {
            let kind = match fault.major {
                Some(true) => "major fault",
                Some(false) => "minor fault",
                None => "page fault",
            };
            let file = fault.file.map(|file| visible(&path::file_name(model, file)));
            format!("{kind} {}", file.as_deref().unwrap_or("anon"))
        }
        OpKind::Lock { addr, .. } => format!("kernel lock {:#x}", addr.0),
        OpKind::Irq(name) => {
            let name = model.names.get(name as usize).map_or("?", String::as_str);
            format!("irq {}", visible(name))
        }
        OpKind::Softirq(vector) => format!("softirq {}", path::softirq_name(vector)),
        OpKind::LocalTimer => "timer tick".to_owned(),
        OpKind::Work(function) => format!("work {:#x}", function.0),
        OpKind::Commit { dev, .. } => {
            format!("journal commit {}", path::device_name(model, dev))
        }
        OpKind::SyncFile { dev, ino } => {
            format!("sync {} ino {ino}", path::device_name(model, dev))
        }
        OpKind::Exit => "exit".to_owned(),
        OpKind::Reclaim(reclaim) => reclaim.kind.name().to_owned(),
        OpKind::DirtyPause(_) => "pause for dirty memory".to_owned(),
        OpKind::TlbWait(_) => "remote TLB flush".to_owned(),
    }
}

/// Who or what made a task runnable.
pub(super) fn waker(model: &Model, source: WakeSource, time: Nanos) -> String {
    match source {
        WakeSource::Task(id) => {
            let waker = model.task(id);
            format!("{} ({})", task(waker, time), waker.tid)
        }
        WakeSource::Block(request) => match model.requests.get(request as usize) {
            Some(request) => format!(
                "block {} {} completed",
                request.rwbs.op.name(),
                path::device_name(model, request.dev)
            ),
            None => "block request completed".to_owned(),
        },
        WakeSource::Timer => "a timer".to_owned(),
        WakeSource::Network => "the network".to_owned(),
        WakeSource::Interrupt(name) => {
            let name = model.names.get(name as usize).map_or("?", String::as_str);
            format!("interrupt {}", visible(name))
        }
        WakeSource::Unknown => "not known".to_owned(),
    }
}

/// Where a task waits, as the innermost frame of its stack there.
pub(super) const OFF_CPU: &str = "[off CPU]";
