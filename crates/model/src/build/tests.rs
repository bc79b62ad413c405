//! Events written by hand to tasks, their operations and who is taken for current.

use agenttrace_parse::{Calibration, Capture, Diagnostics, Nanos, ReadOptions, Tid, Unpacked};

use super::{Beginning, Builder};
use crate::model::Model;
use crate::op::{Op, OpKind};
use crate::syscall_table::MARK_MAGIC;
use crate::task::{State, Task};

const HEAD: &str = "# agenttrace.events/1\n# clock monotonic\n# arch x86_64\n# cpus 2\n";

fn build(events: &str, calibration: Calibration) -> Model {
    build_with(events, calibration, |_| {})
}

fn build_with(events: &str, calibration: Calibration, prepare: impl FnOnce(&mut Builder)) -> Model {
    let text = format!("{HEAD}{events}");
    let unpacked = Unpacked::of(text.as_bytes()).unwrap();
    let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
    let mut builder = Builder::new(capture.info());
    prepare(&mut builder);
    capture.read(&mut Diagnostics::default(), &mut |batch| builder.push(batch)).unwrap();
    builder.finish(Some(calibration)).unwrap()
}

fn costs(exit: u64) -> Calibration {
    Calibration { exit_cost: Nanos(exit), fault_cost: Nanos(0), fault_reach: Nanos(0) }
}

fn lives(model: &Model, tid: i32) -> Vec<&Task> {
    model.tasks.iter().filter(|task| task.tid == Tid(tid)).collect()
}

#[test]
fn operations_nest_and_their_ends_hold_no_more_than_the_gap_to_the_next_event() {
    let model = build(
        "1000 0 100/100 . raw_syscalls:sys_enter id=0 args=5,0,0,0,0,0\n\
         2000 0 100/100 s irq:softirq_entry vec=3\n\
         2500 0 100/100 s irq:softirq_exit vec=3\n\
         3000 0 100/100 . raw_syscalls:sys_exit id=0 ret=7\n\
         3040 0 100/100 . raw_syscalls:sys_enter id=74 args=5,0,0,0,0,0\n\
         9000 0 100/100 . raw_syscalls:sys_exit id=74 ret=-5\n\
         9900 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0\n",
        costs(100),
    );
    let task = lives(&model, 100)[0];
    let got: Vec<_> = task
        .ops
        .iter()
        .map(|op| (op.start.0, op.end.0, op.recorded_end().0, op.parent(), op.syscall()))
        .map(|(start, end, exit, parent, call)| (start, end, exit, parent, call.map(|c| c.ret)))
        .collect();
    let open = u64::MAX;
    assert_eq!(
        got,
        [
            (1000, 3040, 3000, None, Some(Some(7))),
            (2000, 2500, 2500, Some(0), None),
            (3040, 9100, 9000, None, Some(Some(-5))),
            (9900, open, open, None, Some(None)),
        ]
    );
    assert_eq!(task.ops.get(1).map(|op| op.kind), Some(OpKind::Softirq(3)));
    assert_eq!((task.op_at(Nanos(2499)), task.op_at(Nanos(2500))), (Some(1), Some(0)));
    assert_eq!((task.op_at(Nanos(9100)), task.op_at(Nanos(10_000))), (None, Some(3)));
    assert_eq!(task.recorded.within(Nanos(0), Nanos(3000)), 3);
    assert_eq!(task.recorded.within(Nanos(3000), Nanos(9901)), 4);
}

#[test]
fn a_thread_id_that_is_used_again_is_the_new_task_at_once() {
    // Nothing tells that the first 101 ended, nor that it left its CPU.
    let model = build(
        "1000 1 101/101 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0\n\
         1100 1 101/101 . raw_syscalls:sys_exit id=39 ret=101\n\
         2000 0 100/100 . task:task_newtask pid=101 comm=\"new\" clone_flags=0x0\n\
         3000 1 101/101 . raw_syscalls:sys_enter id=0 args=3,0,0,0,0,0\n\
         3100 1 101/101 . raw_syscalls:sys_exit id=0 ret=1\n",
        costs(0),
    );
    let calls = |task: &Task| -> Vec<i32> {
        task.ops.iter().filter_map(|op| op.syscall()).map(|call| call.nr).collect()
    };
    let lives = lives(&model, 101);
    assert_eq!(lives.len(), 2);
    assert_eq!(calls(lives[0]), [39]);
    assert_eq!(calls(lives[1]), [0]);
    assert!(matches!(lives[0].states.last().unwrap().state, State::Unknown(_)));
    assert_eq!(lives[1].states.last().unwrap().state, State::Running);
}

