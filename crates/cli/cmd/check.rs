//! `agenttrace check`: what a capture holds, lost, and cannot show.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::process::ExitCode;

use agenttrace_attribute::report::CoverageStatus;
use agenttrace_attribute::{
    coverage::{counts_faults, coverage, tells_interrupts},
    record_command::record_command,
};
use agenttrace_model::parse::stack::{StackEvent, StackRecord};
use agenttrace_model::parse::{Capture, CaptureInfo, ClockId, Severity};
use anyhow::Result;

use crate::args::CheckArgs;
use crate::input::Files;
use crate::symbols::Tally;
use crate::{output, pipeline, symbols};

/// At most this many losses are listed one by one.
const SHOWN_LOSSES: usize = 8;

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let files = Files::open(&args.read.path)?;
    let unpacked = pipeline::unpack(&files, &args.read)?;
    let capture = pipeline::open(&unpacked, &args.read)?;
    let loaded = pipeline::load(&capture, &args.read, None)?;
    let (info, totals, model) = (&loaded.info, &loaded.totals, &loaded.model);
    let mut text = String::new();
    let packed = info.compression.map(|name| format!(" of {name}")).unwrap_or_default();
    let _ =
        writeln!(text, "format      {}, {:.1} MB{packed}", info.format, info.bytes as f64 / 1e6);
    let machine = [
        info.os_release.as_ref().map(|r| format!("Linux {r}")),
        info.arch.clone(),
        info.recorder.clone(),
    ];
    let machine: Vec<String> = machine.into_iter().flatten().map(|s| safe(&s)).collect();
    let _ = writeln!(
        text,
        "machine     {}",
        if machine.is_empty() { "not told".to_owned() } else { machine.join(", ") }
    );
    if let Some((first, last)) = totals.span {
        let _ = writeln!(
            text,
            "duration    {:.6} s, from {first} to {last} ns",
            (last - first).0 as f64 / 1e9
        );
    }
    let _ = writeln!(text, "events      {} in {} records", totals.events, totals.records);
    if !info.buffers.is_empty() {
        let names: Vec<String> = info.buffers.iter().map(|name| safe(name)).collect();
        let _ = writeln!(text, "buffers     the main one and {}, merged by time", names.join(", "));
    }
    let perf = matches!(info.format, "perf.data" | "events");
    let others = if perf {
        "markers can be mapped only by in-band marks (prctl), agenttrace:C texts or --clock-offset; record with -k CLOCK_MONOTONIC"
    } else {
        "markers can be mapped only by in-band marks, agenttrace:C texts or --clock-offset; record with the mono clock \
         (`trace-cmd record -C mono`, `echo mono > trace_clock`), or name the clock with --trace-clock"
    };
    let clock = match info.clock.id {
        _ if info.ticks => "counts that are no seconds: only in-band marks (prctl, trace_marker) can be placed, and lengths have no unit; record with `echo mono > /sys/kernel/tracing/trace_clock`".to_owned(),
        None if perf => format!("perf's own: {others}"),
        None => format!("not told: {others}"),
        Some(ClockId::Local) => format!("local: {others}"),
        Some(id) => format!(
            "{}: markers on this clock are used as they are{}",
            id.name(),
            if info.clock.wall.is_some() { ", realtime ones through the clock data" } else { "" }
        ),
    };
    let _ = writeln!(text, "clock       {clock}");
    let _ = writeln!(
        text,
        "marks       {} in-band marks, {} agent_step_id changes{}",
        model.marks.len(),
        model.step_fields.len(),
        match model.anchors.len() {
            0 => String::new(),
            n => format!(", {n} readings of other clocks"),
        }
    );
    for line in lacks(info) {
        let _ = writeln!(text, "lacks       {line}");
    }
    if !info.system_wide {
        let _ = writeln!(
            text,
            "scope       some tasks only: who woke them, and for how long they were runnable, is not told; record with -a"
        );
    }
    if !info.data_mmaps {
        let _ = writeln!(
            text,
            "mappings    data mappings were not recorded, so files that are mapped have no names; record with -d"
        );
    }
    for note in &loaded.notes {
        let _ = writeln!(text, "context     {}", safe(note.trim_start_matches("context: ")));
    }
    let _ = writeln!(text, "\nCPU      events        lost  from                to (ns)");
    for cpu in &totals.cpus {
        let _ = writeln!(
            text,
            "{:<4} {:>10} {:>11}  {:<18}  {}",
            cpu.cpu, cpu.events, cpu.lost, cpu.first, cpu.last
        );
    }
    if totals.lost == 0 && model.lost.is_empty() && loaded.diagnostics.ends_early() {
        let _ = writeln!(text, "no events were lost up to where the capture ends: see the remarks");
    } else if totals.lost == 0 && model.lost.is_empty() {
        let _ = writeln!(text, "no events were lost");
    } else {
        let _ = writeln!(
            text,
            "{} events were lost; enlarge the buffers ({}), or record fewer events:",
            totals.lost,
            if perf { "-m" } else { "buffer_size_kb, `trace-cmd record -b`" }
        );
        for lost in model.lost.iter().take(SHOWN_LOSSES) {
            let _ = writeln!(
                text,
                "  CPU {} from {} to {} ns ({} us)",
                lost.cpu,
                lost.from,
                lost.to,
                (lost.to - lost.from).0 / 1000
            );
        }
        if model.lost.len() > SHOWN_LOSSES {
            let _ = writeln!(text, "  and {} more times", model.lost.len() - SHOWN_LOSSES);
        }
    }
    let mut shown = false;
    for (problem, cpu, count) in loaded.diagnostics.iter() {
        if !shown {
            let _ = writeln!(text, "\nremarks");
            shown = true;
        }
        let weight = match problem.severity() {
            Severity::Info => "info",
            Severity::DataLoss => "data loss",
            Severity::Error => "error",
        };
        let on = if cpu == agenttrace_model::parse::Cpu::NONE {
            String::new()
        } else {
            format!(" on CPU {cpu}")
        };
        let place = if info.text { "in line" } else { "at byte" };
        let at = count.offset.map_or(String::new(), |o| format!(", first {place} {o}"));
        let _ = writeln!(text, "  {weight:<9} {} {}{on}{at}", count.count, problem.text());
    }
    for (line, what) in loaded.diagnostics.examples() {
        let _ = writeln!(text, "            line {line}: {what}");
    }
    let _ = writeln!(text, "\nwhat it can show");
    let mut all_seen = true;
    for row in coverage(info) {
        all_seen &= row.status == CoverageStatus::Observed;
        let missing = if row.missing.is_empty() {
            String::new()
        } else {
            format!("missing: {}", row.missing.join(", "))
        };
        let line = format!(
            "  {:<19} {:<13} {missing}",
            row.cause.name(),
            row.status.name().replace('_', " ")
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text, "\nevent types");
    let mut types: Vec<(u64, &str, bool, bool)> = info
        .event_types
        .iter()
        .zip(&totals.by_type)
        .map(|(t, count)| (*count, t.name.as_str(), t.known, t.every))
        .collect();
    types.sort_by_key(|(count, name, _, _)| (std::cmp::Reverse(*count), *name));
    for (count, name, known, every) in types {
        let note = match (known, every) {
            (false, _) => "  not used by the analysis",
            (true, false) => "  only samples of it: record with -c 1",
            (true, true) => "",
        };
        let _ = writeln!(text, "  {count:>10} {}{note}", safe(name));
    }
    text.push_str(&stacks(args, &capture)?);
    let _ =
        writeln!(text, "\nto record everything that this kernel offers\n{}", record_command(info));
    let _ = writeln!(
        text,
        "\nand beside it, on the same machine, for names of files and devices\nagenttrace context --out context/ --tree PATH"
    );
    output::print(text.as_bytes())?;
    let failed = args.strict && (totals.lost > 0 || !all_seen);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Which event types have stacks, and which modules' names are there or missing.
fn stacks(args: &CheckArgs, capture: &Capture<'_>) -> Result<String> {
    let info = capture.info();
    let tallies = RefCell::new(vec![Tally::default(); info.event_types.len()]);
    let wanted = |event: &StackEvent<'_>| {
        if let StackRecord::Sample(sample) = &event.what
            && let Some(tally) = tallies.borrow_mut().get_mut(sample.event_type)
        {
            tally.add(sample);
        }
        true
    };
    let data = symbols::load(capture, &args.read, &args.symbols, &wanted)?;
    let text = |data| symbols::check(&data, info, &tallies.borrow(), &args.read.path);
    Ok(data.map(text).unwrap_or_default())
}

