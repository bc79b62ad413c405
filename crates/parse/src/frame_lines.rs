//! Lines of stacks in texts to frames: those of `perf script`, of tracefs and of
//! `trace-cmd report`.

use crate::stack::{ChainFrame, Mode, Named};

/// Columns behind the tab in which `perf script` shows an address
/// (`sample__fprintf_callchain` in tools/perf/util/evsel_fprintf.c).
const IP_WIDTH: usize = 16;

/// `\tffffffff821f8298 __schedule+0x618 ([kernel.kallsyms])`, and of an inlined function
/// `\t    55e7c8a2b1c9 inner (inlined)`. `None` for any other line.
pub(crate) fn script(line: &[u8]) -> Option<ChainFrame<'_>> {
    let text = line.strip_prefix(b"\t")?;
    if text.starts_with(b"\t") || text.trim_ascii().is_empty() {
        return None;
    }
    // Without addresses (`-F sym`) the column is not there.
    let (ip, rest) = match hex_word(text) {
        Some((ip, rest)) if text.len().saturating_sub(rest.len()) >= IP_WIDTH => (Some(ip), rest),
        _ => (None, text),
    };
    let mut rest = rest.trim_ascii();
    let inlined = rest.strip_suffix(b" (inlined)");
    rest = inlined.unwrap_or(rest);
    let (symbol, module) = split_module(rest);
    let symbol = match symbol {
        b"[unknown]" => &[],
        symbol => without_offset(symbol),
    };
    let module: &[u8] = if module == b"[unknown]" { &[] } else { module };
    Some(ChainFrame { mode: mode(ip, module), ip, named: Some(Named { symbol, module }) })
}

/// A text does not tell the mode; addresses and the kernel's names do.
fn mode(ip: Option<u64>, module: &[u8]) -> Mode {
    if module.starts_with(b"[guest.kernel") {
        return Mode::Other;
    }
    // It stands where the kernel's addresses are.
    if module == b"[vsyscall]" {
        return Mode::User;
    }
    if module.starts_with(b"[kernel.") {
        return Mode::Kernel;
    }
    match ip {
        Some(ip) if ip >> 63 == 1 => Mode::Kernel,
        Some(_) => Mode::User,
        None => Mode::Unknown,
    }
}

/// `name (module)`: the module's parentheses may hold others, such as ` (deleted)`.
fn split_module(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(inner) = text.strip_suffix(b")") else { return (text, &[]) };
    let mut depth = 1_usize;
    for at in memchr::memrchr2_iter(b'(', b')', inner) {
        if inner.get(at) == Some(&b')') {
            depth = depth.saturating_add(1);
            continue;
        }
        depth = depth.saturating_sub(1);
        if depth == 0 {
            let (name, module) = (inner.get(..at), inner.get(at.saturating_add(1)..));
            let (name, module) = (name.unwrap_or(&[]), module.unwrap_or(&[]));
            // A function's own parentheses follow its name at once.
            return match name.strip_suffix(b" ") {
                Some(name) => (name, module),
                None if name.is_empty() => (name, module),
                None => (text, &[]),
            };
        }
    }
    (text, &[])
}

/// ` => func`, ` => func+0x12/0x50 <ffffffff81234567>`, `=> func (ffffffff81234567)`,
/// ` =>  <00007f6c3423caa7>`, ` => /usr/bin/bash[+0x2f9ee]`, `=> 0x7f6c3423caa7`
/// (`seq_print_ip_sym` and `seq_print_user_ip` in kernel/trace/trace_output.c;
/// `trace_stack_handler` in trace-cmd's plugins). `None` for any other line, and for
/// what only fills a stack up.
pub(crate) fn trace(line: &[u8], mode: Mode) -> Option<ChainFrame<'_>> {
    let text = line.trim_ascii().strip_prefix(b"=>")?.trim_ascii();
    let (name, ip) = with_address(text, b'<', b'>')
        .or_else(|| with_address(text, b'(', b')'))
        .map_or((text, None), |(name, ip)| (name, Some(ip)));
    let (name, ip) = match (ip, name.strip_prefix(b"0x").and_then(hex_word)) {
        (None, Some((ip, []))) => (&[][..], Some(ip)),
        _ => (name, ip),
    };
    if ip == Some(0) || (ip.is_none() && (name.is_empty() || name == b"??")) {
        return None;
    }
    let (symbol, module) = match mode {
        Mode::User => user_name(name),
        Mode::Kernel | Mode::Other | Mode::Unknown => kernel_name(name),
    };
    let named = (!symbol.is_empty() || !module.is_empty()).then_some(Named { symbol, module });
    Some(ChainFrame { mode, ip, named })
}

/// `name <7f00>` to name and number.
fn with_address(text: &[u8], open: u8, close: u8) -> Option<(&[u8], u64)> {
    let inner = text.strip_suffix(&[close])?;
    let at = memchr::memrchr(open, inner)?;
    let (ip, rest) = hex_word(inner.get(at.checked_add(1)?..)?)?;
    rest.is_empty().then(|| Some((inner.get(..at)?.trim_ascii(), ip)))?
}

/// `func+0x12/0x50 [module]`.
fn kernel_name(text: &[u8]) -> (&[u8], &[u8]) {
    let module = || {
        let inner = text.strip_suffix(b"]")?;
        let at = memchr::memmem::rfind(inner, b" [")?;
        Some((inner.get(..at)?, inner.get(at.checked_add(2)?..)?))
    };
    let (name, module) = module().unwrap_or((text, &[]));
    (without_offset(name), module)
}

