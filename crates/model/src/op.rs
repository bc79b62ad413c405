//! What a task does: system calls, faults, lock waits, interrupts, as nested intervals.

use std::num::NonZeroU32;

use agenttrace_parse::{Addr, Args, Calibration, Dev, Nanos};

use crate::lock::LockKind;
use crate::reclaim::{DirtyPause, ReclaimOp};

/// One operation of a task.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Op {
    /// Entry.
    pub start: Nanos,
    /// Exit; [`Nanos::MAX`] while open. Includes the calibrated exit cost.
    pub end: Nanos,
    parent: u32,
    /// How much of `end` is calibrated exit cost, ns. While the capture is read: from the
    /// recorded exit to the task's next event, plus 1; 0 where that is not known.
    pub(crate) gap: u32,
    /// What it is.
    pub kind: OpKind,
    /// The end was not recorded.
    pub estimated: bool,
    /// The task itself submitted block reads below it.
    pub reads: bool,
    /// The task itself submitted block writes below it.
    pub writes: bool,
}

/// What an operation is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OpKind {
    /// A system call.
    Syscall(SyscallOp),
    /// A page fault.
    Fault(FaultOp),
    /// Waiting for a lock of the kernel.
    Lock {
        /// Its address.
        addr: Addr,
        /// What it is.
        kind: LockKind,
    },
    /// A device's interrupt; index of its name in [`crate::Model::names`].
    Irq(u32),
    /// A soft interrupt, by vector.
    Softirq(u32),
    /// The timer tick's interrupt.
    LocalTimer,
    /// A kworker's work item, by its function.
    Work(Addr),
    /// A journal commit.
    Commit {
        /// Device of the journal.
        dev: Dev,
        /// Transaction.
        transaction: u32,
    },
    /// A filesystem's own sync of one file.
    SyncFile {
        /// Device.
        dev: Dev,
        /// Inode.
        ino: u64,
    },
    /// Teardown of an exiting task.
    Exit,
    /// Reclaiming or compacting memory.
    Reclaim(ReclaimOp),
    /// Paused for too much dirty memory, in a write.
    DirtyPause(DirtyPause),
    /// Waiting for other CPUs to flush their TLB; index in [`crate::Model::shootdowns`].
    TlbWait(u32),
}

/// A system call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SyscallOp {
    /// Number.
    pub nr: i32,
    /// First argument: an fd or an address, for most.
    pub arg0: u64,
    /// What the fd in the first argument is, where the call takes one.
    pub fd: FdKind,
    /// Which opening that fd is of: a number for each call that made one, the same for its
    /// copies. `None`: opened before the capture, or no fd.
    pub opened: Option<NonZeroU32>,
    /// Result; `None` while open, or where it never returned.
    pub ret: Option<i64>,
    /// Goes on with a call that was interrupted (or that another tid entered):
    /// not counted again.
    pub continued: bool,
    /// An in-band step mark: not counted as work.
    pub mark: bool,
    /// It made a thread, not a process.
    pub thread: bool,
    /// Entered before the capture began, or by the parent: entry not recorded.
    pub no_entry: bool,
    /// A futex wait for a lock: for the value 2, which means "contended" to the
    /// mutexes of glibc (`lll_lock`), Rust's std and Go, or for a PI lock.
    pub lock: bool,
}

/// A page fault.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FaultOp {
    /// The address.
    pub address: Addr,
    /// x86: 1 protection, 2 write, 4 user, 0x10 fetch.
    pub error_code: u8,
    /// Index of its file in [`crate::Model::files`], where it has one.
    pub file: Option<u32>,
    /// Whether the kernel counted it major; `None` where it did not tell.
    pub major: Option<bool>,
    /// The page of its file that it asked for, where the kernel told.
    pub page: Option<u32>,
    /// Cached pages around it were mapped and it looked for no page itself (`do_fault_around`,
    /// mm/memory.c): what it asked for was in the page cache.
    pub around: bool,
}

impl FaultOp {
    /// A write to a present, write-protected page: copy-on-write.
    #[must_use]
    pub fn is_copy_on_write(self) -> bool {
        self.error_code & 3 == 3
    }
}

/// What a file descriptor is, as far as the capture tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum FdKind {
    /// Opened before the capture, or by a call that tells nothing.
    #[default]
    Unknown,
    /// A file.
    File,
    /// A file opened with `O_SYNC` or `O_DSYNC`.
    SyncFile,
    /// An internet socket.
    InetSocket,
    /// A unix socket.
    UnixSocket,
    /// Another socket.
    OtherSocket,
    /// A pipe.
    Pipe,
    /// An eventfd.
    Event,
    /// An epoll instance.
    Epoll,
    /// An inotify or fanotify instance.
    Notify,
    /// A timerfd.
    Timer,
    /// A signalfd, pidfd, memfd and others.
    Other,
}

impl FdKind {
    /// Every kind, in the order of the enum.
    pub(crate) const ALL: [Self; 12] = [
        Self::Unknown,
        Self::File,
        Self::SyncFile,
        Self::InetSocket,
        Self::UnixSocket,
        Self::OtherSocket,
        Self::Pipe,
        Self::Event,
        Self::Epoll,
        Self::Notify,
        Self::Timer,
        Self::Other,
    ];

