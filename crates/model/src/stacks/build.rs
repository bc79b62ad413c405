//! Records to stacks: chains are merged as they come, stacks to unwind are kept for the end.

use std::sync::Arc;

use agenttrace_parse::stack::{
    ChainFrame, DeferredChain, ListedModule, Mapping, Mode, Sample, StackEvent, StackRecord,
    UserMemory,
};
use agenttrace_parse::{CaptureInfo, Pid, Tid};
use rustc_hash::FxHashMap;

use super::frames::{Frame, FrameId, Module, ModuleId, ModuleKind, StackSample, Stacks};
use super::merge::Merge;
use super::modules::Modules;
use super::names::TaskNames;
use super::spaces::{KernelSpace, NewRange, Space, Spaces};
use super::unwind::{Arch, Task, Unwinding};
use super::what::{Class, what};

/// The first address of the kernel's half, on the machines that are read (x86-64, arm64).
const KERNEL_HALF: u64 = 1 << 63;

/// Slots of the cache of frames; a power of two.
const SLOTS: usize = 1 << 14;

/// Makes [`Stacks`] of a capture's [`StackEvent`]s.
#[derive(Debug)]
pub struct StackBuilder<'a> {
    arch: Option<Arch>,
    classes: Vec<Class>,
    spaces: Spaces,
    kernel: KernelSpace,
    modules: Modules,
    merge: Merge,
    names: TaskNames,
    samples: Vec<StackSample>,
    /// What must be unwound, in the order of the samples.
    unwind: Vec<Pending<'a>>,
    /// Samples whose user part is still to come, by task and cookie.
    deferred: FxHashMap<(Tid, u64), Vec<Waiting>>,
    cache: Vec<Slot>,
    /// The frames of the sample at hand, the innermost first.
    frames: Vec<FrameId>,
}

/// A sample without its user part, and the frames that it has, the innermost first.
type Waiting = (usize, Box<[FrameId]>);

/// A frame that was looked up before.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    ip: u64,
    /// Which state of which space, and what the frame is.
    tag: u64,
    frame: Option<FrameId>,
}

/// A sample that waits for its stack to be unwound.
#[derive(Debug)]
struct Pending<'a> {
    sample: usize,
    kernel: Box<[FrameId]>,
    space: Arc<Space>,
    user: UserMemory<'a>,
}

impl<'a> StackBuilder<'a> {
    /// For a capture, with the build ids that its recorder listed.
    #[must_use]
    pub fn new(info: &CaptureInfo, listed: Vec<ListedModule>) -> Self {
        Self {
            arch: info.arch.as_deref().and_then(Arch::of),
            classes: info.event_types.iter().map(Class::of).collect(),
            spaces: Spaces::default(),
            kernel: KernelSpace::default(),
            modules: Modules::new(listed),
            merge: Merge::default(),
            names: TaskNames::default(),
            samples: Vec::new(),
            unwind: Vec::new(),
            deferred: FxHashMap::default(),
            cache: vec![Slot::default(); SLOTS],
            frames: Vec::new(),
        }
    }

    /// Takes the next records, in time order. Of samples only those that are wanted are kept.
    pub fn push(&mut self, events: &[StackEvent<'a>], wanted: &dyn Fn(&StackEvent<'a>) -> bool) {
        for event in events {
            match &event.what {
                StackRecord::Sample(sample) => {
                    self.spaces.task(event.pid, event.tid);
                    if wanted(event) {
                        self.sample(event, sample);
                    }
                }
                StackRecord::Mapping(mapping) => self.mapping(event, mapping),
                StackRecord::Comm(comm) => {
                    self.spaces.task(comm.pid, comm.tid);
                    self.names.comm(comm);
                    if comm.exec {
                        self.spaces.exec(event.time, comm.pid);
                    }
                }
                StackRecord::Fork(fork) => {
                    self.spaces.fork(event.time, *fork);
                    self.names.fork(fork);
                }
                // Its last switch, and stacks from that, are still to come. The next task
                // of that id begins with a fork.
                StackRecord::Exit(_) => {}
                StackRecord::KernelSymbol(symbol) => {
                    let id = (!symbol.gone).then(|| self.modules.kernel_symbol(symbol)).flatten();
                    let end = symbol.addr.saturating_add(symbol.len.into());
                    self.kernel.symbol(symbol.addr, end, id);
                }
                StackRecord::Deferred(deferred) => self.deferred(event, deferred),
            }
        }
    }

