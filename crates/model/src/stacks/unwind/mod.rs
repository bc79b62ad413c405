//! Registers and stack bytes to frames.

mod cfi;
mod engine;
mod files;
mod step;
mod walk;

use agenttrace_parse::stack::UserMemory;
use gimli::{AArch64, Register, X86_64};

use super::frames::{Frame, Short};
use super::spaces::Space;

pub(crate) use walk::Unwinding;

/// A machine whose stacks can be unwound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

/// What is to be unwound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'s, 'a> {
    pub(crate) space: &'s Space,
    pub(crate) user: UserMemory<'a>,
}

/// What came of it: the frames, the innermost first.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) frames: Vec<Frame>,
    pub(crate) short: Option<Short>,
}

impl Arch {
    /// By the word of `uname -m`.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// By the registers that perf recorded: arm64 has more of them.
    pub(crate) fn of_registers(mask: u64) -> Self {
        if mask.checked_shr(PC_OF_ARM64).unwrap_or(0) & 1 == 1 {
            Self::Aarch64
        } else {
            Self::X86_64
        }
    }

    /// Numbers of registers in perf: ip, sp, frame pointer, link register
    /// (arch/x86/include/uapi/asm/perf_regs.h, arch/arm64/include/uapi/asm/perf_regs.h).
    fn perf_numbers(self) -> (u32, u32, u32, Option<u32>) {
        match self {
            Self::X86_64 => (8, 7, 6, None),
            Self::Aarch64 => (PC_OF_ARM64, 31, 29, Some(30)),
        }
    }

    /// The number in perf of a general register, by its number in DWARF (System V ABI for
    /// x86-64, figure 3.36; DWARF for the Arm 64-bit Architecture).
    fn perf_number(self, register: Register) -> Option<u32> {
        match (self, register.0) {
            // rax, rdx, rcx, rbx, rsi, rdi: perf has ax, bx, cx, dx, si, di.
            (Self::X86_64, number @ 0..=5) => [0, 3, 2, 1, 4, 5].get(usize::from(number)).copied(),
            // r8 to r15 begin at 16 in perf.
            (Self::X86_64, number @ 8..=15) => Some(u32::from(number).saturating_add(8)),
            (Self::Aarch64, number @ 0..=30) => Some(number.into()),
            (Self::X86_64 | Self::Aarch64, _) => None,
        }
    }

    fn stack_pointer(self) -> Register {
        match self {
            Self::X86_64 => X86_64::RSP,
            Self::Aarch64 => AArch64::SP,
        }
    }

    fn frame_pointer(self) -> Register {
        match self {
            Self::X86_64 => X86_64::RBP,
            Self::Aarch64 => AArch64::X29,
        }
    }

    /// The register that some functions keep their frame in, beside the frame pointer:
    /// glibc's `_dl_runtime_resolve` does on x86-64.
    fn base_pointer(self) -> Register {
        match self {
            Self::X86_64 => X86_64::RBX,
            Self::Aarch64 => AArch64::X19,
        }
    }

    fn return_address(self) -> Register {
        match self {
            Self::X86_64 => X86_64::RA,
            Self::Aarch64 => AArch64::X30,
        }
    }
}

const PC_OF_ARM64: u32 = 32;

/// An address of arm64 without what pointer authentication puts in its upper bits: user
/// space has 48 bits.
fn strip(address: u64) -> u64 {
    address & ADDRESS_BITS
}

const ADDRESS_BITS: u64 = 0x0000_ffff_ffff_ffff;
