//! An ELF file's bytes to the symbols at some addresses, and what else is needed of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agenttrace_model::parse::{BuildId, inflated_len};
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _, ObjectSymbolTable as _};
use object::{SectionFlags, SymbolFlags, SymbolSection, elf};
use rayon::prelude::*;

use super::files::Places;
use super::search::{Aliases, Binding, Entry, Search};

/// An ELF file's sections and symbols.
#[derive(Debug)]
pub(super) struct Elf<'a> {
    file: object::File<'a>,
}

impl<'a> Elf<'a> {
    /// `None` for what is no ELF file, or is damaged in its head.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        Some(Self { file: object::File::parse(bytes).ok()? })
    }

    /// Whether its compressed sections expand to no more than is believed of an honest file
    /// of this size. What they say of it proves nothing, so they are gone through.
    pub(super) fn expands_fairly(&self, size: usize) -> bool {
        let most = (size as u64).saturating_mul(32).saturating_add(64 << 20);
        let packed: Vec<(u64, &[u8])> = self.file.sections().filter_map(packed).collect();
        let claimed = packed.iter().map(|(claim, _)| *claim).fold(0, u64::saturating_add);
        let bytes = packed.iter().map(|(_, bytes)| bytes.len() as u64).fold(0, u64::saturating_add);
        // zlib makes of a byte 1032 at most.
        claimed <= most
            && (bytes.saturating_mul(1032) <= most
                || packed.par_iter().map(|(_, bytes)| inflated_len(bytes, most)).sum::<u64>()
                    <= most)
    }

    /// The files that blazesym may read besides this one, at `path`: what its links name,
    /// where blazesym looks.
    pub(super) fn linked(&self, path: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
        let mut named: Vec<&OsStr> = Vec::new();
        let mut ids: Vec<BuildId> =
            self.file.build_id().ok().flatten().and_then(BuildId::new).into_iter().collect();
        for section in [".gnu_debuglink", ".gnu_debugaltlink", ".debug_sup"] {
            let bytes = self.section(section).unwrap_or_default();
            // `.debug_sup` begins with version and kind: 3 bytes.
            let bytes = if section == ".debug_sup" { bytes.get(3..) } else { Some(bytes) };
            let name = bytes.and_then(|bytes| bytes.split(|b| *b == 0).next());
            named.extend(name.filter(|name| !name.is_empty()).map(OsStr::from_bytes));
            // `.gnu_debugaltlink` goes on with the other file's build id.
            let rest = bytes.zip(name).and_then(|(b, name)| b.get(name.len().checked_add(1)?..));
            ids.extend(rest.and_then(BuildId::new));
        }
        let own = path.parent().unwrap_or(Path::new("/"));
        let mut paths = vec![path.with_added_extension("dwp")];
        for (folder, id) in folders.iter().flat_map(|f| ids.iter().map(move |id| (f, id))) {
            paths.extend(Places::by_build_id(folder, id, &[".debug"]));
        }
        for name in named {
            paths.extend([own.join(name), own.join(".debug").join(name)]);
            for folder in folders {
                let below = own.strip_prefix("/").unwrap_or(own);
                paths.extend([folder.join(name), folder.join(below).join(name)]);
            }
        }
        paths
    }

    /// Whether it holds code itself: a file of debug information alone does not.
    pub(super) fn has_code(&self) -> bool {
        let mut sections = self.file.sections().peekable();
        sections.peek().is_none()
            || sections.any(|section| {
                let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
                    return false;
                };
                sh_type != elf::SHT_NOBITS && sh_flags.contains(elf::SHF_EXECINSTR)
            })
    }

    /// The name of the file with its debug information (`.gnu_debuglink`).
    pub(super) fn debug_link(&self) -> Option<&'a [u8]> {
        self.file.gnu_debuglink().ok()?.map(|(name, _)| name)
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
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            let initial = section.name_bytes().is_ok_and(|name| name.starts_with(b".init"));
            if !sh_flags.contains(elf::SHF_ALLOC | elf::SHF_EXECINSTR) || initial {
                continue;
            }
            at = at.checked_next_multiple_of(section.align().max(1)).unwrap_or(u64::MAX);
            placed.push((section.index().0, at));
            at = at.saturating_add(section.size());
        }
        placed
    }

    /// The symbols at these addresses, which must be sorted and as the file states them;
    /// with a `layout`, of a kernel module, offsets in the module.
    pub(super) fn find(
        &self,
        wanted: &[u64],
        layout: Option<&[(usize, u64)]>,
    ) -> Vec<Option<Entry<'a>>> {
        let mut search = Search::new(wanted, Aliases::Best);
        let texts = self.text_sections();
        let arm = matches!(
            self.file.architecture(),
            object::Architecture::Aarch64 | object::Architecture::Arm
        );
        for symbol in self.file.symbols().chain(self.file.dynamic_symbols()) {
            let SymbolFlags::Elf { st_info, st_other } = symbol.flags() else { continue };
            let kind = st_info.st_type();
            let label = kind == elf::STT_NOTYPE;
            let code = [elf::STT_FUNC, elf::STT_GNU_IFUNC, elf::STT_OBJECT].contains(&kind);
            if !label && !code {
                continue;
            }
            // Absolute ones are versions of libraries, and no code.
            let SymbolSection::Section(section) = symbol.section() else { continue };
            let section = section.0;
            // `elf_sym__is_label` and `elf_sec__filter` in tools/perf/util/symbol-elf.c.
            if label {
                let hidden = [elf::STV_HIDDEN, elf::STV_INTERNAL];
                let text = texts.get(section).copied().unwrap_or(false);
                if !text || hidden.contains(&st_other.visibility()) {
                    continue;
                }
            }
            let mut start = symbol.address();
            if let Some(layout) = layout {
                let place = layout.iter().find(|(index, _)| *index == section);
                let Some((_, offset)) = place else { continue };
                start = start.wrapping_add(*offset);
            }
            let end = start.saturating_add(symbol.size());
            search.add(start, end, || {
                let name = symbol.name_bytes().ok().filter(|name| !name.is_empty())?;
                if arm && is_mapping_symbol(name) {
                    return None;
                }
                let binding = match st_info.st_bind() {
                    elf::STB_LOCAL => Binding::Local,
                    elf::STB_WEAK => Binding::Weak,
                    _ => Binding::Global,
                };
                Some(Entry { start, end, name, binding, label })
            });
        }
        search.finish()
    }

    /// The address of a symbol, by its name.
    pub(super) fn address_of(&self, name: &[u8]) -> Option<u64> {
        let mut symbols = self.file.symbols();
        symbols.find(|s| s.name_bytes().is_ok_and(|n| n == name)).map(|s| s.address())
    }

    /// Its procedure linkage table.
    pub(super) fn plt(&self) -> Plt<'_, 'a> {
        // Entries are in the order of `.rela.plt`, after one of their own in `.plt` and
        // without in `.plt.sec` (System V ABI of x86-64 and of arm64).
        let architecture = self.file.architecture();
        let skip = if architecture == object::Architecture::X86_64 {
            Plt::ENTRY
        } else if architecture == object::Architecture::Aarch64 {
            2 * Plt::ENTRY
        } else {
            return Plt { elf: self, parts: Vec::new(), relocations: &[] };
        };
        let parts = [(".plt", skip), (".plt.sec", 0)].into_iter().filter_map(|(name, skip)| {
            let section = self.file.section_by_name(name)?;
            Some((section.address(), section.size(), skip))
        });
        let relocations = self.section(".rela.plt").unwrap_or_default();
        Plt { elf: self, parts: parts.collect(), relocations }
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

/// What a compressed section says that it expands to, and its bytes.
fn packed<'a>(section: object::Section<'a, '_>) -> Option<(u64, &'a [u8])> {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return None };
    if !sh_flags.contains(elf::SHF_COMPRESSED) {
        return None;
    }
    match section.compressed_data() {
        Ok(packed) => Some((packed.uncompressed_size, packed.data)),
        Err(_) => Some((u64::MAX, &[])),
    }
}

