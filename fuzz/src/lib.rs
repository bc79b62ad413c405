//! Any bytes to each reader of agenttrace: the entry points of the fuzz targets and of
//! their replay in `cargo test`.

#![allow(dead_code, unused_imports, reason = "some of it serves the replay alone")]

#[path = "../../tests/encode/mod.rs"]
mod encode;
mod exercise;
#[path = "../../crates/parse/src/perf_data/tests/stack_build.rs"]
mod stack_build;
mod wrap;

use std::sync::OnceLock;

use encode::{Attr, Packing, Recording, Tracing};
pub(crate) use exercise::{EXPANDED, capture, exercise};

/// An entry point.
pub type Entry = fn(&[u8]);

/// Each entry point by the name of its target.
pub const TARGETS: [(&str, Entry); 7] = [
    ("perf_file", perf_file),
    ("perf_pipe", perf_pipe),
    ("perf_compressed", perf_compressed),
    ("trace_dat", trace_dat),
    ("ftrace_text", ftrace_text),
    ("steps", steps),
    ("format", format),
];

/// All work on the calling thread: inputs are too small to share.
pub fn one_thread() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    // Already there where the program calls it twice.
    let _ = pool.build_global();
}

/// `with` as the first bytes, unless one of `known` is there.
fn begin<'d>(data: &'d [u8], with: &[u8], known: &[&[u8]]) -> std::borrow::Cow<'d, [u8]> {
    if known.iter().any(|k| data.starts_with(k)) {
        return data.into();
    }
    [with, data].concat().into()
}

const LITTLE: &[u8] = b"PERFILE2";
const BIG: &[u8] = b"2ELIFREP";

/// A perf.data file.
pub fn perf_file(data: &[u8]) {
    capture(&begin(data, LITTLE, &[LITTLE, BIG]));
}

/// What `perf record -o -` writes.
pub fn perf_pipe(data: &[u8]) {
    let little = [LITTLE, &16_u64.to_le_bytes()].concat();
    let big = [BIG, &16_u64.to_be_bytes()].concat();
    capture(&begin(data, &little, &[&little, &big]));
}

/// Compressed records. The first byte chooses the container, the second how many
/// bytes a compressed record holds; the rest are the records, or with the highest bit
/// of the first byte what stands for the zstd stream.
pub fn perf_compressed(data: &[u8]) {
    let [mode, size, records @ ..] = data else { return };
    let chunk = 8 * usize::from(*size) + 3;
    let packing = match mode & 3 {
        0 => Packing::Plain,
        1 => Packing::Compressed(chunk),
        _ => Packing::Compressed2(chunk),
    };
    let base = base();
    let files = if mode & 0x80 != 0 {
        wrap::stream(base, records, chunk, packing)
    } else {
        let data = wrap::stored(records, chunk, packing);
        wrap::around(base, data, packing, mode & 4 != 0, mode & 8 != 0)
    };
    exercise(&files);
}

/// Events with numbers, arrays, and strings in and beside their place; and none.
const EVENTS: [&str; 4] =
    ["raw_syscalls:sys_exit", "raw_syscalls:sys_enter", "sched:sched_process_exec", "minor-faults"];

/// A small recording.
fn base() -> &'static Recording {
    static BASE: OnceLock<Recording> = OnceLock::new();
    BASE.get_or_init(|| {
        let whole = include_bytes!("../../fixtures/recorded/exec_nonleader/perf.data");
        encode::tiny(&Recording::parse(whole), &EVENTS, 1, 2)
    })
}

/// A trace.dat file.
pub fn trace_dat(data: &[u8]) {
    const MAGIC: &[u8] = b"\x17\x08\x44tracing";
    capture(&begin(data, MAGIC, &[MAGIC]));
}

/// A text of ftrace, trace-cmd or perf script.
pub fn ftrace_text(data: &[u8]) {
    capture(data);
}

/// A steps.jsonl.
pub fn steps(data: &[u8]) {
    let file = agenttrace_parse::read_steps(data);
    // What a person would be shown.
    std::hint::black_box(format!("{file:?}"));
}

/// The format file of a tracepoint: its system and a line end, the text, a NUL, and
/// the raw data of one sample.
pub fn format(data: &[u8]) {
    let split = |byte: u8| data.iter().position(|b| *b == byte).unwrap_or(data.len());
    let system = data.get(..split(b'\n')).unwrap_or(&[]);
    let text = data.get(system.len() + 1..split(0)).unwrap_or(&[]);
    let raw = data.get(split(0) + 1..).unwrap_or(&[]);
    let (Ok(system), Ok(text)) = (std::str::from_utf8(system), std::str::from_utf8(text)) else {
        return;
    };
    capture(&wrap::format(system, text, raw));
}

