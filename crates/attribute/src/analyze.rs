//! Model, windows and critical paths to the report: every number, computed once.

mod segments;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use agenttrace_model::parse::{CaptureInfo, Diagnostics, Nanos, Totals};
use agenttrace_model::{Model, Step, Windows};
use rayon::prelude::*;

use crate::cause::{Cause, Resource};
use crate::cells::{CellKey, CellSum, Cells};
use crate::coverage::coverage;
use crate::histogram::histograms;
use crate::inclusive::{Index, Lists, Share, Stretch, inclusive, shares, step_tasks, union, work};
use crate::made::Made;
use crate::mechanism::{self, SessionView, StepView};
use crate::path::{PathSegment, StackId, StepPath};
use crate::report::{
    CaptureSummary, Coverage, ExclusiveRow, MarkerSource, Report, Session, StepReport,
};
use crate::session;
use crate::stacks::{Named, SampleIndex};
use crate::tools::Tools;
use crate::tracing::tracing;
use crate::verdict::{self, Facts};
use crate::walk;
use segments::{Texts, segments};

/// All that a report is made of, besides the critical paths.
#[derive(Clone, Debug)]
pub struct Input<'m> {
    /// The model of the capture.
    pub model: &'m Model,
    /// The steps, and who works for them.
    pub windows: &'m Windows,
    /// What the capture says of itself.
    pub info: &'m CaptureInfo,
    /// What one pass over it counted.
    pub totals: &'m Totals,
    /// Problems of all stages, merged.
    pub diagnostics: &'m Diagnostics,
    /// Name of the session, from the steps file.
    pub session: Option<String>,
    /// Where the windows come from.
    pub markers: MarkerSource,
    /// How marker times were mapped to the capture's clock, in words.
    pub clock_mapping: String,
    /// How far a mapped time may be off.
    pub clock_error: Option<Nanos>,
    /// Notes of earlier stages; those of the windows are added.
    pub notes: Vec<String>,
    /// Its stacks, where it has any.
    pub stacks: Option<Named<'m>>,
    /// The capture was cut out of a longer one: other steps of the tools are missing.
    pub outside_cut: bool,
    /// Which steps are reported, as places in [`Windows::steps`]; `None`: all. Of others that
    /// have the tool of one of these the path alone is walked, for what is usual for it.
    pub asked: Option<BTreeSet<usize>>,
}

impl<'m> Input<'m> {
    /// Of windows from a steps file on the capture's clock, all of them, without stacks.
    #[must_use]
    pub fn new(
        model: &'m Model,
        windows: &'m Windows,
        info: &'m CaptureInfo,
        totals: &'m Totals,
        diagnostics: &'m Diagnostics,
    ) -> Self {
        Self {
            model,
            windows,
            info,
            totals,
            diagnostics,
            session: None,
            markers: MarkerSource::File,
            clock_mapping: String::new(),
            clock_error: None,
            notes: Vec::new(),
            stacks: None,
            outside_cut: false,
            asked: None,
        }
    }
}

/// A path that has been checked, with its sums.
struct Checked {
    path: StepPath,
    broken: Option<String>,
    rows: Vec<ExclusiveRow>,
}

/// How much of each step is asked for.
struct Asked<'i> {
    only: Option<&'i BTreeSet<usize>>,
    /// The tools of those.
    tools: BTreeSet<&'i str>,
    steps: &'i [Step],
}

/// How much of a step is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// Everything.
    Report,
    /// What its path adds up to.
    Sums,
    /// Nothing.
    Nothing,
}

impl<'i> Asked<'i> {
    fn new(input: &'i Input<'_>) -> Self {
        let steps = &input.windows.steps;
        let only = input.asked.as_ref();
        let named = only.into_iter().flatten().filter_map(|i| steps.get(*i));
        Self { only, tools: named.map(|s| s.tool.as_str()).collect(), steps }
    }

    fn of(&self, step: usize) -> Need {
        match self.only {
            None => Need::Report,
            Some(only) if only.contains(&step) => Need::Report,
            Some(_) if self.steps.get(step).is_some_and(|s| self.tools.contains(&*s.tool)) => {
                Need::Sums
            }
            Some(_) => Need::Nothing,
        }
    }

    /// For each step its work; of those that are not asked for, none.
    fn work(&self, windows: &Windows) -> Vec<Vec<Stretch>> {
        let mut work = work(windows);
        for (i, work) in work.iter_mut().enumerate() {
            if self.of(i) != Need::Report {
                work.clear();
            }
        }
        work
    }

