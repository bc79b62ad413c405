//! A walk's entries to chunks of items: decoded on all threads, handed on in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::diagnostics::Diagnostics;
use crate::stream::{Stats, Walk};

/// Entries that one thread decodes at a time.
pub(crate) const CHUNK: usize = 1 << 12;

/// How many chunks are in the making at a time, with the one that the sink has. Few, so
/// that what is made of them is still in a cache when it is used, and little memory.
const AHEAD: usize = 6;

/// A pass that is stopped ends so many chunks later, with the one that the sink has. No fewer
/// than are in the making: where it ends must not depend on the number of threads.
const STOP: usize = 16;
const _: () = assert!(AHEAD <= STOP);

/// The walk goes on while fewer entries than these are left to take, about a round of
/// perf.data: rounds differ much in size, and while one is walked there shall be others to go
/// on with.
const LEFT: usize = 1 << 16;

/// The same of batches, which may hold few entries, or none.
const BATCHES: usize = 16;

/// What a walk had come to behind a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    /// Records of any type.
    pub(crate) records: u64,
    /// Of these the ones that were passed over.
    pub(crate) skimmed: u64,
    /// Neighbouring records of one CPU that were not in time order.
    pub(crate) inversions: u64,
    /// In bytes.
    position: u64,
}

/// What a walk gave at one go.
#[derive(Debug)]
struct Batch<E> {
    entries: Arc<Vec<E>>,
    /// How many of them are taken.
    taken: usize,
    /// What the walk found wrong on the way to them; goes with the first that are taken.
    diagnostics: Diagnostics,
    walked: Walked,
    /// There are none, nor will there be any.
    last: bool,
}

/// Up to [`CHUNK`] entries of a walk, and what is made of them. Used again for later ones.
#[derive(Debug)]
pub(crate) struct Chunk<I> {
    /// How many entries.
    length: usize,
    pub(crate) items: Vec<I>,
    /// What was counted; sums of all chunks that used the same memory.
    pub(crate) stats: Stats,
    /// What the walk found wrong on the way to these entries.
    pub(crate) diagnostics: Diagnostics,
    /// Up to where the walk had come.
    pub(crate) position: u64,
}

impl<I> Chunk<I> {
    fn new(types: usize) -> Self {
        let (stats, diagnostics) = (Stats::new(types), Diagnostics::default());
        Self { length: 0, items: Vec::new(), stats, diagnostics, position: 0 }
    }

    /// Whether a small capture is done with it.
    pub(crate) fn small(&self) -> bool {
        self.length < CHUNK
    }
}

/// A chunk to be decoded.
struct Taken<E, I> {
    chunk: Chunk<I>,
    number: usize,
    /// Those of its batch, and which of them.
    entries: Arc<Vec<E>>,
    range: Range<usize>,
}

/// Who does what, under a lock that is never held for long.
#[derive(Debug)]
struct State<E, I, W> {
    /// `None` while somebody walks, and when all is walked.
    walk: Option<W>,
    /// Those that have entries that nobody has taken, or none at all.
    batches: VecDeque<Batch<E>>,
    /// How many entries these are.
    left: usize,
    /// What the walk had come to behind the last batch of which entries are taken.
    walked: Walked,
    /// Number of the next chunk to take.
    taken: usize,
    /// Number of the chunk that the sink has, or waits for.
    first: usize,
    /// How many chunks there will be, as far as is known.
    end: usize,
    /// Decoded ones, by number modulo [`AHEAD`].
    ready: [Option<Chunk<I>>; AHEAD],
    /// Used, and to be used again.
    free: Vec<Chunk<I>>,
    spare: Vec<Vec<E>>,
}

impl<E, I, W> State<E, I, W> {
    /// Whether a chunk can be taken now. Never further ahead of the sink than a fixed
    /// number, whoever is fast: where a pass that is stopped ends must not depend on that.
    fn can_take(&self) -> bool {
        let limit = self.end.min(self.first.saturating_add(AHEAD));
        !self.batches.is_empty() && self.taken < limit
    }

