//! What is passed over of a beginning, against a look at all events.

use super::captures;
use crate::events::{Event, Fault, Kind, Syscall};
use crate::perf_data::PerfData;
use crate::source::Skim;
use crate::stream::Course;
use crate::units::Nanos;
use crate::{Diagnostics, Totals, Unpacked, write_event};

/// Calls that pass: read, newfstatat and lseek of x86-64, and one that no capture has.
const CALLS: [usize; 4] = [0, 262, 8, 500];

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
    Enter(i64),
    Exit(i64, i64),
    Fault,
    Other,
}

fn what(event: &Event<'_>) -> What {
    if let Kind::Syscall(call) = &event.kind {
        return match call {
            Syscall::SysEnter(enter) => What::Enter(enter.id),
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

/// The numbers of the records that are passed over, by rules of the test's own: in the order of
/// the file, runs of records without a gap.
fn passed(all: &[Seen], before: Nanos) -> Vec<u64> {
    let mut file: Vec<&Seen> = all.iter().collect();
    file.sort_by_key(|seen| seen.record);
    let mut passed = Vec::new();
    let mut at = 0;
    while let Some(first) = file.get(at) {
        at += 1;
        if first.time >= before {
            continue;
        }
        let What::Enter(nr) = first.what else {
            passed.extend((first.what == What::Fault).then_some(first.record));
            continue;
        };
        if !CALLS.iter().any(|call| i64::try_from(*call) == Ok(nr)) {
            continue;
        }
        let mut inside = file[at..].iter().zip(1..).take_while(|(seen, n)| {
            seen.record == first.record + n && seen.task == first.task && seen.time < before
        });
        let exit = inside.find(|(seen, _)| seen.what != What::Fault);
        if let Some((seen, n)) = exit
            && let What::Exit(of, ret) = seen.what
            && of == nr
            && !(-516..=-512).contains(&ret)
        {
            passed.extend(first.record..=first.record + n);
            at += usize::try_from(n).unwrap();
        }
    }
    passed
}

#[test]
fn a_beginning_lacks_faults_and_calls_in_which_nothing_happened() {
    let mut calls = vec![false; 512];
    CALLS.iter().for_each(|nr| calls[*nr] = true);
    let (mut count, mut part) = (0, 0);
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        let Ok(unpacked) = Unpacked::of(&bytes) else { continue };
        let Ok(perf) = PerfData::open(&unpacked, None) else { continue };
        let (all, totals) = read(&perf, None);
        let Some((first, last)) = totals.span.filter(|_| perf.skims()) else { continue };
        assert_eq!(totals.skimmed, 0);
        let half = Nanos(first.0 + (last - first).0 / 2);
        for before in [Nanos::ZERO, first, half, Nanos::MAX] {
            let skim = Skim { before, calls: calls.clone() };
            let (rest, skimmed) = read(&perf, Some(&skim));
            let passed = passed(&all, before);
            let want: Vec<&str> = all
                .iter()
                .filter(|seen| passed.binary_search(&seen.record).is_err())
                .map(|seen| seen.line.as_str())
                .collect();
            let got: Vec<&str> = rest.iter().map(|seen| seen.line.as_str()).collect();
            let differs = want.iter().zip(&got).find(|(a, b)| a != b);
            assert!(want == got, "{}: before {before}: {differs:?}", path.display());
            assert_eq!(skimmed.skimmed, passed.len() as u64, "{}", path.display());
            assert_eq!(skimmed.records, totals.records, "{}", path.display());
            assert_eq!(skimmed.events + skimmed.skimmed, totals.events, "{}", path.display());
            count += passed.len();
            part += usize::from(!passed.is_empty() && before == half);
        }
    }
    assert!(count > 40_000 && part > 10, "{count} records passed over, {part} beginnings");
}
