//! What `Repeat` writes, read back.

use super::build::{Builder, SYS_ENTER, small};
use super::captures;
use super::exact::{info, read};
use crate::perf_data::record::kind;
use crate::{Nanos, Problem, Repeat, Tid, Unpacked};

fn repeated(bytes: &[u8], times: u32) -> Vec<u8> {
    let unpacked = Unpacked::of(bytes).unwrap();
    let mut out = Vec::new();
    Repeat::of(&unpacked, b"").unwrap().write(times, &mut out).unwrap();
    out
}

#[test]
fn twice() {
    let bytes = small();
    let (lines, diagnostics, totals) = read(&repeated(&bytes, 2), 1);
    assert_eq!(
        lines,
        [
            "#0 0 - -1/-1 - record:comm pid=7 tid=7 exec=0 comm=\"secret\"",
            "#1 0 - -1/-1 - record:mmap2 pid=7 tid=7 addr=0x1000 len=0x2000 pgoff=0x0 maj=254 min=1 ino=99 filename=\"/secret/lib.so\"",
            "#2 0 - -1/-1 - record:comm pid=11 tid=11 exec=0 comm=\"secret\"",
            "#3 0 - -1/-1 - record:mmap2 pid=11 tid=11 addr=0x1000 len=0x2000 pgoff=0x0 maj=254 min=1 ino=99 filename=\"/secret/lib.so\"",
            "#5 100 0 7/7 d sched:sched_switch prev_comm=\"secret-7\" prev_pid=7 prev_state=D next_comm=\"secret-0\" next_pid=0",
            "#7 200 1 9/9 - software:minor-faults addr=0xabcd period=1",
            "#6 300 0 8/8 . raw_syscalls:sys_enter id=257 args=1,2,3,4,5,6",
            "#12 350 1 9/9 d sched:sched_switch prev_comm=\"secret-9\" prev_pid=9 prev_state=R next_comm=\"secret-10\" next_pid=10",
            "#9 400 0 7/7 . sched:sched_process_exec filename=\"/secret/tool\" pid=7 old_pid=7 agent_step_id=42",
            "#11 420 1 7/7 - record:lost lost=5",
            // 320 ns and 10 ms later; the four tasks behind the last id, 10; step 42 + 42.
            "#15 10000420 0 11/11 d sched:sched_switch prev_comm=\"secret-7\" prev_pid=11 prev_state=D next_comm=\"secret-0\" next_pid=0",
            "#17 10000520 1 13/13 - software:minor-faults addr=0xabcd period=1",
            "#16 10000620 0 12/12 . raw_syscalls:sys_enter id=257 args=1,2,3,4,5,6",
            "#22 10000670 1 13/13 d sched:sched_switch prev_comm=\"secret-9\" prev_pid=13 prev_state=R next_comm=\"secret-10\" next_pid=14",
            "#19 10000720 0 11/11 . sched:sched_process_exec filename=\"/secret/tool\" pid=11 old_pid=11 agent_step_id=84",
            "#21 10000740 1 11/11 - record:lost lost=5",
        ]
    );
    assert_eq!((totals.records, totals.events, totals.lost), (24, 12, 10));
    assert_eq!(totals.by_type, [4, 2, 2, 2, 2]);
    assert_eq!(diagnostics.count(Problem::OutOfOrder), 0);
    let (one, two) = (info(&bytes), info(&repeated(&bytes, 2)));
    assert_eq!(crate::CaptureInfo { bytes: 0, ..one }, crate::CaptureInfo { bytes: 0, ..two });
}

