//! One record to one event, by the plan of its attribute.

use super::PerfData;
use super::layout::{Front, Trailer};
use super::order::Entry;
use super::plan::{Action, Plan};
use super::record::{self, Raw, kind};
use super::sideband;
use crate::cursor::{u32_at, u64_at};
use crate::diagnostics::Problem;
use crate::events::{Context, Event, Fault, Kind, MajorFaults, MinorFaults, Record};
use crate::fields::Addr;
use crate::stream::Stats;
use crate::units::{Cpu, Nanos, Pid, Tid};

/// What a sample tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// The analysis does not use its event.
    Nothing,
    /// Its payload cannot be read.
    Broken,
    /// It is in the event.
    Kind,
}

impl Front {
    /// The event before it is known what happened.
    #[inline]
    pub(super) fn blank<'a>(self, entry: &Entry) -> Event<'a> {
        Event {
            record: entry.record,
            time: Nanos(entry.time),
            cpu: self.cpu,
            pid: Pid(self.task as i32),
            tid: Tid((self.task >> 32) as i32),
            context: Context::UNKNOWN,
            agent_step_id: 0,
            kind: Kind::Record(Record::LostSamples(crate::events::LostSamples { lost: 0 })),
        }
    }
}

impl<'a> PerfData<'a> {
    /// Appends the event of an entry; nothing, and counted, where there is none.
    #[inline]
    pub(super) fn decode(&self, entry: &Entry, stats: &mut Stats, events: &mut Vec<Event<'a>>) {
        let rest = self.data.get(entry.offset..).unwrap_or(&[]);
        let sample = match self.sample(rest) {
            Some(front) => rest.get(..front.size.into()).map(|bytes| (bytes, front)),
            None => self.other(entry, stats, events),
        };
        let Some((bytes, front)) = sample else { return };
        let Some(plan) = self.plans.get(usize::from(front.attr)) else { return };
        stats.count(front.cpu, entry.time, plan.event_type);
        if matches!(plan.action, Action::Unknown) {
            return;
        }
        events.push(front.blank(entry));
        // Filled in where it stays: to move it costs as much as to decode it.
        let Some(event) = events.last_mut() else { return };
        let told = Self::told(plan, bytes, event);
        if told != Told::Kind {
            events.pop();
        }
        if told == Told::Broken {
            self.problem(stats, Problem::BadSample, front.cpu, 1, entry);
        }
    }

    /// A record that does not begin as most samples do: a sample still, or one that is none,
    /// whose event is appended.
    #[inline(never)]
    fn other(
        &self,
        entry: &Entry,
        stats: &mut Stats,
        events: &mut Vec<Event<'a>>,
    ) -> Option<(&'a [u8], Front)> {
        let raw = record::at(self.data, entry.offset).ok()?;
        if raw.kind != kind::SAMPLE {
            events.extend(self.sideband(&raw, entry, stats));
            return None;
        }
        let front = self.front(raw.bytes);
        if front.is_none() {
            self.problem(stats, Problem::UnknownSampleId, Cpu::NONE, 1, entry);
        }
        Some((raw.bytes, front?))
    }

    /// What the sample tells that `data` begin with. `None` where it does not begin as most
    /// do, or its id is unknown.
    #[inline]
    fn sample(&self, data: &[u8]) -> Option<Front> {
        let found = self.words?.read(data)?;
        Some(Front { attr: u16::try_from(self.ids.get(found.id)?).ok()?, ..found.front })
    }

    /// The same of any sample. `None` where its id is unknown.
    pub(super) fn front(&self, bytes: &[u8]) -> Option<Front> {
        if let Some(front) = self.sample(bytes) {
            return Some(front);
        }
        let attr = self.attr_of(bytes)?;
        let layout = &self.head.attrs.get(attr)?.layout;
        let cpu = layout.cpu.and_then(|at| u32_at(bytes, at)).map_or(Cpu::NONE, Cpu);
        let task = layout.tid.and_then(|at| u64_at(bytes, at)).unwrap_or(u64::MAX);
        let (attr, size) = (u16::try_from(attr).ok()?, u16::try_from(bytes.len()).ok()?);
        Some(Front { task, cpu, attr, size })
    }

