//! Nanoseconds, bytes, counts and shares to the words a person reads; the only place that formats them.

use agenttrace_attribute::stats::apportion;
use agenttrace_model::parse::Nanos;

/// A duration with a unit that suits it: `0.4 us`, `14.5 ms`, `1.21 s`.
#[must_use]
pub(crate) fn human(ns: Nanos) -> String {
    let n = ns.0;
    match n {
        0..1_000 => format!("{n} ns"),
        1_000..100_000 => format!("{} us", fixed(n, 1_000, 1)),
        100_000..1_000_000 => format!("{} ms", fixed(n, 1_000_000, 2)),
        1_000_000..10_000_000_000 => format!("{} ms", fixed(n, 1_000_000, 1)),
        _ => format!("{} s", fixed(n, 1_000_000_000, 2)),
    }
}

/// Milliseconds with `digits` decimals and no unit, for columns.
#[must_use]
pub(crate) fn millis(ns: Nanos, digits: u32) -> String {
    fixed(ns.0, 1_000_000, digits)
}

/// Seconds with nine decimals: a moment on the capture's clock, as perf prints it.
#[must_use]
pub(crate) fn moment(ns: Nanos) -> String {
    format!("{}.{:09}", ns.0 / 1_000_000_000, ns.0 % 1_000_000_000)
}

/// `n / unit` with `digits` decimals, rounded half up, by integers alone.
#[must_use]
pub(crate) fn fixed(n: u64, unit: u64, digits: u32) -> String {
    let scale = 10_u128.pow(digits);
    let unit = u128::from(unit.max(1));
    let scaled = (u128::from(n) * scale + unit / 2) / unit;
    if digits == 0 {
        return scaled.to_string();
    }
    format!("{}.{:0width$}", scaled / scale, scaled % scale, width = digits as usize)
}

/// An integer with thousands separated: `14,820`.
#[must_use]
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A size in bytes: `512 B`, `64.0 MiB`.
#[must_use]
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    UNITS
        .iter()
        .find(|(_, unit)| n >= *unit)
        .map_or_else(|| format!("{n} B"), |(name, unit)| format!("{} {name}", fixed(n, *unit, 1)))
}

/// A count and its noun: `1 step`, `12 steps`.
#[must_use]
pub(crate) fn plural(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", thousands(n))
}

/// A share of 0 to 1 as per cent with one decimal: `71.7 %`.
#[must_use]
pub(crate) fn share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Per cent with one decimal for each part, adding up to 100.0.
#[must_use]
pub(crate) fn percents(parts: &[u64]) -> Vec<String> {
    apportion(parts, 1_000).into_iter().map(|tenths| fixed(tenths, 10, 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_suit_the_size() {
        let words = |n| human(Nanos(n));
        assert_eq!(words(0), "0 ns");
        assert_eq!(words(999), "999 ns");
        assert_eq!(words(1_250), "1.3 us");
        assert_eq!(words(410_000), "0.41 ms");
        assert_eq!(words(20_214_000), "20.2 ms");
        assert_eq!(words(12_345_678_901), "12.35 s");
        assert_eq!(millis(Nanos(14_502_499), 3), "14.502");
        assert_eq!(moment(Nanos(322_644_126_913)), "322.644126913");
        assert_eq!(thousands(14_820), "14,820");
        assert_eq!(thousands(999), "999");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes(100), "100 B");
        assert_eq!(human(Nanos(u64::MAX)), "18446744073.71 s");
    }

    #[test]
    fn columns_add_up() {
        assert_eq!(percents(&[1, 1, 1]), ["33.4", "33.3", "33.3"]);
        assert_eq!(percents(&[0, 0]), ["0.0", "0.0"]);
        assert_eq!(apportion(&[u64::MAX, u64::MAX], 7), [4, 3]);
        assert_eq!(apportion(&[], 5), Vec::<u64>::new());
    }
}
