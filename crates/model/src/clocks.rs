//! What relates the clock of the step marks to the capture's, and how well.

use agenttrace_parse::{CaptureInfo, ClockId, MarkClock, Nanos, StepFile};

use crate::clock_fit::{Fit, Rate};
use crate::marks::TraceAnchor;

/// Two clocks that are read one right after the other.
const READ: u64 = 1_000;
/// From reading a clock to the event of the text that says so.
const WRITE: u64 = 20_000;

/// The clocks that an agent can read.
const CLOCKS: [ClockId; 5] =
    [ClockId::Monotonic, ClockId::MonotonicRaw, ClockId::Boottime, ClockId::Realtime, ClockId::Tai];

/// From the marks' clock to the capture's.
pub(crate) struct ClockMap {
    links: Vec<Link>,
    /// The rounding of the capture's times, where they are rounded.
    rounding: u64,
    /// How, in words.
    pub(crate) text: String,
    /// Remarks for the report.
    pub(crate) notes: Vec<String>,
}

/// One relation between two clocks.
#[derive(Clone, Copy)]
struct Link {
    fit: Fit,
    /// How far its readings may be off; `None`: nobody knows.
    noise: Option<u64>,
    /// Both clocks run at one rate.
    alike: bool,
}

/// A relation, with what it was made of.
type Told = (Link, String);

impl ClockMap {
    /// A time of the marks on the capture's clock.
    pub(crate) fn apply(&self, time: Nanos) -> Nanos {
        self.links.iter().fold(time, |time, link| link.fit.apply(time))
    }

    /// How far that may be off.
    pub(crate) fn error_at(&self, time: Nanos) -> Option<Nanos> {
        let mut at = time;
        let mut error = self.rounding;
        for link in &self.links {
            let noise = link.noise?;
            error =
                error.saturating_add(noise).saturating_add(link.fit.beyond(at, noise, link.alike));
            at = link.fit.apply(at);
        }
        Some(Nanos(error))
    }

    fn new(told: Vec<Told>, clock: &str, info: &CaptureInfo) -> Self {
        let words: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
        let jumps = told.iter().filter(|(link, _)| link.fit.jumped).map(|(link, text)| {
            format!(
                "the clocks moved against each other by more than drift can explain ({text}): one of them was set, or a \
                 reading is wrong; times may be off by {} ns",
                link.fit.residual
            )
        });
        let text = words.join(", then ");
        Self {
            notes: jumps.collect(),
            links: told.iter().map(|(link, _)| *link).collect(),
            rounding: rounding(info),
            text: if text == "same clock" || clock.is_empty() {
                text
            } else {
                format!("{clock}, {text}")
            },
        }
    }
}

/// What the rounding of its times adds to the error of every mark.
pub(crate) fn rounding(info: &CaptureInfo) -> u64 {
    if info.fidelity.resolution.0 > 1 { info.fidelity.resolution.0 } else { 0 }
}

/// What is known besides the capture's own facts.
pub(crate) struct Known<'k> {
    pub(crate) file: &'k StepFile,
    /// Texts in the trace that say what another clock said.
    pub(crate) in_trace: &'k [TraceAnchor],
    /// Times in the file, and in-band marks of the same edges.
    pub(crate) pairs: &'k [(u64, u64)],
    pub(crate) offset: Option<i64>,
}

/// How the marks' clock maps to the capture's.
///
/// # Errors
/// A sentence that says what to do, where nothing relates them.
pub(crate) fn map_clock(info: &CaptureInfo, known: &Known<'_>) -> Result<ClockMap, String> {
    if let Some(offset) = known.offset {
        let link = Link { fit: Fit::offset(offset), noise: None, alike: true };
        let text = format!("offset of {offset} ns given by hand");
        return Ok(ClockMap::new(vec![(link, text)], "", info));
    }
    let same = Link { fit: Fit::SAME, noise: Some(0), alike: true };
    let MarkClock::Posix(clock) = known.file.clock else {
        return Ok(ClockMap::new(vec![(same, "same clock".to_owned())], "", info));
    };
    if info.clock.id == Some(clock) {
        return Ok(ClockMap::new(vec![(same, "same clock".to_owned())], "", info));
    }
    let relations = Relations { info, known };
    if let Some(told) = relations.to_capture(clock) {
        return Ok(ClockMap::new(vec![told], clock.name(), info));
    }
    for other in CLOCKS.into_iter().filter(|other| *other != clock) {
        if let (Some(first), Some(second)) =
            (relations.in_file(clock, other), relations.to_capture(other))
        {
            return Ok(ClockMap::new(vec![first, second], clock.name(), info));
        }
    }
    // Reading a clock and marking take a moment that is the same for most steps.
    if let Some(fit) = Fit::new(known.pairs, READ, relations.rate()) {
        let noise = (fit.used > 1).then_some(fit.residual);
        let text = format!("by {} in-band marks of the same ids{}", fit.used, words(&fit));
        let link = Link { fit, noise, alike: false };
        return Ok(ClockMap::new(vec![(link, text)], "", info));
    }
    Err(unrelated(info, clock))
}

struct Relations<'r> {
    info: &'r CaptureInfo,
    known: &'r Known<'r>,
}

