//! Header features to the facts of the capture: machine, recorder, topology, clock.

use super::attrs::{Attr, flag};
use super::header::{Head, feature};
use crate::capture::{CaptureInfo, Clock, ClockId};
use crate::cursor::Cursor;
use crate::topology::Topology;
use crate::units::{Cpu, Nanos};

/// Fills in everything but the event types.
pub(crate) fn read(head: &Head<'_>) -> CaptureInfo {
    let string = |bit: u32| head.cursor(bit)?.perf_string().map(text);
    let command_line = head.cursor(feature::CMDLINE).map(strings).unwrap_or_default();
    // nr_cpus_avail, then nr_cpus_online.
    let cpus =
        head.cursor(feature::NRCPUS).and_then(|mut cursor| Some((cursor.u32()?, cursor.u32()?)));
    let per_task = head.attrs.iter().any(|a| a.has(flag::ENABLE_ON_EXEC));
    CaptureInfo {
        format: "perf.data",
        hostname: string(feature::HOSTNAME),
        os_release: string(feature::OSRELEASE),
        arch: string(feature::ARCH),
        system_wide: !per_task && system_wide(&command_line),
        command_line,
        recorder: string(feature::VERSION).map(|v| format!("perf {v}")),
        cpus_online: cpus.map(|(_, online)| online),
        topology: Topology {
            cpus: head
                .cursor(feature::CPU_TOPOLOGY)
                .and_then(|cursor| cpu_topology(cursor, cpus.map_or(0, |(avail, _)| avail)))
                .unwrap_or_default(),
            nodes: head.cursor(feature::NUMA_TOPOLOGY).and_then(numa_topology).unwrap_or_default(),
            caches: head.cursor(feature::CACHE).and_then(last_level_caches).unwrap_or_default(),
        },
        clock: clock(&head.attrs, head.cursor(feature::CLOCK_DATA)),
        data_mmaps: head.attrs.iter().any(|a| a.has(flag::MMAP_DATA)),
        ..CaptureInfo::default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A `u32` count, then that many strings.
fn strings(mut cursor: Cursor<'_>) -> Vec<String> {
    let count = cursor.u32().unwrap_or(0);
    (0..count).map_while(|_| cursor.perf_string()).map(text).collect()
}

/// `write_cpu_topology`: lists of siblings, then core and socket of each CPU.
fn cpu_topology(mut cursor: Cursor<'_>, cpus: u32) -> Option<Vec<(Cpu, u32, u32)>> {
    for _ in 0..2 {
        for _ in 0..cursor.u32()? {
            cursor.perf_string()?;
        }
    }
    (0..cpus).map(|cpu| Some((Cpu(cpu), cursor.u32()?, cursor.u32()?))).collect()
}

/// `write_numa_topology`: node, memory total and free, list of CPUs.
fn numa_topology(mut cursor: Cursor<'_>) -> Option<Vec<(u32, Vec<Cpu>)>> {
    let count = cursor.u32()?;
    let mut nodes = Vec::new();
    for _ in 0..count {
        let node = cursor.u32()?;
        let (_total, _free) = (cursor.u64()?, cursor.u64()?);
        nodes.push((node, cpu_list(&text(cursor.perf_string()?))?));
    }
    Some(nodes)
}

/// `write_cache` (tools/perf/util/header.c): version, count; for each cache its level, line
/// size, sets and ways, type, size, and the CPUs that share it. Those of the highest level.
fn last_level_caches(mut cursor: Cursor<'_>) -> Option<Vec<Vec<Cpu>>> {
    let (version, count) = (cursor.u32()?, cursor.u32()?);
    if version != 1 {
        return None;
    }
    let (mut last, mut caches) = (0, Vec::new());
    for _ in 0..count {
        let level = cursor.u32()?;
        let (_line_size, _sets, _ways) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (_kind, _size) = (cursor.perf_string()?, cursor.perf_string()?);
        let cpus = cpu_list(&text(cursor.perf_string()?))?;
        if level > last {
            last = level;
            caches.clear();
        }
        if level == last {
            caches.push(cpus);
        }
    }
    caches.sort();
    Some(caches)
}

/// `0-3,8` to CPUs. `None` for anything else.
pub(crate) fn cpu_list(list: &str) -> Option<Vec<Cpu>> {
    let mut cpus = Vec::new();
    for part in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        // Far beyond what Linux supports (CONFIG_NR_CPUS is at most 8192).
        if last >= 1 << 16 {
            return None;
        }
        cpus.extend((first..=last).map(Cpu));
    }
    Some(cpus)
}

/// The clock is the attributes' own; CLOCK_DATA reads it together with the wall clock.
fn clock(attrs: &[Attr<'_>], clock_data: Option<Cursor<'_>>) -> Clock {
    let used = attrs.iter().find(|a| a.has(flag::USE_CLOCKID));
    let id = match used {
        Some(attr) => u64::try_from(attr.clockid).ok().and_then(ClockId::from_posix),
        None => Some(ClockId::Local),
    };
    let wall = clock_data.and_then(|mut cursor| {
        let (_version, clockid) = (cursor.u32()?, cursor.u32()?);
        let (wall, event) = (cursor.u64()?, cursor.u64()?);
        let same = used.is_some_and(|a| u32::try_from(a.clockid) == Ok(clockid));
        same.then_some((Nanos(event), Nanos(wall)))
    });
    Clock { id, wall }
}

/// Options of `perf record` that take the next word as their value.
pub(crate) const WITH_VALUE: &[&str] = &[
    "-e",
    "--event",
    "--filter",
    "-p",
    "--pid",
    "-t",
    "--tid",
    "-r",
    "--realtime",
    "-c",
    "--count",
    "-o",
    "--output",
    "-F",
    "--freq",
    "-m",
    "--mmap-pages",
    "--call-graph",
    "-C",
    "--cpu",
    "-D",
    "--delay",
    "-u",
    "--uid",
    "-W",
    "-G",
    "--cgroup",
    "-j",
    "--branch-filter",
    "-k",
    "--clockid",
    "--max-size",
    "--control",
    "--proc-map-timeout",
    "--switch-max-files",
    "--num-thread-synthesize",
    "--debuginfod",
    "--synth",
    "--bpf-prog",
];

/// Whether `perf record` was told to record every task: `-a`, `-C`, or neither a
/// target nor a program of its own.
fn system_wide(command_line: &[String]) -> bool {
    let mut words = command_line.iter().map(String::as_str);
    let Some(_) = words.find(|w| *w == "record") else { return true };
    let mut targets = false;
    while let Some(word) = words.next() {
        match word {
            "--" => return words.next().is_none() && !targets,
            "-a" | "--all-cpus" | "-C" | "--cpu" => return true,
            "-p" | "--pid" | "-t" | "--tid" | "-u" | "--uid" => targets = true,
            _ if word.starts_with("--cpu=") => return true,
            _ if word.starts_with("--pid=") || word.starts_with("--tid=") => targets = true,
            _ => {}
        }
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            return false; // the program to run
        } else if !word.starts_with("--") && bundle_has_all(word) {
            return true;
        }
    }
    !targets
}

/// `-qa`: options without a value, in one word, up to the first that has one.
fn bundle_has_all(word: &str) -> bool {
    word.chars().skip(1).take_while(|c| "qavgdTPsniNBRASbW".contains(*c)).any(|c| c == 'a')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_all_tasks_were_recorded() {
        let wide =
            |line: &str| system_wide(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(wide("perf record -q -a -d -c 1 -e sched:sched_switch -- sleep 1"));
        assert!(wide("perf record -ag sleep 1"));
        assert!(wide("perf record -e sched:sched_switch -C 0-3"));
        assert!(wide("perf record -e sched:sched_switch"));
        assert!(!wide("perf record -e sched:sched_switch -- tool -a"));
        assert!(!wide("perf record -e raw_syscalls:sys_enter ls -a"));
        assert!(!wide("perf record -p 12"));
        assert!(!wide("perf record -g tool -a"));
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0-1,4"), Some(vec![Cpu(0), Cpu(1), Cpu(4)]));
        assert_eq!(cpu_list(""), Some(vec![]));
        assert_eq!(cpu_list("0-4294967295"), None);
        assert_eq!(cpu_list("x"), None);
    }
}
