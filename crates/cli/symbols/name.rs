//! Frames to the functions that they lie in, module by module, on all threads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::plain_reader;
use agenttrace_model::parse::stack::Mode;
use agenttrace_model::stacks::elf::ElfFile;
use agenttrace_model::stacks::{
    Frame, FrameId, Module, ModuleId, ModuleKind, Stacks, Symbol, SymbolSource,
};
use rayon::prelude::*;

use super::demangle::demangle;
use super::elf::Elf;
use super::files::{Found, ModuleFiles, Places};
use super::inlined::{Told, look_up};
use super::kernel::{self, Kernel};
use super::perf_map;

/// The names of one module's frames.
#[derive(Debug, Default)]
pub(super) struct ModuleNames {
    /// Only those that have any.
    pub(super) frames: Vec<(FrameId, Vec<Symbol>)>,
    /// Where they come from.
    pub(super) from: Option<String>,
    /// Why frames have none.
    pub(super) lacking: Option<SymbolSource>,
}

/// What names are made from.
pub(super) struct Sources<'a> {
    pub(super) places: &'a Places,
    /// The files of a module, found once.
    pub(super) files: &'a (dyn Fn(ModuleId) -> Option<&'a ModuleFiles> + Sync),
    pub(super) kernel: &'a Kernel<'a>,
    /// The perf map of a process.
    pub(super) map: &'a (dyn Fn(&Module) -> Result<PathBuf, SymbolSource> + Sync),
    pub(super) inlined: bool,
}

/// Where a frame's code is looked up: a call lies before the address it returns to.
fn at(frame: &Frame) -> u64 {
    frame.address.saturating_sub(u64::from(frame.caller))
}

/// Frames that still need a name, by module, in the order of what is looked up.
pub(super) fn unnamed(stacks: &Stacks) -> BTreeMap<Option<ModuleId>, Vec<(u64, FrameId)>> {
    let mut groups: BTreeMap<_, Vec<(u64, FrameId)>> = BTreeMap::new();
    for (index, frame) in stacks.frames.iter().enumerate() {
        let Ok(index) = u32::try_from(index) else { break };
        if frame.name.is_none() {
            groups.entry(frame.module).or_default().push((at(frame), FrameId(index)));
        }
    }
    groups.values_mut().for_each(|group| group.sort_unstable());
    groups
}

/// Names what can be named.
pub(super) fn name(stacks: &Stacks, sources: &Sources<'_>) -> Vec<(Option<ModuleId>, ModuleNames)> {
    let groups: Vec<_> = unnamed(stacks).into_iter().collect();
    let named = groups.par_iter().map(|(id, frames)| {
        let module = id.and_then(|id| stacks.module(id));
        let named = match (id, module) {
            (Some(id), Some(module)) => sources.module(*id, module, frames),
            _ => sources.without_module(stacks, frames),
        };
        (*id, named)
    });
    named.collect()
}

