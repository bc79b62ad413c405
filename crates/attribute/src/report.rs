//! The one report: every number that any output format shows, already computed.
//!
//! *Exclusive* numbers come from critical paths and add up to wall time.
//! *Inclusive* numbers count everything that a step's tasks did, in parallel or
//! not. The two are never added together. `None` means that the capture does
//! not hold the events: never zero.

mod segments;

pub use agenttrace_model::MarkerSource;
use agenttrace_model::parse::{CaptureInfo, Dev, Diagnostics, Nanos, Pid, StepId, Tid, Totals};

use crate::cause::{Cause, Resource};
use crate::detail::{Details, Words};
pub use segments::{Segment, SegmentIter, SegmentKind, Segments};

/// Everything that `analyze` found out about one capture.
#[derive(Clone, Debug)]
pub struct Report {
    /// The capture itself.
    pub capture: CaptureSummary,
    /// What the capture can show, by cause, in the order of [`Cause::ALL`].
    pub coverage: Vec<Coverage>,
    /// All steps together.
    pub session: Session,
    /// The steps, in the order of their start, then of the file.
    pub steps: Vec<StepReport>,
    /// Steps that could not be analyzed, and other notes on the markers, as sentences.
    pub notes: Vec<String>,
}

/// The capture, its clock and its losses.
#[derive(Clone, Debug)]
pub struct CaptureSummary {
    /// What the file says of itself.
    pub info: CaptureInfo,
    /// What one pass over it counted.
    pub totals: Totals,
    /// Counted problems of all stages.
    pub diagnostics: Diagnostics,
    /// How often a CPU lost events; each loss may be of an unknown number.
    pub losses: usize,
    /// How marker times were mapped to the capture's clock, in words.
    pub clock_mapping: String,
    /// How far a mapped time may be off, ns; `None` where it cannot be told.
    pub clock_error: Option<Nanos>,
    /// Whether the clocks are known to be the same, or mapped.
    pub markers: MarkerSource,
}

/// Whether the capture can show a cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// The cause.
    pub cause: Cause,
    /// Whether.
    pub status: CoverageStatus,
    /// The events that are missing, `subsystem:event`.
    pub missing: Vec<&'static str>,
}

/// Whether the capture can show a cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoverageStatus {
    /// Every event it needs was recorded.
    Observed,
    /// Seen with less precision, or only in part.
    Partial,
    /// It cannot be seen.
    NotCaptured,
}

impl CoverageStatus {
    /// The word in reports and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Partial => "partial",
            Self::NotCaptured => "not_captured",
        }
    }
}

/// All steps together. Each nanosecond of a root task counts once: for the
/// innermost step, then the latest start, then the order in the file.
#[derive(Clone, Debug)]
pub struct Session {
    /// Optional name from the steps file.
    pub name: Option<String>,
    /// How many steps.
    pub steps: usize,
    /// The wall time that the ranking adds up to.
    pub wall: Nanos,
    /// Causes by time, largest first.
    pub ranking: Vec<RankRow>,
    /// Steps by tool, by total time, largest first.
    pub by_tool: Vec<ToolRow>,
    /// Distribution over all steps' tasks, log2 buckets: wakeup latency, page
    /// faults, block I/O, fsync.
    pub histograms: Vec<Histogram>,
    /// What mechanisms did between steps, or over all of them; only those that did something.
    pub details: Details,
}

/// One row of the session's ranking.
#[derive(Clone, Debug)]
pub struct RankRow {
    /// From 1.
    pub rank: usize,
    /// The subsystem.
    pub cause: Cause,
    /// Exclusive time.
    pub ns: Nanos,
    /// Of the session's wall time, 0 to 1.
    pub share: f64,
    /// Steps in which it is not zero.
    pub steps: usize,
    /// What went wrong, in a few words; for causes that are not the kernel's,
    /// words that say so.
    pub failure_mode: String,
    /// The first thing to try; empty where there is nothing.
    pub first_fix: String,
}

