//! The subsystems that time is charged to, and what it was spent waiting for or using.

/// The subsystem a nanosecond of a step is charged to. Exclusive.
///
/// The rules that choose it are the rows of the table in
/// `rows.rs`; the order here is the order of reports where numbers tie.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Not explained: lost events, not captured, before the first event.
    Unknown,
    /// Runnable, held by a CPU quota.
    CpuThrottle,
    /// Runnable, not running.
    RunDelay,
    /// A recorded interrupt over running time.
    Interrupt,
    /// A durability operation: fsync and its kin, whatever it waited for.
    Fsync,
    /// Direct or cgroup reclaim, compaction.
    Reclaim,
    /// A pause for too much dirty memory.
    WritebackThrottle,
    /// Waiting for other CPUs to flush their TLB.
    TlbFlush,
    /// Waiting for a lock of the kernel.
    KernelLock,
    /// A wait ended by the journal thread, outside durability operations.
    Journal,
    /// A page fault that slept for I/O.
    MajorFault,
    /// Making, starting and ending processes.
    Spawn,
    /// Any other page fault.
    MinorFault,
    /// A metadata system call.
    VfsMetadata,
    /// A read, or a wait for a block read.
    BlockRead,
    /// A write, or a wait for a block write.
    BlockWrite,
    /// A futex held by a task that does not work for the step.
    UserLock,
    /// Waiting for another task of the agent's tree.
    IpcWait,
    /// Waiting for another program.
    ServiceWait,
    /// Waiting for the network.
    NetworkWait,
    /// A timer the step itself set.
    Sleep,
    /// Waiting for a person or a terminal.
    Idle,
    /// Running inside a system call.
    SyscallCpu,
    /// Running in user mode.
    UserCpu,
}

impl Cause {
    /// Every cause, in the order of the enum.
    pub const ALL: [Self; 24] = [
        Self::Unknown,
        Self::CpuThrottle,
        Self::RunDelay,
        Self::Interrupt,
        Self::Fsync,
        Self::Reclaim,
        Self::WritebackThrottle,
        Self::TlbFlush,
        Self::KernelLock,
        Self::Journal,
        Self::MajorFault,
        Self::Spawn,
        Self::MinorFault,
        Self::VfsMetadata,
        Self::BlockRead,
        Self::BlockWrite,
        Self::UserLock,
        Self::IpcWait,
        Self::ServiceWait,
        Self::NetworkWait,
        Self::Sleep,
        Self::Idle,
        Self::SyscallCpu,
        Self::UserCpu,
    ];

    /// The name in reports, tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::CpuThrottle => "cpu_throttle",
            Self::RunDelay => "run_delay",
            Self::Interrupt => "interrupt",
            Self::Fsync => "fsync",
            Self::Reclaim => "reclaim",
            Self::WritebackThrottle => "writeback_throttle",
            Self::TlbFlush => "tlb_flush",
            Self::KernelLock => "kernel_lock",
            Self::Journal => "journal",
            Self::MajorFault => "major_fault",
            Self::Spawn => "spawn",
            Self::MinorFault => "minor_fault",
            Self::VfsMetadata => "vfs_metadata",
            Self::BlockRead => "block_read",
            Self::BlockWrite => "block_write",
            Self::UserLock => "user_lock",
            Self::IpcWait => "ipc_wait",
            Self::ServiceWait => "service_wait",
            Self::NetworkWait => "network_wait",
            Self::Sleep => "sleep",
            Self::Idle => "idle",
            Self::SyscallCpu => "syscall_cpu",
            Self::UserCpu => "user_cpu",
        }
    }

    /// Whether the kernel, or what it drives, made the time pass; false for the
    /// program's own work and for waits on others.
    #[must_use]
    pub fn is_kernel(self) -> bool {
        !matches!(
            self,
            Self::Unknown
                | Self::UserLock
                | Self::IpcWait
                | Self::ServiceWait
                | Self::NetworkWait
                | Self::Sleep
                | Self::Idle
                | Self::UserCpu
        )
    }
}

/// What a segment was using or waiting for. Exclusive too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Resource {
    /// A CPU, in user mode.
    CpuUser,
    /// A CPU, in the kernel.
    CpuKernel,
    /// A CPU's run queue: runnable, not running.
    RunQueue,
    /// From the submission of I/O to its issue to the device.
    DeviceQueue,
    /// From issue to completion.
    Device,
    /// The hop from a completion through an interrupt or kworker.
    Completion,
    /// The holder of a lock.
    LockHolder,
    /// A timer.
    Timer,
    /// Another task, program or machine.
    Peer,
    /// Not known.
    Unknown,
}

impl Resource {
    /// Every resource, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::CpuUser,
        Self::CpuKernel,
        Self::RunQueue,
        Self::DeviceQueue,
        Self::Device,
        Self::Completion,
        Self::LockHolder,
        Self::Timer,
        Self::Peer,
        Self::Unknown,
    ];

    /// Whether it is a CPU that runs.
    #[must_use]
    pub fn is_cpu(self) -> bool {
        matches!(self, Self::CpuUser | Self::CpuKernel)
    }

    /// The name in reports, tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuUser => "cpu_user",
            Self::CpuKernel => "cpu_kernel",
            Self::RunQueue => "run_queue",
            Self::DeviceQueue => "device_queue",
            Self::Device => "device",
            Self::Completion => "completion",
            Self::LockHolder => "lock_holder",
            Self::Timer => "timer",
            Self::Peer => "peer",
            Self::Unknown => "unknown",
        }
    }
}
