//! Who is at the other end of a connection, by the fd that calls name it with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use agenttrace_parse::Pid;
use agenttrace_parse::events::InetSockSetState;

use crate::op::SyscallOp;

/// `AF_INET6`, the same on every Linux.
const AF_INET6: u32 = 10;

/// The other end of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    /// Its address; `None`: an IPv6 address that the capture's format does not carry.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
}

impl Peer {
    /// As `sock:inet_sock_set_state` tells it. `None` without a port.
    pub(crate) fn new(state: &InetSockSetState) -> Option<Self> {
        let port = u16::try_from(state.dport).ok().filter(|port| *port != 0)?;
        let v4 =
            state.daddr.filter(|a| *a != 0).map(|a| IpAddr::V4(Ipv4Addr::from(a.to_le_bytes())));
        let v6 = state.daddr_v6.map(|a| Ipv6Addr::from(a.0).to_canonical());
        let address = if state.family == AF_INET6 {
            // An IPv4 peer of an IPv6 socket has both.
            v6.or(v4)
        } else {
            v4
        };
        Some(Self { address, port })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Some(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// The peers of all connections that the capture tells of.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// By the opening of the fd.
    opened: BTreeMap<NonZeroU32, Peer>,
    /// Of fds from before the capture.
    before: BTreeMap<(Pid, u64), Peer>,
}

impl Peers {
    /// The peer of the socket that a call of this process names in its first argument.
    #[must_use]
    pub fn of(&self, pid: Pid, call: &SyscallOp) -> Option<Peer> {
        match call.opened {
            Some(opened) => self.opened.get(&opened).copied(),
            None => self.before.get(&(pid, call.arg0)).copied(),
        }
    }

    /// A later connection of the same socket takes the place of an earlier one; a close
    /// does not.
    pub(crate) fn add(&mut self, pid: Pid, call: &SyscallOp, peer: Peer, connects: bool) {
        let key = (pid, call.arg0);
        match call.opened {
            Some(opened) if connects => {
                self.opened.insert(opened, peer);
            }
            Some(opened) => {
                self.opened.entry(opened).or_insert(peer);
            }
            None if connects => {
                self.before.insert(key, peer);
            }
            None => {
                self.before.entry(key).or_insert(peer);
            }
        }
    }
}
