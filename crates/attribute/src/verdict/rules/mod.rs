//! The rules, one file each.

mod block_requests;
mod cannot_say;
mod cold_start;
mod cpu_throttle;
mod directory_contention;
mod fsync_stalls;
mod interrupt;
mod ipc_wait;
mod journal;
mod kernel_lock;
mod locked;
mod minor_fault_storm;
mod mmap_fault_storm;
mod network_wait;
mod numa_migration;
mod oom_kill;
mod polling_loop;
mod reclaim;
mod refaults;
mod run_delay;
mod service_wait;
mod sleep;
mod spawn_cost;
mod syscall_cpu;
mod tlb_flush;
mod user_cpu;
mod user_lock;
mod vfs_metadata_storm;
mod watch_storm;
mod writeback_throttle;

use super::Rule;

/// All rules.
pub(super) const ALL: &[&dyn Rule] = &[
    &oom_kill::Oom,
    &watch_storm::WatchStorm,
    &directory_contention::DirectoryContention,
    &numa_migration::NumaMigration,
    &cold_start::ColdStart,
    &polling_loop::PollingLoop,
    &mmap_fault_storm::MmapFaultStorm,
    &minor_fault_storm::MinorFaultStorm,
    &fsync_stalls::FsyncStalls,
    &journal::Journal,
    &spawn_cost::SpawnCost,
    &vfs_metadata_storm::VfsMetadataStorm,
    &block_requests::READS,
    &block_requests::WRITES,
    &cpu_throttle::CpuThrottle,
    &run_delay::RunDelay,
    &user_lock::UserLock,
    &kernel_lock::KernelLock,
    &network_wait::NetworkWait,
    &service_wait::ServiceWait,
    &ipc_wait::IpcWait,
    &sleep::Sleep,
    &syscall_cpu::SyscallCpu,
    &interrupt::Interrupt,
    &reclaim::Reclaim,
    &writeback_throttle::WritebackThrottle,
    &tlb_flush::TlbFlush,
    &user_cpu::UserCpu,
    &cannot_say::CannotSay,
];
