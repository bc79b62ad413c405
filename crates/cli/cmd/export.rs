//! `agenttrace export`: steps, tasks and stacks to a file of another viewer.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use agenttrace_attribute::report::{Report, StepReport};
use agenttrace_attribute::stacks::PathStacks;
use agenttrace_attribute::timeline::{Timeline, samples, sched};
use agenttrace_model::Model;
use agenttrace_model::parse::stack::StackEvent;
use agenttrace_model::parse::{Capture, StepId, Tid};
use agenttrace_render::{EXPORTS, ExportJob, ExportStacks};
use anyhow::{Context as _, Result, bail};

use crate::args::ExportArgs;
use crate::input::Files;
use crate::symbols::StackData;
use crate::{output, pipeline, symbols};

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    let export =
        EXPORTS.iter().find(|export| export.name() == args.viewer).context("unknown --to")?;
    if export.binary() && args.out == Path::new("-") && std::io::stdout().is_terminal() {
        bail!("--to {} is not text: give --out FILE, or send it to a pipe", args.viewer);
    }
    pipeline::use_threads(args.capture.threads)?;
    let files = Files::open(&args.capture.read.path)?;
    let unpacked = pipeline::unpack(&files, &args.capture.read)?;
    let capture = pipeline::open(&unpacked, &args.capture.read)?;
    let (loaded, placed) = pipeline::load_placed(&capture, &args.capture)?;
    let report = pipeline::report(&loaded, &placed, None, None);
    let steps = chosen(&report, &args.step)?;
    let timeline = Timeline::new(&loaded.model, &placed.windows, &steps);
    let sched = sched(&loaded.model, timeline.from, timeline.to);
    let data = stacks(args, &capture, &loaded.model, &timeline)?;
    let named = data.as_ref().map(StackData::named);
    let info = &loaded.info;
    let samples = named.map(|named| samples(&loaded.model, info, &timeline, named.stacks));
    let path = named.map(|named| {
        let event = samples.as_ref().and_then(|samples| samples.event);
        PathStacks::new(named, &loaded.model, event)
    });
    let stacks = named.zip(samples.as_ref()).zip(path.as_ref());
    let job = ExportJob {
        report: &report,
        steps: &steps,
        model: &loaded.model,
        timeline: &timeline,
        sched: &sched,
        stacks: stacks.map(|((named, samples), path)| ExportStacks { named, samples, path }),
    };
    let mut out = output::writer(&args.out)?;
    let notes = export.write(&job, &mut out).and_then(|notes| out.flush().map(|()| notes));
    let notes = notes.with_context(|| format!("cannot write {}", args.out.display()))?;
    for note in notes {
        output::say(format_args!("{note}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The stacks of the tasks that are shown, in the time of their steps.
fn stacks(
    args: &ExportArgs,
    capture: &Capture<'_>,
    model: &Model,
    timeline: &Timeline,
) -> Result<Option<StackData>> {
    let shown: HashSet<Tid> =
        timeline.tasks.iter().map(|shown| model.task(shown.task).tid).collect();
    let wanted = |event: &StackEvent<'_>| {
        timeline.from <= event.time && event.time < timeline.to && shown.contains(&event.tid)
    };
    let read = &args.capture.read;
    let data = symbols::load(capture, read, &args.symbols, &wanted)?;
    for line in data.iter().flat_map(|data| symbols::summary(data, &read.path)) {
        output::say(format_args!("{line}"));
    }
    Ok(data)
}

/// The steps of these ids with all that are nested in them; every step where there are none.
fn chosen<'r>(report: &'r Report, ids: &[String]) -> Result<Vec<&'r StepReport>> {
    if ids.is_empty() {
        return Ok(report.steps.iter().collect());
    }
    let mut wanted: HashSet<&StepId> = HashSet::new();
    for id in ids {
        wanted.insert(&pipeline::find(report, id)?.id);
    }
    // A step may come before the one that it is nested in, so until none is added.
    loop {
        let nested = report.steps.iter().filter(|step| {
            !wanted.contains(&step.id) && step.parent.as_ref().is_some_and(|p| wanted.contains(p))
        });
        let nested: Vec<&StepId> = nested.map(|step| &step.id).collect();
        if nested.is_empty() {
            break;
        }
        wanted.extend(nested);
    }
    Ok(report.steps.iter().filter(|step| wanted.contains(&step.id)).collect())
}
