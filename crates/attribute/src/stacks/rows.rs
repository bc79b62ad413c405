//! Weights by step, task name and chain to rows of frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use agenttrace_model::Windows;
use agenttrace_model::parse::Nanos;
use agenttrace_model::stacks::{ChainId, FrameId, Short, StackSample};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{FrameKind, FrameText, Named, StackRow, StackUnit, frame_text};
use crate::cause::Cause;
use crate::stats::{human, thousands};

/// A frame that is not a function.
pub(super) fn frame(text: impl Into<Arc<str>>, kind: FrameKind) -> FrameText {
    FrameText { text: text.into(), kind }
}

/// Names of frames, made once each.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    named: Named<'a>,
    /// By the frame's id.
    made: Vec<Option<Arc<[FrameText]>>>,
    /// Places in one function have one text, which can then be told by its address.
    shared: FxHashSet<FrameText>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(named: Named<'a>) -> Self {
        let made = vec![None; named.stacks.frames.len()];
        Self { named, made, shared: FxHashSet::default() }
    }

    /// Puts the frames of a chain at the end, the outermost first.
    pub(super) fn push(&mut self, chain: Option<ChainId>, frames: &mut Vec<FrameText>) {
        let mut ids: Vec<FrameId> = self.named.stacks.frames_of(chain).collect();
        ids.reverse();
        for id in ids {
            let (named, shared) = (self.named, &mut self.shared);
            let Some(made) = self.made.get_mut(id.0 as usize) else { continue };
            let texts = made.get_or_insert_with(|| {
                let once = |text: FrameText| match shared.get(&text) {
                    Some(text) => text.clone(),
                    None => {
                        shared.insert(text.clone());
                        text
                    }
                };
                frame_text(named, id).into_iter().map(once).collect()
            });
            frames.extend(texts.iter().cloned());
        }
    }

    /// How many of the frames that were shown have no name.
    pub(super) fn nameless_note(&self) -> Option<String> {
        let made = (0_u32..).map(FrameId).zip(&self.made).filter(|(_, made)| made.is_some());
        let ids: Vec<FrameId> = made.map(|(id, _)| id).collect();
        let without = ids.iter().filter(|id| {
            let given = self.named.stacks.frame(**id).is_some_and(|f| f.name.is_some());
            !given && self.named.symbols.of(**id).is_empty()
        });
        let (without, all) = (without.count() as u64, ids.len() as u64);
        let note =
            || format!("{} of {} places in code have no name", thousands(without), thousands(all));
        (without > 0).then(note)
    }
}

/// What makes a stack: its step, the name of its task, its innermost frame.
type Key = (Option<usize>, Arc<str>, Option<ChainId>);