/// The stubs through which a program calls libraries.
#[derive(Debug)]
pub(super) struct Plt<'e, 'a> {
    elf: &'e Elf<'a>,
    /// Address, size, and how much comes before the first entry.
    parts: Vec<(u64, u64, u64)>,
    relocations: &'a [u8],
}

impl<'a> Plt<'_, 'a> {
    /// Bytes of one.
    const ENTRY: u64 = 16;

    /// The symbol of the function that the stub at an address jumps to.
    pub(super) fn target(&self, address: u64) -> Option<&'a [u8]> {
        let index = self.parts.iter().find_map(|(start, size, skip)| {
            let within = address.checked_sub(*start).filter(|within| within < size)?;
            within.checked_sub(*skip)?.checked_div(Self::ENTRY)
        })?;
        // Elf64_Rela: where, symbol and kind, what is added.
        let at = usize::try_from(index).ok()?.checked_mul(24)?.checked_add(8)?;
        let info = self.relocations.get(at..)?.first_chunk::<8>()?;
        let file = &self.elf.file;
        let info = match file.is_little_endian() {
            true => u64::from_le_bytes(*info),
            false => u64::from_be_bytes(*info),
        };
        let symbol = object::SymbolIndex(usize::try_from(info >> 32).ok()?);
        let symbol = file.dynamic_symbol_table()?.symbol_by_index(symbol).ok()?;
        symbol.name_bytes().ok().filter(|name| !name.is_empty())
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

/// The build id in a run of ELF notes of this machine (`/sys/kernel/notes`): name size,
/// content size, type, name, content, each padded to 4 bytes.
pub(super) fn build_id_of_notes(mut notes: &[u8]) -> Option<BuildId> {
    let word = |bytes: &[u8], at: usize| -> Option<usize> {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?) as usize)
    };
    loop {
        let (name, content, kind) = (word(notes, 0)?, word(notes, 4)?, word(notes, 8)?);
        let content_at = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let end = content_at.checked_add(content)?;
        let (name, content) = (notes.get(12..name.checked_add(12)?)?, notes.get(content_at..end)?);
        // NT_GNU_BUILD_ID.
        if kind == 3 && name == b"GNU\0" {
            return BuildId::new(content);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_among_notes() {
        let mut notes = Vec::new();
        let mut note = |name: &[u8], kind: u32, content: &[u8]| {
            for word in [name.len() as u32, content.len() as u32, kind] {
                notes.extend(word.to_ne_bytes());
            }
            for part in [name, content] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        };
        note(b"Linux\0", 0x100, b"");
        note(b"Xen\0", 3, b"12345");
        note(b"GNU\0", 3, &[0xab; 20]);
        assert_eq!(build_id_of_notes(&notes), BuildId::new(&[0xab; 20]));
        assert_eq!(build_id_of_notes(&notes[..notes.len() - 1]), None);
        assert_eq!(build_id_of_notes(&[0xff; 64]), None);
    }
}
