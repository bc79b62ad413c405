//! Marks to steps: in-band marks, steps.jsonl, `agent_step_id` fields, whole tasks.

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_parse::{CaptureInfo, Nanos, Pid, StepFile, StepId, StepMark, Tid};
use rustc_hash::FxHashMap;

use crate::clocks::{self, ClockMap, Known, map_clock};
use crate::marks::MarkEdge;
use crate::marks_check::{self, Doubt};
use crate::model::Model;
use crate::task::{State, Task, TaskId};
use crate::window::Step;

/// In-band marks further than this from mapped times contradict them.
const DISAGREE: u64 = 1_000_000;

/// What the user said about the steps.
#[derive(Clone, Debug, Default)]
pub struct MarkOptions<'f> {
    /// steps.jsonl, where given.
    pub file: Option<&'f StepFile>,
    /// `--pid`: the whole life of this process's first task is one step.
    pub pid: Option<Pid>,
    /// `--comm`: the same for the first task of this name.
    pub comm: Option<String>,
    /// `--pid-map`: ids inside a container to ids outside.
    pub pid_map: BTreeMap<i32, i32>,
    /// `--clock-offset`, ns, added to marker times; overrides what the capture says.
    pub clock_offset: Option<i64>,
}

/// Where the step windows come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerSource {
    /// steps.jsonl alone.
    File,
    /// In-band marks alone.
    InBand,
    /// steps.jsonl, with the times of in-band marks of the same ids.
    Joined,
    /// `agent_step_id` fields.
    Fields,
    /// `--pid` or `--comm`: a task's life is one step.
    WholeTask,
}

impl MarkerSource {
    /// The words used in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "steps file",
            Self::InBand => "in-band marks",
            Self::Joined => "steps file joined with in-band marks",
            Self::Fields => "agent_step_id fields",
            Self::WholeTask => "whole task",
        }
    }
}

/// Steps on the capture's clock, before anybody is known to work for them.
#[derive(Clone, PartialEq, Debug)]
pub struct Marked {
    /// The steps, by start, then in the order of the file. Parents are set.
    pub steps: Vec<Step>,
    /// Where they come from.
    pub source: MarkerSource,
    /// How marker times were mapped, in words.
    pub mapping: String,
    /// How far a mapped time may be off.
    pub error: Option<Nanos>,
    /// Steps left out, and why.
    pub notes: Vec<String>,
}

impl Marked {
    /// Keeps the steps that overlap `[from, to)`, in ns on the capture's clock.
    pub fn keep_between(&mut self, from: Option<u64>, to: Option<u64>) {
        self.keep(|s| from.is_none_or(|from| s.end.0 > from) && to.is_none_or(|to| s.start.0 < to));
    }

    /// Keeps the steps that are wanted. One whose parent is left out has none.
    pub fn keep(&mut self, wanted: impl Fn(&Step) -> bool) {
        // For each step its place among those that are kept.
        let mut kept = 0;
        let places: Vec<Option<usize>> = self
            .steps
            .iter()
            .map(|step| {
                let place = wanted(step).then_some(kept);
                kept += usize::from(place.is_some());
                place
            })
            .collect();
        let place = |old: usize| places.get(old).copied().flatten();
        let mut at = 0..places.len();
        self.steps.retain_mut(|step| {
            step.parent = step.parent.and_then(place);
            at.next().and_then(place).is_some()
        });
    }
}

struct InBand {
    task: TaskId,
    tool: Option<String>,
    start: Option<Nanos>,
    end: Option<Nanos>,
}

/// A step before it is clipped to the capture.
struct Raw {
    id: StepId,
    tool: String,
    root: TaskId,
    pid: Option<Pid>,
    start: Option<Nanos>,
    end: Option<Nanos>,
    parent: Option<StepId>,
    error: Option<Nanos>,
    mapped: bool,
    extra: Vec<(String, String)>,
}

