//! What a format carries less, and how exact times are, to doubts of a verdict.

use agenttrace_model::Step;
use agenttrace_model::parse::Nanos;

use super::Facts;
use crate::cause::Cause;
use crate::coverage::tells_interrupts;
use crate::detail::Words;
use crate::report::Confidence;
use crate::stats::human;

/// Rounding matters in steps shorter than so many units.
const UNITS: u64 = 300;

/// The error of a step's times, where the step is shorter than ten times that.
pub(crate) fn short(step: &Step) -> Option<Nanos> {
    step.error.filter(|e| (step.end - step.start).0 < e.0.saturating_mul(10))
}

/// Who a wait is charged to, beyond doubt only where interrupts are told from tasks.
enum Leans {
    /// On nothing but the task's own events.
    No,
    /// What was waited for shows in events of its own, too.
    Partly,
    /// The waker alone names it.
    Wholly,
}

fn leans(cause: Cause) -> Leans {
    match cause {
        Cause::UserLock | Cause::IpcWait | Cause::ServiceWait => Leans::Wholly,
        Cause::NetworkWait
        | Cause::Idle
        | Cause::Sleep
        | Cause::Journal
        | Cause::Fsync
        | Cause::KernelLock
        | Cause::BlockRead
        | Cause::BlockWrite
        | Cause::MajorFault
        | Cause::VfsMetadata
        | Cause::Spawn => Leans::Partly,
        Cause::Unknown
        | Cause::CpuThrottle
        | Cause::RunDelay
        | Cause::Interrupt
        | Cause::Reclaim
        | Cause::WritebackThrottle
        | Cause::TlbFlush
        | Cause::MinorFault
        | Cause::SyscallCpu
        | Cause::UserCpu => Leans::No,
    }
}

/// Why a verdict is less sure than the same of a perf.data would be.
pub(super) fn doubts(facts: &Facts<'_>, cause: Cause) -> Vec<(Confidence, Words)> {
    let mut doubts = Vec::new();
    let step = facts.parts.step;
    let fidelity = facts.parts.info.fidelity;
    if let Some(error) = short(step) {
        doubts.push((
            Confidence::Low,
            format!("the step is shorter than ten times the error of its times ({})", human(error))
                .into(),
        ));
    }
    if step.mapped && step.error.is_none() {
        let why = "how far the step's times may be off cannot be told";
        doubts.push((Confidence::Medium, why.into()));
    }
    if facts.parts.info.ticks {
        doubts.push((Confidence::Low, "the capture's clock counts no seconds".into()));
    }
    let rounded = fidelity.resolution.0;
    if rounded > 1 && facts.wall.0 < rounded.saturating_mul(UNITS) {
        doubts.push((
            Confidence::Medium,
            format!("times are rounded to {}, and the step is short", human(fidelity.resolution))
                .into(),
        ));
    }
    if !tells_interrupts(facts.parts.info) {
        let why = "the format does not tell interrupts from tasks (trace-cmd report, perf script), so a waker may have \
                   been an innocent bystander";
        match leans(cause) {
            Leans::No => {}
            Leans::Partly => doubts.push((Confidence::Medium, why.into())),
            Leans::Wholly => doubts.push((Confidence::Low, why.into())),
        }
    }
    if !fidelity.processes && matches!(leans(cause), Leans::Wholly) {
        let why = "the format does not tell which process a thread belongs to: threads older than the capture may work for \
                   the step unseen";
        doubts.push((Confidence::Medium, why.into()));
    }
    doubts
}
