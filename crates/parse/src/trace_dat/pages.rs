//! One CPU's sub-buffers to the places of events in them.
//!
//! kernel/trace/ring_buffer.c and include/linux/ring_buffer.h; libtraceevent's
//! kbuffer-parse.c reads the same. A sub-buffer, as `header_page` lays it out:
//!
//! ```text
//! timestamp | commit: bytes used; bit 31 lost, bit 30 count stored | data ... | count
//!     data: [type_len:5 time_delta:27] payload, [type_len:5 time_delta:27] payload, ...
//! ```

use crate::cursor::{u32_at, u64_at};
use crate::error::Error;

/// `RB_MISSED_EVENTS`: events were lost before this sub-buffer.
const MISSED: u32 = 1 << 31;
/// `RB_MISSED_STORED`: how many stands behind the data.
const STORED: u32 = 1 << 30;
/// `COMMIT_MASK` of libtraceevent.
const COMMIT: u32 = (1 << 27) - 1;
/// Bits of a time stamp that a record of one does not hold.
const TS_MSB: u64 = 0xf8 << 56;
/// More than any sub-buffer has.
const LARGEST: usize = 1 << 27;

/// Types of `type_len` (`enum ring_buffer_type`); 1 to 28 is data of that many words.
mod kind {
    pub(super) const LONG: u32 = 0;
    pub(super) const PADDING: u32 = 29;
    pub(super) const TIME_EXTEND: u32 = 30;
    pub(super) const TIME_STAMP: u32 = 31;
}

/// Where the parts of a sub-buffer are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PageLayout {
    timestamp: usize,
    commit: usize,
    /// Bytes of `commit`, and of a stored count: the kernel's `long`.
    long: usize,
    data: usize,
    /// Bytes of a whole sub-buffer.
    pub(crate) size: usize,
}

impl PageLayout {
    /// From `events/header_page` (`ring_buffer_print_page_header`).
    ///
    /// # Errors
    /// Where fields are missing, or of sizes that no kernel has.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| {
            let line = text.lines().find(|line| {
                let declaration = line.split(';').next().unwrap_or("");
                declaration.split_whitespace().next_back() == Some(name)
            })?;
            let number = |key: &str| {
                let (_, rest) = line.split_once(key)?;
                rest.split(';').next()?.trim().parse::<usize>().ok().filter(|n| *n <= LARGEST)
            };
            Some((number("offset:")?, number("size:")?))
        };
        let layout = || {
            let (timestamp, size) = field("timestamp")?;
            (size == 8).then_some(())?;
            let (commit, long) = field("commit")?;
            (long == 4 || long == 8).then_some(())?;
            let (data, room) = field("data")?;
            let size = data.checked_add(room).filter(|size| *size <= LARGEST)?;
            let end = timestamp.max(commit).checked_add(8)?;
            (room >= 8 && end <= size && data >= 8).then_some(())?;
            Some(Self { timestamp, commit, long, data, size })
        };
        layout().ok_or_else(|| Error::Unsupported {
            what: "the kernel that wrote this trace.dat lays its sub-buffers out in a way that \
                   agenttrace does not know (header_page)"
                .to_owned(),
        })
    }

    /// The same with sub-buffers of another size. `None` where data do not fit in.
    pub(crate) fn sized(self, size: usize) -> Option<Self> {
        let fits = self.data.checked_add(8)? <= size && size <= LARGEST;
        fits.then_some(Self { size, ..self })
    }

    /// The smallest part of a sub-buffer that says anything.
    pub(crate) fn head(self) -> usize {
        self.data
    }
}

/// What was lost before a sub-buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missed {
    /// So many events.
    Count(u64),
    /// Some.
    Unknown,
}

/// What comes next in a CPU's sub-buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// An event, by where it begins; the time stamp as the kernel wrote it.
    Event { at: usize, time: u64 },
    /// Events were lost before the one of this time.
    Missed { missed: Missed, time: u64 },
    /// The rest of the sub-buffer contradicts itself and is skipped.
    Bad { at: usize },
}

