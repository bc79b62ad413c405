//! The event types of a capture to what it tells: asked for in each step, so looked up once.

use agenttrace_model::Captured;

/// What a capture tells, even if it never occurred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// System calls, entry and exit.
    pub(crate) calls: bool,
    /// Page faults.
    pub(crate) faults: bool,
    /// Which faults were completed: an entry without a completion was tried again, or refused.
    pub(crate) completions: bool,
    /// Which file a fault is on.
    pub(crate) fault_files: bool,
    /// What was read into the page cache.
    pub(crate) cache_adds: bool,
    /// Block requests, from their issue to their completion.
    pub(crate) block: bool,
    /// Block requests, at least their issue.
    pub(crate) issues: bool,
    /// Who ran on which CPU.
    pub(crate) switches: bool,
    /// Who was woken, and when he ran.
    pub(crate) wakings: bool,
    /// New processes.
    pub(crate) forks: bool,
    /// Moves between CPUs.
    pub(crate) migrations: bool,
    /// TLB flushes.
    pub(crate) flushes: bool,
    /// Waits for locks of the kernel.
    pub(crate) contention: bool,
}

impl Told {
    pub(crate) fn new(captured: &Captured) -> Self {
        let has = |name: &str| captured.has(name);
        let switches = has("sched:sched_switch");
        let issues = has("block:block_rq_issue");
        Self {
            calls: has("raw_syscalls:sys_enter") && has("raw_syscalls:sys_exit"),
            faults: has("exceptions:page_fault_user"),
            completions: has("software:minor-faults") && has("software:major-faults"),
            fault_files: has("filemap:mm_filemap_fault"),
            cache_adds: has("filemap:mm_filemap_add_to_page_cache"),
            block: issues && has("block:block_rq_complete"),
            issues,
            switches,
            wakings: switches && (has("sched:sched_waking") || has("sched:sched_wakeup")),
            forks: has("sched:sched_process_fork")
                || has("task:task_newtask")
                || has("record:fork"),
            migrations: has("sched:sched_migrate_task"),
            flushes: has("tlb:tlb_flush"),
            contention: has("lock:contention_begin"),
        }
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::Builder;
    use agenttrace_model::parse::{CaptureInfo, EventType};

    use super::*;

    fn told(names: &[&str]) -> Told {
        let event = |name: &&str| EventType { name: (*name).to_owned(), known: true, every: true };
        let event_types = names.iter().map(event).collect();
        let info = CaptureInfo { event_types, ..CaptureInfo::default() };
        Told::new(&Builder::new(&info).finish(None).unwrap().captured)
    }

    #[test]
    fn half_of_a_pair_tells_nothing() {
        let told = told(&["raw_syscalls:sys_enter", "block:block_rq_issue", "sched:sched_waking"]);
        assert!(!told.calls && !told.block && !told.wakings && !told.switches);
        assert!(told.issues);
    }

    #[test]
    fn one_of_several_names_is_enough() {
        let told = told(&["sched:sched_switch", "sched:sched_wakeup", "record:fork"]);
        assert!(told.wakings && told.forks && told.switches);
        assert!(!told.migrations && !told.contention);
    }
}
