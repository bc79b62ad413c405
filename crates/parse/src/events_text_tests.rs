//! Every event that the analysis knows, written and read back.

use crate::events::{Marker, Print, Row, TABLE, row};
use crate::fields::Text;
use crate::format::{Layout, Place, Slot};
use crate::print_fmt::StateTable;
use crate::support_tests::Random;
use crate::{
    Capture, CaptureInfo, ClockId, Context, Cpu, Diagnostics, Error, Event, Kind, Nanos, Pid,
    ReadOptions, Tid, Totals, Unpacked, write_event, write_events_header,
};

const SPACING: usize = 48;

/// Some value of a row: its fields are read from random bytes, as integers or strings
/// of `size` bytes; the arguments of a system call as six words.
fn some_kind<'a>(row: &Row, raw: &'a [u8], size: usize) -> Option<Kind<'a>> {
    let slot = |index: usize| {
        let words = row.fields[index] == ["args"];
        Slot {
            offset: index * SPACING,
            size: if words { SPACING } else { size },
            signed: index.is_multiple_of(2),
            place: Place::Here,
            element: if words { 8 } else { size },
        }
    };
    let slots = (0..row.fields.len()).map(|i| Some(slot(i))).collect();
    let layout = Layout { slots, states: Some(StateTable::new("", None)) };
    let mut kind = Kind::Marker(Marker::Print(Print { buf: Text(b"not decoded") }));
    (row.decode.binary)(raw, &layout, &mut kind).map(|()| kind)
}

#[test]
fn every_row_reads_back() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for row in TABLE.iter().flat_map(|rows| rows.iter()) {
        for round in 0..200_u64 {
            let mut raw = vec![0_u8; SPACING * row.fields.len()];
            for byte in &mut raw {
                // Printable, escaped and NUL bytes alike.
                *byte = if round % 2 == 0 {
                    b' ' + (random.next() % 95) as u8
                } else {
                    random.next() as u8
                };
            }
            let size = if round / 2 % 2 == 0 { 8 } else { 4 };
            let kind = some_kind(row, &raw, size);
            let kind = kind.unwrap_or_else(|| panic!("{} has no value", row.name));
            let event = Event {
                record: 2,
                time: Nanos(random.next()),
                cpu: [Cpu::NONE, Cpu(random.next() as u32 % 9000)][(round % 2) as usize],
                pid: Pid(random.next() as i32),
                tid: Tid(random.next() as i32),
                context: if round % 3 == 0 {
                    Context::UNKNOWN
                } else {
                    Context::from_flags(round as u8)
                },
                agent_step_id: if round % 5 == 0 { random.next() } else { 0 },
                kind,
            };
            let mut text = "# agenttrace.events/1\n".to_owned();
            write_event(&event, &mut text);
            let unpacked = Unpacked::of(text.as_bytes()).unwrap();
            let capture = Capture::open(&unpacked, &ReadOptions::default())
                .unwrap_or_else(|e| panic!("{e}: {text}"));
            let mut seen = 0;
            let mut diagnostics = Diagnostics::default();
            capture
                .read(&mut diagnostics, &mut |events| {
                    assert_eq!(events, [event], "{text}");
                    seen += events.len();
                })
                .unwrap();
            assert_eq!(seen, 1);
        }
    }
}

fn read(text: &str) -> (Vec<String>, Totals) {
    let unpacked = Unpacked::of(text.as_bytes()).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut lines = Vec::new();
    let mut diagnostics = Diagnostics::default();
    let totals = capture
        .read(&mut diagnostics, &mut |events| {
            for event in events {
                let mut line = format!("{}: ", event.record);
                write_event(event, &mut line);
                lines.push(line);
            }
        })
        .unwrap();
    (lines, totals)
}

