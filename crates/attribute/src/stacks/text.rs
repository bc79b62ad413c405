//! A frame to the words that every output has for it.

use std::sync::Arc;

use agenttrace_model::parse::stack::Mode;
use agenttrace_model::stacks::{FrameId, ModuleKind};

use super::Named;

/// What a frame of a picture is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FrameKind {
    /// A tool, a step, or a task.
    Label,
    /// What the time was spent on behalf of: a frame of the entry stack.
    Entry,
    /// Cause and resource.
    Leaf,
    /// A function of the kernel.
    Kernel,
    /// A function of a program or a library.
    User,
    /// A function that was inlined.
    Inlined,
    /// Code made at run time.
    Jit,
}

/// One frame of a picture. Not escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameText {
    /// Its words. Shared: a capture has many stacks of few functions.
    pub text: Arc<str>,
    /// What it is.
    pub kind: FrameKind,
}

/// The frames of a picture for one frame of a stack, the outermost first: the function,
/// then those that were inlined into it. Without a name: module and offset
/// (`libc.so.6+0x1234`), or `[unknown]` where no mapping covers it.
#[must_use]
pub fn frame_text(named: Named<'_>, id: FrameId) -> Vec<FrameText> {
    let Some(frame) = named.stacks.frame(id) else { return Vec::new() };
    let module = frame.module.and_then(|m| named.stacks.module(m));
    let kind = match (frame.mode, module.map(|m| m.kind)) {
        (Mode::Kernel, _) => FrameKind::Kernel,
        (_, Some(ModuleKind::Jit)) => FrameKind::Jit,
        _ => FrameKind::User,
    };
    let symbols = named.symbols.of(id);
    let frames: Vec<FrameText> = symbols
        .iter()
        .rev()
        .map(|symbol| FrameText {
            text: Arc::from(symbol.name.as_str()),
            kind: if symbol.inlined { FrameKind::Inlined } else { kind },
        })
        .collect();
    if !frames.is_empty() {
        return frames;
    }
    let given = frame.name.and_then(|n| named.stacks.names.get(n as usize));
    let text = match (given, module) {
        (Some(name), _) if !name.is_empty() => name.clone(),
        (_, Some(module)) => {
            let name = match module.kind {
                ModuleKind::Jit => &module.path,
                ModuleKind::File
                | ModuleKind::Deleted
                | ModuleKind::Vdso
                | ModuleKind::Kernel
                | ModuleKind::KernelModule
                | ModuleKind::KernelSymbol
                | ModuleKind::Named => module.path.rsplit('/').next().unwrap_or(&module.path),
            };
            format!("{name}+{:#x}", frame.address)
        }
        (_, None) => "[unknown]".to_owned(),
    };
    vec![FrameText { text: text.into(), kind }]
}
