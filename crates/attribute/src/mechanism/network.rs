//! Waits for the network on a step's path, by connection: the fd, and the peer where known.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, Peer, SyscallClass, SyscallOp};

use super::{Mechanism, StepView};
use crate::cause::Cause;
use crate::detail::{Column, Table};
use crate::inclusive::Index;
use crate::path::{PathSegment, StepPath};

/// By peer, fd and call.
pub(super) struct NetworkWaits;

/// After a poll, the socket that it was for is read among this many operations.
const ACTS_WITHIN: usize = 64;

/// The connection that a wait was for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Connection {
    /// The other end, where the capture tells.
    pub(crate) peer: Option<Peer>,
    pub(crate) fd: u64,
}

impl Connection {
    /// `10.213.77.2:8080 (fd 5)`, or `fd 5`.
    pub(crate) fn words(self) -> String {
        match self.peer {
            Some(peer) => format!("{peer} (fd {})", self.fd),
            None => format!("fd {}", self.fd),
        }
    }
}

/// The connection that a stretch of a path waited for, and the call it waited in: the fd of
/// the call itself; after a poll, of the first socket that the task then acts on.
pub(crate) fn connection(
    index: &Index<'_>,
    segment: &PathSegment,
) -> Option<(i32, Option<Connection>)> {
    let task = index.task(segment.task)?;
    let (at, call) = task.call_at(segment.start)?;
    let of =
        |call: &SyscallOp| Connection { peer: index.model.peers.of(task.pid, call), fd: call.arg0 };
    let class = |call: &SyscallOp| index.model.syscalls.class(call.nr);
    let socket = |call: &SyscallOp| {
        call.fd.is_socket()
            || matches!(class(call), SyscallClass::SocketReceive | SyscallClass::SocketSend)
    };
    let found = if class(&call) == SyscallClass::Poll {
        let later = task.ops.iter().skip(at + 1).take(ACTS_WITHIN);
        later.filter_map(Op::syscall).find(socket).as_ref().map(of)
    } else {
        Some(call).filter(socket).as_ref().map(of)
    };
    Some((call.nr, found))
}

/// The waits of one connection in one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) connection: Option<Connection>,
    /// The call they were in.
    pub(crate) nr: i32,
    pub(crate) count: u64,
    pub(crate) total: Nanos,
    /// The longest.
    pub(crate) max: Nanos,
}

/// The waits for a cause on a path by connection and call, the longest total first.
pub(crate) fn waits(index: &Index<'_>, path: &StepPath, cause: Cause) -> Vec<Waits> {
    let mut sums: BTreeMap<(Option<Connection>, i32), Waits> = BTreeMap::new();
    for segment in path.of(cause) {
        if let Some((nr, connection)) = connection(index, segment) {
            let ns = segment.end - segment.start;
            let none = Waits { connection, nr, count: 0, total: Nanos::ZERO, max: Nanos::ZERO };
            let sum = sums.entry((connection, nr)).or_insert(none);
            sum.count += 1;
            sum.total += ns;
            sum.max = sum.max.max(ns);
        }
    }
    let mut rows: Vec<Waits> = sums.into_values().collect();
    rows.sort_by_key(|waits| Reverse(waits.total));
    rows
}

impl Mechanism for NetworkWaits {
    fn id(&self) -> &'static str {
        "network_waits"
    }
    fn title(&self) -> &'static str {
        "waits for the network on the critical path"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "raw_syscalls:sys_enter", "raw_syscalls:sys_exit"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("peer", "peer"),
            Column::count("fd", "fd"),
            Column::text("call", "waits in"),
            Column::count("count", "waits"),
            Column::time("total_ns", "total"),
            Column::time("max_ns", "longest"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let waits = waits(view.index, view.path, Cause::NetworkWait);
        let mut notes = Vec::new();
        if waits.iter().any(|w| w.connection.is_none_or(|c| c.peer.is_none())) {
            notes.push(
                "a peer is told by sock:inet_sock_set_state at its connect or close; where it is \
                 missing, neither was captured"
                    .into(),
            );
        }
        let row = |w: &Waits| {
            [
                w.connection.and_then(|c| c.peer).map(|p| p.to_string()).into(),
                w.connection.map(|c| c.fd).into(),
                view.index.model.syscalls.name(w.nr).into(),
                w.count.into(),
                w.total.into(),
                w.max.into(),
            ]
        };
        Table::from_iter(waits.iter().map(row)).with_notes(notes)
    }
}
