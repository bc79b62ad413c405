//! perf.data of every form to events.

mod attrs;
mod build_ids;
mod command_line;
mod cut;
mod decode;
mod dump;
mod features;
mod header;
mod layout;
mod order;
mod pipe;
mod plain;
mod plan;
mod record;
mod redact;
mod repeat;
mod scrub;
mod sideband;
mod skim;
mod stacks;
mod swap;
mod tail;
mod tasks;
#[cfg(test)]
mod tests;
mod tracing_data;
mod write;

use attrs::{Attr, IdTable, TYPE_TRACEPOINT};
pub use cut::cut;
pub(crate) use features::cpu_list;
use header::Head;
use layout::FrontWords;
use order::{Entry, Pass, Walk};
pub(crate) use plain::{Plain, make as make_plain};
use plan::Plan;
pub(crate) use plan::{FormatsById, format_texts, formats_by_id};
pub use redact::Redactor;
pub use repeat::Repeat;
pub(crate) use stacks::Stacks;

use prefetch_index::prefetch_index;

use crate::capture::{CaptureInfo, Totals};
use crate::cursor::{u16_at, u64_at};
use crate::diagnostics::Diagnostics;
use crate::error::Error;
use crate::events::Event;
use crate::formats::Formats;
use crate::source::Skim;
use crate::stream::{self, Course};
use crate::unpack::Unpacked;

/// An opened perf.data: everything but the records.
#[derive(Debug)]
pub(crate) struct PerfData<'a> {
    pub(crate) info: CaptureInfo,
    head: Head<'a>,
    /// The records, plain and little-endian.
    data: &'a [u8],
    /// Where they come from, if they do not lie so in the file.
    made: Option<&'a Plain>,
    /// They end too early, inside of a compressed stream or of a part of a folder.
    cut: bool,
    plans: Vec<Plan>,
    ids: IdTable,
    attr_by: AttrBy,
    /// Where all samples begin alike.
    words: Option<FrontWords>,
}

/// So many records before its own a record is asked for, so that it is in the cache when it is
/// decoded: since the walk was there, several megabytes have gone through it.
const AHEAD: usize = 16;

/// Where the cache lines that are asked for are, from a record's start: most have no more.
const FRONT_LINES: [usize; 2] = [0, 64];

/// What tells the attribute of a sample.
#[derive(Clone, Copy, Debug)]
enum AttrBy {
    /// There is only one.
    Only,
    /// The id at this place, the same for all attributes.
    Id(usize),
    /// There are no ids, but every attribute is a tracepoint of the same layout: the
    /// `common_type` that the payload begins with.
    Type,
}

impl<'a> PerfData<'a> {
    /// Whether the input begins as one. A file that is shorter than the mark may be one
    /// that was cut.
    pub(crate) fn recognize(bytes: &[u8]) -> bool {
        Head::recognize(bytes).is_some() || (!bytes.is_empty() && b"PERFILE2".starts_with(bytes))
    }

