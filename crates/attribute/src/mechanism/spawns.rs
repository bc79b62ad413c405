//! Processes that a step started, summed by program and one by one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;

use super::{Mechanism, SessionView, StepView};
use crate::detail::{Column, Table, Value, Words};
use crate::spawn::{PHASES, Part, Spawn, spawns};
use crate::stats::{human, mean};

/// By program, way and shell.
pub(super) struct Spawns;
/// One row a process.
pub(super) struct SpawnList;

const NEEDS: &[&str] = &["sched:sched_switch", "raw_syscalls:sys_enter", "raw_syscalls:sys_exit"];

const ADD_UP: &str = "the phases of a spawn add up to its total: from the entry of the call that made the process to the \
return of the wait that was told of its end (fork, delay until it runs, its own setup, images before the last, the exec \
up to its point of no return and after it, loader, the program's work, exit, wakeup); to its death where the parent did not wait then; to the end of the step where \
it lives on";

/// The keys and titles of the phases, in the order of [`Part`].
const fn phase_columns() -> [Column; PHASES] {
    [
        Column::time("fork_ns", "fork"),
        Column::time("delay_ns", "delay"),
        Column::time("setup_ns", "setup"),
        Column::time("earlier_ns", "before"),
        Column::time("exec_prepare_ns", "find"),
        Column::time("exec_image_ns", "exec"),
        Column::time("loader_ns", "loader"),
        Column::time("program_ns", "works"),
        Column::time("exit_ns", "exit"),
        Column::time("wakeup_ns", "wakeup"),
    ]
}

const P: [Column; PHASES] = phase_columns();

const BY_PROGRAM: &[Column] = &[
    Column::text("program", "program"),
    Column::text("how", "how"),
    Column::count("count", "count"),
    Column::time("total_ns", "total"),
    P[0],
    P[1],
    P[2],
    P[3],
    P[4],
    P[5],
    P[6],
    P[7],
    P[8],
    P[9],
    Column::text("shell", "shell"),
    Column::time("shell_ns", "shell time"),
    Column::count("failed_execs", "failed execs"),
    Column::time("failed_execs_ns", "in failed execs"),
    Column::count("cow_faults", "copy-on-write"),
    Column::time("cow_ns", "copying"),
    Column::bytes("copied_bytes", "largest parent"),
];

const ONE_BY_ONE: &[Column] = &[
    Column::text("program", "program"),
    Column::text("how", "how"),
    Column::count("tid", "tid"),
    Column::time("total_ns", "total"),
    P[0],
    P[1],
    P[2],
    P[3],
    P[4],
    P[5],
    P[6],
    P[7],
    P[8],
    P[9],
    Column::text("shell", "shell"),
    Column::time("shell_ns", "shell time"),
    Column::count("failed_execs", "failed execs"),
    Column::time("failed_execs_ns", "in failed execs"),
    Column::count("cow_faults", "copy-on-write"),
    Column::time("cow_ns", "copying"),
    Column::bytes("copied_bytes", "parent"),
    Column::count("parent_tid", "parent tid"),
];

/// All spawns of one program, made in one way.
pub(crate) struct Group {
    pub(crate) first: Spawn,
    pub(crate) count: u64,
    pub(crate) total: Nanos,
    pub(crate) cost: Nanos,
    pub(crate) phases: [Nanos; PHASES],
    pub(crate) shell: Nanos,
    pub(crate) failed: (u64, Nanos),
    pub(crate) copies: (u64, Nanos),
    /// The largest parent, where told.
    pub(crate) copied: Option<u64>,
    prepared: bool,
}

impl Group {
    pub(crate) fn part(&self, part: Part) -> Nanos {
        self.phases.get(part as usize).copied().unwrap_or(Nanos::ZERO)
    }
    /// The mean of a time.
    pub(crate) fn each(&self, total: Nanos) -> Nanos {
        mean(total, self.count)
    }
}

/// What a shell does, in words.
fn shell_words(spawn: &Spawn) -> Option<String> {
    let shell = spawn.shell.as_ref()?;
    let verb = if shell.executes { "executes" } else { "only starts" };
    Some(format!("{} {verb} {}", shell.name, shell.starts))
}

