//! What is passed over of a beginning, against a look at all events.

use super::captures;
use crate::events::{Event, Fault, Kind, Syscall};
use crate::perf_data::PerfData;
use crate::perf_data::plan::Action;
use crate::perf_data::record;
use crate::source::{Leaves, Skim};
use crate::stream::Course;
use crate::units::Nanos;
use crate::{Diagnostics, Totals, Unpacked, write_event};

/// Calls that leave nothing: read, fstat, lseek, mmap, ioctl and newfstatat of x86-64, and one that
/// no capture has.
const NOTHING: [usize; 7] = [0, 5, 8, 9, 16, 262, 500];
const OPENAT: usize = 257;
const CLOSE: usize = 3;
/// `O_CREAT`, `O_TRUNC`.
const CHANGES: u64 = 0x240;

/// An event of which the test needs to know: its number in the file, and what it is.
struct Seen {
    record: u64,
    line: String,
    what: What,
    time: Nanos,
    task: (i32, u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Enter(i64, [u64; 6]),
    Exit(i64, i64),
    Fault,
    Other,
}

fn what(event: &Event<'_>) -> What {
    if let Kind::Syscall(call) = &event.kind {
        return match call {
            Syscall::SysEnter(enter) => What::Enter(enter.id, enter.args.0),
            Syscall::SysExit(exit) => What::Exit(exit.id, exit.ret),
        };
    }
    let fault = matches!(
        &event.kind,
        Kind::Fault(
            Fault::PageFaultUser(_)
                | Fault::PageFaultKernel(_)
                | Fault::MinorFaults(_)
                | Fault::MajorFaults(_)
        )
    );
    if fault { What::Fault } else { What::Other }
}

fn read(perf: &PerfData<'_>, skim: Option<&Skim>) -> (Vec<Seen>, Totals) {
    let mut all = Vec::new();
    let mut take = |events: &[Event<'_>]| {
        all.extend(events.iter().map(|event| {
            let mut line = String::new();
            write_event(event, &mut line);
            let (record, time, task) = (event.record, event.time, (event.tid.0, event.cpu.0));
            Seen { record, line, what: what(event), time, task }
        }));
    };
    let totals =
        perf.read(1 << 12, skim, &Course::default(), &mut Diagnostics::default(), &mut take);
    (all, totals)
}

/// The records in the order of the file.
struct File<'s> {
    seen: Vec<&'s Seen>,
    before: Nanos,
}

impl File<'_> {
    /// Whether the next record is of the same task, without a gap, and before the border.
    fn goes_on(&self, at: usize) -> bool {
        let (this, next) = (self.seen[at], self.seen.get(at + 1));
        next.is_some_and(|next| {
            next.record == this.record + 1 && next.task == this.task && next.time < self.before
        })
    }

    /// A call in which there is nothing but faults: where it ends, and what it is.
    fn call(&self, at: usize) -> Option<(usize, usize, [u64; 6], i64)> {
        let What::Enter(nr, args) = self.seen[at].what else { return None };
        let mut end = at;
        loop {
            if !self.goes_on(end) {
                return None;
            }
            end += 1;
            match self.seen[end].what {
                What::Fault => {}
                What::Exit(of, ret) if of == nr && !(-516..=-512).contains(&ret) => {
                    return Some((end, usize::try_from(nr).ok()?, args, ret));
                }
                What::Exit(..) | What::Enter(..) | What::Other => return None,
            }
        }
    }

    /// Where what can be passed over from a record on ends.
    fn passes(&self, at: usize) -> Option<usize> {
        if self.seen[at].time >= self.before {
            return None;
        }
        if self.seen[at].what == What::Fault {
            return Some(at);
        }
        let (mut end, mut fds) = (at, Vec::new());
        let (_, first, ..) = self.call(at)?;
        if first != OPENAT && !NOTHING.contains(&first) {
            return None;
        }
        // An opening, and 64 calls or faults.
        for n in 0..=64 {
            if n > 0 {
                if !self.goes_on(end) {
                    return None;
                }
                end += 1;
            }
            if self.seen[end].what != What::Fault {
                let (exit, nr, args, ret) = self.call(end)?;
                end = exit;
                match nr {
                    OPENAT if args[2] & CHANGES != 0 => return None,
                    OPENAT if ret < 0 => {}
                    OPENAT => fds.push(ret),
                    CLOSE if ret == 0 => {
                        let open = fds.iter().position(|fd| u64::try_from(*fd) == Ok(args[0]));
                        fds.remove(open?);
                    }
                    nr if NOTHING.contains(&nr) => {}
                    _ => return None,
                }
            }
            match fds.len() {
                0 => return Some(end),
                1..=4 => {}
                _ => return None,
            }
        }
        None
    }
}

