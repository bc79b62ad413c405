//! Damaged input of every format: no panic, no hang, no more memory than it deserves.
//!
//! A program of its own, because it counts every byte that is allocated.

/// Compressed input that expands to more than it may.
mod bombs;
/// Runs something and measures what it allocates.
mod bounded;
/// Cuts and flipped bits, in every format.
mod cuts_and_flips;
/// The entry points of the fuzz targets.
#[path = "../../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a crate of its own for the fuzz targets")]
mod entry;
/// Changes bytes in a way that looks random and is the same in every run.
mod mutate;
/// The entry points over the corpus and over mutations of it.
mod replay;
/// What recorders write, in small.
mod seeds;
/// A few lines of every text dialect.
mod texts;
