//! A text's first lines to its dialect, or to why it cannot be read.

use super::body;
use super::head::{Style, head, number};
use super::line::{Line, line, line_at};
use crate::error::Error;

/// Who wrote a text. They are told apart by content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// tracefs's `trace`, with its header.
    Trace,
    /// tracefs's `trace_pipe`: the same lines without a header.
    TracePipe,
    /// `trace-cmd report`.
    TraceCmd,
    /// `perf script`.
    PerfScript,
}

impl Dialect {
    /// The name that [`crate::CaptureInfo::format`] gives.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trace => "tracefs trace",
            Self::TracePipe => "trace_pipe",
            Self::TraceCmd => "trace-cmd report",
            Self::PerfScript => "perf script",
        }
    }

    pub(super) fn style(self) -> Style {
        match self {
            Self::Trace | Self::TracePipe | Self::TraceCmd => Style::Dash,
            Self::PerfScript => Style::Space,
        }
    }
}

/// How far the first lines reach.
const LOOK: usize = 1 << 16;
/// Header and other lines that may come before the first event.
const LINES: usize = 400;

/// The dialect. `None` where the first lines are of no text that is known.
///
/// # Errors
/// Where they are of one that cannot be read.
pub(super) fn recognize(bytes: &[u8]) -> Result<Option<Dialect>, Error> {
    let first = bytes.get(..LOOK).unwrap_or(bytes);
    let (mut found, mut at) = (None, 0);
    for _ in 0..LINES {
        if at >= first.len() {
            break;
        }
        let (text, next) = line_at(first, at);
        at = next;
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if let Some(what) = refused(text, found) {
            return Err(Error::Unsupported { what: what.to_owned() });
        }
        if let Some(dialect) = told(text, found) {
            match dialect {
                // The next lines can still tell trace-cmd's.
                Dialect::TracePipe => found = found.or(Some(dialect)),
                Dialect::Trace => found = Some(dialect),
                Dialect::TraceCmd | Dialect::PerfScript => return Ok(Some(dialect)),
            }
        }
    }
    Ok(found)
}

fn told(text: &[u8], found: Option<Dialect>) -> Option<Dialect> {
    if text.starts_with(b"# tracer: ") || text.starts_with(b"# entries-in-buffer/") {
        return Some(Dialect::Trace);
    }
    if text.starts_with(b"# captured on ") {
        return Some(Dialect::PerfScript);
    }
    if found == Some(Dialect::Trace) {
        return None;
    }
    if text.starts_with(b"cpus=") && number(text.get(5..)?).is_ok() {
        return Some(Dialect::TraceCmd);
    }
    match line(text, Style::Dash) {
        Line::Head(head) => {
            let (_, key, _) = body::name(head.rest, Style::Dash)?;
            // libtraceevent pads the name and its colon to 21 columns, and a blank.
            let after = head.rest.get(key.len()..)?;
            let padded = key.len() < 20 && after.starts_with(b":  ");
            return Some(if padded { Dialect::TraceCmd } else { Dialect::TracePipe });
        }
        Line::Lost { .. } => {
            let dropped = memchr::memmem::find(text, b"DROPPED").is_some();
            return Some(if dropped { Dialect::TraceCmd } else { Dialect::TracePipe });
        }
        Line::Overwritten(_) | Line::Skip | Line::Bad => {}
    }
    head(text, Style::Space)
        .and_then(|head| body::name(head.rest, Style::Space))
        .map(|_| Dialect::PerfScript)
}

const LATENCY: &str = "this is ftrace's latency format, which cuts task names and gives times \
     relative to the buffer; record with `echo 0 > /sys/kernel/tracing/options/latency-format`";
const REPORT_LATENCY: &str = "this is the latency format of `trace-cmd report -l`, which cuts task \
     names; report without `-l`";
const GRAPH: &str = "this is the text of the function_graph tracer, which shows calls, not events; \
     record with `echo nop > /sys/kernel/tracing/current_tracer` and events enabled";