#[test]
fn a_hand_made_case() {
    let text = "# agenttrace.events/1\n# clock monotonic\n# release 6.18\n# cpus 2\n# node 0 0,1\n\
        # event sched:sched_waking\n# event software:minor-faults sampled\n# just a remark\n\n\
        300 1 7/7 - software:minor-faults addr=0x10 period=1\n\
        100 0 7/7 . raw_syscalls:sys_enter id=0 args=3,7f00,1000,0,0,0   \n\
        \t200 0 7/8 dh irq:irq_handler_entry name=\"virtio 0\" irq=24\n\
        300 0 -1/0 - record:lost lost=4\r\n";
    let unpacked = Unpacked::of(text.as_bytes()).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let info = capture.info();
    assert_eq!(
        (info.format, info.cpus_online, info.os_release.as_deref()),
        ("events", Some(2), Some("6.18"))
    );
    assert_eq!(info.clock.id, Some(ClockId::Monotonic));
    assert_eq!(info.topology.nodes, [(0, vec![Cpu(0), Cpu(1)])]);
    let types: Vec<_> = info.event_types.iter().map(|t| (t.name.as_str(), t.every)).collect();
    assert_eq!(
        types,
        [
            ("sched:sched_waking", true),
            ("software:minor-faults", false),
            ("raw_syscalls:sys_enter", true),
            ("irq:irq_handler_entry", true),
        ]
    );
    let (lines, totals) = read(text);
    assert_eq!(
        lines,
        [
            "11: 100 0 7/7 . raw_syscalls:sys_enter id=0 args=3,7f00,1000,0,0,0",
            "12: 200 0 7/8 dh irq:irq_handler_entry irq=24 name=\"virtio 0\"",
            "10: 300 1 7/7 - software:minor-faults addr=0x10 period=1",
            "13: 300 0 -1/0 - record:lost lost=4",
        ]
    );
    assert_eq!((totals.events, totals.lost, totals.span), (3, 4, Some((Nanos(100), Nanos(300)))));
    assert_eq!(totals.by_type, [0, 1, 1, 1]);
}

#[test]
fn the_header_reads_back() {
    let mut info = CaptureInfo {
        format: "events",
        text: true,
        hostname: Some("h".to_owned()),
        os_release: Some("6.18.1".to_owned()),
        arch: Some("x86_64".to_owned()),
        recorder: Some("perf 6.1".to_owned()),
        cpus_online: Some(2),
        data_mmaps: true,
        ..CaptureInfo::default()
    };
    info.topology.cpus = vec![(Cpu(0), 0, 0), (Cpu(1), 1, 0)];
    info.topology.nodes = vec![(0, vec![Cpu(0), Cpu(1)])];
    info.topology.caches = vec![vec![Cpu(0), Cpu(1)]];
    info.clock.id = Some(ClockId::Local);
    info.clock.wall = Some((Nanos(1), Nanos(2)));
    info.fidelity = crate::Fidelity { resolution: Nanos(1000), context: false, processes: false };
    for (name, known, every) in [("sched:sched_switch", true, true), ("made:up", false, false)] {
        info.event_types.push(crate::EventType { name: name.to_owned(), known, every });
    }
    let mut text = String::new();
    write_events_header(&info, &mut text);
    info.bytes = text.len() as u64;
    let unpacked = Unpacked::of(text.as_bytes()).unwrap();
    assert_eq!(*Capture::open(&unpacked, &ReadOptions::default()).unwrap().info(), info);
}

#[test]
fn errors_name_line_and_key() {
    let cases = [
        ("x 0 1/1 . block:block_plug", "time: cannot read \"x\""),
        ("1 x 1/1 . block:block_plug", "cpu: cannot read \"x\""),
        ("1 0 1 . block:block_plug", "pid/tid: cannot read \"1\""),
        ("1 0 1/1 xy block:block_plug", "flags: cannot read \"xy\""),
        ("1 0 1/1 .", "name is missing"),
        ("1 0 1/1 . block:nothing", "name: no event is called"),
        ("1 0 1/1 . block:block_plug x=1", "x: block:block_plug has no such field"),
        ("1 0 1/1 . block:block_unplug", "nr_rq: missing or unreadable in block:block_unplug"),
        ("1 0 1/1 . block:block_unplug nr_rq=many", "nr_rq: missing or unreadable"),
        ("1 0 1/1 . block:block_unplug nr_rq", "\"nr_rq\" is no key=value"),
        ("1 0 1/1 . task:task_rename newcomm=\"a", "newcomm: the closing quote is missing"),
        ("1 0 1/1 . task:task_rename newcomm=\"\\x\"", "newcomm: broken escape"),
        ("1 0 1/1 . irq:softirq_entry vec=1 agent_step_id=x", "agent_step_id: no number"),
        ("# clock sundial", "clock: \"sundial\" is no clock"),
        ("# cpus many", "cpus: \"many\" is no number"),
        ("# resolution 0", "resolution: nanoseconds from 1"),
    ];
    for (line, expect) in cases {
        let text = format!("# agenttrace.events/1\n\n{line}\n");
        let unpacked = Unpacked::of(text.as_bytes()).unwrap();
        match Capture::open(&unpacked, &ReadOptions::default()) {
            Err(Error::Line { line: 3, what }) => {
                assert!(what.starts_with(expect), "{line}: {what}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    assert!(row("block:block_plug").is_some());
}