    fn can_walk(&self) -> bool {
        self.walk.is_some() && self.left < LEFT && self.batches.len() < BATCHES
    }

    /// The next chunk.
    fn take(&mut self, types: usize) -> Option<Taken<E, I>> {
        let batch = self.batches.front_mut()?;
        let from = batch.taken;
        let to = from.saturating_add(CHUNK).min(batch.entries.len());
        batch.taken = to;
        let mut chunk = self.free.pop().unwrap_or_else(|| Chunk::new(types));
        chunk.length = to.saturating_sub(from);
        self.left = self.left.saturating_sub(chunk.length);
        chunk.diagnostics = std::mem::take(&mut batch.diagnostics);
        chunk.position = batch.walked.position;
        let number = self.taken;
        self.taken = number.saturating_add(1);
        self.walked = batch.walked;
        if batch.last {
            self.end = self.end.min(self.taken);
        }
        let entries = if to < batch.entries.len() {
            Arc::clone(&batch.entries)
        } else {
            self.batches.pop_front()?.entries
        };
        Some(Taken { chunk, number, entries, range: from..to })
    }
}

/// Takes a walk's entries chunk by chunk and decodes them, on any number of threads; one
/// thread gets the chunks in the order of the walk, and does of the work what nobody else
/// has done by then:
///
/// ```text
/// decoder   walk 1 | walk 2 | decode 1 | decode 3 | walk 3 | decode 4 | decode 5 | ...
/// sink      decode 0 | sink 0 | sink 1 | decode 2 | sink 2 | sink 3 | sink 4 ...
/// ```
///
/// One thread walks at a time, some batches ahead of those of which entries are taken. So nobody
/// waits for long but where there is nothing to do: no decoder unless the sink is the
/// slowest, no sink unless walking is.
#[derive(Debug)]
pub(crate) struct Chunks<E, I, W, D> {
    decode: D,
    types: usize,
    state: Mutex<State<E, I, W>>,
    /// For the thread with the sink: a chunk is ready, or there is something to do.
    news: Condvar,
    /// For all others: there is something to do, or all is done.
    room: Condvar,
}

