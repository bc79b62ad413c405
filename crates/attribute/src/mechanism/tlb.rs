//! TLB flushes: where the step's calls waited for other CPUs, and who interrupted its tasks for theirs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::{Cpu, Nanos};
use agenttrace_model::{FlushKind, Model, OpKind, Shootdown, TaskId, TlbFlush};

use super::{Mechanism, StepView};
use crate::detail::{Column, Table, Value, Words};
use crate::inclusive::{Index, Stretch};
use crate::stats::stats;

pub(crate) struct Tlb;

/// The model's flushes by task, then time.
pub(crate) struct TlbIndex {
    order: Vec<u32>,
}

impl TlbIndex {
    pub(crate) fn new(model: &Model) -> Self {
        let count = u32::try_from(model.tlb_flushes.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..count).collect();
        // Stable: they are in time order.
        order.sort_by_key(|i| model.tlb_flushes.get(*i as usize).map(|flush| flush.task));
        Self { order }
    }

    /// The flushes on a task within a stretch.
    pub(crate) fn of<'m>(
        &'m self,
        model: &'m Model,
        stretch: Stretch,
    ) -> impl Iterator<Item = &'m TlbFlush> + 'm {
        let key = move |i: &u32| {
            model
                .tlb_flushes
                .get(*i as usize)
                .map_or((TaskId(u32::MAX), Nanos::MAX), |flush| (flush.task, flush.time))
        };
        let first = self.order.partition_point(|i| key(i) < (stretch.task, stretch.from));
        let mine = self.order.iter().skip(first);
        mine.take_while(move |i| key(i) < (stretch.task, stretch.to))
            .filter_map(|i| model.tlb_flushes.get(*i as usize))
    }
}

/// What a task was in when it flushed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Within {
    /// A system call, by number.
    Call(i32),
    /// A page fault.
    Fault,
    /// Neither: the kernel on its own account.
    Other,
}

impl Within {
    pub(crate) fn name(self, model: &Model) -> Words {
        match self {
            Self::Call(nr) => model.syscalls.name(nr),
            Self::Fault => "page fault".into(),
            Self::Other => "kernel".into(),
        }
    }

    /// What a task is in at a time.
    pub(crate) fn at(model: &Model, task: TaskId, time: Nanos) -> Self {
        let Some(task) = model.tasks.get(task.0 as usize) else { return Self::Other };
        for (_, op) in task.op_chain(task.op_at(time)) {
            match op.kind {
                OpKind::Syscall(call) => return Self::Call(call.nr),
                OpKind::Fault(_) => return Self::Fault,
                OpKind::Lock { .. }
                | OpKind::Irq(_)
                | OpKind::Softirq(_)
                | OpKind::LocalTimer
                | OpKind::Work(_)
                | OpKind::Commit { .. }
                | OpKind::SyncFile { .. }
                | OpKind::Exit
                | OpKind::Reclaim(_)
                | OpKind::DirtyPause(_)
                | OpKind::TlbWait(_) => {}
            }
        }
        Self::Other
    }
}

/// The flushes of one kind of call.
#[derive(Clone, Default, Debug)]
pub(crate) struct CallFlushes {
    /// On the own CPU, those that go with a remote one included.
    pub(crate) local: u64,
    /// Sent to other CPUs.
    pub(crate) sent: u64,
    /// Of those, the waits that are known.
    pub(crate) waits: Vec<Nanos>,
}

/// What one CPU cost the step's senders: it was the last to be done.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Target {
    pub(crate) flushes: u64,
    pub(crate) waited: Nanos,
}

/// The TLB flushes of a step.
#[derive(Clone, Default, Debug)]
pub(crate) struct Flushes {
    /// By what the step's tasks were in.
    pub(crate) calls: BTreeMap<Within, CallFlushes>,
    /// By the CPU that was done last, and the task that it interrupted.
    pub(crate) targets: BTreeMap<(Cpu, Option<TaskId>), Target>,
    /// Flushes that others sent to CPUs where the step's tasks ran, by sender: how many,
    /// and how long they took there.
    pub(crate) received: BTreeMap<Option<TaskId>, (u64, Nanos)>,
}

impl Flushes {
    pub(crate) fn local(&self) -> u64 {
        self.calls.values().map(|call| call.local).sum()
    }
}

