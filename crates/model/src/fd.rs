//! What each process's file descriptors are, from the calls that made them.

use std::num::NonZeroU32;

use agenttrace_parse::{Args, Pid};
use rustc_hash::FxHashMap;

use crate::op::FdKind;
use crate::syscall_table::{O_CLOEXEC, O_DSYNC};

#[derive(Clone, Copy, Debug, Default)]
struct Fd {
    kind: FdKind,
    /// Which opening it is of.
    opened: Option<NonZeroU32>,
    close_on_exec: bool,
}

/// Fds below this are kept in a row; programs get the lowest that is free.
const LOW: u64 = 4096;

/// The fds of one process.
#[derive(Clone, Debug, Default)]
struct Table {
    low: Vec<Option<Fd>>,
    high: FxHashMap<u64, Fd>,
}

impl Table {
    #[inline(always)]
    fn get(&self, fd: u64) -> Option<&Fd> {
        if fd < LOW {
            return self.low.get(fd as usize)?.as_ref();
        }
        // Many a first argument is no fd at all.
        if self.high.is_empty() { None } else { self.high.get(&fd) }
    }

    fn insert(&mut self, number: u64, fd: Fd) {
        if number >= LOW {
            self.high.insert(number, fd);
            return;
        }
        let index = number as usize;
        if self.low.len() <= index {
            self.low.resize(index + 1, None);
        }
        if let Some(slot) = self.low.get_mut(index) {
            *slot = Some(fd);
        }
    }

    fn remove(&mut self, fd: u64) {
        if fd >= LOW {
            self.high.remove(&fd);
        } else if let Some(slot) = self.low.get_mut(fd as usize) {
            *slot = None;
        }
    }

    /// Closes those of which `keep` says no.
    fn retain(&mut self, keep: impl Fn(u64, &Fd) -> bool) {
        for (number, slot) in self.low.iter_mut().enumerate() {
            *slot = slot.filter(|fd| keep(number as u64, fd));
        }
        self.high.retain(|number, fd| keep(*number, fd));
    }
}

/// The fd tables of all processes. Threads share their process's.
#[derive(Default, Debug)]
pub(crate) struct FdTables {
    /// Where the table of each process is.
    places: FxHashMap<Pid, Place>,
    tables: Vec<(Pid, Table)>,
    /// Places that no process has.
    free: Vec<Place>,
    /// How many fds were opened.
    opened: u32,
}

/// Where a process's table is. One that was true may be false later, and is then noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place(u32);

