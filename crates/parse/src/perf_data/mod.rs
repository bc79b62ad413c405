//! perf.data in file mode to events: `perf record -o FILE` wrote it.

mod attrs;
mod cut;
mod decode;
mod dump;
mod features;
mod header;
mod layout;
mod order;
mod plan;
mod record;
mod redact;
mod scrub;
mod sideband;
#[cfg(test)]
mod tests;
mod tracing_data;

use attrs::{Attr, IdTable};
pub use cut::cut;
pub(crate) use features::cpu_list;
use header::{Header, feature};
use order::{Entry, Walk};
use plan::Plan;
pub use redact::Redactor;

use crate::capture::CaptureInfo;
use crate::cursor::slice_at;
use crate::error::Error;
use crate::events::Event;
use crate::stream::{self, Stats};

/// An opened perf.data: everything but the records.
#[derive(Debug)]
pub(crate) struct PerfData<'a> {
    pub(crate) info: CaptureInfo,
    header: Header,
    /// The data section.
    data: &'a [u8],
    attrs: Vec<Attr>,
    plans: Vec<Plan>,
    ids: IdTable,
    /// Where each sample has its id: the same place for all attributes, or there is
    /// only one attribute.
    id_offset: Option<usize>,
}

impl<'a> PerfData<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = Header::parse(bytes)?;
        let data = slice_at(bytes, header.data.offset, header.data.size).unwrap_or(&[]);
        if is_compressed(bytes, &header, data) {
            return Err(Error::Unsupported {
                what: "this perf.data is compressed, a form that agenttrace does not read; \
                       record without `-z`"
                    .to_owned(),
            });
        }
        if header.feature(bytes, feature::DIR_FORMAT).is_some() {
            return Err(Error::Unsupported {
                what: "this perf.data is one part of a directory capture, a form that agenttrace \
                       does not read; record without `--threads`"
                    .to_owned(),
            });
        }
        let attrs = attrs::parse(bytes, &header)?;
        let mut info = features::read(bytes, &header, &attrs);
        let plans = plan::compile(bytes, &header, &attrs, &mut info);
        let ids = IdTable::new(&attrs);
        let first = attrs.first().and_then(|a| a.layout.id);
        let id_offset = first.filter(|_| attrs.len() > 1);
        if id_offset.is_some() && attrs.iter().any(|a| a.layout.id != first) {
            return Err(Error::Unsupported {
                what: "the events of this perf.data keep their ids in different places, so their \
                       samples cannot be told apart; record all events with one `perf record`"
                    .to_owned(),
            });
        }
        Ok(Self { info, header, data, attrs, plans, ids, id_offset })
    }

    /// The attribute of a sample. Samples without ids belong to the first, as perf has it.
    #[inline]
    fn attr_of(&self, sample: &[u8]) -> Option<usize> {
        match self.id_offset {
            None => Some(0),
            Some(at) => self.ids.get(crate::cursor::u64_at(sample, at)?),
        }
    }

    /// The attribute of a sideband record, by the id in its trailer. Records that
    /// perf made up itself have the id 0 and the layout of the first attribute.
    fn attr_of_sideband(&self, record: &[u8]) -> usize {
        let layout = self.attrs.first().and_then(|a| a.layout.trailer.id);
        let id = layout
            .and_then(|back| record.len().checked_sub(back))
            .and_then(|at| crate::cursor::u64_at(record, at));
        id.and_then(|id| self.ids.get(id)).unwrap_or(0)
    }
}

impl<'a> stream::Reader<'a> for PerfData<'a> {
    type Entry = Entry;
    type Walk<'r>
        = Walk<'r, 'a>
    where
        Self: 'r;

    fn info(&self) -> &CaptureInfo {
        &self.info
    }

    fn walk(&self, batch: usize) -> Walk<'_, 'a> {
        Walk::new(self, batch)
    }

    #[inline]
    fn event(&self, entry: &Entry, stats: &mut Stats) -> Option<Event<'a>> {
        self.decode(entry, stats)
    }
}

/// Whether any record is compressed. The feature alone does not tell: `-z` may have
/// had nothing to compress, and a recorder that was killed has not written it.
fn is_compressed(bytes: &[u8], header: &Header, data: &[u8]) -> bool {
    if header.feature(bytes, feature::COMPRESSED).is_none() && !header.truncated {
        return false;
    }
    let mut position = 0;
    while let Ok(raw) = record::at(data, position) {
        if matches!(raw.kind, record::kind::COMPRESSED | record::kind::COMPRESSED2) {
            return true;
        }
        position = raw.next();
    }
    false
}
