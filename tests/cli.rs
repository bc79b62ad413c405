//! The command line: help, exit codes, what goes to which stream.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::json::Json;
use crate::support::{Fixture, fixtures, root, run};

/// A small capture with steps, recorded if there is one.
fn sample() -> Fixture {
    let mut all = ["recorded", "crafted"].into_iter().flat_map(fixtures);
    all.find(|f| f.steps && !f.is_large()).expect("there is a fixture with steps")
}

fn analyze(more: &[&str]) -> crate::support::Answer {
    let fixture = sample();
    let mut arguments = vec!["analyze"];
    arguments.extend(fixture.arguments());
    arguments.extend(more);
    run(&fixture.dir, &arguments)
}

#[test]
fn help_shows_examples_before_options() {
    for arguments in [
        &["--help"][..],
        &["analyze", "--help"],
        &["check", "--help"],
        &["dump", "--help"],
        &["cut", "--help"],
        &["context", "--help"],
    ] {
        let answer = run(&root(), arguments);
        assert_eq!(answer.code, 0, "{arguments:?}: {}", answer.err);
        assert!(answer.err.is_empty(), "{arguments:?}: {}", answer.err);
        let help = answer.out.to_lowercase();
        let examples =
            help.find("example").unwrap_or_else(|| panic!("{arguments:?} shows no example"));
        let options = help.find("options:").unwrap_or(help.len());
        assert!(examples < options, "{arguments:?}: examples come after the options");
    }
}

#[test]
fn every_subcommand_of_the_readme_has_help() {
    for command in ["analyze", "check", "flamegraph", "hist", "dump", "cut", "context"] {
        let answer = run(&root(), &[command, "--help"]);
        assert_eq!(answer.code, 0, "{command}: {}", answer.err);
    }
}

