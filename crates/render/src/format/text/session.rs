//! A report to the session's one screen.

use std::cmp::Reverse;

use agenttrace_attribute::report::{Confidence, RankRow, Report, StepReport};
use agenttrace_attribute::stats::apportion;

use super::{LABEL, Page};
use crate::details;
use crate::duration::{fixed, human, percents, plural};
use crate::escape::{cut_end, cut_middle, pad, pad_left, width, wrap};
use crate::rows;
use crate::style::{Ink, Style};

/// Causes, steps and tools on the screen.
const RANKS: usize = 8;
const STEPS: usize = 8;
/// Steps, where each takes several lines.
const NARROW_STEPS: usize = 5;
const TOOLS: usize = 6;
const NOTES: usize = 4;
/// Tables of mechanisms, and rows of each: the screen is one.
const TABLES: usize = 3;
const ROWS: usize = 3;

pub(super) fn screen(report: &Report, style: &Style, out_hint: Option<&str>) -> String {
    let mut page = Page::new(style);
    header(&mut page, report);
    ranking(&mut page, report);
    slowest(&mut page, report);
    tools(&mut page, report);
    tables(&mut page, report);
    page.blank();
    for (status, items) in rows::coverage(report) {
        short(&mut page, &format!(" {status}"), &items.join("; "));
    }
    let problems = rows::problems(report);
    if !problems.is_empty() {
        page.labelled(" data loss", Some(Ink::Warn), &problems.join("; "));
    }
    let notes = if report.notes.len() <= NOTES + 1 { report.notes.len() } else { NOTES };
    for note in &report.notes[..notes] {
        page.labelled(" note", Some(Ink::Warn), note);
    }
    if report.notes.len() > notes {
        let more = plural((report.notes.len() - notes) as u64, "more note");
        page.labelled("", None, &format!("and {more}"));
    }
    match out_hint {
        Some(hint) => page.labelled(" full reports", None, hint),
        None => {
            let id = by_wall(report).first().map(|s| s.id.to_string()).unwrap_or_default();
            let words =
                format!("--step {id} shows one step in full, --out DIR writes every report");
            page.labelled(" more", None, &words);
        }
    }
    page.out
}

/// A label and a text beside it, of two lines at most.
fn short(page: &mut Page<'_>, label: &str, text: &str) {
    let room = page.style.columns() - LABEL;
    let text = page.style.safe(text);
    for (i, part) in two_lines(&text, room).into_iter().enumerate() {
        let label = pad(if i == 0 { label } else { "" }, LABEL);
        let label = page.style.ink(Ink::Faint, &label);
        page.line(&format!("{label}{part}"));
    }
}

fn header(page: &mut Page<'_>, report: &Report) {
    let style = page.style;
    let mut line = style.ink(Ink::Strong, "agenttrace");
    let mut used = "agenttrace".len();
    for (i, (fact, bad)) in rows::facts(report).into_iter().enumerate() {
        let fact = style.safe(&fact);
        let gap = if i == 0 { 2 } else { 3 };
        if used + gap + width(&fact) > style.columns() {
            page.line(&line);
            line.clear();
            used = 0;
        }
        let gap = if used == 0 { 12 } else { gap };
        let fact = cut_end(&fact, style.columns() - used - gap);
        used += gap + width(&fact);
        line.push_str(&" ".repeat(gap));
        line.push_str(&if bad { style.ink(Ink::Bad, &fact) } else { fact });
    }
    page.line(&line);
}

/// The causes to show, and the rest: shown are those with half a per cent or
/// more, and the first in any case.
fn shown(report: &Report) -> (&[RankRow], &[RankRow]) {
    let rows = &report.session.ranking;
    let some = rows.iter().filter(|row| row.ns.0 > 0).count();
    let matter = rows.iter().filter(|row| row.ns.0 > 0 && row.share >= 0.005).count();
    let show = matter.clamp(1, RANKS).min(some);
    (&rows[..show], &rows[show..some])
}

