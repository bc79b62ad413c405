//! A perf.data and a choice of its records to a smaller, valid perf.data.

use super::PerfData;
use super::header::{Section, feature};
use super::pipe;
use super::record::{self, Raw, kind};
use super::redact::{Redaction, Redactor};
use super::tracing_data;
use super::write::{self, Out};
use crate::cursor::Endian;
use crate::error::Error;
use crate::unpack::Unpacked;

/// Records between two FINISHED_ROUND in the result. Leaving rounds out is safe: what
/// a round says stays true when it is said later.
const ROUND: u32 = 256;

/// Features that are copied as they are. The rest describes what a cut no longer has.
const COPIED: &[u32] = &[
    feature::OSRELEASE,
    feature::VERSION,
    feature::ARCH,
    feature::NRCPUS,
    feature::CPUDESC,
    feature::CPUID,
    feature::TOTAL_MEM,
    feature::EVENT_DESC,
    feature::CPU_TOPOLOGY,
    feature::NUMA_TOPOLOGY,
    feature::CACHE,
    feature::PMU_MAPPINGS,
    feature::CLOCKID,
    feature::CLOCK_DATA,
];
/// Features that are copied unless names are redacted.
const NAMING: &[u32] = &[feature::HOSTNAME, feature::CMDLINE];

/// Writes a perf.data with the same event types and machine facts, and only those
/// records for which `keep` says yes to their number (as [`crate::Event::record`]
/// counts: from 0, in the order of the file). FINISHED_ROUND records are made anew.
///
/// With a redactor, task names and paths are passed through it wherever they occur,
/// in perf's own records and in tracepoint payloads alike; the host name, the
/// program that was recorded and the build ids of files with other names are left out;
/// and records of types that may carry other names (KSYMBOL, BPF_EVENT, CGROUP, ...) are
/// left out whatever `keep` says. Tracepoint payloads keep their fields alone, and system
/// calls the arguments that they have: what lies beside them may be anything. So may
/// registers and stacks, which stay only where [`Redactor::keeps_stack`] says so; call
/// chains stay.
///
/// # Errors
/// Where the input is no perf.data that [`crate::Capture::open`] takes.
pub fn cut(
    unpacked: &Unpacked<'_>,
    keep: &dyn Fn(u64) -> bool,
    redact: Option<&mut dyn Redactor>,
) -> Result<Vec<u8>, Error> {
    let perf = PerfData::open(unpacked, None)?;
    if perf.head.endian == Endian::Big {
        return Err(Error::Unsupported {
            what: "this perf.data was recorded on a big-endian machine, and no such file can be \
                   cut; analyze it as it is"
                .to_owned(),
        });
    }
    let mut redaction = redact.map(|redactor| Redaction::new(&perf, redactor));
    let (mut out, attrs) = Out::begin(&perf);
    let offset = out.position();
    records(&perf, keep, redaction.as_mut(), &mut out);
    let data = Section { offset, size: out.position().saturating_sub(offset) };
    let features = features(&perf, redaction.as_mut());
    out.raw(&write::end(out.position(), &features));
    out.header(attrs, data, &features);
    Ok(out.bytes)
}

/// The chosen records, in the order of the file.
fn records(
    perf: &PerfData<'_>,
    keep: &dyn Fn(u64) -> bool,
    mut redaction: Option<&mut Redaction<'_>>,
    out: &mut Out,
) {
    let mut position = 0;
    let mut number = 0_u64;
    let mut since_round = 0_u32;
    while let Ok(raw) = record::at(perf.data, position) {
        position = raw.next();
        let kept = keep(number);
        number = number.saturating_add(1);
        if raw.kind == kind::FINISHED_ROUND {
            if since_round >= ROUND {
                out.round();
                since_round = 0;
            }
            continue;
        }
        if !kept || is_elsewhere(&raw) {
            continue;
        }
        match &mut redaction {
            None => out.raw(raw.bytes),
            Some(redaction) => match redaction.record(perf, &raw) {
                Some(bytes) => out.raw(&bytes),
                None => continue,
            },
        }
        since_round = since_round.saturating_add(1);
    }
    out.round();
}

