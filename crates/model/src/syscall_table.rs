//! System call numbers to names, and to the few classes that the analysis tells apart.

use std::borrow::Cow;

use agenttrace_parse::{Addr, Leaves};

use crate::fd::FdCall;
use crate::op::{FdKind, SyscallOp};

/// What kind of call it is, for the cause table (DESIGN section 6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SyscallClass {
    /// fsync and its kin.
    Durability,
    /// Looks at, makes or removes names and inodes.
    Metadata,
    /// Reads from an fd into memory.
    Read,
    /// Writes from memory to an fd.
    Write,
    /// fork, vfork, clone, clone3.
    Fork,
    /// execve, execveat.
    Exec,
    /// exit, exit_group.
    Exit,
    /// wait4, waitid.
    WaitChild,
    /// futex and its newer kin.
    Futex,
    /// poll, select, epoll_wait and their kin.
    Poll,
    /// nanosleep, clock_nanosleep.
    Sleep,
    /// Sends on a socket, or sets up or ends a connection.
    SocketSend,
    /// Receives from a socket, accepts.
    SocketReceive,
    /// prctl: carries in-band marks.
    Prctl,
    /// io_uring_enter.
    IoUring,
    /// Everything else.
    Other,
}

impl SyscallClass {
    /// Whether a call of this class makes a process, or puts a new program into one. `thread`:
    /// it made a thread, which is none.
    #[must_use]
    #[inline]
    pub fn starts_process(self, thread: bool) -> bool {
        self == Self::Exec || (self == Self::Fork && !thread)
    }
}

/// One system call of an architecture.
#[derive(Clone, Debug)]
struct Entry {
    name: Cow<'static, str>,
    loader: bool,
}

/// The names and classes of one architecture's system calls, by number.
#[derive(Clone, Debug)]
pub struct SyscallTable {
    entries: Vec<Entry>,
    /// Of each its class: asked for each call, in few bytes.
    classes: Vec<SyscallClass>,
}

impl SyscallTable {
    /// For a machine as `uname -m` names it: `x86_64` (also where it is not
    /// known) or `aarch64`.
    #[must_use]
    pub fn new(arch: Option<&str>) -> Self {
        let (entries, classes) = (0..512)
            .map(|nr| {
                let name = if arch == Some("aarch64") {
                    syscalls::aarch64::Sysno::new(nr).map(|s| s.name())
                } else {
                    syscalls::x86_64::Sysno::new(nr).map(|s| s.name())
                };
                match name {
                    Some(name) => {
                        let loader = LOADER_CALLS.contains(&name);
                        (Entry { loader, name: name.into() }, classify(name))
                    }
                    None => {
                        let name = format!("sys_{nr}").into();
                        (Entry { name, loader: false }, SyscallClass::Other)
                    }
                }
            })
            .unzip();
        Self { entries, classes }
    }

    fn entry(&self, nr: i32) -> Option<&Entry> {
        usize::try_from(nr).ok().and_then(|nr| self.entries.get(nr))
    }

    /// The kernel's name, or `sys_N`.
    #[must_use]
    pub fn name(&self, nr: i32) -> Cow<'static, str> {
        self.entry(nr).map_or_else(|| format!("sys_{nr}").into(), |e| e.name.clone())
    }

    /// The class.
    #[must_use]
    #[inline]
    pub fn class(&self, nr: i32) -> SyscallClass {
        let class = usize::try_from(nr).ok().and_then(|nr| self.classes.get(nr));
        class.copied().unwrap_or(SyscallClass::Other)
    }

    /// Whether a call is about a file, and so can end in an event of one for whoever watches
    /// files (fs/notify/fsnotify.c).
    #[must_use]
    pub fn on_file(&self, call: &SyscallOp) -> bool {
        let file = matches!(call.fd, FdKind::File | FdKind::SyncFile);
        match self.class(call.nr) {
            // A close of a pipe or socket wakes others, too.
            SyscallClass::Metadata => file || self.name(call.nr) != "close",
            SyscallClass::Read | SyscallClass::Write | SyscallClass::Durability => file,
            SyscallClass::Fork
            | SyscallClass::Exec
            | SyscallClass::Exit
            | SyscallClass::WaitChild
            | SyscallClass::Futex
            | SyscallClass::Poll
            | SyscallClass::Sleep
            | SyscallClass::SocketSend
            | SyscallClass::SocketReceive
            | SyscallClass::Prctl
            | SyscallClass::IoUring
            | SyscallClass::Other => false,
        }
    }

    /// Whether a call makes a process, or puts a new program into one. A clone of a thread
    /// does not.
    #[must_use]
    pub fn starts_process(&self, call: &SyscallOp) -> bool {
        self.class(call.nr).starts_process(call.thread)
    }

    /// The number of a name; linear, for set-up.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i32> {
        self.entries.iter().position(|e| e.name == name).and_then(|nr| i32::try_from(nr).ok())
    }

    /// The numbers of those of these names that the table has; linear in each, for set-up.
    #[must_use]
    pub fn numbers(&self, names: &[&str]) -> Vec<i32> {
        names.iter().filter_map(|name| self.number(name)).collect()
    }

    /// By number, what matters later of a call in which nothing else was recorded: it did not
    /// wait or wake anybody, nor did pages of a file or requests come or go.
    #[must_use]
    pub(crate) fn leaves(&self) -> Vec<Leaves> {
        let leaves = |(entry, class): (&Entry, &SyscallClass)| match class {
            SyscallClass::Read
            | SyscallClass::Write
            | SyscallClass::Futex
            | SyscallClass::Poll
            | SyscallClass::Sleep => Leaves::Nothing,
            SyscallClass::Metadata
            | SyscallClass::SocketSend
            | SyscallClass::SocketReceive
            | SyscallClass::Other => match FdCall::by_name(&entry.name) {
                Some(FdCall::Open(Some(flags))) => Leaves::Fd { flags, unless: O_CHANGES },
                Some(FdCall::Close) => Leaves::Closed,
                None if LOOKS.contains(&&*entry.name) => Leaves::Nothing,
                Some(_) | None => Leaves::More,
            },
            SyscallClass::Durability
            | SyscallClass::Fork
            | SyscallClass::Exec
            | SyscallClass::Exit
            | SyscallClass::WaitChild
            | SyscallClass::Prctl
            | SyscallClass::IoUring => Leaves::More,
        };
        self.entries.iter().zip(&self.classes).map(leaves).collect()
    }

    /// Whether a dynamic loader makes this call (DESIGN section 6).
    #[must_use]
    pub fn is_loader_call(&self, nr: i32) -> bool {
        self.entry(nr).is_some_and(|e| e.loader)
    }
}

