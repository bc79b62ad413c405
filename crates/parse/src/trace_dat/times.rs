//! Time stamps as the kernel wrote them to those that `trace-cmd report` shows.

/// How the time stamps of a file are mapped (`timestamp_calc` of
/// lib/trace-cmd/trace-input.c): a guest's to its host's, TSC cycles to nanoseconds,
/// then what the recorder was told to add.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// Whether to interpolate, and the samples of each CPU.
    pub(crate) shift: Option<(bool, Vec<Samples>)>,
    /// Multiplier and shift, from cycles to nanoseconds.
    pub(crate) tsc: Option<(u32, u32)>,
    offset: i64,
    /// Whether the offset leads to the time of day (`trace-cmd record --date`).
    pub(crate) dated: bool,
}

/// Comparisons of a guest's clock with its host's, of one CPU, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples(Vec<Sample>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    time: u64,
    offset: i64,
    scaling: u64,
    fraction: u32,
}

impl Samples {
    pub(crate) fn push(&mut self, time: u64, offset: i64, scaling: u64) {
        self.0.push(Sample { time, offset, scaling, fraction: 0 });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn set_fraction(&mut self, row: usize, fraction: u64) {
        if let Some(sample) = self.0.get_mut(row) {
            sample.fraction = u32::try_from(fraction).unwrap_or(u32::MAX);
        }
    }

    /// By time; of those with equal times the first stays.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|sample| sample.time);
        self.0.dedup_by_key(|sample| sample.time);
    }

    /// `timestamp_host_sync`.
    fn apply(&self, interpolate: bool, time: u64) -> u64 {
        let [first, .., _] = self.0.as_slice() else {
            let only = self.0.first().map_or(0, |sample| sample.offset);
            return time.wrapping_add_signed(only);
        };
        let after = self.0.partition_point(|sample| sample.time <= time);
        let last_pair = self.0.len().saturating_sub(2);
        let at = after.saturating_sub(1).min(last_pair);
        let a = self.0.get(at).unwrap_or(first);
        let b = self.0.get(at.saturating_add(1)).unwrap_or(first);
        let mut offset = i128::from(a.offset);
        if interpolate && b.time > a.time {
            let delta = i128::from(b.time.wrapping_sub(a.time) as i64);
            let run = i128::from(time.wrapping_sub(a.time) as i64);
            let rise = i128::from(b.offset).wrapping_sub(a.offset.into());
            // As in C, the division rounds towards zero.
            let scaled = run.wrapping_mul(rise).wrapping_add(delta / 2);
            offset = offset.wrapping_add(scaled.checked_div(delta).unwrap_or(0));
        }
        let scaled = u128::from(time).wrapping_mul(a.scaling.into());
        let scaled = scaled.checked_shr(a.fraction).unwrap_or(0) as u64;
        scaled.wrapping_add(offset as u64)
    }
}

impl Times {
    /// Adds to what the recorder was told to add.
    pub(crate) fn add(&mut self, offset: i64) {
        self.offset = self.offset.wrapping_add(offset);
    }

    /// What is added to each time, in nanoseconds.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// Whether the times are those of the clock that the kernel used.
    pub(crate) fn plain(&self) -> bool {
        self.shift.is_none() && self.tsc.is_none() && self.offset == 0
    }

    /// The time to show of a time stamp that a CPU wrote.
    #[inline]
    pub(crate) fn apply(&self, cpu: u32, time: u64) -> u64 {
        if self.plain() { time } else { self.map(cpu, time) }
    }

    fn map(&self, cpu: u32, mut time: u64) -> u64 {
        if let Some((interpolate, cpus)) = &self.shift
            && let Some(samples) = cpus.get(cpu as usize)
        {
            time = samples.apply(*interpolate, time);
        }
        if let Some((mult, shift)) = self.tsc {
            let scaled = u128::from(time).wrapping_mul(mult.into());
            time = scaled.checked_shr(shift).unwrap_or(0) as u64;
        }
        time.wrapping_add_signed(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_then_offset() {
        let mut times = Times { tsc: Some((3, 1)), ..Times::default() };
        times.add(-5);
        assert_eq!(times.apply(0, 100), 145);
        // A product that does not fit into 64 bits.
        assert_eq!(times.apply(0, 1 << 62), (1 << 61) + (1 << 62) - 5);
        assert_eq!(Times::default().apply(7, 3), 3);
    }

    #[test]
    fn a_guest_between_two_samples() {
        let mut samples = Samples::default();
        samples.push(2000, 300, 1);
        samples.push(1000, 100, 1);
        samples.sort();
        // Half way: 100 + 200 / 2.
        assert_eq!(samples.apply(true, 1500), 1700);
        assert_eq!(samples.apply(false, 1500), 1600);
        // Outside, the nearest pair goes on.
        // Before the first -99.5, which C rounds to -99.
        assert_eq!(samples.apply(true, 500), 501);
        assert_eq!(samples.apply(true, 2500), 2900);
        let mut one = Samples::default();
        one.push(1000, -7, 1);
        assert_eq!(one.apply(true, 1500), 1493);
        assert_eq!(Samples::default().apply(true, 9), 9);
    }
}
