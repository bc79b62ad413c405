//! The lines of steps.jsonl to a [`StepFile`]; whatever is wrong is kept beside it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::mem;

use memchr::memchr_iter;
use rayon::prelude::*;
use serde_json::Value;

use crate::capture::ClockId;
use crate::rfc3339;
use crate::steps::{Calibration, ClockAnchor, MarkClock, StepFile, StepId, StepMark, StepProblem};
use crate::steps_line::{Line, Member};
use crate::units::{Nanos, Pid, Tid};

const SCHEMA: &str = "agenttrace.steps/1";
const ANCHOR: &str = r#"{"monotonic_ns":1,"realtime_ns":2}"#;
const KNOWN: &[&str] = &[
    "step_id", "tool", "pid", "tid", "parent", "ev", "start_ns", "end_ns", "ts_ns", "start", "end",
    "ts",
];

/// Reads a whole steps.jsonl. Never fails: a line or step that cannot be used is in
/// [`StepFile::problems`], the others in [`StepFile::steps`].
///
/// Times given as RFC 3339 strings set the clock of the file to `realtime`; a file
/// cannot hold both kinds unless its first line says `"clock":"realtime"`.
#[must_use]
pub fn read_steps(bytes: &[u8]) -> StepFile {
    let mut reader = Reader::default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = lines(bytes);
    loop {
        // Taken apart, lines take some times their size: not all of them at once.
        let some: Vec<(&[u8], usize)> = lines.by_ref().take(LINES).collect();
        if some.is_empty() {
            break;
        }
        let lines: Vec<_> = some.par_iter().map(|(line, _)| Line::read(line)).collect();
        for (line, (_, number)) in lines.into_iter().zip(some) {
            let read = line.and_then(|line| reader.line(&line, number));
            if let Err(text) = read {
                reader.file.problems.push(StepProblem { line: number, text });
            }
            reader.first_seen = true;
        }
    }
    // Steps that were dropped by their end line leave a hole.
    reader.file.steps = reader.steps.into_iter().flatten().collect();
    reader.file
}

/// The lines that hold something, with their numbers, from 1.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let ends = memchr_iter(b'\n', bytes).chain([bytes.len()]);
    let lines = ends.scan(0, |from, end| bytes.get(mem::replace(from, end + 1)..end)).zip(1..);
    lines.filter(|(line, _)| !line.iter().all(u8::is_ascii_whitespace))
}

/// So many lines are taken apart side by side.
const LINES: usize = 1024;

#[derive(Default)]
struct Reader {
    file: StepFile,
    /// `None` for a step that its end line made unusable.
    steps: Vec<Option<StepMark>>,
    /// Index of each step, and whether an end line may still come.
    index: BTreeMap<StepId, (usize, bool)>,
    first_seen: bool,
    /// Whether the first line named the clock.
    clock_given: bool,
    /// The form that the times of this file have: true for RFC 3339.
    strings: Option<bool>,
}

impl Reader {
    fn line(&mut self, object: &Line<'_>, number: usize) -> Result<(), String> {
        if !object.has("step_id") && object.iter().all(|(key, _)| key == "anchors") {
            // An agent that writes as it goes knows the last moment only at the end.
            return self.anchors(object);
        }
        if !object.has("step_id")
            && ["schema", "clock", "session", "cut", "anchors"].iter().any(|key| object.has(key))
        {
            return self.header(object);
        }
        let id = step_id(object, "step_id")?.ok_or("step_id: missing; it names the step")?;
        match string(object, "ev")? {
            None => self.whole(object, id, number),
            Some("begin") => self.begin(object, id, number),
            Some("end") => self.end(object, &id),
            Some(other) => Err(format!("ev: {other:?} is neither \"begin\" nor \"end\"")),
        }
    }