/// Calls that put a name into a directory, or take one out (fs/namei.c), besides those that
/// may create a file on opening it.
pub const NAME_CHANGES: [&str; 12] = [
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
];

/// Calls that look at something, or change what no event is about.
const LOOKS: [&str; 45] = [
    // Names and inodes.
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents",
    "getdents64",
    "statfs",
    "fstatfs",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "getcwd",
    // What a socket holds.
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    // The task itself.
    "lseek",
    "getpid",
    "gettid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "clock_gettime",
    "gettimeofday",
    "getrusage",
    "getrandom",
    "uname",
    "sched_yield",
    "rt_sigaction",
    "rt_sigprocmask",
    "set_robust_list",
    "rseq",
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "madvise",
    // What an fd is about; fds that it makes nobody knows.
    "ioctl",
];

const LOADER_CALLS: &[&str] = &[
    "brk",
    "arch_prctl",
    "mmap",
    "munmap",
    "mprotect",
    "access",
    "faccessat",
    "open",
    "openat",
    "openat2",
    "read",
    "pread64",
    "close",
    "stat",
    "fstat",
    "newfstatat",
    "statx",
    "readlink",
    "readlinkat",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "getrandom",
];

fn classify(name: &str) -> SyscallClass {
    use SyscallClass as C;
    match name {
        "fsync" | "fdatasync" | "sync" | "syncfs" | "sync_file_range" | "msync" => C::Durability,
        "open" | "openat" | "openat2" | "creat" | "close" | "stat" | "lstat" | "fstat"
        | "newfstatat" | "statx" | "access" | "faccessat" | "faccessat2" | "readlink"
        | "readlinkat" | "getdents" | "getdents64" | "rename" | "renameat" | "renameat2"
        | "unlink" | "unlinkat" | "mkdir" | "mkdirat" | "rmdir" | "link" | "linkat" | "symlink"
        | "symlinkat" | "mknod" | "mknodat" | "chmod" | "fchmod" | "fchmodat" | "fchmodat2"
        | "chown" | "fchown" | "lchown" | "fchownat" | "utime" | "utimes" | "utimensat"
        | "futimesat" | "truncate" | "ftruncate" | "statfs" | "fstatfs" | "getxattr"
        | "lgetxattr" | "fgetxattr" | "listxattr" | "llistxattr" | "flistxattr" | "setxattr"
        | "lsetxattr" | "fsetxattr" | "removexattr" | "lremovexattr" | "fremovexattr" | "chdir"
        | "fchdir" | "name_to_handle_at" | "inotify_add_watch" => C::Metadata,
        "read" | "pread64" | "readv" | "preadv" | "preadv2" => C::Read,
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => C::Write,
        "sendfile" | "splice" | "copy_file_range" => C::Read,
        "fork" | "vfork" | "clone" | "clone3" => C::Fork,
        "execve" | "execveat" => C::Exec,
        "exit" | "exit_group" => C::Exit,
        "wait4" | "waitid" => C::WaitChild,
        "futex" | "futex_wait" | "futex_waitv" => C::Futex,
        "poll" | "ppoll" | "select" | "pselect6" | "epoll_wait" | "epoll_pwait"
        | "epoll_pwait2" => C::Poll,
        "nanosleep" | "clock_nanosleep" => C::Sleep,
        "sendto" | "sendmsg" | "sendmmsg" | "connect" | "shutdown" => C::SocketSend,
        "recvfrom" | "recvmsg" | "recvmmsg" | "accept" | "accept4" => C::SocketReceive,
        "prctl" => C::Prctl,
        "io_uring_enter" => C::IoUring,
        _ => C::Other,
    }
}

