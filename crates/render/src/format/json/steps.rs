//! The steps of a report to JSON, on all threads: pieces of about the same size are written
//! side by side, and go out in their order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, OnceLock};

use agenttrace_attribute::report::{SegmentIter, SegmentKind, StepReport};

use super::{Empty, step_head, step_tail, under};
use crate::json_writer::JsonWriter;

/// The document, the array of steps, a step, the array of its segments: each on lines of
/// its own.
const STEPS: &[u8] = b"}]";
const SEGMENTS: &[u8] = b"}]}]";

/// About so many segments are a piece: 0.35 MB.
const PIECE: usize = 1 << 11;
/// So many pieces are begun for each thread before the first is handed on; fewer, and threads
/// wait for each other. They fit into caches.
const FOR_EACH_THREAD: usize = 4;
/// What surrounds a step's segments is as long as some of them.
const HEAD: usize = 16;
const TAIL: usize = 128;

/// A step, and the words of its segments once they are needed; gone with its last part.
struct Task<'r> {
    step: &'r StepReport,
    first: bool,
    words: OnceLock<Words>,
}

/// A part of a step's text.
enum Part<'r> {
    Head,
    /// Some segments; whether they are its first.
    Segments(SegmentIter<'r>, bool),
    Tail,
}

/// Parts that are written by one thread into one buffer.
type Piece<'r> = Vec<(Arc<Task<'r>>, Part<'r>)>;

/// Writes the items of the array of steps, which is open.
pub(super) fn steps<W: Write>(j: &mut JsonWriter<'_, W>, steps: &[&StepReport]) -> io::Result<()> {
    let task = |(i, step)| Task { step, first: i == 0, words: OnceLock::new() };
    let tasks = steps.iter().copied().enumerate().map(task);
    let mut parts = tasks.flat_map(|task| parts(Arc::new(task)));
    let ahead = rayon::current_num_threads().saturating_mul(FOR_EACH_THREAD);
    rayon::in_place_scope_fifo(|scope| {
        // Those that are begun and not handed on, in their order.
        let mut begun: VecDeque<Receiver<Vec<u8>>> = VecDeque::new();
        let mut begin = |begun: &mut VecDeque<_>, mut out: Vec<u8>| {
            let piece = piece(&mut parts);
            if !piece.is_empty() {
                let (ready, text) = channel();
                scope.spawn_fifo(move |_| {
                    write(piece, &mut out);
                    // Nobody waits for it where the writer failed.
                    let _: Result<(), _> = ready.send(out);
                });
                begun.push_back(text);
            }
        };
        (0..ahead).for_each(|_| begin(&mut begun, Vec::new()));
        while let Some(text) = begun.pop_front() {
            let Some(text) = wait(&text) else { break };
            j.items(&text)?;
            begin(&mut begun, text);
        }
        Ok(())
    })
}

/// The text of a piece when it is written. Until then this thread writes others. `None` where
/// writing panicked.
fn wait(text: &Receiver<Vec<u8>>) -> Option<Vec<u8>> {
    loop {
        match text.try_recv() {
            Ok(text) => return Some(text),
            Err(TryRecvError::Disconnected) => return None,
            // With nothing left to take, others are at it.
            Err(TryRecvError::Empty) if rayon::yield_now() != Some(rayon::Yield::Executed) => {
                return text.recv().ok();
            }
            Err(TryRecvError::Empty) => {}
        }
    }
}

fn parts(task: Arc<Task<'_>>) -> impl Iterator<Item = (Arc<Task<'_>>, Part<'_>)> {
    let chunks = task.step.segments.chunks(PIECE).enumerate();
    let segments = chunks.map(|(i, chunk)| Part::Segments(chunk, i == 0));
    let all = std::iter::once(Part::Head).chain(segments).chain(std::iter::once(Part::Tail));
    all.map(move |part| (Arc::clone(&task), part))
}

/// The next parts, of about [`PIECE`] segments together.
fn piece<'r>(parts: &mut impl Iterator<Item = (Arc<Task<'r>>, Part<'r>)>) -> Piece<'r> {
    let mut piece = Vec::new();
    let mut size = 0_usize;
    while size < PIECE
        && let Some((task, part)) = parts.next()
    {
        size = size.saturating_add(match &part {
            Part::Head => HEAD,
            Part::Segments(segments, _) => segments.len(),
            Part::Tail => TAIL,
        });
        piece.push((task, part));
    }
    piece
}

