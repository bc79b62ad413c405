//! A report to Markdown: what the text shows, for issues and mail.

use std::fmt::Write as _;
use std::io;

use agenttrace_attribute::detail::{Column, Details, Unit};
use agenttrace_attribute::report::{Histogram, Report, StepReport, Verdict};

use super::{Format, Job};
use crate::counters;
use crate::details;
use crate::duration::{human, millis, percents, thousands};
use crate::escape::markdown as safe;
use crate::histogram::{bounds, edge, occupied, summary};
use crate::rows::{self, COLUMNS};

/// The Markdown format.
pub(crate) struct Markdown;

impl Format for Markdown {
    fn name(&self) -> &'static str {
        "md"
    }
    fn extension(&self) -> &'static str {
        "md"
    }
    fn about(&self) -> &'static str {
        "the session and its steps, for issues and mail"
    }
    fn write(&self, job: &Job<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        match job.step {
            Some(one) => out.write_all(step(job.report, one).as_bytes()),
            None => {
                // A step at a time, for there may be many.
                out.write_all(session(job.report).as_bytes())?;
                for one in &job.report.steps {
                    out.write_all(b"\n")?;
                    out.write_all(step(job.report, one).as_bytes())?;
                }
                Ok(())
            }
        }
    }
}

/// The session, then every step in full.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut out = session(report);
    for one in &report.steps {
        out.push('\n');
        out.push_str(&step(report, one));
    }
    out
}

/// A line of a table, from cells that are escaped already.
fn row(out: &mut String, cells: &[String]) {
    out.push_str("| ");
    out.push_str(&cells.join(" | "));
    out.push_str(" |\n");
}

/// A table's head; `-` left-aligned, `:` right-aligned.
fn head(out: &mut String, columns: &[(&str, char)]) {
    row(out, &columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    let rule = |align: char| if align == ':' { "---:" } else { "---" };
    row(out, &columns.iter().map(|(_, align)| rule(*align).to_owned()).collect::<Vec<_>>());
}

fn line(out: &mut String, label: &str, text: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "- **{label}:** {}", safe(text));
}

/// The session alone: ranking, steps with a verdict each, tools, coverage.
#[must_use]
pub fn session(report: &Report) -> String {
    let mut out = String::from("# agenttrace\n\n");
    let facts: Vec<String> = rows::facts(report).into_iter().map(|(fact, _)| safe(&fact)).collect();
    out.push_str(&facts.join(" · "));
    out.push_str("\n\n## Where the steps' time went\n\n");
    head(
        &mut out,
        &[
            ("#", ':'),
            ("cause", '-'),
            ("ms", ':'),
            ("%", ':'),
            ("steps", ':'),
            ("failure mode", '-'),
            ("first fix", '-'),
        ],
    );
    let all: Vec<u64> = report.session.ranking.iter().map(|r| r.ns.0).collect();
    for (rank, percent) in report.session.ranking.iter().zip(percents(&all)) {
        if rank.ns.0 > 0 {
            let cells = [
                rank.rank.to_string(),
                rank.cause.name().to_owned(),
                millis(rank.ns, 3),
                percent,
                rank.steps.to_string(),
                safe(&rank.failure_mode),
                safe(&rank.first_fix),
            ];
            row(&mut out, &cells);
        }
    }
    out.push_str("\n## Steps, slowest first\n\n");
    head(
        &mut out,
        &[
            ("step", ':'),
            ("tool", '-'),
            ("wall", ':'),
            ("x median", ':'),
            ("verdict", '-'),
            ("confidence", '-'),
        ],
    );
    let mut steps: Vec<&StepReport> = report.steps.iter().collect();
    steps.sort_by_key(|s| std::cmp::Reverse(s.wall));
    for step in steps {
        let verdict = step.verdicts.first();
        let cells = [
            safe(&step.id.to_string()),
            safe(&step.tool),
            human(step.wall),
            step.times_median.map(|t| format!("{t:.1}")).unwrap_or_default(),
            verdict.map(|v| safe(&v.title)).unwrap_or_default(),
            verdict.map(|v| v.confidence.name().to_owned()).unwrap_or_default(),
        ];
        row(&mut out, &cells);
    }
    tools(&mut out, report);
    out.push_str("\n## What the capture shows\n\n");
    for (status, items) in rows::coverage(report) {
        line(&mut out, status, &items.join("; "));
    }
    let problems = rows::problems(report);
    if !problems.is_empty() {
        line(&mut out, "data loss", &problems.join("; "));
    }
    for note in &report.notes {
        line(&mut out, "note", note);
    }
    if out.ends_with("shows\n\n") {
        out.push_str("Every cause is observed; nothing was lost.\n");
    }
    tables(&mut out, "##", &report.session.details);
    histograms(&mut out, "## All steps' tasks", &report.session.histograms);
    out
}

fn tools(out: &mut String, report: &Report) {
    if report.session.by_tool.is_empty() {
        return;
    }
    out.push_str("\n## By tool\n\n");
    head(
        out,
        &[
            ("tool", '-'),
            ("steps", ':'),
            ("in all", ':'),
            ("p50", ':'),
            ("p95", ':'),
            ("p99", ':'),
            ("costs most", '-'),
        ],
    );
    for tool in &report.session.by_tool {
        let cells = [
            safe(&tool.tool),
            tool.steps.to_string(),
            human(tool.total),
            human(tool.p50),
            human(tool.p95),
            human(tool.p99),
            safe(&tool.penalty),
        ];
        row(out, &cells);
    }
}

