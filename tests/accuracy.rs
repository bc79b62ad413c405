//! The recorded workloads' own clocks against the attribution.
//!
//! Tolerances: the median error over all operations is at most 3 %, the worst at most
//! 15 %; operations below 5 % of their step are not compared, since the two clock
//! reads around them weigh too much. Counts are exact. Run delay is within 5 %.

use std::collections::BTreeMap;

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::path::StepPath;
use agenttrace_model::Model;

use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

const MEDIAN: f64 = 0.03;
const WORST: f64 = 0.15;
const LEAST_SHARE: f64 = 0.05;
const RUN_DELAY: f64 = 0.05;

/// Counts of the workload that are its own alone, where another task of the agent
/// works for the step and does the same.
const CLIENT_ONLY: &[(&str, &str)] = &[("recorded/tool_server", "sendto")];

/// Whether a frame of an entry stack belongs to an operation of `truth.jsonl`.
fn belongs(frame: &str, operation: &str) -> bool {
    match operation {
        "page fault" => frame.starts_with("page fault ") || frame.starts_with("major fault "),
        "major fault" => frame.starts_with("major fault "),
        "spawn" => [
            "spawn",
            "loader",
            "exit",
            "fork",
            "vfork",
            "clone",
            "clone3",
            "execve",
            "execveat",
            "exit_group",
            "wait4",
            "waitid",
        ]
        .contains(&frame),
        _ => frame == operation,
    }
}

/// Time on the path of a step under the frame of an operation.
pub(crate) fn attributed(model: &Model, path: &StepPath, operation: &str) -> u64 {
    path.segments
        .iter()
        .filter(|s| {
            path.stacks.frames(s.stack).iter().any(|f| belongs(&f.text(model, s.end), operation))
        })
        .map(|s| (s.end - s.start).0)
        .sum()
}

/// Time on the path of a step by cause.
pub(crate) fn by_cause(path: &StepPath) -> BTreeMap<Cause, u64> {
    let mut sums = BTreeMap::new();
    for segment in &path.segments {
        *sums.entry(segment.cause).or_default() += (segment.end - segment.start).0;
    }
    sums
}

/// The line of a step in `truth.jsonl`.
pub(crate) fn of_step<'t>(truth: &'t [Json], id: &str) -> Option<&'t Json> {
    truth.iter().find(|line| {
        let step = line.get("step_id");
        step.text() == Some(id) || step.number().is_some_and(|n| n.to_string() == id)
    })
}

fn checked() -> Vec<(Fixture, Vec<Json>)> {
    with_truth(&["recorded"])
}

fn with_truth(kinds: &[&str]) -> Vec<(Fixture, Vec<Json>)> {
    let with_truth = |f: Fixture| {
        let truth = f.truth();
        (!truth.is_empty() && !f.is_large()).then_some((f, truth))
    };
    kinds.iter().flat_map(|kind| fixtures(kind)).filter_map(with_truth).collect()
}

#[test]
fn every_declared_step_is_in_the_report() {
    for (fixture, truth) in checked() {
        let found = fixture.analyze().windows.steps;
        for line in &truth {
            let id = line.get("step_id");
            assert!(
                found
                    .iter()
                    .any(|s| of_step(std::slice::from_ref(line), &s.id.to_string()).is_some()),
                "{}: step {id:?} is not in the report",
                fixture.name
            );
        }
    }
}

