//! Who delayed whom, what slow steps have in common, and what recording cost: by hand.

use crate::json::Json;
use crate::support::{fixtures, report_text};

fn report(case: &str) -> Json {
    let name = format!("crafted/{case}");
    let fixture = fixtures("crafted").into_iter().find(|f| f.name == name);
    let fixture = fixture.unwrap_or_else(|| panic!("fixtures/{name} is missing"));
    Json::parse(&report_text(&fixture, &[])).expect("the report is JSON")
}

fn step(report: &Json, id: u64) -> &Json {
    let steps = report.get("steps").list();
    steps.iter().find(|s| s.get("step_id").number() == Some(id)).expect("the step is there")
}

/// The rows of a table, each its columns as text.
fn rows(of: &Json, table: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let text = |value: &Json| match value {
        Json::Text(text) | Json::Number(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => "-".to_owned(),
    };
    let rows = of.get("details").get(table).get("rows").list().iter();
    rows.map(|row| columns.iter().map(|key| text(row.get(key))).collect()).collect()
}

#[test]
fn who_ran_on_the_cpu_of_a_runnable_step_delayed_it() {
    let report = report("delayed_by");
    let columns = ["delayed_by", "how", "delay_ns"];
    let of = |id: u64| rows(step(&report, id), "delayed_by", &columns);
    let how = "ran on its CPU";
    assert_eq!(of(1), [["step 2 (index)", how, "2000000"], ["busy", how, "2000000"]]);
    let compiler = ["compiler", how, "2500000"];
    assert_eq!(of(2), [compiler, ["step 1 (search)", how, "1000000"]]);
    assert!(of(3).is_empty());
    let session =
        rows(report.get("session"), "delayed_by", &["step", "tool", "delayed_by", "delay_ns"]);
    let want = [
        ["2", "index", "compiler", "2500000"],
        ["1", "search", "step 2 (index)", "2000000"],
        ["1", "search", "busy", "2000000"],
        ["2", "index", "step 1 (search)", "1000000"],
    ];
    assert_eq!(session, want);
}

#[test]
fn who_held_the_lock_delayed_the_step() {
    let report = report("futex_lock");
    let got = rows(step(&report, 1), "delayed_by", &["delayed_by", "how", "delay_ns"]);
    assert_eq!(got, [["agent", "held a lock (futex)", "2000000"]]);
}

#[test]
fn the_slow_step_is_told_by_what_the_others_lack() {
    let report = report("slow_step");
    let columns =
        ["tool", "slow", "steps", "median_ns", "slow_median_ns", "cause", "more_ns", "slowest"];
    let want = [["edit", "1", "5", "1000000", "4000000", "run_delay", "3000000", "5"]];
    assert_eq!(rows(report.get("session"), "relative", &columns), want);
    let of = |id: u64| rows(step(&report, id), "relative", &["cause", "more_ns", "median_ns"]);
    assert_eq!(of(5), [["run_delay", "3000000", "0"]]);
    for id in 1..5 {
        assert!(of(id).is_empty(), "step {id}");
    }
}

#[test]
fn events_on_the_path_are_counted_and_weaken_what_they_may_have_made() {
    let slow = report("slow_step");
    // Its only event is the switch away from it; the switch back is another task's.
    let tracing = step(&slow, 5).get("tracing");
    let numbers = ["events", "path_events", "event_cost_ns", "estimate_ns"];
    assert_eq!(numbers.map(|key| tracing.get(key).number()), [1, 1, 300, 300].map(Some));
    assert_eq!(step(&slow, 1).get("tracing").get("estimate_ns").number(), Some(0));

    let calls = report("recording_itself");
    let first = |id: u64| step(&calls, id).get("verdicts").list().first().cloned();
    let verdict = first(1).expect("there is a verdict");
    assert_eq!(step(&calls, 1).get("tracing").get("path_events").number(), Some(20));
    // 20 events of 300 ns are 6 us, of a step of 6.2 us.
    assert_eq!(step(&calls, 1).get("tracing").get("estimate_ns").number(), Some(6000));
    assert_eq!(verdict.get("confidence").text(), Some("low"));
    let reasons: Vec<&str> = verdict.get("reasons").list().iter().filter_map(Json::text).collect();
    assert!(reasons.iter().any(|r| r.starts_with("recording itself took about")), "{reasons:?}");
    let quiet = first(2).expect("there is a verdict");
    let reasons = format!("{:?}", quiet.get("reasons"));
    assert!(!reasons.contains("recording"), "{reasons}");
}
