//! The events of all CPUs and buffers to batches in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pages::{Missed, Pages, Step};
use super::times::Times;
use super::{Stream, TraceDat};
use crate::diagnostics::{Diagnostics, Problem};
use crate::stream;
use crate::units::Nanos;

/// One record: when, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) time: u64,
    /// Its number in the file.
    pub(crate) record: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A saved name, by its index.
    Name(u32),
    /// An event, by the index of its stream and its place in that.
    Event { stream: u32, at: usize },
    /// Events were lost here.
    Lost { stream: u32, lost: u64 },
    /// Events were lost, nothing tells when.
    Dropped { stream: u32, lost: u64 },
}

/// Merges the streams. The ring buffer keeps each in the order of time, so a merge of
/// their heads is enough:
///
/// ```text
/// cpu0: 1 2 3   7       heap: (1, cpu0) (4, cpu1)   cpu0 runs on up to 4
/// cpu1:       4   8                                 then cpu1 up to 7, ...
/// ```
#[derive(Debug)]
pub(crate) struct Walk<'p, 'a> {
    dat: &'p TraceDat<'a>,
    batch: usize,
    cursors: Vec<Cursor<'p, 'a>>,
    /// Time of the head, and index, of each stream that is not done.
    heads: BinaryHeap<Reverse<(u64, u32)>>,
    names_done: bool,
    delivered: u64,
    records: u64,
    /// Counted before the first batch.
    problems: Diagnostics,
}

/// Where one stream stands.
#[derive(Debug)]
struct Cursor<'p, 'a> {
    index: u32,
    stream: &'p Stream<'a>,
    times: &'p Times,
    pages: Pages<'a>,
    /// The record to deliver next.
    head: Option<Entry>,
    /// Time of the last one found, before it was held back.
    last: u64,
    record: u64,
    inversions: u64,
    /// Whether the next loss without a count is the first.
    first_unknown: bool,
    /// Whether what was dropped is told.
    dropped: bool,
}

impl stream::Walk<Entry> for Walk<'_, '_> {
    fn next(&mut self, batch: &mut Vec<Entry>, diagnostics: &mut Diagnostics) -> bool {
        batch.clear();
        diagnostics.merge(&std::mem::take(&mut self.problems));
        if !std::mem::replace(&mut self.names_done, true) {
            batch.extend((0_u32..).zip(&self.dat.names).map(|(index, _)| Entry {
                time: 0,
                record: index.into(),
                what: What::Name(index),
            }));
        }
        while batch.len() < self.batch {
            let Some(Reverse((_, index))) = self.heads.pop() else { break };
            self.run(index, batch, diagnostics);
        }
        self.records = self.records.saturating_add(batch.len() as u64);
        !batch.is_empty()
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn inversions(&self) -> u64 {
        self.cursors.iter().map(|cursor| cursor.inversions).sum()
    }

    fn position(&self) -> u64 {
        self.cursors.iter().map(|cursor| cursor.pages.position() as u64).sum()
    }
}

impl<'p, 'a> Walk<'p, 'a> {
    pub(crate) fn new(dat: &'p TraceDat<'a>, batch: usize) -> Self {
        let mut problems = Diagnostics::default();
        dat.count_damage(&mut problems);
        let mut heads = BinaryHeap::new();
        let cursors = (0_u32..)
            .zip(&dat.streams)
            .map(|(index, stream)| {
                let cursor = Cursor::new(index, stream, &dat.times, &mut problems);
                heads.extend(cursor.head.map(|head| Reverse((head.time, index))));
                cursor
            })
            .collect();
        Self { dat, batch, cursors, heads, names_done: false, delivered: 0, records: 0, problems }
    }

    /// Delivers the records of one stream up to the head of the next one.
    fn run(&mut self, index: u32, batch: &mut Vec<Entry>, diagnostics: &mut Diagnostics) {
        let Some(cursor) = self.cursors.get_mut(index as usize) else { return };
        let limit = self.heads.peek().map_or((u64::MAX, u32::MAX), |Reverse(head)| *head);
        while let Some(head) = cursor.head {
            if (head.time, index) > limit || batch.len() >= self.batch {
                self.heads.push(Reverse((head.time, index)));
                return;
            }
            batch.push(head);
            self.delivered = head.time;
            cursor.advance(self.delivered, diagnostics);
        }
    }
}

impl<'p, 'a> Cursor<'p, 'a> {
    fn new(
        index: u32,
        stream: &'p Stream<'a>,
        times: &'p Times,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut cursor = Self {
            index,
            stream,
            times,
            pages: Pages::new(stream.data, stream.layout),
            head: None,
            last: 0,
            record: stream.base,
            inversions: 0,
            first_unknown: true,
            dropped: false,
        };
        if stream.lost_before > 0 {
            let first = cursor.pages.clone().find_map(|step| match step {
                Step::Event { time, .. } => Some(times.apply(stream.cpu.0, time)),
                Step::Missed { .. } | Step::Bad { .. } => None,
            });
            let what = What::Lost { stream: index, lost: stream.lost_before };
            cursor.put(what, first.unwrap_or(0));
        } else {
            cursor.advance(0, diagnostics);
        }
        cursor
    }

    /// Finds the next record.
    #[inline]
    fn advance(&mut self, delivered: u64, diagnostics: &mut Diagnostics) {
        self.head = None;
        let (stream, index) = (self.stream, self.index);
        let (what, time) = loop {
            match self.pages.next() {
                Some(Step::Event { at, time }) => break (What::Event { stream: index, at }, time),
                Some(Step::Missed { missed, time }) => {
                    let lost = match missed {
                        Missed::Count(lost) => lost,
                        Missed::Unknown if self.first_unknown => {
                            self.first_unknown = false;
                            stream.lost_unknown
                        }
                        Missed::Unknown => 1,
                    };
                    break (What::Lost { stream: index, lost }, time);
                }
                Some(Step::Bad { at }) => {
                    let (time, offset) = (Some(Nanos(self.last)), Some(stream.offset_of(at)));
                    diagnostics.add(Problem::BadRecord, stream.cpu, 1, time, offset);
                }
                None => {
                    if stream.dropped > 0 && !self.dropped {
                        self.dropped = true;
                        let what = What::Dropped { stream: index, lost: stream.dropped };
                        self.put(what, delivered);
                    }
                    return;
                }
            }
        };
        let time = self.times.apply(stream.cpu.0, time);
        if time < self.last {
            self.inversions = self.inversions.saturating_add(1);
        }
        self.last = time;
        if time < delivered {
            diagnostics.add(Problem::OutOfOrder, stream.cpu, 1, Some(Nanos(time)), None);
        }
        self.put(what, time.max(delivered));
    }

    fn put(&mut self, what: What, time: u64) {
        self.head = Some(Entry { time, record: self.record, what });
        self.record = self.record.saturating_add(1);
    }
}
