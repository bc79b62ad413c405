//! All integration tests, as one program.

/// The recorded workloads' own clocks against the attribution.
mod accuracy;
/// Truncated and damaged input: an answer or an error, never a panic or a hang.
mod bad_input;
/// The command line: help, exit codes, what goes to which stream.
mod cli;
/// Clocks of the marks mapped to the capture's, and mappings that cannot be right.
mod clocks;
/// One recording in every perf container: the same events and the same report.
mod containers;
/// A context of the traced machine: what is written, and what it names.
mod context;
/// Small hand-written captures with every nanosecond of the expected path.
mod crafted;
/// One workload recorded in turn in each format: the same causes.
mod dialects;
/// Writes a recording in every perf container.
mod encode;
/// Exports: the viewers' own schemas and numbers, and values worked out by hand.
mod exports;
/// Flamegraphs from a capture made by hand: weights, comparisons, what is missing.
mod flamegraph;
/// Captures to the text kept under `tests/golden/`.
mod golden;
/// What holds for every capture: conservation, order, independence of threads.
mod invariants;
/// JSON text to values: the tests read reports with a reader of their own.
mod json;
/// Each mechanism's firing example and near miss, and the numbers of its tables.
mod mechanisms;
/// Event counts and times against `perf script`.
mod oracle;
/// A capture repeated in time: each repetition is the capture again.
mod repeat;
/// Rows of a model in a file: the same model and the same paths.
mod scratch;
/// A capture whose beginning is skimmed: a later step says the same.
mod skim;
/// One recording with ftrace's stacks in its three forms.
mod stack_formats;
/// Stacks against `perf script`, inferno, and what the workload is known to do.
mod stacks;
/// Finds fixtures, runs the stages and the program.
mod support;
/// Names of frames from files that were carried along.
mod symbols;
/// The rules of the source tree.
mod tidy;
/// The rules' own documentation to a page for users.
mod verdicts_page;
