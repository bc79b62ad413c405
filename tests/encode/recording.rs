//! A plain perf.data taken apart, and written again as file, pipe or directory.
//!
//! Sources of the layouts: tools/perf/Documentation/perf.data-file-format.txt,
//! tools/perf/util/{header,session,data}.c, include/uapi/linux/perf_event.h.

use super::big_endian;
use super::pack::{Packing, packed, packed_bytes, record, records_of};
use super::shape::cpu_of;
use super::tracing::Tracing;

/// An attribute (`struct perf_event_attr`) with its ids and perf's name for it.
#[derive(Clone, Debug)]
pub(crate) struct Attr {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ids: Vec<u64>,
    pub(crate) name: String,
}

/// What a perf.data holds. All bytes are little-endian; `big` turns them when they
/// are written.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) attrs: Vec<Attr>,
    /// With their headers.
    pub(crate) records: Vec<Vec<u8>>,
    /// Without EVENT_DESC, which follows from the attributes, and TRACING_DATA.
    pub(crate) features: Vec<(u32, Vec<u8>)>,
    pub(crate) tracing: Tracing,
    pub(crate) big: bool,
}

/// The files of one capture.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) main: Vec<u8>,
    /// `data.N` of a directory.
    pub(crate) parts: Vec<Vec<u8>>,
}

/// Feature bits (tools/perf/util/header.h).
pub(crate) mod feature {
    pub(crate) const TRACING_DATA: u32 = 1;
    pub(crate) const EVENT_DESC: u32 = 12;
    pub(crate) const DIR_FORMAT: u32 = 24;
    pub(crate) const COMPRESSED: u32 = 27;
    /// The end of the features in a pipe; newer perfs have more.
    pub(crate) const LAST: u32 = 32;
}

/// Record types of perf's own (tools/lib/perf/include/perf/event.h).
pub(crate) mod kind {
    pub(crate) const HEADER_ATTR: u32 = 64;
    pub(crate) const HEADER_TRACING_DATA: u32 = 66;
    pub(crate) const HEADER_BUILD_ID: u32 = 67;
    pub(crate) const FINISHED_ROUND: u32 = 68;
    pub(crate) const EVENT_UPDATE: u32 = 78;
    pub(crate) const HEADER_FEATURE: u32 = 80;
    pub(crate) const COMPRESSED: u32 = 81;
    pub(crate) const FINISHED_INIT: u32 = 82;
    pub(crate) const COMPRESSED2: u32 = 83;
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn offset(bytes: &[u8], at: usize) -> usize {
    usize::try_from(word(bytes, at)).expect("an offset in memory")
}

/// perf's string: its length, padded to 64, then itself.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let padded = (text.len() + 1).next_multiple_of(64);
    let mut out = u32::try_from(padded).expect("short").to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out.resize(4 + padded, 0);
    out
}

