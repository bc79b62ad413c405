//! An ELF file's bytes to its build id, its segments and its symbols.

use agenttrace_model::parse::BuildId;
use object::read::{Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _};
use object::{SectionFlags, SegmentFlags, SymbolFlags, SymbolSection, elf};

use super::table::{Binding, Entry, Table};

/// An ELF file.
#[derive(Debug)]
pub(super) struct Elf<'a> {
    file: object::File<'a>,
}

impl<'a> Elf<'a> {
    /// `None` for what is no ELF file, or is damaged in its head.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        Some(Self { file: object::File::parse(bytes).ok()? })
    }

    /// Its build id (`NT_GNU_BUILD_ID`).
    pub(super) fn build_id(&self) -> Option<BuildId> {
        BuildId::new(self.file.build_id().ok()??)
    }

    /// The address that the file gives to what is at an offset in it. Segments of code
    /// come first: at their borders two segments hold the same bytes.
    pub(super) fn address(&self, offset: u64) -> Option<u64> {
        let at = |code: bool| {
            self.file.segments().find_map(|segment| {
                let SegmentFlags::Elf { p_flags } = segment.flags() else { return None };
                let (start, size) = segment.file_range();
                let inside = offset.checked_sub(start).filter(|distance| *distance < size)?;
                let wanted = (p_flags & elf::PF_X != 0) == code;
                wanted.then(|| segment.address().wrapping_add(inside))
            })
        };
        at(true).or_else(|| at(false))
    }

    /// Whether it has debug information that tells of functions and lines.
    pub(super) fn has_debug_info(&self) -> bool {
        self.file.section_by_name(".debug_info").is_some_and(|s| s.size() > 0)
    }

    /// The sum of what its compressed sections say that they expand to: a few bytes can
    /// say any size.
    pub(super) fn expands_to(&self) -> u64 {
        let sizes = self.file.sections().filter_map(|section| {
            let SectionFlags::Elf { sh_flags } = section.flags() else { return None };
            let packed = sh_flags & u64::from(elf::SHF_COMPRESSED) != 0;
            packed.then(|| section.compressed_file_range().map_or(u64::MAX, |r| r.uncompressed_size))
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// The file with its debug information, by name alone (`.gnu_debuglink`).
    pub(super) fn debug_link(&self) -> Option<&'a [u8]> {
        self.file.gnu_debuglink().ok()?.map(|(name, _)| name)
    }

    /// The symbol table that was left when the others were stripped, compressed with xz
    /// (`.gnu_debugdata`, gdb's MiniDebugInfo).
    pub(super) fn mini_debug_info(&self) -> Option<&'a [u8]> {
        self.file.section_by_name(".gnu_debugdata")?.data().ok()
    }

    /// The bytes of a section as the file has them.
    pub(super) fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.file.section_by_name(name)?.data().ok()
    }

    /// Where the kernel puts the code sections of a module's file, by their index: one
    /// after the other, as aligned, without those of its initialization
    /// (`layout_sections` in kernel/module/main.c).
    pub(super) fn module_layout(&self) -> Vec<(usize, u64)> {
        let mut at = 0_u64;
        let mut placed = Vec::new();
        for section in self.file.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            let code = u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR);
            let initial = section.name_bytes().is_ok_and(|name| name.starts_with(b".init"));
            if sh_flags & code != code || initial {
                continue;
            }
            at = at.checked_next_multiple_of(section.align().max(1)).unwrap_or(u64::MAX);
            placed.push((section.index().0, at));
            at = at.saturating_add(section.size());
        }
        placed
    }

    /// The symbols that may name code, at the addresses that the file gives them; of a
    /// kernel module's file at their offset in the module, by `layout`.
    pub(super) fn symbols(&self, layout: Option<&[(usize, u64)]>) -> Vec<Entry<'a>> {
        let texts = self.text_sections();
        let arm = matches!(
            self.file.architecture(),
            object::Architecture::Aarch64 | object::Architecture::Arm
        );
        let all = self.file.symbols().chain(self.file.dynamic_symbols());
        let entries = all.filter_map(|symbol| {
            let SymbolFlags::Elf { st_info, st_other } = symbol.flags() else { return None };
            let kind = st_info & 0xf;
            let label = kind == elf::STT_NOTYPE;
            let code = [elf::STT_FUNC, elf::STT_GNU_IFUNC, elf::STT_OBJECT].contains(&kind);
            let name = symbol.name_bytes().ok().filter(|name| !name.is_empty())?;
            let mut start = symbol.address();
            let section = match symbol.section() {
                SymbolSection::Section(index) => Some(index.0),
                SymbolSection::Absolute if code => None,
                _ => return None,
            };
            // `elf_sym__is_label` and `elf_sec__filter` in tools/perf/util/symbol-elf.c.
            if label {
                let shown = st_other & 3 != elf::STV_HIDDEN && st_other & 3 != elf::STV_INTERNAL;
                let text = section.and_then(|s| texts.get(s)).copied().unwrap_or(false);
                if !shown || !text {
                    return None;
                }
            } else if !code {
                return None;
            }
            if arm && is_mapping_symbol(name) {
                return None;
            }
            if let Some(layout) = layout {
                let place = layout.iter().find(|(index, _)| Some(*index) == section)?;
                start = start.wrapping_add(place.1);
            }
            let binding = match st_info >> 4 {
                elf::STB_LOCAL => Binding::Local,
                elf::STB_WEAK => Binding::Weak,
                _ => Binding::Global,
            };
            let end = start.saturating_add(symbol.size());
            Some(Entry { start, end, name, binding, label })
        });
        entries.collect()
    }

    /// The table of [`Elf::symbols`].
    pub(super) fn table(&self) -> Table<'a> {
        Table::of_elf(self.symbols(None))
    }

    /// Which sections hold code or data, by their index.
    fn text_sections(&self) -> Vec<bool> {
        let mut texts = Vec::new();
        for section in self.file.sections() {
            let name = section.name_bytes().unwrap_or_default();
            let holds = |word: &[u8]| name.windows(word.len()).any(|part| part == word);
            // Sections come by index; the first is 1.
            texts.resize(section.index().0, false);
            texts.push(holds(b"text") || holds(b"data"));
        }
        texts
    }
}

/// `$a`, `$d`, `$t`, `$x`, alone or before a dot: ARM's marks of what the bytes are.
fn is_mapping_symbol(name: &[u8]) -> bool {
    match name {
        [b'$', b'a' | b'd' | b't' | b'x'] => true,
        [b'$', b'a' | b'd' | b't' | b'x', rest, ..] => *rest == b'.',
        _ => false,
    }
}

/// The build id in a run of ELF notes (`/sys/kernel/notes`, `.notes`): name size, content
/// size, type, name, content, each padded to 4 bytes.
pub(super) fn build_id_of_notes(mut notes: &[u8]) -> Option<BuildId> {
    let word = |bytes: &[u8], at: usize| -> Option<usize> {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?) as usize)
    };
    loop {
        let (name, content, kind) = (word(notes, 0)?, word(notes, 4)?, word(notes, 8)?);
        let content_at = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let end = content_at.checked_add(content)?;
        let (name, content) =
            (notes.get(12..name.checked_add(12)?)?, notes.get(content_at..end)?);
        if kind == elf::NT_GNU_BUILD_ID as usize && name == b"GNU\0" {
            return BuildId::new(content);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}
