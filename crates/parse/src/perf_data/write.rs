//! What lies around the records to the parts of a new perf.data file.

use super::PerfData;
use super::header::{FILE_HEADER, Section};
use super::record::kind;

/// A growing file.
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
}

impl Out {
    /// The begin of a file, with the same attributes and a header still to be filled in;
    /// records come behind it. Also where the attributes lie.
    pub(super) fn begin(perf: &PerfData<'_>) -> (Self, Attrs) {
        let mut out = Self { bytes: vec![0; FILE_HEADER as usize] };
        let mut ids = Vec::new();
        for attr in &perf.head.attrs {
            let offset = out.position();
            for id in &attr.ids {
                out.u64(*id);
            }
            ids.push(Section { offset, size: out.position().saturating_sub(offset) });
        }
        // A pipe's attributes say their sizes themselves; a file's are all of one.
        let len = perf.head.attrs.iter().map(|a| a.bytes.len()).max().unwrap_or(0);
        let offset = out.position();
        for (attr, ids) in perf.head.attrs.iter().zip(&ids) {
            out.raw(&padded(attr.bytes, len));
            out.section(*ids);
        }
        let section = Section { offset, size: out.position().saturating_sub(offset) };
        (out, Attrs { section, size: (len as u64).saturating_add(16) })
    }

    pub(super) fn position(&self) -> u64 {
        self.bytes.len() as u64
    }
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    pub(super) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }
    pub(super) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }
    fn section(&mut self, section: Section) {
        self.u64(section.offset);
        self.u64(section.size);
    }
    pub(super) fn round(&mut self) {
        self.u32(kind::FINISHED_ROUND);
        self.u32(8 << 16);
    }

    /// `struct perf_file_header`, in the place kept for it.
    pub(super) fn header(&mut self, attrs: Attrs, data: Section, features: &[(u32, Vec<u8>)]) {
        let mut header = Self { bytes: b"PERFILE2".to_vec() };
        header.u64(FILE_HEADER);
        header.u64(attrs.size);
        header.section(attrs.section);
        header.section(data);
        header.section(Section::default());
        let mut flags = [0_u64; 4];
        for (bit, _) in features {
            if let Some(word) = flags.get_mut((bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
        for word in flags {
            header.u64(word);
        }
        for (to, from) in self.bytes.iter_mut().zip(header.bytes) {
            *to = from;
        }
    }
}

/// Where the attributes lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attrs {
    section: Section,
    /// Of one, with the section of its ids.
    size: u64,
}

/// The end of a file whose records end at byte `at`: features by rising number, behind
/// the table of where they lie.
pub(super) fn end(at: u64, features: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = Out { bytes: Vec::new() };
    let mut at = at.saturating_add(16_u64.saturating_mul(features.len() as u64));
    for (_, body) in features {
        let size = body.len() as u64;
        out.section(Section { offset: at, size });
        at = at.saturating_add(size);
    }
    for (_, body) in features {
        out.raw(body);
    }
    out.bytes
}

/// An attribute, zeros behind it up to `len`.
fn padded(attr: &[u8], len: usize) -> Vec<u8> {
    let mut attr = attr.to_vec();
    attr.resize(len, 0);
    attr
}
