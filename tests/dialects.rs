//! One workload recorded in turn in each container and dialect: the same causes.
//!
//! The bounds follow from what a format carries. Stated before recording: an operation's
//! time is within 15 % of what the workload measured, as in `accuracy.rs`; where faults
//! have no recorded end, within 25 % for the step that faults (its ends are estimated,
//! EVENTS 3.3). Where times are rounded, one unit more times the root of the number of
//! operations, since rounding takes no side (stated as one unit for each, and tightened).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use agenttrace_attribute::path::StepPath;
use agenttrace_parse::{ClockId, Fidelity, Formats, Input, Nanos, ReadOptions};

use crate::accuracy::{attributed, by_cause, of_step};
use crate::json::Json;
use crate::support::{
    Analysis, Fixture, analyze_files, bless_block, entries, file_name, files_below, fixtures,
    report_text, root,
};

const BOUND: f64 = 0.15;
const BOUND_WITHOUT_FAULT_ENDS: f64 = 0.25;

/// A format, and what it carries.
#[derive(Debug)]
struct Dialect {
    /// The folder in `fixtures/dialects`.
    name: &'static str,
    capture: &'static str,
    /// How it was made, as the page tells it.
    made: &'static str,
    /// Whether faults have a recorded end: only perf's software events tell.
    fault_ends: bool,
    /// Whether the interrupts' own events are in it. All record them; for a row they
    /// are left out afterwards.
    interrupts: bool,
    fidelity: Fidelity,
}

/// Nothing is missing.
const WHOLE: Fidelity = Fidelity { resolution: Nanos(1), context: true, processes: true };
/// This trace-cmd saves no process ids.
const DAT: Fidelity = Fidelity { processes: false, ..WHOLE };
/// Text with times in microseconds, with flags and process ids.
const MICROS: Fidelity = Fidelity { resolution: Nanos(1000), ..WHOLE };
/// Text that tells neither context nor process.
const BARE: Fidelity = Fidelity { resolution: Nanos(1000), context: false, processes: false };
const BARE_NANOS: Fidelity = Fidelity { resolution: Nanos(1), ..BARE };

const fn perf(name: &'static str, made: &'static str) -> Dialect {
    Dialect {
        name,
        capture: "perf.data",
        made,
        fault_ends: true,
        interrupts: true,
        fidelity: WHOLE,
    }
}

const fn ftrace(
    name: &'static str,
    capture: &'static str,
    made: &'static str,
    fidelity: Fidelity,
) -> Dialect {
    Dialect { name, capture, made, fault_ends: false, interrupts: true, fidelity }
}

/// The first is what the others are compared with.
const DIALECTS: &[Dialect] = &[
    perf("perf_file", "`perf record`"),
    perf("perf_pipe", "`perf record -o -`"),
    perf("perf_compressed", "`perf record -z`"),
    perf("perf_directory", "`perf record --threads`"),
    perf("perf_killed", "`perf record`, killed"),
    ftrace("trace_dat_v7", "trace.dat", "`trace-cmd extract`, version 7, zstd", DAT),
    ftrace("trace_dat_v6", "trace.dat", "the same, version 6", DAT),
    ftrace("trace", "trace.txt", "tracefs `trace`, irq-info and record-tgid", MICROS),
    ftrace("trace_pipe", "trace_pipe.txt.xz", "tracefs `trace_pipe`, the same, xz", MICROS),
    ftrace("trace_bare", "trace.txt.gz", "tracefs `trace` without both, gzip", BARE),
    ftrace("trace_cmd_report", "report.txt", "`trace-cmd report`", BARE),
    Dialect {
        made: "the same text without its lines of interrupts and timers",
        interrupts: false,
        ..ftrace("trace_cmd_report", "report.txt", "", BARE)
    },
    ftrace("trace_cmd_report_R", "report.txt.zst", "`trace-cmd report -R`, zstd", BARE),
    ftrace("trace_cmd_report_t", "report.txt.zst", "`trace-cmd report -t`, zstd", BARE_NANOS),
    Dialect {
        name: "perf_script",
        capture: "script.txt.zst",
        made: "`perf script`, zstd",
        fault_ends: true,
        interrupts: true,
        fidelity: BARE,
    },
    Dialect {
        name: "perf_script_ns",
        capture: "script.txt.gz",
        made: "`perf script --ns -F +addr --show-task-events --show-mmap-events`, gzip",
        fault_ends: true,
        interrupts: true,
        fidelity: Fidelity { resolution: Nanos(1), context: false, processes: true },
    },
];

