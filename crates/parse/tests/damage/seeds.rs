//! What recorders write, in small: where cuts, flips and mutations begin.

use std::path::{Path, PathBuf};

use crate::entry;
use crate::texts::TEXTS;

/// The fixtures' folder.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn recorded(scenario: &str) -> Vec<u8> {
    let path = fixtures().join("recorded").join(scenario).join("perf.data");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files with this name or end below the fixtures, by path.
pub(crate) fn found(ends: &[&str]) -> Vec<PathBuf> {
    let mut folders = vec![fixtures()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The first lines of a text, at most `bytes`.
fn head(text: &[u8], bytes: usize) -> Vec<u8> {
    let cut = text.get(..bytes).unwrap_or(text);
    let end = cut.iter().rposition(|b| *b == b'\n').map_or(cut.len(), |at| at + 1);
    cut[..end].to_vec()
}

/// The seeds of a target, with names for people.
pub(crate) fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let numbered = |list: Vec<Vec<u8>>| {
        list.into_iter().enumerate().map(|(n, bytes)| (format!("seed {n}"), bytes)).collect()
    };
    let heads = |ends: &[&str], bytes: usize| {
        let files = found(ends).into_iter();
        let read = |path: PathBuf| {
            let text = std::fs::read(&path).expect("a fixture can be read");
            (path.display().to_string(), head(&text, bytes))
        };
        files.map(read).filter(|(_, bytes)| !bytes.is_empty()).collect::<Vec<_>>()
    };
    let perf = |pipe: bool| {
        let all = entry::seeds_of_perf().into_iter();
        let wanted = all.filter(|(name, files)| name.contains("pipe") == pipe && files.len() == 1);
        wanted.map(|(name, mut files)| (name, files.swap_remove(0))).collect()
    };
    match target {
        "perf_file" => perf(false),
        "perf_pipe" => perf(true),
        "perf_compressed" => numbered(entry::seeds_of_compressed()),
        "format" => numbered(entry::seeds_of_format(&recorded("fsync_stalls_nospin"))),
        "steps" => heads(&["steps.jsonl"], 700),
        "ftrace_text" => {
            let texts =
                TEXTS.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
            texts.collect()
        }
        "trace_dat" => {
            let mut seeds = entry::seeds_of_trace_dat().0;
            let path = fixtures().join("ftrace_stacks/trace.dat");
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            seeds.push(("trace.dat 6 with stacks".to_owned(), bytes));
            seeds
        }
        other => panic!("no seeds for {other}"),
    }
}
