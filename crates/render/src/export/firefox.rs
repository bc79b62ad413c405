//! Threads, samples and markers to the Firefox Profiler's processed profile, as samply makes it.
//!
//! Times in that format are milliseconds since its start, as floating-point numbers:
//! exact to the nanosecond for captures of up to 104 days.

mod code;
mod markers;

use std::collections::{BTreeMap, HashMap};
use std::io;

use agenttrace_attribute::timeline::{Role, SampleTime, ShownTask, TaskSamples};
use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{Op, TaskId, WakeSource};
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, MarkerTiming, ProcessHandle, Profile,
    ReferenceTimestamp, SamplingInterval, ThreadHandle, Timestamp,
};

use self::code::Code;
use self::markers::{OpMarker, PathMarker, StepMarker, WakeMarker};
use super::{Export, ExportJob, words};
use crate::duration::{human, thousands};
use crate::escape::visible;

/// The processed profile format.
pub(super) struct Firefox;

impl Export for Firefox {
    fn name(&self) -> &'static str {
        "firefox"
    }
    fn about(&self) -> &'static str {
        "a processed profile for profiler.firefox.com"
    }
    fn binary(&self) -> bool {
        false
    }
    fn write(&self, job: &ExportJob<'_>, out: &mut dyn io::Write) -> io::Result<Vec<String>> {
        let mut notes = Vec::new();
        let profile = profile(job, &mut notes);
        serde_json::to_writer(&mut *out, &profile)?;
        out.write_all(b"\n")?;
        Ok(notes)
    }
}

/// The colours of frames and the groups of markers.
#[derive(Clone, Copy)]
struct Categories {
    user: CategoryHandle,
    kernel: CategoryHandle,
    jit: CategoryHandle,
    waiting: CategoryHandle,
    entry: CategoryHandle,
    steps: CategoryHandle,
    path: CategoryHandle,
    ops: CategoryHandle,
    wakes: CategoryHandle,
}

impl Categories {
    fn new(profile: &mut Profile) -> Self {
        let mut add = |name, color| profile.add_category(name, color);
        Self {
            user: add("User", CategoryColor::Yellow),
            kernel: add("Kernel", CategoryColor::Orange),
            jit: add("JIT", CategoryColor::Green),
            waiting: add("Off CPU", CategoryColor::Blue),
            entry: add("On behalf of", CategoryColor::Purple),
            steps: add("Steps", CategoryColor::Green),
            path: add("Critical path", CategoryColor::Red),
            ops: add("Calls, faults, locks, interrupts", CategoryColor::Magenta),
            wakes: add("Wakeups", CategoryColor::LightBlue),
        }
    }
}

/// Operations and wakeups beyond this many are left out, the shortest first: the viewer
/// holds all markers in memory.
const MAX_MARKERS: usize = 100_000;

struct Threads {
    from: Nanos,
    by_task: BTreeMap<TaskId, ThreadHandle>,
}

impl Threads {
    /// Time since the profile's start.
    fn time(&self, time: Nanos) -> Timestamp {
        Timestamp::from_nanos_since_reference((time - self.from).0)
    }

    fn interval(&self, from: Nanos, to: Nanos) -> MarkerTiming {
        MarkerTiming::Interval(self.time(from), self.time(to))
    }
}

fn profile(job: &ExportJob<'_>, notes: &mut Vec<String>) -> Profile {
    let info = &job.report.capture.info;
    let interval = job.stacks.map_or(1_000_000, |stacks| stacks.samples.interval.0);
    let mut profile =
        Profile::new("agenttrace", reference(job), SamplingInterval::from_nanos(interval));
    // Every name is there: the viewer has nothing to ask a symbol server for.
    profile.set_symbolicated(true);
    if let Some(release) = &info.os_release {
        profile.set_os_name(&format!("Linux {}", visible(release)));
    }
    let categories = Categories::new(&mut profile);
    let threads = threads(job, &mut profile);
    if let Some(stacks) = &job.stacks {
        let mut code = Code::new(stacks.named, info.arch.as_deref(), &mut profile);
        for task in &stacks.samples.tasks {
            samples(task, &threads, categories, &mut code, &mut profile);
        }
    }
    steps(job, &threads, categories, &mut profile);
    operations(job, &threads, categories, &mut profile, notes);
    profile
}

