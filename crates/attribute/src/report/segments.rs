//! The segments of a critical path, packed: what they are once, and how long each is.

use std::ops::Deref;
use std::slice;
use std::sync::Arc;

use agenttrace_model::parse::{Nanos, Pid, Tid};

use crate::cause::{Cause, Resource};
use crate::detail::Words;
use crate::packed::{put, take};

/// What segments of one step have in common besides their times.
#[derive(Clone, PartialEq, Debug)]
pub struct SegmentKind {
    /// The task that it is on.
    pub tid: Tid,
    /// That task's process.
    pub pid: Pid,
    /// That task's name at the time.
    pub comm: Arc<str>,
    /// The cause.
    pub cause: Cause,
    /// The resource.
    pub resource: Resource,
    /// See [`super::ExclusiveRow::under`].
    pub under: Option<Cause>,
    /// What the time was spent on behalf of, outermost first. Frames are words
    /// such as `fsync`, `wait4`, `major fault vector_index.db`, `journal commit`,
    /// `block write 254:0`, or a task's name where the path goes on in another task.
    pub stack: Arc<[Words]>,
    /// File or device, where there is one.
    pub object: Option<Arc<str>>,
    /// Why it is `unknown`, or other reasons for doubt.
    pub reason: Option<Words>,
    /// Whether the state was inferred.
    pub inferred: bool,
}

/// One stretch of a critical path: its times, and through [`Deref`] what it is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Segment<'s> {
    /// Start.
    pub start: Nanos,
    /// End; after `start`.
    pub end: Nanos,
    /// What it is.
    pub kind: &'s SegmentKind,
    /// The place of `kind` in [`Segments::kinds`].
    pub kind_index: usize,
}

impl Deref for Segment<'_> {
    type Target = SegmentKind;

    fn deref(&self) -> &SegmentKind {
        self.kind
    }
}

/// Segments that tile a stretch of time, each from the end of the one before. A path has
/// millions of them and few kinds: most take 3 or 4 bytes.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Segments {
    start: Nanos,
    kinds: Vec<Arc<SegmentKind>>,
    /// Of each its kind and its length in ns, 7 bits a byte, the lowest first.
    parts: Vec<u8>,
    count: usize,
}

impl Segments {
    /// None yet; the first will begin at `start`.
    #[must_use]
    pub fn new(start: Nanos) -> Self {
        Self { start, ..Self::default() }
    }

    /// Adds a kind; gives its place in [`Segments::kinds`], for [`Segments::push`].
    /// Steps may share it.
    pub fn add_kind(&mut self, kind: impl Into<Arc<SegmentKind>>) -> usize {
        self.kinds.push(kind.into());
        self.kinds.len() - 1
    }

    /// Adds the next segment: `length` nanoseconds of the kind at this place.
    pub fn push(&mut self, kind: usize, length: Nanos) {
        put(&mut self.parts, kind as u64);
        put(&mut self.parts, length.0);
        self.count += 1;
    }

    /// The first will begin at `start`; there is none yet.
    pub fn begin(&mut self, start: Nanos) {
        self.start = start;
    }

    /// Takes all out, in no more memory than they need. The memory they were made in is kept
    /// for others.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let taken = Self {
            start: self.start,
            kinds: self.kinds.drain(..).collect(),
            parts: self.parts.as_slice().into(),
            count: self.count,
        };
        self.parts.clear();
        self.count = 0;
        taken
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What segments are, in the order of their first.
    #[must_use]
    pub fn kinds(&self) -> &[Arc<SegmentKind>] {
        &self.kinds
    }

    /// The segments, in time order.
    #[must_use]
    pub fn iter(&self) -> SegmentIter<'_> {
        SegmentIter {
            at: self.start,
            kinds: &self.kinds,
            parts: self.parts.iter(),
            left: self.count,
        }
    }

    /// The same in pieces of `size` segments, the last of what is left: for work on several
    /// threads.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = SegmentIter<'_>> {
        let mut rest = self.iter();
        std::iter::from_fn(move || {
            let mut chunk = rest.clone();
            chunk.left = chunk.left.min(size.max(1));
            if chunk.left == rest.left {
                rest.left = 0;
            } else {
                // What is beyond this piece begins where it ends.
                rest.by_ref().take(chunk.left).for_each(drop);
            }
            (chunk.left > 0).then_some(chunk)
        })
    }
}

