//! Forms of perf.data, built byte by byte from the small capture.

use zstd::stream::raw::{Encoder, Operation};

use super::build::{Builder, small};
use super::exact::{info, read, read_perf};
use crate::perf_data::PerfData;
use crate::perf_data::header::{DataEnd, Head, feature};
use crate::perf_data::record::{self, kind};
use crate::{Error, Formats, Input, Limits, Problem, Unpacked};

fn record(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(0_u16.to_le_bytes());
    out.extend((body.len() as u16 + 8).to_le_bytes());
    out.extend(body);
    out
}

/// What one call of the compressor gives: perf flushes after each and never ends the
/// frame.
fn compress(encoder: &mut Encoder<'_>, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plain.len() + 1024];
    let first = encoder.run_on_buffers(plain, &mut out).unwrap();
    assert_eq!(first.bytes_read, plain.len());
    let mut written = first.bytes_written;
    let mut rest = zstd::stream::raw::OutBuffer::around(&mut out[written..]);
    assert_eq!(encoder.flush(&mut rest).unwrap(), 0);
    written += rest.pos();
    out.truncate(written);
    out
}

/// The small capture with its records in three COMPRESSED records, cut within records;
/// a FINISHED_ROUND stands between them. Rounds of its own are left out.
fn compressed(kind_of: u32) -> (Vec<u8>, Vec<usize>) {
    let plain = small();
    let head = Head::parse(&plain).unwrap();
    let mut inside = Vec::new();
    let mut position = 0;
    while let Ok(raw) = record::at(head.data, position) {
        position = raw.next();
        if raw.kind != kind::FINISHED_ROUND {
            inside.extend(raw.bytes);
        }
    }
    let mut encoder = Encoder::new(1).unwrap();
    let mut b = Builder::new();
    let mut starts = Vec::new();
    for piece in [&inside[..150], &inside[150..601], &inside[601..]] {
        let body = compress(&mut encoder, piece);
        starts.push(b.data.len());
        if kind_of == kind::COMPRESSED {
            b.data.extend(record(kind::COMPRESSED, &body));
        } else {
            let mut padded = (body.len() as u64).to_le_bytes().to_vec();
            padded.extend(&body);
            padded.resize(padded.len().next_multiple_of(8), 0);
            b.data.extend(record(kind::COMPRESSED2, &padded));
        }
        b.round();
    }
    (b.finish(), starts)
}

/// Lines without the number of the record, which counts rounds too.
fn lines(bytes: &[u8]) -> Vec<String> {
    let (lines, _, _) = read(bytes, 1);
    lines.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn compressed_records_continue_in_the_next() {
    let expected = lines(&small());
    assert_eq!(expected.len(), 8);
    for kind in [kind::COMPRESSED, kind::COMPRESSED2] {
        let (bytes, starts) = compressed(kind);
        assert_eq!(lines(&bytes), expected);
        let unpacked = Unpacked::of(&bytes).unwrap();
        let perf = PerfData::open(&unpacked, None).unwrap();
        // Each record is said to lie where its last byte came from.
        let base = perf.head.data_offset;
        assert_eq!(perf.offset(0), base + starts[0] as u64);
        let second = perf.data.windows(10).position(|w| w == b"/secret/li").unwrap();
        assert_eq!(perf.offset(second), base + starts[1] as u64);
    }
}

#[test]
fn a_damaged_stream_keeps_what_came_before() {
    let (mut bytes, starts) = compressed(kind::COMPRESSED);
    let base = Head::parse(&bytes).unwrap().data_offset as usize;
    let at = base + starts[2] + 8;
    bytes[at..at + 12].fill(0xff);
    let (got, diagnostics, _) = read(&bytes, 1);
    assert_eq!(diagnostics.count(Problem::Truncated), 1);
    let expected = lines(&small());
    let got: Vec<_> = got.iter().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(got.len(), 5);
    assert!(got.iter().all(|line| expected.contains(line)), "{got:#?}");
}

#[test]
fn a_bomb_in_a_record_is_stopped() {
    let mut b = Builder::new();
    let mut encoder = Encoder::new(1).unwrap();
    // 100 MB of padding records, in records of perf's own.
    for _ in 0..100 {
        let body = compress(&mut encoder, &record(99, &[0; 65_528 - 8]).repeat(16));
        b.data.extend(record(kind::COMPRESSED, &body));
    }
    let bytes = b.finish();
    let input = Input { main: &bytes, parts: Vec::new() };
    let limits = Limits { expanded: Some(50 << 20) };
    let error = Unpacked::new(&input, &limits).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::TooLarge { limit: 50 << 20 });
}

