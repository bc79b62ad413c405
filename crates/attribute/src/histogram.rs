//! Durations in power-of-two buckets of microseconds, as `bpftrace`'s `hist()` prints them.

use agenttrace_model::parse::Nanos;

use crate::inclusive::Samples;
use crate::report::{Distribution, Histogram, HistogramClass};
use crate::stats::stats;

/// The bucket of a duration: 0 below 1 us, else n for `[2^(n-1), 2^n)` us.
#[must_use]
pub fn bucket(ns: Nanos) -> usize {
    let us = ns.0 / 1000;
    (u64::BITS - us.leading_zeros()) as usize
}

/// The histogram of one mechanism. `None`: its events were not captured.
#[must_use]
pub fn histogram(mechanism: Distribution, values: Option<Vec<Nanos>>) -> Histogram {
    let Some(mut values) = values else {
        return Histogram {
            mechanism,
            buckets: None,
            count: 0,
            total: Nanos::ZERO,
            p50: Nanos::ZERO,
            p99: Nanos::ZERO,
            max: Nanos::ZERO,
            classes: Vec::new(),
        };
    };
    let stats = stats(&mut values);
    Histogram {
        mechanism,
        buckets: Some(buckets(&values)),
        count: stats.count,
        total: stats.total,
        p50: stats.p50,
        p99: stats.p99,
        max: stats.max,
        classes: Vec::new(),
    }
}

/// Counts of values by bucket, up to the last that holds one.
fn buckets(values: &[Nanos]) -> Vec<u64> {
    let mut buckets = vec![0_u64; values.iter().max().map_or(0, |max| bucket(*max) + 1)];
    for value in values {
        if let Some(count) = buckets.get_mut(bucket(*value)) {
            *count += 1;
        }
    }
    buckets
}

/// The classes that have values, with theirs.
fn classes(samples: &Samples, mechanism: Distribution) -> Vec<HistogramClass> {
    let values = samples.by_class(mechanism).into_iter().filter(|(_, values)| !values.is_empty());
    values
        .map(|(name, mut values)| {
            let stats = stats(&mut values);
            HistogramClass {
                name,
                buckets: buckets(&values),
                count: stats.count,
                p50: stats.p50,
                p99: stats.p99,
                max: stats.max,
            }
        })
        .collect()
}

/// All mechanisms, in the order of [`Distribution::ALL`].
pub(crate) fn histograms(mut samples: Samples) -> Vec<Histogram> {
    Vec::from(Distribution::ALL.map(|mechanism| Histogram {
        classes: classes(&samples, mechanism),
        ..histogram(mechanism, samples.take(mechanism))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Stats;

    #[test]
    fn buckets_double() {
        let got = [0, 999, 1000, 1999, 2000, 3999, 4000, 1_024_000].map(|ns| bucket(Nanos(ns)));
        assert_eq!(got, [0, 0, 1, 1, 2, 2, 3, 11]);
        assert_eq!(bucket(Nanos::MAX), 55);
    }

    #[test]
    fn no_events_are_not_no_values() {
        assert_eq!(histogram(Distribution::Fsync, None).buckets, None);
        assert_eq!(histogram(Distribution::Fsync, Some(Vec::new())).buckets, Some(Vec::new()));
        assert_eq!(histogram(Distribution::Fsync, None).stats(), None);
        let none = histogram(Distribution::Fsync, Some(Vec::new()));
        assert_eq!(none.stats(), Some(Stats::default()));
        let h = histogram(Distribution::Fsync, Some(vec![Nanos(1500), Nanos(500)]));
        let (total, p50, max) = (Nanos(2000), Nanos(500), Nanos(1500));
        assert_eq!(h.stats(), Some(Stats { count: 2, total, p50, p99: max, max }));
        assert_eq!((h.buckets, h.count, h.total), (Some(vec![1, 1]), 2, Nanos(2000)));
    }
}
