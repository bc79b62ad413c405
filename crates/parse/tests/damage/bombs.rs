//! Compressed input that expands to more than it may.

use std::io::Write as _;

use agenttrace_parse::{Error, Input, Limits, Unpacked};

use crate::bounded::{alone, bounded};

const BOMB: usize = 100 << 20;
const LIMIT: u64 = 2 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    to.write_all(bytes).expect("memory");
    to.finish().expect("memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut to = liblzma::write::XzEncoder::new(Vec::new(), 6);
    to.write_all(bytes).expect("memory");
    to.finish().expect("memory")
}

/// Each is refused at the limit, before it has expanded, and says so.
#[test]
fn whole_files() {
    alone(|| {
        let zeros = vec![0; BOMB];
        let zstd = zstd::encode_all(&zeros[..], 3).expect("memory");
        for (name, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd), ("xz", xz(&zeros))] {
            assert!(bomb.len() < BOMB / 500, "{name}: {} bytes", bomb.len());
            let input = Input { main: &bomb, parts: Vec::new() };
            let limits = Limits { expanded: Some(LIMIT) };
            let used = bounded(name, bomb.len() + 2 * LIMIT as usize, || {
                let error = Unpacked::new(&input, &limits).expect_err("it is too large");
                assert_eq!(error, Error::TooLarge { limit: LIMIT });
            });
            assert!(used < 8 * LIMIT as usize, "{name}: {used} bytes");
        }
    });
}

/// The same inside of perf's compressed records, in each container.
#[test]
fn compressed_records() {
    alone(|| {
        for (name, files) in crate::entry::bombs_of_perf(20 << 20) {
            let size: usize = files.iter().map(Vec::len).sum();
            assert!(size < 1 << 20, "{name}: {size} bytes");
            let (main, parts) = files.split_first().expect("a main file");
            let input = Input { main, parts: parts.iter().map(Vec::as_slice).collect() };
            let limits = Limits { expanded: Some(LIMIT) };
            let used = bounded(&name, size + 2 * LIMIT as usize, || {
                let error = Unpacked::new(&input, &limits).expect_err("it is too large");
                assert_eq!(error, Error::TooLarge { limit: LIMIT }, "{name}");
            });
            assert!(used < 8 * LIMIT as usize, "{name}: {used} bytes");
        }
    });
}
