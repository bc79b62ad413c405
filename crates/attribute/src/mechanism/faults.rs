//! Page faults by kind, file and address range, with what they slept on and what they found.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{FaultOp, Model, Op, State, Task, WakeSource};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::cursor::StateCursor;
use crate::detail::{Column, Table, Value};
use crate::inclusive::{Index, OpPlace, Stretch, ops};
use crate::mechanism::{Mechanism, SessionView, StepView};
use crate::path::file_name;
use crate::report::Stats;
use crate::stats::{size, stats};

pub(crate) struct Faults;

/// What kind of memory a fault was on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum FaultKind {
    /// A page of a mapped file.
    File,
    /// A write to a page that was shared until then: it was copied.
    CopyOnWrite,
    /// Memory of no file, 4 KiB or a small folio at a time.
    Anonymous,
    /// Memory of no file that processes share (tmpfs behind it).
    Shared,
    /// Memory of no file, 2 MiB at once, as its time and address tell.
    HugePage,
    /// Without a file, in a capture that does not tell the files of faults.
    Untold,
}

impl FaultKind {
    /// Every kind, in the order of the enum.
    const ALL: [Self; 6] = [
        Self::File,
        Self::CopyOnWrite,
        Self::Anonymous,
        Self::Shared,
        Self::HugePage,
        Self::Untold,
    ];

    /// The words in reports.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::File => "mapped file",
            Self::CopyOnWrite => "copy-on-write",
            Self::Anonymous => "anonymous",
            Self::Shared => "shared anonymous",
            Self::HugePage => "huge page (inferred)",
            Self::Untold => "anonymous, or of a file not told",
        }
    }
}

/// Faults of one kind on one file (or none) in one process, whose addresses lie close together.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct FaultGroup {
    pub(crate) kind: FaultKind,
    pub(crate) file: Option<u32>,
    pub(crate) pid: Pid,
    /// First byte of the lowest page.
    pub(crate) from: u64,
    /// First byte after the highest page.
    pub(crate) to: u64,
    /// Pages that faulted, each once.
    pub(crate) pages: u64,
    /// By the kernel's count.
    pub(crate) major: u64,
    /// Those that slept for I/O.
    pub(crate) slept: u64,
    /// Those that did not sleep, on pages that were read into the cache within the capture
    /// before: by readahead, or by somebody else.
    pub(crate) cached: u64,
    pub(crate) stats: Stats,
    /// Time of those that did not sleep for I/O.
    pub(crate) awake: Nanos,
}

impl FaultGroup {
    /// The memory in few words: `index.db`, `copy-on-write of index.db`, `anonymous`.
    pub(crate) fn name(&self, model: &Model) -> String {
        match (self.kind, self.file) {
            (FaultKind::File, Some(file)) => file_name(model, file),
            (kind, Some(file)) => format!("{} of {}", kind.text(), file_name(model, file)),
            (kind, None) => kind.text().to_owned(),
        }
    }

    /// What was touched, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let page = if self.kind == FaultKind::HugePage { HUGE } else { PAGE };
        self.pages.saturating_mul(page)
    }
}

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
/// Faults of files this far apart are of two mappings.
const FILE_GAP: u64 = 256 << 20;
/// Clearing 2 MiB takes longer than this on any machine (50 GB/s); clearing 4 KiB takes
/// a few microseconds at most.
const CLEARS_HUGE: Nanos = Nanos(40_000);

const COLUMNS: &[Column] = &[
    Column::text("memory", "memory"),
    Column::count("minor", "minor"),
    Column::count("major", "major"),
    Column::count("slept", "slept"),
    Column::count("cached", "hits"),
    Column::time("p50_ns", "p50"),
    Column::time("p99_ns", "p99"),
    Column::time("total_ns", "total"),
    Column::text("range", "addresses"),
    Column::text("kind", "kind"),
    Column::text("file", "file"),
];

impl Mechanism for Faults {
    fn id(&self) -> &'static str {
        "faults"
    }
    fn title(&self) -> &'static str {
        "page faults by memory and address range"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["exceptions:page_fault_user"]
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        rows(view.index, view.made.faults(view.index))
    }
    fn session(&self, view: &SessionView<'_>) -> Table {
        // A group lies within one process: each process is looked through by itself.
        let mut by_pid: BTreeMap<Option<Pid>, Vec<OpPlace>> = BTreeMap::new();
        for faults in view.collected.faults.chunk_by(|a, b| a.task == b.task) {
            let task = faults.first().and_then(|fault| view.index.task(fault.task));
            by_pid.entry(task.map(|task| task.pid)).or_default().extend(faults);
        }
        let mut processes: Vec<Vec<OpPlace>> = by_pid.into_values().collect();
        // The largest first, so that no thread is left with one at the end.
        processes.sort_by_key(|faults| Reverse(faults.len()));
        let mut groups: Vec<FaultGroup> = processes
            .par_iter()
            .with_max_len(1)
            .flat_map_iter(|faults| fault_groups(view.index, faults))
            .collect();
        sort(&mut groups);
        rows(view.index, &groups)
    }
}

