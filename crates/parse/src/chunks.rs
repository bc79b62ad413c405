//! A walk's entries to chunks of items: decoded on all threads, handed on in order.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::diagnostics::Diagnostics;
use crate::stream::{Stats, Walk};

/// Entries that one thread decodes at a time.
pub(crate) const CHUNK: usize = 1 << 12;

/// How many chunks are in the making at a time, with the one that the sink has. Few, so
/// that what is made of them is still in a cache when it is used; enough to go on with while
/// the walk takes in a round of perf.data, which can hold as many.
const AHEAD: usize = 16;

/// Up to [`CHUNK`] entries of a walk, and what is made of them. Used again for later ones.
#[derive(Debug)]
pub(crate) struct Chunk<E, I> {
    entries: Vec<E>,
    pub(crate) items: Vec<I>,
    /// What was counted; sums of all chunks that used the same memory.
    pub(crate) stats: Stats,
    /// What the walk found wrong on the way to these entries.
    pub(crate) diagnostics: Diagnostics,
    /// Up to where the walk had come.
    pub(crate) position: u64,
}

impl<E, I> Chunk<E, I> {
    fn new(types: usize) -> Self {
        let (stats, diagnostics) = (Stats::new(types), Diagnostics::default());
        Self { entries: Vec::new(), items: Vec::new(), stats, diagnostics, position: 0 }
    }

    /// Whether a small capture is done with it.
    pub(crate) fn small(&self) -> bool {
        self.entries.len() < CHUNK
    }
}

/// The serial part: a walk, and those of its entries that nobody has taken yet.
#[derive(Debug)]
struct Source<E, W> {
    walk: W,
    batch: Vec<E>,
    /// How many of `batch` are taken.
    taken: usize,
}

impl<E: Copy, W: Walk<E>> Source<E, W> {
    /// Fills in the entries of the next chunk. False, and none, when there are none left.
    fn fill<I>(&mut self, chunk: &mut Chunk<E, I>) -> bool {
        chunk.entries.clear();
        chunk.diagnostics = Diagnostics::default();
        let mut more = true;
        if self.taken >= self.batch.len() {
            self.taken = 0;
            more = self.walk.next(&mut self.batch, &mut chunk.diagnostics);
        }
        chunk.position = self.walk.position();
        if !more {
            self.batch.clear();
        } else if self.taken == 0 && self.batch.len() <= CHUNK {
            std::mem::swap(&mut self.batch, &mut chunk.entries);
            self.batch.clear();
        } else {
            let rest = self.batch.get(self.taken..).unwrap_or(&[]);
            chunk.entries.extend_from_slice(rest.get(..CHUNK).unwrap_or(rest));
            self.taken = self.taken.saturating_add(chunk.entries.len());
        }
        more
    }
}

/// Who does what, under a lock that is never held for long.
#[derive(Debug)]
struct State<E, I, W> {
    /// `None` while somebody walks.
    source: Option<Source<E, W>>,
    /// Number of the next chunk to take from the walk.
    taken: usize,
    /// Number of the chunk that the sink has, or waits for.
    first: usize,
    /// How many chunks there will be, as far as is known.
    end: usize,
    /// Decoded ones, by number modulo [`AHEAD`].
    ready: [Option<Chunk<E, I>>; AHEAD],
    /// Used, and to be used again.
    free: Vec<Chunk<E, I>>,
}

impl<E, I, W> State<E, I, W> {
    /// Whether a chunk can be taken now. Never further ahead of the sink than a fixed
    /// number, whoever is fast: where a pass that is stopped ends must not depend on that.
    fn can_take(&self) -> bool {
        let limit = self.end.min(self.first.saturating_add(AHEAD));
        self.source.is_some() && self.taken < limit
    }
}

/// Takes a walk's entries chunk by chunk and decodes them, on any number of threads; one
/// thread gets the chunks in the order of the walk, and does of the work what nobody else
/// has done by then:
///
/// ```text
/// decoder   walk 1 | decode 1   | walk 3 | decode 3 | walk 4 | decode 4 | ...
/// sink      walk 0 | decode 0 | sink 0 | walk 2 | decode 2 | sink 1 | sink 2 | sink 3 ...
/// ```
///
/// One thread walks at a time. So nobody waits for long but where there is nothing to do: no
/// decoder unless the sink is the slowest, no sink unless walking is.
#[derive(Debug)]
pub(crate) struct Chunks<E, I, W, D> {
    decode: D,
    types: usize,
    state: Mutex<State<E, I, W>>,
    /// For the thread with the sink: a chunk is ready, or can be taken.
    news: Condvar,
    /// For all others: a chunk can be taken, or all is done.
    room: Condvar,
}