/// All steps of one tool. Percentiles are nearest-rank.
#[derive(Clone, Debug)]
pub struct ToolRow {
    /// Its name; empty where steps have none.
    pub tool: String,
    /// How many steps.
    pub steps: usize,
    /// Sum of their wall times (nested and parallel steps count each).
    pub total: Nanos,
    /// Median.
    pub p50: Nanos,
    /// 95th percentile.
    pub p95: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// What one tool's largest cause costs over the session, in words:
    /// "vfs_metadata: 6.1 ms x 200 steps = 1.2 s".
    pub penalty: String,
}

/// Durations in power-of-two buckets of microseconds, as `bpftrace`'s `hist()`
/// prints them: bucket 0 is below 1 us, bucket n is `[2^(n-1), 2^n)` us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    /// What is measured.
    pub mechanism: Distribution,
    /// Counts, without trailing zeros. `None`: not captured.
    pub buckets: Option<Vec<u64>>,
    /// Number of values.
    pub count: u64,
    /// Their sum.
    pub total: Nanos,
    /// Median, nearest-rank.
    pub p50: Nanos,
    /// 99th percentile, nearest-rank.
    pub p99: Nanos,
    /// Largest.
    pub max: Nanos,
    /// The same values by class, the classes that have any. Empty for what has no classes.
    pub classes: Vec<HistogramClass>,
}

impl Histogram {
    /// The same values without their buckets. `None`: not captured.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        let Self { count, total, p50, p99, max, .. } = *self;
        self.buckets.as_ref().map(|_| Stats { count, total, p50, p99, max })
    }
}

/// The values of one class of a histogram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistogramClass {
    /// The class: of wakeups the distance, such as `same core`.
    pub name: &'static str,
    /// Counts, in the histogram's buckets, without trailing zeros.
    pub buckets: Vec<u64>,
    /// Number of values.
    pub count: u64,
    /// Median, nearest-rank.
    pub p50: Nanos,
    /// 99th percentile, nearest-rank.
    pub p99: Nanos,
    /// Largest.
    pub max: Nanos,
}

/// What a histogram measures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Distribution {
    /// From `sched_waking` to the switch-in.
    WakeupLatency,
    /// A page fault, entry to end.
    PageFault,
    /// A block request, from its bio's submission to its completion.
    BlockIo,
    /// A durability operation, entry to exit.
    Fsync,
}

impl Distribution {
    /// Every mechanism.
    pub const ALL: [Self; 4] = [Self::WakeupLatency, Self::PageFault, Self::BlockIo, Self::Fsync];
    /// The name in options and file names: `wakeup-latency`, `page-fault`, `block-io`, `fsync`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WakeupLatency => "wakeup-latency",
            Self::PageFault => "page-fault",
            Self::BlockIo => "block-io",
            Self::Fsync => "fsync",
        }
    }
    /// What one value is, for titles.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::WakeupLatency => "wakeup latency (sched_waking to switch-in)",
            Self::PageFault => "page faults (entry to end)",
            Self::BlockIo => "block I/O (queued to completed)",
            Self::Fsync => "fsync and its kin (entry to exit)",
        }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Its id.
    pub id: StepId,
    /// Its tool; may be empty.
    pub tool: String,
    /// Root process.
    pub pid: Pid,
    /// Root task.
    pub tid: Tid,
    /// Name of the root task at the step's end.
    pub comm: String,
    /// The enclosing step.
    pub parent: Option<StepId>,
    /// Start of the window on the capture's clock (clipped to the capture).
    pub start: Nanos,
    /// End of the window.
    pub end: Nanos,
    /// Which part lies outside the capture, in words.
    pub clipped: Option<String>,
    /// `end - start`.
    pub wall: Nanos,
    /// Without nested steps on the same task.
    pub self_ns: Nanos,
    /// This step's wall over the median of its tool's steps; `None` for a lone step.
    pub times_median: Option<f64>,
    /// The median step of the tool.
    pub tool_median: Nanos,
    /// Unknown keys of its markers: (key, JSON text).
    pub extra: Vec<(String, String)>,
    /// Cause x resource, adding up to `wall` exactly; largest cause first, and
    /// all rows of one cause together.
    pub exclusive: Vec<ExclusiveRow>,
    /// The critical path: tiles `[start, end)` in time order.
    pub segments: Segments,
    /// What all its tasks did.
    pub inclusive: Inclusive,
    /// What each mechanism did, as tables.
    pub details: Details,
    /// Distributions over its tasks, as [`Session::histograms`].
    pub histograms: Vec<Histogram>,
    /// The tasks that worked for it, the root first, then by first appearance.
    pub tasks: Vec<StepTask>,
    /// How sure the step's states are: these three add up to `wall`.
    pub observed: Nanos,
    /// Time whose states were inferred from later events.
    pub inferred: Nanos,
    /// Time with cause `unknown`.
    pub unknown: Nanos,
    /// What recording cost it.
    pub tracing: Tracing,
    /// Most important first. At least one.
    pub verdicts: Vec<Verdict>,
}

