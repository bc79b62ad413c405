//! What goes in comes out, and what fits takes 32 bytes.

use agenttrace_parse::Calibration;

use super::*;
use crate::reclaim::{DirtyPause, ReclaimKind, ReclaimOp};

fn call(nr: i32, arg0: u64) -> SyscallOp {
    SyscallOp::new(nr, &agenttrace_parse::Args([arg0, 0, 0, 0, 0, 0]))
}

fn op(start: u64, end: u64, parent: Option<usize>, kind: OpKind) -> Op {
    let mut op = Op::new(Nanos(start), parent, kind);
    op.end = Nanos(end);
    op
}

/// How many of these operations were kept whole; asserts that all come out as they went in.
fn kept_whole(list: &[Op]) -> usize {
    let mut ops = Ops::default();
    for op in list {
        ops.push(op);
    }
    let got: Vec<Op> = ops.iter().collect();
    assert_eq!(got, list);
    for (index, op) in list.iter().enumerate() {
        assert_eq!(ops.start(index), Some(op.start));
        assert_eq!(ops.end(index), Some(op.end));
        assert_eq!(ops.parent(index), op.parent());
        assert_eq!(ops.before(op.start), list.iter().filter(|o| o.start < op.start).count());
        assert_eq!(ops.up_to(op.start), list.iter().filter(|o| o.start <= op.start).count());
        let settled = ops.settled();
        assert_eq!((settled.get(index), settled.start(index)), (Some(*op), op.start));
        assert_eq!((settled.end(index), settled.parent(index)), (op.end, op.parent()));
        assert_eq!(settled.is_estimated(index), (op.estimated, op.fault().is_some()));
        let took = (op.end != Nanos::MAX).then(|| op.duration());
        assert_eq!((settled.call(index), settled.took(index)), (op.syscall(), took));
        assert_eq!(settled.reads(index), op.reads);
    }
    let (settled, none) = (ops.settled(), list.len());
    assert_eq!((settled.len(), settled.is_empty()), (none, list.is_empty()));
    assert_eq!((settled.get(none), settled.parent(none)), (None, None));
    assert_eq!((settled.start(none), settled.end(none)), (Nanos::MAX, Nanos::MAX));
    assert_eq!(settled.is_estimated(none), (false, false));
    assert_eq!((settled.call(none), settled.took(none), settled.reads(none)), (None, None, false));
    ops.whole.len()
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Packed>(), 32);
}

#[test]
fn calls_with_every_flag_come_out_as_they_went_in() {
    let mut list = Vec::new();
    for bit in 0..16_u64 {
        let mut c = call(bit as i32 * 31, 0x7fff_1234_5678 + bit);
        c.continued = bit == 1;
        c.mark = bit == 2;
        c.thread = bit == 3;
        c.no_entry = bit == 4;
        c.lock = bit == 5;
        c.ret = [None, Some(0), Some(-512), Some(i64::from(i32::MAX)), Some(i64::from(i32::MIN))]
            [bit as usize % 5];
        c.fd = FdKind::ALL[bit as usize % FdKind::ALL.len()];
        if bit % 3 == 0 {
            (c.arg0, c.opened) = (u64::from(u32::MAX) - bit, NonZeroU32::new(bit as u32 + 1));
        }
        let mut op = op(1000 + bit * 10, 1005 + bit * 10, None, OpKind::Syscall(c));
        op.estimated = bit == 6;
        op.reads = bit == 7;
        op.writes = bit == 8;
        op.gap = [0, 1, u32::MAX][bit as usize % 3];
        list.push(op);
    }
    assert_eq!(kept_whole(&list), 0);
}

#[test]
fn kinds_of_fds_and_locks_are_listed_by_their_numbers() {
    for (at, kind) in FdKind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, at);
    }
    for (at, kind) in LockKind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, at);
    }
    assert!(FdKind::ALL.len() <= 16);
}

