//! The command line's options.

use std::path::PathBuf;

use agenttrace_model::parse::ClockId;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

/// Which kernel subsystem made this agent step slow, and what would fix it?
#[derive(Parser, Debug)]
#[command(
    version,
    about,
    before_help = "Examples:\n  \
        agenttrace analyze perf.data --markers steps.jsonl\n  \
        agenttrace analyze perf.data --markers steps.jsonl --step 142\n  \
        agenttrace analyze perf.data --pid 4711 --format json\n  \
        agenttrace check perf.data"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the command line; on a mistake, and for `--help`, the program ends here.
pub(crate) fn parse() -> Cli {
    // Of an export, `--to` names the viewer.
    let command = Cli::command()
        .mut_subcommand("export", |export| export.mut_arg("to", |time| time.long("until")));
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Say what made the steps slow
    #[command(before_help = "Examples:\n  \
        agenttrace analyze perf.data --markers steps.jsonl\n  \
        agenttrace analyze perf.data --markers steps.jsonl --step 142 --step 143\n  \
        agenttrace analyze perf.data --comm git --out report/\n\n\
        Without --markers the marks within the trace are used (prctl 0x41475354).")]
    Analyze(AnalyzeArgs),
    /// Say what a capture holds, lost, and cannot show; how to record it better
    #[command(before_help = "Example:\n  agenttrace check perf.data")]
    Check(CheckArgs),
    /// Draw a flamegraph: where a step's time, its CPU or its waits were
    #[command(before_help = "Examples:\n  \
        agenttrace flamegraph perf.data --markers steps.jsonl --out wall.svg\n  \
        agenttrace flamegraph perf.data --markers steps.jsonl --step 142 --kind cpu --out cpu.svg\n  \
        agenttrace flamegraph perf.data --markers steps.jsonl --cause major_fault --kind faults --out -\n  \
        agenttrace flamegraph perf.data --markers steps.jsonl --step 142 --diff 143 --out diff.svg\n  \
        agenttrace flamegraph perf.data --whole-capture --kind cpu --folded\n\n\
        A capture without step marks is shown as a whole. All kinds but wall need events that\n\
        were recorded with call stacks (perf record --call-graph).")]
    Flamegraph(FlamegraphArgs),
    /// Draw one histogram of latencies, in power-of-two buckets of microseconds
    #[command(before_help = "Examples:\n  \
        agenttrace hist perf.data --markers steps.jsonl --of block-io --svg block.svg\n  \
        agenttrace hist perf.data --markers steps.jsonl --of wakeup-latency --text")]
    Hist(HistArgs),
    /// Write steps, tasks and stacks for another viewer
    #[command(before_help = "Examples:\n  \
        agenttrace export perf.data --markers steps.jsonl --to perfetto --out steps.pftrace\n  \
        agenttrace export perf.data --markers steps.jsonl --to firefox --step 142 --out step.json\n  \
        agenttrace export perf.data --markers steps.jsonl --to speedscope > steps.json")]
    Export(ExportArgs),
    /// Print any stage's data as text
    #[command(before_help = "Examples:\n  \
        agenttrace dump --stage events perf.data\n  \
        agenttrace dump --stage attribution perf.data --markers steps.jsonl --step 142")]
    Dump(DumpArgs),
    /// On the traced machine: write down names and settings that a capture lacks
    #[command(before_help = "Example:\n  \
        agenttrace context --out context/ --tree /srv/project\n\n\
        It needs no right; what it may not read it lists. Copy the folder along with the\n\
        capture, and pass it with --context.")]
    Context(ContextArgs),
    /// Write a small perf.data with just some steps, which other tools open too
    #[command(before_help = "Example:\n  \
        agenttrace cut perf.data --markers steps.jsonl --steps 3,7 --out small/ --redact")]
    Cut(CutArgs),
}