impl Sources<'_> {
    fn module(&self, id: ModuleId, module: &Module, frames: &[(u64, FrameId)]) -> ModuleNames {
        match module.kind {
            ModuleKind::File | ModuleKind::Deleted | ModuleKind::Vdso => {
                self.file(id, module, frames)
            }
            ModuleKind::Kernel => self.kernel(frames),
            ModuleKind::KernelModule => self.kernel_module(module, frames),
            ModuleKind::Jit => self.jit(module, frames),
            // Their names are the modules'.
            ModuleKind::KernelSymbol => ModuleNames {
                frames: frames
                    .iter()
                    .map(|(_, f)| (*f, vec![plain(module.path.clone())]))
                    .collect(),
                ..ModuleNames::default()
            },
            ModuleKind::Named => ModuleNames::default(),
        }
    }

    fn without_module(&self, stacks: &Stacks, frames: &[(u64, FrameId)]) -> ModuleNames {
        let kernel = |f: &FrameId| stacks.frame(*f).is_some_and(|f| f.mode == Mode::Kernel);
        let frames: Vec<_> = frames.iter().filter(|(_, f)| kernel(f)).copied().collect();
        self.kernel(&frames)
    }

    fn kernel(&self, frames: &[(u64, FrameId)]) -> ModuleNames {
        let wanted = addresses(frames);
        let names = self.kernel.names(&wanted);
        let mut told = Vec::new();
        if let Some((path, bytes, shift)) = self.kernel.image()
            && self.inlined
        {
            let shifted: Vec<u64> = wanted.iter().map(|a| a.wrapping_add(shift)).collect();
            told = self.debug_info(path, bytes, &shifted);
        }
        let found = join(frames, &wanted, &names, told, self.inlined);
        let lacking = self.kernel.lacking.clone();
        let from = self.kernel.from();
        let none = || SymbolSource::NoSymbols(from.clone().unwrap_or_default());
        let lacking = Some(lacking.unwrap_or_else(none));
        ModuleNames { frames: found, from, lacking }
    }

    fn kernel_module(&self, module: &Module, frames: &[(u64, FrameId)]) -> ModuleNames {
        let mut named = self.kernel(frames);
        if named.frames.len() == frames.len() {
            return named;
        }
        let wanted: Vec<u64> =
            addresses(frames).iter().map(|a| a.wrapping_sub(module.start)).collect();
        let Some((from, bytes)) = kernel::module_file(self.places, module) else { return named };
        let Some(elf) = Elf::new(&bytes) else { return named };
        let names: Vec<Option<&[u8]>> = elf
            .find(&wanted, Some(&elf.module_layout()))
            .into_iter()
            .map(|entry| Some(entry?.name))
            .collect();
        let places: Vec<_> =
            frames.iter().map(|(at, f)| (at.wrapping_sub(module.start), *f)).collect();
        let more = join(&places, &wanted, &names, Vec::new(), self.inlined);
        let known: std::collections::BTreeSet<FrameId> =
            named.frames.iter().map(|(f, _)| *f).collect();
        named.frames.extend(more.into_iter().filter(|(f, _)| !known.contains(f)));
        named.lacking = Some(SymbolSource::NoSymbols(from.clone()));
        named.from = Some(named.from.map_or(from.clone(), |other| format!("{other} and {from}")));
        named
    }

    fn jit(&self, module: &Module, frames: &[(u64, FrameId)]) -> ModuleNames {
        let (path, bytes) = match (self.map)(module) {
            Ok(path) => match crate::input::open(&path) {
                Ok(bytes) => (path, bytes),
                Err(_) => return ModuleNames::default(),
            },
            Err(lacking) => {
                return ModuleNames { lacking: Some(lacking), ..ModuleNames::default() };
            }
        };
        let wanted = addresses(frames);
        let names = perf_map::names(&bytes, &wanted);
        let from = path.display().to_string();
        // As they are: a compiler for JavaScript has its own marks in names.
        let of = |(at, f): &(u64, FrameId)| {
            let name = names.get(wanted.binary_search(at).ok()?).copied().flatten()?;
            let name = name.get(..LONGEST).unwrap_or(name);
            Some((*f, vec![plain(String::from_utf8_lossy(name).into_owned())]))
        };
        ModuleNames {
            frames: frames.iter().filter_map(of).collect(),
            lacking: Some(SymbolSource::NoSymbols(from.clone())),
            from: Some(from),
        }
    }

    fn file(&self, id: ModuleId, module: &Module, frames: &[(u64, FrameId)]) -> ModuleNames {
        let Some(files) = (self.files)(id) else { return ModuleNames::default() };
        let lacking = Some(files.lacking(module));
        let richest = files.symbols.as_ref().or(files.code.as_ref());
        // Offsets are of the code's file: one of debug information alone holds none.
        let layout = files.code.as_ref().or(richest).and_then(|f| ElfFile::parse(&f.bytes));
        let (Some(richest), Some(layout)) = (richest, layout) else {
            return ModuleNames { lacking, ..ModuleNames::default() };
        };
        let address = |offset: u64| {
            let of = |code: bool| {
                let mut parts = layout.segments.iter().filter(|part| part.exec == code);
                parts.find_map(|part| {
                    let within = offset.checked_sub(part.offset).filter(|w| *w < part.size)?;
                    Some(part.address.wrapping_add(within))
                })
            };
            // At their borders two segments hold the same bytes.
            of(true).or_else(|| of(false))
        };
        let mut placed: Vec<(u64, FrameId)> =
            frames.iter().filter_map(|(at, f)| Some((address(*at)?, *f))).collect();
        placed.sort_unstable();
        let wanted = addresses(&placed);
        let mini = files.code.as_ref().filter(|_| files.symbols.is_none()).and_then(mini);
        let mut names = vec![None; wanted.len()];
        let all = [Some(&*richest.bytes), mini.as_deref(), files.code.as_ref().map(|f| &*f.bytes)];
        for bytes in all.into_iter().flatten() {
            if names.iter().all(Option::is_some) {
                break;
            }
            let Some(elf) = Elf::new(bytes) else { continue };
            for (name, entry) in names.iter_mut().zip(elf.find(&wanted, None)) {
                *name = name.or(entry.map(|entry| entry.name));
            }
        }
        // Unpacking debug information takes longest by far. What a symbol table leaves out, a
        // file's debug information hardly ever has.
        let mut told = if self.inlined || names.iter().all(Option::is_none) {
            self.debug_info(&richest.path, &richest.bytes, &wanted)
        } else {
            Vec::new()
        };
        if let Some(elf) = files.code.as_ref().and_then(|code| Elf::new(&code.bytes)) {
            told.resize_with(wanted.len(), Told::default);
            let plt = elf.plt();
            for ((told, name), address) in told.iter_mut().zip(&mut names).zip(&wanted) {
                if let Some(target) = plt.target(*address) {
                    *name = None;
                    told.function = Some(format!("{}@plt", demangle(target)));
                }
            }
        }
        let from = Some(richest.shown.clone());
        ModuleNames { frames: join(&placed, &wanted, &names, told, self.inlined), from, lacking }
    }

    /// What debug information tells of addresses; nothing where there is none, or where it,
    /// or a file that it refers to, expands to more than is believed.
    fn debug_info(&self, path: &Path, bytes: &[u8], wanted: &[u64]) -> Vec<Told> {
        let folders = self.places.debug_folders();
        let Some(elf) = Elf::new(bytes) else { return Vec::new() };
        let debug = ElfFile::parse(bytes).is_some_and(|e| e.has_debug_info);
        let fair = |path: &PathBuf| {
            let bytes = path.is_file().then(|| crate::input::open(path).ok()).flatten();
            bytes.is_none_or(|b| Elf::new(&b).is_none_or(|elf| elf.expands_fairly(b.len())))
        };
        if !debug
            || !elf.expands_fairly(bytes.len())
            || !elf.linked(path, &folders).iter().all(fair)
        {
            return Vec::new();
        }
        look_up(path, &folders, wanted)
    }
}

