//! Critical paths and CPU samples to speedscope's own JSON format.
//!
//! The format is described by <https://www.speedscope.app/file-format-schema.json>. A
//! step is one profile: its path in time order, as wide as the step lasted.

use std::collections::HashMap;
use std::io;

use agenttrace_attribute::report::{Segment, StepReport};
use agenttrace_attribute::stacks::{FrameKind, FrameText, Named, Piece, frame_text};
use agenttrace_attribute::timeline::{SampleTime, TaskSamples};
use agenttrace_model::stacks::{ChainId, FrameId};

use super::{Export, ExportJob, words};
use crate::duration::human;
use crate::escape::visible;
use crate::json_writer::JsonWriter;

/// speedscope's JSON.
pub(super) struct Speedscope;

impl Export for Speedscope {
    fn name(&self) -> &'static str {
        "speedscope"
    }
    fn about(&self) -> &'static str {
        "JSON for www.speedscope.app: critical paths and CPU samples"
    }
    fn binary(&self) -> bool {
        false
    }
    fn write(&self, job: &ExportJob<'_>, out: &mut dyn io::Write) -> io::Result<Vec<String>> {
        let mut text = Vec::new();
        let mut json = JsonWriter::new(&mut text);
        json.object(true);
        json.key("$schema").text("https://www.speedscope.app/file-format-schema.json");
        json.key("exporter").text("agenttrace");
        json.key("name").text(&visible(job.report.session.name.as_deref().unwrap_or("agenttrace")));
        json.key("activeProfileIndex").number(0);
        let mut frames = Frames::default();
        json.key("profiles").array(true);
        for step in job.steps {
            json.item();
            path(job, step, &mut frames, &mut json);
            json.hand_on(out)?;
        }
        if let Some(stacks) = &job.stacks {
            for task in &stacks.samples.tasks {
                cpu(job, stacks.named, task, stacks.samples.timed, &mut frames, &mut json);
                json.hand_on(out)?;
            }
        }
        json.end();
        json.key("shared").object(false).key("frames").array(true);
        for frame in &frames.list {
            json.item().object(false).key("name").text(&frame.name);
            if let Some(file) = &frame.file {
                json.key("file").text(file);
            }
            json.end();
        }
        json.end().end().end();
        json.finish(out)?;
        Ok(Vec::new())
    }
}

/// A frame as the file lists it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Listed {
    name: String,
    /// The program or library; speedscope colours by it.
    file: Option<String>,
}

/// The frames of all profiles, each once, by their place in the list.
#[derive(Default)]
struct Frames {
    list: Vec<Listed>,
    places: HashMap<Listed, u64>,
    /// The places of a chain's frames, the outermost first.
    chains: HashMap<ChainId, Vec<u64>>,
}

impl Frames {
    fn place(&mut self, name: &str, file: Option<String>) -> u64 {
        let frame = Listed { name: visible(name), file };
        if let Some(place) = self.places.get(&frame) {
            return *place;
        }
        let place = self.list.len() as u64;
        self.list.push(frame.clone());
        self.places.insert(frame, place);
        place
    }

    fn chain(&mut self, named: Named<'_>, chain: Option<ChainId>) -> Vec<u64> {
        let Some(id) = chain else { return Vec::new() };
        if let Some(places) = self.chains.get(&id) {
            return places.clone();
        }
        let mut frames: Vec<FrameId> = named.stacks.frames_of(chain).collect();
        frames.reverse();
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            let file = module(named, frame);
            for text in frame_text(named, frame) {
                places.push(self.place(&text.text, file_of(&text, file.as_deref())));
            }
        }
        self.chains.insert(id, places.clone());
        places
    }
}

fn module(named: Named<'_>, frame: FrameId) -> Option<String> {
    let module = named.stacks.frame(frame)?.module?;
    named.stacks.module(module).map(|module| visible(&module.path))
}

fn file_of(text: &FrameText, module: Option<&str>) -> Option<String> {
    match text.kind {
        FrameKind::Kernel => Some("[kernel]".to_owned()),
        FrameKind::User | FrameKind::Inlined | FrameKind::Jit => module.map(str::to_owned),
        FrameKind::Label | FrameKind::Entry | FrameKind::Leaf => None,
    }
}

/// A step's critical path: a sample a stretch, as long as it took.
fn path(job: &ExportJob<'_>, step: &StepReport, frames: &mut Frames, json: &mut JsonWriter<'_>) {
    let name = format!("{} ({})", words::step(step), human(step.wall));
    head(&name, "nanoseconds", step.wall.0, json);
    let pieces = pieces(job, step);
    let segments: Vec<Segment<'_>> = step.segments.iter().collect();
    json.key("samples").array(false);
    for piece in &pieces {
        let Some(segment) = segments.get(piece.segment) else { continue };
        json.item().array(false);
        for frame in segment.stack.iter() {
            json.item().number(frames.place(frame, None));
        }
        json.item().number(frames.place(&words::leaf(segment), None));
        if let Some(stacks) = &job.stacks {
            for place in frames.chain(stacks.named, piece.chain) {
                json.item().number(place);
            }
        }
        json.end();
    }
    json.end();
    json.key("weights").array(false);
    for piece in &pieces {
        json.item().number((piece.end - piece.start).0);
    }
    json.end().end();
}

/// The stretches of a path; without stacks they are its segments.
fn pieces(job: &ExportJob<'_>, step: &StepReport) -> Vec<Piece> {
    if let Some(stacks) = &job.stacks {
        return stacks.path.pieces(step);
    }
    let segments = step.segments.iter().enumerate();
    segments
        .map(|(segment, s)| Piece { start: s.start, end: s.end, segment, chain: None })
        .collect()
}

/// The running samples of one task.
fn cpu(
    job: &ExportJob<'_>,
    named: Named<'_>,
    task: &TaskSamples,
    timed: bool,
    frames: &mut Frames,
    json: &mut JsonWriter<'_>,
) {
    let running: Vec<(Option<ChainId>, u64)> = task
        .samples
        .iter()
        .filter_map(|sample| match sample.what {
            SampleTime::Running { period, .. } => Some((sample.chain, period)),
            SampleTime::Waiting { .. } => None,
        })
        .collect();
    if running.is_empty() {
        return;
    }
    let shown = job.model.task(task.task);
    let name = format!("CPU samples of {} ({})", words::task(shown, job.timeline.to), shown.tid);
    let total = running.iter().fold(0_u64, |sum, (_, period)| sum.saturating_add(*period));
    json.item();
    head(&name, if timed { "nanoseconds" } else { "none" }, total, json);
    json.key("samples").array(false);
    for (chain, _) in &running {
        json.item().array(false);
        let places = frames.chain(named, *chain);
        if places.is_empty() {
            json.item().number(frames.place("[no stack]", None));
        }
        for place in places {
            json.item().number(place);
        }
        json.end();
    }
    json.end();
    json.key("weights").array(false);
    for (_, period) in &running {
        json.item().number(*period);
    }
    json.end().end();
}

fn head(name: &str, unit: &str, end: u64, json: &mut JsonWriter<'_>) {
    json.object(false);
    json.key("type").text("sampled");
    json.key("name").text(name);
    json.key("unit").text(unit);
    json.key("startValue").number(0);
    json.key("endValue").number(end)
}