/// Events that tell when an interrupt began, or ended, or what it did.
const INTERRUPTS: [&str; 5] = [
    "irq_handler_entry",
    "irq_handler_exit",
    "softirq_entry",
    "softirq_exit",
    "hrtimer_expire_entry",
];

/// Words of `Confidence`, the least first.
const CONFIDENCE: [&str; 4] = ["cannot say", "low", "medium", "high"];

impl Dialect {
    fn dir(&self) -> PathBuf {
        root().join("fixtures/dialects").join(self.name)
    }

    /// The fixture, or a copy without the lines of interrupts.
    fn fixture(&self) -> Fixture {
        let name = format!("dialects/{}", self.name);
        let fixture = fixtures("dialects").into_iter().find(|f| f.name == name);
        let mut fixture = fixture.expect("it is a fixture");
        if !self.interrupts {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_interrupts");
            std::fs::create_dir_all(&dir).expect("a folder for the test");
            let text = String::from_utf8(fixture.bytes()).expect("it is text");
            let left = text
                .lines()
                .filter(|line| !INTERRUPTS.iter().any(|name| line.contains(&format!(": {name}:"))));
            let left: String = left.flat_map(|line| [line, "\n"]).collect();
            std::fs::write(dir.join(self.capture), left).expect("the copy is written");
            std::fs::copy(self.dir().join("steps.jsonl"), dir.join("steps.jsonl"))
                .expect("the copy is written");
            fixture.dir = dir;
        }
        fixture
    }

    /// The step's largest relative error that the format allows.
    fn bound(&self, cause: &str, measured: u64, operations: u64) -> f64 {
        let share = if cause == "minor_fault" && !self.fault_ends {
            BOUND_WITHOUT_FAULT_ENDS
        } else {
            BOUND
        };
        share + self.rounding() as f64 * (operations as f64).sqrt() / measured as f64
    }

    /// What rounding does to one operation, whose ends are both rounded.
    fn rounding(&self) -> u64 {
        if self.fidelity.resolution.0 > 1 { self.fidelity.resolution.0 } else { 0 }
    }

    /// The highest confidence in a verdict about a cause.
    fn allows(&self, cause: &str) -> &'static str {
        // Whether an interrupt woke a sleeper is told by flags, or by the interrupts'
        // own events; with neither it is a guess. So is where a fault ended.
        let told = self.fidelity.context || self.interrupts;
        let waits = ["fsync", "sleep"].contains(&cause) && !told;
        let ends = cause == "minor_fault" && !self.fault_ends;
        if waits || ends { "medium" } else { "high" }
    }

    /// As [`Fixture::arguments`] says it to the program.
    fn options(&self) -> ReadOptions {
        let formats = self.dir().join("formats");
        let name = |path: &Path| file_name(path.parent().unwrap_or(path));
        let texts: Vec<(String, String)> = files_below(&formats)
            .iter()
            .map(|path| {
                let system = path.parent().map(name).unwrap_or_default();
                (system, std::fs::read_to_string(path).expect("a format is text"))
            })
            .collect();
        ReadOptions {
            trace_clock: self.capture.contains(".txt").then_some(ClockId::Monotonic),
            formats: (!texts.is_empty()).then(|| Formats::new(texts)),
            ..ReadOptions::default()
        }
    }

    fn analyze(&self, with_steps: bool) -> Result<Analysis, String> {
        let (main, parts) = files(&self.fixture().dir.join(self.capture));
        let steps = std::fs::read(self.dir().join("steps.jsonl")).expect("there are steps");
        let input = Input { main: &main, parts: parts.iter().map(Vec::as_slice).collect() };
        analyze_files(&input, &self.options(), with_steps.then_some(&*steps))
            .map_err(|e| format!("{}: {e}", self.name))
    }

    fn lines(&self, file: &str) -> Vec<Json> {
        let path = self.dir().join(file);
        let text = std::fs::read_to_string(&path).expect("the fixture has it");
        text.lines().map(|line| Json::parse(line).expect("a line is JSON")).collect()
    }
}

