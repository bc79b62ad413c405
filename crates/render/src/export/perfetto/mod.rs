//! Steps, critical paths and operations to Perfetto's tracks, over its own view of the scheduler.
//!
//! Times are the capture's own nanoseconds. Perfetto knows the scheduler's events on the
//! boot clock alone, so the trace says that the capture's clock and the boot clock read
//! the same; times of day follow where the capture tells them.

mod proto;
mod sched;
mod writer;

use std::collections::BTreeMap;
use std::io;

use agenttrace_attribute::report::{Segment, StepReport};
use agenttrace_attribute::timeline::ShownTask;
use agenttrace_model::parse::{ClockId, Nanos, Tid};
use agenttrace_model::{Op, OpKind, TaskId};

use self::proto::{
    BuiltinClock, Clock, ClockSnapshot, Data, DebugAnnotation, SystemInfo, ThreadDescriptor,
    TracePacket, TracePacketDefaults, TrackDescriptor, TrackEvent, TrackEventType, Utsname,
};
use self::sched::StateBits;
use self::writer::Writer;
use super::{Export, ExportJob, words};
use crate::escape::visible;

/// Perfetto's own binary format.
pub(super) struct Perfetto;

impl Export for Perfetto {
    fn name(&self) -> &'static str {
        "perfetto"
    }
    fn about(&self) -> &'static str {
        "a trace for ui.perfetto.dev and its trace_processor"
    }
    fn binary(&self) -> bool {
        true
    }
    fn write(&self, job: &ExportJob<'_>, out: &mut dyn io::Write) -> io::Result<Vec<String>> {
        let mut writer = Writer::new(out);
        let bits = head(job, &mut writer)?;
        sched::process_tree(job, &mut writer)?;
        // Before the tracks, so that a task is born when its track names it.
        sched::events(job, bits, &mut writer)?;
        let mut tracks = Tracks::default();
        tasks(job, &mut tracks, &mut writer)?;
        for step in job.steps {
            self::step(step, &mut tracks, &mut writer)?;
        }
        Ok(Vec::new())
    }
}

/// The clocks and the machine.
fn head(job: &ExportJob<'_>, writer: &mut Writer<'_>) -> io::Result<StateBits> {
    let info = &job.report.capture.info;
    let clock = builtin(info.clock.id);
    let from = job.timeline.from;
    let reading = |clock: BuiltinClock, time: u64| Clock {
        clock_id: u32::try_from(clock as i32).ok(),
        timestamp: Some(time),
    };
    let mut clocks = vec![reading(clock, from.0)];
    if clock != BuiltinClock::Boottime {
        clocks.push(reading(BuiltinClock::Boottime, from.0));
    }
    if let Some((event, wall)) = info.clock.wall
        && clock != BuiltinClock::Realtime
    {
        let time = i128::from(wall.0) + i128::from(from.0) - i128::from(event.0);
        clocks.extend(u64::try_from(time).ok().map(|time| reading(BuiltinClock::Realtime, time)));
    }
    let snapshot = ClockSnapshot { clocks, primary_trace_clock: Some(clock as i32) };
    writer.write(TracePacket {
        timestamp: Some(from.0),
        trace_packet_defaults: Some(TracePacketDefaults {
            timestamp_clock_id: u32::try_from(clock as i32).ok(),
        }),
        data: Some(Data::ClockSnapshot(snapshot)),
        ..TracePacket::default()
    })?;
    let bits = StateBits::of(info.os_release.as_deref());
    if bits == StateBits::New {
        let utsname = Utsname {
            sysname: Some("Linux".to_owned()),
            release: info.os_release.as_deref().map(visible),
            machine: info.arch.as_deref().map(visible),
        };
        let data = Data::SystemInfo(SystemInfo { utsname: Some(utsname) });
        writer.packet(Some(from.0), data)?;
    }
    Ok(bits)
}

/// Perfetto's clock for the capture's; the boot clock where it has none.
fn builtin(clock: Option<ClockId>) -> BuiltinClock {
    match clock {
        Some(ClockId::Monotonic) => BuiltinClock::Monotonic,
        Some(ClockId::MonotonicRaw) => BuiltinClock::MonotonicRaw,
        Some(ClockId::Realtime) => BuiltinClock::Realtime,
        Some(ClockId::Boottime | ClockId::Tai | ClockId::Local) | None => BuiltinClock::Boottime,
    }
}

/// Numbers of tracks: that of a task's own track is its id, others follow.
#[derive(Default)]
struct Tracks {
    threads: BTreeMap<TaskId, u64>,
    by_tid: BTreeMap<Tid, Vec<(Nanos, TaskId)>>,
    count: u64,
}

impl Tracks {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// The track of the task that is a step's root.
    fn root(&self, step: &StepReport) -> Option<u64> {
        let lives = self.by_tid.get(&step.tid)?;
        let born = lives.iter().rev().find(|(since, _)| *since <= step.start);
        self.threads.get(&born.or(lives.first())?.1).copied()
    }
}

