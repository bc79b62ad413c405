//! One line to what it tells of stacks: the second pass over a text.

use super::body::{self, Action};
use super::head::Style;
use super::line::{Line, line, line_at};
use super::walk::{Entry, Walk, What};
use super::{BAD_FIELDS, FtraceText, NO_EVENT, NO_NAME};
use crate::attach::{Part, Piece};
use crate::capture::Totals;
use crate::diagnostics::Diagnostics;
use crate::events::{Kind, Record};
use crate::stack::{Branches, Chain, Mode, Sample, StackEvent, StackRecord};
use crate::stream::{self, Course, Stats};
use crate::units::{Cpu, Nanos, Pid, Tid};

/// What stands behind the time in tracefs, in place of an event's name
/// (`trace_stack_print` and `trace_user_stack_print` in kernel/trace/trace_output.c).
const STACK: &[u8] = b"<stack trace>";
const USER_STACK: &[u8] = b"<user stack trace>";

/// The key of a line that begins a stack, for want of an event's name.
pub(super) fn key(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.trim_ascii_end();
    matches!(rest, STACK | USER_STACK).then_some(rest)
}

/// Whether a key is that of a stack, and whether of a user's. trace-cmd gives the events
/// their names.
pub(super) fn is_user(key: &[u8]) -> Option<bool> {
    match key {
        STACK | b"kernel_stack" => Some(false),
        USER_STACK | b"user_stack" => Some(true),
        _ => None,
    }
}

/// The event's name, where the text has none.
pub(super) fn event_name(key: &[u8]) -> Option<&'static str> {
    match key {
        STACK => Some("ftrace:kernel_stack"),
        USER_STACK => Some("ftrace:user_stack"),
        _ => None,
    }
}

/// Whether a line is one of a stack.
#[inline]
pub(super) fn is_frame(text: &[u8], style: Style) -> bool {
    match (style, text) {
        // What follows NAMESPACES is indented further.
        (Style::Space, [b'\t', next, ..]) => *next != b'\t',
        (Style::Dash, [b' ' | b'\t', b'=', b'>', ..] | [b'=', b'>', ..]) => true,
        _ => false,
    }
}

/// Reads the stacks of an opened text.
#[derive(Debug)]
pub(crate) struct Stacks<'p, 'a>(pub(crate) &'p FtraceText<'a>);

impl<'a> Stacks<'_, 'a> {
    /// Delivers all of them.
    pub(crate) fn read(
        &self,
        course: &Course,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Piece<'a>]),
    ) -> Totals {
        let walk = Walk::new(self.0, stream::BATCH);
        let item = |entry: &_, stats: &mut _, items: &mut Vec<_>| {
            items.extend(self.item(entry, stats));
        };
        stream::read(&self.0.info, walk, item, course, diagnostics, sink)
    }

    fn item(&self, entry: &Entry, stats: &mut Stats) -> Option<Piece<'a>> {
        let (text, next) = line_at(self.0.bytes, entry.at);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match entry.what {
            What::Event => self.event(entry, text, next, stats),
            What::Name => match line(text, self.0.style) {
                Line::Head(head) => {
                    let comm = super::named(&head);
                    Some(aside(entry, comm.pid, comm.tid, StackRecord::Comm(comm)))
                }
                Line::Lost { .. } | Line::Overwritten(_) | Line::Bad | Line::Skip => None,
            },
            What::Bad => {
                self.0.bad(stats, Cpu::NONE, entry, NO_EVENT, text);
                None
            }
            What::Lost | What::Overwritten => None,
        }
    }
}

