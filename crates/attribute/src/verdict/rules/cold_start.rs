//! A program that starts and finds its files on the disk.
//!
//! # What it detects
//! Starts of a program, from execve until its own work begins, that wait for the disk: the
//! file itself, the loader's libraries, an interpreter's modules, faults on any of them. All
//! causes of such a start are one verdict.
//! # Evidence
//! execve, loader and start-up on the critical path; how much of it waited for block
//! requests; files opened and looked for, major faults, by file where known.
//! # Why it matters
//! The second start of the same program takes a small part of the first.
//! # When it is wrong
//! An interpreter's own work is taken to begin with its first write, socket, child, sleep or
//! wait, after 64 lookups in a row without a read, or where it computes for 30 ms: a program
//! that only reads files at first looks as if it were still starting.
//! # References
//! ld.so(8); fs/exec.c; path-based importers of Python and Node.

use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::Nanos;
use agenttrace_model::{SyscallClass, TaskId};

use super::super::Takes;
use crate::cause::{Cause, Resource};
use crate::path::{Frame, device_name};
use crate::phases::phases_of;
use crate::report::Recommendation;
use crate::spawn::base;
use crate::stats::{human, percent, plural, thousands};
use crate::verdict::{Cell, Facts, Finding, Rule, ZERO, count, time};

pub(crate) struct ColdStart;

/// The part of a start that a cell is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Exec,
    Loader,
    Startup,
}

/// Whose start a cell belongs to, and which part.
fn start(facts: &Facts<'_>, cell: &Cell<'_>) -> Option<(TaskId, Part)> {
    let mut owner = facts.parts.step.root;
    for frame in cell.frames {
        if let Frame::Task(id) = frame {
            owner = *id;
        } else if *frame == Frame::Loader {
            return Some((owner, Part::Loader));
        } else if *frame == Frame::Startup {
            return Some((owner, Part::Startup));
        } else if let Frame::Syscall(nr) = frame
            && facts.model().syscalls.class(*nr) == SyscallClass::Exec
        {
            return Some((owner, Part::Exec));
        }
    }
    None
}

fn waits_for_disk(cell: &Cell<'_>) -> bool {
    matches!(cell.resource, Resource::DeviceQueue | Resource::Device | Resource::Completion)
}

/// The starts of which a tenth or more waited for the disk.
fn cold(facts: &Facts<'_>) -> BTreeSet<TaskId> {
    if !facts.cells.iter().any(|cell| waits_for_disk(cell)) {
        return BTreeSet::new();
    }
    let mut sums: BTreeMap<TaskId, (Nanos, Nanos)> = BTreeMap::new();
    for cell in &facts.cells {
        if let Some((owner, _)) = start(facts, cell) {
            let sum = sums.entry(owner).or_default();
            sum.0 += cell.ns;
            if waits_for_disk(cell) {
                sum.1 += cell.ns;
            }
        }
    }
    let disk = sums
        .into_iter()
        .filter(|(_, (all, disk))| *disk > ZERO && disk.0.saturating_mul(10) >= all.0);
    disk.map(|(owner, _)| owner).collect()
}

