//! Who worked for which step when, and look-ups by task.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use agenttrace_model::parse::{CaptureInfo, Cpu, Nanos, Seats};
use agenttrace_model::{
    InterruptSpan, Model, Request, State, Step, SyscallClass, Task, TaskId, Windows,
};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::block_io::BlockIo;
use crate::cpu_lines::{CpuLines, LineCursor};
use crate::detail::{Head, Words};
use crate::journal::{InCommits, Journals};
use crate::made::Rival;
use crate::mechanism;
use crate::mechanism::reclaim::MemoryIndex;
use crate::mechanism::tlb::TlbIndex;
use crate::mechanism::watchers::WatchWakes;
use crate::page_cache::History;
use crate::report::StepTask;
use crate::steal::{Hole, holes};
use crate::survey::Survey;
use crate::throttle::Throttles;
use crate::told::Told;

/// A stretch over which a task works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stretch {
    pub(crate) task: TaskId,
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    pub(crate) inferred: bool,
}

/// For each step its stretches of work, nested steps' included: what
/// [`Windows::work`] tells of one step, for all steps in one pass over the claims.
pub(crate) fn work(windows: &Windows) -> Vec<Vec<Stretch>> {
    let mut work: Vec<Vec<Stretch>> = windows
        .steps
        .iter()
        .map(|step| {
            vec![Stretch { task: step.root, from: step.start, to: step.end, inferred: false }]
        })
        .collect();
    for (index, claims) in windows.claims.iter().enumerate() {
        let task = TaskId(u32::try_from(index).unwrap_or(u32::MAX));
        for claim in claims {
            let mut at = Some(claim.step);
            while let Some(step) = at {
                let Some(window) = windows.steps.get(step) else { break };
                let (from, to) = (claim.from.max(window.start), claim.to.min(window.end));
                if task != window.root
                    && from < to
                    && let Some(stretches) = work.get_mut(step)
                {
                    stretches.push(Stretch { task, from, to, inferred: claim.inferred });
                }
                at = window.parent;
            }
        }
    }
    work
}

/// The union of all steps' work, so that each operation counts once.
pub(crate) fn union<'w>(work: impl Iterator<Item = &'w Stretch>) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = work.copied().collect();
    all.sort_unstable();
    let mut out: Vec<Stretch> = Vec::new();
    for stretch in all {
        match out.last_mut() {
            Some(last) if last.task == stretch.task && stretch.from <= last.to => {
                last.to = last.to.max(stretch.to);
            }
            Some(_) | None => out.push(stretch),
        }
    }
    out
}

/// Which of a step's work counts in the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    /// All of it.
    All,
    /// These stretches: the rest is counted for other steps.
    Parts(Vec<Stretch>),
}

/// For each step which of its work counts in the session, so that each moment of a task counts
/// once: together they are [`union`].
///
/// ```text
/// one step       [========)
/// another             [========)
/// counts there             [===)
/// ```
pub(crate) fn shares(work: &[Vec<Stretch>]) -> Vec<Share> {
    let mut all: Vec<(Stretch, usize)> = Vec::new();
    for (step, own) in work.iter().enumerate() {
        all.extend(own.iter().map(|stretch| (*stretch, step)));
    }
    all.sort_unstable();
    let mut parts: Vec<Vec<Stretch>> = vec![Vec::new(); work.len()];
    // Of the task at hand, before when all is counted that any step works.
    let (mut task, mut counted) = (None, Nanos::ZERO);
    for (stretch, step) in all {
        if task != Some(stretch.task) {
            (task, counted) = (Some(stretch.task), Nanos::ZERO);
        }
        let part = Stretch { from: stretch.from.max(counted), ..stretch };
        counted = counted.max(stretch.to);
        if part.from < part.to
            && let Some(parts) = parts.get_mut(step)
        {
            parts.push(part);
        }
    }
    let length = |list: &[Stretch]| -> Nanos { list.iter().map(|s| s.to - s.from).sum() };
    let shares = work.iter().zip(parts).map(|(own, parts)| {
        if length(own) == length(&parts) { Share::All } else { Share::Parts(parts) }
    });
    shares.collect()
}