/// The numbers of the records that are passed over, by rules of the test's own.
fn passed(all: &[Seen], before: Nanos) -> Vec<u64> {
    let mut seen: Vec<&Seen> = all.iter().collect();
    seen.sort_by_key(|seen| seen.record);
    let file = File { seen, before };
    let mut passed = Vec::new();
    let mut at = 0;
    while let Some(first) = file.seen.get(at) {
        let end = file.passes(at);
        passed.extend(end.into_iter().flat_map(|end| first.record..=file.seen[end].record));
        at = end.unwrap_or(at) + 1;
    }
    passed
}

/// What calls leave behind.
fn leaves() -> Vec<Leaves> {
    let mut calls = vec![Leaves::More; 512];
    NOTHING.iter().for_each(|nr| calls[*nr] = Leaves::Nothing);
    calls[OPENAT] = Leaves::Fd { flags: 2, unless: CHANGES };
    calls[CLOSE] = Leaves::Closed;
    calls
}

/// The numbers of the records that are passed over before a time, and what was counted: by the
/// reader as by the test.
fn agree(
    name: &str,
    perf: &PerfData<'_>,
    (all, totals): &(Vec<Seen>, Totals),
    before: Nanos,
) -> Vec<u64> {
    let (rest, skimmed) = read(perf, Some(&Skim { before, calls: leaves() }));
    let passed = passed(all, before);
    let want: Vec<&str> = all
        .iter()
        .filter(|seen| passed.binary_search(&seen.record).is_err())
        .map(|seen| seen.line.as_str())
        .collect();
    let got: Vec<&str> = rest.iter().map(|seen| seen.line.as_str()).collect();
    let differs = want.iter().zip(&got).find(|(a, b)| a != b);
    assert!(want == got, "{name}: before {before}: {differs:?}");
    assert_eq!(skimmed.skimmed, passed.len() as u64, "{name}");
    assert_eq!(skimmed.records, totals.records, "{name}");
    assert_eq!(skimmed.events + skimmed.skimmed, totals.events, "{name}");
    passed
}

#[test]
fn a_beginning_lacks_faults_and_calls_in_which_nothing_happened() {
    let (mut count, mut part) = (0, 0);
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        let Ok(unpacked) = Unpacked::of(&bytes) else { continue };
        let Ok(perf) = PerfData::open(&unpacked, None) else { continue };
        let whole = read(&perf, None);
        let Some((first, last)) = whole.1.span.filter(|_| perf.skims()) else { continue };
        assert_eq!(whole.1.skimmed, 0);
        let name = path.display().to_string();
        let half = Nanos(first.0 + (last - first).0 / 2);
        for before in [Nanos::ZERO, first, half, Nanos::MAX] {
            let passed = agree(&name, &perf, &whole, before);
            count += passed.len();
            part += usize::from(!passed.is_empty() && before == half);
        }
    }
    assert!(count > 40_000 && part > 10, "{count} records passed over, {part} beginnings");
}

/// Where in the file a record begins.
fn place(perf: &PerfData<'_>, record: u64) -> usize {
    let mut position = 0;
    for _ in 0..record {
        position = record::at(perf.data, position).unwrap().next();
    }
    usize::try_from(perf.offset(position)).unwrap()
}

/// A capture of which single bytes are changed.
struct Changed {
    bytes: Vec<u8>,
    seen: Vec<Seen>,
}

impl Changed {
    fn new(fixture: &str) -> Self {
        let path = captures().into_iter().find(|path| path.ends_with(fixture));
        let bytes = std::fs::read(path.unwrap()).unwrap();
        let (mut seen, _) = with(&bytes, |perf| read(perf, None));
        seen.sort_by_key(|seen| seen.record);
        Self { bytes, seen }
    }

    /// Whether these records, one after the other, are passed over of such bytes.
    fn passes(bytes: &[u8], records: &[u64], before: Nanos) -> Vec<bool> {
        let passed = with(bytes, |perf| agree("changed", perf, &read(perf, None), before));
        records.iter().map(|record| passed.binary_search(record).is_ok()).collect()
    }

    fn what(&self, record: u64) -> &Seen {
        self.seen.iter().find(|seen| seen.record == record).unwrap()
    }

    /// With another value of a word of a call: the number, or the n-th word behind it.
    fn with_word(&self, record: u64, n: usize, value: u64) -> Vec<u8> {
        let at = with(&self.bytes, |perf| {
            let at = place(perf, record);
            let plan = &perf.plans[perf.attr_of(&self.bytes[at..]).unwrap()];
            let Action::Tracepoint(tracepoint) = &plan.action else { panic!("a call") };
            let (_, number, words) = tracepoint.call().unwrap();
            let word = if n == 0 { number } else { words + 8 * (n - 1) };
            at + plan.layout.tail.payload().unwrap() + word
        });
        self.with(at, &value.to_le_bytes())
    }

    /// With another task, or CPU.
    fn with_front(&self, record: u64, cpu: bool, value: u32) -> Vec<u8> {
        let at = with(&self.bytes, |perf| {
            let at = place(perf, record);
            let layout = &perf.plans[perf.attr_of(&self.bytes[at..]).unwrap()].layout;
            at + if cpu { layout.cpu.unwrap() } else { layout.tid.unwrap() + 4 }
        });
        self.with(at, &value.to_le_bytes())
    }

