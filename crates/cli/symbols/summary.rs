//! Which names are missing, and how to bring them, in words.

use std::fmt::Write as _;
use std::path::Path;

use agenttrace_model::parse::CaptureInfo;
use agenttrace_model::stacks::{Missing, Module, ModuleKind, Stacks, SymbolSource};
use agenttrace_render::visible;

use super::StackData;
use super::tally::Tally;

/// So many modules are named one by one.
const SHOWN: usize = 8;

/// Lines for standard error: what was noted of files, how many frames of which modules
/// have no name, and how to bring them. None where nothing is to be said. `capture` is
/// the path that the user gave.
pub(crate) fn summary(data: &StackData, capture: &Path) -> Vec<String> {
    let mut lines = notes(data);
    if data.symbols.missing.is_empty() {
        return lines;
    }
    let without: u64 = data.symbols.missing.iter().map(|m| m.frames).sum();
    lines.push(format!(
        "{without} of {} frames in the stacks have no name:",
        data.stacks.frames.len()
    ));
    lines.extend(missing(data).into_iter().map(|line| format!("  {line}")));
    for step in steps(data, capture) {
        lines.push(format!("{}: {}", step.what, step.how));
    }
    lines
}

/// The same in few lines, where stacks are no more than evidence.
pub(crate) fn brief(data: &StackData, capture: &Path) -> Vec<String> {
    let mut lines = notes(data);
    let without: u64 = data.symbols.missing.iter().map(|m| m.frames).sum();
    if without > 0 {
        lines.push(format!(
            "{without} of {} frames in the stacks have no name: agenttrace check {} says whose, and \
             how to bring them",
            data.stacks.frames.len(),
            capture.display()
        ));
    }
    lines
}

fn notes(data: &StackData) -> Vec<String> {
    data.notes.iter().map(|note| format!("note: {}", visible(note))).collect()
}

/// What `check` says of a capture's stacks.
pub(crate) fn check(
    data: &StackData,
    info: &CaptureInfo,
    tallies: &[Tally],
    capture: &Path,
) -> String {
    let mut text = String::from("\nstacks\n");
    let mut rows: Vec<_> =
        info.event_types.iter().zip(tallies).filter(|(_, tally)| tally.stacks > 0).collect();
    rows.sort_by_key(|(kind, tally)| (std::cmp::Reverse(tally.stacks), kind.name.as_str()));
    for (kind, tally) in rows {
        let of = match tally.samples {
            all if all == tally.stacks => String::new(),
            all => format!(" of {all}"),
        };
        let (name, kinds) = (visible(&kind.name), tally.kinds());
        let _ = writeln!(text, "  {:>10} {name}{of}: {kinds}", tally.stacks);
    }
    let short = data.stacks.samples.iter().filter(|sample| sample.short.is_some()).count();
    if short > 0 {
        let _ = writeln!(text, "  {short:>10} end before the program's first frame");
    }
    let _ = writeln!(text, "\nsymbols");
    for (id, from) in &data.found {
        if let Some(module) = data.stacks.module(*id) {
            let (name, from) = (visible(&module.path), visible(from));
            let _ = writeln!(text, "  found    {name} in {from}");
        }
    }
    for line in missing(data) {
        let _ = writeln!(text, "  missing  {line}");
    }
    for note in &data.notes {
        let _ = writeln!(text, "  note     {}", visible(note));
    }
    let steps = steps(data, capture);
    if !steps.is_empty() {
        let _ = writeln!(text, "\nto bring the missing names");
        for step in steps {
            let _ = writeln!(text, "  {}\n    {}", step.what, step.how);
        }
    }
    text
}

/// A line for each module that lacks names, most frames first.
fn missing(data: &StackData) -> Vec<String> {
    let all = &data.symbols.missing;
    let mut lines: Vec<String> = all.iter().take(SHOWN).map(|row| one(row, &data.stacks)).collect();
    if all.len() > SHOWN {
        lines.push(format!("and {} more modules", all.len() - SHOWN));
    }
    lines
}