    /// The modules that were mapped so far, by [`ModuleId`]; not all have frames.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules.list
    }

    fn mapping(&mut self, event: &StackEvent<'_>, mapping: &Mapping<'_>) {
        let (start, end) = (mapping.addr.0, mapping.addr.0.saturating_add(mapping.len));
        if mapping.kernel {
            let name = mapping.filename;
            if name.starts_with(b"[guest") {
                // Another machine's kernel.
            } else if name.starts_with(b"[kernel") {
                self.modules.kernel(mapping.build_id);
            } else if let Some(id) = self.modules.kernel_module(mapping) {
                self.kernel.module(start, end, id);
            }
            return;
        }
        let module = mapping.exec.then(|| self.modules.user(mapping)).flatten();
        let new = NewRange { start, end, pgoff: mapping.pgoff, module };
        self.spaces.map(event.time, mapping.pid, new);
    }

    fn sample(&mut self, event: &StackEvent<'a>, sample: &Sample<'a>) {
        let class = self.classes.get(sample.event_type).copied();
        let (what, of) = what(class, sample);
        let tid = of.unwrap_or(event.tid);
        // perf writes -1 for a task that has exited.
        let told = (tid == event.tid && event.pid.0 >= 0).then_some(event.pid);
        let pid = told.or_else(|| self.spaces.process(tid)).unwrap_or(Pid(tid.0));
        let index = self.samples.len();
        self.samples.push(StackSample {
            record: event.record,
            time: event.time,
            cpu: event.cpu,
            pid,
            tid,
            comm: self.names.name(tid),
            event_type: u32::try_from(sample.event_type).unwrap_or(u32::MAX),
            period: sample.period,
            what,
            chain: None,
            short: None,
        });

        let space = Arc::clone(self.spaces.of(pid));
        // Registers alone tell no more than a chain's user part.
        let mut chain = sample.chain.frames();
        let user = sample.user.filter(|user| {
            !user.stack.is_empty() || !chain.any(|f| mode_of(&f, sample.mode) == Mode::User)
        });
        self.frames.clear();
        let mut last = None;
        for frame in sample.chain.frames() {
            let mode = mode_of(&frame, sample.mode);
            // Unwinding gives the user part.
            if mode == Mode::User && user.is_some() {
                break;
            }
            let caller = last == Some(mode);
            last = Some(mode);
            self.add(&space, frame, mode, caller);
        }
        let has_user = last == Some(Mode::User);
        if let Some(user) = user {
            let kernel = self.frames.as_slice().into();
            self.unwind.push(Pending { sample: index, kernel, space, user });
            return;
        }
        if let Some(cookie) = sample.chain.deferred() {
            let waiting = self.deferred.entry((tid, cookie)).or_default();
            waiting.push((index, self.frames.as_slice().into()));
            // Until then, and where it never comes: what there is.
        } else if !has_user && sample.branches.call_stack {
            self.branches(&space, sample);
        } else if last.is_none() && class == Some(Class::Cpu) {
            // Recorded without a chain: the place alone.
            let frame = ChainFrame { mode: sample.mode, ip: sample.ip.map(|ip| ip.0), named: None };
            self.add(&space, frame, mode_of(&frame, sample.mode), false);
        }
        self.settle(index);
    }

    /// The user part from the calls that have not returned. A branch's source is the call
    /// itself, not where it returns to. The innermost function is the sample's own; where
    /// that is the kernel, it is known by its start alone.
    fn branches(&mut self, space: &Arc<Space>, sample: &Sample<'_>) {
        let user = (sample.mode == Mode::User).then_some(sample.ip).flatten().map(|ip| ip.0);
        let entered = sample.branches.entries().next().map(|branch| branch.to);
        let calls = sample.branches.entries().map(|branch| branch.from);
        for ip in user.or(entered).into_iter().chain(calls) {
            let frame = ChainFrame { mode: Mode::User, ip: Some(ip), named: None };
            self.add(space, frame, Mode::User, false);
        }
    }

    /// The chain of a sample is what was gathered.
    fn settle(&mut self, index: usize) {
        let chain = self.merge.chain(self.frames.iter().copied());
        if let Some(sample) = self.samples.get_mut(index) {
            sample.chain = chain;
        }
    }

    fn deferred(&mut self, event: &StackEvent<'_>, deferred: &DeferredChain<'_>) {
        let Some(waiting) = self.deferred.remove(&(event.tid, deferred.cookie)) else { return };
        let pid = self.spaces.process(event.tid).unwrap_or(event.pid);
        let space = Arc::clone(self.spaces.of(pid));
        self.frames.clear();
        for frame in deferred.frames() {
            let caller = !self.frames.is_empty();
            self.add(&space, frame, Mode::User, caller);
        }
        let user = std::mem::take(&mut self.frames);
        for (index, kernel) in waiting {
            self.frames.clear();
            self.frames.extend(kernel.iter().chain(&user));
            self.settle(index);
        }
    }

    /// Adds a frame to those of the sample at hand.
    fn add(&mut self, space: &Space, frame: ChainFrame<'_>, mode: Mode, caller: bool) {
        let ip = frame.ip.unwrap_or(0);
        if let Some(named) = frame.named {
            let module = (!named.module.is_empty()).then(|| self.modules.named(named.module));
            let name = if named.symbol.is_empty() { None } else { self.merge.name(named.symbol) };
            if ip == 0 && name.is_none() {
                return;
            }
            let module = module.flatten();
            let frame = Frame { mode, module, address: ip, caller, name };
            self.frames.extend(self.merge.frame(frame));
            return;
        }
        if ip == 0 {
            return;
        }
        let kernel = mode == Mode::Kernel;
        let state = if kernel { self.kernel.state } else { space.state };
        let tag = state << 4 | (mode as u64) << 2 | u64::from(caller) << 1 | 1;
        let slot = (ip ^ state.wrapping_mul(0x9e37_79b9)) as usize & (SLOTS - 1);
        if let Some(found) = self.cache.get(slot).filter(|s| s.ip == ip && s.tag == tag) {
            self.frames.extend(found.frame);
            return;
        }
        let frame = match mode {
            Mode::Kernel => self.kernel_frame(ip, caller),
            Mode::User => user_frame(space, &self.modules.list, ip, caller),
            Mode::Other | Mode::Unknown => {
                Frame { mode, module: None, address: ip, caller, name: None }
            }
        };
        let frame = self.merge.frame(frame);
        if let Some(slot) = self.cache.get_mut(slot) {
            *slot = Slot { ip, tag, frame };
        }
        self.frames.extend(frame);
    }

    fn kernel_frame(&mut self, ip: u64, caller: bool) -> Frame {
        let found = self.kernel.find(if caller { ip.saturating_sub(1) } else { ip });
        let module = match found {
            // A range that no mapping tells: kallsyms may have it all the same.
            None if ip >= KERNEL_HALF => self.modules.kernel(None),
            found => found,
        };
        let symbol = module.and_then(|id| self.modules.list.get(id.0 as usize));
        let symbol = symbol.filter(|m| m.kind == ModuleKind::KernelSymbol);
        let name = symbol.and_then(|m| self.merge.name(m.path.as_bytes()));
        Frame { mode: Mode::Kernel, module, address: ip, caller, name }
    }

    /// Unwinds what is to be unwound, with the files of the modules: `file` gives the
    /// bytes of a module's ELF file, `None` where there is none of that build. It is
    /// called from several threads, for the modules that are needed, once each. The
    /// result is the same at every number of threads.
    #[must_use]
    pub fn finish<'f>(mut self, file: &(dyn Fn(ModuleId) -> Option<&'f [u8]> + Sync)) -> Stacks {
        // Where the rest of a chain never came.
        let mut waiting: Vec<_> = self.deferred.drain().flat_map(|(_, waiting)| waiting).collect();
        waiting.sort_unstable_by_key(|(index, _)| *index);
        for (index, kernel) in waiting {
            self.frames.clear();
            self.frames.extend(kernel.iter());
            self.settle(index);
        }
        let pending = std::mem::take(&mut self.unwind);
        let tasks: Vec<Task<'_, '_>> =
            pending.iter().map(|p| Task { space: &p.space, user: p.user }).collect();
        let modules = std::mem::take(&mut self.modules.list);
        let arch = self.arch.or_else(|| tasks.first().map(|t| Arch::of_registers(t.user.mask)));
        let unwinder = Unwinding::new(arch.unwrap_or(Arch::X86_64), &modules, file);
        let mut next = pending.iter();
        // The frames of the last sample: the outermost are mostly those of the next.
        let mut last: Vec<(Frame, Option<FrameId>)> = Vec::new();
        unwinder.all(&tasks, &mut |walked| {
            let Some(of) = next.next() else { return };
            for (depth, frame) in walked.frames.iter().rev().enumerate() {
                if last.get(depth).is_none_or(|(known, _)| known != frame) {
                    last.truncate(depth);
                    last.push((*frame, self.merge.frame(*frame)));
                }
            }
            last.truncate(walked.frames.len());
            self.frames.clear();
            self.frames.extend(of.kernel.iter());
            self.frames.extend(last.iter().rev().filter_map(|(_, id)| *id));
            self.settle(of.sample);
            if let Some(sample) = self.samples.get_mut(of.sample) {
                sample.short = walked.short;
            }
        });
        Stacks {
            modules,
            frames: self.merge.frames,
            chains: self.merge.chains,
            names: self.merge.names,
            comms: self.names.list,
            samples: self.samples,
        }
    }
}

