//! Small ELF files with the unwind tables that a test asks for.

/// Where the code, the tables and the index lie, in the file and as the file states it.
pub(crate) const TEXT: u64 = 0x1000;
const EH_FRAME: u64 = 0x2000;
const HEADER: u64 = 0x3000;
const NOTE: u64 = 0x3800;
const SECTIONS: u64 = 0x3c00;

pub(crate) const BUILD_ID: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

/// A function: where it begins, how long it is, its unwind instructions.
pub(crate) struct Function<'f> {
    pub(crate) start: u64,
    pub(crate) len: u32,
    pub(crate) instructions: &'f [u8],
    /// Whether it is the return from a signal (`S` in the augmentation).
    pub(crate) signal: bool,
}

pub(crate) fn function(start: u64, instructions: &[u8]) -> Function<'_> {
    Function { start, len: 0x100, instructions, signal: false }
}

/// DWARF 5, 6.4.2 and the System V ABI for x86-64: rsp is 7, rbp 6, rbx 3, the return
/// address 16; offsets of saved registers count in -8.
pub(crate) mod cfa {
    /// `push %rbp` after 1 byte, `mov %rsp,%rbp` after 3 more.
    pub(crate) const FRAME_POINTER: &[u8] = &[0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6];
    /// `sub $24,%rsp` after 4 bytes.
    pub(crate) const SUB_24: &[u8] = &[0x44, 0x0e, 32];
    /// Nothing called it.
    pub(crate) const UNDEFINED: &[u8] = &[0x07, 16];
    /// The CFA is what lies 8 below rbp: a stack that was aligned anew.
    pub(crate) const REALIGNED: &[u8] = &[0x0f, 3, 0x76, 0x78, 0x06];
    /// The CFA is rbx + 16.
    pub(crate) const BY_RBX: &[u8] = &[0x0c, 3, 16];
    /// rbx is saved, after `push %rbx`.
    pub(crate) const SAVES_RBX: &[u8] = &[0x41, 0x0e, 16, 0x83, 2];
    /// As glibc's `__restore_rt`: the CFA, rip and rbp lie in the context that the kernel
    /// left (`struct ucontext`): rsp at 160, rip at 168, rbp at 120.
    pub(crate) const SIGNAL: &[u8] = &[
        0x0f, 4, 0x77, 0xa0, 0x01, 0x06, // DW_CFA_def_cfa_expression rsp+160, deref
        0x10, 16, 3, 0x77, 0xa8, 0x01, // DW_CFA_expression rip: rsp+168
        0x10, 6, 3, 0x77, 0xf8, 0x00, // DW_CFA_expression rbp: rsp+120
    ];
    /// arm64, as `stp x29, x30, [sp, #-32]!` after 4 bytes: x29 is 29, x30 is 30, sp is 31.
    pub(crate) const ARM_FRAME: &[u8] = &[0x44, 0x0e, 32, 0x9d, 4, 0x9e, 3];
    /// arm64: nothing called it.
    pub(crate) const ARM_UNDEFINED: &[u8] = &[0x07, 30];
    /// An expression that jumps to itself: `DW_OP_skip -3`.
    pub(crate) const ENDLESS: &[u8] = &[0x0f, 3, 0x2f, 0xfd, 0xff];
    /// The CFA is 0, and the return address where no stack is.
    pub(crate) const NOTHING: &[u8] = &[0x0f, 1, 0x30];
    /// Offsets whose sum does not fit: rsp + 8, rbp saved at 2^63 - 8 from there
    /// (`DW_CFA_offset_extended_sf`).
    pub(crate) const FAR: &[u8] = &[0x11, 6, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x70];
}

fn padded(mut entry: Vec<u8>) -> Vec<u8> {
    while entry.len() % 8 != 4 {
        entry.push(0);
    }
    let len = u32::try_from(entry.len()).expect("small").to_le_bytes();
    [len.as_slice(), &entry].concat()
}