/// The flushes over stretches of work.
pub(crate) fn flushes(index: &Index<'_>, work: &[Stretch]) -> Flushes {
    let model = index.model;
    let mut all = Flushes::default();
    for flush in work.iter().flat_map(|stretch| index.tlb().of(model, *stretch)) {
        let within = || Within::at(model, flush.task, flush.time);
        match flush.kind {
            FlushKind::Local => all.calls.entry(within()).or_default().local += 1,
            FlushKind::Sent(sent) if !asked(model, sent) => {}
            FlushKind::Sent(sent) => {
                let call = all.calls.entry(within()).or_default();
                call.sent += 1;
                let Some(shootdown) = model.shootdowns.get(sent as usize) else { continue };
                let Some(waited) = shootdown.waited else { continue };
                call.waits.push(waited);
                if let Some(last) = shootdown.last {
                    let target = all.targets.entry(last).or_default();
                    target.flushes += 1;
                    target.waited += waited;
                }
            }
            FlushKind::Received { sent, took } => {
                let sender = sent.and_then(|i| model.shootdowns.get(i as usize)).map(|s| s.task);
                let sum = all.received.entry(sender).or_default();
                sum.0 += 1;
                sum.1 += took.unwrap_or_default();
            }
        }
    }
    all
}

/// Whether a flush that was announced as sent asked another CPU.
pub(crate) fn asked(model: &Model, sent: u32) -> bool {
    model.shootdowns.get(sent as usize).is_some_and(Shootdown::asked)
}

impl Mechanism for Tlb {
    fn id(&self) -> &'static str {
        "tlb"
    }
    fn title(&self) -> &'static str {
        "TLB flushes, by call, and by who interrupted the step for theirs"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["tlb:tlb_flush"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("kind", "kind"),
            Column::text("name", "call or sender"),
            Column::count("local", "local"),
            Column::count("sent", "sent"),
            Column::count("costed", "costed"),
            Column::time("waited_ns", "waited"),
            Column::time("p99_ns", "p99"),
            Column::count("received", "received"),
            Column::time("interrupted_ns", "interrupted"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let model = view.index.model;
        let all = flushes(view.index, view.work);
        let mut calls: Vec<_> = all.calls.into_iter().collect();
        calls.sort_by_key(|(_, call)| {
            Reverse((call.waits.iter().copied().sum::<Nanos>(), call.sent))
        });
        let mut rows = Table::default();
        let mut uncosted = 0;
        for (within, mut call) in calls {
            let waits = stats(&mut call.waits);
            uncosted += call.sent.saturating_sub(waits.count);
            let known = |ns: Nanos| (call.sent == 0 || waits.count > 0).then_some(ns);
            rows.push([
                "call".into(),
                within.name(model).into(),
                call.local.into(),
                call.sent.into(),
                waits.count.into(),
                known(waits.total).into(),
                known(waits.p99).into(),
                Value::Unknown,
                Value::Unknown,
            ]);
        }
        let mut senders: Vec<_> = all.received.into_iter().collect();
        senders.sort_by_key(|(_, (count, took))| Reverse((*took, *count)));
        let costed = model.captured.has("csd:csd_function_entry");
        for (sender, (count, took)) in senders {
            rows.push([
                "interrupted by".into(),
                sender
                    .map_or_else(|| "unknown".to_owned(), |id| name(model, id, view.step.end))
                    .into(),
                Value::Unknown,
                Value::Unknown,
                Value::Unknown,
                Value::Unknown,
                Value::Unknown,
                count.into(),
                costed.then_some(took).into(),
            ]);
        }
        let mut notes = Vec::new();
        if uncosted > 0 {
            notes.push(format!(
                "remote flushes that are counted and not costed: {uncosted}; the end of the calls \
                 on the other CPUs was not recorded (csd:csd_queue_cpu, csd:csd_function_exit)"
            ).into());
        }
        rows.with_notes(notes)
    }
}

/// A task's name and thread id.
pub(crate) fn name(model: &Model, id: TaskId, at: Nanos) -> String {
    model.tasks.get(id.0 as usize).map_or_else(
        || "an unknown task".to_owned(),
        |task| format!("{} (tid {})", task.name_at(at).to_text(), task.tid),
    )
}
