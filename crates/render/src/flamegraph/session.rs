//! Steps that nest or overlap on a root task to windows that do not.
//!
//! ```text
//!  step 1   |------------------------|
//!  step 2        |-------|                (nested, same task)
//!  owned 1  |----|       |-----------|
//!  owned 2       |-------|
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agenttrace_attribute::report::{Segment, StepReport};
use agenttrace_model::parse::{Nanos, StepId, Tid};

/// For each step the parts of its window that count for it: on one root task
/// each nanosecond goes to the innermost step, then the latest start, then the
/// order in the report. In time order.
pub(super) fn owned(steps: &[StepReport]) -> Vec<Vec<(Nanos, Nanos)>> {
    let depths = depths(steps);
    let mut by_task: BTreeMap<Tid, Vec<usize>> = BTreeMap::new();
    for (i, step) in steps.iter().enumerate() {
        by_task.entry(step.tid).or_default().push(i);
    }
    let mut owned = vec![Vec::new(); steps.len()];
    for (_, on_task) in by_task {
        // Ends before starts at the same time, so that no step owns nothing.
        let mut moments: Vec<(Nanos, bool, usize)> = Vec::with_capacity(on_task.len() * 2);
        for i in on_task {
            moments.push((steps[i].start, true, i));
            moments.push((steps[i].end, false, i));
        }
        moments.sort_unstable();
        let mut open = BTreeSet::new();
        let mut since = Nanos::ZERO;
        for (now, begins, i) in moments {
            if let Some((_, _, Reverse(_), owner)) = open.last()
                && since < now
            {
                push(&mut owned[*owner], since, now);
            }
            since = now;
            let key = (depths[i], steps[i].start, Reverse(steps[i].end), i);
            if begins {
                open.insert(key);
            } else {
                open.remove(&key);
            }
        }
    }
    owned
}

fn push(parts: &mut Vec<(Nanos, Nanos)>, from: Nanos, to: Nanos) {
    match parts.last_mut() {
        Some(last) if last.1 == from => last.1 = to,
        _ => parts.push((from, to)),
    }
}

/// How many steps enclose each, by `parent`; a circle of parents ends the count.
fn depths(steps: &[StepReport]) -> Vec<usize> {
    let by_id: BTreeMap<&StepId, &StepReport> = steps.iter().map(|s| (&s.id, s)).collect();
    let depth = |step: &StepReport| {
        std::iter::successors(step.parent.as_ref(), |id| by_id.get(id)?.parent.as_ref())
            .take(steps.len())
            .count()
    };
    steps.iter().map(depth).collect()
}

/// The segments within the parts, with how much of each lies there. Both are in
/// time order.
pub(super) fn within<'s>(
    segments: &'s [Segment],
    parts: &[(Nanos, Nanos)],
) -> Vec<(&'s Segment, u64)> {
    let mut out = Vec::with_capacity(segments.len());
    let mut first = 0;
    for segment in segments {
        while parts.get(first).is_some_and(|(_, to)| *to <= segment.start) {
            first += 1;
        }
        let overlap = parts[first.min(parts.len())..]
            .iter()
            .take_while(|(from, _)| *from < segment.end)
            .map(|(from, to)| (*to).min(segment.end) - (*from).max(segment.start))
            .sum::<Nanos>();
        if overlap > Nanos::ZERO {
            out.push((segment, overlap.0));
        }
    }
    out
}