impl Raw {
    /// A step that the capture alone tells of.
    fn in_band(id: &StepId, step: &InBand, error: Nanos) -> Self {
        Self {
            id: id.clone(),
            tool: step.tool.clone().unwrap_or_default(),
            root: step.task,
            pid: None,
            start: step.start,
            end: step.end,
            parent: None,
            error: Some(error),
            mapped: false,
            extra: Vec::new(),
        }
    }
}

/// Places the steps.
///
/// # Errors
/// A sentence that says what to do, when no step can be placed at all: no
/// markers, or times on a clock that the capture does not map.
pub fn place_marks(
    model: &Model,
    info: &CaptureInfo,
    options: &MarkOptions<'_>,
) -> Result<Marked, String> {
    let mut notes = Vec::new();
    if options.pid.is_some() || options.comm.is_some() {
        return whole_task(model, options);
    }
    let in_band = in_band_steps(model, &mut notes);
    if let Some((time, text)) = &model.bad_mark {
        notes.push(format!(
            "texts in the trace begin with agenttrace: and are no step marks, the first at {time} ns: {text:?}; marks are \
             agenttrace:B|ID|TOOL, agenttrace:E|ID and agenttrace:C|CLOCK|NS"
        ));
    }
    // Marks in the trace are as exact as its times.
    let exact = Nanos(clocks::rounding(info));
    let fields = if in_band.is_empty() { field_steps(model) } else { BTreeMap::new() };
    let (known, known_source) = if in_band.is_empty() {
        (fields, MarkerSource::Fields)
    } else {
        (in_band, MarkerSource::InBand)
    };
    let Some(file) = options.file else {
        if known.is_empty() {
            return Err("the capture holds no step marks: pass --markers steps.jsonl, or --pid N or --comm NAME \
                 for a whole task; agents can mark steps in the trace with prctl(0x41475354, step_id), or in ftrace by writing \
                 agenttrace:B|ID|TOOL and agenttrace:E|ID to trace_marker"
                .to_owned());
        }
        let raws = known.iter().map(|(id, step)| Raw::in_band(id, step, exact)).collect();
        let steps = clip(model, raws, &mut notes);
        return finish(
            steps,
            known_source,
            "marks on the capture's clock".to_owned(),
            Some(exact),
            notes,
        );
    };
    for problem in &file.problems {
        notes.push(if problem.line == 0 {
            problem.text.clone()
        } else {
            format!("line {}: {}", problem.line, problem.text)
        });
    }
    let pairs = pairs(file, &known);
    let facts =
        Known { file, in_trace: &model.anchors, pairs: &pairs, offset: options.clock_offset };
    let clock = map_clock(info, &facts);
    if let Ok(map) = &clock {
        notes.extend(map.notes.iter().cloned());
        notes.extend(disagreement(map, &pairs));
    }
    let mut tasks: FxHashMap<Tid, Vec<TaskId>> = FxHashMap::default();
    for (id, task) in model.task_ids() {
        tasks.entry(task.tid).or_default().push(id);
    }
    let task_at = |tid: Tid, time: Nanos| {
        let of_tid = tasks.get(&tid).map(Vec::as_slice).unwrap_or_default();
        model.latest(of_tid.iter().copied(), time)
    };
    let mut raws = Vec::with_capacity(file.steps.len());
    let mut joined = 0_usize;
    let mut unmapped = 0_usize;
    for mark in &file.steps {
        let found = marked_as(&known, &mark.id).map(|(_, step)| step);
        let shift = |time: Option<Nanos>| match (&clock, time) {
            (Ok(map), Some(time)) => Some(map.apply(time)),
            _ => None,
        };
        let mut mapped: Vec<Nanos> = Vec::new();
        mapped.extend(mark.start.filter(|_| found.is_none_or(|s| s.start.is_none())));
        mapped.extend(mark.end.filter(|_| found.is_none_or(|s| s.end.is_none())));
        let errors = || mapped.iter().map(|at| clock.as_ref().ok()?.error_at(*at));
        // An unknown error comes first in the order of options.
        let error = if errors().any(|e| e.is_none()) { None } else { errors().flatten().max() };
        let (start, end) = match found {
            Some(s) => {
                joined += 1;
                // Their own times win; the file fills in what the capture lost.
                (s.start.or_else(|| shift(mark.start)), s.end.or_else(|| shift(mark.end)))
            }
            None if clock.is_err() => {
                unmapped += 1;
                continue;
            }
            None => (shift(mark.start), shift(mark.end)),
        };
        let root = match found {
            Some(s) => Some(s.task),
            None => root_tid(mark.pid, mark.tid, options)
                .and_then(|tid| task_at(tid, start.unwrap_or(model.span.0))),
        };
        let Some(root) = root else {
            let who = mark.tid.map(|t| t.0).or(mark.pid.map(|p| p.0));
            notes.push(match who {
                Some(id) => format!(
                    "line {}: step {}: pid {id} never appears in the capture; was it recorded with -a? In a container the \
                     agent sees other ids: use in-band marks, or --pid-map FILE (inner and outer id on each line)",
                    mark.line, mark.id
                ),
                None => format!("line {}: step {}: no key \"pid\", and no in-band mark tells the task", mark.line, mark.id),
            });
            continue;
        };
        let tool = found.and_then(|s| s.tool.clone()).filter(|_| mark.tool.is_empty());
        raws.push(Raw {
            id: mark.id.clone(),
            tool: tool.unwrap_or_else(|| mark.tool.clone()),
            root,
            pid: mark.pid.filter(|pid| !options.pid_map.contains_key(&pid.0)),
            start,
            end,
            parent: mark.parent.clone(),
            error: if mapped.is_empty() { Some(exact) } else { error },
            mapped: !mapped.is_empty(),
            extra: mark.extra.clone(),
        });
    }
    // Steps that only the capture knows; in a cut, those are pieces of others.
    let whole = file.calibration.is_none();
    let in_file: BTreeSet<StepId> =
        file.steps.iter().filter_map(|m| marked_as(&known, &m.id)).map(|(id, _)| id).collect();
    for (id, s) in known.iter().filter(|_| whole) {
        if !in_file.contains(id) {
            raws.push(Raw::in_band(id, s, exact));
        }
    }
    let source = if joined > 0 { MarkerSource::Joined } else { MarkerSource::File };
    let (mapping, error) = match clock {
        Ok(map) => {
            let errors = || raws.iter().filter(|raw| raw.mapped).map(|raw| raw.error);
            let error = if errors().any(|e| e.is_none()) {
                None
            } else {
                Some(errors().flatten().max().unwrap_or(exact))
            };
            (map.text, error)
        }
        Err(text) if joined == 0 => return Err(text),
        Err(text) => {
            notes.push(format!("{unmapped} steps have no in-band mark and were left out: {text}"));
            ("in-band marks on the capture's clock".to_owned(), Some(exact))
        }
    };
    let steps = clip(model, raws, &mut notes);
    match marks_check::check(model, &steps) {
        Some(Doubt::Wrong(text)) if options.clock_offset.is_none() => return Err(text),
        Some(Doubt::Wrong(text) | Doubt::Suspicious(text)) => notes.push(text),
        None => {}
    }
    finish(steps, source, mapping, error, notes)
}