/// The files of a capture: of a folder `data` and `data.N`.
fn files(capture: &Path) -> (Vec<u8>, Vec<Vec<u8>>) {
    let read = |path: &Path| std::fs::read(path).expect("the fixture can be read");
    if !capture.is_dir() {
        return (read(capture), Vec::new());
    }
    let parts = entries(capture).into_iter().filter(|path| file_name(path).starts_with("data."));
    (read(&capture.join("data")), parts.map(|path| read(&path)).collect())
}

fn largest(path: &StepPath) -> &'static str {
    let sums = by_cause(path);
    sums.iter().max_by_key(|(_, ns)| **ns).map_or("none", |(cause, _)| cause.name())
}

/// The workload's own sum over the operations of a step, and their number.
fn measured(truth: &Json) -> (u64, u64) {
    let mut sum = (0, 0);
    for operation in truth.get("operations").list() {
        sum.0 += operation.get("ns").number().expect("a time");
        sum.1 += operation.get("count").number().expect("a count");
    }
    sum
}

fn error(got: u64, want: u64) -> f64 {
    got.abs_diff(want) as f64 / want as f64
}

/// What one dialect gave.
#[derive(Debug, Default)]
struct Outcome {
    /// Steps whose largest cause is the one of perf.data.
    same: usize,
    wall: f64,
    worst: f64,
    worst_fault: f64,
    problems: Vec<String>,
}

/// The times of an analysis against the workload's own.
fn compare(dialect: &Dialect, analysis: &Analysis, reference: &[&str]) -> Outcome {
    let truth = dialect.lines("truth.jsonl");
    let steps = dialect.lines("steps.jsonl");
    let mut outcome = Outcome::default();
    let mut wrong = |problem: String| outcome.problems.push(format!("{}: {problem}", dialect.name));
    if analysis.windows.steps.len() != reference.len() {
        wrong(format!("{} steps", analysis.windows.steps.len()));
    }
    for ((step, path), want) in analysis.windows.steps.iter().zip(&analysis.paths).zip(reference) {
        let id = step.id.to_string();
        let line = of_step(&truth, &id).expect("the step is in truth.jsonl");
        let cause = largest(path);
        if cause == *want && Some(cause) == line.get("cause").text() {
            outcome.same += 1;
        } else {
            wrong(format!("step {id}: {cause}, not {want}, of {:?}", by_cause(path)));
        }
        let own = of_step(&steps, &id).expect("the step is in steps.jsonl");
        let times = ["end_ns", "start_ns"].map(|key| own.get(key).number().expect("a time"));
        let wall = error((step.end - step.start).0, times[0] - times[1]);
        let (want, operations) = measured(line);
        let got = line
            .get("operations")
            .list()
            .iter()
            .filter_map(|o| o.get("frame").text())
            .map(|frame| attributed(&analysis.model, path, frame))
            .sum();
        let off = error(got, want);
        let bound = dialect.bound(cause, want, operations);
        if off > bound || wall > BOUND {
            wrong(format!(
                "step {id} {cause}: measured {want}, attributed {got}, bound {bound:.3}, wall {wall:.4}"
            ));
        }
        outcome.wall = outcome.wall.max(wall);
        let worst =
            if cause == "minor_fault" { &mut outcome.worst_fault } else { &mut outcome.worst };
        *worst = worst.max(off);
    }
    outcome
}

