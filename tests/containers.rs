//! One recording in every perf container: the same events and the same report.
//!
//! What must differ: the report's `capture` object (form, size, numbers and places of
//! records, what was counted as damaged). A capture without features has no formats of
//! tracepoints, and is compared record by record.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use agenttrace_parse::{
    Capture, Diagnostics, Input, Limits, Problem, ReadOptions, Unpacked, write_event,
};

use crate::encode::{self, CONTAINERS, Files, Origin, Packing, Recording};
use crate::support::{Fixture, bless_block, fixtures, run};

/// Scenarios with interrupts, forks, pipes, block requests, faults and lost events.
const SCENARIOS: [&str; 6] = [
    "recorded/sleep",
    "recorded/fork_pipe",
    "recorded/tool_server",
    "recorded/fsync_stalls_nospin",
    "recorded/mmap_fault_storm_nospin",
    "recorded/exec_nonleader",
];

pub(crate) fn chosen() -> Vec<Fixture> {
    let chosen: Vec<_> =
        fixtures("recorded").into_iter().filter(|f| SCENARIOS.contains(&f.name.as_str())).collect();
    assert_eq!(chosen.len(), SCENARIOS.len());
    chosen
}

/// The events' lines, and how often each problem was counted.
fn events(files: &Files) -> Result<(Vec<String>, Diagnostics), String> {
    let parts = files.parts.iter().map(Vec::as_slice).collect();
    let input = Input { main: &files.main, parts };
    let unpacked = Unpacked::new(&input, &Limits::default()).map_err(|e| e.to_string())?;
    let capture = Capture::open(&unpacked, &ReadOptions::default()).map_err(|e| e.to_string())?;
    let mut diagnostics = Diagnostics::default();
    let mut lines = Vec::new();
    capture
        .read(&mut diagnostics, &mut |events| {
            for event in events {
                let mut line = String::new();
                write_event(event, &mut line);
                lines.push(line);
            }
        })
        .map_err(|e| e.to_string())?;
    Ok((lines, diagnostics))
}

/// The folder that a test may write to, new and its own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// Writes a capture as `perf record` leaves it: a file, or a directory.
pub(crate) fn write(folder: &Path, files: &Files) -> PathBuf {
    let path = folder.join("perf.data");
    if files.parts.is_empty() {
        std::fs::write(&path, &files.main).expect("the capture is written");
        return path;
    }
    std::fs::create_dir(&path).expect("a folder for the capture");
    std::fs::write(path.join("data"), &files.main).expect("the header is written");
    for (number, part) in files.parts.iter().enumerate() {
        std::fs::write(path.join(format!("data.{number}")), part).expect("a part is written");
    }
    path
}

/// The JSON report of a capture, without its `capture` object.
fn report(folder: &Path, files: &Files, fixture: &Fixture) -> String {
    write(folder, files);
    if let Some(steps) = fixture.step_bytes() {
        std::fs::write(folder.join("steps.jsonl"), steps).expect("the marks are written");
    }
    let mut arguments = vec!["analyze", "perf.data", "--format", "json"];
    if fixture.steps {
        arguments.extend(["--markers", "steps.jsonl"]);
    }
    let answer = run(folder, &arguments);
    assert_eq!(answer.code, 0, "{}: {}", fixture.name, answer.err);
    without_capture(&answer.out)
}

/// Cuts the object out, whose braces outside of strings must match.
fn without_capture(report: &str) -> String {
    let start = report.find("\"capture\":").expect("a report has a capture");
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in report[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return report[..start].to_owned() + &report[start + at + 1..];
                }
            }
            _ => {}
        }
    }
    panic!("the capture object does not end");
}

/// The first line in which two lists differ, for people.
fn difference(ours: &[String], theirs: &[String]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let at = ours.iter().zip(theirs).position(|(a, b)| a != b);
    let at = at.unwrap_or(ours.len().min(theirs.len()));
    Some(format!(
        "{} and {} events; event {at}: {:?}, plain: {:?}",
        ours.len(),
        theirs.len(),
        ours.get(at),
        theirs.get(at)
    ))
}

#[test]
fn the_encoder_writes_what_perf_wrote() {
    for fixture in chosen() {
        let bytes = fixture.bytes();
        let again = Recording::parse(&bytes).file(Packing::Plain).main;
        assert!(again == bytes, "{}: the plain file is not the same", fixture.name);
    }
}

