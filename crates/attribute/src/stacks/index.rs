//! Samples by task and time.

use agenttrace_model::parse::{Nanos, Tid};
use agenttrace_model::stacks::StackSample;
use rustc_hash::FxHashMap;

use super::Named;

/// The samples of a capture, found by task and time.
#[derive(Debug)]
pub struct SampleIndex<'a> {
    /// The stacks and their names.
    pub named: Named<'a>,
    /// For each thread id its samples in time order, as indexes in the stacks' samples.
    by_tid: FxHashMap<Tid, Vec<u32>>,
}

impl<'a> SampleIndex<'a> {
    /// Sorts the samples out by task.
    #[must_use]
    pub fn new(named: Named<'a>) -> Self {
        let mut by_tid: FxHashMap<Tid, Vec<u32>> = FxHashMap::default();
        for (index, sample) in (0_u32..).zip(&named.stacks.samples) {
            by_tid.entry(sample.tid).or_default().push(index);
        }
        Self { named, by_tid }
    }

    /// The samples of a thread id within `[from, to)`, in time order.
    pub fn between(
        &self,
        tid: Tid,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = &'a StackSample> + '_ {
        let samples = &self.named.stacks.samples;
        let all = self.by_tid.get(&tid).map_or(&[][..], Vec::as_slice);
        let time = |index: &u32| samples.get(*index as usize).map_or(Nanos::ZERO, |s| s.time);
        let first = all.partition_point(|index| time(index) < from);
        all.iter()
            .skip(first)
            .filter_map(|index| samples.get(*index as usize))
            .take_while(move |sample| sample.time < to)
    }
}