#[test]
fn kernel_threads_and_marks() {
    let mut b = Builder::new();
    let fork = |pid: u32, ppid: u32| {
        let words = [pid, ppid, pid, ppid, 0, 0];
        words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()
    };
    b.sideband(kind::FORK, 0, &fork(30, 2), 0, 0).comm(30, b"kworker\0", 0);
    b.sideband(kind::FORK, 0, &fork(40, 1), 0, 0);
    // prctl(0x41475354, 5, 0): step 5 begins.
    let mut raw = (SYS_ENTER as u32).to_le_bytes().to_vec();
    raw.extend(40_u32.to_le_bytes());
    for word in [157_u64, 0x4147_5354, 5, 0, 0, 0, 0] {
        raw.extend(word.to_le_bytes());
    }
    b.sample(102, (40, 40), 1000, 0, &raw).switch(1010, 0, 40, 1, 30).round();
    let bytes = b.finish();
    let unpacked = Unpacked::of(&bytes).unwrap();
    let steps = br#"{"step_id":3,"pid":40,"tid":40,"start_ns":1000,"end_ns":1010}"#;
    let repeat = Repeat::of(&unpacked, steps).unwrap();
    assert_eq!(repeat.later(), Nanos(10_000_010));
    assert_eq!([30, 40].map(|tid| repeat.tid(0, Tid(tid))), [Tid(30), Tid(40)]);
    assert_eq!([30, 40].map(|tid| repeat.tid(2, Tid(tid))), [Tid(30), Tid(42)]);
    let mut out = Vec::new();
    repeat.write(3, &mut out).unwrap();
    let lines = read(&out, 1).0;
    let tail: Vec<&str> = lines.iter().map(|l| l.split_once(' ').unwrap().1).collect();
    assert_eq!(
        tail,
        [
            "0 - -1/-1 - record:fork pid=30 ppid=2 tid=30 ptid=2",
            "0 - -1/-1 - record:comm pid=30 tid=30 exec=0 comm=\"kworker\"",
            "0 - -1/-1 - record:fork pid=40 ppid=1 tid=40 ptid=1",
            "0 - -1/-1 - record:fork pid=41 ppid=1 tid=41 ptid=1",
            "0 - -1/-1 - record:fork pid=42 ppid=1 tid=42 ptid=1",
            "1000 0 40/40 . raw_syscalls:sys_enter id=157 args=41475354,5,0,0,0,0",
            "1010 0 40/40 d sched:sched_switch prev_comm=\"secret-40\" prev_pid=40 prev_state=S next_comm=\"secret-30\" next_pid=30",
            "10001010 0 41/41 . raw_syscalls:sys_enter id=157 args=41475354,a,0,0,0,0",
            "10001020 0 41/41 d sched:sched_switch prev_comm=\"secret-40\" prev_pid=41 prev_state=S next_comm=\"secret-30\" next_pid=30",
            "20001020 0 42/42 . raw_syscalls:sys_enter id=157 args=41475354,f,0,0,0,0",
            "20001030 0 42/42 d sched:sched_switch prev_comm=\"secret-40\" prev_pid=42 prev_state=S next_comm=\"secret-30\" next_pid=30",
        ]
    );
    let mut out = Vec::new();
    repeat.write_steps(2, &mut out).unwrap();
    let expect = r#"{"step_id":3,"pid":40,"tid":40,"start_ns":1000,"end_ns":1010}
{"step_id":8,"pid":41,"tid":41,"start_ns":10001010,"end_ns":10001020}
"#;
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

#[test]
fn sizes_are_known_before() {
    let bytes = small();
    let unpacked = Unpacked::of(&bytes).unwrap();
    let repeat = Repeat::of(&unpacked, b"").unwrap();
    let len = |times| repeated(&bytes, times).len() as u64;
    assert_eq!(len(1), bytes.len() as u64);
    for times in [1, 2, 7] {
        assert_eq!(repeat.times_for(len(times)), times);
        assert_eq!(repeat.times_for(len(times) + 1), times + 1);
    }
    assert_eq!(repeat.times_for(0), 1);
}

#[test]
fn what_cannot_be_repeated() {
    let error = |b: &Builder, steps: &[u8]| {
        let bytes = b.finish();
        Repeat::of(&Unpacked::of(&bytes).unwrap(), steps).unwrap_err().to_string()
    };
    let mut b = Builder::new();
    b.round();
    assert!(error(&b, b"").contains("tells its time"));
    b.switch(100, 0, 7, 2, 9);
    assert!(error(&b, br#"{"step_id":1,"start":"2026"}"#).contains("times as text"));
    b.with_features = false;
    assert!(error(&b, b"").contains("the formats of the tracepoints"));
}

#[test]
fn what_ends_without_a_round_gets_one() {
    let mut b = Builder::new();
    b.switch(100, 0, 7, 2, 9).switch(90, 1, 9, 2, 7);
    let (lines, diagnostics, totals) = read(&repeated(&b.finish(), 2), 1);
    assert_eq!((lines.len(), totals.records), (4, 6));
    assert_eq!(diagnostics.count(Problem::OutOfOrder), 0);
}

#[test]
fn once_is_the_same_capture() {
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        let once = repeated(&bytes, 1);
        let (before, after) = (read(&bytes, 1 << 12), read(&once, 1 << 12));
        assert_eq!(before.0, after.0, "{}", path.display());
        let (before, after) = (info(&bytes), info(&once));
        let after = crate::CaptureInfo { bytes: before.bytes, ..after };
        assert_eq!(before, after, "{}", path.display());
    }
}
