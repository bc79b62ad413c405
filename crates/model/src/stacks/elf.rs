//! Bytes of an ELF file to what stacks need of it: its build id, where its parts are
//! loaded, and its tables for unwinding.

use agenttrace_parse::BuildId;
use object::elf::{
    ELF_NOTE_GNU, FileHeader32, FileHeader64, NT_GNU_BUILD_ID, PF_X, PT_LOAD, SHT_NOBITS, SHT_NOTE,
    SHT_SYMTAB,
};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind};

/// An ELF file, of 32 or 64 bits, of either byte order. What is damaged is left out.
#[derive(Clone, Debug, Default)]
pub struct ElfFile<'f> {
    /// The content of its note `NT_GNU_BUILD_ID`.
    pub build_id: Option<BuildId>,
    /// Whether it has a table of all its symbols (`.symtab`): `strip` takes it away.
    pub has_symbols: bool,
    /// Whether it has debug information (`.debug_info`).
    pub has_debug_info: bool,
    /// The parts that are loaded, in the order of the file.
    pub segments: Vec<Segment>,
    /// `.eh_frame`, and `.eh_frame_hdr`, the index that the linker made of it.
    pub(crate) eh_frame: Option<Section<'f>>,
    pub(crate) eh_frame_hdr: Option<Section<'f>>,
    /// `.debug_frame`, where it is not compressed.
    pub(crate) debug_frame: Option<Section<'f>>,
    /// Where `.text` and `.got` begin, which tables may count from.
    pub(crate) text: Option<u64>,
    pub(crate) got: Option<u64>,
}

/// A part of a file that is loaded (`PT_LOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Its address as the file states it.
    pub address: u64,
    /// Whether it holds code.
    pub exec: bool,
}

/// A section with its address as the file states it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'f> {
    pub(crate) address: u64,
    pub(crate) data: &'f [u8],
}

/// The build id of an ELF file, given its bytes.
#[must_use]
pub fn build_id(file: &[u8]) -> Option<BuildId> {
    ElfFile::parse(file)?.build_id
}

impl<'f> ElfFile<'f> {
    /// Reads a file's headers and notes. `None` where it is no ELF file.
    #[must_use]
    pub fn parse(file: &'f [u8]) -> Option<Self> {
        match FileKind::parse(file).ok()? {
            FileKind::Elf64 => read::<FileHeader64<Endianness>>(file),
            FileKind::Elf32 => read::<FileHeader32<Endianness>>(file),
            _ => None,
        }
    }

    /// The address, as the file states it, of what is loaded from this offset.
    #[must_use]
    pub fn address_at(&self, offset: u64) -> Option<u64> {
        let segment = self
            .segments
            .iter()
            .find(|s| offset.checked_sub(s.offset).is_some_and(|within| within < s.size))?;
        segment.address.checked_add(offset.checked_sub(segment.offset)?)
    }

    /// The address at which the file's first part is loaded.
    pub(crate) fn base(&self) -> u64 {
        self.segments.iter().map(|s| s.address).min().unwrap_or(0) & !0xfff
    }
}

fn read<'f, H: FileHeader<Endian = Endianness>>(file: &'f [u8]) -> Option<ElfFile<'f>> {
    let header = H::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let mut elf = ElfFile::default();
    for part in header.program_headers(endian, file).unwrap_or(&[]) {
        if part.p_type(endian) == PT_LOAD {
            elf.segments.push(Segment {
                offset: part.p_offset(endian).into(),
                size: part.p_filesz(endian).into(),
                address: part.p_vaddr(endian).into(),
                exec: part.p_flags(endian).contains(PF_X),
            });
        }
        if elf.build_id.is_none() {
            elf.build_id =
                part.notes(endian, file).ok().flatten().and_then(|n| in_notes(endian, n));
        }
    }
    let Ok(sections) = header.sections(endian, file) else { return Some(elf) };
    for section in sections.iter() {
        let name = sections.section_name(endian, section).unwrap_or(b"");
        let kind = section.sh_type(endian);
        elf.has_symbols |= kind == SHT_SYMTAB;
        elf.has_debug_info |= name == b".debug_info" && kind != SHT_NOBITS;
        // A file of debug information alone keeps the note in its section, not in its part.
        if elf.build_id.is_none() && kind == SHT_NOTE {
            let notes = section.notes(endian, file).ok().flatten();
            elf.build_id = notes.and_then(|n| in_notes(endian, n));
        }
        let address: u64 = section.sh_addr(endian).into();
        let whole = || {
            let plain = kind != SHT_NOBITS && section.compression(endian, file).ok()?.is_none();
            let data = section.data(endian, file).ok().filter(|data| plain && !data.is_empty())?;
            Some(Section { address, data })
        };
        match name {
            b".eh_frame" => elf.eh_frame = whole(),
            b".eh_frame_hdr" => elf.eh_frame_hdr = whole(),
            b".debug_frame" => elf.debug_frame = whole(),
            b".text" => elf.text = Some(address),
            b".got" => elf.got = Some(address),
            _ => {}
        }
    }
    Some(elf)
}

fn in_notes<H: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    mut notes: NoteIterator<'_, H>,
) -> Option<BuildId> {
    // Ends at the first note that is damaged.
    while let Ok(Some(note)) = notes.next() {
        if note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
            return BuildId::new(note.desc());
        }
    }
    None
}