fn finish(
    steps: Vec<Step>,
    source: MarkerSource,
    mapping: String,
    error: Option<Nanos>,
    notes: Vec<String>,
) -> Result<Marked, String> {
    if steps.is_empty() {
        return Err(format!("no step could be placed in the capture. {}", notes.join(". ")));
    }
    Ok(Marked { steps, source, mapping, error, notes })
}

/// The first such task that did anything; else the first. A capture may name a task
/// that was gone before it began, or one that is born in it, ahead of its birth.
fn first_seen(model: &Model, wanted: impl Fn(&Task) -> bool) -> Option<TaskId> {
    let mut found = model.task_ids().filter(|(_, task)| wanted(task));
    let seen = |task: &Task| task.states.iter().any(|s| !matches!(s.state, State::Unknown(_)));
    let first = found.next()?;
    let did = std::iter::once(first).chain(found).find(|(_, task)| seen(task));
    Some(did.unwrap_or(first).0)
}

fn whole_task(model: &Model, options: &MarkOptions<'_>) -> Result<Marked, String> {
    let root = if let Some(pid) = options.pid {
        let found = first_seen(model, |task| task.tid.0 == pid.0);
        found.ok_or_else(|| format!("--pid {pid}: this id never appears in the capture"))?
    } else {
        let name = options.comm.as_deref().unwrap_or_default();
        let found =
            first_seen(model, |task| task.names.iter().any(|(_, comm)| comm.to_text() == name));
        found
            .ok_or_else(|| format!("--comm {name}: no task of this name appears in the capture"))?
    };
    let task = model.task(root);
    let start = task.birth.unwrap_or(model.span.0).max(model.span.0);
    let end = task.death().unwrap_or(model.span.1);
    let comm = task.name_at(end).to_text();
    let step = Step {
        id: StepId::Name(format!("pid {}", task.tid)),
        tool: comm,
        root,
        pid: None,
        start,
        end: end.max(start + Nanos(1)),
        parent: None,
        clipped: None,
        error: Some(Nanos::ZERO),
        mapped: false,
        extra: Vec::new(),
    };
    finish(
        vec![step],
        MarkerSource::WholeTask,
        "no marker times".to_owned(),
        Some(Nanos::ZERO),
        Vec::new(),
    )
}

