//! The text of /proc/kallsyms to names of the kernel's functions.
//!
//! blazesym reads such a file too, but takes any of the symbols at one address, data as
//! well, and joins the end of the kernel with its first module; here the choice is perf's,
//! so that names are those of `perf script`, and the text is gone through once, for the
//! addresses that are wanted.

use super::search::{Aliases, Binding, Entry, Search};

/// What a kallsyms file is to a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// Its addresses are the capture's.
    Same,
    /// Nothing tells.
    Untold,
    /// Its kernel lies elsewhere: at the first address, the capture's at the second.
    Moved(u64, u64),
    /// It has no addresses: they were hidden from who copied it.
    Hidden,
    /// It is no kallsyms.
    Other,
}

/// The functions at these addresses, which must be sorted. `shift` is added to each
/// (modulo 2^64) to get an address of the text: where it is not 0, the text is of another
/// boot of the same kernel, and modules, which then lie anywhere, are left out.
pub(super) fn names<'a>(text: &'a [u8], wanted: &[u64], shift: u64) -> Vec<Option<&'a [u8]>> {
    let mut shifted: Vec<u64> = wanted.iter().map(|a| a.wrapping_add(shift)).collect();
    shifted.sort_unstable();
    let mut search = Search::new(&shifted, Aliases::Last);
    for (start, kind, name) in lines(text) {
        // `symbol_type__filter` of tools/perf/util/symbol.c.
        if start > 0 && matches!(kind, b'T' | b't' | b'W' | b'w' | b'D' | b'd' | b'B' | b'b') {
            // Marks of ARM's modules, not functions.
            let mark = name.first() == Some(&b'$');
            let binding = Binding::Global;
            let entry = Entry { start, end: start, name, binding, label: false };
            search.add(start, start, || (!mark).then_some(entry));
        }
    }
    let found = search.finish();
    let of = |address: &u64| {
        let index = shifted.binary_search(&address.wrapping_add(shift)).ok()?;
        let name = found.get(index).copied().flatten()?.name;
        match name.iter().position(|c| *c == b'\t') {
            Some(_) if shift != 0 => None,
            Some(tab) => name.get(..tab),
            None => Some(name),
        }
    };
    wanted.iter().map(of).collect()
}

/// For each address, which must be sorted, what starts exactly there: a function or a
/// variable, the last of several.
pub(crate) fn starts<'a>(text: &'a [u8], wanted: &[u64]) -> Vec<Option<&'a [u8]>> {
    let mut found = vec![None; wanted.len()];
    for (start, kind, name) in lines(text) {
        if start > 0
            && !matches!(kind, b'A' | b'a' | b'U')
            && let Ok(index) = wanted.binary_search(&start)
            && let Some(slot) = found.get_mut(index)
        {
            *slot = name.split(|c| *c == b'\t').next();
        }
    }
    found
}

/// Compares a text with the capture's kernel: `reference` is the name and the address of
/// the first symbol (`_text` or `_stext`), which perf records with the kernel's mapping.
pub(super) fn fit(text: &[u8], reference: Option<(&[u8], u64)>) -> Fit {
    let (mut any, mut addresses) = (false, false);
    for (start, _, name) in lines(text) {
        any = true;
        addresses |= start > 0;
        match reference {
            Some((wanted, at)) if wanted == name => {
                if start == 0 {
                    return Fit::Hidden;
                }
                return if start == at { Fit::Same } else { Fit::Moved(start, at) };
            }
            None if addresses => return Fit::Untold,
            _ => {}
        }
    }
    match (any, addresses) {
        (false, _) => Fit::Other,
        (true, false) => Fit::Hidden,
        (true, true) => Fit::Untold,
    }
}

/// Address, type and the rest of each line: `ffffffff81000000 T _text`, with a tab and
/// `[module]` after the name of a module's symbol (kernel/kallsyms.c).
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, u8, &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
            if let Some(found) = parse(line) {
                return Some(found);
            }
        }
        None
    })
}