    fn header(&mut self, object: &Line<'_>) -> Result<(), String> {
        if self.first_seen {
            return Err("schema: such a line can only be the first of the file".to_owned());
        }
        if let Some(schema) = string(object, "schema")?
            && schema != SCHEMA
        {
            return Err(format!("schema: {schema:?} is not read, {SCHEMA:?} is"));
        }
        self.file.session = string(object, "session")?.map(str::to_owned);
        if let Some(cut) = object.get("cut") {
            let cost = |key: &str| {
                let cut = if let Member::Json(cut) = cut { cut.get(key) } else { None };
                cut.and_then(Value::as_u64)
                    .map(Nanos)
                    .ok_or_else(|| format!("cut: {key}: missing, or not a whole number of ns"))
            };
            self.file.calibration = Some(Calibration {
                exit_cost: cost("exit_cost_ns")?,
                fault_cost: cost("fault_cost_ns")?,
                fault_reach: cost("fault_reach_ns")?,
            });
        }
        if let Some(clock) = string(object, "clock")? {
            self.file.clock = match (clock, ClockId::from_name(clock)) {
                ("trace", _) => MarkClock::Trace,
                (_, Some(id)) if id != ClockId::Local => MarkClock::Posix(id),
                _ => {
                    return Err(format!(
                        "clock: {clock:?} is none of monotonic, monotonic_raw, boottime, realtime, tai, trace"
                    ));
                }
            };
            self.clock_given = true;
        }
        self.anchors(object)
    }

    /// Moments read on several clocks; none of them is used where one cannot be read.
    fn anchors(&mut self, object: &Line<'_>) -> Result<(), String> {
        let list = match object.get("anchors") {
            None => return Ok(()),
            Some(Member::Json(Value::Array(list))) => list,
            Some(other) => return Err(format!("anchors: {other} is no list of objects")),
        };
        let mut read = Vec::new();
        for value in list {
            let Value::Object(moment) = value else {
                return Err(format!("anchors: {value} is no object such as {ANCHOR}"));
            };
            let mut anchor = ClockAnchor::default();
            for (key, value) in moment {
                let clock = key.strip_suffix("_ns").and_then(ClockId::from_name);
                let clock = clock.filter(|clock| *clock != ClockId::Local).ok_or_else(|| {
                    format!("anchors: {key:?} names no clock; an anchor is such as {ANCHOR}")
                })?;
                let time = Nanos(whole_number(value.as_u64(), value, &format!("anchors: {key}"))?);
                anchor.readings.push((clock, time));
            }
            if anchor.readings.len() < 2 {
                return Err(format!("anchors: two clocks are needed in each, such as {ANCHOR}"));
            }
            anchor.readings.sort_unstable();
            read.push(anchor);
        }
        self.file.anchors.extend(read);
        Ok(())
    }