#[test]
fn faults_of_files_and_of_the_kernel_come_out_as_they_went_in() {
    let fault = |address, file, page, major| FaultOp {
        address: Addr(address),
        error_code: 0x97,
        file,
        major,
        page,
        around: page == Some(7),
    };
    let list: Vec<Op> = [
        fault(0x7fff_ffff_f123, None, None, None),
        fault(0xffff_8880_0000_1234, Some(0), Some(0), Some(false)),
        fault(0, Some(65_534), Some(7), Some(true)),
        fault(0x5555_0000_0000, Some(65_535), Some(u32::MAX), Some(true)),
        fault(0x5555_0000_0000, Some(FILES - 2), None, Some(false)),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, f)| op(50 + n as u64, 60, None, OpKind::Fault(f)))
    .collect();
    assert_eq!(kept_whole(&list), 0);
    // An address that no machine has, and a file with too large a number.
    let odd =
        [fault(0x1234_5678_9abc_def0, None, None, None), fault(0, Some(FILES - 1), None, None)]
            .map(|f| op(50, 60, None, OpKind::Fault(f)));
    assert_eq!(kept_whole(&odd), 2);
}

#[test]
fn the_page_of_a_fault_is_told_packed_and_whole() {
    let fault = |address, file| {
        let (error_code, major, page) = (4, None, None);
        let fault = FaultOp { address, error_code, file, major, page, around: false };
        op(100, 200, None, OpKind::Fault(fault))
    };
    let mut ops = Ops::default();
    let kernel = 0xffff_8880_1234_5678;
    for op in [
        fault(Addr(0x7fff_1234_5678), Some(1 << 20)),
        fault(Addr(kernel), None),
        fault(Addr(0x7fff_1234_5678), Some(u32::MAX - 1)),
        op(100, 200, None, OpKind::Lock { addr: Addr(0x7fff_1234_5678), kind: LockKind::Mutex }),
    ] {
        ops.push(&op);
    }
    assert_eq!(ops.whole.len(), 1);
    let pages = |address| [0, 1, 2, 3, 4].map(|index| ops.is_of_page(index, Addr(address)));
    assert_eq!(pages(0x7fff_1234_5fff), [true, false, true, false, false]);
    assert_eq!(pages(0x7fff_1234_6000), [false; 5]);
    assert_eq!(pages(0x7fff_1234_4fff), [false; 5]);
    assert_eq!(pages(0x7ffe_1234_5678), [false; 5]);
    assert_eq!(pages(kernel & !0xfff), [false, true, false, false, false]);
    // Not an address: its upper bits differ.
    assert_eq!(pages(0x1_7fff_1234_5678), [false; 5]);
    assert_eq!(pages(0x8880_1234_5678), [false; 5]);
}

#[test]
fn the_other_kinds_come_out_as_they_went_in() {
    let large = 0xffff_8881_0203_0405;
    let reclaim =
        ReclaimOp { kind: ReclaimKind::Cgroup, pages: Some(3), throttled_us: 4, throttles: 5 };
    let pause = DirtyPause { bdi: Some(1), dirty: Some(2), limit: None };
    let kinds = [
        OpKind::Lock { addr: Addr(large), kind: LockKind::Mutex },
        OpKind::Irq(9),
        OpKind::Softirq(3),
        OpKind::LocalTimer,
        OpKind::Work(Addr(large)),
        OpKind::Commit { dev: Dev(0x0fe0_0001), transaction: 77 },
        OpKind::SyncFile { dev: Dev(0x0fe0_0001), ino: large },
        OpKind::Exit,
        OpKind::TlbWait(12),
        OpKind::Reclaim(reclaim),
        OpKind::DirtyPause(pause),
    ];
    let list: Vec<Op> = kinds
        .into_iter()
        .enumerate()
        .map(|(n, kind)| op(5 + n as u64, 99, n.checked_sub(1), kind))
        .collect();
    assert_eq!(kept_whole(&list), 2);
}

