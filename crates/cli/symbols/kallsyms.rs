//! The text of /proc/kallsyms to a table of the kernel's symbols.
//!
//! blazesym reads such a file too, but takes any of the symbols at one address, data as
//! well, and joins the end of the kernel with its first module; the table here chooses as
//! perf does, so that names are those of `perf script`.

use super::table::{Binding, Entry, Table};

/// A kallsyms file.
#[derive(Debug)]
pub(super) struct Kallsyms<'a> {
    table: Table<'a>,
    /// Added to an address of the capture to get one of this file (modulo 2^64); not 0
    /// where the file is of another boot of the same kernel.
    shift: u64,
}

/// What a kallsyms file is to a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// Its addresses are the capture's, or nothing tells.
    Same,
    /// Its kernel lies elsewhere: at the first address, the capture's at the second.
    Moved(u64, u64),
    /// It has no addresses: they were hidden from who copied it.
    Hidden,
    /// It is no kallsyms.
    Other,
}

impl<'a> Kallsyms<'a> {
    /// Reads the text; lines that are none of a symbol are passed over.
    pub(super) fn new(text: &'a [u8], shift: u64) -> Self {
        let entries = lines(text).filter_map(|(start, kind, name)| {
            // `symbol_type__filter`, and `kallsyms2elf_binding` of tools/lib/symbol.
            let binding = match kind {
                b'W' | b'w' => Binding::Weak,
                b'T' | b'D' | b'B' => Binding::Global,
                b't' | b'd' | b'b' => Binding::Local,
                _ => return None,
            };
            // Marks of ARM's modules, not functions.
            let mark = name.first() == Some(&b'$');
            (!mark && start > 0)
                .then_some(Entry { start, end: start, name, binding, label: false })
        });
        Self { table: Table::of_kallsyms(entries.collect()), shift }
    }

    /// The name of the function at an address of the capture, and its module's.
    pub(super) fn find(&self, address: u64) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let name = self.table.find(address.wrapping_add(self.shift))?.name;
        match name.iter().position(|c| *c == b'\t') {
            // Modules lie at other addresses in every boot.
            Some(_) if self.shift != 0 => None,
            Some(tab) => Some((name.get(..tab)?, name.get(tab..).map(<[u8]>::trim_ascii))),
            None => Some((name, None)),
        }
    }
}

/// Compares a file with the capture's kernel: `reference` is the name and the address of
/// the first symbol (`_text` or `_stext`), which perf records with the kernel's mapping.
pub(super) fn fit(text: &[u8], reference: Option<(&[u8], u64)>) -> Fit {
    let (mut any, mut addresses) = (false, false);
    let mut at = None;
    for (start, _, name) in lines(text) {
        any = true;
        addresses |= start > 0;
        if at.is_none() && reference.is_some_and(|(wanted, _)| wanted == name) {
            at = Some(start);
        }
    }
    match (any, addresses, at, reference) {
        (false, ..) => Fit::Other,
        (_, false, ..) => Fit::Hidden,
        (_, _, Some(at), Some((_, address))) if at != address => Fit::Moved(at, address),
        _ => Fit::Same,
    }
}

/// Address, type and the rest of each line: `ffffffff81000000 T _text`, with a tab and
/// `[module]` after the name of a module's symbol (kernel/kallsyms.c).
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, u8, &[u8])> {
    text.split(|c| *c == b'\n').filter_map(|line| {
        let space = line.iter().take(17).position(|c| *c == b' ')?;
        let digits = std::str::from_utf8(line.get(..space)?).ok()?;
        let address = u64::from_str_radix(digits, 16).ok()?;
        let rest = line.get(space.checked_add(1)?..)?;
        match rest {
            [kind, b' ', name @ ..] if !name.is_empty() => Some((address, *kind, name)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"ffffffff81000000 T startup_64\nffffffff81000000 T _stext\n\
        ffffffff81000000 T _text\nffffffff81000100 t do_one_initcall\nffffffff81000180 r rodata\n\
        0000000000000000 A fixed_percpu_data\n\
        ffffffffc0001000 t nft_do_chain\t[nf_tables]\nnot a line\nffffffff81000200 T next\n";

    #[test]
    fn names_and_modules() {
        let all = Kallsyms::new(TEXT, 0);
        assert_eq!(all.find(0xffff_ffff_8100_0000), Some((&b"_text"[..], None)));
        assert_eq!(all.find(0xffff_ffff_8100_01ff), Some((&b"do_one_initcall"[..], None)));
        let module: Option<&[u8]> = Some(b"[nf_tables]");
        assert_eq!(all.find(0xffff_ffff_c000_1004), Some((&b"nft_do_chain"[..], module)));
        assert_eq!(all.find(0x1000), None);
    }

    #[test]
    fn another_boot_is_seen_and_its_kernel_can_be_shifted() {
        let reference = (&b"_text"[..], 0xffff_ffff_9e00_0000);
        let moved = Fit::Moved(0xffff_ffff_8100_0000, 0xffff_ffff_9e00_0000);
        assert_eq!(fit(TEXT, Some(reference)), moved);
        assert_eq!(fit(TEXT, Some((b"_text", 0xffff_ffff_8100_0000))), Fit::Same);
        assert_eq!(fit(TEXT, None), Fit::Same);
        let shift = 0xffff_ffff_8100_0000_u64.wrapping_sub(0xffff_ffff_9e00_0000);
        let shifted = Kallsyms::new(TEXT, shift);
        assert_eq!(shifted.find(0xffff_ffff_9e00_0110), Some((&b"do_one_initcall"[..], None)));
        assert_eq!(shifted.find(0xffff_ffff_dd00_1004), None);
    }

    #[test]
    fn hidden_addresses_and_other_texts() {
        let hidden = b"0000000000000000 T _text\n0000000000000000 t other\n";
        assert_eq!(fit(hidden, None), Fit::Hidden);
        assert_eq!(fit(b"hello\nworld", None), Fit::Other);
        assert_eq!(fit(b"", None), Fit::Other);
        assert_eq!(Kallsyms::new(hidden, 0).find(0), None);
    }
}
