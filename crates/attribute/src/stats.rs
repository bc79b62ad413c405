//! Sums, percentiles (nearest-rank, on integers) and the words that numbers take in sentences.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};

use agenttrace_model::parse::Nanos;

use crate::report::Stats;

/// The nearest-rank percentile of sorted values: the smallest value that at least
/// `percent` of the values do not exceed. Zero without values.
#[must_use]
pub fn percentile(sorted: &[Nanos], percent: u64) -> Nanos {
    sorted.get(nearest_rank(sorted.len(), percent)).copied().unwrap_or_default()
}

/// Where so many sorted values have their percentile.
fn nearest_rank(values: usize, percent: u64) -> usize {
    let count = values as u64;
    let rank = count.saturating_mul(percent).div_ceil(100).clamp(1, count.max(1));
    usize::try_from(rank - 1).unwrap_or(usize::MAX)
}

/// The sums of what is of the same kind, most first; ties by the order of kinds.
pub(crate) fn added_up<K: Ord>(mut rows: Vec<(K, Nanos)>) -> Vec<(K, Nanos)> {
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows.dedup_by(|(later, ns), (first, sum)| {
        let same = later == first;
        if same {
            *sum += *ns;
        }
        same
    });
    // By kind so far, and the sort is stable.
    rows.sort_by_key(|(_, ns)| Reverse(*ns));
    rows
}

/// Count and distribution of values, whose order it changes.
#[must_use]
pub fn stats(values: &mut [Nanos]) -> Stats {
    let count = values.len() as u64;
    let total = values.iter().copied().sum();
    let max = values.iter().copied().max().unwrap_or_default();
    let (middle, high) = (nearest_rank(values.len(), 50), nearest_rank(values.len(), 99));
    if values.len() <= middle {
        return Stats::default();
    }
    // What is above the median need not be looked through for it again.
    let (_, p50, above) = values.select_nth_unstable(middle);
    let p50 = *p50;
    let p99 = match high.checked_sub(middle + 1) {
        Some(rank) if rank < above.len() => *above.select_nth_unstable(rank).1,
        Some(_) | None => p50,
    };
    Stats { count, total, p50, p99, max }
}

/// `part / whole`, 0 where there is no whole.
#[must_use]
pub fn ratio(part: Nanos, whole: Nanos) -> f64 {
    if whole.0 == 0 { 0.0 } else { part.0 as f64 / whole.0 as f64 }
}

/// Shares out `units` over `parts` in proportion, by largest remainder, so that the
/// shares add up. Ties go to the earlier part. All zero where the parts are.
#[must_use]
pub fn apportion(parts: &[u64], units: u64) -> Vec<u64> {
    let sum: u128 = parts.iter().map(|p| u128::from(*p)).sum();
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let mut out = Vec::with_capacity(parts.len());
    let mut order = Vec::with_capacity(parts.len());
    let mut left = u128::from(units);
    for (index, part) in parts.iter().enumerate() {
        let product = u128::from(*part) * u128::from(units);
        left = left.saturating_sub(product / sum);
        // At most `units`, which is a u64.
        out.push(u64::try_from(product / sum).unwrap_or(u64::MAX));
        order.push((std::cmp::Reverse(product % sum), index));
    }
    order.sort_unstable();
    // Fewer are left than there are parts: each remainder is below one unit.
    for (_, index) in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(slot) = out.get_mut(index) {
            *slot += 1;
        }
    }
    out
}

/// A duration with a unit that suits it: `640 ns`, `40.1 us`, `14.5 ms`, `1.21 s`.
#[must_use]
pub(crate) fn human(ns: Nanos) -> Human {
    Human(ns)
}

/// What [`human`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Human(Nanos);

impl Display for Human {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            n @ 0..1_000 => Digits::new(" ns").number(n).show(f),
            n @ 1_000..100_000 => Digits::new(" us").fraction(n, 1_000, 1).show(f),
            n @ 100_000..1_000_000 => Digits::new(" ms").fraction(n, 1_000_000, 2).show(f),
            n @ 1_000_000..1_000_000_000 => Digits::new(" ms").fraction(n, 1_000_000, 1).show(f),
            n => Digits::new(" s").fraction(n, 1_000_000_000, 2).show(f),
        }
    }
}

