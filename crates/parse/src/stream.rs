//! Any reader's records to events in time order, and what was counted of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::capture::{CaptureInfo, CpuTotals, Totals};
use crate::chunks::{Chunks, Walked};
use crate::diagnostics::{Diagnostics, EXAMPLES, Problem};
use crate::units::{Cpu, Nanos};

/// How many records are read and put in order at a time, at least.
pub(crate) const BATCH: usize = 1 << 15;

/// More CPUs than Linux supports.
pub(crate) const MAX_CPUS: u32 = 1 << 14;

/// The serial part of a format's reader: finds records and puts them in the order of time.
/// An entry says where one is, and when; small and plain, for a batch of them is sorted.
pub(crate) trait Walk<E> {
    /// Replaces `batch` by the next entries, none older than any before. False when
    /// there are none left.
    fn next(&mut self, batch: &mut Vec<E>, diagnostics: &mut Diagnostics) -> bool;
    /// Records of any type, so far.
    fn records(&self) -> u64;
    /// Neighbouring records of one CPU that were not in time order, so far.
    fn inversions(&self) -> u64;
    /// Bytes walked over, so far.
    fn position(&self) -> u64;
    /// Records that were passed over, for what is wanted begins later, so far.
    fn skimmed(&self) -> u64 {
        0
    }
}

/// Counts neighbouring records of one CPU that were not in time order.
#[derive(Debug, Default)]
pub(crate) struct Inversions {
    /// Time of the last record of each CPU, in the order of the input.
    last: Vec<u64>,
    pub(crate) count: u64,
}

impl Inversions {
    #[inline]
    pub(crate) fn see(&mut self, time: u64, cpu: u32) {
        let index = cpu as usize;
        if index >= self.last.len() {
            // More CPUs than Linux supports: a broken record.
            if index >= MAX_CPUS as usize {
                return;
            }
            self.last.resize(index.saturating_add(1), 0);
        }
        if let Some(last) = self.last.get_mut(index) {
            if time < *last {
                self.count = self.count.saturating_add(1);
            }
            *last = time;
        }
    }
}

/// The totals of a CPU without events.
const UNSEEN: CpuTotals =
    CpuTotals { cpu: Cpu::NONE, events: 0, first: Nanos::ZERO, last: Nanos::ZERO, lost: 0 };

/// What decoding counted; sums that do not depend on the order of work.
#[derive(Debug)]
pub(crate) struct Stats {
    by_type: Vec<u64>,
    /// By number; [`Cpu::NONE`] in those that were not seen.
    cpus: Vec<CpuTotals>,
    /// Of events that no CPU is told of, or one that no Linux has.
    elsewhere: CpuTotals,
    /// By LOST_SAMPLES.
    pub(crate) lost_samples: u64,
    /// (problem, CPU, how many, time, file offset), in the order of time; taken out
    /// after each chunk.
    pub(crate) problems: Vec<(Problem, Cpu, u64, u64, u64)>,
    /// The first lines of the chunk that cannot be read, and why; taken out likewise.
    pub(crate) examples: Vec<(u64, String)>,
}

impl Stats {
    /// Nothing counted, of so many types of events.
    pub(crate) fn new(types: usize) -> Self {
        Self {
            by_type: vec![0; types],
            cpus: Vec::new(),
            elsewhere: UNSEEN,
            lost_samples: 0,
            problems: Vec::new(),
            examples: Vec::new(),
        }
    }

    /// The totals of a CPU; `None` for a number that no Linux has.
    fn cpu(&mut self, cpu: Cpu, time: u64) -> Option<&mut CpuTotals> {
        let index = cpu.0 as usize;
        if index >= MAX_CPUS as usize {
            return None;
        }
        if index >= self.cpus.len() {
            self.cpus.resize(index.saturating_add(1), UNSEEN);
        }
        let totals = self.cpus.get_mut(index)?;
        if totals.cpu != cpu {
            *totals = CpuTotals { cpu, first: Nanos(time), last: Nanos(time), ..UNSEEN };
        }
        Some(totals)
    }

    /// Counts an event. Those of one CPU come in the order of time.
    #[inline]
    pub(crate) fn count(&mut self, cpu: Cpu, time: u64, event_type: Option<usize>) {
        if let Some(count) = event_type.and_then(|t| self.by_type.get_mut(t)) {
            *count = count.saturating_add(1);
        }
        match self.cpus.get_mut(cpu.0 as usize) {
            Some(totals) if totals.events > 0 => {
                totals.events = totals.events.saturating_add(1);
                totals.last = Nanos(time);
            }
            _ => self.count_other(cpu, time),
        }
    }

    /// Counts a CPU's first event, or one of none.
    #[cold]
    fn count_other(&mut self, cpu: Cpu, time: u64) {
        let totals = match self.cpu(cpu, time) {
            Some(totals) => totals,
            None => &mut self.elsewhere,
        };
        if totals.events == 0 {
            totals.first = Nanos(time);
        }
        totals.events = totals.events.saturating_add(1);
        totals.last = Nanos(time);
    }

    /// Counts a line that cannot be read.
    pub(crate) fn bad_line(
        &mut self,
        cpu: Cpu,
        time: u64,
        line: u64,
        what: impl FnOnce() -> String,
    ) {
        self.problems.push((Problem::BadLine, cpu, 1, time, line));
        if self.examples.len() < EXAMPLES {
            self.examples.push((line, what()));
        }
    }