    /// For each step the parts of it that count in the session: of the steps asked for.
    fn parts(&self) -> Vec<Vec<(Nanos, Nanos)>> {
        let Some(only) = self.only else { return session::sweep(self.steps) };
        let mut parts = vec![Vec::new(); self.steps.len()];
        for (step, part) in session::sweep_of(self.steps, only.iter().copied()) {
            if let Some(slot) = parts.get_mut(step) {
                *slot = part;
            }
        }
        parts
    }
}

/// What one step leaves for the next of the same thread.
#[derive(Default)]
struct Scratch<'m> {
    walk: walk::Scratch<'m>,
    texts: Texts,
    /// Of all its steps, for the session.
    lists: Lists,
}

/// What threads that have done their steps leave for those that begin others.
#[derive(Default)]
struct Pool<'m>(Mutex<Vec<Scratch<'m>>>);

/// One of them, which goes back when it is dropped.
struct Lent<'p, 'm> {
    pool: &'p Pool<'m>,
    scratch: Scratch<'m>,
}

impl<'m> Pool<'m> {
    fn lend(&self) -> Lent<'_, 'm> {
        let scratch = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lent { pool: self, scratch: scratch.unwrap_or_default() }
    }

    /// What all steps left for the session.
    fn lists(self) -> Lists {
        let all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Lists::join(all.into_iter().map(|scratch| scratch.lists))
    }
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        let scratch = std::mem::take(&mut self.scratch);
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}

/// What is left of a step beside its report; its path is not.
struct Done {
    broken: Option<String>,
    /// Its time by cause, of the parts that count for it in the session.
    counted: Box<[(Cause, Nanos)]>,
}

/// So many steps at most a thread takes at a time: steps differ much in what they cost, and at
/// the end no thread shall have many left.
const AT_A_TIME: usize = 8;

/// The report. What comes out does not depend on the number of threads.
///
/// Each step is walked, checked and reported at once, and its path dropped. What is told
/// relative to other steps of the same tool is added once all of them are known.
#[must_use]
pub fn report(input: &Input<'_>) -> Report {
    let steps = &input.windows.steps;
    let asked = Asked::new(input);
    let index = Index::new(input.model, input.info, input.windows);
    let prepare = || {
        if !steps.is_empty() {
            index.prepare();
        }
    };
    let ((work, shares, selfs, parts), ((), facts)) = rayon::join(
        || {
            let work = asked.work(input.windows);
            let shares = shares(&work);
            (work, shares, session::self_times(steps), asked.parts())
        },
        || rayon::join(prepare, || walk::Facts::new(input.model, input.windows)),
    );
    let shared = Shared {
        facts: facts.with(Arc::clone(index.throttles(input.windows))),
        index,
        stacks: input.stacks.map(SampleIndex::new),
        coverage: coverage(input.info),
        selfs,
        parts,
        shares,
    };
    let all = steps.iter().zip(&work).enumerate();
    let chosen: Vec<_> = all.filter(|(i, _)| asked.of(*i) == Need::Report).collect();
    let usual: Vec<usize> = (0..steps.len()).filter(|i| asked.of(*i) == Need::Sums).collect();
    let pool = Pool::default();
    // Reports, as yet without what is told relative to other steps, stay where they are written.
    let (mut reports, mut done): (Vec<StepReport>, Vec<Done>) = (Vec::new(), Vec::new());
    chosen
        .par_iter()
        .with_max_len(AT_A_TIME)
        .map_init(
            || pool.lend(),
            |lent, (i, (of, work))| step(input, &shared, *i, of, work, &mut lent.scratch),
        )
        .unzip_into_vecs(&mut reports, &mut done);
    // The session is that of the steps that were asked for; what is usual for their tools is not.
    let sums: Vec<Vec<ExclusiveRow>> = usual
        .par_iter()
        .with_max_len(AT_A_TIME)
        .map_init(|| pool.lend(), |lent, i| path(input, &shared, *i, &mut lent.scratch.walk).rows)
        .collect();

    // By place among all steps; of those that nobody needs, nothing.
    let mut paths: Vec<&[ExclusiveRow]> = vec![&[]; steps.len()];
    let reported = chosen.iter().map(|(i, _)| *i).zip(reports.iter().map(|r| &*r.exclusive));
    for (i, rows) in reported.chain(usual.iter().copied().zip(sums.iter().map(Vec::as_slice))) {
        if let Some(path) = paths.get_mut(i) {
            *path = rows;
        }
    }
    let tools = Tools::new(steps, &paths, !input.outside_cut);
    reports.par_iter_mut().for_each(|report| relate(&tools, report));
    let mut notes = input.notes.clone();
    notes.extend(input.windows.notes.iter().cloned());
    for ((_, (step, _)), done) in chosen.iter().zip(&done) {
        notes.extend(done.broken.iter().map(|why| format!("step {}: {why}", step.id)));
    }
    let counted: Vec<_> = done.into_iter().map(|done| done.counted).collect();
    notes.extend(short_steps(input));
    if input.info.ticks {
        notes.push(
            "the capture's clock counts no seconds (counter, uptime, x86-tsc): lengths are counts, shown as if each \
             were 1 ns; record with `echo mono > trace_clock`"
                .to_owned(),
        );
    }
    notes.extend(clipped_steps(input));
    notes.extend(crate::names::notes(input.model, &reports, input.info.data_mmaps));
    if input.totals.lost == 0 && !input.model.lost.is_empty() {
        let cpus: BTreeSet<_> = input.model.lost.iter().map(|l| l.cpu).collect();
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        notes.push(format!("events were lost, how many is not told, on CPU {}", cpus.join(", ")));
    }
    if input.outside_cut {
        notes.push("the capture is a cut: medians of the tools lie outside the cut".to_owned());
    }

    let (((ranking, wall), by_tool), (histograms, details)) = rayon::join(
        || (session::ranking(&reports, &counted), session::tools(&reports)),
        || {
            let all_work = union(work.iter().flatten());
            let (samples, collected) = pool.lists().finish(&shared.index, &all_work);
            let view = SessionView {
                index: &shared.index,
                windows: input.windows,
                work: &all_work,
                reports: &reports,
                tools: &tools,
                collected: &collected,
            };
            rayon::join(|| histograms(samples), || mechanism::of_session(&view))
        },
    );
    Report {
        capture: CaptureSummary {
            info: input.info.clone(),
            totals: input.totals.clone(),
            diagnostics: input.diagnostics.clone(),
            losses: input.model.lost.len(),
            clock_mapping: input.clock_mapping.clone(),
            clock_error: input.clock_error,
            markers: input.markers,
        },
        coverage: shared.coverage,
        session: Session {
            name: input.session.clone(),
            steps: reports.len(),
            wall,
            ranking,
            by_tool,
            histograms,
            details,
        },
        steps: reports,
        notes,
    }
}