/// What recording cost a step.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Tracing {
    /// Events recorded while tasks that worked for the step were current; interrupts that
    /// came meanwhile included.
    pub events: u64,
    /// Those of them that lie on the critical path, and events of the path's other tasks:
    /// they made the step longer.
    pub path_events: u64,
    /// `events` for each millisecond of the step.
    pub per_ms: f64,
    /// What one event is taken to cost, ns: measured on one machine, see
    /// `docs/OVERHEAD.md`. `None`: the capture's clock counts no seconds.
    pub event_cost: Option<Nanos>,
    /// `path_events` times `event_cost`, at most the wall time: an estimate.
    pub estimate: Option<Nanos>,
}

impl StepReport {
    /// The sum of a cause over its resources.
    #[must_use]
    pub fn cause_ns(&self, cause: Cause) -> Nanos {
        self.exclusive.iter().filter(|row| row.cause == cause).map(|row| row.ns).sum()
    }
}

/// One cell of the cause x resource table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExclusiveRow {
    /// The cause.
    pub cause: Cause,
    /// The resource.
    pub resource: Resource,
    /// For `run_delay` (and throttling, interrupts): the cause that the time
    /// would have had, had the task been running.
    pub under: Option<Cause>,
    /// The time.
    pub ns: Nanos,
}

/// A task that worked for a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepTask {
    /// Thread.
    pub tid: Tid,
    /// Process.
    pub pid: Pid,
    /// Name, the last within the window.
    pub comm: String,
    /// How long it worked for the step.
    pub ns: Nanos,
    /// Whether that was inferred (it woke a task of the step without having been claimed).
    pub inferred: bool,
}

/// Everything that a step's tasks did while they worked for it. May overlap.
/// `None`: the events were not captured.
#[derive(Clone, Debug, Default)]
pub struct Inclusive {
    /// By name, most total time first.
    pub syscalls: Option<Vec<SyscallRow>>,
    /// Page faults.
    pub faults: Option<FaultRows>,
    /// Block requests submitted by the tasks, by device and operation.
    pub block: Option<Vec<BlockRow>>,
    /// Wakeups of the step's tasks: `sched_waking` to switch-in.
    pub wakeups: Option<Stats>,
    /// Time that the step's tasks were runnable and not running.
    pub run_delay: Option<Nanos>,
    /// Moves of the step's tasks between CPUs.
    pub migrations: Option<Migrations>,
    /// Processes made.
    pub spawns: Option<Spawns>,
    /// Durability operations.
    pub fsyncs: Option<Stats>,
    /// TLB flushes. `None` until they are modelled.
    pub tlb_flushes: Option<TlbFlushes>,
    /// CPU time in user and kernel mode of all the tasks.
    pub cpu: Option<Nanos>,
    /// Reads served from the page cache and otherwise, etc.: futex contention and others may be added.
    pub lock_waits: Option<Stats>,
}

/// Count and distribution of durations; percentiles nearest-rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// How many.
    pub count: u64,
    /// Sum.
    pub total: Nanos,
    /// Median.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// Largest.
    pub max: Nanos,
}