/// The capture, and how to read it.
#[derive(Args, Debug, Clone)]
pub(crate) struct ReadArgs {
    /// perf.data (of any form, a folder too), trace.dat, text of ftrace, trace-cmd or
    /// perf script; `-` is standard input
    #[arg(value_name = "CAPTURE")]
    pub(crate) path: PathBuf,
    /// The clock of the capture's times, where it does not name one: ftrace's word
    /// (mono, boot, local, ...) or monotonic, boottime, realtime
    #[arg(long, value_name = "NAME", value_parser = trace_clock)]
    pub(crate) trace_clock: Option<ClockId>,
    /// Formats of tracepoints, for a perf.data whose recorder was killed: a finished
    /// perf.data of the same boot, or a copy of /sys/kernel/tracing/events
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) formats: Option<PathBuf>,
    /// Where the CPUs sit, in place of what the capture tells: what
    /// `lscpu -p=CPU,CORE,SOCKET,NODE,CACHE` printed on the traced machine
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
    /// What `agenttrace context` wrote on the traced machine: names of files and devices,
    /// the kernel's symbols, the topology
    #[arg(long, value_name = "DIR")]
    pub(crate) context: Option<PathBuf>,
    /// How many bytes compressed input may expand to [default: 64 MiB and 256 times
    /// its size]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_expanded: Option<u64>,
    /// Where the rows of a model that are too many for memory (of a capture of more than
    /// about 1 GB) go while the program runs: a fifth of the capture's size
    /// [default: $TMPDIR, or /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub(crate) temp_dir: Option<PathBuf>,
}

fn trace_clock(name: &str) -> Result<ClockId, String> {
    ClockId::from_name(name).or_else(|| ClockId::from_ftrace(name)).ok_or_else(|| {
        "no such clock; known are mono, mono_raw, boot, tai, local, global, perf, realtime"
            .to_owned()
    })
}

/// The capture, and what tells its steps.
#[derive(Args, Debug, Clone)]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    /// Step marks, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) markers: Option<PathBuf>,
    /// Take this task's whole life as one step
    #[arg(long, value_name = "N", conflicts_with_all = ["markers", "comm"])]
    pub(crate) pid: Option<i32>,
    /// Take the life of the first task of this name as one step; in a flamegraph with
    /// --markers or of samples: only tasks of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) comm: Option<String>,
    /// Ids inside a container to ids outside, `inner outer` on each line
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_map: Option<PathBuf>,
    /// Add this to marker times, where the capture cannot relate the clocks
    #[arg(long, value_name = "NS", allow_hyphen_values = true)]
    pub(crate) clock_offset: Option<i64>,
    /// Only steps that end after this time, in ns on the capture's clock
    #[arg(long, value_name = "NS")]
    pub(crate) from: Option<u64>,
    /// Only steps that begin before this time, in ns on the capture's clock
    #[arg(long, value_name = "NS")]
    pub(crate) to: Option<u64>,
    /// Use this many threads [default: one a CPU]; the output is the same
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

/// Where the names of functions come from.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Symbols")]
pub(crate) struct SymbolArgs {
    /// A copy of /proc/kallsyms from the traced machine, made before it started again
    #[arg(long, value_name = "FILE")]
    pub(crate) kallsyms: Option<PathBuf>,
    /// A folder with the traced machine's files, by path, by name or by build id; also
    /// perf-PID.map of code made at run time
    #[arg(long, value_name = "DIR")]
    pub(crate) symfs: Option<PathBuf>,
    /// perf's build-id cache [default: $PERF_BUILDID_DIR, else ~/.debug]
    #[arg(long, value_name = "DIR")]
    pub(crate) debug_dir: Option<PathBuf>,
    /// What `perf archive` wrote on the traced machine [default: CAPTURE.tar.bz2]
    #[arg(long, value_name = "FILE")]
    pub(crate) archive: Option<PathBuf>,
    /// The traced kernel with its debug information
    #[arg(long, value_name = "FILE")]
    pub(crate) vmlinux: Option<PathBuf>,
    /// A folder with the traced kernel's modules
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
    /// Leave out functions that were inlined
    #[arg(long)]
    pub(crate) no_inline: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AnalyzeArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,
    /// Print this step in full; may be given again
    #[arg(long, value_name = "ID")]
    pub(crate) step: Vec<String>,
    /// How to print the report
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = formats())]
    pub(crate) format: String,
    /// Write the report in every format, its pictures and its tables to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// With --out: write the tables as CSV too
    #[arg(long, requires = "out")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
    /// Columns of the text [default: those of the terminal, else 100]
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) width: Option<usize>,
    /// Names from the trace in plain ASCII
    #[arg(long)]
    pub(crate) ascii: bool,
}

