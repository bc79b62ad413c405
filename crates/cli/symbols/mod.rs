//! Modules and frames to names, offline: which files are believed, and what they tell.
//!
//! Nothing here needs the traced machine, root, or the network. In the order of work:
//! `files` and `kernel` look for files of the same build, `name` has `elf`, `kallsyms`,
//! `perf_map` and `inlined` look up addresses in them, `summary` says what is missing.

mod archive;
mod demangle;
mod elf;
mod files;
mod inlined;
mod kallsyms;
mod kernel;
mod name;
mod perf_map;
mod search;
mod summary;
mod tally;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agenttrace_attribute::stacks::Named;
use agenttrace_model::parse::stack::StackEvent;
use agenttrace_model::parse::{Capture, Diagnostics, Limits};
use agenttrace_model::stacks::{
    Missing, Module, ModuleId, ModuleKind, StackBuilder, Stacks, SymbolSource, Symbols,
};
use anyhow::{Result, anyhow};

use crate::args::{ReadArgs, SymbolArgs};
use crate::context::ContextFolder;

use files::{ModuleFiles, Places};
use kernel::{Given, Kernel, Reference};
use name::{ModuleNames, Sources};

pub(crate) use kallsyms::starts;
pub(crate) use summary::{brief, check, summary};
pub(crate) use tally::Tally;

/// A capture's stacks with their names.
#[derive(Debug)]
pub(crate) struct StackData {
    pub(crate) stacks: Stacks,
    pub(crate) symbols: Symbols,
    /// What the user must know of the files that were used, or were not.
    pub(crate) notes: Vec<String>,
    /// Where the names of each module with frames come from.
    pub(crate) found: Vec<(ModuleId, String)>,
}

impl StackData {
    /// The stacks with their names.
    pub(crate) fn named(&self) -> Named<'_> {
        Named { stacks: &self.stacks, symbols: &self.symbols }
    }
}

/// Reads the stacks of the samples that are `wanted`, and names their frames. `None`
/// where the capture has no stacks.
pub(crate) fn load(
    capture: &Capture<'_>,
    read: &ReadArgs,
    args: &SymbolArgs,
    wanted: &dyn Fn(&StackEvent<'_>) -> bool,
) -> Result<Option<StackData>> {
    if !capture.has_stacks() {
        return Ok(None);
    }
    let info = capture.info();
    let places = places(read, args)?;
    let mut reference = Reference::default();
    let mut builder = StackBuilder::new(info, capture.listed_modules());
    // What is wrong with the records was counted when the events were read.
    let mut diagnostics = Diagnostics::default();
    capture
        .read_stacks(&mut diagnostics, &mut |batch| {
            reference.watch(batch);
            builder.push(batch, wanted);
        })
        .map_err(|error| anyhow!("{}: {error}", read.path.display()))?;

    let modules = builder.modules().to_vec();
    let cells: Vec<OnceLock<ModuleFiles>> = modules.iter().map(|_| OnceLock::new()).collect();
    let files = |id: ModuleId| {
        let index = id.0 as usize;
        Some(cells.get(index)?.get_or_init(|| {
            modules.get(index).map_or_else(ModuleFiles::default, |module| places.find(module))
        }))
    };
    let stacks = builder.finish(&|id| Some(&*files(id)?.code.as_ref()?.bytes));

    let is_kernel = |module: &&Module| module.kind == ModuleKind::Kernel;
    let id = stacks.modules.iter().find(is_kernel).and_then(|module| module.build_id);
    let context = read.context.as_deref().map(|dir| ContextFolder::open(dir, info)).transpose()?;
    let of_context = context.and_then(|context| context.kallsyms(info));
    let kallsyms = args.kallsyms.as_deref().or(of_context.as_deref());
    let given = Given { kallsyms, vmlinux: args.vmlinux.as_deref() };
    let kernel = Kernel::find(&places, given, capture.kallsyms(), id.as_ref(), &reference)?;
    let map = |module: &Module| perf_map(&places, info.hostname.as_deref(), module);
    let inlined = !args.no_inline;
    let sources = Sources { places: &places, files: &files, kernel: &kernel, map: &map, inlined };
    let named = name::name(&stacks, &sources);
    let found = named.iter().filter_map(|(id, named)| {
        let from = named.from.clone().filter(|_| !named.frames.is_empty())?;
        Some(((*id)?, from))
    });
    let found = found.collect();
    let symbols = symbols(&stacks, named);
    Ok(Some(StackData { stacks, symbols, notes: places.notes(), found }))
}

/// Where files are looked for, by the options, the environment, and what lies beside the
/// capture.
fn places(read: &ReadArgs, args: &SymbolArgs) -> Result<Places> {
    for folder in [&args.symfs, &args.debug_dir, &args.modules].into_iter().flatten() {
        anyhow::ensure!(folder.is_dir(), "{} is no folder", folder.display());
    }
    let environment = || std::env::var_os("PERF_BUILDID_DIR").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".debug"));
    let cache = args.debug_dir.clone().or_else(environment).or_else(home);
    let archive = match &args.archive {
        Some(path) => {
            anyhow::ensure!(path.is_file(), "{}: no such file", path.display());
            Some(path.clone())
        }
        None => {
            let mut beside = read.path.clone().into_os_string();
            beside.push(".tar.bz2");
            Some(PathBuf::from(beside)).filter(|path| path.is_file())
        }
    };
    let limits = Limits { expanded: read.max_expanded };
    let cache = cache.filter(|folder| folder.is_dir());
    Ok(Places::new(args.symfs.clone(), cache, archive, args.modules.clone(), limits))
}