/// Groups, the dearest first: by what their starts and ends cost.
pub(crate) fn groups(spawns: &[Spawn]) -> Vec<Group> {
    let mut by: BTreeMap<_, Group> = BTreeMap::new();
    for spawn in spawns {
        let key =
            (spawn.program.clone(), spawn.how, shell_words(spawn), spawn.in_shell, &spawn.first);
        let group = by.entry(key).or_insert_with(|| Group {
            first: spawn.clone(),
            count: 0,
            total: Nanos::ZERO,
            cost: Nanos::ZERO,
            phases: [Nanos::ZERO; PHASES],
            shell: Nanos::ZERO,
            failed: (0, Nanos::ZERO),
            copies: (0, Nanos::ZERO),
            copied: None,
            prepared: true,
        });
        group.count += 1;
        group.total += spawn.total();
        group.cost += spawn.cost();
        for (sum, part) in group.phases.iter_mut().zip(spawn.phases) {
            *sum += part;
        }
        group.shell += spawn.shell.as_ref().map_or(Nanos::ZERO, |shell| shell.ns);
        group.failed.0 += spawn.failed.0;
        group.failed.1 += spawn.failed.1;
        group.copies.0 += spawn.copies.0;
        group.copies.1 += spawn.copies.1;
        group.copied = group.copied.max(spawn.copied);
        group.prepared &= spawn.prepared || !spawn.executed;
    }
    let mut groups: Vec<Group> = by.into_values().collect();
    // Stable: of the same cost, by name.
    groups.sort_by_key(|group| Reverse(group.cost));
    groups
}

fn program(spawn: &Spawn) -> Value<'static> {
    let (executed, ended) = (spawn.executed, spawn.ended);
    let what = match (executed, ended) {
        (true, true) => "",
        (true, false) => " (lives on)",
        (false, true) => " (no exec)",
        (false, false) => " (no exec, lives on)",
    };
    format!("{}{what}", spawn.program).into()
}

/// The phases as values; where the point of no return was not recorded, the whole exec is
/// in the second of its columns.
fn phase_values(phases: [Nanos; PHASES], prepared: bool) -> impl Iterator<Item = Value<'static>> {
    Part::ALL.into_iter().zip(phases).map(move |(part, ns)| {
        if part == Part::Prepare && !prepared { Value::Unknown } else { ns.into() }
    })
}

fn group_row(group: &Group) -> Vec<Value<'static>> {
    let mut row = vec![
        program(&group.first),
        group.first.how.name().into(),
        group.count.into(),
        group.total.into(),
    ];
    row.extend(phase_values(group.phases, group.prepared));
    let words = shell_words(&group.first);
    row.extend([
        words.clone().into(),
        words.map(|_| group.shell).into(),
        group.failed.0.into(),
        group.failed.1.into(),
        group.copies.0.into(),
        group.copies.1.into(),
        group.copied.into(),
    ]);
    row
}

fn notes(spawns: &[Spawn]) -> Vec<Words> {
    if spawns.is_empty() {
        return Vec::new();
    }
    let mut notes = vec![ADD_UP.into()];
    let copies: Nanos = spawns.iter().map(|s| s.copies.1).sum();
    if copies > Nanos::ZERO {
        notes.push(format!(
            "copy-on-write faults of the parent, {} in all, lie beside the phases: they may overlap them",
            human(copies)
        ).into());
    }
    if spawns.iter().any(|s| s.how == crate::spawn::How::Fork && s.copied.is_none()) {
        notes.push(
            "how large a forked parent was is not captured: kmem:rss_stat tells (filter: curr == 0)".into(),
        );
    }
    notes
}

fn of_step<'v>(view: &StepView<'v>) -> &'v [Spawn] {
    view.made.spawns(view.index, view.work, view.step.end)
}

impl Mechanism for Spawns {
    fn id(&self) -> &'static str {
        "spawns"
    }
    fn title(&self) -> &'static str {
        "processes started, by program"
    }
    fn needs(&self) -> &'static [&'static str] {
        NEEDS
    }
    fn columns(&self) -> &'static [Column] {
        BY_PROGRAM
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let spawns = of_step(view);
        Table::from_iter(groups(spawns).iter().map(group_row)).with_notes(notes(spawns))
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        let until = view.windows.steps.iter().map(|s| s.end).max().unwrap_or(Nanos::ZERO);
        let spawns = spawns(view.index, view.work, until);
        Table::from_iter(groups(&spawns).iter().map(group_row)).with_notes(notes(&spawns))
    }
}

impl Mechanism for SpawnList {
    fn id(&self) -> &'static str {
        "spawn_list"
    }
    fn title(&self) -> &'static str {
        "processes started, one by one"
    }
    fn needs(&self) -> &'static [&'static str] {
        NEEDS
    }
    fn columns(&self) -> &'static [Column] {
        ONE_BY_ONE
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let tid = |id| view.index.task(id).and_then(|t| u64::try_from(t.tid.0).ok());
        let row = |spawn: &Spawn| {
            let mut row = vec![
                program(spawn),
                spawn.how.name().into(),
                tid(spawn.child).into(),
                spawn.total().into(),
            ];
            row.extend(phase_values(spawn.phases, spawn.prepared || !spawn.executed));
            row.extend([
                shell_words(spawn).into(),
                spawn.shell.as_ref().map(|shell| shell.ns).into(),
                spawn.failed.0.into(),
                spawn.failed.1.into(),
                spawn.copies.0.into(),
                spawn.copies.1.into(),
                spawn.copied.into(),
                tid(spawn.parent).into(),
            ]);
            row
        };
        of_step(view).iter().map(row).collect()
    }
}
