//! The attributes of a perf.data file: which events were asked for, with which ids.

use super::header::Header;
use super::layout::SampleLayout;
use crate::cursor::{i32_at, slice_at, u32_at, u64_at};
use crate::error::Error;

pub(crate) const TYPE_SOFTWARE: u32 = 1;
pub(crate) const TYPE_TRACEPOINT: u32 = 2;
/// `PERF_COUNT_SW_DUMMY`: carries sideband records, never a sample of its own.
pub(crate) const SW_DUMMY: u64 = 9;

/// Bits of `struct perf_event_attr`'s flag word.
pub(crate) mod flag {
    pub(crate) const FREQ: u64 = 1 << 10;
    pub(crate) const ENABLE_ON_EXEC: u64 = 1 << 12;
    pub(crate) const MMAP_DATA: u64 = 1 << 17;
    pub(crate) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(crate) const USE_CLOCKID: u64 = 1 << 25;
}

/// `struct perf_event_attr` (include/uapi/linux/perf_event.h) as far as it is used.
#[derive(Clone, Debug)]
pub(crate) struct Attr {
    pub(crate) kind: u32,
    pub(crate) config: u64,
    pub(crate) sample_period: u64,
    pub(crate) flags: u64,
    pub(crate) clockid: i32,
    pub(crate) layout: SampleLayout,
    /// The ids that the kernel gave it: one for each CPU, or task and CPU.
    pub(crate) ids: Vec<u64>,
    /// Its bytes in the file, for `cut`.
    pub(crate) bytes: std::ops::Range<usize>,
}

impl Attr {
    pub(crate) fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn parse(entry: &[u8]) -> Option<Self> {
        let flags = u64_at(entry, 40)?;
        let layout = SampleLayout::new(
            u64_at(entry, 24)?,
            u64_at(entry, 32)?,
            flags & flag::SAMPLE_ID_ALL != 0,
        );
        Some(Self {
            kind: u32_at(entry, 0)?,
            config: u64_at(entry, 8)?,
            sample_period: u64_at(entry, 16)?,
            flags,
            clockid: i32_at(entry, 92).unwrap_or(0),
            layout,
            ids: Vec::new(),
            bytes: 0..0,
        })
    }
}

/// All attributes, in the order of the file.
pub(crate) fn parse(bytes: &[u8], header: &Header) -> Result<Vec<Attr>, Error> {
    let bad = |what: &str| Error::Malformed { offset: header.attrs.offset, what: what.to_owned() };
    let section = slice_at(bytes, header.attrs.offset, header.attrs.size)
        .ok_or_else(|| bad("the attribute section reaches beyond the end of the file"))?;
    // Each entry: the attribute, then the section of its ids. The first version of
    // the attribute (`PERF_ATTR_SIZE_VER0`) has 64 bytes.
    let size = usize::try_from(header.attr_size).ok().filter(|s| (64 + 16..=4096).contains(s));
    let size = size.ok_or_else(|| bad("the size of an attribute is impossible"))?;
    let ids_at = size.saturating_sub(16);
    let start = usize::try_from(header.attrs.offset).unwrap_or(usize::MAX);
    let mut attrs = Vec::new();
    for (index, entry) in section.chunks_exact(size).enumerate() {
        let mut attr = entry
            .get(..ids_at)
            .and_then(Attr::parse)
            .ok_or_else(|| bad("an attribute is cut off"))?;
        let (offset, len) = (u64_at(entry, ids_at), u64_at(entry, ids_at.saturating_add(8)));
        let ids = slice_at(bytes, offset.unwrap_or(0), len.unwrap_or(0))
            .ok_or_else(|| bad("an attribute's ids lie beyond the end of the file"))?;
        attr.ids = ids.chunks_exact(8).filter_map(|id| u64_at(id, 0)).collect();
        let from = start.saturating_add(index.saturating_mul(size));
        attr.bytes = from..from.saturating_add(ids_at);
        attrs.push(attr);
    }
    if attrs.is_empty() {
        return Err(bad("the file has no event attributes: nothing was recorded"));
    }
    Ok(attrs)
}

/// Sample id to attribute, without hashing where the ids are dense, as the kernel
/// hands them out.
#[derive(Debug)]
pub(crate) struct IdTable {
    base: u64,
    dense: Vec<u16>,
    sparse: rustc_hash::FxHashMap<u64, u16>,
}

const NO_ATTR: u16 = u16::MAX;

impl IdTable {
    pub(crate) fn new(attrs: &[Attr]) -> Self {
        let ids = || {
            let indexed = (0..NO_ATTR).zip(attrs);
            indexed.flat_map(|(index, attr)| attr.ids.iter().map(move |id| (*id, index)))
        };
        let base = ids().map(|(id, _)| id).min().unwrap_or(0);
        let last = ids().map(|(id, _)| id).max().unwrap_or(0);
        let span = usize::try_from(last.saturating_sub(base)).unwrap_or(usize::MAX);
        let count = ids().count();
        let mut table = Self { base, dense: Vec::new(), sparse: rustc_hash::FxHashMap::default() };
        if count > 0 && span < count.saturating_mul(16).saturating_add(1024) {
            table.dense = vec![NO_ATTR; span.saturating_add(1)];
        }
        for (id, index) in ids() {
            let slot = usize::try_from(id.wrapping_sub(base)).ok();
            match slot.and_then(|slot| table.dense.get_mut(slot)) {
                Some(slot) => *slot = index,
                None => {
                    table.sparse.insert(id, index);
                }
            }
        }
        table
    }

    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<usize> {
        let slot = id.wrapping_sub(self.base) as usize;
        let found = match self.dense.get(slot) {
            Some(found) => *found,
            None if self.sparse.is_empty() => NO_ATTR,
            None => self.sparse.get(&id).copied().unwrap_or(NO_ATTR),
        };
        (found != NO_ATTR).then_some(found.into())
    }
}
