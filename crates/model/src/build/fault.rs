//! Page faults: entries, completions, and bounds where completions are missing.

use agenttrace_parse::events::{Event, Fault, RssStat};
use agenttrace_parse::{Addr, Cpu, Nanos, Problem};

use super::Builder;
use super::finish::gap_code;
use crate::op::{FaultOp, OpKind};
use crate::syscall_table::SyscallClass;
use crate::task::{TaskId, page};

impl Builder {
    #[inline(never)]
    pub(super) fn fault(&mut self, event: &Event<'_>, task: TaskId, fault: &Fault) {
        match fault {
            Fault::PageFaultUser(e) => {
                // User mode ran: whatever fault or call was open has ended.
                self.end_faults(task, event.time, event.cpu);
                self.begin_fault(task, event.time, e.address, e.error_code);
            }
            Fault::PageFaultKernel(e) => {
                if !event.context.interrupt() {
                    self.begin_fault(task, event.time, e.address, e.error_code);
                }
            }
            Fault::MinorFaults(e) => self.completed(task, event.time, e.addr, false),
            Fault::MajorFaults(e) => self.completed(task, event.time, e.addr, true),
            Fault::RssStat(e) => self.rss_stat(task, e),
            Fault::MmFilemapFault(e) => {
                let file = self.files.intern(e.s_dev, e.i_ino);
                self.fault_file(task, event.time, |fault| {
                    fault.file = Some(file);
                    fault.page = u32::try_from(e.index).ok();
                    fault.around = false;
                });
            }
            Fault::MmFilemapMapPages(e) => {
                let file = self.files.intern(e.s_dev, e.i_ino);
                self.fault_file(task, event.time, |fault| {
                    fault.file = Some(file);
                    if fault.page.is_none() {
                        fault.around = true;
                        fault.page = around(fault.address, e.index, e.last_index);
                    }
                });
            }
        }
    }

    /// Inside a fork, the address space that is not the caller's own is the child's: its
    /// pages are those that the fork has copied the page tables of so far.
    fn rss_stat(&mut self, task: TaskId, e: &RssStat) {
        let forks =
            self.open_syscall(task).is_some_and(|call| self.class(call.nr) == SyscallClass::Fork);
        // MM_SWAPENTS are not resident.
        if e.curr || e.member == 2 || !forks {
            return;
        }
        let member = usize::try_from(e.member).unwrap_or(usize::MAX);
        if let Some(slot) = self.live(task).copied.get_mut(member) {
            *slot = u64::try_from(e.size).unwrap_or(0);
        }
    }

    fn begin_fault(&mut self, task: TaskId, time: Nanos, address: Addr, error_code: Addr) {
        let pid = self.live(task).pid;
        let file = self.files.at(pid, address.0);
        // The low byte holds every bit that is looked at.
        let error_code = (error_code.0 & 0xff) as u8;
        let fault = FaultOp { address, error_code, file, major: None, page: None, around: false };
        let live = self.live(task);
        live.open(time, OpKind::Fault(fault));
        live.fault_evidence = Some(time);
        live.fault_slept = false;
    }

    fn completed(&mut self, task: TaskId, time: Nanos, addr: Addr, major: bool) {
        let live = self.live(task);
        let Some(index) = live.fault() else { return };
        // A completion of another page is not this fault's: a retry, or a
        // fault whose entry was not recorded. Huge pages report the address as
        // given, so the page is compared. Some recordings have no address (perf
        // without -d, most text of perf script): the open fault is then the best guess.
        if addr != Addr(0) && !live.ops.is_of_page(index, addr) {
            return;
        }
        live.ops.set_major(index, major);
        if let Some(position) = live.stack.iter().rposition(|open| *open == index) {
            live.close(position, time);
        }
    }

    fn fault_file(&mut self, task: TaskId, time: Nanos, told: impl FnOnce(&mut FaultOp)) {
        let live = self.live(task);
        if let Some(index) = live.fault() {
            live.ops.edit_fault(index, told);
            live.fault_evidence = Some(time);
        }
    }

    /// The task slept: evidence of being inside its open fault until it runs again.
    pub(super) fn slept(&mut self, task: TaskId, time: Nanos) {
        let live = self.live(task);
        live.fault_slept = true;
        live.fault_evidence = Some(time);
        if let Some(pause) = &mut live.pause {
            pause.asleep = true;
        }
    }

    /// An event proves that the task's open faults have ended (EVENTS 3.3).
    pub(super) fn end_faults(&mut self, task: TaskId, time: Nanos, cpu: Cpu) {
        while self.live(task).fault().is_some() {
            let live = self.live(task);
            let evidence = live.fault_evidence.unwrap_or(time);
            let slept = live.fault_slept;
            let Some(index) = self.close_op(task, time, |kind| matches!(kind, OpKind::Fault(_)))
            else {
                return;
            };
            // Not an end that a tail could be measured from.
            self.live(task).ended = None;
            let gap = time - evidence;
            // While the capture is read, this holds the gap from the last evidence;
            // `finish` turns it into the end.
            self.live(task).ops.edit(index, |op| {
                op.estimated = true;
                op.gap = gap_code(gap);
            });
            if !slept {
                self.sleepless_gaps.add(gap);
            }
            self.count(Problem::EstimatedFaultEnd, cpu, time);
        }
    }
}

/// The page that a fault asked for which `first..=last` were mapped around: the kernel takes
/// the 16 pages (`fault_around_bytes`, mm/memory.c) which are aligned around the address, and
/// fewer at the edges of a mapping, where this may be some pages too high.
fn around(address: Addr, first: u64, last: u64) -> Option<u32> {
    let page = first.saturating_add(page(address) & 15).min(last);
    u32::try_from(page).ok()
}
