//! All operations of a capture, looked through once: what metadata calls usually take, who changes names.

use std::mem;
use std::ops::Range;

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, TaskId};
use rayon::prelude::*;

use crate::journal::changing_calls;
use crate::mechanism::metadata::MetadataCalls;

/// What a look at all operations tells.
pub(crate) struct Survey {
    /// The metadata calls, and what is usual for them.
    pub(crate) metadata: MetadataCalls,
    /// The calls that change a directory or an inode, by when they begin. Where commits tell
    /// who is in them, or there are none, nobody asks.
    pub(crate) changes: Vec<(Nanos, TaskId)>,
}

/// Neighbouring operations of one task: what one thread looks through at a time.
struct Piece {
    task: TaskId,
    ops: Range<usize>,
}

/// So many operations are one piece.
const PIECE: usize = 1 << 15;

/// How long calls took, in 4 bytes each: there are millions of them.
#[derive(Default)]
struct Times {
    short: Vec<u32>,
    /// Those that do not fit.
    long: Vec<Nanos>,
}

impl Times {
    #[inline]
    fn push(&mut self, ns: Nanos) {
        match u32::try_from(ns.0) {
            Ok(ns) => self.short.push(ns),
            Err(_) => self.long.push(ns),
        }
    }

    /// The middle one of all, the lower of two; `None` where there are none.
    fn median(parts: impl Iterator<Item = Self>) -> Option<Nanos> {
        let parts: Vec<Self> = parts.collect();
        let mut short = Vec::with_capacity(parts.iter().map(|part| part.short.len()).sum());
        let mut long = Vec::new();
        for mut part in parts {
            short.append(&mut part.short);
            long.append(&mut part.long);
        }
        let middle = (short.len() + long.len()).checked_sub(1)? / 2;
        match middle.checked_sub(short.len()) {
            None => Some(Nanos(u64::from(*short.select_nth_unstable(middle).1))),
            Some(middle) => Some(*long.select_nth_unstable(middle).1),
        }
    }
}

/// What some pieces tell.
#[derive(Default)]
struct Found {
    /// Of each metadata call, how long those took that read nothing.
    times: Vec<Times>,
    changes: Vec<(Nanos, TaskId)>,
}

impl Survey {
    /// On one thread.
    pub(crate) fn new(model: &Model) -> Self {
        let look = Look::new(model);
        let found = pieces(model).iter().fold(Found::default(), |found, p| look.piece(found, p));
        look.finish(vec![found])
    }

    /// On all threads.
    pub(crate) fn parallel(model: &Model) -> Self {
        let look = Look::new(model);
        let pieces = pieces(model).into_par_iter();
        let found = pieces.fold(Found::default, |found, p| look.piece(found, &p)).collect();
        look.finish(found)
    }
}

fn pieces(model: &Model) -> Vec<Piece> {
    let of = |(task, ops): (TaskId, usize)| {
        (0..ops).step_by(PIECE).map(move |from| Piece { task, ops: from..ops.min(from + PIECE) })
    };
    model.task_ids().map(|(id, task)| (id, task.ops.len())).flat_map(of).collect()
}

/// What is looked for.
struct Look<'m> {
    model: &'m Model,
    metadata: MetadataCalls,
    /// Of each metadata call whether it changes names, where that matters.
    changing: Vec<bool>,
}

impl<'m> Look<'m> {
    fn new(model: &'m Model) -> Self {
        let told = model.commits.is_empty() || model.captured.has("jbd2:jbd2_handle_start");
        let mut look = Self { model, metadata: MetadataCalls::new(model), changing: Vec::new() };
        if !told {
            look.changing = look.changing();
        }
        look
    }

    fn changing(&self) -> Vec<bool> {
        let mut changing = vec![false; self.metadata.len()];
        for place in changing_calls(self.model).into_iter().filter_map(|nr| self.metadata.place(nr))
        {
            if let Some(slot) = changing.get_mut(place) {
                *slot = true;
            }
        }
        changing
    }

    fn piece(&self, mut found: Found, piece: &Piece) -> Found {
        found.times.resize_with(self.metadata.len(), Times::default);
        let Some(task) = self.model.tasks.get(piece.task.0 as usize) else { return found };
        let ops = task.ops.settled();
        for index in piece.ops.clone() {
            let call = ops.call(index);
            let Some(place) = call.and_then(|call| self.metadata.place(call.nr)) else { continue };
            let start = ops.start(index);
            if start >= self.model.whole_since
                && !ops.reads(index)
                && let Some(took) = ops.took(index)
                && let Some(times) = found.times.get_mut(place)
            {
                times.push(took);
            }
            if self.changing.get(place) == Some(&true) {
                found.changes.push((start, piece.task));
            }
        }
        found
    }

