//! The attributes of a perf.data file: which events were asked for, with which ids.

use super::header::Section;
use super::layout::{Asked, SampleLayout};
use crate::cursor::{Cursor, Endian, slice_at};
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

/// How many bytes an attribute may have: from `PERF_ATTR_SIZE_VER0` to what the kernel
/// takes at most, a page.
pub(crate) const ATTR_SIZES: std::ops::RangeInclusive<usize> = 64..=4080;

/// `struct perf_event_attr` (include/uapi/linux/perf_event.h) as far as it is used.
#[derive(Clone, Debug)]
pub(crate) struct Attr<'a> {
    pub(crate) kind: u32,
    pub(crate) config: u64,
    pub(crate) sample_period: u64,
    pub(crate) flags: u64,
    pub(crate) clockid: i32,
    pub(crate) layout: SampleLayout,
    /// The ids that the kernel gave it: one for each CPU, or task and CPU.
    pub(crate) ids: Vec<u64>,
    /// Its bytes in the file, in the order of the file, for `cut`.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Attr<'a> {
    pub(crate) fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// The attribute alone, without ids.
    pub(crate) fn parse(bytes: &'a [u8], endian: Endian) -> Option<Self> {
        let mut cursor = Cursor::with(bytes, endian);
        let (kind, _size) = (cursor.u32()?, cursor.u32()?);
        let (config, sample_period) = (cursor.u64()?, cursor.u64()?);
        let (sample_type, read_format) = (cursor.u64()?, cursor.u64()?);
        let flags = match endian {
            Endian::Little => cursor.u64()?,
            // Bit fields fill each byte from its other end there
            // (`perf_event__attr_swap` in tools/perf/util/session.c).
            Endian::Big => {
                let bytes: [u8; 8] = cursor.bytes(8)?.first_chunk().copied()?;
                u64::from_le_bytes(bytes.map(u8::reverse_bits))
            }
        };
        let u64_at = |at: usize| bytes.get(at..).and_then(|b| Cursor::with(b, endian).u64());
        // Fields that older versions of the structure do not have are 0.
        let asked = Asked {
            sample_type,
            read_format,
            sample_id_all: flags & flag::SAMPLE_ID_ALL != 0,
            branch_sample_type: u64_at(72).unwrap_or(0),
            regs_user: u64_at(80).unwrap_or(0),
            regs_intr: u64_at(96).unwrap_or(0),
        };
        let layout = SampleLayout::new(&asked);
        let clockid = bytes.get(92..).and_then(|b| Cursor::with(b, endian).u32());
        Some(Self {
            kind,
            config,
            sample_period,
            flags,
            clockid: clockid.unwrap_or(0) as i32,
            layout,
            ids: Vec::new(),
            bytes,
        })
    }
}

/// All attributes of a file, in its order.
pub(crate) fn of_file(
    bytes: &[u8],
    endian: Endian,
    attr_size: u64,
    section: Section,
) -> Result<Vec<Attr<'_>>, Error> {
    let bad = |what: &str| Error::Malformed { offset: section.offset, what: what.to_owned() };
    let body = slice_at(bytes, section.offset, section.size)
        .ok_or_else(|| bad("the attribute section reaches beyond the end of the file"))?;
    // Each entry: the attribute, then the section of its ids.
    let size = usize::try_from(attr_size).ok().and_then(|s| s.checked_sub(16));
    let size = size.filter(|s| ATTR_SIZES.contains(s));
    let size = size.ok_or_else(|| bad("the size of an attribute is impossible"))?;
    let mut attrs = Vec::new();
    for entry in body.chunks_exact(size.saturating_add(16)) {
        let (attr, ids) =
            entry.split_at_checked(size).ok_or_else(|| bad("an attribute is cut off"))?;
        let mut attr = Attr::parse(attr, endian).ok_or_else(|| bad("an attribute is cut off"))?;
        let mut cursor = Cursor::with(ids, endian);
        let (offset, len) = (cursor.u64().unwrap_or(0), cursor.u64().unwrap_or(0));
        let ids = slice_at(bytes, offset, len)
            .ok_or_else(|| bad("an attribute's ids lie beyond the end of the file"))?;
        let mut cursor = Cursor::with(ids, endian);
        attr.ids = std::iter::from_fn(|| cursor.u64()).collect();
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
    pub(crate) fn new(attrs: &[Attr<'_>]) -> Self {
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
