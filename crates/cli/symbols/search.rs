//! Addresses to the symbols that cover them, in one pass over a symbol table in any order.
//!
//! A table is not sorted: a few hundred addresses are looked for in a few hundred thousand
//! symbols. Which of several symbols of one address names it, and where a symbol without
//! a size ends, is decided as perf does (`choose_best_symbol`, `symbols__fixup_end` in
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

/// Which of two symbols at one address stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aliases {
    /// The better one, by `choose_best_symbol`.
    Best,
    /// The later: in kallsyms no symbol has a size, and perf ends each at the next before
    /// it looks for aliases, so that the last alone has one.
    Last,
}

/// A search for some addresses.
#[derive(Debug)]
pub(super) struct Search<'n, 'a> {
    /// Sorted.
    wanted: &'n [u64],
    /// For each wanted address the symbols that begin after the one before it and not
    /// after itself; at the end those that begin after all.
    ///
    /// ```text
    /// wanted            w0        w1   w2
    /// symbols   [a  ] [b     ] [c    ]      [d ]
    /// slot      0     0        1            3
    /// ```
    slots: Vec<Slot<'a>>,
    aliases: Aliases,
    /// The slot of the symbol before: in sorted tables mostly that of the next too.
    at: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot<'a> {
    first: Option<Entry<'a>>,
    last: Option<Entry<'a>>,
    /// The last of those that reach the wanted address.
    cover: Option<Entry<'a>>,
}

/// So many slots before its own are asked for a symbol that reaches a wanted address.
const NESTED: usize = 16;

const PAGE: u64 = 4096;

impl<'n, 'a> Search<'n, 'a> {
    /// A search for addresses, which must be sorted.
    pub(super) fn new(wanted: &'n [u64], aliases: Aliases) -> Self {
        let slots = vec![Slot::default(); wanted.len().saturating_add(1)];
        Self { wanted, slots, aliases, at: 0 }
    }

    /// Takes a symbol; `entry` makes the whole of it where its place is of interest.
    pub(super) fn add(&mut self, start: u64, end: u64, entry: impl FnOnce() -> Option<Entry<'a>>) {
        if !self.in_slot(self.at, start) {
            self.at = self.wanted.partition_point(|wanted| *wanted < start);
        }
        let at = self.at;
        let Some(slot) = self.slots.get_mut(at) else { return };
        let is_first = slot.first.is_none_or(|first| start < first.start);
        let is_last = slot.last.is_none_or(|last| start >= last.start);
        let reaches = self.wanted.get(at).is_some_and(|wanted| *wanted < end);
        let covers = reaches && slot.cover.is_none_or(|cover| start >= cover.start);
        if !is_first && !is_last && !covers {
            return;
        }
        let Some(entry) = entry() else { return };
        if is_first {
            slot.first = Some(entry);
        }
        let aliases = self.aliases;
        let choose = |old: &mut Option<Entry<'a>>| {
            *old = Some(match *old {
                Some(old) if old.start == start && aliases == Aliases::Best => best(old, entry),
                _ => entry,
            });
        };
        if is_last {
            choose(&mut slot.last);
        }
        if covers {
            choose(&mut slot.cover);
        }
    }

    fn in_slot(&self, at: usize, start: u64) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.wanted.get(before));
        before.is_none_or(|before| *before < start)
            && self.wanted.get(at).is_none_or(|wanted| start <= *wanted)
    }

    /// For each wanted address its symbol.
    pub(super) fn finish(&self) -> Vec<Option<Entry<'a>>> {
        // The next symbol after each wanted address.
        let mut next = None;
        let mut after: Vec<Option<Entry<'a>>> = Vec::with_capacity(self.slots.len());
        for slot in self.slots.iter().rev() {
            after.push(next);
            next = slot.first.or(next);
        }
        let mut before: Option<Entry<'a>> = None;
        let mut found = Vec::with_capacity(self.wanted.len());
        for (index, (wanted, next)) in self.wanted.iter().zip(after.iter().rev()).enumerate() {
            let slot = self.slots.get(index).copied().unwrap_or_default();
            before = slot.last.or(before);
            let nearest = before.filter(|entry| *wanted < reach(entry, next.as_ref()));
            let outer = || {
                let slots = self.slots.get(..=index)?.iter().rev().take(NESTED);
                slots.filter_map(|slot| slot.cover).find(|entry| *wanted < entry.end)
            };
            found.push(nearest.or_else(outer));
        }
        found
    }
}