fn one(row: &Missing, stacks: &Stacks) -> String {
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    let counts = format!(
        "{} frame{} in {} sample{}",
        row.frames,
        plural(row.frames),
        row.samples,
        plural(row.samples)
    );
    let Some(module) = row.module.and_then(|id| stacks.module(id)) else {
        return format!("[unknown]: {counts}; no mapping covers them");
    };
    let mapped = matches!(row.found, SymbolSource::NoSymbols(_));
    let made = (module.kind == ModuleKind::Jit && !mapped).then_some(module.pid).flatten();
    let made =
        made.map(|pid| format!("code that process {pid} made at run time, without a perf map"));
    let why = made.unwrap_or_else(|| match &row.found {
        SymbolSource::NotFound(looked) if looked.is_empty() => "no file to look in".to_owned(),
        SymbolSource::NotFound(looked) => {
            let build = module.build_id.map(|id| format!(" of build {id}")).unwrap_or_default();
            format!("no file{build} in {}", looked.join(", "))
        }
        SymbolSource::WrongBuild(what) => what.clone(),
        SymbolSource::NoSymbols(file) => format!("{file} has no symbols for them"),
        SymbolSource::UnknownBuild => "its build is not known".to_owned(),
    });
    format!("{}: {counts}; {}", visible(&module.path), visible(&why))
}

/// Something to do, and where.
struct Step {
    what: &'static str,
    how: String,
}

/// What to do about the missing names, each once.
fn steps(data: &StackData, capture: &Path) -> Vec<Step> {
    let rows: Vec<(&Module, &SymbolSource)> = data
        .symbols
        .missing
        .iter()
        .filter_map(|row| Some((data.stacks.module(row.module?)?, &row.found)))
        .collect();
    let file = |module: &Module| {
        matches!(module.kind, ModuleKind::File | ModuleKind::Deleted | ModuleKind::Vdso)
    };
    let mut steps = Vec::new();
    let mut add = |what, how| steps.push(Step { what, how });
    let name = if capture == Path::new("-") { Path::new("perf.data") } else { capture };
    let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
    let kernel = |kind| matches!(kind, ModuleKind::Kernel | ModuleKind::KernelModule);
    let absent = |found: &SymbolSource| {
        matches!(found, SymbolSource::NotFound(_) | SymbolSource::WrongBuild(_))
    };
    if rows.iter().any(|(m, found)| file(m) && m.build_id.is_some() && absent(found)) {
        let archive = quoted(&format!("{name}.tar.bz2"));
        add(
            "on the traced machine",
            format!(
                "perf archive {}   (then put {archive} beside the capture, or give it with --archive)",
                quoted(&name)
            ),
        );
    }
    if rows.iter().any(|(m, found)| kernel(m.kind) && !matches!(found, SymbolSource::NoSymbols(_)))
    {
        add(
            "on the traced machine, before it starts again",
            "sudo cat /proc/kallsyms > kallsyms   (then give it with --kallsyms)".to_owned(),
        );
    }
    let unknown: Vec<String> = rows
        .iter()
        .filter(|(m, found)| file(m) && **found == SymbolSource::UnknownBuild)
        .take(SHOWN)
        .map(|(module, _)| quoted(&module.path))
        .collect();
    if !unknown.is_empty() {
        add(
            "on the traced machine",
            format!("cp --parents {} symfs/   (then give it with --symfs)", unknown.join(" ")),
        );
        // Else perf writes those of files that samples hit themselves, not of callers'.
        add("when recording next time", "perf record --buildid-all ...".to_owned());
    }
    let maps: Vec<String> = rows
        .iter()
        .filter(|(m, found)| m.kind == ModuleKind::Jit && absent(found))
        .filter_map(|(m, _)| Some(format!("/tmp/perf-{}.map", m.pid?)))
        .take(SHOWN)
        .collect();
    if !maps.is_empty() {
        add(
            "on the traced machine",
            format!(
                "cp --parents {} symfs/   (then give it with --symfs; node writes it with \
                 --perf-basic-prof, Python 3.12 with -X perf)",
                maps.join(" ")
            ),
        );
    }
    if rows.iter().any(|(m, found)| file(m) && matches!(found, SymbolSource::NoSymbols(_))) {
        add(
            "here",
            "install the debug packages of the stripped files, or give the files as they were \
             before stripping with --symfs"
                .to_owned(),
        );
    }
    steps
}

/// A word for a shell, on one line.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", visible(text).replace('\'', "'\\''"))
}
