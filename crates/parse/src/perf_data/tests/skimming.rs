//! What is passed over of a beginning, against a look at all events.

use super::captures;
use crate::events::{Event, Fault, Kind, Syscall};
use crate::perf_data::PerfData;
use crate::perf_data::plan::Action;
use crate::perf_data::record;
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

/// The numbers of the records that are passed over before a time, and what was counted: by the
/// reader as by the test.
fn agree(
    name: &str,
    perf: &PerfData<'_>,
    (all, totals): &(Vec<Seen>, Totals),
    before: Nanos,
) -> Vec<u64> {
    let mut calls = vec![false; 512];
    CALLS.iter().for_each(|nr| calls[*nr] = true);
    let (rest, skimmed) = read(perf, Some(&Skim { before, calls }));
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

#[test]
fn a_call_is_kept_if_anything_about_its_exit_is_different() {
    let path = captures().into_iter().find(|path| path.ends_with("vfs_metadata/perf.data"));
    let bytes = std::fs::read(path.unwrap()).unwrap();
    let read_by = |bytes: &[u8], before: Option<Nanos>| {
        let unpacked = Unpacked::of(bytes).unwrap();
        let perf = PerfData::open(&unpacked, None).unwrap();
        let whole = read(&perf, None);
        agree("changed", &perf, &whole, before.unwrap_or(Nanos::MAX))
    };
    let unpacked = Unpacked::of(&bytes).unwrap();
    let perf = PerfData::open(&unpacked, None).unwrap();
    let (all, _) = read(&perf, None);
    // A call that ends with the record that follows.
    let passed = read_by(&bytes, None);
    let is = |record: u64, enter: bool| {
        let seen = all.iter().find(|seen| seen.record == record).unwrap();
        matches!((seen.what, enter), (What::Enter(_), true) | (What::Exit(..), false))
    };
    let pair = passed.windows(2).find(|two| is(two[0], true) && two[1] == two[0] + 1);
    let [enter, exit] = *pair.unwrap() else { panic!("two") };
    assert!(is(exit, false));
    let kept = |bytes: &[u8], before: Option<Nanos>| {
        let passed = read_by(bytes, before);
        passed.binary_search(&enter).is_err() && passed.binary_search(&exit).is_err()
    };
    assert!(!kept(&bytes, None));
    // It ends behind the border, or just before it.
    let ends = all.iter().find(|seen| seen.record == exit).unwrap().time;
    assert!(kept(&bytes, Some(ends)));
    assert!(!kept(&bytes, Some(ends + Nanos(1))));
    let at = place(&perf, exit);
    let plan = &perf.plans[perf.attr_of(&bytes[at..]).unwrap()];
    let Action::Tracepoint(tracepoint) = &plan.action else { panic!("an exit") };
    let payload = at + plan.layout.tail.payload().unwrap();
    let (number, Some(ret)) = tracepoint.call().unwrap() else { panic!("an exit") };
    let with = |place: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[place..place + value.len()].copy_from_slice(value);
        bytes
    };
    for (value, keeps) in [(-511_i64, false), (-512, true), (-516, true), (-517, false)] {
        assert_eq!(kept(&with(payload + ret, &value.to_le_bytes()), None), keeps, "{value}");
    }
    // The exit of another call, task or CPU.
    assert!(kept(&with(payload + number, &1_i64.to_le_bytes()), None));
    let (tid, cpu) = (plan.layout.tid.unwrap() + 4, plan.layout.cpu.unwrap());
    assert!(kept(&with(at + tid, &1_i32.to_le_bytes()), None));
    assert!(kept(&with(at + cpu, &2_u32.to_le_bytes()), None));
}
