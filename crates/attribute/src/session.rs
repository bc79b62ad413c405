//! All steps together: the ranking of causes and the steps by tool.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Step, TaskId};

use crate::cause::Cause;
use crate::path::PathSegment;
use crate::report::{RankRow, StepReport, ToolRow, Verdict};
use crate::stats::{human, mean, percentile, plural, ratio};
use crate::verdict;

/// For each step the parts of its window that count for it in the session: each
/// nanosecond of a root task belongs to the innermost step, then to the latest
/// start, then to the first in the order of the file.
#[must_use]
pub fn sweep(steps: &[Step]) -> Vec<Vec<(Nanos, Nanos)>> {
    let mut parts = vec![Vec::new(); steps.len()];
    let mut roots: BTreeMap<TaskId, Vec<usize>> = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        roots.entry(step.root).or_default().push(index);
    }
    for members in roots.values() {
        let mut edges: Vec<(Nanos, bool, usize)> = Vec::with_capacity(members.len() * 2);
        for index in members {
            let Some(step) = steps.get(*index) else { continue };
            edges.push((step.start, true, *index));
            edges.push((step.end, false, *index));
        }
        edges.sort_unstable();
        let mut open: BTreeSet<(usize, Nanos, Reverse<usize>)> = BTreeSet::new();
        let mut since = Nanos::ZERO;
        for (time, begins, index) in edges {
            if let Some((_, _, Reverse(winner))) = open.last()
                && since < time
                && let Some(list) = parts.get_mut(*winner)
            {
                match list.last_mut() {
                    Some((_, to)) if *to == since => *to = time,
                    Some(_) | None => list.push((since, time)),
                }
            }
            since = time;
            let key =
                (depth(steps, index), steps.get(index).map_or(time, |s| s.start), Reverse(index));
            if begins {
                open.insert(key);
            } else {
                open.remove(&key);
            }
        }
    }
    parts
}

fn depth(steps: &[Step], index: usize) -> usize {
    let mut depth = 0;
    let mut at = steps.get(index).and_then(|s| s.parent);
    // Bounded by the number of steps, should parents ever form a ring.
    while let Some(step) = at.and_then(|i| steps.get(i))
        && depth < steps.len()
    {
        depth += 1;
        at = step.parent;
    }
    depth
}

/// The same where some steps alone count: each with its place among all.
pub(crate) fn sweep_of(
    steps: &[Step],
    chosen: impl Iterator<Item = usize>,
) -> impl Iterator<Item = (usize, Vec<(Nanos, Nanos)>)> {
    let chosen = chosen.filter_map(|i| Some((i, steps.get(i)?.clone())));
    let (places, chosen): (Vec<usize>, Vec<Step>) = chosen.unzip();
    places.into_iter().zip(sweep(&chosen))
}

/// For each step its wall time without the steps nested in it on the same task.
#[must_use]
pub fn self_times(steps: &[Step]) -> Vec<Nanos> {
    let mut nested: Vec<Vec<(Nanos, Nanos)>> = vec![Vec::new(); steps.len()];
    for step in steps {
        // Every ancestor: the parts of nested steps overlap, and are joined below.
        let mut at = step.parent;
        let mut hops = 0;
        while let Some((index, parent)) = at.and_then(|i| steps.get(i).map(|s| (i, s)))
            && hops <= steps.len()
        {
            if parent.root == step.root
                && let Some(list) = nested.get_mut(index)
            {
                list.push((step.start.max(parent.start), step.end.min(parent.end)));
            }
            at = parent.parent;
            hops += 1;
        }
    }
    steps
        .iter()
        .zip(nested)
        .map(|(step, mut parts)| {
            parts.sort_unstable();
            let mut done = step.start;
            let mut covered = Nanos::ZERO;
            for (from, to) in parts {
                covered += to - from.max(done);
                done = done.max(to);
            }
            (step.end - step.start) - covered
        })
        .collect()
}

/// Time by cause within the parts of a step that count for the session.
pub(crate) fn by_cause(
    segments: &[PathSegment],
    parts: &[(Nanos, Nanos)],
) -> Box<[(Cause, Nanos)]> {
    let mut sums = [Nanos::ZERO; Cause::ALL.len()];
    let mut parts = parts.iter().copied().peekable();
    for segment in segments {
        while let Some((from, to)) = parts.peek().copied() {
            let ns = segment.end.min(to) - segment.start.max(from);
            if let Some(sum) = sums.get_mut(segment.cause as usize) {
                *sum += ns;
            }
            if to > segment.end {
                break;
            }
            parts.next();
        }
    }
    let with_time = Cause::ALL.into_iter().zip(sums).filter(|(_, ns)| *ns > Nanos::ZERO);
    with_time.collect()
}

