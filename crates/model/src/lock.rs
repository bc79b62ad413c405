//! What kind of kernel lock a task waits for, from the flags of `lock:contention_begin`.

/// The kind of a contended kernel lock, and how it is asked for.
///
/// By the `LCB_F_*` flags of include/trace/events/lock.h (Linux 5.19), as
/// tools/perf/builtin-lock.c (`lock_type_table`) reads them: 1 spin, 2 read, 4 write,
/// 8 rt, 16 percpu, 32 mutex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LockKind {
    /// `struct semaphore`.
    Semaphore,
    /// `spinlock_t`.
    Spinlock,
    /// `rwlock_t`, for reading.
    RwlockRead,
    /// `rwlock_t`, for writing.
    RwlockWrite,
    /// `struct rw_semaphore`, shared. Directories (`i_rwsem`) and address spaces
    /// (`mmap_lock`) have such locks.
    RwsemRead,
    /// `struct rw_semaphore`, exclusive.
    RwsemWrite,
    /// `struct rt_mutex`.
    RtMutex,
    /// `struct percpu_rw_semaphore`, shared.
    PercpuRead,
    /// `struct percpu_rw_semaphore`, exclusive.
    PercpuWrite,
    /// `struct mutex`.
    Mutex,
    /// Flags that no kernel known here writes.
    Unknown,
}

impl LockKind {
    /// Every kind, in the order of the enum.
    pub(crate) const ALL: [Self; 11] = [
        Self::Semaphore,
        Self::Spinlock,
        Self::RwlockRead,
        Self::RwlockWrite,
        Self::RwsemRead,
        Self::RwsemWrite,
        Self::RtMutex,
        Self::PercpuRead,
        Self::PercpuWrite,
        Self::Mutex,
        Self::Unknown,
    ];

    /// By the event's flags.
    #[must_use]
    pub fn of(flags: u32) -> Self {
        match flags {
            0 => Self::Semaphore,
            1 => Self::Spinlock,
            3 => Self::RwlockRead,
            5 => Self::RwlockWrite,
            2 => Self::RwsemRead,
            4 => Self::RwsemWrite,
            // On PREEMPT_RT rwlocks are built of rt-mutexes.
            8 | 9 => Self::RtMutex,
            10 => Self::RwlockRead,
            12 => Self::RwlockWrite,
            18 => Self::PercpuRead,
            20 => Self::PercpuWrite,
            32 | 33 => Self::Mutex,
            _ => Self::Unknown,
        }
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Semaphore => "semaphore",
            Self::Spinlock => "spinlock",
            Self::RwlockRead => "rwlock (read)",
            Self::RwlockWrite => "rwlock (write)",
            Self::RwsemRead => "rwsem (read)",
            Self::RwsemWrite => "rwsem (write)",
            Self::RtMutex => "rt-mutex",
            Self::PercpuRead => "percpu-rwsem (read)",
            Self::PercpuWrite => "percpu-rwsem (write)",
            Self::Mutex => "mutex",
            Self::Unknown => "lock",
        }
    }

    /// Whether it is a read-write semaphore.
    #[must_use]
    pub fn is_rwsem(self) -> bool {
        matches!(self, Self::RwsemRead | Self::RwsemWrite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_to_kinds() {
        let kinds = [(1, "spinlock"), (4, "rwsem (write)"), (32, "mutex"), (33, "mutex")];
        for (flags, name) in kinds {
            assert_eq!(LockKind::of(flags).name(), name);
        }
        assert_eq!(LockKind::of(64), LockKind::Unknown);
    }
}