    /// Counts events that the recorder lost on a CPU before `time`.
    pub(crate) fn lost(&mut self, cpu: Cpu, n: u64, time: u64, offset: u64) {
        self.problems.push((Problem::LostEvents, cpu, n, time, offset));
        if let Some(totals) = self.cpu(cpu, time) {
            totals.lost = totals.lost.saturating_add(n);
        }
    }
}

/// How a pass over the records goes on: what others may know of it, and ask of it.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Bytes walked over, so far.
    pub(crate) walked: AtomicU64,
    /// Nothing more is wanted than what has been walked over.
    pub(crate) stop: AtomicBool,
}

/// Delivers what `decode` makes of the entries of a walk, in their order: an
/// [`Event`](crate::Event), say, or a [`StackEvent`](crate::stack::StackEvent). It appends
/// to the items, on any thread; nothing, and counted, for an entry that says nothing.
/// `course` follows the walk's position, and may end the pass.
pub(crate) fn read<E: Send + Sync, I: Send>(
    info: &CaptureInfo,
    walk: impl Walk<E> + Send,
    decode: impl Fn(&E, &mut Stats, &mut Vec<I>) + Sync,
    course: &Course,
    diagnostics: &mut Diagnostics,
    sink: &mut dyn FnMut(&[I]),
) -> Totals {
    let each = |entries: &[E], stats: &mut Stats, items: &mut Vec<I>| {
        entries.iter().for_each(|entry| decode(entry, stats, items));
    };
    read_runs(info, walk, each, course, diagnostics, sink)
}

/// The same where `decode` sees which entries follow: it is given neighbouring ones.
pub(crate) fn read_runs<E: Send + Sync, I: Send>(
    info: &CaptureInfo,
    walk: impl Walk<E> + Send,
    decode: impl Fn(&[E], &mut Stats, &mut Vec<I>) + Sync,
    course: &Course,
    diagnostics: &mut Diagnostics,
    sink: &mut dyn FnMut(&[I]),
) -> Totals {
    let chunks = Chunks::new(walk, decode, info.event_types.len());
    std::thread::scope(|scope| {
        let _leave = chunks.leave();
        // Not for what one chunk holds.
        let mut decoders = rayon::current_num_threads().saturating_sub(1);
        let mut small = true;
        while let Some(mut chunk) = chunks.next() {
            if !small || !chunk.small() {
                for _ in 0..std::mem::take(&mut decoders) {
                    // Where there can be no more threads, there is a slower pass.
                    let _ = std::thread::Builder::new().spawn_scoped(scope, || chunks.work());
                }
            }
            small = false;
            course.walked.store(chunk.position, Ordering::Relaxed);
            diagnostics.merge(&chunk.diagnostics);
            for (problem, cpu, n, time, offset) in chunk.stats.problems.drain(..) {
                diagnostics.add(problem, cpu, n, Some(Nanos(time)), Some(offset));
            }
            for (line, what) in chunk.stats.examples.drain(..) {
                diagnostics.example(line, what);
            }
            if !chunk.items.is_empty() {
                sink(&chunk.items);
            }
            chunks.back(chunk, course.stop.load(Ordering::Relaxed));
        }
    });
    let (walked, chunks) = chunks.into_parts();
    totals(info, walked, chunks.iter().map(|chunk| &chunk.stats), diagnostics)
}

fn totals<'s>(
    info: &CaptureInfo,
    walked: Walked,
    all: impl Iterator<Item = &'s Stats>,
    diagnostics: &mut Diagnostics,
) -> Totals {
    let types = &info.event_types;
    let mut by_type = vec![0_u64; types.len()];
    let mut cpus: Vec<CpuTotals> = Vec::new();
    let (mut whole, mut lost_samples) = (UNSEEN, 0_u64);
    for stats in all {
        for part in stats.cpus.iter().chain([&stats.elsewhere]) {
            whole = join(whole, *part);
        }
        lost_samples = lost_samples.saturating_add(stats.lost_samples);
        for (sum, n) in by_type.iter_mut().zip(&stats.by_type) {
            *sum = sum.saturating_add(*n);
        }
        if cpus.len() < stats.cpus.len() {
            cpus.resize(stats.cpus.len(), UNSEEN);
        }
        for (sum, one) in cpus.iter_mut().zip(&stats.cpus) {
            *sum = match (sum.cpu, one.cpu) {
                (_, Cpu::NONE) => *sum,
                (Cpu::NONE, _) => *one,
                _ => join(*sum, *one),
            };
        }
    }
    cpus.retain(|totals| totals.cpu != Cpu::NONE);
    let unknown = types.iter().zip(&by_type).filter(|(t, _)| !t.known).map(|(_, n)| *n);
    let problem = if info.formats_missing { Problem::NoFormat } else { Problem::UnknownEvent };
    diagnostics.add(problem, Cpu::NONE, unknown.sum(), None, None);
    // The totals of lost samples count again what LOST records counted.
    let mut lost = diagnostics.count(Problem::LostEvents);
    if lost == 0 && lost_samples > 0 {
        diagnostics.add(Problem::LostEvents, Cpu::NONE, lost_samples, None, None);
        lost = lost_samples;
    }
    let span = (whole.events > 0).then_some((whole.first, whole.last));
    Totals {
        records: walked.records,
        skimmed: walked.skimmed,
        events: whole.events,
        span,
        cpus,
        by_type,
        inversions: walked.inversions,
        lost,
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
