//! One record to one event, by the plan of its attribute.

use super::PerfData;
use super::layout::{SampleLayout, Trailer};
use super::order::Entry;
use super::plan::{Action, Plan};
use super::record::{self, Raw, kind};
use super::sideband;
use crate::cursor::{i32_at, u32_at, u64_at};
use crate::diagnostics::Problem;
use crate::events::{Context, Event, Fault, Kind, MajorFaults, MinorFaults, Record};
use crate::fields::Addr;
use crate::stream::Stats;
use crate::units::{Cpu, Nanos, Pid, Tid};

/// What a sample tells.
pub(super) enum Told<'a> {
    /// The analysis does not use its event.
    Nothing,
    /// Its payload cannot be read.
    Broken,
    Kind(Kind<'a>),
}

impl<'a> PerfData<'a> {
    /// The event of an entry. `None`, and counted, where there is none.
    #[inline]
    pub(super) fn decode(&self, entry: &Entry, stats: &mut Stats) -> Option<Event<'a>> {
        let raw = record::at(self.data, entry.offset).ok()?;
        if raw.kind == kind::SAMPLE {
            self.sample(&raw, entry, stats)
        } else {
            self.sideband(&raw, entry, stats)
        }
    }

    #[inline]
    fn sample(&self, raw: &Raw<'a>, entry: &Entry, stats: &mut Stats) -> Option<Event<'a>> {
        let bytes = raw.bytes;
        let Some(index) = self.attr_of(bytes) else {
            self.problem(stats, Problem::UnknownSampleId, Cpu::NONE, 1, entry);
            return None;
        };
        let (layout, plan) = (&self.head.attrs.get(index)?.layout, self.plans.get(index)?);
        let cpu = layout.cpu.and_then(|at| u32_at(bytes, at)).map_or(Cpu::NONE, Cpu);
        stats.count(cpu, entry.time, plan.event_type);
        let mut event = Self::blank(layout, bytes, entry);
        match Self::told(layout, plan, bytes, &mut event) {
            Told::Nothing => return None,
            Told::Broken => {
                self.problem(stats, Problem::BadSample, cpu, 1, entry);
                return None;
            }
            Told::Kind(kind) => event.kind = kind,
        }
        Some(event)
    }

    /// A sample's event before it is known what it tells.
    #[inline]
    pub(super) fn blank(layout: &SampleLayout, bytes: &[u8], entry: &Entry) -> Event<'a> {
        let cpu = layout.cpu.and_then(|at| u32_at(bytes, at)).map_or(Cpu::NONE, Cpu);
        let pid = layout.tid.and_then(|at| i32_at(bytes, at)).unwrap_or(-1);
        let tid = layout.tid.and_then(|at| i32_at(bytes, at.saturating_add(4))).unwrap_or(-1);
        Event {
            record: entry.record,
            time: Nanos(entry.time),
            cpu,
            pid: Pid(pid),
            tid: Tid(tid),
            context: Context::UNKNOWN,
            agent_step_id: 0,
            kind: Kind::Record(Record::LostSamples(crate::events::LostSamples { lost: 0 })),
        }
    }

    /// What a sample tells, by the plan of its attribute.
    #[inline]
    pub(super) fn told(
        layout: &SampleLayout,
        plan: &Plan,
        bytes: &'a [u8],
        event: &mut Event<'a>,
    ) -> Told<'a> {
        let fault = || {
            let addr = layout.addr.and_then(|at| u64_at(bytes, at)).unwrap_or(0);
            (Addr(addr), layout.period.and_then(|at| u64_at(bytes, at)).unwrap_or(1))
        };
        Told::Kind(match &plan.action {
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
                let payload = layout.raw(bytes);
                match payload.and_then(|p| tracepoint.decode(p, event)) {
                    Some(kind) => kind,
                    None => return Told::Broken,
                }
            }
        })
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
