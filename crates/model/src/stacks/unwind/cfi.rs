//! Unwind tables of a file (DWARF call frame information) to the rules of one address.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, EndianSlice,
    FrameDescriptionEntry, LittleEndian, ParsedEhFrameHdr, Pointer, Register, RegisterRule,
    UnwindContext, UnwindSection,
};

use crate::stacks::elf::{ElfFile, Section};

use super::Arch;

pub(super) type Bytes<'f> = EndianSlice<'f, LittleEndian>;

/// The longest list of instructions that is run for one address, in bytes. Compilers write
/// a few for each call of a function; a damaged file may claim its whole length.
const LONGEST: usize = 1 << 16;

/// How the caller's registers are found from those of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'f> {
    pub(super) cfa: Cfa<'f>,
    /// Where the return address is.
    pub(super) ra: Rule<'f>,
    /// The frame pointer (`rbp`, `x29`).
    pub(super) fp: Rule<'f>,
    /// The base pointer (`rbx`, `x19`).
    pub(super) base: Rule<'f>,
    /// The stack pointer; `Unknown`: it is the CFA.
    pub(super) sp: Rule<'f>,
    pub(super) encoding: gimli::Encoding,
    /// Whether the kernel made the frame, to deliver a signal: what is below was
    /// interrupted, and called nothing.
    pub(super) signal: bool,
}

/// Where the canonical frame address is: the stack pointer before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cfa<'f> {
    Register(Register, i64),
    Expression(&'f [u8]),
}

/// Where the caller's value of a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule<'f> {
    /// The table does not tell.
    Unknown,
    Undefined,
    Same,
    /// In memory, so far from the CFA.
    At(i64),
    /// So far from the CFA itself.
    Value(i64),
    Register(Register),
    AtExpression(&'f [u8]),
    ValueExpression(&'f [u8]),
    /// Of a form that no machine here has.
    Other,
}

/// The unwind tables of one file.
#[derive(Debug)]
pub(super) struct Tables<'f> {
    arch: Arch,
    bases: BaseAddresses,
    index: Index<'f>,
}

