//! Modules and frames to the profile's libraries, functions and stacks.

use std::collections::HashMap;
use std::sync::Arc;

use agenttrace_attribute::stacks::{FrameKind, FrameText, Named, frame_text};
use agenttrace_model::parse::BuildId;
use agenttrace_model::stacks::{ChainId, Frame as OurFrame, FrameId, ModuleKind};
use fxprof_processed_profile::debugid::DebugId;
use fxprof_processed_profile::{
    CategoryHandle, Frame, FrameFlags, FrameInfo, LibraryHandle, LibraryInfo, Profile, StackHandle,
    Symbol, SymbolTable, ThreadHandle,
};

use super::Categories;
use crate::escape::visible;
use crate::export::words::OFF_CPU;

/// The code that stacks are in.
pub(super) struct Code<'a> {
    named: Named<'a>,
    /// By module: its library, and what is taken off an address.
    libraries: Vec<Option<(LibraryHandle, u64)>>,
    thread: Option<ThreadHandle>,
    /// Stacks of the present thread.
    stacks: HashMap<ChainId, StackHandle>,
}

impl<'a> Code<'a> {
    pub(super) fn new(named: Named<'a>, arch: Option<&str>, profile: &mut Profile) -> Self {
        let mut code = Self {
            named,
            libraries: vec![None; named.stacks.modules.len()],
            thread: None,
            stacks: HashMap::new(),
        };
        let tables = code.symbols();
        for (place, (base, symbols)) in tables.into_iter().enumerate() {
            let Some(module) = named.stacks.modules.get(place).filter(|_| !symbols.is_empty())
            else {
                continue;
            };
            let path = visible(&module.path);
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            let library = profile.add_lib(LibraryInfo {
                name: name.clone(),
                debug_name: name,
                path: path.clone(),
                debug_path: path,
                debug_id: module.build_id.map(debug_id).unwrap_or_default(),
                code_id: module.build_id.map(|id| id.to_string()),
                arch: arch.map(visible),
                symbol_table: Some(Arc::new(SymbolTable::new(symbols))),
            });
            if let Some(slot) = code.libraries.get_mut(place) {
                *slot = Some((library, base));
            }
        }
        code
    }

    /// For each module that a file holds, or the kernel, what is taken off its addresses,
    /// and the functions that occur: each as far as its frames reach.
    fn symbols(&self) -> Vec<(u64, Vec<Symbol>)> {
        let modules = &self.named.stacks.modules;
        let mut found: Vec<Vec<(u64, String)>> = vec![Vec::new(); modules.len()];
        for (index, frame) in self.named.stacks.frames.iter().enumerate() {
            let id = FrameId(u32::try_from(index).unwrap_or(u32::MAX));
            let Some(slot) = frame.module.and_then(|m| found.get_mut(m.0 as usize)) else {
                continue;
            };
            if let Some(outermost) = frame_text(self.named, id).first()
                && frame.name.is_none()
            {
                slot.push((code_address(frame), visible(&outermost.text)));
            }
        }
        let tables = modules.iter().zip(found).map(|(module, mut frames)| {
            let in_file = match module.kind {
                ModuleKind::File | ModuleKind::Deleted | ModuleKind::Vdso => true,
                ModuleKind::Kernel | ModuleKind::KernelModule => false,
                ModuleKind::KernelSymbol | ModuleKind::Jit | ModuleKind::Named => {
                    return (0, Vec::new());
                }
            };
            frames.sort_unstable();
            // Kernel addresses are told from the first one, for they must fit 32 bits.
            let base = if in_file { 0 } else { frames.first().map_or(0, |(address, _)| *address) };
            (base, functions(&frames, base))
        });
        tables.collect()
    }

    /// Goes over to the stacks of another thread: a profile keeps them apart.
    pub(super) fn next_thread(&mut self, thread: ThreadHandle) {
        self.thread = Some(thread);
        self.stacks.clear();
    }

    /// The stack of a chain, in the present thread.
    pub(super) fn stack(
        &mut self,
        profile: &mut Profile,
        categories: Categories,
        chain: Option<ChainId>,
    ) -> Option<StackHandle> {
        let thread = self.thread?;
        // Outwards to what is known, then back in.
        let mut todo = Vec::new();
        let mut at = chain;
        let mut stack = None;
        while let Some(id) = at {
            if let Some(known) = self.stacks.get(&id) {
                stack = Some(*known);
                break;
            }
            let chain = self.named.stacks.chain(id)?;
            todo.push((id, chain.frame));
            at = chain.parent;
        }
        for (id, frame) in todo.into_iter().rev() {
            for info in self.infos(profile, categories, frame) {
                let handle = profile.intern_frame(thread, info);
                stack = Some(profile.intern_stack(thread, stack, handle));
            }
            if let Some(stack) = stack {
                self.stacks.insert(id, stack);
            }
        }
        stack
    }

