//! `syscalls:sys_enter_X` and `sys_exit_X`, whose names tell the number, in their
//! three spellings.
//!
//! ```text
//! sys_openat(dfd: ffffff9c, filename: 7f22b86040b1, ...)     tracefs (kernel/trace/trace_syscalls.c)
//! sys_openat -> 0x3
//! sys_enter_openat: dfd: 0xffffff9c, filename: 0x7f22b8...   trace-cmd, perf
//! sys_exit_openat: 0x3
//! sys_enter_openat: __syscall_nr=257 dfd=0xffffff9c ...      trace-cmd -R
//! ```

use super::values::{auto, hex_with_prefix};
use crate::events::{Kind, SysEnter, SysExit, Syscall};
use crate::fields::Args;

/// What a line's name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Enter,
    Exit,
}

/// Reads the key that [`super::body::name`] gives: the call's name and the side.
pub(super) fn key(key: &str) -> Option<(Side, &str)> {
    let bare = key.strip_prefix("syscalls:").unwrap_or(key);
    if let Some(name) = bare.strip_prefix("sys_enter_") {
        return Some((Side::Enter, name));
    }
    if let Some(name) = bare.strip_prefix("sys_exit_") {
        return Some((Side::Exit, name));
    }
    let name = bare.strip_prefix("sys_")?;
    match (name.strip_suffix('('), name.strip_suffix(" ->")) {
        (Some(name), _) => Some((Side::Enter, name)),
        (None, Some(name)) => Some((Side::Exit, name)),
        (None, None) => None,
    }
}

/// The number of a call, where the text does not tell the architecture for x86-64.
/// Tracepoints are named after the kernel's function, which a few calls have not.
pub(super) fn number(name: &str, arch: Option<&str>) -> Option<i64> {
    let name = match name {
        "newstat" => "stat",
        "newlstat" => "lstat",
        "newfstat" => "fstat",
        "newuname" => "uname",
        "sendfile64" => "sendfile",
        "umount" => "umount2",
        name => name,
    };
    let found = (0..512_u16).find(|nr| {
        let nr = usize::from(*nr);
        if arch == Some("aarch64") {
            syscalls::aarch64::Sysno::new(nr).is_some_and(|call| call.name() == name)
        } else {
            syscalls::x86_64::Sysno::new(nr).is_some_and(|call| call.name() == name)
        }
    });
    found.map(i64::from)
}

/// The event of a payload.
pub(super) fn event<'a>(side: Side, id: i64, payload: &[u8]) -> Option<Kind<'a>> {
    let raw = match payload.strip_prefix(b"__syscall_nr=").or(payload.strip_prefix(b"nr=")) {
        Some(rest) => Some(rest.get(auto(rest)?.1..)?),
        None => None,
    };
    Some(Kind::Syscall(match side {
        Side::Enter => {
            let args = match raw {
                Some(rest) => args(rest, b'='),
                None => args(payload, b':'),
            };
            Syscall::SysEnter(SysEnter { id, args: Args(args) })
        }
        Side::Exit => {
            let text = match raw {
                Some(rest) => rest.strip_prefix(b" ret=")?,
                None => payload,
            };
            let (value, _) =
                if text.starts_with(b"0x") { hex_with_prefix(text)? } else { auto(text)? };
            // The cast keeps the bits: the kernel prints an error as unsigned.
            Syscall::SysExit(SysExit { id, ret: value as i64 })
        }
    }))
}

/// Each name's value; strings and flags that newer kernels add are passed over.
fn args(mut text: &[u8], separator: u8) -> [u64; 6] {
    let mut args = [0; 6];
    for arg in &mut args {
        let after = memchr::memchr(separator, text).and_then(|at| text.get(at.checked_add(1)?..));
        let Some(after) = after.map(<[u8]>::trim_ascii_start) else { break };
        let (value, n) = hex_with_prefix(after).unwrap_or((0, 0));
        *arg = value;
        text = after.get(n..).unwrap_or(&[]);
        if let Some(string) = text.strip_prefix(b" \"") {
            let end = memchr::memchr(b'"', string).unwrap_or(string.len());
            text = string.get(end..).unwrap_or(&[]);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line_key: &str, payload: &str) -> String {
        let (side, name) = key(line_key).unwrap();
        let mut out = String::new();
        event(side, number(name, None).unwrap(), payload.as_bytes()).unwrap().write(&mut out);
        out
    }

    #[test]
    fn three_spellings() {
        let enter = "raw_syscalls:sys_enter id=257 args=ffffff9c,7f22b86040b1,80000,0,0,0";
        let exit = "raw_syscalls:sys_exit id=257 ret=-2";
        for (key, payload, expected) in [
            ("sys_openat(", "dfd: ffffff9c, filename: 7f22b86040b1, flags: 80000, mode: 0)", enter),
            (
                "sys_openat(",
                "dfd: 0xffffff9c, filename: 0x7f22b86040b1 \"/a: b, 9\", flags: 0x80000, mode: 0x0)",
                enter,
            ),
            (
                "sys_enter_openat",
                "dfd: 0xffffff9c, filename: 0x7f22b86040b1, flags: 0x00080000, mode: 0x00000000",
                enter,
            ),
            (
                "syscalls:sys_enter_openat",
                "dfd: 0xffffff9c, filename: 0x7f22b86040b1, flags: 0x00080000, mode: 0x00000000",
                enter,
            ),
            (
                "sys_enter_openat",
                "__syscall_nr=257 dfd=0xffffff9c filename=0x7f22b86040b1 flags=0x00080000 mode=0x00000000",
                enter,
            ),
            ("sys_openat ->", "0xfffffffffffffffe", exit),
            ("sys_exit_openat", "0xfffffffffffffffe", exit),
            ("sys_exit_openat", "__syscall_nr=257 ret=0xfffffffffffffffe", exit),
            ("sys_enter_getpid", "", "raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0"),
            ("sys_newfstat ->", "0x0", "raw_syscalls:sys_exit id=5 ret=0"),
        ] {
            assert_eq!(read(key, payload), expected, "{key} {payload}");
        }
        assert_eq!(number("openat", Some("aarch64")), Some(56));
        assert_eq!(number("no_such_call", None), None);
        assert_eq!(key("sys_enter"), None);
    }
}
