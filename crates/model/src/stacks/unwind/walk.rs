//! A sample's registers and stack to its frames: from each frame to its caller.

use std::sync::{Mutex, PoisonError};

use agenttrace_parse::stack::UserMemory;
use framehop::FrameAddress;
use gimli::UnwindContext;
use rayon::prelude::*;

use super::engine::{Cache, Engine};
use super::files::{FileOf, Files, Loaded};
use super::step::{self, Regs};
use super::{Arch, Task, Walked};
use crate::stacks::build::user_frame;
use crate::stacks::frames::{Frame, Module, ModuleId, Short};
use crate::stacks::spaces::Space;

/// More frames than any stack that perf records has: its longest has 64 KB, and a frame
/// takes 16 bytes at least, but then every function would call the next with nothing of
/// its own.
const DEEPEST: usize = 2048;

/// Samples that are unwound before their frames are merged: what waits stays small.
const BATCH: usize = 4096;

/// Slots for plans found before; a power of two.
const SLOTS: usize = 1 << 13;

/// framehop's cache has 509 slots, too few for a large program: each thread has so many of
/// them, by address. A power of two.
const CACHES: usize = 16;

/// No program has its stack on the first page (`vm.mmap_min_addr`).
const LOWEST: u64 = 4096;

/// Unwinds samples.
pub(crate) struct Unwinding<'s, 'f> {
    arch: Arch,
    files: Files<'s, 'f>,
    frame_pointers: Engine<'f>,
    /// What each thread has found.
    threads: Vec<Mutex<Thread>>,
}

struct Thread {
    caches: Vec<Cache>,
    context: UnwindContext<usize>,
    /// Address, as the engine sees it, and its plan; address 0 where there is none.
    plans: Vec<(u64, Plan)>,
}

/// How the caller of code at one address is found.
#[derive(Clone, Copy)]
enum Plan {
    /// framehop has a rule for it.
    Engine,
    /// By the table's rules: few addresses need it, so they are read anew each time.
    Row,
    /// The tables do not cover it.
    None,
}

/// Where a step led.
enum Step {
    /// The caller, and whether its address is exact: it was interrupted, not calling.
    Caller(Regs, bool),
    /// There is none: the stack is complete.
    End,
    /// The base pointer is needed, which framehop does not follow: again from the start,
    /// without framehop.
    Again,
    Short(Short),
}

impl<'s, 'f> Unwinding<'s, 'f> {
    pub(crate) fn new(arch: Arch, modules: &'s [Module], file: FileOf<'s, 'f>) -> Self {
        let threads =
            (0..rayon::current_num_threads().max(1)).map(|_| Mutex::new(Thread::new(arch)));
        Self {
            arch,
            files: Files::new(arch, modules, file),
            frame_pointers: Engine::empty(arch),
            threads: threads.collect(),
        }
    }

    /// Unwinds all, on all threads; `sink` gets the results in order, on this one.
    pub(crate) fn all(&self, tasks: &[Task<'_, '_>], sink: &mut dyn FnMut(Walked)) {
        for batch in tasks.chunks(BATCH) {
            let walked: Vec<Walked> =
                batch.par_iter().with_min_len(32).map(|task| self.on_thread(task)).collect();
            walked.into_iter().for_each(&mut *sink);
        }
    }

    fn on_thread(&self, task: &Task<'_, '_>) -> Walked {
        let thread = rayon::current_thread_index().unwrap_or(0);
        match self.threads.get(thread) {
            // What a thread keeps is right whenever it was left.
            Some(thread) => {
                let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
                self.walk(task, &mut thread, false)
            }
            None => self.walk(task, &mut Thread::new(self.arch), false),
        }
    }

    /// `slow`: by the tables' rules alone, which follow one more register.
    fn walk(&self, task: &Task<'_, '_>, thread: &mut Thread, slow: bool) -> Walked {
        let user = &task.user;
        let mut walked = Walked::default();
        let Some(mut regs) = first_registers(self.arch, user) else { return walked };
        let stack = Stack { start: regs.sp, user };
        // Whether the frame's address is where it was interrupted, not where a call returns.
        let mut exact = true;
        // Whether the frame pointer was found by following frame pointers.
        let mut chained = false;
        walked.short = loop {
            if walked.frames.len() >= DEEPEST {
                break Some(Short::TooDeep);
            }
            let frame = user_frame(task.space, self.files.modules(), regs.ip, !exact);
            walked.frames.push(frame);
            if user.bits32 {
                break Some(Short::NoUnwindInfo);
            }
            let first = walked.frames.len() == 1;
            let step = match frame.module {
                None => Step::Short(Short::NoModule),
                Some(_) if regs.sp < LOWEST => Step::Short(Short::Damaged),
                Some(id) => {
                    let at = At {
                        id,
                        frame,
                        exact,
                        first,
                        chained,
                        slow,
                        regs,
                        stack,
                        space: task.space,
                    };
                    self.step(&at, thread, &mut chained)
                }
            };
            match step {
                Step::End => break None,
                Step::Again => return self.walk(task, thread, true),
                Step::Short(short) => break Some(short),
                Step::Caller(caller, interrupted) => {
                    // A call puts its return address on the stack; on arm64 the innermost
                    // function may not have done so yet.
                    let same = caller.sp == regs.sp && self.arch == Arch::Aarch64 && first;
                    if caller.sp <= regs.sp && !same {
                        break Some(Short::Damaged);
                    }
                    regs = caller;
                    exact = interrupted;
                }
            }
        };
        walked
    }

