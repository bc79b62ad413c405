//! Exact events out of a built perf.data.

use super::build::{Builder, small};
use crate::capture::{ClockId, CpuTotals};
use crate::perf_data::PerfData;
use crate::perf_data::record::kind;
use crate::stream::Course;
use crate::units::{Cpu, Nanos};
use crate::{
    Capture, CaptureInfo, Diagnostics, Error, Event, Problem, Progress, ReadOptions, Totals,
    Unpacked, write_event,
};

pub(super) fn info(bytes: &[u8]) -> CaptureInfo {
    PerfData::open(&Unpacked::of(bytes).unwrap(), None).unwrap().info
}

/// Every event's line, and what was counted; from batches of `batch` records.
pub(super) fn read(bytes: &[u8], batch: usize) -> (Vec<String>, Diagnostics, Totals) {
    let unpacked = Unpacked::of(bytes).unwrap();
    read_perf(&PerfData::open(&unpacked, None).unwrap(), batch)
}

/// The same of an opened capture.
pub(super) fn read_perf(perf: &PerfData<'_>, batch: usize) -> (Vec<String>, Diagnostics, Totals) {
    let mut diagnostics = Diagnostics::default();
    let mut lines = Vec::new();
    let totals = perf.read(batch, None, &Course::default(), &mut diagnostics, &mut |events| {
        for event in events {
            let mut line = format!("#{} ", event.record);
            write_event(event, &mut line);
            lines.push(line);
        }
    });
    (lines, diagnostics, totals)
}

#[test]
fn events_in_time_order() {
    let (lines, diagnostics, totals) = read(&small(), 1 << 15);
    assert_eq!(
        lines,
        [
            "#0 0 - -1/-1 - record:comm pid=7 tid=7 exec=0 comm=\"secret\"",
            "#1 0 - -1/-1 - record:mmap2 pid=7 tid=7 addr=0x1000 len=0x2000 pgoff=0x0 maj=254 min=1 ino=99 filename=\"/secret/lib.so\"",
            "#3 100 0 7/7 d sched:sched_switch prev_comm=\"secret-7\" prev_pid=7 prev_state=D next_comm=\"secret-0\" next_pid=0",
            "#5 200 1 9/9 - software:minor-faults addr=0xabcd period=1",
            "#4 300 0 8/8 . raw_syscalls:sys_enter id=257 args=1,2,3,4,5,6",
            "#10 350 1 9/9 d sched:sched_switch prev_comm=\"secret-9\" prev_pid=9 prev_state=R next_comm=\"secret-10\" next_pid=10",
            "#7 400 0 7/7 . sched:sched_process_exec filename=\"/secret/tool\" pid=7 old_pid=7 agent_step_id=42",
            "#9 420 1 7/7 - record:lost lost=5",
        ]
    );
    assert_eq!((totals.records, totals.events, totals.lost), (12, 6, 5));
    assert_eq!(totals.span, Some((Nanos(100), Nanos(410))));
    assert_eq!(totals.by_type, [2, 1, 1, 1, 1]);
    // The switch at 350 follows the loss at 420 on CPU 1.
    assert_eq!(totals.inversions, 1);
    assert_eq!(
        totals.cpus,
        [
            CpuTotals { cpu: Cpu(0), events: 4, first: Nanos(100), last: Nanos(410), lost: 0 },
            CpuTotals { cpu: Cpu(1), events: 2, first: Nanos(200), last: Nanos(350), lost: 5 },
        ]
    );
    assert_eq!(diagnostics.count(Problem::UnknownEvent), 1);
    assert_eq!(diagnostics.count(Problem::LostEvents), 5);
    assert_eq!(diagnostics.iter().count(), 2);
}

