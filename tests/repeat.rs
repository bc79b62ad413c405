//! A capture that is repeated in time: each repetition is the capture again.

use std::path::Path;

use agenttrace_parse::{Repeat, Tid, Unpacked};
use linux_perf_data::linux_perf_event_reader::RecordType;
use linux_perf_data::{PerfFileReader, PerfFileRecord};

use crate::containers::folder;
use crate::json::Json;
use crate::support::{Fixture, fixtures, run};

const TIMES: u32 = 3;

/// Forks, execs, pools, servers, pipes and journals; steps marked in-band as well. What
/// reads the same sectors again is seen as such, and is not among them.
const SCENARIOS: [&str; 6] = [
    "recorded/fork_pipe",
    "recorded/exec_nonleader",
    "recorded/pool_handoff",
    "recorded/tool_server",
    "recorded/fsync_stalls_nospin",
    "recorded/two_agents",
];

fn chosen() -> impl Iterator<Item = Fixture> {
    fixtures("recorded").into_iter().filter(|f| SCENARIOS.contains(&f.name.as_str()))
}

/// What a step of the capture says in a repetition of it.
struct Then<'r, 'a> {
    repeat: &'r Repeat<'a>,
    repetition: u32,
    /// Ids of steps that one repetition takes.
    steps: u64,
}

impl Then<'_, '_> {
    /// A line for each value of an object.
    fn text(&self, key: &str, value: &Json, out: &mut String) {
        for (key, value) in value.object() {
            out.push_str(&format!("\n{key}: "));
            self.text(key, value, out);
        }
        value.list().iter().for_each(|value| self.text(key, value, out));
        match (value.number(), value.text()) {
            (Some(number), _) => out.push_str(&format!("{} ", self.number(key, number))),
            (None, Some(text)) => out.push_str(&self.sentence(text)),
            (None, None) if value.object().is_empty() && value.list().is_empty() => {
                out.push_str(&format!("{value:?} "));
            }
            (None, None) => {}
        }
    }

    fn number(&self, key: &str, number: u64) -> u64 {
        match key {
            "start_ns" | "end_ns" => number + self.repeat.later().0 * u64::from(self.repetition),
            "step_id" => number + self.steps * u64::from(self.repetition),
            "tid" | "pid" => self.tid(number),
            _ => number,
        }
    }

    fn tid(&self, tid: u64) -> u64 {
        let tid = Tid(i32::try_from(tid).expect("an id"));
        u64::try_from(self.repeat.tid(self.repetition, tid).0).expect("an id")
    }

    /// `12.4 ms in formatter (tid 28987)`
    fn sentence(&self, text: &str) -> String {
        let mut parts = text.split("(tid ");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (tid, rest) = part.split_once(')').expect("it closes");
            out.push_str(&format!("(tid {}){rest}", self.tid(tid.parse().expect("an id"))));
        }
        out + " "
    }
}

/// The steps of a capture, as the JSON report has them.
fn report(dir: &Path, capture: &[u8], steps: &[u8]) -> Json {
    std::fs::write(dir.join("perf.data"), capture).expect("the capture is written");
    std::fs::write(dir.join("steps.jsonl"), steps).expect("the steps are written");
    let answer =
        run(dir, &["analyze", "perf.data", "--markers", "steps.jsonl", "--format", "json"]);
    assert_eq!(answer.code, 0, "{}: {}", dir.display(), answer.err);
    Json::parse(&answer.out).expect("the report is JSON")
}

#[test]
fn each_repetition_has_the_same_paths_and_verdicts() {
    for fixture in chosen() {
        let (bytes, steps) = (fixture.bytes(), fixture.step_bytes().expect("it has steps"));
        let unpacked = Unpacked::of(&bytes).expect("the fixture unpacks");
        let repeat = Repeat::of(&unpacked, &steps).expect("the fixture can be repeated");
        let (mut more, mut more_steps) = (Vec::new(), Vec::new());
        repeat.write(TIMES, &mut more).expect("memory takes it");
        repeat.write_steps(TIMES, &mut more_steps).expect("memory takes it");
        let dir = folder(&format!("repeat-{}", fixture.name.replace('/', "-")));
        let one = report(&dir, &bytes, &steps);
        let all = report(&dir, &more, &more_steps);
        let (one, all) = (one.get("steps").list(), all.get("steps").list());
        assert_eq!(all.len(), one.len() * 3, "{}", fixture.name);
        let last = one.iter().filter_map(|s| s.get("step_id").number()).max().unwrap_or(0);
        for (index, step) in all.iter().enumerate() {
            let text = |step: &Json, repetition: usize| {
                let repetition = u32::try_from(repetition).expect("a few");
                let then = Then { repeat: &repeat, repetition, steps: last };
                let mut text = String::new();
                for key in ["step_id", "tool", "tid", "exclusive", "segments", "verdicts"] {
                    then.text(key, step.get(key), &mut text);
                }
                text
            };
            let (repetition, number) = (index / one.len(), index % one.len());
            let (expect, found) = (text(&one[number], repetition), text(step, 0));
            assert!(found.lines().count() > 50, "{} step {index} is empty", fixture.name);
            for (expect, found) in expect.lines().zip(found.lines()) {
                assert_eq!(found, expect, "{} step {index}", fixture.name);
            }
            assert_eq!(found.len(), expect.len(), "{} step {index}", fixture.name);
        }
    }
}

#[test]
fn other_readers_take_it() {
    for fixture in chosen() {
        let bytes = fixture.bytes();
        let unpacked = Unpacked::of(&bytes).expect("the fixture unpacks");
        let repeat = Repeat::of(&unpacked, b"").expect("the fixture can be repeated");
        let mut more = Vec::new();
        repeat.write(TIMES, &mut more).expect("memory takes it");
        let samples = |bytes: &[u8]| {
            let PerfFileReader { mut record_iter, mut perf_file } =
                PerfFileReader::parse_file(std::io::Cursor::new(bytes)).expect("it opens");
            let (mut count, mut last) = (0, 0);
            while let Some(record) = record_iter.next_record(&mut perf_file).expect("it reads") {
                if let PerfFileRecord::EventRecord { record, .. } = record
                    && record.record_type == RecordType::SAMPLE
                {
                    count += 1;
                    last = record.timestamp().expect("it has a time");
                }
            }
            (count, last)
        };
        let (one, last) = samples(&bytes);
        let later = repeat.later().0 * u64::from(TIMES - 1);
        assert_eq!(samples(&more), (one * 3, last + later), "{}", fixture.name);
    }
}
