//! The build ids that perf lists when it is done: HEADER_BUILD_ID, as a feature of a
//! file or as records of a pipe.

use super::PerfData;
use super::header::feature;
use super::record::{self, Raw, kind};
use crate::build_id::BuildId;
use crate::cursor::{Cursor, Endian, until_nul};
use crate::stack::{ListedModule, Mode};

/// `PERF_RECORD_MISC_BUILD_ID_SIZE`: the build id's size stands behind it (from Linux
/// 5.12); before, all had 20 bytes.
const MISC_SIZE: u16 = 1 << 15;

impl<'a> PerfData<'a> {
    /// The list, in the order of the capture.
    pub(crate) fn listed_modules(&self) -> Vec<ListedModule> {
        let endian = self.build_id_endian();
        self.build_ids().iter().filter_map(|row| module(row, endian)).collect()
    }

    /// The rows of the list, each with the head of a record.
    pub(super) fn build_ids(&self) -> Vec<Raw<'a>> {
        match self.head.feature(feature::BUILD_ID) {
            Some(body) => records(body, self.head.endian).collect(),
            // In a pipe they come when perf finds them out.
            None => {
                let all = records(self.data, Endian::Little);
                all.filter(|raw| raw.kind == kind::HEADER_BUILD_ID).collect()
            }
        }
    }

    /// The order of the rows' bytes: those of a file are as they lie there.
    fn build_id_endian(&self) -> Endian {
        match self.head.feature(feature::BUILD_ID) {
            Some(_) => self.head.endian,
            None => Endian::Little,
        }
    }
}

fn records(bytes: &[u8], endian: Endian) -> impl Iterator<Item = Raw<'_>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let raw = record::at_endian(bytes, position, endian).ok()?;
        position = raw.next();
        Some(raw)
    })
}

/// `struct perf_record_header_build_id` (tools/lib/perf/include/perf/event.h): i32 pid,
/// 20 bytes of id, u8 its size, 3 bytes reserved, path.
pub(super) fn module(row: &Raw<'_>, endian: Endian) -> Option<ListedModule> {
    let mut cursor = Cursor::with(row.bytes.get(8..)?, endian);
    let _pid = cursor.u32()?;
    let (id, size) = (cursor.bytes(20)?, cursor.u8()?);
    cursor.bytes(3)?;
    let size = if row.misc & MISC_SIZE == 0 { id.len() } else { size.into() };
    Some(ListedModule {
        path: String::from_utf8_lossy(until_nul(cursor.rest())).into_owned(),
        build_id: BuildId::new(id.get(..size)?)?,
        kernel: Mode::of_misc(row.misc) == Mode::Kernel,
    })
}
