//! Names that print formats show in place of numbers.

/// A name and its number.
pub(super) type Symbols = &'static [(&'static [u8], u64)];

/// Address families (include/linux/socket.h), as far as `inet_sock_set_state` shows them.
pub(super) const FAMILY: Symbols = &[(b"AF_INET", 2), (b"AF_INET6", 10)];

/// Socket states (include/net/tcp_states.h).
pub(super) const TCP: Symbols = &[
    (b"TCP_ESTABLISHED", 1),
    (b"TCP_SYN_SENT", 2),
    (b"TCP_SYN_RECV", 3),
    (b"TCP_FIN_WAIT1", 4),
    (b"TCP_FIN_WAIT2", 5),
    (b"TCP_TIME_WAIT", 6),
    (b"TCP_CLOSE", 7),
    (b"TCP_CLOSE_WAIT", 8),
    (b"TCP_LAST_ACK", 9),
    (b"TCP_LISTEN", 10),
    (b"TCP_CLOSING", 11),
    (b"TCP_NEW_SYN_RECV", 12),
    (b"TCP_BOUND_INACTIVE", 13),
];

/// What kind of lock (`LCB_F_*`, include/trace/events/lock.h).
pub(super) const LOCK: Symbols =
    &[(b"SPIN", 1), (b"READ", 2), (b"WRITE", 4), (b"RT", 8), (b"PERCPU", 16), (b"MUTEX", 32)];

/// `enum compact_result` (include/linux/compaction.h).
pub(super) const COMPACTION: Symbols = &[
    (b"not_suitable_zone", 0),
    (b"skipped", 1),
    (b"deferred", 2),
    (b"no_suitable_page", 3),
    (b"continue", 4),
    (b"complete", 5),
    (b"partial_skipped", 6),
    (b"contended", 7),
    (b"success", 8),
];

/// Whether compaction may block.
pub(super) const SYNC: Symbols = &[(b"sync", 1), (b"async", 0)];

/// `true` and `false`.
pub(super) const BOOL: Symbols = &[(b"true", 1), (b"false", 0)];

/// `enum io_uring_op` (include/uapi/linux/io_uring.h), in its order, by the names of
/// io_uring/opdef.c.
pub(crate) const URING: &[&[u8]] = &[
    b"NOP",
    b"READV",
    b"WRITEV",
    b"FSYNC",
    b"READ_FIXED",
    b"WRITE_FIXED",
    b"POLL_ADD",
    b"POLL_REMOVE",
    b"SYNC_FILE_RANGE",
    b"SENDMSG",
    b"RECVMSG",
    b"TIMEOUT",
    b"TIMEOUT_REMOVE",
    b"ACCEPT",
    b"ASYNC_CANCEL",
    b"LINK_TIMEOUT",
    b"CONNECT",
    b"FALLOCATE",
    b"OPENAT",
    b"CLOSE",
    b"FILES_UPDATE",
    b"STATX",
    b"READ",
    b"WRITE",
    b"FADVISE",
    b"MADVISE",
    b"SEND",
    b"RECV",
    b"OPENAT2",
    b"EPOLL_CTL",
    b"SPLICE",
    b"PROVIDE_BUFFERS",
    b"REMOVE_BUFFERS",
    b"TEE",
    b"SHUTDOWN",
    b"RENAMEAT",
    b"UNLINKAT",
    b"MKDIRAT",
    b"SYMLINKAT",
    b"LINKAT",
    b"MSG_RING",
    b"FSETXATTR",
    b"SETXATTR",
    b"FGETXATTR",
    b"GETXATTR",
    b"SOCKET",
    b"URING_CMD",
    b"SEND_ZC",
    b"SENDMSG_ZC",
    b"READ_MULTISHOT",
    b"WAITID",
    b"FUTEX_WAIT",
    b"FUTEX_WAKE",
    b"FUTEX_WAITV",
    b"FIXED_FD_INSTALL",
    b"FTRUNCATE",
    b"BIND",
    b"LISTEN",
    b"RECV_ZC",
    b"EPOLL_WAIT",
    b"READV_FIXED",
    b"WRITEV_FIXED",
    b"PIPE",
];

/// The number of a name.
pub(super) fn number(symbols: Symbols, name: &[u8]) -> Option<u64> {
    symbols.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}