fn parse(line: &[u8]) -> Option<(u64, u8, &[u8])> {
    let (address, rest) = match line.split_at_checked(16) {
        Some((digits, rest)) if rest.first() == Some(&b' ') => (hex(digits)?, rest),
        // A kernel of 32 bits.
        _ => {
            let (digits, rest) = line.split_at_checked(8)?;
            (hex(digits)?, rest)
        }
    };
    match rest {
        [b' ', kind, b' ', name @ ..] if !name.is_empty() => Some((address, *kind, name)),
        _ => None,
    }
}

/// At most 16 hexadecimal digits.
pub(super) fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (value, all) = digits.iter().fold((0_u64, 0_u8), |(value, all), digit| {
        let digit = DIGITS.get(usize::from(*digit)).copied().unwrap_or(NONE);
        (value.wrapping_shl(4) | u64::from(digit & 0xf), all | digit)
    });
    (all & NONE == 0).then_some(value)
}

/// Not a digit.
const NONE: u8 = 0x80;

/// What each byte is as a hexadecimal digit: the text has two million of them.
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut byte = 0_u8;
    loop {
        digits[byte as usize] = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => NONE,
        };
        if byte == u8::MAX {
            break digits;
        }
        byte += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"ffffffff81000000 T startup_64\nffffffff81000000 T _stext\n\
        ffffffff81000000 T _text\nffffffff81000100 t do_one_initcall\nffffffff81000180 r rodata\n\
        0000000000000000 A fixed_percpu_data\n\
        ffffffffc0001000 t nft_do_chain\t[nf_tables]\nnot a line\nffffffff81000200 T next\n";

    fn text(names: Vec<Option<&[u8]>>) -> Vec<String> {
        let name =
            |n: Option<&[u8]>| n.map_or(String::new(), |n| String::from_utf8_lossy(n).into());
        names.into_iter().map(name).collect()
    }

    #[test]
    fn names_of_the_kernel_and_its_modules() {
        let wanted = [0x1000, 0xffff_ffff_8100_0000, 0xffff_ffff_8100_01ff, 0xffff_ffff_c000_1004];
        let found = text(names(TEXT, &wanted, 0));
        assert_eq!(found, ["", "_text", "do_one_initcall", "nft_do_chain"]);
    }

    #[test]
    fn another_boot_is_seen_and_its_kernel_can_be_shifted() {
        let reference = (&b"_text"[..], 0xffff_ffff_9e00_0000);
        let moved = Fit::Moved(0xffff_ffff_8100_0000, 0xffff_ffff_9e00_0000);
        assert_eq!(fit(TEXT, Some(reference)), moved);
        assert_eq!(fit(TEXT, Some((b"_text", 0xffff_ffff_8100_0000))), Fit::Same);
        assert_eq!(fit(TEXT, Some((b"_other", 1))), Fit::Untold);
        assert_eq!(fit(TEXT, None), Fit::Untold);
        let shift = 0xffff_ffff_8100_0000_u64.wrapping_sub(0xffff_ffff_9e00_0000);
        let wanted = [0xffff_ffff_9e00_0110, 0xffff_ffff_dd00_1004];
        assert_eq!(text(names(TEXT, &wanted, shift)), ["do_one_initcall", ""]);
    }

    #[test]
    fn hidden_addresses_and_other_texts() {
        let hidden = b"0000000000000000 T _text\n0000000000000000 t other\n";
        assert_eq!(fit(hidden, None), Fit::Hidden);
        assert_eq!(fit(hidden, Some((b"_text", 0x1000))), Fit::Hidden);
        assert_eq!(fit(b"hello\nworld", None), Fit::Other);
        assert_eq!(fit(b"", None), Fit::Other);
        assert_eq!(text(names(hidden, &[0, 5], 0)), ["", ""]);
        // 32 bits, and lines that are cut.
        assert_eq!(text(names(b"c0008000 T stext\nc0009000 T", &[0xc000_8004], 0)), ["stext"]);
    }
}