#[test]
fn what_does_not_fit_is_kept_whole() {
    let c = OpKind::Syscall(call(1, 2));
    let day = 86_400_000_000_000;
    let mut far = call(1, 1 << 40);
    far.opened = NonZeroU32::new(1);
    let mut address = call(12, 1 << 40);
    address.ret = Some(0x7f00_0000_0000);
    let mut opened = call(8, 3);
    (opened.opened, opened.ret) = (NonZeroU32::new(1), Some(1 << 40));
    let odd = [
        op(0, 3, None, c),
        // The base is the first start that is not zero.
        op(10 * day, 10 * day + 1, None, c),
        // Three days and six hours later: 48 bits of nanoseconds.
        op(14 * day, 14 * day + 1, None, c),
        op(14 * day + 1, 14 * day + 1 + u64::from(u32::MAX), None, c),
        // Ends before it starts.
        op(14 * day + 2, 14 * day, None, c),
        op(14 * day + 3, 14 * day + 4, None, OpKind::Syscall(call(-1, 0))),
        op(14 * day + 3, 14 * day + 4, None, OpKind::Syscall(call(1 << 13, 0))),
        op(14 * day + 3, 14 * day + 4, None, OpKind::Syscall(far)),
        op(14 * day + 3, 14 * day + 4, None, OpKind::Syscall(address)),
        op(14 * day + 3, 14 * day + 4, None, OpKind::Syscall(opened)),
    ];
    assert_eq!(kept_whole(&odd), 9);
    let near = [
        op(10 * day, 10 * day + u64::from(u32::MAX) - 1, None, c),
        op(13 * day, Nanos::MAX.0, Some(0), c),
    ];
    assert_eq!(kept_whole(&near), 0);
}

#[test]
fn a_parent_that_is_far_back_is_kept() {
    let mut list = vec![op(1, 1 << 20, None, OpKind::Exit)];
    for n in 1..=65_537_u64 {
        list.push(op(1 + n, 1 + n, Some(0), OpKind::LocalTimer));
    }
    let mut ops = Ops::default();
    for op in &list {
        ops.push(op);
    }
    assert_eq!(ops.whole.len(), 2);
    for index in [1, 65_535, 65_536, 65_537] {
        assert_eq!(ops.parent(index), Some(0));
        assert_eq!(ops.get(index), list.get(index).copied());
    }
}

#[test]
fn changes_reach_packed_and_whole_ones_alike() {
    let mut ops = Ops::default();
    let c = OpKind::Syscall(call(9, 1 << 32));
    ops.push(&op(10, Nanos::MAX.0, None, c));
    ops.push(&op(20, 30, Some(0), OpKind::LocalTimer));
    ops.set_gap(1, 5);
    assert_eq!(ops.get(1).map(|op| op.gap), Some(5));
    // Its result takes more than 32 bits, as its argument does: it moves.
    for (end, ret) in [(40, 0x7f00_0000_0000), (41, 3)] {
        ops.edit(0, |op| {
            op.end = Nanos(end);
            if let OpKind::Syscall(call) = &mut op.kind {
                call.ret = Some(ret);
            }
        });
        let got = ops.get(0).unwrap();
        assert_eq!((got.end, got.syscall().unwrap().ret), (Nanos(end), Some(ret)));
        assert_eq!(ops.whole.len(), 1);
    }
    ops.set_gap(0, 6);
    assert_eq!(ops.get(0).map(|op| op.gap), Some(6));
    // Nothing is there.
    ops.set_gap(2, 1);
    ops.edit(2, |op| op.gap = 1);
    assert_eq!((ops.len(), ops.get(2)), (2, None));
}

