//! Interrupts on top of tasks, timers, work items of kworkers.

use agenttrace_parse::events::{Event, Irq};

use super::Builder;
use crate::interrupt::InterruptSpan;
use crate::op::OpKind;
use crate::task::TaskId;
use crate::timer::TimerFire;

impl Builder {
    #[inline(never)]
    pub(super) fn irq(&mut self, event: &Event<'_>, current: Option<TaskId>, irq: &Irq<'_>) {
        let time = event.time;
        match irq {
            Irq::IrqHandlerEntry(e) => {
                let name = self.name_id(e.name.0);
                self.cpu(event.cpu).timer = None;
                self.begin(event, current, OpKind::Irq(name));
            }
            Irq::IrqHandlerExit(_) => {
                self.end(event, current, |kind| matches!(kind, OpKind::Irq(_)))
            }
            Irq::SoftirqEntry(e) => self.begin(event, current, OpKind::Softirq(e.vec)),
            Irq::SoftirqExit(_) => {
                self.end(event, current, |kind| matches!(kind, OpKind::Softirq(_)));
                let cpu = self.cpu(event.cpu);
                cpu.completed = None;
                cpu.packet = None;
            }
            Irq::LocalTimerEntry(_) => self.begin(event, current, OpKind::LocalTimer),
            Irq::LocalTimerExit(_) => {
                self.end(event, current, |kind| matches!(kind, OpKind::LocalTimer))
            }
            Irq::HrtimerExpireEntry(e) => {
                self.cpu(event.cpu).timer = Some(time);
                self.model.timers.push(TimerFire { time, cpu: event.cpu, timer: e.hrtimer });
            }
            Irq::WorkqueueExecuteStart(e) => {
                if let Some(id) = current {
                    self.push_op(id, time, OpKind::Work(e.function));
                }
            }
            Irq::WorkqueueExecuteEnd(_) => {
                if let Some(id) = current {
                    self.close_op(id, time, |kind| matches!(kind, OpKind::Work(_)));
                }
            }
        }
    }

    fn begin(&mut self, event: &Event<'_>, current: Option<TaskId>, kind: OpKind) {
        if self.cpu(event.cpu).irqs.is_empty() {
            let (cpu, time) = (event.cpu, event.time);
            self.cpu(cpu).outermost = Some(self.model.interrupts.len());
            self.model.interrupts.push(InterruptSpan { cpu, from: time, to: time, kind });
        }
        let cpu = self.cpu(event.cpu);
        // Interrupts nest a few deep at most; more is damage.
        if cpu.irqs.len() < 16 {
            cpu.irqs.push(kind);
        }
        if let Some(id) = current {
            self.push_op(id, event.time, kind);
        }
    }

    fn end(
        &mut self,
        event: &Event<'_>,
        current: Option<TaskId>,
        wanted: impl Fn(&OpKind) -> bool,
    ) {
        let cpu = self.cpu(event.cpu);
        if let Some(position) = cpu.irqs.iter().rposition(&wanted) {
            cpu.irqs.truncate(position);
            if position == 0
                && let Some(outermost) = cpu.outermost.take()
                && let Some(span) = self.model.interrupts.get_mut(outermost)
            {
                span.to = event.time;
            }
        }
        if let Some(id) = current {
            self.close_op(id, event.time, wanted);
            // An interrupt's end says nothing of how long its task's own calls take to return.
            self.live(id).ended = None;
        }
    }
}
