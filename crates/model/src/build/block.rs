//! Block requests and plugs, and the files that they belong to.

use agenttrace_parse::events::{Block, Event};
use agenttrace_parse::{BlockOp, Nanos, Rwbs};

use super::Builder;
use crate::file_io::Plug;
use crate::op::{Op, OpKind};
use crate::request::Bio;
use crate::syscall_table::SyscallClass;
use crate::task::TaskId;

impl Builder {
    #[inline(never)]
    pub(super) fn block(&mut self, event: &Event<'_>, current: Option<TaskId>, block: &Block) {
        let time = event.time;
        // In interrupt context the current task submits nothing.
        let submitter = current.filter(|_| !event.context.interrupt());
        match block {
            Block::BlockBioQueue(e) => {
                let file = submitter.and_then(|id| self.file_of_io(id, e.rwbs));
                let bio = Bio::new(e.sector, e.nr_sector, e.rwbs, time, submitter, file);
                self.requests.queue(e.dev, bio);
                if let Some(id) = submitter {
                    self.submitted(id, e.rwbs.op);
                }
            }
            Block::BlockRqIssue(e) => {
                self.requests.issue(e.dev, e.sector, e.nr_sector, e.rwbs, time, submitter);
            }
            Block::BlockRqComplete(e) => {
                let done = self.requests.complete(e.dev, e.sector, e.nr_sector, e.rwbs, time);
                self.cpu(event.cpu).completed = done.map(|request| (request, time));
            }
            Block::BlockBioRemap(e) => self.requests.remap(e.dev, e.old_dev),
            Block::BlockRqInsert(e) if e.nr_sector > 0 => {
                self.requests.insert(e.dev, e.sector, time);
            }
            Block::BlockPlug(_) => {
                if let Some(id) = submitter {
                    self.live(id).plugged = time;
                }
            }
            Block::BlockUnplug(e) => {
                if let Some(task) = submitter {
                    // Several devices are let go by an event each: all of the same plug.
                    let from = self.live(task).plugged;
                    let requests = u32::try_from(e.nr_rq).unwrap_or(0);
                    self.file_io.plugs.push(Plug { task, from, to: time, requests });
                }
            }
            // Merges, splits and bounces show in the range and time of the next issue: a
            // request knows how many bios went into it.
            Block::BlockSplit(_)
            | Block::BlockBioBackmerge(_)
            | Block::BlockBioFrontmerge(_)
            | Block::BlockGetrq(_)
            | Block::BlockRqInsert(_)
            | Block::BlockRqMerge(_)
            | Block::BlockRqRequeue(_) => {}
        }
    }

    /// Notes on the innermost call or fault of a task that it submitted I/O itself.
    fn submitted(&mut self, id: TaskId, op: BlockOp) {
        let own = |kind: &OpKind| matches!(kind, OpKind::Syscall(_) | OpKind::Fault(_));
        let live = self.live(id);
        if let Some((index, _)) = live.innermost(own) {
            live.ops.edit(index, |found| match op {
                BlockOp::Read => found.reads = true,
                BlockOp::Write | BlockOp::Flush | BlockOp::Discard | BlockOp::Other => {
                    found.writes = true;
                }
            });
        }
    }

    /// The innermost call, fault or work item of a task.
    fn innermost(&self, id: TaskId) -> Option<Op> {
        let found = self.live.get(id.0 as usize)?.innermost(|kind| {
            matches!(kind, OpKind::Syscall(_) | OpKind::Fault(_) | OpKind::Work(_))
        });
        found.map(|(_, op)| op)
    }

    /// A task looked up pages or blocks of a file.
    pub(super) fn looked_up(&mut self, id: TaskId, file: u32, time: Nanos) {
        self.live(id).looked_up = Some((file, time));
    }

    /// Notes a write of a file, if the task is in a write call: the data is in the page cache
    /// and will be written back later.
    pub(super) fn wrote(&mut self, id: TaskId, file: u32, time: Nanos) {
        let Some(op) = self.innermost(id) else { return };
        if op.syscall().is_some_and(|call| self.class(call.nr) == SyscallClass::Write) {
            self.file_io.wrote(id, file, op.start, time);
        }
    }

    /// The file that a bio belongs to, which a task submits now: the one whose dirty pages
    /// it writes back, else the one that it looked up in the same call, else that of its
    /// fault. Metadata (`M`) belongs to none: it lies in blocks that files share.
    fn file_of_io(&self, id: TaskId, rwbs: Rwbs) -> Option<u32> {
        if rwbs.meta || !matches!(rwbs.op, BlockOp::Read | BlockOp::Write) {
            return None;
        }
        let live = self.live.get(id.0 as usize)?;
        if live.writing_back.is_some() {
            return live.writing_back;
        }
        let op = self.innermost(id)?;
        let same = live.looked_up.filter(|(_, time)| *time >= op.start).map(|(file, _)| file);
        same.or_else(|| op.fault().and_then(|fault| fault.file))
    }
}
