//! Records in the order of the file to batches in the order of time.

use super::PerfData;
use super::header::DataEnd;
use super::record::{self, Raw, Stop, kind};
use super::sideband;
use super::stacks;
use crate::cursor::{u32_at, u64_at};
use crate::diagnostics::{Diagnostics, Problem};
use crate::stream::{self, Inversions};
use crate::units::{Cpu, Nanos};

/// One record that becomes an event: when, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) time: u64,
    /// From the start of the data section.
    pub(crate) offset: usize,
    /// Its number in the file.
    pub(crate) record: u64,
}

/// Which records a walk is for, beside the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Those that become an [`Event`](crate::Event).
    Events,
    /// Those that become a [`StackEvent`](crate::stack::StackEvent).
    Stacks,
}

impl Pass {
    #[inline]
    fn wants(self, kind: u32) -> bool {
        match self {
            Self::Events => sideband::known(kind),
            Self::Stacks => stacks::known(kind),
        }
    }
}

/// Walks the data section once. perf drains one CPU's ring after the other and ends
/// each pass with a FINISHED_ROUND:
///
/// ```text
/// file:  cpu0: 1 3 6 | cpu1: 2 4 5 | ROUND | cpu0: 7 9 | cpu1: 8 | ROUND
///                                    max 6                          max 9: up to 6 is settled
/// ```
/// After round N nothing older than the newest record of round N-1 can follow, so
/// what is older can be sorted and handed on (`perf_session__process_events`).
#[derive(Debug)]
pub(crate) struct Walk<'p, 'a> {
    perf: &'p PerfData<'a>,
    pass: Pass,
    /// How many records to sort at a time, at least.
    batch: usize,
    /// (offset of time, offset of CPU) in samples, where all attributes agree.
    uniform: Option<(usize, Option<usize>)>,
    position: usize,
    records: u64,
    /// Read and not handed on, but for the first `handed`. Up to `settled` they are
    /// sorted, and nothing older can follow.
    pending: Vec<Entry>,
    handed: usize,
    settled: usize,
    newest: u64,
    newest_before: u64,
    /// Time of the last entry handed on.
    delivered: u64,
    inversions: Inversions,
    unknown_records: u64,
    finished: bool,
}

impl stream::Walk<Entry> for Walk<'_, '_> {
    fn next(&mut self, batch: &mut Vec<Entry>, diagnostics: &mut Diagnostics) -> bool {
        batch.clear();
        if self.handed == self.settled && !self.settle(diagnostics) {
            return false;
        }
        // Without rounds all is settled at once: never more than a few batches of it
        // are decoded at a time.
        let end = self.settled.min(self.handed.saturating_add(self.batch.saturating_mul(2)));
        batch.extend(self.pending.get(self.handed..end).unwrap_or(&[]));
        self.handed = end;
        self.delivered = batch.last().map_or(self.delivered, |e| e.time);
        true
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn inversions(&self) -> u64 {
        self.inversions.count
    }

    fn position(&self) -> u64 {
        self.position as u64
    }
}

impl<'p, 'a> Walk<'p, 'a> {
    pub(crate) fn new(perf: &'p PerfData<'a>, batch: usize, pass: Pass) -> Self {
        let place = |index: usize| {
            let layout = &perf.head.attrs.get(index)?.layout;
            Some((layout.time?, layout.cpu))
        };
        let uniform =
            place(0).filter(|first| (0..perf.head.attrs.len()).all(|i| place(i) == Some(*first)));
        Self {
            perf,
            pass,
            batch,
            uniform,
            position: 0,
            records: 0,
            pending: Vec::new(),
            handed: 0,
            settled: 0,
            newest: 0,
            newest_before: 0,
            delivered: 0,
            inversions: Inversions::default(),
            unknown_records: 0,
            finished: false,
        }
    }

    /// Reads on until some entries are settled. False when there are none left.
    fn settle(&mut self, diagnostics: &mut Diagnostics) -> bool {
        self.pending.drain(..self.handed.min(self.pending.len()));
        (self.handed, self.settled) = (0, 0);
        let mut target = self.batch;
        while self.settled == 0 {
            if self.finished && self.pending.is_empty() {
                return false;
            }
            let until = self.walk(target, diagnostics);
            // Stable: equal times keep the order of the file.
            self.pending.sort_by_key(|entry| entry.time);
            self.settled = self.pending.partition_point(|entry| entry.time <= until);
            // Where the oldest are not settled yet, take in more.
            target = self.pending.len().saturating_mul(2).max(self.batch);
        }
        true
    }