/// `prctl`'s first argument in an in-band mark ("AGST").
pub(crate) const MARK_MAGIC: u64 = 0x4147_5354;

/// `O_CLOEXEC`, the same number as `SOCK_CLOEXEC` and its kin.
pub(crate) const O_CLOEXEC: u64 = 0o2_000_000;
/// `O_DSYNC`; `O_SYNC` contains it.
pub(crate) const O_DSYNC: u64 = 0o10_000;
/// `O_CREAT`, `O_TRUNC` and `__O_TMPFILE` (include/uapi/asm-generic/fcntl.h): to open may change
/// a directory or a file.
const O_CHANGES: u64 = 0o100 | 0o1_000 | 0o20_000_000;

/// `CLONE_THREAD`.
pub(crate) fn is_thread(flags: Addr) -> bool {
    flags.0 & 0x1_0000 != 0
}

/// `CLONE_FILES`.
pub(crate) fn shares_files(flags: Addr) -> bool {
    flags.0 & 0x400 != 0
}

#[cfg(test)]
mod tests {
    use agenttrace_parse::Args;

    use super::*;

    #[test]
    fn names_and_classes_by_architecture() {
        let x86 = SyscallTable::new(Some("x86_64"));
        assert_eq!((&*x86.name(74), x86.class(74)), ("fsync", SyscallClass::Durability));
        assert_eq!(x86.number("wait4"), Some(61));
        assert_eq!(x86.name(-1), "sys_-1");
        let arm = SyscallTable::new(Some("aarch64"));
        assert_eq!((&*arm.name(82), arm.class(82)), ("fsync", SyscallClass::Durability));
    }

    #[test]
    fn what_calls_leave_behind_by_architecture() {
        for arch in ["x86_64", "aarch64"] {
            let table = SyscallTable::new(Some(arch));
            let leaves = table.leaves();
            let all = |names: &[&str], want: Leaves| {
                for name in names {
                    // An architecture need not have each call.
                    let Some(nr) = table.number(name) else { continue };
                    assert_eq!(leaves[usize::try_from(nr).unwrap()], want, "{name}");
                }
            };
            all(&["read", "pread64", "newfstatat", "lseek", "futex", "ppoll"], Leaves::Nothing);
            all(&["recvfrom", "write", "pwritev2", "mmap", "munmap", "ioctl"], Leaves::Nothing);
            // O_CREAT, O_TRUNC, __O_TMPFILE.
            let unless = 0x40 | 0x200 | 0x40_0000;
            all(&["openat"], Leaves::Fd { flags: 2, unless });
            all(&["open"], Leaves::Fd { flags: 1, unless });
            all(&["close"], Leaves::Closed);
            // What makes fds in other ways, names, tasks or marks; what may be waited for.
            all(&["openat2", "creat", "close_range", "dup", "dup3", "fcntl"], Leaves::More);
            all(&["socket", "accept", "connect", "sendto", "epoll_ctl"], Leaves::More);
            all(&["mkdirat", "unlinkat", "ftruncate", "fsync", "fallocate"], Leaves::More);
            all(&["clone", "execve", "exit_group", "wait4", "prctl"], Leaves::More);
            all(&["io_uring_enter", "inotify_add_watch", "fadvise64"], Leaves::More);
            assert_eq!(leaves[511], Leaves::More);
        }
    }

    #[test]
    fn calls_on_files_are_told_by_their_class_and_their_fd() {
        let x86 = SyscallTable::new(Some("x86_64"));
        let on_file = |name: &str, fd: FdKind| {
            let call =
                SyscallOp { fd, ..SyscallOp::new(x86.number(name).unwrap(), &Args::default()) };
            x86.on_file(&call)
        };
        let (file, pipe, unknown) = (FdKind::File, FdKind::Pipe, FdKind::Unknown);
        assert!(
            on_file("write", file) && on_file("fsync", FdKind::SyncFile) && on_file("close", file)
        );
        assert!(on_file("openat", unknown) && on_file("unlink", unknown));
        assert!(!on_file("write", pipe) && !on_file("read", unknown) && !on_file("close", pipe));
        assert!(
            !on_file("close", unknown) && !on_file("futex", unknown) && !on_file("sendmsg", file)
        );
    }
}