fn rows(index: &Index<'_>, groups: &[FaultGroup]) -> Table {
    let reads = index.told.cache_adds;
    let mut notes = Vec::new();
    if groups.iter().any(|g| g.kind == FaultKind::HugePage) {
        notes.push(
            "no event tells the size of a page: a huge page is inferred where one fault alone \
             touched 2 MiB and took as long as clearing that much"
                .into(),
        );
    }
    if groups.iter().any(|g| g.slept > 0 || g.cached > 0) {
        notes.push(
            "slept: for I/O, whether the kernel counts the fault as major or minor; hits: on pages \
             that were read into the page cache within the capture before"
                .into(),
        );
    }
    let rows = groups.iter().map(|g| row(index.model, g, reads));
    Table::from_iter(rows).with_notes(notes)
}

fn row(model: &Model, group: &FaultGroup, reads: bool) -> [Value<'static>; 11] {
    let stats = group.stats;
    // What found its page in the cache can be told only of files, and from their adds.
    let cached = (reads && group.file.is_some()).then_some(group.cached);
    let file = group.file.map(|file| file_name(model, file));
    [
        group.name(model).into(),
        stats.count.saturating_sub(group.major).into(),
        group.major.into(),
        group.slept.into(),
        cached.into(),
        stats.p50.into(),
        stats.p99.into(),
        stats.total.into(),
        format!("{:#x} + {}", group.from, size(group.to.saturating_sub(group.from))).into(),
        group.kind.text().into(),
        file.into(),
    ]
}

/// One fault.
struct Seen {
    place: Place,
    ns: Nanos,
    major: bool,
    slept: bool,
    cached: bool,
    long: bool,
}

/// Where a fault is, as one number: in the order of kind, file (none first), process and page.
///
/// ```text
/// kind: 8 bits | file + 1: 33 bits | process: 32 bits | page: 52 bits
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place(u128);

impl Place {
    const FILE: u32 = 32 + Self::PID;
    const PID: u32 = 52;
    const KIND: u32 = 33 + Self::FILE;

    #[inline]
    fn new(kind: FaultKind, file: Option<u32>, pid: Pid, address: u64) -> Self {
        let file = file.map_or(0, |file| u128::from(file) + 1);
        // Negative ones come before the others.
        let pid = u128::from(pid.0.cast_unsigned() ^ SIGN);
        let page = u128::from(address / PAGE);
        Self((kind as u128) << Self::KIND | file << Self::FILE | pid << Self::PID | page)
    }

    /// Of some bits from this one on.
    #[inline]
    fn bits(self, from: u32, count: u32) -> u64 {
        (self.0 >> from) as u64 & ((1 << count) - 1)
    }

    fn kind(self) -> FaultKind {
        let kind = FaultKind::ALL.get(self.bits(Self::KIND, 8) as usize);
        kind.copied().unwrap_or(FaultKind::Untold)
    }

    fn with_kind(self, kind: FaultKind) -> Self {
        Self(self.0 & ((1 << Self::KIND) - 1) | (kind as u128) << Self::KIND)
    }

    fn file(self) -> Option<u32> {
        let file = self.bits(Self::FILE, 33).checked_sub(1);
        file.and_then(|file| u32::try_from(file).ok())
    }

    fn pid(self) -> Pid {
        Pid((self.bits(Self::PID, 32) as u32 ^ SIGN).cast_signed())
    }

    #[inline]
    fn page(self) -> u64 {
        self.bits(0, Self::PID)
    }

    /// Whether both belong to one range; the other is not before this one.
    fn near(self, other: Self) -> bool {
        self.0 >> Self::PID == other.0 >> Self::PID && near(self.file(), self.page(), other.page())
    }
}

/// The sign of a process's number.
const SIGN: u32 = 1 << 31;

/// The completed faults over some stretches of work: (task, operation, fault).
pub(crate) fn completed<'m>(
    index: &'m Index<'_>,
    work: &'m [Stretch],
) -> impl Iterator<Item = (&'m Stretch, &'m Task, Op, FaultOp)> + 'm {
    let told = index.told.completions;
    work.iter().flat_map(move |stretch| {
        let task = index.model.tasks.get(stretch.task.0 as usize);
        let list = task.into_iter().flat_map(|task| ops(task, *stretch));
        list.filter_map(move |op| {
            let fault = op.fault()?;
            (!told || fault.major.is_some()).then_some((stretch, task?, op, fault))
        })
    })
}

