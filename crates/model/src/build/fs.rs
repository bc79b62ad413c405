//! Syncs, journal commits and handles, and what files a task works on.

use agenttrace_parse::events::{Event, Fs};

use super::Builder;
use crate::commit::CommitPhase;
use crate::op::OpKind;
use crate::task::TaskId;

impl Builder {
    #[inline(never)]
    pub(super) fn fs(&mut self, event: &Event<'_>, task: TaskId, fs: &Fs) {
        let time = event.time;
        match fs {
            Fs::Ext4SyncFileEnter(e) => {
                self.files.intern(e.dev, e.ino);
                self.push_op(task, time, OpKind::SyncFile { dev: e.dev, ino: e.ino });
            }
            Fs::Ext4SyncFileExit(_) => {
                self.close_op(task, time, |kind| matches!(kind, OpKind::SyncFile { .. }));
                self.live(task).ended = None;
            }
            Fs::Jbd2StartCommit(e) => {
                self.push_op(task, time, OpKind::Commit { dev: e.dev, transaction: e.transaction });
                self.journals.start(task, e.dev, Some(e.transaction), false, time);
            }
            Fs::Jbd2EndCommit(_) => {
                self.close_op(task, time, |kind| matches!(kind, OpKind::Commit { .. }));
                self.journals.end(task, false, time);
            }
            Fs::Jbd2CommitLocking(_) => self.journals.phase(task, CommitPhase::Locking, time),
            Fs::Jbd2CommitFlushing(_) => self.journals.phase(task, CommitPhase::Flushing, time),
            Fs::Jbd2CommitLogging(_) => self.journals.phase(task, CommitPhase::Logging, time),
            Fs::Jbd2RunStats(e) => {
                self.journals.stats(e.dev, e.tid, e.handle_count, e.blocks_logged);
            }
            Fs::Jbd2HandleStart(e) => self.journals.join(task, e.dev, e.tid, time),
            Fs::Jbd2HandleStats(_) => self.journals.leave(task, time),
            Fs::Ext4FcCommitStart(e) => self.journals.start(task, e.dev, e.tid, true, time),
            Fs::Ext4FcCommitStop(e) => self.journals.end(task, e.reason != 0, time),
            Fs::Ext4Writepages(e) => {
                let file = self.files.intern(e.dev, e.ino);
                self.live(task).writing_back = Some(file);
            }
            Fs::Ext4WritepagesResult(_) => self.live(task).writing_back = None,
            Fs::Ext4DaWriteBegin(e) => {
                let file = self.files.intern(e.dev, e.ino);
                self.wrote(task, file, time);
            }
            Fs::Ext4WriteBegin(e) => {
                let file = self.files.intern(e.dev, e.ino);
                self.wrote(task, file, time);
            }
            Fs::Ext4EsLookupExtentEnter(e) => {
                let file = self.files.intern(e.dev, e.ino);
                self.looked_up(task, file, time);
            }
        }
    }
}