    /// `formats` stand in for those that the capture lacks.
    pub(crate) fn open(
        unpacked: &'a Unpacked<'_>,
        formats: Option<&Formats>,
    ) -> Result<Self, Error> {
        let head = Head::parse(&unpacked.bytes)?;
        let made = unpacked.perf_plain();
        if made.is_none() && plain::is_folder(&head) {
            return Err(Error::Unsupported {
                what: "this is one file of a folder that `perf record --threads` made; give the \
                       folder"
                    .to_owned(),
            });
        }
        let mut info = features::read(&head);
        let missing = |formats: &FormatsById<'_>| {
            let tracepoints = || head.attrs.iter().filter(|a| a.kind == TYPE_TRACEPOINT);
            tracepoints().next().is_some()
                && tracepoints().all(|a| !formats.contains_key(&a.config))
        };
        let own = plan::formats(&head);
        let given = formats.filter(|_| missing(&own)).map(Formats::by_id);
        let used = given.as_ref().unwrap_or(&own);
        info.formats_missing = missing(used);
        let plans = plan::compile(&head, used, &mut info);
        let ids = IdTable::new(&head.attrs);
        let attr_by = AttrBy::of(&head.attrs)?;
        let data = made.map_or(head.data, |plain| &plain.data);
        let cut = unpacked.cut || made.is_some_and(|plain| plain.cut);
        let words = FrontWords::of(head.attrs.iter().map(|attr| &attr.layout));
        let words = words.filter(|_| matches!(attr_by, AttrBy::Id(_)));
        let perf = Self { info, head, data, made, cut, plans, ids, attr_by, words };
        if let Some(given) = &given {
            perf.formats_fit(given)?;
        }
        Ok(perf)
    }

    /// Whether the first samples are as long as formats from elsewhere say: ids are
    /// handed out anew at each boot.
    fn formats_fit(&self, formats: &FormatsById<'_>) -> Result<(), Error> {
        const SAMPLES: usize = 1 << 14;
        let attrs = self.head.attrs.iter();
        let fixed: Vec<Option<usize>> =
            attrs.map(|a| formats.get(&a.config)?.1.fixed_size()).collect();
        let mut position = 0;
        let records = std::iter::from_fn(|| {
            let raw = record::at(self.data, position).ok()?;
            position = raw.next();
            Some(raw)
        });
        for raw in records.filter(|r| r.kind == record::kind::SAMPLE).take(SAMPLES) {
            let Some(attr) = self.attr_of(raw.bytes) else { continue };
            let layout = self.head.attrs.get(attr).map(|a| &a.layout);
            let len = layout.and_then(|l| l.raw(raw.bytes)).map(<[u8]>::len);
            // The kernel pads the structure, then raw data with its length, to 8 bytes.
            if let (Some(Some(fixed)), Some(len)) = (fixed.get(attr), len)
                && !(*fixed..fixed.next_multiple_of(8).saturating_add(8)).contains(&len)
            {
                return Err(Error::Malformed {
                    offset: self.offset(raw.offset),
                    what: format!(
                        "a sample has {len} bytes where the given formats say {fixed}: they are \
                         of another kernel or boot; give those of the boot that was recorded"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Where a byte of the data lies in the input.
    fn offset(&self, position: usize) -> u64 {
        match self.made {
            Some(plain) => plain.offset(position),
            None => self.head.data_offset.saturating_add(position as u64),
        }
    }

    /// The attribute of a sample.
    #[inline]
    fn attr_of(&self, sample: &[u8]) -> Option<usize> {
        match self.attr_by {
            AttrBy::Only => Some(0),
            AttrBy::Id(at) => self.ids.get(u64_at(sample, at)?),
            AttrBy::Type => {
                let payload = self.head.attrs.first()?.layout.raw(sample)?;
                let kind = u64::from(u16_at(payload, 0)?);
                self.head.attrs.iter().position(|attr| attr.config == kind)
            }
        }
    }

    /// The attribute of a sideband record, by the id in its trailer. Records that
    /// perf made up itself have the id 0 and the layout of the first attribute.
    fn attr_of_sideband(&self, record: &[u8]) -> usize {
        let layout = self.head.attrs.first().and_then(|a| a.layout.trailer.id);
        let id = layout
            .and_then(|back| record.len().checked_sub(back))
            .and_then(|at| u64_at(record, at));
        id.and_then(|id| self.ids.get(id)).unwrap_or(0)
    }
}

impl<'a> PerfData<'a> {
    /// How many bytes there are to walk over.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// Delivers all events, but for what `skim` passes over, with batches of at least `batch`
    /// records.
    pub(crate) fn read(
        &self,
        batch: usize,
        skim: Option<&Skim>,
        course: &Course,
        diagnostics: &mut Diagnostics,
        sink: &mut dyn FnMut(&[Event<'a>]),
    ) -> Totals {
        let walk = Walk::new(self, batch, Pass::Events).skimming(skim);
        let decode = |entries: &[Entry], stats: &mut _, events: &mut _| {
            self.ahead(entries).for_each(|entry| self.decode(entry, stats, events));
        };
        stream::read_runs(&self.info, walk, decode, course, diagnostics, sink)
    }

    /// These entries; before each the record of one further on is asked for.
    #[inline]
    fn ahead<'e>(&self, entries: &'e [Entry]) -> impl Iterator<Item = &'e Entry> {
        entries.iter().enumerate().map(|(i, entry)| {
            if let Some(later) = entries.get(i.saturating_add(AHEAD)) {
                for line in FRONT_LINES {
                    prefetch_index(self.data, later.offset.saturating_add(line));
                }
            }
            entry
        })
    }
}

impl AttrBy {
    fn of(attrs: &[Attr<'_>]) -> Result<Self, Error> {
        let Some(first) = attrs.first().filter(|_| attrs.len() > 1) else { return Ok(Self::Only) };
        let same = attrs.iter().all(|a| a.layout.id == first.layout.id);
        let tracepoints =
            || attrs.iter().all(|a| a.kind == TYPE_TRACEPOINT && a.layout == first.layout);
        match first.layout.id {
            Some(at) if same => Ok(Self::Id(at)),
            None if same && tracepoints() => Ok(Self::Type),
            _ => Err(Error::Unsupported {
                what: "the events of this perf.data keep their ids in different places, or have \
                       none, so their samples cannot be told apart; record all events with one \
                       `perf record`"
                    .to_owned(),
            }),
        }
    }
}
