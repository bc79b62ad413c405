//! Exports against the viewers' own schemas and field numbers, and against values worked out by hand.

mod firefox;
mod perfetto;
mod speedscope;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

/// The bytes that an export writes to standard output.
fn export(dir: &Path, arguments: &[&str], more: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_agenttrace"))
        .arg("export")
        .args(arguments)
        .args(more)
        .current_dir(dir)
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", dir.display());
    output.stdout
}

fn of_fixture(fixture: &Fixture, viewer: &str, more: &[&str]) -> Vec<u8> {
    let mut arguments = vec!["--to", viewer];
    arguments.extend(more);
    export(&fixture.dir, &fixture.arguments(), &arguments)
}

/// Every fixture that the report can be made of.
fn all() -> Vec<Fixture> {
    let kinds = ["crafted", "recorded", "dialects", "stacks"];
    let all = kinds.into_iter().flat_map(fixtures).filter(|f| !f.is_large());
    let all: Vec<Fixture> = all.collect();
    assert!(all.len() > 60, "only {} fixtures were found", all.len());
    all
}

fn crafted(name: &str) -> Fixture {
    let name = format!("crafted/{name}");
    let found = fixtures("crafted").into_iter().find(|f| f.name == name);
    found.unwrap_or_else(|| panic!("{name} is missing"))
}

/// The steps of the report of a fixture.
fn steps(fixture: &Fixture) -> Vec<Json> {
    let report = Json::parse(&report_text(fixture, &[])).expect("the report is JSON");
    report.get("steps").list().to_vec()
}

fn json(bytes: &[u8]) -> Json {
    let text = std::str::from_utf8(bytes).expect("the export is UTF-8");
    Json::parse(text.trim_end()).expect("the export is JSON")
}

/// Whether a text holds what would hide or reorder the text around it.
fn is_hostile(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
}

/// A capture whose names do harm where they are not escaped: markup, quotes, escape
/// sequences, bytes that are no UTF-8, and a name of 4 KB. It deletes itself.
struct Hostile(PathBuf);

/// How the escaped tool begins.
const TOOL: &str = "<script>alert(1)</script>\\x1b[31m\\u{202e}\"';aaaa";

impl Hostile {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("agenttrace-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder is made");
        let vfork = crafted("vfork");
        let events = String::from_utf8(vfork.bytes()).expect("events are text");
        // 15 bytes, as the kernel has it, one of them no UTF-8.
        let events = events.replace("\"agent\"", "\"<b>\\x1b[31m\\xff\\x22';\\x0a\"");
        std::fs::write(folder.join("events.txt"), events).expect("the capture is written");
        let tool = format!("<script>alert(1)</script>\\u001b[31m\\u202e\\\"';{}", "a".repeat(4096));
        let step = format!(
            "{{\"step_id\":\"</step>\\u0007\",\"tool\":\"{tool}\",\"pid\":100,\"tid\":100,\
             \"start_ns\":1000000,\"end_ns\":4000000,\"no\\u001bte\":\"<img>\\u202e\"}}\n"
        );
        std::fs::write(folder.join("steps.jsonl"), step).expect("the marks are written");
        Self(folder)
    }

    fn export(&self, viewer: &str) -> Vec<u8> {
        export(&self.0, &["events.txt", "--markers", "steps.jsonl"], &["--to", viewer])
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        // Left behind it does no harm.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_same_bytes_at_any_number_of_threads() {
    let chosen = ["recorded/nested_steps", "recorded/pool_handoff", "crafted/interleaved_marks"];
    for fixture in all().iter().filter(|f| chosen.contains(&f.name.as_str())) {
        for viewer in ["firefox", "perfetto", "speedscope"] {
            let once = of_fixture(fixture, viewer, &["--threads", "1"]);
            let again = of_fixture(fixture, viewer, &["--threads", "4"]);
            assert!(once == again, "{} to {viewer}", fixture.name);
        }
    }
}

#[test]
fn viewers_follow_from_the_table() {
    let fixture = crafted("vfork");
    let answer = crate::support::run(&fixture.dir, &["export", "events.txt", "--to", "netscape"]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("firefox, perfetto, speedscope"), "{}", answer.err);
    // The time option that other commands call --to.
    let answer = crate::support::run(&fixture.dir, &["export", "--help"]);
    assert!(answer.out.contains("--until <NS>"), "{}", answer.out);
    assert!(answer.out.contains("a processed profile for profiler.firefox.com"), "{}", answer.out);
}