/// By submitter: (submission, how long).
type UringSyncs = BTreeMap<TaskId, Vec<(Nanos, Nanos)>>;

fn uring_syncs(model: &Model) -> UringSyncs {
    let mut syncs = UringSyncs::new();
    // In the order of their submission.
    for request in &model.uring.requests {
        if let (Some(task), Some(completed)) = (request.submitter, request.completed)
            && request.op.class() == SyscallClass::Durability
        {
            let ns = completed - request.submitted;
            syncs.entry(task).or_default().push((request.submitted, ns));
        }
    }
    syncs
}

/// Look-ups by task, built once for all steps.
pub(crate) struct Index<'m> {
    pub(crate) model: &'m Model,
    pub(crate) info: &'m CaptureInfo,
    pub(crate) windows: &'m Windows,
    pub(super) requests: Vec<Vec<u32>>,
    pub(super) children: Vec<Vec<(Nanos, TaskId)>>,
    classes: FxHashMap<Words, SyscallClass>,
    heads: Arc<[Head]>,
    cpus: OnceLock<CpuLines>,
    throttles: OnceLock<Arc<Throttles>>,
    interrupts: OnceLock<FxHashMap<Cpu, Vec<InterruptSpan>>>,
    seats: Seats,
    pub(crate) told: Told,
    /// By root task.
    steps: FxHashMap<TaskId, Vec<&'m Step>>,
    holes: OnceLock<Vec<Hole>>,
    cache: OnceLock<History>,
    block_io: OnceLock<BlockIo>,
    journals: OnceLock<Journals>,
    tlb: OnceLock<TlbIndex>,
    memory: OnceLock<MemoryIndex>,
    survey: OnceLock<Survey>,
    watch_wakes: OnceLock<WatchWakes>,
    uring_syncs: OnceLock<UringSyncs>,
    in_commits: InCommits,
}

