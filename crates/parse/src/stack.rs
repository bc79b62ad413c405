//! What a capture's records tell of stacks: samples with their call chains, and where
//! code was mapped. The readers make these; the model unwinds and merges them.

use crate::build_id::BuildId;
use crate::cursor::u64_at;
use crate::events::{CommRecord, Exit, Fork, Kind};
use crate::fields::Addr;
pub use crate::frames::Frames;
use crate::units::{Cpu, Nanos, Pid, Tid};

/// One record that matters to stacks, as [`crate::Capture::read_stacks`] delivers them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackEvent<'a> {
    /// Number of its record in the input, as [`crate::Event::record`].
    pub record: u64,
    /// When, on the capture's clock. 0: it describes what was there before the capture.
    pub time: Nanos,
    /// The CPU that wrote the record.
    pub cpu: Cpu,
    /// Process of the task that was on that CPU. -1 once it has exited.
    pub pid: Pid,
    /// The task that was on that CPU.
    pub tid: Tid,
    /// What it is.
    pub what: StackRecord<'a>,
}

/// What a [`StackEvent`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StackRecord<'a> {
    /// A sample, with a stack or without one.
    Sample(Sample<'a>),
    /// Code or data was mapped.
    Mapping(Mapping<'a>),
    /// A task has a name; after an exec, new mappings.
    Comm(CommRecord),
    /// A task was created; a new process has its parent's mappings.
    Fork(Fork),
    /// A task has exited.
    Exit(Exit),
    /// Kernel code that no file holds came or went (a BPF program, a trampoline).
    KernelSymbol(KernelSymbol<'a>),
    /// The user part of call chains that were recorded before, of the same task.
    Deferred(DeferredChain<'a>),
}

/// One sample and what it recorded of the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Index in [`crate::CaptureInfo::event_types`].
    pub event_type: usize,
    /// How many occurrences it stands for (`PERF_SAMPLE_PERIOD`): nanoseconds for
    /// `cpu-clock` and `task-clock`; 1 where not recorded.
    pub period: u64,
    /// The mode of the CPU.
    pub mode: Mode,
    /// Where the CPU was (`PERF_SAMPLE_IP`).
    pub ip: Option<Addr>,
    /// The memory that it is about (`PERF_SAMPLE_ADDR`).
    pub addr: Option<Addr>,
    /// What it tells, where the analysis knows the event.
    pub kind: Option<Kind<'a>>,
    /// The frames that the kernel, or a text, gives.
    pub chain: Chain<'a>,
    /// What is needed to unwind the user part.
    pub user: Option<UserMemory<'a>>,
    /// The last branches taken.
    pub branches: Branches<'a>,
}

/// The mode that a frame ran in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// Kernel.
    Kernel,
    /// User.
    User,
    /// A hypervisor, or a guest: not this machine's tasks.
    Other,
    /// Not told.
    Unknown,
}

/// The frames of a sample, innermost first, as the capture holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Chain<'a> {
    /// None were recorded.
    #[default]
    None,
    /// Words of 8 little-endian bytes (`PERF_SAMPLE_CALLCHAIN`): addresses, and marks
    /// of the mode that follows (`enum perf_callchain_context`).
    Words(&'a [u8]),
    /// Lines of `perf script`, already with names.
    Script(&'a [u8]),
    /// Addresses of 8 little-endian bytes (ftrace's `kernel_stack` and `user_stack`).
    Ftrace {
        /// In the kernel.
        kernel: &'a [u8],
        /// In the program.
        user: &'a [u8],
    },
    /// The same as lines of text, `<stack trace>` and `<user stack trace>`, already with
    /// names.
    Trace {
        /// In the kernel.
        kernel: &'a [u8],
        /// In the program.
        user: &'a [u8],
    },
}

/// One frame of a [`Chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainFrame<'a> {
    /// Its mode.
    pub mode: Mode,
    /// Its address; `None` where a text gives none.
    pub ip: Option<u64>,
    /// Name, and the module's, where the capture gives them.
    pub named: Option<Named<'a>>,
}

/// A frame's name in the capture itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The function, without offset; empty where it is not known.
    pub symbol: &'a [u8],
    /// The module; empty where it is not told.
    pub module: &'a [u8],
}