    fn with(&self, at: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    }
}

fn with<T>(bytes: &[u8], then: impl FnOnce(&PerfData<'_>) -> T) -> T {
    let unpacked = Unpacked::of(bytes).unwrap();
    then(&PerfData::open(&unpacked, None).unwrap())
}

#[test]
fn a_call_is_kept_if_anything_about_its_exit_is_different() {
    let file = Changed::new("vfs_metadata/perf.data");
    // A call that ends with the record that follows.
    let calls = with(&file.bytes, |perf| agree("whole", perf, &read(perf, None), Nanos::MAX));
    let is_pair = |two: &&[u64]| {
        let (enter, exit) = (file.what(two[0]).what, file.what(two[1]).what);
        let nothing = |nr: i64| NOTHING.iter().any(|call| i64::try_from(*call) == Ok(nr));
        two[1] == two[0] + 1
            && matches!(enter, What::Enter(nr, _) if nothing(nr))
            && matches!(exit, What::Exit(..))
    };
    let pair = calls.windows(2).find(is_pair).unwrap();
    let kept = |bytes: &[u8], before| match *Changed::passes(bytes, pair, before) {
        [false, false] => true,
        [true, true] => false,
        ref other => panic!("{other:?}"),
    };
    // It ends behind the border, or just before it.
    let ends = file.what(pair[1]).time;
    assert!(kept(&file.bytes, ends));
    assert!(!kept(&file.bytes, ends + Nanos(1)));
    for (value, keeps) in [(-511_i64, false), (-512, true), (-516, true), (-517, false)] {
        let changed = file.with_word(pair[1], 1, value.cast_unsigned());
        assert_eq!(kept(&changed, Nanos::MAX), keeps, "{value}");
    }
    // The exit of another call, task or CPU.
    assert!(kept(&file.with_word(pair[1], 0, 1), Nanos::MAX));
    assert!(kept(&file.with_front(pair[1], false, 1), Nanos::MAX));
    assert!(kept(&file.with_front(pair[1], true, 2), Nanos::MAX));
}

#[test]
fn an_opening_is_kept_unless_what_it_opened_is_closed_at_once() {
    let file = Changed::new("user_lock/perf.data");
    // Each ends with the record that follows.
    let calls = [OPENAT, 262, 9, CLOSE];
    let is_run = |eight: &&[Seen]| {
        let whole = eight
            .windows(2)
            .all(|two| two[1].record == two[0].record + 1 && two[1].task == two[0].task);
        let mut pairs = eight.chunks(2).zip(calls);
        whole
            && pairs.all(|(pair, call)| {
                matches!(pair[0].what, What::Enter(nr, _) if usize::try_from(nr) == Ok(call))
                    && matches!(pair[1].what, What::Exit(..))
            })
    };
    let run = file.seen.windows(8).find(is_run).unwrap();
    let records: Vec<u64> = run.iter().map(|seen| seen.record).collect();
    let [opens, opened, looks, .., closes, closed] = *records else { panic!("eight") };
    let (What::Enter(_, [_, _, flags, ..]), What::Exit(_, fd)) = (run[0].what, run[1].what) else {
        panic!("an opening")
    };
    // Which are passed over.
    let passes = |bytes: &[u8], before| {
        let word = |passes: bool| if passes { '.' } else { 'k' };
        Changed::passes(bytes, &records, before).into_iter().map(word).collect::<String>()
    };
    let changed = |record, n, value| passes(&file.with_word(record, n, value), Nanos::MAX);
    let error = |number: i64| (-number).cast_unsigned();
    assert_eq!(passes(&file.bytes, Nanos::MAX), "........");
    // The close ends behind the border.
    assert_eq!(passes(&file.bytes, run[7].time), "kk....kk");
    // The opening may change something, or not (O_EXCL); it fails, and the fd is another's.
    assert_eq!(changed(opens, 3, flags | 0x40), "kk....kk");
    assert_eq!(changed(opens, 3, flags | 0x200), "kk....kk");
    assert_eq!(changed(opens, 3, flags | 0x80), "........");
    assert_eq!(changed(opened, 1, error(2)), "......kk");
    // Another fd is closed; the close fails, or is another call that leaves more.
    assert_eq!(changed(closes, 1, fd.cast_unsigned() + 1), "kk....kk");
    assert_eq!(changed(closed, 1, error(9)), "kk....kk");
    assert_eq!(changed(closes, 0, 1), "kk....kk");
    // Another task has the CPU meanwhile, or the task another CPU.
    assert_eq!(passes(&file.with_front(looks, false, 1), Nanos::MAX), "kkkk..kk");
    assert_eq!(passes(&file.with_front(closes, true, 2), Nanos::MAX), "kk....kk");
}
