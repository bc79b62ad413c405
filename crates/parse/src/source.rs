//! A capture of any format, told apart by its content.

use std::sync::atomic::Ordering;

use crate::attach::{Attach, Piece};
use crate::capture::{CaptureInfo, ClockId, Totals};
use crate::chunks::CHUNK;
use crate::diagnostics::Diagnostics;
use crate::error::Error;
use crate::events::Event;
use crate::events_text::EventsText;
use crate::formats::Formats;
use crate::ftrace::{self, FtraceText};
use crate::perf_data::{self, PerfData};
use crate::stack::{ListedModule, StackEvent};
use crate::stream::{self, Course};
use crate::topology::Topology;
use crate::trace_dat::{self, TraceDat};
use crate::units::Nanos;
use crate::unpack::{Plain, Unpacked};

/// What the user says about a capture that it does not say itself.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The clock of the times, for text and trace.dat, which may not name it
    /// (`--trace-clock`).
    pub trace_clock: Option<ClockId>,
    /// Formats for a perf.data that lacks them (`--formats`).
    pub formats: Option<Formats>,
    /// Where the CPUs sit, in place of what the capture tells (`--topology`, `--context`).
    pub topology: Option<Topology>,
}

/// An opened capture, of any format.
#[derive(Debug)]
pub struct Capture<'a> {
    form: Form<'a>,
    /// The present pass, or the last one.
    course: Course,
}

/// How far a pass over a capture is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes that the pass reads: those of the records, without what compression saved.
    pub of: u64,
}

/// A part of a capture of which only what matters later is wanted: page faults, and calls that
/// tell nothing, are passed over there.
#[derive(Clone, Debug)]
pub struct Skim {
    /// Where that part ends.
    pub before: Nanos,
    /// By number, what a call of `raw_syscalls` in which nothing but faults was recorded leaves
    /// behind. Of numbers beyond the list: [`Leaves::More`].
    pub calls: Vec<Leaves>,
}

/// What matters later of a call in which nothing else happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaves {
    /// Nothing.
    Nothing,
    /// An fd, its result; nothing where it fails.
    Fd {
        /// Which argument holds its flags.
        flags: usize,
        /// With any of these bits it may leave more.
        unless: u64,
    },
    /// The fd that is its first argument is gone.
    Closed,
    /// More than that.
    More,
}

