//! A histogram to an SVG with counts on its bars.

use std::error::Error;
use std::io;

use agenttrace_attribute::report::Histogram;
use agenttrace_model::parse::Distance;
use plotters::coord::Shift;
use plotters::prelude::{
    DrawingArea, FontStyle, IntoDrawingArea as _, IntoTextStyle as _, PathElement, RGBColor,
    Rectangle, SVGBackend, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontTransform};

use super::{bounds, edge, occupied, parts, summary};
use crate::duration::{human, thousands};

const HEIGHT: u32 = 420;
/// A line of the legend.
const LEGEND: i32 = 20;
/// The plot's edges, and what is free beside it.
const LEFT: i32 = 76;
const MARGIN: i32 = 24;
const TOP: i32 = 84;
const BOTTOM: i32 = 352;
/// The plot is as wide as its bars need: between these.
const PLOT: (i32, i32) = (500, 900);
const WIDEST: i32 = 96;

// A background of its own: the picture reads the same on a dark page.
const PAPER: RGBColor = RGBColor(250, 250, 250);
const INK: RGBColor = RGBColor(32, 32, 32);
const GRID: RGBColor = RGBColor(216, 216, 216);
const BAR: RGBColor = RGBColor(62, 116, 178);
/// Of the classes, the nearest first; told apart by lightness too. The last is "unknown".
const CLASSES: [RGBColor; 7] = [
    RGBColor(38, 70, 120),
    RGBColor(62, 116, 178),
    RGBColor(116, 173, 209),
    RGBColor(171, 217, 233),
    RGBColor(253, 174, 97),
    RGBColor(215, 48, 39),
    RGBColor(150, 150, 150),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The histogram as an SVG: a bar for each bucket from the first to the last
/// that holds something, with its count; the edges in microseconds.
///
/// # Errors
/// Where the picture cannot be drawn.
pub fn svg(hist: &Histogram) -> io::Result<String> {
    let mut out = String::new();
    draw(hist, &mut out).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(out)
}

fn draw(hist: &Histogram, out: &mut String) -> Result<(), Box<dyn Error>> {
    let rows = occupied(hist);
    let slots = i32::try_from(rows.len()).unwrap_or(i32::MAX).max(1);
    let slot = (PLOT.1 / slots).clamp(1, WIDEST);
    let right = LEFT + slot.saturating_mul(slots).clamp(PLOT.0, PLOT.1);
    let size = (right + MARGIN).unsigned_abs();
    let classes = u32::try_from(hist.classes.len()).unwrap_or(0).min(16);
    let tall = HEIGHT + classes * LEGEND.unsigned_abs();
    let canvas = SVGBackend::with_string(out, (size, tall)).into_drawing_area();
    canvas.fill(&PAPER)?;
    let (left, below) = (Pos::new(HPos::Left, VPos::Top), Pos::new(HPos::Center, VPos::Top));
    let bold = ("sans-serif", px(17), FontStyle::Bold).into_text_style(&canvas).color(&INK);
    canvas.draw_text(hist.mechanism.title(), &bold.pos(left), (LEFT, 18))?;
    let facts = match (&hist.buckets, rows.is_empty()) {
        (None, _) => "not captured".to_owned(),
        (Some(_), true) => "none".to_owned(),
        (Some(_), false) => summary(hist).replace("   ", ", "),
    };
    canvas.draw_text(&facts, &style(&canvas, 14, &INK).pos(left), (LEFT, 44))?;
    if rows.is_empty() {
        canvas.present()?;
        return Ok(());
    }
    let most = rows.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let top = axis(&canvas, most, right)?;
    let small = if slot < 34 { 11 } else { 12 };
    let label = style(&canvas, small, &INK);
    for (i, (bucket, n)) in (0_i32..).zip(&rows) {
        let (from, to) = bounds(*bucket);
        let x = LEFT + i * slot;
        if i == 0 {
            canvas.draw_text(&edge(from), &label.pos(below), (x, BOTTOM + 8))?;
        }
        canvas.draw_text(&edge(to), &label.pos(below), (x + slot, BOTTOM + 8))?;
        tick(&canvas, x)?;
        tick(&canvas, x + slot)?;
        if *n > 0 {
            let y = height(*n, top).min(BOTTOM - 1);
            let tall = usize::try_from(BOTTOM - y).unwrap_or(0);
            let mut low = BOTTOM;
            for (part, color) in parts(hist, *bucket, tall).into_iter().zip(colors(hist)) {
                let high = low - i32::try_from(part).unwrap_or(0);
                if high < low {
                    let bar = [(x + 1, high), (x + slot - 1, low)];
                    canvas.draw(&Rectangle::new(bar, color.filled()))?;
                }
                low = high;
            }
            let above = label.pos(Pos::new(HPos::Center, VPos::Bottom));
            let count = short(*n);
            // Hides the grid line behind the digits.
            let half = i32::try_from(count.len() * 4).unwrap_or(slot / 2).min(slot / 2);
            let middle = x + slot / 2;
            let behind = [(middle - half, y - 15), (middle + half, y - 1)];
            canvas.draw(&Rectangle::new(behind, PAPER.filled()))?;
            canvas.draw_text(&count, &above, (middle, y - 3))?;
        }
    }
    legend(&canvas, hist)?;
    let unit = "duration in microseconds, buckets [from, to); K = 1024, M = 1024 K";
    canvas.draw_text(unit, &style(&canvas, 13, &INK).pos(left), (LEFT, BOTTOM + 34))?;
    canvas.present()?;
    Ok(())
}

/// A color for each class, the same in every picture; one without classes.
fn colors(hist: &Histogram) -> Vec<RGBColor> {
    if hist.classes.is_empty() {
        return vec![BAR];
    }
    let color = |name: &str| {
        let place = Distance::ALL.iter().position(|d| d.name() == name);
        place.and_then(|i| CLASSES.get(i)).copied().unwrap_or(BAR)
    };
    hist.classes.iter().map(|class| color(class.name)).collect()
}

/// The classes with their counts, below the picture.
fn legend(canvas: &Canvas<'_>, hist: &Histogram) -> Result<(), Box<dyn Error>> {
    let label = style(canvas, 13, &INK).pos(Pos::new(HPos::Left, VPos::Top));
    for (i, (class, color)) in (0_i32..).zip(hist.classes.iter().zip(colors(hist))) {
        let y = BOTTOM + 62 + i * LEGEND;
        canvas.draw(&Rectangle::new([(LEFT, y), (LEFT + 12, y + 12)], color.filled()))?;
        let text = format!(
            "{}: n {}, p50 {}, p99 {}, max {}",
            class.name,
            thousands(class.count),
            human(class.p50),
            human(class.p99),
            human(class.max)
        );
        canvas.draw_text(&text, &label, (LEFT + 20, y - 1))?;
    }
    Ok(())
}

/// The size that plotters turns into this many pixels.
fn px(size: u32) -> f64 {
    f64::from(size) * 1.24
}

fn style<'a>(canvas: &Canvas<'_>, size: u32, color: &'a RGBColor) -> TextStyle<'a> {
    ("sans-serif", px(size)).into_text_style(canvas).color(color)
}

fn tick(canvas: &Canvas<'_>, x: i32) -> Result<(), Box<dyn Error>> {
    canvas.draw(&PathElement::new([(x, BOTTOM), (x, BOTTOM + 5)], INK))?;
    Ok(())
}

/// Where a count's bar begins, between the baseline and the topmost grid line.
fn height(n: u64, top: u64) -> i32 {
    let full = u128::from(BOTTOM.abs_diff(TOP));
    let tall = full * u128::from(n) / u128::from(top.max(1));
    BOTTOM - i32::try_from(tall).unwrap_or(0)
}

/// Grid lines at round counts; returns the topmost.
fn axis(canvas: &Canvas<'_>, most: u64, right: i32) -> Result<u64, Box<dyn Error>> {
    let step = round_step(most);
    let top = most.div_ceil(step).saturating_mul(step);
    let label = style(canvas, 12, &INK).pos(Pos::new(HPos::Right, VPos::Center));
    for i in 0..=top / step {
        let n = i * step;
        let y = height(n, top);
        let color = if n == 0 { INK } else { GRID };
        canvas.draw(&PathElement::new([(LEFT, y), (right, y)], color))?;
        canvas.draw_text(&short(n), &label, (LEFT - 8, y))?;
    }
    let name = style(canvas, 13, &INK)
        .pos(Pos::new(HPos::Center, VPos::Center))
        .transform(FontTransform::Rotate270);
    canvas.draw_text("count", &name, (18, (TOP + BOTTOM) / 2))?;
    Ok(top)
}

/// 1, 2 or 5 times a power of ten, so that there are at most five lines.
fn round_step(most: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if most.div_ceil(step) <= 5 || step == u64::MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// A count of at most five characters: `9999`, `14.8k`, `148k`, `1.5M`.
fn short(n: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000)];
    if n < 10_000 {
        return n.to_string();
    }
    let (name, unit) = UNITS.into_iter().rev().find(|(_, unit)| n >= *unit).unwrap_or(UNITS[0]);
    // Cut, not rounded, so that 999,999 is not 1000k.
    match n / unit {
        whole @ 0..100 if n % unit >= unit / 10 => {
            format!("{whole}.{}{name}", n % unit / (unit / 10))
        }
        whole => format!("{whole}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn every_bar_has_its_count_and_edges() {
        let picture = svg(&fixture::histogram(&[0, 0, 12, 42, 0, 14_820])).unwrap();
        for text in ["12", "42", "14.8k", "2", "4", "8", "16", "32", "count"] {
            assert!(picture.contains(&format!(">\n{text}\n<")), "{text}: {picture}");
        }
        assert!(picture.contains("n 14,874, p50 40.1 us, p99 0.31 ms, max 9.2 ms"));
        assert!(picture.contains("duration in microseconds"));
        assert_eq!(picture.matches("#3E74B2").count(), 3);
    }

    #[test]
    fn absent_is_not_zero() {
        let absent = Histogram { buckets: None, ..fixture::histogram(&[]) };
        assert!(svg(&absent).unwrap().contains("not captured"));
        assert!(svg(&fixture::histogram(&[])).unwrap().contains("none"));
        let huge = fixture::histogram(&[u64::MAX / 2; 2]);
        assert!(svg(&huge).unwrap().contains("9223372T"));
    }

    #[test]
    fn counts_are_short() {
        let all = [9_999, 10_000, 14_820, 148_200, 999_999, 1_500_000, 20_000_000];
        let all = all.map(short);
        assert_eq!(all, ["9999", "10k", "14.8k", "148k", "999k", "1.5M", "20M"]);
        assert_eq!([1, 5, 7, 230, 14_820].map(round_step), [1, 1, 2, 50, 5_000]);
    }
}
