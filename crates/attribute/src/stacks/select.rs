//! A filter to the stretches of tasks that it selects, each with its step.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Nanos, Tid};
use agenttrace_model::{Model, TaskId, Windows};

use super::StackFilter;
use super::tasks::{TaskIndex, named_or_id};
use crate::report::Report;
use crate::session;

/// A stretch of one task that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    pub(super) from: Nanos,
    pub(super) to: Nanos,
    /// Index of its step in [`Windows::steps`]; `None`: the capture has no steps.
    pub(super) step: Option<usize>,
}

/// What a filter selects.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    tasks: Option<TaskIndex<'a>>,
    /// First and last event.
    span: (Nanos, Nanos),
    /// Name of the tasks, where it matters.
    comm: Option<&'a str>,
    /// For each task, by its id, its stretches: in time order, not overlapping.
    /// `None`: all there is.
    stretches: Option<Vec<Vec<Stretch>>>,
    /// The chosen steps: index, and the parts of its window that count for it, so that
    /// no nanosecond of a root task counts twice.
    pub(super) steps: Vec<(usize, Vec<(Nanos, Nanos)>)>,
}

impl<'a> Selection<'a> {
    /// All of a capture.
    pub(super) fn whole(model: Option<&'a Model>, filter: &'a StackFilter) -> Self {
        Self {
            tasks: model.map(TaskIndex::new),
            span: model.map_or((Nanos::ZERO, Nanos::MAX), |m| m.span),
            comm: filter.comm.as_deref(),
            stretches: None,
            steps: Vec::new(),
        }
    }

    /// What works for the steps. `report` is needed for a cause alone.
    pub(super) fn of_steps(
        model: &'a Model,
        windows: &'a Windows,
        report: Option<&Report>,
        filter: &'a StackFilter,
    ) -> Self {
        let chosen = windows
            .steps
            .iter()
            .enumerate()
            .filter(|(_, s)| filter.step.as_ref().is_none_or(|id| *id == s.id))
            .filter(|(_, s)| filter.tool.as_ref().is_none_or(|tool| *tool == s.tool))
            .map(|(index, _)| index);
        let steps: Vec<_> = session::sweep_of(&windows.steps, chosen).collect();
        let tasks = TaskIndex::new(model);
        let stretches = match filter.cause {
            None => worked(model, windows, &steps),
            Some(cause) => {
                let mut all = vec![Vec::new(); model.tasks.len()];
                for (step, parts) in &steps {
                    let Some(found) = report.and_then(|r| r.steps.get(*step)) else { continue };
                    for segment in found.segments.iter().filter(|s| s.cause == cause) {
                        let task = tasks.at(segment.tid, segment.start);
                        let Some(list) = task.and_then(|t| all.get_mut(t.0 as usize)) else {
                            continue;
                        };
                        for (from, to) in overlaps(parts, segment.start, segment.end) {
                            list.push(Stretch { from, to, step: Some(*step) });
                        }
                    }
                }
                all.into_iter().map(disjoint).collect()
            }
        };
        Self {
            tasks: Some(tasks),
            span: model.span,
            comm: filter.comm.as_deref(),
            stretches: Some(stretches),
            steps,
        }
    }

    /// The stretch that the time of a thread lies in.
    pub(super) fn thread_at(&self, tid: Tid, time: Nanos) -> Option<Stretch> {
        let tasks = self.tasks.as_ref().filter(|_| self.stretches.is_some());
        self.at(tasks.and_then(|tasks| tasks.at(tid, time)), time)
    }

    /// The stretch that a task's time lies in.
    pub(super) fn at(&self, task: Option<TaskId>, time: Nanos) -> Option<Stretch> {
        let Some(all) = &self.stretches else {
            return Some(Stretch { from: Nanos::ZERO, to: Nanos::MAX, step: None });
        };
        let list = all.get(task?.0 as usize)?;
        let after = list.partition_point(|s| s.from <= time);
        list.get(after.checked_sub(1)?).filter(|s| time < s.to).copied()
    }

    /// The parts of `[from, to)` of a task that are selected.
    pub(super) fn clip(&self, task: TaskId, from: Nanos, to: Nanos) -> Vec<Stretch> {
        let Some(all) = &self.stretches else {
            let (from, to) = (from.max(self.span.0), to.min(self.span.1));
            return if from < to { vec![Stretch { from, to, step: None }] } else { Vec::new() };
        };
        let Some(list) = all.get(task.0 as usize) else { return Vec::new() };
        let first = list.partition_point(|s| s.to <= from);
        list.iter()
            .skip(first)
            .take_while(|s| s.from < to)
            .map(|s| Stretch { from: s.from.max(from), to: s.to.min(to), step: s.step })
            .collect()
    }