    /// A stack with a frame inside that says that the task is not running.
    pub(super) fn waiting(
        &self,
        profile: &mut Profile,
        categories: Categories,
        stack: Option<StackHandle>,
    ) -> Option<StackHandle> {
        let thread = self.thread?;
        let frame = label(profile, OFF_CPU, categories.waiting);
        let frame = profile.intern_frame(thread, frame);
        Some(profile.intern_stack(thread, stack, frame))
    }

    /// A frame's function, then those that were inlined into it.
    fn infos(&self, profile: &mut Profile, categories: Categories, id: FrameId) -> Vec<FrameInfo> {
        let Some(frame) = self.named.stacks.frame(id) else { return Vec::new() };
        let texts = frame_text(self.named, id);
        let mut infos = Vec::with_capacity(texts.len());
        for (depth, text) in texts.iter().enumerate() {
            let category = category(text, &texts, categories);
            let info = match self.address(frame).filter(|_| depth == 0) {
                Some(place) => FrameInfo {
                    frame: place,
                    category_pair: category.into(),
                    flags: FrameFlags::empty(),
                },
                None => label(profile, &visible(&text.text), category),
            };
            infos.push(info);
        }
        infos
    }

    /// A frame's place in its library, where it has one.
    fn address(&self, frame: &OurFrame) -> Option<Frame> {
        let (library, base) = (*self.libraries.get(frame.module?.0 as usize)?)?;
        if frame.name.is_some() {
            return None;
        }
        let offset = u32::try_from(code_address(frame).checked_sub(base)?).ok()?;
        Some(Frame::RelativeAddressFromInstructionPointer(library, offset))
    }
}

/// Where the frame's own instruction lies: before the address to which a call returns.
fn code_address(frame: &OurFrame) -> u64 {
    frame.address.saturating_sub(u64::from(frame.caller))
}

/// Sorted addresses with their functions' names to functions that reach from their first
/// address to their last. Addresses beyond 32 bits are left out.
fn functions(frames: &[(u64, String)], base: u64) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::new();
    for (address, name) in frames {
        let Some(address) = address.checked_sub(base).and_then(|a| u32::try_from(a).ok()) else {
            continue;
        };
        match symbols.last_mut().filter(|last| last.name == *name) {
            Some(last) => {
                last.size = address.checked_sub(last.address).and_then(|n| n.checked_add(1))
            }
            None => symbols.push(Symbol { address, size: Some(1), name: name.clone() }),
        }
    }
    symbols
}

fn category(text: &FrameText, all: &[FrameText], categories: Categories) -> CategoryHandle {
    // What is inlined is of the kind of what it is inlined into.
    let kind = if text.kind == FrameKind::Inlined {
        all.first().map_or(FrameKind::User, |outermost| outermost.kind)
    } else {
        text.kind
    };
    match kind {
        FrameKind::Kernel => categories.kernel,
        FrameKind::Jit => categories.jit,
        FrameKind::User | FrameKind::Inlined => categories.user,
        FrameKind::Label | FrameKind::Entry | FrameKind::Leaf => categories.entry,
    }
}

/// A frame that is no code.
pub(super) fn label(profile: &mut Profile, text: &str, category: CategoryHandle) -> FrameInfo {
    FrameInfo {
        frame: Frame::Label(profile.intern_string(text)),
        category_pair: category.into(),
        flags: FrameFlags::empty(),
    }
}

/// A build id as the debug id that symbol servers for Linux know: its first 16 bytes as
/// those of a GUID in memory, of which the first three groups are little-endian numbers.
fn debug_id(id: BuildId) -> DebugId {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(id.as_bytes()) {
        *to = *from;
    }
    DebugId::from_guid_age(&bytes, 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_reaches_as_far_as_its_frames() {
        let at = |address: u64, name: &str| (address, name.to_owned());
        let frames = [at(10, "a"), at(20, "a"), at(30, "b"), at(40, "a"), at(1 << 33, "far")];
        let got: Vec<(u32, Option<u32>, String)> =
            functions(&frames, 0).into_iter().map(|s| (s.address, s.size, s.name)).collect();
        let want = [(10, Some(11), "a"), (30, Some(1), "b"), (40, Some(1), "a")];
        assert_eq!(got, want.map(|(a, s, n)| (a, s, n.to_owned())));
        assert_eq!(functions(&frames, 1 << 33).len(), 1);
    }

    #[test]
    fn debug_ids_are_those_of_breakpad() {
        // The bytes 0, 1, ... 19: 4, 2 and 2 of them turned round, 8 as they are, the age 0.
        let bytes: Vec<u8> = (0..20).collect();
        let id = BuildId::new(&bytes).unwrap();
        assert_eq!(debug_id(id).breakpad().to_string(), "030201000504070608090A0B0C0D0E0F0");
    }
}
