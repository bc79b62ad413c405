//! Steps that hurt each other: who delayed a step's path, how, and for how long.
//!
//! Only time of the critical path counts: a delay beside it cost the step nothing. A
//! task's own step is who it works for at that moment; what works for no step is named as
//! the program that it is. The delay of a step by itself is none.

use agenttrace_model::parse::{Comm, Nanos};
use agenttrace_model::{TaskId, Windows};
use rustc_hash::FxHashMap;

use super::{MOST_ROWS, Mechanism, SessionView, StepView};
use crate::block_io::{self, OwnerKind, delays};
use crate::cause::{Cause, Resource};
use crate::cells::CellKey;
use crate::detail::{Column, Row, Rows, Table, Value};
use crate::inclusive::{Index, Stretch};
use crate::made::Rival;
use crate::path::Frame;
use crate::report::StepReport;
use crate::stats::added_up;

pub(crate) struct DelayedBy;

/// Who delayed a step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Culprit {
    /// Another step; its place in [`Windows::steps`].
    Step(usize),
    /// A task that works for no step, by its name.
    Program(Comm),
}

impl Culprit {
    /// For whom a task works at a time; `None`: for the victim itself.
    fn of(
        index: &Index<'_>,
        windows: &Windows,
        victim: usize,
        task: TaskId,
        time: Nanos,
    ) -> Option<Self> {
        match windows.claim_at(task, time) {
            Some(step) if windows.within(step, victim) => None,
            Some(step) => Some(Self::Step(step)),
            None => Some(Self::Program(index.task(task)?.name_at(time))),
        }
    }

    fn text(&self, windows: &Windows) -> String {
        match self {
            Self::Step(step) => match windows.steps.get(*step) {
                Some(step) if step.tool.is_empty() => format!("step {}", step.id),
                Some(step) => format!("step {} ({})", step.id, step.tool),
                None => "another step".to_owned(),
            },
            Self::Program(name) if name.is_empty() => "an unnamed task".to_owned(),
            Self::Program(name) => name.to_text(),
        }
    }
}

/// One delay of a step's path.
struct Delay {
    culprit: Culprit,
    /// In words that continue "... delayed it, because it": `ran on its CPU`.
    how: &'static str,
    /// How much of the path.
    ns: Nanos,
}

