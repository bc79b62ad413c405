//! Placed steps to doubts of their clock: would the tasks have been there?
//!
//! ```text
//! root     [run][ fsync ........ ][run][ read .... ][run]
//! step       |=====================|                        edges in user mode: fits
//! step              |=======================|               edges inside calls: shifted?
//! ```
//! An agent takes its times in user mode, on the step's own root, so that both edges
//! of a window lie outside of its system calls, but for those that read a clock or
//! log. Where another task keeps the times, the root may sleep at both edges, in its
//! own wait: the same call each time. And while a step lasts, somebody of its process
//! or of the processes below it has run at least once.

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_parse::{Nanos, Pid, StepId};
use rayon::prelude::*;

use crate::model::Model;
use crate::syscall_table::SyscallClass;
use crate::task::{State, Task, TaskId};
use crate::window::Step;

/// A clock is read this near to the edge of a call.
const NEAR: Nanos = Nanos(2_000);
/// Processes are nested less deep.
const DEEPEST: usize = 64;
/// Calls in which a mark may well be taken.
const MARKING: [&str; 8] =
    ["clock_gettime", "gettimeofday", "time", "write", "writev", "pwrite64", "sendto", "sendmsg"];

/// What the steps say of the mapping.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Hardly any step fits: it is wrong.
    Wrong(String),
    /// Many do not.
    Suspicious(String),
}

/// What is at an edge of a window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// In user mode, or in a call that a mark is taken in.
    Fits,
    /// Clipped, lost, before the root's birth or after its death, waiting for a CPU.
    Unknown,
    /// Inside this call, on the CPU or asleep.
    Inside(i32),
}

/// How steps fit what their tasks did.
#[derive(Default)]
struct Fit<'s> {
    looked_at: usize,
    /// Windows in which nobody ran, and the first of them.
    idle: usize,
    first_idle: Option<&'s StepId>,
    /// The root of such a step runs at another time.
    active_elsewhere: bool,
    /// Edges of the others' windows, and how many lie inside a call.
    edges: usize,
    cut: usize,
    /// Of starts and of ends: how many are known, and how many cut a call that is no
    /// wait for work.
    sides: [(usize, usize); 2],
}

impl<'s> Fit<'s> {
    /// Of these steps.
    fn of(model: &Model, steps: &'s [Step]) -> Self {
        let mut fit = Self::default();
        let mut families = Families::default();
        for step in steps.iter().filter(|step| step.mapped && !lost(model, step)) {
            if let Some(alive) = anybody_ran(model, step, &mut families) {
                fit.add(model, step, alive);
            }
        }
        fit
    }

    fn add(&mut self, model: &Model, step: &'s Step, alive: bool) {
        self.looked_at += 1;
        if !alive {
            self.idle += 1;
            self.first_idle.get_or_insert(&step.id);
            self.active_elsewhere |=
                model.task(step.root).states.iter().any(|span| span.state == State::Running);
            return;
        }
        let (start, end) = (edge(model, step, step.start), edge(model, step, step.end));
        for ((known, cut), edge) in self.sides.iter_mut().zip([start, end]) {
            *known += usize::from(edge != Edge::Unknown);
            *cut += usize::from(matches!(edge, Edge::Inside(nr) if !for_work(model, nr)));
        }
        match (start, end) {
            // Its own wait: somebody else keeps the times.
            (Edge::Inside(a), Edge::Inside(b)) if a == b && waits(model, step, a) => {}
            (Edge::Unknown, Edge::Unknown) => {}
            _ => {
                self.edges += [start, end].iter().filter(|e| **e != Edge::Unknown).count();
                self.cut += [start, end].iter().filter(|e| matches!(e, Edge::Inside(_))).count();
            }
        }
    }

    /// With that of later steps.
    fn and(mut self, later: Self) -> Self {
        self.looked_at += later.looked_at;
        self.idle += later.idle;
        self.first_idle = self.first_idle.or(later.first_idle);
        self.active_elsewhere |= later.active_elsewhere;
        self.edges += later.edges;
        self.cut += later.cut;
        for ((known, cut), (more, more_cut)) in self.sides.iter_mut().zip(later.sides) {
            *known += more;
            *cut += more_cut;
        }
        self
    }
}

