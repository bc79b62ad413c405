//! What several tests need: numbers that repeat, and the captures that lie about.

use std::ffi::OsStr;
use std::path::PathBuf;

/// A reproducible stream of numbers (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Every file for which `wanted` says yes, under `roots` and under the folders that the
/// environment's `more` names (separated as in `PATH`), in order.
pub(crate) fn files_below(
    mut roots: Vec<PathBuf>,
    more: &str,
    wanted: impl Fn(&OsStr) -> bool,
) -> Vec<PathBuf> {
    roots.extend(std::env::var_os(more).iter().flat_map(std::env::split_paths));
    let mut found = Vec::new();
    while let Some(folder) = roots.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                roots.push(path);
            } else if path.file_name().is_some_and(&wanted) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
