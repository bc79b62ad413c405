//! A report to JSON (`agenttrace.report/1`), streamed.

mod details;
mod inclusive;
mod steps;

use std::io::{self, Write};

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::report::{
    Histogram, RankRow, Report, Stats, StepReport, Tracing, Verdict,
};
use agenttrace_model::parse::{Nanos, StepId};

use super::{Format, Job};
use crate::json_writer::JsonWriter;
use details::{Tables, details};
use inclusive::{inclusive, stats_keys};

/// The JSON format.
pub(crate) struct Json;

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }
    fn extension(&self) -> &'static str {
        "json"
    }
    fn about(&self) -> &'static str {
        "everything, for programs (docs/report.schema.json)"
    }
    fn write(&self, job: &Job<'_>, mut out: &mut dyn io::Write) -> io::Result<()> {
        match job.step {
            Some(step) => document(job.report, &[step], &mut out),
            None => write(job.report, &mut out),
        }
    }
}

/// Writes the whole report. Times are integer nanoseconds on the capture's
/// clock; what was not captured is `null`.
///
/// # Errors
/// Those of the writer.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let steps: Vec<&StepReport> = report.steps.iter().collect();
    document(report, &steps, out)
}

fn document(report: &Report, steps: &[&StepReport], out: &mut impl Write) -> io::Result<()> {
    let mut text = Vec::new();
    let mut j = JsonWriter::new(&mut text);
    j.object(true);
    j.key("schema").text("agenttrace.report/1");
    j.key("capture");
    capture(&mut j, report);
    j.key("coverage").array(true);
    for row in &report.coverage {
        j.item().object(false);
        j.key("cause").text(row.cause.name());
        j.key("status").text(row.status.name());
        j.key("missing").array(false);
        for event in &row.missing {
            j.item().text(event);
        }
        j.end().end();
    }
    j.end();
    j.key("session");
    session(&mut j, report);
    j.key("steps").array(true);
    steps::steps(&mut j, steps, out)?;
    j.end();
    j.key("notes").array(true);
    for note in &report.notes {
        j.item().text(note);
    }
    j.end().end();
    j.finish(out)
}

fn capture(j: &mut JsonWriter<'_>, report: &Report) {
    let capture = &report.capture;
    let (info, totals) = (&capture.info, &capture.totals);
    j.object(true);
    j.key("format").text(info.format);
    j.key("bytes").number(info.bytes);
    j.key("hostname").text_or_null(info.hostname.as_deref());
    j.key("os_release").text_or_null(info.os_release.as_deref());
    j.key("arch").text_or_null(info.arch.as_deref());
    j.key("cpus").number_or_null(info.cpus_online.map(u64::from));
    j.key("records").number(totals.records);
    j.key("events").number(totals.events);
    j.key("start_ns").number_or_null(totals.span.map(|(start, _)| start.0));
    j.key("end_ns").number_or_null(totals.span.map(|(_, end)| end.0));
    j.key("lost_events").number(totals.lost);
    j.key("clock").object(false);
    j.key("id").text_or_null(info.clock.id.map(|id| id.name()));
    j.key("mapping").text(&capture.clock_mapping);
    j.key("error_ns").number_or_null(capture.clock_error.map(|ns| ns.0));
    j.end();
    j.key("fidelity").object(false);
    j.key("resolution_ns").number(info.fidelity.resolution.0);
    j.key("context").bool(info.fidelity.context);
    j.key("processes").bool(info.fidelity.processes);
    j.end();
    j.key("markers").text(capture.markers.name());
    j.key("diagnostics").array(true);
    for (problem, cpu, count) in capture.diagnostics.iter() {
        j.item().object(false);
        j.key("problem").text(problem.text());
        let cpu = (cpu != agenttrace_model::parse::Cpu::NONE).then_some(u64::from(cpu.0));
        j.key("cpu").number_or_null(cpu);
        j.key("count").number(count.count);
        j.key("first_ns").number_or_null(count.first.map(|ns| ns.0));
        j.key("offset").number_or_null(count.offset);
        j.end();
    }
    j.end().end();
}

fn session(j: &mut JsonWriter<'_>, report: &Report) {
    let session = &report.session;
    j.object(true);
    j.key("name").text_or_null(session.name.as_deref());
    j.key("steps").number(session.steps as u64);
    j.key("wall_ns").number(session.wall.0);
    j.key("ranking").array(true);
    for RankRow { rank, cause, ns, share, steps, failure_mode, first_fix } in &session.ranking {
        j.item().object(false);
        j.key("rank").number(*rank as u64);
        j.key("cause").text(cause.name());
        j.key("ns").number(ns.0);
        j.key("share").share(*share);
        j.key("steps").number(*steps as u64);
        j.key("failure_mode").text(failure_mode);
        j.key("first_fix").text(first_fix);
        j.end();
    }
    j.end();
    j.key("by_tool").array(true);
    for row in &session.by_tool {
        j.item().object(false);
        j.key("tool").text(&row.tool);
        j.key("steps").number(row.steps as u64);
        j.key("total_ns").number(row.total.0);
        j.key("p50_ns").number(row.p50.0);
        j.key("p95_ns").number(row.p95.0);
        j.key("p99_ns").number(row.p99.0);
        j.key("penalty").text(&row.penalty);
        j.end();
    }
    j.end();
    histograms(j, &session.histograms);
    details(j, &session.details, &mut Tables::default());
    j.end();
}

