//! No input may panic: cuts at every byte, flipped bits, extreme words.

use super::build::{PRINT, Parts, event, exit, page, payload, special};
use crate::support_tests::Random;
use crate::{Capture, Diagnostics, Limits, ReadOptions, Unpacked, write_event};

fn small() -> Parts {
    let first = [
        event(0, &exit(7, 1, 5)),
        special(30, 3, 1),
        event(1, &payload(PRINT, 0, 7, b"________agenttrace:B|1|sh\n\0")),
        special(29, 1, 8),
        vec![0; 4],
        special(31, 9, 2),
        event(1, &payload(999, 9, 7, &[0; 120])),
    ];
    let cpu0 = [page(1000, 0, &first, None), page(1 << 40, 3 << 30, &first[..1], Some(5))];
    let mut parts = Parts::new(vec![(0, cpu0.concat()), (1, page(900, 1 << 31, &first, None))]);
    parts.options.push((crate::trace_dat::options::id::CPUSTAT, b"CPU: 1\noverrun: 9\0".to_vec()));
    let mut shift = vec![0; 12];
    for word in [1_u32, 2] {
        shift.extend(word.to_le_bytes());
    }
    for word in [100_u64, 2000, 3, 5, 1, 1] {
        shift.extend(word.to_le_bytes());
    }
    parts.options.push((crate::trace_dat::options::id::TIME_SHIFT, shift));
    parts
}

/// Everything that the crate does with a capture; also checks that time never runs
/// backwards.
fn exercise(bytes: &[u8]) {
    let input = crate::Input { main: bytes, parts: Vec::new() };
    let limits = Limits { expanded: Some(1 << 20) };
    let Ok(unpacked) = Unpacked::new(&input, &limits) else { return };
    let Ok(capture) = Capture::open(&unpacked, &ReadOptions::default()) else { return };
    let mut diagnostics = Diagnostics::default();
    let (mut last, mut line) = (0, String::new());
    let mut records = Vec::new();
    let totals = capture
        .read(&mut diagnostics, &mut |events| {
            for event in events {
                assert!(event.time.0 >= last);
                last = event.time.0;
                records.push(event.record);
                line.clear();
                write_event(event, &mut line);
            }
        })
        .unwrap();
    // Each record has a number of its own, below their count.
    records.sort_unstable();
    assert!(records.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(records.last().is_none_or(|last| *last < totals.records));
    let mut lines = 0;
    capture.dump_records(&mut |line| lines += u64::from(!line.starts_with('#'))).unwrap();
    assert_eq!(lines, totals.records);
}

fn forms() -> Vec<Vec<u8>> {
    let parts = small();
    vec![parts.v6(), parts.v7("none"), parts.v7("zlib"), parts.v7("zstd")]
}

/// The parts of a built file that are not just padding.
fn spots(bytes: &[u8]) -> Vec<usize> {
    let filled = |at: usize| {
        let near = at.saturating_sub(12)..(at + 12).min(bytes.len());
        bytes[near].iter().any(|byte| *byte != 0)
    };
    (0..bytes.len()).filter(|at| filled(*at)).collect()
}

#[test]
fn cut_off_at_every_byte() {
    for bytes in forms() {
        for end in spots(&bytes) {
            exercise(&bytes[..end]);
        }
    }
}

#[test]
fn flipped_bits() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for bytes in forms() {
        let spots = spots(&bytes);
        for _ in 0..1_000 {
            let mut bytes = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = spots[random.below(spots.len())];
                bytes[at] ^= 1 << random.below(8);
            }
            exercise(&bytes);
        }
    }
}

/// Words that are extreme where a size, a count or an offset is read.
#[test]
fn extreme_words_everywhere() {
    for bytes in forms() {
        for at in spots(&bytes).into_iter().step_by(11).filter(|at| at + 8 <= bytes.len()) {
            for word in [u64::MAX, 1 << 63, u64::from(u32::MAX), 0] {
                let mut bytes = bytes.clone();
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                exercise(&bytes);
            }
        }
    }
}
