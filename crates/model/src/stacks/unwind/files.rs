//! Modules to their unwind tables, when they are first needed.

use std::sync::OnceLock;

use gimli::UnwindContext;

use super::Arch;
use super::cfi::{Row, Tables};
use super::engine::Engine;
use crate::stacks::elf::ElfFile;
use crate::stacks::frames::{Module, ModuleId, ModuleKind, Short};

/// Gives the bytes of a module's file.
pub(crate) type FileOf<'s, 'f> = &'s (dyn Fn(ModuleId) -> Option<&'f [u8]> + Sync);

/// The files of all modules.
pub(super) struct Files<'s, 'f> {
    modules: &'s [Module],
    file: FileOf<'s, 'f>,
    loaded: Vec<OnceLock<Result<Loaded<'f>, Short>>>,
    arch: Arch,
}

/// A module's file.
pub(super) struct Loaded<'f> {
    pub(super) elf: ElfFile<'f>,
    pub(super) bytes: &'f [u8],
    /// `None` where it has none.
    pub(super) tables: Option<Tables<'f>>,
    /// framehop, where the linker's index lets it find the tables.
    pub(super) engine: Option<Engine<'f>>,
    /// Where framehop sees the file, so that every file has addresses of its own.
    pub(super) base: u64,
}

impl<'f> Loaded<'f> {
    /// The rules for an address, as the file states it.
    pub(super) fn row(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Row<'f>> {
        self.tables.as_ref()?.row(address, context)
    }
}

impl<'s, 'f> Files<'s, 'f> {
    pub(super) fn new(arch: Arch, modules: &'s [Module], file: FileOf<'s, 'f>) -> Self {
        let loaded = modules.iter().map(|_| OnceLock::new()).collect();
        Self { modules, file, loaded, arch }
    }

    pub(super) fn modules(&self) -> &'s [Module] {
        self.modules
    }

    /// A module's file, or why there is none.
    pub(super) fn get(&self, id: ModuleId) -> Result<&Loaded<'f>, Short> {
        let slot = self.loaded.get(id.0 as usize).ok_or(Short::NoFile)?;
        slot.get_or_init(|| self.load(id)).as_ref().map_err(|short| *short)
    }

    fn load(&self, id: ModuleId) -> Result<Loaded<'f>, Short> {
        let kind = self.modules.get(id.0 as usize).map(|module| module.kind);
        match kind {
            Some(ModuleKind::File | ModuleKind::Deleted | ModuleKind::Vdso) => {}
            // Code of a just-in-time compiler has no tables.
            _ => return Err(Short::NoUnwindInfo),
        }
        let bytes = (self.file)(id).ok_or(Short::NoFile)?;
        let elf = ElfFile::parse(bytes).ok_or(Short::NoUnwindInfo)?;
        let tables = Tables::new(&elf, self.arch);
        // Addresses in framehop are 32 bits from there.
        let base = u64::from(id.0).saturating_add(1) << 32;
        let usable = tables.as_ref().is_some_and(Tables::has_header) && elf.base() < 1 << 62;
        let engine = usable.then(|| Engine::new(self.arch, &elf, base));
        Ok(Loaded { elf, bytes, tables, engine, base })
    }
}
