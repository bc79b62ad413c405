//! Steps to claims: which tasks of the agent's tree work for which step, and when.
//!
//! ```text
//! root     [== step 7 ==========================]
//! forked       [== until it exits ====]
//! worker            w[== until it blocks in its own wait again ==]
//!          w: woken by a task that works for step 7
//! ```

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_parse::{Nanos, Pid};
use rayon::prelude::*;
use rustc_hash::FxHashSet;

use crate::marks_join::Marked;
use crate::model::Model;
use crate::op::{OpKind, SyscallOp};
use crate::syscall_table::SyscallClass;
use crate::task::{State, Task, TaskId, WakeSource};
use crate::uring::UringRequest;
use crate::window::{Claim, Step, Windows};

/// Two futex words this near belong to one condition variable.
const FUTEX_NEIGHBOUR: u64 = 8;

/// Works out who works for the steps (DESIGN section 5).
#[must_use]
pub fn claim_tasks(model: &Model, marked: Marked) -> Windows {
    let in_tree = tree(model, &marked.steps);
    let mut claims = vec![Vec::new(); model.tasks.len()];
    let mut by_root: BTreeMap<TaskId, Vec<usize>> = BTreeMap::new();
    for (i, step) in marked.steps.iter().enumerate() {
        by_root.entry(step.root).or_default().push(i);
    }
    let roots: BTreeSet<TaskId> = by_root.keys().copied().collect();
    for (root, own) in by_root {
        if let Some(slot) = claims.get_mut(root.0 as usize) {
            *slot = root_claims(&marked.steps, own);
        }
    }
    let windows = Windows { steps: marked.steps, claims, in_tree, notes: marked.notes };
    let futex_waits = futex_waits(model, &windows);
    let mut claimer = Claimer {
        model,
        windows,
        forked: vec![false; model.tasks.len()],
        roots,
        futex_waits,
        begun: vec![0; model.tasks.len()],
    };
    // Nobody works for a step before the first begins.
    let first = claimer.windows.steps.iter().map(|step| step.start).min().unwrap_or_default();
    for wake in model.wakes.range(model.wakes.before(first)..model.wakes.len()) {
        if let WakeSource::Task(waker) = wake.source {
            claimer.wake(wake.time, waker, wake.wakee, wake.birth);
        }
    }
    claimer.uring_workers();
    claimer.windows
}

/// The thread groups of all roots, and all their descendants.
fn tree(model: &Model, steps: &[Step]) -> Vec<bool> {
    let mut pids: BTreeSet<Pid> = steps.iter().map(|s| model.task(s.root).pid).collect();
    // A text may not tell the process of a thread; the steps file does.
    pids.extend(steps.iter().filter_map(|s| s.pid));
    let mut member = vec![false; model.tasks.len()];
    for step in steps {
        if let Some(slot) = member.get_mut(step.root.0 as usize) {
            *slot = true;
        }
    }
    loop {
        let mut changed = false;
        for (id, task) in model.task_ids() {
            let inside = |t: TaskId| member.get(t.0 as usize).copied().unwrap_or(false);
            // A process whose birth is recorded belongs to its parent: its id may
            // have been another's before.
            let by_pid = task.birth.is_none() || task.is_thread == Some(true);
            if !inside(id)
                && ((by_pid && pids.contains(&task.pid)) || task.parent.is_some_and(inside))
            {
                if let Some(slot) = member.get_mut(id.0 as usize) {
                    *slot = true;
                }
                pids.insert(task.pid);
                changed = true;
            }
        }
        if !changed {
            return member;
        }
    }
}

