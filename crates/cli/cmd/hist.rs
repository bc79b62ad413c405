//! `agenttrace hist`: one histogram, or the text of all.

use std::process::ExitCode;

use agenttrace_attribute::report::Distribution;
use agenttrace_render::histogram;
use anyhow::{Context as _, Result};

use crate::args::HistArgs;
use crate::{output, pipeline};

pub(crate) fn run(args: &HistArgs) -> Result<ExitCode> {
    let report = pipeline::analyze(&args.capture)?;
    let step = args.step.as_deref().map(|id| pipeline::find(&report, id)).transpose()?;
    let all = step.map_or(&report.session.histograms, |s| &s.histograms);
    let wanted = args.of.as_deref().map(|name| {
        Distribution::ALL.into_iter().find(|m| m.name() == name).context("unknown mechanism")
    });
    let wanted = wanted.transpose()?;
    let chosen: Vec<_> = all.iter().filter(|h| wanted.is_none_or(|m| h.mechanism == m)).collect();
    if args.text {
        let style = output::style(None, false);
        let text: Vec<String> = chosen.iter().map(|h| histogram::text(h, &style)).collect();
        output::print(text.join("\n").as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let [one] = chosen[..] else {
        anyhow::bail!(
            "say which one to draw: --of wakeup-latency, page-fault, block-io or fsync (or --text for all)"
        );
    };
    output::write(&args.svg, histogram::svg(one)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
