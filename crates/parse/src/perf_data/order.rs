//! Records in the order of the file to batches in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::select_unpredictable;

use super::PerfData;
use super::header::DataEnd;
use super::record::{self, Raw, Stop, kind};
use super::sideband;
use super::skim::Skimmer;
use super::stacks;
use crate::chunks::CHUNK;
use crate::cursor::{u32_at, u64_at};
use crate::diagnostics::{Diagnostics, Problem};
use crate::source::Skim;
use crate::stream::{self, MAX_CPUS};
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
/// what is older can be put in order and handed on (`perf_session__process_events`).
///
/// A ring holds its CPU's records in the order of time, so a merge of the CPUs' queues
/// is enough, as in `trace_dat/order.rs`; a queue that turns out not to be in order is
/// sorted.
#[derive(Debug)]
pub(crate) struct Walk<'p, 'a> {
    perf: &'p PerfData<'a>,
    pass: Pass,
    /// How many records to put in order at a time, at least.
    batch: usize,
    /// (offset of time, offset of CPU) in samples, where all attributes agree.
    uniform: Option<(usize, Option<usize>)>,
    skimmer: Option<Skimmer<'p>>,
    position: usize,
    /// Up to here the data are in the cache.
    fetched: usize,
    records: u64,
    /// Samples that were passed over.
    skimmed: u64,
    /// Read and not handed on: by CPU plus one, the first for what has no CPU.
    queues: Vec<Queue>,
    /// How many entries the queues hold.
    pending: usize,
    /// The head of each queue that holds any.
    heads: BinaryHeap<Head>,
    /// Nothing older than this can follow.
    settled: u64,
    newest: u64,
    newest_before: u64,
    /// Time of the last entry handed on.
    delivered: u64,
    inversions: u64,
    unknown_records: u64,
    finished: bool,
}

/// Time and number of a queue's next entry, and which queue; the oldest is the greatest.
type Head = Reverse<(u64, u64, usize)>;

/// Entries of one CPU, in the order of the file, and but for rare ones in that of time.
#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    /// So many are handed on.
    taken: usize,
    /// The greatest of their times, those handed on included.
    newest: u64,
    unsorted: bool,
    /// Time of the last record of this CPU, as the file has it.
    last: u64,
}

impl Queue {
    /// Follows the times of a CPU's records. 1 where time went back.
    fn see(&mut self, time: u64) -> u64 {
        let back = time < self.last;
        self.last = time;
        back.into()
    }

    fn push(&mut self, entry: Entry) {
        self.unsorted |= entry.time < self.newest;
        self.newest = self.newest.max(entry.time);
        self.entries.push(entry);
    }

    fn rest(&self) -> &[Entry] {
        self.entries.get(self.taken..).unwrap_or(&[])
    }

    /// Its head, as the queue with this index.
    fn head(&self, index: usize) -> Option<Head> {
        self.rest().first().map(|head| Reverse((head.time, head.record, index)))
    }

    /// Forgets those that are handed on, where they are as many as the rest: so that each
    /// is moved once.
    fn forget_taken(&mut self) {
        if self.taken >= self.entries.len() / 2 {
            self.entries.drain(..self.taken.min(self.entries.len()));
            self.taken = 0;
        }
    }

    fn sort(&mut self) {
        if std::mem::take(&mut self.unsorted)
            && let Some(rest) = self.entries.get_mut(self.taken..)
        {
            // Stable: equal times keep the order of the file.
            rest.sort_by_key(|entry| entry.time);
        }
    }
}

impl stream::Walk<Entry> for Walk<'_, '_> {
    fn next(&mut self, batch: &mut Vec<Entry>, diagnostics: &mut Diagnostics) -> bool {
        batch.clear();
        let mut target = self.batch;
        loop {
            self.merge(batch);
            if let Some(last) = batch.last() {
                self.delivered = last.time;
                return true;
            }
            if self.finished && self.pending == 0 {
                return false;
            }
            self.queues.iter_mut().for_each(Queue::forget_taken);
            self.settled = self.walk(target, diagnostics);
            self.queues.iter_mut().for_each(Queue::sort);
            self.heads.clear();
            let queues = self.queues.iter().enumerate();
            self.heads.extend(queues.filter_map(|(index, queue)| queue.head(index)));
            // Where the oldest are not settled yet, take in more.
            target = self.pending.saturating_mul(2).max(self.batch);
        }
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn inversions(&self) -> u64 {
        self.inversions
    }

    fn position(&self) -> u64 {
        self.position as u64
    }

    fn skimmed(&self) -> u64 {
        self.skimmed
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
            skimmer: None,
            position: 0,
            fetched: 0,
            records: 0,
            skimmed: 0,
            queues: Vec::new(),
            pending: 0,
            heads: BinaryHeap::new(),
            settled: 0,
            newest: 0,
            newest_before: 0,
            delivered: 0,
            inversions: 0,
            unknown_records: 0,
            finished: false,
        }
    }