fn from(here: u64, to: u64) -> [u8; 4] {
    u32::try_from(to.wrapping_sub(here) & 0xffff_ffff).expect("32 bits").to_le_bytes()
}

fn common(machine: Machine, augmentation: &[u8]) -> Vec<u8> {
    let mut cie = vec![0, 0, 0, 0, 1];
    cie.extend(augmentation);
    // Code in 1, data in -8; the column of the return address; addresses count from
    // where they stand, 4 bytes.
    let column = if machine == Machine::X86_64 { 16 } else { 30 };
    cie.extend([0, 1, 0x78, column, 1, 0x1b]);
    match machine {
        // CFA = rsp + 8, the return address at CFA - 8.
        Machine::X86_64 => cie.extend([0x0c, 7, 8, 0x90, 1]),
        // CFA = sp; the return address is in x30.
        Machine::Aarch64 => cie.extend([0x0c, 31, 0]),
    }
    padded(cie)
}

/// `.eh_frame`, and for each function its first address and where its entry is.
fn tables(machine: Machine, functions: &[Function<'_>]) -> (Vec<u8>, Vec<(u64, u64)>) {
    let plain = common(machine, b"zR");
    let signal = common(machine, b"zRS");
    let mut out = [plain.as_slice(), &signal].concat();
    let mut index = Vec::new();
    for function in functions {
        let cie = if function.signal { plain.len() } else { 0 };
        let entry = out.len();
        let mut fde = Vec::new();
        fde.extend(u32::try_from(entry + 4 - cie).expect("small").to_le_bytes());
        fde.extend(from(EH_FRAME + entry as u64 + 8, function.start));
        fde.extend(function.len.to_le_bytes());
        fde.push(0);
        fde.extend(function.instructions);
        index.push((function.start, EH_FRAME + entry as u64));
        out.extend(padded(fde));
    }
    out.extend([0; 4]);
    index.sort_unstable();
    (out, index)
}

/// `.eh_frame_hdr` (LSB Core, 10.6.2).
fn header(index: &[(u64, u64)]) -> Vec<u8> {
    let mut out = vec![1, 0x1b, 0x03, 0x3b];
    out.extend(from(HEADER + 4, EH_FRAME));
    out.extend(u32::try_from(index.len()).expect("small").to_le_bytes());
    for (start, entry) in index {
        out.extend(from(HEADER, *start));
        out.extend(from(HEADER, *entry));
    }
    out
}

/// What a file leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Everything,
    /// Without `.eh_frame_hdr`.
    NoIndex,
    /// The tables as `.debug_frame`, in its own form.
    DebugFrame,
    /// Without tables.
    Nothing,
}

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

