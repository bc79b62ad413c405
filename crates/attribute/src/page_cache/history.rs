//! Adds and deletes of folios to evictions and refaults, in one pass.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{CacheEvent, Model, TaskId, Windows};
use rustc_hash::FxHashMap;

use super::removal::{Calls, Removal};
use crate::inclusive::Stretch;

/// Who took pages of a file out of the page cache, and how.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Eviction {
    /// The file whose pages left; index in `Model::files`.
    pub(crate) file: u32,
    /// How.
    pub(crate) how: Removal,
    /// Who did it. For kswapd, whose additions made it necessary; `None`: not told.
    pub(crate) task: Option<TaskId>,
    /// The step that this task worked for; index in `Windows::steps`.
    pub(crate) step: Option<usize>,
    /// In which system call.
    pub(crate) call: Option<i32>,
    /// The file that this task was adding meanwhile, under memory pressure.
    pub(crate) reading: Option<u32>,
}

/// Pages that were added again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Refault {
    /// When they were added again.
    pub(crate) time: Nanos,
    /// By whom.
    pub(crate) task: Option<TaskId>,
    /// The file.
    pub(crate) file: u32,
    /// The first of the pages.
    pub(crate) index: u64,
    /// How many.
    pub(crate) pages: u64,
    /// Index in [`History::evictions`].
    pub(crate) eviction: u32,
    /// When they had left; when they had been added, where the removal was not recorded.
    pub(crate) left: Nanos,
    /// Pages added meanwhile, to any file.
    pub(crate) between: u64,
}

/// The page cache over the whole capture.
#[derive(Default, Debug)]
pub(crate) struct History {
    /// Each kind of eviction once.
    pub(crate) evictions: Vec<Eviction>,
    /// By task, then time.
    refaults: Vec<Refault>,
    /// Indices of `refaults`, by file, page, time.
    by_page: Vec<u32>,
    /// Indices of `Model::cache`, of adds: by file, page, time.
    adds: Vec<u32>,
    /// Indices of `Model::cache`, by task, then time.
    by_task: Vec<u32>,
    /// For each of `Model::cache`, how it left; `None` for adds.
    removals: Vec<Option<Removal>>,
    /// The pages of each file's largest folio.
    largest: Vec<u64>,
}

/// Pages of one file in a state.
#[derive(Clone, Copy, Debug)]
struct Extent {
    pages: u64,
    /// Out of the cache by this eviction; `None`: in it.
    out: Option<u32>,
    since: Nanos,
    /// Pages added to all files by then.
    clock: u64,
}

/// So many events back the reader that kswapd works for is looked for, and for so long.
const LOOK_BACK: usize = 4096;
const LOOK_BACK_NS: Nanos = Nanos(1_000_000_000);
/// A page is looked for in so many events that may cover it.
const COVERING: usize = 512;
/// So many events the answer is kept.
const KEEP: usize = 256;
/// What a task added so recently is what it was reading.
const READING_NS: Nanos = Nanos(100_000_000);

/// The kind of removal does not change within one operation.
#[derive(Clone, Copy)]
struct Memo {
    task: TaskId,
    op: Option<usize>,
    until: Nanos,
    removal: (Removal, Option<i32>),
}

struct Pass<'m> {
    model: &'m Model,
    windows: &'m Windows,
    calls: Calls,
    out: History,
    ids: FxHashMap<Eviction, u32>,
    files: Vec<BTreeMap<u64, Extent>>,
    clock: u64,
    /// What each task added last: when, and of which file.
    last: Vec<Option<(Nanos, u32)>>,
    memo: Option<Memo>,
    reader: Option<(usize, Option<(TaskId, u32)>)>,
}

impl History {
    pub(crate) fn new(model: &Model, windows: &Windows) -> Self {
        let mut pass = Pass {
            model,
            windows,
            calls: Calls::new(model),
            out: Self { largest: vec![1; model.files.len()], ..Self::default() },
            ids: FxHashMap::default(),
            files: vec![BTreeMap::new(); model.files.len()],
            clock: 0,
            last: vec![None; model.tasks.len()],
            memo: None,
            reader: None,
        };
        for (at, event) in model.cache.iter().enumerate() {
            if event.added {
                pass.add(event);
                pass.out.removals.push(None);
            } else {
                let how = pass.delete(at, event);
                pass.out.removals.push(Some(how));
            }
        }
        let mut out = pass.out;
        out.refaults.sort_by_key(|r| (r.task, r.time, r.file, r.index));
        let number = |i: usize| u32::try_from(i).unwrap_or(u32::MAX);
        out.by_page = (0..out.refaults.len()).map(number).collect();
        let refaults = &out.refaults;
        out.by_page.sort_by_key(|i| refaults.get(*i as usize).map(|r| (r.file, r.index, r.time)));
        let event = |i: &u32| model.cache.get(*i as usize);
        out.by_task = (0..model.cache.len()).map(number).collect();
        // Stable: what is in time order stays so.
        out.by_task.sort_by_key(|i| event(i).map(|e| e.task));
        out.adds = (0..model.cache.len())
            .map(number)
            .filter(|i| event(i).is_some_and(|e| e.added))
            .collect();
        out.adds.sort_by_key(|i| event(i).map(|e| (e.file, e.index, e.time)));
        out
    }