#[test]
fn facts_of_the_capture() {
    let bytes = small();
    let info = info(&bytes);
    assert_eq!(
        (info.hostname.as_deref(), info.os_release.as_deref()),
        (Some("secret-host"), Some("6.18.1"))
    );
    assert_eq!(
        (info.arch.as_deref(), info.recorder.as_deref()),
        (Some("x86_64"), Some("perf 6.1"))
    );
    assert_eq!((info.cpus_online, info.system_wide, info.data_mmaps), (Some(2), true, true));
    assert_eq!(info.topology.cpus, [(Cpu(0), 0, 0), (Cpu(1), 1, 0)]);
    assert_eq!(info.topology.nodes, [(0, vec![Cpu(0), Cpu(1)])]);
    assert_eq!(info.topology.caches, [[Cpu(0), Cpu(1)]]);
    assert_eq!(
        (info.clock.id, info.clock.wall),
        (Some(ClockId::Monotonic), Some((Nanos(1_000), Nanos(2_000))))
    );
    let types: Vec<_> =
        info.event_types.iter().map(|t| (t.name.as_str(), t.known, t.every)).collect();
    assert_eq!(
        types,
        [
            ("sched:sched_switch", true, true),
            ("raw_syscalls:sys_enter", true, true),
            ("software:minor-faults", true, true),
            ("sched:sched_process_exec", true, true),
            ("made:other", false, true),
        ]
    );
}

#[test]
fn batches_do_not_change_the_result() {
    let mut b = Builder::new();
    for round in 0..50_u64 {
        for cpu in 0..2 {
            for n in 0..8 {
                b.switch(1_000 + round * 100 + n * 10 + u64::from(cpu), cpu, 7, 1, 0);
            }
        }
        b.round();
    }
    let bytes = b.finish();
    let whole = read(&bytes, 1 << 15);
    assert_eq!(whole.0.len(), 800);
    assert_eq!(whole, read(&bytes, 1));
    assert_eq!(whole, read(&bytes, 100));
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(whole, one.install(|| read(&bytes, 10)));
}

#[test]
fn queues_of_cpus_are_merged_in_the_order_of_time_then_of_the_file() {
    let mut b = Builder::new();
    // CPU 2 comes before CPU 0 in the file: of equal times its record is the first.
    b.sys_enter(100, 2, 7, 0).sys_enter(300, 2, 7, 0).sys_enter(300, 0, 8, 0);
    // CPU 1 was not in order, and a record has a number that no CPU has.
    b.sys_enter(400, 1, 9, 0).sys_enter(200, 1, 9, 0).sys_enter(200, 1, 10, 0);
    b.sys_enter(300, 1, 9, 0).sys_enter(250, u32::MAX, 11, 0).sys_enter(300, 1 << 14, 12, 0);
    b.round().round();
    let expect: [(u64, u64); 9] =
        [(0, 100), (4, 200), (5, 200), (7, 250), (1, 300), (2, 300), (6, 300), (8, 300), (3, 400)];
    let expect = expect.map(|(record, time)| format!("#{record} {time}"));
    for batch in [1, 2, 3, 1 << 15] {
        let (lines, _, totals) = read(&b.finish(), batch);
        let short = lines.iter().map(|l| l.split(' ').take(2).collect::<Vec<_>>().join(" "));
        assert_eq!(short.collect::<Vec<_>>(), expect);
        assert_eq!(totals.inversions, 1);
    }
}

/// Runs of any length, equal times within a CPU and between two, and at the end of a round times
/// that are not settled yet.
#[test]
fn the_queues_of_two_cpus_are_merged_in_the_order_of_time_then_of_the_file() {
    let mut b = Builder::new();
    let mut round = |first: &[u64], second: &[u64]| {
        for (cpu, times) in [(1, first), (0, second)] {
            for time in times {
                b.sys_enter(*time, cpu, 7, 0);
            }
        }
        b.round();
    };
    round(&[2, 2, 4, 5, 10, 11, 12], &[1, 2, 3, 5, 5, 9, 9, 20]);
    round(&[13, 20, 21], &[20, 22]);
    round(&[], &[30, 31]);
    let expect = [
        (7, 1),
        (0, 2),
        (1, 2),
        (8, 2),
        (9, 3),
        (2, 4),
        (3, 5),
        (10, 5),
        (11, 5),
        (12, 9),
        (13, 9),
        (4, 10),
        (5, 11),
        (6, 12),
        (16, 13),
        (14, 20),
        (17, 20),
        (19, 20),
        (18, 21),
        (20, 22),
        (22, 30),
        (23, 31),
    ];
    let expect = expect.map(|(record, time)| format!("#{record} {time}"));
    for batch in [1, 2, 3, 5, 1 << 15] {
        let (lines, ..) = read(&b.finish(), batch);
        let short = lines.iter().map(|l| l.split(' ').take(2).collect::<Vec<_>>().join(" "));
        assert_eq!(short.collect::<Vec<_>>(), expect, "{batch}");
    }
}

