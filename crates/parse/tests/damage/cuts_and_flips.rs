//! Cuts at every byte of what is small, at strides of what was recorded, and flipped
//! bits: in every format.

use crate::bounded::{alone, bounded};
use crate::entry::{EXPANDED, exercise, files};
use crate::mutate::{Random, flip};
use crate::seeds;

/// Flips of each format.
const FLIPS: usize = 2_000;
/// Cuts of what is too large to try each byte.
const CUTS: usize = 1_500;

/// A capture as files; which of them is damaged follows from its length.
fn try_all(name: &str, whole: &[Vec<u8>], expanded: usize, every_byte: usize) {
    let try_one = |what: &str, changed: &[Vec<u8>]| {
        let bytes = changed.iter().map(Vec::len).sum::<usize>().max(expanded);
        bounded(&format!("{name}: {what}"), bytes, || exercise(&files(changed)));
    };
    try_one("whole", whole);
    let mut changed = whole.to_vec();
    for (number, file) in whole.iter().enumerate() {
        let stride = if file.len() <= every_byte { 1 } else { file.len() / CUTS + 1 };
        for end in (0..file.len()).step_by(stride) {
            changed[number].truncate(end);
            try_one(&format!("file {number} cut at {end}"), &changed);
            changed[number].clone_from(file);
        }
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ name.len() as u64);
    for flips in 0..FLIPS {
        let number = random.below(whole.len());
        for _ in 0..=random.below(4) {
            flip(&mut changed[number], &mut random);
        }
        try_one(&format!("flips {flips} in file {number}"), &changed);
        changed[number].clone_from(&whole[number]);
    }
}

#[test]
fn every_perf_container() {
    alone(|| {
        for (name, files) in crate::entry::seeds_of_perf() {
            let expanded = usize::try_from(EXPANDED).unwrap_or(0);
            // Those that are built alike share most of their bytes.
            let whole = ["file", "pipe", "pipe, COMPRESSED", "big-endian file"];
            let every_byte = if whole.contains(&name.as_str()) { 1 << 14 } else { 0 };
            try_all(&name, &files, expanded, every_byte);
        }
    });
}

#[test]
fn every_text_and_trace_dat() {
    alone(|| {
        for (name, bytes) in seeds::of("ftrace_text") {
            try_all(&name, &[bytes], 0, 1 << 12);
        }
        for (name, bytes) in seeds::of("trace_dat") {
            try_all(&name, &[bytes], 1 << 20, 1 << 13);
        }
    });
}

/// Recorded captures, whole ones and damaged ones.
#[test]
fn recorded_captures() {
    alone(|| {
        let expanded = usize::try_from(EXPANDED).unwrap_or(0);
        for path in seeds::found(&["perf.data", ".dat", ".txt", ".gz", ".zst", ".xz"]) {
            let bytes = std::fs::read(&path).expect("a fixture can be read");
            if bytes.len() > 300_000 {
                continue;
            }
            let name = path.display().to_string();
            let mut random = Random(0xc07 ^ bytes.len() as u64);
            for _ in 0..20 {
                let cut = bytes[..random.below(bytes.len())].to_vec();
                bounded(&name, cut.len() + expanded, || exercise(&files(&[cut])));
                let mut flipped = bytes.clone();
                for _ in 0..20 {
                    flip(&mut flipped, &mut random);
                }
                bounded(&name, flipped.len() + expanded, || exercise(&files(&[flipped])));
            }
        }
    });
}
