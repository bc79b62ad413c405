//! `agenttrace context`: on the traced machine, what a capture lacks, to a folder.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::ContextArgs;
use crate::{output, snapshot};

pub(crate) fn run(args: &ContextArgs) -> Result<ExitCode> {
    let wanted =
        snapshot::Wanted { out: &args.out, trees: &args.tree, most_files: args.most_files };
    let summary = snapshot::write(&wanted)?;
    let mut text = String::new();
    for line in summary.lines {
        text.push_str(&line);
        text.push('\n');
    }
    if summary.unreadable > 0 {
        let list = args.out.join("unreadable");
        text.push_str(&format!(
            "not read    {}, listed in {}; more rights would name more\n",
            summary.unreadable,
            list.display()
        ));
    }
    output::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