/// `/usr/bin/bash[+0x2f9ee]`: ftrace knows the file and the place in it, no function. The
/// place stays with the file's last name, so that different ones are told apart.
fn user_name(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(at) = memchr::memmem::rfind(text, b"[+0x") else { return (text, &[]) };
    let path = text.get(..at).unwrap_or(&[]);
    let name = memchr::memrchr(b'/', path).map_or(0, |slash| slash.saturating_add(1));
    (text.get(name..).unwrap_or(text), path)
}

/// `name+0x12`, `name+0x12/0x50` to the name.
fn without_offset(text: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::rfind(text, b"+0x") else { return text };
    let rest = text.get(at.saturating_add(3)..).unwrap_or(&[]);
    let offset = rest.split(|b| *b == b'/').all(|part| {
        let part = part.strip_prefix(b"0x").unwrap_or(part);
        !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit)
    });
    if offset { text.get(..at).unwrap_or(text) } else { text }
}

/// A hexadecimal number up to a blank or the end, blanks before it, and what follows.
fn hex_word(text: &[u8]) -> Option<(u64, &[u8])> {
    let word = text.trim_ascii_start();
    let end = word.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(word.len());
    let (digits, rest) = word.split_at_checked(end)?;
    if digits.is_empty() || digits.len() > 16 || rest.first().is_some_and(|b| *b != b' ') {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(frame: Option<ChainFrame<'_>>) -> String {
        let Some(frame) = frame else { return "-".to_owned() };
        let ip = frame.ip.map_or("?".to_owned(), |ip| format!("{ip:x}"));
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let named = frame.named.map(|n| format!("{}|{}", text(n.symbol), text(n.module)));
        format!("{:?}|{ip}|{}", frame.mode, named.unwrap_or_default())
    }

    #[test]
    fn lines_of_perf_script() {
        for (line, expected) in [
            (
                "\tffffffff821f8298 __schedule+0x618 ([kernel.kallsyms])",
                "Kernel|ffffffff821f8298|__schedule|[kernel.kallsyms]",
            ),
            (
                "\t           cf503 clock_nanosleep@GLIBC_2.2.5+0x23 (/usr/lib/libc.so.6)",
                "User|cf503|clock_nanosleep@GLIBC_2.2.5|/usr/lib/libc.so.6",
            ),
            ("\t         1312d00 [unknown] ([unknown])", "User|1312d00||"),
            (
                "\tffffffffc0a01234 nf_hook+0x4 ([nf_tables])",
                "Kernel|ffffffffc0a01234|nf_hook|[nf_tables]",
            ),
            ("\tffffffffff600400 [unknown] ([vsyscall])", "User|ffffffffff600400||[vsyscall]"),
            (
                "\t    55e7c8a2b1c9 ns::call(int, a (*)(b)) const+0x19 (/opt/My App (x86)/a b (deleted))",
                "User|55e7c8a2b1c9|ns::call(int, a (*)(b)) const|/opt/My App (x86)/a b (deleted)",
            ),
            ("\t    55e7c8a2b1c9 inner (inlined)", "User|55e7c8a2b1c9|inner|"),
            ("\t    55e7c8a2b1c9 inner(int) (inlined)", "User|55e7c8a2b1c9|inner(int)|"),
            ("\t    55e7c8a2b1c9 operator+0x", "User|55e7c8a2b1c9|operator+0x|"),
            // Without addresses; a name may look like one.
            ("\t add+0x4 (/bin/x)", "Unknown|?|add|/bin/x"),
            ("\t add ([kernel.kallsyms])", "Kernel|?|add|[kernel.kallsyms]"),
            ("\tfeedfacefeedfacefeed f", "Unknown|?|feedfacefeedfacefeed f|"),
            ("\t\t1/net: 3/0xf0000075", "-"),
            ("  file.c:12", "-"),
            ("\t", "-"),
            ("", "-"),
        ] {
            assert_eq!(show(script(line.as_bytes())), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_of_ftrace() {
        use Mode::{Kernel, User};
        for (line, mode, expected) in [
            (" => do_syscall_64", Kernel, "Kernel|?|do_syscall_64|"),
            (" => nf_hook+0x12/0x50 [nf_tables]", Kernel, "Kernel|?|nf_hook|nf_tables"),
            (
                " => vfs_read+0x12/0x50 <ffffffff81415972>",
                Kernel,
                "Kernel|ffffffff81415972|vfs_read|",
            ),
            ("=> vfs_read (ffffffff81415972)", Kernel, "Kernel|ffffffff81415972|vfs_read|"),
            (" =>  <00007f6c3423caa7>", User, "User|7f6c3423caa7|"),
            ("\t=> 0x5645cb3159ee", User, "User|5645cb3159ee|"),
            ("=> 0x0", User, "-"),
            (" => /usr/bin/bash[+0x2f9ee]", User, "User|?|bash[+0x2f9ee]|/usr/bin/bash"),
            (
                " => /usr/bin/bash[+0x2f9ee] <000055d0>",
                User,
                "User|55d0|bash[+0x2f9ee]|/usr/bin/bash",
            ),
            (" => ??", User, "-"),
            (" =>", Kernel, "-"),
            ("bash-1 [000] 1.0: x: y", Kernel, "-"),
        ] {
            assert_eq!(show(trace(line.as_bytes(), mode)), expected, "{line:?}");
        }
    }
}
