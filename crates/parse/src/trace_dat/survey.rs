//! A first look over all sub-buffers: which event types occur, how many records each
//! CPU has, and what it says that was lost.

use rayon::prelude::*;

use super::Stream;
use super::formats::Texts;
use super::options::Facts;
use super::pages::{self, Missed, Pages, Step};
use super::sections::Sections;
use crate::error::Error;
use crate::units::Cpu;

/// Sub-buffers that one thread looks at in one go.
const PAGES: usize = 256;

/// Which numbers of event types occur (`common_type` has 16 bits).
#[derive(Debug)]
pub(crate) struct Seen(Vec<bool>);

impl Seen {
    pub(crate) const NUMBERS: usize = 1 << 16;

    pub(crate) fn has(&self, number: usize) -> bool {
        self.0.get(number).copied().unwrap_or(false)
    }
}

/// What one CPU's sub-buffers hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    events: u64,
    /// Sub-buffers before which events were lost.
    missed: u64,
    /// Those of them that do not say how many.
    unknown: u64,
    /// How many the others say.
    lost: u64,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) seen: Seen,
    /// Parallel to the streams.
    counts: Vec<Count>,
}

/// The streams of all buffers, by CPU, then by buffer.
///
/// # Errors
/// Where the size of sub-buffers contradicts their layout.
pub(crate) fn streams<'a>(
    bytes: &'a [u8],
    sections: &'a Sections,
) -> Result<Vec<Stream<'a>>, Error> {
    let mut streams = Vec::new();
    for buffer in &sections.buffers {
        // `header_page` tells the size of the main buffer's; trace-cmd before 3.2 that of
        // the machine's pages, whatever the buffer has.
        let main = buffer.name.is_empty();
        let size = match buffer.page_size {
            0 => sections.layout.size,
            size if main => size.max(sections.layout.size),
            size => size,
        };
        for cpu in &buffer.cpus {
            let layout = sections.layout.sized(size).ok_or_else(|| Error::Malformed {
                offset: cpu.offset,
                what: format!(
                    "sub-buffers of {size} bytes, which cannot be: this trace.dat is damaged, \
                     copy or record it again"
                ),
            })?;
            let data = cpu.data.of(bytes);
            if data.len() >= layout.head() {
                streams.push(Stream {
                    cpu: Cpu(cpu.cpu),
                    data,
                    layout,
                    offset: cpu.offset,
                    plain: matches!(cpu.data, super::sections::Part::Plain(_)),
                    buffer: &buffer.name,
                    base: 0,
                    lost_before: 0,
                    lost_unknown: 1,
                    dropped: 0,
                });
            }
        }
    }
    streams.sort_by_key(|stream| stream.cpu);
    Ok(streams)
}

/// Looks at everything once, on all threads.
pub(crate) fn survey(streams: &[Stream<'_>], texts: &Texts<'_>) -> Survey {
    let tasks: Vec<(usize, &[u8])> = streams
        .iter()
        .enumerate()
        .flat_map(|(index, stream)| {
            let run = stream.layout.size.saturating_mul(PAGES);
            stream.data.chunks(run).map(move |data| (index, data))
        })
        .collect();
    let parts: Vec<(usize, Count, Vec<usize>)> = tasks
        .par_iter()
        .filter_map(|(index, data)| {
            let stream = streams.get(*index)?;
            let mut count = Count::default();
            let mut seen = vec![false; Seen::NUMBERS];
            let mut numbers = Vec::new();
            for step in Pages::new(data, stream.layout) {
                match step {
                    Step::Event { at, .. } => {
                        count.events = count.events.saturating_add(1);
                        let number = pages::payload(data, at).and_then(|p| texts.type_of.int(p));
                        let number = number.and_then(|n| usize::try_from(n).ok());
                        if let Some(slot) = number.and_then(|n| seen.get_mut(n))
                            && !*slot
                        {
                            *slot = true;
                            numbers.extend(number);
                        }
                    }
                    Step::Missed { missed, .. } => {
                        count.missed = count.missed.saturating_add(1);
                        match missed {
                            Missed::Count(n) => count.lost = count.lost.saturating_add(n),
                            Missed::Unknown => count.unknown = count.unknown.saturating_add(1),
                        }
                    }
                    Step::Bad { .. } => {}
                }
            }
            Some((*index, count, numbers))
        })
        .collect();
    let mut survey = Survey {
        seen: Seen(vec![false; Seen::NUMBERS]),
        counts: vec![Count::default(); streams.len()],
    };
    for (index, part, numbers) in parts {
        if let Some(count) = survey.counts.get_mut(index) {
            count.events = count.events.saturating_add(part.events);
            count.missed = count.missed.saturating_add(part.missed);
            count.unknown = count.unknown.saturating_add(part.unknown);
            count.lost = count.lost.saturating_add(part.lost);
        }
        for number in numbers {
            if let Some(slot) = survey.seen.0.get_mut(number) {
                *slot = true;
            }
        }
    }
    survey
}

/// Numbers the records of each stream, after `first` others, in the order of the streams;
/// and sets what was lost and no sub-buffer tells, by the CPU's statistics.
///
/// The kernel counts what a ring overwrote (`overrun`) both there and in the sub-buffer
/// that follows, as long as there is room for the count in it.
pub(crate) fn number(streams: &mut [Stream<'_>], survey: &Survey, facts: &Facts, first: u64) {
    let mut base = first;
    for (stream, count) in streams.iter_mut().zip(&survey.counts) {
        let of_stream =
            |s: &&super::options::CpuStat| s.buffer == stream.buffer && s.cpu == stream.cpu.0;
        if let Some(stat) = facts.stats.iter().find(of_stream) {
            let untold = stat.overrun.saturating_sub(count.lost);
            match count.unknown.checked_sub(1) {
                // The others count as one each.
                Some(others) => stream.lost_unknown = untold.saturating_sub(others).max(1),
                None => stream.lost_before = untold,
            }
            stream.dropped = stat.dropped;
        }
        stream.base = base;
        let more = u64::from(stream.lost_before > 0).saturating_add(u64::from(stream.dropped > 0));
        base = base.saturating_add(count.events).saturating_add(count.missed).saturating_add(more);
    }
}