impl<'m> Index<'m> {
    pub(crate) fn new(model: &'m Model, info: &'m CaptureInfo, windows: &'m Windows) -> Self {
        let mut requests = vec![Vec::new(); model.tasks.len()];
        for (index, request) in model.requests.iter().enumerate() {
            if let Some(list) = request.submitter.and_then(|task| requests.get_mut(task.0 as usize))
            {
                list.push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        for list in &mut requests {
            list.sort_by_key(|index| {
                model.requests.get(*index as usize).map(|r| (r.queued, *index))
            });
        }
        let mut children = vec![Vec::new(); model.tasks.len()];
        for (id, task) in model.task_ids() {
            if let (Some(birth), Some(parent), Some(false)) =
                (task.birth, task.parent, task.is_thread)
                && let Some(list) = children.get_mut(parent.0 as usize)
            {
                list.push((birth, id));
            }
        }
        for list in &mut children {
            list.sort_unstable();
        }
        let classes =
            (0..512).map(|nr| (model.syscalls.name(nr), model.syscalls.class(nr))).collect();
        let mut steps: FxHashMap<TaskId, Vec<&'m Step>> = FxHashMap::default();
        for step in &windows.steps {
            steps.entry(step.root).or_default().push(step);
        }
        Self {
            model,
            info,
            windows,
            requests,
            children,
            classes,
            heads: mechanism::heads(&model.captured),
            cpus: OnceLock::new(),
            throttles: OnceLock::new(),
            interrupts: OnceLock::new(),
            seats: info.topology.seats(),
            told: Told::new(&model.captured),
            steps,
            holes: OnceLock::new(),
            cache: OnceLock::new(),
            block_io: OnceLock::new(),
            journals: OnceLock::new(),
            tlb: OnceLock::new(),
            memory: OnceLock::new(),
            survey: OnceLock::new(),
            watch_wakes: OnceLock::new(),
            uring_syncs: OnceLock::new(),
            in_commits: InCommits::default(),
        }
    }

    /// Makes what nearly every step needs, several at once: made by the first step that asks,
    /// each would keep the other workers waiting.
    pub(crate) fn prepare(&self) {
        type Part<'m> = (&'static [&'static str], fn(&Index<'m>));
        let parts: &[Part<'m>] = &[
            (&["sched:sched_switch"], |index| {
                // Set, not made on asking: who asks first must not wait for other threads.
                let _ = index.cpus.set(CpuLines::parallel(index.model));
                index.throttles(index.windows);
                index.holes();
            }),
            (&["raw_syscalls:sys_enter"], |index| {
                let _ = index.survey.set(Survey::parallel(index.model));
            }),
            (&["raw_syscalls:sys_enter", "sched:sched_switch", "sched:sched_waking"], |index| {
                index.watch_wakes();
            }),
            (&["sched:sched_switch"], |index| {
                index.cache();
            }),
            (&["block:block_rq_complete"], |index| {
                index.block_io();
            }),
            (&["vmscan:mm_vmscan_kswapd_wake"], |index| {
                index.memory();
            }),
            (&["tlb:tlb_flush"], |index| {
                index.tlb();
            }),
        ];
        let captured = &self.model.captured;
        let wanted = parts.par_iter().filter(|(needs, _)| needs.iter().all(|n| captured.has(n)));
        wanted.for_each(|(_, make)| make(self));
    }

    /// How long the durability operations took that a task submitted to io_uring over a
    /// stretch, from submission to completion.
    pub(crate) fn uring_syncs(&self, stretch: Stretch) -> impl Iterator<Item = Nanos> + '_ {
        let all = self.uring_syncs.get_or_init(|| uring_syncs(self.model));
        let own = all.get(&stretch.task).map(Vec::as_slice).unwrap_or_default();
        let first = own.partition_point(|(submitted, _)| *submitted < stretch.from);
        let last = own.partition_point(|(submitted, _)| *submitted < stretch.to);
        own.get(first..last).unwrap_or_default().iter().map(|(_, ns)| *ns)
    }

    /// Queues of devices, waiters of requests, plugs, writers of files.
    pub(crate) fn block_io(&self) -> &BlockIo {
        self.block_io.get_or_init(|| BlockIo::new(self.model))
    }

    /// Who is in which commit, as far as somebody asked.
    pub(crate) fn in_commits(&self) -> &InCommits {
        &self.in_commits
    }

    /// Commits and handles.
    pub(crate) fn journals(&self) -> &Journals {
        self.journals.get_or_init(|| Journals::new(self.model))
    }

    /// The requests that a task submitted over a stretch, by the time they were queued.
    pub(crate) fn submitted(&self, stretch: Stretch) -> impl Iterator<Item = (u32, &'m Request)> {
        let requests = &self.model.requests;
        let list = self.requests.get(stretch.task.0 as usize).map(Vec::as_slice);
        let list = list.unwrap_or_default();
        let queued = |i: &u32| requests.get(*i as usize).map_or(Nanos::MAX, |r| r.queued);
        let first = list.partition_point(|i| queued(i) < stretch.from);
        let last = list.partition_point(|i| queued(i) < stretch.to);
        let mine = list.get(first..last).unwrap_or_default();
        mine.iter().filter_map(|i| requests.get(*i as usize).map(|r| (*i, r)))
    }

    /// The steps with this root task, in the order of their start.
    pub(crate) fn steps_of(&self, root: TaskId) -> &[&'m Step] {
        self.steps.get(&root).map(Vec::as_slice).unwrap_or_default()
    }

    /// The heads of [`mechanism::ALL`]'s tables, in their order.
    pub(crate) fn heads(&self) -> &Arc<[Head]> {
        &self.heads
    }

