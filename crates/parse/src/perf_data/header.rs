//! The first 104 bytes of a perf.data file, and where its feature sections lie.

use crate::cursor::{slice_at, u64_at};
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

/// `struct perf_file_header`, checked.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) attr_size: u64,
    pub(crate) attrs: Section,
    /// The records; reaches to the end of the file where the recorder was killed.
    pub(crate) data: Section,
    /// Feature bits, 256 of them.
    pub(crate) flags: [u64; 4],
    /// Features and their sections, in the order of the file.
    pub(crate) features: Vec<(u32, Section)>,
    /// The data section reaches beyond the end of the file, or was never closed.
    pub(crate) truncated: bool,
}

const MAGIC: &[u8; 8] = b"PERFILE2";
const FILE_HEADER: u64 = 104;

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let short = || Error::Malformed {
            offset: bytes.len() as u64,
            what: "the file ends within perf's header; copy it again, or record again".to_owned(),
        };
        let magic = bytes.get(..8).ok_or_else(short)?;
        if magic.iter().rev().eq(MAGIC) {
            return Err(Error::Unsupported {
                what: "this perf.data was recorded on a big-endian machine, which agenttrace does not read"
                    .to_owned(),
            });
        }
        if magic != MAGIC {
            return Err(Error::UnknownFormat { magic: magic.to_vec() });
        }
        let word = |index: usize| u64_at(bytes, index.saturating_mul(8)).ok_or_else(short);
        let size = word(1)?;
        if size == 16 {
            return Err(Error::Unsupported {
                what:
                    "this perf.data was written to a pipe, a form that agenttrace does not read; \
                       record with `perf record -o FILE` and no `-o -`"
                        .to_owned(),
            });
        }
        if size < FILE_HEADER {
            return Err(Error::Malformed {
                offset: 8,
                what: format!(
                    "perf's header claims {size} bytes, at least {FILE_HEADER} are needed"
                ),
            });
        }
        let section = |index: usize| {
            Ok(Section { offset: word(index)?, size: word(index.saturating_add(1))? })
        };
        let attr_size = word(2)?;
        let attrs = section(3)?;
        let mut data = section(5)?;
        let flags = [word(9)?, word(10)?, word(11)?, word(12)?];
        let total = bytes.len() as u64;
        if data.offset > total {
            return Err(Error::Malformed {
                offset: 40,
                what: format!("the data section begins at byte {}, beyond the end", data.offset),
            });
        }
        let mut header =
            Self { attr_size, attrs, data, flags, features: Vec::new(), truncated: false };
        let rest = total.saturating_sub(data.offset);
        if data.size == 0 || data.size > rest {
            // A killed recorder leaves the size at 0, and no features.
            data.size = rest;
            header.data = data;
            header.truncated = true;
            return Ok(header);
        }
        header.features = header.sections(bytes);
        Ok(header)
    }

    /// The feature table lies behind the data: one section for each bit, in order.
    fn sections(&self, bytes: &[u8]) -> Vec<(u32, Section)> {
        let mut at =
            usize::try_from(self.data.offset.saturating_add(self.data.size)).unwrap_or(usize::MAX);
        let mut features = Vec::new();
        for bit in 0..256_u32 {
            let word = self.flags.get((bit / 64) as usize).copied().unwrap_or(0);
            if word >> (bit % 64) & 1 == 0 {
                continue;
            }
            let next = at.saturating_add(8);
            let (Some(offset), Some(size)) = (u64_at(bytes, at), u64_at(bytes, next)) else {
                break;
            };
            features.push((bit, Section { offset, size }));
            at = next.saturating_add(8);
        }
        features
    }

    /// The bytes of a feature; `None` where it is absent or outside of the file.
    pub(crate) fn feature<'a>(&self, bytes: &'a [u8], bit: u32) -> Option<&'a [u8]> {
        let (_, section) = self.features.iter().find(|(b, _)| *b == bit)?;
        slice_at(bytes, section.offset, section.size)
    }
}
