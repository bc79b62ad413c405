//! A step's numbers to the rows and phrases that text and Markdown both lay out.

use agenttrace_attribute::cause::{Cause, Resource};
use agenttrace_attribute::report::{
    CoverageStatus, Evidence, Recommendation, Report, StepReport, Verdict,
};
use agenttrace_attribute::stats::apportion;
use agenttrace_model::parse::{Nanos, Severity};

use crate::counters::more;
use crate::duration::{fixed, human, millis, moment, percents, plural, share, thousands};

/// The resource columns of the cause table.
pub(crate) const COLUMNS: [&str; 5] = ["cpu", "run q", "dev q", "device", "other"];

/// One row of a step's cause table: every number as it is printed.
pub(crate) struct CauseRow {
    /// `None`: the sum.
    pub(crate) cause: Option<Cause>,
    pub(crate) ms: String,
    pub(crate) percent: String,
    /// By [`COLUMNS`]; empty for nothing.
    pub(crate) cells: [String; 5],
    /// Such as `in major_fault`.
    pub(crate) note: String,
}

fn column(resource: Resource) -> usize {
    match resource {
        Resource::CpuUser | Resource::CpuKernel => 0,
        Resource::RunQueue => 1,
        Resource::DeviceQueue => 2,
        Resource::Device => 3,
        Resource::Completion
        | Resource::LockHolder
        | Resource::Timer
        | Resource::Peer
        | Resource::Unknown => 4,
    }
}

/// The cause table: milliseconds to the microsecond, rounded so that the
/// printed cells add up to the printed rows, and these to the printed sum.
pub(crate) fn cause_table(step: &StepReport) -> Vec<CauseRow> {
    /// A cause, its cells, and which causes its time was under.
    type Sums = (Cause, [u64; 5], Vec<(Cause, Nanos)>);
    let mut causes: Vec<Sums> = Vec::new();
    for row in &step.exclusive {
        let at = causes.iter().position(|(cause, _, _)| *cause == row.cause).unwrap_or_else(|| {
            causes.push((row.cause, [0; 5], Vec::new()));
            causes.len() - 1
        });
        let (_, cells, under) = &mut causes[at];
        let cell = &mut cells[column(row.resource)];
        *cell = cell.saturating_add(row.ns.0);
        if let Some(cause) = row.under {
            match under.iter_mut().find(|(c, _)| *c == cause) {
                Some((_, ns)) => *ns += row.ns,
                None => under.push((cause, row.ns)),
            }
        }
    }
    let sums: Vec<u64> = causes
        .iter()
        .map(|(_, cells, _)| cells.iter().fold(0_u64, |sum, ns| sum.saturating_add(*ns)))
        .collect();
    let micros = |ns: u64| ns / 1_000 + u64::from(ns % 1_000 >= 500);
    // Of what is shown: a sum that is not the wall time must not be hidden.
    let sum = sums.iter().fold(0_u64, |sum, ns| sum.saturating_add(*ns));
    let rows_us = apportion(&sums, micros(sum));
    let mut totals = [0_u64; 5];
    let mut out = Vec::with_capacity(causes.len() + 1);
    for (((cause, cells, mut under), us), percent) in
        causes.into_iter().zip(rows_us).zip(percents(&sums))
    {
        under.sort_by_key(|(cause, ns)| (std::cmp::Reverse(*ns), *cause));
        let cells_us = apportion(&cells, us);
        for (total, us) in totals.iter_mut().zip(&cells_us) {
            *total += us;
        }
        let print = |i: usize| match (cells[i], cells_us[i]) {
            (0, _) => String::new(),
            (_, us) => fixed(us, 1_000, 3),
        };
        out.push(CauseRow {
            cause: Some(cause),
            ms: fixed(us, 1_000, 3),
            percent,
            cells: std::array::from_fn(print),
            note: under_note(cause, &under),
        });
    }
    let print = |i: usize| if totals[i] == 0 { String::new() } else { fixed(totals[i], 1_000, 3) };
    out.push(CauseRow {
        cause: None,
        ms: millis(step.wall, 3),
        percent: if step.wall.0 == 0 { "0.0".to_owned() } else { "100.0".to_owned() },
        cells: std::array::from_fn(print),
        note: String::new(),
    });
    out
}