    /// The class of a system call by name.
    pub(crate) fn class(&self, name: &str) -> SyscallClass {
        self.classes.get(name).copied().unwrap_or(SyscallClass::Other)
    }

    /// TLB flushes by task.
    pub(crate) fn tlb(&self) -> &TlbIndex {
        self.tlb.get_or_init(|| TlbIndex::new(self.model))
    }

    /// Who wrote, and which tasks are kswapd's.
    pub(crate) fn memory(&self) -> &MemoryIndex {
        self.memory.get_or_init(|| MemoryIndex::new(self.model))
    }

    /// The processes that a task made in `[from, to)`: (birth, child), by birth.
    pub(crate) fn children_born(
        &self,
        parent: TaskId,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (Nanos, TaskId)> + '_ {
        let all = self.children.get(parent.0 as usize).map(Vec::as_slice).unwrap_or_default();
        let first = all.partition_point(|(birth, _)| *birth < from);
        all.iter().skip(first).copied().take_while(move |(birth, _)| *birth < to)
    }

    /// Adds who ran on the CPU that a task waited for over `[from, to)`.
    pub(crate) fn ahead(
        &self,
        waiter: TaskId,
        from: Nanos,
        to: Nanos,
        cursor: &mut LineCursor,
        ahead: &mut Vec<Rival>,
    ) {
        for (cpu, from, to) in self.queued(waiter, from, to) {
            let runs = self.lines().runs_on(cursor, cpu, from, to);
            let others = runs.filter(|run| run.task != waiter);
            ahead.extend(others.map(|run| Rival {
                task: run.task,
                cpu,
                from: run.from.max(from),
                to: run.to.min(to),
            }));
        }
    }

    /// How long the CPU that a task waited for was surely idle within `[from, to)`.
    pub(crate) fn idle_ahead(&self, waiter: TaskId, from: Nanos, to: Nanos) -> Nanos {
        let idle = |(cpu, from, to)| self.lines().idle(cpu, from, to);
        self.queued(waiter, from, to).flat_map(idle).map(|(from, to)| to - from).sum()
    }

    /// Which CPU a task that was runnable over `[from, to)` waited for, and when.
    fn queued(
        &self,
        waiter: TaskId,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = (Cpu, Nanos, Nanos)> + '_ {
        self.task(waiter).into_iter().flat_map(move |task| {
            task.spans(from, to).map(|(index, from, to, span)| {
                let mut later = task.states.since(index + 1);
                // Where it ran next is sure; where it was queued may be a guess.
                let ran = later.find(|s| s.state == State::Running);
                (ran.map_or(span.cpu, |s| s.cpu), from, to)
            })
        })
    }

    /// Who ran on each CPU.
    pub(crate) fn lines(&self) -> &CpuLines {
        self.cpus.get_or_init(|| CpuLines::new(self.model))
    }

    /// Where a hypervisor may have had a CPU.
    pub(crate) fn holes(&self) -> &[Hole] {
        self.holes.get_or_init(|| holes(self.model, self.lines()))
    }

    /// Whom a CPU quota held.
    pub(crate) fn throttles(&self, windows: &Windows) -> &Arc<Throttles> {
        let made = || Arc::new(Throttles::new(self.model, windows, &self.cpus));
        self.throttles.get_or_init(made)
    }

    /// The interrupts on a CPU that overlap `[from, to)`, whole, in time order.
    pub(crate) fn interrupts(
        &self,
        cpu: Cpu,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = InterruptSpan> + '_ {
        let by_cpu = self.interrupts.get_or_init(|| {
            let mut by_cpu: FxHashMap<Cpu, Vec<InterruptSpan>> = FxHashMap::default();
            for span in &self.model.interrupts {
                by_cpu.entry(span.cpu).or_default().push(*span);
            }
            by_cpu
        });
        let list = by_cpu.get(&cpu).map(Vec::as_slice).unwrap_or_default();
        let first = list.partition_point(|span| span.to <= from);
        list.iter().skip(first).take_while(move |span| span.from < to).copied()
    }

