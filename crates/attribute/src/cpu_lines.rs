//! Tasks' states to lines of CPUs: who ran on each, when, and when it was idle.

use agenttrace_model::parse::{Cpu, Nanos};
use agenttrace_model::{Model, TaskId, first_not};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// A task ran on a CPU over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Run {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    pub(crate) task: TaskId,
}

/// How long runs are whose length does not fit.
type Long = FxHashMap<(Nanos, TaskId), Nanos>;

/// For each CPU who ran on it, in time order. Between two runs it was idle, or, where
/// events were lost or not all tasks recorded, nothing is known.
#[derive(Default)]
pub(crate) struct CpuLines {
    /// By CPU.
    lines: Vec<Vec<Packed>>,
    long: Long,
}

/// A run in 16 bytes: a capture has millions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed {
    from: Nanos,
    /// Nanoseconds; [`LONG`]: its end is in [`CpuLines::long`].
    len: u32,
    task: TaskId,
}

/// The runs on one CPU.
#[derive(Default)]
struct Line {
    runs: Vec<Packed>,
    long: Long,
}

/// 4.3 seconds: few runs are as long.
const LONG: u32 = u32::MAX;

/// Where a reader is in each line, who asks for times that mostly go forward.
#[derive(Default)]
pub(crate) struct LineCursor {
    /// How many runs of each line have passed.
    passed: Vec<usize>,
}

impl CpuLines {
    /// On one thread.
    pub(crate) fn new(model: &Model) -> Self {
        Self::of(model.runs.cpus().map(|cpu| Line::new(model, cpu)).collect())
    }

    /// On all threads.
    pub(crate) fn parallel(model: &Model) -> Self {
        let cpus: Vec<Cpu> = model.runs.cpus().collect();
        Self::of(cpus.into_par_iter().map(|cpu| Line::new(model, cpu)).collect())
    }

    fn of(lines: Vec<Line>) -> Self {
        let mut all = Self::default();
        for Line { runs, long } in lines {
            all.lines.push(runs);
            all.long.extend(long);
        }
        all
    }

    fn line(&self, cpu: Cpu) -> &[Packed] {
        self.lines.get(cpu.0 as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// The CPUs on which tasks ran, in their order.
    pub(crate) fn cpus(&self) -> impl Iterator<Item = Cpu> + '_ {
        let ran = (0..).map(Cpu).zip(&self.lines).filter(|(_, line)| !line.is_empty());
        ran.map(|(cpu, _)| cpu)
    }

    /// The runs on a CPU that overlap `[from, to)`, whole, in time order.
    pub(crate) fn runs(
        &self,
        cpu: Cpu,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = Run> + '_ + use<'_> {
        let line = self.line(cpu);
        let first = line.partition_point(|run| run.unpack(&self.long).to <= from);
        self.from(line, first, to)
    }

    /// The same for a reader who asks for times that mostly go forward.
    pub(crate) fn runs_on(
        &self,
        cursor: &mut LineCursor,
        cpu: Cpu,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = Run> + '_ + use<'_> {
        let (line, place) = (self.line(cpu), cpu.0 as usize);
        if line.is_empty() {
            return self.from(line, 0, to);
        }
        if cursor.passed.len() <= place {
            cursor.passed.resize(place + 1, 0);
        }
        let passes = |i: usize| line.get(i).is_some_and(|run| run.unpack(&self.long).to <= from);
        let before = cursor.passed.get(place).copied().unwrap_or_default();
        let known = if before.checked_sub(1).is_none_or(passes) { before } else { 0 };
        let first = first_not(known, line.len(), passes);
        if let Some(slot) = cursor.passed.get_mut(place) {
            *slot = first;
        }
        self.from(line, first, to)
    }

    fn from<'l>(
        &'l self,
        line: &'l [Packed],
        first: usize,
        to: Nanos,
    ) -> impl Iterator<Item = Run> + 'l {
        let later = line.iter().skip(first).take_while(move |run| run.from < to);
        later.map(|run| run.unpack(&self.long))
    }

    /// The last run on a CPU that began before `time`.
    pub(crate) fn before(&self, cpu: Cpu, time: Nanos) -> Option<Run> {
        let line = self.line(cpu);
        let after = line.partition_point(|run| run.from < time);
        line.get(after.checked_sub(1)?).map(|run| run.unpack(&self.long))
    }

    /// When a CPU was idle within `[from, to)`, in time order.
    pub(crate) fn idle(&self, cpu: Cpu, from: Nanos, to: Nanos) -> Vec<(Nanos, Nanos)> {
        let mut gaps = Vec::new();
        let mut at = from;
        for run in self.runs(cpu, from, to) {
            if run.from > at {
                gaps.push((at, run.from));
            }
            at = at.max(run.to);
        }
        if at < to {
            gaps.push((at, to));
        }
        gaps
    }
}

impl Line {
    fn new(model: &Model, cpu: Cpu) -> Self {
        let states = model.runs.on(cpu);
        let mut line = Self { runs: Vec::with_capacity(states.len()), long: Long::default() };
        for (task, place) in states {
            if let Some((from, to)) = model.task(task).states.ran_on(cpu, place, model.span.1) {
                line.push(Run { from, to, task });
            }
        }
        line.sorted()
    }