/// The confidence of each step's first verdict, by what the program prints.
fn confidences(dialect: &Dialect, reference: &[&str], problems: &mut Vec<String>) -> String {
    let report = report_text(&dialect.fixture(), &[]);
    let report = Json::parse(&report).expect("the report is JSON");
    let mut counts = [0; CONFIDENCE.len()];
    for (step, cause) in report.get("steps").list().iter().zip(reference) {
        let verdict = step.get("verdicts").list().first();
        let word = verdict.and_then(|v| v.get("confidence").text()).unwrap_or("cannot say");
        let rank = |word: &str| CONFIDENCE.iter().position(|w| *w == word).unwrap_or(0);
        counts[rank(word)] += 1;
        if rank(word) > rank(dialect.allows(cause)) {
            problems.push(format!("{}: {word} about {cause}", dialect.name));
        }
    }
    let present = counts.iter().zip(CONFIDENCE).rev().filter(|(count, _)| **count > 0);
    present.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What a format lacks, in words.
fn lacks(dialect: &Dialect) -> String {
    let mut words = Vec::new();
    if dialect.fidelity.resolution.0 > 1 {
        words.push("times in us");
    }
    if !dialect.fidelity.context {
        words.push(if dialect.interrupts { "no context" } else { "no context, no interrupts" });
    }
    if !dialect.fidelity.processes {
        words.push("no process ids");
    }
    if !dialect.fault_ends {
        words.push("no fault ends");
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Every format gives the causes that plain perf.data gives, by the steps file and by
/// the in-band marks alone, and the times that the workload measured.
#[test]
fn every_format_gives_the_same_causes() {
    let first = DIALECTS.first().expect("there is a format to compare with");
    let first = first.analyze(true).expect("it is read");
    let reference: Vec<&str> = first.paths.iter().map(largest).collect();
    let mut problems = Vec::new();
    let mut table = String::from(
        "| recorded with | lacks | same largest cause | wall | times | faults | bound | verdicts |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for dialect in DIALECTS {
        let analyzed = dialect.analyze(true).and_then(|a| Ok((a, dialect.analyze(false)?)));
        let (with_file, in_band) = match analyzed {
            Ok(both) => both,
            Err(why) => {
                problems.push(why);
                continue;
            }
        };
        if with_file.info.fidelity != dialect.fidelity {
            problems.push(format!("{}: {:?}", dialect.name, with_file.info.fidelity));
        }
        let outcome = compare(dialect, &with_file, &reference);
        problems.extend(outcome.problems);
        let in_band = compare(dialect, &in_band, &reference);
        problems.extend(in_band.problems.iter().map(|p| format!("in-band marks alone: {p}")));
        let verdicts = confidences(dialect, &reference, &mut problems);
        let mut bound = percent(BOUND);
        if !dialect.fault_ends {
            let _ = write!(bound, ", faults {}", percent(BOUND_WITHOUT_FAULT_ENDS));
        }
        if dialect.rounding() > 0 {
            bound.push_str(", and 1 us x root of calls");
        }
        let _ = writeln!(
            table,
            "| {} | {} | {} of {} | {} | {} | {} | {bound} | {verdicts} |",
            dialect.made,
            lacks(dialect),
            outcome.same,
            reference.len(),
            percent(outcome.wall),
            percent(outcome.worst),
            percent(outcome.worst_fault),
        );
    }
    assert!(problems.is_empty(), "{}\n\n{table}", problems.join("\n"));
    bless_block("docs/FORMATS.md", "dialects", &table);
}

/// Each folder is a row of the table above.
#[test]
fn no_recording_is_left_out() {
    let mut found: Vec<String> = entries(&root().join("fixtures/dialects"))
        .iter()
        .filter(|p| p.is_dir())
        .map(|p| file_name(p))
        .collect();
    let mut named: Vec<&str> = DIALECTS.iter().filter(|d| d.interrupts).map(|d| d.name).collect();
    found.sort();
    named.sort_unstable();
    assert_eq!(found, named);
}
