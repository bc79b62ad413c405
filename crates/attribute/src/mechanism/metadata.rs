//! Metadata calls to rows: how many, how many in vain, cold against warm, in how many directories.
//!
//! Cold is a call that read from a device: it submitted a block read, or slept for one.
//! There is no event of path lookup itself (fs/namei.c). A call that only looks a name up,
//! without a read, and ran for more than ten times the capture's median of such calls is
//! *uncached*: the name or inode was in the page cache at most, not in the dentry and inode
//! caches.

use std::collections::BTreeMap;

use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{Model, Op, OpKind, State, SyscallClass, SyscallOp, Task, WakeSource};

use rustc_hash::FxHashSet;

use super::{Mechanism, StepView};
use crate::detail::{Column, Table};
use crate::inclusive::{Index, OpPlace};
use crate::report::Stats;
use crate::stats::{percentile, plural, stats, thousands};

pub(crate) struct Metadata;

const COLUMNS: &[Column] = &[
    Column::text("call", "call"),
    Column::count("count", "count"),
    Column::count("enoent", "missing"),
    Column::count("directories", "dirs"),
    Column::time("total_ns", "in all"),
    Column::time("warm_p50_ns", "warm p50"),
    Column::time("warm_p99_ns", "p99"),
    Column::count("cold", "cold"),
    Column::time("cold_p50_ns", "cold p50"),
    Column::time("cold_p99_ns", "p99"),
    Column::count("uncached", "uncached"),
    Column::count("warm", "warm"),
];

/// One call's sums.
#[derive(Default)]
pub(crate) struct CallSum {
    pub(crate) count: u64,
    /// They returned ENOENT: a name that is not there.
    pub(crate) missing: u64,
    /// Times of those that read nothing.
    pub(crate) warm: Stats,
    warm_times: Vec<Nanos>,
    /// Times of those that read from a device, sorted.
    pub(crate) cold: Vec<Nanos>,
    /// Of the warm ones, those that ran too long for a cached name.
    pub(crate) uncached: u64,
    pub(crate) total: Nanos,
    directories: FxHashSet<Directory>,
}

impl CallSum {
    /// Distinct directories that were named by an open fd.
    pub(crate) fn directories(&self) -> u64 {
        self.directories.len() as u64
    }
}

/// A directory, by its opening; by its fd where that was not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Directory {
    Opened(u32),
    Fd(Pid, u64),
}

/// All metadata calls of a step.
#[derive(Default)]
pub(crate) struct Sums {
    /// By number.
    pub(crate) calls: BTreeMap<i32, CallSum>,
    /// Distinct directories, over all calls.
    pub(crate) directories: u64,
    /// Of them, listed.
    pub(crate) listed: u64,
    /// Calls whose directory is told by a path alone, which no event holds.
    pub(crate) by_path: u64,
}

impl Sums {
    /// The calls, the most frequent first.
    pub(crate) fn by_count(&self) -> Vec<(i32, &CallSum)> {
        let mut calls: Vec<(i32, &CallSum)> = self.calls.iter().map(|(nr, s)| (*nr, s)).collect();
        calls.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.count));
        calls
    }
}

/// What a call's first argument is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// A directory for the path in the second (`*at`), or `AT_FDCWD`.
    DirFd,
    /// As that, but the path may be empty, and the fd any file.
    DirFdOrFile,
    /// A directory to list.
    Listed,
    /// A path.
    Path,
    /// An fd of anything.
    Fd,
}

fn takes(name: &str) -> Takes {
    match name {
        "getdents" | "getdents64" => Takes::Listed,
        "newfstatat" | "statx" | "fchownat" | "utimensat" | "name_to_handle_at" | "linkat" => {
            Takes::DirFdOrFile
        }
        "openat" | "openat2" | "faccessat" | "faccessat2" | "readlinkat" | "renameat"
        | "renameat2" | "unlinkat" | "mkdirat" | "mknodat" | "fchmodat" | "fchmodat2"
        | "futimesat" => Takes::DirFd,
        "close" | "fstat" | "fchmod" | "fchown" | "ftruncate" | "fstatfs" | "fgetxattr"
        | "flistxattr" | "fsetxattr" | "fremovexattr" | "fchdir" | "inotify_add_watch" => Takes::Fd,
        _ => Takes::Path,
    }
}

/// `AT_FDCWD`, as an int.
const AT_FDCWD: i32 = -100;
/// `-ENOENT`.
const ENOENT: i64 = -2;
/// A call that runs this many times longer than the median is not a look into caches.
const UNCACHED: u64 = 10;

/// Calls that only look a name up: what they do beyond that is always the same.
fn looks_up(name: &str) -> bool {
    matches!(
        name,
        "stat"
            | "lstat"
            | "newfstatat"
            | "statx"
            | "access"
            | "faccessat"
            | "faccessat2"
            | "readlink"
            | "readlinkat"
    )
}

