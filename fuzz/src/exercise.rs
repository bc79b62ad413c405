//! Everything that the crate does with a capture, and what must hold of it.

use agenttrace_parse::stack::StackRecord;
use agenttrace_parse::{
    Capture, Diagnostics, Input, Limits, Pid, ReadOptions, Redactor, Tid, Unpacked, cut,
    write_event, write_events_header,
};

use super::encode::Files;

/// What compressed parts may expand to: enough for every seed, and quick to reach.
pub(crate) const EXPANDED: u64 = 1 << 20;

/// A capture of one file.
pub(crate) fn capture(bytes: &[u8]) {
    exercise(&Files { main: bytes.to_vec(), parts: Vec::new() });
}

/// Opens, reads, shows, cuts and redacts a capture, as far as it can be.
///
/// # Panics
/// Where time runs backwards, or what was cut out of a capture cannot be opened.
pub(crate) fn exercise(files: &Files) {
    let parts = files.parts.iter().map(Vec::as_slice).collect();
    let input = Input { main: &files.main, parts };
    let limits = Limits { expanded: Some(EXPANDED) };
    let Ok(unpacked) = Unpacked::new(&input, &limits) else { return };
    let Ok(capture) = Capture::open(&unpacked, &ReadOptions::default()) else { return };
    let mut line = String::new();
    write_events_header(capture.info(), &mut line);
    let mut diagnostics = Diagnostics::default();
    let mut last = 0;
    let read = capture.read(&mut diagnostics, &mut |events| {
        for event in events {
            assert!(event.time.0 >= last, "time runs backwards: {last}, {}", event.time);
            last = event.time.0;
            line.clear();
            write_event(event, &mut line);
        }
    });
    stacks(&capture);
    let _ = capture.dump_records(&mut |line| {
        std::hint::black_box(line);
    });
    // Cutting opens the capture twice more: for one input in eight.
    let sum = files.main.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if read.is_err() || !sum.is_multiple_of(8) {
        return;
    }
    let half = |record: u64| record.is_multiple_of(2);
    // Refused where records hold what cannot be redacted, and for some forms.
    if let Ok(plain) = cut(&unpacked, &half, None) {
        opens(&plain);
    }
    if let Ok(redacted) = cut(&unpacked, &half, Some(&mut Placeholder)) {
        opens(&redacted);
    }
}

/// Takes every chain and every stack apart.
///
/// # Panics
/// Where time runs backwards.
fn stacks(capture: &Capture<'_>) {
    std::hint::black_box((capture.has_stacks(), capture.listed_modules(), capture.kallsyms()));
    let mut last = 0;
    let _ = capture.read_stacks(&mut Diagnostics::default(), &mut |events| {
        for event in events {
            assert!(event.time.0 >= last, "time runs backwards: {last}, {}", event.time);
            last = event.time.0;
            match &event.what {
                StackRecord::Sample(sample) => {
                    std::hint::black_box((sample.chain.frames().count(), sample.chain.deferred()));
                    std::hint::black_box(sample.branches.entries().count());
                    let user = sample.user.as_ref();
                    let regs = user.map(|user| (0..70).filter_map(|n| user.reg(n)).count());
                    std::hint::black_box(regs);
                }
                StackRecord::Deferred(chain) => {
                    std::hint::black_box(chain.frames().count());
                }
                StackRecord::Mapping(_)
                | StackRecord::Comm(_)
                | StackRecord::Fork(_)
                | StackRecord::Exit(_)
                | StackRecord::KernelSymbol(_) => {}
            }
        }
    });
}

fn opens(bytes: &[u8]) {
    let unpacked = Unpacked::of(bytes).expect("a cut is not compressed");
    Capture::open(&unpacked, &ReadOptions::default()).expect("a cut can be opened");
}

struct Placeholder;

impl Redactor for Placeholder {
    fn comm(&mut self, _pid: Pid, tid: Tid, _comm: &[u8]) -> Option<Vec<u8>> {
        Some(format!("t{tid}").into_bytes())
    }
    fn path(&mut self, _pid: Pid, path: &[u8]) -> Option<Vec<u8>> {
        Some(vec![b'x'; path.len().saturating_mul(2)])
    }
    fn keeps_stack(&mut self, _pid: Pid, tid: Tid) -> bool {
        tid.0 % 2 == 0
    }
}
