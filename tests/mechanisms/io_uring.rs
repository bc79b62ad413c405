//! The table of io_uring's requests against what the workload counted itself.

use crate::json::Json;
use crate::support::{fixtures, report_text};

#[test]
fn requests_by_opcode_are_those_that_the_workload_made() {
    let found = fixtures("recorded").into_iter().find(|f| f.name == "recorded/io_uring");
    let fixture = found.expect("the fixture is there");
    let report = Json::parse(&report_text(&fixture, &[])).expect("the report is JSON");
    let steps = report.get("steps");
    // Step, opcode, requests; of them served inside the call, by a worker, by SQPOLL.
    for (step, opcode, counts) in [
        (0, "READ", [60, 0, 0, 0]),
        (1, "READ", [60, 0, 60, 0]),
        (2, "FSYNC", [9, 0, 9, 0]),
        (3, "TIMEOUT", [4, 0, 0, 0]),
        (4, "READ", [64, 64, 0, 0]),
        (5, "READ", [60, 0, 0, 60]),
    ] {
        let rows = steps.list()[step].get("details").get("io_uring").get("rows");
        let [row] = rows.list() else { panic!("step {step}: {rows:?}") };
        assert_eq!(row.get("opcode").text(), Some(opcode));
        let got = ["submitted", "inline", "punted", "polled"].map(|key| row.get(key).number());
        assert_eq!(got, counts.map(Some), "step {step}");
        assert_eq!((row.get("failed").number(), row.get("open").number()), (Some(0), Some(0)));
    }
    // A call is longer than its request by the way in and out: some microseconds, and the
    // wakeup by a worker where there is one. What SQPOLL's thread takes to notice is open.
    let ways = [5_000, 30_000, 30_000, 5_000, 5_000, u64::MAX];
    for ((step, line), most) in fixture.truth().iter().enumerate().zip(ways) {
        let operations = line.get("operations");
        let number = |key: &str| operations.list()[0].get(key).number().expect(key);
        let (measured, count) = (number("ns"), number("count"));
        let rows = steps.list()[step].get("details").get("io_uring").get("rows");
        let total = rows.list()[0].get("total_ns").number().expect("a total");
        let way = measured.checked_sub(total).expect("a request lies within its call") / count;
        assert!(way < most, "step {step}: {total} of {measured}");
    }
    // Its fsyncs count as durability operations.
    let fsyncs = steps.list()[2].get("inclusive").get("fsyncs");
    assert_eq!(fsyncs.get("count").number(), Some(9));
}
