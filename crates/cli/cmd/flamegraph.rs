//! `agenttrace flamegraph`: one kind of weighted stacks, drawn or folded, alone or compared.

use std::path::PathBuf;
use std::process::ExitCode;

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::stacks::{
    Ask, Scene, StackFilter, StackGraph, StackKind, diff, graph, threads,
};
use agenttrace_model::parse::stack::StackEvent;
use agenttrace_model::parse::{Capture, CaptureInfo};
use agenttrace_render::flamegraph as flames;
use anyhow::{Context as _, Result, bail};

use crate::args::{CaptureArgs, FlamegraphArgs, ReadArgs};
use crate::input::Files;
use crate::pipeline::{self, Loaded};
use crate::symbols::StackData;
use crate::{output, symbols};

pub(crate) fn run(args: &FlamegraphArgs) -> Result<ExitCode> {
    pipeline::use_threads(args.capture.threads)?;
    let job = Job::new(args)?;
    let (text, notes) = match job.other(args)? {
        None => {
            let [graph] = &job.graphs(&args.capture, [job.filter.clone()])?;
            let text = if args.folded { flames::folded(graph) } else { flames::svg(graph)? };
            (text, graph.notes.clone())
        }
        Some(other) => {
            let (here, other) = match other {
                Other::Filter(filter) => {
                    let [here, other] = job.graphs(&args.capture, [job.filter.clone(), filter])?;
                    (here, other)
                }
                Other::Capture(path) => {
                    let mut capture = args.capture.clone();
                    capture.read.path = path;
                    capture.markers = args.diff_markers.clone();
                    let [here] = job.graphs(&args.capture, [job.filter.clone()])?;
                    let [other] = job.graphs(&capture, [job.filter.clone()])?;
                    (here, other)
                }
            };
            let diff = diff(&here, &other);
            let text =
                if args.folded { flames::folded_diff(&diff) } else { flames::svg_diff(&diff)? };
            (text, diff.notes)
        }
    };
    for note in notes {
        output::say(format_args!("note: {note}"));
    }
    output::write(&args.out, text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What a graph is compared with.
enum Other {
    /// Another part of the same capture.
    Filter(StackFilter),
    /// The same part of another capture.
    Capture(PathBuf),
}

/// What is asked of each capture.
struct Job<'a> {
    kind: StackKind,
    filter: StackFilter,
    args: &'a FlamegraphArgs,
}

impl<'a> Job<'a> {
    fn new(args: &'a FlamegraphArgs) -> Result<Self> {
        let kind = StackKind::ALL.into_iter().find(|kind| kind.name() == args.kind);
        let kind = kind.context("unknown --kind")?;
        let cause = args.cause.as_deref().map(|name| {
            Cause::ALL.into_iter().find(|cause| cause.name() == name).context("unknown --cause")
        });
        if args.whole_capture && kind == StackKind::Wall {
            bail!("--whole-capture has no critical path: choose another --kind");
        }
        let filter = StackFilter {
            step: args.step.as_deref().map(pipeline::step_id),
            tool: args.tool.clone(),
            cause: cause.transpose()?,
            comm: args.capture.comm.clone(),
        };
        Ok(Self { kind, filter, args })
    }

    /// What `--diff` names: a step where one is shown, a tool where one is, else a capture.
    fn other(&self, args: &FlamegraphArgs) -> Result<Option<Other>> {
        let Some(text) = args.diff.as_deref() else { return Ok(None) };
        let step = |id: &str| {
            let step = Some(pipeline::step_id(id));
            Other::Filter(StackFilter { step, tool: None, ..self.filter.clone() })
        };
        let tool = |name: &str| {
            let tool = Some(name.to_owned());
            Other::Filter(StackFilter { step: None, tool, ..self.filter.clone() })
        };
        let other = match text.split_once(':') {
            Some(("step", id)) => step(id),
            Some(("tool", name)) => tool(name),
            Some(("capture", path)) => Other::Capture(path.into()),
            _ if args.step.is_some() => step(text),
            _ if args.tool.is_some() => tool(text),
            _ => Other::Capture(text.into()),
        };
        if matches!(other, Other::Filter(_)) && args.diff_markers.is_some() {
            bail!("--diff-markers belongs to another capture: --diff capture:FILE");
        }
        Ok(Some(other))
    }

    /// The graphs of a capture for each filter.
    fn graphs<const N: usize>(
        &self,
        args: &CaptureArgs,
        filters: [StackFilter; N],
    ) -> Result<[StackGraph; N]> {
        let files = Files::open(&args.read.path)?;
        let unpacked = pipeline::unpack(&files, &args.read)?;
        let capture = &pipeline::open(&unpacked, &args.read)?;
        // Without marks a name selects tasks; of a path it makes a step.
        let by_name = args.comm.is_some() && args.markers.is_none() && self.kind != StackKind::Wall;
        let unmarked = args.markers.is_none() && args.pid.is_none();
        let samples = matches!(self.kind, StackKind::Cpu | StackKind::Faults);
        if samples && unmarked {
            // Marks are events that the analysis knows.
            let whole = self.args.whole_capture
                || by_name
                || capture.info().event_types.iter().all(|t| !t.known);
            if whole {
                return self.draw(capture, &args.read, scene(capture.info()), filters);
            }
        }
        let marks = pipeline::markers(args)?;
        let loaded = pipeline::load(capture, &args.read, marks.as_ref())?;
        for note in &loaded.notes {
            output::say(format_args!("note: {}", note.escape_debug()));
        }
        let whole = self.kind != StackKind::Wall
            && unmarked
            && (self.args.whole_capture || by_name || !marked(&loaded));
        let scene = Scene { model: Some(&loaded.model), ..scene(&loaded.info) };
        if whole {
            return self.draw(capture, &args.read, scene, filters);
        }
        // With markers a name narrows; it makes no step.
        let narrowed = CaptureArgs { comm: args.comm.clone().filter(|_| unmarked), ..args.clone() };
        let mut filters = filters;
        if unmarked {
            for filter in &mut filters {
                filter.comm = None;
            }
        }
        let placed = pipeline::place(&loaded, &narrowed, marks)?;
        let needed = self.kind == StackKind::Wall || filters.iter().any(|f| f.cause.is_some());
        let report = needed.then(|| pipeline::report(&loaded, &placed, None, None));
        let session = placed.file.as_ref().and_then(|f| f.session.as_deref());
        let scene =
            Scene { windows: Some(&placed.windows), report: report.as_ref(), session, ..scene };
        self.draw(capture, &args.read, scene, filters)
    }

    fn draw<const N: usize>(
        &self,
        capture: &Capture<'_>,
        read: &ReadArgs,
        scene: Scene<'_>,
        filters: [StackFilter; N],
    ) -> Result<[StackGraph; N]> {
        // What the graph cannot show need not be unwound, and no name of it be missed.
        let threads = threads(scene);
        let wanted =
            |event: &StackEvent<'_>| threads.as_ref().is_none_or(|t| t.contains(&event.tid));
        let data = symbols::load(capture, read, &self.args.symbols, &wanted)?;
        for line in data.iter().flat_map(|data| symbols::summary(data, &read.path)) {
            output::say(format_args!("{line}"));
        }
        let named = data.as_ref().map(StackData::named);
        let scene = Scene { named, ..scene };
        let mut graphs = Vec::with_capacity(N);
        for filter in filters {
            let ask = Ask { kind: self.kind, filter, event: self.args.event.clone() };
            graphs.push(graph(scene, &ask)?);
        }
        graphs.try_into().map_err(|_| anyhow::anyhow!("as many graphs as filters"))
    }
}

/// A capture as a whole, of which nothing was read yet.
fn scene(info: &CaptureInfo) -> Scene<'_> {
    Scene { model: None, info, session: None, windows: None, report: None, named: None }
}

/// Whether the capture itself tells where steps begin.
fn marked(loaded: &Loaded) -> bool {
    !loaded.model.marks.is_empty() || !loaded.model.step_fields.is_empty()
}