/// The tracks of the tasks, and on them what they did while they worked for the steps.
fn tasks(job: &ExportJob<'_>, tracks: &mut Tracks, writer: &mut Writer<'_>) -> io::Result<()> {
    for shown in &job.timeline.tasks {
        let task = job.model.task(shown.task);
        if !task.tid.is_task() {
            continue;
        }
        let uuid = tracks.next();
        tracks.threads.insert(shown.task, uuid);
        let since = task.birth.unwrap_or(Nanos::ZERO);
        tracks.by_tid.entry(task.tid).or_default().push((since, shown.task));
        let first = since.max(job.timeline.from);
        let thread = ThreadDescriptor {
            pid: Some(task.pid.0),
            tid: Some(task.tid.0),
            thread_name: Some(words::task(task, job.timeline.to)),
        };
        let descriptor = TrackDescriptor {
            uuid: Some(uuid),
            thread: Some(thread),
            ..TrackDescriptor::default()
        };
        writer.packet(Some(first.0), Data::TrackDescriptor(descriptor))?;
        ops(job, shown, uuid, writer)?;
    }
    for lives in tracks.by_tid.values_mut() {
        lives.sort_unstable();
    }
    Ok(())
}

/// System calls, faults, waits for locks and interrupts as nested slices.
fn ops(
    job: &ExportJob<'_>,
    shown: &ShownTask,
    track: u64,
    writer: &mut Writer<'_>,
) -> io::Result<()> {
    let ops = &job.model.task(shown.task).ops;
    let mut open: Vec<Nanos> = Vec::new();
    for op in ops.iter().filter(|op| overlaps(op, &shown.work, job)) {
        // What began before begins with the trace; what ends after it stays open.
        let start = op.start.max(job.timeline.from);
        close(&mut open, start, track, writer)?;
        let end = if op.end > job.timeline.to { Nanos::MAX } else { op.end };
        // What does not end within the operation around it was cut by a lost event.
        let end = end.min(open.last().copied().unwrap_or(Nanos::MAX));
        if end <= start {
            continue;
        }
        let annotations = op_arguments(job, &op, writer);
        let event = TrackEvent {
            category_iids: vec![writer.category(words::op_group(&op.kind))],
            name_iid: Some(writer.name(&words::op(job.model, &op))),
            debug_annotations: annotations,
            ..begin(track)
        };
        writer.packet(Some(start.0), Data::TrackEvent(event))?;
        open.push(end);
    }
    close(&mut open, job.timeline.to, track, writer)
}

/// Ends the slices that are over by a time. One that never ends stays open.
fn close(
    open: &mut Vec<Nanos>,
    time: Nanos,
    track: u64,
    writer: &mut Writer<'_>,
) -> io::Result<()> {
    while let Some(end) = open.pop_if(|end| *end <= time) {
        writer.packet(Some(end.0), Data::TrackEvent(end_of(track)))?;
    }
    Ok(())
}

/// Whether an operation lies, in part, in the time that its task worked for the steps;
/// of tasks that did not, in the time of the steps.
fn overlaps(op: &Op, work: &[(Nanos, Nanos)], job: &ExportJob<'_>) -> bool {
    if work.is_empty() {
        return op.start < job.timeline.to && op.end > job.timeline.from;
    }
    let after = work.partition_point(|(_, to)| *to <= op.start);
    work.get(after).is_some_and(|(from, _)| *from < op.end)
}

fn op_arguments(job: &ExportJob<'_>, op: &Op, writer: &mut Writer<'_>) -> Vec<DebugAnnotation> {
    let mut arguments = Vec::new();
    match op.kind {
        OpKind::Syscall(call) => {
            arguments.extend(call.ret.map(|ret| writer.signed("return", ret)));
        }
        OpKind::Fault(fault) => {
            arguments.push(writer.text("address", &format!("{:#x}", fault.address.0)));
            let file = fault.file.and_then(|file| job.model.files.get(file as usize));
            if let Some(path) = file.and_then(|file| file.path.as_ref()) {
                arguments.push(writer.text("file", &visible(path)));
            }
        }
        OpKind::Reclaim(reclaim) => {
            arguments.extend(
                reclaim
                    .pages
                    .map(|pages| writer.signed("pages", i64::try_from(pages).unwrap_or(i64::MAX))),
            );
        }
        OpKind::Lock { .. }
        | OpKind::Irq(_)
        | OpKind::Softirq(_)
        | OpKind::LocalTimer
        | OpKind::Work(_)
        | OpKind::Commit { .. }
        | OpKind::SyncFile { .. }
        | OpKind::Exit
        | OpKind::DirtyPause(_)
        | OpKind::TlbWait(_) => {}
    }
    if op.estimated {
        arguments.push(writer.bool("end estimated", true));
    }
    arguments
}