/// The address after a symbol, given the next one: a gap is not filled between the kernel
/// and its modules, nor after the last.
fn reach(entry: &Entry<'_>, next: Option<&Entry<'_>>) -> u64 {
    if entry.end > entry.start {
        return entry.end;
    }
    let page = |at: u64| at.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    let module = |entry: &Entry<'_>| entry.name.contains(&b'[');
    match next {
        None => page(entry.start).saturating_add(PAGE),
        Some(next) if module(entry) != module(next) => {
            page(entry.start.saturating_add(PAGE)).min(next.start)
        }
        Some(next) => next.start,
    }
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

    /// The names at these addresses, `-` where there is none.
    fn names(wanted: &[u64], entries: &[Entry<'_>], aliases: Aliases) -> String {
        let mut search = Search::new(wanted, aliases);
        for e in entries {
            search.add(e.start, e.end, || Some(*e));
        }
        let name = |e: Option<Entry<'_>>| {
            e.map_or("-".to_owned(), |e| String::from_utf8_lossy(e.name).into_owned())
        };
        search.finish().into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    /// As perf names glibc's: global before weak, fewer underscores before more, longer
    /// before shorter.
    #[test]
    fn aliases_are_chosen_as_perf_does() {
        let mut entries = vec![
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
        ];
        let wanted = [0x10, 0x30, 0x50, 0x60, 0x70, 0x80];
        let expected = "__write _memcpy a_size longer sys_read function";
        assert_eq!(names(&wanted, &entries, Aliases::Best), expected);
        entries.swap(0, 1);
        entries.swap(3, 4);
        entries.swap(7, 8);
        assert_eq!(names(&wanted, &entries, Aliases::Best), expected);
    }

    #[test]
    fn a_gap_has_no_name_and_a_symbol_without_size_reaches_to_the_next() {
        let mut entries = [
            entry(0x100, 0x180, "outer", Binding::Global),
            entry(0x110, 0x120, "inner", Binding::Global),
            entry(0x200, 0x200, "open", Binding::Global),
            entry(0x300, 0x310, "last", Binding::Global),
        ];
        let wanted = [0xff, 0x100, 0x118, 0x120, 0x17f, 0x180, 0x2ff, 0x300, 0x310, u64::MAX];
        let expected = "- outer inner outer outer - open last - -";
        assert_eq!(names(&wanted, &entries, Aliases::Best), expected);
        entries.reverse();
        assert_eq!(names(&wanted, &entries, Aliases::Best), expected);
        // The last one without a size reaches to the end of the page after.
        let open = [entry(0x1010, 0x1010, "open", Binding::Global)];
        assert_eq!(names(&[0x1010, 0x2fff, 0x3000], &open, Aliases::Best), "open open -");
        assert_eq!(names(&[], &open, Aliases::Best), "");
        assert_eq!(names(&[5], &[], Aliases::Best), "-");
    }

    #[test]
    fn kallsyms_end_at_the_next_and_not_across_modules() {
        let entries = [
            entry(0x1_0000, 0x1_0000, "first", Binding::Global),
            entry(0x1_0000, 0x1_0000, "x", Binding::Local),
            entry(0x2_0010, 0x2_0010, "kernel_end", Binding::Global),
            entry(0x9_0000, 0x9_0000, "of_module\t[m]", Binding::Local),
        ];
        let wanted = [0x1_0000, 0x1_fff0, 0x2_1fff, 0x2_2000, 0x9_0fff, 0x9_1000];
        let expected = "x x kernel_end - of_module\t[m] -";
        assert_eq!(names(&wanted, &entries, Aliases::Last), expected);
    }

    /// Ten thousand symbols inside one: still an answer, and no long search.
    #[test]
    fn nesting_without_end_is_not_searched_without_end() {
        let mut entries = vec![entry(0, 1 << 40, "all", Binding::Global)];
        entries.extend((1..10_000).map(|n| entry(n, n + 1, "one", Binding::Global)));
        assert_eq!(names(&[5000, 20_000], &entries, Aliases::Best), "one -");
    }
}
