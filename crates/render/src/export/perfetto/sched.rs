//! What the scheduler did to the ftrace events from which Perfetto draws CPUs, states and wakeups.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use agenttrace_attribute::timeline::{SchedEvent, SchedWhat};
use agenttrace_model::parse::{Cpu, Nanos, SwitchState};
use agenttrace_model::{Model, State, Task, TaskId, WakeSource};

use super::proto::{
    Data, Ftrace, FtraceEvent, FtraceEventBundle, Process, ProcessTree, SchedProcessFree,
    SchedSwitch, SchedWaking, TaskNewtask, TaskRename, Thread,
};
use super::writer::Writer;
use crate::escape::visible;
use crate::export::{ExportJob, words};

/// `CLONE_THREAD` of include/uapi/linux/sched.h.
const CLONE_THREAD: u64 = 0x0001_0000;
/// `TRACE_FLAG_SOFTIRQ` of include/linux/trace_events.h: in an interrupt. Perfetto then
/// draws no arrow from the task that was interrupted.
const IN_INTERRUPT: u32 = 0x10;
/// The priority of a task that nobody made another (kernel/sched: `DEFAULT_PRIO`); the
/// capture's own is not kept.
const PRIO: i32 = 120;
/// Events of one CPU that are written together.
const BUNDLE: usize = 512;

/// The bits that stand for a state in `sched_switch`, as Perfetto reads them
/// (`src/trace_processor/types/task_state.cc`): they differ by kernel version, and where
/// none is told those of Linux 4.4 hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StateBits {
    /// From Linux 4.14.
    New,
    /// Linux 4.4.
    Old,
}

impl StateBits {
    /// By the kernel's release.
    pub(super) fn of(release: Option<&str>) -> Self {
        let mut parts = release.unwrap_or("").split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) if (major, minor) >= (4, 14) => Self::New,
            _ => Self::Old,
        }
    }

    fn bits(self, state: SwitchState) -> i64 {
        match (state, self) {
            (SwitchState::Runnable, Self::New) => 0x100,
            (SwitchState::Runnable, Self::Old) => 0x800,
            (SwitchState::Interruptible, _) => 1,
            (SwitchState::Uninterruptible, _) | (SwitchState::Idle, Self::Old) => 2,
            (SwitchState::Stopped, _) => 4,
            (SwitchState::Traced, _) => 8,
            (SwitchState::Dead, _) => 0x10,
            (SwitchState::Zombie, _) => 0x20,
            (SwitchState::Parked, Self::New) => 0x40,
            (SwitchState::Parked, Self::Old) => 0x200,
            (SwitchState::Idle, Self::New) => 0x80,
            // No kernel's: Perfetto shows an unknown state.
            (SwitchState::Other, _) => 0x7fff,
        }
    }
}

/// The processes and threads that are there when the timeline begins.
pub(super) fn process_tree(job: &ExportJob<'_>, writer: &mut Writer<'_>) -> io::Result<()> {
    let model = job.model;
    let from = job.timeline.from;
    let shown: BTreeMap<TaskId, bool> =
        job.timeline.tasks.iter().map(|shown| (shown.task, shown.kernel)).collect();
    // Who never runs or wakes in this time is not shown.
    let mut mentioned: BTreeSet<TaskId> = shown.keys().copied().collect();
    for event in job.sched {
        mentioned.extend(tasks_of(model, event.what).into_iter().flatten());
    }
    let mut tree = ProcessTree::default();
    let mut processes = BTreeSet::new();
    for id in mentioned {
        let task = model.task(id);
        if !task.tid.is_task() || !is_there(task, from) {
            continue;
        }
        if processes.insert(task.pid) {
            let leader = model.task_at(agenttrace_model::parse::Tid(task.pid.0), from);
            let leader = leader.map_or(task, |leader| model.task(leader));
            tree.processes.push(Process {
                pid: Some(task.pid.0),
                ppid: leader.parent.map(|parent| model.task(parent).pid.0),
                cmdline: vec![words::task(leader, from)],
                is_kthread: shown.get(&id).copied().filter(|kernel| *kernel),
                cmdline_is_comm: Some(true),
            });
        }
        tree.threads.push(Thread {
            tid: Some(task.tid.0),
            name: Some(words::task(task, from)),
            tgid: Some(task.pid.0),
        });
    }
    writer.packet(Some(from.0), Data::ProcessTree(tree))
}

/// Whether a task is alive at a time; one whose birth was not seen was there before.
fn is_there(task: &Task, time: Nanos) -> bool {
    task.birth.is_none_or(|birth| birth <= time) && task.death().is_none_or(|death| death > time)
}

