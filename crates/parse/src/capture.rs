//! What a capture says of itself: format, machine, clock, event types.

use crate::topology::Topology;
use crate::units::{Cpu, Nanos};

/// The facts of a capture that are not events. A fact that the capture does not
/// carry is `None` or empty.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct CaptureInfo {
    /// `perf.data`, `trace.dat`, the dialect of a text, or `events` (the text of
    /// `dump --stage events`).
    pub format: &'static str,
    /// Size of the input in bytes.
    pub bytes: u64,
    /// Name of the traced machine.
    pub hostname: Option<String>,
    /// Kernel release, such as `6.18.1`.
    pub os_release: Option<String>,
    /// Architecture as `uname -m` tells.
    pub arch: Option<String>,
    /// How the recorder was called.
    pub command_line: Vec<String>,
    /// Version of the recorder.
    pub recorder: Option<String>,
    /// CPUs that were online.
    pub cpus_online: Option<u32>,
    /// CPU topology, where recorded.
    pub topology: Topology,
    /// The clock of the event times.
    pub clock: Clock,
    /// Whether events of every task on the CPUs were recorded (`perf record -a`).
    /// Where false, switch-ins and wakers are missing (EVENTS 1.10).
    pub system_wide: bool,
    /// Whether data mappings were recorded (`perf record -d`).
    pub data_mmaps: bool,
    /// What this format carries less than perf.data does.
    pub fidelity: Fidelity,
    /// Whether the capture lacks the formats of all its tracepoints, which a recorder
    /// writes last: it was killed, or the end of its file is gone.
    pub formats_missing: bool,
    /// Whether the input is text: places in diagnostics are then numbers of lines, from
    /// 1, not bytes.
    pub text: bool,
    /// Whether times are counts of a clock that counts no seconds (ftrace's `counter`,
    /// `uptime`, `x86-tsc`). They are kept as they are; only marks in the capture itself
    /// can be placed, and lengths have no unit.
    pub ticks: bool,
    /// How the whole input was compressed: `gzip`, `zstd`, `xz`.
    pub compression: Option<&'static str>,
    /// Names of the buffers (ftrace instances) beside the main one whose events are
    /// merged in.
    pub buffers: Vec<String>,
    /// The event types that were recorded, in the order of the file. trace.dat and texts
    /// do not tell which events were asked for: there, those that occur.
    pub event_types: Vec<EventType>,
}

/// What a format carries of what the kernel knew. The default is all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fidelity {
    /// The unit that times are rounded to: 1 ns, or 1 us in most texts.
    pub resolution: Nanos,
    /// Whether events tell that an interrupt wrote them (`common_flags`). Where they
    /// do not, a waker may be an innocent bystander (EVENTS 1.5).
    pub context: bool,
    /// Whether events tell the process of a thread. Where they do not, it is known
    /// only of tasks that were seen to be created.
    pub processes: bool,
}

impl Default for Fidelity {
    fn default() -> Self {
        Self { resolution: Nanos(1), context: true, processes: true }
    }
}

/// One recorded event type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventType {
    /// `subsystem:event`.
    pub name: String,
    /// Whether the analysis uses it.
    pub known: bool,
    /// Whether each occurrence was recorded (`-c 1`, and every tracepoint by
    /// default), not a sample of them.
    pub every: bool,
}

/// The clock of a capture's times.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Which clock, where the capture says so.
    pub id: Option<ClockId>,
    /// One moment read on both clocks: (event clock, wall clock), in nanoseconds
    /// (perf's CLOCK_DATA).
    pub wall: Option<(Nanos, Nanos)>,
}

/// A clock that both a recorder and an agent can read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClockId {
    /// `CLOCK_MONOTONIC`.
    Monotonic,
    /// `CLOCK_MONOTONIC_RAW`.
    MonotonicRaw,
    /// `CLOCK_BOOTTIME`.
    Boottime,
    /// `CLOCK_REALTIME`: nanoseconds since 1970, UTC.
    Realtime,
    /// `CLOCK_TAI`.
    Tai,
    /// perf's own clock (`sched_clock`), which no agent can read.
    Local,
}

impl ClockId {
    /// The word used in steps.jsonl and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Monotonic => "monotonic",
            Self::MonotonicRaw => "monotonic_raw",
            Self::Boottime => "boottime",
            Self::Realtime => "realtime",
            Self::Tai => "tai",
            Self::Local => "local",
        }
    }
    /// By [`ClockId::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Monotonic,
            Self::MonotonicRaw,
            Self::Boottime,
            Self::Realtime,
            Self::Tai,
            Self::Local,
        ]
        .into_iter()
        .find(|id| id.name() == name)
    }
    /// By the word that tracefs's `trace_clock` has for it. `None` for those that
    /// count no time (`counter`, `uptime`, `x86-tsc`).
    #[must_use]
    pub fn from_ftrace(name: &str) -> Option<Self> {
        match name {
            "local" | "global" | "perf" => Some(Self::Local),
            "mono" => Some(Self::Monotonic),
            "mono_raw" => Some(Self::MonotonicRaw),
            "boot" => Some(Self::Boottime),
            "tai" => Some(Self::Tai),
            _ => None,
        }
    }
    /// By the number of `clock_gettime(2)`.
    #[must_use]
    pub fn from_posix(id: u64) -> Option<Self> {
        match id {
            0 => Some(Self::Realtime),
            1 => Some(Self::Monotonic),
            4 => Some(Self::MonotonicRaw),
            7 => Some(Self::Boottime),
            11 => Some(Self::Tai),
            _ => None,
        }
    }
}

/// What one pass over a capture counted.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Records of any type.
    pub records: u64,
    /// Of these the samples that were passed over ([`crate::Skim`]): they count nowhere else.
    pub skimmed: u64,
    /// Events: samples, whether the analysis uses them or not.
    pub events: u64,
    /// Time of the first and the last event.
    pub span: Option<(Nanos, Nanos)>,
    /// For each CPU seen its first and last event's time and its count, by CPU.
    pub cpus: Vec<CpuTotals>,
    /// Counts by event type, parallel to [`CaptureInfo::event_types`].
    pub by_type: Vec<u64>,
    /// Inversions: neighbouring records of one CPU that were not in time order.
    pub inversions: u64,
    /// Events lost, by what LOST records say, or where there are none, LOST_SAMPLES.
    pub lost: u64,
}

/// One CPU's part of [`Totals`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuTotals {
    /// The CPU.
    pub cpu: Cpu,
    /// Its events.
    pub events: u64,
    /// Time of its first event.
    pub first: Nanos,
    /// Time of its last event.
    pub last: Nanos,
    /// Events lost on it.
    pub lost: u64,
}
