//! The start-up of interpreters: what they look for and read before a program of theirs begins.
//!
//! ```text
//! execve | loader | start-up: stat, open, read, mmap, close of modules | the program's own work
//!                                                        last of these ^  ^ first write, sleep,
//!                                                                           socket, child, ...
//! ```

use agenttrace_model::parse::Nanos;
use agenttrace_model::{FdKind, Model, NAME_CHANGES, Op, State, SyscallClass, SyscallOp, Task};

use crate::spawn::{SHELLS, base};

/// Programs that run programs, without the digits of their version.
const INTERPRETERS: &[&str] = &[
    "python", "pypy", "node", "nodejs", "deno", "bun", "ruby", "perl", "php", "java", "lua",
    "luajit", "Rscript", "R", "julia", "guile", "tclsh", "dotnet", "mono", "beam.smp",
];

/// Whether the image that a task got at `time` runs a program that it first has to find and
/// read: an interpreter by its name, or one that a script names (`sched_prepare_exec`). A
/// shell is none: it reads its script as it works.
pub(crate) fn is_interpreter(task: &Task, time: Nanos, path: &str) -> bool {
    let after = task.prepared.partition_point(|(prepared, _)| *prepared <= time);
    let script = after.checked_sub(1).and_then(|i| task.prepared.get(i)?.1.as_deref());
    let name = base(script.unwrap_or(path));
    let known = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let other = name == "env" || SHELLS.contains(&name);
    INTERPRETERS.contains(&known) || INTERPRETERS.contains(&name) || (script.is_some() && !other)
}

/// So many lookups in a row, and nothing read: a program that looks at files.
const LOOKUPS: u32 = 64;
/// So long without any call: the program computes.
const COMPUTES: Nanos = Nanos(30_000_000);

/// What a call means for a start-up.
enum Means {
    /// The program itself is at work.
    Work,
    /// A name is looked up.
    LookUp,
    /// A file's content is taken.
    Content,
    /// Nothing.
    Nothing,
}

/// Calls that change inodes, or wait for others; like [`NAME_CHANGES`], no interpreter needs
/// them to start.
const WORK: &[&str] = &[
    "creat",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "truncate",
    "ftruncate",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "inotify_add_watch",
    "socket",
    "bind",
    "listen",
    "kill",
];

/// When an interpreter that begins at `from` has read its last module: the end of the last
/// lookup or read before the first call that tells of a program at work. `None`: it looked
/// for nothing.
pub(crate) fn end(model: &Model, task: &Task, from: Nanos) -> Option<Nanos> {
    let mut work = model.syscalls.numbers(&NAME_CHANGES);
    work.extend(model.syscalls.numbers(WORK));
    let maps = model.syscalls.number("mmap");
    let (mut last, mut content, mut row, mut at) = (None, None, 0, from);
    let first = task.ops.before(from);
    for op in task.ops.iter().skip(first) {
        let Some(call) = op.syscall() else { continue };
        if op.start - at > COMPUTES {
            return last;
        }
        at = op.end.max(at);
        match means(model, task, &op, &call, &work, maps) {
            Means::Work => return last,
            Means::LookUp => {
                row += 1;
                last = Some(op.end);
                if row > LOOKUPS {
                    return content;
                }
            }
            Means::Content => {
                row = 0;
                last = Some(op.end);
                content = last;
            }
            Means::Nothing => {}
        }
    }
    last
}

fn means(
    model: &Model,
    task: &Task,
    op: &Op,
    call: &SyscallOp,
    work: &[i32],
    maps: Option<i32>,
) -> Means {
    if call.mark || op.end == Nanos::MAX || work.contains(&call.nr) {
        return Means::Work;
    }
    let slept =
        || task.spans(op.start, op.end).any(|(_, _, _, s)| matches!(s.state, State::Blocked(_)));
    match model.syscalls.class(call.nr) {
        SyscallClass::Metadata => Means::LookUp,
        SyscallClass::Read => match call.fd {
            FdKind::File | FdKind::SyncFile => Means::Content,
            FdKind::Event | FdKind::Timer => Means::Nothing,
            FdKind::Unknown
            | FdKind::InetSocket
            | FdKind::UnixSocket
            | FdKind::OtherSocket
            | FdKind::Pipe
            | FdKind::Epoll
            | FdKind::Notify
            | FdKind::Other => Means::Work,
        },
        SyscallClass::Write if call.fd == FdKind::Event => Means::Nothing,
        SyscallClass::Fork if call.thread => Means::Nothing,
        SyscallClass::Poll if !slept() => Means::Nothing,
        SyscallClass::Other if Some(call.nr) == maps => Means::Content,
        SyscallClass::Futex | SyscallClass::Prctl | SyscallClass::Other => Means::Nothing,
        SyscallClass::Write
        | SyscallClass::Fork
        | SyscallClass::Poll
        | SyscallClass::Durability
        | SyscallClass::Exec
        | SyscallClass::Exit
        | SyscallClass::WaitChild
        | SyscallClass::Sleep
        | SyscallClass::SocketSend
        | SyscallClass::SocketReceive
        | SyscallClass::IoUring => Means::Work,
    }
}
