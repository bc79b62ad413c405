//! The mechanisms' keys of `truth.jsonl` against the verdicts, and the page that shows them.
//!
//! The keys are described in `fixtures/README.md`. Exact numbers of a mechanism's table
//! are tested in a file of its own here, a `mod` line each.

/// Block I/O, syncs and commits: by hand, and against the kernel's own counts.
mod block_io;
/// Computing, sleep and the network: nothing of it is the kernel's.
mod innocent;
/// io_uring: the table against the workload's own counts.
mod io_uring;
/// Memory: reclaim, pauses, OOM kills, TLB flushes.
mod memory;
/// Metadata calls, watchers, and locks of the kernel and of programs.
mod names_and_locks;
/// The page cache and page faults: their tables against `mincore`, getrusage and by hand.
mod refaults;
/// Wakeups, moves between CPUs, interrupts, quotas.
mod scheduling;
/// Who delayed whom, slow steps, what recording cost.
mod session;
/// Spawns, polling loops, connections.
mod spawns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::accuracy::of_step;
use crate::json::Json;
use crate::support::{Fixture, bless_block, fixtures, report_text, root};
use crate::verdicts_page::ids;

/// Tolerance of what a verdict is about, against the workload's own measure.
const WORST: f64 = 0.15;
/// The same, of the median of all.
const MEDIAN: f64 = 0.03;

/// The keys of `truth.jsonl` that are checked here.
const KEYS: [&str; 7] =
    ["mechanism", "near_miss", "verdict", "title", "not", "not_title", "verdict_ns"];

/// A step that shows a mechanism, or misses it closely.
#[derive(Clone, Debug, Default)]
struct Example {
    /// As in `recorded/sleep step 1`.
    place: String,
    verdict: String,
    attributed: Option<u64>,
    measured: Option<u64>,
}

/// What all fixtures say.
#[derive(Debug, Default)]
struct Found {
    firing: BTreeMap<String, Vec<Example>>,
    near: BTreeMap<String, Vec<Example>>,
    /// Ids of verdicts that `truth.jsonl` names, and where.
    named: BTreeMap<String, String>,
    errors: Vec<(f64, String)>,
    wrong: Vec<String>,
}

fn texts(json: &Json) -> Vec<&str> {
    json.text().into_iter().chain(json.list().iter().filter_map(Json::text)).collect()
}

/// The id of a step in a report, as text.
fn id(json: &Json) -> String {
    let number = || json.number().map(|n| n.to_string());
    json.text().map(str::to_owned).or_else(number).unwrap_or_default()
}

fn error(got: u64, want: u64) -> f64 {
    got.abs_diff(want) as f64 / want.max(1) as f64
}

impl Found {
    /// One line of `truth.jsonl`, with the verdicts on its step.
    fn line(&mut self, place: &str, line: &Json, verdicts: &[Json], shown: bool) {
        let mut wrong = |what: String| self.wrong.push(format!("{place}: {what}"));
        let all = |key: &str| -> Vec<&str> {
            verdicts.iter().filter_map(|v| v.get(key).text()).collect()
        };
        for id in [texts(line.get("verdict")), texts(line.get("not"))].concat() {
            self.named.entry(id.to_owned()).or_insert_with(|| place.to_owned());
        }
        let Some(first) = verdicts.first() else { return wrong("no verdict".to_owned()) };
        let (got, title) = (all("id"), all("title"));
        let says = format!("{got:?}: {title:#?}");
        if let Some(want) = line.get("verdict").text()
            && got.first() != Some(&want)
        {
            wrong(format!("{want} expected first, not {says}"));
        }
        for part in texts(line.get("title")) {
            if !title.first().is_some_and(|t| t.contains(part)) {
                wrong(format!("the first title lacks {part:?}: {says}"));
            }
        }
        for unwanted in texts(line.get("not")) {
            if got.contains(&unwanted) {
                wrong(format!("{unwanted} must not be found: {says}"));
            }
        }
        for unwanted in texts(line.get("not_title")) {
            if title.iter().any(|t| t.contains(unwanted)) {
                wrong(format!("no title may hold {unwanted:?}: {says}"));
            }
        }
        let attributed = first.get("ns").number();
        let measured = line.get("verdict_ns").number();
        if let (Some(got), Some(want)) = (attributed, measured) {
            let error = error(got, want);
            self.errors.push((error, format!("{place}: measured {want}, attributed {got}")));
        }
        let example = || Example {
            place: place.to_owned(),
            verdict: got.first().map(|id| (*id).to_owned()).unwrap_or_default(),
            attributed,
            measured,
        };
        if shown {
            for (key, list) in [("mechanism", &mut self.firing), ("near_miss", &mut self.near)] {
                for name in texts(line.get(key)) {
                    list.entry(name.to_owned()).or_default().push(example());
                }
            }
        }
    }

