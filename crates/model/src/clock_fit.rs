//! Pairs of readings of two clocks to the line that takes one to the other.

use agenttrace_parse::Nanos;

/// Clocks that count nanoseconds differ by less than this: NTP slews by at most 500
/// ppm, and hardware is off by less. More is a clock that was set, or noise.
const MOST_DRIFT_PPM: i128 = 1000;
/// What a clock may drift beyond what was measured, parts per million.
const UNMEASURED_PPM: u64 = 500;
/// Slopes between pairs are looked at for this many readings.
const SAMPLES: usize = 101;
/// Fraction bits of those slopes.
const BITS: u32 = 40;

/// `y = y0 + (x - x0) * num / den`, in integers: off by at most 1 ns, half of it from
/// the rounded centre and half from the rounded result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fit {
    x0: i128,
    y0: i128,
    num: i128,
    den: i128,
    /// The readings that the line goes by lie within.
    within: (u64, u64),
    /// The largest distance of one of them from the line.
    pub(crate) residual: u64,
    /// How many they are.
    pub(crate) used: usize,
    /// Readings too far from the others.
    pub(crate) left_out: usize,
    /// Whether the rate was measured.
    pub(crate) linear: bool,
    /// The difference between the clocks changed by more than drift can.
    pub(crate) jumped: bool,
}

/// What is known of the rate of two clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rate {
    /// Both count nanoseconds.
    Nanoseconds,
    /// One may count something else (ftrace's `counter`, `x86-tsc`).
    Any,
}

impl Fit {
    /// The same clock.
    pub(crate) const SAME: Self = Self {
        x0: 0,
        y0: 0,
        num: 1,
        den: 1,
        within: (0, u64::MAX),
        residual: 0,
        used: 0,
        left_out: 0,
        linear: false,
        jumped: false,
    };

    /// A constant difference.
    pub(crate) fn offset(ns: i64) -> Self {
        Self { y0: i128::from(ns), ..Self::SAME }
    }

    /// The line through readings (x, y). Those further than `noise`, and than four
    /// times the median distance, from the line of most are left out.
    pub(crate) fn new(pairs: &[(u64, u64)], noise: u64, rate: Rate) -> Option<Self> {
        let mut pairs = pairs.to_vec();
        pairs.sort_unstable();
        pairs.dedup();
        let (cx, cy) = pairs.get(pairs.len() / 2).map(|(x, y)| (i128::from(*x), i128::from(*y)))?;
        let near: Vec<(i128, i128)> =
            pairs.iter().map(|(x, y)| (i128::from(*x) - cx, i128::from(*y) - cy)).collect();
        let one = 1_i128 << BITS;
        let slope = middle_slope(&near);
        let off = slope.map_or(0, |slope| (slope - one).abs());
        let drifts = off <= one * MOST_DRIFT_PPM / 1_000_000;
        // Another unit is far from 1; in between lie noise and clocks that were set.
        let linear = slope.is_some() && (drifts || (rate == Rate::Any && off > one / 10));
        let slope = slope.filter(|_| linear).unwrap_or(one);
        let line = |dx: i128| dx.checked_mul(slope).map(|y| y >> BITS);
        let shifts: Vec<Option<i128>> =
            near.iter().map(|(dx, dy)| line(*dx).map(|y| dy - y)).collect();
        let shift = median(shifts.iter().copied().flatten())?;
        let distance = |s: &Option<i128>| s.map_or(i128::MAX, |s| (s - shift).abs());
        let limit = median(shifts.iter().map(distance))?.saturating_mul(4).max(noise.into());
        let kept: Vec<(i128, i128)> = near
            .iter()
            .zip(&shifts)
            .filter(|(_, s)| distance(s) <= limit)
            .map(|(pair, _)| *pair)
            .collect();
        let squares = if linear { least_squares(&kept) } else { None };
        let (mx, my, num, den) = squares.unwrap_or((0, shift, slope, one));
        let ends = kept.iter().map(|(dx, _)| u64::try_from(cx + dx).unwrap_or(u64::MAX));
        let mut fit = Self {
            x0: cx + mx,
            y0: cy + my,
            num,
            den,
            within: (ends.clone().min()?, ends.max()?),
            residual: 0,
            used: kept.len(),
            left_out: near.len() - kept.len(),
            linear,
            jumped: !linear && !drifts,
        };
        fit.residual = kept
            .iter()
            .map(|(dx, dy)| {
                let y = fit.line(cx + dx).unwrap_or(i128::MAX);
                u64::try_from((cy + dy).saturating_sub(y).unsigned_abs()).unwrap_or(u64::MAX)
            })
            .max()?;
        Some(fit)
    }