#[test]
fn every_container_gives_the_same_events_and_report() {
    let mut wrong = Vec::new();
    let mut rows = vec![(0_usize, true, true); CONTAINERS.len()];
    for fixture in chosen() {
        let recording = Recording::parse(&fixture.bytes());
        let plain = recording.file(Packing::Plain);
        let (expected, _) = events(&plain).expect("a plain file is read");
        let dir = folder("containers");
        let expected_report = report(&dir, &plain, &fixture);
        for (container, row) in CONTAINERS.iter().zip(&mut rows) {
            let files = (container.write)(&recording);
            let name = format!("{}: {}", fixture.name, container.name);
            row.0 += expected.len();
            let (lines, diagnostics) = match events(&files) {
                Ok(read) => read,
                Err(error) => {
                    wrong.push(format!("{name}: {error}"));
                    (row.1, row.2) = (false, false);
                    continue;
                }
            };
            if let Some(difference) = difference(&lines, &expected) {
                wrong.push(format!("{name}: {difference}"));
                row.1 = false;
            }
            for problem in [Problem::Truncated, Problem::BadRecord, Problem::OutOfOrder] {
                let count = diagnostics.count(problem);
                if count > 0 {
                    wrong.push(format!("{name}: counts {count} {}", problem.text()));
                }
            }
            if report(&folder("containers"), &files, &fixture) != expected_report {
                wrong.push(format!("{name}: another report"));
                row.2 = false;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut table = String::from(
        "| container | written by | events compared | events | report without `capture` |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let word = |same| if same { "identical" } else { "differ" };
    for (container, (count, events, report)) in CONTAINERS.iter().zip(rows) {
        let origin = match container.origin {
            Origin::Perf => "perf",
            Origin::Crafted => "nobody here: crafted from bytes",
        };
        let name = container.name;
        let _ = writeln!(
            table,
            "| {name} | {origin} | {count} | {} | {} |",
            word(events),
            word(report)
        );
    }
    bless_block("docs/FORMATS.md", "containers", &table);
}

/// A file with one attribute needs no ids; the others' records are left out of both.
#[test]
fn one_attribute_without_ids() {
    for fixture in chosen() {
        let recording = Recording::parse(&fixture.bytes());
        let index = recording.attrs.iter().position(|a| a.name == "sched:sched_switch");
        let (without, plain) = encode::one_attribute(&recording, index.expect("switches"));
        let (expected, _) = events(&plain.file(Packing::Plain)).expect("a plain file is read");
        let switches = expected.iter().filter(|l| l.contains(" sched:sched_switch ")).count();
        assert!(switches > 10, "{}: {switches} switches", fixture.name);
        for (name, files) in [
            ("file", without.file(Packing::Plain)),
            ("pipe", without.pipe(Packing::Plain)),
            ("big-endian file", without.big_endian().file(Packing::Plain)),
        ] {
            let (lines, _) =
                events(&files).unwrap_or_else(|e| panic!("{}: {name}: {e}", fixture.name));
            let difference = difference(&lines, &expected);
            assert_eq!(difference, None, "{}: {name}", fixture.name);
        }
    }
}

/// Number, place, type, size, time, CPU and task of each record. Not its event, whose
/// name is a feature.
fn records(files: &Files) -> Vec<String> {
    let parts = files.parts.iter().map(Vec::as_slice).collect();
    let input = Input { main: &files.main, parts };
    let unpacked = Unpacked::new(&input, &Limits::default()).expect("it unpacks");
    let capture = Capture::open(&unpacked, &ReadOptions::default()).expect("it opens");
    let mut lines = Vec::new();
    capture
        .dump_records(&mut |line| {
            let words: Vec<&str> = line.split(' ').take(7).collect();
            lines.push(words.join(" "));
        })
        .expect("records are shown");
    lines
}

/// A killed recorder leaves neither features nor the size of the data. The formats of
/// tracepoints are features, so tracepoints cannot be decoded; all other events are
/// the same, all samples are counted, and the loss is told.
#[test]
fn a_killed_recorder_leaves_all_records() {
    for fixture in chosen() {
        let recording = Recording::parse(&fixture.bytes());
        let (plain, killed) = (recording.file(Packing::Plain), recording.killed());
        let (expected, _) = events(&plain).expect("a plain file is read");
        let (lines, diagnostics) = events(&killed).expect("a killed file is read");
        let expected: Vec<String> = expected
            .into_iter()
            .filter(|line| {
                let name = line.split(' ').nth(4).unwrap_or("");
                name.starts_with("record:") || name.starts_with("software:")
            })
            .collect();
        assert_eq!(difference(&lines, &expected), None, "{}", fixture.name);
        assert_eq!(diagnostics.count(Problem::RecorderKilled), 1, "{}", fixture.name);
        assert_eq!(difference(&records(&killed), &records(&plain)), None, "{}", fixture.name);
    }
}

/// Cut within a record: all whole records before it are there.
#[test]
fn a_cut_loses_only_what_is_behind_it() {
    for fixture in chosen() {
        let recording = Recording::parse(&fixture.bytes());
        // A pipe has its formats in front: its events can be compared, too. Records
        // may come before older ones, so what is left is compared as a set.
        let pipe = recording.pipe(Packing::Plain).main;
        let whole = Files { main: pipe.clone(), parts: Vec::new() };
        let (expected, _) = events(&whole).expect("a pipe is read");
        let tail: usize = recording.records.iter().rev().take(40).map(Vec::len).sum();
        let cut = Files { main: pipe[..pipe.len() - tail + 5].to_vec(), parts: Vec::new() };
        let kept = Recording {
            records: recording.records[..recording.records.len() - 40].to_vec(),
            ..recording.clone()
        };
        let (lines, diagnostics) = events(&cut).expect("a cut pipe is read");
        let (wanted, _) = events(&kept.pipe(Packing::Plain)).expect("a pipe is read");
        assert_eq!(difference(&lines, &wanted), None, "{}", fixture.name);
        assert!(lines.len() < expected.len() && lines.len() + 40 >= expected.len());
        assert_eq!(diagnostics.count(Problem::Truncated), 1, "{}", fixture.name);

        // A file has its features behind the data. Its records are all there.
        let file = recording.file(Packing::Plain).main;
        let start = usize::try_from(u64::from_le_bytes(file[40..48].try_into().expect("8")));
        let size: usize = kept.records.iter().map(Vec::len).sum();
        let end = start.expect("in memory") + size + 5;
        let cut = Files { main: file[..end].to_vec(), parts: Vec::new() };
        let whole = records(&Files { main: file, parts: Vec::new() });
        let mut left = records(&cut);
        // The last line says where the data end within a record.
        assert_eq!(left.pop(), Some(format!("# byte {}: the data end within", end - 5)));
        let difference = difference(&left, &whole[..kept.records.len()]);
        assert_eq!(difference, None, "{}", fixture.name);
    }
}
