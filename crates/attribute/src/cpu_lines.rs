//! Tasks' states to lines of CPUs: who ran on each, when, and when it was idle.

use agenttrace_model::parse::{Cpu, Nanos};
use agenttrace_model::{LostInterval, Model, Ran, TaskId, first_not};
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

/// For each CPU who ran on it, in time order. Between two runs it was idle; where events were
/// lost, a switch was not recorded, or not all tasks were, nothing is known.
#[derive(Default)]
pub(crate) struct CpuLines {
    /// By CPU.
    lines: Vec<Vec<Packed>>,
    long: Long,
    lost: Vec<LostInterval>,
}

/// Nobody is known to have run on a CPU over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    /// Nobody ran: the switches around it were recorded.
    pub(crate) idle: bool,
}

/// A run in 16 bytes: a capture has millions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed {
    from: Nanos,
    /// Nanoseconds; [`LONG`]: its end is in [`CpuLines::long`].
    len: u32,
    /// A task's number, and [`BEGINS`], [`ENDS`].
    task: u32,
}

/// That a run begins when it does was recorded.
const BEGINS: u32 = 1 << 31;
/// That it ends then was.
const ENDS: u32 = 1 << 30;

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
        Self::of(model.runs.cpus().map(|cpu| Line::new(model, cpu)).collect(), &model.lost)
    }

    /// On all threads.
    pub(crate) fn parallel(model: &Model) -> Self {
        let cpus: Vec<Cpu> = model.runs.cpus().collect();
        let lines = cpus.into_par_iter().map(|cpu| Line::new(model, cpu)).collect();
        Self::of(lines, &model.lost)
    }

    fn of(lines: Vec<Line>, lost: &[LostInterval]) -> Self {
        let mut all = Self { lost: lost.to_vec(), ..Self::default() };
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

    /// When nobody is known to have run on a CPU within `[from, to)`, in time order.
    pub(crate) fn gaps(&self, cpu: Cpu, from: Nanos, to: Nanos) -> Vec<Gap> {
        let line = self.line(cpu);
        let first = line.partition_point(|run| run.unpack(&self.long).to <= from);
        let last = line.partition_point(|run| run.from < to);
        let mut gaps = Vec::new();
        // The gap before each run, and what is left behind the last.
        let mut at = from;
        for next in first..=last {
            let run = line.get(next);
            let until = run.map_or(to, |run| run.from.min(to));
            if until > at {
                let before = next.checked_sub(1).and_then(|before| line.get(before));
                let told = before.is_none_or(|run| run.task & ENDS != 0)
                    && run.is_none_or(|run| run.task & BEGINS != 0);
                let lost = self.lost.iter().any(|l| l.cpu == cpu && l.overlaps(at, until));
                gaps.push(Gap { from: at, to: until, idle: told && !lost });
            }
            at = run.map_or(at, |run| at.max(run.unpack(&self.long).to));
        }
        gaps
    }

    /// When a CPU was surely idle within `[from, to)`, in time order.
    pub(crate) fn idle(&self, cpu: Cpu, from: Nanos, to: Nanos) -> Vec<(Nanos, Nanos)> {
        let gaps = self.gaps(cpu, from, to).into_iter().filter(|gap| gap.idle);
        gaps.map(|gap| (gap.from, gap.to)).collect()
    }

    /// Whether it surely was, all the while.
    pub(crate) fn is_idle(&self, cpu: Cpu, from: Nanos, to: Nanos) -> bool {
        self.gaps(cpu, from, to) == [Gap { from, to, idle: true }]
    }
}

impl Line {
    fn new(model: &Model, cpu: Cpu) -> Self {
        let states = model.runs.on(cpu);
        let mut line = Self { runs: Vec::with_capacity(states.len()), long: Long::default() };
        for (task, place) in states {
            if let Some(ran) = model.task(task).states.ran_on(cpu, place, model.span.1) {
                line.push(task, ran);
            }
        }
        line.sorted()
    }

    fn push(&mut self, task: TaskId, ran: Ran) {
        let Ran { from, to, begins, ends } = ran;
        let len = to.0.checked_sub(from.0).and_then(|len| u32::try_from(len).ok());
        let len = len.unwrap_or(LONG);
        if len == LONG {
            self.long.insert((from, task), to);
        }
        let told = if begins { BEGINS } else { 0 } | if ends { ENDS } else { 0 };
        self.runs.push(Packed { from, len, task: task.0 & !(BEGINS | ENDS) | told });
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
        let task = TaskId(task & !(BEGINS | ENDS));
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
            let Run { from, to, task } = *run;
            lines[*cpu as usize].push(task, Ran { from, to, begins: true, ends: true });
        }
        CpuLines::of(lines.into_iter().map(Line::sorted).collect(), &[])
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
    fn a_cpu_was_idle_where_the_switches_around_it_were_recorded() {
        let mut line = Line::default();
        // The second was seen late, the third not to its end.
        for (from, to, begins, ends) in [
            (10, 20, true, true),
            (30, 40, false, true),
            (50, 60, true, false),
            (70, 80, true, true),
        ] {
            let (from, to) = (Nanos(from), Nanos(to));
            line.push(TaskId(1 << 29), Ran { from, to, begins, ends });
        }
        let lost = [(0, 95, 99), (1, 0, 99)];
        let lost = lost.map(|(cpu, from, to)| LostInterval {
            cpu: Cpu(cpu),
            from: Nanos(from),
            to: Nanos(to),
        });
        let lines = CpuLines::of(vec![line.sorted()], &lost);
        let gaps = |from, to| -> Vec<(u64, u64, bool)> {
            let gaps = lines.gaps(Cpu(0), Nanos(from), Nanos(to)).into_iter();
            gaps.map(|gap| (gap.from.0, gap.to.0, gap.idle)).collect()
        };
        let all = [(0, 10, true), (20, 30, false), (40, 50, true), (60, 70, false), (80, 90, true)];
        assert_eq!(gaps(0, 90), all);
        assert_eq!(gaps(0, 96)[4], (80, 96, false));
        // Who came next, and who was there before, is told beyond the edges.
        assert_eq!(gaps(22, 25), [(22, 25, false)]);
        assert_eq!(gaps(35, 52), [(40, 50, true)]);
        assert_eq!(gaps(62, 65), [(62, 65, false)]);
        assert_eq!(gaps(12, 12), []);
        let idle = |from, to| lines.is_idle(Cpu(0), Nanos(from), Nanos(to));
        assert_eq!([(42, 45), (42, 51), (22, 25)].map(|(a, b)| idle(a, b)), [true, false, false]);
        assert_eq!(lines.idle(Cpu(0), Nanos(15), Nanos(52)), [(Nanos(40), Nanos(50))]);
        let task = lines.before(Cpu(0), Nanos(99)).map(|run| run.task);
        assert_eq!(task, Some(TaskId(1 << 29)));
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