impl<'s> IntoIterator for &'s Segments {
    type Item = Segment<'s>;
    type IntoIter = SegmentIter<'s>;

    fn into_iter(self) -> SegmentIter<'s> {
        self.iter()
    }
}

/// Some neighbouring segments, in time order.
#[derive(Clone, Debug)]
pub struct SegmentIter<'s> {
    at: Nanos,
    kinds: &'s [Arc<SegmentKind>],
    /// Those of further segments too.
    parts: slice::Iter<'s, u8>,
    left: usize,
}

impl<'s> Iterator for SegmentIter<'s> {
    type Item = Segment<'s>;

    fn next(&mut self) -> Option<Segment<'s>> {
        self.left = self.left.checked_sub(1)?;
        let kind_index = usize::try_from(take(&mut self.parts)?).ok()?;
        let start = self.at;
        self.at += Nanos(take(&mut self.parts)?);
        let kind = self.kinds.get(kind_index)?;
        Some(Segment { start, end: self.at, kind, kind_index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SegmentIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(comm: &str) -> SegmentKind {
        SegmentKind {
            tid: Tid(7),
            pid: Pid(7),
            comm: comm.into(),
            cause: Cause::UserCpu,
            resource: Resource::CpuUser,
            under: None,
            stack: [].into(),
            object: None,
            reason: None,
            inferred: false,
        }
    }

    #[test]
    fn lengths_of_any_size_come_back() {
        let mut segments = Segments::new(Nanos(100));
        let (a, b) = (segments.add_kind(kind("a")), segments.add_kind(kind("b")));
        let lengths = [1, u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 40, 5];
        for (i, length) in lengths.into_iter().enumerate() {
            segments.push(if i % 2 == 0 { a } else { b }, Nanos(length));
        }
        let told = |s: Segment<'_>| (s.start.0, s.end.0, s.comm.to_string());
        let all: Vec<_> = segments.iter().map(told).collect();
        let max = u64::from(u32::MAX);
        let expected = [
            (100, 101, "a"),
            (101, 100 + max, "b"),
            (100 + max, 100 + 2 * max, "a"),
            (100 + 2 * max, 100 + 2 * max + (1 << 40), "b"),
            (100 + 2 * max + (1 << 40), 105 + 2 * max + (1 << 40), "a"),
        ];
        let expected: Vec<_> = expected.map(|(from, to, c)| (from, to, c.to_owned())).into();
        assert_eq!(all, expected);
        for size in [1, 2, 3, 5, 9] {
            let pieces: Vec<_> = segments.chunks(size).flatten().map(told).collect();
            assert_eq!(pieces, expected, "in pieces of {size}");
        }
        assert_eq!((segments.len(), segments.iter().len()), (5, 5));
        let taken = segments.take();
        segments.begin(Nanos(7));
        assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), expected);
        assert_eq!((taken.parts.capacity(), segments.kinds().len()), (23, 0));
        let only = segments.add_kind(kind("c"));
        segments.push(only, Nanos(2));
        assert_eq!(segments.iter().map(told).collect::<Vec<_>>(), [(7, 9, "c".to_owned())]);
        assert_eq!((taken.len(), segments.len()), (expected.len(), 1));
        let segments = taken;
        // 1 and 1 byte; 1 and 5 twice; 1 and 6; 1 and 1.
        assert_eq!(segments.parts.len(), 2 + 6 + 6 + 7 + 2);
    }
}
