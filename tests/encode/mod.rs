//! One plain perf.data to the same records in every other container that perf has.
//!
//! The test of the containers, the runs over damaged input and the fuzz targets share
//! it; each uses a part.
#![allow(
    dead_code,
    unused_imports,
    reason = "each program that shares this module uses a part of it"
)]

mod big_endian;
mod pack;
mod recording;
mod shape;
pub(crate) mod trace_dat;
mod tracing;

pub(crate) use pack::{Packing, compressed, record};
pub(crate) use recording::{Attr, Files, Recording, half, word};
pub(crate) use shape::{
    grouped_reads, id_elsewhere, one_attribute, rounds, rounds_lagging, short, tiny, without_rounds,
};
pub(crate) use tracing::Tracing;

/// Who writes such a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// perf on a common machine, with the right options.
    Perf,
    /// Nobody that a test machine could run: made from bytes, after the layouts in
    /// perf's sources.
    Crafted,
}

/// A container and how to write it.
pub(crate) struct Container {
    pub(crate) name: &'static str,
    pub(crate) origin: Origin,
    pub(crate) write: fn(&Recording) -> Files,
}

/// The chunk sizes are odd, so that records straddle the ends of compressed records.
const CHUNK: usize = 5_003;

/// Every container that holds everything that a plain perf.data does.
pub(crate) const CONTAINERS: &[Container] = &[
    Container {
        name: "file, a round after every 8 records",
        origin: Origin::Perf,
        write: |r| rounds(r, 8).file(Packing::Plain),
    },
    Container {
        name: "file, CPUs a round apart",
        origin: Origin::Perf,
        write: |r| rounds_lagging(r, 8).file(Packing::Plain),
    },
    Container {
        name: "file without FINISHED_ROUND",
        origin: Origin::Crafted,
        write: |r| without_rounds(r).file(Packing::Plain),
    },
    Container {
        name: "file, COMPRESSED",
        origin: Origin::Perf,
        write: |r| r.file(Packing::Compressed(CHUNK)),
    },
    Container {
        name: "file, COMPRESSED, a round after every 8 records",
        origin: Origin::Perf,
        write: |r| rounds(r, 8).file(Packing::Compressed(301)),
    },
    Container {
        name: "file, COMPRESSED2",
        origin: Origin::Crafted,
        write: |r| r.file(Packing::Compressed2(CHUNK)),
    },
    Container { name: "pipe", origin: Origin::Perf, write: |r| r.pipe(Packing::Plain) },
    Container {
        name: "pipe, COMPRESSED",
        origin: Origin::Perf,
        write: |r| r.pipe(Packing::Compressed(CHUNK)),
    },
    Container {
        name: "pipe, COMPRESSED2",
        origin: Origin::Crafted,
        write: |r| r.pipe(Packing::Compressed2(CHUNK)),
    },
    Container {
        name: "directory of `--threads`",
        origin: Origin::Perf,
        write: |r| r.directory(Packing::Plain),
    },
    Container {
        name: "directory of `--threads`, COMPRESSED",
        origin: Origin::Perf,
        write: |r| r.directory(Packing::Compressed(CHUNK)),
    },
    Container {
        name: "directory of `--threads`, COMPRESSED2",
        origin: Origin::Crafted,
        write: |r| r.directory(Packing::Compressed2(CHUNK)),
    },
    Container {
        name: "big-endian file",
        origin: Origin::Crafted,
        write: |r| r.big_endian().file(Packing::Plain),
    },
    Container {
        name: "big-endian pipe",
        origin: Origin::Crafted,
        write: |r| r.big_endian().pipe(Packing::Plain),
    },
    Container {
        name: "big-endian file, COMPRESSED",
        origin: Origin::Crafted,
        write: |r| r.big_endian().file(Packing::Compressed(CHUNK)),
    },
    Container {
        name: "big-endian directory, COMPRESSED2",
        origin: Origin::Crafted,
        write: |r| r.big_endian().directory(Packing::Compressed2(CHUNK)),
    },
    Container {
        name: "grouped reads with LOST",
        origin: Origin::Crafted,
        write: |r| grouped_reads(r).file(Packing::Plain),
    },
    Container {
        name: "big-endian pipe, grouped reads with LOST",
        origin: Origin::Crafted,
        write: |r| grouped_reads(r).big_endian().pipe(Packing::Plain),
    },
    Container {
        name: "ID in place of IDENTIFIER",
        origin: Origin::Crafted,
        write: |r| id_elsewhere(r).file(Packing::Plain),
    },
    Container {
        name: "pipe, ID in place of IDENTIFIER",
        origin: Origin::Crafted,
        write: |r| id_elsewhere(r).pipe(Packing::Plain),
    },
];
