//! io_uring requests: who submitted them, which worker ran them, who completed them.
//!
//! ```text
//! task     submit, hand over [ waits in io_uring_enter          ] completion seen
//! worker                 [ reads, syncs                       ] complete, wake
//! ```

use std::collections::BTreeMap;

use agenttrace_parse::events::uring_opcode;
use agenttrace_parse::{Addr, Nanos};
use rustc_hash::FxHashMap;

use crate::syscall_table::SyscallClass;
use crate::task::{Task, TaskId, WakeSource};
use crate::wakes::Wakes;

/// `IORING_OP_*` (include/uapi/linux/io_uring.h).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UringOp(pub u32);

impl UringOp {
    /// The kernel's word, or `op N`.
    #[must_use]
    pub fn name(self) -> String {
        uring_opcode(self.0).map_or_else(|| format!("op {}", self.0), str::to_owned)
    }

    /// The class of the system call that does the same.
    #[must_use]
    pub fn class(self) -> SyscallClass {
        match uring_opcode(self.0).unwrap_or_default() {
            "FSYNC" | "SYNC_FILE_RANGE" => SyscallClass::Durability,
            "READV" | "READ_FIXED" | "READ" | "READ_MULTISHOT" | "READV_FIXED" => {
                SyscallClass::Read
            }
            "WRITEV" | "WRITE_FIXED" | "WRITE" | "WRITEV_FIXED" => SyscallClass::Write,
            "OPENAT" | "OPENAT2" | "CLOSE" | "STATX" | "RENAMEAT" | "UNLINKAT" | "MKDIRAT"
            | "SYMLINKAT" | "LINKAT" | "FSETXATTR" | "SETXATTR" | "FGETXATTR" | "GETXATTR"
            | "FTRUNCATE" => SyscallClass::Metadata,
            "SENDMSG" | "SEND" | "SEND_ZC" | "SENDMSG_ZC" | "CONNECT" | "SHUTDOWN" => {
                SyscallClass::SocketSend
            }
            "RECVMSG" | "RECV" | "RECV_ZC" | "ACCEPT" => SyscallClass::SocketReceive,
            "TIMEOUT" | "LINK_TIMEOUT" => SyscallClass::Sleep,
            "POLL_ADD" | "EPOLL_WAIT" => SyscallClass::Poll,
            "FUTEX_WAIT" | "FUTEX_WAITV" => SyscallClass::Futex,
            "WAITID" => SyscallClass::WaitChild,
            _ => SyscallClass::Other,
        }
    }
}

/// One request of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UringRequest {
    /// The ring.
    pub ring: Addr,
    /// What it does.
    pub op: UringOp,
    /// When it was taken from the ring.
    pub submitted: Nanos,
    /// By which task: in io_uring_enter, or the ring's own thread.
    pub submitter: Option<TaskId>,
    /// Whether the ring's own thread did (SQPOLL).
    pub polled: bool,
    /// When it was handed to a worker.
    pub punted: Option<Nanos>,
    /// The worker that ran it.
    pub worker: Option<TaskId>,
    /// It waited until its file was ready.
    pub armed: bool,
    /// Its file descriptor, where the kernel told it.
    pub fd: Option<i32>,
    /// When its (first) completion was written; `None`: not recorded.
    pub completed: Option<Nanos>,
    /// The task that wrote the completion; `None` from interrupt context.
    pub completer: Option<TaskId>,
    /// Its result: an errno below zero.
    pub result: Option<i64>,
}

/// A ring that was made within the capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UringRing {
    /// The ring.
    pub ring: Addr,
    /// When.
    pub time: Nanos,
    /// By which task.
    pub task: Option<TaskId>,
    /// A thread of its own takes the submissions.
    pub polled: bool,
}

/// A worker's time on one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UringWork {
    /// From: handed over, or the worker's previous request done.
    pub from: Nanos,
    /// To its completion.
    pub to: Nanos,
    /// Index in [`Uring::requests`].
    pub request: u32,
}

/// All requests, and the workers of io-wq.
#[derive(Clone, Default, Debug)]
pub struct Uring {
    /// In the order of their submission.
    pub requests: Vec<UringRequest>,
    /// Rings that were made.
    pub rings: Vec<UringRing>,
    /// Completions that found their ring full.
    pub overflows: Vec<Nanos>,
    /// What each worker did, in time order.
    pub work: BTreeMap<TaskId, Vec<UringWork>>,
}