/// What tells of delays of one step: a line for each mechanism.
const SOURCES: &[fn(&StepView<'_>) -> Vec<Delay>] = &[cpu, locks, evictions, queue];

/// Shorter ones are noise.
const LEAST: Nanos = Nanos(20_000);
/// The same as a part of the step: a hundredth.
const LEAST_PART: u64 = 100;

/// What ran on the CPU that the path waited for.
fn cpu(view: &StepView<'_>) -> Vec<Delay> {
    let mut delays: Vec<Delay> = Vec::new();
    // For whom a task works, and under what name, is found out once for as long as that holds.
    let mut known: FxHashMap<TaskId, (Nanos, Nanos, Option<usize>)> = FxHashMap::default();
    for rival in view.made.rivals(view.index, view.path) {
        let Rival { task, from, to, .. } = *rival;
        let (since, until, place) = known.entry(task).or_default();
        if from < *since || *until <= from {
            let culprit = Culprit::of(view.index, view.windows, view.number, task, from);
            let renamed = view.index.task(task).map_or(Nanos::MAX, |task| task.renamed(from));
            (*since, *until) = (from, view.windows.claim_edge(task, from).min(renamed));
            *place = culprit.map(|_| delays.len());
            let delay = |culprit| Delay { culprit, how: "ran on its CPU", ns: Nanos::ZERO };
            delays.extend(culprit.map(delay));
        }
        if let Some(delay) = place.and_then(|place| delays.get_mut(place)) {
            delay.ns += to - from;
        }
    }
    delays
}

/// The causes of waits that another step can make longer, and how it did.
const HELD: &[(Cause, &str)] = &[
    (Cause::UserLock, "held a lock (futex)"),
    (Cause::KernelLock, "held a lock of the kernel"),
    (Cause::IpcWait, "was served first"),
    (Cause::ServiceWait, "was served first"),
];

/// Who held the lock, or was busy with another step, while the path waited.
fn locks(view: &StepView<'_>) -> Vec<Delay> {
    let mut delays = Vec::new();
    let how = |cause: Cause| HELD.iter().find(|(held, _)| *held == cause).map(|(_, how)| *how);
    for segment in view.path.having(|key| how(key.cause).is_some()) {
        let Some(how) = how(segment.cause) else { continue };
        let frames = view.path.stacks.frames(segment.stack).iter();
        let tasks = frames.filter_map(|f| if let Frame::Task(id) = f { Some(*id) } else { None });
        let who =
            |task: TaskId| Culprit::of(view.index, view.windows, view.number, task, segment.start);
        let Some(culprit) = tasks.chain([segment.task]).find_map(who) else {
            continue;
        };
        // To wait for a program that works for no step is no delay by anyone.
        let waits = matches!(segment.cause, Cause::IpcWait | Cause::ServiceWait);
        if !waits || matches!(culprit, Culprit::Step(_)) {
            delays.push(Delay { culprit, how, ns: segment.end - segment.start });
        }
    }
    delays
}

/// Who had evicted the pages that a fault or a read of the path had to bring back.
fn evictions(view: &StepView<'_>) -> Vec<Delay> {
    let history = view.index.cache();
    let mut delays = Vec::new();
    let waits = |key: &CellKey| {
        matches!(key.cause, Cause::MajorFault | Cause::BlockRead) && !key.resource.is_cpu()
    };
    for segment in view.path.having(waits) {
        let Some(task) = view.index.task(segment.task) else { continue };
        let mut around = task.op_chain(task.op_at(segment.start)).map(|(_, op)| op);
        let Some(op) = around.find(|op| op.fault().is_some() || op.syscall().is_some()) else {
            continue;
        };
        // What it had added by then, which it waited for.
        let (task, from, to) = (segment.task, op.start, segment.end);
        let refaults = history.refaults(&Stretch { task, from, to, inferred: false });
        let Some(eviction) = refaults.first().and_then(|r| history.eviction(r)) else { continue };
        let culprit = match (eviction.step, eviction.task) {
            (Some(step), _) if view.windows.within(step, view.number) => None,
            (Some(step), _) => Some(Culprit::Step(step)),
            (None, Some(id)) => {
                view.index.task(id).map(|task| Culprit::Program(task.name_at(view.step.start)))
            }
            (None, None) => None,
        };
        if let Some(culprit) = culprit {
            let ns = segment.end - segment.start;
            delays.push(Delay { culprit, how: "evicted its pages", ns });
        }
    }
    delays
}

/// Whose requests were in a device's queue before those that the path waited for. Times of
/// requests in parallel overlap, so each is at most what the path waited in queues.
fn queue(view: &StepView<'_>) -> Vec<Delay> {
    let most = view.path.cells.sum(|key| key.resource == Resource::DeviceQueue);
    if most < LEAST {
        return Vec::new();
    }
    let found = delays(view.index, Some(view.number), view.work, |_| true);
    let delay = |delay: &block_io::Delay| {
        let culprit = match (delay.owner.step, delay.owner.task) {
            (Some(step), _) if view.windows.within(step, view.number) => None,
            (Some(step), _) => Some(Culprit::Step(step)),
            (None, Some(id)) => {
                let task = view.index.task(id)?;
                Some(Culprit::Program(task.name_at(view.step.end)))
            }
            (None, None) => None,
        };
        let how = match delay.owner.kind {
            OwnerKind::Task => "had requests in the queue",
            OwnerKind::WriteBack => "had write-back in the queue",
            OwnerKind::Journal => "had the journal's writes in the queue",
            OwnerKind::Unknown => return None,
        };
        Some(Delay { culprit: culprit?, how, ns: delay.queue.min(most) })
    };
    found.owners.iter().filter_map(delay).collect()
}

/// The delays of a step summed by who and how, the most first.
fn summed(view: &StepView<'_>) -> Vec<((Culprit, &'static str), Nanos)> {
    let delays = SOURCES.iter().flat_map(|source| source(view));
    let mut rows = added_up(delays.map(|d| ((d.culprit, d.how), d.ns)).collect());
    let wall = view.step.end - view.step.start;
    rows.retain(|(_, ns)| *ns >= LEAST && ns.0.saturating_mul(LEAST_PART) >= wall.0);
    rows
}

impl Mechanism for DelayedBy {
    fn id(&self) -> &'static str {
        "delayed_by"
    }
    fn title(&self) -> &'static str {
        "who delayed whom"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch"]
    }
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                Column::text("delayed_by", "delayed by"),
                Column::text("how", "which"),
                Column::time("delay_ns", "of its path"),
            ]
        }
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let row = |((culprit, how), ns): ((Culprit, &'static str), Nanos)| {
            [culprit.text(view.windows).into(), how.into(), ns.into()]
        };
        summed(view).into_iter().map(row).collect()
    }
    fn session_columns(&self) -> &'static [Column] {
        const {
            &[
                Column::text("step", "step"),
                Column::text("tool", "tool"),
                Column::text("delayed_by", "delayed by"),
                Column::text("how", "which"),
                Column::time("delay_ns", "of its path"),
            ]
        }
    }
    fn names_actors(&self) -> bool {
        true
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        let mut rows: Vec<(Value<'_>, &StepReport, Row<'_>)> = Vec::new();
        for step in view.reports {
            let own = step.details.get(self.id()).and_then(|d| d.rows);
            // A delay of less than a hundredth of its step is the step's own matter.
            let least = Value::Number(step.wall.0.div_ceil(100));
            let delays = own.into_iter().flat_map(Rows::iter);
            let delays = delays.filter_map(|row| Some((row.clone().last()?, step, row)));
            rows.extend(delays.filter(|(delay, ..)| *delay >= least));
        }
        // Stable: delays that tie stay in the order of the steps.
        rows.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        let left_out = rows.len().saturating_sub(MOST_ROWS);
        let first = rows.into_iter().take(MOST_ROWS).map(|(_, step, row)| {
            [step.id.to_string().into(), step.tool.as_str().into()].into_iter().chain(row)
        });
        Table::from_iter(first).and_more(left_out)
    }
}
