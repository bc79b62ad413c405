//! Tables of metadata calls, watchers and locks: the workload's own counts, and cases made by hand.

use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

fn fixture(name: &str) -> Fixture {
    let all = fixtures(name.split('/').next().unwrap_or(name));
    all.into_iter().find(|f| f.name == name).expect("the fixture is there")
}

/// The rows of a table of a step, of which `keep` says yes.
fn rows(report: &Json, step: usize, table: &str, keep: impl Fn(&Json) -> bool) -> Vec<Json> {
    let steps = report.get("steps");
    let rows = steps.list().get(step).map(|s| s.get("details").get(table).get("rows"));
    let rows = rows.expect("the step is in the report");
    rows.list().iter().filter(|row| keep(row)).cloned().collect()
}

fn report(name: &str) -> Json {
    Json::parse(&report_text(&fixture(name), &[])).expect("the report is JSON")
}

fn sum(rows: &[Json], key: &str) -> u64 {
    rows.iter().filter_map(|row| row.get(key).number()).sum()
}

#[test]
fn metadata_calls_are_counted_as_the_workload_counts_them() {
    let (name, truth) = ("recorded/metadata_cascade", fixture("recorded/metadata_cascade").truth());
    let report = report(name);
    for (step, truth) in truth.iter().enumerate().take(3) {
        let of = |call: &'static str| {
            rows(&report, step, "metadata", move |row| row.get("call").text() == Some(call))
        };
        let stats = of("newfstatat");
        assert_eq!(Some(sum(&stats, "enoent")), truth.get("missing").number());
        let calls = truth.get("counts").get("syscalls");
        for call in ["newfstatat", "openat", "getdents64", "close"] {
            assert_eq!(Some(sum(&of(call), "count")), calls.get(call).number(), "{call}");
        }
        // 12 directories, each opened anew, with the fd of the one before.
        assert_eq!(sum(&stats, "directories"), 12);
        assert_eq!(sum(&of("getdents64"), "directories"), 12);
        let all = rows(&report, step, "metadata", |_| true);
        assert_eq!(sum(&all, "cold") > 0, truth.get("read_bytes").number() > Some(0));
        assert_eq!(sum(&all, "cold") + sum(&all, "warm"), sum(&all, "count"));
    }
    let cold = rows(&report, 0, "metadata", |row| row.get("call").text() == Some("getdents64"));
    // Each directory was read from the disk once, and its end was not.
    assert_eq!(sum(&cold, "cold"), 12);
    assert!(sum(&cold, "cold_p50_ns") > 10 * sum(&cold, "warm_p50_ns"));
}

#[test]
fn watchers_are_woken_as_often_as_they_slept() {
    let truth = fixture("recorded/watch_storm").truth();
    let report = report("recorded/watch_storm");
    let all = |step| rows(&report, step, "watchers", |_| true);
    assert!(all(0).is_empty());
    // Those that slept once more, after the step, count here.
    let slept = |step: usize| truth.get(step).and_then(|t| t.get("watcher_sleeps").number());
    let woken = sum(&all(1), "wakeups");
    assert!(Some(woken) <= slept(1) && woken >= 10, "{woken} of {:?}", slept(1));
    assert_eq!(Some(sum(&all(2), "wakeups")), slept(2));
    let delayed = sum(&all(1), "delayed_ns");
    let measured = truth.get(1).and_then(|t| t.get("verdict_ns").number()).unwrap_or(0);
    assert!(delayed.abs_diff(measured) * 20 <= measured, "{delayed} {measured}");
}

#[test]
fn a_watcher_that_was_there_before_is_told_from_a_server_of_the_filesystem() {
    let report = report("crafted/watcher_before");
    let first = rows(&report, 0, "watchers", |_| true);
    assert_eq!((first.len(), sum(&first, "wakeups")), (1, 12));
    assert_eq!((sum(&first, "waking_ns"), sum(&first, "other_p50_ns")), (12 * 20_000, 2_000));
    // It ran from 21 to 31 us after each call's begin.
    assert_eq!((sum(&first, "ran_ns"), sum(&first, "delayed_ns")), (12 * 10_000, 0));
    assert!(rows(&report, 1, "watchers", |_| true).is_empty());
}

#[test]
fn a_lock_that_was_handed_on_is_charged_to_each_holder() {
    let report = report("crafted/lock_convoy");
    let row = rows(&report, 0, "locks", |row| row.get("address").text() == Some("0xb000"));
    // From 1500 to 3930: indexer until 2500, packer from then to 3900.
    assert_eq!((row.len(), sum(&row, "total_ns")), (1, 2_430_000));
    let packer = row.first().expect("one lock");
    assert_eq!(packer.get("holder").text(), Some("packer (tid 103) and 1 other"));
    assert_eq!(sum(&row, "holder_runnable_ns"), 1_000_000);
    assert_eq!(sum(&row, "holder_ran_ns"), 400_000);
    assert_eq!(sum(&row, "holder_blocked_ns"), 0);
}

#[test]
fn suspected_locks_have_rows_without_an_address() {
    let report = report("crafted/no_lock_events");
    for (step, kind, call) in
        [(0, "mmap_lock (suspected)", "mmap"), (1, "directory lock (suspected)", "unlink")]
    {
        let all = rows(&report, step, "locks", |_| true);
        assert_eq!((all.len(), sum(&all, "total_ns")), (1, 2_000_000));
        let row = all.first().expect("one lock");
        assert_eq!((row.get("kind").text(), row.get("call").text()), (Some(kind), Some(call)));
        assert_eq!(row.get("address").text(), None);
    }
    assert!(rows(&report, 2, "locks", |_| true).is_empty());
    // Low: the events that would tell are not in the capture.
    let steps = report.get("steps");
    let first = steps.list().first().map(|s| s.get("verdicts").list());
    let confidence = first.and_then(|v| v.first()).and_then(|v| v.get("confidence").text());
    assert_eq!(confidence, Some("low"));
}