impl Uring {
    /// The request that a worker is on at a time.
    #[must_use]
    pub fn at(&self, task: TaskId, time: Nanos) -> Option<(UringWork, &UringRequest)> {
        if self.work.is_empty() {
            return None;
        }
        let work = self.work.get(&task)?;
        let found = work.get(work.partition_point(|w| w.to <= time))?;
        if found.from > time {
            return None;
        }
        Some((*found, self.requests.get(found.request as usize)?))
    }
}

/// What tells requests apart: their address, or the program's number before Linux 5.12.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Request(Addr),
    UserData(u64),
}

/// Matches submissions, hand-overs and completions.
#[derive(Default, Debug)]
pub(crate) struct UringTracker {
    pub(crate) found: Uring,
    open: FxHashMap<(Addr, Key), u32>,
    /// The latest submission of each ring, which events name that know no request.
    latest: FxHashMap<Addr, u32>,
}

fn key(req: Option<Addr>, user_data: u64) -> Key {
    req.map_or(Key::UserData(user_data), Key::Request)
}

impl UringTracker {
    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(crate) fn submit(
        &mut self,
        time: Nanos,
        ring: Addr,
        req: Option<Addr>,
        user_data: u64,
        op: UringOp,
        polled: bool,
        submitter: Option<TaskId>,
    ) {
        let index = u32::try_from(self.found.requests.len()).unwrap_or(u32::MAX);
        self.found.requests.push(UringRequest {
            ring,
            op,
            submitted: time,
            submitter,
            polled,
            punted: None,
            worker: None,
            armed: false,
            fd: None,
            completed: None,
            completer: None,
            result: None,
        });
        self.open.insert((ring, key(req, user_data)), index);
        self.latest.insert(ring, index);
    }

    fn request(
        &mut self,
        ring: Addr,
        req: Option<Addr>,
        user_data: u64,
    ) -> Option<&mut UringRequest> {
        let index = self.open.get(&(ring, key(req, user_data)))?;
        self.found.requests.get_mut(*index as usize)
    }

    pub(crate) fn punt(&mut self, time: Nanos, ring: Addr, req: Addr) {
        let latest = self.latest.get(&ring).copied();
        let known = self.open.get(&(ring, Key::Request(req))).copied();
        if let Some(index) = known.or(latest)
            && let Some(request) = self.found.requests.get_mut(index as usize)
            && request.completed.is_none()
        {
            request.punted.get_or_insert(time);
        }
    }

    pub(crate) fn arm(&mut self, ring: Addr, req: Option<Addr>, user_data: u64) {
        if let Some(request) = self.request(ring, req, user_data) {
            request.armed = true;
        }
    }

    pub(crate) fn file(&mut self, ring: Addr, req: Option<Addr>, fd: i32) {
        let latest = self.latest.get(&ring).copied();
        let index = match req {
            Some(req) => self.open.get(&(ring, Key::Request(req))).copied(),
            None => latest,
        };
        if let Some(request) = index.and_then(|i| self.found.requests.get_mut(i as usize)) {
            request.fd = Some(fd);
        }
    }

    pub(crate) fn complete(
        &mut self,
        time: Nanos,
        ring: Addr,
        req: Option<Addr>,
        user_data: u64,
        result: i64,
        completer: Option<TaskId>,
    ) {
        // A multishot request completes again: its first completion counts.
        let Some(index) = self.open.remove(&(ring, key(req, user_data))) else { return };
        if let Some(request) = self.found.requests.get_mut(index as usize) {
            request.completed = Some(time);
            request.completer = completer;
            request.result = Some(result);
        }
    }