    /// Passes over what need not be looked at.
    pub(crate) fn skimming(self, skim: Option<&'p Skim>) -> Self {
        Self { skimmer: skim.and_then(|skim| Skimmer::new(self.perf, skim)), ..self }
    }

    /// Takes the next of what is settled from the queues: never more than what one thread
    /// decodes at a time, for a round can hold a hundred thousand.
    fn merge(&mut self, batch: &mut Vec<Entry>) {
        let most = CHUNK.min(self.batch.saturating_mul(2));
        if self.heads.len() == 2 {
            self.merge_two(batch, most);
        }
        let all = (self.settled, u64::MAX);
        // The first queue stays outside of the heap while others take their turn: to change
        // places with the next one is half the work of pop and push.
        let mut first = self.heads.pop();
        while batch.len() < most
            && let Some(Reverse((time, _, index))) = first
            && time <= self.settled
            && let Some(queue) = self.queues.get_mut(index)
        {
            // Its entries up to the head of the next queue.
            let limit = match self.heads.peek() {
                Some(Reverse((time, record, _))) => all.min((*time, *record)),
                None => all,
            };
            let before = batch.len();
            for entry in queue.rest() {
                if (entry.time, entry.record) > limit || batch.len() >= most {
                    break;
                }
                batch.push(*entry);
            }
            let taken = batch.len().saturating_sub(before);
            queue.taken = queue.taken.saturating_add(taken);
            self.pending = self.pending.saturating_sub(taken);
            first = match queue.head(index) {
                Some(mut head) => {
                    if let Some(mut next) = self.heads.peek_mut()
                        && *next > head
                    {
                        std::mem::swap(&mut *next, &mut head);
                    }
                    Some(head)
                }
                None => self.heads.pop(),
            };
        }
        self.heads.extend(first);
    }

    /// The same of two queues, until of one nothing is left that is settled. A capture of two
    /// CPUs changes between them at every other entry: nothing tells the processor where, so
    /// no branch depends on it.
    fn merge_two(&mut self, batch: &mut Vec<Entry>, most: usize) {
        let mut two = self.heads.iter().map(|Reverse((_, _, index))| *index);
        let (Some(first), Some(second)) = (two.next(), two.next()) else { return };
        let settled = |index: usize| {
            let rest = self.queues.get(index).map_or(&[][..], Queue::rest);
            rest.get(..rest.partition_point(|entry| entry.time <= self.settled)).unwrap_or(rest)
        };
        let (mut left, mut right) = (settled(first), settled(second));
        let all = (left.len(), right.len());
        while batch.len() < most
            && let ([a, after_a @ ..], [b, after_b @ ..]) = (left, right)
        {
            let later = (a.time, a.record) > (b.time, b.record);
            batch.push(*select_unpredictable(later, b, a));
            left = select_unpredictable(later, left, after_a);
            right = select_unpredictable(later, after_b, right);
        }
        let (from_left, from_right) = (all.0 - left.len(), all.1 - right.len());
        self.pending = self.pending.saturating_sub(from_left + from_right);
        self.heads.clear();
        for (index, taken) in [(first, from_left), (second, from_right)] {
            if let Some(queue) = self.queues.get_mut(index) {
                queue.taken = queue.taken.saturating_add(taken);
                self.heads.extend(queue.head(index));
            }
        }
    }

