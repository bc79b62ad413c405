//! Searches that go on from where the last one ended.

/// This many places are looked at one by one first.
const STEPS: usize = 16;

/// The first place from `from` on, up to `len`, of which this does not hold; it holds of all
/// before, and of none after. Looked for one by one, then in leaps that double: it is seldom far.
#[must_use]
#[inline]
pub fn first_not(from: usize, len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let near = from.saturating_add(STEPS).min(len);
    if let Some(found) = (from..near).find(|i| !holds(*i)) {
        return found;
    }
    let (mut low, mut leap) = (near, STEPS);
    while low < len && holds(low.saturating_add(leap).min(len - 1)) {
        low = low.saturating_add(leap).saturating_add(1).min(len);
        leap = leap.saturating_mul(2);
    }
    let mut high = low.saturating_add(leap).min(len);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_does_not_hold_is_found_near_and_far() {
        for len in [0, 1, 15, 16, 17, 18, 33, 34, 35, 200] {
            for from in 0..=len {
                for end in from..=len {
                    assert_eq!(first_not(from, len, |i| i < end), end, "{from} {len}");
                }
            }
        }
    }
}
