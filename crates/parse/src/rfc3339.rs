//! RFC 3339 date and time to nanoseconds since 1970, UTC.

use crate::units::Nanos;

/// Reads `2026-11-23T09:47:18.25Z`, or with an offset such as `+02:00`. A fraction
/// finer than nanoseconds is cut. `None` for anything else, and before 1970.
pub(crate) fn parse(text: &str) -> Option<Nanos> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    byte(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    byte(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    byte(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    byte(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    byte(&mut rest, b":")?;
    let second = digits(&mut rest, 2)?;
    let nanos = fraction(&mut rest)?;
    let offset = offset(&mut rest)?;
    let in_range = (1970..=2500).contains(&year)
        && (1..=12).contains(&month)
        && (1..=month_length(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // 60 is a leap second; POSIX time has it as the second after.
        && second <= 60;
    if !in_range || !rest.is_empty() {
        return None;
    }
    // All parts are small: no sum below comes near the limits.
    let days = days_before(year, month) + day - 1;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    let seconds = u64::try_from(seconds).ok()?;
    Some(Nanos(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?))
}

fn byte(rest: &mut &[u8], any: &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    any.contains(first).then_some(*first)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    head.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

/// Nanoseconds of `.25`; 0 where there is no fraction.
fn fraction(rest: &mut &[u8]) -> Option<u64> {
    let Some(tail) = rest.strip_prefix(b".") else { return Some(0) };
    let count = tail.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, tail) = tail.split_at_checked(count)?;
    *rest = tail;
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    (count > 0).then(|| padded.fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// Seconds east of UTC.
fn offset(rest: &mut &[u8]) -> Option<i64> {
    let sign = match byte(rest, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let hours = digits(rest, 2)?;
    byte(rest, b":")?;
    let minutes = digits(rest, 2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of the month.
fn days_before(year: i64, month: i64) -> i64 {
    let years: i64 = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum();
    years + (1..month).map(|m| month_length(year, m)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_times() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-23T09:47:18.25Z", 1_795_427_238_250_000_000),
            ("2026-11-23T11:47:18.25+02:00", 1_795_427_238_250_000_000),
            ("2026-11-23t04:17:18.250000000-05:30", 1_795_427_238_250_000_000),
            ("2024-02-29T23:59:60Z", 1_709_251_200_000_000_000),
            ("2000-03-01 00:00:00.000000001999z", 951_868_800_000_000_001),
        ] {
            assert_eq!(parse(text), Some(Nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T09:47:18",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T09:47:18.Z",
            "2026-11-23T09:47:18Zx",
            "2026-11-23T09:47:18+0200",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-01-01T00:00:00Z",
            "２026-11-23T09:47:18Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
