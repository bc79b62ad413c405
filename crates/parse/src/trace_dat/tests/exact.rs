//! Built files against values worked out by hand.

use super::build::{OTHER, PAGE, PRINT, Parts, RAW_DATA, event, exit, page, payload, special};
use super::read;
use crate::diagnostics::Problem;
use crate::trace_dat::options::id;
use crate::trace_dat::pages::{Missed, PageLayout, Pages, Step};
use crate::{ClockId, Cpu, Nanos};

const MISSED: u64 = 1 << 31;
const STORED: u64 = 1 << 30;

fn layout() -> PageLayout {
    PageLayout::parse(super::build::HEADER_PAGE.as_bytes()).unwrap()
}

/// Every type of head, with the bytes written out.
#[test]
fn each_type_of_event_header() {
    let mut bytes = vec![
        // The time stamp 1000, and 0x54 bytes of data.
        0xe8, 3, 0, 0, 0, 0, 0, 0, 0x54, 0, 0, 0, 0, 0, 0, 0,
        // 16: data of 2 words, 5 ns later: 5 << 5 | 2.
        0xa2, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2,
        // 28: a time extension of 1 << 27 and 3: 3 << 5 | 30, 1.
        0x7e, 0, 0, 0, 1, 0, 0, 0,
        // 36: data with its length, 8, behind the head: 12 with that word.
        0x20, 0, 0, 0, 12, 0, 0, 0, 3, 3, 3, 3, 4, 4, 4, 4,
        // 52: an event that was discarded, 7 ns later: 7 << 5 | 29; 8 bytes after the head.
        0xfd, 0, 0, 0, 8, 0, 0, 0, 9, 9, 9, 9,
        // 64: an absolute time stamp, 2 << 27 and 9.
        0x3f, 1, 0, 0, 2, 0, 0, 0, // 72: data of 1 word, at that time.
        1, 0, 0, 0, 5, 5, 5, 5, // 80: and of 1 word again, 1 ns later.
        0x21, 0, 0, 0, 6, 6, 6, 6,
        // 88: padding without a time: nothing follows, whatever stands there.
        0x1d, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0,
    ];
    assert_eq!(bytes.len(), 16 + 0x54);
    bytes.resize(PAGE, 0xee);
    let steps: Vec<_> = Pages::new(&bytes, layout()).collect();
    assert_eq!(
        steps,
        [
            Step::Event { at: 16, time: 1005 },
            Step::Event { at: 36, time: 1005 + (1 << 27) + 3 + 1 },
            Step::Event { at: 72, time: (2 << 27) + 9 },
            Step::Event { at: 80, time: (2 << 27) + 10 },
        ]
    );
    let payload = |at| crate::trace_dat::pages::payload(&bytes, at).unwrap();
    assert_eq!(payload(16), [1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(payload(36), [3, 3, 3, 3, 4, 4, 4, 4]);
    assert_eq!(payload(80), [6, 6, 6, 6]);
}

/// An absolute time stamp has 59 bits; the others are those of the time before
/// (`rb_fix_abs_ts`), or one more where that would lead back.
#[test]
fn absolute_times_keep_their_high_bits() {
    let high = 0x10_u64 << 56;
    let events =
        [special(31, 6, 0), event(0, &exit(7, 0, 0)), special(31, 4, 0), event(0, &exit(7, 0, 0))];
    let bytes = page(high | 5, 0, &events, None);
    let times: Vec<_> = Pages::new(&bytes, layout())
        .map(|step| match step {
            Step::Event { time, .. } => time,
            Step::Missed { .. } | Step::Bad { .. } => panic!("{step:?}"),
        })
        .collect();
    assert_eq!(times, [high | 6, (high | 4) + (1 << 59)]);
}

/// A 32-bit kernel: `commit` and the stored count have 4 bytes, the data begin at 12.
#[test]
fn sub_buffers_of_a_32_bit_kernel() {
    let text = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield: char data;\toffset:12;\tsize:4084;\tsigned:0;\n";
    let layout = PageLayout::parse(text.as_bytes()).unwrap();
    let mut bytes = 1000_u64.to_le_bytes().to_vec();
    bytes.extend((8_u32 | 3 << 30).to_le_bytes());
    bytes.extend(event(1, &[1, 2, 3, 4]));
    bytes.extend(77_u32.to_le_bytes());
    bytes.resize(PAGE, 0);
    let steps: Vec<_> = Pages::new(&bytes, layout).collect();
    let missed = Missed::Count(77);
    assert_eq!(steps, [Step::Missed { missed, time: 1001 }, Step::Event { at: 12, time: 1001 }]);
    assert!(PageLayout::parse(b"\tfield: u64 timestamp;\toffset:0;\tsize:4;\n").is_err());
}

#[test]
fn what_contradicts_itself_ends_its_sub_buffer_alone() {
    let long = [0_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
    let mut beyond = event(1, &[0; 8]);
    beyond[0] = 1 << 5 | 28;
    let mut too_long = page(30, 0, &[], None);
    too_long[8..12].copy_from_slice(&5000_u32.to_le_bytes());
    let bytes = [
        page(10, 0, &[event(0, &[0; 4]), long], None),
        page(20, 0, &[beyond], None),
        too_long,
        page(40, 0, &[event(2, &[0; 4])], None),
    ]
    .concat();
    let steps: Vec<_> = Pages::new(&bytes, layout()).collect();
    assert_eq!(
        steps,
        [
            Step::Event { at: 16, time: 10 },
            Step::Bad { at: 24 },
            Step::Bad { at: PAGE + 16 },
            Step::Bad { at: 2 * PAGE },
            Step::Event { at: 3 * PAGE + 16, time: 42 },
        ]
    );
}

/// Two CPUs, merged; names first, what was lost right before what follows it.
#[test]
fn a_whole_capture() {
    let mark = |text: &[u8]| {
        let mut rest = 0_u64.to_le_bytes().to_vec();
        rest.extend(text);
        payload(PRINT, 0, 7, &rest)
    };
    let cpu0 = [
        page(
            1000,
            0,
            &[event(0, &exit(7, 1, 5)), event(10, &mark(b"agenttrace:B|1|sh\n\0"))],
            None,
        ),
        page(2000, MISSED | STORED, &[event(5, &exit(7, 2, -2))], Some(1 << 33)),
        page(2005, MISSED, &[event(0, &exit(7, 3, 0))], None),
    ];
    let raw = payload(RAW_DATA, 0, 9, b"agenttrace:E|1\0");
    let cpu1 = page(
        1000,
        0,
        &[
            event(0, &exit(8, 4, 0)),
            event(7, &payload(OTHER, 0, 8, &[0; 4])),
            event(1, &payload(999, 0, 8, &[0; 4])),
            event(2, &raw),
        ],
        None,
    );
    let mut parts = Parts::new(vec![(1, cpu1), (0, cpu0.concat())]);
    parts.cpus = 3;
    for bytes in [parts.v6(), parts.v7("none"), parts.v7("zlib"), parts.v7("zstd")] {
        let found = read(&bytes);
        assert_eq!(
            found.events,
            [
                "0 - -1/7 - record:comm pid=-1 tid=7 exec=0 comm=\"sh\"",
                "1000 0 -1/7 . raw_syscalls:sys_exit id=1 ret=5",
                "1000 1 -1/8 . raw_syscalls:sys_exit id=4 ret=0",
                "1010 0 -1/7 . ftrace:print buf=\"agenttrace:B|1|sh\"",
                "1010 1 -1/9 . ftrace:print buf=\"agenttrace:E|1\"",
                "2005 0 -1/-1 - record:lost lost=8589934592",
                "2005 0 -1/7 . raw_syscalls:sys_exit id=2 ret=-2",
                "2005 0 -1/-1 - record:lost lost=1",
                "2005 0 -1/7 . raw_syscalls:sys_exit id=3 ret=0",
            ]
        );
        assert_eq!((found.totals.events, found.totals.records), (8, 11));
        assert_eq!(found.totals.span, Some((Nanos(1000), Nanos(2005))));
        assert_eq!((found.totals.lost, found.totals.inversions), ((1 << 33) + 1, 0));
        let problems: Vec<_> = found.diagnostics.iter().map(|(p, c, n)| (p, c, n.count)).collect();
        assert_eq!(
            problems,
            [
                (Problem::UnknownEvent, Cpu::NONE, 1),
                (Problem::UnknownSampleId, Cpu(1), 1),
                (Problem::LostEvents, Cpu(0), (1 << 33) + 1),
            ]
        );
        let info = found.info;
        assert_eq!((info.format, info.cpus_online), ("trace.dat", Some(3)));
        assert_eq!(info.os_release.as_deref(), Some("6.18.1"));
        assert_eq!(info.hostname.as_deref(), Some("host"));
        assert_eq!(info.arch.as_deref(), Some("x86_64"));
        assert_eq!(info.recorder.as_deref(), Some("trace-cmd 3.2"));
        assert_eq!((info.clock.id, info.clock.wall), (Some(ClockId::Monotonic), None));
        let types: Vec<_> =
            info.event_types.iter().map(|t| (t.name.as_str(), t.known, t.every)).collect();
        assert_eq!(
            types,
            [
                ("ftrace:print", true, true),
                ("ftrace:raw_data", true, true),
                ("raw_syscalls:sys_exit", true, true),
                ("other:thing", false, true),
            ]
        );
        assert!(!info.fidelity.processes && info.fidelity.context);
        assert_eq!(info.fidelity.resolution, Nanos(1));
    }
}

/// What the ring overwrote counts once: where the sub-buffers tell, by them.
#[test]
fn statistics_tell_what_sub_buffers_do_not() {
    let stat = |text: &str| (id::CPUSTAT, format!("{text}\0").into_bytes());
    let lost = |flags, stored, text: &str| {
        let data = page(50, flags, &[event(1, &exit(7, 1, 0))], stored);
        let mut parts = Parts::new(vec![(1, data)]);
        parts.cmdlines.clear();
        parts.options.push(stat(text));
        read(&parts.v7("none")).events
    };
    let event = "51 1 -1/7 . raw_syscalls:sys_exit id=1 ret=0";
    let record = |n: u64| format!("51 1 -1/-1 - record:lost lost={n}");
    let overrun = "CPU: 1\noverrun: 9\ndropped events: 0";
    assert_eq!(lost(MISSED | STORED, Some(9), overrun), [record(9).as_str(), event]);
    assert_eq!(lost(MISSED, None, overrun), [record(9).as_str(), event]);
    assert_eq!(lost(0, None, overrun), [record(9).as_str(), event]);
    assert_eq!(lost(0, None, "CPU: 0\noverrun: 9"), [event]);
    assert_eq!(
        lost(0, None, "CPU: 1\ndropped events: 4"),
        [event, "51 1 -1/-1 - record:lost_samples lost=4"]
    );
}

/// Names of processes where gpuvis's recorder saved them; two buffers in one file.
#[test]
fn saved_processes_and_a_second_buffer() {
    let one = page(100, 0, &[event(0, &exit(8, 1, 0))], None);
    let other = page(99, 0, &[event(0, &exit(7, 2, 0)), event(2, &exit(8, 3, 0))], None);
    let mut parts = Parts::new(vec![(0, one)]);
    parts.options.push((id::SAVED_TGIDS, b"7 7\n8 7\n".to_vec()));
    parts.options.push((99, b"from the future".to_vec()));
    parts.buffers.push(super::build::BufferParts {
        name: "agent",
        clock: "mono",
        cpus: vec![(0, other)],
    });
    for bytes in [parts.v6(), parts.v7("none"), parts.v7("zstd")] {
        let found = read(&bytes);
        assert_eq!(
            found.events,
            [
                "0 - 7/7 - record:comm pid=7 tid=7 exec=0 comm=\"sh\"",
                "99 0 7/7 . raw_syscalls:sys_exit id=2 ret=0",
                "100 0 7/8 . raw_syscalls:sys_exit id=1 ret=0",
                "101 0 7/8 . raw_syscalls:sys_exit id=3 ret=0",
            ]
        );
        assert_eq!(found.info.buffers, ["agent"]);
        assert!(found.info.fidelity.processes);
    }
    parts.buffers[1].clock = "boot";
    let bytes = parts.v7("none");
    let error = super::super::unpack(
        &bytes,
        &mut crate::expand::Budget::new(&crate::Limits::default(), bytes.len() as u64),
    )
    .map(|sections| {
        super::super::TraceDat::open(&bytes, &sections, &crate::ReadOptions::default())
            .unwrap_err()
            .to_string()
    });
    assert!(error.unwrap().contains("different clocks (mono and boot)"));
}

/// `--date` gives microseconds to add, `--ts-offset` nanoseconds.
#[test]
fn clock_options() {
    let data = page(1_000, 0, &[event(0, &exit(7, 1, 0))], None);
    let with = |options: &[(u16, &[u8])]| {
        let mut parts = Parts::new(vec![(0, data.clone())]);
        parts.options.extend(options.iter().map(|(id, body)| (*id, body.to_vec())));
        let found = read(&parts.v6());
        (found.totals.span.unwrap().0.0, found.info.clock.id, found.info.clock.wall)
    };
    let mono = Some(ClockId::Monotonic);
    assert_eq!(with(&[]), (1_000, mono, None));
    assert_eq!(with(&[(id::OFFSET, b"-400\0")]), (600, None, None));
    let wall = Some((Nanos(2_000_000), Nanos(2_000_000)));
    assert_eq!(with(&[(id::DATE, b"0x7d0\0")]), (2_001_000, None, wall));
}