#[derive(Debug)]
enum Form<'a> {
    PerfData(Box<PerfData<'a>>),
    TraceDat(Box<TraceDat<'a>>),
    Text(Box<FtraceText<'a>>),
    Events(Box<EventsText<'a>>),
}

impl<'a> Form<'a> {
    fn open(unpacked: &'a Unpacked<'_>, options: &ReadOptions) -> Result<Self, Error> {
        let bytes: &'a [u8] = &unpacked.bytes;
        Ok(match &unpacked.plain {
            Plain::TraceDat(sections) => {
                Self::TraceDat(Box::new(TraceDat::open(bytes, sections, options)?))
            }
            // First: a perf.data holds texts, and may hold any.
            Plain::AsIs | Plain::Perf(_) if PerfData::recognize(bytes) => {
                Self::PerfData(Box::new(PerfData::open(unpacked, options.formats.as_ref())?))
            }
            Plain::AsIs if EventsText::recognize(bytes) => {
                Self::Events(Box::new(EventsText::open(bytes)?))
            }
            Plain::AsIs | Plain::Perf(_) => {
                let text = FtraceText::open(bytes, options.trace_clock)?;
                let mut text = text.ok_or_else(|| Error::unknown_format(bytes))?;
                text.cut = unpacked.cut;
                Self::Text(Box::new(text))
            }
        })
    }
}

impl<'a> Capture<'a> {
    /// Reads everything but the records. The content tells the format.
    ///
    /// # Errors
    /// Where the format is unknown or not read, or its header contradicts itself.
    pub fn open(unpacked: &'a Unpacked<'_>, options: &ReadOptions) -> Result<Self, Error> {
        let mut capture = Self { form: Form::open(unpacked, options)?, course: Course::default() };
        let info = match &mut capture.form {
            Form::PerfData(perf) => &mut perf.info,
            Form::TraceDat(dat) => &mut dat.info,
            Form::Text(text) => &mut text.info,
            Form::Events(text) => &mut text.info,
        };
        if let Some(topology) = &options.topology {
            info.topology = topology.clone();
        }
        info.bytes = unpacked.size;
        info.compression = unpacked.compression();
        Ok(capture)
    }

    /// What the capture says of itself.
    #[must_use]
    pub fn info(&self) -> &CaptureInfo {
        match &self.form {
            Form::PerfData(perf) => &perf.info,
            Form::TraceDat(dat) => &dat.info,
            Form::Text(text) => &text.info,
            Form::Events(text) => &text.info,
        }
    }

    /// How far the present pass over the records is, or the last one was. Any thread may
    /// ask, and the sink of [`Capture::read`] and [`Capture::read_stacks`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        let of = match &self.form {
            Form::PerfData(perf) => perf.bytes(),
            Form::TraceDat(dat) => dat.bytes(),
            Form::Text(text) => text.bytes(),
            // Read whole when it was opened.
            Form::Events(_) => 0,
        };
        Progress { bytes: self.course.walked.load(Ordering::Relaxed), of }
    }

    /// Ends the present pass early. The sink still gets the events of a batch or two that
    /// have been read already, and [`Totals`] count what it got.
    pub fn stop(&self) {
        self.course.stop.store(true, Ordering::Relaxed);
    }

    /// The course of the pass that begins.
    fn begin(&self) -> &Course {
        self.course.walked.store(0, Ordering::Relaxed);
        self.course.stop.store(false, Ordering::Relaxed);
        &self.course
    }

    /// Delivers all events in time order, in batches, always on the calling thread.
    /// What the sink sees does not depend on the number of threads.
    ///
    /// Records at time 0, which describe the tasks from before the capture, come
    /// first. A record that comes too late has the time of the last one delivered.
    ///
    /// # Errors
    /// In the text of `dump --stage events`, the first line that cannot be read; in any
    /// other text the same, where more than one line in twenty cannot. Else what is broken
    /// is counted in `diagnostics`.
    pub fn read(
        &self,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Result<Totals, Error> {
        self.read_skimming(None, diagnostics, sink)
    }

    /// The same without much of what `skim` says is not wanted; [`Totals::skimmed`] counts that.
    /// Where [`Capture::skims`] says no, everything is delivered.
    ///
    /// # Errors
    /// As [`Capture::read`].
    pub fn read_skimming(
        &self,
        skim: Option<&Skim>,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Result<Totals, Error> {
        let course = self.begin();
        match &self.form {
            Form::PerfData(perf) => Ok(perf.read(stream::BATCH, skim, course, diagnostics, sink)),
            Form::TraceDat(dat) => Ok(dat.read(CHUNK, course, diagnostics, sink)),
            Form::Text(text) => text.read(course, diagnostics, sink),
            Form::Events(text) => text.read(diagnostics, sink),
        }
    }

    /// Whether [`Capture::read_skimming`] passes over anything.
    #[must_use]
    pub fn skims(&self) -> bool {
        match &self.form {
            Form::PerfData(perf) => perf.skims(),
            Form::TraceDat(_) | Form::Text(_) | Form::Events(_) => false,
        }
    }

    /// Whether any event type was recorded with call chains, or registers and stacks.
    #[must_use]
    pub fn has_stacks(&self) -> bool {
        match &self.form {
            Form::PerfData(perf) => perf.has_stacks(),
            Form::TraceDat(dat) => dat.has_stacks(),
            Form::Text(text) => text.has_stacks(),
            Form::Events(_) => false,
        }
    }

    /// Delivers samples with their stacks, and what is needed to find their code, in time
    /// order, in batches, always on the calling thread, as [`Capture::read`] does events.
    ///
    /// `diagnostics` counts what this pass could not read: of records that become events
    /// as well, the same as [`Capture::read`] counts again.
    ///
    /// # Errors
    /// As [`Capture::read`].
    pub fn read_stacks(
        &self,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[StackEvent<'a>]),
    ) -> Result<(), Error> {
        let course = self.begin();
        match &self.form {
            Form::PerfData(perf) => {
                perf_data::Stacks(perf).read(course, diagnostics, sink);
                Ok(())
            }
            Form::TraceDat(dat) => {
                attached(sink, |push| trace_dat::Stacks(dat).read(course, diagnostics, push));
                Ok(())
            }
            Form::Text(text) => {
                let stacks = ftrace::Stacks(text);
                let totals = attached(sink, |push| stacks.read(course, diagnostics, push));
                text.readable(&totals, diagnostics)
            }
            Form::Events(_) => Ok(()),
        }
    }

    /// The build ids that the recorder listed.
    #[must_use]
    pub fn listed_modules(&self) -> Vec<ListedModule> {
        match &self.form {
            Form::PerfData(perf) => perf.listed_modules(),
            // Their frames have names, or are of the kernel alone.
            Form::TraceDat(_) | Form::Text(_) | Form::Events(_) => Vec::new(),
        }
    }

    /// The text of /proc/kallsyms that the capture holds (trace.dat does).
    #[must_use]
    pub fn kallsyms(&self) -> Option<&[u8]> {
        match &self.form {
            Form::TraceDat(dat) => dat.kallsyms(),
            Form::PerfData(_) | Form::Text(_) | Form::Events(_) => None,
        }
    }

    /// One line a record, in the order of the file: number, byte offset, type, size,
    /// and time, CPU, process and thread where it has them.
    ///
    /// # Errors
    /// As [`Capture::read`].
    pub fn dump_records(&self, line: &mut dyn FnMut(&str)) -> Result<(), Error> {
        match &self.form {
            Form::PerfData(perf) => perf.dump_records(line),
            Form::TraceDat(dat) => {
                dat.dump_records(line);
                Ok(())
            }
            Form::Text(text) => {
                text.dump_records(line);
                Ok(())
            }
            Form::Events(text) => text.dump_records(line),
        }
    }
}

/// Delivers what a reader of ftrace's stacks finds, each with its event.
fn attached<'a>(
    sink: &mut dyn FnMut(&[StackEvent<'a>]),
    read: impl FnOnce(&mut dyn FnMut(&[Piece<'a>])) -> Totals,
) -> Totals {
    let mut attach = Attach::default();
    let totals = read(&mut |pieces| attach.push(pieces, sink));
    attach.finish(sink);
    totals
}
