//! Two graphs of one kind to the difference between them.

use std::collections::BTreeMap;

use super::{FrameText, StackGraph, StackKind, StackUnit};
use crate::cause::Cause;
use crate::stats::apportion;

/// Two graphs, stack by stack.
#[derive(Clone, PartialEq, Debug)]
pub struct StackDiff {
    /// What both show.
    pub kind: StackKind,
    /// What the weights count.
    pub unit: StackUnit,
    /// The graph that was asked for.
    pub here: DiffSide,
    /// The one that it is compared with.
    pub other: DiffSide,
    /// The rows, each stack once, in the order of their frames' texts.
    pub rows: Vec<DiffRow>,
    /// How much of [`DiffSide::total`] of the other lies in stacks that are not here, and
    /// so have no width in a picture.
    pub only_other: u64,
    /// What a reader must know of either.
    pub notes: Vec<String>,
}

/// One of the two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiffSide {
    /// What it is of, in words.
    pub of: String,
    /// The sum of its weights.
    pub total: u64,
    /// The event that was sampled.
    pub event: Option<String>,
}

/// One stack in both graphs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiffRow {
    /// Its frames, the outermost first.
    pub frames: Vec<FrameText>,
    /// The cause of the time, where it lies on a critical path.
    pub cause: Option<Cause>,
    /// Its weight here; 0 where it is in the other alone.
    pub here: u64,
    /// Its weight in the other.
    pub other: u64,
    /// The other's weight on the scale of this one's total, so that shares compare. These
    /// add up to the total here.
    pub scaled: u64,
}

/// Compares two graphs of one kind. Steps are left out of the stacks, and so are tools
/// where either graph is of one step or one tool, so that what did the same compares.
#[must_use]
pub fn diff(here: &StackGraph, other: &StackGraph) -> StackDiff {
    let narrowed = |g: &StackGraph| g.filter.step.is_some() || g.filter.tool.is_some();
    let tools = !narrowed(here) && !narrowed(other);
    let mut rows: BTreeMap<Vec<FrameText>, (Option<Cause>, u64, u64)> = BTreeMap::new();
    for (graph, first) in [(here, true), (other, false)] {
        for row in &graph.rows {
            let mut frames = row.frames.clone();
            if graph.steps {
                frames.drain(usize::from(tools).min(frames.len())..2.min(frames.len()));
            }
            let sums = rows.entry(frames).or_insert((row.cause, 0, 0));
            let sum = if first { &mut sums.1 } else { &mut sums.2 };
            *sum = sum.saturating_add(row.weight);
        }
    }
    let others: Vec<u64> = rows.values().map(|(_, _, other)| *other).collect();
    let scaled = apportion(&others, here.total);
    let only_other = rows.values().filter(|(_, here, _)| *here == 0).map(|(_, _, n)| *n).sum();
    let rows = rows
        .into_iter()
        .zip(scaled)
        .map(|((frames, (cause, here, other)), scaled)| DiffRow {
            frames,
            cause,
            here,
            other,
            scaled,
        })
        .collect();
    let side =
        |g: &StackGraph| DiffSide { of: g.of.clone(), total: g.total, event: g.event.clone() };
    let mut notes = here.notes.clone();
    notes.extend(other.notes.iter().map(|note| format!("{}: {note}", other.of)));
    StackDiff {
        kind: here.kind,
        unit: here.unit,
        here: side(here),
        other: side(other),
        rows,
        only_other,
        notes,
    }
}
