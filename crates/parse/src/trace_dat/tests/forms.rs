//! Forms that are refused, and files that are not whole.

use super::build::{PAGE, Parts, event, exit, page};
use super::read;
use crate::diagnostics::Problem;
use crate::expand::Limits;
use crate::trace_dat::options::id;
use crate::{Error, Input, Unpacked};

fn error(bytes: &[u8]) -> String {
    Unpacked::of(bytes).err().unwrap().to_string()
}

fn pages(times: &[u64]) -> Vec<u8> {
    times.iter().flat_map(|time| page(*time, 0, &[event(0, &exit(7, 1, 0))], None)).collect()
}

fn parts() -> Parts {
    Parts::new(vec![(0, pages(&[100, 200, 300])), (1, pages(&[150, 250]))])
}

#[test]
fn what_is_not_read_says_what_to_do() {
    let mut bytes = parts().v6();
    bytes[12] = 1;
    assert!(error(&bytes).contains("big-endian"));
    let mut bytes = parts().v6();
    bytes[10] = b'8';
    assert!(error(&bytes).contains("trace-cmd convert --file-version 6"));
    let mut bytes = parts().v6();
    let at = memchr::memmem::find(&bytes, b"flyrecord").unwrap();
    bytes[at..at + 9].copy_from_slice(b"latency  ");
    assert!(error(&bytes).contains("latency tracer"));
    let mut latency = parts();
    latency.options.push((id::BUFFER_TEXT, vec![0; 10]));
    assert!(error(&latency.v7("none")).contains("latency tracer"));
    let mut bytes = parts().v7("zstd");
    bytes[18..22].copy_from_slice(b"lzma");
    assert!(error(&bytes).contains("compressed with \"lzma\""));
}

#[test]
fn a_killed_recorder_leaves_no_buffers() {
    let whole = parts().v6();
    let at = memchr::memmem::find(&whole, b"flyrecord").unwrap();
    assert!(error(&whole[..at]).contains("ends before its buffers: its recorder was killed"));
    let mut none = parts();
    none.buffers.clear();
    assert!(error(&none.v7("none")).contains("ends before its buffers"));
}

/// The options that tell where the data are come last, and are lost first.
#[test]
fn what_is_whole_of_a_cut_file_is_read() {
    let lines = |bytes: &[u8]| {
        let found = read(bytes);
        assert_eq!(found.diagnostics.count(Problem::Truncated), 1);
        let times: Vec<u64> = found.events[1..]
            .iter()
            .map(|line| line.split(' ').next().unwrap().parse().unwrap())
            .collect();
        let cpus: Vec<_> = found.totals.cpus.iter().map(|c| (c.cpu.0, c.events)).collect();
        (times, cpus)
    };
    let everything = (vec![100, 150, 200, 250, 300], vec![(0, 3), (1, 2)]);
    for codec in ["none", "zlib", "zstd"] {
        let whole = parts().v7(codec);
        let options = u64::from_le_bytes(whole[whole.len() - 8..].try_into().unwrap());
        assert_eq!(options, 0);
        // Without the last option, everything is there all the same.
        assert_eq!(lines(&whole[..whole.len() - 1]), everything, "{codec}");
    }
    for whole in [parts().v6(), parts().v7("none")] {
        // In the middle of the first CPU's third sub-buffer.
        let third = memchr::memmem::find(&whole, &pages(&[300])[..16]).unwrap();
        let found = lines(&whole[..third + 18]);
        assert_eq!(found, (vec![100, 200], vec![(0, 2)]));
        // An event that is whole in a sub-buffer that is not, is taken.
        let found = lines(&whole[..third + 16 + 28]);
        assert_eq!(found, (vec![100, 200, 300], vec![(0, 3)]));
    }
    // Two sub-buffers are one chunk of the built file.
    let whole = parts().v7("zstd");
    let chunk = super::build::compress("zstd", &pages(&[300]));
    let at = memchr::memmem::find(&whole, &chunk).unwrap();
    assert_eq!(lines(&whole[..at + 3]), (vec![100, 200], vec![(0, 2)]));
}

/// A few kilobytes that claim, or are, gigabytes.
#[test]
fn bombs_are_stopped() {
    for codec in ["zlib", "zstd"] {
        let mut bomb = parts();
        bomb.buffers[0].cpus[0].1 = vec![0; 40 * PAGE];
        let bytes = bomb.v7(codec);
        let limits = Limits { expanded: Some(30 * PAGE as u64) };
        let input = Input { main: &bytes, parts: Vec::new() };
        let error = Unpacked::new(&input, &limits).err();
        assert_eq!(error, Some(Error::TooLarge { limit: 30 * PAGE as u64 }));
    }
    let mut bomb = parts();
    bomb.cmdlines = vec![b' '; 200 << 20];
    let bytes = bomb.v7("zstd");
    let limit = (64 << 20) + 256 * bytes.len() as u64;
    assert_eq!(Unpacked::of(&bytes).err(), Some(Error::TooLarge { limit }));
    // The same data claimed by many CPUs.
    let mut shared = parts();
    shared.buffers[0].cpus = (0..2).map(|cpu| (cpu, pages(&[100]))).collect();
    let mut bytes = shared.v7("none");
    let entry = bytes.len() - 14 - 20;
    let first: [u8; 16] = bytes[entry - 16..entry].try_into().unwrap();
    let mut all = first;
    all[8..].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    bytes[entry - 16..entry].copy_from_slice(&all);
    bytes[entry + 4..entry + 20].copy_from_slice(&all);
    assert!(error(&bytes).contains("overlap"));
}