/// One step, from its path to its report.
fn step<'m>(
    input: &Input<'m>,
    shared: &Shared<'m>,
    number: usize,
    step: &Step,
    work: &[Stretch],
    scratch: &mut Scratch<'m>,
) -> (StepReport, Done) {
    let mut checked = path(input, shared, number, &mut scratch.walk);
    let parts = shared.parts.get(number).map(Vec::as_slice).unwrap_or_default();
    let counted = session::by_cause(&checked.path.segments, parts);
    let report = step_report(input, shared, (number, step), work, &mut checked, scratch);
    scratch.walk.keep(checked.path);
    (report, Done { broken: checked.broken, counted })
}

/// A step's critical path, checked.
fn path<'m>(
    input: &Input<'m>,
    shared: &Shared<'m>,
    number: usize,
    scratch: &mut walk::Scratch<'m>,
) -> Checked {
    check(input, number, walk::walk_step(&shared.facts, number, scratch))
}

/// Adds to a step's report what is told relative to the other steps of its tool.
fn relate(tools: &Tools<'_>, report: &mut StepReport) {
    let Some(tool) = tools.get(&report.tool) else { return };
    report.times_median = (tools.known && tool.steps.len() > 1 && tool.wall.median > Nanos::ZERO)
        .then(|| report.wall.0 as f64 / tool.wall.median.0 as f64);
    report.tool_median = tool.wall.median;
    if let Some(first) = report.verdicts.first_mut() {
        first.evidence.extend(tools.relative(&report.tool, report.wall, &report.exclusive));
    }
    mechanism::relate(tools, report);
}

/// A ranking of steps that are hardly longer than their edges are sure says little.
fn short_steps(input: &Input<'_>) -> Option<String> {
    let short = || input.windows.steps.iter().filter(|s| verdict::short(s).is_some());
    let shortest = short().min_by_key(|s| s.end - s.start)?;
    Some(format!(
        "{} of {} steps are shorter than ten times the error of their times, the shortest is step {} with {} ns (error {} \
         ns): their ranking and causes are not sure",
        short().count(),
        input.windows.steps.len(),
        shortest.id,
        shortest.end - shortest.start,
        shortest.error.unwrap_or_default()
    ))
}

