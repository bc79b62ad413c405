//! Interrupts of the CPUs, whatever ran below.

use agenttrace_parse::{Cpu, Nanos};

use crate::op::OpKind;

/// An interrupt ran on a CPU, over a task or over idle. Those nested in it are not told apart
/// here; where it interrupts a task, they are among [`crate::Task::ops`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct InterruptSpan {
    /// Where.
    pub cpu: Cpu,
    /// Since when.
    pub from: Nanos,
    /// Until when; `from` where its end was not recorded.
    pub to: Nanos,
    /// Which: [`OpKind::Irq`], [`OpKind::Softirq`] or [`OpKind::LocalTimer`].
    pub kind: OpKind,
}
