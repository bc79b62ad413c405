//! Names of frames, as looked up in files: plain data, made by who may open them.

use super::frames::{FrameId, ModuleId};

/// Names of the frames of one [`super::Stacks`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Symbols {
    /// For each frame, by its id, its functions: the innermost inlined one first, the
    /// function that holds the code last. Empty where nothing is known.
    pub frames: Vec<Vec<Symbol>>,
    /// Modules of which frames stay without a name, most frames first.
    pub missing: Vec<Missing>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, demangled. Not escaped.
    pub name: String,
    /// Whether it was inlined into the next.
    pub inlined: bool,
    /// Source file and line, where debug information tells.
    pub source: Option<(String, u32)>,
}

/// A module of which frames have no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The module; `None`: no mapping covers the frames.
    pub module: Option<ModuleId>,
    /// How many different frames.
    pub frames: u64,
    /// In how many samples they occur.
    pub samples: u64,
    /// What was found, if anything.
    pub found: SymbolSource,
}

/// What was found of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SymbolSource {
    /// No file with its build id, or none at all; where was looked.
    NotFound(Vec<String>),
    /// A file at its path, of another build.
    WrongBuild(String),
    /// A file without symbols (stripped), or none that cover the frames.
    NoSymbols(String),
    /// Its build is not known, so no file can be trusted.
    UnknownBuild,
}

impl Symbols {
    /// The functions of a frame, the innermost first.
    #[must_use]
    pub fn of(&self, frame: FrameId) -> &[Symbol] {
        self.frames.get(frame.0 as usize).map_or(&[], Vec::as_slice)
    }
}
