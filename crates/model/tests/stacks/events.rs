//! Records of stacks made by hand.

use agenttrace_model::parse::events::{CommRecord, Exit, Fork};
use agenttrace_model::parse::stack::{
    Branches, Chain, ListedModule, Mapping, Mode, Sample, StackEvent, StackRecord, UserMemory,
};
use agenttrace_model::parse::{Addr, CaptureInfo, Comm, Cpu, EventType, Nanos, Pid, Tid};
use agenttrace_model::stacks::{ModuleId, StackBuilder, StackSample, Stacks};

/// Marks in chains (include/uapi/linux/perf_event.h).
pub(crate) const KERNEL: u64 = -128_i64 as u64;
pub(crate) const USER: u64 = -512_i64 as u64;
pub(crate) const USER_DEFERRED: u64 = -640_i64 as u64;

/// An event type's index for each name in [`info`].
pub(crate) const CPU_CLOCK: usize = 0;
pub(crate) const SWITCH: usize = 1;
pub(crate) const FAULTS: usize = 2;
pub(crate) const OTHER: usize = 3;

pub(crate) fn info(arch: &str) -> CaptureInfo {
    let names = ["software:cpu-clock", "sched:sched_switch", "software:page-faults", "dev:thing"];
    let event_type =
        |name: &&str| EventType { name: (*name).to_owned(), known: true, every: false };
    CaptureInfo {
        arch: Some(arch.to_owned()),
        event_types: names.iter().map(event_type).collect(),
        ..CaptureInfo::default()
    }
}

pub(crate) fn event(time: u64, pid: i32, tid: i32, what: StackRecord<'_>) -> StackEvent<'_> {
    StackEvent { record: time, time: Nanos(time), cpu: Cpu(0), pid: Pid(pid), tid: Tid(tid), what }
}

/// An executable mapping of a file: `path` at `addr`, `len` bytes from `pgoff`.
pub(crate) fn map(
    time: u64,
    pid: i32,
    addr: u64,
    len: u64,
    pgoff: u64,
    path: &str,
) -> StackEvent<'_> {
    let mapping = Mapping {
        pid: Pid(pid),
        tid: Tid(pid),
        addr: Addr(addr),
        len,
        pgoff,
        dev: (254, 1),
        ino: 7,
        build_id: None,
        exec: true,
        kernel: pid == -1,
        filename: path.as_bytes(),
    };
    event(time, pid, pid, StackRecord::Mapping(mapping))
}

/// The same, of data.
pub(crate) fn map_data(time: u64, pid: i32, addr: u64, len: u64, path: &str) -> StackEvent<'_> {
    let mut event = map(time, pid, addr, len, 0, path);
    if let StackRecord::Mapping(mapping) = &mut event.what {
        mapping.exec = false;
    }
    event
}

pub(crate) fn comm(time: u64, pid: i32, tid: i32, name: &str, exec: bool) -> StackEvent<'static> {
    let comm = Comm::new(name.as_bytes());
    event(
        time,
        pid,
        tid,
        StackRecord::Comm(CommRecord { pid: Pid(pid), tid: Tid(tid), exec, comm }),
    )
}

/// `(process, thread)` of the new task and of its parent.
pub(crate) fn fork(time: u64, new: (i32, i32), parent: (i32, i32)) -> StackEvent<'static> {
    let fork = Fork { pid: Pid(new.0), tid: Tid(new.1), ppid: Pid(parent.0), ptid: Tid(parent.1) };
    event(time, parent.0, parent.1, StackRecord::Fork(fork))
}

pub(crate) fn exit(time: u64, pid: i32, tid: i32) -> StackEvent<'static> {
    event(time, pid, tid, StackRecord::Exit(Exit { pid: Pid(pid), tid: Tid(tid) }))
}

pub(crate) fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn plain<'a>() -> Sample<'a> {
    Sample {
        event_type: CPU_CLOCK,
        period: 1,
        mode: Mode::User,
        ip: None,
        addr: None,
        kind: None,
        chain: Chain::None,
        user: None,
        branches: Branches::default(),
    }
}

/// A sample with a chain of these words.
pub(crate) fn chain(time: u64, pid: i32, tid: i32, words: &[u8]) -> StackEvent<'_> {
    let sample = Sample { chain: Chain::Words(words), ..plain() };
    event(time, pid, tid, StackRecord::Sample(sample))
}

/// A sample in user mode with registers and stack.
pub(crate) fn memory(time: u64, pid: i32, user: UserMemory<'_>) -> StackEvent<'_> {
    event(time, pid, pid, StackRecord::Sample(Sample { user: Some(user), ..plain() }))
}

pub(crate) fn build(events: &[StackEvent<'_>]) -> Stacks {
    build_with(events, Vec::new())
}

pub(crate) fn build_with(events: &[StackEvent<'_>], listed: Vec<ListedModule>) -> Stacks {
    let mut builder = StackBuilder::new(&info("x86_64"), listed);
    builder.push(events, &|_| true);
    builder.finish(&|_: ModuleId| None)
}

/// The frames of a sample, the innermost first: `name+0x10`, `-` for no module; `<` after
/// it where it is a return address.
pub(crate) fn frames(stacks: &Stacks, sample: &StackSample) -> Vec<String> {
    let text = |id| {
        let frame = stacks.frame(id).expect("a frame of a chain");
        let module = frame.module.and_then(|id| stacks.module(id)).map(|module| &module.path);
        let path = module.map_or("-", |path| path.rsplit('/').next().expect("the last part"));
        let caller = if frame.caller { "<" } else { "" };
        format!("{path}+{:#x}{caller}", frame.address)
    };
    stacks.frames_of(sample.chain).map(text).collect()
}

/// The frames of the only sample, or of all samples in a row.
pub(crate) fn all(stacks: &Stacks) -> Vec<String> {
    stacks.samples.iter().flat_map(|sample| frames(stacks, sample)).collect()
}