/// What a step's tasks did with names and inodes.
pub(crate) fn sums(index: &Index<'_>, ops: &[OpPlace]) -> Sums {
    if ops.is_empty() {
        return Sums::default();
    }
    let model = index.model;
    let metadata = &index.survey().metadata;
    let mut made: Vec<(usize, CallSum)> = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; metadata.calls.len()];
    let mut by_path = 0;
    let mut listed: FxHashSet<Directory> = FxHashSet::default();
    let mut maybe: Vec<(usize, Directory)> = Vec::new();
    for place in ops {
        let Some((task, number)) = place.at(index) else { continue };
        let ops = task.ops.settled();
        let Some(call) = ops.call(number) else { continue };
        let Some((place, kind)) = metadata.get(call.nr) else { continue };
        let Some(slot) = places.get_mut(place) else { continue };
        let at = *slot.get_or_insert_with(|| {
            made.push((place, CallSum::default()));
            made.len() - 1
        });
        let Some((_, sum)) = made.get_mut(at) else { continue };
        if !call.continued && !call.no_entry {
            sum.count += 1;
        }
        sum.missing += u64::from(call.ret == Some(ENOENT));
        let took = ops.took(number).unwrap_or_default();
        sum.total += took;
        let temperature = if ops.reads(number) {
            Temperature::Cold
        } else if kind.is_long(took) {
            temperature(model, task, number, kind)
        } else {
            Temperature::Warm
        };
        match temperature {
            Temperature::Cold => sum.cold.push(took),
            Temperature::Uncached => {
                sum.uncached += u64::from(kind.looks_up);
                sum.warm_times.push(took);
            }
            Temperature::Warm => sum.warm_times.push(took),
        }
        let directory = directory(task, &call);
        match kind.takes {
            Takes::Listed => {
                listed.insert(directory);
                sum.directories.insert(directory);
            }
            Takes::DirFd | Takes::DirFdOrFile if at_cwd(&call) => by_path += 1,
            Takes::DirFd => {
                sum.directories.insert(directory);
            }
            Takes::DirFdOrFile => maybe.push((place, directory)),
            Takes::Path => by_path += 1,
            Takes::Fd => {}
        }
    }
    // Of a file alone nobody lists names or opens them.
    let known: FxHashSet<Directory> =
        made.iter().flat_map(|(_, sum)| &sum.directories).copied().collect();
    maybe.retain(|(_, directory)| known.contains(directory));
    let mut calls = BTreeMap::new();
    for (place, mut sum) in made {
        let Some(kind) = metadata.calls.get(place) else { continue };
        let named = maybe.iter().filter(|(of, _)| *of == place);
        sum.directories.extend(named.map(|(_, directory)| *directory));
        sum.warm = stats(&mut std::mem::take(&mut sum.warm_times));
        sum.cold.sort_unstable();
        calls.insert(kind.nr, sum);
    }
    let all: FxHashSet<Directory> =
        calls.values().flat_map(|sum: &CallSum| &sum.directories).copied().collect();
    let (directories, listed) = (all.len() as u64, listed.len() as u64);
    Sums { calls, directories, listed, by_path }
}

/// The metadata calls of this architecture, and what is usual for them.
pub(crate) struct MetadataCalls {
    /// By number; which of [`Self::calls`] it is.
    places: Vec<Option<usize>>,
    calls: Vec<MetadataCall>,
}

struct MetadataCall {
    nr: i32,
    takes: Takes,
    looks_up: bool,
    /// What one takes that reads nothing; zero where there was none.
    median: Nanos,
}

impl MetadataCall {
    /// Whether so much is too long for a look into caches.
    fn is_long(&self, ns: Nanos) -> bool {
        self.median > Nanos::ZERO && ns.0 > self.median.0.saturating_mul(UNCACHED)
    }
}

