//! What follows a line's time: the event's name, and its payload to an event.

use super::head::{Style, decimal};
use super::pattern::Printed;
use super::sideband;
use super::stacks;
use super::syscalls::{self, Side};
use super::values::{auto, hex};
use crate::events::{
    Fault, Kind, MajorFaults, Marker, MinorFaults, PRINTS, Print, TRACING_MARK_WRITE,
};
use crate::fields::{Addr, Text};
use crate::print_fmt::StateTable;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// A row of the table, by its print formats.
    Row(&'static Printed),
    /// A system call's own event.
    Syscall(Side, i64),
    /// perf's software events.
    MinorFault,
    /// See [`Action::MinorFault`].
    MajorFault,
    /// Text that was written into the trace.
    Print,
    /// A record of perf's.
    Record,
    /// A record of perf's that the analysis does not use.
    UnknownRecord,
    /// Not used by the analysis; but `trace_printk` shows texts under the name of
    /// the function that wrote them.
    Unknown,
}

/// The beginning of the marks that agenttrace defines.
const OWN_MARK: &[u8] = b"agenttrace:";

/// The key of a line without a name of an event: the function tracer's.
const FUNCTION: &[u8] = b"<-";

/// Splits what follows the time: period (perf), key, payload.
#[inline]
pub(super) fn name(rest: &[u8], style: Style) -> Option<(Option<u64>, &[u8], &[u8])> {
    let (period, rest) = match (style, rest.first()) {
        (Style::Space, Some(b'0'..=b'9')) => {
            let end = memchr::memchr(b' ', rest)?;
            (Some(decimal(rest.get(..end)?)?), rest.get(end..)?.trim_ascii_start())
        }
        _ => (None, rest),
    };
    if style == Style::Space && rest.starts_with(sideband::PREFIX) {
        let end = rest.iter().position(|b| matches!(b, b' ' | b':' | b'('));
        let (key, payload) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        return Some((None, key, payload));
    }
    if rest.starts_with(b"sys_") {
        let end = rest.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_');
        let end = end.unwrap_or(rest.len());
        let tail = rest.get(end..)?;
        let key = if tail.starts_with(b"(") {
            end.checked_add(1)?
        } else if tail.starts_with(b" -> ") {
            end.checked_add(3)?
        } else {
            0
        };
        if key > 0 {
            return Some((None, rest.get(..key)?, rest.get(key..)?.trim_ascii_start()));
        }
    }
    // The name may hold colons; the one that ends it is followed by a blank.
    for at in memchr::memchr_iter(b':', rest) {
        let after = rest.get(at.checked_add(1)?..)?;
        if matches!(after.first(), None | Some(b' ')) {
            let key = rest.get(..at)?;
            if key.is_empty() || memchr::memchr(b' ', key).is_some() {
                break;
            }
            return Some((period, key, after.trim_ascii_start()));
        }
    }
    if let Some(key) = stacks::key(rest) {
        return Some((None, key, &[]));
    }
    memchr::memmem::find(rest, b" <-")?;
    Some((None, FUNCTION, rest))
}

/// The name that the list of event types shows, and what the key stands for.
pub(super) fn action(key: &[u8], style: Style, arch: Option<&str>, raw: bool) -> (String, Action) {
    let text = String::from_utf8_lossy(key);
    if key == FUNCTION {
        return ("ftrace:function".to_owned(), Action::Unknown);
    }
    if let Some(name) = stacks::event_name(key) {
        return (name.to_owned(), Action::Unknown);
    }
    if style == Style::Space {
        if key.starts_with(sideband::PREFIX) {
            let known = sideband::known(key);
            let action = if known { Action::Record } else { Action::UnknownRecord };
            return (text.into_owned(), action);
        }
        // Followed by modifiers: `:u`, `/period=1/`.
        for (event, action) in
            [("minor-faults", Action::MinorFault), ("major-faults", Action::MajorFault)]
        {
            let rest = text.strip_prefix(event);
            if rest.is_some_and(|r| r.is_empty() || r.starts_with(':') || r.starts_with('/')) {
                return (format!("software:{event}"), action);
            }
        }
    }
    if PRINTS.contains(&&*text) || text.starts_with(TRACING_MARK_WRITE) {
        return (mark(&[]).name().to_owned(), Action::Print);
    }
    if let Some(printed) = Printed::find(&text) {
        return (printed.row.name.to_owned(), Action::Row(printed));
    }
    if let Some((side, name)) = syscalls::key(&text) {
        let event = match side {
            Side::Enter => "enter",
            Side::Exit => "exit",
        };
        let number = syscalls::number(name, arch).filter(|_| !raw);
        let action = number.map_or(Action::Unknown, |nr| Action::Syscall(side, nr));
        return (format!("syscalls:sys_{event}_{name}"), action);
    }
    (text.into_owned(), Action::Unknown)
}

/// The event of a payload. `Ok(None)` where the analysis does not use it; `Err` where
/// the payload has not the form that it should.
#[inline]
pub(super) fn kind<'a>(
    action: &Action,
    key: &[u8],
    period: Option<u64>,
    payload: &'a [u8],
    following: &[u8],
    states: &StateTable,
) -> Result<Option<Kind<'a>>, ()> {
    let kind = match action {
        Action::Row(printed) => {
            (printed.row.decode.line)(&printed.fields(payload, states)).ok_or(())?
        }
        Action::Syscall(side, id) => syscalls::event(*side, *id, payload).ok_or(())?,
        Action::MinorFault | Action::MajorFault => {
            let (addr, period) = (Addr(fault_address(payload)), period.unwrap_or(1));
            Kind::Fault(if matches!(action, Action::MinorFault) {
                Fault::MinorFaults(MinorFaults { addr, period })
            } else {
                Fault::MajorFaults(MajorFaults { addr, period })
            })
        }
        Action::Print => mark(if PRINTS.iter().any(|name| name.as_bytes() == key) {
            without_function(payload)
        } else {
            payload
        }),
        Action::Record => Kind::Record(sideband::record(key, payload, following).ok_or(())?),
        Action::Unknown if payload.starts_with(OWN_MARK) => mark(payload),
        Action::Unknown | Action::UnknownRecord => return Ok(None),
    };
    Ok(Some(kind))
}

