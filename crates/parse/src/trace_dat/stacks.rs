//! One record to what it tells of stacks: the second pass over a trace.dat.

use super::order::{Entry, Walk, What};
use super::{TraceDat, pages};
use crate::attach::{Part, Piece};
use crate::capture::Totals;
use crate::chunks::CHUNK;
use crate::diagnostics::Diagnostics;
use crate::events::{CommRecord, Context, Event, Kind, LostSamples, Record};
use crate::format::{Format, Place, Slot};
use crate::stack::{Branches, Chain, Mode, Sample, StackEvent, StackRecord};
use crate::stream::{self, Course, Stats};
use crate::units::{Cpu, Nanos, Pid, Tid};

/// Where `kernel_stack` or `user_stack` has its addresses (`struct stack_entry` and
/// `struct userstack_entry` in kernel/trace/trace_entries.h).
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackForm {
    user: bool,
    /// Of the first.
    caller: usize,
    /// How many there are; of a user stack, and in old kernels, the record's end tells.
    size: Option<Slot>,
}

impl StackForm {
    /// `None` where the event is no stack, or one of a 32-bit kernel.
    pub(crate) fn new(name: &str, format: &Format<'_>) -> Option<Self> {
        let user = match name {
            "ftrace:kernel_stack" => false,
            "ftrace:user_stack" => true,
            _ => return None,
        };
        let caller = format.slot("caller").filter(|s| s.place == Place::Here && s.element == 8)?;
        Some(Self { user, caller: caller.offset, size: format.slot("size") })
    }

    fn chain<'a>(&self, payload: &'a [u8]) -> Chain<'a> {
        let words = payload.get(self.caller..).unwrap_or(&[]);
        let size = self.size.and_then(|s| s.int(payload)).and_then(|n| usize::try_from(n).ok());
        let words = match size.and_then(|n| n.checked_mul(8)) {
            Some(len) => words.get(..len).unwrap_or(words),
            None => words,
        };
        let none: &'a [u8] = &[];
        let (kernel, user) = if self.user { (none, words) } else { (words, none) };
        Chain::Ftrace { kernel, user }
    }
}

/// Reads the stacks of an opened capture.
#[derive(Debug)]
pub(crate) struct Stacks<'p, 'a>(pub(crate) &'p TraceDat<'a>);

impl<'a> Stacks<'_, 'a> {
    /// Delivers all of them.
    pub(crate) fn read(
        &self,
        course: &Course,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Piece<'a>]),
    ) -> Totals {
        let walk = Walk::new(self.0, CHUNK);
        let item = |entry: &_, stats: &mut _, items: &mut Vec<_>| {
            items.extend(self.item(entry, stats));
        };
        stream::read(&self.0.info, walk, item, course, diagnostics, sink)
    }

    fn item(&self, entry: &Entry, _: &mut Stats) -> Option<Piece<'a>> {
        match entry.what {
            What::Event { stream, at } => self.event(entry, stream, at),
            What::Name(index) => {
                let (tid, comm) = *self.0.names.get(index as usize)?;
                let pid = self.0.process(tid);
                let comm = CommRecord { pid, tid, exec: false, comm };
                let what = StackRecord::Comm(comm);
                let (record, time) = (entry.record, Nanos(entry.time));
                Some(Piece {
                    event: StackEvent { record, time, cpu: Cpu::NONE, pid, tid, what },
                    writer: 0,
                    context: Context::UNKNOWN,
                    part: Part::Aside,
                })
            }
            // Counted by the pass over events.
            What::Lost { .. } | What::Dropped { .. } => None,
        }
    }
}

impl<'a> Stacks<'_, 'a> {
    fn event(&self, entry: &Entry, writer: u32, at: usize) -> Option<Piece<'a>> {
        let stream = self.0.streams.get(writer as usize)?;
        let payload = pages::payload(stream.data, at)?;
        let (event_type, plan) = self.0.types.of(payload)?;
        let form = self.0.types.stack(event_type);
        let mut event = Event {
            record: entry.record,
            time: Nanos(entry.time),
            cpu: stream.cpu,
            pid: Pid(-1),
            tid: Tid(-1),
            context: Context::UNKNOWN,
            agent_step_id: 0,
            kind: Kind::Record(Record::LostSamples(LostSamples { lost: 0 })),
        };
        // Fills in task and context, of events that it does not know too.
        let kind = plan.decode(payload, &mut event).map(|()| event.kind);
        let sample = Sample {
            event_type,
            period: 1,
            mode: Mode::Unknown,
            ip: None,
            addr: None,
            kind,
            chain: form.map_or(Chain::None, |form| form.chain(payload)),
            user: None,
            branches: Branches::default(),
        };
        let (record, time, cpu, tid) = (event.record, event.time, event.cpu, event.tid);
        let what = StackRecord::Sample(sample);
        Some(Piece {
            event: StackEvent { record, time, cpu, pid: self.0.process(tid), tid, what },
            writer,
            context: event.context,
            part: if form.is_some() { Part::Stack } else { Part::Event },
        })
    }
}
