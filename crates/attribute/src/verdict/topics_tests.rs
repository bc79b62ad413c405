//! Hand-made cells to topics: what special rules take, what is left, and in which order.

use std::cell::OnceCell;

use agenttrace_model::parse::{CaptureInfo, Diagnostics, Nanos, StepId};
use agenttrace_model::{Builder, Step, TaskId, Windows};

use super::*;
use crate::cause::Resource;
use crate::inclusive::Index;
use crate::made::Made;
use crate::path::StepPath;
use crate::report::{Inclusive, Tracing};

/// Takes the cells of a cause that are on one resource.
struct Special(&'static str, Cause, Resource);

impl Rule for Special {
    fn id(&self) -> &'static str {
        self.0
    }
    fn causes(&self) -> &'static [Cause] {
        &[]
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        let (cause, resource) = (self.1, self.2);
        (facts.own(cause) > ZERO)
            .then(|| -> Takes<'f> { Box::new(move |cell: &Cell<'_>| cell.resource == resource) })
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "made for a test"
    }
    fn find(&self, _: &Facts<'_>, _: Cause) -> Finding {
        Finding::default()
    }
}

fn cell(cause: Cause, resource: Resource, under: Option<Cause>, ns: u64) -> Cell<'static> {
    Cell {
        cause,
        resource,
        under,
        frames: &[],
        task: TaskId(0),
        reason: None,
        ns: Nanos(ns),
        segments: 1,
        recorded: 0,
        estimated: Nanos::ZERO,
    }
}

/// What [`topics`] makes of cells: (name, ns, sum of its cells' own time), time above zero.
fn split(cells: &[Cell<'_>], rules: &[&'static dyn Rule]) -> Vec<(&'static str, u64, Vec<u64>)> {
    let info = CaptureInfo::default();
    let model = Builder::new(&info).finish(None).unwrap();
    let windows = Windows::default();
    let index = Index::new(&model, &info, &windows);
    let step = Step {
        id: StepId::Number(1),
        tool: String::new(),
        root: TaskId(0),
        pid: None,
        start: Nanos(0),
        end: cells.iter().map(|c| c.ns).sum(),
        parent: None,
        clipped: None,
        error: Some(Nanos::ZERO),
        mapped: false,
        extra: Vec::new(),
    };
    let parts = Parts {
        index: &index,
        windows: &windows,
        step: &step,
        work: &[],
        path: &StepPath::default(),
        inclusive: &Inclusive::default(),
        coverage: &[],
        info: &info,
        diagnostics: &Diagnostics::default(),
        unknown: Nanos::ZERO,
        inferred: Nanos::ZERO,
        broken: None,
        tracing: &Tracing::default(),
        stacks: None,
        tasks: OnceCell::new(),
        made: &Made::default(),
    };
    let facts = Facts::new(&parts, cells);
    let (all, rest) = topics(facts, rules);
    let sum: Nanos = all.iter().map(|t| t.ns).sum();
    assert_eq!(sum, rest.wall, "topics add up to the step");
    all.iter()
        .filter(|t| t.ns > ZERO)
        .map(|t| (t.name(), t.ns.0, t.cells(&rest.cells).iter().map(|c| c.ns.0).collect()))
        .collect()
}

const READS: Special = Special("reads", Cause::BlockRead, Resource::Device);

#[test]
fn a_special_rule_takes_cells_and_leaves_the_rest() {
    let cells = [
        cell(Cause::BlockRead, Resource::Device, None, 30),
        cell(Cause::VfsMetadata, Resource::Device, None, 25),
        cell(Cause::VfsMetadata, Resource::CpuKernel, None, 40),
        cell(Cause::UserCpu, Resource::CpuUser, None, 5),
    ];
    let want =
        [("reads", 55, vec![30, 25]), ("vfs_metadata", 40, vec![40]), ("user_cpu", 5, vec![5])];
    assert_eq!(split(&cells, &[&READS]), want);
    // Without it each cause speaks for itself.
    let plain = split(&cells, &[]);
    let names: Vec<&str> = plain.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, ["vfs_metadata", "block_read", "user_cpu"]);
}

#[test]
fn what_one_special_rule_took_is_gone_for_the_next() {
    const FIRST: Special = Special("first", Cause::UserCpu, Resource::Device);
    const THEN: Special = Special("then", Cause::BlockRead, Resource::Device);
    const NEVER: Special = Special("never", Cause::Fsync, Resource::CpuUser);
    let cells = [
        cell(Cause::BlockRead, Resource::Device, None, 30),
        cell(Cause::BlockRead, Resource::DeviceQueue, None, 7),
        cell(Cause::UserCpu, Resource::CpuUser, None, 5),
    ];
    let want = [("first", 30, vec![30]), ("block_read", 7, vec![7]), ("user_cpu", 5, vec![5])];
    assert_eq!(split(&cells, &[&FIRST, &THEN, &NEVER]), want);
    // A rule that takes nothing that is there has no topic.
    assert_eq!(split(&cells[2..], &[&FIRST]), [("user_cpu", 5, vec![5])]);
}

#[test]
fn run_delay_is_seen_by_the_cause_that_it_was_under_and_counted_once() {
    let cells = [
        cell(Cause::Fsync, Resource::Device, None, 50),
        cell(Cause::RunDelay, Resource::RunQueue, Some(Cause::Fsync), 20),
        cell(Cause::RunDelay, Resource::RunQueue, Some(Cause::UserCpu), 30),
    ];
    // Both have 50: the order of the causes decides, in which run delay comes first.
    let want = [("run_delay", 50, vec![20, 30]), ("fsync", 50, vec![50, 20])];
    assert_eq!(split(&cells, &[]), want);
}

#[test]
fn a_special_rule_stands_before_causes_that_tie() {
    const ALL: Special = Special("device", Cause::MinorFault, Resource::Device);
    let cells = [
        cell(Cause::UserCpu, Resource::CpuUser, None, 40),
        cell(Cause::MinorFault, Resource::Device, None, 20),
        cell(Cause::Journal, Resource::Device, None, 20),
    ];
    let want = [("device", 40, vec![20, 20]), ("user_cpu", 40, vec![40])];
    assert_eq!(split(&cells, &[&ALL]), want);
    assert!(split(&[], &[&ALL]).is_empty());
}