/// The moment of day at the timeline's start, where the capture tells it.
fn reference(job: &ExportJob<'_>) -> ReferenceTimestamp {
    let wall = job.report.capture.info.clock.wall.map(|(event, wall)| {
        i128::from(wall.0) + i128::from(job.timeline.from.0) - i128::from(event.0)
    });
    let wall = wall.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
    ReferenceTimestamp::from_millis_since_unix_epoch(wall as f64 / 1e6)
}

/// A process for each thread group, a thread for each task.
fn threads(job: &ExportJob<'_>, profile: &mut Profile) -> Threads {
    let (from, to) = (job.timeline.from, job.timeline.to);
    let mut threads = Threads { from, by_task: BTreeMap::new() };
    let mut processes: HashMap<Pid, ProcessHandle> = HashMap::new();
    let id = |number: i32| u32::try_from(number).unwrap_or(0);
    for shown in job.timeline.tasks.iter().filter(|shown| job.model.task(shown.task).tid.is_task())
    {
        let task = job.model.task(shown.task);
        let name = words::task(task, to);
        let start = threads.time(task.birth.unwrap_or(from));
        let main = task.pid.0 == task.tid.0;
        let process = *processes
            .entry(task.pid)
            .or_insert_with(|| profile.add_process(&name, id(task.pid.0), start));
        if main {
            profile.set_process_name(process, &name);
        }
        let thread = profile.add_thread(process, id(task.tid.0), start, main);
        profile.set_thread_name(thread, &name);
        if let Some(death) = task.death() {
            profile.set_thread_end_time(thread, threads.time(death));
        }
        if matches!(shown.role, Role::Root | Role::Worker) {
            profile.set_thread_show_markers_in_timeline(thread, true);
        }
        if shown.role != Role::Waker {
            profile.add_initial_visible_thread(thread);
        }
        if threads.by_task.is_empty() {
            profile.add_initial_selected_thread(thread);
        }
        threads.by_task.insert(shown.task, thread);
    }
    threads
}

/// Running samples, and waits as samply shows them: a sample where the task left its CPU,
/// and one at the wait's end that has the weight of the rest.
fn samples(
    task: &TaskSamples,
    threads: &Threads,
    categories: Categories,
    code: &mut Code<'_>,
    profile: &mut Profile,
) {
    let Some(thread) = threads.by_task.get(&task.task).copied() else { return };
    code.next_thread(thread);
    for sample in &task.samples {
        let time = threads.time(sample.time);
        let stack = code.stack(profile, categories, sample.chain);
        match sample.what {
            SampleTime::Running { cpu, .. } => {
                profile.add_sample(thread, time, stack, CpuDelta::from_nanos(cpu.0), 1);
            }
            SampleTime::Waiting { until, intervals } => {
                let stack = code.waiting(profile, categories, stack);
                let weight = i32::try_from(intervals).unwrap_or(i32::MAX);
                profile.add_sample(thread, time, stack, CpuDelta::ZERO, 1);
                if weight > 1 {
                    let end = threads.time(until);
                    profile.add_sample(thread, end, stack, CpuDelta::ZERO, weight - 1);
                }
            }
        }
    }
}

