//! Symbols of one file, or of the kernel, to a table that is looked up by address.
//!
//! Which of several symbols of one address names it, and where a symbol without a size
//! ends, is decided as perf does (`choose_best_symbol`, `symbols__fixup_end` in
//! tools/perf/util/symbol.c, Linux 6.1), so that names are those of `perf script`.

/// How a symbol is bound (`STB_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binding {
    Local,
    Global,
    Weak,
}

/// A symbol that may name code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry<'a> {
    /// First address.
    pub(super) start: u64,
    /// The address after it; the same where the size is not known.
    pub(super) end: u64,
    /// As it is in the file: mangled; of the kernel's modules with a tab and `[module]`.
    pub(super) name: &'a [u8],
    pub(super) binding: Binding,
    /// Whether it has no type (`STT_NOTYPE`): a label.
    pub(super) label: bool,
}

/// Symbols by address; one an address.
#[derive(Debug, Default)]
pub(super) struct Table<'a> {
    entries: Vec<Entry<'a>>,
}

/// So many symbols before an address are asked whether they reach it: one symbol may lie
/// inside another, and a hostile file has any number of them.
const NESTED: usize = 16;

const PAGE: u64 = 4096;

impl<'a> Table<'a> {
    /// From the symbols of an ELF file, in its order.
    pub(super) fn of_elf(mut entries: Vec<Entry<'a>>) -> Self {
        entries.sort_by_key(|e| e.start);
        let mut table = Self { entries: merge(entries) };
        table.end_open(|_, _| false);
        table
    }