impl Relations<'_> {
    /// Whether the capture's times are nanoseconds. perf's always are; a text or a
    /// trace.dat that names no clock may count anything.
    fn rate(&self) -> Rate {
        if self.info.clock.id.is_some() || self.info.format == "perf.data" {
            Rate::Nanoseconds
        } else {
            Rate::Any
        }
    }

    fn to_capture(&self, clock: ClockId) -> Option<Told> {
        // The wall clock's one pair serves where both tick alike; else several
        // readings, which show the drift, are better.
        let steady = self.info.clock.id.is_some_and(same_rate);
        self.wall(clock)
            .filter(|_| steady)
            .or_else(|| self.info.clock.id.and_then(|id| self.in_file(clock, id)))
            .or_else(|| self.in_trace(clock))
            .or_else(|| self.wall(clock))
    }

    /// perf's CLOCK_DATA: both were read one after the other.
    fn wall(&self, clock: ClockId) -> Option<Told> {
        let (event, wall) = self.info.clock.wall.filter(|_| clock == ClockId::Realtime)?;
        let fit = Fit::new(&[(wall.0, event.0)], READ, Rate::Nanoseconds)?;
        let alike = self.info.clock.id.is_some_and(same_rate);
        let link = Link { fit, noise: Some(READ), alike };
        Some((link, "by the capture's clock data".to_owned()))
    }

    fn in_file(&self, from: ClockId, to: ClockId) -> Option<Told> {
        let anchors = &self.known.file.anchors;
        let pairs: Vec<(u64, u64)> =
            anchors.iter().filter_map(|a| Some((a.on(from)?.0, a.on(to)?.0))).collect();
        let fit = Fit::new(&pairs, READ, Rate::Nanoseconds)?;
        let alike = same_rate(from) && same_rate(to);
        let text = format!("by {} in the steps file{}", count(&fit, "anchor"), words(&fit));
        Some((Link { fit, noise: Some(fit.residual.max(READ)), alike }, text))
    }

    fn in_trace(&self, clock: ClockId) -> Option<Told> {
        let anchors = self.known.in_trace.iter().filter(|a| a.clock == clock);
        let pairs: Vec<(u64, u64)> = anchors.map(|a| (a.reading.0, a.time.0)).collect();
        let fit = Fit::new(&pairs, READ, self.rate())?;
        // Of a clock whose unit is not known, one reading tells nothing.
        if self.rate() == Rate::Any && !fit.linear {
            return None;
        }
        let noise = if fit.used > 1 { fit.residual.max(READ) } else { WRITE };
        let alike = same_rate(clock) && self.info.clock.id.is_some_and(same_rate);
        let text = format!("by {} agenttrace:C in the trace{}", count(&fit, "text"), words(&fit));
        Some((Link { fit, noise: Some(noise), alike }, text))
    }
}

fn count(fit: &Fit, what: &str) -> String {
    format!("{} {what}{}", fit.used, if fit.used == 1 { "" } else { "s" })
}

fn words(fit: &Fit) -> String {
    let mut words = Vec::new();
    if fit.left_out > 0 {
        words.push(format!("{} far off left out", fit.left_out));
    }
    let ppb = fit.drift_ppb();
    if !fit.linear {
        words.push("offset only".to_owned());
    } else if ppb.abs() > 1_000_000 {
        words.push("rate measured".to_owned());
    } else {
        let sign = if ppb < 0 { "-" } else { "" };
        words.push(format!("drift {sign}{}.{:03} ppm", ppb.abs() / 1000, ppb.abs() % 1000));
    }
    format!(" ({})", words.join(", "))
}

/// NTP slews these together; they differ by a constant, until one of them is set.
fn same_rate(clock: ClockId) -> bool {
    match clock {
        ClockId::Monotonic | ClockId::Boottime | ClockId::Realtime | ClockId::Tai => true,
        ClockId::MonotonicRaw | ClockId::Local => false,
    }
}

fn unrelated(info: &CaptureInfo, clock: ClockId) -> String {
    let perf = matches!(info.format, "perf.data" | "events");
    let ours = match (info.clock.id, perf) {
        (Some(id), _) => format!("on {}", id.name()),
        (None, true) => "on perf's own clock".to_owned(),
        (None, false) => "on a clock that it does not name".to_owned(),
    };
    let why = match (info.clock.id, clock) {
        (Some(ClockId::Tai), ClockId::Realtime) | (Some(ClockId::Realtime), ClockId::Tai) => {
            " (they differ by the leap seconds, which are not known)"
        }
        (Some(ClockId::Monotonic), ClockId::Boottime)
        | (Some(ClockId::Boottime), ClockId::Monotonic) => {
            " (they differ by the time that the machine was suspended)"
        }
        _ => "",
    };
    let record = match info.format {
        "perf.data" | "events" => {
            "record with `perf record -k CLOCK_MONOTONIC` and log CLOCK_MONOTONIC"
        }
        "trace.dat" => "record with `trace-cmd record -C mono` and log CLOCK_MONOTONIC",
        _ if info.clock.id.is_none() => {
            "where the recorder's clock is known, say so with --trace-clock (`--trace-clock mono`); else record with \
             `echo mono > trace_clock` (`trace-cmd record -C mono`, `perf record -k CLOCK_MONOTONIC`) and log CLOCK_MONOTONIC"
        }
        _ => {
            "record with `echo mono > trace_clock` (`trace-cmd record -C mono`) and log CLOCK_MONOTONIC"
        }
    };
    format!(
        "the steps' times are on the {} clock, the capture's {ours}{why}, and nothing in the capture relates the two: \
         {record}, mark steps in-band with prctl(0x41475354, step_id), put \"anchors\" that hold both clocks into the \
         first line of the steps file, write `agenttrace:C|{}|NS` to trace_marker, or pass --clock-offset NS, which is \
         added to marker times",
        clock.name(),
        clock.name()
    )
}
