//! One record to one event: by its type's plan, or a name, or a loss.

use super::order::{Entry, What};
use super::{Stream, TraceDat, pages};
use crate::diagnostics::Problem;
use crate::events::{CommRecord, Context, Event, Kind, Lost, LostSamples, Marker, Print, Record};
use crate::fields::Text;
use crate::stream::Stats;
use crate::units::{Cpu, Nanos, Pid, Tid};

impl<'a> TraceDat<'a> {
    /// Appends the event of an entry; nothing, and counted, where there is none.
    #[inline]
    pub(super) fn decode(&self, entry: &Entry, stats: &mut Stats, events: &mut Vec<Event<'a>>) {
        events.push(Event {
            record: entry.record,
            time: Nanos(entry.time),
            cpu: Cpu::NONE,
            pid: Pid(-1),
            tid: Tid(-1),
            context: Context::UNKNOWN,
            agent_step_id: 0,
            kind: Kind::Record(Record::LostSamples(LostSamples { lost: 0 })),
        });
        let Some(event) = events.last_mut() else { return };
        if self.fill(entry, event, stats).is_none() {
            events.pop();
        }
    }

    /// Fills in what an entry tells. `None`, and counted, where it tells nothing.
    #[inline]
    fn fill(&self, entry: &Entry, event: &mut Event<'a>, stats: &mut Stats) -> Option<()> {
        match entry.what {
            What::Event { stream, at } => {
                let stream = self.streams.get(stream as usize)?;
                event.cpu = stream.cpu;
                self.payload(stream, at, event, stats)?;
            }
            What::Name(index) => {
                let (tid, comm) = *self.names.get(index as usize)?;
                (event.pid, event.tid) = (self.process(tid), tid);
                let record = CommRecord { pid: event.pid, tid, exec: false, comm };
                event.kind = Kind::Record(Record::CommRecord(record));
            }
            What::Lost { stream, lost } => {
                let stream = self.streams.get(stream as usize)?;
                event.cpu = stream.cpu;
                stats.lost(stream.cpu, lost, entry.time, stream.offset);
                event.kind = Kind::Record(Record::Lost(Lost { lost }));
            }
            What::Dropped { stream, lost } => {
                let stream = self.streams.get(stream as usize)?;
                event.cpu = stream.cpu;
                stats.lost(stream.cpu, lost, entry.time, stream.offset);
                event.kind = Kind::Record(Record::LostSamples(LostSamples { lost }));
            }
        }
        Some(())
    }

    #[inline]
    fn payload(
        &self,
        stream: &Stream<'a>,
        at: usize,
        event: &mut Event<'a>,
        stats: &mut Stats,
    ) -> Option<()> {
        let payload = pages::payload(stream.data, at)?;
        let time = event.time.0;
        let problem = |stats: &mut Stats, problem| {
            stats.problems.push((problem, stream.cpu, 1, time, stream.offset_of(at)));
        };
        let Some((event_type, plan)) = self.types.of(payload) else {
            stats.count(stream.cpu, time, None);
            problem(stats, Problem::UnknownSampleId);
            return None;
        };
        stats.count(stream.cpu, time, Some(event_type));
        if !plan.known() {
            return None;
        }
        if plan.decode(payload, event).is_none() {
            problem(stats, Problem::BadSample);
            return None;
        }
        event.pid = self.process(event.tid);
        // The kernel ends what was written with a newline (`tracing_mark_write`).
        if let Kind::Marker(Marker::Print(Print { buf: Text(buf) })) = &mut event.kind {
            *buf = buf.strip_suffix(b"\n").unwrap_or(buf);
        }
        Some(())
    }

    /// The process of a thread, where it was saved.
    #[inline]
    pub(super) fn process(&self, tid: Tid) -> Pid {
        if self.tgids.is_empty() {
            return Pid(-1);
        }
        self.tgids.get(&tid).copied().unwrap_or(Pid(-1))
    }
}
