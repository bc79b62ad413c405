//! The processes that a step started, each cut into the phases of its start, work and end.
//!
//! ```text
//! parent  [fork     ]                                 wait4               ][ wakeup ]
//! child             | delay | setup | execve | loader | program | teardown |
//!         '---------------------------- total ------------------------------'
//! ```

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Op, State, SyscallClass, Task, TaskId, WakeSource};

use crate::inclusive::{Index, Stretch};
use crate::phases::phases_of;

/// The phases of one spawn, in their order; they tile it.
pub(crate) const PHASES: usize = 10;

/// A phase of a spawn, its place in [`Spawn::phases`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    /// From the entry of the call until the child can run: with fork, the copy of the page tables.
    Fork,
    /// Until the child runs for the first time.
    Delay,
    /// The child's own code before it executes: closes, dups, execs that fail.
    Setup,
    /// Images before the last: a shell that then executes the program, `env`.
    Earlier,
    /// From the call to the point of no return: finds and reads the file.
    Prepare,
    /// To the end of the call: tears the old image down and maps the new one.
    Image,
    /// The dynamic loader.
    Loader,
    /// The program's own time, waits included.
    Program,
    /// Its teardown, until the parent is woken.
    Teardown,
    /// From there until the parent's wait returns.
    Wakeup,
}

impl Part {
    /// In the order of time.
    pub(crate) const ALL: [Self; PHASES] = [
        Self::Fork,
        Self::Delay,
        Self::Setup,
        Self::Earlier,
        Self::Prepare,
        Self::Image,
        Self::Loader,
        Self::Program,
        Self::Teardown,
        Self::Wakeup,
    ];
}

/// How a process was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum How {
    /// Page tables copied.
    Fork,
    /// The parent waits until the child executes; nothing is copied.
    Vfork,
    /// `clone` with `CLONE_VFORK`, as posix_spawn makes it: the same.
    PosixSpawn,
}

impl How {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Vfork => "vfork",
            Self::PosixSpawn => "posix_spawn",
        }
    }
}

/// A shell that does nothing but start another program.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Shell {
    /// Its name.
    pub(crate) name: String,
    /// The program it starts.
    pub(crate) starts: String,
    /// It becomes the program by exec; else it forks and waits.
    pub(crate) executes: bool,
    /// What it costs: all but the program that it starts.
    pub(crate) ns: Nanos,
}

/// One process that a step started.
#[derive(Clone, Debug)]
pub(crate) struct Spawn {
    pub(crate) parent: TaskId,
    pub(crate) child: TaskId,
    /// The program: the last that it executed, else its own name.
    pub(crate) program: String,
    /// It executed a program.
    pub(crate) executed: bool,
    /// The first program that it executed, where that is not the last.
    pub(crate) first: Option<String>,
    pub(crate) how: How,
    pub(crate) start: Nanos,
    pub(crate) end: Nanos,
    /// By [`Part`]; their sum is `end - start`.
    pub(crate) phases: [Nanos; PHASES],
    /// Its exec's point of no return was recorded.
    pub(crate) prepared: bool,
    /// Execs that failed before one did not: how many, and their time, a part of the setup.
    pub(crate) failed: (u64, Nanos),
    /// Copy-on-write faults of the parent, until the child executes or ends.
    pub(crate) copies: (u64, Nanos),
    /// Resident bytes of the parent whose page tables were copied, where the capture tells.
    pub(crate) copied: Option<u64>,
    /// The shell that it is.
    pub(crate) shell: Option<Shell>,
    /// It was started by a shell that does nothing else.
    pub(crate) in_shell: bool,
    /// It ended within the step.
    pub(crate) ended: bool,
}

impl Spawn {
    pub(crate) fn total(&self) -> Nanos {
        self.end - self.start
    }

    pub(crate) fn part(&self, part: Part) -> Nanos {
        self.phases.get(part as usize).copied().unwrap_or(Nanos::ZERO)
    }

    /// What starting and ending it costs: all but the program's own time, and that of a
    /// shell that did more than to execute it.
    pub(crate) fn cost(&self) -> Nanos {
        let scripted = self.shell.is_none()
            && self.first.as_deref().is_some_and(|first| SHELLS.contains(&first));
        let own = if scripted { self.part(Part::Earlier) } else { Nanos::ZERO };
        self.total() - self.part(Part::Program) - own
    }
}

/// Shells by name.
pub(crate) const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"];

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}

