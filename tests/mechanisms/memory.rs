//! Tables of reclaim, pauses, OOM kills and TLB flushes: exact numbers of cases made by hand, and the workload's own counts.

use super::scheduling::steps;
use crate::json::Json;

/// A value of a step's table of a mechanism: the row that has `name` in its first two
/// columns, and the column's key.
fn value(fixture: &str, step: usize, table: &str, name: &str, key: &str) -> Option<u64> {
    let steps = steps(fixture);
    let rows = steps.get(step).map(|s| s.get("details").get(table).get("rows"));
    let rows = rows.expect("the step is in the report");
    let named = |row: &&Json| {
        ["kind", "name", "writer", "victim"]
            .iter()
            .any(|key| row.get(key).text().is_some_and(|text| text.starts_with(name)))
    };
    rows.list().iter().find(named).and_then(|row| row.get(key).number())
}

#[test]
fn remote_flushes_are_costed_to_the_slowest_cpu() {
    let of = |step, name, key| value("crafted/remote_flush", step, "tlb", name, key);
    // Sent at 1600, CPU 2 is done at 2600.
    assert_eq!(of(0, "munmap", "waited_ns"), Some(1_000_000));
    assert_eq!(of(0, "munmap", "sent"), Some(1));
    assert_eq!(of(0, "munmap", "local"), Some(1));
    // Local alone; and interrupted for scorer's flush from 8700 to 8750.
    assert_eq!(of(1, "munmap", "sent"), Some(0));
    assert_eq!(of(1, "munmap", "local"), Some(1));
    assert_eq!(of(1, "scorer", "received"), Some(1));
    assert_eq!(of(1, "scorer", "interrupted_ns"), Some(50_000));
    // Counted, and not costed.
    assert_eq!(of(2, "munmap", "sent"), Some(1));
    assert_eq!(of(2, "munmap", "costed"), Some(0));
    assert_eq!(of(2, "munmap", "waited_ns"), None);
    // The step's counters tell the same: (local, remote).
    let counted = steps("crafted/remote_flush").into_iter().map(|step| {
        let flushes = step.get("inclusive").get("tlb_flushes").clone();
        (flushes.get("local").number(), flushes.get("remote").number())
    });
    let want = [(Some(1), Some(1)), (Some(1), Some(0)), (Some(0), Some(1))];
    assert_eq!(counted.collect::<Vec<_>>(), want);
}

#[test]
fn kswapd_is_beside_the_step_and_reclaim_is_its_own() {
    let of = |step, name, key| value("crafted/direct_reclaim", step, "reclaim", name, key);
    assert_eq!(of(0, "direct reclaim", "count"), Some(1));
    assert_eq!(of(0, "direct reclaim", "pages"), Some(64));
    assert_eq!(of(0, "direct reclaim", "total_ns"), Some(1_380_000));
    assert_eq!(of(0, "direct reclaim", "throttled_ns"), Some(1_100_000));
    assert_eq!(of(0, "kswapd", "asked"), Some(1));
    // It ran from 6500 to 8502.
    assert_eq!(of(1, "direct reclaim", "count"), None);
    assert_eq!(of(1, "cgroup reclaim", "count"), None);
    assert_eq!(of(1, "kswapd", "count"), Some(1));
    assert_eq!(of(1, "kswapd", "total_ns"), Some(2_002_000));
}

#[test]
fn a_pause_lasts_until_its_writer_runs() {
    let of = |key| value("crafted/dirty_pause", 0, "writeback_throttle", "agent", key);
    assert_eq!(of("pauses"), Some(1));
    assert_eq!(of("total_ns"), Some(2_300_000));
    assert_eq!(of("written_bytes"), Some(65_536));
    assert_eq!(of("dirty_bytes"), Some(1000 * 4096));
    assert_eq!(of("limit_bytes"), Some(1024 * 4096));
}
