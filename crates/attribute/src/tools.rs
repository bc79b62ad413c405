//! What is usual for a tool: medians of its steps, and how far they spread.
//!
//! A step, or one cause of it, counts as slow only where it stands out of that spread: by
//! more than three standard deviations as the median absolute deviation (MAD) estimates
//! them. A few steps that vary anyway then have no outlier; the MAD, other than the
//! deviation itself, is not raised by the very outliers that are looked for.

use std::collections::BTreeMap;

use agenttrace_model::Step;
use agenttrace_model::parse::Nanos;
use rayon::prelude::*;

use crate::cause::Cause;
use crate::report::{Evidence, ExclusiveRow};
use crate::stats::{human, percentile};

/// Fewer steps of a tool have no median to speak of.
const LEAST: usize = 3;
/// Three standard deviations in units of the MAD, per mille: 3 x 1.4826, its ratio to the
/// standard deviation of a normal distribution.
const DEVIATIONS: u64 = 4448;

/// So many steps of a tool one thread takes at a time.
const STEPS: usize = 256;

/// For each tool what is usual.
pub(crate) struct Tools<'m> {
    tools: BTreeMap<&'m str, Tool>,
    /// Whether all steps of the tools are in the capture.
    pub(crate) known: bool,
}

/// What is usual for one tool.
pub(crate) struct Tool {
    /// Its steps, in their order.
    pub(crate) steps: Vec<usize>,
    pub(crate) wall: Usual,
    p95: Nanos,
    causes: BTreeMap<Cause, Usual>,
}

/// The median of some lengths, and their median absolute deviation.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Usual {
    pub(crate) median: Nanos,
    spread: Nanos,
}

impl Usual {
    fn of(mut values: Vec<Nanos>) -> Self {
        values.sort_unstable();
        let median = percentile(&values, 50);
        let mut off: Vec<Nanos> = values.iter().map(|v| Nanos(v.0.abs_diff(median.0))).collect();
        off.sort_unstable();
        Self { median, spread: percentile(&off, 50) }
    }

    /// How much more than the median, where that stands out.
    pub(crate) fn excess(&self, value: Nanos) -> Option<Nanos> {
        let more = value - self.median;
        let least = u128::from(self.spread.0) * u128::from(DEVIATIONS);
        (more > Nanos::ZERO && u128::from(more.0) * 1000 > least).then_some(more)
    }
}

impl Tool {
    /// How much longer than the median a step took, where it is slow: it stands out, and
    /// is half as long again, or beyond the tool's 95th percentile and a tenth longer.
    pub(crate) fn slow(&self, wall: Nanos) -> Option<Nanos> {
        if self.steps.len() < LEAST || self.wall.median == Nanos::ZERO {
            return None;
        }
        let more = self.wall.excess(wall)?;
        let half = more.0.saturating_mul(2) >= self.wall.median.0;
        let tenth = more.0.saturating_mul(10) >= self.wall.median.0;
        (half || (tenth && wall > self.p95)).then_some(more)
    }

    /// What a step spent more than usual, by cause, where that stands out; the most first.
    pub(crate) fn more(&self, rows: &[ExclusiveRow]) -> Vec<(Cause, Nanos, Usual)> {
        let usual = |cause: Cause| self.causes.get(&cause).copied().unwrap_or_default();
        let mut more: Vec<(Cause, Nanos, Usual)> = by_cause(rows)
            .into_iter()
            .filter_map(|(cause, ns)| Some((cause, usual(cause).excess(ns)?, usual(cause))))
            .collect();
        // Stable: causes that tie stay in their order.
        more.sort_by_key(|(_, ns, _)| std::cmp::Reverse(*ns));
        more
    }
}

impl<'m> Tools<'m> {
    /// Of steps and the sums of their paths, in the same order.
    pub(crate) fn new<P: AsRef<[ExclusiveRow]> + Sync>(
        steps: &'m [Step],
        paths: &[P],
        known: bool,
    ) -> Self {
        let mut members: BTreeMap<&'m str, Vec<usize>> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            members.entry(&step.tool).or_default().push(i);
        }
        let wall = |i: &usize| steps.get(*i).map_or(Nanos::ZERO, |s| s.end - s.start);
        let tools = members.into_par_iter().map(|(name, list)| {
            let path = |i: &usize| paths.get(*i).map(P::as_ref);
            let some = list.par_chunks(STEPS);
            let some = some.map(|steps| lengths(steps.iter().filter_map(path)));
            let causes = some.reduce(BTreeMap::new, join);
            let causes = causes.into_iter().map(|(cause, mut values)| {
                // The other steps spent nothing on it.
                values.resize(list.len(), Nanos::ZERO);
                (cause, Usual::of(values))
            });
            let mut walls: Vec<Nanos> = list.iter().map(wall).collect();
            walls.sort_unstable();
            let p95 = percentile(&walls, 95);
            (name, Tool { causes: causes.collect(), wall: Usual::of(walls), p95, steps: list })
        });
        Self { tools: tools.collect(), known }
    }

    /// A tool by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.get(name)
    }

    /// All tools, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'m str, &Tool)> {
        self.tools.iter().map(|(name, tool)| (*name, tool))
    }

    /// What this step spent more than the median step of its tool, where it stands out.
    pub(crate) fn relative(
        &self,
        tool: &str,
        wall: Nanos,
        rows: &[ExclusiveRow],
    ) -> Option<Evidence> {
        let tool = self.get(tool).filter(|_| self.known)?;
        let more = tool.slow(wall)?;
        let median = tool.wall.median;
        let times = wall.0 as f64 / median.0.max(1) as f64;
        let mut text = format!("{times:.1} times the median of its tool ({})", human(median));
        let mut value = more;
        if let Some((cause, ns, _)) = tool.more(rows).first() {
            text.push_str(&format!(
                "; the difference is mostly {} (+{})",
                cause.name(),
                human(*ns)
            ));
            value = *ns;
        }
        Some(Evidence {
            text,
            value: value.0,
            unit: "ns",
            source: "critical paths of the tool's steps",
        })
    }
}

