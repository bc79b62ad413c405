//! How much of a large capture must be read: from a while before the first step that is asked for
//! to a while after the last.

use agenttrace_model::Beginning;
use agenttrace_model::parse::{CaptureInfo, MarkClock, Nanos, StepFile, StepMark, Tid};

use crate::args::CaptureArgs;
use crate::pipeline::step_id;

/// What a step began mostly ends within this time: waits, requests, the wakeups that tell
/// what they were for. What it depends on mostly began as little before it.
const SETTLE: Nanos = Nanos(500_000_000);

/// Less than this is read to the end. What a call costs is measured over all that is read, and
/// so is what is usual for a tool: a step then says the same alone as among all.
pub(crate) const WORTH: u64 = 256 << 20;

/// Which part of a capture is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needed {
    /// What is needed for tasks, their states and their fds alone.
    pub(crate) beginning: Option<Beginning>,
    /// What is after it is not needed.
    pub(crate) until: Option<Nanos>,
}

/// Which part is wanted: all, where nobody asked for a part, or where it cannot be told
/// beforehand, for times of steps are not on the capture's clock.
pub(crate) fn needed(
    file: &StepFile,
    info: &CaptureInfo,
    args: &CaptureArgs,
    asked: &[String],
) -> Needed {
    let same = match file.clock {
        MarkClock::Trace => true,
        MarkClock::Posix(clock) => info.clock.id == Some(clock),
    };
    if !same && args.clock_offset.is_none() {
        return Needed::default();
    }
    let wanted: Option<Vec<&StepMark>> = if asked.is_empty() {
        let (from, to) = (args.from.unwrap_or(0), args.to.unwrap_or(u64::MAX));
        let within = |step: &&StepMark| {
            step.start.is_none_or(|start| on_capture(start, args).0 < to)
                && step.end.is_none_or(|end| on_capture(end, args).0 > from)
        };
        Some(file.steps.iter().filter(within).collect())
    } else {
        let find = |id: &String| file.steps.iter().find(|step| step.id == step_id(id));
        asked.iter().map(find).collect()
    };
    let Some(wanted) = wanted else { return Needed::default() };
    // One without a start or an end may have any.
    let starts: Option<Vec<Nanos>> = wanted.iter().map(|step| step.start).collect();
    let ends: Option<Vec<Nanos>> = wanted.iter().map(|step| step.end).collect();
    let first = starts.and_then(|starts| starts.into_iter().min());
    let last = ends.and_then(|ends| ends.into_iter().max());
    let bounded = |bound: Option<u64>| !asked.is_empty() || bound.is_some();
    let first = first.filter(|_| bounded(args.from));
    Needed {
        beginning: first.map(|first| beginning(file, args, on_capture(first, args) - SETTLE)),
        until: last.filter(|_| bounded(args.to)).map(|time| on_capture(time, args) + SETTLE),
    }
}

/// What comes before a time.
fn beginning(file: &StepFile, args: &CaptureArgs, before: Nanos) -> Beginning {
    let goes_on = |step: &&StepMark| step.end.is_none_or(|end| on_capture(end, args) > before);
    let start = |step: &StepMark| step.start.map_or(Nanos::ZERO, |start| on_capture(start, args));
    let steps_since = file.steps.iter().filter(goes_on).map(start).min();
    // Ids of a container are not those of the capture: all calls are kept.
    let steps_since = steps_since.filter(|_| args.pid_map.is_none()).unwrap_or_default();
    let root = |step: &StepMark| step.tid.or(step.pid.map(|pid| Tid(pid.0)));
    Beginning { before, steps_since, roots: file.steps.iter().filter_map(root).collect() }
}