impl<E, I, W, D> Chunks<E, I, W, D>
where
    W: Walk<E>,
    D: Fn(&[E], &mut Stats, &mut Vec<I>),
{
    /// `types` is how many types of events there are to count.
    pub(crate) fn new(walk: W, decode: D, types: usize) -> Self {
        let state = State {
            walk: Some(walk),
            batches: VecDeque::new(),
            left: 0,
            walked: Walked::default(),
            taken: 0,
            first: 0,
            end: usize::MAX,
            ready: [const { None }; AHEAD],
            free: Vec::new(),
            spare: Vec::new(),
        };
        let (news, room) = (Condvar::new(), Condvar::new());
        Self { decode, types, state: Mutex::new(state), news, room }
    }

    fn lock(&self) -> MutexGuard<'_, State<E, I, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks ahead and decodes chunks until all are taken.
    pub(crate) fn work(&self) {
        let _leave = self.leave();
        let mut state = self.lock();
        while state.taken < state.end {
            state = if state.can_walk() {
                self.walk(state)
            } else if state.can_take() {
                self.make(state)
            } else {
                self.room.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// The next chunk in order; `None` behind the last. To be given [back](Self::back).
    pub(crate) fn next(&self) -> Option<Chunk<I>> {
        let mut state = self.lock();
        loop {
            let slot = state.first % AHEAD;
            if let Some(chunk) = state.ready.get_mut(slot).and_then(Option::take) {
                return Some(chunk);
            }
            if state.first >= state.end {
                return None;
            }
            // Others walk ahead; this thread does where nothing else is left.
            state = if state.can_take() {
                self.make(state)
            } else if state.can_walk() {
                self.walk(state)
            } else {
                self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Takes back what [`Chunks::next`] gave. `stop`: there shall be no more than [`STOP`], with
    /// this one.
    pub(crate) fn back(&self, chunk: Chunk<I>, stop: bool) {
        let mut state = self.lock();
        state.free.push(chunk);
        if stop {
            state.end = state.end.min(state.first.saturating_add(STOP));
        }
        state.first = state.first.saturating_add(1);
        // Who waits for room is woken for more than one chunk.
        let room = state.taken.saturating_sub(state.first) <= AHEAD / 2;
        drop(state);
        if room {
            self.room.notify_one();
        }
    }

    /// Walks over the next batch. Where it [can be](State::can_walk).
    fn walk<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<E, I, W>>,
    ) -> MutexGuard<'s, State<E, I, W>> {
        let Some(mut walk) = state.walk.take() else { return state };
        let mut entries = state.spare.pop().unwrap_or_default();
        drop(state);
        let mut diagnostics = Diagnostics::default();
        let last = !walk.next(&mut entries, &mut diagnostics);
        if last {
            entries.clear();
        }
        let walked = Walked {
            records: walk.records(),
            skimmed: walk.skimmed(),
            inversions: walk.inversions(),
            position: walk.position(),
        };
        let mut state = self.lock();
        state.walk = (!last).then_some(walk);
        state.left = state.left.saturating_add(entries.len());
        let entries = Arc::new(entries);
        state.batches.push_back(Batch { entries, taken: 0, diagnostics, walked, last });
        self.room.notify_one();
        self.news.notify_one();
        state
    }

    /// Takes a chunk, decodes it and lays it down. Where one [can be taken](State::can_take).
    fn make<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<E, I, W>>,
    ) -> MutexGuard<'s, State<E, I, W>> {
        let Some(Taken { mut chunk, number, entries, range }) = state.take(self.types) else {
            return state;
        };
        let more = state.can_walk() || state.can_take();
        drop(state);
        if more {
            self.room.notify_one();
            self.news.notify_one();
        }
        chunk.items.clear();
        chunk.items.reserve(chunk.length);
        let taken = entries.get(range).unwrap_or_default();
        (self.decode)(taken, &mut chunk.stats, &mut chunk.items);
        let spare = Arc::into_inner(entries);
        let mut state = self.lock();
        state.spare.extend(spare);
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

    /// What the walk has come to, and all chunks, when all is done.
    pub(crate) fn into_parts(self) -> (Walked, Vec<Chunk<I>>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.walked, state.free)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        /// How many batches were asked for.
        walked: &'static AtomicUsize,
    }

    static WALKED: AtomicUsize = AtomicUsize::new(0);

    impl Numbers {
        fn new(sizes: &[usize]) -> Self {
            static OTHERS: AtomicUsize = AtomicUsize::new(0);
            Self { sizes: sizes.to_vec(), batch: 0, given: 0, walked: &OTHERS }
        }
    }

    impl Walk<u64> for Numbers {
        fn next(&mut self, batch: &mut Vec<u64>, diagnostics: &mut Diagnostics) -> bool {
            self.walked.fetch_add(1, Ordering::SeqCst);
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

    /// The sink holds the first chunk of 20 until the second batch is walked, of which no
    /// entry can be taken yet.
    #[test]
    fn the_next_batch_is_walked_while_entries_are_left() {
        let sink = &mut |items: &[u64], course: &Course| {
            if items[0] == 1 {
                let begin = std::time::Instant::now();
                while WALKED.load(Ordering::SeqCst) < 2 {
                    assert!(begin.elapsed().as_secs() < 60, "nobody walks");
                    std::thread::yield_now();
                }
                course.stop.store(true, Ordering::Relaxed);
            }
        };
        let mut walk = Numbers::new(&[20 * CHUNK; 3]);
        walk.walked = &WALKED;
        let (totals, diagnostics, walked) = read(2, walk, sink);
        // What the walk came to behind entries that nobody took does not count.
        assert_eq!((totals.events, totals.records), (16 * CHUNK as u64, 20 * CHUNK as u64));
        assert_eq!((walked, totals.inversions), (20 * CHUNK as u64 * 10, 1));
        assert_eq!(diagnostics.count(Problem::BadRecord), 1);
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
                    course.stop.store(calls == 4, Ordering::Relaxed);
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
