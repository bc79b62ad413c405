//! Batches decoded in parallel and handed on in order, while the next is prepared.

use rayon::prelude::*;

use super::PerfData;
use super::decode::Stats;
use super::order::{BATCH, Entry, Walk};
use crate::capture::{CpuTotals, Totals};
use crate::diagnostics::{Diagnostics, Problem};
use crate::events::Event;
use crate::units::{Cpu, Nanos};

/// Entries that one thread decodes at a time.
const CHUNK: usize = 1 << 12;

/// The events of up to [`CHUNK`] entries. Used again for the next batch.
#[derive(Debug, Default)]
struct Chunk<'a> {
    events: Vec<Event<'a>>,
    stats: Stats,
}

/// A batch in the making.
#[derive(Debug, Default)]
struct Batch<'a> {
    entries: Vec<Entry>,
    chunks: Vec<Chunk<'a>>,
    /// How many of `chunks` belong to this batch.
    used: usize,
    diagnostics: Diagnostics,
}

impl<'a> Batch<'a> {
    /// False when the data are done.
    fn fill(&mut self, walk: &mut Walk<'_, 'a>, perf: &PerfData<'a>) -> bool {
        self.diagnostics = Diagnostics::default();
        if !walk.next(&mut self.entries, &mut self.diagnostics) {
            self.used = 0;
            return false;
        }
        self.used = self.entries.len().div_ceil(CHUNK);
        while self.chunks.len() < self.used {
            let mut chunk = Chunk::default();
            chunk.stats.by_type = vec![0; perf.info.event_types.len()];
            self.chunks.push(chunk);
        }
        self.chunks.par_iter_mut().zip(self.entries.par_chunks(CHUNK)).for_each(
            |(chunk, entries)| {
                chunk.events.clear();
                chunk.events.extend(entries.iter().filter_map(|e| perf.event(e, &mut chunk.stats)));
            },
        );
        true
    }
}

impl<'a> PerfData<'a> {
    pub(crate) fn read(
        &self,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Totals {
        self.read_by(BATCH, diagnostics, sink)
    }

    /// With batches of at least `batch` records.
    pub(crate) fn read_by(
        &self,
        batch: usize,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Totals {
        let mut walk = Walk::new(self, batch);
        let mut ready = Batch::default();
        let mut next = Batch::default();
        let mut more = ready.fill(&mut walk, self);
        diagnostics.merge(&ready.diagnostics);
        while more {
            // The sink stays on this thread; walking and decoding go on beside it.
            rayon::in_place_scope(|scope| {
                scope.spawn(|_| more = next.fill(&mut walk, self));
                for chunk in ready.chunks.iter_mut().take(ready.used) {
                    for (problem, cpu, n, time, offset) in chunk.stats.problems.drain(..) {
                        diagnostics.add(problem, cpu, n, Some(Nanos(time)), Some(offset));
                    }
                    sink(&chunk.events);
                }
            });
            diagnostics.merge(&next.diagnostics);
            std::mem::swap(&mut ready, &mut next);
        }
        let chunks = ready.chunks.iter().chain(&next.chunks);
        self.totals(&walk, chunks.map(|c| &c.stats), diagnostics)
    }

    fn totals<'s>(
        &self,
        walk: &Walk<'_, 'a>,
        all: impl Iterator<Item = &'s Stats>,
        diagnostics: &mut Diagnostics,
    ) -> Totals {
        let types = &self.info.event_types;
        let mut by_type = vec![0_u64; types.len()];
        let mut cpus: Vec<Option<CpuTotals>> = Vec::new();
        let (mut events, mut lost_samples) = (0_u64, 0_u64);
        let mut span: Option<(u64, u64)> = None;
        for stats in all {
            events = events.saturating_add(stats.events);
            if let Some((first, last)) = stats.span {
                span = Some(span.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
            }
            lost_samples = lost_samples.saturating_add(stats.lost_samples);
            for (sum, n) in by_type.iter_mut().zip(&stats.by_type) {
                *sum = sum.saturating_add(*n);
            }
            if cpus.len() < stats.cpus.len() {
                cpus.resize(stats.cpus.len(), None);
            }
            for (sum, one) in cpus.iter_mut().zip(&stats.cpus) {
                *sum = match (*sum, *one) {
                    (Some(sum), Some(one)) => Some(join(sum, one)),
                    (sum, one) => sum.or(one),
                };
            }
        }
        let cpus: Vec<CpuTotals> = cpus.into_iter().flatten().collect();
        let unknown = types.iter().zip(&by_type).filter(|(t, _)| !t.known).map(|(_, n)| *n);
        diagnostics.add(Problem::UnknownEvent, Cpu::NONE, unknown.sum(), None, None);
        // The totals of lost samples count again what LOST records counted.
        let mut lost = diagnostics.count(Problem::LostEvents);
        if lost == 0 && lost_samples > 0 {
            diagnostics.add(Problem::LostEvents, Cpu::NONE, lost_samples, None, None);
            lost = lost_samples;
        }
        let span = span.map(|(first, last)| (Nanos(first), Nanos(last)));
        Totals {
            records: walk.records,
            events,
            span,
            cpus,
            by_type,
            inversions: walk.inversions,
            lost,
        }
    }
}

/// The totals of one CPU, from two parts of the capture.
fn join(a: CpuTotals, b: CpuTotals) -> CpuTotals {
    let (first, last) = match (a.events, b.events) {
        (_, 0) => (a.first, a.last),
        (0, _) => (b.first, b.last),
        _ => (a.first.min(b.first), a.last.max(b.last)),
    };
    CpuTotals {
        cpu: a.cpu,
        events: a.events.saturating_add(b.events),
        first,
        last,
        lost: a.lost.saturating_add(b.lost),
    }
}
