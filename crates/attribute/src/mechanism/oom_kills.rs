//! Processes killed for want of memory: the victim, who ran the OOM killer, and for whose limit.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{OomKill, OpKind, ReclaimKind, TaskId};

use super::{Mechanism, SessionView, StepView, tlb};
use crate::detail::{Column, Table, Value};
use crate::inclusive::{Index, Stretch};

pub(crate) struct OomKills;

/// For whose limit a process was killed, as the reclaim before it tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// A memory cgroup's.
    Cgroup,
    /// The machine's memory.
    Machine,
}

/// The last reclaims of the task that ran the OOM killer.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct LastTries {
    /// What kind they were.
    pub(crate) scope: Option<Scope>,
    /// How many, in the same call or fault.
    pub(crate) count: u64,
    /// Pages that they got.
    pub(crate) pages: u64,
}

/// Reclaims further back than this many operations belong to an earlier allocation.
const LOOK_BACK: usize = 64;

/// What the task that ran the OOM killer had tried before.
pub(crate) fn tries(index: &Index<'_>, kill: &OomKill) -> LastTries {
    let mut tries = LastTries::default();
    let task = kill.trigger.and_then(|id| index.model.tasks.get(id.0 as usize));
    let Some(task) = task else { return tries };
    let after = task.ops.up_to(kill.time);
    let around = task.op_chain(task.op_at(kill.time)).last().map_or(kill.time, |(_, op)| op.start);
    for op in task.ops.iter().take(after).rev().take(LOOK_BACK) {
        let OpKind::Reclaim(reclaim) = op.kind else { continue };
        let scope = match reclaim.kind {
            ReclaimKind::Cgroup => Scope::Cgroup,
            ReclaimKind::Direct => Scope::Machine,
            ReclaimKind::SoftLimit | ReclaimKind::Compaction => continue,
        };
        // A fault is tried again after the last of its reclaims: the kind may be an
        // earlier one's, the count may not.
        tries.scope.get_or_insert(scope);
        if op.start >= around && tries.scope == Some(scope) {
            tries.count += 1;
            tries.pages = tries.pages.saturating_add(reclaim.pages.unwrap_or(0));
        }
    }
    tries
}

/// The kills in `[from, to)` whose victim's process is one of these tasks'.
pub(crate) fn of_tasks<'m>(
    index: &Index<'m>,
    work: &[Stretch],
    from: Nanos,
    to: Nanos,
) -> Vec<&'m OomKill> {
    let model = index.model;
    let first = model.oom_kills.partition_point(|kill| kill.time < from);
    let inside = model.oom_kills.iter().skip(first).take_while(|kill| kill.time < to);
    let pid = |id: TaskId| model.tasks.get(id.0 as usize).map(|task| task.pid);
    inside.filter(|kill| work.iter().any(|s| pid(s.task) == pid(kill.victim))).collect()
}

const COLUMNS: &[Column] = &[
    Column::text("victim", "victim"),
    Column::text("by", "by an allocation of"),
    Column::text("limit", "limit"),
    Column::count("tries", "reclaims before"),
    Column::count("pages", "pages got"),
    Column::bytes("anon_bytes", "its anonymous memory"),
    Column::time("at_ns", "since the capture began"),
];

fn row(index: &Index<'_>, kill: &OomKill) -> [Value<'static>; 7] {
    let tries = tries(index, kill);
    let limit = tries.scope.map(|scope| match scope {
        Scope::Cgroup => "a memory cgroup's",
        Scope::Machine => "the machine's memory",
    });
    [
        tlb::name(index.model, kill.victim, kill.time).into(),
        kill.trigger.map(|task| tlb::name(index.model, task, kill.time)).into(),
        limit.into(),
        tries.count.into(),
        tries.pages.into(),
        kill.anon_kib.map(|kib| kib.saturating_mul(1024)).into(),
        (kill.time - index.model.span.0).into(),
    ]
}

impl Mechanism for OomKills {
    fn id(&self) -> &'static str {
        "oom_kills"
    }
    fn title(&self) -> &'static str {
        "processes killed for want of memory"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["oom:mark_victim"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let kills = of_tasks(view.index, view.work, view.step.start, view.step.end);
        kills.into_iter().map(|kill| row(view.index, kill)).collect()
    }
    /// Every one of the capture, of other programs too.
    fn names_actors(&self) -> bool {
        true
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        let kills = view.index.model.oom_kills.iter();
        kills.map(|kill| row(view.index, kill)).collect()
    }
}