    /// Reads until `target` entries are pending at the end of a round, or the data
    /// end. Returns the time up to which no older record can follow.
    fn walk(&mut self, target: usize, diagnostics: &mut Diagnostics) -> u64 {
        if self.finished {
            return u64::MAX;
        }
        let data = self.perf.data;
        loop {
            let raw = match record::at(data, self.position) {
                Ok(raw) => raw,
                Err(stop) => {
                    let offset = Some(self.perf.offset(self.position));
                    let (none, time) = (Cpu::NONE, Some(Nanos(self.newest)));
                    if stop == Stop::BadSize {
                        diagnostics.add(Problem::BadRecord, none, 1, time, offset);
                    }
                    match self.perf.head.end {
                        DataEnd::Missing(bytes) => {
                            diagnostics.add(Problem::MissingBytes, none, bytes, time, offset);
                        }
                        DataEnd::Killed => {
                            diagnostics.add(Problem::RecorderKilled, none, 1, time, offset);
                        }
                        DataEnd::Whole | DataEnd::FeaturesCut => {}
                    }
                    let cut = self.perf.cut || self.perf.head.end == DataEnd::FeaturesCut;
                    if stop != Stop::End || cut {
                        diagnostics.add(Problem::Truncated, none, 1, time, offset);
                    }
                    diagnostics.add(Problem::UnknownRecord, none, self.unknown_records, None, None);
                    self.finished = true;
                    return u64::MAX;
                }
            };
            self.position = raw.next();
            let number = self.records;
            self.records = self.records.saturating_add(1);
            if raw.kind == kind::SAMPLE {
                match self.sample_time(&raw) {
                    Some((time, cpu)) => self.add(&raw, number, time, cpu, diagnostics),
                    None => {
                        // An unknown id, or a record without time: decoding says which.
                        self.add(&raw, number, self.newest, None, diagnostics);
                    }
                }
            } else if raw.kind == kind::FINISHED_ROUND {
                let settled = self.newest_before;
                self.newest_before = self.newest;
                if self.pending.len() >= target {
                    return settled;
                }
            } else if self.pass.wants(raw.kind) {
                let (time, cpu) = self.sideband_time(&raw);
                self.add(&raw, number, time, cpu, diagnostics);
            } else if self.pass == Pass::Events && raw.kind < kind::USER {
                self.unknown_records = self.unknown_records.saturating_add(1);
            }
        }
    }

    #[inline]
    fn sample_time(&self, raw: &Raw<'_>) -> Option<(u64, Option<u32>)> {
        let (time, cpu) = match self.uniform {
            Some(places) => places,
            None => {
                let layout = &self.perf.head.attrs.get(self.perf.attr_of(raw.bytes)?)?.layout;
                (layout.time?, layout.cpu)
            }
        };
        Some((u64_at(raw.bytes, time)?, cpu.and_then(|at| u32_at(raw.bytes, at))))
    }

    fn sideband_time(&self, raw: &Raw<'_>) -> (u64, Option<u32>) {
        let attr = self.perf.head.attrs.get(self.perf.attr_of_sideband(raw.bytes));
        let trailer = attr.map(|a| a.layout.trailer).unwrap_or_default();
        let back = |back: Option<usize>| raw.bytes.len().checked_sub(back?);
        let time = back(trailer.time).and_then(|at| u64_at(raw.bytes, at));
        let cpu = back(trailer.cpu).and_then(|at| u32_at(raw.bytes, at));
        // Without a time of its own it keeps its place in the file.
        let time = time.or_else(|| sideband::body_time(raw)).unwrap_or(self.newest);
        (time, cpu)
    }

    #[inline]
    fn add(
        &mut self,
        raw: &Raw<'_>,
        record: u64,
        mut time: u64,
        cpu: Option<u32>,
        diagnostics: &mut Diagnostics,
    ) {
        if time == 0 {
            // Made up by perf itself. Late ones (totals of lost samples, synthesis at
            // the end) cannot come first any more, and are no disorder either.
            time = self.delivered;
        } else {
            self.newest = self.newest.max(time);
            if let Some(cpu) = cpu {
                self.inversions.see(time, cpu);
            }
            if time < self.delivered {
                let offset = self.perf.offset(raw.offset);
                let cpu = cpu.map_or(Cpu::NONE, Cpu);
                diagnostics.add(Problem::OutOfOrder, cpu, 1, Some(Nanos(time)), Some(offset));
                time = self.delivered;
            }
        }
        self.pending.push(Entry { time, offset: raw.offset, record });
    }
}
