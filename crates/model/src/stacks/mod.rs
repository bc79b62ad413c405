//! Stacks of a capture: where each sample's frames lie, merged, before and after they
//! have names.

mod build;
pub mod elf;
mod frames;
mod merge;
mod modules;
mod names;
mod spaces;
mod symbols;
mod unwind;
mod what;

pub use build::StackBuilder;
pub use frames::{
    Chain, ChainId, Frame, FrameId, Module, ModuleId, ModuleKind, Short, StackSample, Stacks, What,
};
pub use symbols::{Missing, Symbol, SymbolSource, Symbols};
