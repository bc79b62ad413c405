//! One line of a text to what kind of line it is.

use super::head::{Head, Style, decimal, head};
use super::values::auto;

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line<'a> {
    /// An event, or a record of perf's.
    Head(Head<'a>),
    /// `CPU:1 [LOST 168 EVENTS]` (trace_pipe), `CPU:1 [146259 EVENTS DROPPED]`
    /// (trace-cmd): lost before that CPU's next event.
    Lost { cpu: u32, lost: u64 },
    /// `entries-in-buffer/entries-written: 2635/725089`: so many were overwritten.
    Overwritten(u64),
    /// A comment, a stack, a summary, nothing at all.
    Skip,
    /// None of these.
    Bad,
}

/// How the lines begin that `trace-cmd report` writes around the events.
const SUMMARIES: &[&[u8]] = &[
    b"cpus=",
    b"version = ",
    b"Average wakeup latency:",
    b"Maximum Latency:",
    b"Minimum Latency:",
    b"RT task timings:",
];

/// Tells what a line is.
#[inline]
pub(super) fn line(text: &[u8], style: Style) -> Line<'_> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match text.first() {
        None => return Line::Skip,
        // A callchain of `perf script`, or what follows NAMESPACES.
        Some(b'\t') if style == Style::Space => return Line::Skip,
        Some(b'#') => return comment(text),
        Some(_) => {}
    }
    match head(text, style) {
        Some(head) => Line::Head(head),
        None => other(text),
    }
}

fn comment(text: &[u8]) -> Line<'_> {
    let overwritten = || {
        let at = memchr::memmem::find(text, b"entries-written: ")?;
        let (inside, n) = auto(text.get(at.checked_add(17)?..)?)?;
        let rest = text.get(at.checked_add(17)?.checked_add(n)?..)?;
        let (written, _) = auto(rest.strip_prefix(b"/")?)?;
        written.checked_sub(inside).filter(|lost| *lost > 0)
    };
    overwritten().map_or(Line::Skip, Line::Overwritten)
}

#[cold]
fn other(text: &[u8]) -> Line<'_> {
    let text = text.trim_ascii();
    if text.is_empty() || SUMMARIES.iter().any(|begin| text.starts_with(begin)) {
        return Line::Skip;
    }
    // A stack that the kernel recorded with an event.
    if text.starts_with(b"=>") {
        return Line::Skip;
    }
    lost(text).unwrap_or(Line::Bad)
}

/// A named buffer's name may stand before.
fn lost(text: &[u8]) -> Option<Line<'_>> {
    let at = memchr::memmem::find(text, b"CPU:")?;
    let rest = text.get(at.checked_add(4)?..)?;
    let (cpu, n) = auto(rest)?;
    let words = rest.get(n..)?.strip_prefix(b" [")?.strip_suffix(b"]")?;
    let count = match words {
        // The kernel could not tell how many.
        b"LOST EVENTS" | b"EVENTS DROPPED" => 1,
        _ => {
            let pipe = words.strip_prefix(b"LOST ").and_then(|w| w.strip_suffix(b" EVENTS"));
            decimal(pipe.or_else(|| words.strip_suffix(b" EVENTS DROPPED"))?)?
        }
    };
    Some(Line::Lost { cpu: u32::try_from(cpu).ok()?, lost: count })
}

/// The line that begins at an offset, and where the next one does.
#[inline]
pub(super) fn line_at(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    (rest.get(..end).unwrap_or(rest), at.saturating_add(end).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_events() {
        for (text, expected) in [
            ("CPU:1 [LOST 168 EVENTS]", Line::Lost { cpu: 1, lost: 168 }),
            ("CPU:0 [146259 EVENTS DROPPED]\r", Line::Lost { cpu: 0, lost: 146_259 }),
            ("  build: CPU:2 [3 EVENTS DROPPED]", Line::Lost { cpu: 2, lost: 3 }),
            ("CPU:1 [LOST EVENTS]", Line::Lost { cpu: 1, lost: 1 }),
            ("CPU:1 [LOST many EVENTS]", Line::Bad),
            ("# entries-in-buffer/entries-written: 2635/725089   #P:2", Line::Overwritten(722_454)),
            ("# entries-in-buffer/entries-written: 5/5   #P:2", Line::Skip),
            ("##### CPU 1 buffer started ####", Line::Skip),
            ("cpus=2", Line::Skip),
            ("Maximum Latency: 48928.821 usecs at timestamp: 1862.356075", Line::Skip),
            (" => do_syscall_64", Line::Skip),
            ("\r", Line::Skip),
            ("", Line::Skip),
            ("what is this", Line::Bad),
            ("\tffffffff821f8298 __schedule+0x618 ([kernel.kallsyms])", Line::Bad),
        ] {
            assert_eq!(line(text.as_bytes(), Style::Dash), expected, "{text}");
        }
        assert_eq!(line(b"\tffffffff821f8298 f", Style::Space), Line::Skip);
    }
}