/// The small capture as a stream.
fn pipe() -> Vec<u8> {
    let file = small();
    let head = Head::parse(&file).unwrap();
    let mut out = [&b"PERFILE2"[..], &16_u64.to_le_bytes()].concat();
    for attr in &head.attrs {
        let ids: Vec<u8> = attr.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        out.extend(record(kind::HEADER_ATTR, &[attr.bytes, &ids].concat()));
    }
    for (bit, body) in &head.features {
        if *bit == feature::TRACING_DATA {
            let mut body = body.to_vec();
            body.resize(body.len().next_multiple_of(8), 0);
            out.extend(record(kind::HEADER_TRACING_DATA, &(body.len() as u32).to_le_bytes()));
            out.extend(body);
        } else {
            let mut feature = u64::from(*bit).to_le_bytes().to_vec();
            feature.extend(*body);
            out.extend(record(kind::HEADER_FEATURE, &feature));
        }
    }
    out.extend(head.data);
    out
}

#[test]
fn a_pipe_says_the_same_as_a_file() {
    let (file, pipe) = (small(), pipe());
    assert_eq!(lines(&pipe), lines(&file));
    assert_eq!(info(&pipe), info(&file));
    // Cut anywhere behind its head, it still has its formats.
    let (got, diagnostics, _) = read(&pipe[..pipe.len() - 20], 1);
    assert_eq!((got.len(), diagnostics.count(Problem::Truncated)), (7, 1));
}

#[test]
fn parts_of_a_folder_are_sorted_into_one() {
    let file = small();
    let head = Head::parse(&file).unwrap();
    let (mut main, mut zero, mut one) = (Builder::new(), Vec::new(), Vec::new());
    let mut position = 0;
    let mut samples = 0;
    while let Ok(raw) = record::at(head.data, position) {
        position = raw.next();
        let to = match raw.kind {
            kind::SAMPLE if samples % 2 == 0 => &mut zero,
            kind::SAMPLE => &mut one,
            _ => &mut main.data,
        };
        samples += usize::from(raw.kind == kind::SAMPLE);
        to.extend(raw.bytes);
    }
    let main = main.finish();
    let cut = [&one[..], &one[..20]].concat();
    for (one, truncated) in [(&one, 0), (&cut, 1)] {
        let input = Input { main: &main, parts: vec![&zero, one] };
        let unpacked = Unpacked::new(&input, &Limits::default()).unwrap();
        let perf = PerfData::open(&unpacked, None).unwrap();
        let (got, diagnostics, _) = read_perf(&perf, 2);
        let mut got: Vec<_> = got.iter().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect();
        let mut expected = lines(&file);
        got.sort();
        expected.sort();
        assert_eq!(got, expected);
        assert_eq!(diagnostics.count(Problem::Truncated), truncated);
    }
}

#[test]
fn a_cut_file_says_how_much_is_missing() {
    let file = small();
    let head = Head::parse(&file).unwrap();
    let end = head.data_offset as usize + head.data.len();
    let (_, diagnostics, _) = read(&file[..end - 48], 1);
    assert_eq!(diagnostics.count(Problem::MissingBytes), 48);
    // Only the features are cut: nothing of the records, and formats come first.
    let cut = &file[..file.len() - 30];
    assert_eq!(Head::parse(cut).unwrap().end, DataEnd::FeaturesCut);
    assert_eq!(lines(cut), lines(&file));
}

#[test]
fn formats_of_another_capture() {
    let mut killed = small();
    killed[48..56].fill(0);
    let end = {
        let file = small();
        let head = Head::parse(&file).unwrap();
        head.data_offset as usize + head.data.len()
    };
    killed.truncate(end);
    assert!(info(&killed).formats_missing);
    let file = small();
    let formats = Formats::of(&Unpacked::of(&file).unwrap()).unwrap();
    let unpacked = Unpacked::of(&killed).unwrap();
    let perf = PerfData::open(&unpacked, Some(&formats)).unwrap();
    assert!(!perf.info.formats_missing);
    let (got, diagnostics, _) = read_perf(&perf, 2);
    assert_eq!(got, read(&file, 2).0);
    assert_eq!(diagnostics.count(Problem::RecorderKilled), 1);
    // Of another boot: `sys_enter` has the number that `sched_process_exec` had.
    let other =
        "name: sys_exit\nID: 443\nformat:\n\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;\n";
    let wrong = Formats::new(vec![("raw_syscalls".to_owned(), other.to_owned())]);
    let error = PerfData::open(&unpacked, Some(&wrong)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("of another kernel or boot"), "{error}");
}
