//! A small report made by hand, for tests.

use std::sync::Arc;

use agenttrace_attribute::cause::{Cause, Resource};
use agenttrace_attribute::detail::{Column, Details, Head, Table, Value};
use agenttrace_attribute::report::*;
use agenttrace_model::parse::{
    CaptureInfo, Clock, ClockId, Cpu, Dev, Diagnostics, Nanos, Pid, Problem, StepId, Tid, Topology,
    Totals,
};

fn info() -> CaptureInfo {
    CaptureInfo {
        format: "perf.data",
        bytes: 34_700_000,
        hostname: Some("build-host".into()),
        os_release: Some("6.18.1".into()),
        arch: Some("x86_64".into()),
        command_line: vec!["perf".into(), "record".into(), "-a".into()],
        recorder: Some("6.18".into()),
        cpus_online: Some(2),
        topology: Topology::default(),
        clock: Clock { id: Some(ClockId::Monotonic), wall: None },
        system_wide: true,
        data_mmaps: true,
        ..CaptureInfo::default()
    }
}

fn segment(cause: Cause, resource: Resource, stack: &[&str]) -> SegmentKind {
    SegmentKind {
        tid: Tid(18421),
        pid: Pid(18421),
        comm: "agent".into(),
        cause,
        resource,
        under: None,
        stack: stack.iter().map(|s| (*s).to_owned().into()).collect(),
        object: None,
        reason: None,
        inferred: false,
    }
}

fn segments<const N: usize>(start: u64, parts: [(u64, SegmentKind); N]) -> Segments {
    let mut segments = Segments::new(Nanos(start));
    for (ns, kind) in parts {
        let kind = segments.add_kind(kind);
        segments.push(kind, Nanos(ns));
    }
    segments
}

pub(crate) fn histogram(buckets: &[u64]) -> Histogram {
    Histogram {
        mechanism: Distribution::BlockIo,
        buckets: Some(buckets.to_vec()),
        count: buckets.iter().sum(),
        total: Nanos(11_912_000),
        p50: Nanos(40_100),
        p99: Nanos(310_000),
        max: Nanos(9_200_000),
        classes: Vec::new(),
    }
}

fn stats(count: u64, total: u64) -> Stats {
    Stats {
        count,
        total: Nanos(total),
        p50: Nanos(40_000),
        p99: Nanos(90_000),
        max: Nanos(1_100_000),
    }
}

/// The step of the sketch in the design: a fault storm on an index.
pub(crate) fn fault_step() -> StepReport {
    let t0 = 322_644_126_913;
    let index = ["wait4", "search", "major fault vector_index.db"];
    let device = ["wait4", "search", "major fault vector_index.db", "block read vda"];
    let io = |resource| SegmentKind {
        object: Some("vda".into()),
        ..segment(Cause::MajorFault, resource, &device)
    };
    let delay = segment(Cause::RunDelay, Resource::RunQueue, &index);
    let fault = segment(Cause::MajorFault, Resource::CpuKernel, &index);
    let segments = segments(
        t0,
        [
            (2_104_000, segment(Cause::VfsMetadata, Resource::CpuKernel, &["openat"])),
            (11_912_000, io(Resource::Device)),
            (402_000, io(Resource::DeviceQueue)),
            (377_000, io(Resource::Completion)),
            (300_000, SegmentKind { under: Some(Cause::MajorFault), ..delay }),
            (1_811_000, SegmentKind { inferred: true, ..fault }),
            (3_308_321, segment(Cause::UserCpu, Resource::CpuUser, &[])),
        ],
    );
    let row = |cause, resource, under, ns| ExclusiveRow { cause, resource, under, ns: Nanos(ns) };
    StepReport {
        id: StepId::Number(142),
        tool: "search_codebase".into(),
        pid: Pid(18421),
        tid: Tid(18421),
        comm: "agent".into(),
        parent: None,
        start: Nanos(t0),
        end: Nanos(t0 + 20_214_321),
        clipped: None,
        wall: Nanos(20_214_321),
        self_ns: Nanos(20_214_321),
        times_median: Some(2.104),
        tool_median: Nanos(9_607_000),
        extra: vec![("model".into(), "\"x-1\"".into()), ("n".into(), "3".into())],
        exclusive: vec![
            row(Cause::MajorFault, Resource::CpuKernel, None, 1_811_000),
            row(Cause::MajorFault, Resource::DeviceQueue, None, 402_000),
            row(Cause::MajorFault, Resource::Device, None, 11_912_000),
            row(Cause::MajorFault, Resource::Completion, None, 377_000),
            row(Cause::UserCpu, Resource::CpuUser, None, 3_308_321),
            row(Cause::VfsMetadata, Resource::CpuKernel, None, 2_104_000),
            row(Cause::RunDelay, Resource::RunQueue, Some(Cause::MajorFault), 300_000),
        ],
        segments,
        inclusive: inclusive(),
        details: spawns(),
        histograms: vec![histogram(&[0, 0, 0, 0, 12, 42, 230, 9, 3, 0, 0, 0, 0, 0, 5])],
        tasks: vec![
            StepTask {
                tid: Tid(18421),
                pid: Pid(18421),
                comm: "agent".into(),
                ns: Nanos(20_214_321),
                inferred: false,
            },
            StepTask {
                tid: Tid(18430),
                pid: Pid(18430),
                comm: "search".into(),
                ns: Nanos(13_200_000),
                inferred: true,
            },
        ],
        observed: Nanos(18_403_321),
        inferred: Nanos(1_811_000),
        unknown: Nanos(0),
        tracing: Tracing {
            events: 9_100,
            path_events: 2_700,
            per_ms: 450.2,
            event_cost: Some(Nanos(300)),
            estimate: Some(Nanos(810_000)),
        },
        verdicts: vec![fault_verdict()],
    }
}

