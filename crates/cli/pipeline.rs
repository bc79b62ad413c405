//! The stages in their order: bytes to a model, marks to windows, paths to a report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agenttrace_attribute::analyze::{self, Input};
use agenttrace_attribute::report::Report;
use agenttrace_attribute::stacks::Named;
use agenttrace_model::parse::{
    Capture, CaptureInfo, Diagnostics, Formats, Limits, Nanos, Pid, Progress, ReadOptions,
    StepFile, StepId, Topology, Totals, Unpacked, read_steps,
};
use agenttrace_model::{Builder, MarkOptions, Marked, Model, Windows, claim_tasks, place_marks};
use anyhow::{Context as _, Result, anyhow, bail};

use crate::args::{CaptureArgs, ReadArgs};
use crate::context::ContextFolder;
use crate::enough::{Needed, WORTH, needed, on_capture};
use crate::input::{self, Files};
use crate::output;
use crate::progress::ProgressLine;
use crate::temp_file::{TempFile, in_memory};

/// A capture that has been read.
pub(crate) struct Loaded {
    pub(crate) info: CaptureInfo,
    pub(crate) totals: Totals,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) model: Model,
    /// What the user must know of the context, or of what was not read.
    pub(crate) notes: Vec<String>,
    /// The capture goes on after what was read.
    stopped: bool,
}

/// The same with its steps.
pub(crate) struct Placed {
    pub(crate) windows: Windows,
    pub(crate) file: Option<StepFile>,
    marked: MarkedHead,
}

struct MarkedHead {
    source: agenttrace_model::MarkerSource,
    mapping: String,
    error: Option<agenttrace_model::parse::Nanos>,
}

/// Sets the number of threads for everything that follows; this one is one of them, so that
/// memory which reading has left is used again.
pub(crate) fn use_threads(threads: Option<usize>) -> Result<()> {
    anyhow::ensure!(threads != Some(0), "--threads must be 1 or more");
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .use_current_thread()
        .build_global()
        .context("cannot start threads")
}

/// A capture's bytes without compression.
pub(crate) fn unpack<'f>(files: &'f Files, args: &ReadArgs) -> Result<Unpacked<'f>> {
    let limits = Limits { expanded: args.max_expanded };
    files.unpack(&limits).map_err(|e| anyhow!("{}: {e}", args.path.display()))
}

/// Opens a capture: everything but its records.
pub(crate) fn open<'a>(unpacked: &'a Unpacked<'_>, args: &ReadArgs) -> Result<Capture<'a>> {
    let formats = args.formats.as_deref().map(formats).transpose()?;
    let topology = args.topology.as_deref().map(topology).transpose()?;
    let mut options = ReadOptions { trace_clock: args.trace_clock, formats, topology };
    let open = |options: &ReadOptions| {
        Capture::open(unpacked, options).map_err(|e| anyhow!("{}: {e}", args.path.display()))
    };
    let capture = open(&options)?;
    // Whether the context is of this machine, the capture tells.
    if let Some(dir) = &args.context
        && let info = capture.info()
        && let Some(topology) = ContextFolder::open(dir, info)?.topology(info)?
    {
        options.topology = Some(topology);
        return open(&options);
    }
    Ok(capture)
}

/// Where the CPUs sit, as lscpu printed it.
fn topology(path: &Path) -> Result<Topology> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Topology::read_lscpu(&text).map_err(|e| anyhow!("{} {e}", path.display()))
}

/// Formats from elsewhere: of another capture, or tracefs's own files.
fn formats(path: &Path) -> Result<Formats> {
    if path.is_dir() && !path.join("data").exists() {
        return Ok(Formats::new(input::format_files(path)?));
    }
    let files = Files::open(path)?;
    let formats = files.unpack(&Limits::default()).and_then(|unpacked| Formats::of(&unpacked));
    formats.map_err(|e| anyhow!("{}: {e}", path.display()))
}

/// The events of a capture, of which no model is made yet.
struct Events {
    builder: Builder,
    totals: Totals,
    diagnostics: Diagnostics,
    /// Where reading was stopped.
    stopped: Option<Progress>,
}

/// Reads a capture, whole.
pub(crate) fn load(
    capture: &Capture<'_>,
    args: &ReadArgs,
    file: Option<&StepFile>,
) -> Result<Loaded> {
    finish(capture, args, events(capture, args, Needed::default())?, file)
}

