//! A kind of graph and a filter to weighted stacks.

use std::collections::BTreeSet;

use agenttrace_model::parse::{CaptureInfo, Tid};
use agenttrace_model::stacks::{StackSample, Stacks, What};
use agenttrace_model::{Model, State, Windows};

use super::absent::Absent;
use super::rows::{Rows, amount};
use super::select::Selection;
use super::{Named, StackFilter, StackGraph, StackKind, StackRow, StackUnit};
use super::{events, times, wall};
use crate::locks::kernel_waits;
use crate::report::Report;

/// What a graph is made from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The model of the capture. [`StackKind::Cpu`] and [`StackKind::Faults`] of a whole
    /// capture need none.
    pub model: Option<&'a Model>,
    /// What the capture says of itself.
    pub info: &'a CaptureInfo,
    /// Name of the session, from the steps file.
    pub session: Option<&'a str>,
    /// The steps, and who works for them. `None`: the capture as a whole.
    pub windows: Option<&'a Windows>,
    /// The report of those steps; needed for [`StackKind::Wall`] and for a cause.
    pub report: Option<&'a Report>,
    /// The stacks, where the capture has any.
    pub named: Option<Named<'a>>,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// What to show.
    pub kind: StackKind,
    /// Of what.
    pub filter: StackFilter,
    /// Which event's samples, by name, where there are several; else the one with the most.
    pub event: Option<String>,
}

/// The weighted stacks of a capture, or of a part of it.
///
/// Rows begin with the tool and the step where there are steps. Then comes the entry
/// stack ([`StackKind::Wall`]) or the name of the task (the others), then the functions,
/// the outermost first, and in [`StackKind::Wall`] a leaf with cause and resource. The
/// weights add up to the total: for [`StackKind::Wall`] exactly the wall time of the
/// steps, each nanosecond of a root task counted once.
///
/// # Errors
/// Where the capture cannot show the kind, or the selection holds nothing.
pub fn graph(scene: Scene<'_>, ask: &Ask) -> Result<StackGraph, Absent> {
    let select = select(scene, ask)?;
    let (unit, event, rows, total, notes) = match ask.kind {
        StackKind::Wall => wall::wall(scene, ask, &select)?,
        StackKind::Cpu => cpu(scene, ask, &select)?,
        StackKind::Faults => faults(scene, ask, &select)?,
        StackKind::OffCpu | StackKind::Locks => intervals(scene, ask, &select)?,
    };
    let of = words(scene, ask);
    if total == 0 {
        return Err(nothing(scene, ask, of));
    }
    Ok(StackGraph {
        kind: ask.kind,
        unit,
        total,
        of,
        filter: ask.filter.clone(),
        event,
        steps: scene.windows.is_some(),
        rows,
        notes,
    })
}

/// Unit, event, rows, their sum, notes.
pub(super) type Made = (StackUnit, Option<String>, Vec<StackRow>, u64, Vec<String>);

fn select<'a>(scene: Scene<'a>, ask: &'a Ask) -> Result<Selection<'a>, Absent> {
    let filter = &ask.filter;
    if let Some(name) = &filter.comm {
        let mut tasks = scene.model.iter().flat_map(|m| &m.tasks).flat_map(|t| &t.names);
        let sampled = scene.named.is_some_and(|n| n.stacks.comms.contains(name));
        if !sampled && !tasks.any(|(_, comm)| comm.to_text() == *name) {
            return Err(Absent::UnknownComm(name.clone()));
        }
    }
    let (Some(windows), Some(model)) = (scene.windows, scene.model) else {
        // Without steps there is no path either.
        if filter.step.is_some() || filter.tool.is_some() || filter.cause.is_some() {
            return Err(Absent::NoSteps);
        }
        return Ok(Selection::whole(scene.model, filter));
    };
    if let Some(id) = &filter.step
        && !windows.steps.iter().any(|s| s.id == *id)
    {
        let known = windows.steps.iter().map(|s| s.id.to_string()).collect();
        return Err(Absent::UnknownStep(id.to_string(), known));
    }
    if let Some(tool) = &filter.tool
        && !windows.steps.iter().any(|s| s.tool == *tool)
    {
        let known: BTreeSet<&str> = windows.steps.iter().map(|s| s.tool.as_str()).collect();
        let known = known.into_iter().map(str::to_owned).collect();
        return Err(Absent::UnknownTool(tool.clone(), known));
    }
    Ok(Selection::of_steps(model, windows, scene.report, filter))
}

/// What a graph is of: `search_codebase, step 142`.
fn words(scene: Scene<'_>, ask: &Ask) -> String {
    let filter = &ask.filter;
    let plural = |n: usize| if n == 1 { "1 step".to_owned() } else { format!("{n} steps") };
    let mut out = match (scene.windows, &filter.step, &filter.tool) {
        (None, _, _) => "whole capture".to_owned(),
        (Some(windows), Some(id), _) => {
            let tool = windows.steps.iter().find(|s| s.id == *id).map_or("", |s| &s.tool);
            let tool = if tool.is_empty() { "(no tool)" } else { tool };
            format!("{tool}, step {id}")
        }
        (Some(windows), None, Some(tool)) => {
            let count = windows.steps.iter().filter(|s| s.tool == *tool).count();
            let tool = if tool.is_empty() { "(no tool)" } else { tool };
            format!("{tool}, {}", plural(count))
        }
        (Some(windows), None, None) => {
            let name = scene.session.unwrap_or("session");
            format!("{name}, {}", plural(windows.steps.len()))
        }
    };
    if let Some(cause) = filter.cause {
        out.push_str(&format!(", {}", cause.name()));
    }
    if let Some(comm) = &filter.comm {
        out.push_str(&format!(", tasks {comm}"));
    }
    out
}