impl MetadataCalls {
    /// Without medians.
    pub(crate) fn new(model: &Model) -> Self {
        let mut found = Self { places: Vec::new(), calls: Vec::new() };
        for nr in 0..512 {
            let metadata = model.syscalls.class(nr) == SyscallClass::Metadata;
            found.places.push(metadata.then_some(found.calls.len()));
            if metadata {
                let name = model.syscalls.name(nr);
                let (takes, looks_up) = (takes(&name), looks_up(&name));
                found.calls.push(MetadataCall { nr, takes, looks_up, median: Nanos::ZERO });
            }
        }
        found
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Which of them a number is.
    pub(crate) fn place(&self, nr: i32) -> Option<usize> {
        usize::try_from(nr).ok().and_then(|nr| self.places.get(nr)).copied().flatten()
    }

    /// Keeps the median of each, told by its place.
    pub(crate) fn set_medians(&mut self, mut median: impl FnMut(usize) -> Option<Nanos>) {
        for (place, call) in self.calls.iter_mut().enumerate() {
            call.median = median(place).unwrap_or_default();
        }
    }

    /// What one usually takes that reads nothing; zero where there was none.
    #[cfg(test)]
    pub(crate) fn median(&self, nr: i32) -> Option<Nanos> {
        self.get(nr).map(|(_, call)| call.median)
    }

    fn get(&self, nr: i32) -> Option<(usize, &MetadataCall)> {
        let place = self.place(nr)?;
        Some((place, self.calls.get(place)?))
    }
}

fn directory(task: &Task, call: &SyscallOp) -> Directory {
    match call.opened {
        Some(opened) => Directory::Opened(opened.get()),
        None => Directory::Fd(task.pid, call.arg0),
    }
}

fn at_cwd(call: &SyscallOp) -> bool {
    // An int in a register of 64 bits: the upper half is whatever was there.
    u32::try_from(call.arg0 & 0xffff_ffff).is_ok_and(|low| low.cast_signed() == AT_FDCWD)
}

enum Temperature {
    Warm,
    Uncached,
    Cold,
}

/// Of one that took long.
#[inline(never)]
fn temperature(model: &Model, task: &Task, number: usize, kind: &MetadataCall) -> Temperature {
    let Some(op) = task.ops.get(number) else { return Temperature::Warm };
    let mut ran = Nanos::ZERO;
    for (index, from, to, span) in task.spans(op.start, op.end) {
        match span.state {
            State::Running => ran += to - from,
            State::Blocked(_) => {
                let wake = task.states.get(index + 1).and_then(|next| next.wake);
                let wake = wake.and_then(|id| model.wakes.get(id));
                let request = wake.and_then(|wake| {
                    let WakeSource::Block(request) = wake.source else { return None };
                    model.requests.get(request as usize)
                });
                if request.is_some_and(|r| r.rwbs.op == agenttrace_model::parse::BlockOp::Read) {
                    return Temperature::Cold;
                }
            }
            State::Runnable | State::Unknown(_) | State::New | State::Dead => {}
        }
    }
    // Interrupts and spins for locks on top of it are not its own.
    let inside = task.ops.before(op.start);
    let nested = task.ops.iter().skip(inside).take_while(|other| other.start < op.end);
    let stolen: Nanos = nested
        .filter(|other| {
            matches!(
                other.kind,
                OpKind::Irq(_) | OpKind::Softirq(_) | OpKind::LocalTimer | OpKind::Lock { .. }
            )
        })
        .map(Op::duration)
        .sum();
    if kind.is_long(Nanos(ran.0.saturating_sub(stolen.0))) {
        Temperature::Uncached
    } else {
        Temperature::Warm
    }
}

/// `1 directory`, `12 directories`.
pub(crate) fn directories(n: u64) -> String {
    if n == 1 { "1 directory".to_owned() } else { format!("{} directories", thousands(n)) }
}

impl Mechanism for Metadata {
    fn id(&self) -> &'static str {
        "metadata"
    }
    fn title(&self) -> &'static str {
        "metadata calls"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["raw_syscalls:sys_enter", "raw_syscalls:sys_exit"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let model = view.index.model;
        let sums = view.made.metadata(view.index);
        let reads = view.index.told.issues;
        let mut rows: Vec<(std::cmp::Reverse<Nanos>, _)> = Vec::new();
        for (nr, sum) in &sums.calls {
            let cold = |percent| (!sum.cold.is_empty()).then(|| percentile(&sum.cold, percent));
            let warm = |ns: Nanos| (sum.warm.count > 0).then_some(ns);
            rows.push((
                std::cmp::Reverse(sum.total),
                [
                    model.syscalls.name(*nr).into(),
                    sum.count.into(),
                    sum.missing.into(),
                    (sum.directories() > 0).then(|| sum.directories()).into(),
                    sum.total.into(),
                    warm(sum.warm.p50).into(),
                    warm(sum.warm.p99).into(),
                    reads.then_some(sum.cold.len() as u64).into(),
                    cold(50).into(),
                    cold(99).into(),
                    sum.uncached.into(),
                    sum.warm.count.into(),
                ],
            ));
        }
        rows.sort_by_key(|(total, _)| *total);
        let mut notes = Vec::new();
        if sums.directories > 0 {
            let all = sums.directories.saturating_sub(sums.listed);
            notes.push(
                format!("{} listed, {all} more named by an open fd", directories(sums.listed))
                    .into(),
            );
        }
        if sums.by_path > 0 {
            notes.push(
                format!(
                    "{} by path: in which directory, no event tells",
                    plural(sums.by_path, "call")
                )
                .into(),
            );
        }
        if sums.calls.values().any(|sum| sum.uncached > 0) {
            notes.push(
                "uncached: ran for more than ten times the capture's median of the call, \
                 without a read: the name or inode was not in the kernel's caches of them"
                    .into(),
            );
        }
        Table::from_iter(rows.into_iter().map(|(_, row)| row)).with_notes(notes)
    }
}
