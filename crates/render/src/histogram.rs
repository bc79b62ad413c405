//! Durations in power-of-two buckets to text bars as `bpftrace` prints them, and to an SVG.

mod picture;

pub use picture::svg;

use agenttrace_attribute::report::Histogram;
use agenttrace_attribute::stats::apportion;

use crate::duration::{human, thousands};
use crate::escape::pad_left;
use crate::style::{Ink, Style};

/// Labels stay short: `[512, 1K)`, `[1M, 2M)` microseconds.
pub(crate) fn edge(us: u64) -> String {
    match us {
        0..1024 => us.to_string(),
        1024..1_048_576 => format!("{}K", us >> 10),
        1_048_576..1_073_741_824 => format!("{}M", us >> 20),
        _ => format!("{}G", us >> 30),
    }
}

/// The microseconds at which bucket `n` begins and ends.
pub(crate) fn bounds(n: usize) -> (u64, u64) {
    let at = |bit: usize| 1_u64.checked_shl(u32::try_from(bit).unwrap_or(63)).unwrap_or(1 << 63);
    if n == 0 { (0, 1) } else { (at(n - 1), at(n)) }
}

/// The buckets from the first to the last that hold something.
pub(crate) fn occupied(hist: &Histogram) -> Vec<(usize, u64)> {
    let Some(buckets) = &hist.buckets else {
        return Vec::new();
    };
    let first = buckets.iter().position(|n| *n > 0);
    let last = buckets.iter().rposition(|n| *n > 0);
    match (first, last) {
        (Some(first), Some(last)) => {
            (first..).zip(&buckets[first..=last]).map(|(i, n)| (i, *n)).collect()
        }
        _ => Vec::new(),
    }
}

/// What all values together were.
pub(crate) fn summary(hist: &Histogram) -> String {
    format!(
        "n {}   p50 {}   p99 {}   max {}",
        thousands(hist.count),
        human(hist.p50),
        human(hist.p99),
        human(hist.max)
    )
}

/// A mark for each class in text bars, the first also without classes.
fn marks(hist: &Histogram) -> impl Iterator<Item = char> {
    ['@', '#', '=', '+', '-', '.', '?'].into_iter().take(hist.classes.len().max(1))
}

/// A bar's length, shared out over the classes of its values; whole where there are none.
fn parts(hist: &Histogram, bucket: usize, length: usize) -> Vec<usize> {
    if hist.classes.is_empty() {
        return vec![length];
    }
    let counts: Vec<u64> =
        hist.classes.iter().map(|c| c.buckets.get(bucket).copied().unwrap_or(0)).collect();
    let shares = apportion(&counts, length as u64);
    shares.into_iter().map(|n| usize::try_from(n).unwrap_or(0)).collect()
}

/// The histogram as text bars; ends with a newline.
#[must_use]
pub fn text(hist: &Histogram, style: &Style) -> String {
    let title = style.ink(Ink::Strong, hist.mechanism.title());
    if hist.buckets.is_none() {
        return format!(" {title}: not captured\n");
    }
    let rows = occupied(hist);
    if rows.is_empty() {
        return format!(" {title}: none\n");
    }
    let mut out = format!(" {title}, in microseconds\n   {}\n", summary(hist));
    for (class, mark) in hist.classes.iter().zip(marks(hist)) {
        out.push_str(&format!(
            "   {mark} {:<21} n {}   p50 {}   p99 {}   max {}\n",
            class.name,
            thousands(class.count),
            human(class.p50),
            human(class.p99),
            human(class.max)
        ));
    }
    let most = rows.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let count_w = rows.iter().map(|(_, n)| thousands(*n).len()).max().unwrap_or(0);
    let bar_w = style.columns().saturating_sub(2 + 14 + 1 + count_w + 4).min(52);
    for (bucket, n) in rows {
        let (from, to) = bounds(bucket);
        let label = format!("[{}, {})", edge(from), edge(to));
        let length = (u128::from(n) * bar_w as u128).div_ceil(u128::from(most));
        let length = usize::try_from(length).unwrap_or(bar_w).min(bar_w);
        let bar: String = parts(hist, bucket, length)
            .into_iter()
            .zip(marks(hist))
            .map(|(length, mark)| mark.to_string().repeat(length))
            .collect();
        let bar = style.ink(Ink::Bar, &format!("{bar:bar_w$}"));
        out.push_str(&format!("   {label:<14} {} |{bar}|\n", pad_left(&thousands(n), count_w)));
    }
    out
}
