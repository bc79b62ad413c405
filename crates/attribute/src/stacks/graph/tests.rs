//! Exact weights, worked out by hand, from captures and stacks made by hand.

use std::collections::BTreeMap;

use agenttrace_model::parse::stack::Mode;
use agenttrace_model::parse::{
    Addr, Capture, Cpu, Diagnostics, EventType, Nanos, Pid, ReadOptions, StepId, SwitchState,
    Totals, Unpacked, read_steps,
};
use agenttrace_model::stacks::{Chain, ChainId, Frame, FrameId, Short, Symbols};
use agenttrace_model::{Builder, Claim, MarkOptions, Step, TaskId, claim_tasks, place_marks};

use super::*;
use crate::analyze::{Input, report};
use crate::cause::Cause;
use crate::stacks::path::Shares;
use crate::stacks::{DiffRow, FrameKind, PathStacks, diff};

const CLOCK: u32 = 0;
const CYCLES: u32 = 1;
const SWITCH: u32 = 2;
const FAULTS: u32 = 3;
const LOCK: u32 = 4;
const MINOR: u32 = 5;
const MAJOR: u32 = 6;

fn info() -> CaptureInfo {
    let names = [
        "software:cpu-clock",
        "cycles:u",
        "sched:sched_switch",
        "software:page-faults",
        "lock:contention_begin",
        "software:minor-faults",
        "software:major-faults",
    ];
    let event_types = names
        .into_iter()
        .map(|name| EventType { name: name.to_owned(), known: true, every: false })
        .collect();
    CaptureInfo { event_types, ..CaptureInfo::default() }
}

