//! Block requests, filesystem syncs and journal commits.

use agenttrace_parse::BlockOp;
use agenttrace_parse::events::{Block, Event, Fs};

use super::Builder;
use crate::op::OpKind;
use crate::task::TaskId;

impl Builder {
    pub(super) fn block(&mut self, event: &Event<'_>, current: Option<TaskId>, block: &Block) {
        let time = event.time;
        // In interrupt context the current task submits nothing.
        let submitter = current.filter(|_| !event.context.interrupt());
        match block {
            Block::BlockBioQueue(e) => {
                self.requests.queue(e.dev, e.sector, e.nr_sector, e.rwbs, time, submitter);
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
            // Merges, splits and bounces show in the range and time of the next
            // issue; plugs and inserts lie within the queue time.
            Block::BlockSplit(_)
            | Block::BlockBioBackmerge(_)
            | Block::BlockBioFrontmerge(_)
            | Block::BlockGetrq(_)
            | Block::BlockRqInsert(_)
            | Block::BlockRqMerge(_)
            | Block::BlockRqRequeue(_)
            | Block::BlockPlug(_)
            | Block::BlockUnplug(_) => {}
        }
    }

    /// Notes on the innermost call or fault of a task that it submitted I/O itself.
    fn submitted(&mut self, id: TaskId, op: BlockOp) {
        let innermost = self.live(id).stack.clone().into_iter().rev().find(|i| {
            self.task(id)
                .ops
                .get(*i)
                .is_some_and(|op| matches!(op.kind, OpKind::Syscall(_) | OpKind::Fault(_)))
        });
        if let Some(found) = innermost.and_then(|i| self.task(id).ops.get_mut(i)) {
            match op {
                BlockOp::Read => found.reads = true,
                BlockOp::Write | BlockOp::Flush | BlockOp::Discard | BlockOp::Other => {
                    found.writes = true
                }
            }
        }
    }

    pub(super) fn fs(&mut self, event: &Event<'_>, task: TaskId, fs: &Fs) {
        let time = event.time;
        match fs {
            Fs::Ext4SyncFileEnter(e) => {
                self.push_op(task, time, OpKind::SyncFile { dev: e.dev, ino: e.ino });
            }
            Fs::Ext4SyncFileExit(_) => {
                self.close_op(task, time, |kind| matches!(kind, OpKind::SyncFile { .. }));
                self.live(task).ended = None;
            }
            Fs::Jbd2StartCommit(e) => {
                self.push_op(task, time, OpKind::Commit { dev: e.dev, transaction: e.transaction });
            }
            Fs::Jbd2EndCommit(_) => {
                self.close_op(task, time, |kind| matches!(kind, OpKind::Commit { .. }));
            }
            // Phases inside the commit.
            Fs::Jbd2CommitLocking(_) | Fs::Jbd2CommitFlushing(_) | Fs::Jbd2CommitLogging(_) => {}
        }
    }
}
