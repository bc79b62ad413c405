//! Stacks without names.
use agenttrace_model::parse::{Capture, Diagnostics};
use agenttrace_model::stacks::{StackBuilder, Stacks, Symbols};
use anyhow::Result;

use crate::args::FlamegraphArgs;

pub(crate) fn load(capture: &Capture<'_>, _: &FlamegraphArgs) -> Result<Option<(Stacks, Symbols)>> {
    if !capture.has_stacks() {
        return Ok(None);
    }
    let mut builder = StackBuilder::new(capture.info(), capture.listed_modules());
    capture
        .read_stacks(&mut Diagnostics::default(), &mut |batch| builder.push(batch, &|_| true))?;
    Ok(Some((builder.finish(&|_| None), Symbols::default())))
}