/// Event type, thread, time, what, frames from the outermost; a `k:` marks the kernel's.
type Row = (u32, i32, u64, What, &'static str);

fn stacks(rows: &[Row]) -> Stacks {
    let mut stacks = Stacks::default();
    let mut chains: BTreeMap<&str, Option<ChainId>> = BTreeMap::new();
    for (event_type, tid, time, what, frames) in rows {
        let known = chains.get(frames).copied();
        let mut parent = known.flatten();
        for name in frames.split_whitespace().filter(|_| known.is_none()) {
            let (mode, name) = match name.strip_prefix("k:") {
                Some(name) => (Mode::Kernel, name),
                None => (Mode::User, name),
            };
            let index = stacks.frames.len() as u32;
            stacks.names.push(name.to_owned());
            stacks.frames.push(Frame {
                mode,
                module: None,
                address: 0,
                caller: false,
                name: Some(index),
            });
            stacks.chains.push(Chain { parent, frame: FrameId(index) });
            parent = Some(ChainId(index));
        }
        chains.insert(frames, parent);
        stacks.samples.push(StackSample {
            record: 0,
            time: Nanos(*time),
            cpu: Cpu(0),
            pid: Pid(*tid),
            tid: Tid(*tid),
            comm: None,
            event_type: *event_type,
            period: 1_003_009,
            what: *what,
            chain: parent,
            short: None,
        });
    }
    stacks.samples.sort_by_key(|sample| sample.time);
    stacks
}

/// A capture with its steps and their report.
struct Made {
    info: CaptureInfo,
    model: Model,
    windows: Windows,
    report: Report,
}

impl Made {
    fn new(events: &str, windows: impl FnOnce(&Model, &CaptureInfo) -> Windows) -> Self {
        let unpacked = Unpacked::of(events.as_bytes()).unwrap();
        let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
        let mut builder = Builder::new(capture.info());
        capture.read(&mut Diagnostics::default(), &mut |batch| builder.push(batch)).unwrap();
        let model = builder.finish(None).unwrap();
        let windows = windows(&model, capture.info());
        let (totals, diagnostics) = (Totals::default(), Diagnostics::default());
        let report = report(&Input::new(&model, &windows, capture.info(), &totals, &diagnostics));
        Self { info: info(), model, windows, report }
    }

    fn crafted(events: &str, steps: &str) -> Self {
        Self::new(events, |model, info| {
            let file = read_steps(steps.as_bytes());
            let options = MarkOptions { file: Some(&file), ..MarkOptions::default() };
            claim_tasks(model, place_marks(model, info, &options).unwrap())
        })
    }

    fn scene<'a>(&'a self, named: Option<Named<'a>>) -> Scene<'a> {
        Scene {
            model: Some(&self.model),
            info: &self.info,
            session: None,
            windows: Some(&self.windows),
            report: Some(&self.report),
            named,
        }
    }

    fn ask(&self, rows: &[Row], ask: &Ask) -> Result<StackGraph, Absent> {
        let (stacks, symbols) = (stacks(rows), Symbols::default());
        let named = Named { stacks: &stacks, symbols: &symbols };
        graph(self.scene(Some(named)), ask)
    }

    fn folded(&self, rows: &[Row], ask: &Ask) -> Vec<String> {
        folded(&self.ask(rows, ask).unwrap())
    }
}

fn folded(graph: &StackGraph) -> Vec<String> {
    let sum: u64 = graph.rows.iter().map(|row| row.weight).sum();
    assert_eq!(sum, graph.total, "the weights add up to the total");
    let line = |row: &StackRow| {
        let frames: Vec<&str> = row.frames.iter().map(|f| &*f.text).collect();
        format!("{} {}", frames.join(";"), row.weight)
    };
    graph.rows.iter().map(line).collect()
}

fn ask(kind: StackKind) -> Ask {
    Ask { kind, filter: StackFilter::default(), event: None }
}

fn of_step(kind: StackKind, id: u64) -> Ask {
    let step = Some(StepId::Number(id));
    Ask { filter: StackFilter { step, ..StackFilter::default() }, ..ask(kind) }
}

fn of_cause(kind: StackKind, cause: Cause) -> Ask {
    let cause = Some(cause);
    Ask { filter: StackFilter { cause, ..StackFilter::default() }, ..ask(kind) }
}

const HEAD: &str = "# agenttrace.events/1\n# clock monotonic\n# arch x86_64\n# cpus 2\n\
    0 - 100/100 - record:comm pid=100 tid=100 exec=0 comm=\"agent\"\n\
    0 - 200/200 - record:comm pid=200 tid=200 exec=0 comm=\"worker\"\n\
    0 - 300/300 - record:comm pid=300 tid=300 exec=0 comm=\"other\"\n";

fn step(id: u64, tool: &str, start: u64, end: u64, parent: Option<usize>) -> Step {
    Step {
        id: StepId::Number(id),
        tool: tool.to_owned(),
        root: TaskId(0),
        pid: None,
        start: Nanos(start),
        end: Nanos(end),
        parent,
        clipped: None,
        error: Some(Nanos::ZERO),
        mapped: false,
        extra: Vec::new(),
    }
}

fn claim(from: u64, to: u64, step: usize) -> Claim {
    Claim { from: Nanos(from), to: Nanos(to), step, inferred: false }
}

/// Step 1 [1000, 9000) of the agent, in it step 2 [3000, 5000). The worker works for step 1
/// over [2000, 4000), and from 4500 for step 2, which it outlives.
fn nested() -> Made {
    let events = format!(
        "{HEAD}500 0 0/0 d sched:sched_switch prev_comm=\"swapper/0\" prev_pid=0 prev_state=R \
         next_comm=\"agent\" next_pid=100\n\
         600 1 0/0 d sched:sched_switch prev_comm=\"swapper/1\" prev_pid=0 prev_state=R \
         next_comm=\"worker\" next_pid=200\n\
         12000 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0\n"
    );
    Made::new(&events, |model, _| {
        let tids: Vec<i32> = model.tasks.iter().map(|t| t.tid.0).collect();
        assert_eq!(tids, [100, 200, 300]);
        Windows {
            steps: vec![
                step(1, "search", 1_000, 9_000, None),
                step(2, "read", 3_000, 5_000, Some(0)),
            ],
            claims: vec![
                vec![claim(1_000, 3_000, 0), claim(3_000, 5_000, 1), claim(5_000, 9_000, 0)],
                vec![claim(2_000, 4_000, 0), claim(4_500, u64::MAX, 1)],
                Vec::new(),
            ],
            in_tree: vec![true, true, false],
            notes: Vec::new(),
        }
    })
}

fn running(tid: i32, time: u64) -> Row {
    (CLOCK, tid, time, What::Cpu, "main k:read")
}

/// Samples at, just before and just after every edge of [`nested`].
fn edges() -> Vec<Row> {
    let agent = [999, 1_000, 2_999, 3_000, 4_999, 5_000, 8_999, 9_000];
    let worker = [1_999, 2_000, 3_999, 4_000, 4_499, 4_500, 4_999, 5_000, 8_999, 9_000];
    let mut rows: Vec<Row> = agent.map(|time| running(100, time)).to_vec();
    rows.extend(worker.map(|time| running(200, time)));
    rows.push(running(300, 3_500));
    rows
}

#[test]
fn samples_count_for_the_step_that_their_task_works_for() {
    let made = nested();
    // The agent at 3000 and 4999 and the worker at 4500 and 4999 are step 2's. What the
    // worker does for step 2 after its end is within step 1.
    assert_eq!(
        made.folded(&edges(), &ask(StackKind::Cpu)),
        [
            "read;step 2;agent;main;read 2",
            "read;step 2;worker;main;read 2",
            "search;step 1;agent;main;read 4",
            "search;step 1;worker;main;read 4",
        ]
    );
    assert_eq!(
        made.folded(&edges(), &of_step(StackKind::Cpu, 1)),
        ["search;step 1;agent;main;read 6", "search;step 1;worker;main;read 6"]
    );
    assert_eq!(
        made.folded(&edges(), &of_step(StackKind::Cpu, 2)),
        ["read;step 2;agent;main;read 2", "read;step 2;worker;main;read 2"]
    );
}

#[test]
fn a_tool_or_a_name_narrows() {
    let made = nested();
    let tool = |name: &str| StackFilter { tool: Some(name.to_owned()), ..StackFilter::default() };
    let search = Ask { filter: tool("search"), ..ask(StackKind::Cpu) };
    assert_eq!(
        made.folded(&edges(), &search),
        ["search;step 1;agent;main;read 6", "search;step 1;worker;main;read 6"]
    );
    let comm = Some("worker".to_owned());
    let worker = Ask { filter: StackFilter { comm, ..tool("search") }, ..ask(StackKind::Cpu) };
    let graph = made.ask(&edges(), &worker).unwrap();
    assert_eq!(folded(&graph), ["search;step 1;worker;main;read 6"]);
    assert_eq!(graph.of, "search, 1 step, tasks worker");
    let none = Ask { filter: tool("fetch"), ..ask(StackKind::Cpu) };
    assert_eq!(
        made.ask(&edges(), &none).unwrap_err().to_string(),
        "no step has the tool \"fetch\"; there are read, search"
    );
}

#[test]
fn a_whole_capture_has_every_task() {
    let made = nested();
    let mut rows = edges();
    rows.push((CLOCK, 0, 10, What::Cpu, "k:idle"));
    rows.push((CLOCK, 77, 20, What::Cpu, "lost"));
    rows.push((CLOCK, 100, 30, What::Cpu, ""));
    let (stacks, symbols) = (stacks(&rows), Symbols::default());
    let named = Named { stacks: &stacks, symbols: &symbols };
    let scene = Scene { windows: None, report: None, ..made.scene(Some(named)) };
    let got = graph(scene, &ask(StackKind::Cpu)).unwrap();
    assert_eq!(
        folded(&got),
        [
            ":77;lost 1",
            "agent;(no stack) 1",
            "agent;main;read 8",
            "other;main;read 1",
            "swapper;idle 1",
            "worker;main;read 10",
        ]
    );
    assert_eq!(got.event.as_deref(), Some("cpu-clock at 997 Hz"));
    assert_eq!(got.notes, ["1 of 22 samples without a stack"]);
    // Without a model the names are those that samples carry.
    let alone = graph(Scene { model: None, ..scene }, &ask(StackKind::Cpu)).unwrap();
    assert_eq!(folded(&alone)[0], ":100;(no stack) 1");
    assert_eq!(alone.total, 22);
}

#[test]
fn the_event_with_most_stacks_counts_or_the_one_that_is_named() {
    let made = nested();
    let cycles = |time| (CYCLES, 100, time, What::Cpu, "main");
    let rows = [running(100, 1_100), running(100, 1_200), cycles(1_300)];
    let graph = made.ask(&rows, &ask(StackKind::Cpu)).unwrap();
    assert_eq!(folded(&graph), ["search;step 1;agent;main;read 2"]);
    assert_eq!(graph.notes, ["samples of other events too: cycles:u (--event)"]);
    let named = |name: &str| Ask { event: Some(name.to_owned()), ..ask(StackKind::Cpu) };
    let graph = made.ask(&rows, &named("cycles:u")).unwrap();
    assert_eq!(folded(&graph), ["search;step 1;agent;main 1"]);
    assert_eq!(graph.event.as_deref(), Some("cycles:u"), "a count has no frequency");
    assert_eq!(
        made.ask(&rows, &named("instructions")).unwrap_err().to_string(),
        "no event \"instructions\" was sampled with call stacks; there are cpu-clock, cycles:u"
    );
}

const CONTENTION: [&str; 2] = [
    include_str!("../../../../../fixtures/crafted/contention/events.txt"),
    include_str!("../../../../../fixtures/crafted/contention/steps.jsonl"),
];
const SLEEP: [&str; 2] = [
    include_str!("../../../../../fixtures/crafted/restarted_sleep/events.txt"),
    include_str!("../../../../../fixtures/crafted/restarted_sleep/steps.jsonl"),
];

fn left(time: u64, frames: &'static str) -> Row {
    (SWITCH, 100, time, What::SwitchOut(SwitchState::Interruptible), frames)
}

#[test]
fn the_path_has_the_stacks_of_its_waits_and_of_its_samples() {
    let made = Made::crafted(SLEEP[0], SLEEP[1]);
    let plain = [
        "restarted_sleep;step 1;clock_nanosleep;run_delay: run_queue in syscall_cpu 200000",
        "restarted_sleep;step 1;clock_nanosleep;sleep: timer 2900000",
        "restarted_sleep;step 1;clock_nanosleep;syscall_cpu: cpu_kernel 400000",
        "restarted_sleep;step 1;user;user_cpu: cpu_user 1500000",
    ];
    assert_eq!(folded(&graph(made.scene(None), &ask(StackKind::Wall)).unwrap()), plain);
    let rows = [
        // Of the first wait alone; another task's, and one of a moment when it ran.
        left(1_600_000, "main nap k:do_nanosleep"),
        (SWITCH, 300, 3_100_000, What::SwitchOut(SwitchState::Interruptible), "k:other"),
        left(3_099_999, "main k:early"),
        // The 1,500,000 ns of user mode, in three segments, are shared by seven samples: of
        // 428,571.43 and 1,071,428.57 the latter has the larger remainder.
        (CLOCK, 100, 1_000_000, What::Cpu, "main parse"),
        (CLOCK, 100, 1_100_000, What::Cpu, "main parse"),
        (CLOCK, 100, 1_499_999, What::Cpu, "main hash"),
        (CLOCK, 100, 2_800_000, What::Cpu, "main hash"),
        (CLOCK, 100, 2_999_999, What::Cpu, "main hash"),
        (CLOCK, 100, 5_200_000, What::Cpu, "main hash"),
        (CLOCK, 100, 5_999_999, What::Cpu, "main hash"),
        // In the call from 1,500,000: it has all of the 400,000 there.
        (CLOCK, 100, 1_500_000, What::Cpu, "main k:enter"),
        // Not these: another counter's, another task's, and one after the step.
        (CYCLES, 100, 2_900_000, What::Cpu, "main cycles"),
        (CLOCK, 300, 2_900_000, What::Cpu, "main other"),
        (CLOCK, 100, 6_000_000, What::Cpu, "main later"),
    ];
    let graph = made.ask(&rows, &ask(StackKind::Wall)).unwrap();
    assert_eq!(graph.total, 5_000_000);
    let tail = "restarted_sleep;step 1";
    let want = [
        format!("{tail};clock_nanosleep;main;enter;syscall_cpu: cpu_kernel 400000"),
        format!("{tail};clock_nanosleep;main;nap;do_nanosleep;sleep: timer 1000000"),
        format!("{tail};clock_nanosleep;run_delay: run_queue in syscall_cpu 200000"),
        format!("{tail};clock_nanosleep;sleep: timer 1900000"),
        format!("{tail};user;main;hash;user_cpu: cpu_user 1071429"),
        format!("{tail};user;main;parse;user_cpu: cpu_user 428571"),
    ];
    assert_eq!(folded(&graph), want);
    assert_eq!(graph.notes, ["running time shared out to the functions of 8 samples"]);
    // The kinds tell functions from what stands around them.
    let kinds: Vec<FrameKind> = graph.rows[1].frames.iter().map(|f| f.kind).collect();
    use FrameKind::{Entry, Kernel, Label, Leaf, User};
    assert_eq!(kinds, [Label, Label, Entry, User, User, Kernel, Leaf]);
    let sleep = made.ask(&rows, &of_cause(StackKind::Wall, Cause::Sleep)).unwrap();
    assert_eq!(folded(&sleep), [want[1].clone(), want[3].clone()]);
}

#[test]
fn pieces_tile_the_segments_in_time() {
    let made = Made::crafted(SLEEP[0], SLEEP[1]);
    let rows = [
        (CLOCK, 100, 1_000_000, What::Cpu, "a"),
        (CLOCK, 100, 1_100_000, What::Cpu, "b"),
        (CLOCK, 100, 1_499_999, What::Cpu, "c"),
    ];
    let (stacks, symbols) = (stacks(&rows), Symbols::default());
    let named = Named { stacks: &stacks, symbols: &symbols };
    let pieces = PathStacks::new(named, &made.model, Some(CLOCK)).pieces(&made.report.steps[0]);
    let first: Vec<(u64, u64, Option<u32>)> = pieces
        .iter()
        .filter(|p| p.segment == 0)
        .map(|p| (p.start.0, p.end.0, p.chain.map(|c| c.0)))
        .collect();
    assert_eq!(
        first,
        [
            (1_000_000, 1_166_667, Some(0)),
            (1_166_667, 1_333_334, Some(1)),
            (1_333_334, 1_500_000, Some(2)),
        ]
    );
    let mut at = Nanos(1_000_000);
    for piece in &pieces {
        assert_eq!(piece.start, at);
        at = piece.end;
    }
    assert_eq!(at, Nanos(6_000_000));
}

#[test]
fn more_samples_than_nanoseconds() {
    let chains: Vec<Option<ChainId>> = (0..5).map(|i| Some(ChainId(i))).collect();
    let mut got = Vec::new();
    Shares::new(3, &chains).take(Nanos(10), Nanos(13), &mut |from, to, chain| {
        got.push((from.0, to.0, chain.map(|c| c.0)));
    });
    assert_eq!(got, [(10, 11, Some(0)), (11, 12, Some(1)), (12, 13, Some(2))]);
}

#[test]
fn blocked_time_by_the_stack_at_its_begin() {
    let made = Made::crafted(SLEEP[0], SLEEP[1]);
    let rows = [left(1_600_000, "main k:do_nanosleep"), left(1_599_999, "k:early")];
    let off = ask(StackKind::OffCpu);
    // [1.6, 2.6) and [3.1, 5.0) ms: the second has no stack.
    assert_eq!(
        made.folded(&rows, &off),
        [
            "restarted_sleep;step 1;agent;(no stack) 1900000",
            "restarted_sleep;step 1;agent;main;do_nanosleep 1000000",
        ]
    );
    assert_eq!(made.ask(&rows, &off).unwrap().notes, ["1.9 ms of 2.9 ms without a stack"]);
    // Clipped to the window.
    let late = Made::crafted(SLEEP[0], &SLEEP[1].replace("1000000", "2000000"));
    assert_eq!(
        late.folded(&rows, &off)[1],
        "restarted_sleep;step 1;agent;main;do_nanosleep 600000"
    );
}

#[test]
fn waits_for_locks_by_caller_each_nanosecond_once() {
    let lock = |time, addr, frames| (LOCK, 100, time, What::LockBegin(Addr(addr)), frames);
    let rows = [
        lock(1_600_000, 0xff00, "main k:do_write k:mutex_lock"),
        lock(1_600_000, 0xff10, "k:of_another_lock"),
        lock(1_600_001, 0xff00, "k:of_another_moment"),
    ];
    let made = Made::crafted(CONTENTION[0], CONTENTION[1]);
    let locks = ask(StackKind::Locks);
    assert_eq!(
        made.folded(&rows, &locks),
        ["contention;step 1;agent;main;do_write;mutex_lock 1300000"]
    );
    // A spin for another lock within the wait, over [1.65, 1.68) ms, takes its time out.
    let spin = "1650000 0 100/100 . lock:contention_begin lock_addr=0xff10 flags=1\n\
                1680000 0 100/100 . lock:contention_end lock_addr=0xff10 ret=0\n1700000 0 100/100 d";
    let nested = Made::crafted(&CONTENTION[0].replace("1700000 0 100/100 d", spin), CONTENTION[1]);
    let mut more = rows.to_vec();
    more.push(lock(1_650_000, 0xff10, "main k:spin"));
    assert_eq!(
        nested.folded(&more, &locks),
        [
            "contention;step 1;agent;main;do_write;mutex_lock 1270000",
            "contention;step 1;agent;main;spin 30000",
        ]
    );
    // The path's part of the cause: while the lock's holder ran it is not on the agent.
    assert_eq!(
        made.folded(&rows, &of_cause(StackKind::Locks, Cause::KernelLock)),
        ["contention;step 1;agent;main;do_write;mutex_lock 200000"]
    );
}

#[test]
fn faults_count_once_whatever_events_tell_of_them() {
    let made = nested();
    let fault = |event, time, major, frames: &'static str| {
        (event, 100, time, What::Fault { addr: Addr(0x1000), major }, frames)
    };
    let rows = [
        fault(MINOR, 1_100, Some(false), "main touch"),
        fault(MINOR, 1_200, Some(false), "main touch"),
        fault(MAJOR, 1_300, Some(true), "main load"),
        fault(FAULTS, 1_100, None, "main all"),
        fault(FAULTS, 1_200, None, "main all"),
        fault(MINOR, 9_000, Some(false), "main later"),
    ];
    let one = |mut stacks: Stacks| {
        stacks.samples.iter_mut().for_each(|s| s.period = 1);
        stacks
    };
    let (stacks, symbols) = (one(stacks(&rows)), Symbols::default());
    let named = Named { stacks: &stacks, symbols: &symbols };
    let scene = made.scene(Some(named));
    let got = graph(scene, &ask(StackKind::Faults)).unwrap();
    assert_eq!(
        folded(&got),
        ["search;step 1;agent;main;load 1", "search;step 1;agent;main;touch 2"]
    );
    assert_eq!(got.event.as_deref(), Some("minor-faults and major-faults"));
    let named = Ask { event: Some("page-faults".to_owned()), ..ask(StackKind::Faults) };
    assert_eq!(folded(&graph(scene, &named).unwrap()), ["search;step 1;agent;main;all 2"]);
}