impl Recording {
    /// Takes a plain file of a little-endian machine apart.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[..8], b"PERFILE2");
        let attr_size = offset(bytes, 16);
        let section = |at: usize| {
            let start = offset(bytes, at);
            &bytes[start..start + offset(bytes, at + 8)]
        };
        let mut attrs: Vec<Attr> = section(24)
            .chunks_exact(attr_size)
            .map(|entry| {
                let (attr, ids) = entry.split_at(attr_size - 16);
                let start = offset(ids, 0);
                let ids = &bytes[start..start + offset(ids, 8)];
                let ids = ids.chunks_exact(8).map(|id| word(id, 0)).collect();
                Attr { bytes: attr.to_vec(), ids, name: String::new() }
            })
            .collect();
        let mut at = offset(bytes, 40) + offset(bytes, 48);
        let mut features = Vec::new();
        let mut tracing = Tracing::default();
        for bit in (0..64_u32).filter(|bit| word(bytes, 72) >> bit & 1 == 1) {
            let body = section(at);
            at += 16;
            match bit {
                feature::TRACING_DATA => tracing = Tracing::parse(body),
                feature::EVENT_DESC => name_attrs(&mut attrs, body),
                _ => features.push((bit, body.to_vec())),
            }
        }
        let records = records_of(section(40)).into_iter().map(<[u8]>::to_vec).collect();
        Self { attrs, records, features, tracing, big: false }
    }

    /// The same, as a big-endian machine writes it.
    pub(crate) fn big_endian(&self) -> Self {
        Self { big: true, ..self.clone() }
    }

    /// `perf record -o FILE`.
    pub(crate) fn file(&self, packing: Packing) -> Files {
        let data = self.data(&self.records, packing);
        Files { main: self.whole(&data, packing, &[]), parts: Vec::new() }
    }

    /// `perf record --threads`: what perf made up itself is in the header's file, and
    /// each CPU has a file of its own. There are no rounds.
    pub(crate) fn directory(&self, packing: Packing) -> Files {
        let mut own = Vec::new();
        let mut parts: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 2];
        for record in &self.records {
            if half(record, 0) == kind::FINISHED_ROUND {
                continue;
            }
            match cpu_of(self, record) {
                Some(cpu) => {
                    if parts.len() <= cpu {
                        parts.resize(cpu + 1, Vec::new());
                    }
                    parts[cpu].push(record.clone());
                }
                None => own.push(record.clone()),
            }
        }
        let version = (feature::DIR_FORMAT, 1_u64.to_le_bytes().to_vec());
        let main = self.whole(&self.data(&own, Packing::Plain), packing, &[version]);
        Files { main, parts: parts.iter().map(|p| self.data(p, packing)).collect() }
    }

    /// `perf record -o -`.
    pub(crate) fn pipe(&self, packing: Packing) -> Files {
        let mut out = self.magic();
        out.extend(self.number(16));
        for attr in &self.attrs {
            let mut body = attr.bytes.clone();
            body.extend(attr.ids.iter().flat_map(|id| id.to_le_bytes()));
            out.extend(self.turned(record(kind::HEADER_ATTR, 0, &body)));
        }
        for (bit, body) in self.all_features(packing, &[]) {
            // perf leaves out what a record cannot hold.
            if bit != feature::TRACING_DATA && body.len() < 0xfff0 {
                let id = u64::from(bit).to_le_bytes();
                let body = if self.big { big_endian::feature(self, bit, &body) } else { body };
                let mut whole = self.turned(record(kind::HEADER_FEATURE, 0, &id));
                whole.extend(&body);
                self.set_size(&mut whole);
                out.extend(whole);
            }
        }
        let last = u64::from(feature::LAST).to_le_bytes();
        out.extend(self.turned(record(kind::HEADER_FEATURE, 0, &last)));
        // The data follow the record, which counts them beside its own size.
        let mut tracing = self.tracing.bytes(self.big);
        tracing.resize(tracing.len().next_multiple_of(8), 0);
        let mut size = u32::try_from(tracing.len()).expect("small").to_le_bytes().to_vec();
        size.extend([0; 4]);
        out.extend(self.turned(record(kind::HEADER_TRACING_DATA, 0, &size)));
        out.extend(tracing);
        for attr in &self.attrs {
            out.extend(self.turned(event_update(attr)));
        }
        // A build id of pid -1 (the kernel): all its bytes are plain but the pid.
        let mut build_id = (-1_i32).to_le_bytes().to_vec();
        build_id.extend([0xab; 20]);
        build_id.extend(*b"\0\0\0\0[kernel.kallsyms]\0\0\0\0\0\0\0\0\0\0\0");
        out.extend(self.turned(record(kind::HEADER_BUILD_ID, 1, &build_id)));
        out.extend(self.turned(record(kind::FINISHED_INIT, 0, &[])));
        out.extend(self.data(&self.records, packing));
        Files { main: out, parts: Vec::new() }
    }

    /// What `perf record` leaves when it is killed: no size of the data, no features.
    pub(crate) fn killed(&self) -> Files {
        let mut main = self.file(Packing::Plain).main;
        let (start, size) = (offset(&main, 40), offset(&main, 48));
        main.truncate(start + size);
        main[48..56].fill(0);
        main[72..104].fill(0);
        Files { main, parts: Vec::new() }
    }

    /// The bytes of some records, in this recording's order of bytes.
    fn data(&self, records: &[Vec<u8>], packing: Packing) -> Vec<u8> {
        let turned: Vec<Vec<u8>> = records.iter().map(|r| self.turned(r.clone())).collect();
        packed(&turned, packing, self.big)
    }

    /// A data section of any bytes.
    pub(crate) fn data_of(&self, bytes: &[u8], packing: Packing) -> Vec<u8> {
        packed_bytes(bytes, packing, self.big)
    }

    fn turned(&self, record: Vec<u8>) -> Vec<u8> {
        if self.big { big_endian::record(self, &record) } else { record }
    }

    /// Writes a record's length into its header.
    fn set_size(&self, record: &mut [u8]) {
        let size = u16::try_from(record.len()).expect("a record of at most 64 KiB");
        record[6..8].copy_from_slice(&if self.big {
            size.to_be_bytes()
        } else {
            size.to_le_bytes()
        });
    }

    fn number(&self, value: u64) -> [u8; 8] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn magic(&self) -> Vec<u8> {
        let mut magic = b"PERFILE2".to_vec();
        if self.big {
            magic.reverse();
        }
        magic
    }

    /// Header, ids, attributes, data, table of features, features.
    pub(crate) fn whole(&self, data: &[u8], packing: Packing, more: &[(u32, Vec<u8>)]) -> Vec<u8> {
        const HEADER: usize = 104;
        let mut out = vec![0; HEADER];
        let mut entries = Vec::new();
        for attr in &self.attrs {
            let attr_bytes =
                if self.big { big_endian::attr(&attr.bytes) } else { attr.bytes.clone() };
            entries.extend(attr_bytes);
            entries.extend(self.number(out.len() as u64));
            entries.extend(self.number(8 * attr.ids.len() as u64));
            out.extend(attr.ids.iter().flat_map(|id| self.number(*id)));
        }
        let attrs_at = out.len() as u64;
        out.extend(&entries);
        let data_at = out.len() as u64;
        out.extend(data);
        let features = self.all_features(packing, more);
        let mut at = (out.len() + 16 * features.len()) as u64;
        let mut flags = 0_u64;
        let mut bodies = Vec::new();
        for (bit, body) in features {
            flags |= 1 << bit;
            out.extend(self.number(at));
            out.extend(self.number(body.len() as u64));
            at += body.len() as u64;
            bodies.extend(if self.big { big_endian::feature(self, bit, &body) } else { body });
        }
        out.extend(bodies);
        let attr_size = self.attrs[0].bytes.len() as u64 + 16;
        let mut header = self.magic();
        let (attrs_size, data_size) = (entries.len() as u64, data.len() as u64);
        for word in [104, attr_size, attrs_at, attrs_size, data_at, data_size, 0, 0, flags] {
            header.extend(self.number(word));
        }
        out[..header.len()].copy_from_slice(&header);
        out
    }

    /// Little-endian, in the order of their bits.
    fn all_features(&self, packing: Packing, more: &[(u32, Vec<u8>)]) -> Vec<(u32, Vec<u8>)> {
        let mut all = self.features.clone();
        all.push((feature::TRACING_DATA, self.tracing.bytes(false)));
        all.push((feature::EVENT_DESC, self.event_desc()));
        all.extend(more.iter().cloned());
        if packing != Packing::Plain {
            // Version, type zstd, level, ratio, size of the mapping.
            let words = [1_u32, 1, 1, 4, 528_384];
            all.push((
                feature::COMPRESSED,
                words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            ));
        }
        all.sort_by_key(|(bit, _)| *bit);
        all
    }

    /// `write_event_desc`.
    fn event_desc(&self) -> Vec<u8> {
        let count = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
        let mut out = count(self.attrs.len()).to_vec();
        out.extend(count(self.attrs[0].bytes.len()));
        for attr in &self.attrs {
            out.extend(&attr.bytes);
            out.extend(count(attr.ids.len()));
            out.extend(string(&attr.name));
            out.extend(attr.ids.iter().flat_map(|id| id.to_le_bytes()));
        }
        out
    }
}

fn name_attrs(attrs: &mut [Attr], event_desc: &[u8]) {
    let attr_size = half(event_desc, 4) as usize;
    let mut at = 8;
    for attr in attrs {
        at += attr_size;
        let ids = half(event_desc, at) as usize;
        let len = half(event_desc, at + 4) as usize;
        let name = &event_desc[at + 8..at + 8 + len];
        let end = name.iter().position(|b| *b == 0).unwrap_or(len);
        attr.name = String::from_utf8(name[..end].to_vec()).expect("names are text");
        at += 8 + len + 8 * ids;
    }
}

/// `perf_event__synthesize_event_update_name`.
fn event_update(attr: &Attr) -> Vec<u8> {
    const NAME: u64 = 2;
    let mut body = NAME.to_le_bytes().to_vec();
    body.extend(attr.ids.first().copied().unwrap_or(0).to_le_bytes());
    body.extend(attr.name.as_bytes());
    body.resize((body.len() + 1).next_multiple_of(8), 0);
    record(kind::EVENT_UPDATE, 0, &body)
}
