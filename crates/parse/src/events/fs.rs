//! Filesystem syncs and journal commits.

use super::tracepoints;
use crate::units::Dev;

tracepoints! {
    /// Filesystem syncs and journals (EVENTS 5).
    Fs in 'a {
        /// ext4 begins to sync a file.
        "ext4:ext4_sync_file_enter" Ext4SyncFileEnter
            prints "dev {dev:dev} ino {ino} parent {} datasync {datasync}"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
            /// Whether only data is to be synced.
            datasync: i32 = "datasync",
        }
        /// ext4 has synced a file.
        "ext4:ext4_sync_file_exit" Ext4SyncFileExit
            prints "dev {dev:dev} ino {ino} ret {ret}"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
            /// 0, or a negative error.
            ret: i32 = "ret",
        }
        /// The journal thread begins a commit.
        "jbd2:jbd2_start_commit" Jbd2StartCommit
            prints "dev {dev:dev} transaction {transaction} sync"
        {
            /// Device of the journal.
            dev: Dev = "dev",
            /// Transaction number.
            transaction: u32 = "transaction",
        }
        /// It waits for open handles of the transaction.
        "jbd2:jbd2_commit_locking" Jbd2CommitLocking
            prints "dev {dev:dev} transaction {transaction} sync"
        {
            /// Device of the journal.
            dev: Dev = "dev",
            /// Transaction number.
            transaction: u32 = "transaction",
        }
        /// It writes the data that must precede.
        "jbd2:jbd2_commit_flushing" Jbd2CommitFlushing
            prints "dev {dev:dev} transaction {transaction} sync"
        {
            /// Device of the journal.
            dev: Dev = "dev",
            /// Transaction number.
            transaction: u32 = "transaction",
        }
        /// It writes the metadata blocks.
        "jbd2:jbd2_commit_logging" Jbd2CommitLogging
            prints "dev {dev:dev} transaction {transaction} sync"
        {
            /// Device of the journal.
            dev: Dev = "dev",
            /// Transaction number.
            transaction: u32 = "transaction",
        }
        /// The commit is on the device.
        "jbd2:jbd2_end_commit" Jbd2EndCommit
            prints "dev {dev:dev} transaction {transaction} sync"
        {
            /// Device of the journal.
            dev: Dev = "dev",
            /// Transaction number.
            transaction: u32 = "transaction",
        }
        /// ext4 begins to write dirty pages of a file, in the task that submits them: a
        /// syncing task, or a kworker (fs/ext4/inode.c `ext4_writepages`).
        "ext4:ext4_writepages" Ext4Writepages
            prints "dev {dev:dev} ino {ino} nr_to_write"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
        }
        /// It has submitted them.
        "ext4:ext4_writepages_result" Ext4WritepagesResult
            prints "dev {dev:dev} ino {ino} ret"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
        }
        /// A write call puts data into the page cache; with delayed allocation.
        "ext4:ext4_da_write_begin" Ext4DaWriteBegin
            prints "dev {dev:dev} ino {ino} pos"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
        }
        /// The same without delayed allocation.
        "ext4:ext4_write_begin" Ext4WriteBegin
            prints "dev {dev:dev} ino {ino} pos"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
        }
        /// ext4 looks up where blocks of a file lie: before each I/O, direct I/O included
        /// (fs/ext4/extents_status.c, since 3.10).
        "ext4:ext4_es_lookup_extent_enter" Ext4EsLookupExtentEnter
            prints "dev {dev:dev} ino {ino} lblk"
        {
            /// Device.
            dev: Dev = "dev",
            /// Inode.
            ino: u64 = "ino",
        }
        /// A fast commit begins, in the syncing task (fs/ext4/fast_commit.c, since 5.10).
        "ext4:ext4_fc_commit_start" Ext4FcCommitStart
            prints "dev {dev:dev} tid {tid}"
        {
            /// Device.
            dev: Dev = "dev",
            /// Transaction number; since 6.0.
            tid: Option<u32> = "tid",
        }
        /// A fast commit ends; with a reason other than 0 a whole commit follows.
        "ext4:ext4_fc_commit_stop" Ext4FcCommitStop
            prints "dev {dev:dev} nblks {nblks}, reason {reason}, fc"
        {
            /// Device.
            dev: Dev = "dev",
            /// Blocks written.
            nblks: i32 = "nblks",
            /// 0: done.
            reason: i32 = "reason",
        }
        /// A task joins a transaction (fs/jbd2/transaction.c, since 3.10). Its `tid` is the
        /// transaction's number, not a thread.
        "jbd2:jbd2_handle_start" Jbd2HandleStart
            prints "dev {dev:dev} tid {tid} type"
        {
            /// Device of the journal's file system.
            dev: Dev = "dev",
            /// Transaction number.
            tid: u32 = "tid",
        }
        /// A task leaves its transaction.
        "jbd2:jbd2_handle_stats" Jbd2HandleStats
            prints "dev {dev:dev} tid {tid} type"
        {
            /// Device of the journal's file system.
            dev: Dev = "dev",
            /// Transaction number.
            tid: u32 = "tid",
        }
        /// What a finished commit was made of.
        "jbd2:jbd2_run_stats" Jbd2RunStats
            prints "dev {dev:dev} tid {tid} wait {} request_delay {} running {} locked {} flushing {} logging {} handle_count {handle_count} blocks {} blocks_logged {blocks_logged}"
        {
            /// Device of the journal's file system.
            dev: Dev = "dev",
            /// Transaction number.
            tid: u32 = "tid",
            /// Handles that joined it.
            handle_count: u32 = "handle_count",
            /// Blocks written to the journal.
            blocks_logged: u32 = "blocks_logged",
        }
    }
}
