//! The tracepoints of a recording as trace.dat, version 6 and 7.
//!
//! Sources of the layouts: trace-cmd.dat.v6.5.txt and trace-cmd.dat.v7.5.txt of
//! trace-cmd, kernel/trace/ring_buffer.c.

use std::io::Write as _;

use super::recording::{Recording, half};
use super::shape;

/// How the sections are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    None,
    Zlib,
    Zstd,
}

/// A sub-buffer is this small, so that a small recording has several.
const PAGE: usize = 512;
const PAGE_HEAD: usize = 16;
const CPUS: usize = 2;

const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:496;\tsigned:1;\n";
const HEADER_EVENT: &str = "# compressed entry header\n\ttype_len    :    5 bits\n\
    \ttime_delta  :   27 bits\n\tarray       :   32 bits\n";

fn four(n: usize) -> [u8; 4] {
    u32::try_from(n).expect("small").to_le_bytes()
}

fn eight(n: usize) -> [u8; 8] {
    (n as u64).to_le_bytes()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&eight(bytes.len()), bytes].concat()
}

/// (time, CPU, raw data) of each tracepoint, by time.
fn tracepoints(recording: &Recording) -> Vec<(u64, usize, Vec<u8>)> {
    let samples = recording.records.iter().filter(|r| half(r, 0) == 9);
    let mut list: Vec<_> = samples
        .filter_map(|record| {
            let raw = shape::raw(recording, record)?;
            let cpu = shape::cpu_of(recording, record)?;
            Some((shape::time_of(recording, record), cpu, raw.to_vec()))
        })
        .collect();
    list.sort_by_key(|(time, _, _)| *time);
    list
}

/// How many events a trace.dat of the recording has.
pub(crate) fn count(recording: &Recording) -> usize {
    tracepoints(recording).len()
}

/// One CPU's sub-buffers; the second says that one event was lost before it.
fn pages(events: &[(u64, usize, Vec<u8>)], cpu: usize) -> Vec<u8> {
    const MISSED: u64 = 1 << 31;
    let mut out = Vec::new();
    let mut page: Vec<u8> = Vec::new();
    let mut last = 0;
    let close = |page: &mut Vec<u8>, out: &mut Vec<u8>| {
        if page.is_empty() {
            return;
        }
        let mut used = (page.len() - PAGE_HEAD) as u64;
        if out.len() == PAGE {
            used |= MISSED;
        }
        page[8..16].copy_from_slice(&used.to_le_bytes());
        page.resize(PAGE, 0);
        out.append(page);
    };
    for (time, _, raw) in events.iter().filter(|(_, on, _)| *on == cpu) {
        let words = raw.len().div_ceil(4);
        let long = if words > 28 { 4 } else { 0 };
        // With the header, and room for a time extension.
        if page.len() + 4 * words + long + 12 > PAGE {
            close(&mut page, &mut out);
        }
        if page.is_empty() {
            page.extend(time.to_le_bytes());
            page.extend([0; 8]);
            last = *time;
        }
        let mut delta = time - last;
        last = *time;
        if delta >> 27 != 0 {
            // TIME_EXTEND: the low bits, then the high ones.
            page.extend((30 | (delta as u32 & 0x7ff_ffff) << 5).to_le_bytes());
            page.extend(u32::try_from(delta >> 27).expect("a short recording").to_le_bytes());
            delta = 0;
        }
        let kind = if long > 0 { 0 } else { u32::try_from(words).expect("small") };
        page.extend((kind | (delta as u32) << 5).to_le_bytes());
        if long > 0 {
            page.extend(four(4 * words + 4));
        }
        page.extend(raw);
        page.resize(page.len() + 4 * words - raw.len(), 0);
    }
    close(&mut page, &mut out);
    out
}

fn header(version: &[u8]) -> Vec<u8> {
    [b"\x17\x08\x44tracing", version, &[0, 0, 8], &four(PAGE)].concat()
}

fn header_info() -> Vec<u8> {
    let (page, event) = (sized(HEADER_PAGE.as_bytes()), sized(HEADER_EVENT.as_bytes()));
    [&b"header_page\0"[..], &page, b"header_event\0", &event].concat()
}

fn systems(recording: &Recording) -> Vec<u8> {
    let mut out = four(recording.tracing.systems.len()).to_vec();
    for (name, formats) in &recording.tracing.systems {
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(four(formats.len()));
        out.extend(formats.iter().flat_map(|text| sized(text.as_bytes())));
    }
    out
}

