//! Kernel and user parts, deferred chains, branches, names, and what samples are of.

use agenttrace_model::parse::events::{ContentionBegin, Sched};
use agenttrace_model::parse::events::{Fault, Lock, PageFaultUser, SchedSwitch};
use agenttrace_model::parse::stack::{
    Branches, Chain, DeferredChain, KernelSymbol, Mode, Sample, StackEvent, StackRecord,
};
use agenttrace_model::parse::{Addr, Comm, Kind, Pid, SwitchState, Tid};
use agenttrace_model::stacks::{ModuleKind, StackBuilder, What};

use crate::events::{
    CPU_CLOCK, FAULTS, KERNEL, OTHER, SWITCH, USER, USER_DEFERRED, all, build, bytes, chain, comm,
    event, fork, frames, info, map, plain,
};

const TEXT: u64 = 0xffff_ffff_8100_0000;

fn kernel() -> StackEvent<'static> {
    map(0, -1, TEXT, 0x10_0000, TEXT, "[kernel.kallsyms]_text")
}

/// The first address of the kernel's part is where it was; the first of the user's is where
/// it comes back to, which is no call either. Marks and zeros are no frames.
#[test]
fn the_first_of_each_part_is_exact() {
    let words = bytes(&[KERNEL, TEXT + 1, TEXT + 0x20, 0, USER, 0x1010, 0x1020, 0]);
    let stacks =
        build(&[kernel(), map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"), chain(2, 7, 7, &words)]);
    let kernel = ["[kernel.kallsyms]+0xffffffff81000001", "[kernel.kallsyms]+0xffffffff81000020<"];
    assert_eq!(all(&stacks), [kernel, ["sh+0x10", "sh+0x20<"]].concat());
    let modes: Vec<_> = stacks.frames.iter().map(|frame| frame.mode).collect();
    assert_eq!(modes, [Mode::Kernel, Mode::Kernel, Mode::User, Mode::User]);
}

/// What occurs twice is there once, and callers are shared.
#[test]
fn chains_share_their_callers() {
    let one = bytes(&[USER, 0x1010, 0x1020, 0x1030]);
    let other = bytes(&[USER, 0x1011, 0x1020, 0x1030]);
    let map = map(1, 7, 0x1000, 0x1000, 0, "/bin/sh");
    let events = [map, chain(2, 7, 7, &one), chain(3, 7, 7, &other), chain(4, 7, 7, &one)];
    let stacks = build(&events);
    assert_eq!(stacks.frames.len(), 4);
    assert_eq!(stacks.chains.len(), 4);
    assert_eq!(stacks.samples[0].chain, stacks.samples[2].chain);
}

#[test]
fn kernel_modules_and_symbols() {
    let far = 0xffff_ffff_c000_0000;
    let words = bytes(&[KERNEL, far + 0x10, far + 0x1010, 0xffff_ffff_d000_0000]);
    let symbol = |time, gone| {
        let symbol = KernelSymbol { addr: far + 0x1000, len: 0x100, gone, name: b"bpf_prog_1_x" };
        event(time, 0, 0, StackRecord::KernelSymbol(symbol))
    };
    let stacks = build(&[
        kernel(),
        map(0, -1, far, 0x2000, 0, "[ext4]"),
        map(0, -1, 0, 0x2000, 0, "[guest.kernel.kallsyms]"),
        symbol(1, false),
        chain(2, 7, 7, &words),
        symbol(3, true),
        chain(4, 7, 7, &words),
    ]);
    let found = all(&stacks);
    assert_eq!(
        found,
        [
            "[ext4]+0xffffffffc0000010",
            "bpf_prog_1_x+0xffffffffc0001010<",
            "[kernel.kallsyms]+0xffffffffd0000000<",
            "[ext4]+0xffffffffc0000010",
            "[ext4]+0xffffffffc0001010<",
            "[kernel.kallsyms]+0xffffffffd0000000<",
        ]
    );
    let of_symbol =
        stacks.frames_of(stacks.samples[0].chain).nth(1).and_then(|id| stacks.frame(id));
    let name = of_symbol.and_then(|frame| frame.name).map(|name| &stacks.names[name as usize]);
    assert_eq!(name.map(String::as_str), Some("bpf_prog_1_x"));
    let kinds: Vec<_> = stacks.modules.iter().map(|module| module.kind).collect();
    assert_eq!(kinds, [ModuleKind::Kernel, ModuleKind::KernelModule, ModuleKind::KernelSymbol]);
}

/// Two samples in one system call; the user part comes once, on the way back. Another
/// task's, and another cookie's, are not theirs.
#[test]
fn deferred_chains_go_on_where_samples_ended() {
    let waiting = |cookie| bytes(&[KERNEL, TEXT + 1, USER_DEFERRED, cookie]);
    let (one, two) = (waiting(1), waiting(2));
    let user = bytes(&[USER, 0x1010, 0x1020]);
    let deferred = |time, tid, cookie| {
        event(time, 7, tid, StackRecord::Deferred(DeferredChain { cookie, words: &user }))
    };
    let stacks = build(&[
        kernel(),
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        fork(1, (7, 9), (7, 7)),
        chain(2, 7, 7, &one),
        chain(3, 7, 7, &one),
        chain(4, 7, 9, &one),
        chain(5, 7, 7, &two),
        deferred(6, 7, 1),
    ]);
    let of = |index: usize| frames(&stacks, &stacks.samples[index]);
    let kernel = "[kernel.kallsyms]+0xffffffff81000001";
    assert_eq!(of(0), [kernel, "sh+0x10", "sh+0x20<"]);
    assert_eq!(of(1), of(0));
    assert_eq!(of(2), [kernel]);
    assert_eq!(of(3), [kernel]);
}

/// `struct perf_branch_entry`: from, to, flags; the newest call first. The source of a
/// branch is the call itself.
#[test]
fn calls_that_have_not_returned() {
    let entries = bytes(&[0x1020, 0x1010, 0, 0x1040, 0x1018, 0]);
    let branches = Branches { bytes: &entries, call_stack: true };
    let words = bytes(&[KERNEL, TEXT + 1]);
    let in_user = Sample { ip: Some(Addr(0x1014)), branches, ..plain() };
    let in_kernel = Sample {
        mode: Mode::Kernel,
        ip: Some(Addr(TEXT + 1)),
        chain: Chain::Words(&words),
        branches,
        ..plain()
    };
    let jumps = Branches { call_stack: false, ..branches };
    let no_calls = Sample { ip: Some(Addr(0x1014)), branches: jumps, ..plain() };
    let with_chain = bytes(&[USER, 0x1011]);
    let has_chain = Sample { chain: Chain::Words(&with_chain), ..in_user };
    let sample = |time, sample| event(time, 7, 7, StackRecord::Sample(sample));
    let stacks = build(&[
        kernel(),
        map(1, 7, 0x1000, 0x1000, 0, "/bin/sh"),
        sample(2, in_user),
        sample(3, in_kernel),
        sample(4, no_calls),
        sample(5, has_chain),
    ]);
    let of = |index: usize| frames(&stacks, &stacks.samples[index]);
    assert_eq!(of(0), ["sh+0x14", "sh+0x20", "sh+0x40"]);
    let kernel = "[kernel.kallsyms]+0xffffffff81000001";
    assert_eq!(of(1), [kernel, "sh+0x10", "sh+0x20", "sh+0x40"]);
    assert_eq!(of(2), ["sh+0x14"]);
    assert_eq!(of(3), ["sh+0x11"]);
}

#[test]
fn names_at_the_time_of_the_sample() {
    let at = bytes(&[USER, 0x1010]);
    let stacks = build(&[
        comm(0, 7, 7, "sh", false),
        fork(1, (8, 8), (7, 7)),
        chain(2, 8, 8, &at),
        comm(3, 8, 8, "git", true),
        chain(4, 8, 8, &at),
        chain(5, 0, 0, &at),
        chain(6, 9, 9, &at),
    ]);
    let name = |comm: Option<u32>| comm.map(|comm| stacks.comms[comm as usize].as_str());
    let names: Vec<_> = stacks.samples.iter().map(|sample| name(sample.comm)).collect();
    assert_eq!(names, [Some("sh"), Some("git"), Some("swapper"), None]);
}

fn of_kind(event_type: usize, kind: Option<Kind<'_>>, tid: i32) -> StackEvent<'_> {
    let sample = Sample { event_type, kind, addr: Some(Addr(0x99)), ..plain() };
    event(1, 7, tid, StackRecord::Sample(sample))
}

#[test]
fn what_samples_are_of() {
    let lock = ContentionBegin { lock_addr: Addr(0x77), flags: 0 };
    let fault = PageFaultUser { address: Addr(0x55), ip: Addr(1), error_code: Addr(0) };
    let events = [
        of_kind(CPU_CLOCK, None, 7),
        of_kind(FAULTS, None, 7),
        of_kind(OTHER, None, 7),
        of_kind(OTHER, Some(Kind::Fault(Fault::PageFaultUser(fault))), 7),
        of_kind(OTHER, Some(Kind::Lock(Lock::ContentionBegin(lock))), 7),
    ];
    let found: Vec<_> = build(&events).samples.iter().map(|sample| sample.what).collect();
    let expected = [
        What::Cpu,
        What::Fault { addr: Addr(0x99), major: None },
        What::Other,
        What::Fault { addr: Addr(0x55), major: None },
        What::LockBegin(Addr(0x77)),
    ];
    assert_eq!(found, expected);
}

/// The last switch of a task is written under -1; its payload names the task.
#[test]
fn a_switch_belongs_to_the_task_that_leaves() {
    let switch = SchedSwitch {
        prev_comm: Comm::new(b"sh").into(),
        prev_pid: Tid(9),
        prev_state: SwitchState::Dead,
        next_comm: Comm::new(b"git").into(),
        next_pid: Tid(8),
    };
    let kind = Some(Kind::Sched(Sched::SchedSwitch(switch)));
    let stacks = build(&[fork(0, (7, 9), (7, 7)), {
        let mut event = of_kind(SWITCH, kind, -1);
        event.pid = Pid(-1);
        event
    }]);
    let sample = &stacks.samples[0];
    assert_eq!((sample.pid, sample.tid), (Pid(7), Tid(9)));
    assert_eq!(sample.what, What::SwitchOut(SwitchState::Dead));
}

#[test]
fn unwanted_samples_are_left_out_and_their_records_are_not() {
    let at = bytes(&[USER, 0x1010]);
    let mut builder = StackBuilder::new(&info("x86_64"), Vec::new());
    let events =
        [chain(1, 7, 7, &at), map(2, 7, 0x1000, 0x1000, 0, "/bin/sh"), chain(3, 7, 7, &at)];
    builder.push(&events, &|event| event.time.0 > 2);
    let stacks = builder.finish(&|_| None);
    assert_eq!(all(&stacks), ["sh+0x10"]);
    assert_eq!(stacks.samples.len(), 1);
}
