//! What is usual for a tool: its median step.

use std::collections::BTreeMap;

use agenttrace_model::parse::Nanos;
use rustc_hash::FxHashMap;

use super::{Checked, Input};
use crate::cause::Cause;
use crate::report::{Evidence, ExclusiveRow};
use crate::stats::{human, percentile};

/// For each tool its median step.
pub(super) struct Tools<'m> {
    pub(super) tools: FxHashMap<&'m str, Tool>,
    pub(super) known: bool,
}

pub(super) struct Tool {
    pub(super) steps: usize,
    pub(super) median: Nanos,
    causes: BTreeMap<Cause, Nanos>,
}

impl<'m> Tools<'m> {
    pub(super) fn new(input: &Input<'m>, checked: &[Checked]) -> Self {
        let mut members: BTreeMap<&'m str, Vec<(Nanos, usize)>> = BTreeMap::new();
        for (i, step) in input.windows.steps.iter().enumerate() {
            members.entry(&step.tool).or_default().push((step.end - step.start, i));
        }
        let tools = members.into_iter().map(|(name, mut list)| {
            list.sort_unstable();
            let walls: Vec<Nanos> = list.iter().map(|(wall, _)| *wall).collect();
            let median = percentile(&walls, 50);
            let step =
                list.iter().find(|(wall, _)| *wall == median).and_then(|(_, i)| checked.get(*i));
            let causes = step.map(|c| by_cause(&c.rows)).unwrap_or_default();
            (name, Tool { steps: list.len(), median, causes })
        });
        Self { tools: tools.collect(), known: !input.outside_cut }
    }

    /// What this step spent more than the median step of its tool, where it is much.
    pub(super) fn relative(
        &self,
        tool: &str,
        wall: Nanos,
        rows: &[ExclusiveRow],
    ) -> Option<Evidence> {
        let tool = self.tools.get(tool).filter(|t| self.known && t.steps >= 3)?;
        if wall.0.saturating_mul(2) < tool.median.0.saturating_mul(3) || tool.median == Nanos::ZERO
        {
            return None;
        }
        let (cause, more) = by_cause(rows)
            .into_iter()
            .map(|(cause, ns)| (cause, ns - tool.causes.get(&cause).copied().unwrap_or_default()))
            .max_by_key(|(cause, more)| (*more, std::cmp::Reverse(*cause)))?;
        Some(Evidence {
            text: format!(
                "{:.1} times the median of its tool ({}); the difference is mostly {} (+{})",
                wall.0 as f64 / tool.median.0 as f64,
                human(tool.median),
                cause.name(),
                human(more)
            ),
            value: more.0,
            unit: "ns",
            source: "critical paths of the tool's steps",
        })
    }
}

fn by_cause(rows: &[ExclusiveRow]) -> BTreeMap<Cause, Nanos> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(row.cause).or_default() += row.ns;
    }
    sums
}
