//! The same events as `trace-cmd report` shows, where trace-cmd is on the machine:
//! every one's time, CPU, thread and name, and what was lost, in the same order.
//!
//! Files: those that are built here, and every `*.dat` under the folders that
//! `AGENTTRACE_SAMPLES` names (separated as in `PATH`).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Parts, event, exit, page, payload};
use crate::expand::Budget;
use crate::stream::Walk as _;
use crate::support_tests::files_below;
use crate::trace_dat::order::What;
use crate::trace_dat::{Sections, TraceDat, pages, unpack};
use crate::{Diagnostics, Limits, ReadOptions};

/// `cpu time tid name` of each event, `cpu lost N` of each loss.
fn ours(bytes: &[u8]) -> Vec<String> {
    let mut budget = Budget::new(&Limits::default(), bytes.len() as u64);
    let sections: Sections = unpack(bytes, &mut budget).unwrap();
    let dat = TraceDat::open(bytes, &sections, &ReadOptions::default()).unwrap();
    let mut walk = super::super::order::Walk::new(&dat, 1000);
    let (mut batch, mut lines) = (Vec::new(), Vec::new());
    while walk.next(&mut batch, &mut Diagnostics::default()) {
        for entry in &batch {
            match entry.what {
                What::Name(_) | What::Dropped { .. } => {}
                What::Lost { stream, lost } => {
                    lines.push(format!("{} lost {lost}", dat.streams[stream as usize].cpu));
                }
                What::Event { stream, at } => {
                    let stream = &dat.streams[stream as usize];
                    let payload = pages::payload(stream.data, at).unwrap();
                    let (event_type, plan) = dat.types.of(payload).unwrap();
                    let name = &dat.info.event_types[event_type].name;
                    lines.push(format!(
                        "{} {} {} {}",
                        stream.cpu,
                        entry.time,
                        plan.tid(payload).unwrap(),
                        name.split_once(':').unwrap().1
                    ));
                }
            }
        }
    }
    lines
}

/// The lines of `trace-cmd report -t -R`, in the same form.
fn theirs(path: &Path) -> Option<Vec<String>> {
    let output = Command::new("trace-cmd").args(["report", "-t", "-R"]).arg(path).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let parse = |line: &str| {
        // Of a named buffer, its name comes first.
        if let Some((_, rest)) = line.split_once("CPU:")
            && line.ends_with("EVENTS DROPPED]")
        {
            let (cpu, rest) = rest.split_once(" [")?;
            let count = rest.strip_suffix(" EVENTS DROPPED]").unwrap_or("1");
            return Some(format!("{cpu} lost {count}"));
        }
        // `comm-tid [cpu] seconds.nanoseconds: name: fields`; a comm may hold anything.
        let (at, _) = line.match_indices(" [").find(|(at, _)| {
            let rest = &line[at + 2..];
            rest.len() > 4 && rest.as_bytes()[3] == b']' && rest[..3].parse::<u32>().is_ok()
        })?;
        let tid = line[..at].trim_end().rsplit_once('-')?.1;
        let cpu: u32 = line[at + 2..at + 5].parse().ok()?;
        let mut rest = line[at + 6..].trim_start().splitn(3, ':');
        let time = rest.next()?.replace('.', "");
        let name = rest.next()?.trim();
        Some(format!("{cpu} {} {tid} {name}", time.parse::<u64>().ok()?))
    };
    Some(text.lines().filter_map(parse).collect())
}

/// `None`, said aloud, where there is no trace-cmd.
fn compare(path: &Path, bytes: &[u8]) -> Option<usize> {
    let Some(theirs) = theirs(path) else {
        eprintln!("skipped: there is no trace-cmd here to compare with");
        return None;
    };
    let ours = ours(bytes);
    for (number, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "line {number} of {}", path.display());
    }
    assert_eq!(ours.len(), theirs.len(), "{}", path.display());
    Some(ours.len())
}

