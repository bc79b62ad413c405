//! TLB flushes: who sent one, to how many CPUs, and how long it waited for them.
//!
//! ```text
//! sender  tlb_flush 4   csd_queue_cpu   own flush, then spins until all are done   goes on
//! other                      csd_function_entry   tlb_flush 1   csd_function_exit
//!         ^ begins                                              ^ the last one: ends
//! ```
//!
//! The sender writes nothing when its wait ends (`csd_lock_wait`, kernel/smp.c): the last
//! called CPU's exit tells. Where that was not recorded, the flush is counted, and not costed.

use agenttrace_parse::events::{Event, Tlb, TlbFlush as Flush};
use agenttrace_parse::{Addr, Cpu, Nanos};

use super::Builder;
use crate::op::OpKind;
use crate::task::TaskId;
use crate::tlb::{FlushKind, Shootdown, TlbFlush};

/// Clocks of CPUs differ by less than this: a call's exit that seems to come after the
/// sender went on is still its exit.
const SKEW: Nanos = Nanos(20_000);
/// A CPU has at most one call queued by each other CPU; more are lost ones.
const MOST_CALLS: usize = 64;

/// The flush that a task sent last, until it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenFlush {
    /// Index in `Model::shootdowns`.
    sent: u32,
    /// Its operation.
    op: usize,
    /// Calls that are not done.
    calls: u16,
}

/// A call that is queued on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueuedCall {
    csd: Addr,
    /// Index in `Model::shootdowns`.
    sent: u32,
    task: TaskId,
    /// The sender's operation.
    op: usize,
}

/// What a CPU was called for, and does now.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuCalls {
    queued: Vec<QueuedCall>,
    /// The call in progress, and its begin.
    running: Option<(Addr, Nanos)>,
    /// The flush in that; index in `Model::tlb_flushes`.
    flush: Option<usize>,
}

impl Builder {
    #[inline(never)]
    pub(super) fn tlb(&mut self, event: &Event<'_>, current: Option<TaskId>, tlb: &Tlb) {
        match tlb {
            Tlb::TlbFlush(flush) => {
                if let Some(id) = current {
                    self.tlb_flush(event, id, flush);
                }
            }
            Tlb::CsdQueueCpu(e) => {
                if let Some(id) = current {
                    self.call_queued(id, e.cpu, e.csd);
                }
            }
            // The null call is the sender's own, in place.
            Tlb::CsdFunctionEntry(e) => {
                if e.csd.0 != 0 {
                    let calls = &mut self.cpu(event.cpu).calls;
                    calls.running = Some((e.csd, event.time));
                    calls.flush = None;
                }
            }
            Tlb::CsdFunctionExit(e) => {
                if e.csd.0 != 0 {
                    self.call_done(event, current, e.csd);
                }
            }
            // That a call was queued tells more.
            Tlb::IpiSendCpu(_) | Tlb::IpiSendCpumask(_) => {}
        }
    }

    fn tlb_flush(&mut self, event: &Event<'_>, id: TaskId, flush: &Flush) {
        let time = event.time;
        let kind = match flush.reason {
            // `TLB_REMOTE_SHOOTDOWN`
            1 => {
                let next = self.model.tlb_flushes.len();
                self.cpu(event.cpu).calls.flush = Some(next);
                FlushKind::Received { sent: None, took: None }
            }
            // `TLB_LOCAL_SHOOTDOWN`, `TLB_LOCAL_MM_SHOOTDOWN`
            2 | 3 => FlushKind::Local,
            // `TLB_REMOTE_SEND_IPI`
            4 => FlushKind::Sent(self.shootdown(id, time, flush.pages)),
            // A task switch, or a call that found another address space on its CPU.
            _ => return,
        };
        self.model.tlb_flushes.push(TlbFlush { time, task: id, kind });
    }

    fn shootdown(&mut self, id: TaskId, time: Nanos, pages: i64) -> u32 {
        self.went_on(id, time);
        let sent = u32::try_from(self.model.shootdowns.len()).unwrap_or(u32::MAX);
        let pages = u64::try_from(pages).ok();
        let shootdown = Shootdown { time, task: id, pages, cpus: 0, waited: None, last: None };
        self.model.shootdowns.push(shootdown);
        self.passed.push(Nanos::MAX);
        if self.calls_recorded {
            let op = self.push_op(id, time, OpKind::TlbWait(sent));
            self.live(id).flush = Some(OpenFlush { sent, op, calls: 0 });
        }
        sent
    }