#[derive(Debug)]
enum Index<'f> {
    /// `.eh_frame` with the linker's own index.
    Header(ParsedEhFrameHdr<Bytes<'f>>, EhFrame<Bytes<'f>>),
    /// `.eh_frame` or `.debug_frame` with an index of ours: first address and offset.
    EhFrame(Vec<(u64, usize)>, EhFrame<Bytes<'f>>),
    DebugFrame(Vec<(u64, usize)>, DebugFrame<Bytes<'f>>),
}

impl<'f> Tables<'f> {
    pub(super) fn new(elf: &ElfFile<'f>, arch: Arch) -> Option<Self> {
        let start = |section: Option<Section<'_>>| section.map_or(0, |s| s.address);
        let bases = BaseAddresses::default()
            .set_eh_frame(start(elf.eh_frame))
            .set_eh_frame_hdr(start(elf.eh_frame_hdr))
            .set_text(elf.text.unwrap_or(0))
            .set_got(elf.got.unwrap_or(0));
        let index = if let Some(section) = elf.eh_frame {
            let mut eh_frame = EhFrame::new(section.data, LittleEndian);
            eh_frame.set_address_size(8);
            let header = elf.eh_frame_hdr.and_then(|hdr| usable_header(hdr, section, &bases));
            match header {
                Some(header) => Index::Header(header, eh_frame),
                None => Index::EhFrame(all_entries(&eh_frame, &bases), eh_frame),
            }
        } else {
            let mut debug_frame = DebugFrame::new(elf.debug_frame?.data, LittleEndian);
            debug_frame.set_address_size(8);
            Index::DebugFrame(all_entries(&debug_frame, &bases), debug_frame)
        };
        Some(Self { arch, bases, index })
    }

    /// Whether the linker's index is used, which framehop reads, too.
    pub(super) fn has_header(&self) -> bool {
        matches!(self.index, Index::Header(..))
    }

    /// The rules for an address, as the file states it.
    pub(super) fn row(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Row<'f>> {
        match &self.index {
            Index::Header(header, eh_frame) => {
                let found = header.table()?.lookup(address, &self.bases).ok()?.direct().ok()?;
                // As framehop has it, which does not check.
                let offset = found.checked_sub(header.eh_frame_ptr().direct().ok()?)?;
                let offset = u32::try_from(offset).ok()? as usize;
                self.row_of(eh_frame, offset, address, context)
            }
            Index::EhFrame(index, section) => {
                self.row_of(section, before(index, address)?, address, context)
            }
            Index::DebugFrame(index, section) => {
                self.row_of(section, before(index, address)?, address, context)
            }
        }
    }

    fn row_of<S: UnwindSection<Bytes<'f>>>(
        &self,
        section: &S,
        offset: usize,
        address: u64,
        context: &mut UnwindContext<usize>,
    ) -> Option<Row<'f>> {
        let fde: FrameDescriptionEntry<_> = section
            .fde_from_offset(&self.bases, S::Offset::from(offset), S::cie_from_offset)
            .ok()?;
        if fde.entry_len() > LONGEST || fde.cie().entry_len() > LONGEST {
            return None;
        }
        let row = fde.unwind_info_for_address(section, &self.bases, context, address).ok()?;
        let bytes = |expression: &gimli::UnwindExpression<usize>| {
            expression.get(section).ok().map(|e| e.0.slice())
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Cfa::Register(*register, *offset),
            CfaRule::Expression(e) => Cfa::Expression(bytes(e)?),
        };
        let rule = |register| match row.register(register) {
            None => Rule::Unknown,
            Some(RegisterRule::Undefined) => Rule::Undefined,
            Some(RegisterRule::SameValue) => Rule::Same,
            Some(RegisterRule::Offset(offset)) => Rule::At(offset),
            Some(RegisterRule::ValOffset(offset)) => Rule::Value(offset),
            Some(RegisterRule::Register(other)) => Rule::Register(other),
            Some(RegisterRule::Expression(e)) => bytes(&e).map_or(Rule::Other, Rule::AtExpression),
            Some(RegisterRule::ValExpression(e)) => {
                bytes(&e).map_or(Rule::Other, Rule::ValueExpression)
            }
            Some(_) => Rule::Other,
        };
        Some(Row {
            cfa,
            ra: rule(self.arch.return_address()),
            fp: rule(self.arch.frame_pointer()),
            base: rule(self.arch.base_pointer()),
            sp: rule(self.arch.stack_pointer()),
            encoding: fde.cie().encoding(),
            signal: fde.is_signal_trampoline(),
        })
    }
}

/// The linker's index, where it is as every linker writes it: framehop believes its count
/// and its pointer to the tables, and a wrong one would overflow there.
fn usable_header<'f>(
    hdr: Section<'f>,
    eh_frame: Section<'_>,
    bases: &BaseAddresses,
) -> Option<ParsedEhFrameHdr<Bytes<'f>>> {
    // Version; encodings of the pointer (4 bytes, from here), the count (4 bytes) and the
    // rows (two of 4 bytes, from the section's start).
    const USUAL: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    let (head, rest) = hdr.data.split_first_chunk::<4>()?;
    let count = rest.get(4..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))?;
    let rows = rest.get(8..)?.len() / 8;
    if *head != USUAL || rows < count as usize || count == 0 {
        return None;
    }
    let parsed = EhFrameHdr::new(hdr.data, LittleEndian).parse(bases, 8).ok()?;
    (parsed.eh_frame_ptr() == Pointer::Direct(eh_frame.address)).then_some(parsed)
}

/// First address and offset of each entry of a section, in the order of addresses. What
/// cannot be read is left out; what follows damage in an entry's length is not found.
fn all_entries<'f, S: UnwindSection<Bytes<'f>>>(
    section: &S,
    bases: &BaseAddresses,
) -> Vec<(u64, usize)> {
    let mut all = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(S::cie_from_offset)
        {
            all.push((fde.initial_address(), fde.offset()));
        }
    }
    all.sort_unstable();
    all
}

/// The last entry that begins at an address or before it.
fn before(index: &[(u64, usize)], address: u64) -> Option<usize> {
    let after = index.partition_point(|(start, _)| *start <= address);
    index.get(after.checked_sub(1)?).map(|(_, offset)| *offset)
}
