//! Finds fixtures, runs the stages and the program.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agenttrace_attribute::path::StepPath;
use agenttrace_model::{Beginning, Builder, MarkOptions, Model, Windows, claim_tasks, place_marks};
use agenttrace_parse::{
    Capture, CaptureInfo, Diagnostics, Input, Limits, ReadOptions, StepFile, Totals, Unpacked,
    plain_reader, read_steps, write_event, write_events_header,
};

use crate::json::Json;

/// A capture with its marks.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    /// As in `recorded/sleep`.
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    /// One of [`CAPTURES`].
    pub(crate) capture: &'static str,
    pub(crate) steps: bool,
}

/// What a capture's file, or folder, may be called.
const CAPTURES: &[&str] = &[
    "perf.data",
    "perf.data.xz",
    "events.txt",
    "trace.dat",
    "trace.txt",
    "trace.txt.gz",
    "trace_pipe.txt.xz",
    "report.txt",
    "report.txt.zst",
    "script.txt.gz",
    "script.txt.zst",
];

/// The options that say where the symbols of a fixture of stacks are.
pub(crate) const CARRIED: [&str; 6] =
    ["--symfs", "symfs", "--kallsyms", "kallsyms", "--debug-dir", "buildid"];

/// A larger capture serves to measure speed, not to be checked.
const LARGEST: u64 = 32 << 20;

impl Fixture {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        read(&self.dir.join(self.capture))
    }

    /// Its bytes without the packing, for tests that damage what is inside.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let bytes = self.bytes();
        if self.capture != "perf.data.xz" {
            return bytes;
        }
        let mut plain = Vec::new();
        let mut reader = plain_reader(&bytes).expect("it is packed");
        reader.read_to_end(&mut plain).expect("the fixture unpacks");
        plain
    }

    pub(crate) fn step_bytes(&self) -> Option<Vec<u8>> {
        self.steps.then(|| read(&self.dir.join("steps.jsonl")))
    }

    pub(crate) fn truth(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.dir.join("truth.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| {
                Json::parse(line).unwrap_or_else(|e| panic!("{}: truth.jsonl: {e}", self.name))
            })
            .collect()
    }

    pub(crate) fn is_large(&self) -> bool {
        self.dir.join(self.capture).metadata().is_ok_and(|m| m.len() > LARGEST)
    }

    /// The arguments that name this fixture, relative to its folder. All text was
    /// recorded on the monotonic clock; of a killed recorder the formats are beside it.
    pub(crate) fn arguments(&self) -> Vec<&'static str> {
        let mut arguments = vec![self.capture];
        if self.steps {
            arguments.extend(["--markers", "steps.jsonl"]);
        }
        if self.name.starts_with("dialects/") && self.capture.contains(".txt") {
            arguments.extend(["--trace-clock", "mono"]);
        }
        if self.dir.join("formats").is_dir() {
            arguments.extend(["--formats", "formats"]);
        }
        arguments
    }

    pub(crate) fn analyze(&self) -> Analysis {
        analyze(&self.bytes(), self.step_bytes().as_deref())
            .unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The fixtures of a kind (`recorded`, `dialects`, `stacks`, `crafted`, `malformed`), by name. Recorded
/// ones are also taken from the folder that `AGENTTRACE_FIXTURES` names.
pub(crate) fn fixtures(kind: &str) -> Vec<Fixture> {
    let mut folders = vec![root().join("fixtures").join(kind)];
    if kind == "recorded"
        && let Some(more) = std::env::var_os("AGENTTRACE_FIXTURES")
    {
        folders.push(PathBuf::from(more));
    }
    let mut found = Vec::new();
    for folder in folders {
        for dir in entries(&folder) {
            let Some(capture) = CAPTURES.iter().find(|name| dir.join(name).exists()) else {
                continue;
            };
            let name = format!("{kind}/{}", file_name(&dir));
            let steps = dir.join("steps.jsonl").is_file();
            found.push(Fixture { name, dir, capture, steps });
        }
    }
    found
}

/// The entries of a folder, sorted; none where it does not exist.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok().map(|e| e.path()))
        .collect();
    list.sort();
    list
}

/// The files below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for entry in entries(folder) {
        if entry.is_dir() { list.extend(files_below(&entry)) } else { list.push(entry) }
    }
    list
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the stages before the report make of a capture.
#[derive(Debug)]
pub(crate) struct Analysis {
    pub(crate) info: CaptureInfo,
    pub(crate) model: Model,
    pub(crate) windows: Windows,
    pub(crate) paths: Vec<StepPath>,
    pub(crate) totals: Totals,
}

/// Bytes to critical paths, as the program does it.
pub(crate) fn analyze(bytes: &[u8], steps: Option<&[u8]>) -> Result<Analysis, String> {
    analyze_files(&Input { main: bytes, parts: Vec::new() }, &ReadOptions::default(), steps)
}