/// An ELF file for x86-64. Its code is `nop`s; `calls` are where a call of 5 bytes ends.
pub(crate) fn elf(functions: &[Function<'_>], with: With, calls: &[u64]) -> Vec<u8> {
    elf_for(Machine::X86_64, functions, with, calls)
}

/// An ELF file; the form of `.debug_frame` is for x86-64 alone.
pub(crate) fn elf_for(
    machine: Machine,
    functions: &[Function<'_>],
    with: With,
    calls: &[u64],
) -> Vec<u8> {
    let (mut eh_frame, index) = tables(machine, functions);
    let header = header(&index);
    if with == With::DebugFrame {
        debug_frame(&mut eh_frame);
    }
    let note =
        [[4_u32, 4, 3].map(u32::to_le_bytes).concat().as_slice(), b"GNU\0", &BUILD_ID].concat();
    let names = b"\0.text\0.eh_frame\0.eh_frame_hdr\0.debug_frame\0.note\0.shstrtab\0";
    let at = |name: &[u8]| {
        let found = names
            .windows(name.len() + 1)
            .position(|w| w[..name.len()] == *name && w[name.len()] == 0);
        u32::try_from(found.expect("a section's name")).expect("small")
    };
    let mut file = vec![0; 0x4000];
    let mut put = |at: u64, bytes: &[u8]| {
        let at = usize::try_from(at).expect("small");
        file[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(TEXT, &[0x90; 0xf00]);
    for end in calls {
        put(end - 5, &[0xe8, 0, 0, 0, 0]);
    }
    put(EH_FRAME, &eh_frame);
    put(HEADER, &header);
    put(NOTE, &note);
    put(NOTE + 0x100, names);
    // Type, flags, offset, address (twice), size (twice), alignment.
    let part = |kind: u32, flags: u32, at: u64, size: u64| {
        let words = [at, at, at, size, size, 8].map(u64::to_le_bytes).concat();
        [kind.to_le_bytes().as_slice(), &flags.to_le_bytes(), &words].concat()
    };
    put(64, &part(1, 5, 0, 0x4000));
    put(64 + 56, &part(4, 4, NOTE, note.len() as u64));
    let section = |name: &[u8], kind: u32, at_: u64, size: usize| {
        let head = [at(name).to_le_bytes(), kind.to_le_bytes()].concat();
        let words = [2, at_, at_, size as u64].map(u64::to_le_bytes).concat();
        [head, words, vec![0; 8], [1_u64, 0].map(u64::to_le_bytes).concat()].concat()
    };
    let mut sections = vec![vec![0; 64], section(b".text", 1, TEXT, 0xf00)];
    match with {
        With::Nothing => {}
        With::DebugFrame => sections.push(section(b".debug_frame", 1, EH_FRAME, eh_frame.len())),
        With::NoIndex => sections.push(section(b".eh_frame", 1, EH_FRAME, eh_frame.len())),
        With::Everything => {
            sections.push(section(b".eh_frame", 1, EH_FRAME, eh_frame.len()));
            sections.push(section(b".eh_frame_hdr", 1, HEADER, header.len()));
        }
    }
    sections.push(section(b".note", 7, NOTE, note.len()));
    sections.push(section(b".shstrtab", 3, NOTE + 0x100, names.len()));
    let count = u16::try_from(sections.len()).expect("few");
    put(SECTIONS, &sections.concat());
    // ELF header: a shared object.
    let number = if machine == Machine::X86_64 { 62 } else { 183 };
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[3_u16, number].map(u16::to_le_bytes).concat());
    put(20, &1_u32.to_le_bytes());
    put(24, &[TEXT, 64, SECTIONS].map(u64::to_le_bytes).concat());
    put(52, &[64_u16, 56, 2, 64, count, count - 1].map(u16::to_le_bytes).concat());
    file
}

/// `.eh_frame` to `.debug_frame` (DWARF 5, 6.4.1): entries count from the section's start,
/// a common entry is marked by all ones, addresses are 8 bytes. Rewritten from the entries
/// of [`tables`]: two common entries, then one for each function.
fn debug_frame(tables: &mut Vec<u8>) {
    let mut out = Vec::new();
    let mut cie = vec![0xff, 0xff, 0xff, 0xff, 1, 0, 1, 0x78, 16];
    cie.extend([0x0c, 7, 8, 0x90, 1]);
    out.extend(padded(cie));
    let mut at = 0;
    let word = |at: usize| u32::from_le_bytes(tables[at..at + 4].try_into().expect("4 bytes"));
    while word(at) != 0 {
        let len = word(at) as usize;
        if word(at + 4) != 0 {
            let here = EH_FRAME + at as u64 + 8;
            let start = here.wrapping_add_signed(i64::from(word(at + 8).cast_signed()));
            let mut fde = vec![0; 4];
            fde.extend(start.to_le_bytes());
            fde.extend(u64::from(word(at + 12)).to_le_bytes());
            fde.extend(&tables[at + 17..at + 4 + len]);
            out.extend(padded(fde));
        }
        at += 4 + len;
    }
    *tables = out;
}