/// For each cause what each of these paths spent on it, of those that did.
fn lengths<'r>(paths: impl Iterator<Item = &'r [ExclusiveRow]>) -> BTreeMap<Cause, Vec<Nanos>> {
    let mut causes: BTreeMap<Cause, Vec<Nanos>> = BTreeMap::new();
    for (cause, ns) in paths.flat_map(by_cause) {
        causes.entry(cause).or_default().push(ns);
    }
    causes
}

fn join(
    mut all: BTreeMap<Cause, Vec<Nanos>>,
    more: BTreeMap<Cause, Vec<Nanos>>,
) -> BTreeMap<Cause, Vec<Nanos>> {
    for (cause, mut lengths) in more {
        all.entry(cause).or_default().append(&mut lengths);
    }
    all
}

/// The sums of a path by cause alone.
fn by_cause(rows: &[ExclusiveRow]) -> Vec<(Cause, Nanos)> {
    // The rows of a cause stand together.
    let of =
        |rows: &[ExclusiveRow]| Some((rows.first()?.cause, rows.iter().map(|row| row.ns).sum()));
    let mut sums: Vec<_> = rows.chunk_by(|a, b| a.cause == b.cause).filter_map(of).collect();
    sums.sort_unstable_by_key(|(cause, _)| *cause);
    sums
}

#[cfg(test)]
mod tests {
    use agenttrace_model::TaskId;
    use agenttrace_model::parse::StepId;

    use super::*;
    use crate::cause::Resource;

    /// Steps of one tool with so much user_cpu and so much fsync.
    fn tool(parts: &[(u64, u64)]) -> (Vec<Step>, Vec<Vec<ExclusiveRow>>) {
        let row = |cause, ns| ExclusiveRow {
            cause,
            resource: Resource::CpuUser,
            under: None,
            ns: Nanos(ns),
        };
        let step = |(i, (cpu, fsync)): (usize, &(u64, u64))| Step {
            id: StepId::Number(i as u64),
            tool: "save".to_owned(),
            root: TaskId(0),
            start: Nanos(0),
            end: Nanos(cpu + fsync),
            parent: None,
            clipped: None,
            pid: None,
            error: Some(Nanos::ZERO),
            mapped: false,
            extra: Vec::new(),
        };
        let rows =
            |(cpu, fsync): &(u64, u64)| vec![row(Cause::UserCpu, *cpu), row(Cause::Fsync, *fsync)];
        (parts.iter().enumerate().map(step).collect(), parts.iter().map(rows).collect())
    }

    #[test]
    fn what_stands_out_is_told_with_its_cause() {
        // Walls 100, 102, 99, 101, 300: the median is 101, the deviations are 1 1 2 0 199.
        let (steps, rows) = tool(&[(90, 10), (92, 10), (88, 11), (91, 10), (95, 205)]);
        let tools = Tools::new(&steps, &rows, true);
        let save = tools.get("save").expect("it has steps");
        assert_eq!(save.wall.median, Nanos(101));
        assert_eq!(save.slow(Nanos(300)), Some(Nanos(199)));
        assert_eq!(save.slow(Nanos(102)), None);
        // user_cpu: median 91, deviations 1 1 3 0 4; 95 is within three deviations.
        let more: Vec<(Cause, u64)> =
            save.more(&rows[4]).iter().map(|(cause, ns, _)| (*cause, ns.0)).collect();
        assert_eq!(more, [(Cause::Fsync, 195)]);
        let text = tools.relative("save", Nanos(300), &rows[4]).map(|e| e.text);
        let want =
            "3.0 times the median of its tool (101 ns); the difference is mostly fsync (+195 ns)";
        assert_eq!(text.as_deref(), Some(want));
    }

    #[test]
    fn a_tool_that_varies_has_no_outlier() {
        // The median is 150, the deviations are 50 0 150: 300 is within the spread.
        let (steps, rows) = tool(&[(100, 0), (150, 0), (300, 0)]);
        let tools = Tools::new(&steps, &rows, true);
        assert_eq!(tools.relative("save", Nanos(300), &rows[2]), None);
        // Two steps have no median.
        let (steps, rows) = tool(&[(100, 0), (900, 0)]);
        let tools = Tools::new(&steps, &rows, true);
        assert_eq!(tools.relative("save", Nanos(900), &rows[1]), None);
    }

    #[test]
    fn a_cut_does_not_know_the_medians() {
        let (steps, rows) = tool(&[(90, 10), (92, 10), (88, 11), (91, 10), (95, 205)]);
        let tools = Tools::new(&steps, &rows, false);
        assert_eq!(tools.relative("save", Nanos(300), &rows[4]), None);
    }
}