/// The same for a capture of several files, and one that does not say all of itself.
pub(crate) fn analyze_files(
    input: &Input<'_>,
    read: &ReadOptions,
    steps: Option<&[u8]>,
) -> Result<Analysis, String> {
    analyze_by(Builder::new, input, read, steps)
}

impl Analysis {
    /// A step's path, a line for each segment.
    pub(crate) fn words_of(&self, step: usize) -> Vec<String> {
        let (window, path) = (&self.windows.steps[step], &self.paths[step]);
        let mut list = vec![format!("step {} {} {}", window.id, window.start, window.end)];
        for s in &path.segments {
            let frames = path.stacks.frames(s.stack);
            let stack: Vec<_> = frames.iter().map(|f| f.text(&self.model, s.end)).collect();
            list.push(format!(
                "{} {} {} {} {:?} {} {:?}",
                s.start,
                s.end,
                s.cause.name(),
                s.resource.name(),
                s.under,
                stack.join(" > "),
                s.reason
            ));
        }
        list
    }
}

/// The same with a builder of one's own.
pub(crate) fn analyze_by(
    builder: impl Fn(&CaptureInfo) -> Builder,
    input: &Input<'_>,
    read: &ReadOptions,
    steps: Option<&[u8]>,
) -> Result<Analysis, String> {
    analyze_skimming(builder, input, read, steps, None)
}

/// The same of a capture whose beginning is skimmed.
pub(crate) fn analyze_skimming(
    builder: impl Fn(&CaptureInfo) -> Builder,
    input: &Input<'_>,
    read: &ReadOptions,
    steps: Option<&[u8]>,
    beginning: Option<Beginning>,
) -> Result<Analysis, String> {
    let unpacked = Unpacked::new(input, &Limits::default()).map_err(|e| e.to_string())?;
    let capture = Capture::open(&unpacked, read).map_err(|e| e.to_string())?;
    let info: CaptureInfo = capture.info().clone();
    let mut builder = builder(&info);
    let skim = beginning.map(|beginning| builder.skim(beginning));
    let totals = capture
        .read_skimming(skim.as_ref(), &mut Diagnostics::default(), &mut |events| {
            builder.push(events)
        })
        .map_err(|e| e.to_string())?;
    let file: Option<StepFile> = steps.map(read_steps);
    // A cut carries what the whole capture calibrated.
    let model =
        builder.finish(file.as_ref().and_then(|f| f.calibration)).map_err(|e| e.to_string())?;
    let options = MarkOptions { file: file.as_ref(), ..MarkOptions::default() };
    let marked = place_marks(&model, &info, &options)?;
    let windows = claim_tasks(&model, marked);
    let paths = agenttrace_attribute::walk(&model, &windows);
    Ok(Analysis { info, model, windows, paths, totals })
}

/// The text of `dump --stage events`: header lines, and a line an event.
pub(crate) fn events_text(bytes: &[u8]) -> (String, Vec<String>) {
    let unpacked = Unpacked::of(bytes).expect("the fixture unpacks");
    let capture = Capture::open(&unpacked, &ReadOptions::default()).expect("the fixture opens");
    let mut header = String::new();
    write_events_header(capture.info(), &mut header);
    let mut lines = Vec::new();
    capture
        .read(&mut Diagnostics::default(), &mut |events| {
            for event in events {
                let mut line = String::new();
                write_event(event, &mut line);
                lines.push(line);
            }
        })
        .expect("the fixture reads");
    (header, lines)
}

/// What the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program in a folder, with nothing of the environment that could show.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_agenttrace"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("the output is UTF-8"),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The JSON report of a fixture, as text.
pub(crate) fn report_text(fixture: &Fixture, more: &[&str]) -> String {
    let mut arguments = vec!["analyze"];
    arguments.extend(fixture.arguments());
    arguments.extend(["--format", "json"]);
    arguments.extend(more);
    let answer = run(&fixture.dir, &arguments);
    assert_eq!(answer.code, 0, "{}: {}", fixture.name, answer.err);
    answer.out
}

/// Numbers that look random and are the same in every run (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or(0) % limit.max(1)
    }
}

/// Compares a table with the block of its name in a page, or writes it there where
/// `AGENTTRACE_BLESS` is set.
pub(crate) fn bless_block(page: &str, name: &str, table: &str) {
    let path = root().join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let (begin, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
    let start = text.find(&begin).map(|at| at + begin.len());
    let range = start.and_then(|start| Some(start..start + text[start..].find(end)?));
    let range = range.unwrap_or_else(|| panic!("{page} has no block {begin:?}"));
    if std::env::var_os("AGENTTRACE_BLESS").is_some() {
        let text = format!("{}{table}{}", &text[..range.start], &text[range.end..]);
        std::fs::write(&path, text).expect("the page is written");
    } else {
        assert!(
            text[range] == *table,
            "{page}: the table {name} is not what the test made; AGENTTRACE_BLESS=1 writes it:\n{table}"
        );
    }
}