fn write(piece: Piece<'_>, out: &mut Vec<u8>) {
    out.clear();
    let mut empty = Empty::default();
    for (task, part) in piece {
        // Memory takes whatever is written to it.
        let _: io::Result<()> = match part {
            Part::Head => step_head(&mut JsonWriter::inside(out, STEPS, task.first), task.step),
            Part::Segments(segments, first) => {
                let words = task.words.get_or_init(|| Words::new(task.step.segments.kinds()));
                words.write(segments, first, out)
            }
            Part::Tail => {
                let none = task.step.segments.is_empty();
                step_tail(&mut JsonWriter::inside(out, SEGMENTS, none), task.step, &mut empty)
            }
        };
    }
}

/// What follows the times of a segment, for each kind, up to the next segment's start.
struct Words {
    text: Vec<u8>,
    /// Where each kind's text ends.
    ends: Vec<usize>,
    /// How long that is which opens the next segment.
    opening: usize,
}

const START: &[u8] = b"{\"start_ns\":";
const END: &[u8] = b",\"end_ns\":";

impl Words {
    fn new(kinds: &[Arc<SegmentKind>]) -> Self {
        let mut opening = Vec::new();
        let _: io::Result<_> = JsonWriter::inside(&mut opening, SEGMENTS, false).item().map(|_| ());
        opening.extend_from_slice(START);
        let ends = Vec::with_capacity(kinds.len());
        let mut words = Self { text: Vec::new(), ends, opening: opening.len() };
        for kind in kinds {
            let from = words.text.len();
            // Memory takes whatever is written to it.
            let _: io::Result<()> = members_of(&mut JsonWriter::new(&mut words.text), kind);
            // An object of its own becomes the rest of one that has begun.
            if let Some(first) = words.text.get_mut(from) {
                *first = b',';
            }
            words.text.extend_from_slice(&opening);
            words.ends.push(words.text.len());
        }
        words
    }

    fn of(&self, kind: usize) -> &[u8] {
        let from = kind.checked_sub(1).and_then(|before| self.ends.get(before));
        let to = self.ends.get(kind).copied().unwrap_or_default();
        self.text.get(from.copied().unwrap_or_default()..to).unwrap_or_default()
    }

    fn write(&self, segments: SegmentIter<'_>, first: bool, out: &mut Vec<u8>) -> io::Result<()> {
        JsonWriter::inside(out, SEGMENTS, first).item()?;
        out.extend_from_slice(START);
        let mut digits = itoa::Buffer::new();
        // One segment's end is the next one's start.
        let mut before: Option<Range<usize>> = None;
        for segment in segments {
            match before {
                Some(end) => out.extend_from_within(end),
                None => out.extend_from_slice(digits.format(segment.start.0).as_bytes()),
            }
            out.extend_from_slice(END);
            let end = out.len();
            out.extend_from_slice(digits.format(segment.end.0).as_bytes());
            before = Some(end..out.len());
            out.extend_from_slice(self.of(segment.kind_index));
        }
        // No segment follows the last.
        out.truncate(out.len().saturating_sub(self.opening));
        Ok(())
    }
}

/// What a segment is, as an object.
fn members_of<W: Write>(j: &mut JsonWriter<'_, W>, s: &SegmentKind) -> io::Result<()> {
    j.object(false)?;
    j.key("tid")?.signed(s.tid.0.into())?;
    j.key("pid")?.signed(s.pid.0.into())?;
    j.key("comm")?.text(&s.comm)?;
    j.key("cause")?.text(s.cause.name())?;
    j.key("resource")?.text(s.resource.name())?;
    under(j, s.under)?;
    j.key("stack")?.array(false)?;
    for frame in s.stack.iter() {
        j.item()?.text(frame)?;
    }
    j.end()?;
    if let Some(object) = &s.object {
        j.key("object")?.text(object)?;
    }
    if let Some(reason) = &s.reason {
        j.key("reason")?.text(reason)?;
    }
    if s.inferred {
        j.key("inferred")?.bool(true)?;
    }
    j.end().map(|_| ())
}
