//! A sample's event to what it is a sample of.

use agenttrace_parse::events::{Fault, Lock, Sched};
use agenttrace_parse::stack::Sample;
use agenttrace_parse::{Addr, EventType, Kind, Tid};

use super::frames::What;

/// What samples of an event type are of, by the type's name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Cpu,
    Fault { major: Option<bool> },
    Other,
}

impl Class {
    pub(crate) fn of(event_type: &EventType) -> Self {
        // `page-faults/call-graph=fp/` and `software:page-faults` are the same event.
        let name = event_type.name.as_str();
        let base = name.split('/').next().unwrap_or(name);
        let base = base.strip_prefix("software:").unwrap_or(base);
        match base.split(':').next().unwrap_or(base) {
            "page-faults" | "faults" => Self::Fault { major: None },
            "minor-faults" => Self::Fault { major: Some(false) },
            "major-faults" => Self::Fault { major: Some(true) },
            "cpu-clock" | "task-clock" => Self::Cpu,
            _ if counts_cpu(name) => Self::Cpu,
            _ => Self::Other,
        }
    }
}

/// Whether a name is that of a counter of the CPU: `cycles`, `cycles:u`, `cpu/mem-loads/`,
/// `type4:0x1a8`; not that of a tracepoint, a breakpoint or another software event.
fn counts_cpu(name: &str) -> bool {
    // PERF_COUNT_SW_*, the clocks and the faults left out.
    const SOFTWARE: [&str; 8] = [
        "context-switches",
        "cs",
        "cpu-migrations",
        "migrations",
        "alignment-faults",
        "emulation-faults",
        "dummy",
        "bpf-output",
    ];
    let base = name.split('/').next().unwrap_or(name);
    let (event, rest) = base.split_once(':').unwrap_or((base, ""));
    match event.strip_prefix("type").map(str::parse::<u32>) {
        // PERF_TYPE_HARDWARE, _HW_CACHE, _RAW, and those of other PMUs; not _SOFTWARE,
        // _TRACEPOINT, _BREAKPOINT.
        Some(Ok(number)) => !matches!(number, 1 | 2 | 5),
        Some(Err(_)) | None => {
            // Modifiers of an event (tools/perf/Documentation/perf-list.txt).
            let modifiers = rest.chars().all(|c| "ukhIGHpPSDWeb".contains(c));
            let other = ["", "software", "tracepoint", "mem", "cgroup-switches"];
            modifiers && !other.contains(&event) && !SOFTWARE.contains(&event)
        }
    }
}

/// What a sample is of, and whose stack it is where that is not the current task's.
pub(crate) fn what(class: Option<Class>, sample: &Sample<'_>) -> (What, Option<Tid>) {
    let by_class = || match class {
        Some(Class::Cpu) => What::Cpu,
        Some(Class::Fault { major }) => {
            What::Fault { addr: sample.addr.unwrap_or_default(), major }
        }
        Some(Class::Other) | None => What::Other,
    };
    let Some(kind) = &sample.kind else { return (by_class(), None) };
    match kind {
        Kind::Sched(sched) => of_sched(sched),
        Kind::Fault(fault) => (of_fault(fault), None),
        Kind::Lock(Lock::ContentionBegin(e)) => (What::LockBegin(e.lock_addr), None),
        Kind::Lock(Lock::ContentionEnd(e)) => (What::LockEnd(e.lock_addr), None),
        Kind::Record(_)
        | Kind::Syscall(_)
        | Kind::PageCache(_)
        | Kind::Block(_)
        | Kind::Fs(_)
        | Kind::Reclaim(_)
        | Kind::Irq(_)
        | Kind::Net(_)
        | Kind::Tlb(_)
        | Kind::IoUring(_)
        | Kind::Marker(_) => (What::Other, None),
    }
}

fn of_sched(sched: &Sched<'_>) -> (What, Option<Tid>) {
    match sched {
        // Written by the task that leaves; once it has exited, only the payload names it.
        Sched::SchedSwitch(e) => (What::SwitchOut(e.prev_state), Some(e.prev_pid)),
        // The current task is at work on another, or on itself.
        Sched::SchedWaking(_)
        | Sched::SchedWakeup(_)
        | Sched::SchedWakeupNew(_)
        | Sched::SchedMigrateTask(_)
        | Sched::SchedMoveNuma(_)
        | Sched::SchedStickNuma(_)
        | Sched::SchedSwapNuma(_)
        | Sched::SchedSkipVmaNuma(_)
        | Sched::SchedSkipCpusetNuma(_)
        | Sched::SchedProcessFork(_)
        | Sched::SchedProcessExec(_)
        | Sched::SchedPrepareExec(_)
        | Sched::SchedProcessExit(_)
        | Sched::SchedProcessWait(_)
        | Sched::TaskNewtask(_)
        | Sched::TaskRename(_)
        | Sched::SignalGenerate(_) => (What::Other, None),
    }
}

fn of_fault(fault: &Fault) -> What {
    let of = |addr: Addr, major| What::Fault { addr, major };
    match fault {
        Fault::PageFaultUser(e) => of(e.address, None),
        Fault::PageFaultKernel(e) => of(e.address, None),
        Fault::MinorFaults(e) => of(e.addr, Some(false)),
        Fault::MajorFaults(e) => of(e.addr, Some(true)),
        // Within a fault that other events count.
        Fault::MmFilemapFault(_) | Fault::MmFilemapMapPages(_) | Fault::RssStat(_) => What::Other,
    }
}