/// The perf map of the process of a module. One that --symfs holds was carried along; one
/// in this machine's /tmp counts only where the capture was made on a machine of this name,
/// and with a note: process ids are used again.
fn perf_map(
    places: &Places,
    hostname: Option<&str>,
    module: &Module,
) -> Result<PathBuf, SymbolSource> {
    let Some(pid) = module.pid else { return Err(SymbolSource::UnknownBuild) };
    let name = format!("perf-{pid}.map");
    let mut looked = Vec::new();
    if let Some(symfs) = &places.symfs {
        for path in [symfs.join("tmp").join(&name), symfs.join(&name)] {
            if path.is_file() {
                return Ok(path);
            }
        }
        looked.push(format!("{}/tmp/{name}", symfs.display()));
    }
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = Path::new("/tmp").join(&name);
    if hostname.is_some_and(|traced| traced == here.trim_end()) {
        if own.is_file() {
            places.note(format!(
                "{} of this machine names the code that process {pid} made at run time: the \
                 capture is of a machine of this name",
                own.display()
            ));
            return Ok(own);
        }
        looked.push(own.display().to_string());
    }
    Err(SymbolSource::NotFound(looked))
}

/// Names by frame, and what is missing.
fn symbols(stacks: &Stacks, named: Vec<(Option<ModuleId>, ModuleNames)>) -> Symbols {
    let mut symbols =
        Symbols { frames: vec![Vec::new(); stacks.frames.len()], missing: Vec::new() };
    let mut lacking = Vec::new();
    for (id, named) in named {
        for (frame, functions) in named.frames {
            if let Some(of) = symbols.frames.get_mut(frame.0 as usize) {
                *of = functions;
            }
        }
        lacking.push((id, named.lacking));
    }
    // Which module each frame lacks a name in.
    let missing: Vec<Option<Option<ModuleId>>> = stacks
        .frames
        .iter()
        .zip(&symbols.frames)
        .map(|(frame, named)| (named.is_empty() && frame.name.is_none()).then_some(frame.module))
        .collect();
    let mut rows: Vec<Missing> = Vec::new();
    for (module, found) in lacking {
        let frames = missing.iter().filter(|m| **m == Some(module)).count() as u64;
        if frames > 0 {
            let found = found.unwrap_or(SymbolSource::UnknownBuild);
            rows.push(Missing { module, frames, samples: 0, found });
        }
    }
    // Chains with samples, once each; of a chain each module counts once.
    let mut chains: Vec<_> = stacks.samples.iter().filter_map(|s| s.chain).collect();
    chains.sort_unstable();
    for same in chains.chunk_by(|a, b| a == b) {
        let lacks: BTreeSet<Option<ModuleId>> = stacks
            .frames_of(same.first().copied())
            .filter_map(|frame| missing.get(frame.0 as usize).copied().flatten())
            .collect();
        for row in &mut rows {
            if lacks.contains(&row.module) {
                row.samples = row.samples.saturating_add(same.len() as u64);
            }
        }
    }
    rows.sort_by_key(|row| (std::cmp::Reverse(row.frames), row.module));
    symbols.missing = rows;
    symbols
}