/// Whether a fault slept, for a block request of its own or one that another has under way.
pub(crate) fn slept_for_io(model: &Model, task: &Task, op: &Op, fault: &FaultOp) -> bool {
    let mut slept = false;
    for (index, _, _, span) in task.spans(op.start, op.end) {
        if !matches!(span.state, State::Blocked(_)) {
            continue;
        }
        slept = true;
        let wake = task.states.get(index + 1).and_then(|next| next.wake);
        if wake.is_some_and(|w| matches!(model.wake(w).source, WakeSource::Block(_))) {
            return true;
        }
    }
    slept && (op.reads || fault.major == Some(true))
}

/// Whether a file is the kernel's own behind shared memory: `shmem_zero_setup` and `ipc/shm.c`
/// give it these names.
fn is_shared_memory(model: &Model, file: u32) -> bool {
    let path = model.files.get(file as usize).and_then(|info| info.path.as_deref());
    path.is_some_and(|path| path.starts_with("/dev/zero") || path.starts_with("/SYSV"))
}

/// Time on a CPU within an operation.
fn on_cpu(task: &Task, op: &Op) -> Nanos {
    task.spans(op.start, op.end)
        .filter(|(_, _, _, span)| span.state == State::Running)
        .map(|(_, from, to, _)| to - from)
        .sum()
}

/// Faults in groups, the most total time first.
pub(crate) fn fault_groups(index: &Index<'_>, faults: &[OpPlace]) -> Vec<FaultGroup> {
    let model = index.model;
    let files_told = index.told.fault_files;
    let mut seen: Vec<Seen> = Vec::with_capacity(faults.len());
    let mut states = StateCursor::default();
    for place in faults {
        let Some((task, op)) = place.get(index) else { continue };
        let Some(fault) = op.fault() else { continue };
        let kind = match fault.file {
            Some(file) if is_shared_memory(model, file) => FaultKind::Shared,
            _ if fault.is_copy_on_write() => FaultKind::CopyOnWrite,
            Some(_) => FaultKind::File,
            None if files_told => FaultKind::Anonymous,
            None => FaultKind::Untold,
        };
        let file = fault.file.filter(|_| kind != FaultKind::Shared);
        // Most faults run from their start to their end.
        let ran = states.throughout(task, op.start, op.end) == Some(State::Running);
        let slept = !ran && slept_for_io(model, task, &op, &fault);
        let cached = match (fault.file, fault.page) {
            (Some(file), Some(page)) if !slept => {
                index.cache().added(model, file, u64::from(page), op.start).is_some()
            }
            _ => false,
        };
        let ns = op.duration();
        seen.push(Seen {
            place: Place::new(kind, file, task.pid, fault.address.0),
            ns,
            major: fault.major == Some(true),
            slept,
            cached,
            long: ns >= CLEARS_HUGE && (ran || on_cpu(task, &op) >= CLEARS_HUGE),
        });
    }
    find_huge(&mut seen);
    seen.sort_unstable_by_key(|s| s.place);
    let groups = seen.chunk_by(|a, b| a.place.near(b.place)).filter_map(group);
    let mut groups: Vec<FaultGroup> = groups.collect();
    sort(&mut groups);
    groups
}

/// The most total time first.
fn sort(groups: &mut [FaultGroup]) {
    groups.sort_unstable_by_key(|g| (Reverse(g.stats.total), g.kind, g.file, g.pid, g.from));
}

/// Whether the pages, the lower first, belong to one range.
fn near(file: Option<u32>, low: u64, high: u64) -> bool {
    if file.is_some() {
        return high.saturating_sub(low).saturating_mul(PAGE) <= FILE_GAP;
    }
    let block = |page: u64| page.saturating_mul(PAGE) / HUGE;
    block(high).saturating_sub(block(low)) <= 1
}

/// Anonymous faults that were alone in their 2 MiB, and took as long as clearing these.
fn find_huge(seen: &mut [Seen]) {
    let block = |s: &Seen| (s.place.pid(), s.place.page().saturating_mul(PAGE) / HUGE);
    let may_be = |s: &Seen| s.long && !s.slept && s.place.kind() == FaultKind::Anonymous;
    // Few are long: how many faults are in their blocks, and no others, is counted.
    let mut faults: FxHashMap<(Pid, u64), u64> =
        seen.iter().filter(|s| may_be(s)).map(|s| (block(s), 0)).collect();
    if faults.is_empty() {
        return;
    }
    for s in &*seen {
        if let Some(faults) = faults.get_mut(&block(s)) {
            *faults += 1;
        }
    }
    for s in seen {
        if may_be(s) && faults.get(&block(s)) == Some(&1) {
            s.place = s.place.with_kind(FaultKind::HugePage);
        }
    }
}

