//! The segments of a critical path, packed: what they are once, and how long each is.

use std::ops::Deref;
use std::slice;
use std::sync::Arc;

use agenttrace_model::parse::{Nanos, Pid, Tid};

use crate::cause::{Cause, Resource};
use crate::detail::Words;

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
/// millions of them and few kinds, so that each takes 8 bytes.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Segments {
    start: Nanos,
    kinds: Vec<SegmentKind>,
    parts: Vec<Part>,
    /// Lengths that do not fit into a part, in their order.
    long: Vec<Nanos>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Part {
    kind: u32,
    /// Nanoseconds; [`LONG`]: the next of [`Segments::long`].
    length: u32,
}

/// 4.3 seconds: few segments are as long.
const LONG: u32 = u32::MAX;

impl Segments {
    /// None yet; the first will begin at `start`.
    #[must_use]
    pub fn new(start: Nanos) -> Self {
        Self { start, ..Self::default() }
    }

    /// As [`Segments::new`], with room for so many.
    #[must_use]
    pub fn with_capacity(start: Nanos, segments: usize) -> Self {
        Self { parts: Vec::with_capacity(segments), ..Self::new(start) }
    }

    /// Adds a kind; gives its place in [`Segments::kinds`], for [`Segments::push`].
    pub fn add_kind(&mut self, kind: SegmentKind) -> usize {
        self.kinds.push(kind);
        self.kinds.len() - 1
    }

    /// Adds the next segment: `length` nanoseconds of the kind at this place.
    pub fn push(&mut self, kind: usize, length: Nanos) {
        let short = u32::try_from(length.0).ok().filter(|short| *short != LONG);
        if short.is_none() {
            self.long.push(length);
        }
        let kind = u32::try_from(kind).unwrap_or(u32::MAX);
        self.parts.push(Part { kind, length: short.unwrap_or(LONG) });
    }

    /// Gives memory back that was kept for more.
    pub fn shrink_to_fit(&mut self) {
        self.kinds.shrink_to_fit();
        self.parts.shrink_to_fit();
        self.long.shrink_to_fit();
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What segments are, in the order of their first.
    #[must_use]
    pub fn kinds(&self) -> &[SegmentKind] {
        &self.kinds
    }

    /// The segments, in time order.
    #[must_use]
    pub fn iter(&self) -> SegmentIter<'_> {
        SegmentIter {
            at: self.start,
            kinds: &self.kinds,
            parts: self.parts.iter(),
            long: self.long.iter(),
        }
    }

    /// The same in pieces of `size` segments, the last of what is left: for work on several
    /// threads.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = SegmentIter<'_>> {
        let (mut at, mut long) = (self.start, self.long.iter());
        self.parts.chunks(size.max(1)).map(move |parts| {
            let chunk =
                SegmentIter { at, kinds: &self.kinds, parts: parts.iter(), long: long.clone() };
            for part in parts {
                at += part.length(&mut long);
            }
            chunk
        })
    }
}

impl Part {
    fn length(self, long: &mut slice::Iter<'_, Nanos>) -> Nanos {
        if self.length == LONG {
            return long.next().copied().unwrap_or_default();
        }
        Nanos(u64::from(self.length))
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
    kinds: &'s [SegmentKind],
    parts: slice::Iter<'s, Part>,
    long: slice::Iter<'s, Nanos>,
}

impl<'s> Iterator for SegmentIter<'s> {
    type Item = Segment<'s>;

    fn next(&mut self) -> Option<Segment<'s>> {
        let part = *self.parts.next()?;
        let start = self.at;
        self.at += part.length(&mut self.long);
        let kind_index = part.kind as usize;
        let kind = self.kinds.get(kind_index)?;
        Some(Segment { start, end: self.at, kind, kind_index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.parts.size_hint()
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
    }
}
