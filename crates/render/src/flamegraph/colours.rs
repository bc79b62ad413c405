//! Frames to colours: by cause where time lies on a critical path, else by what runs.

use std::collections::BTreeMap;

use agenttrace_attribute::stacks::{FrameKind, FrameText, StackGraph, StackKind, StackRow};
use inferno::flamegraph::color::{Color, PaletteMap};

use super::names::Names;
use crate::family::Family;

type Rgb = (u8, u8, u8);

/// For frames above which there is time of several families, and for labels.
const MIXED: Rgb = (0xd8, 0xd8, 0xd8);
/// Time without a stack.
const NONE: Rgb = (0xb5, 0xb5, 0xb5);
/// More here than in what is compared with, less, and the same: inferno's own.
const MORE: Rgb = (0xff, 0x64, 0x64);
const LESS: Rgb = (0x64, 0x64, 0xff);
const SAME: Rgb = (0xfa, 0xfa, 0xfa);

/// One square of a legend, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) rgb: Rgb,
    pub(super) words: &'static str,
}

/// A colour for every name, and the legend. `names` are those of all the rows' frames.
pub(super) fn colours(
    graph: &StackGraph,
    rows: &[StackRow],
    names: &Names,
) -> (PaletteMap, Vec<Sample>) {
    let wall = graph.kind == StackKind::Wall;
    let families = if wall { families(rows) } else { BTreeMap::new() };
    let mut palette = PaletteMap::default();
    palette.insert("", color(MIXED));
    let mut kinds = Vec::new();
    for name in names.all() {
        let frame = &name.frame;
        let rgb = match frame.kind {
            FrameKind::Label | FrameKind::Entry => families.get(frame).copied().unwrap_or(MIXED),
            FrameKind::Leaf => families.get(frame).copied().unwrap_or(NONE),
            FrameKind::Kernel | FrameKind::User | FrameKind::Inlined | FrameKind::Jit => {
                varied(code(frame.kind, wall), &name.drawn)
            }
        };
        palette.insert(&name.drawn, color(rgb));
        let shown = !wall || !matches!(frame.kind, FrameKind::Leaf);
        if shown && !kinds.contains(&frame.kind) {
            kinds.push(frame.kind);
        }
    }
    kinds.sort_unstable();
    let causes = Family::ALL
        .into_iter()
        .filter(|family| wall && rows.iter().any(|row| row.cause.map(Family::of) == Some(*family)));
    let mut legend: Vec<Sample> =
        causes.map(|family| Sample { rgb: family.rgb(), words: family.name() }).collect();
    legend.extend(kinds.into_iter().filter_map(|kind| {
        let words = match kind {
            FrameKind::Kernel => "kernel",
            FrameKind::User => "user",
            FrameKind::Inlined => "inlined",
            FrameKind::Jit => "jit",
            FrameKind::Leaf => "no stack",
            FrameKind::Label | FrameKind::Entry => return None,
        };
        Some(Sample { rgb: code(kind, wall), words })
    }));
    (palette, legend)
}

/// The legend of a comparison.
pub(super) fn differences() -> Vec<Sample> {
    vec![
        Sample { rgb: MORE, words: "larger share here" },
        Sample { rgb: LESS, words: "smaller share here" },
        Sample { rgb: SAME, words: "same, or only what it calls differs" },
    ]
}

/// Leaves have the colour of their cause's family; a label or an entry above which one
/// family has three quarters of the time or more has its hue, paler.
fn families(rows: &[StackRow]) -> BTreeMap<FrameText, Rgb> {
    let mut sums: BTreeMap<&FrameText, BTreeMap<Family, u64>> = BTreeMap::new();
    for row in rows {
        let Some(family) = row.cause.map(Family::of) else { continue };
        let context = |f: &&FrameText| {
            matches!(f.kind, FrameKind::Label | FrameKind::Entry | FrameKind::Leaf)
        };
        for frame in row.frames.iter().filter(context) {
            let sum = sums.entry(frame).or_default().entry(family).or_default();
            *sum = sum.saturating_add(row.weight);
        }
    }
    let main = |families: BTreeMap<Family, u64>| {
        let all: u128 = families.values().map(|ns| u128::from(*ns)).sum();
        families.into_iter().find(|(_, ns)| u128::from(*ns) * 4 >= all * 3).map(|(f, _)| f)
    };
    let colour = |(frame, families): (&FrameText, _)| {
        let rgb = match (main(families), frame.kind) {
            (Some(family), FrameKind::Leaf) => family.rgb(),
            (Some(family), _) => family.pale(),
            (None, _) => MIXED,
        };
        (frame.clone(), rgb)
    };
    sums.into_iter().map(colour).collect()
}

/// The colour of code. Beside causes, which have the strong hues, code is pale.
fn code(kind: FrameKind, wall: bool) -> Rgb {
    match (kind, wall) {
        (FrameKind::Kernel, false) => (0xf0, 0x9a, 0x5f),
        (FrameKind::User, false) => (0xf2, 0xd0, 0x6b),
        (FrameKind::Inlined, false) => (0xb4, 0xd6, 0x80),
        (FrameKind::Jit, false) => (0x9c, 0xc8, 0xe6),
        (FrameKind::Kernel, true) => (0xcd, 0xd6, 0xe2),
        (FrameKind::User, true) => (0xe9, 0xe3, 0xd0),
        (FrameKind::Inlined, true) => (0xdd, 0xe7, 0xcf),
        (FrameKind::Jit, true) => (0xd3, 0xe4, 0xea),
        (FrameKind::Leaf, _) => NONE,
        (FrameKind::Label | FrameKind::Entry, _) => MIXED,
    }
}

/// A little lighter or darker by name, so that neighbours of one kind stand apart.
fn varied((r, g, b): Rgb, name: &str) -> Rgb {
    // FNV-1a.
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let steps = u8::try_from((hash >> 16) % 7).unwrap_or(0);
    let shift = |c: u8| c.saturating_sub(18).saturating_add(steps * 4);
    (shift(r), shift(g), shift(b))
}

fn color((r, g, b): Rgb) -> Color {
    Color { r, g, b }
}
