//! Stacks of a capture: where each sample's frames lie, merged, before and after they
//! have names.

mod frames;
mod symbols;

pub use frames::{
    Chain, ChainId, Frame, FrameId, Module, ModuleId, ModuleKind, Short, StackSample, Stacks, What,
};
pub use symbols::{Missing, Symbol, SymbolSource, Symbols};