/// The processes that tasks started while they worked, by birth. `until`: the step's end.
pub(crate) fn spawns(index: &Index<'_>, work: &[Stretch], until: Nanos) -> Vec<Spawn> {
    let mut found: Vec<Spawn> = Vec::new();
    for stretch in work {
        for (birth, child) in index.children_born(stretch.task, stretch.from, stretch.to) {
            found.extend(spawn(index, stretch.task, child, birth, until));
        }
    }
    found.sort_by_key(|s| (s.start, s.child));
    let by_child: BTreeMap<TaskId, (Nanos, String)> =
        found.iter().map(|s| (s.child, (s.total(), s.program.clone()))).collect();
    let mut inside: BTreeSet<TaskId> = BTreeSet::new();
    for spawn in &mut found {
        let shell = only_starts(index, spawn, &by_child);
        if let Some((_, Some(started))) = &shell {
            inside.insert(*started);
        }
        spawn.shell = shell.map(|(shell, _)| shell);
    }
    for spawn in &mut found {
        spawn.in_shell = inside.contains(&spawn.child);
    }
    found
}

/// The shell that a process is, if it is one that only starts another program: it executes
/// it, or forks once, writes nothing itself, and waits.
fn only_starts(
    index: &Index<'_>,
    spawn: &Spawn,
    others: &BTreeMap<TaskId, (Nanos, String)>,
) -> Option<(Shell, Option<TaskId>)> {
    let task = index.task(spawn.child)?;
    let (_, first) = task.execs.first()?;
    let name = base(first);
    if !SHELLS.contains(&name) {
        return None;
    }
    let name = name.to_owned();
    let mut children = index.children_born(spawn.child, Nanos::ZERO, Nanos::MAX);
    if task.execs.len() > 1 {
        let none = children.next().is_none();
        let (starts, ns) = (spawn.program.clone(), spawn.part(Part::Earlier));
        return none.then_some((Shell { name, starts, executes: true, ns }, None));
    }
    let (_, child) = children.next().filter(|_| children.next().is_none())?;
    let writes = task.ops.iter().filter_map(Op::syscall).any(|call| {
        let class = index.model.syscalls.class(call.nr);
        matches!(class, SyscallClass::Write | SyscallClass::SocketSend)
    });
    let (total, starts) = others.get(&child).filter(|_| !writes)?;
    let ns = spawn.total() - *total;
    Some((Shell { name, starts: starts.clone(), executes: false, ns }, Some(child)))
}

