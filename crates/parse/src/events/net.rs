//! Sockets and packets.

use super::tracepoints;
use crate::fields::{Addr, Ip6, Text};

tracepoints! {
    /// Sockets and packets (EVENTS 10).
    Net<'a> in 'a {
        /// A TCP socket changes its state; maybe with a foreign task current.
        "sock:inet_sock_set_state" InetSockSetState
            prints "{skaddr=0}family={family:family} protocol={:s} sport={sport} dport={dport} saddr={:s} daddr={daddr:ip} saddrv6={:s} oldstate={oldstate:tcp} newstate={newstate:tcp}"
        {
            /// The socket.
            skaddr: Addr = "skaddr",
            /// From (`TCP_*`).
            oldstate: i32 = "oldstate",
            /// To.
            newstate: i32 = "newstate",
            /// Own port.
            sport: u32 = "sport",
            /// Peer's port.
            dport: u32 = "dport",
            /// Address family.
            family: u32 = "family",
            /// Peer's IPv4 address, in the order of the wire.
            daddr: Option<u32> = "daddr",
            /// Peer's IPv6 address; texts are not read for it.
            daddr_v6: Option<Ip6> = "daddr_v6",
        }
        /// A socket has data for its reader.
        "sock:sk_data_ready" SkDataReady
            prints "{skaddr=0}family={family} protocol={} func="
        {
            /// The socket.
            skaddr: Addr = "skaddr",
            /// Address family.
            family: u32 = "family",
        }
        /// A packet came in.
        "net:netif_receive_skb" NetifReceiveSkb<'a>
            prints "dev={name:s} skbaddr={:sym} len={len}"
        {
            /// Bytes.
            len: u32 = "len",
            /// Device.
            name: Text<'a> = "name",
        }
    }
}
