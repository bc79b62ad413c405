//! The steps of a report to JSON, on all threads: pieces of about the same size are written
//! side by side, and go out in their order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};

use agenttrace_attribute::report::{SegmentIter, SegmentKind, StepReport};
use rustc_hash::FxHashMap;

use super::{Tables, step_head, step_tail, under};
use crate::json_writer::JsonWriter;

/// The document, the array of steps, a step, the array of its segments: each on lines of
/// its own.
const STEPS: &[u8] = b"}]";
const SEGMENTS: &[u8] = b"}]}]";

/// About so many segments are a piece: 0.35 MB.
const PIECE: usize = 1 << 11;
/// So many pieces are begun for each thread before the first is handed on; fewer, and threads
/// wait for each other. They fit into caches.
const FOR_EACH_THREAD: usize = 2;
/// What surrounds a step's segments is as long as some of them.
const HEAD: usize = 16;
const TAIL: usize = 48;

/// What a full piece takes; long names may make it more.
const ROOM: usize = PIECE * 192;

/// A part of a step's text.
enum Part<'r> {
    /// Up to its segments; whether it is the first step.
    Head(&'r StepReport, bool),
    /// Some segments; whether they are its first.
    Segments(&'r StepReport, SegmentIter<'r>, bool),
    /// What follows its segments.
    Tail(&'r StepReport),
}

/// Parts that are written by one thread into one buffer.
type Piece<'r> = Vec<Part<'r>>;

/// What one piece leaves for the next: texts that many steps have in common.
#[derive(Default)]
struct Known<'r> {
    words: Words<'r>,
    tables: Tables<'r>,
}

/// Writes the items of the array of steps, which is open.
pub(super) fn steps(
    j: &mut JsonWriter<'_>,
    steps: &[&StepReport],
    to: &mut impl Write,
) -> io::Result<()> {
    let mut parts = steps.iter().enumerate().flat_map(|(i, step)| parts(step, i == 0));
    let known: Mutex<Vec<Known<'_>>> = Mutex::default();
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let ahead = rayon::current_num_threads().saturating_mul(FOR_EACH_THREAD);
    rayon::in_place_scope_fifo(|scope| {
        // Those that are begun and not handed on, in their order.
        let mut begun: VecDeque<Receiver<Vec<u8>>> = VecDeque::new();
        let mut begin = |begun: &mut VecDeque<_>, mut out: Vec<u8>| {
            let piece = piece(&mut parts);
            if !piece.is_empty() {
                let (ready, text) = channel();
                scope.spawn_fifo(move |_| {
                    let mut known = lock().pop().unwrap_or_default();
                    write(piece, &mut known, &mut out);
                    lock().push(known);
                    // Nobody waits for it where the writer failed.
                    let _: Result<(), _> = ready.send(out);
                });
                begun.push_back(text);
            }
        };
        (0..ahead).for_each(|_| begin(&mut begun, Vec::new()));
        while let Some(text) = begun.pop_front() {
            let Some(text) = wait(&text) else { break };
            j.hand_on_items(&text, to)?;
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

fn parts(step: &StepReport, first: bool) -> impl Iterator<Item = Part<'_>> {
    let chunks = step.segments.chunks(PIECE).enumerate();
    let segments = chunks.map(move |(i, chunk)| Part::Segments(step, chunk, i == 0));
    std::iter::once(Part::Head(step, first)).chain(segments).chain([Part::Tail(step)])
}

/// The next parts, of about [`PIECE`] segments together.
fn piece<'r>(parts: &mut impl Iterator<Item = Part<'r>>) -> Piece<'r> {
    let mut piece = Vec::new();
    let mut size = 0_usize;
    while size < PIECE
        && let Some(part) = parts.next()
    {
        size = size.saturating_add(match &part {
            Part::Head(..) => HEAD,
            Part::Segments(_, segments, _) => segments.len(),
            Part::Tail(_) => TAIL,
        });
        piece.push(part);
    }
    piece
}

fn write<'r>(piece: Piece<'r>, known: &mut Known<'r>, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(ROOM);
    for part in piece {
        match part {
            Part::Head(step, first) => {
                step_head(&mut JsonWriter::inside(out, STEPS, first), step);
            }
            Part::Segments(step, segments, first) => {
                known.words.learn(step.segments.kinds());
                known.words.write(segments, first, out);
            }
            Part::Tail(step) => {
                let none = step.segments.is_empty();
                let mut j = JsonWriter::inside(out, SEGMENTS, none);
                step_tail(&mut j, step, &mut known.tables);
            }
        }
    }
}

/// What follows the times of a segment, for each kind, up to the next segment's start. Steps
/// share their kinds, so a text is kept for the steps that follow.
#[derive(Default)]
struct Words<'r> {
    text: Vec<u8>,
    /// Where the text of a kind is, by the kind's address.
    places: FxHashMap<usize, Range<usize>>,
    /// What opens the next segment.
    opening: Vec<u8>,
    /// The kinds of one step, and where their texts are.
    kinds: &'r [Arc<SegmentKind>],
    of_step: Vec<Range<usize>>,
}

const START: &[u8] = b"{\"start_ns\":";
const END: &[u8] = b",\"end_ns\":";
/// With more text than this, kinds that were long ago are forgotten.
const MOST_TEXT: usize = 1 << 20;

