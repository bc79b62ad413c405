//! Steps whose time is not the kernel's: no verdict at all blames it.

use agenttrace_attribute::cause::Cause;

use crate::json::Json;
use crate::support::{Fixture, fixtures, report_text};

/// Scenarios whose steps only compute, only sleep, or only wait for another machine.
const INNOCENT: [&str; 6] =
    ["user_cpu", "sleep", "sleep_nospin", "polling", "network_wait", "network_peer"];

fn innocent() -> Vec<Fixture> {
    let name = |f: &Fixture| f.name.trim_start_matches("recorded/").to_owned();
    fixtures("recorded").into_iter().filter(|f| INNOCENT.contains(&name(f).as_str())).collect()
}

#[test]
fn the_kernel_is_not_blamed_for_computing_sleep_and_the_network() {
    let kernels: Vec<&str> =
        Cause::ALL.into_iter().filter(|c| c.is_kernel()).map(Cause::name).collect();
    let mut blamed = Vec::new();
    let mut steps = 0;
    for fixture in innocent() {
        let report = Json::parse(&report_text(&fixture, &[])).expect("the report is JSON");
        for step in report.get("steps").list() {
            steps += 1;
            for verdict in step.get("verdicts").list() {
                let cause = verdict.get("cause").text().unwrap_or_default();
                if kernels.contains(&cause) {
                    let title = verdict.get("title").text().unwrap_or_default();
                    let id = step.get("step_id");
                    blamed.push(format!("{} step {id:?}: {cause}: {title}", fixture.name));
                }
            }
        }
    }
    assert!(steps >= 12, "only {steps} steps were looked at");
    assert!(blamed.is_empty(), "{}", blamed.join("\n"));
}
