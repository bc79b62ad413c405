//! A step's inclusive counters to phrases, those that were not captured among them.

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::report::{Coverage, FaultRows, FileFaults, Report, Stats, StepReport};

use crate::duration::{bytes, human, plural, thousands};
use crate::escape::{cut_middle, visible};

/// The inclusive counters: (label, items); last what was not captured.
pub(crate) fn inclusive(report: &Report, step: &StepReport) -> Vec<(&'static str, Vec<String>)> {
    let counters = &step.inclusive;
    let mut out: Vec<(&'static str, Vec<String>)> = Vec::new();
    let mut absent: Vec<String> = Vec::new();
    let mut put = |label: &'static str, cause: Cause, items: Option<Vec<String>>| match items {
        Some(items) if items.is_empty() => out.push((label, vec!["none".to_owned()])),
        Some(items) => out.push((label, items)),
        None => absent.push(match missing(&report.coverage, cause) {
            Some(events) => format!("{label} (needs {events})"),
            None => label.to_owned(),
        }),
    };
    let syscalls = counters.syscalls.as_ref().map(|rows| {
        let mut items: Vec<String> = rows
            .iter()
            .take(8)
            .map(|row| {
                let errors = match row.errors {
                    0 => String::new(),
                    n => format!(", {}", plural(n, "error")),
                };
                format!("{} {} ({}{errors})", row.name, thousands(row.count), human(row.total))
            })
            .collect();
        more(&mut items, rows.len());
        items
    });
    put("system calls", Cause::SyscallCpu, syscalls);
    put("page faults", Cause::MinorFault, counters.faults.as_ref().map(fault_items));
    let block = counters.block.as_ref().map(|rows| {
        rows.iter()
            .map(|row| {
                let device = match &row.name {
                    Some(name) => format!("{} ({})", name, row.dev),
                    None => row.dev.to_string(),
                };
                let open = match row.open {
                    0 => String::new(),
                    n => format!(", {} without completion", thousands(n)),
                };
                format!(
                    "{} {} on {device}: {}, queue {}, device {}, p50 {} p99 {} max {}{open}",
                    row.op,
                    thousands(row.count),
                    bytes(row.bytes),
                    human(row.queue),
                    human(row.device),
                    human(row.p50),
                    human(row.p99),
                    human(row.max)
                )
            })
            .collect()
    });
    put("block I/O", Cause::BlockRead, block);
    put("fsync", Cause::Fsync, counters.fsyncs.as_ref().map(stats_items));
    put("wakeups", Cause::RunDelay, counters.wakeups.as_ref().map(stats_items));
    put("run delay", Cause::RunDelay, counters.run_delay.map(|ns| vec![human(ns)]));
    let spawns = counters.spawns.map(|s| {
        if s.forks == 0 && s.execs == 0 {
            return Vec::new();
        }
        vec![format!(
            "{}, {}, {} making and starting them",
            plural(s.forks, "fork"),
            plural(s.execs, "exec"),
            human(s.total)
        )]
    });
    put("processes", Cause::Spawn, spawns);
    put("lock waits", Cause::UserLock, counters.lock_waits.as_ref().map(stats_items));
    let moves = counters.migrations.map(|m| {
        let nodes = match m.cross_node {
            Some(n) => format!(", {} to another NUMA node", thousands(n)),
            None => String::new(),
        };
        if m.count == 0 { Vec::new() } else { vec![format!("{}{nodes}", thousands(m.count))] }
    });
    put("migrations", Cause::RunDelay, moves);
    let flushes = counters.tlb_flushes.map(|t| {
        vec![format!("{} local, {} sent to other CPUs", thousands(t.local), thousands(t.remote))]
    });
    put("TLB flushes", Cause::TlbFlush, flushes);
    put("CPU time", Cause::UserCpu, counters.cpu.map(|ns| vec![human(ns)]));
    if !absent.is_empty() {
        out.push(("not captured", absent));
    }
    out
}

pub(crate) fn more(items: &mut Vec<String>, of: usize) {
    if of > items.len() {
        items.push(format!("and {} more", of - items.len()));
    }
}

fn fault_items(faults: &FaultRows) -> Vec<String> {
    let mut items = Vec::new();
    for (kind, stats) in [("major", &faults.major), ("minor", &faults.minor)] {
        if stats.count > 0 {
            items.push(format!(
                "{kind} {} ({}, p99 {})",
                thousands(stats.count),
                human(stats.total),
                human(stats.p99)
            ));
        }
    }
    let shown = faults.files.iter().take(3).map(|file| {
        let major = match file.major {
            0 => String::new(),
            n => format!("{} major, ", thousands(n)),
        };
        format!("{} {} ({major}{})", file_name(file), thousands(file.count), human(file.total))
    });
    items.extend(shown);
    if faults.files.len() > 3 {
        items.push(format!("and {}", plural(faults.files.len() as u64 - 3, "more file")));
    }
    if faults.estimated && !items.is_empty() {
        items.push("ends estimated".to_owned());
    }
    items
}

fn file_name(file: &FileFaults) -> String {
    match &file.path {
        Some(path) => cut_middle(&visible(path), 40),
        None => format!("{} inode {}", file.dev, file.ino),
    }
}

fn stats_items(stats: &Stats) -> Vec<String> {
    if stats.count == 0 {
        return Vec::new();
    }
    vec![format!(
        "{}, {} in all, p50 {} p99 {} max {}",
        thousands(stats.count),
        human(stats.total),
        human(stats.p50),
        human(stats.p99),
        human(stats.max)
    )]
}

/// The events that are missing for a cause, in words.
fn missing(coverage: &[Coverage], cause: Cause) -> Option<String> {
    coverage
        .iter()
        .find(|row| row.cause == cause && !row.missing.is_empty())
        .map(|row| row.missing.join(", "))
}