impl<'r> Words<'r> {
    /// The kinds of the step that follows.
    fn learn(&mut self, kinds: &'r [Arc<SegmentKind>]) {
        if std::ptr::eq(self.kinds, kinds) {
            return;
        }
        if self.opening.is_empty() {
            JsonWriter::inside(&mut self.opening, SEGMENTS, false).item().raw(START);
        }
        if self.text.len() > MOST_TEXT {
            self.text.clear();
            self.places.clear();
        }
        self.kinds = kinds;
        self.of_step.clear();
        let Self { text, places, opening, .. } = self;
        self.of_step.extend(kinds.iter().map(|kind| {
            let place = places.entry(Arc::as_ptr(kind).addr()).or_insert_with(|| {
                let from = text.len();
                members_of(&mut JsonWriter::new(text), kind);
                // An object of its own becomes the rest of one that has begun.
                if let Some(first) = text.get_mut(from) {
                    *first = b',';
                }
                text.extend_from_slice(opening);
                from..text.len()
            });
            place.clone()
        }));
    }

    fn of(&self, kind: usize) -> &[u8] {
        let place = self.of_step.get(kind).cloned().unwrap_or_default();
        self.text.get(place).unwrap_or_default()
    }

    fn write(&self, segments: SegmentIter<'_>, first: bool, out: &mut Vec<u8>) {
        JsonWriter::inside(out, SEGMENTS, first).item().raw(START);
        let mut time: Option<Digits> = None;
        for segment in segments {
            // One segment's end is the next one's start.
            let time = time.get_or_insert_with(|| Digits::of(segment.start.0));
            time.write(out);
            out.extend_from_slice(END);
            time.set(segment.end.0);
            time.write(out);
            out.extend_from_slice(self.of(segment.kind_index));
        }
        // No segment follows the last.
        out.truncate(out.len().saturating_sub(self.opening.len()));
    }
}

/// A time in digits. Those before the last eight are nearly always those of the time before.
struct Digits {
    time: u64,
    /// Those before the last eight, and how many they are: none where all are fewer than nine.
    high: [u8; 12],
    length: usize,
    low: [u8; 8],
}

/// Ten to the power of eight.
const LOW: u64 = 100_000_000;

impl Digits {
    fn of(time: u64) -> Self {
        let mut digits = Self { time: 0, high: [0; 12], length: 0, low: [0; 8] };
        digits.set(time);
        digits
    }

    fn set(&mut self, time: u64) {
        if time / LOW != self.time / LOW {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(time / LOW).as_bytes();
            self.high.iter_mut().zip(digits).for_each(|(to, digit)| *to = *digit);
            self.length = if time < LOW { 0 } else { digits.len() };
        }
        self.low = eight(time % LOW);
        self.time = time;
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.length == 0 {
            return out.extend_from_slice(itoa::Buffer::new().format(self.time).as_bytes());
        }
        let high = out.len() + self.length;
        // A copy of known length, then cut, takes no call.
        out.extend_from_slice(&self.high);
        out.truncate(high);
        out.extend_from_slice(&self.low);
    }
}

/// The eight digits of a number below [`LOW`]: two halves, four pairs, then eight digits, each
/// in bits of its own, are divided side by side.
fn eight(number: u64) -> [u8; 8] {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    // A hundredth of what is below 10,000; a tenth of what is below 100.
    let hundreds = ((halves * 5243) >> 19) & 0x007f_0000_007f;
    let pairs = hundreds | ((halves - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | ((pairs - tens * 10) << 8);
    (digits + 0x3030_3030_3030_3030).to_le_bytes()
}

/// What a segment is, as an object.
fn members_of(j: &mut JsonWriter<'_>, s: &SegmentKind) {
    j.object(false);
    j.key("tid").signed(s.tid.0.into());
    j.key("pid").signed(s.pid.0.into());
    j.key("comm").text(&s.comm);
    j.key("cause").text(s.cause.name());
    j.key("resource").text(s.resource.name());
    under(j, s.under);
    j.key("stack").array(false);
    for frame in s.stack.iter() {
        j.item().text(frame);
    }
    j.end();
    if let Some(object) = &s.object {
        j.key("object").text(object);
    }
    if let Some(reason) = &s.reason {
        j.key("reason").text(reason);
    }
    if s.inferred {
        j.key("inferred").bool(true);
    }
    j.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_times_follow_each_other() {
        let mut at = Digits::of(35_333_027_334_844);
        let times = [7, 99, 99_999_999, 100_000_000, 100_000_001, 123_456_789, 123_450_000];
        let later = [199_999_999, 200_000_000, 9_999_999_999, 35_333_027_334_845, u64::MAX, 0];
        for time in times.into_iter().chain(later) {
            let mut out = b"x".to_vec();
            at.set(time);
            at.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{time}"));
        }
    }

    #[test]
    fn eight_digits_are_those_of_the_number() {
        let numbers = (0..10_000).chain((0..LOW).step_by(7_919)).chain([LOW - 1]);
        for number in numbers {
            assert_eq!(eight(number).as_slice(), format!("{number:08}").as_bytes());
        }
    }
}