/// Small seeds in every perf container: the name, and the files, the main one first.
pub fn seeds_of_perf() -> Vec<(String, Vec<Vec<u8>>)> {
    let whole = |files: encode::Files| [vec![files.main], files.parts].concat();
    let written = |c: &encode::Container| (c.name.to_owned(), whole((c.write)(base())));
    let switches = include_bytes!("../../fixtures/recorded/exec_nonleader/perf.data");
    let switches = Recording::parse(switches);
    let switches = encode::tiny(&switches, &["sched:sched_switch"], 2, 1);
    let more = [
        ("file", base().file(Packing::Plain)),
        ("file, killed recorder", base().killed()),
        ("file, switches", switches.file(Packing::Plain)),
        ("pipe, switches", switches.pipe(Packing::Plain)),
    ];
    let more = more.map(|(name, files)| (name.to_owned(), whole(files)));
    let stacks = [false, true].into_iter().flat_map(|big| {
        let built = stack_build::small(big);
        let order = if big { "big-endian " } else { "" };
        [
            (format!("{order}file, stacks"), vec![built.finish()]),
            (format!("{order}pipe, stacks"), vec![built.pipe()]),
        ]
    });
    let more = more.into_iter().chain(stacks);
    more.chain(encode::CONTAINERS.iter().map(written)).collect()
}

/// The same for the target `format`.
pub fn seeds_of_format(bytes: &[u8]) -> Vec<Vec<u8>> {
    let short = encode::short(&Recording::parse(bytes), 1, 0);
    let attr_of = |text: &str| {
        let id = wrap::id_of(text)?;
        short.attrs.iter().find(|a| wrap::config(a) == id)
    };
    let mut seeds = Vec::new();
    for (system, formats) in &short.tracing.systems {
        for text in formats {
            let record = attr_of(text).and_then(|a| wrap::sample_of(&short, a));
            let raw = record.map(|r| r.get(68..).unwrap_or(&[]).to_vec()).unwrap_or_default();
            seeds.push([system.as_bytes(), b"\n", text.as_bytes(), b"\0", &raw].concat());
        }
    }
    seeds
}

/// The same for the target `perf_compressed`.
pub fn seeds_of_compressed() -> Vec<Vec<u8>> {
    let records = base().records.concat();
    let modes = [1_u8, 2, 5, 6, 9, 10, 13, 0x81, 0x82];
    modes.into_iter().map(|mode| [&[mode, 20][..], &records].concat()).collect()
}

/// The same for the target `trace_dat`; and how many events each has.
pub fn seeds_of_trace_dat() -> (Vec<(String, Vec<u8>)>, usize) {
    use encode::trace_dat::{Codec, count, version_6, version_7};
    let whole = include_bytes!("../../fixtures/recorded/exec_nonleader/perf.data");
    let base = encode::tiny(&Recording::parse(whole), &EVENTS, 12, 0);
    let seven = [Codec::None, Codec::Zlib, Codec::Zstd]
        .map(|codec| (format!("trace.dat 7, {codec:?}"), version_7(&base, codec)));
    let mut seeds = vec![("trace.dat 6".to_owned(), version_6(&base))];
    seeds.extend(seven);
    (seeds, count(&base))
}

/// A capture of these files, the main one first.
pub(crate) fn files(all: &[Vec<u8>]) -> encode::Files {
    let (main, parts) = all.split_first().map_or((Vec::new(), &[][..]), |(m, p)| (m.clone(), p));
    encode::Files { main, parts: parts.to_vec() }
}

/// Compressed records that expand to `bytes`, in each container that has them.
pub(crate) fn bombs_of_perf(bytes: usize) -> Vec<(String, Vec<Vec<u8>>)> {
    // Records without a body, FINISHED_INIT.
    let records = encode::record(82, 0, &[]).repeat(bytes / 8);
    let mut bombs = Vec::new();
    for packing in [Packing::Compressed(1 << 20), Packing::Compressed2(1 << 20)] {
        for (name, pipe, directory) in
            [("file", false, false), ("pipe", true, false), ("directory", false, true)]
        {
            let data = base().data_of(&records, packing);
            let files = wrap::around(base(), data, packing, pipe, directory);
            bombs.push((format!("{name}, {packing:?}"), [vec![files.main], files.parts].concat()));
        }
    }
    bombs
}

/// A tracing data feature and an attribute, for [`wrap`].
fn tracepoint(system: &str, text: &str, id: u64) -> (Tracing, Attr) {
    let tracing = Tracing::of(vec![(system.to_owned(), vec![text.to_owned()])]);
    let mut attr =
        base().attrs.first().cloned().unwrap_or_else(|| unreachable!("the base has one"));
    attr.ids = vec![1];
    attr.bytes.splice(0..4, 2_u32.to_le_bytes());
    attr.bytes.splice(8..16, id.to_le_bytes());
    attr.bytes.splice(24..32, 0x1_058f_u64.to_le_bytes());
    (tracing, attr)
}