/// Steps and their critical paths, as markers of their root tasks.
fn steps(job: &ExportJob<'_>, threads: &Threads, categories: Categories, profile: &mut Profile) {
    let mut roots: HashMap<i32, Vec<(Nanos, TaskId)>> = HashMap::new();
    for task in threads.by_task.keys() {
        let life = job.model.task(*task);
        let since = life.birth.unwrap_or(Nanos::ZERO);
        roots.entry(life.tid.0).or_default().push((since, *task));
    }
    for step in job.steps {
        let lives = roots.get(&step.tid.0).map_or(&[][..], Vec::as_slice);
        let born = lives.iter().filter(|(since, _)| *since <= step.start).max();
        let root = born.or(lives.first()).and_then(|(_, task)| threads.by_task.get(task));
        let Some(root) = root.copied() else { continue };
        let marker = StepMarker::new(step, categories.steps, profile);
        profile.add_marker(root, threads.interval(step.start, step.end), marker);
        let mut known = HashMap::new();
        for segment in &step.segments {
            let (marker, stack) =
                PathMarker::new(step, &segment, categories, root, &mut known, profile);
            let timing = threads.interval(segment.start, segment.end);
            let marker = profile.add_marker(root, timing, marker);
            profile.set_marker_stack(root, marker, stack);
        }
    }
}

/// What tasks did while they worked for the steps, and who woke them.
fn operations(
    job: &ExportJob<'_>,
    threads: &Threads,
    categories: Categories,
    profile: &mut Profile,
    notes: &mut Vec<String>,
) {
    let end = |op: &Op| op.end.min(job.timeline.to).max(op.start);
    let mut ops: Vec<(Nanos, TaskId, usize)> = Vec::new();
    for shown in &job.timeline.tasks {
        let task = job.model.task(shown.task);
        let ours = task.ops.iter().enumerate().filter(|(_, op)| worked(shown, op.start, op.end));
        ops.extend(ours.map(|(place, op)| (end(&op) - op.start, shown.task, place)));
    }
    if ops.len() > MAX_MARKERS {
        ops.sort_unstable_by_key(|(ns, task, place)| (std::cmp::Reverse(*ns), *task, *place));
        let shortest = ops.get(MAX_MARKERS).map_or(Nanos::ZERO, |(ns, _, _)| *ns);
        notes.push(format!(
            "{} of {} calls, faults and other operations have no marker: those of {} or less",
            thousands((ops.len() - MAX_MARKERS) as u64),
            thousands(ops.len() as u64),
            human(shortest)
        ));
        ops.truncate(MAX_MARKERS);
    }
    ops.sort_unstable_by_key(|(_, task, place)| (*task, *place));
    for (_, id, place) in ops {
        let Some(thread) = threads.by_task.get(&id).copied() else { continue };
        let Some(op) = job.model.task(id).ops.get(place) else { continue };
        let marker = OpMarker::new(job.model, &op, categories.ops, profile);
        profile.add_marker(thread, threads.interval(op.start, end(&op)), marker);
    }

    let roles: HashMap<TaskId, &ShownTask> =
        job.timeline.tasks.iter().map(|shown| (shown.task, shown)).collect();
    let first = job.model.wakes.before(job.timeline.from);
    let wakes = job.model.wakes.iter().skip(first);
    let mut wakes = wakes.take_while(|wake| wake.time < job.timeline.to).filter(|wake| {
        roles.get(&wake.wakee).is_some_and(|shown| worked(shown, wake.time, wake.time + Nanos(1)))
    });
    for wake in wakes.by_ref().take(MAX_MARKERS) {
        let Some(thread) = threads.by_task.get(&wake.wakee).copied() else { continue };
        let waker = words::waker(job.model, wake.source, wake.time);
        let by_task = matches!(wake.source, WakeSource::Task(_));
        let marker = WakeMarker::new(&waker, by_task, categories.wakes, profile);
        profile.add_marker(thread, MarkerTiming::Instant(threads.time(wake.time)), marker);
    }
    let left = wakes.count();
    if left > 0 {
        notes.push(format!("the last {} wakeups have no marker", thousands(left as u64)));
    }
}

/// Whether a task worked for the steps in a part of `[from, to)`.
fn worked(shown: &ShownTask, from: Nanos, to: Nanos) -> bool {
    let after = shown.work.partition_point(|(_, end)| *end <= from);
    shown.work.get(after).is_some_and(|(start, _)| *start < to)
}