#[test]
fn the_largest_cause_is_the_declared_one() {
    let mut wrong = Vec::new();
    for (fixture, truth) in with_truth(&["recorded", "stacks"]) {
        let analysis = fixture.analyze();
        for (step, path) in analysis.windows.steps.iter().zip(&analysis.paths) {
            let Some(want) =
                of_step(&truth, &step.id.to_string()).and_then(|t| t.get("cause").text())
            else {
                continue;
            };
            let sums = by_cause(path);
            let largest =
                sums.iter().max_by_key(|(_, ns)| **ns).map_or("none", |(cause, _)| cause.name());
            if largest != want {
                wrong.push(format!(
                    "{} step {}: {want} declared, {largest} found, of {sums:?}",
                    fixture.name, step.id
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operations_take_what_the_workload_measured() {
    let mut errors: Vec<(f64, String)> = Vec::new();
    for (fixture, truth) in checked() {
        let analysis = fixture.analyze();
        if analysis.totals.lost > 0 {
            continue;
        }
        for (index, (step, path)) in analysis.windows.steps.iter().zip(&analysis.paths).enumerate()
        {
            // The workload's clock leaves nested steps out, the window does not.
            if analysis.windows.steps.iter().any(|s| s.parent == Some(index)) {
                continue;
            }
            let wall = (step.end - step.start).0;
            let Some(line) = of_step(&truth, &step.id.to_string()) else { continue };
            for operation in line.get("operations").list() {
                let (Some(frame), Some(ns)) =
                    (operation.get("frame").text(), operation.get("ns").number())
                else {
                    continue;
                };
                if (ns as f64) < LEAST_SHARE * wall as f64 {
                    continue;
                }
                let got = attributed(&analysis.model, path, frame);
                let error = (got as f64 - ns as f64).abs() / ns as f64;
                errors.push((
                    error,
                    format!(
                        "{} step {} {frame}: measured {ns}, attributed {got}",
                        fixture.name, step.id
                    ),
                ));
            }
        }
    }
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some(median) = errors.get(errors.len() / 2) else { return };
    let worst: Vec<String> = errors
        .iter()
        .filter(|(e, _)| *e > WORST)
        .map(|(e, what)| format!("{:.1} %: {what}", e * 100.0))
        .collect();
    assert!(
        worst.is_empty(),
        "over {WORST}, of {} operations:\n{}",
        errors.len(),
        worst.join("\n")
    );
    assert!(median.0 <= MEDIAN, "the median error is {:.2} %: {}", median.0 * 100.0, median.1);
}

#[test]
fn counts_are_exact() {
    let mut wrong = Vec::new();
    for (fixture, truth) in checked() {
        if fixture.analyze().totals.lost > 0 {
            continue;
        }
        let report = Json::parse(&report_text(&fixture, &[])).expect("the report is JSON");
        for step in report.get("steps").list() {
            let id = step.get("step_id");
            let id = id
                .text()
                .map(str::to_owned)
                .or_else(|| id.number().map(|n| n.to_string()))
                .unwrap_or_default();
            let Some(line) = of_step(&truth, &id) else { continue };
            let nested =
                report.get("steps").list().iter().any(|s| s.get("parent") == step.get("step_id"));
            if nested {
                continue;
            }
            let (counts, inclusive) = (line.get("counts"), step.get("inclusive"));
            let calls = inclusive.get("syscalls").list();
            let mut compare = |what: &str, want: &Json, got: Option<u64>| {
                if let Some(want) = want.number()
                    && got != Some(want)
                {
                    wrong.push(format!(
                        "{} step {id} {what}: {want} counted by the workload, {got:?} found",
                        fixture.name
                    ));
                }
            };
            let faults = inclusive.get("faults");
            compare(
                "major_faults",
                counts.get("major_faults"),
                faults.get("major").get("count").number(),
            );
            compare(
                "minor_faults",
                counts.get("minor_faults"),
                faults.get("minor").get("count").number(),
            );
            compare("fsyncs", counts.get("fsyncs"), inclusive.get("fsyncs").get("count").number());
            compare("forks", counts.get("forks"), inclusive.get("spawns").get("forks").number());
            compare("execs", counts.get("execs"), inclusive.get("spawns").get("execs").number());
            for (name, want) in counts.get("syscalls").object() {
                if CLIENT_ONLY.contains(&(fixture.name.as_str(), name.as_str())) {
                    continue;
                }
                let row = calls.iter().find(|c| c.get("name").text() == Some(name));
                compare(name, want, Some(row.and_then(|r| r.get("count").number()).unwrap_or(0)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn run_delay_is_the_schedulers() {
    // Elsewhere each wakeup adds the 5 to 20 us from waking to enqueueing, which
    // schedstat does not count.
    for (fixture, truth) in checked().into_iter().filter(|(f, _)| f.name == "recorded/run_delay") {
        let analysis = fixture.analyze();
        for (step, path) in analysis.windows.steps.iter().zip(&analysis.paths) {
            let measured =
                of_step(&truth, &step.id.to_string()).and_then(|t| t.get("run_delay_ns").number());
            let Some(measured) = measured else { continue };
            let got = by_cause(path).get(&Cause::RunDelay).copied().unwrap_or(0);
            let error = (got as f64 - measured as f64).abs() / measured as f64;
            assert!(error <= RUN_DELAY, "step {}: schedstat {measured}, attributed {got}", step.id);
        }
    }
}