#[test]
fn progress_reaches_the_end() {
    let mut b = Builder::new();
    for n in 0..1000 {
        b.switch(n, 0, 7, 1, 0).round();
    }
    let bytes = b.finish();
    let unpacked = Unpacked::of(&bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let of = b.data.len() as u64;
    assert_eq!(capture.progress(), Progress { bytes: 0, of });
    let mut last = 0;
    let mut sink = |_: &[Event<'_>]| {
        let now = capture.progress().bytes;
        assert!(now >= last && now <= of);
        last = now;
    };
    capture.read(&mut Diagnostics::default(), &mut sink).unwrap();
    assert_eq!(last, of);
    assert_eq!(capture.progress(), Progress { bytes: of, of });
}

#[test]
fn a_pass_that_is_stopped_counts_what_it_delivered() {
    let mut b = Builder::new();
    for n in 0..200_000 {
        b.switch(n, 0, 7, 1, 0);
        if n % 100 == 0 {
            b.round();
        }
    }
    let bytes = b.finish();
    let unpacked = Unpacked::of(&bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut got = Vec::new();
    let mut sink = |events: &[Event<'_>]| {
        got.extend(events.iter().map(|event| event.time.0));
        capture.stop();
    };
    let totals = capture.read(&mut Diagnostics::default(), &mut sink).unwrap();
    let all: Vec<u64> = (0..got.len() as u64).collect();
    assert_eq!(got, all, "in order, from the first");
    assert_eq!(totals.events, got.len() as u64);
    assert!(got.len() < 100_000, "{} of 200,000 events", got.len());
    assert!(capture.progress().bytes < capture.progress().of);
    // The next pass is whole.
    let totals = capture.read(&mut Diagnostics::default(), &mut |_| {}).unwrap();
    assert_eq!(totals.events, 200_000);
}

#[test]
fn a_record_after_its_round_is_held_to_the_present() {
    let mut b = Builder::new();
    b.switch(100, 0, 7, 1, 0).switch(200, 1, 7, 1, 0).round();
    b.switch(300, 0, 7, 1, 0).round();
    b.switch(310, 0, 7, 1, 0).switch(320, 1, 7, 1, 0).round();
    // After this round everything up to 300 was handed on.
    b.switch(150, 1, 8, 1, 0).switch(400, 0, 7, 1, 0).round();
    // A late record of perf's own is no disorder.
    b.comm(9, b"late\0\0\0\0", 0);
    let (lines, diagnostics, totals) = read(&b.finish(), 1);
    let short = lines.iter().map(|l| l.split(' ').take(3).collect::<Vec<_>>().join(" "));
    let short: Vec<String> = short.collect();
    let expect = ["#0 100 0", "#1 200 1", "#3 300 0", "#8 300 1", "#5 310 0", "#6 320 1"];
    assert_eq!(short, [&expect[..], &["#11 320 -", "#9 400 0"]].concat());
    assert_eq!(diagnostics.count(Problem::OutOfOrder), 1);
    assert_eq!(totals.inversions, 1);
}

#[test]
fn totals_of_lost_samples_count_only_without_lost_records() {
    let lost_samples = |b: &mut Builder| {
        b.sideband(kind::LOST_SAMPLES, 0, &9_u64.to_le_bytes(), 0, 0);
    };
    let mut b = Builder::new();
    b.switch(100, 0, 7, 1, 0);
    lost_samples(&mut b);
    let (lines, diagnostics, totals) = read(&b.finish(), 1 << 15);
    assert!(lines.contains(&"#1 0 - -1/-1 - record:lost_samples lost=9".to_owned()), "{lines:?}");
    assert_eq!((totals.lost, diagnostics.count(Problem::LostEvents)), (9, 9));
    b.lost(4, 120, 0);
    let (_, diagnostics, totals) = read(&b.finish(), 1 << 15);
    assert_eq!((totals.lost, diagnostics.count(Problem::LostEvents)), (4, 4));
}

#[test]
fn an_exited_task_is_known_by_its_payload() {
    let mut b = Builder::new();
    b.switch(100, 0, 7, 0x20, 0);
    // The sample's own ids, as perf writes them for a task that is gone.
    let tid_at = 8 + 16;
    b.data[tid_at..tid_at + 8].copy_from_slice(&[0xff; 8]);
    let (lines, _, _) = read(&b.finish(), 1);
    assert!(lines[0].starts_with("#0 100 0 -1/7 d sched:sched_switch"), "{lines:?}");
    assert!(lines[0].contains("prev_state=Z"), "{lines:?}");
}

#[test]
fn broken_records_are_counted_and_the_rest_is_read() {
    let mut b = Builder::new();
    b.switch(100, 0, 7, 1, 0).sample(100, (7, 7), 110, 0, &[1; 12]).sample(77, (7, 7), 120, 0, &[]);
    b.record(kind::COMM, 0, &[0; 4]).record(17, 0, &[0; 40]).switch(130, 0, 7, 1, 0);
    let whole = b.finish();
    let (lines, diagnostics, _) = read(&whole, 1);
    assert_eq!(lines.len(), 2);
    let count = |p| diagnostics.count(p);
    assert_eq!((count(Problem::BadSample), count(Problem::UnknownSampleId)), (1, 1));
    assert_eq!((count(Problem::BadRecord), count(Problem::UnknownRecord)), (1, 1));
    b.record(9, 0, &[]);
    b.data.truncate(b.data.len() - 4);
    let (lines, diagnostics, _) = read(&b.finish(), 1);
    assert_eq!((lines.len(), diagnostics.count(Problem::Truncated)), (2, 1));
}

#[test]
fn a_killed_recorder_leaves_no_size() {
    let mut b = Builder::new();
    b.with_features = false;
    b.comm(7, b"sh\0\0\0\0\0\0", 0).sample(103, (7, 7), 100, 0, &[]).switch(110, 0, 7, 1, 0);
    let mut bytes = b.finish();
    bytes[48..56].fill(0);
    let (lines, diagnostics, totals) = read(&bytes, 1);
    assert_eq!(lines.len(), 2);
    assert_eq!((totals.events, diagnostics.count(Problem::RecorderKilled)), (2, 1));
    assert_eq!(totals.span, Some((Nanos(100), Nanos(110))));
    // Without features there are no formats, so the switch cannot be decoded.
    assert_eq!(diagnostics.count(Problem::NoFormat), 1);
}

#[test]
fn forms_that_are_not_read_say_so() {
    let open = |bytes: &[u8]| {
        let unpacked = Unpacked::of(bytes).unwrap();
        PerfData::open(&unpacked, None).map(|_| ()).unwrap_err()
    };
    assert!(matches!(open(b"PERFILE"), Error::Malformed { offset: 7, .. }));
    assert!(matches!(open(b"\x7fELF\x02\x01\x01\0"), Error::UnknownFormat { .. }));
    assert!(matches!(open(b"2ELIFREP\0\0\0\0"), Error::Malformed { offset: 12, .. }));
    let pipe = [&b"PERFILE2"[..], &16_u64.to_le_bytes()].concat();
    assert!(matches!(open(&pipe), Error::Malformed { offset: 16, .. }));
}
