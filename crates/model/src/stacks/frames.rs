//! Samples with their stacks as values: modules, frames, chains that share their ends.

use agenttrace_parse::stack::Mode;
use agenttrace_parse::{Addr, BuildId, Cpu, Nanos, Pid, SwitchState, Tid};

/// Index in [`Stacks::modules`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModuleId(pub u32);

/// Index in [`Stacks::frames`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameId(pub u32);

/// Index in [`Stacks::chains`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainId(pub u32);

/// All stacks of a capture. Frames and chains are there once, however often they occur.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stacks {
    /// Programs, libraries, the kernel, in the order in which they were mapped; not all
    /// have frames.
    pub modules: Vec<Module>,
    /// Frames, in the order of their first occurrence.
    pub frames: Vec<Frame>,
    /// Chains: a tree from the outermost frames inwards. A parent comes before its children.
    pub chains: Vec<Chain>,
    /// Names of frames that the capture itself gives.
    pub names: Vec<String>,
    /// Names of tasks.
    pub comms: Vec<String>,
    /// The samples, in time order.
    pub samples: Vec<StackSample>,
}

/// What code lies in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// What it is.
    pub kind: ModuleKind,
    /// Path as the traced process saw it, without the kernel's ` (deleted)`, or a name
    /// such as `[kernel.kallsyms]`, `[vdso]`. Not escaped.
    pub path: String,
    /// Its build id, by the mapping's record, else by the recorder's list.
    pub build_id: Option<BuildId>,
    /// Device, major and minor number, and inode; zero where not told.
    pub file: (u32, u32, u64),
    /// Process, for code that only one has ([`ModuleKind::Jit`]).
    pub pid: Option<Pid>,
    /// First address, for kernel modules; 0 elsewhere.
    pub start: u64,
}

/// What a [`Module`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ModuleKind {
    /// A file that was mapped.
    File,
    /// A file that was deleted or replaced while mapped.
    Deleted,
    /// The kernel's code that every process sees: `[vdso]`, `[vsyscall]`.
    Vdso,
    /// The kernel itself.
    Kernel,
    /// A module of the kernel.
    KernelModule,
    /// Kernel code that no file holds: a BPF program, a trampoline.
    KernelSymbol,
    /// Executable memory without a file: a just-in-time compiler's.
    Jit,
    /// Named by the capture itself; nothing else is known.
    Named,
}

/// One frame: a place in code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its mode.
    pub mode: Mode,
    /// What it lies in; `None` where no mapping covers it.
    pub module: Option<ModuleId>,
    /// Offset in the module's file for [`ModuleKind::File`], `Deleted` and `Vdso`; the
    /// address itself elsewhere. 0 where the capture gives a name alone.
    pub address: u64,
    /// Whether `address` is where a call returns to: the call itself lies before it.
    pub caller: bool,
    /// Index in [`Stacks::names`], where the capture gives the name.
    pub name: Option<u32>,
}

/// A frame and what called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// The callers; `None` for the outermost frame.
    pub parent: Option<ChainId>,
    /// The frame.
    pub frame: FrameId,
}

/// One sample with its stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackSample {
    /// Number of its record, as [`agenttrace_parse::Event::record`].
    pub record: u64,
    /// When.
    pub time: Nanos,
    /// On which CPU.
    pub cpu: Cpu,
    /// Process.
    pub pid: Pid,
    /// Task whose stack it is.
    pub tid: Tid,
    /// The task's name at that time, as index in [`Stacks::comms`]; `None` where no
    /// record gave it one.
    pub comm: Option<u32>,
    /// Index in the capture's event types.
    pub event_type: u32,
    /// How many occurrences it stands for; nanoseconds for `cpu-clock` and `task-clock`.
    pub period: u64,
    /// What it was.
    pub what: What,
    /// Its innermost frame; `None` where it has no stack.
    pub chain: Option<ChainId>,
    /// Why its user part ends before the program's first frame, where it does.
    pub short: Option<Short>,
}

/// What a sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Running: a clock or a counter of the CPU.
    Cpu,
    /// The task leaves its CPU, in this state.
    SwitchOut(SwitchState),
    /// A page fault at this address: `software:page-faults` and its kin,
    /// `exceptions:page_fault_user`.
    Fault {
        /// The memory that was missing.
        addr: Addr,
        /// Counted major by the kernel; `None` where the event does not tell.
        major: Option<bool>,
    },
    /// A wait for a lock of the kernel begins.
    LockBegin(Addr),
    /// It ends.
    LockEnd(Addr),
    /// Any other event.
    Other,
}

/// Why a chain is shorter than the real one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Short {
    /// The recorded piece of stack ends.
    StackEnds,
    /// A frame lies in no known mapping.
    NoModule,
    /// The module's file was not there, or was another build.
    NoFile,
    /// The module's file has no unwind information for the frame, or it is damaged.
    NoUnwindInfo,
    /// Frames repeat, or the stack runs backwards.
    Damaged,
    /// More frames than any program has.
    TooDeep,
}

impl Stacks {
    /// The frames of a chain, the innermost first.
    pub fn frames_of(&self, chain: Option<ChainId>) -> impl Iterator<Item = FrameId> + '_ {
        std::iter::successors(chain.and_then(|id| self.chain(id)), |at| self.chain(at.parent?))
            .map(|at| at.frame)
    }

    /// The chain with this index.
    #[must_use]
    pub fn chain(&self, id: ChainId) -> Option<Chain> {
        self.chains.get(id.0 as usize).copied()
    }

    /// The frame with this index.
    #[must_use]
    pub fn frame(&self, id: FrameId) -> Option<&Frame> {
        self.frames.get(id.0 as usize)
    }

    /// The module with this index.
    #[must_use]
    pub fn module(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(id.0 as usize)
    }
}