/// Stacks that are the same, merged.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    texts: Texts<'a>,
    windows: Option<&'a Windows>,
    sums: BTreeMap<Key, u64>,
    names: FxHashMap<String, Arc<str>>,
    /// Samples, and those of them that end early.
    samples: u64,
    short: BTreeMap<Short, u64>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(named: Named<'a>, windows: Option<&'a Windows>) -> Self {
        Self {
            texts: Texts::new(named),
            windows,
            sums: BTreeMap::new(),
            names: FxHashMap::default(),
            samples: 0,
            short: BTreeMap::new(),
        }
    }

    /// Adds a weight to a stack of a task of a step.
    pub(super) fn add(
        &mut self,
        step: Option<usize>,
        comm: &str,
        chain: Option<ChainId>,
        weight: u64,
    ) {
        let comm = match self.names.get(comm) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = comm.into();
                self.names.insert(comm.to_owned(), Arc::clone(&name));
                name
            }
        };
        let sum = self.sums.entry((step, comm, chain)).or_default();
        *sum = sum.saturating_add(weight);
    }

    /// Counts a sample whose stack was added.
    pub(super) fn sample(&mut self, sample: &StackSample) {
        self.samples += 1;
        if let Some(why) = sample.short {
            *self.short.entry(why).or_default() += 1;
        }
    }

    /// The rows, their sum, and what a reader must know.
    pub(super) fn finish(
        mut self,
        unit: StackUnit,
        cause: Option<Cause>,
    ) -> (Vec<StackRow>, u64, Vec<String>) {
        let mut all: Vec<(Vec<FrameText>, u64)> = Vec::with_capacity(self.sums.len());
        let (mut total, mut without) = (0_u64, 0_u64);
        for ((step, comm, chain), weight) in std::mem::take(&mut self.sums) {
            if weight == 0 {
                continue;
            }
            let mut frames = labels(self.windows, step);
            frames.push(frame(comm, FrameKind::Label));
            self.texts.push(chain, &mut frames);
            if chain.is_none() {
                frames.push(frame(NO_STACK, FrameKind::Leaf));
                without = without.saturating_add(weight);
            }
            total = total.saturating_add(weight);
            all.push((frames, weight));
        }
        // Chains that differ by address can have the same names.
        all.par_sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut rows: Vec<StackRow> = Vec::with_capacity(all.len());
        for (frames, weight) in all {
            match rows.last_mut() {
                Some(row) if row.frames == frames => row.weight = row.weight.saturating_add(weight),
                _ => rows.push(StackRow { frames, cause, weight }),
            }
        }
        let mut notes = Vec::new();
        if without > 0 {
            let of = amount(total, unit);
            notes.push(format!("{} of {of} without a stack", amount_alone(without, unit)));
        }
        notes.extend(short_note(&self.short, self.samples));
        notes.extend(self.texts.nameless_note());
        (rows, total, notes)
    }
}

/// The frame of weight that has no stack.
pub(super) const NO_STACK: &str = "(no stack)";

/// The first frames of a step's rows: its tool, and itself.
pub(super) fn labels(windows: Option<&Windows>, step: Option<usize>) -> Vec<FrameText> {
    let Some(step) = step.and_then(|s| windows?.steps.get(s)) else { return Vec::new() };
    let tool = if step.tool.is_empty() { "(no tool)" } else { &step.tool };
    vec![
        frame(tool, FrameKind::Label),
        frame(format!("step {}", step.id).as_str(), FrameKind::Label),
    ]
}

/// A weight with its unit: `412 samples`, `20.2 ms`.
pub(super) fn amount(weight: u64, unit: StackUnit) -> String {
    let s = if weight == 1 { "" } else { "s" };
    match unit {
        StackUnit::Nanos => human(Nanos(weight)).to_string(),
        StackUnit::Samples => format!("{} sample{s}", thousands(weight)),
        StackUnit::Faults => format!("{} fault{s}", thousands(weight)),
    }
}

/// The same, for a number that is followed by the whole.
fn amount_alone(weight: u64, unit: StackUnit) -> String {
    match unit {
        StackUnit::Nanos => human(Nanos(weight)).to_string(),
        StackUnit::Samples | StackUnit::Faults => thousands(weight).to_string(),
    }
}

/// How many stacks end before the program's first frame, and why.
fn short_note(short: &BTreeMap<Short, u64>, samples: u64) -> Option<String> {
    let all: u64 = short.values().sum();
    let whys: Vec<String> = short
        .iter()
        .map(|(why, count)| {
            let words = match why {
                Short::StackEnds => "where the recorded piece of the stack ends",
                Short::NoModule => "at code of no known mapping",
                Short::NoFile => "for want of the program's file",
                Short::NoUnwindInfo => "for want of unwind information",
                Short::Damaged => "at damage",
                Short::TooDeep => "as too deep",
            };
            format!("{} {words}", thousands(*count))
        })
        .collect();
    (all > 0).then(|| {
        format!(
            "{} of {} stacks end early: {}",
            thousands(all),
            thousands(samples),
            whys.join(", ")
        )
    })
}
