//! Stacks of built files, each with the event that it belongs to.

use super::build::{OTHER, Parts, event, exit, format, page, payload};
use crate::stack::{Mode, StackEvent, StackRecord};
use crate::{Capture, Diagnostics, ReadOptions, Tid, Unpacked};

const KERNEL_STACK: u16 = 4;
const USER_STACK: u16 = 13;
/// Of `common_flags`: in a hard interrupt.
const HARDIRQ: u8 = 8;

/// With the formats of Linux 6.18, or of a kernel that did not tell the size.
fn parts(sized: bool, cpus: Vec<(u32, Vec<u8>)>) -> Parts {
    let mut parts = Parts::new(cpus);
    let caller = "\tfield:unsigned long caller[8];\toffset:16;\tsize:64;\tsigned:0;\n";
    let first = |text: &str| format!("\tfield:{text};\toffset:8;\tsize:4;\tsigned:1;\n");
    let size = if sized { first("int size") } else { first("int old") };
    parts.ftrace.push(format("kernel_stack", KERNEL_STACK, &(size + caller)));
    let tgid = first("unsigned int tgid");
    parts.ftrace.push(format("user_stack", USER_STACK, &(tgid + caller)));
    parts
}

/// `behind` are words that the size does not count.
fn stack(number: u16, flags: u8, tid: i32, ips: &[u64], behind: &[u64]) -> Vec<u8> {
    let mut rest = (ips.len() as u32).to_le_bytes().to_vec();
    rest.extend([0; 4]);
    ips.iter().chain(behind).for_each(|ip| rest.extend(ip.to_le_bytes()));
    payload(number, flags, tid, &rest)
}

fn shown(event: &StackEvent<'_>, types: &[crate::EventType]) -> Option<String> {
    let StackRecord::Sample(sample) = &event.what else { return None };
    let frames: Vec<String> = sample
        .chain
        .frames()
        .map(|frame| {
            let mode = if frame.mode == Mode::User { "u" } else { "k" };
            format!("{mode}{:x}", frame.ip.unwrap())
        })
        .collect();
    let name = &types[sample.event_type].name;
    let Tid(tid) = event.tid;
    let known = if sample.kind.is_some() { "" } else { " ?" };
    Some(format!("{} {} {tid} {name}{known} {}", event.time.0, event.cpu.0, frames.join(",")))
}

