//! Causes to families, each with one hue for pictures and terminals.

use agenttrace_attribute::cause::Cause;

/// Causes that share a hue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Family {
    Unknown,
    Scheduler,
    Durability,
    Memory,
    Fault,
    Spawn,
    Metadata,
    Block,
    Wait,
    Cpu,
}

impl Family {
    /// Every family, in the order of legends.
    pub(crate) const ALL: [Self; 10] = [
        Self::Scheduler,
        Self::Durability,
        Self::Fault,
        Self::Memory,
        Self::Spawn,
        Self::Metadata,
        Self::Block,
        Self::Wait,
        Self::Cpu,
        Self::Unknown,
    ];

    /// The family of a cause.
    pub(crate) fn of(cause: Cause) -> Self {
        match cause {
            Cause::Unknown => Self::Unknown,
            Cause::CpuThrottle | Cause::RunDelay | Cause::Interrupt => Self::Scheduler,
            Cause::Fsync | Cause::Journal => Self::Durability,
            Cause::Reclaim | Cause::WritebackThrottle | Cause::TlbFlush | Cause::KernelLock => {
                Self::Memory
            }
            Cause::MajorFault | Cause::MinorFault => Self::Fault,
            Cause::Spawn => Self::Spawn,
            Cause::VfsMetadata => Self::Metadata,
            Cause::BlockRead | Cause::BlockWrite => Self::Block,
            Cause::UserLock
            | Cause::IpcWait
            | Cause::ServiceWait
            | Cause::NetworkWait
            | Cause::Sleep
            | Cause::Idle => Self::Wait,
            Cause::SyscallCpu | Cause::UserCpu => Self::Cpu,
        }
    }

    /// The words of legends.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Scheduler => "run delay",
            Self::Durability => "fsync, journal",
            Self::Memory => "reclaim, locks",
            Self::Fault => "page faults",
            Self::Spawn => "spawn",
            Self::Metadata => "metadata",
            Self::Block => "block I/O",
            Self::Wait => "waits on others",
            Self::Cpu => "CPU",
        }
    }

    /// A fill that black text is readable on.
    pub(crate) fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::Unknown => (0xb5, 0xb5, 0xb5),
            Self::Scheduler => (0xf2, 0xc1, 0x3c),
            Self::Durability => (0xee, 0x77, 0x6c),
            Self::Memory => (0xd6, 0x8b, 0xd8),
            Self::Fault => (0xf2, 0x95, 0x43),
            Self::Spawn => (0x5f, 0xc3, 0xb0),
            Self::Metadata => (0xa9, 0x9b, 0xee),
            Self::Block => (0xc2, 0x9a, 0x74),
            Self::Wait => (0x84, 0xb6, 0xe8),
            Self::Cpu => (0x93, 0xcb, 0x6b),
        }
    }

    /// The same hue, paler: for frames above which most time is of this family.
    pub(crate) fn pale(self) -> (u8, u8, u8) {
        let (r, g, b) = self.rgb();
        // Halfway to white.
        let mix = |c: u8| u8::midpoint(c, 255);
        (mix(r), mix(g), mix(b))
    }
}
