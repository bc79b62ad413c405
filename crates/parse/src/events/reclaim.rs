//! Reclaim, compaction and dirty throttling.

use super::tracepoints;
use crate::fields::Text;
use crate::units::Tid;

tracepoints! {
    /// Memory pressure, OOM kills and write-back throttling (EVENTS 5.3 and 9).
    Reclaim<'a> in 'a {
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
        /// Reclaim of a cgroup above its soft limit begins (cgroup v1), in the allocating
        /// task or in kswapd.
        "vmscan:mm_vmscan_memcg_softlimit_reclaim_begin" MmVmscanMemcgSoftlimitReclaimBegin
            prints "order={order} "
        {
            /// Order of the allocation.
            order: i32 = "order",
        }
        /// Reclaim of a cgroup above its soft limit ends.
        "vmscan:mm_vmscan_memcg_softlimit_reclaim_end" MmVmscanMemcgSoftlimitReclaimEnd
            prints "nr_reclaimed={nr_reclaimed}"
        {
            /// Pages reclaimed.
            nr_reclaimed: u64 = "nr_reclaimed",
        }
        /// kswapd begins to reclaim.
        "vmscan:mm_vmscan_kswapd_wake" MmVmscanKswapdWake
            prints "nid={nid} order="
        {
            /// Its NUMA node.
            nid: i32 = "nid",
        }
        /// kswapd goes to sleep.
        "vmscan:mm_vmscan_kswapd_sleep" MmVmscanKswapdSleep
            prints "nid={nid}"
        {
            /// Its NUMA node.
            nid: i32 = "nid",
        }
        /// An allocation wakes kswapd, for there is too little free memory.
        "vmscan:mm_vmscan_wakeup_kswapd" MmVmscanWakeupKswapd
            prints "nid={nid} order={order}"
            | "nid={nid} zid={} order={order}"
        {
            /// The NUMA node.
            nid: i32 = "nid",
            /// Order of the allocation.
            order: i32 = "order",
        }
        /// The OOM killer has chosen a process; written by the task whose allocation failed.
        "oom:mark_victim" MarkVictim<'a>
            prints "pid={pid} comm={comm:s} total-vm={}kB anon-rss={anon_rss}kB"
            | "pid={pid}"
        {
            /// The process's thread.
            pid: Tid = "pid",
            /// Its name (Linux 6.9).
            comm: Option<Text<'a>> = "comm",
            /// Its anonymous memory, KiB (Linux 6.9).
            anon_rss: Option<u64> = "anon_rss",
        }
        /// A writer is about to pause, because too much is dirty; with a pause of 0 or less
        /// it goes on (`balance_dirty_pages`, mm/page-writeback.c).
        "writeback:balance_dirty_pages" BalanceDirtyPages<'a>
            prints "bdi {bdi:s}: limit={limit} {:s} dirty={dirty} {:s} dirtied={dirtied} {:s} pause={pause}"
        {
            /// The backing device, `major:minor`.
            bdi: Option<Text<'a>> = "bdi",
            /// Pages that may be dirty.
            limit: Option<u64> = "limit",
            /// Pages that are dirty or under write-back.
            dirty: Option<u64> = "dirty",
            /// Pages that the writer dirtied since its last pause.
            dirtied: Option<u32> = "dirtied",
            /// Length of the pause in milliseconds, as the format prints it.
            pause: i64 = "pause",
        }
    }
}