/// A step and its critical path, each on a track of its own below its root task's.
fn step(step: &StepReport, tracks: &mut Tracks, writer: &mut Writer<'_>) -> io::Result<()> {
    let Some(root) = tracks.root(step) else { return Ok(()) };
    // Tracks of one name below one task are drawn as one, in as many rows as overlap.
    let mut below = |name: &str, rank: i32, writer: &mut Writer<'_>| -> io::Result<u64> {
        let uuid = tracks.next();
        let descriptor = TrackDescriptor {
            uuid: Some(uuid),
            name: Some(name.to_owned()),
            parent_uuid: Some(root),
            sibling_order_rank: Some(rank),
            ..TrackDescriptor::default()
        };
        writer.packet(Some(step.start.0), Data::TrackDescriptor(descriptor))?;
        Ok(uuid)
    };
    let track = below("steps", 0, writer)?;
    let path = below("critical path", 1, writer)?;
    let event = TrackEvent {
        category_iids: vec![writer.category("step")],
        name_iid: Some(writer.name(&words::step(step))),
        debug_annotations: step_arguments(step, writer),
        ..begin(track)
    };
    writer.packet(Some(step.start.0), Data::TrackEvent(event))?;
    writer.packet(Some(step.end.0), Data::TrackEvent(end_of(track)))?;
    for segment in &step.segments {
        let event = TrackEvent {
            category_iids: vec![writer.category("critical path")],
            name_iid: Some(writer.name(segment.cause.name())),
            debug_annotations: segment_arguments(step, &segment, writer),
            ..begin(path)
        };
        writer.packet(Some(segment.start.0), Data::TrackEvent(event))?;
        writer.packet(Some(segment.end.0), Data::TrackEvent(end_of(path)))?;
    }
    Ok(())
}

fn step_arguments(step: &StepReport, writer: &mut Writer<'_>) -> Vec<DebugAnnotation> {
    let mut arguments = vec![
        writer.text("step_id", &visible(&step.id.to_string())),
        writer.text("tool", &visible(&step.tool)),
        writer.number("wall_ns", step.wall.0),
        writer.number("self_ns", step.self_ns.0),
    ];
    let rows: Vec<DebugAnnotation> = step
        .exclusive
        .iter()
        .map(|row| {
            let mut cell = vec![
                writer.text("cause", row.cause.name()),
                writer.text("resource", row.resource.name()),
            ];
            cell.extend(row.under.map(|under| writer.text("under", under.name())));
            cell.push(writer.number("ns", row.ns.0));
            writer.dict("row", cell)
        })
        .collect();
    arguments.push(writer.array("exclusive", rows));
    let verdicts: Vec<DebugAnnotation> = step
        .verdicts
        .iter()
        .map(|verdict| {
            let mut parts = vec![
                writer.text("id", verdict.id),
                writer.text("title", &visible(&verdict.title)),
                writer.text("cause", verdict.cause.name()),
                writer.number("ns", verdict.ns.0),
                writer.text("confidence", verdict.confidence.name()),
            ];
            for (key, list) in [
                ("reasons", &verdict.reasons),
                ("evidence", &verdict.evidence.iter().map(|e| e.text.clone().into()).collect()),
                ("fixes", &verdict.recommendations.iter().map(|r| r.text.clone()).collect()),
            ] {
                if !list.is_empty() {
                    let texts = list.iter().map(|t| writer.text("text", &visible(t))).collect();
                    parts.push(writer.array(key, texts));
                }
            }
            writer.dict("verdict", parts)
        })
        .collect();
    arguments.push(writer.array("verdicts", verdicts));
    if let Some(parent) = &step.parent {
        arguments.push(writer.text("parent", &visible(&parent.to_string())));
    }
    if let Some(clipped) = &step.clipped {
        arguments.push(writer.text("clipped", &visible(clipped)));
    }
    if !step.extra.is_empty() {
        let keys = step.extra.iter();
        let texts = keys
            .map(|(key, json)| writer.text("text", &visible(&format!("{key}: {json}"))))
            .collect();
        arguments.push(writer.array("marker keys", texts));
    }
    arguments
}

fn segment_arguments(
    step: &StepReport,
    segment: &Segment<'_>,
    writer: &mut Writer<'_>,
) -> Vec<DebugAnnotation> {
    let mut arguments = vec![
        writer.text("step_id", &visible(&step.id.to_string())),
        writer.text("resource", segment.resource.name()),
    ];
    arguments.extend(segment.under.map(|under| writer.text("under", under.name())));
    arguments.push(writer.number("ns", (segment.end - segment.start).0));
    arguments.push(writer.text("stack", &words::stack(segment)));
    let task = format!("{} ({})", visible(&segment.comm), segment.tid);
    arguments.push(writer.text("task", &task));
    if let Some(object) = &segment.object {
        arguments.push(writer.text("object", &visible(object)));
    }
    if let Some(reason) = &segment.reason {
        arguments.push(writer.text("reason", &visible(reason)));
    }
    if segment.inferred {
        arguments.push(writer.bool("inferred", true));
    }
    arguments
}

fn begin(track: u64) -> TrackEvent {
    TrackEvent {
        r#type: Some(TrackEventType::SliceBegin as i32),
        track_uuid: Some(track),
        ..TrackEvent::default()
    }
}

fn end_of(track: u64) -> TrackEvent {
    TrackEvent {
        r#type: Some(TrackEventType::SliceEnd as i32),
        track_uuid: Some(track),
        ..TrackEvent::default()
    }
}