    fn line(&self, x: i128) -> Option<i128> {
        let scaled = (x - self.x0).checked_mul(self.num)?;
        let half = self.den / 2;
        Some(self.y0 + scaled.checked_add(half)?.div_euclid(self.den))
    }

    /// A time of the one clock on the other; held within what a time can be.
    pub(crate) fn apply(&self, time: Nanos) -> Nanos {
        let y = self.line(time.0.into()).unwrap_or(i128::MAX);
        Nanos(u64::try_from(y.max(0)).unwrap_or(u64::MAX))
    }

    /// How much further a time outside of the readings may be off: by the noise of
    /// the measured rate, or by drift that was not measured.
    pub(crate) fn beyond(&self, time: Nanos, noise: u64, alike: bool) -> u64 {
        let (first, last) = self.within;
        let away = first.saturating_sub(time.0).max(time.0.saturating_sub(last));
        let base = last - first;
        let part = if self.linear && base > 0 {
            u128::from(away) * u128::from(noise.max(self.residual)) / u128::from(base)
        } else if alike {
            0
        } else {
            u128::from(away) * u128::from(UNMEASURED_PPM) / 1_000_000
        };
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// How much faster the second clock is, in parts per billion.
    pub(crate) fn drift_ppb(&self) -> i128 {
        let scaled = (self.num - self.den).saturating_mul(1_000_000_000);
        scaled.saturating_add(self.den / 2).div_euclid(self.den)
    }
}

fn median(values: impl Iterator<Item = i128>) -> Option<i128> {
    let mut values: Vec<i128> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The median slope between pairs (Theil and Sen): up to a third of wrong readings
/// do not move it far. `None` where all were taken at one time.
fn middle_slope(near: &[(i128, i128)]) -> Option<i128> {
    let step = near.len().div_ceil(SAMPLES).max(1);
    let mut some: Vec<(i128, i128)> = near.iter().copied().step_by(step).collect();
    some.extend(near.last().filter(|last| some.last() != Some(last)));
    let mut slopes = Vec::new();
    for (i, (ax, ay)) in some.iter().enumerate() {
        for (bx, by) in some.iter().skip(i + 1).filter(|(bx, _)| bx != ax) {
            slopes.push(((by - ay) << BITS) / (bx - ax));
        }
    }
    median(slopes.into_iter())
}

/// Centre and slope of the line with the least squares; the slope's two parts are cut
/// to 62 bits, which moves a time by less than 1 ns in a year.
fn least_squares(kept: &[(i128, i128)]) -> Option<(i128, i128, i128, i128)> {
    let n = i128::try_from(kept.len()).ok().filter(|n| *n >= 2)?;
    let mean = |sum: i128| (sum + n / 2).div_euclid(n);
    let mx = mean(kept.iter().map(|p| p.0).sum());
    let my = mean(kept.iter().map(|p| p.1).sum());
    let (mut xx, mut xy) = (0_i128, 0_i128);
    for (x, y) in kept {
        xx = xx.checked_add((x - mx).checked_mul(x - mx)?)?;
        xy = xy.checked_add((x - mx).checked_mul(y - my)?)?;
    }
    let bits = 128 - xx.leading_zeros();
    let cut = bits.saturating_sub(62);
    let (num, den) = (xy >> cut, xx >> cut);
    (den > 0).then_some((mx, my, num, den))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn fit(pairs: &[(u64, u64)]) -> Fit {
        Fit::new(pairs, 1000, Rate::Nanoseconds).expect("readings")
    }

    #[test]
    fn one_reading_gives_an_offset() {
        let fit = fit(&[(1_700_000_000_000_000_123, 5_000)]);
        assert_eq!(fit.apply(Nanos(1_700_000_000_000_000_123 + 77)), Nanos(5_077));
        assert_eq!((fit.linear, fit.used, fit.residual), (false, 1, 0));
        // A second later, 500 ppm; for clocks that tick alike nothing.
        let later = Nanos(1_700_000_001_000_000_123);
        assert_eq!(fit.beyond(later, 1000, false), 500_000);
        assert_eq!(fit.beyond(later, 1000, true), 0);
        // Before its origin there is no time.
        assert_eq!(fit.apply(Nanos(0)), Nanos(0));
    }

    #[test]
    fn two_readings_give_the_drift_to_the_nanosecond() {
        // The second clock gains 36 us in an hour: 10 parts in a billion.
        let start = 1_764_000_000_000_000_000;
        let fit = fit(&[(start, 100), (start + HOUR, 100 + HOUR + 36_000)]);
        assert_eq!(fit.drift_ppb(), 10);
        for (at, want) in
            [(0, 100), (HOUR / 4, 100 + HOUR / 4 + 9_000), (HOUR, 100 + HOUR + 36_000)]
        {
            let got = fit.apply(Nanos(start + at));
            assert!(got.0.abs_diff(want) <= 1, "{at}: {got} and not {want}");
        }
        assert!(fit.residual <= 1, "{}", fit.residual);
        // As far beyond the readings as they are apart: their noise once more.
        assert_eq!(fit.beyond(Nanos(start + 2 * HOUR), 1000, false), 1000);
    }

    #[test]
    fn a_clock_that_was_set_is_no_drift() {
        let fit = fit(&[(1_000_000, 1_000_000), (2_000_000_000, 2_500_000_000)]);
        assert!(fit.jumped && !fit.linear);
        assert_eq!(fit.residual, 500_000_000);
    }

    #[test]
    fn outliers_are_left_out() {
        let mut pairs: Vec<(u64, u64)> = (1..=20)
            .map(|i| (i * 1_000_000_000, 7_000 + i * 1_000_020_000 + i % 3 * 100))
            .collect();
        pairs[4].1 += 30_000_000;
        pairs[11].1 += 9_000_000;
        let fit = fit(&pairs);
        assert_eq!((fit.left_out, fit.used), (2, 18));
        assert!(fit.residual <= 150, "{}", fit.residual);
        assert!((fit.drift_ppb() - 20_000).abs() < 20, "{}", fit.drift_ppb());
    }

    #[test]
    fn a_counter_needs_two_readings_and_any_rate() {
        // A tick each 4 ms.
        let pairs = [(8_000_000_000, 2_000), (16_000_000_000, 4_000)];
        let fit = Fit::new(&pairs, 1, Rate::Any).expect("readings");
        assert_eq!(fit.apply(Nanos(12_000_000_000)), Nanos(3_000));
        // Between clocks of nanoseconds, it can be only a wrong reading.
        assert!(Fit::new(&pairs, 1, Rate::Nanoseconds).expect("readings").jumped);
    }

    #[test]
    fn hostile_readings() {
        assert_eq!(Fit::new(&[], 1, Rate::Any), None);
        let most = u64::MAX;
        for pairs in [
            vec![(0, most), (most, 0)],
            vec![(0, 0), (1, most), (most, 1)],
            vec![(5, 1), (5, most)],
            vec![(0, 0), (most, most), (1, 1)],
        ] {
            for rate in [Rate::Any, Rate::Nanoseconds] {
                let fit = Fit::new(&pairs, 1, rate).expect("readings");
                for time in [0, 1, 5, most] {
                    let _ = (fit.apply(Nanos(time)), fit.beyond(Nanos(time), most, false));
                }
            }
        }
    }
}