/// The longest name of code made at run time.
const LONGEST: usize = 16 << 10;

fn plain(name: String) -> Symbol {
    Symbol { name, inlined: false, source: None }
}

/// The sorted addresses, each once.
fn addresses(frames: &[(u64, FrameId)]) -> Vec<u64> {
    let mut all: Vec<u64> = frames.iter().map(|(at, _)| *at).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The symbols that stripping left (`.gnu_debugdata`, gdb's MiniDebugInfo), unpacked.
fn mini(code: &Found) -> Option<Cow<'_, [u8]>> {
    if ElfFile::parse(&code.bytes)?.has_symbols {
        return None;
    }
    let packed = Elf::new(&code.bytes)?.section(".gnu_debugdata")?;
    let most = (packed.len() as u64).saturating_mul(64).saturating_add(1 << 20);
    let mut plain = Vec::new();
    plain_reader(packed).ok()?.take(most).read_to_end(&mut plain).ok()?;
    Some(Cow::Owned(plain))
}

/// Names of symbols, and what debug information adds to them, to each frame's functions.
fn join(
    frames: &[(u64, FrameId)],
    wanted: &[u64],
    names: &[Option<&[u8]>],
    mut told: Vec<Told>,
    inlined: bool,
) -> Vec<(FrameId, Vec<Symbol>)> {
    told.resize_with(wanted.len(), Told::default);
    // Neighbours are mostly of one function.
    let mut distinct: Vec<&[u8]> = names.iter().copied().flatten().collect();
    distinct.dedup();
    let texts: Vec<String> = distinct.par_iter().map(|name| demangle(name)).collect();
    let mut texts = distinct.into_iter().zip(texts).peekable();
    let mut functions: Vec<Vec<Symbol>> = Vec::with_capacity(wanted.len());
    for (name, told) in names.iter().zip(told) {
        let mut all = if inlined { told.inlined } else { Vec::new() };
        let function = match name {
            Some(name) => {
                while texts.peek().is_some_and(|(of, _)| of != name) {
                    texts.next();
                }
                texts.peek().map(|(_, text)| text.clone())
            }
            None => told.function,
        };
        if let Some(name) = function {
            all.push(Symbol { name, inlined: false, source: told.source });
        } else {
            all.clear();
        }
        functions.push(all);
    }
    let of = |(at, f): &(u64, FrameId)| {
        let symbols = functions.get(wanted.binary_search(at).ok()?)?;
        (!symbols.is_empty()).then(|| (*f, symbols.clone()))
    };
    frames.iter().filter_map(of).collect()
}
