//! Block I/O: bios, requests, plugs.

use super::tracepoints;
use crate::fields::Rwbs;
use crate::units::Dev;

tracepoints! {
    /// Block I/O (EVENTS 4). Sectors are 512 bytes.
    Block in 'a {
        /// A bio is submitted, by the task that wants it.
        "block:block_bio_queue" BlockBioQueue
            prints "{dev:dev} {rwbs:s} {sector} + {nr_sector} "
        {
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
        "block:block_split" BlockSplit
            prints "{dev:dev} {rwbs:s} {sector} / {new_sector}"
        {
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
        "block:block_bio_backmerge" BlockBioBackmerge
            prints "{dev:dev} {rwbs:s} {sector} + {nr_sector} "
        {
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
        "block:block_bio_frontmerge" BlockBioFrontmerge
            prints "{dev:dev} {rwbs:s} {sector} + {nr_sector} "
        {
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
        "block:block_bio_remap" BlockBioRemap
            prints "{dev:dev} {:s} {sector} + {nr_sector} <- ({old_dev:dev}) {old_sector}"
        {
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
        "block:block_getrq" BlockGetrq
            prints "{dev:dev} {rwbs:s} {sector} + {nr_sector} "
        {
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
        "block:block_rq_insert" BlockRqInsert
            prints "{dev:dev} {rwbs:s} {bytes} ({:s}) {sector} + {nr_sector} "
        {
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
        "block:block_rq_issue" BlockRqIssue
            prints "{dev:dev} {rwbs:s} {bytes} ({:s}) {sector} + {nr_sector} "
        {
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
        "block:block_rq_merge" BlockRqMerge
            prints "{dev:dev} {rwbs:s} {} ({:s}) {sector} + {nr_sector} "
        {
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
        "block:block_rq_requeue" BlockRqRequeue
            prints "{dev:dev} {rwbs:s} ({:s}) {sector} + {nr_sector} "
        {
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
        "block:block_rq_complete" BlockRqComplete
            prints "{dev:dev} {rwbs:s} ({:s}) {sector} + {nr_sector} {:s}[{error}]"
        {
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
        "block:block_plug" BlockPlug
            prints "["
        {
        }
        /// A task lets its held requests go.
        "block:block_unplug" BlockUnplug
            prints "[{:s}] {nr_rq}"
        {
            /// How many.
            nr_rq: i32 = "nr_rq",
        }
    }
}