#[test]
fn stacks_that_end_early_are_told() {
    let made = nested();
    let mut stacks = stacks(&[running(100, 1_100), running(100, 1_200), running(300, 1_300)]);
    stacks.samples.iter_mut().for_each(|s| s.short = Some(Short::StackEnds));
    stacks.samples[1].short = Some(Short::NoFile);
    let symbols = Symbols::default();
    let named = Named { stacks: &stacks, symbols: &symbols };
    let graph = graph(made.scene(Some(named)), &ask(StackKind::Cpu)).unwrap();
    assert_eq!(
        graph.notes,
        ["2 of 2 stacks end early: 1 where the recorded piece of the stack ends, 1 for want of \
          the program's file"]
    );
}

#[test]
fn what_is_not_there_is_told_with_what_to_record() {
    let made = nested();
    let why = |rows: &[Row], kind| made.ask(rows, &ask(kind)).unwrap_err().to_string();
    assert_eq!(
        graph(made.scene(None), &ask(StackKind::Cpu)).unwrap_err(),
        Absent::NoStacks(StackKind::Cpu)
    );
    let other = [running(300, 3_500)];
    assert_eq!(why(&other, StackKind::Cpu), "session, 2 steps: no samples of running code");
    let first = [running(100, 1_100)];
    assert_eq!(
        made.ask(&first, &of_step(StackKind::Cpu, 2)).unwrap_err().to_string(),
        "read, step 2: no samples of running code; all steps have 1 sample"
    );
    let got = why(&other, StackKind::Locks);
    assert!(got.starts_with("the capture holds no waits for locks of the kernel; record"), "{got}");
    assert!(got.contains("-e lock:contention_begin,lock:contention_end"), "{got}");
    let got = why(&other, StackKind::Faults);
    assert!(got.contains("-e page-faults"), "{got}");
    let slept = Made::crafted(SLEEP[0], SLEEP[1]);
    let got = slept.ask(&other, &ask(StackKind::OffCpu)).unwrap_err();
    assert_eq!(got, Absent::EventWithoutStacks(StackKind::OffCpu));
    assert!(got.to_string().contains("sched:sched_switch"), "{got}");
    let whole = Scene { windows: None, report: None, ..made.scene(None) };
    assert_eq!(graph(whole, &ask(StackKind::Wall)).unwrap_err(), Absent::NoSteps);
}