    /// From a frame to its caller.
    fn step(&self, at: &At<'_, '_>, thread: &mut Thread, chained: &mut bool) -> Step {
        let loaded = match self.files.get(at.id) {
            Ok(loaded) => loaded,
            Err(short) => return self.by_frame_pointer(at, thread, short, chained),
        };
        let lookup = at.lookup_offset();
        let address = loaded.elf.address_at(lookup);
        let within = address.and_then(|a| a.checked_sub(loaded.elf.base()));
        let within = within.filter(|within| *within < 1 << 32);
        let (Some(address), Some(within)) = (address, within) else {
            return self.by_frame_pointer(at, thread, Short::NoUnwindInfo, chained);
        };
        let key = loaded.base.saturating_add(within);
        let plan = if at.slow { Plan::Row } else { thread.plan(key, loaded, address, self.arch) };
        let mut failed = None;
        let mut read = |from: u64| at.stack.read(from).map_err(|short| failed = Some(short));
        *chained = false;
        let caller = match (plan, &loaded.engine) {
            (Plan::Engine, Some(engine)) => {
                let Some(cache) = thread.cache(key) else {
                    return Step::Short(Short::NoUnwindInfo);
                };
                let address = if at.exact {
                    FrameAddress::from_instruction_pointer(key)
                } else {
                    FrameAddress::from_return_address(key.saturating_add(1))
                        .unwrap_or(FrameAddress::from_instruction_pointer(key))
                };
                match engine.caller(cache, address, at.regs, &mut read) {
                    Ok(Some(caller)) => Some((caller, false)),
                    Ok(None) => return Step::End,
                    Err(_) => None,
                }
            }
            (Plan::Row, _) => {
                let Some(row) = loaded.row(address, &mut thread.context) else {
                    return self.uncovered(at, thread, chained);
                };
                if row.needs_base(self.arch) && at.regs.base.is_none() && !at.slow {
                    return Step::Again;
                }
                let recorded = at.first.then_some(at.stack.user);
                let frame = step::Frame { arch: self.arch, regs: at.regs, recorded };
                match frame.caller(&row, &mut read) {
                    Some(caller) if caller.ip == 0 => return Step::End,
                    found => found.map(|caller| (caller, row.signal)),
                }
            }
            (Plan::None | Plan::Engine, _) => {
                return self.uncovered(at, thread, chained);
            }
        };
        match (caller, failed) {
            (Some((caller, exact)), _) => Step::Caller(caller, exact),
            (None, Some(short)) => Step::Short(short),
            (None, None) => Step::Short(Short::Damaged),
        }
    }

    /// Code that a file's tables leave out: stubs of the linker, and functions written by
    /// hand. The innermost may have its return address on top of the stack.
    fn uncovered(&self, at: &At<'_, '_>, thread: &mut Thread, chained: &mut bool) -> Step {
        if at.first
            && self.arch == Arch::X86_64
            && let Ok(ip) = at.stack.read(at.regs.sp)
            && self.returns_to(at.space, ip)
        {
            let sp = at.regs.sp.saturating_add(8);
            return Step::Caller(Regs { ip, sp, ..at.regs }, false);
        }
        // The dynamic linker's first function has no table, and no frame pointer.
        if !at.first && at.regs.fp == 0 {
            return Step::End;
        }
        self.by_frame_pointer(at, thread, Short::NoUnwindInfo, chained)
    }

    /// The caller by frame pointers, where it can be one. `reason` is why there is nothing
    /// better: it tells why the stack ends where that fails.
    fn by_frame_pointer(
        &self,
        at: &At<'_, '_>,
        thread: &mut Thread,
        reason: Short,
        chained: &mut bool,
    ) -> Step {
        *chained = true;
        // The outermost frame has none (System V ABI for x86-64, 3.4.1). Where frame
        // pointers are not used, 0 is any other value.
        if at.regs.fp == 0 && at.chained {
            return Step::End;
        }
        let address = FrameAddress::from_instruction_pointer(at.regs.ip);
        let mut failed = None;
        let mut read = |from: u64| at.stack.read(from).map_err(|short| failed = Some(short));
        let Some(cache) = thread.cache(at.regs.ip) else { return Step::Short(reason) };
        let found = self.frame_pointers.caller(cache, address, at.regs, &mut read);
        match found {
            Ok(Some(caller)) if self.returns_to(at.space, caller.ip) => Step::Caller(caller, false),
            // A chain of frame pointers that led here goes on behind what was recorded.
            Err(_) if at.chained && failed == Some(Short::StackEnds) => {
                Step::Short(Short::StackEnds)
            }
            Ok(_) | Err(_) => Step::Short(reason),
        }
    }

