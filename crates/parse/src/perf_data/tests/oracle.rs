//! The same records, times and raw sizes as `linux-perf-data` reads.
//!
//! No difference is known where that reader reads at all. It refuses truncated files,
//! takes ids from HEADER_EVENT_DESC alone, and mistakes the two READ formats for each
//! other; `layout` tests those by exact values.

use linux_perf_data::linux_perf_event_reader::{EventRecord, RecordType};
use linux_perf_data::{PerfFileReader, PerfFileRecord};

use super::build::small;
use super::captures;
use crate::cursor::u64_at;
use crate::perf_data::PerfData;
use crate::perf_data::record::{self, kind};
use crate::unpack::Unpacked;

/// Type, time, and bytes of raw data, of one of the kernel's records.
type Fact = (u32, Option<u64>, Option<usize>);

/// In the order of the file, without perf's own records: the other reader does not
/// show FINISHED_ROUND, and gives the rest of them no time.
fn ours(bytes: &[u8]) -> Vec<Fact> {
    let unpacked = Unpacked::of(bytes).unwrap();
    let perf = PerfData::open(&unpacked, None).unwrap();
    let mut facts = Vec::new();
    let mut position = 0;
    while let Ok(raw) = record::at(perf.data, position) {
        position = raw.next();
        if raw.kind >= kind::USER {
            continue;
        }
        let attr = if raw.kind == kind::SAMPLE {
            perf.attr_of(raw.bytes).unwrap()
        } else {
            perf.attr_of_sideband(raw.bytes)
        };
        let layout = &perf.head.attrs[attr].layout;
        let time = if raw.kind == kind::SAMPLE {
            layout.time
        } else {
            layout.trailer.time.and_then(|back| raw.bytes.len().checked_sub(back))
        };
        let data = (raw.kind == kind::SAMPLE).then(|| layout.raw(raw.bytes).map(<[u8]>::len));
        facts.push((raw.kind, time.and_then(|at| u64_at(raw.bytes, at)), data.flatten()));
    }
    facts
}

fn theirs(bytes: &[u8]) -> Vec<Fact> {
    let PerfFileReader { mut perf_file, mut record_iter } =
        PerfFileReader::parse_file(std::io::Cursor::new(bytes)).unwrap();
    let mut facts = Vec::new();
    while let Some(record) = record_iter.next_record(&mut perf_file).unwrap() {
        let PerfFileRecord::EventRecord { record, .. } = record else { continue };
        let RecordType(kind) = record.record_type;
        let data = match record.parse() {
            Ok(EventRecord::Sample(sample)) => sample.raw.map(|raw| raw.len()),
            _ => None,
        };
        facts.push((kind, record.timestamp(), data));
    }
    facts
}

/// The other reader sorts by rounds and we by batches, so the order of equal times
/// may differ: compared are the records as a sorted list.
fn compare(bytes: &[u8], name: &str) -> usize {
    let (mut ours, mut theirs) = (ours(bytes), theirs(bytes));
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(our, their, "{name}");
    }
    ours.len()
}

#[test]
fn a_built_file() {
    assert_eq!(compare(&small(), "built"), 9);
}

#[test]
fn every_recorded_capture() {
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        // Larger ones are for measuring speed; this reader would take minutes.
        if bytes.len() < 64 << 20 {
            assert!(compare(&bytes, &path.display().to_string()) > 0);
        }
    }
}
