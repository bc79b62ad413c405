//! Packets, and the peers of connections.

use agenttrace_parse::events::{Event, InetSockSetState, Net};

use super::Builder;
use crate::peer::Peer;
use crate::task::TaskId;

/// `TCP_ESTABLISHED` and others (include/net/tcp_states.h).
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const CLOSE_WAIT: i32 = 8;

impl Builder {
    #[inline(never)]
    pub(super) fn net(&mut self, event: &Event<'_>, task: Option<TaskId>, net: &Net<'_>) {
        match net {
            Net::NetifReceiveSkb(packet) => {
                let loopback = packet.name.0 == b"lo";
                self.cpu(event.cpu).packet = Some(loopback);
            }
            Net::InetSockSetState(state) => {
                if let Some(task) = task.filter(|_| !self.in_interrupt(event)) {
                    self.connection(task, state);
                }
            }
            // Readiness refines nothing that a wakeup does not tell.
            Net::SkDataReady(_) => {}
        }
    }

    /// A connection's state changes inside the task's own call: the call's fd is its socket.
    /// connect sets the peer before `TCP_SYN_SENT` (net/ipv4/tcp_ipv4.c, `tcp_v4_connect`);
    /// a connection from before the capture tells its peer when it is closed.
    fn connection(&mut self, task: TaskId, state: &InetSockSetState) {
        let connects = state.newstate == SYN_SENT;
        let closes = matches!(state.oldstate, ESTABLISHED | CLOSE_WAIT);
        let Some(peer) = Peer::new(state).filter(|_| connects || closes) else { return };
        let pid = self.live(task).pid;
        if let Some(call) = self.open_syscall(task) {
            self.model.peers.add(pid, &call, peer, connects);
        }
    }
}
