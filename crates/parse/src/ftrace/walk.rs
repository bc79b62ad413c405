//! Lines in the order of the file to batches in the order of time.

use rayon::prelude::*;

use super::head::Head;
use super::line::{Line, line, line_at};
use super::scan::{Chunk, NameAt};
use super::{FtraceText, flags};
use crate::diagnostics::Diagnostics;
use crate::events::Context;
use crate::stream::{self, Inversions};

/// Chunks whose lines are read at a time, in parallel.
const AHEAD: usize = 8;

/// One line that becomes an event, or a count: what its head says, so that it is read
/// once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(super) time: u64,
    /// Where its line begins.
    pub(super) at: usize,
    /// The line's number, from 1.
    pub(super) line: u64,
    pub(super) what: What,
    pub(super) cpu: u32,
    pub(super) tid: i32,
    /// -1 where the line does not tell.
    pub(super) pid: i32,
    pub(super) context: Context,
    /// Where in the line the event's name begins.
    pub(super) rest: u16,
    /// The line's own time is 0: perf made it up.
    pub(super) timeless: bool,
}

impl Entry {
    fn new(time: u64, at: usize, line: u64, what: What) -> Self {
        Self {
            time,
            at,
            line,
            what,
            cpu: 0,
            tid: -1,
            pid: -1,
            context: Context::UNKNOWN,
            rest: 0,
            timeless: false,
        }
    }

    /// An event's line, of `len` bytes.
    #[inline]
    fn of(head: &Head<'_>, len: usize, at: usize, line: u64) -> Self {
        Self {
            cpu: head.cpu,
            tid: head.tid,
            pid: head.pid.unwrap_or(-1),
            context: flags::context(head.flags),
            // Heads are shorter than 512 bytes.
            rest: u16::try_from(len.saturating_sub(head.rest.len())).unwrap_or(u16::MAX),
            timeless: head.time == 0,
            ..Self::new(head.time, at, line, What::Event)
        }
    }
}

/// What is made of an entry's line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Its event.
    Event,
    /// The name of its task, which was there from before.
    Name,
    /// Lost events.
    Lost,
    /// Events that were overwritten before the first one that is left.
    Overwritten,
    /// A count of lines that it cannot read.
    Bad,
}

/// Walks the text once. The look through it (`scan.rs`) has told for each chunk how
/// old a line in any later chunk can be: what is older than that is settled, can be
/// sorted and handed on. So a text that is in order, or nearly, needs the room of a few
/// chunks; one made of several files, one after the other, as much as they overlap.
#[derive(Debug)]
pub(crate) struct Walk<'p, 'a> {
    text: &'p FtraceText<'a>,
    /// How many entries to sort at a time, at least.
    batch: usize,
    /// The next chunk.
    chunk: usize,
    /// Lines of the next chunks, the next one last.
    ahead: Vec<Vec<Entry>>,
    records: u64,
    /// Not yet delivered; the front part, if any, is sorted.
    pending: Vec<Entry>,
    /// Lines of lost events, which wait for their CPU's next event.
    lost: Vec<(u32, Entry)>,
    /// Time of the last line with one.
    newest: u64,
    /// Time of the last entry handed on.
    delivered: u64,
    inversions: Inversions,
}

impl<'p, 'a> Walk<'p, 'a> {
    pub(super) fn new(text: &'p FtraceText<'a>, batch: usize) -> Self {
        let names = text.names.iter();
        let name = |n: &NameAt| Entry::new(0, n.at, n.line, What::Name);
        Self {
            text,
            batch,
            chunk: 0,
            ahead: Vec::new(),
            records: 0,
            pending: names.map(name).collect(),
            lost: Vec::new(),
            newest: 0,
            delivered: 0,
            inversions: Inversions::default(),
        }
    }

    /// Takes in a chunk. Returns the time up to which nothing older can follow.
    fn take(&mut self) -> Option<u64> {
        let chunk = self.text.chunks.get(self.chunk)?;
        if self.ahead.is_empty() {
            // Reading heads is most of the work, and can be shared.
            let rest = self.text.chunks.get(self.chunk..).unwrap_or(&[]);
            let next = rest.get(..AHEAD).unwrap_or(rest);
            self.ahead = next.par_iter().map(|chunk| self.text.entries(chunk)).collect();
            self.ahead.reverse();
        }
        self.chunk = self.chunk.saturating_add(1);
        for entry in self.ahead.pop().unwrap_or_default() {
            self.entry(entry);
        }
        Some(chunk.settled)
    }

