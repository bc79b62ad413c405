//! One line of a text to who wrote it, where, when, and the rest.

use nom::Parser as _;
use nom::bytes::complete::{take_till1, take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, space0, space1};
use nom::combinator::{opt, verify};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, error::Error as NomError};

/// What a parser of bytes gives.
pub(super) type Step<'a, T> = IResult<&'a [u8], T, NomError<&'a [u8]>>;

/// What stands between a task's name and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// `comm-tid`: tracefs and trace-cmd (`trace_print_context`, kernel/trace/trace_output.c;
    /// `tep_print_event`, libtraceevent).
    Dash,
    /// `comm tid` or `comm pid/tid`: `perf script` (`perf_sample__fprintf_start`,
    /// tools/perf/builtin-script.c).
    Space,
}

/// Everything of a line before its event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head<'a> {
    /// As shown; empty where there is none.
    pub(super) comm: &'a [u8],
    /// The process, where the line tells.
    pub(super) pid: Option<i32>,
    pub(super) tid: i32,
    pub(super) cpu: u32,
    /// The letters of the context, where there is such a column.
    pub(super) flags: Option<&'a [u8]>,
    /// In nanoseconds; as it stands there where the clock counts no seconds.
    pub(super) time: u64,
    /// Digits after the dot; 0 for a time without.
    pub(super) digits: u8,
    /// From the event's name on.
    pub(super) rest: &'a [u8],
}

/// The column that a name is padded to, everywhere.
const COMM_WIDTH: usize = 16;
/// No head is longer: a buffer's name, a task's, numbers.
const LONGEST_HEAD: usize = 256;

/// Reads a line's head. A name may hold anything that the grammar does, so the
/// CPU's bracket that is followed by a time and preceded by a number decides.
#[inline]
pub(super) fn head(line: &[u8], style: Style) -> Option<Head<'_>> {
    let within = line.get(..LONGEST_HEAD).unwrap_or(line);
    // Most names are padded: what is before that column is the name's.
    let start = match (style, line.get(COMM_WIDTH)) {
        (Style::Dash, Some(b'-')) | (Style::Space, Some(b' ')) => COMM_WIDTH,
        _ => 0,
    };
    brackets(line, within, start, style).or_else(|| match start {
        0 => None,
        _ => brackets(line, within, 0, style),
    })
}

fn brackets<'a>(line: &'a [u8], within: &[u8], mut from: usize, style: Style) -> Option<Head<'a>> {
    loop {
        let at = memchr::memchr(b'[', within.get(from..)?)?.checked_add(from)?;
        from = at.checked_add(1)?;
        if let Some(head) = at_bracket(line, at, style) {
            return Some(head);
        }
    }
}

#[inline]
fn at_bracket(line: &[u8], at: usize, style: Style) -> Option<Head<'_>> {
    let (before, after) = line.split_at_checked(at)?;
    let (rest, (cpu, flags, (time, digits))) = place_and_time(after).ok()?;
    let (comm, pid, tid) = task(before, style)?;
    Some(Head { comm, pid, tid, cpu, flags, time, digits, rest })
}

/// CPU, letters of the context, time and its digits.
type Place<'a> = (u32, Option<&'a [u8]>, (u64, u8));

/// `[001] d..2.  1618.747724: `
#[inline]
fn place_and_time(input: &[u8]) -> Step<'_, Place<'_>> {
    let (input, cpu) = delimited(char('['), number, char(']')).parse(input)?;
    let cpu = u32::try_from(cpu).map_err(|_| failed(input))?;
    let (input, _) = space1(input)?;
    // The time ends in a colon, the flags never do.
    let (input, flags) = opt(terminated(flags, space1)).parse(input)?;
    let (input, time) = time(input)?;
    let (input, _) = space0(input)?;
    let (input, _) = opt(preceded(difference, space0)).parse(input)?;
    Ok((input, (cpu, flags, time)))
}

/// The context column has four letters up to Linux 5.15, then five.
fn flags(input: &[u8]) -> Step<'_, &[u8]> {
    verify(take_till1(|b| b == b' ' || b == b':'), |word: &[u8]| {
        (4..=6).contains(&word.len())
            && word.iter().all(|b| b.is_ascii_hexdigit() || b".XNnpPLlHhSsZz#".contains(b))
            && !word.iter().all(u8::is_ascii_digit)
    })
    .parse(input)
}

/// `1618.747724:` and `42:`, as nanoseconds and digits after the dot.
#[inline]
fn time(input: &[u8]) -> Step<'_, (u64, u8)> {
    let (input, whole) = number(input)?;
    if let Some(input) = input.strip_prefix(b":") {
        return Ok((input, (whole, 0)));
    }
    let (input, _) = char('.').parse(input)?;
    let (rest, digits) = take_while_m_n(1, 9, |b: u8| b.is_ascii_digit()).parse(input)?;
    let (_, mut fraction) = number(digits)?;
    for _ in digits.len()..9 {
        fraction = fraction.saturating_mul(10);
    }
    let (rest, _) = char(':').parse(rest)?;
    let time = whole.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(fraction));
    // At most nine digits were taken.
    Ok((rest, (time.ok_or_else(|| failed(input))?, digits.len() as u8)))
}

/// `(+57)`, of `--ts-diff`.
fn difference(input: &[u8]) -> Step<'_, &[u8]> {
    delimited((char('('), char('+')), take_while1(|b: u8| b.is_ascii_digit()), char(')'))
        .parse(input)
}