/// Looks at all steps whose times came from a file.
pub(crate) fn check(model: &Model, steps: &[Step]) -> Option<Doubt> {
    // As few pieces as there are threads: each looks up families anew.
    let piece = steps.len().div_ceil(rayon::current_num_threads()).max(1);
    let fits = steps.par_chunks(piece).map(|steps| Fit::of(model, steps));
    let fit = fits.reduce(Fit::default, Fit::and);
    let Fit { looked_at, idle, first_idle, active_elsewhere, edges, cut, sides } = fit;
    if looked_at == 0 {
        return None;
    }
    let numbers = format!(
        "of {looked_at} steps timed by the steps file, {idle} have a window in which neither their root task nor any \
         other of its process ran{}; of {edges} edges of the others' windows, {cut} lie inside a system call of the root \
         task, where no agent can have read its clock",
        first_idle.map_or(String::new(), |id| format!(" (the first is step {id})"))
    );
    let how = "compare a step's first system call in the log of the agent with `agenttrace dump --stage timelines`, and \
               see --clock-offset";
    // One step alone, or a root that only ever waits, proves nothing.
    let most_idle = looked_at >= 2 && active_elsewhere && idle * 10 >= looked_at * 9;
    let all_cut = edges >= 6 && cut * 10 >= edges * 9;
    if most_idle || all_cut {
        return Some(Doubt::Wrong(format!(
            "the steps' times do not fit the capture: {numbers}. The clock of the marks is probably not what was assumed, \
             or \"pid\" names another task; {how} (with --clock-offset, 0 too, this is a warning)"
        )));
    }
    let many_idle = active_elsewhere && idle * 2 > looked_at;
    let many_cut = edges >= 4 && cut * 2 > edges;
    // A small shift moves all the starts, or all the ends, into calls.
    let one_side = sides.iter().any(|(known, cut)| *cut >= 3 && cut * 10 >= known * 9);
    (many_idle || many_cut || one_side).then(|| {
        Doubt::Suspicious(format!("the steps' times may not fit the capture: {numbers}; {how}"))
    })
}

fn lost(model: &Model, step: &Step) -> bool {
    model.lost.iter().any(|lost| lost.overlaps(step.start, step.end))
}

/// Whether the root, another task of its process, or a descendant ran within the
/// window. `None` where the capture does not know.
fn anybody_ran<'m>(model: &'m Model, step: &Step, families: &mut Families<'m>) -> Option<bool> {
    let (from, to) = reach(step);
    let root = model.task(step.root);
    let family = families.entry((step.root, step.pid)).or_insert_with(|| Family::new(root));
    if family.root.runs(from, to) {
        return Some(true);
    }
    let unknown = |task: &Task| {
        task.spans(from, to).any(|(_, _, _, span)| matches!(span.state, State::Unknown(_)))
    };
    let dead = root.death().is_some_and(|death| death <= from);
    if !dead && root.birth.is_none_or(|birth| birth < to) && unknown(root) {
        return None;
    }
    let members = family.members.get_or_insert_with(|| members(model, step));
    let running = members.iter_mut().position(|member| member.runs(from, to));
    if let Some(running) = running {
        // Steps come in time order: the next one is likely to be its as well.
        members.swap(0, running);
    }
    Some(running.is_some())
}

/// By root and process of a step: the tasks that may work for it.
type Families<'m> = BTreeMap<(TaskId, Option<Pid>), Family<'m>>;

struct Family<'m> {
    root: Member<'m>,
    /// Looked up when they are first needed.
    members: Option<Vec<Member<'m>>>,
}

impl<'m> Family<'m> {
    fn new(root: &'m Task) -> Self {
        Self { root: Member::new(root), members: None }
    }
}

/// A task that may work for a step.
struct Member<'m> {
    task: &'m Task,
    /// How many of its operations begin by the last time that was asked for.
    begun: usize,
    /// From then on it neither runs nor begins anything.
    over: Nanos,
    /// Within these times neither.
    quiet: (Nanos, Nanos),
}

impl<'m> Member<'m> {
    fn new(task: &'m Task) -> Self {
        // Most of a family die early, or sleep until the end.
        let rests = match task.states.last() {
            Some(last) if last.state == State::Running => Nanos::MAX,
            Some(last) => last.start,
            None => Nanos::ZERO,
        };
        let last = task.ops.len().checked_sub(1).and_then(|last| task.ops.start(last));
        let over = rests.max(last.unwrap_or_default());
        Self { task, begun: 0, over, quiet: (Nanos::ZERO, Nanos::ZERO) }
    }

    /// Whether it runs, or an operation of it begins, within `[from, to)`.
    fn runs(&mut self, from: Nanos, to: Nanos) -> bool {
        let (since, until) = self.quiet;
        if from >= self.over || from >= to || (from >= since && to <= until) {
            return false;
        }
        let task = self.task;
        if task.spans(from, to).any(|(_, _, _, span)| span.state == State::Running) {
            return true;
        }
        self.begun = task.ops.up_to_from(self.begun, from);
        let begins = task.ops.start(self.begun).unwrap_or(Nanos::MAX);
        if begins < to {
            return true;
        }
        let change = task.states.since(task.span_at(from)).find(|span| span.start >= to);
        self.quiet = (from, change.map_or(begins, |span| span.start.min(begins)));
        false
    }
}

/// The tasks of a step's process, and those below its root.
fn members<'m>(model: &'m Model, step: &Step) -> Vec<Member<'m>> {
    let pids: BTreeSet<Pid> = step.pid.into_iter().chain([model.task(step.root).pid]).collect();
    let below = |task: &Task| {
        std::iter::successors(task.parent, |parent| model.task(*parent).parent)
            .take(DEEPEST)
            .any(|parent| parent == step.root)
    };
    model.tasks.iter().filter(|t| pids.contains(&t.pid) || below(t)).map(Member::new).collect()
}