/// Whether a new file has no such record: what lies behind a record, a pipe's head, and
/// build ids have their own places in a file.
pub(super) fn is_elsewhere(raw: &Raw<'_>) -> bool {
    raw.behind > 0 || pipe::is_head(raw.kind) || raw.kind == kind::HEADER_BUILD_ID
}

/// The feature sections of the result, by number.
fn features(perf: &PerfData<'_>, redaction: Option<&mut Redaction<'_>>) -> Vec<(u32, Vec<u8>)> {
    let mut features: Vec<(u32, Vec<u8>)> = Vec::new();
    let redacting = redaction.is_some();
    for (bit, body) in &perf.head.features {
        let new = match *bit {
            feature::TRACING_DATA => tracing_data::parse(body).map(|t| tracing(&t, perf)),
            feature::HOSTNAME if redacting => Some(perf_string(b"redacted")),
            // The version alone: what follows it can name a machine's own build.
            feature::OSRELEASE if redacting => {
                let release = perf.info.os_release.as_deref().unwrap_or_default();
                let version = release.split('-').next().unwrap_or_default();
                Some(perf_string(version.as_bytes()))
            }
            feature::CMDLINE if redacting => Some(command_line(&perf.info.command_line)),
            // Written below: they may also stand in records.
            feature::BUILD_ID => None,
            bit if COPIED.contains(&bit) || NAMING.contains(&bit) => Some(body.to_vec()),
            _ => None,
        };
        features.extend(new.map(|new| (*bit, new)));
    }
    let build_ids = match redaction {
        Some(redaction) => redaction.build_ids(perf),
        None => perf.build_ids().iter().flat_map(|row| row.bytes).copied().collect(),
    };
    if !build_ids.is_empty() {
        features.push((feature::BUILD_ID, build_ids));
    }
    // In a pipe they come in any order, and may come again.
    features.sort_by_key(|(bit, _)| *bit);
    features.dedup_by_key(|(bit, _)| *bit);
    features
}

/// The formats of the recorded events, without ftrace's own, symbols, printk formats
/// and the saved names of tasks.
fn tracing(data: &tracing_data::TracingData<'_>, perf: &PerfData<'_>) -> Vec<u8> {
    let recorded = |name: &str, text: &str| {
        let event = crate::format::parse(text).map_or("", |f| f.name).to_owned();
        let full = format!("{name}:{event}");
        perf.info.event_types.iter().any(|t| t.name == full)
    };
    let mut out = Out { bytes: data.head.to_vec() };
    out.u32(0); // ftrace's own formats
    let mut systems: Vec<(&str, Vec<&str>)> = Vec::new();
    for (system, text) in data.formats.iter().filter(|(s, t)| recorded(s, t)) {
        match systems.iter_mut().find(|(name, _)| name == system) {
            Some((_, texts)) => texts.push(text),
            None => systems.push((system, vec![text])),
        }
    }
    out.u32(systems.len() as u32);
    for (system, texts) in systems {
        out.raw(system.as_bytes());
        out.raw(&[0]);
        out.u32(texts.len() as u32);
        for text in texts {
            out.u64(text.len() as u64);
            out.raw(text.as_bytes());
        }
    }
    out.u32(0); // symbols
    out.u32(0); // printk formats
    out.u64(0); // names of tasks, since version 0.6
    out.bytes
}

fn perf_string(text: &[u8]) -> Vec<u8> {
    const ALIGN: usize = 64;
    let len = text.len().saturating_add(1).next_multiple_of(ALIGN);
    let mut out = (len as u32).to_le_bytes().to_vec();
    out.extend(text);
    out.resize(len.saturating_add(4), 0);
    out
}

fn command_line(words: &[String]) -> Vec<u8> {
    let words = super::command_line::kept(words);
    let mut out = (words.len() as u32).to_le_bytes().to_vec();
    for word in words {
        out.extend(perf_string(word.as_bytes()));
    }
    out
}