#[inline]
pub(super) fn number(input: &[u8]) -> Step<'_, u64> {
    let (rest, digits) = take_while(|b: u8| b.is_ascii_digit()).parse(input)?;
    match decimal(digits) {
        Some(value) => Ok((rest, value)),
        None => Err(failed(input)),
    }
}

/// Digits and nothing else.
#[inline]
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for digit in digits {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    (!digits.is_empty()).then_some(value)
}

pub(super) fn failed(input: &[u8]) -> nom::Err<NomError<&[u8]>> {
    nom::Err::Error(NomError::new(input, nom::error::ErrorKind::Digit))
}

/// What stands before the CPU: name, thread, process; from the right, as only the
/// name can hold anything.
#[inline]
fn task(before: &[u8], style: Style) -> Option<(&[u8], Option<i32>, i32)> {
    let before = before.trim_ascii_end();
    let (before, tgid) = match (style, before.strip_suffix(b")")) {
        (Style::Dash, Some(inside)) => {
            let open = memchr::memrchr(b'(', inside)?;
            // `(-------)` where the process was not saved.
            let tgid = id(inside.get(open.checked_add(1)?..)?.trim_ascii_start());
            (inside.get(..open)?.trim_ascii_end(), tgid)
        }
        _ => (before, None),
    };
    let (before, tid) = last_number(before, style)?;
    match style {
        Style::Dash => {
            let before = before.strip_suffix(b"-")?;
            // A named buffer stands before the padded name.
            let start = before.len().saturating_sub(COMM_WIDTH);
            Some((before.get(start..)?.trim_ascii_start(), tgid, tid))
        }
        Style::Space => {
            let (before, pid) = match before.strip_suffix(b"/") {
                Some(before) => {
                    let (before, pid) = last_number(before, style)?;
                    (before, Some(pid))
                }
                None => (before, None),
            };
            let comm = before.strip_suffix(b" ")?.trim_ascii();
            Some((comm, pid, tid))
        }
    }
}

#[inline]
fn last_number(text: &[u8], style: Style) -> Option<(&[u8], i32)> {
    let digits = text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = text.split_at_checked(text.len().checked_sub(digits)?)?;
    // perf writes -1 for a task that has exited.
    if style == Style::Space
        && digits == b"1"
        && let Some(gone) = before.strip_suffix(b"-")
    {
        return Some((gone, -1));
    }
    Some((before, id(digits)?))
}

/// The number of a task.
pub(super) fn id(digits: &[u8]) -> Option<i32> {
    i32::try_from(decimal(digits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &str, style: Style) -> String {
        let Some(h) = head(line.as_bytes(), style) else { return "-".to_owned() };
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        format!(
            "{}|{:?}|{}|{}|{}|{}|{}|{}",
            text(h.comm),
            h.pid,
            h.tid,
            h.cpu,
            h.flags.map_or_else(|| "none".to_owned(), text),
            h.time,
            h.digits,
            text(h.rest)
        )
    }

    #[test]
    fn heads_of_every_kind() {
        use Style::{Dash, Space};
        for (line, style, expected) in [
            (
                "     my - odd> n-5180    [001] ...1.  1524.005748: a: b",
                Dash,
                "my - odd> n|None|5180|1|...1.|1524005748000|6|a: b",
            ),
            (
                "          <idle>-0       (-------) [001] dNh2.  1618.747724: a: b",
                Dash,
                "<idle>|None|0|1|dNh2.|1618747724000|6|a: b",
            ),
            (
                "            work-6576    (   6570) [000] d.h.  1.000001: a:",
                Dash,
                "work|Some(6570)|6576|0|d.h.|1000001000|6|a:",
            ),
            (
                "            work-6576    [000]  1618.747724: a: [1] 2: c",
                Dash,
                "work|None|6576|0|none|1618747724000|6|a: [1] 2: c",
            ),
            ("work-7 [128] 42: a: b", Dash, "work|None|7|128|none|42|0|a: b"),
            (
                " a-1 [000] 1.2: -77    [001] .....  9.000000: a: b",
                Dash,
                "a-1 [000] 1.2: |None|77|1|.....|9000000000|6|a: b",
            ),
            (
                "build:             work-9763  [000]  2434.937152: (+12)   a:   b",
                Dash,
                "work|None|9763|0|none|2434937152000|6|a:   b",
            ),
            (
                "     my - odd> n  2958/2960  [001]  2307.244908742:   a:b: c",
                Space,
                "my - odd> n|Some(2958)|2960|1|none|2307244908742|9|a:b: c",
            ),
            (
                " thr:1-2 (a) [0] 26099/26228 [000]  1880.800269463: x: y",
                Space,
                "thr:1-2 (a) [0]|Some(26099)|26228|0|none|1880800269463|9|x: y",
            ),
            (
                "sleep  3048 [001]  2309.631966: x: y",
                Space,
                "sleep|None|3048|1|none|2309631966000|6|x: y",
            ),
            (
                "             :-1    -1/-1    [001]  2309.6: x: y",
                Space,
                ":-1|Some(-1)|-1|1|none|2309600000000|1|x: y",
            ),
            (
                "             :-1 25903/-1    [000]  2309.6: x: y",
                Space,
                ":-1|Some(25903)|-1|0|none|2309600000000|1|x: y",
            ),
            ("    work-4240      1..... 46211us : sys_exit: NR 1 = 2", Dash, "-"),
            ("work-7 [1] 18446744074.0: a: b", Dash, "-"),
            ("work-7 [1] 1.0123456789: a: b", Dash, "-"),
        ] {
            assert_eq!(show(line, style), expected, "{line}");
        }
    }
}