    /// Reads until `target` entries are pending at the end of a round, or the data
    /// end. Returns the time up to which no older record can follow.
    fn walk(&mut self, target: usize, diagnostics: &mut Diagnostics) -> u64 {
        if self.finished {
            return u64::MAX;
        }
        let data = self.perf.data;
        let (mut position, mut records) = (self.position, self.records);
        let settled = loop {
            if position >= self.fetched {
                self.fetched = fetch(data, position);
            }
            // Nearly all are samples of which the front tells what is asked.
            let rest = data.get(position..).unwrap_or(&[]);
            if let Some(sample) = self.perf.words.and_then(|words| words.read(rest)) {
                if let Some(skimmer) = &self.skimmer
                    && let Some(passed) = skimmer.passes(self.perf, &sample, rest)
                {
                    position = position.saturating_add(passed.bytes);
                    records = records.saturating_add(passed.records);
                    self.skimmed = self.skimmed.saturating_add(passed.records);
                    continue;
                }
                let (time, cpu) = (sample.time, Some(sample.front.cpu.0));
                self.add(time, cpu, position, records, diagnostics);
                position = position.saturating_add(sample.front.size.into());
                records = records.saturating_add(1);
                continue;
            }
            let raw = match record::at(data, position) {
                Ok(raw) => raw,
                Err(stop) => {
                    self.position = position;
                    self.end(stop, diagnostics);
                    break u64::MAX;
                }
            };
            let (offset, record) = (position, records);
            position = raw.next();
            records = records.saturating_add(1);
            if raw.kind == kind::SAMPLE {
                // Without: an unknown id, or a record without time; decoding says which.
                let (time, cpu) = self.sample_time(&raw).unwrap_or((self.newest, None));
                self.add(time, cpu, offset, record, diagnostics);
            } else if raw.kind == kind::FINISHED_ROUND {
                let settled = self.newest_before;
                self.newest_before = self.newest;
                if self.pending >= target {
                    break settled;
                }
            } else if self.pass.wants(raw.kind) {
                let (time, cpu) = self.sideband_time(&raw);
                self.add(time, cpu, offset, record, diagnostics);
            } else if self.pass == Pass::Events && raw.kind < kind::USER {
                self.unknown_records = self.unknown_records.saturating_add(1);
            }
        };
        (self.position, self.records) = (position, records);
        settled
    }

    /// Counts what the end of the data says.
    fn end(&mut self, stop: Stop, diagnostics: &mut Diagnostics) {
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
    }

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

    // Field by field: an entry that is passed goes through the stack, and loading it from
    // there waits for its fields.
    #[inline]
    fn add(
        &mut self,
        time: u64,
        cpu: Option<u32>,
        offset: usize,
        record: u64,
        diagnostics: &mut Diagnostics,
    ) {
        let queue = cpu.and_then(|cpu| self.queues.get_mut((cpu as usize).saturating_add(1)));
        match queue {
            Some(queue) if time > 0 && time >= self.delivered && time >= queue.newest => {
                self.newest = self.newest.max(time);
                (queue.newest, queue.last) = (time, time);
                queue.entries.push(Entry { time, offset, record });
                self.pending = self.pending.saturating_add(1);
            }
            _ => self.add_other(cpu, Entry { time, offset, record }, diagnostics),
        }
    }

    /// Adds an entry of a new CPU or of none, without a time, too late, or not in order.
    #[cold]
    fn add_other(&mut self, cpu: Option<u32>, mut entry: Entry, diagnostics: &mut Diagnostics) {
        let Entry { time, .. } = entry;
        // More CPUs than Linux supports: a broken record.
        let known = cpu.filter(|cpu| *cpu < MAX_CPUS && time > 0);
        let index = known.map_or(0, |cpu| (cpu as usize).saturating_add(1));
        if index >= self.queues.len() {
            self.queues.resize_with(index.saturating_add(1), Queue::default);
        }
        let Some(queue) = self.queues.get_mut(index) else { return };
        if time == 0 {
            // Made up by perf itself. Late ones (totals of lost samples, synthesis at
            // the end) cannot come first any more, and are no disorder either.
            entry.time = self.delivered;
        } else {
            self.newest = self.newest.max(time);
            if known.is_some() {
                self.inversions = self.inversions.saturating_add(queue.see(time));
            }
            if time < self.delivered {
                let at = Some(self.perf.offset(entry.offset));
                let cpu = cpu.map_or(Cpu::NONE, Cpu);
                diagnostics.add(Problem::OutOfOrder, cpu, 1, Some(Nanos(time)), at);
                entry.time = self.delivered;
            }
        }
        queue.push(entry);
        self.pending = self.pending.saturating_add(1);
    }
}

/// Brings the next of the data into the cache; returns up to where.
///
/// Where a record begins is known only once the one before it has been read, so a walk
/// alone waits for memory at each of them; these reads do not wait for each other. As much
/// as a first-level cache holds, several pages side by side: what the processor fetches
/// ahead by itself ends with a page.
fn fetch(data: &[u8], position: usize) -> usize {
    const BLOCK: usize = 32 << 10;
    const PAGE: usize = 4 << 10;
    const LINE: usize = 64;
    let rest = data.get(position..).unwrap_or(&[]);
    let (pages, _) = rest.get(..BLOCK).unwrap_or(rest).as_chunks::<PAGE>();
    let mut bits = 0;
    for line in (0..PAGE).step_by(LINE) {
        for page in pages {
            bits |= page.get(line).copied().unwrap_or(0);
        }
    }
    std::hint::black_box(bits);
    position.saturating_add(BLOCK)
}