    fn push(&mut self, run: Run) {
        let Run { from, to, task } = run;
        let len = to.0.checked_sub(from.0).and_then(|len| u32::try_from(len).ok());
        let len = len.unwrap_or(LONG);
        if len == LONG {
            self.long.insert((from, task), to);
        }
        self.runs.push(Packed { from, len, task });
    }

    /// In time order, each run once. They mostly are.
    fn sorted(mut self) -> Self {
        let long = &self.long;
        if !self.runs.is_sorted_by_key(|run| run.unpack(long)) {
            self.runs.sort_unstable_by_key(|run| run.unpack(long));
        }
        self.runs.dedup();
        self
    }
}

impl Packed {
    #[inline]
    fn unpack(self, long: &Long) -> Run {
        let Self { from, len, task } = self;
        let to = match len {
            LONG => long.get(&(from, task)).copied().unwrap_or(from),
            len => from + Nanos(u64::from(len)),
        };
        Run { from, to, task }
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::Builder;
    use agenttrace_model::parse::{Capture, Diagnostics, ReadOptions, Unpacked};

    use super::*;

    fn run(from: u64, to: u64, task: u32) -> Run {
        Run { from: Nanos(from), to: Nanos(to), task: TaskId(task) }
    }

    fn lines(runs: &[(u32, Run)]) -> CpuLines {
        let mut lines: [Line; 8] = Default::default();
        for (cpu, run) in runs {
            lines[*cpu as usize].push(*run);
        }
        CpuLines::of(lines.into_iter().map(Line::sorted).collect())
    }

    #[test]
    fn runs_of_any_length_come_back_in_time_order() {
        const S: u64 = 1_000_000_000;
        let max = u64::from(u32::MAX);
        let lines = lines(&[
            (7, run(20 * S, 20 * S + max, 1)),
            (7, run(5, 9, 2)),
            (0, run(0, 3, 3)),
            (7, run(S, S + max - 1, 4)),
            (7, run(10 * S, 19 * S, 1)),
            // At once: the shorter first.
            (7, run(9, 12, 5)),
            (7, run(9, 9, 6)),
        ]);
        assert_eq!(lines.cpus().collect::<Vec<_>>(), [Cpu(0), Cpu(7)]);
        let all: Vec<Run> = lines.runs(Cpu(7), Nanos(0), Nanos::MAX).collect();
        let expected = [
            run(5, 9, 2),
            run(9, 9, 6),
            run(9, 12, 5),
            run(S, S + max - 1, 4),
            run(10 * S, 19 * S, 1),
            run(20 * S, 20 * S + max, 1),
        ];
        assert_eq!(all, expected);
        assert_eq!(lines.runs(Cpu(3), Nanos(0), Nanos::MAX).count(), 0);
        let found: Vec<Run> = lines.runs(Cpu(7), Nanos(9), Nanos(10 * S + 1)).collect();
        assert_eq!(found, expected[2..5]);
        assert_eq!(lines.before(Cpu(7), Nanos(S)), Some(run(9, 12, 5)));
        assert_eq!(lines.before(Cpu(7), Nanos(5)), None);
        let idle = lines.idle(Cpu(7), Nanos(7), Nanos(15 * S));
        let idle: Vec<(u64, u64)> = idle.iter().map(|(a, b)| (a.0, b.0)).collect();
        assert_eq!(idle, [(12, S), (S + max - 1, 10 * S)]);
    }

    #[test]
    fn runs_are_sorted_however_they_lie_and_each_is_there_once() {
        let sorted = |times: &[u64]| -> Vec<u64> {
            let all: Vec<_> = times.iter().map(|from| (0, run(*from, from + 1, 1))).collect();
            lines(&all).runs(Cpu(0), Nanos(0), Nanos::MAX).map(|run| run.from.0).collect()
        };
        assert_eq!(sorted(&[]), [0; 0]);
        assert_eq!(sorted(&[1 << 60, 0]), [0, 1 << 60]);
        assert_eq!(sorted(&[7, 7, 8, 7]), [7, 8]);
        assert_eq!(sorted(&[10, 30, 50, 20, 40, 60]), [10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn all_threads_find_the_runs_of_all_tasks() {
        // On each of three CPUs thirteen tasks take turns, and one of them runs for five seconds.
        let mut events: Vec<(u64, u64, u64, u64)> = Vec::new();
        let mut expected: Vec<(u32, u64, u64, u64)> = Vec::new();
        for cpu in 0..3 {
            let (mut from, mut before) = (1000 + cpu, 0);
            for turn in 0..200 {
                let tid = if turn == 199 { 0 } else { 100 + cpu + 3 * (turn % 13) };
                events.push((from, cpu, before, tid));
                let to = from + if turn == 150 { 5_000_000_000 } else { 70 + 10 * cpu + turn };
                if tid != 0 {
                    expected.push((cpu as u32, from, to, tid));
                }
                (from, before) = (to, tid);
            }
        }
        events.sort_unstable();
        let mut text = "# agenttrace.events/1\n# clock monotonic\n# cpus 3\n".to_owned();
        for (time, cpu, before, tid) in events {
            text.push_str(&format!(
                "{time} {cpu} {before}/{before} . sched:sched_switch prev_comm=\"a\" prev_pid={before} \
                 prev_state=S next_comm=\"b\" next_pid={tid}\n"
            ));
        }
        let unpacked = Unpacked::of(text.as_bytes()).unwrap();
        let capture = Capture::open(&unpacked, &ReadOptions::default()).unwrap();
        let mut builder = Builder::new(capture.info());
        capture.read(&mut Diagnostics::default(), &mut |batch| builder.push(batch)).unwrap();
        let model = builder.finish(None).unwrap();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let parallel = pool.install(|| CpuLines::parallel(&model));
            for lines in [CpuLines::new(&model), parallel] {
                let all = lines.cpus().flat_map(|cpu| {
                    let runs = lines.runs(cpu, Nanos::ZERO, Nanos::MAX);
                    let tid = |task: TaskId| model.tasks[task.0 as usize].tid.0 as u64;
                    runs.map(move |run| (cpu.0, run.from.0, run.to.0, tid(run.task)))
                });
                assert_eq!(all.collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_reader_who_goes_on_is_told_the_same() {
        let all: Vec<(u32, Run)> =
            (0..300).map(|i| (i as u32 % 2, run(i * 10, i * 10 + 7, i as u32))).collect();
        let lines = lines(&all);
        let mut cursor = LineCursor::default();
        for from in [0, 3, 15, 16, 700, 702, 699, 2985, 2999, 3001, 40] {
            for cpu in [0, 1, 2] {
                let range = (Cpu(cpu), Nanos(from), Nanos(from + 45));
                let on: Vec<Run> = lines.runs_on(&mut cursor, range.0, range.1, range.2).collect();
                let searched: Vec<Run> = lines.runs(range.0, range.1, range.2).collect();
                assert_eq!(on, searched, "{from} on {cpu}");
            }
        }
    }
}
