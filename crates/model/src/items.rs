//! What is kept packed, one after the other, from either end.

use std::ops::Range;

/// Items that are packed, and made when they are asked for.
pub trait Indexed {
    /// What comes out.
    type Item;

    /// The item with this index.
    fn item(&self, index: usize) -> Option<Self::Item>;
}

/// Neighbouring items.
#[derive(Debug)]
pub struct Items<'i, I> {
    of: &'i I,
    range: Range<usize>,
}

impl<'i, I> Items<'i, I> {
    /// Those of so many with an index in this range.
    #[inline]
    pub(crate) fn new(of: &'i I, count: usize, range: Range<usize>) -> Self {
        let end = range.end.min(count);
        Self { of, range: range.start.min(end)..end }
    }
}

impl<I: Indexed> Iterator for Items<'_, I> {
    type Item = I::Item;

    /// Always inlined, so that a reader pays for the fields that it looks at.
    #[inline(always)]
    fn next(&mut self) -> Option<I::Item> {
        self.range.next().and_then(|index| self.of.item(index))
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<I::Item> {
        self.range.nth(n).and_then(|index| self.of.item(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl<I: Indexed> DoubleEndedIterator for Items<'_, I> {
    #[inline]
    fn next_back(&mut self) -> Option<I::Item> {
        self.range.next_back().and_then(|index| self.of.item(index))
    }

    fn nth_back(&mut self, n: usize) -> Option<I::Item> {
        self.range.nth_back(n).and_then(|index| self.of.item(index))
    }
}

impl<I: Indexed> ExactSizeIterator for Items<'_, I> {}
