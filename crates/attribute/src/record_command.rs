//! What a capture lacks to a `perf record` command line that would record it.

use agenttrace_model::parse::CaptureInfo;

use crate::stacks::StackKind;

/// The recommended events (EVENTS section 12, standard and deep), with the first
/// Linux release that has each: (name, major, minor).
const EVENTS: &[(&str, u32, u32)] = &[
    ("sched:sched_switch", 2, 6),
    ("sched:sched_waking", 4, 3),
    ("sched:sched_wakeup", 2, 6),
    ("sched:sched_wakeup_new", 2, 6),
    ("sched:sched_migrate_task", 2, 6),
    ("sched:sched_process_fork", 2, 6),
    ("sched:sched_process_exec", 3, 4),
    ("sched:sched_prepare_exec", 6, 10),
    ("sched:sched_process_exit", 2, 6),
    ("task:task_newtask", 3, 4),
    ("task:task_rename", 3, 4),
    ("signal:signal_generate", 2, 6),
    ("exceptions:page_fault_user", 3, 13),
    ("exceptions:page_fault_kernel", 3, 13),
    ("filemap:mm_filemap_add_to_page_cache", 3, 16),
    ("filemap:mm_filemap_delete_from_page_cache", 3, 16),
    ("filemap:mm_filemap_fault", 6, 12),
    ("filemap:mm_filemap_map_pages", 6, 12),
    ("block:block_bio_queue", 2, 6),
    ("block:block_rq_insert", 2, 6),
    ("block:block_rq_issue", 2, 6),
    ("block:block_rq_requeue", 2, 6),
    ("block:block_rq_complete", 2, 6),
    ("block:block_plug", 2, 6),
    ("block:block_unplug", 2, 6),
    ("ext4:ext4_writepages", 3, 7),
    ("ext4:ext4_writepages_result", 3, 7),
    ("ext4:ext4_da_write_begin", 2, 6),
    ("ext4:ext4_es_lookup_extent_enter", 3, 10),
    ("ext4:ext4_fc_commit_start", 5, 10),
    ("ext4:ext4_fc_commit_stop", 5, 10),
    ("jbd2:jbd2_handle_start", 3, 10),
    ("jbd2:jbd2_handle_stats", 3, 10),
    ("jbd2:jbd2_run_stats", 2, 6),
    ("jbd2:jbd2_commit_locking", 2, 6),
    ("jbd2:jbd2_commit_flushing", 2, 6),
    ("jbd2:jbd2_commit_logging", 2, 6),
    ("ext4:ext4_sync_file_enter", 2, 6),
    ("ext4:ext4_sync_file_exit", 2, 6),
    ("jbd2:jbd2_start_commit", 2, 6),
    ("jbd2:jbd2_end_commit", 2, 6),
    ("lock:contention_begin", 5, 19),
    ("lock:contention_end", 5, 19),
    ("irq:irq_handler_entry", 2, 6),
    ("irq:irq_handler_exit", 2, 6),
    ("irq:softirq_entry", 2, 6),
    ("irq:softirq_exit", 2, 6),
    ("timer:hrtimer_expire_entry", 2, 6),
    ("workqueue:workqueue_execute_start", 2, 6),
    ("workqueue:workqueue_execute_end", 2, 6),
    ("net:netif_receive_skb", 2, 6),
    ("sock:inet_sock_set_state", 4, 16),
    // Not io_uring_task_work_run: an SQPOLL thread that spins writes millions.
    ("io_uring:io_uring_create", 5, 1),
    ("io_uring:io_uring_submit_req", 6, 4),
    ("io_uring:io_uring_submit_sqe", 5, 1),
    ("io_uring:io_uring_complete", 5, 1),
    ("io_uring:io_uring_queue_async_work", 5, 1),
    ("io_uring:io_uring_poll_arm", 5, 5),
    ("io_uring:io_uring_file_get", 5, 5),
    ("io_uring:io_uring_cqe_overflow", 5, 19),
    ("vmscan:mm_vmscan_direct_reclaim_begin", 2, 6),
    ("vmscan:mm_vmscan_direct_reclaim_end", 2, 6),
    ("vmscan:mm_vmscan_memcg_reclaim_begin", 3, 0),
    ("vmscan:mm_vmscan_memcg_reclaim_end", 3, 0),
    ("vmscan:mm_vmscan_throttled", 5, 16),
    ("vmscan:mm_vmscan_wakeup_kswapd", 2, 6),
    ("vmscan:mm_vmscan_kswapd_wake", 2, 6),
    ("vmscan:mm_vmscan_kswapd_sleep", 2, 6),
    ("compaction:mm_compaction_begin", 3, 14),
    ("compaction:mm_compaction_end", 3, 14),
    ("oom:mark_victim", 4, 14),
    ("writeback:balance_dirty_pages", 3, 1),
    ("tlb:tlb_flush", 3, 17),
    ("csd:csd_queue_cpu", 6, 5),
    ("csd:csd_function_entry", 6, 5),
    ("csd:csd_function_exit", 6, 5),
];