/// Steps of which a part was not recorded.
fn clipped_steps(input: &Input<'_>) -> Option<String> {
    let steps = &input.windows.steps;
    let mut clipped = steps.iter().filter_map(|s| s.clipped.as_ref().map(|why| (s, why)));
    let (first, why) = clipped.next()?;
    let more = match clipped.count() {
        0 => String::new(),
        n => format!(", and {n} more lie partly outside the capture"),
    };
    Some(format!("step {} is not whole: {why}{more}", first.id))
}

/// Checks that the path tiles its window and that its rows add up to it
/// (DESIGN 2.1), in release builds too. A path that does not is replaced by one
/// segment that says so, and a note in the report: never a wrong sum.
fn check(input: &Input<'_>, step: usize, mut path: StepPath) -> Checked {
    let (start, end) =
        input.windows.steps.get(step).map_or_else(Default::default, |s| (s.start, s.end));
    let mut rows = exclusive(&path.cells);
    let broken = conservation(&path.segments, &rows, start, end).err();
    if broken.is_some() {
        let task = input.windows.steps.get(step).map_or(agenttrace_model::TaskId(0), |s| s.root);
        path = StepPath::of_segments(unknown(task, start, end));
        rows = exclusive(&path.cells);
    }
    Checked { path, broken, rows }
}

fn unknown(task: agenttrace_model::TaskId, start: Nanos, end: Nanos) -> Vec<PathSegment> {
    vec![PathSegment {
        start,
        end,
        task,
        cause: Cause::Unknown,
        resource: Resource::Unknown,
        under: None,
        stack: StackId::EMPTY,
        reason: None,
        inferred: false,
    }]
}

/// Whether segments tile `[start, end)` and rows add up to it; else what is wrong.
///
/// # Errors
/// The first violation, as a sentence.
pub fn conservation(
    segments: &[PathSegment],
    rows: &[ExclusiveRow],
    start: Nanos,
    end: Nanos,
) -> Result<(), String> {
    let mut at = start;
    for segment in segments {
        if segment.start != at || segment.end <= segment.start {
            return Err(format!(
                "conservation violated: a segment [{}, {}) where one from {at} was due",
                segment.start, segment.end
            ));
        }
        at = segment.end;
    }
    if at != end {
        return Err(format!(
            "conservation violated: the segments end at {at}, the window at {end}"
        ));
    }
    let sum: Nanos = rows.iter().map(|row| row.ns).sum();
    if sum != end - start {
        return Err(format!(
            "conservation violated: rows of {sum} ns in a window of {} ns",
            end - start
        ));
    }
    Ok(())
}

/// Cause x resource x under, the largest cause first, the rows of one cause together.
fn exclusive(path: &Cells) -> Vec<ExclusiveRow> {
    // There are few kinds of time, however many cells.
    let mut rows: Vec<ExclusiveRow> = Vec::with_capacity(8);
    let mut causes = [Nanos::ZERO; Cause::ALL.len()];
    for CellSum { key: CellKey { cause, resource, under, .. }, ns, .. } in path.iter() {
        let same =
            |r: &&mut ExclusiveRow| (r.cause, r.resource, r.under) == (*cause, *resource, *under);
        match rows.iter_mut().find(same) {
            Some(row) => row.ns += *ns,
            None => {
                let (cause, resource, under) = (*cause, *resource, *under);
                rows.push(ExclusiveRow { cause, resource, under, ns: *ns });
            }
        }
        if let Some(sum) = causes.get_mut(*cause as usize) {
            *sum += *ns;
        }
    }
    let total = |cause: Cause| causes.get(cause as usize).copied().unwrap_or_default();
    rows.shrink_to_fit();
    rows.sort_unstable_by(|a, b| {
        (total(b.cause), a.cause, b.ns, a.resource, a.under).cmp(&(
            total(a.cause),
            b.cause,
            a.ns,
            b.resource,
            b.under,
        ))
    });
    rows
}

/// What all steps are reported with.
struct Shared<'a> {
    facts: walk::Facts<'a>,
    index: Index<'a>,
    stacks: Option<SampleIndex<'a>>,
    coverage: Vec<Coverage>,
    /// For each step its own time, and the parts of it that count in the session.
    selfs: Vec<Nanos>,
    parts: Vec<Vec<(Nanos, Nanos)>>,
    /// Which of its work counts there.
    shares: Vec<Share>,
}

