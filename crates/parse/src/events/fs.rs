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
    }
}
