//! What a capture can show, by cause: which event types each cause needs.

use agenttrace_model::parse::CaptureInfo;

use crate::cause::Cause;
use crate::report::{Coverage, CoverageStatus};

/// What one cause needs.
struct Needs {
    /// Without any of these it cannot be seen at all.
    essential: &'static [&'static str],
    /// Without these it is seen with less precision.
    helpful: &'static [&'static str],
    /// Whether it is a wait, which needs every task's events.
    wait: bool,
}

const SWITCH: &str = "sched:sched_switch";
const WAKING: &str = "sched:sched_waking";
const ENTER: &str = "raw_syscalls:sys_enter";
const EXIT: &str = "raw_syscalls:sys_exit";
const FAULT: &str = "exceptions:page_fault_user";
const MINOR: &str = "software:minor-faults";
const MAJOR: &str = "software:major-faults";
const ISSUE: &str = "block:block_rq_issue";
const COMPLETE: &str = "block:block_rq_complete";
const BIO: &str = "block:block_bio_queue";
const IRQ: &str = "irq:irq_handler_entry";
const SOFTIRQ: &str = "irq:softirq_entry";
/// These tell interrupts from tasks where the format does not.
const INTERRUPTS: [&str; 4] = [IRQ, "irq:irq_handler_exit", SOFTIRQ, "irq:softirq_exit"];

const fn needs(essential: &'static [&'static str], helpful: &'static [&'static str]) -> Needs {
    Needs { essential, helpful, wait: true }
}

const fn on_cpu(essential: &'static [&'static str], helpful: &'static [&'static str]) -> Needs {
    Needs { essential, helpful, wait: false }
}

/// The events of DESIGN section 2.3 and EVENTS sections 12 and 14.
fn table(cause: Cause) -> Needs {
    match cause {
        Cause::Unknown => needs(&[SWITCH], &[]),
        Cause::CpuThrottle => needs(&[SWITCH], &["timer:hrtimer_expire_entry"]),
        Cause::RunDelay => needs(&[SWITCH], &[WAKING]),
        Cause::Interrupt => on_cpu(&[IRQ, "irq:irq_handler_exit"], &[SOFTIRQ, "irq:softirq_exit"]),
        Cause::Fsync => needs(&[ENTER, EXIT], &[SWITCH, WAKING, ISSUE, COMPLETE]),
        Cause::Reclaim => needs(
            &["vmscan:mm_vmscan_direct_reclaim_begin", "vmscan:mm_vmscan_direct_reclaim_end"],
            &[
                "vmscan:mm_vmscan_memcg_reclaim_begin",
                "vmscan:mm_vmscan_memcg_reclaim_end",
                "compaction:mm_compaction_begin",
                "compaction:mm_compaction_end",
            ],
        ),
        Cause::WritebackThrottle => needs(&["writeback:balance_dirty_pages", SWITCH], &[WAKING]),
        Cause::TlbFlush => {
            on_cpu(&["tlb:tlb_flush"], &["csd:csd_queue_cpu", "csd:csd_function_exit"])
        }
        Cause::KernelLock => needs(&["lock:contention_begin", "lock:contention_end"], &[SWITCH]),
        Cause::Journal => {
            needs(&[SWITCH, WAKING], &["jbd2:jbd2_start_commit", "jbd2:jbd2_end_commit"])
        }
        Cause::MajorFault => needs(
            &[FAULT, SWITCH],
            &[
                "exceptions:page_fault_kernel",
                MINOR,
                MAJOR,
                "filemap:mm_filemap_fault",
                ISSUE,
                COMPLETE,
            ],
        ),
        Cause::Spawn => needs(
            &[SWITCH, ENTER, EXIT],
            &[
                "task:task_newtask",
                "sched:sched_process_fork",
                "sched:sched_process_exec",
                "sched:sched_process_exit",
            ],
        ),
        Cause::MinorFault => on_cpu(&[FAULT], &["exceptions:page_fault_kernel", MINOR, MAJOR]),
        Cause::VfsMetadata => needs(&[ENTER, EXIT], &[SWITCH]),
        Cause::BlockRead | Cause::BlockWrite => {
            needs(&[SWITCH, ISSUE, COMPLETE], &[WAKING, ENTER, EXIT, BIO])
        }
        Cause::UserLock | Cause::IpcWait | Cause::ServiceWait => {
            needs(&[SWITCH, WAKING], &[ENTER, EXIT])
        }
        Cause::NetworkWait => {
            needs(&[SWITCH, WAKING], &[ENTER, EXIT, SOFTIRQ, "net:netif_receive_skb"])
        }
        Cause::Sleep => needs(&[SWITCH], &[WAKING, ENTER, EXIT]),
        Cause::Idle => needs(&[SWITCH, WAKING], &[ENTER, EXIT, IRQ]),
        Cause::SyscallCpu => on_cpu(&[SWITCH, ENTER, EXIT], &[]),
        // Without system calls nothing tells the kernel's time from the program's own.
        Cause::UserCpu => on_cpu(&[SWITCH, ENTER], &[EXIT, FAULT]),
    }
}

