//! A perf map, in which a just-in-time compiler tells what it made, to names.
//!
//! The format is `START SIZE name` in hexadecimal, a line each, appended as code is made
//! (tools/perf/Documentation/jit-interface.txt). Memory is used again: of two entries at
//! one address the later holds. blazesym reads such files of running processes only.

use super::kallsyms::hex;
use super::search::{Aliases, Binding, Entry, Search};

/// The names of the functions at these addresses, which must be sorted. Lines that are
/// none of a function are passed over.
pub(super) fn names<'a>(text: &'a [u8], wanted: &[u64]) -> Vec<Option<&'a [u8]>> {
    let mut search = Search::new(wanted, Aliases::Last);
    for line in text.split(|c| *c == b'\n') {
        let Some((start, size, name)) = parse(line) else { continue };
        let end = start.saturating_add(size);
        let entry = Entry { start, end, name, binding: Binding::Global, label: false };
        search.add(start, end, || Some(entry));
    }
    search.finish().into_iter().map(|entry| Some(entry?.name)).collect()
}

fn parse(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (start, rest) = word(line)?;
    let (size, rest) = word(rest)?;
    let name = rest.trim_ascii();
    (size > 0 && !name.is_empty()).then_some((start, size, name))
}

fn word(line: &[u8]) -> Option<(u64, &[u8])> {
    let line = line.trim_ascii_start();
    let space = line.iter().take(19).position(|c| *c == b' ')?;
    let (digits, rest) = line.split_at_checked(space)?;
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    Some((hex(digits)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_entries_hold_and_damaged_lines_are_passed_over() {
        let long = "n".repeat(4096);
        let text = format!(
            "2000 100 LazyCompile:*b /app/x y.js:3\n1000 80 old\n\n1000 40 new <script>\n\
             zz 10 bad\n3000 0 empty\n3000\n0x4000 0x20 py::f:/a.py\nffffffffffffff00 ffff end\n\
             5000 10 {long}\n6000 10 \u{1}\u{7f}\n+70 10 signed"
        );
        let mut text = text.into_bytes();
        text.extend(b"\n8000 10 \xff\xfe");
        let wanted = [0x70, 0x1000, 0x1041, 0x2050, 0x2100, 0x3000, 0x401f, 0x5000, 0x6001, 0x8000];
        let found = names(&text, &wanted);
        let expected: [Option<&[u8]>; 10] = [
            None,
            Some(b"new <script>"),
            None,
            Some(b"LazyCompile:*b /app/x y.js:3"),
            None,
            None,
            Some(b"py::f:/a.py"),
            Some(long.as_bytes()),
            Some(b"\x01\x7f"),
            Some(b"\xff\xfe"),
        ];
        assert_eq!(found, expected);
        assert_eq!(names(&text, &[u64::MAX - 1]), [Some(&b"end"[..])]);
    }
}
