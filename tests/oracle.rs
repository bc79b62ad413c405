//! Event counts and times against `perf script`, where the machine has it, and against
//! the crate `linux-perf-data`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use linux_perf_data::linux_perf_event_reader::RecordType;
use linux_perf_data::{PerfFileReader, PerfFileRecord};

use agenttrace_parse::{Capture, Diagnostics, Input, Kind, Limits, ReadOptions, Unpacked};

use crate::containers::{chosen, folder, write};
use crate::encode::{CONTAINERS, Container, Files, Origin, Packing, Recording};

/// Time in nanoseconds, CPU and name of each event that both sides name alike.
type Facts = BTreeMap<(u64, u32, String), usize>;

/// Says aloud that something was left out: a test's own output is shown only when it
/// fails.
fn skip(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// The samples that `perf script` shows: how many, and each one's facts. What it
/// says where it cannot read the capture.
fn theirs(path: &Path) -> Result<(usize, Facts), String> {
    let output = Command::new("perf")
        .args(["script", "--ns", "-F", "cpu,time,event", "-i"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text.lines().last().unwrap_or_default().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut facts = Facts::new();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        count += 1;
        *facts.entry(fact(line).ok_or_else(|| line.to_owned())?).or_default() += 1;
    }
    Ok((count, facts))
}

/// `[001]  1532.287001234:   sched:sched_switch: `
fn fact(line: &str) -> Option<(u64, u32, String)> {
    let mut words = line.split_whitespace();
    let cpu = words.next()?.trim_matches(['[', ']']).parse().ok()?;
    let (seconds, nanos) = words.next()?.trim_end_matches(':').split_once('.')?;
    let time = seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos.parse::<u64>().ok()?;
    Some((time, cpu, words.next()?.trim_end_matches(':').to_owned()))
}

/// The same of ours: how many samples there are, and the facts of those it decodes.
fn ours(files: &Files) -> (usize, Facts) {
    let parts = files.parts.iter().map(Vec::as_slice).collect();
    let input = Input { main: &files.main, parts };
    let unpacked = Unpacked::new(&input, &Limits::default()).expect("it unpacks");
    let capture = Capture::open(&unpacked, &ReadOptions::default()).expect("it opens");
    let mut facts = Facts::new();
    let totals = capture
        .read(&mut Diagnostics::default(), &mut |events| {
            for event in events {
                let name = event.kind.name();
                let name = name.strip_prefix("software:").unwrap_or(name);
                // perf's own records are no samples.
                if !matches!(event.kind, Kind::Record(_)) {
                    *facts.entry((event.time.0, event.cpu.0, name.to_owned())).or_default() += 1;
                }
            }
        })
        .expect("it reads");
    (usize::try_from(totals.events).expect("they fit"), facts)
}

/// Grouped reads are left out: perf shows an event for each member of the group.
#[test]
fn perf_script_reads_the_same() {
    if Command::new("perf").arg("--version").output().is_err() {
        skip("no perf here to compare with");
        return;
    }
    let plain = Container { name: "file", origin: Origin::Perf, write: |r| r.file(Packing::Plain) };
    let mut compared = 0;
    let mut told = BTreeSet::new();
    for fixture in chosen() {
        let recording = Recording::parse(&fixture.bytes());
        for container in [&plain].into_iter().chain(CONTAINERS) {
            let name = format!("{}: {}", fixture.name, container.name);
            if container.name.contains("grouped") {
                continue;
            }
            let files = (container.write)(&recording);
            let path = write(&folder("perf-script"), &files);
            let (count, mut facts) = match theirs(&path) {
                Ok(read) => read,
                Err(error) => {
                    if told.insert(container.name) {
                        skip(&format!("perf script does not read a {}: {error}", container.name));
                    }
                    assert!(container.name != "file", "{name}: perf does not read a plain file");
                    continue;
                }
            };
            let (our_count, our_facts) = ours(&files);
            assert_eq!(our_count, count, "{name}: samples");
            // perf shows events that the analysis does not use, too.
            let names: Vec<&String> = our_facts.keys().map(|(_, _, name)| name).collect();
            let names: BTreeSet<_> = names.into_iter().collect();
            facts.retain(|(_, _, name), _| names.contains(name));
            let differs = facts.iter().find(|(fact, n)| our_facts.get(*fact) != Some(*n));
            assert_eq!(differs, None, "{name}: perf has it, we do not");
            assert_eq!(our_facts.len(), facts.len(), "{name}: facts");
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing was compared");
}

/// The times of all samples, as `linux-perf-data` reads them. What it says where it
/// cannot.
fn of_the_crate(bytes: &[u8]) -> Result<BTreeMap<u64, usize>, String> {
    let PerfFileReader { mut perf_file, mut record_iter } =
        PerfFileReader::parse_file(std::io::Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut times = BTreeMap::new();
    while let Some(record) = record_iter.next_record(&mut perf_file).map_err(|e| e.to_string())? {
        let PerfFileRecord::EventRecord { record, .. } = record else { continue };
        if record.record_type == RecordType::SAMPLE {
            let time = record.timestamp().ok_or("a sample without a time")?;
            *times.entry(time).or_default() += 1;
        }
    }
    Ok(times)
}

/// It reads no pipes with tracepoints and no directories, and mistakes the two READ
/// formats for each other.
#[test]
fn linux_perf_data_reads_the_same() {
    let mut read = BTreeSet::new();
    let mut told = BTreeSet::new();
    for fixture in chosen() {
        let recording = Recording::parse(&fixture.bytes());
        for container in CONTAINERS {
            let files = (container.write)(&recording);
            if !files.parts.is_empty() || container.name.contains("grouped") {
                continue;
            }
            let name = format!("{}: {}", fixture.name, container.name);
            let times = match of_the_crate(&files.main) {
                Ok(times) => times,
                Err(error) => {
                    if told.insert(container.name) {
                        skip(&format!(
                            "linux-perf-data does not read a {}: {error}",
                            container.name
                        ));
                    }
                    continue;
                }
            };
            let (count, facts) = ours(&files);
            assert_eq!(times.values().sum::<usize>(), count, "{name}: samples");
            let mut wanted: BTreeMap<u64, usize> = BTreeMap::new();
            for ((time, _, _), n) in &facts {
                *wanted.entry(*time).or_default() += n;
            }
            for (time, n) in wanted {
                assert!(times.get(&time).is_some_and(|m| *m >= n), "{name}: at {time}");
            }
            read.insert(container.name);
        }
    }
    for name in ["file, CPUs a round apart", "file, COMPRESSED", "ID in place of IDENTIFIER"] {
        assert!(read.contains(name), "{name} was not compared; only {read:?}");
    }
}