/// A time of marks that are on the capture's clock, but for an offset by hand.
pub(crate) fn on_capture(time: Nanos, args: &CaptureArgs) -> Nanos {
    Nanos(time.0.saturating_add_signed(args.clock_offset.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::{Clock, ClockId, read_steps};
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    const S: u64 = 1_000_000_000;

    const STEPS: &str = r#"{"schema":"agenttrace.steps/1","clock":"monotonic"}
{"step_id":1,"tool":"a","pid":7,"tid":7,"start_ns":1000000000,"end_ns":2000000000}
{"step_id":"two","tool":"a","pid":7,"tid":7,"start_ns":3000000000,"end_ns":9000000000}
{"step_id":3,"tool":"a","pid":7,"tid":7,"start_ns":5000000000,"end_ns":6000000000}
{"step_id":4,"ev":"begin","tool":"a","pid":7,"tid":7,"ts_ns":20000000000}
"#;

    /// Without what is left for waits to end.
    fn part(clock: ClockId, asked: &[&str], options: &[&str]) -> (Option<u64>, Option<u64>) {
        let Needed { beginning, until } = wanted(clock, asked, options);
        (
            beginning.map(|beginning| (beginning.before + SETTLE).0),
            until.map(|until| (until - SETTLE).0),
        )
    }

    fn wanted(clock: ClockId, asked: &[&str], options: &[&str]) -> Needed {
        let line = ["agenttrace", "analyze", "x"].iter().chain(options);
        let Command::Analyze(args) = Cli::parse_from(line).command else { panic!("analyze") };
        let asked: Vec<String> = asked.iter().map(|id| (*id).to_owned()).collect();
        let clock = Clock { id: Some(clock), wall: None };
        let info = CaptureInfo { clock, ..CaptureInfo::default() };
        let file = read_steps(STEPS.as_bytes());
        needed(&file, &info, &args.capture, &asked)
    }

    #[test]
    fn the_steps_that_are_asked_for_bound_it() {
        let part = |asked: &[&str], options: &[&str]| part(ClockId::Monotonic, asked, options);
        assert_eq!(part(&["1"], &[]), (Some(S), Some(2 * S)));
        assert_eq!(part(&["3", "two"], &[]), (Some(3 * S), Some(9 * S)));
        assert_eq!(
            part(&["two"], &["--clock-offset", "-500"]),
            (Some(3 * S - 500), Some(9 * S - 500))
        );
        // The second is not over when the third is, and began before it.
        assert_eq!(part(&[], &["--to", "5000000001"]), (None, Some(9 * S)));
        assert_eq!(part(&[], &["--to", "3000000000"]), (None, Some(2 * S)));
        assert_eq!(
            part(&[], &["--from", "5500000000", "--to", "6000000000"]),
            (Some(3 * S), Some(9 * S))
        );
        assert_eq!(part(&[], &["--from", "9000000000", "--to", "9500000000"]), (None, None));
    }

    #[test]
    fn what_cannot_be_told_beforehand_is_read_whole() {
        let same = |asked: &[&str], options: &[&str]| part(ClockId::Monotonic, asked, options);
        assert_eq!(same(&[], &[]), (None, None), "nobody asked for a part");
        assert_eq!(same(&["9"], &[]), (None, None), "marks in the trace may tell of it");
        assert_eq!(same(&["4"], &[]), (Some(20 * S), None), "it has no end");
        assert_eq!(same(&["1", "9"], &[]), (None, None));
        let to = ["--to", "20000000001"];
        assert_eq!(same(&[], &to), (None, None), "a step without an end begins before");
        let from = ["--from", "9000000000"];
        assert_eq!(same(&[], &from), (Some(20 * S), None), "to the end");
        assert_eq!(part(ClockId::Boottime, &["1"], &[]), (None, None), "another clock");
        let by_hand = part(ClockId::Boottime, &["1"], &["--clock-offset", "7"]);
        assert_eq!(by_hand, (Some(S + 7), Some(2 * S + 7)));
    }

    #[test]
    fn steps_that_go_on_where_the_beginning_ends_are_told_of() {
        let since = |asked: &str, options: &[&str]| {
            let beginning = wanted(ClockId::Monotonic, &[asked], options).beginning.unwrap();
            assert_eq!(beginning.roots, [Tid(7)].into_iter().collect());
            beginning.steps_since.0
        };
        assert_eq!(since("1", &[]), S, "its own");
        assert_eq!(since("3", &[]), 3 * S, "the one around it");
        assert_eq!(since("4", &[]), 20 * S);
        assert_eq!(since("3", &["--clock-offset", "-500"]), 3 * S - 500);
        assert_eq!(since("3", &["--pid-map", "ids"]), 0, "roots have other ids there");
    }
}