/// One system call over all the step's tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyscallRow {
    /// Name, as the kernel's table has it; `sys_N` where unknown.
    pub name: Words,
    /// Calls entered.
    pub count: u64,
    /// Calls that returned an error.
    pub errors: u64,
    /// Total time from entry to exit.
    pub total: Nanos,
    /// The longest.
    pub max: Nanos,
}

/// Page faults of the step's tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultRows {
    /// Counted minor by the kernel (or, without its events, not slept for I/O).
    pub minor: Stats,
    /// Counted major by the kernel (or, without its events, slept for I/O).
    pub major: Stats,
    /// Whether ends were estimated for want of `minor-faults,major-faults`.
    pub estimated: bool,
    /// By file, most total time first.
    pub files: Vec<FileFaults>,
}

/// Page faults on one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileFaults {
    /// Path, where something told it.
    pub path: Option<String>,
    /// Who told it: `mmap record`, `context`.
    pub source: Option<&'static str>,
    /// Device.
    pub dev: Dev,
    /// Inode.
    pub ino: u64,
    /// Faults.
    pub count: u64,
    /// Of these, major as the kernel counts.
    pub major: u64,
    /// Total time.
    pub total: Nanos,
}

/// Block requests on one device with one operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockRow {
    /// Device.
    pub dev: Dev,
    /// Name, where known.
    pub name: Option<String>,
    /// `read`, `write`, `flush`, `discard`, `other`.
    pub op: &'static str,
    /// Requests.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
    /// Sum of queue times: bio queued to issue.
    pub queue: Nanos,
    /// Sum of device times: issue to completion.
    pub device: Nanos,
    /// Median of queue + device.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// Largest.
    pub max: Nanos,
    /// Requests without a recorded completion: not in the times.
    pub open: u64,
}

/// Moves between CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migrations {
    /// All.
    pub count: u64,
    /// To another NUMA node; `None` where the topology is not known.
    pub cross_node: Option<u64>,
}

/// Processes made by the step's tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spawns {
    /// Processes forked (fork, vfork, clone; threads not counted).
    pub forks: u64,
    /// Programs executed.
    pub execs: u64,
    /// Time in spawn phases over all the tasks.
    pub total: Nanos,
}

/// TLB flushes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlbFlushes {
    /// On the own CPU.
    pub local: u64,
    /// Sent to other CPUs.
    pub remote: u64,
}

/// What made a step slow, with proof.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Stable id of the rule, such as `mmap_fault_storm`.
    pub id: &'static str,
    /// One sentence that names the actor.
    pub title: String,
    /// The failure mode in a few words, the same for every step, for the ranking.
    pub failure_mode: &'static str,
    /// The cause it is about; where it is about several, the one with the most time.
    pub cause: Cause,
    /// How much of each cause it is about, for the session's ranking; a general rule's
    /// has one.
    pub causes: Vec<(Cause, Nanos)>,
    /// Exclusive time of that cause (with its run delay, interrupts apart).
    pub ns: Nanos,
    /// Of the step's wall time, 0 to 1.
    pub share: f64,
    /// How sure.
    pub confidence: Confidence,
    /// Why not surer, or why so sure.
    pub reasons: Vec<Words>,
    /// Numbers that prove it.
    pub evidence: Vec<Evidence>,
    /// What to do, the best first.
    pub recommendations: Vec<Recommendation>,
}

/// How sure a verdict is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Confidence {
    /// Too little to go on.
    CannotSay,
    /// A hint.
    Low,
    /// Something needed is estimated or inferred.
    Medium,
    /// Every needed event captured, none lost.
    High,
}

impl Confidence {
    /// The words in reports and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CannotSay => "cannot say",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One number that proves a verdict.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// A sentence with the number in it.
    pub text: String,
    /// The number.
    pub value: u64,
    /// `ns`, `count` or `bytes`.
    pub unit: &'static str,
    /// The events or the table that it comes from.
    pub source: &'static str,
}

/// One thing to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Recommendation {
    /// What.
    pub text: Words,
    /// Under which condition it holds (kernel version, filesystem, ...); may be empty.
    pub condition: Words,
    /// What it would save at most; `None` where the path does not tell.
    pub saves: Option<Nanos>,
}
