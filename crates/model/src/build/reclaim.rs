//! Reclaim and compaction, pauses for dirty memory, kswapd, OOM kills.
//!
//! ```text
//! writer   balance_dirty_pages [ blk_flush_plug ][ sleeps ][ runnable ] runs
//!          ^ the pause's announcement                                  ^ the pause's end
//! ```

use agenttrace_parse::Nanos;
use agenttrace_parse::events::{BalanceDirtyPages, Event, Reclaim};

use super::Builder;
use crate::op::OpKind;
use crate::reclaim::{DirtyPause, Kswapd, KswapdEvent, OomKill, ReclaimKind, ReclaimOp};
use crate::task::TaskId;

/// A pause of a task, from its announcement until the task runs again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenPause {
    /// Its operation.
    op: usize,
    /// The task went to sleep in it.
    pub(super) asleep: bool,
}

impl Builder {
    #[inline(never)]
    pub(super) fn reclaim(
        &mut self,
        event: &Event<'_>,
        current: Option<TaskId>,
        reclaim: &Reclaim<'_>,
    ) {
        let time = event.time;
        match reclaim {
            Reclaim::MmVmscanDirectReclaimBegin(_) => {
                self.reclaim_begins(current, time, ReclaimKind::Direct);
            }
            Reclaim::MmVmscanDirectReclaimEnd(e) => {
                self.reclaim_ends(current, time, ReclaimKind::Direct, Some(e.nr_reclaimed));
            }
            Reclaim::MmVmscanMemcgReclaimBegin(_) => {
                self.reclaim_begins(current, time, ReclaimKind::Cgroup);
            }
            Reclaim::MmVmscanMemcgReclaimEnd(e) => {
                self.reclaim_ends(current, time, ReclaimKind::Cgroup, Some(e.nr_reclaimed));
            }
            Reclaim::MmVmscanMemcgSoftlimitReclaimBegin(_) => {
                self.reclaim_begins(current, time, ReclaimKind::SoftLimit);
            }
            Reclaim::MmVmscanMemcgSoftlimitReclaimEnd(e) => {
                self.reclaim_ends(current, time, ReclaimKind::SoftLimit, Some(e.nr_reclaimed));
            }
            Reclaim::MmCompactionBegin(_) => {
                self.reclaim_begins(current, time, ReclaimKind::Compaction);
            }
            Reclaim::MmCompactionEnd(_) => {
                self.reclaim_ends(current, time, ReclaimKind::Compaction, None);
            }
            Reclaim::MmVmscanThrottled(e) => self.throttled(current, e.usec_delayed),
            Reclaim::MmVmscanKswapdWake(_) => self.kswapd(current, time, Kswapd::Wakes),
            Reclaim::MmVmscanKswapdSleep(_) => self.kswapd(current, time, Kswapd::Sleeps),
            Reclaim::MmVmscanWakeupKswapd(_) => self.kswapd(current, time, Kswapd::Asked),
            Reclaim::MarkVictim(e) => {
                if let Some(victim) = self.lookup(e.pid) {
                    let anon_kib = e.anon_rss;
                    self.model.oom_kills.push(OomKill { time, victim, trigger: current, anon_kib });
                }
            }
            Reclaim::BalanceDirtyPages(e) => self.balance_dirty_pages(current, time, e),
        }
    }

    fn reclaim_begins(&mut self, task: Option<TaskId>, time: Nanos, kind: ReclaimKind) {
        let Some(id) = task else { return };
        let op = ReclaimOp { kind, pages: None, throttled_us: 0, throttles: 0 };
        self.push_op(id, time, OpKind::Reclaim(op));
    }

    fn reclaim_ends(
        &mut self,
        task: Option<TaskId>,
        time: Nanos,
        kind: ReclaimKind,
        pages: Option<u64>,
    ) {
        let Some(id) = task else { return };
        let of_kind = |op: &OpKind| matches!(op, OpKind::Reclaim(reclaim) if reclaim.kind == kind);
        let live = self.live(id);
        if let Some((index, _)) = live.innermost(of_kind) {
            live.ops.edit(index, |op| {
                if let OpKind::Reclaim(reclaim) = &mut op.kind {
                    reclaim.pages = pages;
                }
            });
        }
        self.close_op(id, time, of_kind);
        let live = self.live(id);
        live.ended = None;
        // A fault that reclaims is not over.
        live.fault_evidence = Some(time);
    }

    /// Written after the sleep, which lies inside the open reclaim. Without one it is
    /// kswapd's, or a reclaim whose begin was not recorded.
    fn throttled(&mut self, task: Option<TaskId>, delayed: i32) {
        let Some(id) = task else { return };
        let delayed = u32::try_from(delayed).unwrap_or(0);
        let live = self.live(id);
        let open = live.innermost(|kind| matches!(kind, OpKind::Reclaim(_)));
        if let Some((index, _)) = open {
            live.ops.edit(index, |op| {
                if let OpKind::Reclaim(reclaim) = &mut op.kind {
                    reclaim.throttled_us = reclaim.throttled_us.saturating_add(delayed);
                    reclaim.throttles = reclaim.throttles.saturating_add(1);
                }
            });
        }
    }

    fn kswapd(&mut self, task: Option<TaskId>, time: Nanos, what: Kswapd) {
        self.model.kswapd.push(KswapdEvent { time, task, what });
    }

    fn balance_dirty_pages(
        &mut self,
        task: Option<TaskId>,
        time: Nanos,
        e: &BalanceDirtyPages<'_>,
    ) {
        let Some(id) = task else { return };
        // It cannot be announced twice: the end of the last was not seen.
        self.end_pause(id, time, true);
        if e.pause <= 0 {
            return;
        }
        let bdi = e.bdi.map(|bdi| self.name_id(bdi.0));
        let pause = DirtyPause { bdi, dirty: e.dirty, limit: e.limit };
        let op = self.push_op(id, time, OpKind::DirtyPause(pause));
        self.live(id).pause = Some(OpenPause { op, asleep: false });
    }

    /// The task runs on, or is seen past its pause.
    pub(super) fn end_pause(&mut self, id: TaskId, time: Nanos, estimated: bool) {
        let Some(pause) = self.live(id).pause.take() else { return };
        let closed = self.close_op(id, time, |kind| matches!(kind, OpKind::DirtyPause(_)));
        self.live(id).ended = None;
        if closed == Some(pause.op) && estimated {
            self.live(id).ops.edit(pause.op, |op| op.estimated = true);
        }
    }
}