/// The parts of a recorded file, to be put together in another form.
fn parts(bytes: &[u8]) -> Parts {
    let mut budget = Budget::new(&Limits::default(), bytes.len() as u64);
    let sections = unpack(bytes, &mut budget).unwrap();
    let texts = crate::trace_dat::formats::collect(bytes, &sections);
    let mut parts = Parts::new(Vec::new());
    (parts.ftrace, parts.systems) = (Vec::new(), Vec::new());
    for (system, text) in texts.list() {
        let text = (*text).to_owned();
        match parts.systems.last_mut() {
            _ if *system == "ftrace" => parts.ftrace.push(text),
            Some((last, list)) if last == system => list.push(text),
            _ => parts.systems.push(((*system).to_owned(), vec![text])),
        }
    }
    parts.cmdlines = sections.cmdlines.of(bytes).to_vec();
    parts.buffers = sections
        .buffers
        .iter()
        .map(|buffer| super::build::BufferParts {
            name: if buffer.name.is_empty() { "" } else { "other" },
            clock: "mono",
            cpus: buffer.cpus.iter().map(|c| (c.cpu, c.data.of(bytes).to_vec())).collect(),
        })
        .collect();
    parts
}

/// A recorded file, put together in both versions with every compression.
#[test]
fn the_same_in_every_form() {
    for path in samples() {
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() >= 16 << 20 {
            continue;
        }
        let (expected, parts) = (ours(&bytes), parts(&bytes));
        for (form, bytes) in [
            ("v6", parts.v6()),
            ("v7 none", parts.v7("none")),
            ("v7 zlib", parts.v7("zlib")),
            ("v7 zstd", parts.v7("zstd")),
        ] {
            assert!(ours(&bytes) == expected, "{form} of {}", path.display());
        }
    }
}

fn samples() -> Vec<PathBuf> {
    files_below(Vec::new(), "AGENTTRACE_SAMPLES", |name| {
        Path::new(name).extension().is_some_and(|e| e == "dat")
    })
}

#[test]
fn every_sample() {
    for path in samples() {
        let bytes = std::fs::read(&path).unwrap();
        // Larger ones are for measuring speed.
        if bytes.len() < 64 << 20
            && let Some(count) = compare(&path, &bytes)
        {
            eprintln!("{}: {count} events and losses as trace-cmd has them", path.display());
        }
    }
}

/// Built files whose times are mapped: what trace-cmd makes of them decides.
#[test]
fn mapped_times() {
    use crate::trace_dat::options::id;
    let events: Vec<_> =
        (0..4).map(|n| event(100_000_000, &payload(300, 0, 7, &exit(7, n, 0)[8..]))).collect();
    let data = page(1_000_000_000_000, 0, &events, None);
    let tsc = [3_u32.to_le_bytes(), 1_u32.to_le_bytes(), [0; 4], [0; 4]].concat();
    // One CPU, three samples, interpolated; ratio 1 without fraction.
    let mut shift = 5_u64.to_le_bytes().to_vec();
    for word in [1_u32, 1, 3] {
        shift.extend(word.to_le_bytes());
    }
    for time in [1_000_050_000_000_u64, 1_000_250_000_000, 1_000_350_000_000] {
        shift.extend(time.to_le_bytes());
    }
    for offset in [1_000_i64, 3_000_001, -77] {
        shift.extend(offset.to_le_bytes());
    }
    shift.extend([1_u64; 3].iter().flat_map(|ratio| ratio.to_le_bytes()));
    let folder = std::env::temp_dir().join(format!("agenttrace-times-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, option) in [
        ("date", (id::DATE, b"0x7d0\0".to_vec())),
        ("offset", (id::OFFSET, b"-400\0".to_vec())),
        ("tsc", (id::TSC2NSEC, tsc)),
        ("shift", (id::TIME_SHIFT, shift)),
    ] {
        let mut parts = Parts::new(vec![(0, data.clone())]);
        parts.options.push(option);
        let path = folder.join(format!("{name}.dat"));
        let bytes = parts.v7("none");
        std::fs::write(&path, &bytes).unwrap();
        if let Some(count) = compare(&path, &bytes) {
            assert_eq!(count, 4, "{name}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