/// A number in the making, from its last character to its first. Sentences hold many.
struct Digits {
    bytes: [u8; 40],
    from: usize,
}

impl Digits {
    /// Ends in this; less than ten bytes.
    fn new(end: &str) -> Self {
        let mut digits = Self { bytes: [0; 40], from: 40 };
        for byte in end.bytes().rev() {
            digits.byte(byte);
        }
        digits
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.from = self.from.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.from) {
            *place = byte;
        }
        self
    }

    /// The lowest digit of a number.
    fn digit(&mut self, n: u64) -> &mut Self {
        self.byte(b'0' + (n % 10) as u8)
    }

    fn number(&mut self, mut n: u64) -> &mut Self {
        loop {
            self.digit(n);
            n /= 10;
            if n == 0 {
                return self;
            }
        }
    }

    /// `n / unit`, rounded half up to so many decimals, by integers alone. Units are known
    /// where it is called: no division is left.
    #[inline(always)]
    fn fraction(&mut self, n: u64, unit: u64, decimals: u32) -> &mut Self {
        let (unit, scale) = (unit.max(1), 10_u64.pow(decimals));
        // Units are at most 2^30, and so is what is left of a division by one.
        let mut part = ((n % unit).saturating_mul(scale) + unit / 2) / unit;
        let whole = n / unit + part / scale;
        for _ in 0..decimals {
            self.digit(part);
            part /= 10;
        }
        self.byte(b'.').number(whole)
    }

    /// With its thousands separated.
    fn thousands(&mut self, mut n: u64) -> &mut Self {
        while n >= 1000 {
            self.digit(n).digit(n / 10).digit(n / 100).byte(b',');
            n /= 1000;
        }
        self.number(n)
    }

    fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.get(self.from..).unwrap_or_default();
        f.write_str(std::str::from_utf8(bytes).unwrap_or_default())
    }
}

/// An integer with its thousands separated: `14,820`.
#[must_use]
pub(crate) fn thousands(n: u64) -> Thousands {
    Thousands(n)
}

/// What [`thousands`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Thousands(u64);

impl Display for Thousands {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Digits::new("").thousands(self.0).show(f)
    }
}

/// A count and its noun, the plural by an `s`: `1 fsync`, `25 fsyncs`.
#[must_use]
pub(crate) fn plural(n: u64, noun: &str) -> Plural<'_> {
    plural_by(n, noun, "s")
}

/// As [`plural`], with another ending of the plural: `2 processes`.
#[must_use]
pub(crate) fn plural_by<'n>(n: u64, noun: &'n str, ending: &'static str) -> Plural<'n> {
    Plural { n, noun, ending: if n == 1 { "" } else { ending } }
}

/// What [`plural`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Plural<'n> {
    n: u64,
    noun: &'n str,
    ending: &'static str,
}

impl Display for Plural<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { n, noun, ending } = *self;
        Digits::new(" ").thousands(n).show(f)?;
        f.write_str(noun)?;
        f.write_str(ending)
    }
}

/// A part of a whole in whole per cent: `80 %`.
#[must_use]
pub(crate) fn percent(part: Nanos, whole: Nanos) -> Percent {
    let whole = u128::from(whole.0.max(1));
    let percent = (u128::from(part.0) * 100 + whole / 2) / whole;
    Percent(percent)
}

/// What [`percent`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Percent(u128);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0) {
            Ok(percent) => Digits::new(" %").number(percent).show(f),
            Err(_) => write!(f, "{} %", self.0),
        }
    }
}

/// A size: `512 B`, `64.0 MiB`.
#[must_use]
pub(crate) fn size(bytes: u64) -> Size {
    Size(bytes)
}

