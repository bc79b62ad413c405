//! Refaults to groups: what each eviction of a file cost a step.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;

use super::{Eviction, History, Refault};
use crate::inclusive::{Index, Stretch};

/// What one eviction cost a step.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Evicted {
    pub(crate) eviction: Eviction,
    /// Pages that the step added again.
    pub(crate) pages: u64,
    /// When the last of them had left.
    pub(crate) left: Nanos,
    /// From leaving to being added again: the median page's.
    pub(crate) distance: Nanos,
    /// Pages added to the cache meanwhile: the median page's.
    pub(crate) between: u64,
}

/// What came back over these stretches, by file and eviction, the most pages first.
pub(crate) fn evicted(index: &Index<'_>, work: &[Stretch]) -> Vec<Evicted> {
    let history = index.cache();
    group(history, work.iter().flat_map(|stretch| history.refaults(stretch)))
}

/// Refaults by file and eviction, the most pages first.
pub(crate) fn group<'h>(
    history: &'h History,
    refaults: impl Iterator<Item = &'h Refault>,
) -> Vec<Evicted> {
    let mut groups: BTreeMap<u32, Vec<&Refault>> = BTreeMap::new();
    for refault in refaults {
        groups.entry(refault.eviction).or_default().push(refault);
    }
    let mut out: Vec<Evicted> = groups
        .values()
        .filter_map(|list| {
            let eviction = *history.eviction(list.first()?)?;
            let median = |of: &dyn Fn(&Refault) -> u64| {
                let mut values: Vec<(u64, u64)> = list.iter().map(|r| (of(r), r.pages)).collect();
                values.sort_unstable();
                weighted_median(&values)
            };
            Some(Evicted {
                eviction,
                pages: list.iter().map(|r| r.pages).sum(),
                left: list.iter().map(|r| r.left).max()?,
                distance: Nanos(median(&|r| (r.time - r.left).0)),
                between: median(&|r| r.between),
            })
        })
        .collect();
    out.sort_by_key(|e| (Reverse(e.pages), e.eviction));
    out
}

/// The smallest value that at least half of the weight does not exceed.
fn weighted_median(sorted: &[(u64, u64)]) -> u64 {
    let all: u64 = sorted.iter().map(|(_, weight)| *weight).sum();
    let mut seen = 0_u64;
    for (value, weight) in sorted {
        seen = seen.saturating_add(*weight);
        if seen.saturating_mul(2) >= all {
            return *value;
        }
    }
    0
}
