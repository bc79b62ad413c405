//! Truncated and damaged input: an answer or an error, never a panic or a hang.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Fixture, Random, analyze, fixtures};

/// A damaged capture may take this long; an intact one takes milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
/// Offsets and flips tried for each capture of up to [`USUAL`] bytes; of a larger one
/// fewer, so that each costs about the same time.
const TRIES: usize = 500;
const USUAL: usize = 1 << 20;
/// Above this size not every byte can be tried in a test's time.
const EVERY_BYTE: usize = 1 << 16;

fn try_one(fixture: &Fixture, what: &str, bytes: &[u8], steps: Option<&[u8]>) {
    let before = Instant::now();
    let answer = catch_unwind(AssertUnwindSafe(|| analyze(bytes, steps).map(|a| a.paths.len())));
    assert!(answer.is_ok(), "{}: panics when {what}", fixture.name);
    assert!(before.elapsed() < LIMIT, "{}: takes too long when {what}", fixture.name);
}

/// Does `work` for each of the list, on as many threads as there are CPUs. Each has a pool
/// of its own: on a shared one, who waits for a part of an analysis takes up others
/// meanwhile, and one try would last as long as them all.
fn each<T: Sync>(list: &[T], work: impl Fn(&T) + Sync) {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
                while let Some(one) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    pool.install(|| work(one));
                }
            });
        }
    });
}

fn tries(bytes: &[u8]) -> usize {
    TRIES * USUAL / bytes.len().max(USUAL)
}

fn captures() -> Vec<Fixture> {
    ["recorded", "crafted", "malformed"]
        .into_iter()
        .flat_map(fixtures)
        .filter(|f| !f.is_large())
        .collect()
}

/// Every byte of a small capture; of a larger one every byte of both ends, where the
/// headers and the features are, and the rest in equal strides.
fn cuts(length: usize) -> Vec<usize> {
    if length <= EVERY_BYTE {
        return (0..length).collect();
    }
    let stride = length / 4096 + 1;
    let ends = 2048;
    let mut list: Vec<usize> = (0..ends).chain((ends..length - ends).step_by(stride)).collect();
    list.extend(length - ends..length);
    list
}

#[test]
fn cut_anywhere() {
    for capture in ["perf.data", "events.txt"] {
        let size = |f: &Fixture| f.dir.join(f.capture).metadata().map_or(u64::MAX, |m| m.len());
        let Some(fixture) =
            captures().into_iter().filter(|f| f.capture == capture).min_by_key(size)
        else {
            continue;
        };
        let (bytes, steps) = (fixture.bytes(), fixture.step_bytes());
        each(&cuts(bytes.len()), |&at| {
            try_one(&fixture, &format!("cut at byte {at}"), &bytes[..at], steps.as_deref());
        });
    }
}

#[test]
fn cut_at_seeded_offsets() {
    each(&captures(), |fixture| {
        let (bytes, steps) = (fixture.plain(), fixture.step_bytes());
        let mut random = Random(0xc07);
        for _ in 0..tries(&bytes) {
            let at = random.below(bytes.len());
            try_one(fixture, &format!("cut at byte {at}"), &bytes[..at], steps.as_deref());
        }
    });
}

#[test]
fn flipped_bits() {
    each(&captures(), |fixture| {
        let (mut bytes, steps) = (fixture.plain(), fixture.step_bytes());
        let mut random = Random(0xf11b);
        for index in 0..tries(&bytes) {
            // Half of them in the first page: headers and attributes.
            let limit = if index % 2 == 0 { bytes.len().min(4096) } else { bytes.len() };
            let (at, bit) = (random.below(limit), random.below(8));
            bytes[at] ^= 1 << bit;
            try_one(
                fixture,
                &format!("bit {bit} of byte {at} is flipped"),
                &bytes,
                steps.as_deref(),
            );
            bytes[at] ^= 1 << bit;
        }
    });
}

#[test]
fn broken_step_files() {
    let Some(fixture) = captures().into_iter().find(|f| f.steps) else { return };
    let (bytes, steps) = (fixture.bytes(), fixture.step_bytes().unwrap_or_default());
    each(&Vec::from_iter(0..steps.len()), |&at| {
        try_one(&fixture, &format!("steps.jsonl is cut at byte {at}"), &bytes, Some(&steps[..at]));
    });
}
