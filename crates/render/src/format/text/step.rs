//! A step to its full block of text.

use agenttrace_attribute::detail::Details;
use agenttrace_attribute::report::{Report, StepReport};

use super::session::{confidence_ink, tool_name};
use super::{LABEL, Page};
use crate::counters;
use crate::details;
use crate::escape::{cut_end, pad, pad_left, width, wrap};
use crate::histogram;
use crate::rows::{self, COLUMNS};
use crate::style::{Ink, Style};

pub(super) fn block(report: &Report, step: &StepReport, style: &Style) -> String {
    let mut page = Page::new(style);
    header(&mut page, step);
    table(&mut page, step);
    page.blank();
    verdicts(&mut page, step);
    page.blank();
    page.line(" all its tasks did, in parallel or not (does not add up to the wall time)");
    for (label, items) in counters::inclusive(report, step) {
        page.items(&format!(" {label}"), &items);
    }
    page.items(" tasks", &rows::tasks(step, 8));
    tables(&mut page, &step.details);
    for hist in &step.histograms {
        if hist.count > 0 {
            page.blank();
            page.out.push_str(&histogram::text(hist, style));
        }
    }
    page.out
}

/// A table of a step has at most this many rows.
const ROWS: usize = 6;

/// What mechanisms did, those alone that did something.
fn tables(page: &mut Page<'_>, all: &Details) {
    for (detail, rows) in details::filled(all) {
        page.blank();
        page.heading(&format!(" {}", detail.title));
        for line in details::text(detail, rows, ROWS, page.style) {
            page.line(&line);
        }
        for note in detail.notes {
            page.labelled("   note", None, note);
        }
    }
}

fn header(page: &mut Page<'_>, step: &StepReport) {
    let style = page.style;
    let name = format!("step {}  {}", step.id, tool_name(&step.tool));
    let name = cut_end(&style.safe(&name), style.columns());
    let mut used = width(&name);
    let mut line = style.ink(Ink::Strong, &name);
    for fact in rows::step_facts(step) {
        let fact = style.safe(&fact);
        if used + 3 + width(&fact) > style.columns() {
            page.line(&line);
            line = " ".repeat(3);
            used = 3;
        }
        let fact = cut_end(&fact, style.columns() - 6);
        used += 3 + width(&fact);
        line.push_str("   ");
        line.push_str(&fact);
    }
    page.line(&line);
    if let Some(clipped) = &step.clipped {
        page.labelled(" clipped", Some(Ink::Warn), clipped);
    }
    if !step.extra.is_empty() {
        let items: Vec<String> =
            step.extra.iter().map(|(key, json)| format!("{key}={json}")).collect();
        page.items(" marked with", &items);
    }
    if let Some(words) = rows::certainty(step) {
        page.labelled(" states", None, &words);
    }
    if let Some(words) = rows::recording(step) {
        page.labelled(" recording", None, &words);
    }
}

fn table(page: &mut Page<'_>, step: &StepReport) {
    let style = page.style;
    let rows = rows::cause_table(step);
    let names = rows.iter().filter_map(|r| r.cause).map(|c| c.name().len()).max();
    let names = names.unwrap_or(0).max(13);
    let ms_w = rows.iter().map(|r| r.ms.len()).max().unwrap_or(0).max(7);
    let cell_w: [usize; 5] = std::array::from_fn(|i| {
        rows.iter().map(|r| r.cells[i].len()).max().unwrap_or(0).max(COLUMNS[i].len()).max(6)
    });
    let mut title = format!(" {} {} {}", pad("", names), pad_left("ms", ms_w), pad_left("%", 6));
    for (name, w) in COLUMNS.iter().zip(cell_w) {
        title.push_str(&format!(" {}", pad_left(name, w)));
    }
    page.heading(&title);
    for row in rows {
        let name = row.cause.map_or("", |cause| cause.name());
        let mut line = format!(
            " {} {} {}",
            pad(name, names),
            pad_left(&row.ms, ms_w),
            pad_left(&row.percent, 6)
        );
        for (cell, w) in row.cells.iter().zip(cell_w) {
            line.push_str(&format!(" {}", pad_left(cell, w)));
        }
        let room = style.columns().saturating_sub(width(&line) + 2);
        if row.cause.is_none() {
            line = style.ink(Ink::Strong, &line);
        }
        if room >= 12 && width(&row.note) <= room {
            page.line(&format!("{line}  {}", row.note));
        } else {
            page.line(&line);
            for part in wrap(&row.note, style.columns() - 4) {
                if !part.is_empty() {
                    page.line(&format!("    {part}"));
                }
            }
        }
    }
}

fn verdicts(page: &mut Page<'_>, step: &StepReport) {
    for (i, verdict) in step.verdicts.iter().enumerate() {
        if i > 0 {
            page.blank();
        }
        let label = if i == 0 { " verdict" } else { " also" };
        page.labelled(label, Some(Ink::Strong), &verdict.title);
        page.labelled("", None, &rows::weight(step, verdict));
        let mut sure = verdict.confidence.name().to_owned();
        if !verdict.reasons.is_empty() {
            sure.push_str(": ");
            sure.push_str(&verdict.reasons.join("; "));
        }
        page.labelled(" confidence", Some(confidence_ink(verdict.confidence)), &sure);
        for (i, evidence) in verdict.evidence.iter().enumerate() {
            let label = if i == 0 { " evidence" } else { "" };
            page.labelled(label, None, &rows::proof(evidence));
        }
        for (i, fix) in verdict.recommendations.iter().enumerate() {
            remedy(page, if i == 0 { " fix" } else { "" }, &rows::remedy(fix));
        }
    }
}

/// The remedy wrapped on the left, what it saves on the right of its first line.
fn remedy(page: &mut Page<'_>, label: &str, (text, saves): &(String, String)) {
    let style = page.style;
    let room = style.columns() - LABEL - if saves.is_empty() { 0 } else { width(saves) + 2 };
    for (i, part) in wrap(&style.safe(text), room).iter().enumerate() {
        let label = style.ink(Ink::Faint, &pad(if i == 0 { label } else { "" }, LABEL));
        if i == 0 && !saves.is_empty() {
            let saves = style.ink(Ink::Good, saves);
            page.line(&format!("{label}{}  {saves}", pad(part, room)));
        } else {
            page.line(&format!("{label}{part}"));
        }
    }
}
