//! No input may panic: cuts at every byte, and flipped bits.

use super::build::small;
use super::captures;
use super::stack_build::{Stacks, small as small_stacks};
use crate::stack::{StackEvent, StackRecord};
use crate::support_tests::Random;
use crate::{
    Capture, Diagnostics, Pid, ReadOptions, Redactor, Tid, Unpacked, cut, read_steps, write_event,
};

struct Placeholder;

impl Redactor for Placeholder {
    fn comm(&mut self, _pid: Pid, tid: Tid, _comm: &[u8]) -> Option<Vec<u8>> {
        Some(format!("t{tid}").into_bytes())
    }
    fn path(&mut self, _pid: Pid, path: &[u8]) -> Option<Vec<u8>> {
        Some(vec![b'x'; path.len().saturating_mul(2)])
    }
}

/// Everything that the crate does with a capture; also checks that time never runs
/// backwards.
fn exercise(bytes: &[u8]) {
    let Ok(unpacked) = Unpacked::of(bytes) else { return };
    let Ok(capture) = Capture::open(&unpacked, &ReadOptions::default()) else { return };
    let mut diagnostics = Diagnostics::default();
    let mut last = 0;
    let mut line = String::new();
    capture
        .read(&mut diagnostics, &mut |events| {
            for event in events {
                assert!(event.time.0 >= last);
                last = event.time.0;
                line.clear();
                write_event(event, &mut line);
            }
        })
        .unwrap();
    stacks(&capture);
    capture.dump_records(&mut |_| {}).unwrap();
    let half = |record| record % 2 == 0;
    // Of a big-endian machine none is made.
    if let Ok(plain) = cut(&unpacked, &half, None) {
        opens(&plain);
        opens(&cut(&unpacked, &half, Some(&mut Placeholder)).unwrap());
    }
}

/// Takes every stack apart.
fn stacks(capture: &Capture<'_>) {
    let mut last = 0;
    let mut frames = 0;
    let mut each = |event: &StackEvent<'_>| {
        assert!(event.time.0 >= last);
        last = event.time.0;
        match &event.what {
            StackRecord::Sample(sample) => {
                frames += sample.chain.frames().count() + sample.branches.entries().count();
                frames += sample.user.map_or(0, |u| (0..64).filter_map(|n| u.reg(n)).count());
            }
            StackRecord::Deferred(chain) => frames += chain.frames().count(),
            StackRecord::Mapping(_)
            | StackRecord::Comm(_)
            | StackRecord::Fork(_)
            | StackRecord::Exit(_)
            | StackRecord::KernelSymbol(_) => {}
        }
    };
    capture
        .read_stacks(&mut Diagnostics::default(), &mut |events| events.iter().for_each(&mut each))
        .unwrap();
    std::hint::black_box((frames, capture.listed_modules()));
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

#[test]
fn cut_off_at_every_byte() {
    let bytes = small();
    for end in 0..bytes.len() {
        exercise(&bytes[..end]);
    }
}

#[test]
fn flipped_bits_of_a_built_file() {
    let bytes = small();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..5_000 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(4) {
            flip(&mut bytes, &mut random);
        }
        exercise(&bytes);
    }
}

#[test]
fn texts_cut_off_and_flipped() {
    let events = b"# agenttrace.events/1\n# clock monotonic\n# node 0 0-1\n# wall 1 2\n\
        100 0 7/7 . raw_syscalls:sys_enter id=0 args=3,7f00,1000,0,0,0\n\
        200 1 7/8 dh irq:irq_handler_entry name=\"virtio\\x20\" irq=24 agent_step_id=1\n";
    let steps = b"{\"schema\":\"agenttrace.steps/1\",\"clock\":\"realtime\"}\n\
        {\"step_id\":1,\"tool\":\"x\",\"pid\":7,\"start\":\"2026-11-23T09:47:18.25+02:00\",\"end_ns\":5}\n\
        {\"step_id\":2,\"ev\":\"begin\",\"pid\":7,\"ts_ns\":1}\n{\"step_id\":2,\"ev\":\"end\",\"ts_ns\":3}\n";
    let try_both = |bytes: &[u8]| {
        let unpacked = Unpacked::of(bytes).unwrap();
        if let Ok(capture) = Capture::open(&unpacked, &ReadOptions::default()) {
            capture.read(&mut Diagnostics::default(), &mut |_| {}).unwrap();
            capture.dump_records(&mut |_| {}).unwrap();
        }
        let _ = read_steps(bytes);
    };
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for whole in [&events[..], &steps[..]] {
        for end in 0..whole.len() {
            try_both(&whole[..end]);
        }
        for _ in 0..5_000 {
            let mut bytes = whole.to_vec();
            for _ in 0..=random.below(3) {
                flip(&mut bytes, &mut random);
            }
            try_both(&bytes);
        }
    }
}

#[test]
fn stacks_cut_off_and_flipped() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for big in [false, true] {
        let mut file = small_stacks(big);
        file.build_ids.raw(&Stacks::build_id(big, 2, &[9; 20], b"/bin/me").out);
        for bytes in [file.finish(), file.pipe()] {
            (0..bytes.len()).for_each(|end| exercise(&bytes[..end]));
            for _ in 0..5_000 {
                let mut bytes = bytes.clone();
                for _ in 0..=random.below(4) {
                    flip(&mut bytes, &mut random);
                }
                exercise(&bytes);
            }
        }
    }
}

/// Words that are extreme where a size, a count or an offset is read.
#[test]
fn extreme_words_everywhere() {
    let bytes = small();
    for at in (0..bytes.len().saturating_sub(8)).step_by(2) {
        for word in [u64::MAX, u64::MAX / 2, 1 << 32, u64::from(u32::MAX), 0] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            exercise(&bytes);
        }
    }
}

#[test]
fn recorded_captures_cut_off_and_flipped() {
    let captures = captures();
    for path in captures.iter().filter(|p| p.metadata().is_ok_and(|m| m.len() < 4 << 20)) {
        let whole = std::fs::read(path).unwrap();
        let mut random = Random(0x2545_f491_4f6c_dd1d ^ whole.len() as u64);
        for _ in 0..20 {
            exercise(&whole[..random.below(whole.len())]);
            let mut bytes = whole.clone();
            for _ in 0..20 {
                flip(&mut bytes, &mut random);
            }
            exercise(&bytes);
        }
    }
}

fn opens(bytes: &[u8]) {
    Capture::open(&Unpacked::of(bytes).unwrap(), &ReadOptions::default()).unwrap();
}
