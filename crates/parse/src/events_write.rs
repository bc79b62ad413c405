//! Events, and the facts of a capture, to the text of `dump --stage events`.

use std::fmt::Write as _;

use crate::capture::CaptureInfo;
use crate::events::{Context, Event};
use crate::events_text::{FIRST_LINE, FLAG_LETTERS};

/// Appends one event's line, without a line end: time in nanoseconds, CPU,
/// process/thread, context, name, fields. [`crate::Capture`] reads it back.
///
/// The context is `-` where it is not known, `.` for a task with no flag set, else
/// a letter for each flag: `h` hard interrupt, `s` soft interrupt, `n` NMI, `d`
/// interrupts off, `b` bottom halves off, `r` `l` `p` need-resched (plain, lazy,
/// preempt).
pub fn write_event(event: &Event<'_>, out: &mut String) {
    let _ = write!(out, "{} {} {}/{} ", event.time, event.cpu, event.pid, event.tid);
    match event.context {
        Context { known: false, .. } => out.push('-'),
        Context { flags: 0, .. } => out.push('.'),
        Context { flags, .. } => {
            for (bit, letter) in (0_u32..).zip(FLAG_LETTERS) {
                if flags.checked_shr(bit).unwrap_or(0) & 1 != 0 {
                    out.push(char::from(*letter));
                }
            }
        }
    }
    out.push(' ');
    event.kind.write(out);
    if event.agent_step_id != 0 {
        let _ = write!(out, " agent_step_id={}", event.agent_step_id);
    }
}

/// Appends the first line and the comments that say what the capture says of itself,
/// so that the text can be analyzed like the capture.
pub fn write_events_header(info: &CaptureInfo, out: &mut String) {
    out.push_str(FIRST_LINE);
    out.push('\n');
    let mut line = |key: &str, value: &str| {
        let clean: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let _ = writeln!(out, "# {key} {clean}");
    };
    if let Some(id) = info.clock.id {
        line("clock", id.name());
    }
    if let Some((event, wall)) = info.clock.wall {
        line("wall", &format!("{event} {wall}"));
    }
    let texts = [
        ("hostname", &info.hostname),
        ("release", &info.os_release),
        ("arch", &info.arch),
        ("recorder", &info.recorder),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            line(key, value);
        }
    }
    if let Some(cpus) = info.cpus_online {
        line("cpus", &cpus.to_string());
    }
    for (cpu, core, socket) in &info.topology.cpus {
        line("cpu", &format!("{cpu} {core} {socket}"));
    }
    for (node, cpus) in &info.topology.nodes {
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        line("node", &format!("{node} {}", cpus.join(",")));
    }
    for cpus in &info.topology.caches {
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        line("cache", &cpus.join(","));
    }
    if !info.system_wide {
        line("system-wide", "no");
    }
    if !info.data_mmaps {
        line("data-mmaps", "no");
    }
    let fidelity = info.fidelity;
    if fidelity.resolution.0 != 1 {
        line("resolution", &fidelity.resolution.to_string());
    }
    if !fidelity.context {
        line("context", "no");
    }
    if !fidelity.processes {
        line("processes", "no");
    }
    for event in &info.event_types {
        line("event", &format!("{}{}", event.name, if event.every { "" } else { " sampled" }));
    }
}