/// One step in full.
#[must_use]
pub fn step(report: &Report, step: &StepReport) -> String {
    let mut out = String::new();
    let tool = if step.tool.is_empty() { "(no tool)" } else { &step.tool };
    let _ = writeln!(out, "## Step {}: {}\n", safe(&step.id.to_string()), safe(tool));
    let facts: Vec<String> = rows::step_facts(step).iter().map(|fact| safe(fact)).collect();
    out.push_str(&facts.join(" · "));
    out.push_str("\n\n");
    if let Some(clipped) = &step.clipped {
        line(&mut out, "clipped", clipped);
    }
    let extra: Vec<String> = step.extra.iter().map(|(k, json)| format!("{k}={json}")).collect();
    if !extra.is_empty() {
        line(&mut out, "marked with", &extra.join(", "));
    }
    if let Some(words) = rows::certainty(step) {
        line(&mut out, "states", &words);
    }
    if let Some(words) = rows::recording(step) {
        line(&mut out, "recording", &words);
    }
    for (i, one) in step.verdicts.iter().enumerate() {
        verdict(&mut out, step, one, if i == 0 { "verdict" } else { "also" });
    }
    out.push('\n');
    let mut columns = vec![("cause", '-'), ("ms", ':'), ("%", ':')];
    columns.extend(COLUMNS.map(|name| (name, ':')));
    columns.push(("", '-'));
    head(&mut out, &columns);
    for cause in rows::cause_table(step) {
        let name = cause.cause.map_or("**sum**", |c| c.name());
        let mut cells = vec![name.to_owned(), cause.ms, cause.percent];
        cells.extend(cause.cells);
        cells.push(safe(&cause.note));
        row(&mut out, &cells);
    }
    out.push_str("\nAll its tasks did, in parallel or not (does not add up to the wall time):\n\n");
    for (label, items) in counters::inclusive(report, step) {
        line(&mut out, label, &items.join("; "));
    }
    let tasks = rows::tasks(step, 20);
    if !tasks.is_empty() {
        line(&mut out, "tasks", &tasks.join("; "));
    }
    tables(&mut out, "###", &step.details);
    histograms(&mut out, "### Distributions", &step.histograms);
    out
}

fn verdict(out: &mut String, step: &StepReport, verdict: &Verdict, label: &str) {
    let _ = writeln!(
        out,
        "- **{label}:** {} ({})",
        safe(&verdict.title),
        safe(&rows::weight(step, verdict))
    );
    let mut sure = verdict.confidence.name().to_owned();
    if !verdict.reasons.is_empty() {
        sure.push_str(": ");
        sure.push_str(&verdict.reasons.join("; "));
    }
    line(out, "confidence", &sure);
    for evidence in &verdict.evidence {
        line(out, "evidence", &rows::proof(evidence));
    }
    for fix in &verdict.recommendations {
        let (text, saves) = rows::remedy(fix);
        let saves = if saves.is_empty() { saves } else { format!(": saves {saves}") };
        line(out, "fix", &format!("{text}{saves}"));
    }
}

/// What mechanisms did, those alone that did something.
fn tables(out: &mut String, level: &str, all: &Details) {
    for (detail, rows) in details::filled(all) {
        let _ = writeln!(out, "\n{level} {}\n", detail.title);
        let align = |c: &Column| if c.unit == Unit::Text { '-' } else { ':' };
        head(out, &detail.columns.iter().map(|c| (c.title, align(c))).collect::<Vec<_>>());
        for values in rows.iter() {
            let cells = detail.columns.iter().zip(values);
            row(out, &cells.map(|(c, v)| safe(&details::cell(c, &v))).collect::<Vec<_>>());
        }
        if detail.more > 0 {
            let _ = writeln!(out, "\n{} more rows.", thousands(detail.more as u64));
        }
        for note in detail.notes {
            let _ = writeln!(out, "\n{}", safe(note));
        }
    }
}

fn histograms(out: &mut String, title: &str, all: &[Histogram]) {
    let some: Vec<&Histogram> = all.iter().filter(|h| !occupied(h).is_empty()).collect();
    if some.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for hist in some {
        let facts = summary(hist).replace("   ", ", ");
        let _ = writeln!(out, "\n{}: {facts}\n", hist.mechanism.title());
        let mut columns = vec![("microseconds", '-'), ("count", ':')];
        columns.extend(hist.classes.iter().map(|class| (class.name, ':')));
        head(out, &columns);
        for (bucket, n) in occupied(hist) {
            let (from, to) = bounds(bucket);
            let mut cells = vec![format!("{} to {}", edge(from), edge(to)), thousands(n)];
            let of = |buckets: &[u64]| thousands(buckets.get(bucket).copied().unwrap_or(0));
            cells.extend(hist.classes.iter().map(|class| of(&class.buckets)));
            row(out, &cells);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_step_as_tables() {
        let report = fixture::report();
        let text = step(&report, &report.steps[0]);
        for part in [
            "## Step 142: search\\_codebase\n",
            "| major_fault | 14.502 | 71.7 | 1.811 |  | 0.402 | 11.912 | 0.377 |  |\n",
            "| run_delay | 0.300 | 1.5 |  | 0.300 |  |  |  | in major\\_fault |\n",
            "| **sum** | 20.214 | 100.0 | 7.223 | 0.300 | 0.402 | 11.912 | 0.377 |  |\n",
            "- **not captured:** lock waits; TLB flushes (needs tlb:tlb\\_flush)\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn names_from_the_trace_are_inert() {
        let text = super::report(&fixture::report());
        assert!(!text.contains("<script"), "{text}");
        assert!(text.contains("| a&#124;&lt;script&gt;\\\\x1b\\[31m |"), "{text}");
        assert!(text.contains("not the kernel: \\`agent\\` computes"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }
}