    /// Whether it is a socket of any kind.
    #[must_use]
    pub fn is_socket(self) -> bool {
        matches!(self, Self::InetSocket | Self::UnixSocket | Self::OtherSocket)
    }
}

impl Op {
    #[inline]
    pub(crate) fn new(start: Nanos, parent: Option<usize>, kind: OpKind) -> Self {
        Self {
            start,
            end: Nanos::MAX,
            parent: parent.and_then(|p| u32::try_from(p).ok()).unwrap_or(u32::MAX),
            gap: 0,
            kind,
            estimated: false,
            reads: false,
            writes: false,
        }
    }

    /// After the capture is read: its exit's cost, or where its end was guessed, the end that
    /// the last evidence of it allows.
    pub(crate) fn settle(&mut self, costs: &Costs) {
        if self.end == Nanos::MAX {
            return;
        }
        let cost = match self.kind {
            OpKind::Fault(_) if self.estimated => {
                let evidence = self.end - Nanos(u64::from(self.gap.wrapping_sub(1)));
                self.end = self.end.min(evidence + costs.fault_reach);
                self.gap = 0;
                return;
            }
            OpKind::Fault(_) => costs.fault,
            OpKind::Syscall(_) => costs.call,
            OpKind::Lock { .. }
            | OpKind::Irq(_)
            | OpKind::Softirq(_)
            | OpKind::LocalTimer
            | OpKind::Work(_)
            | OpKind::Commit { .. }
            | OpKind::SyncFile { .. }
            | OpKind::Exit
            | OpKind::Reclaim(_)
            | OpKind::DirtyPause(_)
            | OpKind::TlbWait(_) => return,
        };
        self.gap = cost.within(self.gap);
        self.end += Nanos(u64::from(self.gap));
    }

    /// When its exit was recorded: `end` without the calibrated cost.
    #[must_use]
    #[inline]
    pub fn recorded_end(self) -> Nanos {
        self.end - Nanos(u64::from(self.gap))
    }

    /// The operation around it.
    #[must_use]
    #[inline]
    pub fn parent(self) -> Option<usize> {
        (self.parent != u32::MAX).then_some(self.parent as usize)
    }

    /// The system call, if it is one.
    #[must_use]
    #[inline]
    pub fn syscall(self) -> Option<SyscallOp> {
        if let OpKind::Syscall(call) = self.kind { Some(call) } else { None }
    }

    /// The fault, if it is one.
    #[must_use]
    #[inline]
    pub fn fault(self) -> Option<FaultOp> {
        if let OpKind::Fault(fault) = self.kind { Some(fault) } else { None }
    }

    /// The function, if it is a kworker's work item.
    #[must_use]
    #[inline]
    pub fn work(self) -> Option<Addr> {
        if let OpKind::Work(function) = self.kind { Some(function) } else { None }
    }

    /// The journal's device, if it is a commit.
    #[must_use]
    #[inline]
    pub fn commit(self) -> Option<Dev> {
        if let OpKind::Commit { dev, .. } = self.kind { Some(dev) } else { None }
    }

    /// Length; zero while open.
    #[must_use]
    #[inline]
    pub fn duration(self) -> Nanos {
        if self.end == Nanos::MAX { Nanos::ZERO } else { self.end - self.start }
    }
}

/// What leaving calls and faults costs, made ready for many of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    pub(crate) call: Cost,
    pub(crate) fault: Cost,
    /// How long after its last evidence a fault may end.
    fault_reach: Nanos,
}

/// What leaving one costs, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    exact: u32,
    /// What it may have been rounded up to.
    rounded: u32,
}

impl Costs {
    /// For times that are rounded to `unit`.
    pub(crate) fn new(costs: &Calibration, unit: Nanos) -> Self {
        let cost = |cost| Cost::new(cost, unit);
        let (call, fault) = (cost(costs.exit_cost), cost(costs.fault_cost));
        Self { call, fault, fault_reach: costs.fault_reach }
    }
}

impl Cost {
    fn new(cost: Nanos, unit: Nanos) -> Self {
        let unit = unit.0.max(1);
        let narrow = |cost: u64| u32::try_from(cost).unwrap_or(u32::MAX);
        let rounded = cost.0.div_ceil(unit).saturating_mul(unit);
        Self { exact: narrow(cost.0), rounded: narrow(rounded) }
    }

    /// How much of the gap after an exit is the exit's own cost; `gap` is as [`Op::gap`] while
    /// the capture is read.
    #[inline]
    pub(crate) fn within(self, gap: u32) -> u32 {
        match gap.checked_sub(1) {
            None => 0,
            // A gap that the cost may have been rounded up to is all cost.
            Some(gap) if gap <= self.rounded => gap,
            Some(_) => self.exact,
        }
    }
}

impl SyscallOp {
    pub(crate) fn new(nr: i32, args: &Args) -> Self {
        Self {
            nr,
            arg0: args.0[0],
            fd: FdKind::Unknown,
            opened: None,
            ret: None,
            continued: false,
            mark: false,
            thread: false,
            no_entry: false,
            lock: false,
        }
    }
}