    /// The one-line form.
    fn whole(&mut self, object: &Line<'_>, id: StepId, line: usize) -> Result<(), String> {
        let start = self.time(object, "start_ns", "start")?;
        let end = self.time(object, "end_ns", "end")?;
        for key in ["ts_ns", "ts"] {
            if object.has(key) {
                return Err(format!(
                    "{key}: without \"ev\":\"begin\" or \"end\" it is not clear which end is meant"
                ));
            }
        }
        match (start, end) {
            (Some(_), None) => {
                return Err(
                    "end_ns: missing; begin and end can also be two lines, with \"ev\"".to_owned()
                );
            }
            (None, Some(_)) => return Err("start_ns: missing".to_owned()),
            (Some(start), Some(end)) if end < start => {
                return Err(format!("end_ns: step {id} ends {} ns before it starts", start - end));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.add(object, id, line, start, end, false)
    }

    fn begin(&mut self, object: &Line<'_>, id: StepId, line: usize) -> Result<(), String> {
        let start = self.time(object, "ts_ns", "ts")?.ok_or("ts_ns: missing")?;
        self.add(object, id, line, Some(start), None, true)
    }

    fn add(
        &mut self,
        object: &Line<'_>,
        id: StepId,
        line: usize,
        start: Option<Nanos>,
        end: Option<Nanos>,
        open: bool,
    ) -> Result<(), String> {
        let pid = task(object, "pid")?;
        let tid = task(object, "tid")?.or(pid);
        let mark = StepMark {
            id: id.clone(),
            tool: string(object, "tool")?.unwrap_or_default().to_owned(),
            pid: pid.map(Pid),
            tid: tid.map(Tid),
            start,
            end,
            parent: step_id(object, "parent")?,
            extra: extra(object).collect(),
            line,
        };
        if let Some((index, _)) = self.index.get(&id) {
            let first = self.steps.get(*index).and_then(Option::as_ref).map_or(0, |s| s.line);
            return Err(format!(
                "step_id: {id} was used before, on line {first}; this line is left out"
            ));
        }
        self.index.insert(id, (self.steps.len(), open));
        self.steps.push(Some(mark));
        Ok(())
    }

    fn end(&mut self, object: &Line<'_>, id: &StepId) -> Result<(), String> {
        let end = self.time(object, "ts_ns", "ts")?.ok_or("ts_ns: missing")?;
        let open =
            self.index.get_mut(id).ok_or_else(|| format!("ev: step {id} ends without a begin"))?;
        if !open.1 {
            return Err(format!("ev: step {id} has an end already"));
        }
        open.1 = false;
        let Some(slot) = self.steps.get_mut(open.0) else { return Ok(()) };
        let Some(mark) = slot else { return Ok(()) };
        if mark.start.is_some_and(|start| end < start) {
            let early = mark.start.unwrap_or_default() - end;
            *slot = None;
            return Err(format!("ts_ns: step {id} ends {early} ns before it begins"));
        }
        mark.end = Some(end);
        mark.extra.extend(extra(object));
        if mark.tool.is_empty() {
            mark.tool = string(object, "tool")?.unwrap_or_default().to_owned();
        }
        Ok(())
    }

    /// A time by either of its keys.
    fn time(
        &mut self,
        object: &Line<'_>,
        nanos: &str,
        text: &str,
    ) -> Result<Option<Nanos>, String> {
        let realtime = self.file.clock == MarkClock::Posix(ClockId::Realtime);
        let (time, is_text, key) = match (object.get(nanos), string(object, text)?) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(format!("{text}: given together with {nanos}; one is enough"));
            }
            (Some(value), None) => {
                (Nanos(whole_number(value.number(), value, nanos)?), false, nanos)
            }
            (None, Some(value)) => {
                let time = rfc3339::parse(value).ok_or_else(|| {
                    format!("{text}: {value:?} is no RFC 3339 time such as 2026-11-23T09:47:18.25Z")
                })?;
                (time, true, text)
            }
        };
        if is_text && self.clock_given && !realtime {
            return Err(format!(
                "{key}: an RFC 3339 time is on the realtime clock, but the first line says another"
            ));
        }
        if !self.clock_given {
            if self.strings.is_some_and(|strings| strings != is_text) {
                return Err(format!(
                    "{key}: this file has its other times in another form; say \"clock\":\"realtime\" in its first line to mix them"
                ));
            }
            if is_text {
                self.file.clock = MarkClock::Posix(ClockId::Realtime);
            }
            self.strings = Some(is_text);
        }
        Ok(Some(time))
    }
}

