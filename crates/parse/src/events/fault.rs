//! Page faults: entries, completions, and the file pages they ask for.

use super::tracepoints;
use crate::fields::Addr;
use crate::units::Dev;

tracepoints! {
    /// Page faults (EVENTS 3).
    Fault in 'a {
        /// A fault from user mode begins.
        "exceptions:page_fault_user" PageFaultUser
            prints "address={address:sym} ip={ip:sym} error_code={error_code}"
        {
            /// The address that faulted.
            address: Addr = "address",
            /// Where the code was.
            ip: Addr = "ip",
            /// x86: 1 protection, 2 write, 4 user, 0x10 fetch.
            error_code: Addr = "error_code",
        }
        /// A fault from kernel mode begins: a copy from or to user memory.
        "exceptions:page_fault_kernel" PageFaultKernel
            prints "address={address:sym} ip={ip:sym} error_code={error_code}"
        {
            /// The address that faulted.
            address: Addr = "address",
            /// Where the code was.
            ip: Addr = "ip",
            /// x86: 1 protection, 2 write, 4 user, 0x10 fetch.
            error_code: Addr = "error_code",
        }
        /// A fault was completed without having read from a device, says the kernel.
        "software:minor-faults" MinorFaults {
            /// The address that faulted.
            addr: Addr = "addr",
            /// How many faults this sample stands for: 1 when recorded with `-c 1`.
            period: u64 = "period",
        }
        /// A fault was completed that the kernel counts as major.
        "software:major-faults" MajorFaults {
            /// The address that faulted.
            addr: Addr = "addr",
            /// How many faults this sample stands for: 1 when recorded with `-c 1`.
            period: u64 = "period",
        }
        /// The resident memory of an address space has changed (Linux 5.5; mm/memory.c,
        /// `trace_rss_stat`; `curr` since 5.6, include/trace/events/kmem.h).
        "kmem:rss_stat" RssStat
            prints "mm_id={mm_id} curr={curr} type=MM_FILEPAGES{member=0} size={size}B"
            | "mm_id={mm_id} curr={curr} type=MM_ANONPAGES{member=1} size={size}B"
            | "mm_id={mm_id} curr={curr} type=MM_SWAPENTS{member=2} size={size}B"
            | "mm_id={mm_id} curr={curr} type=MM_SHMEMPAGES{member=3} size={size}B"
        {
            /// Which address space, as a hash of its address.
            mm_id: u32 = "mm_id",
            /// Whether it is the current task's own.
            curr: bool = "curr",
            /// What kind of pages: `MM_FILEPAGES` 0, `MM_ANONPAGES` 1, `MM_SWAPENTS` 2,
            /// `MM_SHMEMPAGES` 3.
            member: i32 = "member",
            /// Bytes of that kind, now.
            size: i64 = "size",
        }
        /// A fault on a file found no mapped neighbour page to take.
        "filemap:mm_filemap_fault" MmFilemapFault
            prints "dev={s_dev:dev} ino={i_ino:x} ofs={index:page}"
            | "i_ino={i_ino:x} s_dev={s_dev:dev} index={index}"
        {
            /// Inode.
            i_ino: u64 = "i_ino",
            /// Device of its superblock.
            s_dev: Dev = "s_dev",
            /// Page index in the file.
            index: u64 = "index",
        }
        /// A fault mapped cached pages of a file (fault-around).
        "filemap:mm_filemap_map_pages" MmFilemapMapPages
            prints "dev={s_dev:dev} ino={i_ino:x} ofs={index:page}-{last_index:page}"
            | "i_ino={i_ino:x} s_dev={s_dev:dev} index={index} last_index={last_index}"
        {
            /// Inode.
            i_ino: u64 = "i_ino",
            /// Device of its superblock.
            s_dev: Dev = "s_dev",
            /// First page index.
            index: u64 = "index",
            /// Last page index.
            last_index: u64 = "last_index",
        }
    }
}

/// Whether an event of this name is the entry of a page fault.
pub(crate) fn begins_fault(name: &str) -> bool {
    matches!(name, "exceptions:page_fault_user" | "exceptions:page_fault_kernel")
}