/// Registers and a part of the stack of a task in user mode (`PERF_SAMPLE_REGS_USER`,
/// `PERF_SAMPLE_STACK_USER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserMemory<'a> {
    /// Whether the task ran 32-bit code (`PERF_SAMPLE_REGS_ABI_32`).
    pub bits32: bool,
    /// Which registers were recorded, by their perf number.
    pub mask: u64,
    /// Their values, 8 bytes each, in the order of their numbers.
    pub regs: &'a [u8],
    /// The stack from its pointer upwards, as far as it was recorded.
    pub stack: &'a [u8],
    /// How many bytes there was room for (`sample_stack_user`, or less where the record
    /// would be too long): where there are as many, the stack may go on.
    pub asked: u32,
}

impl UserMemory<'_> {
    /// A register's value, by its perf number
    /// (arch/x86/include/uapi/asm/perf_regs.h, arch/arm64/include/uapi/asm/perf_regs.h).
    #[must_use]
    pub fn reg(&self, number: u32) -> Option<u64> {
        let bit = 1_u64.checked_shl(number)?;
        if self.mask & bit == 0 {
            return None;
        }
        let index = (self.mask & bit.wrapping_sub(1)).count_ones() as usize;
        u64_at(self.regs, index.checked_mul(8)?)
    }
}

/// Last branches (`PERF_SAMPLE_BRANCH_STACK`), 24 bytes each: from, to, flags; the
/// newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Branches<'a> {
    /// The entries.
    pub bytes: &'a [u8],
    /// Whether they are the calls that have not returned (`PERF_SAMPLE_BRANCH_CALL_STACK`).
    pub call_stack: bool,
}

/// One branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Address of the branch.
    pub from: u64,
    /// Where it went.
    pub to: u64,
}

impl Branches<'_> {
    /// Each branch (`struct perf_branch_entry`), the newest first.
    pub fn entries(&self) -> impl Iterator<Item = Branch> {
        let entries = self.bytes.chunks_exact(24);
        entries.filter_map(|entry| Some(Branch { from: u64_at(entry, 0)?, to: u64_at(entry, 8)? }))
    }
}

/// Code or data that became visible in a process, or in the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mapping<'a> {
    /// Process; -1 for the kernel and its modules.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// First address.
    pub addr: Addr,
    /// Bytes.
    pub len: u64,
    /// Offset in the file, in bytes; for the kernel the address of its first symbol.
    pub pgoff: u64,
    /// Device, major and minor number; zero where not told.
    pub dev: (u32, u32),
    /// Inode; 0 where not told.
    pub ino: u64,
    /// Build id, where the record carries it.
    pub build_id: Option<BuildId>,
    /// Whether it can be executed.
    pub exec: bool,
    /// Whether it is the kernel's.
    pub kernel: bool,
    /// Path, or a name such as `[vdso]`, `//anon`, `[kernel.kallsyms]_text`.
    pub filename: &'a [u8],
}

/// Kernel code that no file holds (`PERF_RECORD_KSYMBOL`, from Linux 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// Whether it went away.
    pub gone: bool,
    /// Its name.
    pub name: &'a [u8],
}

/// The user frames that earlier samples of the same task left out
/// (`PERF_RECORD_CALLCHAIN_DEFERRED`, from Linux 6.19): recorded once, on the way back
/// to user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeferredChain<'a> {
    /// Which samples: the word after `PERF_CONTEXT_USER_DEFERRED` in their chains.
    pub cookie: u64,
    /// Its words, as [`Chain::Words`].
    pub words: &'a [u8],
}

/// A module and its build id, as the recorder listed them at the end
/// (`HEADER_BUILD_ID`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModule {
    /// Path, or a name such as `[kernel.kallsyms]`, `[vdso]`.
    pub path: String,
    /// Its build id.
    pub build_id: BuildId,
    /// Whether it is the kernel or one of its modules.
    pub kernel: bool,
}