impl<E, I, W, D> Chunks<E, I, W, D>
where
    E: Copy,
    W: Walk<E>,
    D: Fn(&E, &mut Stats, &mut Vec<I>),
{
    /// `types` is how many types of events there are to count.
    pub(crate) fn new(walk: W, decode: D, types: usize) -> Self {
        let source = Source { walk, batch: Vec::new(), taken: 0 };
        let state = State {
            source: Some(source),
            taken: 0,
            first: 0,
            end: usize::MAX,
            ready: [const { None }; AHEAD],
            free: Vec::new(),
        };
        let (news, room) = (Condvar::new(), Condvar::new());
        Self { decode, types, state: Mutex::new(state), news, room }
    }

    fn lock(&self) -> MutexGuard<'_, State<E, I, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes chunks until all are taken.
    pub(crate) fn work(&self) {
        let _leave = self.leave();
        let mut state = self.lock();
        while state.taken < state.end {
            state = if state.can_take() {
                self.make(state)
            } else {
                self.room.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// The next chunk in order; `None` behind the last. To be given [back](Self::back).
    pub(crate) fn next(&self) -> Option<Chunk<E, I>> {
        let mut state = self.lock();
        loop {
            let slot = state.first % AHEAD;
            if let Some(chunk) = state.ready.get_mut(slot).and_then(Option::take) {
                return Some(chunk);
            }
            if state.first >= state.end {
                return None;
            }
            state = if state.can_take() {
                self.make(state)
            } else {
                self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Takes back what [`Chunks::next`] gave. `stop`: there shall be no more than those that
    /// can have been taken by now.
    pub(crate) fn back(&self, chunk: Chunk<E, I>, stop: bool) {
        let mut state = self.lock();
        state.free.push(chunk);
        if stop {
            state.end = state.end.min(state.first.saturating_add(AHEAD));
        }
        state.first = state.first.saturating_add(1);
        // Who waits for room is woken for more than one chunk.
        let room = state.taken.saturating_sub(state.first) <= AHEAD / 2;
        drop(state);
        if room {
            self.room.notify_one();
        }
    }

    /// Takes a chunk, decodes it and lays it down. Where one [can be taken](State::can_take).
    fn make<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<E, I, W>>,
    ) -> MutexGuard<'s, State<E, I, W>> {
        let Some(mut source) = state.source.take() else { return state };
        let number = state.taken;
        state.taken = number.saturating_add(1);
        let mut chunk = state.free.pop().unwrap_or_else(|| Chunk::new(self.types));
        drop(state);
        let more = source.fill(&mut chunk);
        let mut state = self.lock();
        state.source = Some(source);
        if !more {
            state.end = state.end.min(state.taken);
        }
        drop(state);
        self.room.notify_one();
        self.news.notify_one();
        chunk.items.clear();
        chunk.items.reserve(chunk.entries.len());
        for entry in &chunk.entries {
            (self.decode)(entry, &mut chunk.stats, &mut chunk.items);
        }
        let mut state = self.lock();
        if let Some(slot) = state.ready.get_mut(number % AHEAD) {
            *slot = Some(chunk);
        }
        self.news.notify_one();
        state
    }

    /// To be kept as long as a thread takes part.
    pub(crate) fn leave(&self) -> Leave<'_, E, I, W, D> {
        Leave(self)
    }

    /// The walk, and all chunks, when all is done.
    pub(crate) fn into_parts(self) -> (Option<W>, Vec<Chunk<E, I>>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.source.map(|source| source.walk), state.free)
    }
}

/// Wakes all when one of them leaves: when all is done, or by a panic, which nobody shall
/// wait for.
pub(crate) struct Leave<'c, E, I, W, D>(&'c Chunks<E, I, W, D>);

impl<E, I, W, D> Drop for Leave<'_, E, I, W, D> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.end = state.end.min(state.first);
        }
        self.0.room.notify_all();
        self.0.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Problem;
    use crate::stream::{self, Course};
    use crate::units::{Cpu, Nanos};
    use crate::{CaptureInfo, Totals};

    /// The numbers from 0 on, in batches of these sizes; notes a problem at each batch.
    struct Numbers {
        sizes: Vec<usize>,
        batch: usize,
        given: u64,
    }

    impl Numbers {
        fn new(sizes: &[usize]) -> Self {
            Self { sizes: sizes.to_vec(), batch: 0, given: 0 }
        }
    }

    impl Walk<u64> for Numbers {
        fn next(&mut self, batch: &mut Vec<u64>, diagnostics: &mut Diagnostics) -> bool {
            let at = Some(self.given);
            diagnostics.add(Problem::BadRecord, Cpu(self.batch as u32), 1, at.map(Nanos), at);
            batch.clear();
            let Some(size) = self.sizes.get(self.batch) else { return false };
            let end = self.given + *size as u64;
            batch.extend(self.given..end);
            (self.batch, self.given) = (self.batch + 1, end);
            true
        }

        fn records(&self) -> u64 {
            self.given
        }

        fn inversions(&self) -> u64 {
            self.batch as u64
        }

        fn position(&self) -> u64 {
            self.given * 10
        }
    }

    /// Every number that is not divisible by 3, on so many threads; counts all.
    fn read(
        threads: usize,
        walk: Numbers,
        sink: &mut (dyn FnMut(&[u64], &Course) + Send),
    ) -> (Totals, Diagnostics, u64) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (course, mut diagnostics) = (Course::default(), Diagnostics::default());
            let decode = |n: &u64, stats: &mut Stats, items: &mut Vec<u64>| {
                stats.count(Cpu(0), *n, None);
                if *n == 99_999 {
                    stats.lost(Cpu(1), 7, *n, *n);
                }
                if !n.is_multiple_of(3) {
                    items.push(*n);
                }
            };
            let info = CaptureInfo::default();
            let totals =
                stream::read(&info, walk, decode, &course, &mut diagnostics, &mut |items| {
                    sink(items, &course);
                });
            (totals, diagnostics, course.walked.into_inner())
        })
    }

    #[test]
    fn items_come_in_the_order_of_the_walk_at_any_number_of_threads() {
        let sizes = [1, CHUNK, 3 * CHUNK, 0, 10 * CHUNK + 5, 7, 60_000, 1, 2, 3];
        let all: usize = sizes.iter().sum();
        for threads in [1, 2, 3, 8] {
            let mut got = Vec::new();
            let sink = &mut |items: &[u64], _: &Course| got.extend_from_slice(items);
            let (totals, diagnostics, walked) = read(threads, Numbers::new(&sizes), sink);
            let expect = (0..all as u64).filter(|n| !n.is_multiple_of(3));
            assert!(got.iter().copied().eq(expect), "{threads} threads");
            assert_eq!((totals.events, totals.records), (all as u64, all as u64));
            assert_eq!(totals.span, Some((Nanos(0), Nanos(all as u64 - 1))));
            assert_eq!((totals.inversions, totals.lost), (10, 7));
            assert_eq!(walked, all as u64 * 10);
            let bad: Vec<_> =
                diagnostics.iter().filter(|(problem, ..)| *problem == Problem::BadRecord).collect();
            // One of each batch, and of the end.
            assert_eq!(bad.len(), 11);
            assert_eq!(bad[4].2.offset, Some(4 * CHUNK as u64 + 1));
        }
    }

    #[test]
    fn nothing_is_read_of_nothing() {
        for sizes in [&[][..], &[0, 0]] {
            let (totals, ..) = read(2, Numbers::new(sizes), &mut |_, _| panic!("no items"));
            assert_eq!((totals.events, totals.span), (0, None));
        }
    }

    /// Stopped in the fourth chunk: what can have been taken by then is delivered, whether
    /// it was or not.
    #[test]
    fn where_a_stopped_pass_ends_does_not_depend_on_threads() {
        for threads in [1, 2, 3, 8] {
            for slow in [false, true] {
                let mut calls = 0;
                let mut last = 0;
                let sink = &mut |items: &[u64], course: &Course| {
                    calls += 1;
                    last = *items.last().unwrap();
                    course.stop.store(calls == 4, std::sync::atomic::Ordering::Relaxed);
                    if slow {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                };
                // A batch is two chunks.
                let (totals, _, walked) = read(threads, Numbers::new(&[2 * CHUNK; 50]), sink);
                // Chunks 0 to 3, and 15 more; the last one begins a batch.
                assert_eq!((calls, totals.events), (19, 19 * CHUNK as u64));
                // 19 * CHUNK - 1 is divisible by 3.
                assert_eq!((last, totals.records), (19 * CHUNK as u64 - 2, 20 * CHUNK as u64));
                assert_eq!((walked, totals.inversions), (20 * CHUNK as u64 * 10, 10));
            }
        }
    }

    #[test]
    fn a_panic_ends_the_pass_on_every_thread() {
        let walk = || Numbers::new(&[CHUNK; 50]);
        for threads in [1, 2, 8] {
            let chunks = std::panic::catch_unwind(|| {
                read(threads, walk(), &mut |items, _| assert!(items[0] < 30_000));
            });
            assert!(chunks.is_err());
            let decode = |n: &u64, _: &mut Stats, _: &mut Vec<u64>| assert!(*n < 30_000);
            let pass = std::panic::catch_unwind(|| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (info, course) = (CaptureInfo::default(), Course::default());
                    let found = &mut Diagnostics::default();
                    stream::read(&info, walk(), decode, &course, found, &mut |_: &[u64]| {});
                });
            });
            assert!(pass.is_err());
        }
    }
}
