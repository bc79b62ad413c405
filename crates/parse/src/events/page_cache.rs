//! Page-cache lookups, fill and removal.

use super::tracepoints;
use crate::units::Dev;

tracepoints! {
    /// The page cache (EVENTS 3.5).
    PageCache in 'a {
        /// A buffered read has its pages, after any wait.
        "filemap:mm_filemap_get_pages" MmFilemapGetPages {
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
        "filemap:mm_filemap_add_to_page_cache" MmFilemapAddToPageCache {
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
        "filemap:mm_filemap_delete_from_page_cache" MmFilemapDeleteFromPageCache {
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