fn mark(buf: &[u8]) -> Kind<'_> {
    Kind::Marker(Marker::Print(Print { buf: Text(buf) }))
}

/// `tracing_mark_write: text`, `0xffff8123: text` and `ip=tracing_mark_write buf=text`
/// to the text.
fn without_function(payload: &[u8]) -> &[u8] {
    let after = |between: &[u8]| {
        let at = memchr::memmem::find(payload, between)?;
        let function = payload.get(..at)?;
        // A function's name or address has no blank; a text's first words may.
        (!function.is_empty() && !function.contains(&b' '))
            .then(|| payload.get(at.checked_add(between.len())?..))?
    };
    let raw = if payload.starts_with(b"ip=") { after(b" buf=") } else { None };
    raw.or_else(|| after(b": ")).unwrap_or(payload)
}

/// The address of a fault, which `perf script` shows with `-F +addr` alone, before the
/// address of the instruction. Both are padded to 16 columns, and symbols may follow
/// each. 0 where there is but one, as in a perf.data recorded without addresses.
fn fault_address(payload: &[u8]) -> u64 {
    let Some((first, n)) = hex(payload) else { return 0 };
    let rest = payload.get(n..).unwrap_or(&[]);
    // A symbol may hold anything, but no number between blanks that is padded so.
    let mut at = 0;
    while let Some(found) = rest.get(at..).and_then(|r| memchr::memchr(b' ', r)) {
        at = at.saturating_add(found);
        let tail = rest.get(at..).unwrap_or(&[]);
        let word = tail.trim_ascii_start();
        let blanks = tail.len().saturating_sub(word.len());
        at = at.saturating_add(blanks);
        if let Some((_, n)) = hex(word)
            && matches!(word.get(n), None | Some(b' '))
            && blanks.saturating_add(n) >= 17
        {
            return first;
        }
    }
    0
}

/// What a line of `PERF_RECORD_COMM` names, for the search of names.
pub(super) fn named_by_record(key: &[u8], payload: &[u8]) -> Option<i32> {
    (key == sideband::COMM).then_some(())?;
    let slash = memchr::memrchr(b'/', payload)?;
    let (tid, _) = auto(payload.get(slash.checked_add(1)?..)?)?;
    i32::try_from(tid).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let split = |rest: &'static str, style| {
            name(rest.as_bytes(), style).map(|(period, key, payload)| {
                let text = |b| std::str::from_utf8(b).unwrap();
                (period, text(key), text(payload))
            })
        };
        use Style::{Dash, Space};
        for (rest, style, expected) in [
            ("sys_enter: NR 1 (3)", Dash, Some((None, "sys_enter", "NR 1 (3)"))),
            ("sys_exit_close:       0x0", Dash, Some((None, "sys_exit_close", "0x0"))),
            ("sys_close(fd: 0xb)", Dash, Some((None, "sys_close(", "fd: 0xb)"))),
            ("sys_close -> 0x0", Dash, Some((None, "sys_close ->", "0x0"))),
            ("0xffffffff81: text", Dash, Some((None, "0xffffffff81", "text"))),
            ("my_func: a: b", Dash, Some((None, "my_func", "a: b"))),
            ("empty:", Dash, Some((None, "empty", ""))),
            ("vfs_read <-ksys_read", Dash, Some((None, "<-", "vfs_read <-ksys_read"))),
            ("     1", Dash, None),
            ("two words: x", Dash, None),
            (
                "7                    sched:sched_switch: a:b",
                Space,
                Some((Some(7), "sched:sched_switch", "a:b")),
            ),
            ("minor-faults:u:   12 x", Space, Some((None, "minor-faults:u", "12 x"))),
            (
                "PERF_RECORD_COMM exec: a:1/2",
                Space,
                Some((None, "PERF_RECORD_COMM", " exec: a:1/2")),
            ),
        ] {
            assert_eq!(split(rest, style), expected, "{rest}");
        }
    }

    #[test]
    fn texts_without_the_function_that_wrote_them() {
        for (payload, text) in [
            ("tracing_mark_write: agenttrace:B|1|a: b", "agenttrace:B|1|a: b"),
            ("0xffffffff8123: x", "x"),
            ("ip=tracing_mark_write buf=a buf=b: c", "a buf=b: c"),
            ("ip=0xffffffff8123 buf=x", "x"),
            ("just some words: here", "just some words: here"),
        ] {
            assert_eq!(without_function(payload.as_bytes()), text.as_bytes(), "{payload}");
        }
    }

    #[test]
    fn a_fault_has_an_address_only_where_two_are_shown() {
        for (payload, address) in [
            ("7fd514a1370f [unknown] (/usr/lib/x y.so)", 0),
            ("7f274f82d408 [unknown]     5610bc27152d [unknown]", 0x7f27_4f82_d408),
            ("7f274f82d408 a::b(int, 5610) (/x)     5610bc27152d f", 0x7f27_4f82_d408),
            ("7f274f82d408 ffffffff81415d70 syscall_trace_enter", 0x7f27_4f82_d408),
            ("", 0),
        ] {
            assert_eq!(fault_address(payload.as_bytes()), address, "{payload}");
        }
    }
}