/// Whether the kernel's own counts of page faults, which end each fault, were recorded.
#[must_use]
pub fn counts_faults(info: &CaptureInfo) -> bool {
    info.event_types.iter().any(|t| t.name == MINOR || t.name == MAJOR)
}

/// Whether the capture tells what an interrupt did from what a task did: each event
/// says so, or the interrupts' own events do.
#[must_use]
pub fn tells_interrupts(info: &CaptureInfo) -> bool {
    let every = |name: &str| info.event_types.iter().any(|t| t.name == name && t.every);
    info.fidelity.context || INTERRUPTS.iter().all(|name| every(name))
}

/// What the capture can show, by cause, in the order of [`Cause::ALL`]. An event
/// type of which only samples were recorded counts as missing, but not as absent.
#[must_use]
pub fn coverage(info: &CaptureInfo) -> Vec<Coverage> {
    let present = |name: &str| info.event_types.iter().any(|t| t.name == name);
    let every = |name: &str| info.event_types.iter().any(|t| t.name == name && t.every);
    Cause::ALL
        .iter()
        .map(|cause| {
            let needs = table(*cause);
            let names = || needs.essential.iter().chain(needs.helpful).copied();
            let mut missing: Vec<&'static str> = names().filter(|name| !every(name)).collect();
            if needs.essential.contains(&WAKING) && !tells_interrupts(info) {
                // Without them a waker may be a task that an interrupt landed on.
                let more = INTERRUPTS.into_iter().filter(|name| !every(name));
                missing.extend(more.filter(|name| !names().any(|other| other == *name)));
            }
            let status = if needs.essential.iter().any(|name| !present(name)) {
                CoverageStatus::NotCaptured
            } else if !missing.is_empty() || (needs.wait && !info.system_wide) {
                CoverageStatus::Partial
            } else {
                CoverageStatus::Observed
            };
            Coverage { cause: *cause, status, missing }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::EventType;

    use super::*;

    fn info(names: &[&str]) -> CaptureInfo {
        CaptureInfo {
            system_wide: true,
            event_types: names
                .iter()
                .map(|name| EventType { name: (*name).to_owned(), known: true, every: true })
                .collect(),
            ..CaptureInfo::default()
        }
    }

    fn status(info: &CaptureInfo, cause: Cause) -> (CoverageStatus, Vec<&'static str>) {
        let row = coverage(info).into_iter().find(|c| c.cause == cause);
        row.map_or((CoverageStatus::NotCaptured, Vec::new()), |c| (c.status, c.missing))
    }

    #[test]
    fn missing_events_are_named() {
        let mut i = info(&[SWITCH]);
        assert_eq!(status(&i, Cause::RunDelay), (CoverageStatus::Partial, vec![WAKING]));
        assert_eq!(status(&i, Cause::SyscallCpu), (CoverageStatus::NotCaptured, vec![ENTER, EXIT]));
        i = info(&[SWITCH, WAKING]);
        assert_eq!(status(&i, Cause::RunDelay), (CoverageStatus::Observed, Vec::new()));
        i.system_wide = false;
        assert_eq!(status(&i, Cause::RunDelay).0, CoverageStatus::Partial);
        assert_eq!(coverage(&i).len(), Cause::ALL.len());
    }

    #[test]
    fn without_contexts_interrupts_must_be_recorded() {
        let mut i = info(&[SWITCH, WAKING, ENTER, EXIT]);
        assert_eq!(status(&i, Cause::ServiceWait), (CoverageStatus::Observed, Vec::new()));
        i.fidelity.context = false;
        assert_eq!(status(&i, Cause::ServiceWait), (CoverageStatus::Partial, INTERRUPTS.to_vec()));
        assert_eq!(status(&i, Cause::SyscallCpu), (CoverageStatus::Observed, Vec::new()));
        let mut i = info(&[SWITCH, WAKING, ENTER, EXIT, INTERRUPTS[0], INTERRUPTS[1]]);
        i.fidelity.context = false;
        assert_eq!(status(&i, Cause::ServiceWait).1, INTERRUPTS[2..].to_vec());
        i.event_types.extend(info(&INTERRUPTS[2..]).event_types);
        assert_eq!(status(&i, Cause::ServiceWait), (CoverageStatus::Observed, Vec::new()));
    }
}
