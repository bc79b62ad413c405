//! Step windows: which root task, from when to when, and which tasks work for them.

use agenttrace_parse::{Nanos, Pid, StepId};

use crate::task::TaskId;

/// One step, placed on the capture's clock and on a task of the model.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// Its tool; may be empty.
    pub tool: String,
    /// The task whose step it is.
    pub root: TaskId,
    /// Its process, where the steps file tells.
    pub pid: Option<Pid>,
    /// Start of the window, clipped to the capture.
    pub start: Nanos,
    /// End of the window; after `start`.
    pub end: Nanos,
    /// Index of the enclosing step in [`Windows::steps`]: by name, or nested on the same task.
    pub parent: Option<usize>,
    /// Which part lies outside the capture, in words.
    pub clipped: Option<String>,
    /// How far its times may be off; `None` where it cannot be told.
    pub error: Option<Nanos>,
    /// A time of it was mapped from the steps file.
    pub mapped: bool,
    /// Unknown keys of its markers: (key, JSON text).
    pub extra: Vec<(String, String)>,
}

/// A stretch over which a task works for a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// From.
    pub from: Nanos,
    /// To.
    pub to: Nanos,
    /// Index in [`Windows::steps`].
    pub step: usize,
    /// Told by its waking a task of the step, not by having been woken by one.
    pub inferred: bool,
}

/// All steps, and who works for them when.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Windows {
    /// The steps, by start, then in the order of the file.
    pub steps: Vec<Step>,
    /// For each task, by its id, its claims: in time order, not overlapping.
    pub claims: Vec<Vec<Claim>>,
    /// For each task, by its id, whether it belongs to the agent's tree.
    pub in_tree: Vec<bool>,
    /// Steps that could not be placed, and why; other remarks on the markers.
    pub notes: Vec<String>,
}

impl Windows {
    /// The step that a task works for at a time.
    #[must_use]
    pub fn claim_at(&self, task: TaskId, time: Nanos) -> Option<usize> {
        let claims = self.claims.get(task.0 as usize)?;
        let after = claims.partition_point(|claim| claim.from <= time);
        let claim = claims.get(after.checked_sub(1)?)?;
        (time < claim.to).then_some(claim.step)
    }

    /// Where a claim of a task begins or ends next; [`Nanos::MAX`] where none does.
    #[must_use]
    pub fn claim_edge(&self, task: TaskId, time: Nanos) -> Nanos {
        let Some(claims) = self.claims.get(task.0 as usize) else { return Nanos::MAX };
        let after = claims.partition_point(|claim| claim.to <= time);
        match claims.get(after) {
            Some(claim) if claim.from > time => claim.from,
            Some(claim) => claim.to,
            None => Nanos::MAX,
        }
    }

    /// Whether `step` is `ancestor`, or nested in it at any depth.
    #[must_use]
    pub fn within(&self, step: usize, ancestor: usize) -> bool {
        let mut at = Some(step);
        // Depth is bounded by the number of steps: parents were checked for cycles.
        while let Some(index) = at {
            if index == ancestor {
                return true;
            }
            at = self.steps.get(index).and_then(|s| s.parent);
        }
        false
    }

    /// Whether a task works at a time for a step, or for one nested in it.
    #[must_use]
    pub fn works_for(&self, task: TaskId, time: Nanos, step: usize) -> bool {
        self.claim_at(task, time).is_some_and(|claimed| self.within(claimed, step))
    }

    /// Whether a task belongs to the agent's tree.
    #[must_use]
    pub fn is_in_tree(&self, task: TaskId) -> bool {
        self.in_tree.get(task.0 as usize).copied().unwrap_or(false)
    }

    /// The stretches over which tasks work for a step or for one nested in it,
    /// clipped to its window: (task, from, to, inferred), by task, then time.
    /// The root task's whole window is one stretch.
    #[must_use]
    pub fn work(&self, step: usize) -> Vec<(TaskId, Nanos, Nanos, bool)> {
        let Some(window) = self.steps.get(step) else { return Vec::new() };
        let mut work = vec![(window.root, window.start, window.end, false)];
        for (index, claims) in self.claims.iter().enumerate() {
            let task = TaskId(u32::try_from(index).unwrap_or(u32::MAX));
            if task == window.root {
                continue;
            }
            let first = claims.partition_point(|claim| claim.to <= window.start);
            for claim in claims.iter().skip(first).take_while(|claim| claim.from < window.end) {
                if self.within(claim.step, step) {
                    work.push((
                        task,
                        claim.from.max(window.start),
                        claim.to.min(window.end),
                        claim.inferred,
                    ));
                }
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_lasts_until_its_edge() {
        let claim =
            |from, to, step| Claim { from: Nanos(from), to: Nanos(to), step, inferred: false };
        let claims = vec![vec![], vec![claim(10, 20, 0), claim(20, 30, 1), claim(40, 50, 0)]];
        let windows = Windows { claims, ..Windows::default() };
        let at = |time| {
            let (task, time) = (TaskId(1), Nanos(time));
            (windows.claim_at(task, time), windows.claim_edge(task, time).0)
        };
        assert_eq!(at(5), (None, 10));
        assert_eq!(at(10), (Some(0), 20));
        assert_eq!(at(20), (Some(1), 30));
        assert_eq!(at(30), (None, 40));
        assert_eq!(at(49), (Some(0), 50));
        assert_eq!(at(50), (None, u64::MAX));
        assert_eq!(windows.claim_edge(TaskId(0), Nanos(0)), Nanos::MAX);
        assert_eq!(windows.claim_edge(TaskId(9), Nanos(0)), Nanos::MAX);
    }
}