impl<'a> Stacks<'_, 'a> {
    fn event(
        &self,
        entry: &Entry,
        text: &'a [u8],
        next: usize,
        stats: &mut Stats,
    ) -> Option<Piece<'a>> {
        let cpu = Cpu(entry.cpu);
        let rest = text.get(usize::from(entry.rest)..).unwrap_or(&[]);
        let Some((period, key, payload)) = body::name(rest, self.0.style) else {
            self.0.bad(stats, cpu, entry, NO_NAME, text);
            return None;
        };
        let (index, action) = self.0.types.get(key)?;
        let following = self.0.bytes.get(next..).unwrap_or(&[]);
        let kind = body::kind(action, key, period, payload, following, &self.0.states);
        let Ok(kind) = kind else {
            self.0.bad(stats, cpu, entry, BAD_FIELDS, text);
            return None;
        };
        let (pid, tid) = (Pid(entry.pid), Tid(entry.tid));
        if matches!(action, Action::Record | Action::UnknownRecord) {
            let what = match kind? {
                Kind::Record(Record::CommRecord(comm)) => StackRecord::Comm(comm),
                Kind::Record(Record::Fork(fork)) => StackRecord::Fork(fork),
                Kind::Record(Record::Exit(exit)) => StackRecord::Exit(exit),
                // Frames have names already: nothing is looked up by mappings.
                Kind::Record(
                    Record::Mmap2(_)
                    | Record::Lost(_)
                    | Record::LostSamples(_)
                    | Record::Switch(_)
                    | Record::Namespaces(_)
                    | Record::Throttle(_),
                )
                | Kind::Sched(_)
                | Kind::Syscall(_)
                | Kind::Fault(_)
                | Kind::PageCache(_)
                | Kind::Block(_)
                | Kind::Fs(_)
                | Kind::Lock(_)
                | Kind::Reclaim(_)
                | Kind::Irq(_)
                | Kind::Net(_)
                | Kind::Tlb(_)
                | Kind::IoUring(_)
                | Kind::Marker(_) => return None,
            };
            let (pid, tid) = if entry.timeless { (Pid(-1), Tid(-1)) } else { (pid, tid) };
            return Some(aside(entry, pid, tid, what));
        }
        let stack = is_user(key);
        let chain = match (stack, self.0.style) {
            (Some(user), _) => {
                let inside = text.len().saturating_sub(payload.len());
                let first = if is_frame(payload, Style::Dash) {
                    entry.at.saturating_add(inside)
                } else {
                    next
                };
                trace(self.0.bytes, first, user)
            }
            (None, Style::Space) => script(following),
            (None, Style::Dash) => Chain::None,
        };
        let sample = Sample {
            event_type: (*index)?,
            period: period.unwrap_or(1),
            mode: Mode::Unknown,
            ip: None,
            addr: None,
            kind,
            chain,
            user: None,
            branches: Branches::default(),
        };
        Some(Piece {
            event: event(entry, cpu, pid, tid, StackRecord::Sample(sample)),
            writer: entry.cpu,
            context: entry.context,
            part: match (stack, self.0.style) {
                (Some(_), _) => Part::Stack,
                (None, Style::Dash) => Part::Event,
                // Its stack is there.
                (None, Style::Space) => Part::Aside,
            },
        })
    }
}

fn event<'a>(entry: &Entry, cpu: Cpu, pid: Pid, tid: Tid, what: StackRecord<'a>) -> StackEvent<'a> {
    StackEvent { record: entry.line, time: Nanos(entry.time), cpu, pid, tid, what }
}

/// One that no stack follows.
fn aside<'a>(entry: &Entry, pid: Pid, tid: Tid, what: StackRecord<'a>) -> Piece<'a> {
    Piece {
        event: event(entry, Cpu::NONE, pid, tid, what),
        writer: 0,
        context: entry.context,
        part: Part::Aside,
    }
}

/// The lines behind an event of `perf script`, up to the first of another kind. Lines of
/// sources (`-F +srcline`) may stand between the frames.
fn script(following: &[u8]) -> Chain<'_> {
    let mut end = 0;
    let mut at = 0;
    while at < following.len() {
        let (text, next) = line_at(following, at);
        if is_frame(text, Style::Space) {
            end = next;
        } else if end == 0
            || !text.starts_with(b"  ")
            || super::head::head(text, Style::Space).is_some()
        {
            break;
        }
        at = next;
    }
    match following.get(..end.min(following.len())).unwrap_or(&[]) {
        [] => Chain::None,
        lines => Chain::Script(lines),
    }
}

/// The lines of a stack of ftrace, from where the first may begin: trace-cmd writes it
/// behind the name of a user's stack.
fn trace(bytes: &[u8], first: usize, user: bool) -> Chain<'_> {
    let mut end = first;
    while end < bytes.len() {
        let (text, next) = line_at(bytes, end);
        if !is_frame(text, Style::Dash) {
            break;
        }
        end = next;
    }
    let lines = bytes.get(first..end.min(bytes.len())).unwrap_or(&[]);
    match user {
        true => Chain::Trace { kernel: &[], user: lines },
        false => Chain::Trace { kernel: lines, user: &[] },
    }
}
