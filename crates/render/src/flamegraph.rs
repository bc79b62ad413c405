//! Weighted stacks to flamegraphs: as folded lines and as an SVG.

mod colours;
mod names;
mod picture;
mod tree;

use std::collections::BTreeMap;

use agenttrace_attribute::stacks::{FrameText, StackDiff, StackGraph};

use names::Names;

pub use picture::{svg, svg_diff};

/// Folded lines `frame;frame;frame weight`, merged and sorted, each ended by a newline.
/// A `;` within a name is written `\x3b`.
#[must_use]
pub fn folded(graph: &StackGraph) -> String {
    let mut names = Names::default();
    let mut merged: BTreeMap<String, u64> = BTreeMap::new();
    for row in &graph.rows {
        let sum = merged.entry(joined(&mut names, &row.frames)).or_default();
        *sum = sum.saturating_add(row.weight);
    }
    lines(merged.into_iter().map(|(stack, weight)| format!("{stack} {weight}\n")))
}

/// Lines `frame;frame;frame before after`, as `inferno-diff-folded` writes them: first the
/// weight in what is compared with, then the weight here, neither scaled.
#[must_use]
pub fn folded_diff(diff: &StackDiff) -> String {
    let mut names = Names::default();
    let mut merged: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in &diff.rows {
        let sums = merged.entry(joined(&mut names, &row.frames)).or_default();
        sums.0 = sums.0.saturating_add(row.other);
        sums.1 = sums.1.saturating_add(row.here);
    }
    lines(merged.into_iter().map(|(stack, (other, here))| format!("{stack} {other} {here}\n")))
}

fn joined(names: &mut Names, frames: &[FrameText]) -> String {
    let mut line = String::new();
    for frame in frames {
        if !line.is_empty() {
            line.push(';');
        }
        line.push_str(&names.get(frame).folded);
    }
    line
}

/// Sorted as the lines of a file are: a name that begins like another differs in what
/// follows it.
fn lines(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    lines.concat()
}

#[cfg(test)]
mod tests;