/// Reads the events of a capture, all of them or those of a part.
fn events(capture: &Capture<'_>, args: &ReadArgs, needed: Needed) -> Result<Events> {
    let Needed { beginning, until } = needed;
    // Of a small capture all that comes before is read as well.
    let beginning = beginning.filter(|_| capture.skims() && capture.progress().of > 2 * WORTH);
    let mut stopped = None;
    let mut progress = ProgressLine::new();
    let mut diagnostics = Diagnostics::default();
    let scratch = TempFile::new(args.temp_dir.as_deref());
    let in_memory = in_memory(capture.info().bytes);
    let mut builder = Builder::new(capture.info()).with_scratch(Box::new(scratch), in_memory);
    let skim = beginning.map(|beginning| builder.skim(beginning));
    let totals = capture
        .read_skimming(skim.as_ref(), &mut diagnostics, &mut |batch| {
            builder.push(batch);
            progress.events(batch.len(), || capture.progress());
            if until.is_some_and(|until| batch.last().is_some_and(|event| event.time >= until)) {
                let Progress { bytes, of } = capture.progress();
                if stopped.is_some() || of.saturating_sub(bytes) > WORTH {
                    capture.stop();
                    stopped = Some(Progress { bytes, of });
                }
            }
        })
        .map_err(|e| anyhow!("{}: {e}", args.path.display()))?;
    progress.finish();
    Ok(Events { builder, totals, diagnostics, stopped })
}

/// Makes the model.
fn finish(
    capture: &Capture<'_>,
    args: &ReadArgs,
    events: Events,
    file: Option<&StepFile>,
) -> Result<Loaded> {
    let Events { builder, totals, mut diagnostics, stopped } = events;
    if let Some(error) = builder.scratch_error() {
        output::say(format_args!("{error}; the model stays in memory (--temp-dir names a folder)"));
    }
    let mut model = builder
        .finish(file.and_then(|f| f.calibration))
        .context("cannot read the temporary file of the model")?;
    let mut notes = Vec::new();
    if let Some(dir) = &args.context {
        let mut context = ContextFolder::open(dir, capture.info())?;
        context.apply(capture.info(), &mut model)?;
        notes = context.notes;
    }
    if let Some(note) = partly(stopped, totals.skimmed) {
        output::say(format_args!("{}: {note}", args.path.display()));
        notes.push(note);
    }
    diagnostics.merge(&model.diagnostics);
    let info = capture.info().clone();
    Ok(Loaded { info, totals, diagnostics, model, notes, stopped: stopped.is_some() })
}

/// What was not read, or passed over, and what follows from that.
fn partly(stopped: Option<Progress>, skimmed: u64) -> Option<String> {
    let end = stopped.map(|Progress { bytes, of }| {
        let (read, of) = (bytes / 1_000_000, of / 1_000_000);
        format!("read {read} of {of} MB, to half a second after what was asked for")
    });
    let beginning = (skimmed > 0).then(|| {
        format!(
            "passed over {skimmed} events (page faults, and calls in which nothing else happened) \
             more than half a second before what was asked for"
        )
    });
    let parts: Vec<String> = end.into_iter().chain(beginning).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "{}: counts of the capture, costs of calls and what is usual for a tool are those of \
             this part",
            parts.join("; ")
        )
    })
}

/// Reads the step marks, where there is a file of them.
pub(crate) fn markers(args: &CaptureArgs) -> Result<Option<StepFile>> {
    Ok(marker_lines(args)?.as_deref().map(read_steps))
}

/// The file of step marks, as it is.
fn marker_lines(args: &CaptureArgs) -> Result<Option<Vec<u8>>> {
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    args.markers.as_ref().map(read).transpose()
}

/// Finds the steps and who works for them.
pub(crate) fn place(loaded: &Loaded, args: &CaptureArgs, file: Option<StepFile>) -> Result<Placed> {
    if loaded.info.formats_missing {
        bail!(
            "{}: the recorder was killed, or the file's end is missing, and the formats of the \
             tracepoints with it: pass --formats with a finished perf.data of the same events and \
             boot, or with /sys/kernel/tracing/events of that boot",
            args.read.path.display()
        );
    }
    if args.comm.is_some() && file.is_some() {
        bail!("--comm takes a task's whole life as a step: leave out --markers");
    }
    let pid_map = match &args.pid_map {
        Some(path) => pid_map(path)?,
        None => BTreeMap::new(),
    };
    let options = MarkOptions {
        file: file.as_ref(),
        pid: args.pid.map(Pid),
        comm: args.comm.clone(),
        pid_map,
        clock_offset: args.clock_offset,
    };
    let mut marked: Marked =
        place_marks(&loaded.model, &loaded.info, &options).map_err(|text| anyhow!("{text}"))?;
    marked.keep_between(args.from, args.to);
    if loaded.stopped {
        marked.keep(|step| step.clipped.is_none());
    }
    // Of what was skimmed no step can be told.
    let whole_since = loaded.model.whole_since;
    if whole_since > Nanos::ZERO {
        marked.keep(|step| step.end > whole_since);
    }
    if marked.steps.is_empty() {
        bail!("no step overlaps the time given by --from and --to");
    }
    let head =
        MarkedHead { source: marked.source, mapping: marked.mapping.clone(), error: marked.error };
    Ok(Placed { windows: claim_tasks(&loaded.model, marked), file, marked: head })
}

