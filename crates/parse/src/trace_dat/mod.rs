//! trace.dat to events: `trace-cmd record` or `trace-cmd extract` wrote it.
//!
//! Versions 6 and 7 (Documentation/trace-cmd/trace-cmd.dat.v6.5.txt and
//! trace-cmd.dat.v7.5.txt of trace-cmd). A file says what it holds, not what was asked
//! for: an event type counts as recorded where it occurs.

mod compress;
mod decode;
mod dump;
mod formats;
mod info;
mod options;
mod order;
mod pages;
mod recover;
mod sections;
mod stacks;
mod survey;
#[cfg(test)]
mod tests;
mod times;
mod v6;
mod v7;

use rustc_hash::FxHashMap;

pub(crate) use sections::{Sections, recognize, unpack};
pub(crate) use stacks::Stacks;

use crate::capture::{CaptureInfo, Totals};
use crate::cursor;
use crate::diagnostics::{Diagnostics, Problem};
use crate::error::Error;
use crate::events::Event;
use crate::fields::Comm;
use crate::source::ReadOptions;
use crate::stream::{self, Course};
use crate::units::{Cpu, Pid, Tid};
use formats::Types;
use order::Walk;
use pages::PageLayout;
use times::Times;

/// An opened trace.dat: everything but the records.
#[derive(Debug)]
pub(crate) struct TraceDat<'a> {
    pub(crate) info: CaptureInfo,
    types: Types,
    times: Times,
    streams: Vec<Stream<'a>>,
    /// The names that ftrace had saved, in the order of the file.
    names: Vec<(Tid, Comm)>,
    /// The process of a thread, where saved.
    tgids: FxHashMap<Tid, Pid>,
    /// The text of /proc/kallsyms; empty where it was not saved.
    kallsyms: &'a [u8],
    /// What was wrong with the file before any record was read: byte offset of each.
    damage: Vec<(Problem, u64)>,
}

/// The sub-buffers that one CPU wrote into one buffer.
#[derive(Debug)]
struct Stream<'a> {
    cpu: Cpu,
    /// Name of the buffer.
    buffer: &'a str,
    data: &'a [u8],
    layout: PageLayout,
    /// Where the data begin in the file.
    offset: u64,
    /// Whether they stand there as they are; else they were compressed.
    plain: bool,
    /// Number of its first record.
    base: u64,
    /// Lost before its first event, as far as no sub-buffer tells.
    lost_before: u64,
    /// Lost before the first sub-buffer that says that events were, and not how many.
    lost_unknown: u64,
    /// Lost at times that nothing tells.
    dropped: u64,
}

impl Stream<'_> {
    /// The byte of the file where something at `at` of the data stands.
    fn offset_of(&self, at: usize) -> u64 {
        self.offset.saturating_add(if self.plain { at as u64 } else { 0 })
    }
}

impl<'a> TraceDat<'a> {
    /// `sections` is what [`unpack`] made of the same bytes.
    pub(crate) fn open(
        bytes: &'a [u8],
        sections: &'a Sections,
        options: &ReadOptions,
    ) -> Result<Self, Error> {
        let facts = &sections.facts;
        let texts = formats::collect(bytes, sections);
        let mut streams = survey::streams(bytes, sections)?;
        let survey = survey::survey(&streams, &texts);
        let names = formats::names(sections.cmdlines.of(bytes));
        survey::number(&mut streams, &survey, facts, names.len() as u64);
        let mut info = info::read(sections, options)?;
        let types = Types::new(&texts, &survey.seen, &mut info);
        let tgids: FxHashMap<Tid, Pid> = facts.tgids.iter().copied().collect();
        info.fidelity.processes = !tgids.is_empty();
        Ok(Self {
            info,
            types,
            times: facts.times.clone(),
            streams,
            names,
            tgids,
            kallsyms: sections.kallsyms.of(bytes),
            damage: sections.damage.clone(),
        })
    }

    /// Whether any stack was recorded.
    pub(crate) fn has_stacks(&self) -> bool {
        self.types.has_stacks()
    }

    /// The text of /proc/kallsyms.
    pub(crate) fn kallsyms(&self) -> Option<&'a [u8]> {
        let text = cursor::until_nul(self.kallsyms);
        (!text.is_empty()).then_some(text)
    }

    /// Counts what was wrong with the file before any record was read.
    fn count_damage(&self, diagnostics: &mut Diagnostics) {
        for (problem, offset) in &self.damage {
            diagnostics.add(*problem, Cpu::NONE, 1, None, Some(*offset));
        }
    }
}

impl<'a> TraceDat<'a> {
    /// How many bytes there are to walk over.
    pub(crate) fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.data.len() as u64).sum()
    }

    /// Delivers all events, with batches of at least `batch` records.
    pub(crate) fn read(
        &self,
        batch: usize,
        course: &Course,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Totals {
        let walk = Walk::new(self, batch);
        let decode = |entry: &_, stats: &mut _, events: &mut _| self.decode(entry, stats, events);
        stream::read(&self.info, walk, decode, course, diagnostics, sink)
    }
}