/// Walks sub-buffers.
#[derive(Clone, Debug)]
pub(crate) struct Pages<'a> {
    data: &'a [u8],
    layout: PageLayout,
    /// Where the next sub-buffer begins.
    next: usize,
    /// Where the next event begins.
    at: usize,
    /// Where the events of this sub-buffer end.
    end: usize,
    /// Whether they are cut off there: the file ends.
    cut: bool,
    time: u64,
    missed: Option<Missed>,
    /// Found already, to be told after what was missed.
    found: Option<Step>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(data: &'a [u8], layout: PageLayout) -> Self {
        Self {
            data,
            layout,
            next: 0,
            at: 0,
            end: 0,
            cut: false,
            time: 0,
            missed: None,
            found: None,
        }
    }

    /// Bytes of the sub-buffers up to the present one, it included.
    pub(crate) fn position(&self) -> usize {
        self.next.min(self.data.len())
    }

    /// Goes to the next sub-buffer. False where there is none.
    fn page(&mut self) -> Option<Result<(), usize>> {
        let page = self.next;
        let rest = self.data.get(page..).filter(|rest| rest.len() >= self.layout.head())?;
        self.next = page.saturating_add(self.layout.size);
        self.time = u64_at(rest, self.layout.timestamp)?;
        // Only the low half of a `long` is used.
        let word = u32_at(rest, self.layout.commit)?;
        let used = self.layout.data.saturating_add((word & COMMIT) as usize);
        if used > self.layout.size {
            return Some(Err(page));
        }
        self.cut = used > rest.len();
        self.at = page.saturating_add(self.layout.data);
        self.end = page.saturating_add(used.min(rest.len()));
        self.missed = (word & MISSED != 0).then(|| {
            let stored = match self.layout.long {
                8 => u64_at(rest, used),
                _ => u32_at(rest, used).map(u64::from),
            };
            let room = used.saturating_add(self.layout.long) <= self.layout.size;
            stored.filter(|_| word & STORED != 0 && room).map_or(Missed::Unknown, Missed::Count)
        });
        Some(Ok(()))
    }

    /// The next event of this sub-buffer; `None` at its end.
    #[inline]
    fn event(&mut self) -> Option<Step> {
        loop {
            let at = self.at;
            if at >= self.end {
                return None;
            }
            let bad = |pages: &mut Self| {
                pages.at = pages.end;
                (!pages.cut).then_some(Step::Bad { at })
            };
            let Some(head) = self.word(at) else { return bad(self) };
            let delta = u64::from(head >> 5);
            let second = || self.word(at.saturating_add(4));
            let body = match head & 31 {
                kind::TIME_EXTEND | kind::TIME_STAMP => {
                    let Some(high) = second() else { return bad(self) };
                    let value = (u64::from(high) << 27).wrapping_add(delta);
                    self.time = if head & 31 == kind::TIME_EXTEND {
                        self.time.wrapping_add(value)
                    } else {
                        absolute(value, self.time)
                    };
                    self.at = at.saturating_add(8);
                    continue;
                }
                kind::PADDING => {
                    // Without a time, nothing follows; else a discarded event.
                    if delta == 0 {
                        self.at = self.end;
                        return None;
                    }
                    let Some(len) = second() else { return bad(self) };
                    self.time = self.time.wrapping_add(delta);
                    self.at = at.saturating_add(4).saturating_add(len as usize);
                    continue;
                }
                kind::LONG => match second() {
                    // The length counts its own word.
                    Some(len) if len >= 4 => (len as usize).next_multiple_of(4),
                    _ => return bad(self),
                },
                words => (words as usize).saturating_mul(4),
            };
            let next = at.saturating_add(4).saturating_add(body);
            if next > self.end {
                return bad(self);
            }
            self.time = self.time.wrapping_add(delta);
            self.at = next;
            return Some(Step::Event { at, time: self.time });
        }
    }

    /// The word at `at`, where it lies before the end of the events.
    #[inline]
    fn word(&self, at: usize) -> Option<u32> {
        self.data.get(at..self.end).and_then(|rest| u32_at(rest, 0))
    }
}

impl Iterator for Pages<'_> {
    type Item = Step;

    #[inline]
    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.found.take() {
                return Some(step);
            }
            let step = self.event();
            if let Some(missed) = self.missed.take() {
                // Of the first event's time, so that it comes just before.
                self.found = step;
                return Some(Step::Missed { missed, time: self.time });
            }
            if step.is_some() {
                return step;
            }
            if let Err(at) = self.page()? {
                return Some(Step::Bad { at });
            }
        }
    }
}

/// `rb_fix_abs_ts`: the high bits are those of the time before.
fn absolute(value: u64, before: u64) -> u64 {
    let high = before & TS_MSB;
    let time = value | high;
    if high != 0 && time < before { time.wrapping_add(1 << 59) } else { time }
}

/// The payload of the event at `at`.
#[inline]
pub(crate) fn payload(data: &[u8], at: usize) -> Option<&[u8]> {
    let words = u32_at(data, at)? & 31;
    let (start, len) = if words == kind::LONG {
        let len = u32_at(data, at.checked_add(4)?)?.checked_sub(4)?;
        (at.checked_add(8)?, len as usize)
    } else {
        (at.checked_add(4)?, (words as usize).checked_mul(4)?)
    };
    data.get(start..start.checked_add(len)?)
}
