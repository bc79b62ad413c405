//! Critical paths with the stacks of a capture below each segment.

use agenttrace_model::parse::{Nanos, Tid};
use agenttrace_model::stacks::{ChainId, What};
use agenttrace_model::{Model, State};

use super::tasks::TaskIndex;
use super::{Named, SampleIndex};
use crate::report::{Segment, StepReport};

/// A stretch of a segment with one stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Start.
    pub start: Nanos,
    /// End; after `start`.
    pub end: Nanos,
    /// Index in [`StepReport::segments`].
    pub segment: usize,
    /// The innermost frame of the stack below the segment; `None` where none is known.
    pub chain: Option<ChainId>,
}

/// What is needed to find the stacks of critical paths.
///
/// Blocked time has the stack with which its task left its CPU. Running time is shared
/// out evenly to the task's samples within the segment, in their order; without any it
/// has no stack, as has time in a run queue.
#[derive(Debug)]
pub struct PathStacks<'a> {
    model: &'a Model,
    samples: SampleIndex<'a>,
    tasks: TaskIndex<'a>,
    event: Option<u32>,
}

impl<'a> PathStacks<'a> {
    /// For running time, samples of this event type serve: an index in
    /// [`agenttrace_model::parse::CaptureInfo::event_types`], as [`super::cpu_event`]
    /// chooses it.
    #[must_use]
    pub fn new(named: Named<'a>, model: &'a Model, event: Option<u32>) -> Self {
        Self { model, samples: SampleIndex::new(named), tasks: TaskIndex::new(model), event }
    }

    /// The pieces of a step's path, in time order; they tile its segments.
    #[must_use]
    pub fn pieces(&self, step: &StepReport) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(step.segments.len());
        for (number, segment) in step.segments.iter().enumerate() {
            self.segment(number, &segment, &mut pieces);
        }
        pieces
    }

    fn segment(&self, number: usize, segment: &Segment<'_>, out: &mut Vec<Piece>) {
        let (from, to) = (segment.start, segment.end);
        let sampled = self.ran(segment.tid, from, to);
        let mut states = Vec::new();
        self.states(segment.tid, from, to, &mut |state| states.push(state));
        let ran = states.iter().filter(|s| s.running).map(|s| (s.end - s.start).0).sum();
        let mut shares = Shares::new(ran, &sampled);
        let mut push = |start: Nanos, end: Nanos, chain: Option<ChainId>| {
            out.push(Piece { start, end, segment: number, chain });
        };
        for state in states {
            if state.running {
                shares.take(state.start, state.end, &mut push);
            } else {
                push(state.start, state.end, state.chain);
            }
        }
    }

    /// What a thread did over `[from, to)`, in stretches that tile it.
    pub(super) fn states(&self, tid: Tid, from: Nanos, to: Nanos, found: &mut dyn FnMut(Stretch)) {
        let mut push = |start: Nanos, end: Nanos, running: bool, chain: Option<ChainId>| {
            if start < end {
                found(Stretch { start, end, running, chain });
            }
        };
        let mut at = from;
        if let Some(task) = self.tasks.at(tid, from).map(|id| self.model.task(id)) {
            for (index, start, end, span) in task.spans(from, to) {
                // Before the task's first span nothing is known of it.
                push(at, start, false, None);
                at = end;
                match span.state {
                    State::Running => push(start, end, true, None),
                    State::Blocked(_) => {
                        let next = task.states.get(index + 1);
                        let until = next.map_or(Nanos::MAX, |next| next.start);
                        let chain = switched_out(&self.samples, tid, span.start, until);
                        push(start, end, false, chain);
                    }
                    State::Runnable | State::New | State::Dead | State::Unknown(_) => {
                        push(start, end, false, None);
                    }
                }
            }
        }
        push(at, to, false, None);
    }

    /// The stacks of the samples of running code of a thread within `[from, to)`.
    pub(super) fn ran(&self, tid: Tid, from: Nanos, to: Nanos) -> Vec<Option<ChainId>> {
        self.samples
            .between(tid, from, to)
            .filter(|s| s.what == What::Cpu && Some(s.event_type) == self.event)
            .map(|s| s.chain)
            .collect()
    }
}

/// A stretch of one state of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    pub(super) start: Nanos,
    pub(super) end: Nanos,
    pub(super) running: bool,
    /// The stack with which a blocked thread left its CPU.
    pub(super) chain: Option<ChainId>,
}

/// The stack of the switch that begins the blocked time `[from, until)` of a task. While
/// it is blocked a task writes no other event.
pub(super) fn switched_out(
    samples: &SampleIndex<'_>,
    tid: Tid,
    from: Nanos,
    until: Nanos,
) -> Option<ChainId> {
    let mut at = samples.between(tid, from, until);
    at.find(|s| matches!(s.what, What::SwitchOut(_)) && s.chain.is_some())?.chain
}

/// Time shared out evenly to samples; what does not divide goes to the first.
pub(super) struct Shares<'s> {
    samples: std::slice::Iter<'s, Option<ChainId>>,
    chain: Option<ChainId>,
    /// What is left of the present sample's share.
    left: u64,
    each: u64,
    /// How many more get one nanosecond more.
    larger: u64,
}

impl<'s> Shares<'s> {
    pub(super) fn new(time: u64, samples: &'s [Option<ChainId>]) -> Self {
        let count = samples.len() as u64;
        Self {
            samples: samples.iter(),
            chain: None,
            left: if count == 0 { u64::MAX } else { 0 },
            each: time.checked_div(count).unwrap_or(0),
            larger: time.checked_rem(count).unwrap_or(0),
        }
    }

    /// The shares that fill `[start, end)`.
    pub(super) fn take(
        &mut self,
        start: Nanos,
        end: Nanos,
        push: &mut dyn FnMut(Nanos, Nanos, Option<ChainId>),
    ) {
        let mut at = start;
        while at < end {
            if self.left == 0 {
                let Some(chain) = self.samples.next() else { break };
                self.chain = *chain;
                self.left = self.each + u64::from(self.larger > 0);
                self.larger = self.larger.saturating_sub(1);
                continue;
            }
            let till = (at + Nanos(self.left)).min(end);
            self.left -= (till - at).0;
            push(at, till, self.chain);
            at = till;
        }
        if at < end {
            push(at, end, None);
        }
    }
}