    /// Ends the capture: which worker was on which request when.
    pub(crate) fn finish(mut self, tasks: &[Task], wakes: &Wakes) -> Uring {
        let mut done: Vec<(Nanos, TaskId, Nanos, u32)> = Vec::new();
        for (index, request) in self.found.requests.iter_mut().enumerate() {
            let Some(completed) = request.completed else { continue };
            let by_worker = request.completer.filter(|task| {
                request.submitter != Some(*task)
                    && (request.punted.is_some() || is_worker(tasks, *task))
            });
            let ran = by_worker.map(|task| (completed, task)).or_else(|| {
                // With IORING_SETUP_DEFER_TASKRUN a worker leaves the completion to the
                // submitter, and wakes it.
                let woken = request.submitter.filter(|_| request.completer == request.submitter);
                worker_that_woke(tasks, wakes, woken?, request.punted?, completed)
            });
            if let Some((to, worker)) = ran {
                request.worker = Some(worker);
                let from = request.punted.unwrap_or(request.submitted);
                done.push((to, worker, from, u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        done.sort_unstable();
        for (to, worker, punted, request) in done {
            let work = self.found.work.entry(worker).or_default();
            let from = work.last().map_or(punted, |last| last.to.max(punted));
            work.push(UringWork { from, to, request });
        }
        self.found
    }
}

/// Among so many wakeups before a completion its worker's is looked for.
const NEARBY: usize = 256;

/// The worker that woke a task last within `[from, to]`, and when.
fn worker_that_woke(
    tasks: &[Task],
    wakes: &Wakes,
    wakee: TaskId,
    from: Nanos,
    to: Nanos,
) -> Option<(Nanos, TaskId)> {
    let after = wakes.up_to(to);
    let before = wakes.range(0..after).rev().take(NEARBY);
    before.take_while(|wake| wake.time >= from).filter(|wake| wake.wakee == wakee).find_map(
        |wake| match wake.source {
            WakeSource::Task(waker) if is_worker(tasks, waker) => Some((wake.time, waker)),
            WakeSource::Task(_)
            | WakeSource::Block(_)
            | WakeSource::Timer
            | WakeSource::Network
            | WakeSource::Interrupt(_)
            | WakeSource::Unknown => None,
        },
    )
}

/// `iou-wrk-PID` (io_uring/io-wq.c).
fn is_worker(tasks: &[Task], id: TaskId) -> bool {
    let task = tasks.get(id.0 as usize);
    task.is_some_and(|t| t.names.iter().any(|(_, name)| name.as_bytes().starts_with(b"iou-wrk-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: Addr = Addr(0x1000);
    const REQ: Addr = Addr(0x2000);

    #[test]
    fn a_worker_is_on_its_requests_one_after_the_other() {
        let mut t = UringTracker::default();
        let (root, worker) = (TaskId(0), TaskId(1));
        for (time, req) in [(10, REQ), (20, Addr(0x2100))] {
            t.submit(Nanos(time), RING, Some(req), 0, UringOp(3), false, Some(root));
            t.punt(Nanos(time + 1), RING, req);
        }
        t.complete(Nanos(50), RING, Some(REQ), 0, 0, Some(worker));
        t.complete(Nanos(80), RING, Some(Addr(0x2100)), 0, -5, Some(worker));
        let uring = t.finish(&[], &Wakes::default());
        let work: Vec<_> = uring.work[&worker].iter().map(|w| (w.from.0, w.to.0)).collect();
        assert_eq!(work, [(11, 50), (50, 80)]);
        assert_eq!(uring.at(worker, Nanos(60)).and_then(|(_, r)| r.result), Some(-5));
        assert_eq!(uring.at(worker, Nanos(80)), None);
        assert_eq!(uring.at(root, Nanos(60)), None);
    }

    #[test]
    fn the_memory_of_a_request_is_used_again_and_a_later_completion_is_of_no_request() {
        let mut t = UringTracker::default();
        for time in [10, 30] {
            t.submit(Nanos(time), RING, Some(REQ), 0, UringOp(22), false, Some(TaskId(0)));
            t.complete(Nanos(time + 5), RING, Some(REQ), 0, 4096, Some(TaskId(0)));
            t.complete(Nanos(time + 6), RING, Some(REQ), 0, 4096, Some(TaskId(0)));
        }
        let uring = t.finish(&[], &Wakes::default());
        let times: Vec<_> = uring.requests.iter().map(|r| r.completed).collect();
        assert_eq!(times, [Some(Nanos(15)), Some(Nanos(35))]);
        assert!(uring.work.is_empty());
    }

    #[test]
    fn before_5_12_the_programs_own_number_tells_requests_apart() {
        let mut t = UringTracker::default();
        t.submit(Nanos(1), RING, None, 7, UringOp(22), false, Some(TaskId(0)));
        t.submit(Nanos(2), RING, None, 8, UringOp(22), false, Some(TaskId(0)));
        t.punt(Nanos(3), RING, REQ);
        t.complete(Nanos(9), RING, None, 7, 1, Some(TaskId(0)));
        let uring = t.finish(&[], &Wakes::default());
        let seen: Vec<_> = uring.requests.iter().map(|r| (r.completed, r.punted)).collect();
        assert_eq!(seen, [(Some(Nanos(9)), None), (None, Some(Nanos(3)))]);
    }

    #[test]
    fn classes_are_those_of_the_calls() {
        assert_eq!(UringOp(3).class(), SyscallClass::Durability);
        assert_eq!((UringOp(22).class(), UringOp(22).name()), (SyscallClass::Read, "READ".into()));
        assert_eq!(
            (UringOp(999).class(), UringOp(999).name().as_str()),
            (SyscallClass::Other, "op 999")
        );
    }
}
