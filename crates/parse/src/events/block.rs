//! Block I/O: bios, requests, plugs.

use super::tracepoints;
use crate::fields::Rwbs;
use crate::units::Dev;

tracepoints! {
    /// Block I/O (EVENTS 4). Sectors are 512 bytes.
    Block in 'a {
        /// A bio is submitted, by the task that wants it.
        "block:block_bio_queue" BlockBioQueue {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A bio is split in two.
        "block:block_split" BlockSplit {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Where the second part begins.
            new_sector: u64 = "new_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A bio is appended to a request.
        "block:block_bio_backmerge" BlockBioBackmerge {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A bio is put before a request.
        "block:block_bio_frontmerge" BlockBioFrontmerge {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A bio goes to another device or place: partitions, dm, md.
        "block:block_bio_remap" BlockBioRemap {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Device it came from.
            old_dev: Dev = "old_dev",
            /// Sector there.
            old_sector: u64 = "old_sector",
        }
        /// A request is allocated for a bio.
        "block:block_getrq" BlockGetrq {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A request is given to the I/O scheduler.
        "block:block_rq_insert" BlockRqInsert {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Bytes.
            bytes: Option<u32> = "bytes",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A request is given to the driver; again after a bounce.
        "block:block_rq_issue" BlockRqIssue {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Bytes.
            bytes: Option<u32> = "bytes",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A request is merged into another.
        "block:block_rq_merge" BlockRqMerge {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// The driver gave a request back.
        "block:block_rq_requeue" BlockRqRequeue {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A request, or a part of one, is done.
        "block:block_rq_complete" BlockRqComplete {
            /// Device.
            dev: Dev = "dev",
            /// First sector.
            sector: u64 = "sector",
            /// Sectors.
            nr_sector: u32 = "nr_sector",
            /// 0, or a negative error.
            error: i32 = "error" | "errors",
            /// Operation and flags.
            rwbs: Rwbs = "rwbs",
        }
        /// A task begins to hold its requests back.
        "block:block_plug" BlockPlug {
        }
        /// A task lets its held requests go.
        "block:block_unplug" BlockUnplug {
            /// How many.
            nr_rq: i32 = "nr_rq",
        }
    }
}