    /// From kallsyms, in its order. There no symbol has a size, and perf ends them before
    /// it looks for aliases: the last of those at one address is the one with a size.
    pub(super) fn of_kallsyms(mut entries: Vec<Entry<'a>>) -> Self {
        entries.sort_by_key(|e| e.start);
        let mut table = Self { entries };
        let module = |e: &Entry<'_>| e.name.contains(&b'[');
        table.end_open(|a, b| module(a) != module(b));
        Self { entries: merge(table.entries) }
    }

    /// Ends symbols without a size where the next begins. Between entries that are `apart`
    /// the gap is not filled.
    fn end_open(&mut self, apart: impl Fn(&Entry<'a>, &Entry<'a>) -> bool) {
        let mut next: Option<Entry<'a>> = None;
        for entry in self.entries.iter_mut().rev() {
            if entry.end <= entry.start {
                let page = |at: u64| at.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
                entry.end = match next {
                    None => page(entry.start).saturating_add(PAGE),
                    Some(next) if apart(entry, &next) => {
                        page(entry.start.saturating_add(PAGE)).min(next.start)
                    }
                    Some(next) => next.start,
                };
            }
            next = Some(*entry);
        }
    }

    /// The innermost symbol that covers an address.
    pub(super) fn find(&self, address: u64) -> Option<&Entry<'a>> {
        let after = self.entries.partition_point(|e| e.start <= address);
        let before = self.entries.get(..after)?.iter().rev();
        before.take(NESTED).find(|e| address < e.end)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Keeps one symbol of each address.
fn merge(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut kept: Vec<Entry<'_>> = Vec::with_capacity(entries.len());
    for entry in entries {
        match kept.last_mut() {
            Some(last) if last.start == entry.start => *last = best(*last, entry),
            _ => kept.push(entry),
        }
    }
    kept
}

/// `choose_best_symbol`; `a` comes first in the file.
fn best<'a>(a: Entry<'a>, b: Entry<'a>) -> Entry<'a> {
    let sized = |e: &Entry<'_>| e.end > e.start;
    let underscores = |e: &Entry<'_>| e.name.iter().take_while(|c| **c == b'_').count();
    let old_call = |e: &Entry<'_>| e.name.starts_with(b"SyS") || e.name.starts_with(b"compat_SyS");
    let first = if sized(&a) != sized(&b) {
        sized(&a)
    } else if a.label != b.label {
        b.label
    } else if (a.binding == Binding::Weak) != (b.binding == Binding::Weak) {
        b.binding == Binding::Weak
    } else if (a.binding == Binding::Global) != (b.binding == Binding::Global) {
        a.binding == Binding::Global
    } else if underscores(&a) != underscores(&b) {
        underscores(&a) < underscores(&b)
    } else if a.name.len() != b.name.len() {
        a.name.len() > b.name.len()
    } else {
        !old_call(&a)
    };
    if first { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u64, end: u64, name: &str, binding: Binding) -> Entry<'_> {
        Entry { start, end, name: name.as_bytes(), binding, label: false }
    }

    fn name(table: &Table<'_>, address: u64) -> Option<String> {
        table.find(address).map(|e| String::from_utf8_lossy(e.name).into_owned())
    }

    /// As perf names glibc's: global before weak, fewer underscores before more, longer
    /// before shorter.
    #[test]
    fn aliases_are_chosen_as_perf_does() {
        let table = Table::of_elf(vec![
            entry(0x10, 0x20, "write", Binding::Weak),
            entry(0x10, 0x20, "__write", Binding::Global),
            entry(0x10, 0x20, "__libc_write", Binding::Local),
            entry(0x30, 0x40, "__memcpy", Binding::Global),
            entry(0x30, 0x40, "_memcpy", Binding::Global),
            entry(0x50, 0x50, "nosize", Binding::Global),
            entry(0x50, 0x51, "a_size", Binding::Weak),
            entry(0x60, 0x61, "short", Binding::Global),
            entry(0x60, 0x61, "longer", Binding::Global),
            entry(0x70, 0x71, "SyS_read", Binding::Global),
            entry(0x70, 0x71, "sys_read", Binding::Global),
            Entry { label: true, ..entry(0x80, 0x81, "label_label", Binding::Global) },
            entry(0x80, 0x81, "function", Binding::Local),
        ]);
        let named: Vec<_> = [0x10, 0x30, 0x50, 0x60, 0x70, 0x80].map(|a| name(&table, a)).into();
        let expected = ["__write", "_memcpy", "a_size", "longer", "sys_read", "function"];
        assert_eq!(named, expected.map(|n| Some(n.to_owned())));
    }

    #[test]
    fn a_gap_has_no_name_and_a_symbol_without_size_reaches_to_the_next() {
        let table = Table::of_elf(vec![
            entry(0x100, 0x180, "outer", Binding::Global),
            entry(0x110, 0x120, "inner", Binding::Global),
            entry(0x200, 0x200, "open", Binding::Global),
            entry(0x300, 0x310, "last", Binding::Global),
        ]);
        assert_eq!(name(&table, 0xff), None);
        assert_eq!(name(&table, 0x118).as_deref(), Some("inner"));
        assert_eq!(name(&table, 0x120).as_deref(), Some("outer"));
        assert_eq!(name(&table, 0x180), None);
        assert_eq!(name(&table, 0x2ff).as_deref(), Some("open"));
        assert_eq!(name(&table, 0x310), None);
        assert_eq!(name(&table, u64::MAX), None);
    }

    #[test]
    fn kallsyms_end_at_the_next_and_not_across_modules() {
        let table = Table::of_kallsyms(vec![
            entry(0x1_0000, 0x1_0000, "first", Binding::Global),
            entry(0x1_0000, 0x1_0000, "x", Binding::Local),
            entry(0x2_0010, 0x2_0010, "kernel_end", Binding::Global),
            entry(0x9_0000, 0x9_0000, "module_function\t[m]", Binding::Local),
        ]);
        assert_eq!(name(&table, 0x1_fff0).as_deref(), Some("x"));
        assert_eq!(name(&table, 0x2_1fff).as_deref(), Some("kernel_end"));
        assert_eq!(name(&table, 0x2_2000), None);
        assert_eq!(name(&table, 0x9_0fff).as_deref(), Some("module_function\t[m]"));
        assert_eq!(name(&table, 0x9_1000), None);
    }

    /// Ten thousand symbols inside one: still an answer, and no long search.
    #[test]
    fn nesting_without_end_is_not_searched_without_end() {
        let mut entries = vec![entry(0, 1 << 40, "all", Binding::Global)];
        entries.extend((1..10_000).map(|n| entry(n, n + 1, "one", Binding::Global)));
        let table = Table::of_elf(entries);
        assert_eq!(name(&table, 5000).as_deref(), Some("one"));
        assert_eq!(name(&table, 20_000), None);
    }
}
