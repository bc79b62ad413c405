//! Tables of wakeups, moves, interrupts, quotas and suspected steal: cases made by hand, and the workload's own counts.

use crate::json::Json;
use crate::support::{fixtures, report_text};

/// The steps of a fixture's report.
pub(super) fn steps(name: &str) -> Vec<Json> {
    let all = fixtures(name.split('/').next().unwrap_or(name));
    let fixture = all.into_iter().find(|f| f.name == name).expect("the fixture is there");
    let report = Json::parse(&report_text(&fixture, &[])).expect("the report is JSON");
    report.get("steps").list().to_vec()
}

/// The rows of a step's table.
fn rows(steps: &[Json], step: usize, table: &str) -> Vec<Json> {
    let step = steps.get(step).expect("the step is in the report");
    step.get("details").get(table).get("rows").list().to_vec()
}

fn number(row: &Json, key: &str) -> u64 {
    row.get(key).number().expect("a number")
}

#[test]
fn faults_on_both_sides_of_a_move_to_another_node() {
    let steps = steps("crafted/numa_migration");
    let cases = [(0, [11_000_u64, 31_000], "hurt"), (1, [31_000, 30_000], "neither")];
    for (step, each, effect) in cases {
        let rows = rows(&steps, step, "migrations");
        let row = rows.iter().find(|r| r.get("when").text() == Some("in the step"));
        let row = row.expect("it moved in the step");
        assert_eq!(row.get("distance").text(), Some("other NUMA node"));
        assert_eq!(row.get("by").text(), Some("NUMA balancing"));
        assert_eq!(row.get("effect").text(), Some(effect));
        assert_eq!([number(row, "before_faults"), number(row, "after_faults")], [20, 20]);
        // The way out is measured in steps of 16 ns.
        for (key, want) in ["before_fault_ns", "after_fault_ns"].into_iter().zip(each) {
            assert!(number(row, key).abs_diff(want) < 16, "{key}");
        }
    }
    let saves = steps[0].get("verdicts").list()[0].get("recommendations").list()[0].get("saves_ns");
    // 20 faults, 20 us more each.
    assert_eq!(saves.number(), Some(400_000));
}

#[test]
fn nested_interrupts_count_for_themselves() {
    let rows = rows(&steps("crafted/interrupt_storm"), 0, "interrupts");
    let of =
        |name: &str| rows.iter().find(|r| r.get("name").text() == Some(name)).expect("it is there");
    // 1300 to 2900 us, less the 50 us of the hard one in it.
    assert_eq!(number(of("NET_RX"), "total_ns"), 1_550_000);
    assert_eq!(number(of("eth0-rx"), "total_ns"), 150_000);
    assert_eq!(number(of("eth0-rx"), "count"), 2);
}

#[test]
fn a_cpu_was_idle_where_switches_tell_so() {
    let evidence = |fixture: &str, step: usize| -> Vec<String> {
        let steps = steps(fixture);
        let verdicts = steps.get(step).expect("the step is there").get("verdicts").list();
        let verdict = verdicts.iter().find(|v| v.get("id").text() == Some("run_delay"));
        let evidence = verdict.expect("it waited for CPU").get("evidence").list();
        let texts = evidence.iter().filter_map(|e| e.get("text").text());
        texts.filter(|text| text.contains("ran there")).map(str::to_owned).collect()
    };
    let idle = "for 0.40 ms of it nothing ran there: the CPU woke from idle";
    assert_eq!(evidence("crafted/waking_first", 0), [idle]);
    let unseen = "for 4.0 ms of it no switch tells who ran there";
    assert_eq!(evidence("crafted/quota_beside_rivals", 7), [unseen]);
    // The idle task of CPU 1 records nothing: it was moved there, and seen to run later.
    let tail = rows(&steps("recorded/scheduling"), 2, "wakeup_tail");
    let moved = tail.iter().find(|r| r.get("moved").text() == Some("moved from CPU 0 to 1"));
    let moved = moved.expect("it was moved");
    assert_eq!(moved.get("why").text(), Some("not known: a switch was not recorded"));
    assert_eq!(number(moved, "idle_ns"), 0);
    let tail = rows(&steps("crafted/quota"), 1, "wakeup_tail");
    assert_eq!(tail[0].get("why").text(), Some("woken on an idle CPU"));
    assert_eq!(number(&tail[0], "idle_ns"), 1_999_000);
}