#[test]
fn threads_are_those_of_the_tree_and_of_the_paths() {
    let made = nested();
    assert_eq!(threads(made.scene(None)), Some([100, 200].map(Tid).into()));
    // The server that holds the lock is no task of the agent's.
    let made = Made::crafted(CONTENTION[0], CONTENTION[1]);
    assert_eq!(threads(made.scene(None)), Some([100, 300].map(Tid).into()));
    assert_eq!(threads(Scene { report: None, ..made.scene(None) }), Some([Tid(100)].into()));
    assert_eq!(threads(Scene { windows: None, ..made.scene(None) }), None);
}

#[test]
fn steps_compare_without_their_names_and_on_one_scale() {
    let made = nested();
    let rows = [
        running(100, 3_100),
        running(100, 3_200),
        (CLOCK, 100, 3_300, What::Cpu, "main parse"),
        running(100, 1_100),
        (CLOCK, 100, 1_200, What::Cpu, "main other"),
    ];
    let tool = |name: &str| StackFilter { tool: Some(name.to_owned()), ..StackFilter::default() };
    // Step 1 with step 2 in it: five samples; step 2 alone: three.
    let here = made.ask(&rows, &of_step(StackKind::Cpu, 2)).unwrap();
    let other = made.ask(&rows, &Ask { filter: tool("search"), ..ask(StackKind::Cpu) }).unwrap();
    let got = diff(&here, &other);
    let row = |row: &DiffRow| {
        let frames: Vec<&str> = row.frames.iter().map(|f| &*f.text).collect();
        (frames.join(";"), row.here, row.other, row.scaled)
    };
    // 1, 1 and 3 of 5 on a scale of 3: 0.6, 0.6, 1.8.
    assert_eq!(
        got.rows.iter().map(row).collect::<Vec<_>>(),
        [
            ("agent;main;other".to_owned(), 0, 1, 1),
            ("agent;main;parse".to_owned(), 1, 1, 0),
            ("agent;main;read".to_owned(), 2, 3, 2),
        ]
    );
    assert_eq!((got.here.total, got.other.total, got.only_other), (3, 5, 1));
    // Of whole sessions the tools stay.
    let all = made.ask(&rows, &ask(StackKind::Cpu)).unwrap();
    let tools: Vec<String> =
        diff(&all, &all).rows.iter().map(|r| r.frames[0].text.to_string()).collect();
    assert_eq!(tools, ["read", "read", "search", "search"]);
}