/// Events that have another name since this release.
const GONE: &[(&str, u32, u32)] = &[("io_uring:io_uring_submit_sqe", 6, 4)];

/// Events that exist on x86 alone.
const X86_ONLY: &[&str] =
    &["exceptions:page_fault_user", "exceptions:page_fault_kernel", "tlb:tlb_flush"];

/// A `perf record` command line for the kernel that the capture was recorded on:
/// all recommended events that this release has, or that the capture shows it to have.
#[must_use]
pub fn record_command(info: &CaptureInfo) -> String {
    let release = info.os_release.as_deref().and_then(parse_release);
    let has = |name: &str| info.event_types.iter().any(|t| t.name == name);
    let x86 = info.arch.as_deref().is_none_or(|arch| arch.contains("86"));
    let events: Vec<&str> = EVENTS
        .iter()
        .filter(|(name, major, minor)| {
            has(name)
                || (release.is_none_or(|r| r >= (*major, *minor))
                    && GONE.iter().all(|(gone, major, minor)| {
                        gone != name || release.is_some_and(|r| r < (*major, *minor))
                    })
                    && (x86 || !X86_ONLY.contains(name)))
        })
        .map(|(name, _, _)| *name)
        .collect();
    // Each fault changes the task's own memory; what a fork copies is not its own yet.
    let resident = if has("kmem:rss_stat") || release.is_some_and(|r| r >= (5, 6)) {
        "  -e kmem:rss_stat --filter 'curr == 0' \\\n"
    } else {
        ""
    };
    format!(
        "perf record -a -d -c 1 -k CLOCK_MONOTONIC -m 8M -o perf.data \\\n  \
         -e raw_syscalls:sys_enter,raw_syscalls:sys_exit --exclude-perf \\\n  \
         -e minor-faults,major-faults \\\n{resident}  -e {}",
        events.join(",")
    )
}

/// A `perf record` command line that records what a flamegraph of this kind needs. The
/// events can be added to those of [`record_command`].
#[must_use]
pub fn stack_command(kind: StackKind) -> &'static str {
    match kind {
        StackKind::Cpu | StackKind::Wall => {
            "perf record -a -k CLOCK_MONOTONIC -e cpu-clock -F 997 --call-graph fp"
        }
        StackKind::OffCpu => {
            "perf record -a -k CLOCK_MONOTONIC -e sched:sched_switch,sched:sched_waking -c 1 --call-graph fp"
        }
        StackKind::Locks => {
            "perf record -a -k CLOCK_MONOTONIC -e lock:contention_begin,lock:contention_end -c 1 --call-graph fp"
        }
        StackKind::Faults => {
            "perf record -a -k CLOCK_MONOTONIC -e page-faults -c 1 -d --call-graph fp"
        }
    }
}

/// The first two numbers of a kernel release.
pub(crate) fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_has_is_asked_for() {
        let old = CaptureInfo {
            os_release: Some("5.10.0-30-amd64".to_owned()),
            ..CaptureInfo::default()
        };
        let command = record_command(&old);
        assert!(command.contains("sched:sched_waking"));
        assert!(!command.contains("lock:contention_begin"), "it came with 5.19");
        assert!(command.contains("io_uring_submit_sqe") && !command.contains("submit_req"));
        assert!(!command.contains("mm_filemap_fault"), "it came with 6.12");
        let arm = CaptureInfo {
            os_release: Some("6.18.0".to_owned()),
            arch: Some("aarch64".to_owned()),
            ..CaptureInfo::default()
        };
        assert!(!record_command(&arm).contains("page_fault_user"));
        assert!(!record_command(&arm).contains("submit_sqe"), "submit_req since 6.4");
        assert!(record_command(&arm).contains("--exclude-perf \\\n  -e minor-faults,major-faults"));
    }
}