#[test]
fn a_quota_holds_until_the_last_idle_stretch_ends() {
    let all = steps("crafted/quota");
    let rows = rows(&all, 0, "cpu_throttle");
    assert_eq!(number(&rows[0], "count"), 2);
    // 3000 to 9010 us, 11000 to 19010 us; then busy ran for 2 ms.
    assert_eq!(number(&rows[0], "total_ns"), 6_010_000 + 8_010_000);
    assert_eq!(number(&rows[0], "by_timer"), 2);
    let exclusive = all[0].get("exclusive");
    let of = |cause: &str| -> u64 {
        let cells = exclusive.list().iter().filter(|c| c.get("cause").text() == Some(cause));
        cells.map(|c| number(c, "ns")).sum()
    };
    assert_eq!((of("cpu_throttle"), of("run_delay")), (14_020_000, 2_000_000));
    assert!(self::rows(&all, 1, "cpu_throttle").is_empty());
}

#[test]
fn a_hole_without_tick_and_event_is_a_suspicion() {
    let steps = steps("crafted/steal");
    let found = rows(&steps, 0, "steal_suspected");
    assert_eq!(found.len(), 1);
    // From the last tick at 96 ms to the late one.
    assert_eq!(number(&found[0], "at_ns"), 94_000_000);
    assert_eq!(number(&found[0], "silent_ns"), 20_007_000);
    assert_eq!(number(&found[0], "tick_ns"), 4_000_000);
    let verdict = &steps[0].get("verdicts").list()[0];
    assert_eq!(verdict.get("confidence").text(), Some("medium"));
    assert!(rows(&steps, 1, "steal_suspected").is_empty());
}

#[test]
fn hand_offs_through_threads_are_one_chain_each() {
    let steps = steps("recorded/scheduling");
    for (step, rounds) in [(0, 40_u64), (1, 8)] {
        let rows = rows(&steps, step, "wakeup_chains");
        let name = "agent > dispatcher > scheduler > pool-worker";
        let row = rows.iter().find(|r| r.get("chain").text() == Some(name)).expect("the chain");
        // A thread that has not yet gone to sleep is not woken: its hand-off is shorter.
        let count = number(row, "count");
        assert!((rounds * 9 / 10..=rounds).contains(&count), "{count} of {rounds}");
        assert_eq!(number(row, "wakeups"), 3 * count);
    }
}

#[test]
fn slow_wakeups_name_who_had_the_cpu() {
    let steps = steps("recorded/scheduling");
    let tail = rows(&steps, 1, "wakeup_tail");
    let first = tail.first().expect("there is a tail");
    assert!(first.get("task").text().is_some_and(|t| t.starts_with("pool-worker")));
    assert!(first.get("culprit").text().is_some_and(|t| t.starts_with("other-")));
    assert_eq!(first.get("why").text(), Some("CPU busy"));
}

#[test]
fn moves_that_helped_and_hurt() {
    let steps = steps("recorded/scheduling");
    for (step, effect) in [(2, Some("helped")), (3, Some("hurt")), (4, None)] {
        let rows = rows(&steps, step, "migrations");
        let row = rows.iter().find(|r| r.get("when").text() == Some("in the step"));
        assert_eq!(row.and_then(|r| r.get("effect").text()), effect, "step {}", step + 1);
        assert!(row.is_none_or(|r| r.get("by").text() == Some("its own sched_setaffinity")));
    }
}