fn pid_map(path: &Path) -> Result<BTreeMap<i32, i32>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut map = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let ids: Vec<i32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [inner, outer] = ids[..] else {
            bail!("{} line {}: expected two ids, inner and outer", path.display(), number + 1);
        };
        map.insert(inner, outer);
    }
    Ok(map)
}

/// Walks the critical paths and computes every number. Stacks add evidence.
/// `asked`: these steps alone, where there are any.
pub(crate) fn report(
    loaded: &Loaded,
    placed: &Placed,
    stacks: Option<Named<'_>>,
    asked: Option<BTreeSet<usize>>,
) -> Report {
    let Loaded { model, totals, diagnostics, .. } = loaded;
    let input = Input {
        session: placed.file.as_ref().and_then(|f| f.session.clone()),
        markers: placed.marked.source,
        clock_mapping: placed.marked.mapping.clone(),
        clock_error: placed.marked.error,
        notes: loaded.notes.clone(),
        stacks,
        outside_cut: placed.file.as_ref().is_some_and(|f| f.calibration.is_some()),
        asked,
        ..Input::new(model, &placed.windows, &loaded.info, totals, diagnostics)
    };
    analyze::report(&input)
}

/// Everything from a file to its report.
pub(crate) fn analyze(args: &CaptureArgs) -> Result<Report> {
    use_threads(args.threads)?;
    let files = Files::open(&args.read.path)?;
    let unpacked = unpack(&files, &args.read)?;
    let capture = open(&unpacked, &args.read)?;
    let (loaded, placed) = load_placed(&capture, args)?;
    Ok(report(&loaded, &placed, None, None))
}

/// Reads a capture and places its steps.
pub(crate) fn load_placed(capture: &Capture<'_>, args: &CaptureArgs) -> Result<(Loaded, Placed)> {
    let (loaded, file) = load_marked(capture, args, None)?;
    let placed = place(&loaded, args, file)?;
    Ok((loaded, placed))
}

/// Reads a capture and its step marks. With `asked`, of a large one no more than these
/// steps need, or where it is empty, those within `--from` and `--to`.
pub(crate) fn load_marked(
    capture: &Capture<'_>,
    args: &CaptureArgs,
    asked: Option<&[String]>,
) -> Result<(Loaded, Option<StepFile>)> {
    let lines = marker_lines(args)?;
    let steps = || lines.as_deref().map(read_steps);
    let bounded = args.from.is_some() || args.to.is_some();
    let part = asked.filter(|asked| !asked.is_empty() || bounded);
    let (events, mut file) = match part {
        Some(asked) => {
            let file = steps();
            let part = file.as_ref().map(|f| needed(f, capture.info(), args, asked));
            (events(capture, &args.read, part.unwrap_or_default())?, file)
        }
        // Nobody needs the steps before all is read.
        None => {
            let (events, file) =
                rayon::join(|| events(capture, &args.read, Needed::default()), steps);
            (events?, file)
        }
    };
    let loaded = finish(capture, &args.read, events, file.as_ref())?;
    if loaded.stopped
        && let Some(file) = &mut file
    {
        let read = |time: Nanos| on_capture(time, args) <= loaded.model.span.1;
        file.steps.retain(|step| step.end.is_some_and(read));
    }
    for (line, what) in loaded.diagnostics.examples() {
        output::say(format_args!("{} line {line}: {what}", args.read.path.display()));
    }
    Ok((loaded, file))
}

/// The step with this id, as a number or a name.
pub(crate) fn step_id(text: &str) -> StepId {
    text.parse().map_or_else(|_| StepId::Name(text.to_owned()), StepId::Number)
}

/// The places of the steps with these ids.
pub(crate) fn places(windows: &Windows, ids: &[String]) -> Result<BTreeSet<usize>> {
    let place = |id: &String| {
        let wanted = step_id(id);
        let found = windows.steps.iter().position(|step| step.id == wanted);
        found.ok_or_else(|| no_step(id, windows.steps.iter().map(|s| &s.id)))
    };
    ids.iter().map(place).collect()
}

fn no_step<'s>(id: &str, steps: impl ExactSizeIterator<Item = &'s StepId>) -> anyhow::Error {
    let count = steps.len();
    let known: Vec<String> = steps.take(10).map(ToString::to_string).collect();
    anyhow!("no step {id} was analyzed; there are {count}: {} ...", known.join(", "))
}

/// Finds a step of a report.
pub(crate) fn find<'r>(
    report: &'r Report,
    id: &str,
) -> Result<&'r agenttrace_attribute::report::StepReport> {
    let wanted = step_id(id);
    let found = report.steps.iter().find(|step| step.id == wanted);
    found.ok_or_else(|| no_step(id, report.steps.iter().map(|s| &s.id)))
}