#[test]
fn an_iterator_goes_from_both_ends_and_skips() {
    let mut ops = Ops::default();
    for n in 0..10 {
        ops.push(&op(100 + n, 200, None, OpKind::Irq(n as u32)));
    }
    let number = |op: Op| (op.start.0 - 100) as usize;
    assert_eq!(ops.range(2..5).map(number).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(ops.range(8..50).rev().map(number).collect::<Vec<_>>(), [9, 8]);
    assert_eq!(ops.range(50..60).len(), 0);
    assert_eq!(ops.iter().skip(7).map(number).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(ops.iter().take(4).rev().map(number).collect::<Vec<_>>(), [3, 2, 1, 0]);
    assert_eq!((&ops).into_iter().len(), 10);
}

#[test]
fn what_began_before_the_capture_starts_at_zero_still() {
    let kind = OpKind::Syscall(call(0, 3));
    let list = [op(0, 1_700, None, kind), op(0, 1_800, None, kind), op(2_500, 2_600, None, kind)];
    assert_eq!(kept_whole(&list), 2);
}

#[test]
fn what_ends_and_returns_is_changed_where_it_lies() {
    let address = Addr(0x7000);
    let fault =
        FaultOp { address, error_code: 4, file: None, major: None, page: None, around: false };
    let mut ops = Ops::default();
    assert_eq!(ops.push(&op(100, Nanos::MAX.0, None, OpKind::Syscall(call(0, 3)))), 0);
    assert_eq!(ops.push(&op(150, Nanos::MAX.0, Some(0), OpKind::Fault(fault))), 1);
    assert_eq!(ops.push(&op(200, Nanos::MAX.0, None, OpKind::Syscall(call(0, 3)))), 2);
    assert_eq!([0, 1, 9].map(|index| ops.is_call(index)), [true, false, false]);
    assert_eq!([0, 1, 9].map(|index| ops.is_fault(index)), [false, true, false]);
    ops.set_major(1, true);
    ops.set_major(1, false);
    assert_eq!(ops.close(1, Nanos(160), true), Some(Nanos(160)));
    // A second end stands, and so does what it tells of the first.
    assert_eq!(ops.close(1, Nanos(170), false), Some(Nanos(170)));
    // Before its begin it cannot have ended.
    assert_eq!(ops.close(0, Nanos(90), false), Some(Nanos(100)));
    ops.set_ret(0, -11);
    let got = |ops: &Ops, index| {
        let op: Op = ops.get(index).unwrap();
        (op.end.0, op.estimated, op.syscall().and_then(|c| c.ret), op.fault().and_then(|f| f.major))
    };
    assert_eq!(got(&ops, 0), (100, false, Some(-11), None));
    assert_eq!(got(&ops, 1), (170, false, None, Some(false)));
    assert_eq!(ops.whole.len(), 0);
    // More than 32 bits: longer than four seconds, and a result that is an address.
    let late = 200 + u64::from(u32::MAX);
    assert_eq!(ops.close(2, Nanos(late), true), Some(Nanos(late)));
    assert_eq!((ops.whole.len(), ops.is_call(2), ops.is_fault(2)), (1, true, false));
    ops.set_ret(2, 0x7f00_0000_0000);
    assert_eq!(got(&ops, 2), (late, true, Some(0x7f00_0000_0000), None));
    assert_eq!(ops.close(2, Nanos(300), false), Some(Nanos(300)));
    assert_eq!(got(&ops, 2), (300, false, Some(0x7f00_0000_0000), None));
    assert_eq!(ops.close(3, Nanos(300), false), None);
}

#[test]
fn a_call_ends_with_what_it_returned() {
    let mut ops = Ops::default();
    let mut child = call(56, 0);
    child.no_entry = true;
    for call in [call(0, 3), call(9, 0), call(12, 1 << 40), child, call(1, 5)] {
        ops.push(&op(100, Nanos::MAX.0, None, OpKind::Syscall(call)));
    }
    ops.push(&op(100, Nanos::MAX.0, None, OpKind::LocalTimer));
    let returned = |end, nr, no_entry| Some(Returned { end: Nanos(end), nr, no_entry });
    assert_eq!(ops.end_call(0, Nanos(150), -11), returned(150, 0, false));
    let address = 0x7fff_8000_1000;
    assert_eq!(ops.end_call(1, Nanos(160), address), returned(160, 9, false));
    // Before its begin it cannot have ended.
    assert_eq!(ops.end_call(3, Nanos(90), i64::MIN), returned(100, 56, true));
    let got = |ops: &Ops, index| {
        let op = ops.get(index).unwrap();
        (op.end.0, op.syscall().map(|call| (call.arg0, call.ret)))
    };
    assert_eq!(got(&ops, 0), (150, Some((3, Some(-11)))));
    assert_eq!(got(&ops, 1), (160, Some((0, Some(address)))));
    assert_eq!(got(&ops, 3), (100, Some((0, Some(i64::MIN)))));
    // A wide result beside a wide argument, one that has returned, more than four seconds,
    // no call, nothing.
    let late = 100 + u64::from(u32::MAX);
    let no = [(2, 150, address), (0, 170, 0), (4, late, 0), (5, 150, 0), (6, 150, 0)];
    for (index, time, ret) in no {
        assert_eq!(ops.end_call(index, Nanos(time), ret), None);
    }
    let open = Nanos::MAX.0;
    assert_eq!(got(&ops, 0), (150, Some((3, Some(-11)))));
    assert_eq!(got(&ops, 2), (open, Some((1 << 40, None))));
    assert_eq!((got(&ops, 4), got(&ops, 5)), ((open, Some((5, None))), (open, None)));
    assert_eq!(ops.whole.len(), 0);
}

#[test]
fn ends_take_their_cost_and_stay_within_what_is_around_them() {
    let fault = |estimated, gap| {
        let address = Addr(0x7000);
        let fault =
            FaultOp { address, error_code: 4, file: None, major: None, page: None, around: false };
        (OpKind::Fault(fault), estimated, gap)
    };
    let call = |gap| (OpKind::Syscall(call(0, 3)), false, gap);
    let list = [
        // The gap is kept plus one; 0 is none.
        (100, 200, None, call(0)),
        (300, 400, None, call(31)),
        (500, 600, None, call(71)),
        (700, 800, None, call(91)),
        // Its child would end at 1010.
        (900, 1000, None, call(1)),
        (950, 990, Some(4), fault(false, 21)),
        (960, 995, Some(4), (OpKind::LocalTimer, false, 0)),
        (970, 1005, Some(4), (OpKind::LocalTimer, false, 0)),
        // The last evidence was at 1150.
        (1100, 1200, None, fault(true, 51)),
        (1300, Nanos::MAX.0, None, call(0)),
        (1400, Nanos::MAX.0, Some(9), fault(false, 0)),
    ];
    let mut ops = Ops::default();
    for (start, end, parent, (kind, estimated, gap)) in list {
        let mut op = op(start, end, parent, kind);
        (op.estimated, op.gap) = (estimated, gap);
        ops.push(&op);
    }
    let costs = Calibration { exit_cost: Nanos(50), fault_cost: Nanos(20), fault_reach: Nanos(5) };
    // Of times rounded to 70 ns a gap of 70 may be one of 50.
    ops.calibrate(&Costs::new(&costs, Nanos(70))).unwrap();
    let got: Vec<_> = ops.iter().map(|op| (op.end.0, op.gap)).collect();
    let open = Nanos::MAX.0;
    let expected = [
        (200, 0),
        (430, 30),
        (670, 70),
        (850, 50),
        (1000, 0),
        (1000, 10),
        (995, 0),
        (1000, 0),
        (1155, 0),
        (open, 0),
        (open, 0),
    ];
    assert_eq!(got, expected);
}

#[test]
fn every_end_of_many_takes_its_cost_once() {
    let mut ops = Ops::default();
    for n in 1..=600_u64 {
        let mut op = op(1000 * n, 1000 * n + 500, None, OpKind::Syscall(call(0, 3)));
        op.gap = 101;
        ops.push(&op);
    }
    let costs = Calibration { exit_cost: Nanos(60), fault_cost: Nanos(0), fault_reach: Nanos(0) };
    ops.calibrate(&Costs::new(&costs, Nanos(1))).unwrap();
    let ends: Vec<_> = ops.iter().map(|op| (op.end.0, op.gap)).collect();
    let expected: Vec<_> = (1..=600).map(|n| (1000 * n + 560, 60)).collect();
    assert_eq!(ends, expected);
}

#[test]
fn a_search_from_a_place_finds_what_a_search_of_all_finds() {
    let mut ops = Ops::default();
    for n in 0..100_u64 {
        // Two at each time.
        ops.push(&op(100 + n / 2, 200, None, OpKind::LocalTimer));
    }
    let found = [99, 100, 101, 120, 148, 149, 500].map(|time| ops.up_to_from(0, Nanos(time)));
    assert_eq!(found, [0, 2, 4, 42, 98, 100, 100]);
    for time in 98..152 {
        let all = ops.up_to(Nanos(time));
        for begun in 0..=100 {
            assert_eq!(ops.up_to_from(begun, Nanos(time)), all, "{begun} {time}");
        }
    }
}