fn ranking(page: &mut Page<'_>, report: &Report) {
    let style = page.style;
    let (rows, more) = shown(report);
    page.blank();
    if rows.is_empty() {
        page.heading(" no time to show");
        return;
    }
    let all: Vec<u64> = report.session.ranking.iter().map(|row| row.ns.0).collect();
    let digits = if report.session.wall.0 >= 100_000_000 { 1 } else { 3 };
    let unit = 1_000_000 / 10_u64.pow(digits);
    // Of what is shown: a sum that is not the wall time must not be hidden.
    let sum = all.iter().fold(0_u64, |sum, ns| sum.saturating_add(*ns));
    let parts = apportion(&all, sum / unit + u64::from(sum % unit >= unit.div_ceil(2)));
    let ms: Vec<String> =
        parts.iter().map(|part| fixed(*part, 10_u64.pow(digits), digits)).collect();
    let percent = percents(&all);
    let names = rows.iter().map(|r| r.cause.name().len()).max().unwrap_or(0).max(12);
    let ms_w = ms.iter().map(String::len).max().unwrap_or(0).max(7);
    let modes: Vec<String> = rows.iter().map(|r| style.safe(&r.failure_mode)).collect();
    let fixes: Vec<String> = rows.iter().map(|r| style.safe(&r.first_fix)).collect();
    let mode_w = modes.iter().map(|m| width(m)).max().unwrap_or(0).max("failure mode".len());
    let fix_w = fixes.iter().map(|f| width(f)).max().unwrap_or(0).max("first fix".len());
    // " 1 name bar ms % steps  mode  fix": the bar gives way so that all fits in a line.
    let left = |bar: usize| 3 + names + 1 + bar + 1 + ms_w + 1 + 6 + 1 + 6 + 2;
    let fits = |bar: &usize| left(*bar) + mode_w + 2 + fix_w <= style.columns();
    let beside = (8..=18).rev().find(fits);
    let bar = beside.unwrap_or(if style.columns() < 100 { 10 } else { 18 });
    let beside = beside.is_some();
    let room = style.columns() - left(bar);
    let title = pad(" where the steps' time went", 3 + names + 1 + bar + 1);
    let fix_title = if beside { "first fix" } else { "" };
    page.heading(&format!(
        "{title}{} {} {}  {} {fix_title}",
        pad_left("ms", ms_w),
        pad_left("%", 6),
        pad_left("steps", 6),
        pad("failure mode", if beside { mode_w + 1 } else { 0 }),
    ));
    let most = rows.iter().map(|row| row.ns.0).max().unwrap_or(1).max(1);
    for (i, row) in rows.iter().enumerate() {
        let length = (u128::from(row.ns.0) * bar as u128).div_ceil(u128::from(most));
        let bar_text = pad(&"#".repeat(usize::try_from(length).unwrap_or(bar).min(bar)), bar);
        let mut line = format!(
            "{} {} {} {} {} {}  ",
            pad_left(&row.rank.to_string(), 2),
            pad(row.cause.name(), names),
            style.ink(Ink::Bar, &bar_text),
            pad_left(&ms[i], ms_w),
            pad_left(&percent[i], 6),
            pad_left(&row.steps.to_string(), 6),
        );
        if beside {
            line.push_str(&format!("{}  {}", pad(&modes[i], mode_w), fixes[i]));
            page.line(&line);
        } else {
            line.push_str(&cut_end(&modes[i], room));
            page.line(&line);
            if !fixes[i].is_empty() {
                let fix = cut_end(&fixes[i], style.columns() - 3 - names - 1 - "first fix: ".len());
                page.line(&format!("{}first fix: {fix}", " ".repeat(3 + names + 1)));
            }
        }
    }
    if !more.is_empty() {
        let rest = more.iter().map(|row| row.ns).sum();
        let names: Vec<&str> = more.iter().map(|row| row.cause.name()).collect();
        let text = format!("   and {} in {}", human(rest), names.join(", "));
        page.line(&cut_end(&text, style.columns()));
    }
}

fn by_wall(report: &Report) -> Vec<&StepReport> {
    let mut steps: Vec<&StepReport> = report.steps.iter().collect();
    steps.sort_by_key(|step| Reverse(step.wall));
    steps
}

fn slowest(page: &mut Page<'_>, report: &Report) {
    let style = page.style;
    let all = by_wall(report);
    if all.is_empty() {
        return;
    }
    let steps = &all[..all.len().min(STEPS + 1)];
    page.blank();
    let ids: Vec<String> =
        steps.iter().map(|s| cut_middle(&style.safe(&s.id.to_string()), 12)).collect();
    let tool_most = if style.columns() < 100 { 18 } else { 24 };
    let tools: Vec<String> =
        steps.iter().map(|s| cut_middle(&style.safe(tool_name(&s.tool)), tool_most)).collect();
    let walls: Vec<String> = steps.iter().map(|s| human(s.wall)).collect();
    let times: Vec<String> = steps
        .iter()
        .map(|s| s.times_median.map(|t| format!("{t:.1}x")).unwrap_or_default())
        .collect();
    let widest = |texts: &[String]| texts.iter().map(|t| width(t)).max().unwrap_or(0);
    let (id_w, tool_w, wall_w) = (widest(&ids).max(3), widest(&tools), widest(&walls).max(4));
    let times_w = if widest(&times) == 0 { 0 } else { widest(&times).max("x median".len()) + 2 };
    let left = 1 + id_w + 1 + tool_w + 2 + wall_w + times_w + 2;
    let conf_w = steps.iter().map(|s| confidence(s).map_or(0, |c| c.name().len())).max();
    let conf_w = conf_w.unwrap_or(0);
    let room = style.columns().saturating_sub(left + 2 + conf_w);
    // Too narrow for a sentence beside the numbers: it goes below them.
    let below = room < 36;
    let most = if below { NARROW_STEPS } else { STEPS };
    let more = if all.len() <= most + 1 { 0 } else { all.len() - most };
    let steps = &all[..all.len() - more];
    let times_title = if times_w == 0 { "" } else { "x median" };
    let verdict_title = if below { "" } else { "verdict" };
    let heading = format!(
        "{}{}{}  {verdict_title}",
        pad(" slowest steps", 1 + id_w + 1 + tool_w + 2),
        pad_left("wall", wall_w),
        pad_left(times_title, times_w)
    );
    page.heading(&format!(
        "{}{}",
        pad(&heading, style.columns() - conf_w.max("sure".len())),
        "sure"
    ));
    for (i, step) in steps.iter().enumerate() {
        let head = format!(
            " {} {}  {}{}",
            pad_left(&ids[i], id_w),
            pad(&tools[i], tool_w),
            style.ink(Ink::Strong, &pad_left(&walls[i], wall_w)),
            pad_left(&times[i], times_w)
        );
        let sure =
            confidence(step).map_or_else(String::new, |c| style.ink(confidence_ink(c), c.name()));
        let title = step.verdicts.first().map_or("", |v| v.title.as_str());
        if below {
            let gap = " ".repeat(room + 4);
            page.line(&format!("{head}{gap}{sure}"));
            let indent = 1 + id_w + 1;
            for part in two_lines(&style.safe(title), style.columns() - indent) {
                page.line(&format!("{}{part}", " ".repeat(indent)));
            }
        } else {
            let parts = two_lines(&style.safe(title), room);
            page.line(&format!("{head}  {}  {sure}", pad(&parts[0], room)));
            for part in &parts[1..] {
                page.line(&format!("{}{part}", " ".repeat(left)));
            }
        }
    }
    if more > 0 {
        page.line(&format!("   and {}", plural(more as u64, "shorter step")));
    }
}