fn no_details() -> Details {
    Details::new(Arc::new([]))
}

fn spawns() -> Details {
    const COLUMNS: &[Column] = &[
        Column::text("program", "program"),
        Column::count("count", "spawns"),
        Column::time("fork_ns", "fork"),
        Column::bytes("resident_bytes", "resident"),
    ];
    let head = Head {
        id: "spawns",
        title: "programs started",
        actors: false,
        columns: COLUMNS,
        missing: Vec::new(),
    };
    let program = |name: &'static str, n: u64, fork, resident| {
        [name.into(), n.into(), Nanos(fork).into(), resident]
    };
    let shown = [
        program("true|<script>", 20, 380_000, Value::Unknown),
        program("sh", 1, 1_200_000, 536_870_912_u64.into()),
    ];
    let left_out = [(); 3].map(|()| program("ls", 1, 1, Value::Unknown));
    let table = Table::from_iter(shown.into_iter().chain(left_out)).at_most(2, COLUMNS.len());
    let mut details = Details::new(Arc::new([head]));
    details.set(0, table.with_notes(["fork copies page tables".into()]));
    details
}

fn inclusive() -> Inclusive {
    let call = |name: &'static str, count, errors, total| SyscallRow {
        name: name.into(),
        count,
        errors,
        total: Nanos(total),
        max: Nanos(total / 10),
    };
    Inclusive {
        syscalls: Some(vec![
            call("openat", 847, 3, 1_100_000),
            call("newfstatat", 2_400, 0, 700_000),
        ]),
        faults: Some(FaultRows {
            minor: stats(1_204, 400_000),
            major: stats(300, 13_900_000),
            estimated: false,
            files: vec![FileFaults {
                path: Some("/data/vector_index.db".into()),
                source: Some("mmap record"),
                dev: Dev::new(254, 0),
                ino: 996_057,
                count: 298,
                major: 298,
                total: Nanos(13_800_000),
            }],
        }),
        block: Some(vec![BlockRow {
            dev: Dev::new(254, 0),
            name: Some("vda".into()),
            op: "read",
            count: 301,
            bytes: 1_232_896,
            queue: Nanos(402_000),
            device: Nanos(11_912_000),
            p50: Nanos(40_000),
            p99: Nanos(310_000),
            max: Nanos(9_200_000),
            open: 0,
        }]),
        wakeups: Some(stats(312, 1_900_000)),
        run_delay: Some(Nanos(300_000)),
        migrations: Some(Migrations { count: 3, cross_node: None }),
        spawns: Some(Spawns { forks: 2, execs: 2, total: Nanos(1_400_000) }),
        fsyncs: Some(Stats::default()),
        tlb_flushes: None,
        cpu: Some(Nanos(7_223_000)),
        lock_waits: None,
    }
}

fn fault_verdict() -> Verdict {
    Verdict {
        id: "mmap_fault_storm",
        title: "mmap fault storm: vector_index.db was evicted by step 141 (scan_repo, repo.pack 64 MiB read) 1.2 s earlier".into(),
        failure_mode: "index evicted, refaulted",
        cause: Cause::MajorFault,
        causes: Vec::new(),
        ns: Nanos(14_802_000),
        share: 0.732_253,
        confidence: Confidence::High,
        reasons: vec!["every needed event captured, none lost in the window".into()],
        evidence: vec![Evidence {
            text: "298 faults slept for I/O; 297 of their pages were in the cache at 322.651 and deleted in step 141".into(),
            value: 298,
            unit: "count",
            source: "exceptions:page_fault_user",
        }],
        recommendations: vec![
            Recommendation {
                text: "MADV_POPULATE_READ on the index before the step".into(),
                condition: "Linux 5.14+".into(),
                saves: Some(Nanos(13_000_000)),
            },
            Recommendation {
                text: "keep step 141's scan out of the cache: POSIX_FADV_NOREUSE".into(),
                condition: "Linux 6.3+".into(),
                saves: None,
            },
        ],
    }
}

