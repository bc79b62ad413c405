//! Cut and broken texts: no panic, and what is whole is read.

use super::{PERF, Read, TRACE, TRACE_CMD, TRACE_CMD_RAW, read};

const ALL: [&str; 4] = [TRACE, TRACE_CMD, TRACE_CMD_RAW, PERF];

#[test]
fn cut_at_every_byte() {
    for text in ALL {
        let whole = read(text.as_bytes()).unwrap();
        for end in 0..text.len() {
            let Ok(cut) = read(text.as_bytes().get(..end).unwrap()) else { continue };
            // All but the last line, which was cut, are as they were.
            let real = |read: &Read| {
                let events = read
                    .events
                    .iter()
                    .filter(|e| !e.starts_with("0 ") && !e.contains("record:lost"));
                events.cloned().collect::<Vec<_>>()
            };
            let (whole, cut) = (real(&whole), real(&cut));
            let same = cut.len().saturating_sub(1);
            assert_eq!(cut.get(..same), whole.get(..same), "{end}");
        }
    }
}

#[test]
fn changed_at_random() {
    // xorshift64: the same changes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet = b"0123456789[]().:-/ \n\t|=+,xfR#\0\xff";
    for round in 0..20_000_usize {
        let mut text = ALL[round % ALL.len()].as_bytes().to_vec();
        for _ in 0..=random() % 8 {
            let at = (random() % text.len() as u64) as usize;
            let byte = alphabet[(random() % alphabet.len() as u64) as usize];
            match random() % 3 {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => {
                    text.remove(at);
                }
            }
        }
        if let Ok(read) = read(&text) {
            let times = read.events.iter().map(|e| e.split(' ').next().unwrap().parse::<u64>());
            assert!(times.map(Result::unwrap).is_sorted(), "round {round}");
        }
    }
}