/// The window, with the error of its edges.
fn reach(step: &Step) -> (Nanos, Nanos) {
    let error = step.error.unwrap_or_default();
    (step.start - error, step.end + error)
}

fn edge(model: &Model, step: &Step, time: Nanos) -> Edge {
    let (first, last) = model.span;
    if time <= first || time >= last {
        return Edge::Unknown;
    }
    let root = model.task(step.root);
    let state = root.states.get(root.span_at(time)).map(|span| span.state);
    let near = step.error.unwrap_or_default() + NEAR;
    match state {
        Some(State::Running | State::Blocked(_)) => {}
        Some(State::Unknown(_) | State::Runnable | State::New | State::Dead) | None => {
            return Edge::Unknown;
        }
    }
    let call = root.op_chain(root.op_at(time)).find_map(|(_, op)| Some((op, op.syscall()?)));
    match call {
        None if state == Some(State::Running) => Edge::Fits,
        // Asleep in no call: a fault, or a call whose entry was not recorded.
        None => Edge::Unknown,
        Some((op, call)) => {
            let at_edge = time - op.start <= near || op.recorded_end() - time <= near;
            if call.mark || at_edge || MARKING.contains(&&*model.syscalls.name(call.nr)) {
                Edge::Fits
            } else {
                Edge::Inside(call.nr)
            }
        }
    }
}

/// Whether a server may wait for work in this call.
fn for_work(model: &Model, nr: i32) -> bool {
    match model.syscalls.class(nr) {
        SyscallClass::Read
        | SyscallClass::SocketReceive
        | SyscallClass::Poll
        | SyscallClass::Futex
        | SyscallClass::WaitChild
        | SyscallClass::IoUring => true,
        SyscallClass::Durability
        | SyscallClass::Metadata
        | SyscallClass::Write
        | SyscallClass::Fork
        | SyscallClass::Exec
        | SyscallClass::Exit
        | SyscallClass::Sleep
        | SyscallClass::SocketSend
        | SyscallClass::Prctl
        | SyscallClass::Other => false,
    }
}

/// Whether the root sleeps at both edges, in a call in which a server waits for work.
fn waits(model: &Model, step: &Step, nr: i32) -> bool {
    if !for_work(model, nr) {
        return false;
    }
    let root = model.task(step.root);
    [step.start, step.end].into_iter().all(|time| {
        root.states.get(root.span_at(time)).is_some_and(|s| matches!(s.state, State::Blocked(_)))
    })
}

#[cfg(test)]
mod tests {
    use agenttrace_parse::{Cpu, SwitchState, Tid};

    use super::*;
    use crate::op::{Op, OpKind};
    use crate::task::{Span, UnknownReason};

    fn task(states: &[(u64, State)]) -> Task {
        let mut task = Task::new(Tid(7));
        for (start, state) in states {
            let (start, state, cpu) = (Nanos(*start), *state, Cpu(0));
            task.states.push(Span { start, state, cpu, wake: None, inferred: false });
        }
        for start in [110, 150, 250] {
            task.ops.push(&Op::new(Nanos(start), None, OpKind::Exit));
        }
        task
    }

    fn runs<const N: usize>(task: &Task, windows: [(u64, u64); N]) -> [bool; N] {
        let mut member = Member::new(task);
        windows.map(|(from, to)| member.runs(Nanos(from), Nanos(to)))
    }

    #[test]
    fn a_task_runs_by_its_states_or_where_an_operation_begins() {
        let asleep = State::Blocked(SwitchState::Interruptible);
        let known = task(&[(0, asleep), (100, State::Running), (200, asleep)]);
        let windows = [(0, 50), (0, 101), (199, 300), (200, 250), (200, 251), (250, 300), (0, 111)];
        assert_eq!(runs(&known, windows), [false, true, true, false, true, false, true]);
        // One after the other, each as if it were asked alone.
        let all: Vec<(u64, u64)> = (0..320)
            .step_by(10)
            .flat_map(|from| [1, 10, 60].map(|long| (from, from + long)))
            .collect();
        let mut member = Member::new(&known);
        for (from, to) in all.iter().chain(all.iter().rev()).copied() {
            let want = (from < 200 && to > 100) || (from < 250 && to > 250);
            assert_eq!(member.runs(Nanos(from), Nanos(to)), want, "{from} {to}");
        }
        // Who runs last runs on.
        let running = task(&[(0, asleep), (100, State::Running)]);
        assert_eq!(runs(&running, [(0, 100), (300, 301)]), [false, true]);
        // Without switches the operations alone tell, whatever order they are asked in.
        let unknown = task(&[(0, State::Unknown(UnknownReason::BeforeFirstEvent))]);
        let windows = [(120, 150), (120, 151), (200, 260), (250, 260), (111, 150), (100, 111)];
        assert_eq!(runs(&unknown, windows), [false, true, true, false, false, true]);
    }
}
