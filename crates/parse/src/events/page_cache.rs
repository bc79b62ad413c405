//! Page-cache lookups, fill and removal.

use super::tracepoints;
use crate::units::Dev;

tracepoints! {
    /// The page cache (EVENTS 3.5).
    PageCache in 'a {
        /// A buffered read has its pages, after any wait.
        "filemap:mm_filemap_get_pages" MmFilemapGetPages
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
        /// A folio enters the page cache.
        "filemap:mm_filemap_add_to_page_cache" MmFilemapAddToPageCache
            prints "dev {s_dev:dev} ino {i_ino:x} pfn={:sym} ofs={index:page} order={order}"
            | "dev {s_dev:dev} ino {i_ino:x} {:s}ofs={index:page}"
            | "pfn={:sym} i_ino={i_ino:x} index={index} s_dev={s_dev:dev} order={order}"
            | "{:s}i_ino={i_ino:x} index={index} s_dev={s_dev:dev}"
        {
            /// Inode.
            i_ino: u64 = "i_ino",
            /// Device of its superblock.
            s_dev: Dev = "s_dev",
            /// Page index of its first page.
            index: u64 = "index",
            /// It has `2^order` pages; absent on older kernels, where it is one.
            order: Option<u32> = "order",
        }
        /// A folio leaves the page cache: evicted, truncated, or unlinked.
        "filemap:mm_filemap_delete_from_page_cache" MmFilemapDeleteFromPageCache
            prints "dev {s_dev:dev} ino {i_ino:x} pfn={:sym} ofs={index:page} order={order}"
            | "dev {s_dev:dev} ino {i_ino:x} {:s}ofs={index:page}"
            | "pfn={:sym} i_ino={i_ino:x} index={index} s_dev={s_dev:dev} order={order}"
            | "{:s}i_ino={i_ino:x} index={index} s_dev={s_dev:dev}"
        {
            /// Inode.
            i_ino: u64 = "i_ino",
            /// Device of its superblock.
            s_dev: Dev = "s_dev",
            /// Page index of its first page.
            index: u64 = "index",
            /// It has `2^order` pages; absent on older kernels, where it is one.
            order: Option<u32> = "order",
        }
    }
}
