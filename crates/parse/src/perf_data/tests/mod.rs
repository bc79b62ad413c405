//! A built perf.data against exact values, another reader, and hostile changes.

mod build;
mod cutting;
mod exact;
mod forms;
mod hostile;
mod oracle;
mod repeating;
mod skimming;
mod stack_build;
mod stacks;

use std::path::{Path, PathBuf};

use crate::support_tests::files_below;

/// Every perf.data under the repository's fixtures, and under the folders in
/// `AGENTTRACE_CAPTURES` (separated as in `PATH`) where that is set.
fn captures() -> Vec<PathBuf> {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recorded");
    files_below(vec![recorded], "AGENTTRACE_CAPTURES", |name| name == "perf.data")
}