/// Why a line's form cannot be read.
fn refused(text: &[u8], found: Option<Dialect>) -> Option<&'static str> {
    if text.starts_with(b"# tracer: function_graph") {
        return Some(GRAPH);
    }
    if text.starts_with(b"#") {
        let latency = memchr::memmem::find(text, b" latency trace v").is_some();
        return latency.then_some(LATENCY);
    }
    if head(text, Style::Dash).is_some() {
        return is_fields(text).then_some(
            "this trace was written with the option `fields`, which changes every payload; \
             record with `echo 0 > /sys/kernel/tracing/options/fields`",
        );
    }
    let words: Vec<&[u8]> =
        text.split(|b| *b == b' ').filter(|word| !word.is_empty()).take(24).collect();
    if let Some(relative) = latency(&words) {
        return Some(if relative { LATENCY } else { REPORT_LATENCY });
    }
    // ` 0)   1.234 us   |  func();`
    if let [cpu, ..] = words.as_slice()
        && cpu.strip_suffix(b")").is_some_and(|n| n.iter().all(u8::is_ascii_digit) && !n.is_empty())
        && words.contains(&&b"|"[..])
    {
        return Some(GRAPH);
    }
    if found != Some(Dialect::Trace) {
        return None;
    }
    // `trace` alone has these options, and its header stays text.
    let is = |word: &[u8], width: usize| {
        (width == 0 || word.len() == width) && word.iter().all(u8::is_ascii_hexdigit)
    };
    match words.as_slice() {
        _ if text.contains(&0) => Some(
            "this trace was written with the option `bin`; \
             record with `echo 0 > /sys/kernel/tracing/options/bin`",
        ),
        [pid, cpu, time, ..] if is(pid, 8) && is(cpu, 8) && is(time, 16) => Some(
            "this trace was written with the option `hex`; \
             record with `echo 0 > /sys/kernel/tracing/options/hex`",
        ),
        [pid, cpu, time, ..] if is(pid, 0) && is(cpu, 0) && is(time, 0) => Some(
            "this trace was written with the option `raw`; \
             record with `echo 0 > /sys/kernel/tracing/options/raw`",
        ),
        _ => None,
    }
}

/// `name-12  1d.h1.  46211us : ` or `...  1524.005689: `: the CPU is glued to the
/// letters. Whether the times are the buffer's own.
fn latency(words: &[&[u8]]) -> Option<bool> {
    let number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    for three in words.windows(3) {
        let [task, place, time] = three else { break };
        let dash = memchr::memrchr(b'-', task)?;
        let tid = task.get(dash.checked_add(1)?..)?;
        let cpu = place.iter().take_while(|b| b.is_ascii_digit()).count();
        let letters = place.get(cpu..)?;
        let glued = cpu > 0
            && (2..=5).contains(&letters.len())
            && letters.iter().all(|b| b.is_ascii_hexdigit() || b".XNnpPLlHhSsZz".contains(b));
        if number(tid) && glued {
            let relative = memchr::memmem::find(time, b"us").is_some();
            let absolute = time.ends_with(b":");
            if relative || absolute {
                return Some(relative);
            }
        }
    }
    None
}

/// `sys_exit: id=0x1 (1) ret=0x2 (2)` (`print_event_fields`, Linux 6.4).
fn is_fields(text: &[u8]) -> bool {
    let Some(payload) = head(text, Style::Dash)
        .and_then(|head| body::name(head.rest, Style::Dash))
        .map(|(_, _, payload)| payload)
    else {
        return false;
    };
    let mut words = payload.split(|b| *b == b' ');
    let (Some(field), Some(value)) = (words.next(), words.next()) else { return false };
    let hex = memchr::memmem::find(field, b"=0x").is_some();
    hex && value.len() > 2 && value.starts_with(b"(") && value.ends_with(b")")
}