fn under_note(cause: Cause, under: &[(Cause, Nanos)]) -> String {
    match under {
        [] => String::new(),
        [(only, _)] if *only == cause => String::new(),
        [(only, _)] => format!("in {}", only.name()),
        many => {
            let list: Vec<String> =
                many.iter().map(|(c, ns)| format!("{} {}", c.name(), human(*ns))).collect();
            format!("in {}", list.join(", "))
        }
    }
}

/// Causes that the capture does not show in full: (status in words, causes with
/// their missing events).
pub(crate) fn coverage(report: &Report) -> Vec<(&'static str, Vec<String>)> {
    [(CoverageStatus::Partial, "seen in part"), (CoverageStatus::NotCaptured, "not captured")]
        .into_iter()
        .filter_map(|(status, words)| {
            let mut by_event: Vec<(&[&str], Vec<&str>)> = Vec::new();
            for row in report.coverage.iter().filter(|row| row.status == status) {
                match by_event.iter_mut().find(|(missing, _)| *missing == row.missing) {
                    Some((_, causes)) => causes.push(row.cause.name()),
                    None => by_event.push((&row.missing, vec![row.cause.name()])),
                }
            }
            let items: Vec<String> = by_event
                .into_iter()
                .map(|(missing, causes)| match missing {
                    [] => causes.join(", "),
                    events => format!("{} (no {})", causes.join(", "), events.join(", ")),
                })
                .collect();
            (!items.is_empty()).then_some((words, items))
        })
        .collect()
}

/// What was lost or contradicts itself, most severe first.
pub(crate) fn problems(report: &Report) -> Vec<String> {
    let mut sums = Vec::new();
    for (problem, _, count) in report.capture.diagnostics.iter() {
        match sums.last_mut() {
            Some((last, n)) if *last == problem => *n += count.count,
            _ => sums.push((problem, count.count)),
        }
    }
    sums.retain(|(problem, _)| problem.severity() > Severity::Info);
    sums.sort_by_key(|(problem, _)| std::cmp::Reverse(problem.severity()));
    sums.into_iter().map(|(problem, n)| format!("{} {}", thousands(n), problem.text())).collect()
}

/// The session's facts, for the first line: (what, whether it is bad news).
pub(crate) fn facts(report: &Report) -> Vec<(String, bool)> {
    let capture = &report.capture;
    let info = &capture.info;
    let mut out = vec![(info.format.to_owned(), false)];
    let session = &report.session;
    let name = session.name.as_ref().map(|n| format!("{n}: ")).unwrap_or_default();
    let steps = plural(session.steps as u64, "step");
    out.push((format!("{name}{steps}, {}", human(session.wall)), false));
    let cpus = info.cpus_online.map(|n| plural(u64::from(n), "CPU"));
    let release = info.os_release.as_ref().map(|r| format!("Linux {r}"));
    let machine: Vec<String> = cpus.into_iter().chain(release).collect();
    if !machine.is_empty() {
        out.push((machine.join(", "), false));
    }
    out.push(match capture.totals.lost {
        0 if capture.losses > 0 => ("events LOST".to_owned(), true),
        0 if capture.diagnostics.ends_early() => ("capture ends EARLY".to_owned(), true),
        0 => ("no events lost".to_owned(), false),
        n => (format!("{} LOST", plural(n, "event")), true),
    });
    let error = match capture.clock_error {
        Some(Nanos(0)) => String::new(),
        Some(ns) => format!(" (+-{})", human(ns)),
        None => " (error unknown)".to_owned(),
    };
    out.push((
        format!("markers: {}, {}{error}", capture.markers.name(), capture.clock_mapping),
        false,
    ));
    out
}