    /// Takes in a line.
    fn entry(&mut self, mut entry: Entry) {
        if entry.what != What::Overwritten {
            self.records = self.records.saturating_add(1);
        }
        match entry.what {
            What::Event => {
                // perf's own records at time 0 come first; a late one keeps its place.
                if entry.timeless {
                    entry.time = self.newest;
                } else {
                    self.newest = entry.time;
                    self.inversions.see(entry.time, entry.cpu);
                }
                if !self.lost.is_empty() {
                    self.settle_lost(entry.cpu, entry.time);
                }
                self.add(entry);
            }
            What::Lost => self.lost.push((entry.cpu, entry)),
            // Before the oldest event that is left.
            What::Overwritten => self.add(Entry { time: self.text.first, ..entry }),
            What::Bad | What::Name => self.add(Entry { time: self.newest, ..entry }),
        }
    }

    #[inline]
    fn add(&mut self, entry: Entry) {
        // Only lines without a time of their own can be older than what was handed on.
        self.pending.push(Entry { time: entry.time.max(self.delivered), ..entry });
    }

    /// The next event of a CPU tells when its losses ended.
    #[cold]
    fn settle_lost(&mut self, cpu: u32, time: u64) {
        let lost = std::mem::take(&mut self.lost);
        for (of, entry) in lost {
            if of == cpu {
                self.add(Entry { time, ..entry });
            } else {
                self.lost.push((of, entry));
            }
        }
    }
}

impl FtraceText<'_> {
    /// The lines of a chunk that become something, as they stand.
    fn entries(&self, chunk: &Chunk) -> Vec<Entry> {
        let mut entries = Vec::new();
        let (mut at, mut number) = (chunk.start, chunk.line);
        while at < chunk.end {
            let (text, next) = line_at(self.bytes, at);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            match line(text, self.style) {
                Line::Head(head) => entries.push(Entry::of(&head, text.len(), at, number)),
                Line::Lost { cpu, .. } => {
                    entries.push(Entry { cpu, ..Entry::new(0, at, number, What::Lost) });
                }
                Line::Overwritten(_) => {
                    entries.push(Entry::new(0, at, number, What::Overwritten));
                }
                Line::Bad => entries.push(Entry::new(0, at, number, What::Bad)),
                Line::Skip => {}
            }
            (at, number) = (next, number.saturating_add(1));
        }
        entries
    }
}

impl stream::Walk<Entry> for Walk<'_, '_> {
    fn next(&mut self, batch: &mut Vec<Entry>, _diagnostics: &mut Diagnostics) -> bool {
        batch.clear();
        let mut target = self.batch;
        loop {
            let mut settled = u64::MAX;
            let mut more = true;
            while self.pending.len() < target {
                match self.take() {
                    Some(time) => settled = time,
                    None => {
                        more = false;
                        // No event of their CPUs came any more.
                        for (_, entry) in std::mem::take(&mut self.lost) {
                            self.add(Entry { time: self.newest, ..entry });
                        }
                        settled = u64::MAX;
                        break;
                    }
                }
            }
            if more && self.pending.len() >= target && self.chunk > 0 {
                let last = self.text.chunks.get(self.chunk.saturating_sub(1));
                settled = last.map_or(settled, |chunk| chunk.settled);
            }
            // Stable: equal times keep the order of the file.
            self.pending.sort_by_key(|entry| entry.time);
            let count = self.pending.partition_point(|entry| entry.time <= settled);
            if count > 0 {
                batch.extend(self.pending.drain(..count));
                self.delivered = batch.last().map_or(self.delivered, |e| e.time);
                return true;
            }
            if !more {
                return false;
            }
            // The oldest are not settled yet: take in more.
            target = self.pending.len().saturating_mul(2).max(self.batch);
        }
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn inversions(&self) -> u64 {
        self.inversions.count
    }

    fn position(&self) -> u64 {
        let last = self.chunk.checked_sub(1).and_then(|chunk| self.text.chunks.get(chunk));
        last.map_or(0, |chunk| chunk.end as u64)
    }
}