impl Rule for ColdStart {
    fn id(&self) -> &'static str {
        "cold_start"
    }
    fn causes(&self) -> &'static [Cause] {
        &[
            Cause::Spawn,
            Cause::VfsMetadata,
            Cause::MajorFault,
            Cause::MinorFault,
            Cause::BlockRead,
            Cause::SyscallCpu,
            Cause::UserCpu,
        ]
    }
    fn special(&self) -> bool {
        true
    }
    fn takes<'f>(&self, facts: &'f Facts<'_>) -> Option<Takes<'f>> {
        let cold = cold(facts);
        if cold.is_empty() {
            return None;
        }
        Some(Box::new(move |cell: &Cell<'_>| {
            start(facts, cell).is_some_and(|(owner, _)| cold.contains(&owner))
        }))
    }
    fn failure_mode(&self, _: Cause) -> &'static str {
        "a program starts with its files not in the page cache"
    }
    fn find(&self, facts: &Facts<'_>, _: Cause) -> Finding {
        let mut owners: BTreeMap<TaskId, Nanos> = BTreeMap::new();
        let mut parts: BTreeMap<Part, Nanos> = BTreeMap::new();
        let mut disks: BTreeMap<String, Nanos> = BTreeMap::new();
        for cell in &facts.cells {
            if let Some((owner, part)) = start(facts, cell) {
                *owners.entry(owner).or_default() += cell.ns;
                *parts.entry(part).or_default() += cell.ns;
            }
            if waits_for_disk(cell) {
                let device = cell
                    .frames
                    .iter()
                    .rev()
                    .find_map(|f| if let Frame::Block(_, dev) = f { Some(*dev) } else { None });
                let name = device.map_or_else(
                    || "an unknown device".to_owned(),
                    |dev| device_name(facts.model(), dev),
                );
                *disks.entry(name).or_default() += cell.ns;
            }
        }
        let all: Nanos = owners.values().copied().sum();
        let disk: Nanos = disks.values().copied().sum();
        let main = owners.iter().max_by_key(|(id, ns)| (**ns, std::cmp::Reverse(**id)));
        let Some((main, _)) = main else { return Finding::default() };
        let program = program(facts, *main);
        let more = match owners.len() {
            1 => String::new(),
            n => format!(" and {}", plural((n as u64).saturating_sub(1), "other")),
        };
        let device = disks
            .iter()
            .max_by_key(|(_, ns)| **ns)
            .map_or_else(String::new, |(name, _)| format!(" ({name})"));
        let title = format!(
            "cold start of {program}{more}: {} until its own work, {} of it waits for the disk{device}",
            human(all),
            human(disk)
        );
        let mut evidence = vec![time(
            format_args!(
                "{} of {} on the critical path ({})",
                human(all),
                human(facts.wall),
                percent(all, facts.wall)
            ),
            all,
            "critical path",
        )];
        for (part, words) in [
            (Part::Exec, "in execve"),
            (Part::Loader, "in the dynamic loader"),
            (
                Part::Startup,
                "in the interpreter's start-up, before its program's first write, socket, child or wait",
            ),
        ] {
            if let Some(ns) = parts.get(&part) {
                evidence.push(time(format_args!("{} {words}", human(*ns)), *ns, "critical path"));
            }
        }
        evidence.push(time(
            format_args!("{} of it waiting for block requests", human(disk)),
            disk,
            "critical path",
        ));
        let files = Files::of(facts, &owners);
        evidence.push(count(
            format_args!(
                "{} opened, {} looked for and not found",
                plural(files.opened, "file"),
                thousands(files.missing)
            ),
            files.opened,
            "raw_syscalls of the program that starts",
        ));
        if files.faults > 0 {
            evidence.push(count(
                format_args!(
                    "{} on its own files{}",
                    plural(files.faults, "major fault"),
                    files.named
                ),
                files.faults,
                "page faults of the program that starts",
            ));
        }
        let advice = |text: &'static str, condition: &'static str, saves: Nanos| Recommendation {
            text: text.into(),
            condition: condition.into(),
            saves: Some(saves),
        };
        Finding {
            title,
            evidence,
            recommendations: vec![
                advice(
                    "keep it running: a tool server, or a process that is started ahead",
                    "where the tool is called more than once",
                    all,
                ),
                advice(
                    "read its files before the step: POSIX_FADV_WILLNEED or readahead(2) on program, libraries and modules",
                    "where memory holds them until then",
                    disk,
                ),
                advice(
                    "fewer files: a static or prelinked program, lazy imports, one bundle for many modules",
                    "",
                    disk,
                ),
            ],
            doubts: Vec::new(),
        }
    }
}

/// The program that a task last started, by the file it executed.
fn program(facts: &Facts<'_>, task: TaskId) -> String {
    let end = facts.parts.step.end;
    let exec = facts
        .parts
        .index
        .task(task)
        .and_then(|t| t.execs.iter().rev().find(|(time, _)| *time <= end));
    exec.map_or_else(|| facts.name(task), |(_, path)| base(path).to_owned())
}

/// What the starts did with files.
#[derive(Default)]
struct Files {
    opened: u64,
    missing: u64,
    faults: u64,
    /// The files of the faults, in words.
    named: String,
}

impl Files {
    fn of(facts: &Facts<'_>, owners: &BTreeMap<TaskId, Nanos>) -> Self {
        let model = facts.model();
        let opens = ["open", "openat", "openat2"].map(|name| model.syscalls.number(name));
        let mut sum = Self::default();
        let mut names: BTreeMap<String, u64> = BTreeMap::new();
        for task in owners.keys().filter_map(|id| facts.parts.index.task(*id)) {
            let phases = phases_of(model, task);
            let first = task.execs.first().map_or(Nanos::MAX, |(time, _)| *time);
            let ends = phases.loader.iter().chain(&phases.startup).map(|(_, to)| *to);
            let to = ends.max().unwrap_or(first);
            let from = task.ops.before(first);
            for op in task.ops.iter().skip(from).take_while(|op| op.start < to) {
                if let Some(call) = op.syscall() {
                    let found = call.ret.is_some_and(|ret| ret >= 0);
                    let looks = model.syscalls.class(call.nr) == SyscallClass::Metadata;
                    sum.opened += u64::from(found && opens.contains(&Some(call.nr)));
                    sum.missing += u64::from(looks && call.ret == Some(-2));
                } else if let Some(fault) = op.fault().filter(|f| f.major == Some(true)) {
                    sum.faults += 1;
                    if let Some(file) = fault.file {
                        *names.entry(crate::path::file_name(model, file)).or_default() += 1;
                    }
                }
            }
        }
        let mut names: Vec<(String, u64)> = names.into_iter().collect();
        names.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let some: Vec<String> =
            names.iter().take(3).map(|(name, n)| format!("{name} {}", thousands(*n))).collect();
        if !some.is_empty() {
            let more = names.len().saturating_sub(some.len());
            let rest = if more > 0 {
                format!(", and {}", plural(more as u64, "more file"))
            } else {
                String::new()
            };
            sum.named = format!(": {}{rest}", some.join(", "));
        }
        sum
    }
}