/// A step of a hostile name that only computes, right after the first.
fn cpu_step() -> StepReport {
    let t0 = 322_700_000_000;
    let wall = 4_000_000;
    StepReport {
        id: StepId::Name("a|<script>\x1b[31m".into()),
        tool: "evil;\u{202e}tool\n<script>alert(1)</script>".into(),
        start: Nanos(t0),
        end: Nanos(t0 + wall),
        wall: Nanos(wall),
        self_ns: Nanos(wall),
        times_median: None,
        tool_median: Nanos(wall),
        extra: Vec::new(),
        exclusive: vec![ExclusiveRow {
            cause: Cause::UserCpu,
            resource: Resource::CpuUser,
            under: None,
            ns: Nanos(wall),
        }],
        segments: segments(t0, [(wall, segment(Cause::UserCpu, Resource::CpuUser, &["</svg>;x"]))]),
        inclusive: Inclusive::default(),
        details: no_details(),
        histograms: Vec::new(),
        tasks: Vec::new(),
        observed: Nanos(wall),
        inferred: Nanos(0),
        unknown: Nanos(0),
        tracing: Tracing::default(),
        verdicts: vec![Verdict {
            id: "user_cpu",
            title: "not the kernel: `agent` computes".into(),
            failure_mode: "not the kernel",
            cause: Cause::UserCpu,
            causes: Vec::new(),
            ns: Nanos(wall),
            share: 1.0,
            confidence: Confidence::Medium,
            reasons: Vec::new(),
            evidence: Vec::new(),
            recommendations: Vec::new(),
        }],
        ..fault_step()
    }
}

/// Two steps, one of them of hostile names, and something not captured.
pub(crate) fn report() -> Report {
    let mut diagnostics = Diagnostics::default();
    diagnostics.add(Problem::MissingWakeup, Cpu(0), 2, None, None);
    diagnostics.add(Problem::MissingWakeup, Cpu(1), 1, None, None);
    diagnostics.add(Problem::UnknownEvent, Cpu(1), 7, None, None);
    let rank = |rank, cause, ns, steps, mode: &str, fix: &str| RankRow {
        rank,
        cause,
        ns: Nanos(ns),
        share: ns as f64 / 24_214_321.0,
        steps,
        failure_mode: mode.into(),
        first_fix: fix.into(),
    };
    Report {
        capture: CaptureSummary {
            info: info(),
            totals: Totals {
                records: 362_100,
                events: 361_944,
                span: Some((Nanos(322_000_000_000), Nanos(323_000_000_000))),
                ..Totals::default()
            },
            diagnostics,
            losses: 0,
            clock_mapping: "same clock".into(),
            clock_error: Some(Nanos(0)),
            markers: MarkerSource::File,
        },
        coverage: Cause::ALL
            .into_iter()
            .map(|cause| {
                let (status, missing) = if cause == Cause::TlbFlush {
                    (CoverageStatus::NotCaptured, vec!["tlb:tlb_flush"])
                } else if cause == Cause::Interrupt {
                    (CoverageStatus::Partial, vec!["irq:irq_handler_entry"])
                } else {
                    (CoverageStatus::Observed, Vec::new())
                };
                Coverage { cause, status, missing }
            })
            .collect(),
        session: Session {
            name: None,
            steps: 2,
            wall: Nanos(24_214_321),
            ranking: vec![
                rank(
                    1,
                    Cause::MajorFault,
                    14_502_000,
                    1,
                    "index evicted, refaulted",
                    "MADV_POPULATE_READ before the step",
                ),
                rank(2, Cause::UserCpu, 7_308_321, 2, "not the kernel", ""),
                rank(
                    3,
                    Cause::VfsMetadata,
                    2_104_000,
                    1,
                    "2,400 stats per call",
                    "git untracked cache, cache the listing",
                ),
                rank(
                    4,
                    Cause::RunDelay,
                    300_000,
                    1,
                    "waits for a CPU",
                    "fewer busy tasks, or more CPUs",
                ),
            ],
            by_tool: vec![ToolRow {
                tool: "search_codebase".into(),
                steps: 12,
                total: Nanos(121_000_000),
                p50: Nanos(9_607_000),
                p95: Nanos(20_214_321),
                p99: Nanos(20_214_321),
                penalty: "vfs_metadata: 6.1 ms x 200 steps = 1.2 s".into(),
            }],
            histograms: vec![histogram(&[0, 3, 42])],
            details: no_details(),
        },
        steps: vec![fault_step(), cpu_step()],
        notes: vec!["step 9 ends before it begins: line 4".into()],
    }
}
