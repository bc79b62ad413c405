//! The head of a perf.data file: where attributes, features and records lie.

use super::attrs::{self, Attr};
use super::pipe;
use crate::cursor::{Cursor, Endian, slice_at};
use crate::error::Error;

/// Features as `tools/perf/util/header.h` numbers them.
pub(crate) mod feature {
    pub(crate) const TRACING_DATA: u32 = 1;
    pub(crate) const BUILD_ID: u32 = 2;
    pub(crate) const HOSTNAME: u32 = 3;
    pub(crate) const OSRELEASE: u32 = 4;
    pub(crate) const VERSION: u32 = 5;
    pub(crate) const ARCH: u32 = 6;
    pub(crate) const NRCPUS: u32 = 7;
    pub(crate) const CPUDESC: u32 = 8;
    pub(crate) const CPUID: u32 = 9;
    pub(crate) const TOTAL_MEM: u32 = 10;
    pub(crate) const CMDLINE: u32 = 11;
    pub(crate) const EVENT_DESC: u32 = 12;
    pub(crate) const CPU_TOPOLOGY: u32 = 13;
    pub(crate) const NUMA_TOPOLOGY: u32 = 14;
    pub(crate) const PMU_MAPPINGS: u32 = 16;
    pub(crate) const AUXTRACE: u32 = 18;
    pub(crate) const CACHE: u32 = 20;
    pub(crate) const SAMPLE_TIME: u32 = 21;
    pub(crate) const CLOCKID: u32 = 23;
    pub(crate) const DIR_FORMAT: u32 = 24;
    pub(crate) const COMPRESSED: u32 = 27;
    pub(crate) const CLOCK_DATA: u32 = 29;
}

/// A range of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Section {
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Self { offset: cursor.u64()?, size: cursor.u64()? })
    }
}

/// Everything of a perf.data but what its records say, whatever its form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head<'a> {
    pub(crate) endian: Endian,
    pub(crate) attrs: Vec<Attr<'a>>,
    /// Feature bits and their bytes, in the order of the file.
    pub(crate) features: Vec<(u32, &'a [u8])>,
    /// Names that EVENT_UPDATE records give to ids (pipe mode alone).
    pub(crate) names: Vec<(u64, &'a [u8])>,
    /// The records, as they lie in the file: perhaps compressed, perhaps big-endian.
    pub(crate) data: &'a [u8],
    /// Where `data` begin.
    pub(crate) data_offset: u64,
    /// How the records end.
    pub(crate) end: DataEnd,
}

/// How the records of a file end. perf writes where they end, and then the features,
/// when it is done: whatever stops it before, the features are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DataEnd {
    /// Where the header says, or in a pipe where the stream ends.
    #[default]
    Whole,
    /// So many bytes of records are missing: the file was cut.
    Missing(u64),
    /// The recorder was killed; how much it had not yet written is not told.
    Killed,
    /// The records are whole, but the features behind them were cut.
    FeaturesCut,
}

const MAGIC: &[u8; 8] = b"PERFILE2";
pub(crate) const FILE_HEADER: u64 = 104;
/// `sizeof(struct perf_pipe_file_header)`.
pub(crate) const PIPE_HEADER: u64 = 16;

impl<'a> Head<'a> {
    /// The order of bytes, where this is a perf.data at all.
    pub(crate) fn recognize(bytes: &[u8]) -> Option<Endian> {
        let magic = bytes.get(..8)?;
        if magic == MAGIC {
            return Some(Endian::Little);
        }
        magic.iter().rev().eq(MAGIC).then_some(Endian::Big)
    }

    /// # Errors
    /// Where the file is none, or its header contradicts itself.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let short = || Error::Malformed {
            offset: bytes.len() as u64,
            what: "the file ends within perf's header; copy it again, or record again".to_owned(),
        };
        let Some(endian) = Self::recognize(bytes) else {
            return Err(if bytes.len() < 8 && MAGIC.starts_with(bytes) {
                short()
            } else {
                Error::unknown_format(bytes)
            });
        };
        let mut cursor = Cursor::with(bytes.get(8..).unwrap_or(&[]), endian);
        let size = cursor.u64().ok_or_else(short)?;
        if size == PIPE_HEADER {
            return pipe::head(bytes, endian);
        }
        if size < FILE_HEADER {
            return Err(Error::Malformed {
                offset: 8,
                what: format!(
                    "perf's header claims {size} bytes, at least {FILE_HEADER} are needed"
                ),
            });
        }
        // `struct perf_file_header` (tools/perf/util/header.h): the size of an
        // attribute, attributes, data, event types (unused), 256 feature bits.
        let attr_size = cursor.u64().ok_or_else(short)?;
        let attrs = Section::read(&mut cursor).ok_or_else(short)?;
        let mut data = Section::read(&mut cursor).ok_or_else(short)?;
        let _event_types = Section::read(&mut cursor).ok_or_else(short)?;
        let mut flags = [0; 4];
        for word in &mut flags {
            *word = cursor.u64().ok_or_else(short)?;
        }
        let total = bytes.len() as u64;
        if data.offset > total {
            return Err(Error::Malformed {
                offset: 40,
                what: format!("the data section begins at byte {}, beyond the end", data.offset),
            });
        }
        let rest = total.saturating_sub(data.offset);
        let mut end = match data.size {
            0 => DataEnd::Killed,
            size if size > rest => DataEnd::Missing(size.saturating_sub(rest)),
            _ => DataEnd::Whole,
        };
        let mut list = Vec::new();
        if end == DataEnd::Whole {
            if !features(bytes, endian, data, flags, &mut list) {
                end = DataEnd::FeaturesCut;
            }
        } else {
            data.size = rest;
        }
        Ok(Self {
            endian,
            attrs: attrs::of_file(bytes, endian, attr_size, attrs)?,
            features: list,
            names: Vec::new(),
            data: slice_at(bytes, data.offset, data.size).unwrap_or(&[]),
            data_offset: data.offset,
            end,
        })
    }

    /// The bytes of a feature; `None` where it is absent.
    pub(crate) fn feature(&self, bit: u32) -> Option<&'a [u8]> {
        self.features.iter().find(|(b, _)| *b == bit).map(|(_, body)| *body)
    }

    /// A feature, to be read value by value.
    pub(crate) fn cursor(&self, bit: u32) -> Option<Cursor<'a>> {
        self.feature(bit).map(|body| Cursor::with(body, self.endian))
    }
}

/// The feature table lies behind the data: one section for each bit, in order. False
/// where the file ends before they do; then what is there of each is taken.
fn features<'a>(
    bytes: &'a [u8],
    endian: Endian,
    data: Section,
    flags: [u64; 4],
    features: &mut Vec<(u32, &'a [u8])>,
) -> bool {
    let table = usize::try_from(data.offset.saturating_add(data.size)).unwrap_or(usize::MAX);
    let mut cursor = Cursor::with(bytes.get(table..).unwrap_or(&[]), endian);
    let mut whole = true;
    // A big-endian writer's bitmap is of `unsigned long`, so words are in its order.
    for bit in 0..256_u32 {
        let word = flags.get((bit / 64) as usize).copied().unwrap_or(0);
        if word >> (bit % 64) & 1 == 0 {
            continue;
        }
        let Some(section) = Section::read(&mut cursor) else { return false };
        let body = slice_at(bytes, section.offset, section.size);
        whole &= body.is_some();
        let rest = || usize::try_from(section.offset).ok().and_then(|at| bytes.get(at..));
        features.extend(body.or_else(rest).map(|body| (bit, body)));
    }
    whole
}
