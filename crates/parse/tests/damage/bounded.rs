//! Runs something and measures what it allocates and how long it takes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What is measured is the whole program's: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// What a reader may need whatever the input is.
const FLOOR: usize = 64 << 20;
/// An input of a few hundred kilobytes takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs many things on one thread, one after the other.
pub(crate) fn alone<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    pool.install(work)
}

/// Runs one thing over an input of `bytes`, compressed parts counted as expanded.
///
/// # Panics
/// Where it panics, takes too long, or allocates more than 3 times the bytes and 64 MB.
pub(crate) fn bounded(what: &str, bytes: usize, work: impl FnOnce()) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let start = Instant::now();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    assert!(result.is_ok(), "panics: {what}");
    assert!(start.elapsed() < PATIENCE, "takes {:?}: {what}", start.elapsed());
    let used = ALLOCATED.peak_usage().saturating_sub(before);
    assert!(used <= 3 * bytes + FLOOR, "allocates {used} bytes for {bytes}: {what}");
    used
}