/// The root works for the innermost of its steps; for interleaved ones, for the
/// latest begun. `own`: the places of its steps, in their order.
fn root_claims(steps: &[Step], mut own: Vec<usize>) -> Vec<Claim> {
    own.sort_by_key(|i| steps.get(*i).map(|s| s.start));
    let mut edges: Vec<Nanos> =
        own.iter().filter_map(|i| steps.get(*i)).flat_map(|s| [s.start, s.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut claims: Vec<Claim> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut next = own.into_iter().peekable();
    for (from, to) in edges.iter().zip(edges.iter().skip(1)) {
        while let Some(i) = next.next_if(|i| steps.get(*i).is_some_and(|s| s.start <= *from)) {
            open.push(i);
        }
        open.retain(|i| steps.get(*i).is_some_and(|s| s.end > *from));
        // Latest start; of those, the shortest; of those, the first in the file.
        let owner = open.iter().copied().max_by_key(|i| {
            steps.get(*i).map(|s| (s.start, std::cmp::Reverse(s.end), std::cmp::Reverse(*i)))
        });
        if let Some(step) = owner {
            match claims.last_mut() {
                Some(last) if last.step == step && last.to == *from => last.to = *to,
                _ => claims.push(Claim { from: *from, to: *to, step, inferred: false }),
            }
        }
    }
    claims
}

struct Claimer<'m> {
    model: &'m Model,
    windows: Windows,
    /// The task's last claim is a child's: until it exits, or a later claim takes it.
    forked: Vec<bool>,
    roots: BTreeSet<TaskId>,
    /// Who ever waited on which futex word.
    futex_waits: FxHashSet<(TaskId, u64)>,
    /// How many operations of each task begin before its last wakeup.
    begun: Vec<usize>,
}

impl Claimer<'_> {
    fn wake(&mut self, time: Nanos, waker: TaskId, wakee: TaskId, birth: bool) {
        if !self.windows.is_in_tree(waker) || !self.windows.is_in_tree(wakee) {
            return;
        }
        let step = self.windows.claim_at(waker, time);
        if birth {
            if let Some(step) = step {
                let until = self.model.task(wakee).death().unwrap_or(Nanos::MAX);
                self.add(wakee, Claim { from: time, to: until, step, inferred: false }, true);
            }
            return;
        }
        // What a wakeup passes on takes longest to find out, and most change nothing anyway.
        match step {
            Some(step) => {
                if self.roots.contains(&wakee) {
                    return;
                }
                let takes = match self.windows.claim_at(wakee, time) {
                    None => true,
                    // A child's claim holds until a later one takes it; a
                    // worker's until it is back in its own wait.
                    Some(held) => {
                        held != step && self.forked.get(wakee.0 as usize).copied().unwrap_or(false)
                    }
                };
                if !takes {
                    return;
                }
                let (begun, asleep) = self.asleep(wakee, time);
                if !self.passes_a_lock(waker, wakee, asleep) {
                    let until = self.own_wait_again(wakee, time, begun, asleep);
                    self.add(wakee, Claim { from: time, to: until, step, inferred: false }, false);
                }
            }
            None => {
                if self.roots.contains(&waker) {
                    return;
                }
                if let Some(step) = self.windows.claim_at(wakee, time) {
                    let (_, asleep) = self.asleep(wakee, time);
                    if !self.passes_a_lock(waker, wakee, asleep) {
                        self.infer(waker, time, step);
                    }
                }
            }
        }
    }

    /// How many operations of a task begin before its wakeup, and which of them it sleeps in: at
    /// the wakeup's instant it is runnable.
    fn asleep(&mut self, id: TaskId, woken: Nanos) -> (usize, Option<usize>) {
        let before = Nanos(woken.0.saturating_sub(1));
        let begun = self.begun(id, before);
        (begun, self.model.task(id).op_among(begun, before))
    }

    /// How many operations of a task begin by a time, which is mostly soon after the last one.
    fn begun(&mut self, id: TaskId, time: Nanos) -> usize {
        let ops = &self.model.task(id).ops;
        let Some(begun) = self.begun.get_mut(id.0 as usize) else { return ops.up_to(time) };
        *begun = ops.up_to_from(*begun, time);
        *begun
    }

    /// Whether this wakeup hands over a lock, of the kernel or a program's: that passes on
    /// no work. A lock's word is waited on for "contended", or both sides wait on it in turn.
    fn passes_a_lock(&self, waker: TaskId, wakee: TaskId, asleep: Option<usize>) -> bool {
        let task = self.model.task(wakee);
        let innermost = asleep.and_then(|op| task.ops.get(op));
        if innermost.is_some_and(|op| matches!(op.kind, OpKind::Lock { .. })) {
            return true;
        }
        task.call_around(asleep).is_some_and(|(_, call)| {
            self.model.syscalls.class(call.nr) == SyscallClass::Futex
                && (call.lock || (!call.no_entry && self.futex_waits.contains(&(waker, call.arg0))))
        })
    }

    /// An awake worker that took work without any event, told by whom it woke.
    fn infer(&mut self, worker: TaskId, time: Nanos, step: usize) {
        let task = self.model.task(worker);
        let at = task.span_at(time);
        let asleep = task.states.iter().take(at + 1).rposition(|span| {
            matches!(span.state, State::Blocked(_) | State::Unknown(_) | State::New)
        });
        let woken = asleep.and_then(|i| task.states.get(i + 1)).map_or(time, |next| next.start);
        let finished = self
            .windows
            .claims
            .get(worker.0 as usize)
            .and_then(|claims| claims.last())
            .map_or(Nanos::ZERO, |claim| claim.to);
        let from = woken.max(finished).min(time);
        let to = task
            .states
            .iter()
            .skip(at)
            .find(|span| {
                span.start >= time && matches!(span.state, State::Blocked(_) | State::Dead)
            })
            .map_or(Nanos::MAX, |span| span.start);
        if from < to {
            self.add(worker, Claim { from, to, step, inferred: true }, false);
        }
    }

    /// When the task blocks again where it was waiting at `time`.
    fn own_wait_again(
        &self,
        id: TaskId,
        time: Nanos,
        mut begun: usize,
        asleep: Option<usize>,
    ) -> Nanos {
        let task = self.model.task(id);
        let key = task.call_around(asleep);
        let mut wait_key = |time| {
            begun = task.ops.up_to_from(begun, time);
            task.call_around(task.op_among(begun, time))
        };
        task.states
            .iter()
            .skip(task.span_at(time) + 1)
            .find(|span| match span.state {
                State::Dead => true,
                State::Blocked(_) => match (key, wait_key(span.start)) {
                    (Some((_, own)), Some((_, now))) => self.same_wait(&own, &now),
                    // Without system calls any wait may be its own.
                    (None, _) => true,
                    (Some(_), None) => false,
                },
                State::Unknown(_) | State::Running | State::Runnable | State::New => false,
            })
            .map_or(Nanos::MAX, |span| span.start)
    }

    fn same_wait(&self, a: &SyscallOp, b: &SyscallOp) -> bool {
        if a.no_entry {
            // Its arguments were not recorded.
            return self.model.syscalls.class(a.nr) == self.model.syscalls.class(b.nr);
        }
        if self.model.syscalls.class(a.nr) == SyscallClass::Futex {
            return self.model.syscalls.class(b.nr) == SyscallClass::Futex
                && a.arg0.abs_diff(b.arg0) <= FUTEX_NEIGHBOUR;
        }
        a.nr == b.nr && a.arg0 == b.arg0
    }

    /// A worker of io-wq works for whom its request is: no wakeup tells that as well, for
    /// one that is awake takes the next request without any.
    fn uring_workers(&mut self) {
        for (worker, work) in &self.model.uring.work {
            if !self.windows.is_in_tree(*worker) {
                continue;
            }
            let task = self.model.task(*worker);
            let mut claims: Vec<Claim> = Vec::new();
            for (index, on) in work.iter().enumerate() {
                let Some(request) = self.model.uring.requests.get(on.request as usize) else {
                    continue;
                };
                let Some(step) = self.asked_for(request) else { continue };
                // The wakeup of who waits follows the completion; then it idles, or goes on.
                let next = work.get(index + 1).map_or(Nanos::MAX, |next| next.from.max(on.to));
                let idle = task
                    .states
                    .iter()
                    .skip(task.span_at(on.to) + 1)
                    .find(|span| matches!(span.state, State::Blocked(_) | State::Dead))
                    .map_or(Nanos::MAX, |span| span.start);
                match claims.last_mut() {
                    Some(last) if last.step == step && last.to >= on.from => {
                        last.to = next.min(idle);
                    }
                    Some(_) | None => {
                        let (from, to) = (on.from, next.min(idle));
                        claims.push(Claim { from, to, step, inferred: false });
                    }
                }
            }
            if let Some(slot) = self.windows.claims.get_mut(worker.0 as usize) {
                *slot = claims;
            }
        }
    }

    /// The step that a request of io_uring is for: its submitter's, or where that is the
    /// ring's own thread, the one that the process's root task was in.
    fn asked_for(&self, request: &UringRequest) -> Option<usize> {
        let submitter = request.submitter?;
        self.windows.claim_at(submitter, request.submitted).or_else(|| {
            let pid = self.model.task(submitter).pid;
            let same = self.roots.iter().filter(|root| self.model.task(**root).pid == pid);
            same.filter_map(|root| self.windows.claim_at(*root, request.submitted)).next()
        })
    }

    fn add(&mut self, task: TaskId, claim: Claim, forked: bool) {
        let index = task.0 as usize;
        if let Some(claims) = self.windows.claims.get_mut(index) {
            if let Some(last) = claims.last_mut() {
                if last.from >= claim.from {
                    return;
                }
                last.to = last.to.min(claim.from);
            }
            claims.push(claim);
        }
        if let Some(slot) = self.forked.get_mut(index) {
            *slot = forked;
        }
    }
}

fn futex_waits(model: &Model, windows: &Windows) -> FxHashSet<(TaskId, u64)> {
    let all: Vec<(TaskId, &Task)> =
        model.task_ids().filter(|(id, _)| windows.is_in_tree(*id)).collect();
    let waits = all.par_iter().map(|(id, task)| {
        let mut waits = FxHashSet::default();
        // The operations that begin by then, from span to span.
        let mut begun = 0;
        for span in task.states.iter().filter(|span| matches!(span.state, State::Blocked(_))) {
            begun = task.ops.up_to_from(begun, span.start);
            if let Some((_, call)) = task.call_around(task.op_among(begun, span.start))
                && !call.no_entry
                && model.syscalls.class(call.nr) == SyscallClass::Futex
            {
                waits.insert((*id, call.arg0));
            }
        }
        waits
    });
    waits.flatten_iter().collect()
}
