//! What each process's file descriptors are, from the calls that made them.

use agenttrace_parse::{Args, Pid};
use rustc_hash::FxHashMap;

use crate::op::FdKind;
use crate::syscall_table::{O_CLOEXEC, O_DSYNC};

#[derive(Clone, Copy, Debug, Default)]
struct Fd {
    kind: FdKind,
    close_on_exec: bool,
}

/// The fd tables of all processes. Threads share their process's.
#[derive(Default, Debug)]
pub(crate) struct FdTables {
    tables: FxHashMap<Pid, FxHashMap<u64, Fd>>,
}

/// A call that makes, copies or closes an fd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FdCall {
    /// open, openat, creat: the flags are in this argument; none for creat.
    Open(Option<usize>),
    Socket,
    Accept,
    Epoll,
    Event,
    Notify,
    Timer,
    Other,
    Dup,
    /// dup2, dup3: the flags are in the third argument.
    DupTo,
    Fcntl,
    Close,
    CloseRange,
}

impl FdCall {
    /// By the call's name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "open" => Self::Open(Some(1)),
            "openat" => Self::Open(Some(2)),
            "openat2" | "creat" => Self::Open(None),
            "socket" => Self::Socket,
            "accept" | "accept4" => Self::Accept,
            "epoll_create" | "epoll_create1" => Self::Epoll,
            "eventfd" | "eventfd2" => Self::Event,
            "inotify_init" | "inotify_init1" | "fanotify_init" => Self::Notify,
            "timerfd_create" => Self::Timer,
            "signalfd" | "signalfd4" | "pidfd_open" | "memfd_create" | "perf_event_open" => {
                Self::Other
            }
            "dup" => Self::Dup,
            "dup2" | "dup3" => Self::DupTo,
            "fcntl" => Self::Fcntl,
            "close" => Self::Close,
            "close_range" => Self::CloseRange,
            _ => return None,
        })
    }
}

impl FdTables {
    pub(crate) fn kind(&self, pid: Pid, fd: u64) -> FdKind {
        self.tables.get(&pid).and_then(|t| t.get(&fd)).map_or(FdKind::Unknown, |f| f.kind)
    }

    /// Applies a call that has returned.
    pub(crate) fn returned(&mut self, pid: Pid, call: FdCall, args: Args, ret: i64) {
        let Ok(result) = u64::try_from(ret) else { return };
        let [a0, a1, a2, ..] = args.0;
        let table = self.tables.entry(pid).or_default();
        let (kind, flags) = match call {
            FdCall::Open(position) => {
                let flags = position.and_then(|p| args.0.get(p).copied()).unwrap_or(0);
                (if flags & O_DSYNC != 0 { FdKind::SyncFile } else { FdKind::File }, flags)
            }
            FdCall::Socket => (
                match a0 {
                    1 => FdKind::UnixSocket,
                    2 | 10 => FdKind::InetSocket,
                    _ => FdKind::OtherSocket,
                },
                a1,
            ),
            FdCall::Accept => (table.get(&a0).map_or(FdKind::OtherSocket, |f| f.kind), args.0[3]),
            FdCall::Epoll => (FdKind::Epoll, a0),
            FdCall::Event => (FdKind::Event, a1),
            FdCall::Notify => (FdKind::Notify, a0),
            FdCall::Timer => (FdKind::Timer, a1),
            FdCall::Other => (FdKind::Other, a1),
            FdCall::Dup => (table.get(&a0).map_or(FdKind::Unknown, |f| f.kind), 0),
            FdCall::DupTo => {
                let kind = table.get(&a0).map_or(FdKind::Unknown, |f| f.kind);
                table.insert(a1, Fd { kind, close_on_exec: a2 & O_CLOEXEC != 0 });
                return;
            }
            // F_DUPFD is 0, F_DUPFD_CLOEXEC is 1030.
            FdCall::Fcntl if a1 == 0 || a1 == 1030 => (
                table.get(&a0).map_or(FdKind::Unknown, |f| f.kind),
                if a1 == 1030 { O_CLOEXEC } else { 0 },
            ),
            FdCall::Fcntl => return,
            FdCall::Close => {
                table.remove(&a0);
                return;
            }
            FdCall::CloseRange => {
                table.retain(|fd, _| *fd < a0 || *fd > a1);
                return;
            }
        };
        table.insert(result, Fd { kind, close_on_exec: flags & O_CLOEXEC != 0 });
    }

    pub(crate) fn forked(&mut self, parent: Pid, child: Pid) {
        let copy = self.tables.get(&parent).cloned().unwrap_or_default();
        self.tables.insert(child, copy);
    }

    pub(crate) fn executed(&mut self, pid: Pid) {
        if let Some(table) = self.tables.get_mut(&pid) {
            table.retain(|_, fd| !fd.close_on_exec);
        }
    }

    pub(crate) fn exited(&mut self, pid: Pid) {
        self.tables.remove(&pid);
    }
}
