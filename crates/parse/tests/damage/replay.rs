//! The entry points over the corpus, and over mutations of it.

use std::path::Path;

use agenttrace_parse::{Capture, Diagnostics, Problem, ReadOptions, Unpacked};

use crate::bounded::{alone, bounded};
use crate::entry::{EXPANDED, TARGETS};
use crate::mutate::{Random, mutate};
use crate::seeds;

/// Mutations of each target; `AGENTTRACE_MUTATIONS` tries more.
const MUTATIONS: usize = 3_000;

/// Inputs that once failed, by target, as the fuzzer left them.
fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        (path.display().to_string(), std::fs::read(path).expect("a regression can be read"))
    };
    files.iter().map(read).collect()
}

/// Entry points that expand what is compressed may hold that, too.
fn size(bytes: &[u8]) -> usize {
    bytes.len() + usize::try_from(EXPANDED).unwrap_or(0)
}

#[test]
fn corpus_and_mutations() {
    let mutations = std::env::var("AGENTTRACE_MUTATIONS").ok();
    let mutations = mutations.and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS);
    for (target, entry) in TARGETS {
        alone(|| {
            let mut corpus = seeds::of(target);
            assert!(!corpus.is_empty(), "{target} has no seeds");
            corpus.extend(regressions(target));
            for (name, bytes) in &corpus {
                bounded(&format!("{target}: {name}"), size(bytes), || entry(bytes));
            }
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            for number in 0..mutations {
                let (name, bytes) = &corpus[random.below(corpus.len())];
                let (_, other) = &corpus[random.below(corpus.len())];
                let bytes = mutate(bytes, other, &mut random);
                let what = format!("{target}: mutation {number}, of {name}");
                bounded(&what, size(&bytes), || entry(&bytes));
            }
        });
    }
}

/// A seed that is refused at its first byte would find nothing.
#[test]
fn seeds_of_trace_dat_are_sound() {
    let (seeds, expected) = crate::entry::seeds_of_trace_dat();
    for (name, bytes) in seeds {
        let unpacked = Unpacked::of(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let capture = Capture::open(&unpacked, &ReadOptions::default());
        let capture = capture.unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut diagnostics = Diagnostics::default();
        let totals = capture.read(&mut diagnostics, &mut |_| {});
        let totals = totals.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(totals.events, expected as u64, "{name}");
        for problem in [Problem::Truncated, Problem::BadRecord, Problem::BadSample] {
            assert_eq!(diagnostics.count(problem), 0, "{name}: {}", problem.text());
        }
    }
}

/// Writes the corpus for the fuzzer, where `AGENTTRACE_CORPUS` names its folder.
#[test]
fn corpus_for_the_fuzzer() {
    let Some(folder) = std::env::var_os("AGENTTRACE_CORPUS") else { return };
    for (target, _) in TARGETS {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("the corpus' folder is made");
        for (number, (_, bytes)) in seeds::of(target).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), bytes)
                .expect("a seed is written");
        }
    }
}