/// The ranking over all steps, and the wall time that it adds up to.
pub(crate) fn ranking(
    steps: &[StepReport],
    sums: &[Box<[(Cause, Nanos)]>],
) -> (Vec<RankRow>, Nanos) {
    let mut totals: BTreeMap<Cause, (Nanos, usize)> = BTreeMap::new();
    for (cause, ns) in sums.iter().flat_map(|sums| sums.iter()) {
        let total = totals.entry(*cause).or_default();
        total.0 += *ns;
        total.1 += 1;
    }
    let wall: Nanos = totals.values().map(|(ns, _)| *ns).sum();
    let mut rows: Vec<_> = totals.into_iter().collect();
    rows.sort_by_key(|(cause, (ns, _))| (Reverse(*ns), *cause));
    let said = said(steps);
    let rows = rows
        .into_iter()
        .enumerate()
        .map(|(index, (cause, (ns, count)))| {
            let said = said.get(&cause).map(Vec::as_slice).unwrap_or_default();
            let (failure_mode, first_fix) = words(said, cause);
            RankRow {
                rank: index + 1,
                cause,
                ns,
                share: ratio(ns, wall),
                steps: count,
                failure_mode,
                first_fix,
            }
        })
        .collect();
    (rows, wall)
}

/// A verdict on a cause.
struct Said<'r> {
    /// The cause is the one that its step's first verdict is about.
    first: bool,
    verdict: &'r Verdict,
    /// What it holds of the cause: it may be about others as well.
    ns: Nanos,
}

/// The verdicts on each cause, in the order of the steps.
fn said(steps: &[StepReport]) -> BTreeMap<Cause, Vec<Said<'_>>> {
    let mut said: BTreeMap<Cause, Vec<Said<'_>>> = BTreeMap::new();
    for step in steps {
        for (place, verdict) in step.verdicts.iter().enumerate() {
            for (cause, ns) in &verdict.causes {
                let first = place == 0 && verdict.cause == *cause;
                said.entry(*cause).or_default().push(Said { first, verdict, ns: *ns });
            }
        }
    }
    said
}

/// The failure mode that cost most of this cause, and the first fix of the verdict that
/// holds most of it. The steps that have the cause as their first verdict speak before the
/// others; a verdict about several causes counts with what it holds of this one.
fn words(said: &[Said<'_>], cause: Cause) -> (String, String) {
    let mut modes: BTreeMap<&str, (bool, Nanos)> = BTreeMap::new();
    for Said { first, verdict, ns } in said {
        let sum = modes.entry(verdict.failure_mode).or_default();
        sum.0 |= *first;
        sum.1 += *ns;
    }
    let Some((mode, _)) = modes.iter().max_by_key(|(mode, sum)| (**sum, Reverse(**mode))) else {
        return (verdict::general_failure_mode(cause).to_owned(), String::new());
    };
    let fix = said
        .iter()
        .filter(|s| s.verdict.failure_mode == *mode && !s.verdict.recommendations.is_empty())
        .reduce(|best, other| if other.ns > best.ns { other } else { best })
        .and_then(|s| s.verdict.recommendations.first())
        .map(|r| r.text.clone().into_owned());
    ((*mode).to_owned(), fix.unwrap_or_default())
}

/// The steps by tool, the most total time first.
pub(crate) fn tools(steps: &[StepReport]) -> Vec<ToolRow> {
    let mut by_tool: BTreeMap<&str, Vec<&StepReport>> = BTreeMap::new();
    for step in steps {
        by_tool.entry(&step.tool).or_default().push(step);
    }
    let mut rows: Vec<ToolRow> = by_tool
        .into_iter()
        .map(|(tool, steps)| {
            let mut walls: Vec<Nanos> = steps.iter().map(|s| s.wall).collect();
            walls.sort_unstable();
            ToolRow {
                tool: tool.to_owned(),
                steps: steps.len(),
                total: walls.iter().copied().sum(),
                p50: percentile(&walls, 50),
                p95: percentile(&walls, 95),
                p99: percentile(&walls, 99),
                penalty: penalty(&steps),
            }
        })
        .collect();
    rows.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.tool.cmp(&b.tool)));
    rows
}