/// The in-band step with the id of a step of the file. A text cannot tell the number
/// 7 from the name "7".
fn marked_as<'k>(known: &'k BTreeMap<StepId, InBand>, id: &StepId) -> Option<(StepId, &'k InBand)> {
    let number = match id {
        StepId::Number(_) => None,
        StepId::Name(name) => name.parse().ok().map(StepId::Number),
    };
    [Some(id.clone()), number]
        .into_iter()
        .flatten()
        .find_map(|id| known.get(&id).map(|step| (id, step)))
}

/// The edges that have both a time in the file and an in-band mark.
fn pairs(file: &StepFile, known: &BTreeMap<StepId, InBand>) -> Vec<(u64, u64)> {
    let both = |mark: &StepMark| {
        let found = marked_as(known, &mark.id).map(|(_, step)| step);
        [(mark.start, found.and_then(|s| s.start)), (mark.end, found.and_then(|s| s.end))]
    };
    file.steps.iter().flat_map(both).filter_map(|(file, trace)| Some((file?.0, trace?.0))).collect()
}

/// Marks in the trace prove a mapping, or that it is wrong.
fn disagreement(map: &ClockMap, pairs: &[(u64, u64)]) -> Option<String> {
    let mut off: Vec<(u64, u64)> = pairs
        .iter()
        .map(|(file, trace)| {
            let error = map.error_at(Nanos(*file)).map_or(0, |e| e.0);
            (map.apply(Nanos(*file)).0.abs_diff(*trace), error)
        })
        .collect();
    off.sort_unstable();
    let (median, error) = off.get(off.len() / 2)?;
    (*median > DISAGREE.max(error.saturating_mul(10))).then(|| {
        format!(
            "the times of the steps file, mapped ({}), lie {median} ns from the in-band marks of the same ids: the mapping \
             is wrong, or times and marks are not taken together; steps without in-band marks are off by as much",
            map.text
        )
    })
}