fn read(bytes: &[u8]) -> (Vec<String>, Option<Vec<u8>>) {
    let unpacked = Unpacked::of(bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    assert!(capture.has_stacks());
    let mut lines = Vec::new();
    let mut diagnostics = Diagnostics::default();
    let types = &capture.info().event_types;
    capture
        .read_stacks(&mut diagnostics, &mut |events| {
            lines.extend(events.iter().filter_map(|event| shown(event, types)));
        })
        .unwrap();
    assert_eq!(diagnostics.iter().count(), 0);
    (lines, capture.kallsyms().map(<[u8]>::to_vec))
}

fn two_cpus() -> Vec<(u32, Vec<u8>)> {
    let cpu0 = [
        event(0, &exit(7, 1, 2)), // 1000
        event(2, &payload(OTHER, HARDIRQ, 7, &[0; 4])),
        event(1, &stack(KERNEL_STACK, HARDIRQ, 7, &[0xb1, 0xb2], &[0xdead])),
        event(3, &stack(KERNEL_STACK, 0, 7, &[0xa1], &[])), // 1006
        event(1, &stack(USER_STACK, 0, 7, &[0xaa, 0xab, 0, 0], &[])),
        // Another task's, and one too many: neither belongs to the event.
        event(1, &stack(KERNEL_STACK, 0, 9, &[0xe1], &[])),
        event(1, &stack(KERNEL_STACK, 0, 7, &[0xe2], &[])),
        event(1, &exit(7, 3, 4)), // 1010
        // Its event has gone: the CPU went on below.
        event(1, &stack(KERNEL_STACK, HARDIRQ, 7, &[0xe3], &[])),
    ];
    let cpu1 = [
        event(0, &exit(8, 5, 6)), // 1001
        event(4, &stack(KERNEL_STACK, 0, 8, &[0xd1], &[])),
    ];
    vec![(0, page(1000, 0, &cpu0, None)), (1, page(1001, 0, &cpu1, None))]
}

#[test]
fn a_stack_goes_to_its_event() {
    let expected = [
        "1000 0 7 raw_syscalls:sys_exit ka1,uaa,uab",
        "1001 1 8 raw_syscalls:sys_exit kd1",
        "1002 0 7 other:thing ? kb1,kb2",
        "1008 0 9 ftrace:kernel_stack ? ke1",
        "1009 0 7 ftrace:kernel_stack ? ke2",
        "1010 0 7 raw_syscalls:sys_exit ",
        "1011 0 7 ftrace:kernel_stack ? ke3",
    ];
    let mut parts = parts(true, two_cpus());
    assert_eq!(read(&parts.v6()), (expected.map(str::to_owned).to_vec(), None));
    // Every container carries the symbols too.
    parts.kallsyms = b"ffffffff81000000 T _stext\nffffffff81000010 t f\n".to_vec();
    for bytes in [parts.v6(), parts.v7("none"), parts.v7("zlib"), parts.v7("zstd")] {
        let (lines, kallsyms) = read(&bytes);
        assert_eq!(lines, expected);
        assert_eq!(kallsyms.as_ref(), Some(&parts.kallsyms));
    }
}

/// An old kernel ends a stack by `ULONG_MAX`, or by the record's end.
#[test]
fn stacks_without_a_size() {
    let events = [
        event(0, &exit(7, 1, 2)),
        event(1, &stack(KERNEL_STACK, 0, 7, &[0xa1, 0xa2, u64::MAX], &[])),
    ];
    let bytes = parts(false, vec![(0, page(1000, 0, &events, None))]).v6();
    assert_eq!(read(&bytes).0, ["1000 0 7 raw_syscalls:sys_exit ka1,ka2"]);
}

/// A size that cannot be is not believed.
#[test]
fn a_size_beyond_the_record() {
    let mut hostile = stack(KERNEL_STACK, 0, 7, &[0xa1], &[]);
    hostile[8..12].copy_from_slice(&i32::MAX.to_le_bytes());
    let events = [event(0, &exit(7, 1, 2)), event(1, &hostile)];
    let bytes = parts(true, vec![(0, page(1000, 0, &events, None))]).v6();
    assert_eq!(read(&bytes).0, ["1000 0 7 raw_syscalls:sys_exit ka1"]);
}

/// A CPU that goes to sleep behind an event holds the others back for so long only.
#[test]
fn an_idle_cpu_holds_nothing_back_for_ever() {
    let quiet = page(1000, 0, &[event(0, &exit(8, 0, 0))], None);
    let busy: Vec<u8> = (0..100_u64)
        .flat_map(|n| {
            let events: Vec<_> = (0..100).flat_map(|_| [event(1, &exit(7, 0, 0))]).collect();
            page(2000 + n * 1000, 0, &events, None)
        })
        .collect();
    let mut parts = parts(true, vec![(0, quiet), (1, busy)]);
    parts.cpus = 2;
    let bytes = parts.v6();
    let unpacked = Unpacked::of(&bytes).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut times = Vec::new();
    let mut largest = 0;
    capture
        .read_stacks(&mut Diagnostics::default(), &mut |events| {
            largest = largest.max(events.len());
            times.extend(events.iter().map(|event| event.time.0));
        })
        .unwrap();
    assert_eq!(times.iter().filter(|t| **t >= 1000).count(), 10_001);
    assert!(times.is_sorted());
    assert!(largest < 10_000, "{largest}");
}
