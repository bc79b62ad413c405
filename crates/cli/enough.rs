//! How much of a large capture must be read: to a while after the last step that is asked for.

use agenttrace_model::parse::{CaptureInfo, MarkClock, Nanos, StepFile, StepMark};

use crate::args::CaptureArgs;
use crate::pipeline::step_id;

/// What a step began mostly ends within this time: waits, requests, the wakeups that tell
/// what they were for.
const SETTLE: Nanos = Nanos(500_000_000);

/// Less than this is read to the end. What a call costs is measured over all that is read, and
/// so is what is usual for a tool: a step then says the same alone as among all.
pub(crate) const WORTH: u64 = 256 << 20;

/// After which time nothing is needed of the capture; `None` where that cannot be told
/// beforehand: nobody asked for a part, or times of steps are not on the capture's clock.
pub(crate) fn enough(
    file: &StepFile,
    info: &CaptureInfo,
    args: &CaptureArgs,
    asked: &[String],
) -> Option<Nanos> {
    let same = match file.clock {
        MarkClock::Trace => true,
        MarkClock::Posix(clock) => info.clock.id == Some(clock),
    };
    if !same && args.clock_offset.is_none() {
        return None;
    }
    let wanted: Vec<&StepMark> = if asked.is_empty() {
        let to = Nanos(args.to?);
        let before = |step: &&StepMark| step.start.is_none_or(|start| on_capture(start, args) < to);
        file.steps.iter().filter(before).collect()
    } else {
        let find = |id: &String| file.steps.iter().find(|step| step.id == step_id(id));
        asked.iter().map(find).collect::<Option<_>>()?
    };
    let ends: Vec<Nanos> = wanted.iter().map(|step| step.end).collect::<Option<_>>()?;
    Some(on_capture(ends.into_iter().max()?, args) + SETTLE)
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

    const STEPS: &str = r#"{"schema":"agenttrace.steps/1","clock":"monotonic"}
{"step_id":1,"tool":"a","pid":7,"tid":7,"start_ns":1000,"end_ns":2000}
{"step_id":"two","tool":"a","pid":7,"tid":7,"start_ns":3000,"end_ns":9000}
{"step_id":3,"tool":"a","pid":7,"tid":7,"start_ns":5000,"end_ns":6000}
{"step_id":4,"ev":"begin","tool":"a","pid":7,"tid":7,"ts_ns":20000}
"#;

    /// Without what is left for waits to end.
    fn ends(clock: ClockId, asked: &[&str], options: &[&str]) -> Option<u64> {
        let line = ["agenttrace", "analyze", "x"].iter().chain(options);
        let Command::Analyze(args) = Cli::parse_from(line).command else { return None };
        let asked: Vec<String> = asked.iter().map(|id| (*id).to_owned()).collect();
        let clock = Clock { id: Some(clock), wall: None };
        let info = CaptureInfo { clock, ..CaptureInfo::default() };
        let file = read_steps(STEPS.as_bytes());
        enough(&file, &info, &args.capture, &asked).map(|until| (until - SETTLE).0)
    }

    #[test]
    fn the_last_step_that_is_asked_for_ends_it() {
        let ends = |asked: &[&str], options: &[&str]| ends(ClockId::Monotonic, asked, options);
        assert_eq!(ends(&["1"], &[]), Some(2000));
        assert_eq!(ends(&["3", "two"], &[]), Some(9000));
        assert_eq!(ends(&["two"], &["--clock-offset", "-500"]), Some(8500));
        // The second is not over when the third is.
        assert_eq!(ends(&[], &["--to", "5001"]), Some(9000));
        assert_eq!(ends(&[], &["--to", "3000"]), Some(2000));
    }

    #[test]
    fn what_cannot_be_told_beforehand_is_read_whole() {
        let same = |asked: &[&str], options: &[&str]| ends(ClockId::Monotonic, asked, options);
        assert_eq!(same(&[], &[]), None, "nobody asked for a part");
        assert_eq!(same(&["9"], &[]), None, "marks in the trace may tell of it");
        assert_eq!(same(&["4"], &[]), None, "it has no end");
        assert_eq!(same(&["1", "9"], &[]), None);
        assert_eq!(same(&[], &["--to", "20001"]), None, "a step without an end begins before");
        assert_eq!(ends(ClockId::Boottime, &["1"], &[]), None, "another clock");
        assert_eq!(ends(ClockId::Boottime, &["1"], &["--clock-offset", "7"]), Some(2007));
    }
}
