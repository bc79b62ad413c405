//! Spawns phase by phase, polling loops and connections: their tables against the workload.

use crate::accuracy::of_step;
use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

const PHASES: [&str; 10] = [
    "fork_ns",
    "delay_ns",
    "setup_ns",
    "earlier_ns",
    "exec_prepare_ns",
    "exec_image_ns",
    "loader_ns",
    "program_ns",
    "exit_ns",
    "wakeup_ns",
];

fn fixture(name: &str) -> Fixture {
    let found = fixtures("recorded").into_iter().find(|f| f.name == format!("recorded/{name}"));
    found.unwrap_or_else(|| panic!("fixtures/recorded/{name} is missing"))
}

fn report(name: &str) -> Json {
    Json::parse(&report_text(&fixture(name), &[])).expect("the report is JSON")
}

fn step(report: &Json, id: u64) -> &Json {
    let steps = report.get("steps").list();
    steps.iter().find(|s| s.get("step_id").number() == Some(id)).expect("the step is there")
}

fn rows<'j>(step: &'j Json, table: &str) -> &'j [Json] {
    step.get("details").get(table).get("rows").list()
}

fn number(row: &Json, key: &str) -> u64 {
    row.get(key).number().unwrap_or_else(|| panic!("{key} of {row:?}"))
}

/// What the workload measured for a frame of a step.
fn measured(name: &str, id: u64, frame: Option<&str>) -> u64 {
    let truth = fixture(name).truth();
    let line = of_step(&truth, &id.to_string()).expect("the step has a truth");
    let of = |op: &&Json| op.get("frame").text() == frame;
    let op = line.get("operations").list().iter().find(of).expect("the operation is there");
    number(op, "ns")
}

fn near(got: u64, want: u64, per_cent: u64, what: &str) {
    assert!(got.abs_diff(want) * 100 <= want * per_cent, "{what}: {got}, measured {want}");
}

#[test]
fn phases_add_up_to_the_spawn() {
    let report = report("spawn_phases_nospin");
    for step in report.get("steps").list() {
        for table in ["spawns", "spawn_list"] {
            for row in rows(step, table) {
                let sum: u64 = PHASES.iter().filter_map(|key| row.get(key).number()).sum();
                assert_eq!(sum, number(row, "total_ns"), "{row:?}");
            }
        }
    }
}

/// The parent's own clock, from just before the call to the return of waitpid.
#[test]
fn a_spawn_is_as_long_as_its_parent_measured() {
    let report = report("spawn_phases_nospin");
    for id in 1..=7 {
        // A shell's child is in the shell's own total.
        let own = rows(step(&report, id), "spawns")
            .iter()
            .filter(|row| id != 5 || row.get("program").text() == Some("sh"));
        let total: u64 = own.map(|row| number(row, "total_ns")).sum();
        near(total, measured("spawn_phases_nospin", id, None), 3, &format!("step {id}"));
    }
    let forks: u64 = rows(step(&report, 1), "spawns").iter().map(|r| number(r, "fork_ns")).sum();
    near(forks, measured("spawn_phases_nospin", 1, Some("clone")), 5, "fork");
}

#[test]
fn ways_shells_and_failed_execs_are_told_apart() {
    let report = report("spawn_phases_nospin");
    let only = |id| {
        let rows = rows(step(&report, id), "spawns");
        assert_eq!(rows.len(), 1, "step {id}");
        rows.first().expect("one row")
    };
    let how = |id| only(id).get("how").text();
    assert_eq!([how(1), how(2), how(3)], [Some("fork"), Some("vfork"), Some("posix_spawn")]);
    for id in [1, 2, 3, 4, 6] {
        assert_eq!(only(id).get("program").text(), Some("true"), "step {id}");
        assert_eq!(number(only(id), "count"), 4, "step {id}");
        // Three directories of PATH lack the program.
        assert_eq!(number(only(id), "failed_execs"), if id == 6 { 12 } else { 0 }, "step {id}");
    }
    // The parent has 192 MiB of its own, and a little more.
    let copied = number(only(1), "copied_bytes") >> 20;
    assert!((192..=196).contains(&copied), "{copied} MiB");
    assert_eq!(only(2).get("copied_bytes").number(), None);
    assert_eq!(only(4).get("shell").text(), Some("sh executes true"));
    assert_eq!(number(only(4), "shell_ns"), number(only(4), "earlier_ns"));
    let in_shell: Vec<(Option<&str>, Option<&str>, u64)> = rows(step(&report, 5), "spawns")
        .iter()
        .map(|r| (r.get("program").text(), r.get("shell").text(), number(r, "count")))
        .collect();
    assert!(in_shell.contains(&(Some("sh"), Some("sh only starts true"), 4)), "{in_shell:?}");
    assert!(in_shell.contains(&(Some("true"), None, 4)), "{in_shell:?}");
}

#[test]
fn sleeps_of_a_loop_are_counted() {
    let report = report("polling");
    for (id, frame, count) in
        [(1, "clock_nanosleep", 20), (3, "clock_nanosleep", 12), (4, "epoll_wait", 15)]
    {
        let rows = rows(step(&report, id), "polling");
        assert_eq!(rows.len(), 1, "step {id}");
        let row = rows.first().expect("one row");
        assert_eq!(number(row, "count"), count, "step {id}");
        assert_eq!(row.get("sleeps_in").text(), Some(frame));
        near(number(row, "total_ns"), measured("polling", id, Some(frame)), 3, "sleeps");
    }
    for id in [5, 6] {
        assert!(rows(step(&report, id), "polling").is_empty(), "step {id}");
    }
}

#[test]
fn connections_have_their_peer() {
    let report = report("network_peer");
    let row = |id| rows(step(&report, id), "network_waits").first().expect("a row");
    for id in [1, 2] {
        let peer = row(id).get("peer").text().unwrap_or_default();
        assert!(peer.starts_with("10.213.77.2:"), "step {id}: {peer:?}");
    }
    assert_eq!(row(1).get("peer"), row(2).get("peer"));
    assert_eq!(number(row(1), "fd"), number(row(2), "fd"));
    // Connected before the capture, and not closed within it.
    assert_eq!(row(3).get("peer").text(), None);
    assert!(rows(step(&report, 4), "network_waits").is_empty());
}
