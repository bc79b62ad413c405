//! Records to stacks, through what the crate offers: each expected frame is worked out by hand.

/// Kernel chains, deferred chains, branches, names, kinds of events.
mod chains;
/// Registers, stacks and files that lie.
mod damage;
/// Makes records.
mod events;
/// The entry point of the fuzz target.
#[path = "../../../../fuzz/src/unwind.rs"]
mod fuzz_unwind;
/// Mappings over time: exec, fork, threads, overlaps, deleted files.
mod spaces;
/// Makes small ELF files with unwind tables.
mod tiny;
/// Stacks of a small program, and why they end.
mod unwind;
