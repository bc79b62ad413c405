//! Captures to the text kept under `tests/golden/`.
//!
//! `tests/golden/KIND/CASE/FILE` holds what the program prints for
//! `fixtures/KIND/CASE`; the file's name selects the stage. `AGENTTRACE_BLESS=1`
//! rewrites the files that are there, and makes those that each kind must have.

use std::path::Path;

use crate::support::{
    Answer, CARRIED, Fixture, entries, file_name, files_below, fixtures, root, run,
};

const KINDS: [&str; 5] = ["recorded", "dialects", "stacks", "crafted", "malformed"];

/// File name to arguments, before the capture's own.
const STAGES: &[(&str, &[&str])] = &[
    ("report.txt", &["analyze"]),
    ("report.json", &["analyze", "--format", "json"]),
    ("report.md", &["analyze", "--format", "md"]),
    ("stacks.folded", &["flamegraph", "--folded"]),
    ("locks.folded", &["flamegraph", "--folded", "--kind", "locks"]),
    ("histogram.txt", &["hist", "--text"]),
    ("records.txt", &["dump", "--stage", "records"]),
    ("events.txt", &["dump", "--stage", "events"]),
    ("timelines.txt", &["dump", "--stage", "timelines"]),
    ("windows.txt", &["dump", "--stage", "windows"]),
    ("attribution.txt", &["dump", "--stage", "attribution"]),
    ("verdicts.txt", &["dump", "--stage", "verdicts"]),
    ("check.txt", &["check"]),
];

/// What `analyze` says besides its report: the exit code, then standard error.
const STDERR: &str = "stderr.txt";

fn bless() -> bool {
    std::env::var_os("AGENTTRACE_BLESS").is_some_and(|v| v == "1")
}

/// The goldens that every fixture of a kind has.
fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "malformed" => &[STDERR],
        "crafted" => &["report.txt", "attribution.txt"],
        _ => &["report.txt"],
    }
}

fn ask(fixture: &Fixture, arguments: &[&str]) -> Answer {
    let mut all = arguments.to_vec();
    all.extend(fixture.arguments());
    // Symbols that were carried along with stacks.
    if fixture.dir.join("symfs").is_dir() && matches!(arguments, ["analyze" | "flamegraph", ..]) {
        all.extend(CARRIED);
    }
    run(&fixture.dir, &all)
}

fn actual(fixture: &Fixture, name: &str, expect_silence: bool) -> Result<String, String> {
    if name == STDERR {
        let answer = ask(fixture, &["analyze"]);
        return Ok(format!("{}\n{}", answer.code, answer.err));
    }
    let stage = STAGES.iter().find(|(file, _)| *file == name);
    let (_, arguments) = stage.ok_or_else(|| format!("no stage writes a {name}"))?;
    let answer = ask(fixture, arguments);
    if answer.code != 0 {
        return Err(format!("exit code {}: {}", answer.code, answer.err));
    }
    if expect_silence && !answer.err.is_empty() {
        return Err(format!(
            "standard error is not empty, and there is no {STDERR}: {}",
            answer.err
        ));
    }
    Ok(answer.out)
}

/// The first line that differs, with its number.
fn difference(want: &str, got: &str) -> String {
    let mut lines = want.lines().zip(got.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((index, (a, b))) => format!("line {}:\n  kept    {a}\n  printed {b}", index + 1),
        None => format!("{} lines kept, {} printed", want.lines().count(), got.lines().count()),
    }
}

fn compare(fixture: &Fixture, folder: &Path, problems: &mut Vec<String>) {
    let kind = fixture.name.split('/').next().unwrap_or("");
    let mut names: Vec<String> = entries(folder).iter().map(|path| file_name(path)).collect();
    for name in required(kind) {
        if !names.iter().any(|n| n == name) {
            names.push((*name).to_owned());
        }
    }
    let silent = !names.iter().any(|n| n == STDERR);
    for name in names {
        let place = format!("{}/{name}", fixture.name);
        let got = match actual(fixture, &name, silent) {
            Ok(got) => got,
            Err(why) => {
                problems.push(format!("{place}: {why}"));
                continue;
            }
        };
        for hidden in [root().to_string_lossy().as_ref(), fixture.dir.to_string_lossy().as_ref()] {
            if got.contains(hidden) {
                problems.push(format!("{place}: the output holds the path {hidden}"));
            }
        }
        let file = folder.join(&name);
        if bless() {
            std::fs::create_dir_all(folder).expect("the folder can be made");
            std::fs::write(&file, &got).expect("the golden can be written");
            continue;
        }
        match std::fs::read_to_string(&file) {
            Err(_) => problems.push(format!("{place}: missing")),
            Ok(want) if want.is_empty() => problems.push(format!("{place}: empty")),
            Ok(want) if want != got => {
                problems.push(format!("{place}: {}", difference(&want, &got)))
            }
            Ok(_) => {}
        }
    }
}

#[test]
fn goldens() {
    let kept = root().join("tests/golden");
    let mut problems = Vec::new();
    for kind in KINDS {
        let in_repository = root().join("fixtures").join(kind);
        for fixture in fixtures(kind).into_iter().filter(|f| f.dir.starts_with(&in_repository)) {
            compare(&fixture, &kept.join(&fixture.name), &mut problems);
        }
    }
    for file in files_below(&kept) {
        let fixture = file
            .parent()
            .and_then(|p| p.strip_prefix(&kept).ok())
            .map(|p| root().join("fixtures").join(p));
        if !fixture.is_some_and(|dir| dir.is_dir()) {
            let place = file.strip_prefix(root()).unwrap_or(&file);
            problems.push(format!("{}: belongs to no fixture", place.display()));
        }
    }
    assert!(
        problems.is_empty(),
        "{}\n\nAGENTTRACE_BLESS=1 cargo test --release rewrites them; read the diff line by line",
        problems.join("\n")
    );
}

const SHOWN: &str = "recorded/mmap_fault_storm";

/// The report that the README shows is the one its command prints.
#[test]
fn the_readme_shows_real_output() {
    let Some(fixture) =
        fixtures("recorded").into_iter().find(|f| f.name == SHOWN && f.dir.starts_with(root()))
    else {
        return;
    };
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("there is a README.md");
    let (begin, end) = ("<!-- report:begin -->\n", "<!-- report:end -->");
    let from = readme.find(begin).expect("the mark before the report") + begin.len();
    let to = readme.find(end).expect("the mark after the report");
    let got = ask(&fixture, &["analyze"]).out;
    let shown = format!("```text\n{}\n```\n", got.trim_end());
    if bless() {
        let text = format!("{}{shown}{}", &readme[..from], &readme[to..]);
        std::fs::write(&path, text).expect("README.md can be written");
        return;
    }
    assert!(readme[from..to] == shown, "README.md: {}", difference(&readme[from..to], &shown));
}
