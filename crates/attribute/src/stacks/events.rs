//! Which event's samples a graph counts, where a capture has several.

use std::collections::BTreeMap;

use agenttrace_model::parse::{CaptureInfo, Nanos};
use agenttrace_model::stacks::{StackSample, Stacks, What};

use super::StackKind;
use super::absent::Absent;

/// The event that stands for running time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuEvent {
    /// Index in [`CaptureInfo::event_types`].
    pub index: u32,
    /// Its name, and how often it was sampled where that is known: `cpu-clock at 997 Hz`.
    pub words: String,
    /// The time between two samples, where it is a clock and its samples tell.
    pub interval: Option<Nanos>,
    /// The other events that were sampled with stacks.
    pub others: Vec<String>,
}

impl CpuEvent {
    pub(super) fn note(&self) -> Option<String> {
        (!self.others.is_empty())
            .then(|| format!("samples of other events too: {} (--event)", self.others.join(", ")))
    }
}

/// The events that stand for page faults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FaultEvents {
    pub(super) indexes: Vec<u32>,
    pub(super) words: String,
    others: Vec<String>,
}

impl FaultEvents {
    pub(super) fn note(&self) -> Option<String> {
        (!self.others.is_empty()).then(|| {
            format!("the same faults by other events: {} (--event)", self.others.join(", "))
        })
    }
}

/// The event of this name, else the one with the most stacks; the first where they tie.
///
/// # Errors
/// Where running code was not sampled with stacks, or not by that event.
pub fn cpu(info: &CaptureInfo, stacks: &Stacks, name: Option<&str>) -> Result<CpuEvent, Absent> {
    let counts = counts(stacks, |s| s.what == What::Cpu);
    let chosen = match name {
        Some(name) => {
            let found = counts.keys().copied().find(|index| is_called(info, *index, name));
            found.ok_or_else(|| {
                let known = counts.keys().map(|index| short_name(info, *index)).collect();
                Absent::UnknownEvent(name.to_owned(), known)
            })?
        }
        None => {
            most(&counts).ok_or_else(|| missing(stacks, StackKind::Cpu, |s| s.what == What::Cpu))?
        }
    };
    let mut words = short_name(info, chosen);
    let clock = words.split(':').next().is_some_and(|event| event.ends_with("-clock"));
    let interval = if clock { interval(stacks, chosen) } else { None };
    if let Some(Nanos(period)) = interval {
        let hertz = (1_000_000_000 + period / 2) / period;
        words.push_str(&format!(" at {hertz} Hz"));
    }
    let others = counts.keys().filter(|index| **index != chosen);
    let others = others.map(|index| short_name(info, *index)).collect();
    Ok(CpuEvent { index: chosen, words, interval, others })
}

/// One event, or the pair of minor and major faults, that counts each fault once.
pub(super) fn faults(
    info: &CaptureInfo,
    stacks: &Stacks,
    name: Option<&str>,
) -> Result<FaultEvents, Absent> {
    let is_fault = |s: &StackSample| matches!(s.what, What::Fault { .. });
    let counts = counts(stacks, is_fault);
    // Those that tell minor from major together count each fault once.
    let mut telling: Vec<u32> = Vec::new();
    for sample in stacks.samples.iter().filter(|s| s.chain.is_some()) {
        if let What::Fault { major: Some(_), .. } = sample.what
            && !telling.contains(&sample.event_type)
        {
            telling.push(sample.event_type);
        }
    }
    telling.sort_unstable();
    let sum = |indexes: &[u32]| -> u64 { indexes.iter().filter_map(|i| counts.get(i)).sum() };
    let indexes = match name {
        Some(name) => {
            let found = counts.keys().copied().find(|index| is_called(info, *index, name));
            vec![found.ok_or_else(|| {
                let known = counts.keys().map(|index| short_name(info, *index)).collect();
                Absent::UnknownEvent(name.to_owned(), known)
            })?]
        }
        None => {
            let alone = counts.keys().filter(|i| !telling.contains(i)).map(|i| vec![*i]);
            let choices = std::iter::once(telling.clone()).chain(alone);
            let choices = choices.filter(|c| sum(c) > 0);
            choices
                .reduce(|best, next| if sum(&next) > sum(&best) { next } else { best })
                .ok_or_else(|| missing(stacks, StackKind::Faults, is_fault))?
        }
    };
    let names = |indexes: &[u32]| -> Vec<String> {
        indexes.iter().map(|index| short_name(info, *index)).collect()
    };
    let others: Vec<u32> = counts.keys().copied().filter(|i| !indexes.contains(i)).collect();
    Ok(FaultEvents { words: names(&indexes).join(" and "), others: names(&others), indexes })
}

/// Samples with a stack, by event type.
fn counts(stacks: &Stacks, wanted: impl Fn(&StackSample) -> bool) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for sample in stacks.samples.iter().filter(|s| s.chain.is_some() && wanted(s)) {
        *counts.entry(sample.event_type).or_default() += 1;
    }
    counts
}

fn most(counts: &BTreeMap<u32, u64>) -> Option<u32> {
    counts
        .iter()
        .max_by_key(|(index, count)| (**count, std::cmp::Reverse(**index)))
        .map(|(i, _)| *i)
}

fn missing(stacks: &Stacks, kind: StackKind, wanted: impl Fn(&StackSample) -> bool) -> Absent {
    if stacks.samples.iter().any(|s| s.chain.is_some()) {
        if stacks.samples.iter().any(wanted) {
            Absent::EventWithoutStacks(kind)
        } else {
            Absent::NoEvent(kind)
        }
    } else {
        Absent::NoStacks(kind)
    }
}

/// An event type's name as perf's user writes it.
fn short_name(info: &CaptureInfo, index: u32) -> String {
    let name = info.event_types.get(index as usize).map_or("?", |t| t.name.as_str());
    let short = name.strip_prefix("software:").or_else(|| name.strip_prefix("hardware:"));
    let short = short.unwrap_or(name);
    // `cpu-clock/freq=997,call-graph=fp/`; but not `cpu/mem-loads/`.
    let terms = short.split_once('/').filter(|(_, terms)| terms.contains('='));
    terms.map_or(short, |(event, _)| event).to_owned()
}

fn is_called(info: &CaptureInfo, index: u32, name: &str) -> bool {
    let whole = info.event_types.get(index as usize).map(|t| t.name.as_str());
    whole == Some(name) || short_name(info, index) == name
}

/// The time between two samples of a clock, whose periods are nanoseconds: the median one.
/// Without a recorded period each sample counts 1.
fn interval(stacks: &Stacks, event: u32) -> Option<Nanos> {
    let of_event = stacks.samples.iter().filter(|s| s.what == What::Cpu && s.event_type == event);
    let mut periods: Vec<u64> = of_event.map(|s| s.period).collect();
    periods.sort_unstable();
    periods.get(periods.len() / 2).copied().filter(|p| *p > 1).map(Nanos)
}