/// In an unlink whose entry lies before the capture, in nanosleep, at the time of its exit and
/// entry into another, in unlink, and in no call.
#[test]
fn a_waker_may_be_in_a_call_on_a_file_unless_it_is_seen_in_another() {
    let waking = "sched:sched_waking comm=\"other\" pid=200 target_cpu=1";
    let sleep = "1 200/200 . sched:sched_switch prev_comm=\"other\" prev_pid=200 prev_state=S \
                 next_comm=\"swapper/1\" next_pid=0";
    let model = build(
        &format!(
            "500 {sleep}\n\
             1000 0 100/100 d {waking}\n\
             1100 0 100/100 . raw_syscalls:sys_exit id=87 ret=0\n\
             1200 {sleep}\n\
             2000 0 100/100 . raw_syscalls:sys_enter id=35 args=0,0,0,0,0,0\n\
             2100 0 100/100 d {waking}\n\
             2200 {sleep}\n\
             3000 0 100/100 . raw_syscalls:sys_exit id=35 ret=0\n\
             3100 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0\n\
             3100 0 100/100 d {waking}\n\
             3200 {sleep}\n\
             4000 0 100/100 . raw_syscalls:sys_exit id=39 ret=0\n\
             4100 0 100/100 . raw_syscalls:sys_enter id=87 args=0,0,0,0,0,0\n\
             4200 0 100/100 d {waking}\n\
             4300 {sleep}\n\
             5000 0 100/100 . raw_syscalls:sys_exit id=87 ret=0\n\
             6000 0 100/100 d {waking}\n"
        ),
        costs(0),
    );
    let got: Vec<_> = model.wakes.iter().map(|wake| (wake.time.0, wake.file_call)).collect();
    let expect = [(1000, true), (2100, false), (3100, true), (4200, true), (6000, true)];
    assert_eq!(got, expect);
}

/// Number and start of the calls that are left of a beginning that ends at 10,000; steps which go
/// on then have begun since 8000, and task 200 is a root.
fn left_of_beginning(events: &str, tid: i32) -> Vec<(i32, u64)> {
    let beginning = Beginning {
        before: Nanos(10_000),
        steps_since: Nanos(8000),
        roots: [Tid(200)].into_iter().collect(),
    };
    let model = build_with(events, costs(0), |builder| drop(builder.skim(beginning)));
    let calls = |op: Op| op.syscall().map(|call| (call.nr, op.start.0));
    lives(&model, tid)[0].ops.iter().filter_map(calls).collect()
}

/// A call of a task from a time on, for 50 ns.
fn call(tid: i32, at: u64, nr: i32) -> String {
    format!(
        "{at} 0 {tid}/{tid} . raw_syscalls:sys_enter id={nr} args=3,0,0,0,0,0\n\
         {} 0 {tid}/{tid} . raw_syscalls:sys_exit id={nr} ret=1\n",
        at + 50
    )
}

#[test]
fn of_a_beginning_the_calls_are_left_that_somebody_may_ask_for() {
    let evicts = "1820 0 100/100 . filemap:mm_filemap_delete_from_page_cache i_ino=12 \
                  s_dev=266338304 index=1 order=0\n";
    let irq = "2020 0 100/100 s irq:softirq_entry vec=3\n2030 0 100/100 s irq:softirq_exit vec=3\n";
    let within = |tid: i32, at: u64, nr: i32, what: &str| {
        let call = call(tid, at, nr);
        let (enter, exit) = call.split_once('\n').unwrap();
        format!("{enter}\n{what}{exit}")
    };
    // read, poll, futex, openat, and reads in which more happened.
    let early =
        [call(100, 1000, 0), call(100, 1200, 7), call(100, 1400, 202), call(100, 1600, 257)];
    let more = [within(100, 1800, 0, evicts), within(100, 2000, 0, irq)];
    let late = [7000, 7900, 8100, 9900, 12_000].map(|at| call(100, at, 0));
    let all = [early.concat(), more.concat(), late.concat()].concat();
    let left = [(202, 1400), (257, 1600), (0, 1800), (0, 2000)];
    let since = [(0, 7900), (0, 8100), (0, 9900), (0, 12_000)];
    assert_eq!(left_of_beginning(&all, 100), [left, since].concat());
    // A root's calls are all kept; and of one that makes no more, the last.
    assert_eq!(left_of_beginning(&call(200, 1000, 0), 200), [(0, 1000)]);
    let two = |tid| [call(tid, 1000, 0), call(tid, 2000, 0)].concat();
    assert_eq!(left_of_beginning(&two(200), 200), [(0, 1000), (0, 2000)]);
    assert_eq!(left_of_beginning(&two(300), 300), [(0, 2000)]);
}

#[test]
fn behind_a_mark_in_the_trace_no_call_is_forgotten() {
    let mark = format!(
        "1500 0 500/500 . raw_syscalls:sys_enter id=157 args={MARK_MAGIC:x},7,0,0,0,0\n\
         1550 0 500/500 . raw_syscalls:sys_exit id=157 ret=-22\n"
    );
    let calls = [1000, 1200, 2000, 3000].map(|at| call(100, at, 0));
    let before = calls[..2].concat();
    let all = [before, mark, calls[2..].concat()].concat();
    assert_eq!(left_of_beginning(&all, 100), [(0, 1200), (0, 2000), (0, 3000)]);
    assert_eq!(left_of_beginning(&calls.concat(), 100), [(0, 3000)]);
}