    /// Whether the name of a task does not rule it out.
    pub(super) fn named(&self, name: &str) -> bool {
        self.comm.is_none_or(|comm| comm == name)
    }

    /// Name of the task with this thread id at a time. `given` is what a sample tells.
    pub(super) fn name(&self, given: Option<&str>, tid: Tid, time: Nanos) -> String {
        let name = given.map(str::to_owned);
        let name = name.or_else(|| self.tasks.as_ref()?.name(tid, time));
        named_or_id(name, tid)
    }
}

/// The parts that lie within `[from, to)`, clipped. Parts are in time order.
pub(super) fn overlaps(
    parts: &[(Nanos, Nanos)],
    from: Nanos,
    to: Nanos,
) -> impl Iterator<Item = (Nanos, Nanos)> + '_ {
    let first = parts.partition_point(|part| part.1 <= from);
    parts
        .iter()
        .skip(first)
        .take_while(move |part| part.0 < to)
        .map(move |part| (part.0.max(from), part.1.min(to)))
}

/// For each task when it works for which of the chosen steps. A root task works for the
/// step that its time counts for; any other for the innermost chosen step around its
/// claim, while that lasts.
fn worked(
    model: &Model,
    windows: &Windows,
    steps: &[(usize, Vec<(Nanos, Nanos)>)],
) -> Vec<Vec<Stretch>> {
    let mut roots: BTreeMap<TaskId, Vec<Stretch>> = BTreeMap::new();
    let mut chosen = vec![false; windows.steps.len()];
    for (index, parts) in steps {
        let Some(step) = windows.steps.get(*index) else { continue };
        if let Some(slot) = chosen.get_mut(*index) {
            *slot = true;
        }
        let list = roots.entry(step.root).or_default();
        list.extend(parts.iter().map(|(from, to)| Stretch {
            from: *from,
            to: *to,
            step: Some(*index),
        }));
    }
    let mut all = Vec::with_capacity(model.tasks.len());
    for (task, _) in model.task_ids() {
        // The root's own parts come first: the others fill what they leave.
        let mut list = disjoint(roots.remove(&task).unwrap_or_default());
        let claims = windows.claims.get(task.0 as usize).map_or(&[][..], Vec::as_slice);
        let mut more: Vec<Stretch> = Vec::new();
        for claim in claims {
            let mut left = without(&list, claim.from, claim.to);
            let mut at = Some(claim.step);
            let mut hops = 0;
            while let Some((index, step)) = at.and_then(|i| windows.steps.get(i).map(|s| (i, s)))
                && !left.is_empty()
                && hops <= windows.steps.len()
            {
                if chosen.get(index) == Some(&true) {
                    more.extend(overlaps(&left, step.start, step.end).map(|(from, to)| Stretch {
                        from,
                        to,
                        step: Some(index),
                    }));
                    left = left
                        .into_iter()
                        .flat_map(|(from, to)| {
                            [(from, to.min(step.start)), (from.max(step.end), to)]
                        })
                        .filter(|(from, to)| from < to)
                        .collect();
                }
                at = step.parent;
                hops += 1;
            }
        }
        list.append(&mut more);
        all.push(disjoint(list));
    }
    all
}

/// What `taken` leaves of `[from, to)`.
fn without(taken: &[Stretch], from: Nanos, to: Nanos) -> Vec<(Nanos, Nanos)> {
    let mut left = Vec::new();
    let mut at = from;
    let first = taken.partition_point(|s| s.to <= from);
    for stretch in taken.iter().skip(first).take_while(|s| s.from < to) {
        if at < stretch.from {
            left.push((at, stretch.from));
        }
        at = at.max(stretch.to);
    }
    if at < to {
        left.push((at, to));
    }
    left
}

/// In time order; where two overlap, the one that begins first, then the first step,
/// keeps the time.
fn disjoint(mut list: Vec<Stretch>) -> Vec<Stretch> {
    list.sort_by_key(|s| (s.from, s.step, s.to));
    let mut done = Nanos::ZERO;
    list.retain_mut(|s| {
        s.from = s.from.max(done);
        done = done.max(s.to);
        s.from < s.to
    });
    list
}