    fn call_queued(&mut self, id: TaskId, cpu: Cpu, csd: Addr) {
        let Some(mut flush) = self.live(id).flush else { return };
        flush.calls = flush.calls.saturating_add(1);
        self.live(id).flush = Some(flush);
        if let Some(shootdown) = self.model.shootdowns.get_mut(flush.sent as usize) {
            shootdown.cpus = shootdown.cpus.saturating_add(1);
        }
        let live = self.live(id);
        if !live.stack.contains(&flush.op) {
            // A CPU that was fast has ended it already.
            live.ops.edit(flush.op, |op| op.end = Nanos::MAX);
            live.stack.push(flush.op);
        }
        let queued = &mut self.cpu(cpu).calls.queued;
        // A call is not queued again before it is done: that was lost.
        queued.retain(|call| call.csd != csd);
        if queued.len() >= MOST_CALLS {
            queued.remove(0);
        }
        queued.push(QueuedCall { csd, sent: flush.sent, task: id, op: flush.op });
    }

    fn call_done(&mut self, event: &Event<'_>, current: Option<TaskId>, csd: Addr) {
        let time = event.time;
        let calls = &mut self.cpu(event.cpu).calls;
        let began = calls.running.take().filter(|(of, _)| *of == csd).map(|(_, began)| began);
        let flush = calls.flush.take();
        let Some(at) = calls.queued.iter().rposition(|call| call.csd == csd) else { return };
        let call = calls.queued.remove(at);
        if let Some(received) = flush.and_then(|index| self.model.tlb_flushes.get_mut(index)) {
            let took = began.map(|began| time - began);
            received.kind = FlushKind::Received { sent: Some(call.sent), took };
        }
        let passed = self.passed.get(call.sent as usize).copied().unwrap_or(Nanos::MAX);
        let end = time.min(passed);
        if time - end > SKEW {
            // Its sender went on long ago: this is another call.
            return;
        }
        if let Some(shootdown) = self.model.shootdowns.get_mut(call.sent as usize) {
            shootdown.last = Some((event.cpu, current));
        }
        let open = self.live(call.task).flush.filter(|flush| flush.sent == call.sent);
        if let Some(mut flush) = open {
            flush.calls = flush.calls.saturating_sub(1);
            self.live(call.task).flush = Some(flush);
            if flush.calls > 0 {
                return;
            }
            self.withdraw(call.task, call.op);
        }
        if let Some(start) = self.live(call.task).ops.start(call.op) {
            self.live(call.task).ops.edit(call.op, |op| {
                op.end = end.max(start);
                op.estimated = end != time;
            });
            if let Some(shootdown) = self.model.shootdowns.get_mut(call.sent as usize) {
                shootdown.waited = Some(end - start);
            }
        }
    }

    /// Takes an operation from those that are open, as it is.
    fn withdraw(&mut self, id: TaskId, op: usize) {
        let stack = &mut self.live(id).stack;
        if let Some(at) = stack.iter().position(|open| *open == op) {
            stack.remove(at);
        }
    }

    /// The sender is seen to go on: all calls are done, whether that was recorded or not.
    #[inline]
    pub(super) fn went_on(&mut self, id: TaskId, time: Nanos) {
        if let Some(flush) = self.live(id).flush.take() {
            self.flushed(id, time, flush);
        }
    }

    #[inline(never)]
    fn flushed(&mut self, id: TaskId, time: Nanos, flush: OpenFlush) {
        self.withdraw(id, flush.op);
        let ops = &mut self.live(id).ops;
        let Some(end) = ops.end(flush.op) else { return };
        if flush.calls > 0 {
            // How long it waited is not known: it is not costed.
            ops.edit(flush.op, |op| {
                op.end = op.start;
                op.estimated = true;
            });
        } else if end == Nanos::MAX {
            // It is announced before the kernel looks which CPUs must be asked: none, where
            // the others have no thread of the process on them, or a lazy one.
            ops.edit(flush.op, |op| op.end = op.start);
            if let Some(shootdown) = self.model.shootdowns.get_mut(flush.sent as usize) {
                shootdown.waited = Some(Nanos::ZERO);
            }
        }
        if let Some(passed) = self.passed.get_mut(flush.sent as usize) {
            *passed = time;
        }
    }
}