fn two_lines(text: &str, columns: usize) -> Vec<String> {
    let mut parts = wrap(text, columns);
    if parts.len() > 2 {
        let rest = parts[1..].join(" ");
        parts.truncate(1);
        parts.push(cut_end(&rest, columns));
    }
    parts
}

fn confidence(step: &StepReport) -> Option<Confidence> {
    step.verdicts.first().map(|v| v.confidence)
}

pub(super) fn confidence_ink(confidence: Confidence) -> Ink {
    match confidence {
        Confidence::High => Ink::Good,
        Confidence::Medium => Ink::Warn,
        Confidence::Low | Confidence::CannotSay => Ink::Bad,
    }
}

pub(super) fn tool_name(tool: &str) -> &str {
    if tool.is_empty() { "(no tool)" } else { tool }
}

/// What mechanisms did over all steps: the first rows of the tables that name actors.
fn tables(page: &mut Page<'_>, report: &Report) {
    let all = details::filled(&report.session.details);
    let (mut shown, mut others): (Vec<_>, Vec<_>) = all.partition(|(detail, _)| detail.actors);
    others.splice(0..0, shown.drain(shown.len().min(TABLES)..));
    for (detail, rows) in shown {
        page.blank();
        page.heading(&format!(" {}", detail.title));
        for line in details::text(detail, rows, ROWS, page.style) {
            page.line(&line);
        }
    }
    let more: Vec<&str> = others.iter().map(|(detail, _)| detail.title).collect();
    if !more.is_empty() {
        page.blank();
        short(page, " more tables", &format!("{} (--format md)", more.join("; ")));
    }
}

fn tools(page: &mut Page<'_>, report: &Report) {
    let style = page.style;
    let rows: Vec<_> = report.session.by_tool.iter().filter(|row| row.steps > 1).collect();
    if rows.is_empty() {
        return;
    }
    let more = if rows.len() <= TOOLS + 1 { 0 } else { rows.len() - TOOLS };
    let rows = &rows[..rows.len() - more];
    page.blank();
    let names: Vec<String> =
        rows.iter().map(|r| cut_middle(&style.safe(tool_name(&r.tool)), 24)).collect();
    let name_w = names.iter().map(|n| width(n)).max().unwrap_or(0).max(LABEL);
    let numbers: Vec<[String; 5]> = rows
        .iter()
        .map(|r| [r.steps.to_string(), human(r.total), human(r.p50), human(r.p95), human(r.p99)])
        .collect();
    let titles = ["steps", "in all", "p50", "p95", "p99"];
    let widths: [usize; 5] = std::array::from_fn(|i| {
        numbers.iter().map(|n| n[i].len()).max().unwrap_or(0).max(titles[i].len())
    });
    let left = 1 + name_w + widths.iter().sum::<usize>() + 10 + 2;
    let row = |name: &str, cells: &[String]| {
        let mut line = format!(" {}", pad(name, name_w));
        for (cell, w) in cells.iter().zip(widths) {
            line.push_str(&format!("  {}", pad_left(cell, w)));
        }
        line
    };
    page.heading(&format!("{}  costs most", row("by tool", &titles.map(str::to_owned))));
    let room = style.columns().saturating_sub(left);
    for ((name, cells), tool) in names.iter().zip(&numbers).zip(rows) {
        let penalty = style.safe(&tool.penalty);
        if width(&penalty) <= room {
            page.line(&format!("{}  {penalty}", row(name, cells)));
        } else {
            page.line(&row(name, cells));
            page.line(&format!("   {}", cut_end(&penalty, style.columns() - 3)));
        }
    }
    if more > 0 {
        page.line(&format!("   and {}", plural(more as u64, "more tool")));
    }
}