fn spawn(
    index: &Index<'_>,
    parent: TaskId,
    child: TaskId,
    birth: Nanos,
    until: Nanos,
) -> Option<Spawn> {
    let model = index.model;
    let (mother, task) = (index.task(parent)?, index.task(child)?);
    let call = |op: &Op| op.syscall();
    let class = |op: &Op| call(op).map(|c| model.syscalls.class(c.nr));
    let fork = mother
        .op_chain(mother.op_at(birth))
        .find(|(_, op)| class(op) == Some(SyscallClass::Fork))
        .map(|(_, op)| op);
    let start = fork.map_or(birth, |op| op.start);
    let vfork_call =
        fork.as_ref().and_then(call).is_some_and(|c| model.syscalls.name(c.nr) == "vfork");
    let how = match (vfork_call, task.vfork) {
        (true, _) => How::Vfork,
        (false, true) => How::PosixSpawn,
        (false, false) => How::Fork,
    };
    let first = |wanted: State| task.states.iter().find(|s| s.state == wanted).map(|s| s.start);
    let born = first(State::Runnable).unwrap_or(birth).max(birth);
    let ran = first(State::Running).unwrap_or(born);
    let phases = phases_of(model, task);
    let death = task.death();
    let exit = phases.exit.map(|(from, _)| from).or(death);

    let execs: Vec<(Nanos, Nanos, Nanos)> = task
        .execs
        .iter()
        .map(|(time, _)| {
            let op = task
                .op_chain(task.op_at(*time))
                .find(|(_, op)| class(op) == Some(SyscallClass::Exec));
            op.map_or((*time, *time, *time), |(_, op)| (op.start, *time, op.end))
        })
        .collect();
    let asleep = exit
        .and_then(|exit| reaping(index, mother, task, exit, death.unwrap_or(until)))
        .filter(|op| op.end != Nanos::MAX);
    let woken = asleep.and_then(|op| woken_by(index, mother, &op, child)).or(death);
    let whole = asleep.map(|op| op.end).or(death);
    let end = whole.unwrap_or(until).min(until).max(start);

    let (mut setup, mut earlier, mut prepared, mut image, mut loaded) = (ran, ran, ran, ran, ran);
    let mut told = false;
    if let (Some((entered, ..)), Some((last, new, done))) = (execs.first(), execs.last()) {
        (setup, earlier, image) = (*entered, *last, *done);
        let point = task.prepared.iter().map(|(time, _)| *time).rfind(|t| last <= t && t <= new);
        told = point.is_some();
        prepared = point.unwrap_or(*last);
        let loader = phases.loader.iter().find(|(from, _)| from == done);
        loaded = loader.map_or(*done, |(_, to)| *to);
    }
    let times = [
        born,
        ran,
        setup,
        earlier,
        prepared,
        image,
        loaded,
        exit.unwrap_or(end),
        woken.unwrap_or(end),
        end,
    ];
    let mut at = start;
    let mut lengths = [Nanos::ZERO; PHASES];
    for (time, length) in times.into_iter().zip(&mut lengths) {
        let edge = time.clamp(at, end);
        *length = edge - at;
        at = edge;
    }

    let first_exec = task.execs.first().map(|(time, _)| *time);
    let next_birth = index.children_born(parent, birth + Nanos(1), Nanos::MAX).next();
    let copies_until = first_exec
        .or(death)
        .unwrap_or(until)
        .min(next_birth.map_or(Nanos::MAX, |(birth, _)| birth))
        .min(until);
    let failed = task
        .ops
        .iter()
        .take_while(|op| first_exec.is_none_or(|exec| op.start < exec))
        .filter(|op| class(op) == Some(SyscallClass::Exec))
        .filter(|op| call(op).is_some_and(|c| c.ret.is_some_and(|ret| ret < 0)))
        .fold((0, Nanos::ZERO), |(n, ns), op| (n + 1, ns + op.duration()));
    Some(Spawn {
        parent,
        child,
        program: match task.execs.last() {
            Some((_, path)) => base(path).to_owned(),
            None => task.name_at(birth).to_text(),
        },
        executed: first_exec.is_some(),
        first: (task.execs.len() > 1)
            .then(|| task.execs.first().map(|(_, path)| base(path).to_owned()))
            .flatten(),
        how,
        start,
        end,
        phases: lengths,
        prepared: told,
        failed,
        copies: if how == How::Fork {
            copies(mother, birth, copies_until)
        } else {
            (0, Nanos::ZERO)
        },
        copied: task.copied.filter(|_| how == How::Fork),
        shell: None,
        in_shell: false,
        ended: whole.is_some_and(|t| t <= until),
    })
}

/// Copy-on-write faults of a task that begin in `[from, to)`.
fn copies(task: &Task, from: Nanos, to: Nanos) -> (u64, Nanos) {
    let first = task.ops.before(from);
    task.ops
        .iter()
        .skip(first)
        .take_while(|op| op.start < to)
        .filter(|op| op.fault().is_some_and(|f| f.is_copy_on_write()))
        .fold((0, Nanos::ZERO), |(n, ns), op| (n + 1, ns + op.duration()))
}

/// The parent's call that was told of the child's end: the one it is in when the child
/// begins to exit, or one that it enters before the child is dead.
fn reaping(index: &Index<'_>, mother: &Task, task: &Task, exit: Nanos, death: Nanos) -> Option<Op> {
    let tells = |op: &Op| {
        op.syscall().is_some_and(|call| {
            // waitid returns 0, whoever it was.
            index.model.syscalls.class(call.nr) == SyscallClass::WaitChild
                && (call.ret == Some(i64::from(task.tid.0))
                    || (call.ret == Some(0) && index.model.syscalls.name(call.nr) == "waitid"))
        })
    };
    let open = mother.op_chain(mother.op_at(exit)).map(|(_, op)| op).find(tells);
    let first = mother.ops.up_to(exit);
    let later = || mother.ops.iter().skip(first).take_while(|op| op.start < death).find(tells);
    open.or_else(later)
}

/// When the child woke the parent out of this call, the last time.
fn woken_by(index: &Index<'_>, mother: &Task, op: &Op, child: TaskId) -> Option<Nanos> {
    mother
        .spans(op.start, op.end)
        .filter_map(|(at, ..)| mother.states.get(at)?.wake)
        .map(|id| index.model.wake(id))
        .filter(|wake| wake.source == WakeSource::Task(child))
        .map(|wake| wake.time)
        .last()
}