    /// What a task added again over a stretch, in time order.
    pub(crate) fn refaults(&self, stretch: &Stretch) -> &[Refault] {
        let from = (Some(stretch.task), stretch.from);
        let to = (Some(stretch.task), stretch.to);
        let first = self.refaults.partition_point(|r| (r.task, r.time) < from);
        let last = self.refaults.partition_point(|r| (r.task, r.time) < to);
        self.refaults.get(first..last).unwrap_or_default()
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Refault] {
        &self.refaults
    }

    /// The eviction of a refault.
    pub(crate) fn eviction(&self, refault: &Refault) -> Option<&Eviction> {
        self.evictions.get(refault.eviction as usize)
    }

    /// Adds and deletes of a task over a stretch, with how pages left.
    pub(crate) fn events<'m>(
        &'m self,
        model: &'m Model,
        stretch: &Stretch,
    ) -> impl Iterator<Item = (&'m CacheEvent, Option<Removal>)> + 'm {
        let key = |i: &u32| model.cache.get(*i as usize).map(|e| (e.task, e.time));
        let from = Some((Some(stretch.task), stretch.from));
        let to = Some((Some(stretch.task), stretch.to));
        let first = self.by_task.partition_point(|i| key(i) < from);
        let last = self.by_task.partition_point(|i| key(i) < to);
        let range = self.by_task.get(first..last).unwrap_or_default();
        range.iter().filter_map(move |i| self.event(model, *i as usize))
    }

    /// One event with how its pages left.
    pub(crate) fn event<'m>(
        &self,
        model: &'m Model,
        at: usize,
    ) -> Option<(&'m CacheEvent, Option<Removal>)> {
        Some((model.cache.get(at)?, self.removals.get(at).copied().flatten()))
    }

    /// The last time within `[since, until]` that a page was added again.
    pub(crate) fn refault_of(
        &self,
        file: u32,
        page: u64,
        since: Nanos,
        until: Nanos,
    ) -> Option<&Refault> {
        let get = |i: &u32| self.refaults.get(*i as usize);
        let largest = self.largest.get(file as usize).copied().unwrap_or(1);
        let covers = |r: &&Refault| {
            page < r.index.saturating_add(r.pages) && since <= r.time && r.time <= until
        };
        let after = self
            .by_page
            .partition_point(|i| get(i).is_some_and(|r| (r.file, r.index) <= (file, page)));
        let before = self.by_page.get(..after).unwrap_or_default().iter().rev();
        before
            .filter_map(get)
            .take_while(|r| r.file == file && r.index.saturating_add(largest) > page)
            .take(COVERING)
            .filter(covers)
            .max_by_key(|r| r.time)
    }

    /// When a page was last added, at or before a time; `None`: not within the capture.
    pub(crate) fn added(&self, model: &Model, file: u32, page: u64, until: Nanos) -> Option<Nanos> {
        let get = |i: &u32| model.cache.get(*i as usize);
        let largest = self.largest.get(file as usize).copied().unwrap_or(1);
        let after = self
            .adds
            .partition_point(|i| get(i).is_some_and(|e| (e.file, e.index) <= (file, page)));
        let before = self.adds.get(..after).unwrap_or_default().iter().rev();
        before
            .filter_map(get)
            .take_while(|e| e.file == file && e.index.saturating_add(largest) > page)
            .take(COVERING)
            .filter(|e| page < e.index.saturating_add(e.pages) && e.time <= until)
            .map(|e| e.time)
            .max()
    }
}