/// The mode of a frame; where the chain does not tell, by the sample's, else by its address.
fn mode_of(frame: &ChainFrame<'_>, sample: Mode) -> Mode {
    match (frame.mode, sample, frame.ip) {
        (Mode::Unknown, Mode::Unknown, Some(ip)) if ip >= KERNEL_HALF => Mode::Kernel,
        (Mode::Unknown, Mode::Unknown, Some(_)) => Mode::User,
        (Mode::Unknown, _, _) => sample,
        (told, _, _) => told,
    }
}

/// The frame at an address of a process. A return address may lie behind the end of its
/// function, and of its mapping: the call before it does not.
pub(crate) fn user_frame(space: &Space, modules: &[Module], ip: u64, caller: bool) -> Frame {
    let range = if caller { space.find(ip.saturating_sub(1)) } else { space.find_exact(ip) };
    let module = range.map(|range| range.module);
    let kind = module.and_then(|id| modules.get(id.0 as usize)).map(|module| module.kind);
    let address = match (range, kind) {
        (Some(range), Some(ModuleKind::File | ModuleKind::Deleted | ModuleKind::Vdso)) => {
            range.offset(ip)
        }
        (Some(_) | None, _) => ip,
    };
    Frame { mode: Mode::User, module, address, caller, name: None }
}
