//! A built perf.data against exact values, another reader, and hostile changes.

mod build;
mod cutting;
mod exact;
mod forms;
mod hostile;
mod oracle;

use std::path::{Path, PathBuf};

/// Every perf.data under the repository's fixtures, and under the folders in
/// `AGENTTRACE_CAPTURES` (separated as in `PATH`) where that is set.
fn captures() -> Vec<PathBuf> {
    let mut roots = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recorded")];
    if let Some(more) = std::env::var_os("AGENTTRACE_CAPTURES") {
        roots.extend(std::env::split_paths(&more));
    }
    let mut found = Vec::new();
    while let Some(folder) = roots.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                roots.push(path);
            } else if path.file_name().is_some_and(|n| n == "perf.data") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A reproducible stream of numbers (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}