impl Pass<'_> {
    fn intern(&mut self, eviction: Eviction) -> u32 {
        let evictions = &mut self.out.evictions;
        *self.ids.entry(eviction).or_insert_with(|| {
            evictions.push(eviction);
            u32::try_from(evictions.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Takes the pages `[from, to)` out of a file's extents; calls `found` with each part.
    fn take(&mut self, file: u32, from: u64, to: u64, mut found: impl FnMut(u64, u64, Extent)) {
        let Some(extents) = self.files.get_mut(file as usize) else { return };
        // Most often nothing lies there, or just these pages: the last extent that begins
        // before their end tells, for no two overlap.
        match extents.range(..to).next_back().map(|(start, e)| (*start, *e)) {
            None => return,
            Some((start, extent)) if start.saturating_add(extent.pages) <= from => return,
            Some((start, extent)) if start == from && extent.pages == to - from => {
                extents.remove(&start);
                found(start, extent.pages, extent);
                return;
            }
            Some(_) => {}
        }
        let before = extents.range(..from).next_back().map(|(start, e)| (*start, *e));
        if let Some((start, extent)) = before
            && start.saturating_add(extent.pages) > from
        {
            let end = start.saturating_add(extent.pages);
            extents.insert(start, Extent { pages: from - start, ..extent });
            extents.insert(from, Extent { pages: end - from, ..extent });
        }
        while let Some((start, extent)) = extents.range(from..to).next().map(|(s, e)| (*s, *e)) {
            extents.remove(&start);
            let end = start.saturating_add(extent.pages);
            if end > to {
                extents.insert(to, Extent { pages: end - to, ..extent });
            }
            found(start, end.min(to) - start, extent);
        }
    }

    fn put(&mut self, file: u32, index: u64, extent: Extent) {
        if let Some(extents) = self.files.get_mut(file as usize) {
            extents.insert(index, extent);
        }
    }

    fn add(&mut self, event: &CacheEvent) {
        let pages = event.pages.max(1);
        if let Some(largest) = self.out.largest.get_mut(event.file as usize) {
            *largest = pages.max(*largest);
        }
        let mut again: Vec<(u64, u64, Extent)> = Vec::new();
        self.take(event.file, event.index, event.index.saturating_add(pages), |index, n, e| {
            again.push((index, n, e));
        });
        for (index, pages, extent) in again {
            let eviction = extent.out.unwrap_or_else(|| {
                self.intern(Eviction {
                    file: event.file,
                    how: Removal::NotRecorded,
                    task: None,
                    step: None,
                    call: None,
                    reading: None,
                })
            });
            self.out.refaults.push(Refault {
                time: event.time,
                task: event.task,
                file: event.file,
                index,
                pages,
                eviction,
                left: extent.since,
                between: self.clock.saturating_sub(extent.clock),
            });
        }
        self.clock = self.clock.saturating_add(pages);
        let extent = Extent { pages, out: None, since: event.time, clock: self.clock };
        self.put(event.file, event.index, extent);
        if let Some(last) = event.task.and_then(|t| self.last.get_mut(t.0 as usize)) {
            *last = Some((event.time, event.file));
        }
    }

    fn delete(&mut self, at: usize, event: &CacheEvent) -> Removal {
        let pages = event.pages.max(1);
        self.take(event.file, event.index, event.index.saturating_add(pages), |_, _, _| {});
        let (how, call) = self.removal(event);
        if !how.is_eviction() {
            return how;
        }
        let mut task = event.task;
        let mut reading = None;
        if how == Removal::Kswapd {
            let reader = self.reader(at, event);
            task = reader.map(|(task, _)| task);
            reading = reader.map(|(_, file)| file);
        } else if how.is_reclaim() {
            let last = task.and_then(|t| self.last.get(t.0 as usize).copied().flatten());
            reading =
                last.filter(|(time, _)| event.time - *time <= READING_NS).map(|(_, file)| file);
        }
        let step = task.and_then(|task| self.windows.claim_at(task, event.time));
        let id = self.intern(Eviction { file: event.file, how, task, step, call, reading });
        let extent = Extent { pages, out: Some(id), since: event.time, clock: self.clock };
        self.put(event.file, event.index, extent);
        how
    }

    fn removal(&mut self, event: &CacheEvent) -> (Removal, Option<i32>) {
        let Some(id) = event.task else { return (Removal::Unknown, None) };
        let Some(task) = self.model.tasks.get(id.0 as usize) else {
            return (Removal::Unknown, None);
        };
        let op = task.op_at(event.time);
        if let Some(memo) = self.memo
            && (memo.task, memo.op) == (id, op)
            && op.is_some()
            && event.time < memo.until
        {
            return memo.removal;
        }
        let removal = self.calls.removal(self.model, id, task, event.time);
        let until = op.and_then(|op| task.ops.get(op)).map_or(event.time, |op| op.end);
        self.memo = Some(Memo { task: id, op, until, removal });
        removal
    }

    /// Who added most to the cache of late, and of which file.
    fn reader(&mut self, at: usize, event: &CacheEvent) -> Option<(TaskId, u32)> {
        if let Some((since, reader)) = self.reader
            && at - since < KEEP
        {
            return reader;
        }
        let mut sums: BTreeMap<(TaskId, u32), u64> = BTreeMap::new();
        let before = self.model.cache.get(..at).unwrap_or_default().iter().rev();
        for e in before.take(LOOK_BACK).take_while(|e| event.time - e.time <= LOOK_BACK_NS) {
            if let Some(task) = e.task.filter(|_| e.added) {
                *sums.entry((task, e.file)).or_default() += e.pages;
            }
        }
        let all: u64 = sums.values().copied().sum();
        let most = sums.into_iter().max_by_key(|(key, pages)| (*pages, Reverse(*key)));
        // Without a majority nobody is to blame.
        let reader = most.filter(|(_, pages)| pages.saturating_mul(2) > all).map(|(key, _)| key);
        self.reader = Some((at, reader));
        reader
    }
}