/// A selection without anything, told with what there is around it.
fn nothing(scene: Scene<'_>, ask: &Ask, of: String) -> Absent {
    let all = Ask { filter: StackFilter::default(), ..ask.clone() };
    let all = (ask.filter != all.filter).then(|| graph(scene, &all).ok()).flatten();
    let whole = if scene.windows.is_some() { "all steps have" } else { "the whole capture has" };
    let elsewhere = all.map(|g| format!("{whole} {}", amount(g.total, g.unit)));
    Absent::Nothing(ask.kind, of, elsewhere)
}

/// The threads whose samples a graph of steps can show: those of the agent's tree, and
/// those on critical paths. `None`: all of them.
#[must_use]
pub fn threads(scene: Scene<'_>) -> Option<BTreeSet<Tid>> {
    let (windows, model) = scene.windows.zip(scene.model)?;
    let tree = model.task_ids().filter(|(id, _)| windows.is_in_tree(*id)).map(|(_, t)| t.tid);
    let paths = scene.report.iter().flat_map(|report| &report.steps);
    let paths = paths.flat_map(|step| &step.segments).map(|segment| segment.tid);
    Some(tree.chain(paths).collect())
}

/// The stacks, or the reason why there are none for this kind.
fn need<'a>(scene: Scene<'a>, kind: StackKind) -> Result<Named<'a>, Absent> {
    scene.named.filter(|n| !n.stacks.samples.is_empty()).ok_or(Absent::NoStacks(kind))
}

fn cpu(scene: Scene<'_>, ask: &Ask, select: &Selection<'_>) -> Result<Made, Absent> {
    let named = need(scene, ask.kind)?;
    let chosen = events::cpu(scene.info, named.stacks, ask.event.as_deref())?;
    let mut rows = Rows::new(named, scene.windows);
    for sample in cpu_samples(named.stacks, chosen.index) {
        if let Some((step, comm)) = place(named, select, sample) {
            rows.add(step, &comm, sample.chain, 1);
            rows.sample(sample);
        }
    }
    let (rows, total, mut notes) = rows.finish(StackUnit::Samples, ask.filter.cause);
    notes.extend(chosen.note());
    Ok((StackUnit::Samples, Some(chosen.words), rows, total, notes))
}

fn cpu_samples(stacks: &Stacks, event: u32) -> impl Iterator<Item = &StackSample> {
    stacks.samples.iter().filter(move |s| s.what == What::Cpu && s.event_type == event)
}

fn faults(scene: Scene<'_>, ask: &Ask, select: &Selection<'_>) -> Result<Made, Absent> {
    let named = need(scene, ask.kind)?;
    let chosen = events::faults(scene.info, named.stacks, ask.event.as_deref())?;
    let mut rows = Rows::new(named, scene.windows);
    let is_fault = |s: &&StackSample| matches!(s.what, What::Fault { .. });
    for sample in named.stacks.samples.iter().filter(is_fault) {
        if chosen.indexes.contains(&sample.event_type)
            && let Some((step, comm)) = place(named, select, sample)
        {
            rows.add(step, &comm, sample.chain, sample.period);
            rows.sample(sample);
        }
    }
    let (rows, total, mut notes) = rows.finish(StackUnit::Faults, ask.filter.cause);
    notes.extend(chosen.note());
    Ok((StackUnit::Faults, Some(chosen.words), rows, total, notes))
}

/// The step and the task's name of a sample that is selected.
fn place(
    named: Named<'_>,
    select: &Selection<'_>,
    sample: &StackSample,
) -> Option<(Option<usize>, String)> {
    let stretch = select.thread_at(sample.tid, sample.time)?;
    let given = sample.comm.and_then(|i| named.stacks.comms.get(i as usize));
    let name = select.name(given.map(String::as_str), sample.tid, sample.time);
    select.named(&name).then_some((stretch.step, name))
}

/// Kinds that weigh time of tasks: off-cpu and locks.
fn intervals(scene: Scene<'_>, ask: &Ask, select: &Selection<'_>) -> Result<Made, Absent> {
    if ask.event.is_some() {
        return Err(Absent::NoChoice(ask.kind));
    }
    let named = need(scene, ask.kind)?;
    let model = scene.model.ok_or(Absent::NoEvent(ask.kind))?;
    let locks = ask.kind == StackKind::Locks;
    let with_stack = named.stacks.samples.iter().any(|s| {
        s.chain.is_some()
            && match s.what {
                What::LockBegin(_) => locks,
                What::SwitchOut(_) => !locks,
                What::Cpu | What::Fault { .. } | What::LockEnd(_) | What::Other => false,
            }
    });
    if !with_stack {
        let there = model.tasks.iter().any(|task| {
            if locks {
                kernel_waits(task.ops.iter()).next().is_some()
            } else {
                task.states.iter().any(|s| matches!(s.state, State::Blocked(_)))
            }
        });
        return Err(if there {
            Absent::EventWithoutStacks(ask.kind)
        } else {
            Absent::NoEvent(ask.kind)
        });
    }
    let mut rows = Rows::new(named, scene.windows);
    let open = if locks {
        times::add_locks(named, model, select, &mut rows)
    } else {
        times::add_blocked(named, model, select, &mut rows);
        0
    };
    let (rows, total, mut notes) = rows.finish(StackUnit::Nanos, ask.filter.cause);
    if open > 0 {
        let s = if open == 1 { "" } else { "s" };
        notes.push(format!("{open} wait{s} without a recorded end left out"));
    }
    Ok((StackUnit::Nanos, None, rows, total, notes))
}

#[cfg(test)]
mod tests;