fn step_report(
    input: &Input<'_>,
    shared: &Shared<'_>,
    (number, step): (usize, &Step),
    work: &[Stretch],
    checked: &mut Checked,
    scratch: &mut Scratch<'_>,
) -> StepReport {
    let model = input.model;
    let Shared { index, stacks, coverage, .. } = shared;
    let share = shared.shares.get(number).unwrap_or(&Share::All);
    let root = model.task(step.root);
    let wall = step.end - step.start;
    let (inclusive, histograms, collected) = inclusive(index, work, share, &mut scratch.lists);
    let made = Made::new(collected);
    let details = mechanism::of_step(&StepView {
        index,
        windows: input.windows,
        number,
        step,
        work,
        path: &checked.path,
        stacks: stacks.as_ref(),
        made: &made,
    });
    let cells = verdict::cells(&checked.path);
    let tracing = tracing(index, work, &cells, wall);
    let unknown = checked.path.cells.sum(|cell| cell.cause == Cause::Unknown);
    let inferred = checked.path.segments.iter().filter(|s| s.inferred && s.cause != Cause::Unknown);
    let inferred = inferred.map(|s| s.end - s.start).sum();
    let parts = verdict::Parts {
        index,
        windows: input.windows,
        step,
        work,
        path: &checked.path,
        inclusive: &inclusive,
        coverage,
        info: input.info,
        diagnostics: input.diagnostics,
        unknown,
        inferred,
        broken: checked.broken.as_deref(),
        stacks: stacks.as_ref(),
        tasks: OnceCell::new(),
        made: &made,
        tracing: &tracing,
    };
    let verdicts = verdict::verdicts(Facts::new(&parts, &cells));
    StepReport {
        id: step.id.clone(),
        tool: step.tool.clone(),
        pid: step.pid.filter(|_| !input.info.fidelity.processes).unwrap_or(root.pid),
        tid: root.tid,
        comm: root.name_at(step.end).to_text(),
        parent: step.parent.and_then(|p| input.windows.steps.get(p)).map(|p| p.id.clone()),
        start: step.start,
        end: step.end,
        clipped: step.clipped.clone(),
        wall,
        self_ns: shared.selfs.get(number).copied().unwrap_or_default(),
        times_median: None,
        tool_median: Nanos::ZERO,
        extra: step.extra.clone(),
        exclusive: std::mem::take(&mut checked.rows),
        segments: segments(model, checked, &mut scratch.texts),
        inclusive,
        details,
        histograms,
        tasks: step_tasks(model, step.root, work),
        observed: wall - unknown - inferred,
        inferred,
        unknown,
        tracing,
        verdicts,
    }
}

#[cfg(test)]
mod tests {
    use agenttrace_model::TaskId;

    use super::*;

    fn segment(start: u64, end: u64, cause: Cause, under: Option<Cause>) -> PathSegment {
        PathSegment { cause, under, ..unknown(TaskId(0), Nanos(start), Nanos(end)).remove(0) }
    }

    #[test]
    fn gaps_overlaps_and_wrong_sums_are_found() {
        let good = [segment(10, 20, Cause::Fsync, None), segment(20, 30, Cause::UserCpu, None)];
        let rows = exclusive(&StepPath::of_segments(good.to_vec()).cells);
        assert_eq!(conservation(&good, &rows, Nanos(10), Nanos(30)), Ok(()));
        assert!(conservation(&good, &rows, Nanos(10), Nanos(31)).is_err());
        assert!(conservation(&good[1..], &rows, Nanos(10), Nanos(30)).is_err());
        assert!(conservation(&good, &rows[1..], Nanos(10), Nanos(30)).is_err());
        let overlap = [segment(10, 20, Cause::Fsync, None), segment(19, 30, Cause::UserCpu, None)];
        assert!(
            conservation(
                &overlap,
                &exclusive(&StepPath::of_segments(overlap.to_vec()).cells),
                Nanos(10),
                Nanos(30)
            )
            .is_err()
        );
    }

    #[test]
    fn the_rows_of_a_cause_stay_together() {
        let rows = exclusive(
            &StepPath::of_segments(vec![
                segment(0, 10, Cause::RunDelay, Some(Cause::Fsync)),
                segment(10, 25, Cause::Fsync, None),
                segment(25, 35, Cause::RunDelay, Some(Cause::UserCpu)),
            ])
            .cells,
        );
        let got: Vec<(Cause, u64)> = rows.iter().map(|r| (r.cause, r.ns.0)).collect();
        assert_eq!(got, [(Cause::RunDelay, 10), (Cause::RunDelay, 10), (Cause::Fsync, 15)]);
    }
}