/// What [`size`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [(" GiB", 1 << 30), (" MiB", 1 << 20), (" KiB", 1 << 10)];
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit) {
            Some((name, unit)) => Digits::new(name).fraction(self.0, *unit, 1).show(f),
            None => Digits::new(" B").number(self.0).show(f),
        }
    }
}

/// The mean of a total over a count; zero without a count.
#[must_use]
pub(crate) fn mean(total: Nanos, count: u64) -> Nanos {
    Nanos(total.0.checked_div(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_kind_is_one_row() {
        let rows = [('c', 3), ('a', 2), ('b', 1), ('d', 9), ('a', 1), ('b', 1), ('a', 1)];
        let rows = rows.map(|(name, ns)| (name, Nanos(ns))).to_vec();
        let want = [('d', 9), ('a', 4), ('c', 3), ('b', 2)].map(|(name, ns)| (name, Nanos(ns)));
        assert_eq!(added_up(rows), want);
        let ties = vec![('b', Nanos(2)), ('c', Nanos(1)), ('a', Nanos(2)), ('c', Nanos(1))];
        let want = [('a', Nanos(2)), ('b', Nanos(2)), ('c', Nanos(2))];
        assert_eq!(added_up(ties), want);
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<Nanos> = [15, 20, 35, 40, 50].map(Nanos).to_vec();
        let got: Vec<u64> = [0, 5, 30, 40, 50, 99, 100].map(|p| percentile(&values, p).0).to_vec();
        assert_eq!(got, [15, 15, 20, 20, 35, 50, 50]);
        assert_eq!(percentile(&[], 50), Nanos::ZERO);
    }

    #[test]
    fn stats_are_those_of_the_sorted_values() {
        // 1 to 199, shuffled by a step that has no divisor in common with 199.
        for count in [1, 2, 3, 99, 100, 101, 199] {
            let mut values: Vec<Nanos> = (0..count).map(|i| Nanos(i * 87 % 199)).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let s = stats(&mut values);
            assert_eq!(s.p50, percentile(&sorted, 50), "{count}");
            assert_eq!(s.p99, percentile(&sorted, 99), "{count}");
            assert_eq!(Some(&s.max), sorted.last(), "{count}");
        }
    }

    #[test]
    fn stats_select_and_sum() {
        let s = stats(&mut [Nanos(3), Nanos(1), Nanos(2)]);
        assert_eq!(
            (s.count, s.total, s.p50, s.p99, s.max),
            (3, Nanos(6), Nanos(2), Nanos(3), Nanos(3))
        );
        assert_eq!(stats(&mut []), Stats::default());
    }

    #[test]
    fn numbers_in_words() {
        assert_eq!(human(Nanos(999)).to_string(), "999 ns");
        assert_eq!(human(Nanos(410_000)).to_string(), "0.41 ms");
        assert_eq!(human(Nanos(14_502_000)).to_string(), "14.5 ms");
        assert_eq!(human(Nanos(1_213_000_000)).to_string(), "1.21 s");
        assert_eq!(thousands(1_234_567).to_string(), "1,234,567");
        assert_eq!(plural(1, "fsync").to_string(), "1 fsync");
        assert_eq!(plural_by(2, "process", "es").to_string(), "2 processes");
        assert_eq!(percent(Nanos(1), Nanos(3)).to_string(), "33 %");
        assert_eq!(size(64 << 20).to_string(), "64.0 MiB");
        assert_eq!(size(u64::MAX).to_string(), "17179869184.0 GiB");
        assert_eq!(human(Nanos(99_999)).to_string(), "100.0 us");
        assert_eq!(human(Nanos(999_995)).to_string(), "1.00 ms");
        assert_eq!(human(Nanos(1_995_000_000)).to_string(), "2.00 s");
        assert_eq!(human(Nanos::MAX).to_string(), "18446744073.71 s");
        assert_eq!(thousands(1_000_020).to_string(), "1,000,020");
        assert_eq!(percent(Nanos::MAX, Nanos(1)).to_string(), "1844674407370955161500 %");
    }
}