fn histograms(j: &mut JsonWriter<'_>, all: &[Histogram]) {
    j.key("histograms").array(true);
    for hist in all {
        j.item().object(false);
        j.key("mechanism").text(hist.mechanism.name());
        match &hist.buckets {
            // A bucket is [2^(n-1), 2^n) us; the first is below 1 us.
            Some(buckets) => {
                j.key("log2_us_counts").array(false);
                for n in buckets {
                    j.item().number(*n);
                }
                j.end();
                stats_keys(
                    j,
                    &Stats {
                        count: hist.count,
                        total: hist.total,
                        p50: hist.p50,
                        p99: hist.p99,
                        max: hist.max,
                    },
                );
                classes(j, hist);
            }
            None => {
                j.key("log2_us_counts").null();
            }
        }
        j.end();
    }
    j.end();
}

/// The values by class, for what has classes.
fn classes(j: &mut JsonWriter<'_>, hist: &Histogram) {
    if hist.classes.is_empty() {
        return;
    }
    j.key("classes").array(true);
    for class in &hist.classes {
        j.item().object(false);
        j.key("class").text(class.name);
        j.key("log2_us_counts").array(false);
        for n in &class.buckets {
            j.item().number(*n);
        }
        j.end();
        j.key("count").number(class.count);
        j.key("p50_ns").number(class.p50.0);
        j.key("p99_ns").number(class.p99.0);
        j.key("max_ns").number(class.max.0);
        j.end();
    }
    j.end();
}

fn id(j: &mut JsonWriter<'_>, id: &StepId) {
    match id {
        StepId::Number(n) => j.number(*n),
        StepId::Name(name) => j.text(name),
    }
}

/// A step up to its segments.
fn step_head(j: &mut JsonWriter<'_>, step: &StepReport) {
    j.item().object(true);
    j.key("step_id");
    id(j, &step.id);
    j.key("tool").text(&step.tool);
    j.key("pid").signed(step.pid.0.into());
    j.key("tid").signed(step.tid.0.into());
    j.key("comm").text(&step.comm);
    j.key("parent");
    match &step.parent {
        Some(parent) => id(j, parent),
        None => j.null(),
    }
    j.key("start_ns").number(step.start.0);
    j.key("end_ns").number(step.end.0);
    j.key("clipped").text_or_null(step.clipped.as_deref());
    j.key("wall_ns").number(step.wall.0);
    j.key("self_ns").number(step.self_ns.0);
    j.key("times_median");
    match step.times_median {
        Some(times) => j.share(times),
        None => j.null(),
    }
    j.key("tool_median_ns").number(step.tool_median.0);
    j.key("observed_ns").number(step.observed.0);
    j.key("inferred_ns").number(step.inferred.0);
    j.key("unknown_ns").number(step.unknown.0);
    tracing(j, &step.tracing);
    j.key("extra").object(false);
    for (key, json) in &step.extra {
        j.key_of_input(key).json_text(json);
    }
    j.end();
    j.key("exclusive").array(true);
    for row in &step.exclusive {
        j.item().object(false);
        j.key("cause").text(row.cause.name());
        j.key("resource").text(row.resource.name());
        under(j, row.under);
        j.key("ns").number(row.ns.0);
        j.end();
    }
    j.end();
    j.key("segments").array(true);
}

/// What follows a step's segments.
fn step_tail<'r>(j: &mut JsonWriter<'_>, step: &'r StepReport, tables: &mut Tables<'r>) {
    j.end();
    j.key("inclusive");
    inclusive(j, &step.inclusive);
    details(j, &step.details, tables);
    histograms(j, &step.histograms);
    j.key("tasks").array(true);
    for task in &step.tasks {
        j.item().object(false);
        j.key("tid").signed(task.tid.0.into());
        j.key("pid").signed(task.pid.0.into());
        j.key("comm").text(&task.comm);
        j.key("ns").number(task.ns.0);
        j.key("inferred").bool(task.inferred);
        j.end();
    }
    j.end();
    j.key("verdicts").array(true);
    for one in &step.verdicts {
        verdict(j, one);
    }
    j.end().end();
}

fn under(j: &mut JsonWriter<'_>, under: Option<Cause>) {
    if let Some(cause) = under {
        j.key("under").text(cause.name());
    }
}

fn verdict(j: &mut JsonWriter<'_>, v: &Verdict) {
    j.item().object(true);
    j.key("id").text(v.id);
    j.key("title").text(&v.title);
    j.key("failure_mode").text(v.failure_mode);
    j.key("cause").text(v.cause.name());
    j.key("ns").number(v.ns.0);
    j.key("share").share(v.share);
    j.key("confidence").text(v.confidence.name());
    j.key("reasons").array(false);
    for reason in &v.reasons {
        j.item().text(reason);
    }
    j.end();
    j.key("evidence").array(true);
    for e in &v.evidence {
        j.item().object(false);
        j.key("text").text(&e.text);
        j.key("value").number(e.value);
        j.key("unit").text(e.unit);
        j.key("source").text(e.source);
        j.end();
    }
    j.end();
    j.key("recommendations").array(true);
    for fix in &v.recommendations {
        j.item().object(false);
        j.key("text").text(&fix.text);
        j.key("condition").text(&fix.condition);
        j.key("saves_ns").number_or_null(fix.saves.map(|Nanos(ns)| ns));
        j.end();
    }
    j.end().end();
}

#[cfg(test)]
mod tests;
/// What recording cost a step.
fn tracing(j: &mut JsonWriter<'_>, tracing: &Tracing) {
    j.key("tracing").object(false);
    j.key("events").number(tracing.events);
    j.key("events_per_ms").share(tracing.per_ms);
    j.key("path_events").number(tracing.path_events);
    j.key("event_cost_ns").number_or_null(tracing.event_cost.map(|ns| ns.0));
    j.key("estimate_ns").number_or_null(tracing.estimate.map(|ns| ns.0));
    j.end();
}
