//! Mapping records to modules: each file, each piece of the kernel, once.

use agenttrace_parse::stack::{KernelSymbol, ListedModule, Mapping};
use agenttrace_parse::{BuildId, Pid};
use rustc_hash::FxHashMap;

use super::frames::{Module, ModuleId, ModuleKind};

/// The name of the kernel among modules, as perf writes it.
const KERNEL: &str = "[kernel.kallsyms]";

/// What the kernel appends to the path of a file that is gone (`d_path`).
const DELETED: &str = " (deleted)";

/// All modules, each once, in the order in which they were mapped.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    pub(crate) list: Vec<Module>,
    index: FxHashMap<Module, ModuleId>,
    listed: FxHashMap<String, BuildId>,
    kernel: Option<ModuleId>,
}

impl Modules {
    /// With the build ids that the recorder listed.
    pub(crate) fn new(rows: Vec<ListedModule>) -> Self {
        let mut listed = FxHashMap::default();
        for row in rows {
            // Kernel modules go by path in one perf, by `[name]` in another.
            if row.kernel && !row.path.starts_with(KERNEL) {
                listed.entry(kernel_module_name(&row.path)).or_insert(row.build_id);
            }
            listed.entry(row.path).or_insert(row.build_id);
        }
        Self { listed, ..Self::default() }
    }

    fn add(&mut self, module: Module) -> Option<ModuleId> {
        if let Some(id) = self.index.get(&module) {
            return Some(*id);
        }
        let id = ModuleId(u32::try_from(self.list.len()).ok()?);
        self.list.push(module.clone());
        self.index.insert(module, id);
        Some(id)
    }

    /// The module of a process's executable mapping.
    pub(crate) fn user(&mut self, mapping: &Mapping<'_>) -> Option<ModuleId> {
        let path = String::from_utf8_lossy(mapping.filename).into_owned();
        let kind = kind(&path);
        let listed = || self.listed.get(&path).copied();
        let jit = kind == ModuleKind::Jit;
        let build_id = mapping.build_id.or_else(listed).filter(|_| !jit);
        let path = match path.strip_suffix(DELETED) {
            Some(there_before) => there_before.to_owned(),
            None => path,
        };
        let told = matches!(kind, ModuleKind::File | ModuleKind::Deleted);
        self.add(Module {
            kind,
            path,
            build_id,
            file: if told { (mapping.dev.0, mapping.dev.1, mapping.ino) } else { (0, 0, 0) },
            pid: jit.then_some(mapping.pid),
            start: 0,
        })
    }

    /// The kernel itself.
    pub(crate) fn kernel(&mut self, build_id: Option<BuildId>) -> Option<ModuleId> {
        if self.kernel.is_none() {
            let build_id = build_id.or_else(|| self.listed.get(KERNEL).copied());
            self.kernel = self.add(plain(ModuleKind::Kernel, KERNEL.to_owned(), build_id, 0));
        }
        self.kernel
    }

    /// A module of the kernel.
    pub(crate) fn kernel_module(&mut self, mapping: &Mapping<'_>) -> Option<ModuleId> {
        let path = String::from_utf8_lossy(mapping.filename).into_owned();
        let build_id = mapping.build_id.or_else(|| {
            let by_name = || self.listed.get(&kernel_module_name(&path));
            self.listed.get(&path).or_else(by_name).copied()
        });
        self.add(plain(ModuleKind::KernelModule, path, build_id, mapping.addr.0))
    }

    /// Kernel code that no file holds.
    pub(crate) fn kernel_symbol(&mut self, symbol: &KernelSymbol<'_>) -> Option<ModuleId> {
        let name = String::from_utf8_lossy(symbol.name).into_owned();
        self.add(plain(ModuleKind::KernelSymbol, name, None, 0))
    }

    /// What a text names.
    pub(crate) fn named(&mut self, name: &[u8]) -> Option<ModuleId> {
        let name = String::from_utf8_lossy(name).into_owned();
        self.add(plain(ModuleKind::Named, name, None, 0))
    }
}

fn plain(kind: ModuleKind, path: String, build_id: Option<BuildId>, start: u64) -> Module {
    Module { kind, path, build_id, file: (0, 0, 0), pid: None::<Pid>, start }
}

/// What a mapping's name says of it (`perf_event_mmap_event` in kernel/events/core.c,
/// `show_map_vma` in fs/proc/task_mmu.c).
fn kind(path: &str) -> ModuleKind {
    // Memory that has the form of a file: of a just-in-time compiler that maps it twice.
    const MEMORY: [&str; 4] = ["//anon", "/memfd:", "/SYSV", "/anon_hugepage"];
    const NAMED: [&str; 3] = ["[anon", "[heap]", "[stack"];
    let shared = path.strip_suffix(DELETED).unwrap_or(path) == "/dev/zero";
    let memory = MEMORY.iter().chain(&NAMED).any(|start| path.starts_with(start));
    if path.is_empty() || shared || memory {
        ModuleKind::Jit
    } else if path.starts_with('[') {
        ModuleKind::Vdso
    } else if path.ends_with(DELETED) {
        ModuleKind::Deleted
    } else {
        ModuleKind::File
    }
}

/// `[ext4]` and `/lib/modules/6.1.0/kernel/fs/ext4/ext4.ko.xz` are the same: `ext4`.
fn kernel_module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.trim_matches(['[', ']']).replace('-', "_")
}