/// "vfs_metadata: 6.1 ms x 200 steps = 1.2 s": the tool's largest cause, mean over the
/// steps that have it; "20.1 ms x 5 of 200 steps = 100 ms" where others have none. A step
/// that has less than a hundredth of the largest one's has none.
fn penalty(steps: &[&StepReport]) -> String {
    let mut sums: BTreeMap<Cause, Nanos> = BTreeMap::new();
    for row in steps.iter().flat_map(|step| &step.exclusive) {
        *sums.entry(row.cause).or_default() += row.ns;
    }
    let Some((cause, _)) = sums.into_iter().max_by_key(|(cause, ns)| (*ns, Reverse(*cause))) else {
        return String::new();
    };
    let each: Vec<Nanos> = steps.iter().map(|step| step.cause_ns(cause)).collect();
    penalty_words(cause, &each)
}

/// The words of a penalty, of which these steps have so much each.
fn penalty_words(cause: Cause, each: &[Nanos]) -> String {
    let most = each.iter().copied().max().unwrap_or_default();
    let has = |ns: &&Nanos| ns.0 > 0 && ns.0.saturating_mul(100) >= most.0;
    let (count, total) = (each.iter().filter(has).count(), each.iter().filter(has).copied().sum());
    let steps = if count == each.len() {
        plural(count as u64, "step").to_string()
    } else {
        format!("{count} of {}", plural(each.len() as u64, "step"))
    };
    let each = human(mean(total, count as u64));
    format!("{}: {each} x {steps} = {}", cause.name(), human(total))
}

#[cfg(test)]
mod tests {
    use agenttrace_model::parse::StepId;

    use super::*;

    fn step(root: u32, start: u64, end: u64, parent: Option<usize>) -> Step {
        Step {
            id: StepId::Number(start),
            tool: String::new(),
            root: TaskId(root),
            start: Nanos(start),
            end: Nanos(end),
            parent,
            clipped: None,
            pid: None,
            error: Some(Nanos::ZERO),
            mapped: false,
            extra: Vec::new(),
        }
    }

    #[test]
    fn a_penalty_is_the_mean_of_the_steps_that_have_it() {
        let words = |each: &[u64]| {
            let each: Vec<Nanos> = each.iter().copied().map(Nanos).collect();
            penalty_words(Cause::Fsync, &each)
        };
        assert_eq!(words(&[6_000_000; 200]), "fsync: 6.0 ms x 200 steps = 1.20 s");
        assert_eq!(
            words(&[0, 20_000_000, 0, 100, 22_000_000]),
            "fsync: 21.0 ms x 2 of 5 steps = 42.0 ms"
        );
    }

    fn total(parts: &[Vec<(Nanos, Nanos)>]) -> Nanos {
        parts.iter().flatten().map(|(from, to)| *to - *from).sum()
    }

    #[test]
    fn a_nanosecond_counts_once_for_the_innermost_step() {
        let steps = [
            step(0, 0, 100, None),
            step(0, 20, 60, Some(0)),
            step(0, 30, 40, Some(1)),
            step(1, 0, 50, None),
        ];
        let parts = sweep(&steps);
        assert_eq!(parts[0], [(Nanos(0), Nanos(20)), (Nanos(60), Nanos(100))]);
        assert_eq!(parts[1], [(Nanos(20), Nanos(30)), (Nanos(40), Nanos(60))]);
        assert_eq!(parts[2], [(Nanos(30), Nanos(40))]);
        assert_eq!(total(&parts), Nanos(150));
        assert_eq!(self_times(&steps), [60, 30, 10, 50].map(Nanos));
    }

    #[test]
    fn overlapping_steps_go_to_the_latest_start_then_the_order_of_the_file() {
        let steps = [step(0, 0, 50, None), step(0, 30, 80, None), step(0, 30, 90, None)];
        let parts = sweep(&steps);
        assert_eq!(parts[0], [(Nanos(0), Nanos(30))]);
        assert_eq!(parts[1], [(Nanos(30), Nanos(80))]);
        assert_eq!(parts[2], [(Nanos(80), Nanos(90))]);
    }
}