    fn fixture(&mut self, fixture: &Fixture) {
        let truth = fixture.truth();
        let speaks = |line: &Json| KEYS.iter().any(|key| *line.get(key) != Json::Null);
        if !truth.iter().any(speaks) || fixture.is_large() {
            return;
        }
        let report = Json::parse(&report_text(fixture, &[])).expect("the report is JSON");
        let steps = report.get("steps").list();
        for line in truth.iter().filter(|line| speaks(line)) {
            let line_id = id(line.get("step_id"));
            let place = format!("{} step {line_id}", fixture.name);
            let of = |step: &&Json| {
                of_step(std::slice::from_ref(line), &id(step.get("step_id"))).is_some()
            };
            match steps.iter().find(of) {
                Some(step) => {
                    let shown = fixture.dir.starts_with(root());
                    self.line(&place, line, step.get("verdicts").list(), shown);
                }
                None => self.wrong.push(format!("{place} is not in the report")),
            }
        }
    }

    /// Ids that no rule has: what must not be found would be found nowhere.
    fn misnamed(&self) -> Vec<String> {
        let known = ids();
        let unknown = self.named.iter().filter(|(id, _)| !known.contains(id));
        unknown.map(|(id, place)| format!("{place}: no rule is called {id}")).collect()
    }

    /// A row for each mechanism and firing example.
    fn table(&self) -> String {
        let mut table = String::from(
            "| mechanism | fires in | first verdict | attributed, ns | self-measured, ns | error | near miss, and its first verdict |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (name, examples) in &self.firing {
            let near: Vec<String> = self
                .near
                .get(name)
                .into_iter()
                .flatten()
                .map(|e| format!("{}: `{}`", e.place, e.verdict))
                .collect();
            let near = near.join("; ");
            for (index, example) in examples.iter().enumerate() {
                let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
                let off = match (example.attributed, example.measured) {
                    (Some(got), Some(want)) => format!("{:.1} %", error(got, want) * 100.0),
                    _ => "-".to_owned(),
                };
                let _ = writeln!(
                    table,
                    "| {} | {} | `{}` | {} | {} | {off} | {} |",
                    if index == 0 { name.as_str() } else { "" },
                    example.place,
                    example.verdict,
                    number(example.attributed),
                    number(example.measured),
                    if index == 0 { near.as_str() } else { "" },
                );
            }
        }
        table
    }
}

#[test]
fn verdicts_are_what_truth_says() {
    let mut found = Found::default();
    for fixture in fixtures("recorded").iter().chain(&fixtures("crafted")) {
        found.fixture(fixture);
    }
    let (firing, near): (BTreeSet<_>, BTreeSet<_>) =
        (found.firing.keys().collect(), found.near.keys().collect());
    let alone: Vec<String> = firing
        .symmetric_difference(&near)
        .map(|m| format!("{m} fires, or is missed, alone"))
        .collect();
    found.errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let worst = found.errors.iter().filter(|(error, _)| *error > WORST);
    let worst: Vec<String> =
        worst.map(|(error, what)| format!("{what}, {:.1} % off", error * 100.0)).collect();
    let problems = [found.wrong.clone(), found.misnamed(), alone, worst].concat();
    assert!(problems.is_empty(), "{}\n\n{}", problems.join("\n"), found.table());
    if let Some((median, what)) = found.errors.get(found.errors.len() / 2) {
        assert!(*median <= MEDIAN, "the median error is {:.2} %: {what}", median * 100.0);
    }
    bless_block("docs/MECHANISMS.md", "mechanisms", &found.table());
}