    /// Fills in what a sample tells, by the plan of its attribute.
    // Inlined for the same reason.
    #[inline(always)]
    pub(super) fn told(plan: &Plan, bytes: &'a [u8], event: &mut Event<'a>) -> Told {
        let layout = &plan.layout;
        let fault = || {
            let addr = layout.addr.and_then(|at| u64_at(bytes, at)).unwrap_or(0);
            (Addr(addr), layout.period.and_then(|at| u64_at(bytes, at)).unwrap_or(1))
        };
        event.kind = match &plan.action {
            Action::Unknown => return Told::Nothing,
            Action::MinorFault => {
                let (addr, period) = fault();
                Kind::Fault(Fault::MinorFaults(MinorFaults { addr, period }))
            }
            Action::MajorFault => {
                let (addr, period) = fault();
                Kind::Fault(Fault::MajorFaults(MajorFaults { addr, period }))
            }
            Action::Tracepoint(tracepoint) => {
                let decoded = layout.raw(bytes).and_then(|p| tracepoint.decode(p, event));
                return if decoded.is_some() { Told::Kind } else { Told::Broken };
            }
        };
        Told::Kind
    }

    fn sideband(&self, raw: &Raw<'a>, entry: &Entry, stats: &mut Stats) -> Option<Event<'a>> {
        let attr = self.head.attrs.get(self.attr_of_sideband(raw.bytes))?;
        let trailer = attr.layout.trailer;
        let (cpu, pid, tid) = Self::writer(raw, trailer);
        let Some(record) = sideband::decode(raw, trailer.size) else {
            self.problem(stats, Problem::BadRecord, cpu, 1, entry);
            return None;
        };
        match &record {
            Record::Lost(lost) => {
                stats.lost(cpu, lost.lost, entry.time, self.offset(entry.offset));
            }
            Record::LostSamples(lost) => {
                stats.lost_samples = stats.lost_samples.saturating_add(lost.lost);
            }
            Record::CommRecord(_)
            | Record::Fork(_)
            | Record::Exit(_)
            | Record::Mmap2(_)
            | Record::Switch(_)
            | Record::Namespaces(_)
            | Record::Throttle(_) => {}
        }
        Some(Event {
            record: entry.record,
            time: Nanos(entry.time),
            cpu,
            pid,
            tid,
            context: Context::UNKNOWN,
            agent_step_id: 0,
            kind: Kind::Record(record),
        })
    }

    /// The CPU that wrote a record of perf's own, and the task that was on it.
    pub(super) fn writer(raw: &Raw<'_>, trailer: Trailer) -> (Cpu, Pid, Tid) {
        let back = |back: Option<usize>, plus: usize| {
            raw.bytes
                .len()
                .checked_sub(back?)
                .and_then(|at| u32_at(raw.bytes, at.checked_add(plus)?))
        };
        let time =
            trailer.time.and_then(|b| raw.bytes.len().checked_sub(b)).and_then(|at| raw.u64(at));
        // perf fills the trailer of records that it makes up itself with zeros.
        let real = time != Some(0);
        let cpu = back(trailer.cpu, 0).filter(|_| real).map_or(Cpu::NONE, Cpu);
        let id = |plus: usize| back(trailer.tid, plus).filter(|_| real).map_or(-1, |v| v as i32);
        (cpu, Pid(id(0)), Tid(id(4)))
    }

    #[cold]
    pub(super) fn problem(
        &self,
        stats: &mut Stats,
        problem: Problem,
        cpu: Cpu,
        n: u64,
        entry: &Entry,
    ) {
        let offset = self.offset(entry.offset);
        stats.problems.push((problem, cpu, n, entry.time, offset));
    }
}
