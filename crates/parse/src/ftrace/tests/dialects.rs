//! Each dialect, exactly.

use super::{PERF, TRACE, TRACE_CMD, TRACE_CMD_RAW, events, read, refusal};
use crate::{Capture, ClockId, Nanos, Problem, ReadOptions, Unpacked};

#[test]
fn tracefs_trace() {
    assert_eq!(
        events(TRACE),
        r#"tracefs trace
0 - -1/77 - record:comm pid=-1 tid=77 exec=0 comm="work"
0 - -1/5180 - record:comm pid=-1 tid=5180 exec=0 comm="my - odd> n"
1524005689000 1 -1/5180 . raw_syscalls:sys_enter id=8 args=3,0,1,7f3f39da51d8,0,0
1524005689000 1 -1/5180 . raw_syscalls:sys_exit id=8 ret=-29
1524005748000 1 -1/5180 . ftrace:print buf="agenttrace:B|1|a: b"
1524005800000 1 -1/77 dh sched:sched_waking comm="a pid=1 (x)" pid=5180 target_cpu=1
1524005801000 0 -1/0 drsp sched:sched_wakeup comm="my - odd> n" pid=5180 target_cpu=0
1524005802000 0 -1/88 d sched:sched_switch prev_comm="a ==> b" prev_pid=88 prev_state=D next_comm="swapper/0" next_pid=0
1524005900000 1 -1/5180 . block:block_rq_complete dev=266338304 sector=2048 nr_sector=8 error=-5 rwbs=FWFS
"#
    );
    let read = read(TRACE.as_bytes()).unwrap();
    assert_eq!((read.totals.records, read.totals.events), (8, 8));
    assert_eq!(read.lines, [10, 7, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!((read.info.cpus_online, read.info.system_wide), (Some(2), true));
    let fidelity = read.info.fidelity;
    assert_eq!(
        (fidelity.resolution, fidelity.context, fidelity.processes),
        (Nanos(1000), true, false)
    );
    let types: Vec<_> = read.info.event_types.iter().map(|t| (t.name.as_str(), t.known)).collect();
    assert_eq!(types[2], ("ftrace:print", true));
    assert_eq!(types[7], ("kmem_cache_free", false));
    assert_eq!(read.diagnostics.count(Problem::UnknownEvent), 1);
}

#[test]
fn a_process_column_and_four_letters() {
    let text = "\
# tracer: nop
#           TASK-PID       TGID    CPU#  ||||   TIMESTAMP  FUNCTION
            work-78      (     77) [001] d.h1  1.000001: sched_process_fork: comm=work pid=78 child_comm=work child_pid=79
            late-79      (     79) [001] ....  1.000002: sys_exit: NR 56 = 0
          <idle>-0       (-------) [000] ....  1.000003: sys_exit: NR 1 = 1
";
    assert_eq!(
        events(text),
        r#"tracefs trace
0 - 77/78 - record:comm pid=77 tid=78 exec=0 comm="work"
1000001000 1 77/78 dh sched:sched_process_fork parent_pid=78 child_comm="work" child_pid=79
1000002000 1 79/79 . raw_syscalls:sys_exit id=56 ret=0
1000003000 0 -1/0 . raw_syscalls:sys_exit id=1 ret=1
"#
    );
    assert!(read(text.as_bytes()).unwrap().info.fidelity.processes);
}

#[test]
fn trace_pipe_with_losses() {
    let text = "            \
            work-77      [001] .....     1.000001: sys_exit: NR 1 = 1\n\
CPU:1 [LOST 168 EVENTS]\n            \
            work-78      [000] .....     1.000002: sys_exit: NR 1 = 2\n            \
            work-77      [001] .....     1.000003: sys_exit: NR 1 = 3\n\
CPU:0 [LOST 2 EVENTS]\n";
    assert_eq!(
        events(text),
        r#"trace_pipe
0 - -1/77 - record:comm pid=-1 tid=77 exec=0 comm="work"
0 - -1/78 - record:comm pid=-1 tid=78 exec=0 comm="work"
1000001000 1 -1/77 . raw_syscalls:sys_exit id=1 ret=1
1000002000 0 -1/78 . raw_syscalls:sys_exit id=1 ret=2
1000003000 1 -1/-1 - record:lost lost=168
1000003000 1 -1/77 . raw_syscalls:sys_exit id=1 ret=3
1000003000 0 -1/-1 - record:lost lost=2
"#
    );
    let read = read(text.as_bytes()).unwrap();
    assert_eq!(read.totals.lost, 170);
    let lost: Vec<_> = read.totals.cpus.iter().map(|c| (c.cpu.0, c.lost)).collect();
    assert_eq!(lost, [(0, 2), (1, 168)]);
}

#[test]
fn overwritten_events_are_lost_once_and_before_all() {
    let text = TRACE.replace("8/8", "8/1008");
    let read = read(text.as_bytes()).unwrap();
    assert_eq!((read.totals.lost, read.events.len()), (1000, 9));
    let counts: Vec<_> =
        read.diagnostics.iter().filter(|(p, _, _)| *p == Problem::LostEvents).collect();
    let (_, cpu, count) = counts[0];
    assert_eq!(
        (counts.len(), cpu, count.count, count.offset),
        (1, crate::Cpu::NONE, 1000, Some(3))
    );
    assert_eq!(count.first, Some(Nanos(1_524_005_689_000)));
}

#[test]
fn trace_cmd_report() {
    assert_eq!(
        events(TRACE_CMD),
        r#"trace-cmd report
0 - -1/77 - record:comm pid=-1 tid=77 exec=0 comm="work"
0 - -1/5180 - record:comm pid=-1 tid=5180 exec=0 comm="my - odd> n"
1524005688663 1 -1/5180 - raw_syscalls:sys_enter id=8 args=3,0,1,7f3f39da51d8,0,0
1524005700000 1 -1/77 - sched:sched_switch prev_comm="a:1 b" prev_pid=77 prev_state=I next_comm="my - odd> n" next_pid=5180
1524005748012 1 -1/5180 - ftrace:print buf="agenttrace:E|1"
1524005749103 0 -1/-1 - record:lost lost=3
1524005749103 0 -1/5180 - sched:sched_wakeup comm="my - odd> n" pid=5180 target_cpu=1
"#
    );
    assert_eq!(read(TRACE_CMD.as_bytes()).unwrap().info.fidelity.resolution, Nanos(1));
    assert_eq!(
        events(TRACE_CMD_RAW),
        r#"trace-cmd report
0 - -1/77 - record:comm pid=-1 tid=77 exec=0 comm="work"
1524005689000 1 -1/77 - raw_syscalls:sys_enter id=257 args=ffffff9c,7f3f39f2f6b0,80002,0,0,0
1524005690000 1 -1/77 - raw_syscalls:sys_exit id=257 ret=3
1524005691000 1 -1/77 - ftrace:print buf="agenttrace:B|2|x y"
1524005692000 1 -1/77 - block:block_rq_issue dev=266338304 sector=171454096 nr_sector=8 bytes=4096 rwbs=DS
1524005693000 1 -1/77 - filemap:mm_filemap_add_to_page_cache i_ino=10313742 s_dev=266338304 index=128 order=3
1524005694000 1 -1/77 - sched:sched_switch prev_comm="a b" prev_pid=77 prev_state=I next_comm="swapper/1" next_pid=0
"#
    );
}

#[test]
fn perf_script() {
    assert_eq!(
        events(PERF),
        r#"perf script
0 - 7/9 - record:comm pid=7 tid=9 exec=0 comm="thr:1-2 (a) [0]"
0 - 10/10 - record:comm pid=10 tid=10 exec=0 comm="x"
0 - -1/-1 - record:fork pid=7 ppid=2 tid=7 ptid=2
0 - -1/-1 - record:namespaces pid=7 tid=7 pid_ns=4026531836
1880800269463 1 7/9 - sched:sched_switch prev_comm="thr:1-2 (a) [0]" prev_pid=9 prev_state=S next_comm="x" next_pid=10
1880800269500 1 7/-1 - software:minor-faults addr=0x7f274f82d408 period=1
1880800269600 1 10/10 - record:lost lost=168
1880800269700 1 10/10 - raw_syscalls:sys_enter id=257 args=ffffff9c,7f22b86040b1,80000,0,0,0
"#
    );
    let read = read(PERF.as_bytes()).unwrap();
    assert_eq!((read.info.clock.id, read.info.system_wide), (Some(ClockId::Monotonic), true));
    assert_eq!(read.info.os_release.as_deref(), Some("6.18.1"));
    let types: Vec<_> = read.info.event_types.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(types, ["sched:sched_switch", "software:minor-faults", "syscalls:sys_enter_openat"]);
}

#[test]
fn counts_are_no_seconds() {
    let text = "            work-7       [001] .....            2: sys_close(fd: 0xb)\n\
                            work-7       [001] .....            5: sys_close -> 0x0\n";
    let events = events(text);
    let expected = r#"trace_pipe
0 - -1/7 - record:comm pid=-1 tid=7 exec=0 comm="work"
2 1 -1/7 . raw_syscalls:sys_enter id=3 args=b,0,0,0,0,0
5 1 -1/7 . raw_syscalls:sys_exit id=3 ret=0
"#;
    assert_eq!(events, expected);
    assert!(read(text.as_bytes()).unwrap().info.ticks);
    let unpacked = Unpacked::of(text.as_bytes()).unwrap();
    let options = ReadOptions { trace_clock: Some(ClockId::Monotonic), ..ReadOptions::default() };
    let error = Capture::open(&unpacked, &options).unwrap_err().to_string();
    assert!(error.starts_with("the times of this text are counts without a unit"), "{error}");
}

#[test]
fn marks_in_all_spellings() {
    for event in [
        "tracing_mark_write: agenttrace:B|1|t",
        "tracing_mark_write.isra.0: agenttrace:B|1|t",
        "print: tracing_mark_write: agenttrace:B|1|t",
        "print: 0xffffffff81234567: agenttrace:B|1|t",
        "print:                 ip=tracing_mark_write buf=agenttrace:B|1|t",
        "0xffffffff81234567: agenttrace:B|1|t",
        "my_func: agenttrace:B|1|t",
        "bprint:               my_func: agenttrace:B|1|t",
    ] {
        let text = format!("            work-7       [001] .....  1.000002: {event}\r\n");
        let read = read(text.as_bytes()).unwrap();
        let expected = "1000002000 1 -1/7 . ftrace:print buf=\"agenttrace:B|1|t\"";
        assert_eq!(read.events[1], expected, "{event}");
    }
}

#[test]
fn refused_with_a_way_out() {
    let fields = "# tracer: nop\n            work-9763    [001] .....  2434.769365: sys_exit: id=0x1 (1) ret=0x2 (2)\n";
    for (text, words) in [
        ("# tracer: nop\n#\n# nop latency trace v1.1.5 on 6.18\n", "options/latency-format"),
        ("    work-4240      1..... 46211us : sys_exit: NR 1 = 2\n", "options/latency-format"),
        (
            "my - odd-5180    1...1.  1524.005748: print:                x: y\n",
            "report without `-l`",
        ),
        ("# tracer: function_graph\n#\n", "current_tracer"),
        (" 0)   1.234 us   |  func();\n", "current_tracer"),
        ("# tracer: nop\n9763 0 2434169416996 type: 442\n", "options/raw"),
        ("# tracer: nop\n00002623 00000000 00000236cdfed0aa type: 442\n", "options/hex"),
        ("# tracer: nop\n#&\n\0\x01\0\0\n", "options/bin"),
        (fields, "options/fields"),
    ] {
        let said = refusal(text);
        assert!(said.contains(words), "{text}: {said}");
    }
    assert!(refusal("just a text\nof no kind\n").contains("no known capture format"));
}

/// How io_uring's events print in Linux 5.10, 5.15 and 6.18 (include/trace/events/io_uring.h).
#[test]
fn io_uring_of_three_kernels() {
    let text = "\
# tracer: nop
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
            work-78      [001] .....  1.000001: io_uring_submit_sqe: ring 00000000000000a1, op 22, data 0x7, non block 1, sq_thread 0
            work-78      [001] .....  1.000002: io_uring_complete: ring 00000000000000a1, user_data 0x7, result -5
            work-78      [001] .....  1.000003: io_uring_submit_sqe: ring 00000000000000a1, req 00000000000000b2, op 3, data 0x8, flags 0, non block 1, sq_thread 0
            work-78      [001] .....  1.000004: io_uring_file_get: ring 00000000000000a1, fd 5
            work-78      [001] .....  1.000005: io_uring_submit_req: ring 00000000000000a1, req 00000000000000b2, user_data 0x9, opcode READ, flags 0x400000, sq_thread 1
            work-78      [001] .....  1.000006: io_uring_complete: ring 00000000000000a1, req 00000000000000b2, user_data 0x9, result 4096, cflags 0x0 extra1 0 extra2 0 
            work-78      [001] .....  1.000007: io_uring_create: ring 00000000000000a1, fd 4 sq size 8, cq size 16, flags 0x2
";
    let all = events(text);
    let lines: Vec<&str> =
        all.lines().filter_map(|l| l.split_once("io_uring:")).map(|l| l.1).collect();
    assert_eq!(
        lines,
        [
            "io_uring_submit_sqe ctx=0xa1 req=- user_data=7 opcode=22 sq_thread=-",
            "io_uring_complete ctx=0xa1 req=- user_data=7 res=-5",
            "io_uring_submit_sqe ctx=0xa1 req=0xb2 user_data=8 opcode=3 sq_thread=-",
            "io_uring_file_get ctx=0xa1 req=- fd=5",
            "io_uring_submit_req ctx=0xa1 req=0xb2 user_data=9 opcode=22 sq_thread=1",
            "io_uring_complete ctx=0xa1 req=0xb2 user_data=9 res=4096",
            "io_uring_create ctx=0xa1 fd=4 flags=2",
        ]
    );
}