fn formats() -> clap::builder::PossibleValuesParser {
    agenttrace_render::FORMATS
        .iter()
        .map(|format| clap::builder::PossibleValue::new(format.name()).help(format.about()))
        .collect::<Vec<_>>()
        .into()
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
    /// Exit with 1 where events were lost or a cause cannot be seen
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
pub(crate) struct FlamegraphArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,
    /// Only this step, with those nested in it
    #[arg(long, value_name = "ID", conflicts_with = "tool")]
    pub(crate) step: Option<String>,
    /// Only steps of this tool, with those nested in them
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<String>,
    /// Only stretches of the critical path with this cause
    #[arg(long, value_name = "CAUSE", value_parser = causes())]
    pub(crate) cause: Option<String>,
    /// What the widths show: samples of running code, wall time, blocked time, waits for
    /// locks of the kernel, page faults
    #[arg(long, value_name = "KIND", default_value = "wall", value_parser = kinds())]
    pub(crate) kind: String,
    /// Every task and sample of the capture, not those of its steps alone
    #[arg(long, conflicts_with_all = ["step", "tool", "cause", "markers", "pid"])]
    pub(crate) whole_capture: bool,
    /// The event whose samples count, where several were recorded [default: the one with
    /// the most stacks]
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,
    /// Compare with another step (where --step is given), another tool (where --tool is), or
    /// another capture: ID, NAME or FILE, or explicitly step:ID, tool:NAME, capture:FILE
    #[arg(long, value_name = "OTHER")]
    pub(crate) diff: Option<String>,
    /// Step marks of the other capture
    #[arg(long, value_name = "FILE", requires = "diff")]
    pub(crate) diff_markers: Option<PathBuf>,
    /// Where to write the SVG, or the folded stacks; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "-", alias = "svg")]
    pub(crate) out: PathBuf,
    /// Print folded stacks, for other tools, in place of the picture; with --diff both
    /// weights, the other's first
    #[arg(long)]
    pub(crate) folded: bool,
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
}

fn causes() -> clap::builder::PossibleValuesParser {
    agenttrace_attribute::cause::Cause::ALL.map(|cause| cause.name()).into()
}

fn kinds() -> clap::builder::PossibleValuesParser {
    agenttrace_attribute::stacks::StackKind::ALL.map(|kind| kind.name()).into()
}

#[derive(Args, Debug)]
pub(crate) struct HistArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,
    /// What to draw; without it --text prints all four
    #[arg(long, value_name = "MECHANISM", value_parser = mechanisms())]
    pub(crate) of: Option<String>,
    /// Only this step
    #[arg(long, value_name = "ID")]
    pub(crate) step: Option<String>,
    /// Where to write the SVG; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) svg: PathBuf,
    /// Print text bars in place of the picture
    #[arg(long)]
    pub(crate) text: bool,
}

fn mechanisms() -> clap::builder::PossibleValuesParser {
    agenttrace_attribute::report::Distribution::ALL.map(|m| m.name()).into()
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,
    /// Whose format
    #[arg(long = "to", value_name = "VIEWER", value_parser = exports())]
    pub(crate) viewer: String,
    /// Where to write it; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
    /// Only this step and those nested in it; may be given again
    #[arg(long, value_name = "ID")]
    pub(crate) step: Vec<String>,
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
}

fn exports() -> clap::builder::PossibleValuesParser {
    agenttrace_render::EXPORTS
        .iter()
        .map(|export| clap::builder::PossibleValue::new(export.name()).help(export.about()))
        .collect::<Vec<_>>()
        .into()
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Records of the file, in its order
    Records,
    /// Typed events in time order; can be read back as a capture
    Events,
    /// States and operations of the tasks
    Timelines,
    /// Steps, and who works for them when
    Windows,
    /// Critical paths, segment by segment
    Attribution,
    /// Verdicts with their evidence
    Verdicts,
}

#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,
    /// Which stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Stage,
    /// Only this step
    #[arg(long, value_name = "ID")]
    pub(crate) step: Option<String>,
    /// Timelines: only these tasks, by thread id
    #[arg(long, value_name = "TID", value_delimiter = ',')]
    pub(crate) task: Vec<i32>,
}

#[derive(Args, Debug)]
pub(crate) struct ContextArgs {
    /// Folder to write to; made where it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Folders whose files are named, besides those that processes have mapped or open
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) tree: Vec<PathBuf>,
    /// Name at most this many files
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    pub(crate) most_files: u64,
}

#[derive(Args, Debug)]
pub(crate) struct CutArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,
    /// Ids of the steps to keep
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    pub(crate) steps: Vec<String>,
    /// Folder for perf.data and steps.jsonl
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Replace names of tasks and paths outside the steps' process trees, host and command line
    #[arg(long)]
    pub(crate) redact: bool,
    /// Keep the registers and stacks of the steps' process trees, which may hold anything those
    /// programs had in memory
    #[arg(long, requires = "redact")]
    pub(crate) keep_stacks: bool,
}