/// Of a place that no process has.
const NOBODY: Pid = Pid(i32::MIN);

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
    /// What an fd is, and which opening it is of. `place` is where the process's table was
    /// the last time.
    #[inline]
    pub(crate) fn look_up(
        &mut self,
        pid: Pid,
        place: &mut Place,
        fd: u64,
    ) -> (FdKind, Option<NonZeroU32>) {
        self.check(pid, place);
        let found = self.tables.get(place.0 as usize).and_then(|(_, table)| table.get(fd));
        match found {
            Some(found) => (found.kind, found.opened),
            None => (FdKind::Unknown, None),
        }
    }

    /// Where a process's table is, if it is no longer there.
    #[inline]
    fn check(&mut self, pid: Pid, place: &mut Place) {
        if self.tables.get(place.0 as usize).is_none_or(|(owner, _)| *owner != pid) {
            *place = self.place(pid);
        }
    }

    /// Where a process's table is; made where it has none.
    fn place(&mut self, pid: Pid) -> Place {
        if let Some(place) = self.places.get(&pid) {
            return *place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.tables.push((NOBODY, Table::default()));
            Place(u32::try_from(self.tables.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some((owner, _)) = self.tables.get_mut(place.0 as usize) {
            *owner = pid;
        }
        self.places.insert(pid, place);
        place
    }

    fn table(&mut self, pid: Pid) -> Option<&mut Table> {
        let place = self.place(pid);
        self.tables.get_mut(place.0 as usize).map(|(_, table)| table)
    }

    /// Applies a call that has returned.
    pub(crate) fn returned(
        &mut self,
        pid: Pid,
        place: &mut Place,
        call: FdCall,
        args: &Args,
        ret: i64,
    ) {
        let Ok(result) = u64::try_from(ret) else { return };
        let [a0, a1, a2, ..] = args.0;
        self.check(pid, place);
        let Some((_, table)) = self.tables.get_mut(place.0 as usize) else { return };
        let copied = table.get(a0).copied().unwrap_or_default();
        let mut opened = None;
        let mut new = |kind| {
            self.opened = self.opened.saturating_add(1);
            opened = NonZeroU32::new(self.opened);
            kind
        };
        let (kind, flags) = match call {
            FdCall::Open(position) => {
                let flags = position.and_then(|p| args.0.get(p).copied()).unwrap_or(0);
                (new(if flags & O_DSYNC != 0 { FdKind::SyncFile } else { FdKind::File }), flags)
            }
            FdCall::Socket => (
                new(match a0 {
                    1 => FdKind::UnixSocket,
                    2 | 10 => FdKind::InetSocket,
                    _ => FdKind::OtherSocket,
                }),
                a1,
            ),
            FdCall::Accept => {
                let listens = table.get(a0).map_or(FdKind::OtherSocket, |f| f.kind);
                (new(listens), args.0[3])
            }
            FdCall::Epoll => (new(FdKind::Epoll), a0),
            FdCall::Event => (new(FdKind::Event), a1),
            FdCall::Notify => (new(FdKind::Notify), a0),
            FdCall::Timer => (new(FdKind::Timer), a1),
            FdCall::Other => (new(FdKind::Other), a1),
            FdCall::Dup => {
                opened = copied.opened;
                (copied.kind, 0)
            }
            FdCall::DupTo => {
                table.insert(a1, Fd { close_on_exec: a2 & O_CLOEXEC != 0, ..copied });
                return;
            }
            // F_DUPFD is 0, F_DUPFD_CLOEXEC is 1030.
            FdCall::Fcntl if a1 == 0 || a1 == 1030 => {
                opened = copied.opened;
                (copied.kind, if a1 == 1030 { O_CLOEXEC } else { 0 })
            }
            FdCall::Fcntl => return,
            FdCall::Close => {
                table.remove(a0);
                return;
            }
            FdCall::CloseRange => {
                table.retain(|fd, _| fd < a0 || fd > a1);
                return;
            }
        };
        table.insert(result, Fd { kind, opened, close_on_exec: flags & O_CLOEXEC != 0 });
    }

    pub(crate) fn forked(&mut self, parent: Pid, child: Pid) {
        let copy = self.table(parent).cloned().unwrap_or_default();
        if let Some(table) = self.table(child) {
            *table = copy;
        }
    }

    pub(crate) fn executed(&mut self, pid: Pid) {
        if let Some(table) = self.table(pid) {
            table.retain(|_, fd| !fd.close_on_exec);
        }
    }

    pub(crate) fn exited(&mut self, pid: Pid) {
        if let Some(place) = self.places.remove(&pid)
            && let Some(slot) = self.tables.get_mut(place.0 as usize)
        {
            *slot = (NOBODY, Table::default());
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: Pid = Pid(7);

    fn returned(tables: &mut FdTables, pid: Pid, call: FdCall, args: [u64; 6], ret: i64) {
        tables.returned(pid, &mut Place::default(), call, &Args(args), ret);
    }

    fn opened(tables: &mut FdTables, fd: i64, flags: u64) {
        returned(tables, PID, FdCall::Open(Some(2)), [0, 0, flags, 0, 0, 0], fd);
    }

    #[test]
    fn low_and_high_fds_are_copied_closed_and_inherited_alike() {
        let mut tables = FdTables::default();
        opened(&mut tables, 3, O_CLOEXEC);
        opened(&mut tables, 5000, O_DSYNC);
        returned(&mut tables, PID, FdCall::DupTo, [3, 4096, 0, 0, 0, 0], 4096);
        // Kept from look to look: it is true, false, or of another process.
        let mut place = Place::default();
        let mut look = |tables: &mut FdTables, pid, fd| {
            let (kind, opened) = tables.look_up(pid, &mut place, fd);
            (kind, opened.map_or(0, NonZeroU32::get))
        };
        assert_eq!(look(&mut tables, PID, 3), (FdKind::File, 1));
        assert_eq!(look(&mut tables, PID, 4096), (FdKind::File, 1));
        assert_eq!(look(&mut tables, PID, 5000), (FdKind::SyncFile, 2));
        for absent in [0, 4, 4095, 5001, u64::MAX] {
            assert_eq!(look(&mut tables, PID, absent), (FdKind::Unknown, 0));
        }
        tables.forked(PID, Pid(8));
        // The copy by dup2 is not closed by an exec; another process keeps all.
        tables.executed(PID);
        assert_eq!(look(&mut tables, PID, 3), (FdKind::Unknown, 0));
        assert_eq!(look(&mut tables, PID, 4096), (FdKind::File, 1));
        assert_eq!(look(&mut tables, Pid(8), 3), (FdKind::File, 1));
        returned(&mut tables, PID, FdCall::Close, [5000, 0, 0, 0, 0, 0], 0);
        returned(&mut tables, Pid(8), FdCall::CloseRange, [3, 4999, 0, 0, 0, 0], 0);
        assert_eq!(look(&mut tables, PID, 5000), (FdKind::Unknown, 0));
        assert_eq!(look(&mut tables, Pid(8), 3), (FdKind::Unknown, 0));
        assert_eq!(look(&mut tables, Pid(8), 4096), (FdKind::Unknown, 0));
        assert_eq!(look(&mut tables, Pid(8), 5000), (FdKind::SyncFile, 2));
        // What accept copies is the kind of the socket that listens; an fd from before the
        // capture is known as soon as it is copied.
        returned(&mut tables, PID, FdCall::Socket, [2, 0, 0, 0, 0, 0], 6);
        returned(&mut tables, PID, FdCall::Accept, [6, 0, 0, 0, 0, 0], 7);
        returned(&mut tables, PID, FdCall::Accept, [60, 0, 0, 0, 0, 0], 8);
        returned(&mut tables, PID, FdCall::Dup, [60, 0, 0, 0, 0, 0], 9);
        returned(&mut tables, PID, FdCall::Accept, [9, 0, 0, 0, 0, 0], 10);
        let kinds = [7, 8, 9, 10].map(|fd| look(&mut tables, PID, fd).0);
        let (inet, other) = (FdKind::InetSocket, FdKind::OtherSocket);
        assert_eq!(kinds, [inet, other, FdKind::Unknown, FdKind::Unknown]);
        tables.exited(PID);
        assert_eq!(look(&mut tables, PID, 7), (FdKind::Unknown, 0));
        // The place of a table that is gone is the next process's.
        tables.exited(PID);
        returned(&mut tables, Pid(9), FdCall::Socket, [1, 0, 0, 0, 0, 0], 7);
        assert_eq!(look(&mut tables, PID, 7), (FdKind::Unknown, 0));
        assert_eq!(look(&mut tables, Pid(9), 7).0, FdKind::UnixSocket);
        assert_eq!(look(&mut tables, Pid(8), 4096), (FdKind::Unknown, 0));
        assert_eq!(tables.tables.len(), 3);
    }
}
