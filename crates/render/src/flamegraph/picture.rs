//! Weighted stacks to an SVG with a title and a legend.

use std::io;

use agenttrace_attribute::stacks::{StackDiff, StackGraph, StackRow, StackUnit};
use agenttrace_model::parse::Nanos;
use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{Direction, Options, TextTruncateDirection, from_lines};

use super::colours::{Sample, colours, differences};
use super::tree::{Tree, gather};
use crate::duration::{fixed, human, thousands};
use crate::escape::{cut_middle, visible, width};

/// The flamegraph as an SVG. In a wall graph leaves have the colour of their cause's
/// family; a label above which one family has three quarters of the time or more has its
/// hue, paler; others are grey, and code is pale. In other graphs the colours tell code of
/// the kernel from that of programs. Of many steps the longest have a frame each, the
/// others share one per tool.
///
/// # Errors
/// Where the picture cannot be drawn; a graph without weight is not an error.
pub fn svg(graph: &StackGraph) -> io::Result<String> {
    let gathered = if graph.steps { gather(&graph.rows) } else { Vec::new() };
    let rows: &[StackRow] = if graph.steps { &gathered } else { &graph.rows };
    let mut tree = Tree::new();
    for row in rows {
        tree.add(&row.frames, row.weight, 0);
    }
    let (palette, legend) = colours(graph, rows, &tree.names);
    let title = match graph.unit {
        StackUnit::Nanos => format!("{} (widths in ns)", amount(graph.total, graph.unit)),
        StackUnit::Samples | StackUnit::Faults => {
            let event = graph.event.iter().map(|event| format!(", {}", visible(event)));
            format!("{}{}", amount(graph.total, graph.unit), event.collect::<String>())
        }
    };
    let of = cut_middle(&visible(&graph.of), 64);
    let title = format!("{}: {of}: {title}", graph.kind.name());
    draw(&Picture { title, unit: graph.unit, legend, notes: &graph.notes }, tree, Some(palette))
}

/// Two graphs as one SVG: widths are those of the first; red has a larger share of it than
/// of the other, blue a smaller one.
///
/// # Errors
/// As [`svg`].
pub fn svg_diff(diff: &StackDiff) -> io::Result<String> {
    let mut tree = Tree::new();
    // What is in the other alone has no width.
    for row in diff.rows.iter().filter(|row| row.here > 0) {
        tree.add(&row.frames, row.here, row.scaled);
    }
    let side = |side: &agenttrace_attribute::stacks::DiffSide| {
        let of = cut_middle(&visible(&side.of), 32);
        format!("{of} ({})", amount(side.total, diff.unit))
    };
    let title = format!("{}: {} against {}", diff.kind.name(), side(&diff.here), side(&diff.other));
    let mut notes = Vec::new();
    if diff.only_other > 0 {
        let share = fixed(diff.only_other.saturating_mul(100), diff.other.total, 1);
        notes.push(format!("{share} % of the other is in stacks that are not here"));
    }
    notes.extend(diff.notes.iter().cloned());
    let picture = Picture { title, unit: diff.unit, legend: differences(), notes: &notes };
    draw(&picture, tree, None)
}

/// What stands around the frames.
struct Picture<'p> {
    title: String,
    unit: StackUnit,
    legend: Vec<Sample>,
    notes: &'p [String],
}

fn draw(picture: &Picture<'_>, tree: Tree, mut palette: Option<PaletteMap>) -> io::Result<String> {
    let lines = tree.lines(palette.is_none());
    let Some(levels) = lines.iter().map(|line| line.split(';').count()).max() else {
        return Ok(EMPTY.to_owned());
    };
    let mut options = Options::default();
    // Else the first screen would show the tips of the deepest stacks alone.
    if levels > LEVELS {
        options.direction = Direction::Inverted;
    }
    options.title.clone_from(&picture.title);
    // The legend takes the subtitle's place.
    options.subtitle = Some(" ".to_owned());
    match picture.unit {
        StackUnit::Nanos => "ns",
        StackUnit::Samples => "samples",
        StackUnit::Faults => "faults",
    }
    .clone_into(&mut options.count_name);
    "Frame:".clone_into(&mut options.name_type);
    // Of a comparison, so that frames stand out that are white.
    let grey = if palette.is_some() { 250 } else { 226 };
    options.bgcolors = Some(BackgroundColor::Flat(Color { r: grey, g: grey, b: grey }));
    options.deterministic = true;
    // As wide as most fonts have it: else labels stick out where no script runs.
    options.font_width = 0.61;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.palette_map = palette.as_mut();
    // Keeps our order: siblings by width, and no name split by how bytes sort.
    options.flame_chart = true;
    let mut out = Vec::new();
    from_lines(&mut options, lines.iter().rev().map(String::as_str), &mut out)?;
    let mut svg = String::from_utf8(out).map_err(io::Error::other)?;
    // inferno ends the frames, then the picture.
    if let Some(end) = svg.rfind("</svg>") {
        svg.insert_str(end, &legend(&picture.legend, picture.notes));
    }
    Ok(svg)
}

const EMPTY: &str = "<?xml version=\"1.0\" standalone=\"no\"?>\n\
    <svg version=\"1.1\" width=\"1200\" height=\"60\" xmlns=\"http://www.w3.org/2000/svg\">\
    <rect width=\"100%\" height=\"60\" fill=\"rgb(250,250,250)\"/>\
    <text x=\"20\" y=\"36\" font-family=\"monospace\" font-size=\"14\">\
    The selection holds nothing.</text></svg>\n";

/// A weight with its unit.
fn amount(weight: u64, unit: StackUnit) -> String {
    let s = if weight == 1 { "" } else { "s" };
    match unit {
        StackUnit::Nanos => human(Nanos(weight)),
        StackUnit::Samples => format!("{} sample{s}", thousands(weight)),
        StackUnit::Faults => format!("{} fault{s}", thousands(weight)),
    }
}

/// What a screen shows of a graph's levels; a deeper one hangs from the top.
const LEVELS: usize = 48;

/// Pixels of the picture before a browser widens it.
const WIDTH: usize = 1200;

/// Pixels of so many characters of the font.
fn pixels(characters: usize) -> usize {
    characters.saturating_mul(29).div_ceil(4)
}

/// One row: coloured squares with their words, then the notes that fit.
fn legend(samples: &[Sample], notes: &[String]) -> String {
    let mut out = String::from("<g id=\"legend\">");
    let mut x = 10;
    for Sample { rgb: (r, g, b), words } in samples {
        out.push_str(&format!(
            "<rect x=\"{x}\" y=\"38\" width=\"12\" height=\"12\" fill=\"rgb({r},{g},{b})\" \
             stroke=\"#888\" stroke-width=\"0.5\"/>\
             <text x=\"{}\" y=\"48\">{words}</text>",
            x + 16
        ));
        x += 16 + pixels(words.len()) + 8;
    }
    x += 14;
    let room = WIDTH.saturating_sub(x + 10);
    let mut told = String::new();
    for note in notes.iter().map(|note| visible(note)) {
        let longer = if told.is_empty() { note } else { format!("{told}; {note}") };
        if pixels(width(&longer)) <= room {
            told = longer;
        }
    }
    if !told.is_empty() {
        let told = told.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        out.push_str(&format!("<text id=\"notes\" x=\"{x}\" y=\"48\" fill=\"#555\">{told}</text>"));
    }
    out.push_str("</g>\n");
    out
}
