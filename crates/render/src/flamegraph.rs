//! Critical paths to wall-time flamegraphs: as folded lines and as an SVG.
//!
//! Frames are the tool, the step, the segment's entry stack, and a leaf that
//! names cause and resource. Widths are integer nanoseconds. A step's graph is
//! as wide as the step lasted; the session's counts each nanosecond of a root
//! task once, for the innermost step.

mod picture;
mod session;

use std::collections::BTreeMap;

use agenttrace_attribute::cause::{Cause, Resource};
use agenttrace_attribute::report::{Report, Segment, StepReport};

use crate::escape::frame;

pub use picture::svg;

/// Which steps a flamegraph shows.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All of them.
    Session,
    /// This one, whole, with what its nested steps spent.
    Step(&'a StepReport),
}

/// Stacks that are the same, merged: frames, outermost first, to the width in
/// nanoseconds and the cause.
type Stacks = BTreeMap<Vec<String>, (u64, Cause)>;

/// Folded lines `frame;frame;frame nanoseconds`, merged and sorted, each ended
/// by a newline. A `;` within a name is written `\x3b`.
#[must_use]
pub fn folded(report: &Report, selection: Selection<'_>) -> String {
    let mut lines: Vec<String> = stacks(report, selection)
        .into_iter()
        .map(|(frames, (ns, _))| format!("{} {ns}\n", frames.join(";")))
        .collect();
    lines.sort_unstable();
    lines.concat()
}

/// What makes a stack within one step; borrowed, for a capture can hold
/// millions of segments.
type Key<'a> = (&'a [String], Cause, Resource, Option<Cause>);

fn stacks(report: &Report, selection: Selection<'_>) -> Stacks {
    let mut stacks = Stacks::new();
    match selection {
        Selection::Step(step) => {
            let segments = step.segments.iter().map(|s| (s, (s.end - s.start).0));
            add(&mut stacks, step, segments);
        }
        Selection::Session => {
            for (step, owned) in report.steps.iter().zip(session::owned(&report.steps)) {
                add(&mut stacks, step, session::within(&step.segments, &owned));
            }
        }
    }
    stacks
}

fn add<'a>(
    stacks: &mut Stacks,
    step: &StepReport,
    segments: impl IntoIterator<Item = (&'a Segment, u64)>,
) {
    let mut sums: BTreeMap<Key<'a>, u64> = BTreeMap::new();
    for (segment, ns) in segments {
        let key = (&segment.stack[..], segment.cause, segment.resource, segment.under);
        let sum = sums.entry(key).or_default();
        *sum = sum.saturating_add(ns);
    }
    for ((stack, cause, resource, under), ns) in sums {
        if ns == 0 {
            continue;
        }
        let mut frames = Vec::with_capacity(stack.len() + 3);
        frames.push(if step.tool.is_empty() { "(no tool)".to_owned() } else { frame(&step.tool) });
        frames.push(format!("step {}", frame(&step.id.to_string())));
        frames.extend(stack.iter().map(|f| frame(f)));
        frames.push(leaf(cause, resource, under));
        let entry = stacks.entry(frames).or_insert((0, cause));
        entry.0 = entry.0.saturating_add(ns);
    }
}

/// `major_fault: device`, `run_delay: run_queue in fsync`. Never ends with a
/// number, which readers of folded lines would take for a width.
fn leaf(cause: Cause, resource: Resource, under: Option<Cause>) -> String {
    let (name, resource) = (cause.name(), resource.name());
    match under {
        Some(under) if under != cause => format!("{name}: {resource} in {}", under.name()),
        _ => format!("{name}: {resource}"),
    }
}

#[cfg(test)]
mod tests;