/// Several of a step's facts, for its first line.
pub(crate) fn step_facts(step: &StepReport) -> Vec<String> {
    let mut out = vec![
        if step.pid.0 == step.tid.0 {
            format!("{} pid {}", step.comm, step.pid)
        } else {
            format!("{} pid {} tid {}", step.comm, step.pid, step.tid)
        },
        format!("{} ms", millis(step.wall, 3)),
    ];
    if let Some(times) = step.times_median {
        out.push(format!("{times:.1}x the tool's median ({})", human(step.tool_median)));
    }
    if step.self_ns != step.wall {
        out.push(format!("{} without nested steps", human(step.self_ns)));
    }
    if let Some(parent) = &step.parent {
        out.push(format!("within step {parent}"));
    }
    out.push(format!("{} to {} on the capture's clock", moment(step.start), moment(step.end)));
    out
}

/// How much of the step's states were seen; `None` where all were.
pub(crate) fn certainty(step: &StepReport) -> Option<String> {
    if step.inferred.0 == 0 && step.unknown.0 == 0 {
        return None;
    }
    let mut words = format!("{} observed", human(step.observed));
    if step.inferred.0 > 0 {
        words.push_str(&format!(", {} inferred from other events", human(step.inferred)));
    }
    if step.unknown.0 > 0 {
        words.push_str(&format!(", {} unknown", human(step.unknown)));
    }
    Some(words)
}

/// `about 0.81 ms of it (4.0 %), by 2,700 events on the path; 450 events a ms in all`.
pub(crate) fn recording(step: &StepReport) -> Option<String> {
    let tracing = &step.tracing;
    let estimate = tracing.estimate.filter(|_| tracing.events > 0)?;
    let part = estimate.0 as f64 / step.wall.0.max(1) as f64;
    Some(format!(
        "about {} of it ({}), by {} on the path; {:.0} events a ms in all",
        human(estimate),
        share(part),
        plural(tracing.path_events, "event"),
        tracing.per_ms
    ))
}

/// `major_fault with its run delay: 14.8 ms, 73.2 % of the step`.
pub(crate) fn weight(step: &StepReport, verdict: &Verdict) -> String {
    let more = match verdict.causes.len() {
        0 | 1 if verdict.ns > step.cause_ns(verdict.cause) => " with its run delay".to_owned(),
        0 | 1 => String::new(),
        n => format!(" and {}", plural(n as u64 - 1, "other cause")),
    };
    format!(
        "{}{more}: {}, {} of the step",
        verdict.cause.name(),
        human(verdict.ns),
        share(verdict.share)
    )
}

/// The evidence's sentence with its source.
pub(crate) fn proof(evidence: &Evidence) -> String {
    if evidence.source.is_empty() {
        evidence.text.clone()
    } else {
        format!("{} [{}]", evidence.text, evidence.source)
    }
}

/// The remedy with its condition; and what it saves at most.
pub(crate) fn remedy(fix: &Recommendation) -> (String, String) {
    let text = if fix.condition.is_empty() {
        fix.text.clone().into_owned()
    } else {
        format!("{} ({})", fix.text, fix.condition)
    };
    (text, fix.saves.map(|ns| format!("at most {}", human(ns))).unwrap_or_default())
}

/// A task that worked for the step.
pub(crate) fn tasks(step: &StepReport, most: usize) -> Vec<String> {
    let mut items: Vec<String> = step
        .tasks
        .iter()
        .take(most)
        .map(|task| {
            let inferred = if task.inferred { ", inferred" } else { "" };
            format!("{} {} ({}{inferred})", task.comm, task.tid, human(task.ns))
        })
        .collect();
    more(&mut items, step.tasks.len());
    items
}