fn in_band_steps(model: &Model, notes: &mut Vec<String>) -> BTreeMap<StepId, InBand> {
    let mut steps: BTreeMap<StepId, InBand> = BTreeMap::new();
    // `None`: a step of which the begin came twice.
    let mut open: BTreeMap<TaskId, Vec<Option<StepId>>> = BTreeMap::new();
    let mut twice: BTreeMap<StepId, usize> = BTreeMap::new();
    for mark in &model.marks {
        let stack = open.entry(mark.task).or_default();
        match &mark.edge {
            MarkEdge::Begin(id, tool) => {
                if steps.contains_key(id) {
                    *twice.entry(id.clone()).or_default() += 1;
                    // Its end must still pair with something.
                    stack.push(None);
                    continue;
                }
                stack.push(Some(id.clone()));
                steps.insert(
                    id.clone(),
                    InBand {
                        task: mark.task,
                        tool: tool.clone(),
                        start: Some(mark.time),
                        end: None,
                    },
                );
            }
            MarkEdge::EndInnermost => {
                if let Some(step) = stack.pop().flatten().and_then(|id| steps.get_mut(&id)) {
                    step.end = Some(mark.time);
                }
            }
            MarkEdge::End(id) => {
                if let Some(position) = stack.iter().rposition(|open| open.as_ref() == Some(id)) {
                    stack.remove(position);
                    if let Some(step) = steps.get_mut(id) {
                        step.end = Some(mark.time);
                    }
                } else {
                    let step = steps.entry(id.clone()).or_insert(InBand {
                        task: mark.task,
                        tool: None,
                        start: None,
                        end: None,
                    });
                    step.end.get_or_insert(mark.time);
                }
            }
        }
    }
    for (id, times) in twice {
        notes.push(format!("step {id} begins again {times} more times in the trace: ids must be unique; the first is analyzed"));
    }
    steps
}

fn field_steps(model: &Model) -> BTreeMap<StepId, InBand> {
    let mut steps: BTreeMap<StepId, InBand> = BTreeMap::new();
    let mut current: BTreeMap<TaskId, u64> = BTreeMap::new();
    for (time, task, id) in &model.step_fields {
        if let Some(before) = current.insert(*task, *id)
            && before != *id
            && let Some(step) = steps.get_mut(&StepId::Number(before))
            && step.task == *task
        {
            step.end.get_or_insert(*time);
        }
        if *id != 0 {
            steps.entry(StepId::Number(*id)).or_insert(InBand {
                task: *task,
                tool: None,
                start: Some(*time),
                end: None,
            });
        }
    }
    steps
}

/// The thread id that a step's root has in the capture.
fn root_tid(pid: Option<Pid>, tid: Option<Tid>, options: &MarkOptions<'_>) -> Option<Tid> {
    let tid = tid.map(|t| t.0).or(pid.map(|p| p.0))?;
    Some(Tid(options.pid_map.get(&tid).copied().unwrap_or(tid)))
}