/// What the dialect of this capture cannot carry, and what to record in its place.
fn lacks(info: &CaptureInfo) -> Vec<String> {
    let fidelity = info.fidelity;
    let mut lines = Vec::new();
    if fidelity.resolution.0 > 1 {
        lines.push(format!(
            "times are rounded to {} ns, so that short calls last nothing or a whole unit; record perf.data or trace.dat, or \
             print with `trace-cmd report -t`, `perf script --ns`",
            fidelity.resolution
        ));
    }
    if !fidelity.context {
        let instead = if tells_interrupts(info) {
            "; here the interrupts' own events tell them apart"
        } else {
            ", and a waker may be an innocent bystander; record irq:irq_handler_entry/exit and irq:softirq_entry/exit too, or \
             keep the perf.data, the trace.dat, or tracefs's trace with irq-info"
        };
        lines.push(format!("events do not tell interrupts from tasks{instead}"));
    }
    if !fidelity.processes {
        lines.push(
            "threads do not tell their process, which is known only of those whose creation is in the capture; record \
             perf.data, or `echo 1 > options/record-tgid` for ftrace, and give \"pid\" and \"tid\" in the steps file"
                .to_owned(),
        );
    }
    let ftrace = !matches!(info.format, "perf.data" | "events");
    if ftrace && !counts_faults(info) {
        lines.push(
            "the kernel's counts of minor and major faults are events of perf alone, so ends of page faults are estimated; \
             record perf.data with -e minor-faults -e major-faults -c 1"
                .to_owned(),
        );
    }
    lines
}

fn safe(text: &str) -> String {
    text.escape_debug().to_string()
}
