//! The rules, one file each.

mod block_reads;
mod block_writes;
mod cannot_say;
mod cold_start;
mod fsync_stalls;
mod interrupt;
mod ipc_wait;
mod journal;
mod kernel_lock;
mod memory_pressure;
mod minor_fault_storm;
mod mmap_fault_storm;
mod network_wait;
mod polling_loop;
mod run_delay;
mod service_wait;
mod sleep;
mod spawn_cost;
mod syscall_cpu;
mod user_cpu;
mod user_lock;
mod vfs_metadata_storm;

use super::Rule;

/// All rules.
pub(super) const ALL: &[&dyn Rule] = &[
    &cold_start::ColdStart,
    &polling_loop::PollingLoop,
    &mmap_fault_storm::MmapFaultStorm,
    &minor_fault_storm::MinorFaultStorm,
    &fsync_stalls::FsyncStalls,
    &journal::Journal,
    &spawn_cost::SpawnCost,
    &vfs_metadata_storm::VfsMetadataStorm,
    &block_reads::BlockReads,
    &block_writes::BlockWrites,
    &run_delay::RunDelay,
    &user_lock::UserLock,
    &kernel_lock::KernelLock,
    &network_wait::NetworkWait,
    &service_wait::ServiceWait,
    &ipc_wait::IpcWait,
    &sleep::Sleep,
    &syscall_cpu::SyscallCpu,
    &interrupt::Interrupt,
    &memory_pressure::MemoryPressure,
    &user_cpu::UserCpu,
    &cannot_say::CannotSay,
];
