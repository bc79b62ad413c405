//! `agenttrace export`: steps, tasks and stacks to a file of another viewer.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use agenttrace_attribute::report::{Report, StepReport};
use agenttrace_attribute::timeline::{Timeline, sched};
use agenttrace_model::parse::StepId;
use agenttrace_render::{EXPORTS, ExportJob};
use anyhow::{Context as _, Result, bail};

use crate::args::ExportArgs;
use crate::input::Files;
use crate::{output, pipeline};

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    let export = EXPORTS.iter().find(|export| export.name() == args.to).context("unknown --to")?;
    if export.binary() && args.out == Path::new("-") && std::io::stdout().is_terminal() {
        bail!("--to {} is not text: give --out FILE, or send it to a pipe", args.to);
    }
    pipeline::use_threads(args.capture.threads)?;
    let files = Files::open(&args.capture.read.path)?;
    let unpacked = pipeline::unpack(&files, &args.capture.read)?;
    let (loaded, placed) = pipeline::load_placed(&unpacked, &args.capture)?;
    let report = pipeline::report(&loaded, &placed, None);
    let steps = chosen(&report, &args.step)?;
    let timeline = Timeline::new(&loaded.model, &placed.windows, &steps);
    let sched = sched(&loaded.model, timeline.from, timeline.to);
    let job = ExportJob {
        report: &report,
        steps: &steps,
        model: &loaded.model,
        timeline: &timeline,
        sched: &sched,
        stacks: None,
    };
    let mut out = output::writer(&args.out)?;
    let notes = export.write(&job, &mut out).and_then(|notes| out.flush().map(|()| notes));
    let notes = notes.with_context(|| format!("cannot write {}", args.out.display()))?;
    for note in notes {
        eprintln!("{note}");
    }
    Ok(ExitCode::SUCCESS)
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