/// Of faults that are sorted by their pages.
fn group(seen: &[Seen]) -> Option<FaultGroup> {
    let (first, last) = (seen.first()?.place, seen.last()?.place);
    let (mut pages, mut page) = (0, None);
    let (mut major, mut slept, mut cached, mut awake) = (0, 0, 0, Nanos::ZERO);
    let mut times: Vec<Nanos> = Vec::with_capacity(seen.len());
    for s in seen {
        pages += u64::from(page != Some(s.place));
        page = Some(s.place);
        major += u64::from(s.major);
        slept += u64::from(s.slept);
        cached += u64::from(s.cached);
        awake += if s.slept { Nanos::ZERO } else { s.ns };
        times.push(s.ns);
    }
    Some(FaultGroup {
        kind: first.kind(),
        file: first.file(),
        pid: first.pid(),
        from: first.page().saturating_mul(PAGE),
        to: last.page().saturating_add(1).saturating_mul(PAGE),
        pages,
        major,
        slept,
        cached,
        awake,
        stats: stats(&mut times),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: i32, page: u64, kind: FaultKind, long: bool) -> Seen {
        Seen {
            place: Place::new(kind, None, Pid(pid), page * PAGE),
            major: false,
            slept: false,
            cached: false,
            long,
            ns: Nanos(100 * page),
        }
    }

    #[test]
    fn a_place_is_kind_file_process_and_page_in_their_order() {
        use FaultKind::{Anonymous, File, Untold};
        let places = [
            (File, Some(0), -1, 9),
            (File, Some(0), 7, 8),
            (File, Some(1), 6, 7),
            (File, Some(u32::MAX), 5, 6),
            (Anonymous, None, 5, 5),
            (Anonymous, None, 5, u64::MAX / PAGE),
            (Anonymous, Some(3), i32::MIN, 0),
            (Untold, None, i32::MAX, 4),
        ];
        let made =
            places.map(|(k, file, pid, page)| Place::new(k, file, Pid(pid), page * PAGE + 7));
        assert!(made.is_sorted());
        for (place, expected) in made.iter().zip(places) {
            let got = (place.kind(), place.file(), place.pid().0, place.page());
            assert_eq!(got, expected);
            let huge = place.with_kind(FaultKind::HugePage);
            let got = (huge.kind(), huge.file(), huge.pid().0, huge.page());
            assert_eq!(got, (FaultKind::HugePage, expected.1, expected.2, expected.3));
        }
        // Of anonymous memory one is near in the next 2 MiB, and only of its own process.
        let at = |pid, page| Place::new(Anonymous, None, Pid(pid), page * PAGE);
        assert!(at(5, 3).near(at(5, 1023)));
        assert!(!at(5, 3).near(at(5, 1024)));
        assert!(!at(5, 3).near(at(6, 4)));
    }

    #[test]
    fn a_huge_page_is_alone_in_its_block_and_long() {
        use FaultKind::{Anonymous, CopyOnWrite, HugePage};
        let mut faults = [
            seen(7, 5, Anonymous, true),
            // With another in its 512 pages.
            seen(7, 1024, Anonymous, true),
            seen(7, 1535, CopyOnWrite, false),
            seen(7, 1536, Anonymous, true),
            // Not long; of another process; twice.
            seen(7, 4096, Anonymous, false),
            seen(8, 5, Anonymous, true),
            seen(8, 8192, Anonymous, true),
            seen(8, 8192, Anonymous, true),
        ];
        find_huge(&mut faults);
        let kinds = faults.map(|s| s.place.kind());
        assert_eq!(
            kinds,
            [HugePage, Anonymous, CopyOnWrite, HugePage, Anonymous, HugePage, Anonymous, Anonymous]
        );
    }

    #[test]
    fn a_page_that_faults_twice_counts_once() {
        let pages = [3, 3, 4, 9, 9, 9];
        let faults = pages.map(|page| seen(7, page, FaultKind::Anonymous, false));
        let group = group(&faults).unwrap();
        assert_eq!((group.pages, group.stats.count, group.stats.max), (3, 6, Nanos(900)));
        assert_eq!((group.from, group.to), (3 * PAGE, 10 * PAGE));
        assert_eq!((group.slept, group.cached, group.major, group.awake), (0, 0, 0, Nanos(3700)));
    }
}
