//! System call entry and exit.

use super::tracepoints;
use crate::fields::Args;

tracepoints! {
    /// System calls (EVENTS 2).
    Syscall in 'a {
        /// A task enters a system call.
        "raw_syscalls:sys_enter" SysEnter
            prints "NR {id} ({args:words})"
            | "id={id} args=ARRAY[{args:bytes}]"
        {
            /// Its number, by the task's architecture.
            id: i64 = "id",
            /// Its arguments.
            args: Args = "args",
        }
        /// A task leaves a system call; it is still in the kernel.
        "raw_syscalls:sys_exit" SysExit
            prints "NR {id} = {ret}"
            | "id={id} ret={ret}"
        {
            /// Its number.
            id: i64 = "id",
            /// What it returned; -4095 to -1 is an error, -512 and below a restart.
            ret: i64 = "ret",
        }
    }
}

/// The two events of any call, of which many captures have more than of all others.
pub(crate) enum RawCall {
    Enter,
    Exit,
}

impl RawCall {
    /// By the event's name; `None` for any other.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "raw_syscalls:sys_enter" => Some(Self::Enter),
            "raw_syscalls:sys_exit" => Some(Self::Exit),
            _ => None,
        }
    }
}
