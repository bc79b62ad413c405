//! Critical paths to weighted stacks: entry stack, functions, leaf.

use std::collections::BTreeMap;
use std::sync::Arc;

use agenttrace_model::parse::Nanos;
use agenttrace_model::stacks::ChainId;

use super::absent::Absent;
use super::graph::{Ask, Made, Scene};
use super::path::PathStacks;
use super::rows::{Texts, frame, labels};
use super::select::{Selection, overlaps};
use super::{FrameKind, FrameText, StackRow, StackUnit, events};
use crate::cause::{Cause, Resource};
use crate::detail::Words;
use crate::report::Segment;
use crate::stats::{apportion, plural};

/// Segments that differ in their times alone; borrowed, for a capture can hold millions.
type Key<'k> = (usize, &'k [Words], Cause, Resource, Option<Cause>);

/// The time of such segments.
#[derive(Debug, Default)]
struct Group {
    /// Running time, and the stacks of the samples in it.
    ran: u64,
    samples: BTreeMap<Option<ChainId>, u64>,
    /// All other time, by the stack where there is one.
    waited: BTreeMap<Option<ChainId>, u64>,
}

impl Group {
    /// Adds the part `[from, to)` of a segment.
    fn add(
        &mut self,
        stacks: Option<&PathStacks<'_>>,
        segment: &Segment<'_>,
        from: Nanos,
        to: Nanos,
    ) {
        let Some(stacks) = stacks else {
            *self.waited.entry(None).or_default() += (to - from).0;
            return;
        };
        stacks.states(segment.tid, from, to, &mut |state| {
            let ns = (state.end - state.start).0;
            if state.running {
                self.ran += ns;
                for chain in stacks.ran(segment.tid, state.start, state.end) {
                    *self.samples.entry(chain).or_default() += 1;
                }
            } else {
                *self.waited.entry(state.chain).or_default() += ns;
            }
        });
    }

    /// Time by stack, and how many samples it was shared out to. A segment of a few
    /// microseconds rarely has a sample of its own: all of a group share its running time,
    /// by largest remainder.
    fn shared(mut self) -> (BTreeMap<Option<ChainId>, u64>, u64) {
        let counts: Vec<u64> = self.samples.values().copied().collect();
        if counts.is_empty() {
            *self.waited.entry(None).or_default() += self.ran;
            return (self.waited, 0);
        }
        let shares = apportion(&counts, self.ran);
        for (chain, ns) in self.samples.into_keys().zip(shares) {
            *self.waited.entry(chain).or_default() += ns;
        }
        (self.waited, counts.iter().sum())
    }
}

pub(super) fn wall(scene: Scene<'_>, ask: &Ask, select: &Selection<'_>) -> Result<Made, Absent> {
    let report = scene.report.filter(|_| scene.windows.is_some()).ok_or(Absent::NoSteps)?;
    let chosen = scene.named.map(|n| events::cpu(scene.info, n.stacks, ask.event.as_deref()));
    let chosen = match chosen {
        None if ask.event.is_some() => return Err(Absent::NoStacks(ask.kind)),
        Some(Err(why)) if ask.event.is_some() => return Err(why),
        Some(Ok(chosen)) => Some(chosen),
        Some(Err(_)) | None => None,
    };
    let event = chosen.as_ref().map(|c| c.index);
    let stacks =
        scene.named.zip(scene.model).map(|(named, model)| PathStacks::new(named, model, event));
    let mut groups: BTreeMap<Key<'_>, Group> = BTreeMap::new();
    for (index, parts) in &select.steps {
        let Some(step) = report.steps.get(*index) else { continue };
        for s in step.segments.iter() {
            let wanted = ask.filter.cause.is_none_or(|cause| cause == s.cause);
            if wanted && select.named(&s.comm) {
                let group = groups
                    .entry((*index, &s.kind.stack[..], s.cause, s.resource, s.under))
                    .or_default();
                for (from, to) in overlaps(parts, s.start, s.end) {
                    group.add(stacks.as_ref(), &s, from, to);
                }
            }
        }
    }
    let mut texts = scene.named.map(Texts::new);
    let mut merged: BTreeMap<Vec<FrameText>, (Cause, u64)> = BTreeMap::new();
    let (mut total, mut samples) = (0_u64, 0_u64);
    for ((step, entry, cause, resource, under), group) in groups {
        let (shared, of) = group.shared();
        samples += of;
        for (chain, ns) in shared.into_iter().filter(|(_, ns)| *ns > 0) {
            let mut frames = labels(scene.windows, Some(step));
            frames.extend(entry.iter().map(|text| frame(&**text, FrameKind::Entry)));
            if let Some(texts) = &mut texts {
                texts.push(chain, &mut frames);
            }
            frames.push(frame(leaf(cause, resource, under), FrameKind::Leaf));
            total = total.saturating_add(ns);
            let sum = merged.entry(frames).or_insert((cause, 0));
            sum.1 = sum.1.saturating_add(ns);
        }
    }
    let rows = merged.into_iter().map(|(frames, (cause, weight))| StackRow {
        frames,
        cause: Some(cause),
        weight,
    });
    let mut notes = Vec::new();
    if samples > 0 {
        notes.push(format!(
            "running time shared out to the functions of {}",
            plural(samples, "sample")
        ));
    }
    notes.extend(texts.and_then(|texts| texts.nameless_note()));
    Ok((StackUnit::Nanos, None, rows.collect(), total, notes))
}

/// `major_fault: device`, `run_delay: run_queue in fsync`. Never ends with a number,
/// which readers of folded lines would take for a width.
fn leaf(cause: Cause, resource: Resource, under: Option<Cause>) -> Arc<str> {
    let (name, resource) = (cause.name(), resource.name());
    match under {
        Some(under) if under != cause => format!("{name}: {resource} in {}", under.name()).into(),
        _ => format!("{name}: {resource}").into(),
    }
}