/// Clips the steps to the capture, orders them, and finds their parents.
fn clip(model: &Model, raws: Vec<Raw>, notes: &mut Vec<String>) -> Vec<Step> {
    let (first, last) = model.span;
    let mut steps = Vec::with_capacity(raws.len());
    let mut parents = Vec::with_capacity(raws.len());
    for raw in raws {
        let (start, end) = (raw.start.unwrap_or(first), raw.end.unwrap_or(last));
        if start >= end {
            notes.push(format!(
                "step {}: it ends at {end} ns, not after its start at {start} ns",
                raw.id
            ));
            continue;
        }
        if end <= first || start >= last {
            notes.push(format!(
                "step {}: [{start}, {end}) ns lies outside the capture, which holds [{first}, {last}) ns; \
                 if the clocks differ see --clock-offset",
                raw.id
            ));
            continue;
        }
        let mut missing = Vec::new();
        if raw.start.is_none() {
            missing.push("its start was not recorded".to_owned());
        } else if start < first {
            missing.push(format!("its first {} ns lie before the capture", (first - start).0));
        }
        if raw.end.is_none() {
            missing.push("its end was not recorded".to_owned());
        } else if end > last {
            missing.push(format!("its last {} ns lie after the capture", (end - last).0));
        }
        parents.push(raw.parent);
        steps.push((
            steps.len(),
            Step {
                id: raw.id,
                tool: raw.tool,
                root: raw.root,
                pid: raw.pid,
                start: start.max(first),
                end: end.min(last),
                parent: None,
                clipped: (!missing.is_empty()).then(|| missing.join("; ")),
                error: raw.error,
                mapped: raw.mapped,
                extra: raw.extra,
            },
        ));
    }
    // A step is long: keys are sorted, and each step moves once.
    steps.sort_by_cached_key(|(order, step)| (step.start, *order));
    let named: BTreeMap<StepId, usize> =
        steps.iter().enumerate().map(|(i, (_, s))| (s.id.clone(), i)).collect();
    let mut found: Vec<Option<usize>> = Vec::new();
    // Steps of a root task that may still contain what starts later.
    let mut open: BTreeMap<TaskId, Vec<usize>> = BTreeMap::new();
    for (index, (order, step)) in steps.iter().enumerate() {
        let by_name =
            parents.get(*order).and_then(Option::as_ref).and_then(|id| named.get(id).copied());
        if by_name.is_none()
            && let Some(Some(id)) = parents.get(*order)
        {
            notes.push(format!("step {}: its parent {id} is not among the steps", step.id));
        }
        let around = open.entry(step.root).or_default();
        around.retain(|i| steps.get(*i).is_some_and(|(_, s)| s.end > step.start));
        let nested = around
            .iter()
            .rev()
            .copied()
            .find(|i| steps.get(*i).is_some_and(|(_, s)| s.end >= step.end));
        around.push(index);
        found.push(by_name.filter(|p| *p != index).or(nested));
    }
    // A parent that leads back to its child would make the nesting endless.
    for index in 0..found.len() {
        let mut at = found.get(index).copied().flatten();
        let mut hops = 0;
        while let Some(parent) = at {
            hops += 1;
            if parent == index || hops > found.len() {
                if let Some(slot) = found.get_mut(index) {
                    *slot = None;
                }
                break;
            }
            at = found.get(parent).copied().flatten();
        }
    }
    let mut steps: Vec<Step> = steps.into_iter().map(|(_, step)| step).collect();
    for (step, parent) in steps.iter_mut().zip(found) {
        step.parent = parent;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_are_kept_know_their_parents_by_the_new_places() {
        let step = |id: u64, start: u64, end: u64, parent: Option<usize>| Step {
            id: StepId::Number(id),
            tool: String::new(),
            root: TaskId(0),
            pid: None,
            start: Nanos(start),
            end: Nanos(end),
            parent,
            clipped: None,
            error: None,
            mapped: false,
            extra: Vec::new(),
        };
        // The first is left out; 3 lies in 2, and 4 in 1.
        let mut marked = Marked {
            steps: vec![
                step(1, 0, 10, None),
                step(2, 5, 90, None),
                step(3, 20, 30, Some(1)),
                step(4, 8, 12, Some(0)),
            ],
            source: MarkerSource::File,
            mapping: String::new(),
            error: None,
            notes: Vec::new(),
        };
        marked.keep_between(Some(10), Some(90));
        let kept: Vec<_> = marked.steps.iter().map(|s| (s.id.to_string(), s.parent)).collect();
        let kept: Vec<_> = kept.iter().map(|(id, parent)| (id.as_str(), *parent)).collect();
        assert_eq!(kept, [("2", None), ("3", Some(0)), ("4", None)]);
        marked.keep(|step| step.id == StepId::Number(3));
        assert_eq!(marked.steps.iter().map(|s| s.parent).collect::<Vec<_>>(), [None]);
    }
}