    fn finish(self, mut found: Vec<Found>) -> Survey {
        let Self { mut metadata, .. } = self;
        metadata.set_medians(|place| {
            let times = found.iter_mut().filter_map(|found| found.times.get_mut(place));
            Times::median(times.map(mem::take))
        });
        let mut changes: Vec<_> = found.into_iter().flat_map(|found| found.changes).collect();
        changes.sort_unstable();
        Survey { metadata, changes }
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::Builder;
    use agenttrace_model::parse::{Capture, Diagnostics, ReadOptions, Tid, Unpacked};

    use super::*;

    /// Task 100 makes two directories (83), looks at names (4) for 2, 9 and 4 us, and reads from
    /// an fd of which nothing is known; task 200 reads from a file.
    const EVENTS: &str = "# agenttrace.events/1
# clock monotonic
# arch x86_64
# cpus 2
0 - 100/100 - record:comm pid=100 tid=100 exec=0 comm=\"agent\"
0 - 200/200 - record:comm pid=200 tid=200 exec=0 comm=\"other\"
900000 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0
900500 0 100/100 . raw_syscalls:sys_exit id=39 ret=100
900500 0 100/100 . raw_syscalls:sys_enter id=39 args=0,0,0,0,0,0
901000 0 100/100 . raw_syscalls:sys_exit id=39 ret=100
1000000 0 100/100 . raw_syscalls:sys_enter id=83 args=0,0,0,0,0,0
1005000 0 100/100 . raw_syscalls:sys_exit id=83 ret=0
1010000 0 100/100 . raw_syscalls:sys_enter id=4 args=0,0,0,0,0,0
1012000 0 100/100 . raw_syscalls:sys_exit id=4 ret=0
1020000 0 100/100 . raw_syscalls:sys_enter id=4 args=0,0,0,0,0,0
1029000 0 100/100 . raw_syscalls:sys_exit id=4 ret=0
1030000 0 100/100 . raw_syscalls:sys_enter id=4 args=0,0,0,0,0,0
1034000 0 100/100 . raw_syscalls:sys_exit id=4 ret=0
1040000 0 100/100 . raw_syscalls:sys_enter id=0 args=9,0,0,0,0,0
1041000 0 100/100 . raw_syscalls:sys_exit id=0 ret=0
1050000 0 100/100 . raw_syscalls:sys_enter id=83 args=0,0,0,0,0,0
1060000 0 100/100 . raw_syscalls:sys_exit id=83 ret=0
1070000 1 200/200 . raw_syscalls:sys_enter id=2 args=0,0,0,0,0,0
1071000 1 200/200 . raw_syscalls:sys_exit id=2 ret=5
1072000 1 200/200 . raw_syscalls:sys_enter id=0 args=5,0,0,0,0,0
1073000 1 200/200 . raw_syscalls:sys_exit id=0 ret=0
";

    fn model() -> Model {
        let unpacked = Unpacked::of(EVENTS.as_bytes()).unwrap();
        let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
        let mut builder = Builder::new(capture.info());
        capture.read(&mut Diagnostics::default(), &mut |batch| builder.push(batch)).unwrap();
        builder.finish(None).unwrap()
    }

    fn task(model: &Model, tid: i32) -> TaskId {
        model.task_ids().find(|(_, task)| task.tid == Tid(tid)).unwrap().0
    }

    #[test]
    fn a_look_at_all_operations_tells_medians() {
        let model = model();
        for survey in [Survey::new(&model), Survey::parallel(&model)] {
            assert_eq!(survey.metadata.median(4), Some(Nanos(4000)));
            assert_eq!(survey.metadata.median(83), Some(Nanos(5000)));
            // A metadata call that nobody made, and what is none.
            assert_eq!(survey.metadata.median(6), Some(Nanos::ZERO));
            assert_eq!(survey.metadata.median(0), None);
            // Without commits nobody asks.
            assert_eq!(survey.changes, []);
        }
    }

    #[test]
    fn the_median_of_parts_is_the_lower_middle_of_all() {
        const MAX: u64 = u32::MAX as u64;
        let part = |list: &[u64]| {
            let mut times = Times::default();
            list.iter().for_each(|ns| times.push(Nanos(*ns)));
            times
        };
        let median = |parts: &[&[u64]]| Times::median(parts.iter().map(|list| part(list)));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[&[], &[]]), None);
        assert_eq!(median(&[&[9, 2], &[4]]), Some(Nanos(4)));
        assert_eq!(median(&[&[9], &[2, 4, 7]]), Some(Nanos(4)));
        // What takes more than 4 bytes is longer than all that does not.
        let long = [MAX + 3, MAX + 1, MAX + 2];
        assert_eq!(median(&[&[MAX], &long]), Some(Nanos(MAX + 1)));
        assert_eq!(median(&[&[5, MAX], &long]), Some(Nanos(MAX + 1)));
        assert_eq!(median(&[&long, &[5, MAX, 6]]), Some(Nanos(MAX)));
        assert_eq!(median(&[&long]), Some(Nanos(MAX + 2)));
        let parts = part(&long);
        assert_eq!((parts.short.len(), parts.long.len()), (0, 3));
    }

    #[test]
    fn changes_of_names_come_in_time_order() {
        let model = model();
        let look = Look::new(&model);
        let look = Look { changing: look.changing(), ..look };
        let id = task(&model, 100);
        let ops = |ops| Piece { task: id, ops };
        let parts = [ops(6..20), ops(0..6)];
        let found = parts.iter().map(|part| look.piece(Found::default(), part)).collect();
        let survey = look.finish(found);
        assert_eq!(survey.changes, [(Nanos(1_000_000), id), (Nanos(1_050_000), id)]);
        assert_eq!(survey.metadata.median(4), Some(Nanos(4000)));
    }
}