    /// Whether an address can be where a call returns to: code, with a call before it
    /// where the code is at hand.
    fn returns_to(&self, space: &Space, ip: u64) -> bool {
        let Some(range) = ip.checked_sub(1).and_then(|call| space.find(call)) else { return false };
        let Ok(loaded) = self.files.get(range.module) else { return true };
        if self.arch != Arch::X86_64 {
            return true;
        }
        let before = usize::try_from(range.offset(ip))
            .ok()
            .and_then(|end| loaded.bytes.get(end.checked_sub(7)?..end));
        before.is_none_or(ends_with_call)
    }
}

/// Whether code of x86-64 ends with a call: `e8` and four bytes, or `ff /2` of any length.
fn ends_with_call(code: &[u8]) -> bool {
    let direct = code.iter().rev().nth(4) == Some(&0xe8);
    let indirect = code.windows(2).any(|pair| matches!(pair, [0xff, m] if m & 0x38 == 0x10));
    direct || indirect
}

/// A frame of which the caller is sought.
struct At<'w, 'a> {
    id: ModuleId,
    frame: Frame,
    exact: bool,
    first: bool,
    chained: bool,
    slow: bool,
    regs: Regs,
    stack: Stack<'w, 'a>,
    space: &'w Space,
}

impl At<'_, '_> {
    /// The offset in the file of the code that ran: of the call, where the address is the
    /// one behind it.
    fn lookup_offset(&self) -> u64 {
        self.frame.address.saturating_sub(u64::from(!self.exact))
    }
}

/// The recorded piece of a stack.
#[derive(Clone, Copy)]
struct Stack<'w, 'a> {
    start: u64,
    user: &'w UserMemory<'a>,
}

impl Stack<'_, '_> {
    fn read(&self, address: u64) -> Result<u64, Short> {
        let below = address.checked_sub(self.start).ok_or(Short::Damaged)?;
        let at = usize::try_from(below).ok();
        let word = at.and_then(|at| self.user.stack.get(at..)?.first_chunk::<8>());
        // Where less was recorded than asked for, there was no more; where nothing was, it
        // could not be read.
        let len = self.user.stack.len() as u64;
        let cut = len >= u64::from(self.user.asked) || len == 0;
        word.map(|word| u64::from_le_bytes(*word)).ok_or(if cut {
            Short::StackEnds
        } else {
            Short::Damaged
        })
    }
}

impl Thread {
    fn new(arch: Arch) -> Self {
        let caches = (0..CACHES).map(|_| Cache::new(arch)).collect();
        Self { caches, context: UnwindContext::new(), plans: vec![(0, Plan::None); SLOTS] }
    }

    /// framehop's cache for an address.
    fn cache(&mut self, address: u64) -> Option<&mut Cache> {
        self.caches.get_mut(spread(address) & (CACHES - 1))
    }

    /// How the caller of an address in a file is found; `key` tells it from all others.
    fn plan(&mut self, key: u64, loaded: &Loaded<'_>, address: u64, arch: Arch) -> Plan {
        let slot = self.plans.get_mut(spread(key) & (SLOTS - 1));
        if let Some((found, plan)) = slot.as_deref()
            && *found == key
        {
            return *plan;
        }
        let plan = match loaded.row(address, &mut self.context) {
            None => Plan::None,
            Some(row) if loaded.engine.is_some() && row.is_plain(arch) => Plan::Engine,
            Some(_) => Plan::Row,
        };
        if let Some(slot) = slot {
            *slot = (key, plan);
        }
        plan
    }
}

/// The bits of an address mixed (Fibonacci hashing), so that any of them choose slots.
fn spread(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

/// The registers of the innermost frame; `None` where they were not recorded.
fn first_registers(arch: Arch, user: &UserMemory<'_>) -> Option<Regs> {
    let (ip, sp, fp, lr) = arch.perf_numbers();
    let lr = lr.and_then(|number| user.reg(number)).unwrap_or(0);
    let regs = Regs {
        ip: user.reg(ip)?,
        sp: user.reg(sp)?,
        fp: user.reg(fp).unwrap_or(0),
        lr: if arch == Arch::Aarch64 { super::strip(lr) } else { 0 },
        base: arch.perf_number(arch.base_pointer()).and_then(|number| user.reg(number)),
    };
    (regs.ip != 0).then_some(regs)
}
