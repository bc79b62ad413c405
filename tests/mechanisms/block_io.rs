//! The tables of block I/O, syncs and commits: by hand, against the workload, the kernel's own counts.

use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

fn fixture(kind: &str, name: &str) -> Fixture {
    let name = format!("{kind}/{name}");
    fixtures(kind).into_iter().find(|f| f.name == name).expect("the fixture is there")
}

fn report(fixture: &Fixture) -> Json {
    Json::parse(&report_text(fixture, &[])).expect("the report is JSON")
}

fn rows(report: &Json, step: usize, table: &str) -> Vec<Json> {
    let step = &report.get("steps").list()[step];
    step.get("details").get(table).get("rows").list().to_vec()
}

fn number(row: &Json, key: &str) -> u64 {
    row.get(key).number().unwrap_or_else(|| panic!("{key} in {row:?}"))
}

/// The parts that make a sync's whole length.
const PARTS: [&str; 7] =
    ["data_ns", "commit_ns", "flush_ns", "hop_ns", "run_queue_ns", "cpu_ns", "other_ns"];

#[test]
fn a_sync_through_a_worker_of_the_log_is_split_by_hand() {
    let rows = rows(&report(&fixture("crafted", "log_force")), 0, "syncs");
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    // Own write 1600 to 2200 us, asleep from 1700; asleep from 2320 to 3350 for the log: the
    // flush holds 2420 to 2900 and ten before it, the log's block is done at 3300.
    let got = PARTS.map(|key| number(row, key));
    assert_eq!(got, [500_000, 490_000, 490_000, 60_000, 90_000, 320_000, 0]);
    assert_eq!((number(row, "count"), number(row, "total_ns")), (1, 1_950_000));
}

#[test]
fn what_is_advised_fits_the_call_that_waited() {
    let report = report(&fixture("crafted", "sync_calls"));
    let sqlite = "SQLite: WAL with synchronous=NORMAL";
    let files = "fsync of the files that must last, instead of sync";
    let want: [&[&str]; 6] = [
        &["fdatasync instead of fsync", sqlite],
        &[sqlite],
        &[files],
        &[],
        &["one fdatasync after the last write, instead of O_SYNC"],
        &[files],
    ];
    for (step, want) in report.get("steps").list().iter().zip(want) {
        let fixes = step.get("verdicts").list()[0].get("recommendations").list();
        let got: Vec<&str> = fixes.iter().filter_map(|fix| fix.get("text").text()).collect();
        assert_eq!(got, want, "{:?}", step.get("tool").text());
    }
}

#[test]
fn syncs_add_up_to_what_the_workload_measured() {
    for (name, steps) in [("fsync_batching", 2), ("fsync_fast_commit", 2)] {
        let fixture = fixture("recorded", name);
        let report = report(&fixture);
        for (step, line) in fixture.truth().iter().enumerate().take(steps) {
            let rows = rows(&report, step, "syncs");
            let [row] = rows.as_slice() else { panic!("{name} {step}: {rows:?}") };
            let total = number(row, "total_ns");
            assert_eq!(PARTS.map(|key| number(row, key)).iter().sum::<u64>(), total);
            assert_eq!(number(row, "other_ns"), 0, "{name} {step}");
            let operations = line.get("operations").list();
            let fsync = operations.iter().find(|o| o.get("frame").text() == Some("fsync"));
            let fsync = fsync.expect("fsyncs were measured");
            assert_eq!(number(row, "count"), number(fsync, "count"));
            let measured = number(fsync, "ns");
            assert!(total.abs_diff(measured) * 100 <= measured * 3, "{total} of {measured}");
        }
    }
}

#[test]
fn handles_of_a_commit_are_as_many_as_the_kernel_counts() {
    for name in ["fsync_batching", "journal_waits"] {
        let report = report(&fixture("recorded", name));
        let rows = rows(&report, 0, "commits");
        assert!(rows.len() >= 16, "{name}: {}", rows.len());
        // The first commit's handles may have been before the capture, or the cut.
        for row in rows.iter().skip(1) {
            let found =
                ["ours", "kernel", "theirs"].map(|key| number(row, key)).iter().sum::<u64>();
            assert_eq!(found, number(row, "handles"), "{name}: {row:?}");
        }
    }
}

#[test]
fn a_rename_in_a_synchronous_directory_asks_for_its_commit() {
    let fixture = fixture("recorded", "journal_waits");
    let rows = rows(&report(&fixture), 0, "commits");
    let asked = |row: &&Json| {
        row.get("asked_by").text().is_some_and(|who| who.starts_with("rename of agent"))
    };
    assert_eq!(rows.iter().filter(asked).count(), 16);
}

#[test]
fn requests_are_those_that_the_workload_made_and_name_who_was_before() {
    // Steps 1, 2 and 4 to 8.
    let report = report(&fixture("recorded", "block_delays"));
    let sum = |step, table, key| -> u64 {
        rows(&report, step, table).iter().map(|row| number(row, key)).sum()
    };
    for step in [0, 1, 3, 4] {
        assert_eq!(sum(step, "block_requests", "count"), 40, "step {step}");
        assert_eq!(sum(step, "block_files", "total_bytes"), 40 * 4096, "step {step}");
        assert_eq!(rows(&report, step, "block_files").len(), 1, "all of one file, step {step}");
    }
    assert_eq!(sum(5, "block_files", "total_bytes"), 64 * 65_536);
    assert!(rows(&report, 6, "block_requests").is_empty(), "read from memory");
    let owner = |step: usize, how: &str| -> Vec<Json> {
        let rows = rows(&report, step, "block_delayed_by");
        rows.into_iter().filter(|row| row.get("how").text() == Some(how)).collect()
    };
    let back = owner(3, "write-back of its writes");
    let [back] = back.as_slice() else { panic!("{back:?}") };
    assert_eq!(back.get("step").text(), Some("4"));
    assert!(number(back, "total_bytes") <= 24 << 20, "no more than step 4 wrote");
    assert_eq!(number(back, "writes"), number(back, "requests"));
    let rival = owner(1, "submitted");
    let rival = rival.iter().find(|row| row.get("owner").text() == Some("indexer"));
    let rival = rival.expect("indexer's writes were before some reads");
    assert_eq!(number(rival, "total_bytes"), number(rival, "requests") * (512 << 10));
    assert_eq!(rival.get("step").text(), None, "it works for no step");
}