const CMDLINES: &[u8] = b"1 init\n7 a task\n";
const CLOCK: &[u8] = b"local global [mono] boot\0";
const UNAME: &[u8] = b"Linux host 6.18.1 x86_64\0";
const STAT: &[u8] = b"CPU: 0\nentries: 3\noverrun: 1\ncommit overrun: 0\n\0";

fn option(id: u16, body: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), &four(body.len())[..], body].concat()
}

/// Date, clock, machine, statistics.
fn options() -> Vec<u8> {
    [option(1, b"0x10\0"), option(4, CLOCK), option(5, UNAME), option(2, STAT)].concat()
}

/// What `trace-cmd record --file-version 6` writes.
pub(crate) fn version_6(recording: &Recording) -> Vec<u8> {
    let events = tracepoints(recording);
    let mut out = header(b"6");
    out.extend(header_info());
    out.extend(four(0));
    out.extend(systems(recording));
    out.extend(four(0));
    out.extend(four(0));
    out.extend(sized(CMDLINES));
    out.extend(four(CPUS));
    out.extend(b"options  \0");
    out.extend(options());
    out.extend(0_u16.to_le_bytes());
    out.extend(b"flyrecord\0");
    let cpus: Vec<_> = (0..CPUS).map(|cpu| pages(&events, cpu)).collect();
    let mut at = (out.len() + 16 * CPUS).next_multiple_of(PAGE);
    let start = at;
    for data in &cpus {
        out.extend(eight(at));
        out.extend(eight(data.len()));
        at += data.len();
    }
    out.resize(start, 0);
    out.extend(cpus.concat());
    out
}

fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => bytes.to_vec(),
        Codec::Zstd => zstd::encode_all(bytes, 1).expect("memory"),
        Codec::Zlib => {
            let level = flate2::Compression::fast();
            let mut to = flate2::write::ZlibEncoder::new(Vec::new(), level);
            to.write_all(bytes).expect("memory");
            to.finish().expect("memory")
        }
    }
}

/// Size compressed, size, bytes.
fn block(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let packed = compress(codec, bytes);
    [&four(packed.len()), &four(bytes.len())[..], &packed].concat()
}

/// A section with its head; its description is the first of the strings.
fn section(id: u16, codec: Codec, body: &[u8]) -> Vec<u8> {
    let body = if codec == Codec::None { body.to_vec() } else { block(codec, body) };
    let flags = u16::from(codec != Codec::None);
    [&id.to_le_bytes(), &flags.to_le_bytes(), &four(0)[..], &sized(&body)].concat()
}

/// What `trace-cmd record` 3.1 and later write.
pub(crate) fn version_7(recording: &Recording, codec: Codec) -> Vec<u8> {
    let events = tracepoints(recording);
    let name = match codec {
        Codec::None => "none",
        Codec::Zlib => "zlib",
        Codec::Zstd => "zstd",
    };
    let mut out = header(b"7");
    out.extend(name.as_bytes());
    out.extend(b"\x001.0\0");
    let pointer = out.len();
    out.extend([0; 8]);
    let mut told = options();
    let parts = [
        (16, header_info()),
        (17, four(0).to_vec()),
        (18, systems(recording)),
        (21, sized(CMDLINES)),
    ];
    for (id, body) in parts {
        told.extend(option(id, &eight(out.len())));
        out.extend(section(id, codec, &body));
    }
    // The buffer: its section's size counts its data.
    let at = out.len();
    let mut table = Vec::new();
    let mut data = Vec::new();
    for cpu in 0..CPUS {
        let pages = pages(&events, cpu);
        let stored = if codec == Codec::None || pages.is_empty() {
            pages
        } else {
            let chunks: Vec<_> = pages.chunks(2 * PAGE).map(|c| block(codec, c)).collect();
            [&four(chunks.len())[..], &chunks.concat()].concat()
        };
        table.extend(four(cpu));
        table.extend(eight(at + 16 + data.len()));
        table.extend(eight(stored.len()));
        data.extend(stored);
    }
    let flags = u16::from(codec != Codec::None);
    out.extend([&3_u16.to_le_bytes(), &flags.to_le_bytes(), &four(0)[..], &sized(&data)].concat());
    let buffer = [&eight(at)[..], b"\0", b"mono\0", &four(PAGE), &four(CPUS), &table].concat();
    told.extend(option(3, &buffer));
    told.extend(option(0, &eight(0)));
    let options_at = out.len();
    out.extend(section(0, codec, &told));
    out[pointer..pointer + 8].copy_from_slice(&eight(options_at));
    out
}
