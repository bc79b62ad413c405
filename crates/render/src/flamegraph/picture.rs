//! Merged stacks to an SVG, coloured by cause, with a legend.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use agenttrace_attribute::report::Report;
use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};

use super::{Selection, Stacks, stacks};
use crate::duration::human;
use crate::escape::{cut_end, visible};
use crate::family::Family;

/// The flamegraph as an SVG. Its width is the wall time of the selected steps.
/// Leaves have the colour of their cause's family; a frame above which one family
/// has three quarters of the time or more has its hue, paler; others are grey.
/// Of many steps the longest have a frame each, the others share one per tool.
///
/// # Errors
/// Where the picture cannot be drawn; a selection without time is not an error.
pub fn svg(report: &Report, selection: Selection<'_>) -> io::Result<String> {
    let stacks = gather(stacks(report, selection));
    let total: u64 = stacks.values().fold(0, |sum, (ns, _)| sum.saturating_add(*ns));
    if total == 0 {
        return Ok(EMPTY.to_owned());
    }
    let (mut palette, families) = colours(&stacks);
    let mut options = Options::default();
    options.title = title(report, selection, total);
    // The legend takes the subtitle's place.
    options.subtitle = Some(" ".to_owned());
    "ns".clone_into(&mut options.count_name);
    "Frame:".clone_into(&mut options.name_type);
    options.bgcolors = Some(BackgroundColor::Flat(Color { r: 250, g: 250, b: 250 }));
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.palette_map = Some(&mut palette);
    // Keeps our order: siblings by width, and no name split by how bytes sort.
    options.flame_chart = true;
    let lines = ordered(stacks);
    let mut out = Vec::new();
    from_lines(&mut options, lines.iter().rev().map(String::as_str), &mut out)?;
    let mut picture = String::from_utf8(out).map_err(io::Error::other)?;
    // inferno ends the frames, then the picture.
    if let Some(end) = picture.rfind("</svg>") {
        picture.insert_str(end, &legend(&families));
    }
    Ok(picture)
}

const EMPTY: &str = "<?xml version=\"1.0\" standalone=\"no\"?>\n\
    <svg version=\"1.1\" width=\"1200\" height=\"60\" xmlns=\"http://www.w3.org/2000/svg\">\
    <rect width=\"100%\" height=\"60\" fill=\"rgb(250,250,250)\"/>\
    <text x=\"20\" y=\"36\" font-family=\"monospace\" font-size=\"14\">\
    The selected steps hold no time.</text></svg>\n";

fn title(report: &Report, selection: Selection<'_>, total: u64) -> String {
    let total = human(agenttrace_model::parse::Nanos(total));
    let what = match selection {
        Selection::Session => {
            let name = report.session.name.as_deref().unwrap_or("session");
            let n = report.steps.len();
            let s = if n == 1 { "" } else { "s" };
            format!("{}, {n} step{s}", cut_end(&visible(name), 40))
        }
        Selection::Step(step) => {
            let tool = if step.tool.is_empty() { "(no tool)" } else { &step.tool };
            format!(
                "{}, step {}",
                cut_end(&visible(tool), 40),
                cut_end(&visible(&step.id.to_string()), 24)
            )
        }
    };
    format!("{what}: {total} of wall time (widths in ns)")
}

/// Steps with a frame each. A session of more would be slivers that tell nothing.
const STEPS: usize = 40;

/// Merges the shorter ones of many steps, tool by tool; widths stay.
fn gather(stacks: Stacks) -> Stacks {
    let mut steps: BTreeMap<[String; 2], u64> = BTreeMap::new();
    for (frames, (ns, _)) in &stacks {
        if let [tool, step, ..] = &frames[..] {
            *steps.entry([tool.clone(), step.clone()]).or_default() += ns;
        }
    }
    if steps.len() <= STEPS {
        return stacks;
    }
    let mut by_width: Vec<([String; 2], u64)> = steps.into_iter().collect();
    by_width.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let mut others: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ([tool, step], _) in by_width.drain(STEPS / 2..) {
        others.entry(tool).or_default().insert(step);
    }
    let mut out = Stacks::new();
    for (mut frames, (ns, cause)) in stacks {
        if let [tool, step, ..] = &mut frames[..]
            && let Some(others) = others.get(tool)
            && others.contains(step)
        {
            let s = if others.len() == 1 { "" } else { "s" };
            *step = format!("{} shorter step{s}", others.len());
        }
        out.entry(frames).or_insert((0, cause)).0 += ns;
    }
    out
}

/// A colour for every name, and the families that are there.
fn colours(stacks: &Stacks) -> (PaletteMap, Vec<Family>) {
    let mut names: BTreeMap<&str, BTreeMap<Family, u64>> = BTreeMap::new();
    let mut leaves: BTreeMap<&str, Family> = BTreeMap::new();
    for (frames, (ns, cause)) in stacks {
        let family = Family::of(*cause);
        if let Some((leaf, inner)) = frames.split_last() {
            leaves.insert(leaf, family);
            for name in inner {
                let sum = names.entry(name).or_default().entry(family).or_default();
                *sum = sum.saturating_add(*ns);
            }
        }
    }
    let color = |(r, g, b)| Color { r, g, b };
    let mut palette = PaletteMap::default();
    palette.insert("", color(MIXED));
    for (name, families) in names {
        let all: u128 = families.values().map(|ns| u128::from(*ns)).sum();
        let main = families.iter().find(|(_, ns)| u128::from(**ns) * 4 >= all * 3);
        palette.insert(name, color(main.map_or(MIXED, |(family, _)| family.pale())));
    }
    for (name, family) in &leaves {
        palette.insert(*name, color(family.rgb()));
    }
    let there: Vec<Family> =
        Family::ALL.into_iter().filter(|f| leaves.values().any(|of| of == f)).collect();
    (palette, there)
}

/// For frames above which there is time of several families.
const MIXED: (u8, u8, u8) = (0xd8, 0xd8, 0xd8);

/// Folded lines; on each level the widest frame comes first, then by name.
fn ordered(stacks: Stacks) -> Vec<String> {
    let mut widths: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (frames, (ns, _)) in &stacks {
        for depth in 1..=frames.len() {
            *widths.entry(frames[..depth].to_vec()).or_default() += ns;
        }
    }
    let mut keyed: Vec<_> = stacks
        .into_iter()
        .map(|(frames, (ns, _))| {
            let key: Vec<(std::cmp::Reverse<u64>, String)> = (1..=frames.len())
                .map(|depth| {
                    let width = widths.get(&frames[..depth]).copied().unwrap_or(0);
                    (std::cmp::Reverse(width), frames[depth - 1].clone())
                })
                .collect();
            (key, format!("{} {ns}", frames.join(";")))
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, line)| line).collect()
}

/// One row of coloured squares with the families' names.
fn legend(families: &[Family]) -> String {
    let mut out = String::from("<g id=\"legend\">");
    let mut x = 10;
    for family in families {
        let (r, g, b) = family.rgb();
        let name = family.name();
        out.push_str(&format!(
            "<rect x=\"{x}\" y=\"38\" width=\"12\" height=\"12\" fill=\"rgb({r},{g},{b})\"/>\
             <text x=\"{}\" y=\"48\">{name}</text>",
            x + 16
        ));
        x += 16 + name.len() * 8 + 14;
    }
    out.push_str("</g>\n");
    out
}
