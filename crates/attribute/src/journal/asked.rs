//! A commit to who asked for it: the last wakeup of the journal's thread before it.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Commit, Model, SyscallClass, SyscallOp, TaskId, WakeSource};

use crate::facts::is_kernel_thread;
use crate::inclusive::is_durability;

/// How far back the commit before, and a wakeup, are looked for.
const RECENT: usize = 64;

/// Who asked for a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// A task, in this system call, if any.
    Task {
        /// Who.
        task: TaskId,
        /// When.
        time: Nanos,
        /// The call that it was in.
        call: Option<i32>,
        /// That call makes data durable.
        sync: bool,
    },
    /// The journal's own timer (5 s by default).
    Timer,
    /// The capture does not tell.
    Unknown,
}

/// Who asked for a commit. The thread of the journal sleeps between commits, unless
/// somebody asks for the next while one is under way: then nothing tells.
pub(crate) fn asked(model: &Model, commit: &Commit) -> Asked {
    let Some(journal) = model.tasks.get(commit.task.0 as usize) else { return Asked::Unknown };
    if commit.fast {
        return by_task(model, commit.task, commit.start);
    }
    let earlier = model.commits.partition_point(|c| c.start < commit.start);
    let mut earlier = model.commits.get(..earlier).unwrap_or_default().iter().rev().take(RECENT);
    let since = earlier.find(|c| c.task == commit.task && !c.fast).and_then(|c| c.end);
    let spans = journal.states.range(0..journal.states.up_to(commit.start)).rev();
    let wakes = spans.filter_map(|span| span.wake.map(|id| model.wake(id)));
    let first = match since {
        // Before it commits, the thread may sleep for its superblock's write: the earliest
        // wakeup since the last commit is the one that asked.
        Some(since) => wakes.take_while(|wake| wake.time >= since).last(),
        // The first commit of the capture: the last wakeup that is no completion.
        None => wakes.take(RECENT).find(|wake| match wake.source {
            WakeSource::Task(task) => !is_kernel_thread(model, model.task(task)),
            WakeSource::Timer => true,
            WakeSource::Block(_)
            | WakeSource::Network
            | WakeSource::Interrupt(_)
            | WakeSource::Unknown => false,
        }),
    };
    match first.map(|wake| (wake.source, wake.time)) {
        Some((WakeSource::Task(task), time)) => by_task(model, task, time),
        Some((WakeSource::Timer, _)) => Asked::Timer,
        Some((
            WakeSource::Block(_)
            | WakeSource::Network
            | WakeSource::Interrupt(_)
            | WakeSource::Unknown,
            _,
        ))
        | None => Asked::Unknown,
    }
}

fn by_task(model: &Model, task: TaskId, time: Nanos) -> Asked {
    // Another program's calls may be missing around the step, as in a cut: one that never
    // asks for a commit is not the one that it was in.
    let asks = |call: &SyscallOp| {
        let class = model.syscalls.class(call.nr);
        matches!(class, SyscallClass::Durability | SyscallClass::Metadata | SyscallClass::Write)
    };
    let at = model.tasks.get(task.0 as usize);
    let call = at.and_then(|t| t.call_at(time)).map(|(_, call)| call);
    let call = call.filter(asks);
    Asked::Task {
        task,
        time,
        call: call.map(|call| call.nr),
        sync: call.is_some_and(|call| is_durability(model, &call)),
    }
}
