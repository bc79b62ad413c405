//! `agenttrace analyze`: the report to standard output, and with `--out` to files.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use agenttrace_attribute::report::{Distribution, Report, StepReport};
use agenttrace_attribute::stacks::{Ask, Scene, StackFilter, StackKind, graph};
use agenttrace_model::Windows;
use agenttrace_model::parse::Nanos;
use agenttrace_model::parse::stack::StackEvent;
use agenttrace_render::tables::{self, TableFormat};
use agenttrace_render::{FORMATS, Job, Style, flamegraph, histogram};
use anyhow::{Context as _, Result};

use crate::args::AnalyzeArgs;
use crate::input::Files;
use crate::symbols::StackData;
use crate::{output, pipeline, symbols};

pub(crate) fn run(args: &AnalyzeArgs) -> Result<ExitCode> {
    pipeline::use_threads(args.capture.threads)?;
    let files = Files::open(&args.capture.read.path)?;
    let unpacked = pipeline::unpack(&files, &args.capture.read)?;
    // Files hold all steps; on standard output those asked for will do.
    let alone = args.out.is_none().then_some(args.step.as_slice());
    let capture = pipeline::open(&unpacked, &args.capture.read)?;
    let (loaded, marks) = pipeline::load_marked(&capture, &args.capture, alone)?;
    let place = |marks| pipeline::place(&loaded, &args.capture, marks);
    // Stacks are read once more. When nothing looks at the file any more, its map is taken
    // apart beside what follows, which takes a while (of 325 MB 10 ms).
    let (placed, data) = if capture.has_stacks() {
        let placed = place(marks)?;
        let within = within(&placed.windows);
        let wanted = |event: &StackEvent<'_>| within(event.time);
        let data = symbols::load(&capture, &args.capture.read, &args.symbols, &wanted)?;
        drop(capture);
        drop(unpacked);
        rayon::spawn(|| drop(files));
        (placed, data)
    } else {
        drop(capture);
        drop(unpacked);
        rayon::spawn(|| drop(files));
        (place(marks)?, None)
    };
    for line in data.iter().flat_map(|d| symbols::brief(d, &args.capture.read.path)) {
        output::say(format_args!("{line}"));
    }
    let named = data.as_ref().map(StackData::named);
    let asked = pipeline::places(&placed.windows, alone.unwrap_or_default())?;
    let report = pipeline::report(&loaded, &placed, named, (!asked.is_empty()).then_some(asked));
    let steps =
        args.step.iter().map(|id| pipeline::find(&report, id)).collect::<Result<Vec<_>>>()?;
    if let Some(dir) = &args.out {
        let scene = Scene {
            model: Some(&loaded.model),
            info: &loaded.info,
            session: report.session.name.as_deref(),
            windows: Some(&placed.windows),
            report: Some(&report),
            named,
        };
        write_all(&report, scene, &steps, dir, args.csv)?;
    }
    let hint = args.out.as_ref().map(|dir| dir.display().to_string());
    let style = output::style(args.width, args.ascii);
    let selections: Vec<Option<&StepReport>> =
        if steps.is_empty() { vec![None] } else { steps.into_iter().map(Some).collect() };
    let format =
        FORMATS.iter().find(|format| format.name() == args.format).context("unknown --format")?;
    let mut out = output::writer(Path::new("-"))?;
    for step in selections {
        format.write(&Job { report: &report, step, style, out_hint: hint.as_deref() }, &mut out)?;
    }
    out.flush()?;
    // Nothing follows but the end of the process, which frees memory at once.
    std::mem::forget((report, loaded, placed));
    Ok(ExitCode::SUCCESS)
}

/// Whether a moment lies in any step. Stacks of other moments are not unwound.
fn within(windows: &Windows) -> impl Fn(Nanos) -> bool + use<> {
    let mut merged: Vec<(Nanos, Nanos)> = Vec::new();
    // By their start.
    for step in &windows.steps {
        match merged.last_mut() {
            Some(last) if step.start <= last.1 => last.1 = last.1.max(step.end),
            _ => merged.push((step.start, step.end)),
        }
    }
    move |time| {
        let after = merged.partition_point(|(start, _)| *start <= time);
        after.checked_sub(1).and_then(|i| merged.get(i)).is_some_and(|(_, end)| time <= *end)
    }
}

fn write_all(
    report: &Report,
    scene: Scene<'_>,
    steps: &[&StepReport],
    dir: &Path,
    csv: bool,
) -> Result<()> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let style = Style::default();
    for format in FORMATS {
        let mut bytes = Vec::new();
        format.write(&Job { report, step: None, style, out_hint: None }, &mut bytes)?;
        output::write(&dir.join(format!("report.{}", format.extension())), &bytes)?;
    }
    flamegraphs(scene, dir, "flamegraph", StackFilter::default())?;
    for step in steps {
        let name = file_part(&step.id.to_string());
        let filter = StackFilter { step: Some(step.id.clone()), ..StackFilter::default() };
        flamegraphs(scene, dir, &format!("flamegraph-step-{name}"), filter)?;
        let mut bytes = Vec::new();
        if let Some(text) = FORMATS.first() {
            text.write(&Job { report, step: Some(step), style, out_hint: None }, &mut bytes)?;
        }
        output::write(&dir.join(format!("step-{name}.txt")), &bytes)?;
    }
    for mechanism in Distribution::ALL {
        if let Some(values) = report.session.histograms.iter().find(|h| h.mechanism == mechanism) {
            let picture = histogram::svg(values)?;
            output::write(&dir.join(format!("hist-{}.svg", mechanism.name())), picture.as_bytes())?;
        }
    }
    for (format, extension) in [(TableFormat::Parquet, "parquet"), (TableFormat::Csv, "csv")] {
        if format == TableFormat::Csv && !csv {
            continue;
        }
        let mut bytes = Vec::new();
        tables::steps(report, format, &mut bytes)?;
        output::write(&dir.join(format!("steps.{extension}")), &bytes)?;
        let mut bytes = Vec::new();
        tables::segments(report, format, &mut bytes)?;
        output::write(&dir.join(format!("segments.{extension}")), &bytes)?;
    }
    Ok(())
}

/// Every kind of flamegraph that the capture can show; that of wall time always.
fn flamegraphs(scene: Scene<'_>, dir: &Path, name: &str, filter: StackFilter) -> Result<()> {
    for kind in StackKind::ALL {
        let ask = Ask { kind, filter: filter.clone(), event: None };
        let (name, drawn) = match (kind, graph(scene, &ask)) {
            (StackKind::Wall, drawn) => (format!("{name}.svg"), drawn?),
            (_, Ok(drawn)) => (format!("{name}-{}.svg", kind.name()), drawn),
            // Not every capture can show every kind.
            (_, Err(_)) => continue,
        };
        output::write(&dir.join(name), flamegraph::svg(&drawn)?.as_bytes())?;
    }
    Ok(())
}

/// A step's id as a part of a file name: an id can be any string.
fn file_part(id: &str) -> String {
    id.chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .collect()
}
