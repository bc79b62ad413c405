//! Reclaim, compaction and dirty throttling.

use super::tracepoints;

tracepoints! {
    /// Memory pressure and write-back throttling (EVENTS 5.3 and 9).
    Reclaim in 'a {
        /// Direct reclaim begins, in the allocating task.
        "vmscan:mm_vmscan_direct_reclaim_begin" MmVmscanDirectReclaimBegin
            prints "order={order} "
        {
            /// Order of the allocation.
            order: i32 = "order",
        }
        /// Direct reclaim ends.
        "vmscan:mm_vmscan_direct_reclaim_end" MmVmscanDirectReclaimEnd
            prints "nr_reclaimed={nr_reclaimed}"
        {
            /// Pages reclaimed.
            nr_reclaimed: u64 = "nr_reclaimed",
        }
        /// Reclaim for a cgroup limit begins, in the allocating task.
        "vmscan:mm_vmscan_memcg_reclaim_begin" MmVmscanMemcgReclaimBegin
            prints "order={order} "
        {
            /// Order of the allocation.
            order: i32 = "order",
        }
        /// Reclaim for a cgroup limit ends.
        "vmscan:mm_vmscan_memcg_reclaim_end" MmVmscanMemcgReclaimEnd
            prints "nr_reclaimed={nr_reclaimed}"
        {
            /// Pages reclaimed.
            nr_reclaimed: u64 = "nr_reclaimed",
        }
        /// Reclaim was throttled; written after the sleep.
        "vmscan:mm_vmscan_throttled" MmVmscanThrottled
            prints "nid={} usec_timeout={} usect_delayed={usec_delayed}"
        {
            /// Length of the sleep, in microseconds.
            usec_delayed: i32 = "usec_delayed",
        }
        /// Compaction of a zone begins.
        "compaction:mm_compaction_begin" MmCompactionBegin
            prints "{:s}mode={sync:sync}"
        {
            /// Whether it may block.
            sync: bool = "sync",
        }
        /// Compaction of a zone ends.
        "compaction:mm_compaction_end" MmCompactionEnd
            prints "{:s}status={status:compaction}"
        {
            /// Result.
            status: i32 = "status",
        }
        /// A writer is about to pause, because too much is dirty.
        "writeback:balance_dirty_pages" BalanceDirtyPages
            prints "{:s} pause={pause}"
        {
            /// Length of the pause in milliseconds, as the format prints it.
            pause: i64 = "pause",
        }
    }
}