    /// Whether interrupts were recorded.
    pub(crate) fn tells_interrupts(&self) -> bool {
        self.model.captured.has("irq:irq_handler_entry")
    }

    /// Where the CPUs sit.
    pub(crate) fn seats(&self) -> &Seats {
        &self.seats
    }

    /// What left the page cache, by whom, and came back.
    pub(crate) fn cache(&self) -> &History {
        self.cache.get_or_init(|| History::new(self.model, self.windows))
    }

    /// What a look at all operations tells.
    pub(crate) fn survey(&self) -> &Survey {
        self.survey.get_or_init(|| Survey::new(self.model))
    }

    /// Who was woken as a watcher of files.
    pub(crate) fn watch_wakes(&self) -> &WatchWakes {
        self.watch_wakes.get_or_init(|| WatchWakes::new(self.model))
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<&'m Task> {
        self.model.tasks.get(id.0 as usize)
    }
}

/// The tasks of a step, the root first, then by first appearance.
pub(crate) fn step_tasks(model: &Model, root: TaskId, stretches: &[Stretch]) -> Vec<StepTask> {
    let mut all: Vec<&Stretch> = stretches.iter().collect();
    all.sort_unstable_by_key(|s| s.task);
    let mut tasks: Vec<(TaskId, Nanos, StepTask)> = Vec::new();
    for own in all.chunk_by(|a, b| a.task == b.task) {
        let Some(id) = own.first().map(|s| s.task) else { continue };
        let Some(task) = model.tasks.get(id.0 as usize) else { continue };
        let first = own.iter().map(|s| s.from).min().unwrap_or_default();
        let last = own.iter().map(|s| s.to).max().unwrap_or_default();
        let worked = StepTask {
            tid: task.tid,
            pid: task.pid,
            comm: task.name_at(last).to_text(),
            ns: own.iter().map(|s| s.to - s.from).sum(),
            inferred: own.iter().all(|s| s.inferred),
        };
        tasks.push((id, first, worked));
    }
    tasks.sort_unstable_by_key(|(id, first, _)| (*id != root, *first, *id));
    let mut tasks: Vec<StepTask> = tasks.into_iter().map(|(.., task)| task).collect();
    tasks.shrink_to_fit();
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(task: u32, from: u64, to: u64) -> Stretch {
        Stretch { task: TaskId(task), from: Nanos(from), to: Nanos(to), inferred: false }
    }

    #[test]
    fn each_moment_of_a_task_counts_for_one_step() {
        let work = [
            // The whole of one task, and a part of another.
            vec![stretch(1, 0, 100), stretch(2, 50, 60)],
            // Within it; beside it; after it.
            vec![stretch(1, 20, 30)],
            vec![stretch(2, 40, 70), stretch(2, 55, 90)],
            vec![stretch(1, 100, 110), stretch(1, 120, 130)],
            vec![],
            vec![stretch(1, 95, 105), stretch(1, 125, 140)],
        ];
        let parts = |list: &[Stretch]| Share::Parts(list.to_vec());
        let expected = [
            parts(&[stretch(1, 0, 100)]),
            parts(&[]),
            parts(&[stretch(2, 40, 70), stretch(2, 70, 90)]),
            parts(&[stretch(1, 105, 110), stretch(1, 120, 130)]),
            Share::All,
            parts(&[stretch(1, 100, 105), stretch(1, 130, 140)]),
        ];
        assert_eq!(shares(&work), expected);
        let all = [stretch(1, 0, 110), stretch(1, 120, 140), stretch(2, 40, 90)];
        assert_eq!(union(work.iter().flatten()), all);
        assert_eq!(shares(&work[..1]), [Share::All]);
    }
}
