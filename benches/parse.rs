//! Bytes to events a second, for each kind of format: `cargo bench --bench parse`.
//!
//! Texts are recorded ones, repeated in time to some tens of megabytes. For others,
//! `AGENTTRACE_BENCH=FILE` names a capture of any format.

use std::hint::black_box;
use std::path::Path;

use agenttrace_parse::{Capture, ClockId, Diagnostics, ReadOptions, Unpacked};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

/// So much text is measured, at least.
const SIZE: usize = 64 << 20;

/// tracefs's `trace`.
#[divan::bench(sample_count = 10)]
fn tracefs_text(bencher: Bencher<'_, '_>) {
    measure(bencher, &repeated("trace/trace.txt"));
}

/// `trace-cmd report`.
#[divan::bench(sample_count = 10)]
fn trace_cmd_report_text(bencher: Bencher<'_, '_>) {
    measure(bencher, &repeated("trace_cmd_report/report.txt"));
}

/// trace.dat, not compressed; a small one.
#[divan::bench]
fn trace_dat(bencher: Bencher<'_, '_>) {
    measure(bencher, &fixture("trace_dat_v6/trace.dat"));
}

/// perf.data; a small one.
#[divan::bench]
fn perf_data(bencher: Bencher<'_, '_>) {
    measure(bencher, &fixture("perf_file/perf.data"));
}

/// What `AGENTTRACE_BENCH` names, if anything.
#[divan::bench(sample_count = 10, args = std::env::var("AGENTTRACE_BENCH"))]
fn named_file(bencher: Bencher<'_, '_>, path: &str) {
    measure(bencher, &std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}")));
}

fn fixture(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialects").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Unpacks, opens and reads all events, on as many threads as the machine has CPUs.
fn measure(bencher: Bencher<'_, '_>, bytes: &[u8]) {
    let options = ReadOptions { trace_clock: Some(ClockId::Monotonic), ..ReadOptions::default() };
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let unpacked = Unpacked::of(bytes).expect("the input unpacks");
        let capture = Capture::open(&unpacked, &options).expect("the input opens");
        let totals = capture.read(&mut Diagnostics::default(), &mut |batch| {
            black_box(batch);
        });
        totals.expect("the input reads").events
    });
}

/// The text again and again, each time a hundred seconds later.
fn repeated(path: &str) -> Vec<u8> {
    let text = fixture(path);
    let text = String::from_utf8_lossy(&text);
    let mut out = String::with_capacity(SIZE + text.len());
    let mut later = 0;
    while out.len() < SIZE {
        for line in text.lines() {
            let shifted = seconds_of(line).and_then(|at| {
                let seconds: u64 = line.get(at.clone())?.parse().ok()?;
                Some((line.get(..at.start)?, seconds + later, line.get(at.end..)?))
            });
            match shifted {
                Some((before, seconds, after)) => {
                    out.push_str(&format!("{before}{seconds}{after}\n"));
                }
                // A header, or a line that tells no time.
                None => out.extend([line, "\n"]),
            }
        }
        later += 100;
    }
    out.into_bytes()
}

/// Where the seconds of `seconds.fraction:` stand, the first such word behind the CPU.
fn seconds_of(line: &str) -> Option<std::ops::Range<usize>> {
    let mut at = line.find(']')?;
    for word in line.get(at..)?.split(' ') {
        let number = word.strip_suffix(':').and_then(|word| word.split_once('.'));
        if let Some((seconds, _)) = number
            && !seconds.is_empty()
            && seconds.bytes().all(|b| b.is_ascii_digit())
        {
            return Some(at..at + seconds.len());
        }
        at += word.len() + 1;
    }
    None
}