fn string<'o>(object: &'o Line<'_>, key: &str) -> Result<Option<&'o str>, String> {
    match object.get(key) {
        None | Some(Member::Json(Value::Null)) => Ok(None),
        Some(Member::Text(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{key}: {other} is no string")),
    }
}

/// A value that has to be a whole number.
fn whole_number(number: Option<u64>, value: &dyn Display, key: &str) -> Result<u64, String> {
    number.ok_or_else(|| {
        format!("{key}: {value} is no whole number from 0, as nanoseconds and ids are")
    })
}

fn step_id(object: &Line<'_>, key: &str) -> Result<Option<StepId>, String> {
    match object.get(key) {
        None | Some(Member::Json(Value::Null)) => Ok(None),
        Some(Member::Text(name)) if !name.is_empty() => {
            Ok(Some(StepId::Name(name.clone().into_owned())))
        }
        Some(Member::Number(number)) if *number > 0 => Ok(Some(StepId::Number(*number))),
        Some(other) => Err(format!("{key}: {other} is neither a whole number from 1 nor a name")),
    }
}

/// A process or thread id.
fn task(object: &Line<'_>, key: &str) -> Result<Option<i32>, String> {
    match object.get(key) {
        None | Some(Member::Json(Value::Null)) => Ok(None),
        Some(value) => {
            let id = value.number().and_then(|v| i32::try_from(v).ok()).filter(|v| *v > 0);
            id.map(Some)
                .ok_or_else(|| format!("{key}: {value} is no task id (a whole number from 1)"))
        }
    }
}

/// The keys that the schema does not know, as JSON text.
fn extra(object: &Line<'_>) -> impl Iterator<Item = (String, String)> {
    let unknown = object.iter().filter(|(key, _)| !KNOWN.contains(key));
    unknown.map(|(key, value)| (key.to_owned(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<(usize, String)> {
        read_steps(text.as_bytes()).problems.into_iter().map(|p| (p.line, p.text)).collect()
    }

    #[test]
    fn both_forms() {
        let file = read_steps(
            br#"{"schema":"agenttrace.steps/1","clock":"boottime","session":"s"}

{"step_id":142,"tool":"grep","pid":7,"tid":8,"start_ns":10,"end_ns":20,"cost":1.5,"tags":["a"]}
{"step_id":"b","ev":"begin","tool":"read","pid":9,"ts_ns":30,"parent":142}
{"step_id":143,"ev":"begin","pid":9,"ts_ns":31}
{"step_id":"b","ev":"end","ts_ns":40,"ok":true}
{"step_id":144,"tool":"in-band"}"#,
        );
        assert_eq!(file.problems, []);
        assert_eq!(file.session.as_deref(), Some("s"));
        assert_eq!(file.clock, MarkClock::Posix(ClockId::Boottime));
        let [first, second, third, fourth] = file.steps.as_slice() else {
            panic!("{:?}", file.steps)
        };
        assert_eq!(
            *first,
            StepMark {
                id: StepId::Number(142),
                tool: "grep".to_owned(),
                pid: Some(Pid(7)),
                tid: Some(Tid(8)),
                start: Some(Nanos(10)),
                end: Some(Nanos(20)),
                parent: None,
                extra: vec![
                    ("cost".to_owned(), "1.5".to_owned()),
                    ("tags".to_owned(), "[\"a\"]".to_owned())
                ],
                line: 3,
            }
        );
        assert_eq!(second.id, StepId::Name("b".to_owned()));
        assert_eq!(
            (second.tid, second.start, second.end),
            (Some(Tid(9)), Some(Nanos(30)), Some(Nanos(40)))
        );
        assert_eq!((second.parent.clone(), second.line), (Some(StepId::Number(142)), 4));
        assert_eq!(second.extra, [("ok".to_owned(), "true".to_owned())]);
        assert_eq!((third.start, third.end), (Some(Nanos(31)), None));
        assert_eq!((fourth.pid, fourth.start, fourth.end), (None, None, None));
    }

    #[test]
    fn anchors_in_the_first_line_and_later() {
        let file = read_steps(
            br#"{"clock":"realtime","anchors":[{"realtime_ns":900,"monotonic_ns":100}]}
{"step_id":1,"pid":7,"start_ns":910,"end_ns":920}
{"anchors":[{"boottime_ns":5,"tai_ns":6,"monotonic_raw_ns":7}]}"#,
        );
        assert_eq!(file.problems, []);
        let [first, second] = file.anchors.as_slice() else { panic!("{:?}", file.anchors) };
        assert_eq!(
            first.readings,
            [(ClockId::Monotonic, Nanos(100)), (ClockId::Realtime, Nanos(900))]
        );
        assert_eq!(second.on(ClockId::MonotonicRaw), Some(Nanos(7)));
        assert_eq!(second.on(ClockId::Monotonic), None);
        // A bad one takes its line's others with it.
        let text = "{\"anchors\":[{\"tai_ns\":1,\"realtime_ns\":2},{}]}";
        assert_eq!(read_steps(text.as_bytes()).anchors, []);
    }

    #[test]
    fn times_as_strings() {
        let file = read_steps(
            br#"{"step_id":1,"pid":7,"start":"2026-11-23T09:47:18.25Z","end":"2026-11-23T11:47:19+02:00"}
{"step_id":2,"pid":7,"start_ns":1,"end_ns":2}"#,
        );
        assert_eq!(file.clock, MarkClock::Posix(ClockId::Realtime));
        assert_eq!(file.steps.len(), 1);
        assert_eq!(file.steps[0].start, Some(Nanos(1_795_427_238_250_000_000)));
        assert_eq!(file.steps[0].end, Some(Nanos(1_795_427_239_000_000_000)));
        assert_eq!(file.problems[0].line, 2);
        let mixed = "{\"clock\":\"monotonic\"}\n{\"step_id\":1,\"pid\":7,\"start\":\"2026-11-23T09:47:18Z\",\"end_ns\":2}";
        assert_eq!(problems(mixed)[0].0, 2);
    }

    #[test]
    fn each_problem_names_line_and_key() {
        let cases = [
            ("[]", "not a JSON object"),
            ("{\"step_id\":1", "not JSON at column"),
            ("\u{fffd}", "not JSON"),
            (r#"{"tool":"x"}"#, "step_id: missing"),
            (r#"{"step_id":-1}"#, "step_id: -1 is neither"),
            (r#"{"step_id":1.5}"#, "step_id: 1.5 is neither"),
            (r#"{"step_id":0}"#, "step_id: 0 is neither"),
            (r#"{"step_id":""}"#, "step_id: \"\" is neither"),
            (r#"{"step_id":1,"pid":1,"start_ns":5,"end_ns":4}"#, "end_ns: step 1 ends 1 ns before"),
            (r#"{"step_id":1,"pid":1,"start_ns":5}"#, "end_ns: missing"),
            (r#"{"step_id":1,"pid":1,"end_ns":5}"#, "start_ns: missing"),
            (
                r#"{"step_id":1,"pid":1,"start_ns":5.0,"end_ns":6}"#,
                "start_ns: 5.0 is no whole number",
            ),
            (r#"{"step_id":1,"pid":-4}"#, "pid: -4 is no task id"),
            (r#"{"step_id":1,"pid":"4"}"#, "pid: \"4\" is no task id"),
            (r#"{"step_id":1,"tid":4294967296}"#, "tid: 4294967296 is no task id"),
            (r#"{"step_id":1,"tool":4}"#, "tool: 4 is no string"),
            (r#"{"step_id":1,"parent":1.5}"#, "parent: 1.5"),
            (r#"{"step_id":1,"ev":"stop"}"#, "ev: \"stop\""),
            (r#"{"step_id":1,"ev":"end","ts_ns":3}"#, "ev: step 1 ends without a begin"),
            (r#"{"step_id":1,"ev":"begin"}"#, "ts_ns: missing"),
            (r#"{"step_id":1,"ts_ns":4}"#, "ts_ns: without"),
            (r#"{"anchors":7}"#, "anchors: 7 is no list"),
            (r#"{"anchors":[7]}"#, "anchors: 7 is no object"),
            (r#"{"anchors":[{"monotonic_ns":7}]}"#, "anchors: two clocks are needed"),
            (r#"{"anchors":[{"local_ns":7,"tai_ns":1}]}"#, "anchors: \"local_ns\" names no clock"),
            (r#"{"anchors":[{"realtime_ns":7,"tai_ns":-1}]}"#, "anchors: tai_ns: -1 is no whole"),
            (r#"{"step_id":1,"start":"yesterday"}"#, "start: \"yesterday\" is no RFC 3339"),
        ];
        for (line, expect) in cases {
            let text = format!("{{\"step_id\":9}}\n{line}\n{{\"step_id\":10}}\n");
            let file = read_steps(text.as_bytes());
            assert_eq!(file.steps.len(), 2, "{line}");
            assert_eq!(file.problems.len(), 1, "{line}");
            assert_eq!(file.problems[0].line, 2, "{line}");
            assert!(file.problems[0].text.starts_with(expect), "{line}: {}", file.problems[0].text);
        }
    }

    #[test]
    fn problems_across_lines() {
        let text = "{\"step_id\":1,\"pid\":1,\"start_ns\":1,\"end_ns\":2}\n\
            {\"step_id\":1,\"pid\":1,\"start_ns\":3,\"end_ns\":4}\n\
            {\"step_id\":2,\"ev\":\"begin\",\"ts_ns\":9}\n\
            {\"step_id\":2,\"ev\":\"end\",\"ts_ns\":8}\n\
            {\"step_id\":2,\"ev\":\"end\",\"ts_ns\":10}\n\
            {\"schema\":\"agenttrace.steps/1\"}\n";
        let file = read_steps(text.as_bytes());
        assert_eq!(file.steps.len(), 1);
        let lines: Vec<usize> = file.problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [2, 4, 5, 6]);
        assert!(file.problems[0].text.starts_with("step_id: 1 was used before, on line 1"));
        assert_eq!(
            problems("{\"schema\":\"other/2\"}")[0].1,
            "schema: \"other/2\" is not read, \"agenttrace.steps/1\" is"
        );
        assert!(problems("{\"clock\":\"sundial\"}")[0].1.starts_with("clock: \"sundial\""));
        assert_eq!(read_steps(b"{\"clock\":\"trace\"}\r\n").clock, MarkClock::Trace);
    }
}
