//! What several tables and rules of one step need, made once when it is first asked for.

use std::cell::OnceCell;

use agenttrace_model::parse::{Cpu, Nanos};
use agenttrace_model::{Step, TaskId};

use crate::cause::Cause;
use crate::cpu_lines::LineCursor;
use crate::inclusive::{Collected, Index, Stretch};
use crate::journal::{SyncCall, syncs};
use crate::locks::{Wait, waits};
use crate::mechanism::faults::{FaultGroup, fault_groups};
use crate::mechanism::metadata;
use crate::mechanism::polling::{Loop, loops};
use crate::mechanism::services::{Service, services};
use crate::moves::{Move, moves};
use crate::path::{PathSegment, StepPath};
use crate::spawn::{Spawn, spawns};

/// Of one step.
#[derive(Default)]
pub(crate) struct Made {
    /// What the pass over its operations collected.
    pub(crate) collected: Collected,
    metadata: OnceCell<metadata::Sums>,
    syncs: OnceCell<Vec<SyncCall>>,
    spawns: OnceCell<Vec<Spawn>>,
    faults: OnceCell<Vec<FaultGroup>>,
    waits: OnceCell<Vec<Wait>>,
    rivals: OnceCell<Vec<Rival>>,
    moves: OnceCell<Vec<Move>>,
    services: OnceCell<Vec<Service>>,
    loops: OnceCell<Vec<Loop>>,
}

/// Another task had the CPU that the step's path waited for over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rival {
    pub(crate) task: TaskId,
    pub(crate) cpu: Cpu,
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
}

impl Made {
    /// Of a step of which this was collected.
    pub(crate) fn new(collected: Collected) -> Self {
        Self { collected, ..Self::default() }
    }

    /// What its tasks did with names and inodes.
    pub(crate) fn metadata(&self, index: &Index<'_>) -> &metadata::Sums {
        self.metadata.get_or_init(|| metadata::sums(index, &self.collected.metadata))
    }

    /// Its finished durability calls.
    pub(crate) fn syncs(&self, index: &Index<'_>, work: &[Stretch]) -> &[SyncCall] {
        let work = if self.collected.kinds.syncs { work } else { &[] };
        self.syncs.get_or_init(|| syncs(index, work))
    }

    /// The processes that it started; those that live on count until its end.
    pub(crate) fn spawns(&self, index: &Index<'_>, work: &[Stretch], end: Nanos) -> &[Spawn] {
        self.spawns.get_or_init(|| spawns(index, work, end))
    }

    /// Its faults in groups, the most total time first.
    pub(crate) fn faults(&self, index: &Index<'_>) -> &[FaultGroup] {
        self.faults.get_or_init(|| fault_groups(index, &self.collected.faults))
    }

    /// Its waits for locks, by stretch of work and start.
    pub(crate) fn waits(&self, index: &Index<'_>, work: &[Stretch]) -> &[Wait] {
        self.waits.get_or_init(|| {
            let all = &self.collected.locks;
            let any = !all.is_empty() || !index.told.contention;
            let mut ops = all.iter().filter_map(|place| Some((place.task, place.get(index)?.1)));
            let mut next = ops.next();
            let mut found = Vec::new();
            for stretch in if any { work } else { &[] } {
                let mut own = Vec::new();
                while let Some((task, op)) = next
                    && task == stretch.task
                    && op.start < stretch.to
                {
                    own.push(op);
                    next = ops.next();
                }
                found.extend(waits(index.model, *stretch, &own));
            }
            found
        })
    }

    /// The moves of its root task between CPUs, since the step before on that task.
    pub(crate) fn moves(&self, index: &Index<'_>, step: &Step) -> &[Move] {
        self.moves.get_or_init(|| moves(index, step))
    }

    /// The programs that its path waited for, the longest first.
    pub(crate) fn services(
        &self,
        index: &Index<'_>,
        path: &StepPath,
        work: &[Stretch],
        root: TaskId,
    ) -> &[Service] {
        self.services.get_or_init(|| services(index, path, work, root))
    }

    /// The polling loops on its path, the longest first.
    pub(crate) fn loops(&self, index: &Index<'_>, path: &StepPath, work: &[Stretch]) -> &[Loop] {
        self.loops.get_or_init(|| loops(index, path, work))
    }

    /// Who ran on the CPUs that its path's run delay waited for, in the order of the path.
    pub(crate) fn rivals(&self, index: &Index<'_>, path: &StepPath) -> &[Rival] {
        self.rivals.get_or_init(|| {
            let (mut rivals, mut cursor) = (Vec::new(), LineCursor::default());
            for segment in path.of(Cause::RunDelay) {
                let PathSegment { task, start, end, .. } = *segment;
                index.ahead(task, start, end, &mut cursor, &mut rivals);
            }
            rivals
        })
    }
}