#[test]
fn results_go_to_standard_output() {
    let answer = analyze(&[]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.contains("agenttrace"), "{}", answer.out);
    assert!(!answer.out.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn json_stands_alone_on_standard_output() {
    let answer = analyze(&["--format", "json"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    let report = Json::parse(&answer.out).expect("standard output is one JSON value");
    assert_eq!(report.get("schema").text(), Some("agenttrace.report/1"));
    assert!(!report.get("steps").list().is_empty());
}

#[test]
fn one_step_shows_its_full_block() {
    let report = Json::parse(&analyze(&["--format", "json"]).out).expect("JSON");
    let id = report.get("steps").list()[0].get("step_id");
    let id =
        id.text().map(str::to_owned).or_else(|| id.number().map(|n| n.to_string())).expect("an id");
    let answer = analyze(&["--step", &id]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.contains(&format!("step {id}")), "{}", answer.out);
    assert!(answer.out.contains("100.0"), "the causes add up to 100 %:\n{}", answer.out);
}

#[test]
fn what_cannot_be_done_exits_with_2() {
    let missing = run(&root(), &["analyze", "no-such-file.data"]);
    assert_eq!(missing.code, 2);
    assert!(missing.out.is_empty(), "{}", missing.out);
    assert!(missing.err.contains("no-such-file.data"), "{}", missing.err);

    let unknown = analyze(&["--step", "no-such-step"]);
    assert_eq!(unknown.code, 2, "{}", unknown.err);
    assert!(unknown.err.contains("no-such-step"), "{}", unknown.err);

    let format = run(&root(), &["analyze", "README.md"]);
    assert_eq!(format.code, 2);
    assert!(format.err.contains("README.md"), "{}", format.err);

    let option = run(&root(), &["analyze", "--no-such-option"]);
    assert_eq!(option.code, 2);
}

#[test]
fn a_broken_pipe_is_success() {
    let fixture = sample();
    let mut child = Command::new(env!("CARGO_BIN_EXE_agenttrace"))
        .args(["dump", "--stage", "events", fixture.capture])
        .current_dir(&fixture.dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut first = [0_u8; 16];
    let mut out = child.stdout.take().expect("it is piped");
    let _ = out.read(&mut first);
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the program with this capture on its standard input.
fn piped(capture: &[u8], arguments: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agenttrace"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Small enough for the pipe: all of it is written before any output is read.
    child.stdin.take().expect("a pipe").write_all(capture).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

const COUNTED: &str = "\
            bash-10      [000] .....  100000: tracing_mark_write: agenttrace:B|list|t
            bash-10      [000] .....  100010: sys_enter: NR 1 (1, 7, 1, 0, 0, 0)
            bash-10      [000] .....  100900: sys_exit: NR 1 = 1
            bash-10      [000] .....  101000: tracing_mark_write: agenttrace:E|list
";

#[test]
fn a_capture_comes_through_a_pipe_and_its_counts_are_no_seconds() {
    let (code, out, err) = piped(COUNTED.as_bytes(), &["analyze", "-", "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let report = Json::parse(&out).expect("the report is JSON");
    let step = report.get("steps").list().first().expect("one step");
    assert_eq!(step.get("step_id").text(), Some("list"));
    assert_eq!(step.get("wall_ns").number(), Some(1000));
    let verdict = step.get("verdicts").list().first().expect("a verdict");
    // Without switches nothing tells that the task ran.
    assert_eq!(verdict.get("confidence").text(), Some("cannot say"));
    let (code, out, _) = piped(COUNTED.as_bytes(), &["analyze", "-"]);
    assert_eq!(code, 0);
    assert!(out.contains("the capture's clock counts no seconds"), "{out}");
    // With a dot they are seconds.
    let timed = COUNTED.replace("  100", "  1.00").replace("  101", "  1.01");
    let (_, out, _) = piped(timed.as_bytes(), &["analyze", "-"]);
    assert!(!out.contains("counts no seconds"), "{out}");
}

#[test]
fn a_bomb_is_refused_until_it_is_allowed() {
    let bomb = zstd::encode_all(&vec![b'\n'; 100 << 20][..], 1).expect("zstd packs");
    assert!(bomb.len() < 1 << 16);
    let (code, out, err) = piped(&bomb, &["check", "-"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--max-expanded"), "{err}");
    let (code, _, err) = piped(&bomb, &["check", "-", "--max-expanded", "200000000"]);
    assert_eq!(code, 2);
    assert!(err.contains("no known capture format"), "{err}");
}

/// Nobody may be left to read what is said: that is no reason to end otherwise.
#[test]
fn a_closed_standard_error_changes_no_exit_code() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_agenttrace"));
    let status = program.args(["check", "no such file"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

/// A step that is asked for alone is told as it is among all, what is usual for its tool
/// included; the session is then that step's.
#[test]
fn a_step_alone_is_the_same_step() {
    let all = ["recorded", "crafted"].into_iter().flat_map(fixtures);
    let mut compared = 0;
    for fixture in all.filter(|f| f.steps && !f.is_large()).step_by(3) {
        let json = |more: &[&str]| {
            let mut arguments = vec!["analyze", "--format", "json"];
            arguments.extend(fixture.arguments());
            arguments.extend(more);
            let answer = run(&fixture.dir, &arguments);
            assert_eq!(answer.code, 0, "{}: {}", fixture.name, answer.err);
            Json::parse(&answer.out).expect("the report is JSON")
        };
        let whole = json(&[]);
        let steps = whole.get("steps").list();
        for step in steps.first().into_iter().chain(steps.iter().skip(1).last()) {
            let id = step.get("step_id");
            let id = id.text().map_or_else(|| id.number().unwrap().to_string(), str::to_owned);
            let alone = json(&["--step", &id]);
            assert_eq!(
                alone.get("steps").list(),
                std::slice::from_ref(step),
                "{} step {id}",
                fixture.name
            );
            assert_eq!(alone.get("session").get("steps").number(), Some(1));
            assert_eq!(alone.get("notes"), whole.get("notes"), "{} step {id}", fixture.name);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} steps were compared");
}