fn tasks_of(model: &Model, what: SchedWhat) -> [Option<TaskId>; 2] {
    match what {
        SchedWhat::Birth { task, parent } => [Some(task), Some(parent)],
        SchedWhat::Name { task, .. } | SchedWhat::Death(task) => [Some(task), None],
        SchedWhat::Wake(wake) => {
            let wake = model.wake(wake);
            [Some(wake.wakee), wake.current]
        }
        SchedWhat::Switch { prev, next, .. } => [prev, next],
    }
}

/// The scheduler's events in time order, those in a row on one CPU in one packet.
pub(super) fn events(
    job: &ExportJob<'_>,
    bits: StateBits,
    writer: &mut Writer<'_>,
) -> io::Result<()> {
    let mut bundle = FtraceEventBundle::default();
    for event in job.sched {
        let cpu = Some(if event.cpu == Cpu::NONE { 0 } else { event.cpu.0.min(MAX_CPU) });
        if bundle.cpu != cpu || bundle.event.len() >= BUNDLE {
            flush(&mut bundle, writer)?;
            bundle.cpu = cpu;
        }
        bundle.event.push(ftrace(job.model, bits, event));
    }
    flush(&mut bundle, writer)
}

/// Perfetto refuses a whole trace with a larger one.
const MAX_CPU: u32 = 1023;

fn flush(bundle: &mut FtraceEventBundle, writer: &mut Writer<'_>) -> io::Result<()> {
    if bundle.event.is_empty() {
        return Ok(());
    }
    writer.packet(None, Data::FtraceEvents(std::mem::take(bundle)))
}

fn ftrace(model: &Model, bits: StateBits, event: &SchedEvent) -> FtraceEvent {
    let time = event.time;
    let name = |id: TaskId| words::task(model.task(id), time);
    let tid = |id: TaskId| model.task(id).tid.0;
    let current = |id: Option<TaskId>| id.map_or(0, |id| u32::try_from(tid(id)).unwrap_or(0));
    let mut common_flags = None;
    let (pid, event) = match event.what {
        SchedWhat::Birth { task, parent } => {
            let thread = model.task(task).is_thread == Some(true);
            let new = TaskNewtask {
                pid: Some(tid(task)),
                comm: Some(name(task)),
                clone_flags: Some(if thread { CLONE_THREAD } else { 0 }),
            };
            (current(Some(parent)), Ftrace::TaskNewtask(new))
        }
        SchedWhat::Name { task, name } => {
            let new = visible(&name.to_text());
            let rename = TaskRename { pid: Some(tid(task)), newcomm: Some(new) };
            (current(Some(task)), Ftrace::TaskRename(rename))
        }
        SchedWhat::Wake(id) => {
            let wake = model.wake(id);
            if !matches!(wake.source, WakeSource::Task(_)) {
                common_flags = Some(IN_INTERRUPT);
            }
            let waking = SchedWaking {
                comm: Some(name(wake.wakee)),
                pid: Some(tid(wake.wakee)),
                prio: Some(PRIO),
                success: Some(1),
                target_cpu: target(model.task(wake.wakee), time),
            };
            (current(wake.current), Ftrace::SchedWaking(waking))
        }
        SchedWhat::Switch { prev, state, next } => {
            let idle = || "swapper".to_owned();
            let switch = SchedSwitch {
                prev_comm: Some(prev.map_or_else(idle, name)),
                prev_pid: Some(prev.map_or(0, tid)),
                prev_prio: Some(PRIO),
                prev_state: Some(if prev.is_some() { bits.bits(state) } else { 0 }),
                next_comm: Some(next.map_or_else(idle, name)),
                next_pid: Some(next.map_or(0, tid)),
                next_prio: Some(PRIO),
            };
            (current(prev), Ftrace::SchedSwitch(switch))
        }
        SchedWhat::Death(task) => {
            let free = SchedProcessFree { comm: Some(name(task)), pid: Some(tid(task)) };
            (0, Ftrace::SchedProcessFree(free))
        }
    };
    FtraceEvent { timestamp: Some(time.0), pid: Some(pid), event: Some(event), common_flags }
}

/// The CPU on whose queue a woken task is put.
fn target(task: &Task, time: Nanos) -> Option<i32> {
    let after = task.states.since(task.span_at(time));
    let known = after.take(2).find(|span| {
        span.cpu != Cpu::NONE && matches!(span.state, State::Runnable | State::Running)
    })?;
    i32::try_from(known.cpu.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_by_kernel_version() {
        assert_eq!(StateBits::of(Some("4.14.1")), StateBits::New);
        assert_eq!(StateBits::of(Some("6.18.1-generic")), StateBits::New);
        assert_eq!(StateBits::of(Some("4.9.3")), StateBits::Old);
        assert_eq!(StateBits::of(Some("custom")), StateBits::Old);
        assert_eq!(StateBits::of(None), StateBits::Old);
        // Preempted: above all states that the version reports.
        assert_eq!(StateBits::New.bits(SwitchState::Runnable), 0x100);
        assert_eq!(StateBits::Old.bits(SwitchState::Runnable), 0x800);
    }
}
