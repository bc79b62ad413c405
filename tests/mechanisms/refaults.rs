//! Evictions and refaults against what `mincore(2)` told the workload, and by hand.

use crate::accuracy::of_step;
use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

fn fixture(name: &str) -> Fixture {
    let kind = name.split('/').next().unwrap_or_default();
    let found = fixtures(kind).into_iter().find(|f| f.name == name);
    found.unwrap_or_else(|| panic!("fixtures/{name} is missing"))
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

/// The row of a file, in a table by file.
fn of_file<'j>(step: &'j Json, table: &str, file: &str) -> &'j Json {
    let row = rows(step, table).iter().find(|r| r.get("file").text() == Some(file));
    row.unwrap_or_else(|| panic!("no {file} in {table}"))
}

#[test]
fn what_came_back_is_what_was_gone() {
    let report = report("recorded/refaults");
    let truth = fixture("recorded/refaults").truth();
    let cases = [
        (4, "vector_index.db", "step 3 (scan_repo)", "cgroup reclaim in pread64"),
        (5, "chunks.db", "step 3 (scan_repo)", "cgroup reclaim in pread64"),
        (7, "vector_index.db", "posix_fadvise of cleaner", "posix_fadvise"),
    ];
    for (id, file, by, how) in cases {
        let line = of_step(&truth, &id.to_string()).expect("the step has a truth");
        let gone = number(line, "gone_pages");
        let step = step(&report, id);
        let row = of_file(step, "refaults", file);
        assert_eq!(number(row, "pages"), gone, "step {id}");
        assert_eq!((row.get("by").text(), row.get("how").text()), (Some(by), Some(how)));
        let cache = of_file(step, "page_cache", file);
        assert_eq!((number(cache, "added"), number(cache, "again")), (gone, gone));
    }
    // The scan pushed out all that the two steps before it had read.
    let scan = step(&report, 3);
    assert_eq!(number(of_file(scan, "page_cache", "vector_index.db"), "reclaimed"), 90);
    assert_eq!(number(of_file(scan, "page_cache", "chunks.db"), "reclaimed"), 60);
}

#[test]
fn a_deleted_file_is_not_evicted() {
    let report = report("recorded/refaults");
    let deleted = of_file(step(&report, 8), "page_cache", "old_index.db");
    assert_eq!((number(deleted, "added"), number(deleted, "truncated")), (60, 60));
    assert_eq!((number(deleted, "reclaimed"), number(deleted, "dropped")), (0, 0));
    let again = of_file(step(&report, 9), "page_cache", "old_index.db");
    assert_eq!((number(again, "added"), number(again, "again")), (60, 0));
    for id in [1, 2, 9] {
        assert!(rows(step(&report, id), "refaults").is_empty(), "step {id}");
    }
}

/// Times from `crafted/drop_caches/events.txt` and `crafted/kswapd_eviction/events.txt`.
#[test]
fn by_hand() {
    let dropped = report("crafted/drop_caches");
    let row = of_file(step(&dropped, 2), "refaults", "index.db");
    assert_eq!(row.get("by").text(), Some("drop_caches of janitor"));
    // Deleted at 3100 us, added at 5020 us, and nothing in between.
    assert_eq!((number(row, "distance_ns"), number(row, "between")), (1_920_000, 0));
    assert!(rows(step(&dropped, 3), "refaults").is_empty());
    let report = report("crafted/kswapd_eviction");
    let row = of_file(step(&report, 3), "refaults", "index.db");
    assert_eq!(row.get("by").text(), Some("step 2 (scan_repo)"));
    assert_eq!(row.get("how").text(), Some("kswapd"));
    assert_eq!(row.get("reading").text(), Some("repo.pack"));
    assert_eq!((number(row, "distance_ns"), number(row, "between")), (1_920_000, 0));
    let scan = of_file(step(&report, 2), "page_cache", "repo.pack");
    assert_eq!((number(scan, "added"), scan.get("orders").text()), (12, Some("2:3")));
    assert!(rows(step(&report, 4), "refaults").is_empty());
}

#[test]
fn faults_by_memory() {
    let report = report("recorded/fault_kinds");
    let cases = [
        (1, "anonymous", 1000, 1000 * 4096),
        (2, "huge page (inferred)", 6, 5 * (2 << 20) + 4096),
        (3, "mapped file", 500, (499 * 16 + 1) * 4096),
        (4, "copy-on-write", 500, 500 * 4096),
    ];
    for (id, kind, faults, bytes) in cases {
        let row = rows(step(&report, id), "faults").first().expect("a row");
        assert_eq!(row.get("kind").text(), Some(kind));
        assert_eq!((number(row, "minor"), number(row, "major")), (faults, 0), "step {id}");
        assert_eq!(number(row, "slept"), 0);
        let range = row.get("range").text().unwrap_or_default();
        assert!(range.ends_with(&size(bytes)), "{range}: {bytes} bytes");
    }
    // In order through a file that was not in the cache: the kernel's own counts, and each
    // fault that did not sleep found a page that readahead had brought.
    let truth = fixture("recorded/fault_kinds").truth();
    let counts = of_step(&truth, "5").expect("step 5 has a truth").get("counts").clone();
    let row = of_file(step(&report, 5), "faults", "model.bin");
    assert_eq!(number(row, "minor"), number(&counts, "minor_faults"));
    assert_eq!(number(row, "major"), number(&counts, "major_faults"));
    let all = number(row, "minor") + number(row, "major");
    assert_eq!(number(row, "cached") + number(row, "slept"), all);
    assert_eq!(number(of_file(step(&report, 5), "page_cache", "model.bin"), "added"), 2048);
}

/// In MiB, to one digit.
fn size(bytes: u64) -> String {
    format!("+ {:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
